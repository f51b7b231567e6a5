"""geodl:importonnx: a net that was trained elsewhere as a GeoDL model."""

from typing import Any

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .base import GeoDLAlgorithm


class ImportONNX(GeoDLAlgorithm):
    """Makes a model of a net from Keras, TensorFlow, PyTorch or scikit-learn."""

    NAME, GROUP_ID = "importonnx", "models"
    NEEDS = ("torch", "safetensors", "onnx", "onnxruntime")
    ONNX, CLASSES, BANDS, OFFSET, SCALE = "ONNX", "CLASSES", "BANDS", "OFFSET", "SCALE"
    NODATA, PIXEL_SIZE, TASK, LAYOUT, GIVES = "NODATA", "PIXEL_SIZE", "TASK", "LAYOUT", "GIVES"
    TILE_SIZE, HALO, STRIDE, OUTPUT_NAME, OUTPUT = "TILE_SIZE", "HALO", "STRIDE", "OUTPUT_NAME", "OUTPUT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Import model from ONNX")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr(
            "Make a model that “Classify raster” runs of an ONNX file: a net trained in Keras, TensorFlow or PyTorch, or a "
            "classifier of scikit-learn."
        )

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Say once what the file cannot tell: classes, bands, how the values were scaled, and the pixel size. The rest "
            "is found by trying the net: its layout, what it gives, how far it looks and where its windows may begin. Its "
            "map is then that of one pass over the whole raster. A net for pixels that looks at its whole window is "
            "refused.</p>"
            "<p>Files that “Export model to ONNX” or the makers of Deepness' models wrote tell some or all of that "
            "themselves. Files with weights elsewhere or with operators that are not ONNX's own are refused.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterFile(self.ONNX, self.tr("ONNX file"), fileFilter=self.tr("ONNX files (*.onnx)")),
            help=self.tr("The net, in one file, with one input."),
        )
        self.add(
            QgsProcessingParameterString(self.CLASSES, self.tr("Classes"), optional=True),
            help=self.tr(
                "Names in the order of the net's scores, parted by commas; with a code and a colour, if you like: "
                "3=water=#0000ff, 4=forest=#228b22. Left empty, the file must tell them."
            ),
        )
        self.add(
            QgsProcessingParameterString(self.BANDS, self.tr("Bands"), optional=True),
            help=self.tr(
                "Names in the order that the net takes them, with units, if you like: dem [m], slope [degree]. Rasters' bands "
                "are found by these names. Left empty, the file must tell them."
            ),
        )
        numbers = (
            (self.OFFSET, self.tr("Offsets"), self.tr("What training took off each band's values: one number a band.")),
            (
                self.SCALE,
                self.tr("Scales"),
                self.tr(
                    "What training then divided each band's values by, 255 for bytes scaled to 1: one number a band."
                ),
            ),
        )
        for name, title, help_text in numbers:
            self.add(
                QgsProcessingParameterString(name, title, optional=True),
                help=help_text + self.tr(" One number counts for all bands. Left empty, values go in as they are."),
            )
        self.add(
            QgsProcessingParameterNumber(
                self.PIXEL_SIZE,
                self.tr("Pixel size (m)"),
                QgsProcessingParameterNumber.Type.Double,
                0.0,
                minValue=0.0,
            ),
            help=self.tr(
                "Side of the pixels that the net was trained on; 0 if the file tells it. Others raise a warning."
            ),
        )
        self._add_advanced()
        self.add(
            QgsProcessingParameterFileDestination(self.OUTPUT, self.tr("Model"), self.tr("GeoDL models (*.geodl)")),
            help=self.tr("Model for “Classify raster”; it holds the ONNX file."),
        )
        for name, title in (("HALO", self.tr("Halo (pixels)")), ("STRIDE", self.tr("Stride (pixels)"))):
            self.add_output(QgsProcessingOutputNumber(f"FOUND_{name}", title))
        self.add_output(QgsProcessingOutputString("FOUND_TASK", self.tr("What gets a class")))

    def outputs(self, result: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Return what was found out under names of its own: parameters have the plain ones."""
        found = {f"FOUND_{name}": result[name.lower()] for name in ("HALO", "STRIDE", "TASK")}
        return {self.OUTPUT: result["output"], **found}

    def _add_advanced(self) -> None:
        self.add(
            QgsProcessingParameterString(
                self.NODATA, self.tr("What the net sees where there is no data"), optional=True
            ),
            help=self.tr(
                "In each band's own units, one number a band or one for all; the offsets if left empty. Write nan for a net "
                "that masks nodata itself."
            ),
            advanced=True,
        )
        choices = (
            (
                self.TASK,
                self.tr("What gets a class"),
                ["automatic", "each pixel", "each tile"],
                self.tr("Only to make sure: the net itself shows which it is."),
            ),
            (
                self.LAYOUT,
                self.tr("Layout"),
                ["automatic", "bands first", "bands last"],
                self.tr(
                    "Bands first, as in PyTorch, or last, as in Keras; found by where the number of bands stands. Of tiles "
                    "unrolled into a table it says how; bands first is taken if nothing is said."
                ),
            ),
            (
                self.GIVES,
                self.tr("The net gives"),
                ["automatic", "logits", "probabilities"],
                self.tr("Probabilities add up to 1, which is tried out; anything else is taken as logits."),
            ),
        )
        for name, title, options, help_text in choices:
            self.add(
                QgsProcessingParameterEnum(
                    name, title, options=options, defaultValue="automatic", usesStaticStrings=True
                ),
                help=help_text,
                advanced=True,
            )
        counts = (
            (
                self.TILE_SIZE,
                self.tr("Tile size (pixels)"),
                0,
                self.tr("For a net for tiles whose file leaves it open."),
            ),
            (
                self.HALO,
                self.tr("Halo (pixels)"),
                -1,
                self.tr(
                    "How far the net looks beyond a pixel; -1 finds it out. A smaller one than it needs makes seams."
                ),
            ),
            (self.STRIDE, self.tr("Stride (pixels)"), 0, self.tr("Steps at which windows may begin; 0 finds it out.")),
        )
        for name, title, default, help_text in counts:
            self.add(
                QgsProcessingParameterNumber(name, title, defaultValue=default, minValue=default),
                help=help_text,
                advanced=True,
            )
        self.add(
            QgsProcessingParameterString(self.OUTPUT_NAME, self.tr("Name of the net's output"), optional=True),
            help=self.tr("For a net with several outputs: the one that holds the classes' scores."),
            advanced=True,
        )
