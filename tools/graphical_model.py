"""
What the scripts share that write the graphical models which the provider offers, in geodl_qgis_plugin/models.

QGIS's model designer opens those files too; the scripts are how they are made, so that a change can be read. QGIS itself puts
the outputs' names into lower case: map, confidence, model, report.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["QT_HASH_SEED"] = (
    "0"  # read when Qt is loaded: else the attributes in the files stand in another order each time
)

from qgis.core import (
    QgsApplication,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtCore import QPointF, QSizeF

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import geodl_qgis_plugin

geodl_qgis_plugin.__path__.append(str(ROOT))

from geodl_qgis_plugin.plugin import GeoDLPlugin

FOLDER = ROOT / "geodl_qgis_plugin" / "models"
WHOLE = QgsProcessingParameterNumber.Type.Integer
REAL = QgsProcessingParameterNumber.Type.Double
ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced
source = QgsProcessingModelChildParameterSource
# what all models from rasters and labels to a map have, parameters and outputs
HELP_OF_MAPS = {
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
    "model": "The trained model, for “Classify raster” on other rasters.",
    "report": "One web page: how good the model is where it was not trained, beside a random forest; learning curves; the "
    "split.",
}


def begin(name, group, parameters, help, advanced=()):
    """Return a model with its parameters in order, and their help; `help` also says what the model does."""
    model = QgsProcessingModelAlgorithm(name, group)
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
    model.setHelpContent({"ALG_CREATOR": "GeoDL"} | help)
    model.setParameterOrder(names)
    return model


def step(name, description, place, parameters, outputs=()):
    """Return a child algorithm; `parameters` are sources by name, `outputs` pairs of its output and the model's."""
    child = QgsProcessingModelChildAlgorithm(f"geodl:{name}")
    child.setChildId(name)
    child.setDescription(description)
    child.setPosition(QPointF(420, 80 + 170 * place))
    child.setSize(QSizeF(220, 34))
    for parameter, given in parameters.items():
        child.addParameterSources(parameter, [given])
    made = {}
    for output, name_of_output, text in outputs:
        declared = QgsProcessingModelOutput(name_of_output, text)
        declared.setChildId(name)
        declared.setChildOutputName(output)
        declared.setPosition(QPointF(760, 80 + 170 * place + 55 * len(made)))
        made[name_of_output] = declared
    child.setModelOutputs(made)
    return child


def add_tiles_to_map(model, predictors, of_tiles, place):
    """Add the steps from tiles to the map; `of_tiles` are the names of the parameters that are handed on."""
    own = {name: source.fromModelParameter(name) for name in of_tiles}
    model.addChildAlgorithm(
        step("extracttiles", "Cut tiles, parted in space", place, {"PREDICTORS": predictors, **own})
    )
    trained = {
        "TILES": source.fromChildOutput("extracttiles", "OUTPUT"),
        "TASK": source.fromStaticValue("each pixel"),
        "EPOCHS": source.fromModelParameter("EPOCHS"),
        "MINUTES": source.fromModelParameter("MINUTES"),
    }
    made = [("OUTPUT", "MODEL", "Model"), ("REPORT", "REPORT", "Report")]
    model.addChildAlgorithm(step("trainclassifier", "Train a classifier", place + 1, trained, made))
    mapped = {"MODEL": source.fromChildOutput("trainclassifier", "OUTPUT"), "PREDICTORS": predictors}
    made = [("OUTPUT", "MAP", "Map"), ("CONFIDENCE", "CONFIDENCE", "Confidence")]
    model.addChildAlgorithm(step("classifyraster", "Map the whole raster", place + 2, mapped, made))
    return model


def write(builders):
    """Write models, each from a function that builds it, by the names of their files; or say why one would not run."""
    with tempfile.TemporaryDirectory(prefix="geodl-profile-") as profile:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", profile)
        application = QgsApplication([], False)
        QgsApplication.initQgis()
        plugin = GeoDLPlugin(None)
        plugin.initProcessing()
        FOLDER.mkdir(exist_ok=True)
        for name, build in builders.items():
            model = build()
            model.updateDestinationParameters()
            fine, why = model.validate()
            if fine:
                fine, why = model.toFile(str(FOLDER / name)), [f"{FOLDER / name} could not be written."]
            del model
            if not fine:
                break
        plugin.unload()
        QgsApplication.exitQgis()
        del application
    if not fine:
        sys.exit("\n".join(why))
