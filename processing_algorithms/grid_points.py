"""geodl:gridpoints: survey points to a grid, with nodata where no data are near."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterCrs,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
)

from .base import GeoDLAlgorithm

_TABLES = (".csv", ".csv.xz", ".csv.gz", ".csv.bz2", ".csv.zip", ".txt", ".xyz", ".dat")


class GridPoints(GeoDLAlgorithm):
    """Makes a raster of scattered measurements."""

    NAME, GROUP_ID = "gridpoints", "predictors"
    NEEDS = ("scipy", "verde")
    INPUT, VALUE_FIELD, SPACING, MAX_DISTANCE = "INPUT", "VALUE_FIELD", "SPACING", "MAX_DISTANCE"
    METHOD, CRS, X_FIELD, Y_FIELD, POINTS_CRS = "METHOD", "CRS", "X_FIELD", "Y_FIELD", "POINTS_CRS"
    UNIT, OUTPUT = "UNIT", "OUTPUT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Grid survey points")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Interpolate measured points to a raster that has no data where no point is near.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>The points of each pixel are replaced by their median, and the medians are interpolated. Tables (CSV, also "
            ".xz, .gz and .zip) may be given by their path: columns called longitude and latitude, easting and northing or x "
            "and y are found, others can be named.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        double = QgsProcessingParameterNumber.Type.Double
        self.add(
            QgsProcessingParameterFeatureSource(
                self.INPUT,
                self.tr("Points"),
                [QgsProcessing.SourceType.TypeVectorPoint, QgsProcessing.SourceType.TypeVector],
            ),
            help=self.tr("Point layer, or a table with columns of coordinates."),
        )
        self.add(
            QgsProcessingParameterString(self.VALUE_FIELD, self.tr("Field with the value")),
            help=self.tr("Name of the field or column that is gridded. Points without a number are left out."),
        )
        self.add(
            QgsProcessingParameterNumber(self.SPACING, self.tr("Spacing (m)"), double, minValue=0.0),
            help=self.tr("Pixel size. For airborne lines about a quarter of their distance."),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.MAX_DISTANCE, self.tr("Largest distance to a point (m)"), double, optional=True, minValue=0.0
            ),
            help=self.tr("Pixels farther from every point are nodata. Empty: three pixels."),
        )
        self.add(
            QgsProcessingParameterCrs(self.CRS, self.tr("CRS of the grid"), optional=True),
            help=self.tr("In metres. Empty: that of the points, or their UTM zone if they are in degrees."),
        )
        self.add(
            QgsProcessingParameterEnum(
                self.METHOD,
                self.tr("Method"),
                options=["linear", "cubic", "neighbours", "spline"],
                defaultValue="linear",
                usesStaticStrings=True,
            ),
            help=self.tr(
                "linear: on triangles, no new extremes. cubic: smooth, may overshoot between lines. neighbours: mean of "
                "the eight nearest. spline: biharmonic, for up to ten thousand pixels with points."
            ),
            advanced=True,
        )
        for name, description in (
            (self.X_FIELD, self.tr("Column of eastings or longitudes")),
            (self.Y_FIELD, self.tr("Column of northings or latitudes")),
        ):
            self.add(
                QgsProcessingParameterString(name, description, optional=True),
                help=self.tr("For tables. Empty: found by usual names."),
                advanced=True,
            )
        self.add(
            QgsProcessingParameterCrs(self.POINTS_CRS, self.tr("CRS of the points"), optional=True),
            help=self.tr(
                "For tables and layers without a CRS. Empty: WGS 84 if the columns are longitude and latitude."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(self.UNIT, self.tr("Unit of the values"), optional=True),
            help=self.tr("Written into the grid, such as nT."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterRasterDestination(self.OUTPUT, self.tr("Grid")),
            help=self.tr("GeoTIFF of one band, named as the field."),
        )

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Let the path of a table through, whether QGIS can load it (CSV) or not (compressed)."""
        if self._is_table(parameters):
            others = [definition for definition in self.parameterDefinitions() if definition.name() != self.INPUT]
            if all(one.checkValueIsAcceptable(parameters.get(one.name()), context) for one in others):
                return True, ""
        return super().checkParameterValues(parameters, context)

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings; a table is handed on by its path."""
        if not self._is_table(parameters):
            return super().settings(parameters, context, feedback)
        settings = super().settings({**parameters, self.INPUT: None}, context, feedback)
        return settings | {"input": parameters[self.INPUT]}

    def _is_table(self, parameters: dict[str, Any]) -> bool:
        given = parameters.get(self.INPUT)
        return isinstance(given, str) and given.lower().endswith(_TABLES)
