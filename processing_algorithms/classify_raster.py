"""geodl:classifyraster: from a model and rasters to a styled map."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterVectorDestination,
)

from .mapping_parameters import MappingAlgorithm


class ClassifyRaster(MappingAlgorithm):
    """Maps the classes of a model."""

    NAME, GROUP_ID = "classifyraster", "classification"
    PREDICTORS, OUTPUT, CONFIDENCE, PROBABILITIES = "PREDICTORS", "OUTPUT", "CONFIDENCE", "PROBABILITIES"
    ENTROPY, APPLICABILITY, POLYGONS = "ENTROPY", "APPLICABILITY", "POLYGONS"

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
        self.add_model()
        self.add(
            QgsProcessingParameterMultipleLayers(
                self.PREDICTORS, self.tr("Predictors"), QgsProcessing.SourceType.TypeRaster
            ),
            help=self.tr(
                "Rasters with the bands that the model was trained on; bands are found by their names. The map lies on the "
                "first raster's grid; the others are warped to it. They are layers of one stack: for rasters beside each other "
                "take “Classify many rasters”."
            ),
        )
        self.add_area()
        self.add_manner()
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
