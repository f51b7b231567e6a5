"""geodl:classifyrasters: many rasters through one model, a map of each or one mosaic."""

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
)

from .mapping_parameters import MappingAlgorithm

_MOST_LOADED = 30


class ClassifyRasters(MappingAlgorithm):
    """Maps the classes of a model on many rasters."""

    NAME, GROUP_ID = "classifyrasters", "classification"
    RASTERS, FOLDER, PATTERN, MAPS = "RASTERS", "FOLDER", "PATTERN", "MAPS"
    CONFIDENCE, PROBABILITIES, ENTROPY = "CONFIDENCE", "PROBABILITIES", "ENTROPY"
    APPLICABILITY, POLYGONS, LOAD = "APPLICABILITY", "POLYGONS", "LOAD"
    OUTPUT, TABLE, COUNT, LAYERS = "OUTPUT", "TABLE", "COUNT", "LAYERS"
    WAYS = ("one map each", "one mosaic")

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Classify many rasters")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Map classes on many rasters with one trained model: a map of each, or one mosaic of all.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Each raster has all the bands that the model was trained on, as one file. All rasters are checked before the "
            "first is mapped. Maps are named after their rasters (north.tif becomes north_classes.tif, "
            "north_confidence.tif, …), those of a mosaic mosaic_classes.tif and so on; maps.csv lists them with the pixels of "
            "each class.</p>"
            "<p>A mosaic lies on the first raster's grid, widened until all rasters lie on it; those of another CRS or pixel "
            "size are warped. Where rasters overlap the first one that has values counts. The model sees across the seams, "
            "which single maps cannot.</p>"
            "<p>When the run is stopped the same command goes on from there, and finished maps are not made again.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add_model()
        self.add(
            QgsProcessingParameterMultipleLayers(
                self.RASTERS, self.tr("Rasters"), QgsProcessing.SourceType.TypeRaster, optional=True
            ),
            help=self.tr("Rasters to map, each with all bands of the model; bands are found by their names."),
        )
        self.add(
            QgsProcessingParameterFile(
                self.FOLDER,
                self.tr("Folder with rasters"),
                behavior=QgsProcessingParameterFile.Behavior.Folder,
                optional=True,
            ),
            help=self.tr(
                "Its rasters are mapped as well, in the order of their names; folders in it are not looked into."
            ),
        )
        self.add(
            QgsProcessingParameterEnum(
                self.MAPS, self.tr("Make"), list(self.WAYS), defaultValue=self.WAYS[0], usesStaticStrings=True
            ),
            help=self.tr("One map of each raster, or one mosaic of all, as rasters of neighbouring sheets want it."),
        )
        self.add(
            QgsProcessingParameterString(
                self.PATTERN, self.tr("Names of the folder's rasters"), "*.tif *.tiff *.img *.vrt *.jp2 *.asc"
            ),
            help=self.tr("Patterns with blanks between them, such as “dem_*.tif”; capitals or not is the same."),
            advanced=True,
        )
        self.add_area()
        self.add_manner()
        for name, text, help in (
            (self.CONFIDENCE, self.tr("Confidence"), self.tr("Also write the probability of each mapped class.")),
            (
                self.PROBABILITIES,
                self.tr("Probabilities"),
                self.tr("Also write each class's probability, a band each."),
            ),
            (self.ENTROPY, self.tr("Entropy"), self.tr("Also write how undecided the model is, from 0 to 1.")),
            (
                self.APPLICABILITY,
                self.tr("Area of applicability"),
                self.tr(
                    "Also write how unlike the training data each place is, and whether the map rests on examples there."
                ),
            ),
            (
                self.POLYGONS,
                self.tr("Polygons"),
                self.tr(
                    "Also write patches of one class as a GeoPackage, or, of a model for tiles, a square for each tile."
                ),
            ),
        ):
            self.add(QgsProcessingParameterBoolean(name, text, False), help=help)
        self.add(
            QgsProcessingParameterBoolean(self.LOAD, self.tr("Load the maps"), True),
            help=self.tr("Add the class maps to the project, 30 at most."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterFolderDestination(self.OUTPUT, self.tr("Maps")),
            help=self.tr("Folder for the maps; what else lies in it stays. It must not be the one with the rasters."),
        )
        self.add_output(QgsProcessingOutputFile(self.TABLE, self.tr("List of the maps")))
        self.add_output(QgsProcessingOutputNumber(self.COUNT, self.tr("Number of maps")))
        self.add_output(QgsProcessingOutputMultipleLayers(self.LAYERS, self.tr("Class maps")))

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings; to load the maps is no matter of the engine."""
        settings = super().settings(parameters, context, feedback)
        settings.pop(self.LOAD.lower(), None)
        return settings

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the job and have the maps loaded."""
        results = super().processAlgorithm(parameters, context, feedback)
        if self.parameterAsBool(parameters, self.LOAD, context) and context.project() is not None:
            for path in results.get(self.LAYERS, [])[:_MOST_LOADED]:
                details = QgsProcessingContext.LayerDetails(Path(path).stem, context.project(), self.LAYERS)
                context.addLayerToLoadOnCompletion(path, details)
        return results
