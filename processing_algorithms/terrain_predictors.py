"""geodl:terrainpredictors: slope, aspect, curvature, position and relief of a DEM, as one multi-band raster."""

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from geodl_qgis_plugin.engine.errors import SettingsError

from .base import GeoDLAlgorithm


class TerrainPredictors(GeoDLAlgorithm):
    """Works out what a model can learn landforms from."""

    NAME, GROUP_ID = "terrainpredictors", "predictors"
    NEEDS = ("scipy",)
    DEM, SCALES, BAND, OUTPUT = "DEM", "SCALES", "BAND", "OUTPUT"
    GEOMORPHONS, SEARCH, FLAT = "GEOMORPHONS", "SEARCH", "FLAT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Terrain predictors")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Work out slope, aspect, curvature, topographic position, relief, roughness and shade of a DEM.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>The output has one named band for each: slope (degrees), sine and cosine of aspect, profile, tangential and "
            "planform curvature (1/m, positive where the ground bulges), roughness (m), multidirectional hillshade (0 to 1), "
            "and, for each scale, topographic position (elevation less its mean in the window) and local relief (highest less "
            "lowest). Elevation itself is left out: what a model learns from it is not true in the next valley.</p>"
            "<p>The DEM may be larger than memory. One in degrees is warped to metres first.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterRasterLayer(self.DEM, self.tr("DEM")),
            help=self.tr("Elevation, in metres (in feet if the file says so). Nodata stays nodata."),
        )
        self.add(
            QgsProcessingParameterString(self.SCALES, self.tr("Scales (pixels)"), defaultValue="3, 10, 30"),
            help=self.tr(
                "Radii of the square windows for topographic position and local relief, in pixels, separated by commas. "
                "Take about half the width of the smallest and of the largest landform that matters, and one between."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(self.BAND, self.tr("Band with the elevation"), defaultValue=1, minValue=1),
            help=self.tr("Number of the DEM's band that holds elevation."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.GEOMORPHONS, self.tr("Geomorphons (needs GRASS)"), defaultValue=False),
            help=self.tr(
                "Add a band with the ten landform elements of r.geomorphon: 1 flat, 2 peak, 3 ridge … 10 pit."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                self.SEARCH, self.tr("Reach of geomorphons (pixels)"), defaultValue=15, minValue=3
            ),
            help=self.tr("How far each pixel looks around for geomorphons."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                self.FLAT,
                self.tr("Flat for geomorphons (degrees)"),
                QgsProcessingParameterNumber.Type.Double,
                1.0,
                minValue=0.0,
            ),
            help=self.tr("Differences of less than this angle count as flat."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterRasterDestination(self.OUTPUT, self.tr("Terrain predictors")),
            help=self.tr("Multi-band GeoTIFF on the DEM's grid, bands named, with their units."),
        )

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings, with the scales as numbers."""
        settings = super().settings(parameters, context, feedback)
        text = str(settings.get("scales", ""))
        try:
            settings["scales"] = [int(part) for part in text.replace(";", ",").replace(",", " ").split()]
        except ValueError as error:
            sentence = self.tr(
                "SCALES is “{}”, but must be whole numbers of pixels separated by commas, such as 3, 10, 30."
            )
            raise SettingsError(sentence.format(text)) from error
        return settings
