"""geodl:magneticpredictors: a total-field grid reduced to the pole, its gradients, and upward continued."""

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
)

from .base import GeoDLAlgorithm


class MagneticPredictors(GeoDLAlgorithm):
    """Works out what a model can learn magnetic domains from."""

    NAME, GROUP_ID = "magneticpredictors", "predictors"
    NEEDS = ("scipy", "harmonica", "xarray", "ppigrf")
    INPUT, INCLINATION, DECLINATION, DATE = "INPUT", "INCLINATION", "DECLINATION", "DATE"
    HEIGHT, DERIVATIVES_OF, MARGIN, GRID_NORTH = "HEIGHT", "DERIVATIVES_OF", "MARGIN", "GRID_NORTH"
    SURVEY_HEIGHT, CRS, BAND, OUTPUT = "SURVEY_HEIGHT", "CRS", "BAND", "OUTPUT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Magnetic predictors")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr(
            "Reduce a total-field anomaly to the pole, and work out its total gradient, tilt, derivatives and upward "
            "continuation."
        )

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Give the direction of the Earth's field as INCLINATION and DECLINATION, or the survey's DATE, for which the "
            "IGRF tells it at the grid's centre. Holes are filled for the filters and are holes again in the output.</p>"
            "<p>Near the magnetic equator (inclination below 20°) a field reduced to the pole has stripes along the "
            "declination: use the total gradient there.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self._add_field()
        self.add(
            QgsProcessingParameterNumber(
                self.HEIGHT,
                self.tr("Upward continuation (m)"),
                QgsProcessingParameterNumber.Type.Double,
                500.0,
                minValue=0.0,
            ),
            help=self.tr(
                "The field as it would be so many metres higher: shallow sources fade. 0 leaves that band out."
            ),
        )
        self._add_advanced()
        self.add(
            QgsProcessingParameterRasterDestination(self.OUTPUT, self.tr("Magnetic predictors")),
            help=self.tr("Multi-band GeoTIFF on the grid of the input, bands named, with their units."),
        )

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Let a Geosoft grid through, which QGIS cannot load but the engine can."""
        given = parameters.get(self.INPUT)
        if isinstance(given, str) and given.lower().endswith(".grd"):
            others = [definition for definition in self.parameterDefinitions() if definition.name() != self.INPUT]
            if all(one.checkValueIsAcceptable(parameters.get(one.name()), context) for one in others):
                return True, ""
        return super().checkParameterValues(parameters, context)

    def _add_field(self) -> None:
        double = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterRasterLayer(self.INPUT, self.tr("Total-field anomaly")),
            help=self.tr(
                "Grid in nT, the main field taken off. Geosoft grids (.grd) open too: give the path of the file, and "
                "its CRS below."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.INCLINATION, self.tr("Inclination (degrees)"), double, optional=True, minValue=-90.0, maxValue=90.0
            ),
            help=self.tr("Of the Earth's field, positive downwards: positive in the north, negative in the south."),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.DECLINATION,
                self.tr("Declination (degrees)"),
                double,
                optional=True,
                minValue=-180.0,
                maxValue=360.0,
            ),
            help=self.tr("Of the Earth's field, positive east of north."),
        )
        self.add(
            QgsProcessingParameterDateTime(
                self.DATE, self.tr("Date of the survey"), QgsProcessingParameterDateTime.Type.Date, optional=True
            ),
            help=self.tr("For the IGRF, which then gives inclination and declination. Not used if both are given."),
        )

    def _add_advanced(self) -> None:
        self.add(
            QgsProcessingParameterEnum(
                self.DERIVATIVES_OF,
                self.tr("Derivatives of"),
                options=["total field", "reduced to the pole"],
                defaultValue="total field",
                usesStaticStrings=True,
            ),
            help=self.tr(
                "What total gradient, tilt, derivatives and upward continuation are worked out of. Those of the field "
                "reduced to the pole may be turned and mirrored in training, those of the total field may not."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                self.MARGIN,
                self.tr("Margin"),
                options=["zeros", "mirrored"],
                defaultValue="zeros",
                usesStaticStrings=True,
            ),
            help=self.tr(
                "What surrounds the grid while it is filtered: zeros, as in most programs, or its fading mirror image, "
                "which keeps the outermost ten pixels much truer."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(
                self.GRID_NORTH, self.tr("Turn the declination to the grid's north"), defaultValue=False
            ),
            help=self.tr(
                "The declination counts from true north; away from the central meridian the grid's north is another."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                self.SURVEY_HEIGHT, self.tr("Height of the survey (m)"), QgsProcessingParameterNumber.Type.Double, 0.0
            ),
            help=self.tr(
                "Above the ellipsoid, for the IGRF; a kilometre turns the field by less than a hundredth of a degree."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterCrs(self.CRS, self.tr("CRS of a grid that has none"), optional=True),
            help=self.tr("For Geosoft grids and others whose file holds no CRS; not used where it does."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(self.BAND, self.tr("Band with the total field"), defaultValue=1, minValue=1),
            help=self.tr("Number of the band to filter."),
            advanced=True,
        )
