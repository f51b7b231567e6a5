"""geodl:exportonnx: a model as an ONNX file that other programs run."""

from typing import Any

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
)

from .base import GeoDLAlgorithm


class ExportONNX(GeoDLAlgorithm):
    """Writes a classifier for ONNX Runtime, Deepness and others."""

    NAME, GROUP_ID = "exportonnx", "models"
    NEEDS = ("torch", "safetensors", "onnx", "onnxruntime")
    MODEL, TILE_SIZE, ANY_SIZE, OUTPUT = "MODEL", "TILE_SIZE", "ANY_SIZE", "OUTPUT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Export model to ONNX")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Write a classifier as an ONNX file, which Deepness and any program with ONNX Runtime can run.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>The file takes the bands in their own units, NaN where there is no data, and gives the classes' probabilities: "
            "scaling and everything else that the model does first is part of it. Before it is written, ONNX Runtime and "
            "PyTorch must give the same probabilities to 1e-4.</p>"
            "<p>Deepness reads classes, pixel size, tile size and overlap from the file, and its own division by 255 is "
            "undone there. Give it rasters whose nodata is NaN. A model for tiles shows there as one class for each whole "
            "tile.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterFile(self.MODEL, self.tr("Model"), fileFilter=self.tr("GeoDL model (*.geodl)")),
            help=self.tr("File that “Train classifier” made."),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.TILE_SIZE, self.tr("Tile size (pixels)"), defaultValue=0, minValue=0, maxValue=8192
            ),
            help=self.tr(
                "Side of the windows that the file takes; 0 chooses one that the net fits into four times at least. Models for "
                "tiles take tiles of their own size only."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.ANY_SIZE, self.tr("Take windows of any size"), defaultValue=False),
            help=self.tr(
                "For your own programs: any number of windows at once, with any number of rows and columns that the net's "
                "stride divides. Deepness needs a fixed size."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterFileDestination(self.OUTPUT, self.tr("ONNX file"), self.tr("ONNX files (*.onnx)")),
            help=self.tr("One file that holds its own weights."),
        )
        self.add_output(QgsProcessingOutputNumber("DIFFERENCE", self.tr("Largest difference from PyTorch")))
