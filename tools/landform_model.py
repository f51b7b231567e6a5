"""
Write the graphical model that the provider offers: geodl_qgis_plugin/models/landform_map.model3.

    .venv/bin/python tools/landform_model.py

It chains Extract tiles, Train classifier and Classify raster. QGIS's model designer opens the file too; this script is how it
is made, so that a change can be read. QGIS itself puts the outputs' names into lower case: map, confidence, model, report.
"""

import os
import sys
import tempfile
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsProcessing,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtCore import QPointF, QSizeF

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import geodl_qgis_plugin

geodl_qgis_plugin.__path__.append(str(ROOT))

from geodl_qgis_plugin.plugin import GeoDLPlugin

PATH = ROOT / "geodl_qgis_plugin" / "models" / "landform_map.model3"
HELP = {
    "ALG_DESC": "From a DEM (or other rasters) and mapped examples to a styled map of the whole raster, with its confidence "
    "and an honest report: tiles are cut, a convolutional net is trained, and everything is mapped, in one go.",
    "ALG_CREATOR": "GeoDL",
    "PREDICTORS": "The rasters that the net will see, in this order; for landforms a DEM is enough. The first sets the grid.",
    "LABELS": "Mapped examples of each class: polygons, points or a raster, in any CRS. The rest need not be mapped. Classes "
    "keep the names and colours that the layer is drawn with.",
    "CLASS_FIELD": "The field that names the class. May be left out for a raster, or where the layer is drawn by categories.",
    "TEST_AREAS": "Polygons that are kept from training and only score the model. Without them, a fifth of the labels is kept, "
    "in blocks.",
    "BUFFER": "Distance round the test areas that training does not see, in map units. Near ground is alike: the wider, the "
    "more honest the score.",
    "TILE_SIZE": "Side of the squares the net learns from, in pixels. Smaller ones suit small rasters.",
    "EPOCHS": "How often the net sees all its tiles. 0 chooses as many as about 3,000 batches need.",
    "MINUTES": "Time for training, in minutes; 0 sets no limit. With a limit two runs differ.",
    "map": "The class of each pixel, with names and colours.",
    "confidence": "The probability of the mapped class, 0 to 1.",
    "model": "The trained net, for “Classify raster” on other rasters.",
    "report": "One web page: how good the net is where it was not trained, beside a random forest; learning curves; the split.",
}
WHOLE = QgsProcessingParameterNumber.Type.Integer
REAL = QgsProcessingParameterNumber.Type.Double
ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced


def inputs():
    """Return the parameters of the model, in order."""
    raster, anything, polygons = (
        QgsProcessing.SourceType.TypeRaster,
        QgsProcessing.SourceType.TypeMapLayer,
        QgsProcessing.SourceType.TypeVectorPolygon,
    )
    yield QgsProcessingParameterMultipleLayers("PREDICTORS", "DEM, and other predictors if any", raster)
    yield QgsProcessingParameterMultipleLayers("LABELS", "Labels (polygons, points or raster)", anything)
    yield QgsProcessingParameterField("CLASS_FIELD", "Class field", parentLayerParameterName="LABELS", optional=True)
    yield QgsProcessingParameterFeatureSource("TEST_AREAS", "Test areas", [polygons], optional=True)
    yield QgsProcessingParameterNumber("BUFFER", "Buffer round test areas (map units)", REAL, 0.0, minValue=0)
    yield QgsProcessingParameterNumber("TILE_SIZE", "Tile size (pixels)", WHOLE, 128, minValue=8)
    yield QgsProcessingParameterNumber("EPOCHS", "Epochs (0: automatic)", WHOLE, 0, minValue=0)
    yield QgsProcessingParameterNumber("MINUTES", "Minutes of training at most (0: no limit)", REAL, 0.0, minValue=0)


def step(name, description, place, parameters, outputs=()):
    """Return a child algorithm; `parameters` are sources by name, `outputs` pairs of its output and the model's."""
    child = QgsProcessingModelChildAlgorithm(f"geodl:{name}")
    child.setChildId(name)
    child.setDescription(description)
    child.setPosition(QPointF(420, 80 + 170 * place))
    child.setSize(QSizeF(220, 34))
    for parameter, source in parameters.items():
        child.addParameterSources(parameter, [source])
    made = {}
    for output, name_of_output, text in outputs:
        declared = QgsProcessingModelOutput(name_of_output, text)
        declared.setChildId(name)
        declared.setChildOutputName(output)
        declared.setPosition(QPointF(760, 80 + 170 * place + 55 * len(made)))
        made[name_of_output] = declared
    child.setModelOutputs(made)
    return child


def build():
    """Return the model."""
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("landformmap", "classification")
    add_inputs(model, inputs(), HELP, advanced=("EPOCHS", "MINUTES"))
    own = {
        name: source.fromModelParameter(name)
        for name in ("PREDICTORS", "LABELS", "CLASS_FIELD", "TEST_AREAS", "BUFFER", "TILE_SIZE")
    }
    model.addChildAlgorithm(step("extracttiles", "Cut tiles, parted in space", 0, own))
    model.addChildAlgorithm(
        step(
            "trainclassifier",
            "Train a U-Net",
            1,
            {
                "TILES": source.fromChildOutput("extracttiles", "OUTPUT"),
                "TASK": source.fromStaticValue("each pixel"),
                "EPOCHS": source.fromModelParameter("EPOCHS"),
                "MINUTES": source.fromModelParameter("MINUTES"),
            },
            [("OUTPUT", "MODEL", "Model"), ("REPORT", "REPORT", "Report")],
        )
    )
    model.addChildAlgorithm(
        step(
            "classifyraster",
            "Map the whole raster",
            2,
            {
                "MODEL": source.fromChildOutput("trainclassifier", "OUTPUT"),
                "PREDICTORS": source.fromModelParameter("PREDICTORS"),
            },
            [("OUTPUT", "MAP", "Map"), ("CONFIDENCE", "CONFIDENCE", "Confidence")],
        )
    )
    model.updateDestinationParameters()
    return model


def add_inputs(model, parameters, help, advanced=()):
    """Give a model its parameters in order, with their help."""
    names = []
    for place, parameter in enumerate(parameters):
        if parameter.name() in advanced:
            parameter.setFlags(parameter.flags() | ADVANCED)
        parameter.setHelp(help[parameter.name()])
        box = QgsProcessingModelParameter(parameter.name())
        box.setPosition(QPointF(110, 60 + 62 * place))
        box.setSize(QSizeF(230, 32))
        model.addModelParameter(parameter, box)
        names.append(parameter.name())
    model.setHelpContent(help)
    model.setParameterOrder(names)


def write(builders):
    """Write models, each from a function that builds it, by their paths; or say why one would not run."""
    with tempfile.TemporaryDirectory(prefix="geodl-profile-") as profile:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", profile)
        application = QgsApplication([], False)
        QgsApplication.initQgis()
        plugin = GeoDLPlugin(None)
        plugin.initProcessing()
        for path, build_one in builders.items():
            model = build_one()
            fine, why = model.validate()
            if fine:
                path.parent.mkdir(exist_ok=True)
                fine, why = model.toFile(str(path)), [f"{path} could not be written."]
            del model
            if not fine:
                break
        plugin.unload()
        QgsApplication.exitQgis()
        del application
    if not fine:
        sys.exit("\n".join(why))


if __name__ == "__main__":
    write({PATH: build})
