"""geodl:classifyraster: from a model and rasters to a styled map."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .base import GeoDLAlgorithm


class ClassifyRaster(GeoDLAlgorithm):
    """Maps the classes of a model."""

    NAME, GROUP_ID = "classifyraster", "classification"
    MODEL, PREDICTORS, EXTENT, STRIDE = "MODEL", "PREDICTORS", "EXTENT", "STRIDE"
    OUTPUT, CONFIDENCE, PROBABILITIES, POLYGONS = "OUTPUT", "CONFIDENCE", "PROBABILITIES", "POLYGONS"
    MASK, FAST, ENTROPY, MIN_AREA = "MASK", "FAST", "ENTROPY", "MIN_AREA"
    APPLICABILITY, TURNS, SCHEDULER = "APPLICABILITY", "TURNS", "SCHEDULER"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Classify raster")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Map classes with a trained model, as a styled layer, with its confidence.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Rasters of any size work: they are read window by window, and the map is the same as in one pass. The map has "
            "the classes' names and colours, and overviews. Pixels without a value in some band stay without a class.</p>"
            "<p>A model for tiles gives a raster with one pixel a tile and, if asked for, the tiles as polygons.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterFile(self.MODEL, self.tr("Model"), fileFilter=self.tr("GeoDL model (*.geodl)")),
            help=self.tr("File that “Train classifier” made, here or elsewhere."),
        )
        self.add(
            QgsProcessingParameterMultipleLayers(
                self.PREDICTORS, self.tr("Predictors"), QgsProcessing.SourceType.TypeRaster
            ),
            help=self.tr(
                "Rasters with the bands that the model was trained on; bands are found by their names. The map lies on the "
                "first raster's grid; the others are warped to it."
            ),
        )
        self.add(
            QgsProcessingParameterExtent(self.EXTENT, self.tr("Extent"), optional=True),
            help=self.tr("Part of the raster to map; all of it if left empty."),
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                self.MASK, self.tr("Mask"), [QgsProcessing.SourceType.TypeVectorPolygon], optional=True
            ),
            help=self.tr(
                "Polygons to map: pixels whose middle lies in one, and tiles half of which does. Nothing else is read, and the "
                "map is cut to them."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.MIN_AREA,
                self.tr("Smallest polygon (square metres)"),
                QgsProcessingParameterNumber.Type.Double,
                defaultValue=0,
                minValue=0,
            ),
            help=self.tr(
                "Smaller patches take the class of the largest one beside them, in the polygons of a map of pixels; the raster "
                "keeps them. 0 keeps all."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.FAST, self.tr("Fast"), defaultValue=False),
            help=self.tr(
                "Let the net compute with half the digits (bfloat16) where the processor can: about half the time, and a few "
                "pixels in a thousand get another class. Without it the map is exact."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                self.STRIDE, self.tr("Step of a model for tiles (pixels)"), defaultValue=0, minValue=0
            ),
            help=self.tr(
                "How far apart tiles start; 0 lays them side by side. Steps that are multiples of 8 are fast, since "
                "neighbouring tiles share the work. Models for pixels have no use for it."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.TURNS, self.tr("Average over turns and mirrorings"), False),
            help=self.tr(
                "Asks the model in every orientation that its bands allow, and maps the mean: up to eight times slower, and "
                "often a little better."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(self.SCHEDULER, self.tr("Dask scheduler"), optional=True),
            help=self.tr(
                "Address (tcp://host:8786) of a Dask cluster whose workers map blocks, or local:4 for four workers on this "
                "computer. Empty for one process. The map is the same; all machines must see the rasters, the model and the "
                "output's folder under the same paths. Needs the Python package distributed, and GeoDL on every worker."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterRasterDestination(self.OUTPUT, self.tr("Classes")),
            help=self.tr("Class of each pixel, with names, colours and overviews; 0 is nodata."),
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                self.CONFIDENCE, self.tr("Confidence"), optional=True, createByDefault=False
            ),
            help=self.tr(
                "Probability of the mapped class, 0 to 1, calibrated on the validation part of the training data."
            ),
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                self.PROBABILITIES, self.tr("Probabilities"), optional=True, createByDefault=False
            ),
            help=self.tr("Probability of each class, one band each, 0 to 1 (bytes with a scale of 0.004)."),
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                self.ENTROPY, self.tr("Entropy"), optional=True, createByDefault=False
            ),
            help=self.tr(
                "How undecided the model is: 0 where one class has all the probability, 1 where all classes have the same."
            ),
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                self.APPLICABILITY, self.tr("Area of applicability"), optional=True, createByDefault=False
            ),
            help=self.tr(
                "How unlike the training data each place is (first band: the dissimilarity index of Meyer & Pebesma 2021), and "
                "whether that is within the model's threshold (second band: 1 inside, 0 outside). Outside, the map rests on no "
                "example, however confident the model is."
            ),
        )
        self.add(
            QgsProcessingParameterVectorDestination(
                self.POLYGONS,
                self.tr("Polygons"),
                QgsProcessing.SourceType.TypeVectorPolygon,
                optional=True,
                createByDefault=False,
            ),
            help=self.tr(
                "Patches of one class, with class, mean confidence and area in square metres; of a model for tiles one square "
                "a tile, with class and confidence."
            ),
        )
