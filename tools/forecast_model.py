"""
Write the graphical model of the forecasting chain: geodl_qgis_plugin/models/station_forecast.model3.

    .venv/bin/python tools/forecast_model.py
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
    QgsProcessingParameterEnum,
    QgsProcessingParameterField,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorLayer,
)
from qgis.PyQt.QtCore import QPointF, QSizeF

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import geodl_qgis_plugin

geodl_qgis_plugin.__path__.append(str(ROOT))

from geodl_qgis_plugin.plugin import GeoDLPlugin

PATH = ROOT / "geodl_qgis_plugin" / "models" / "station_forecast.model3"
HELP = {
    "ALG_DESC": "From station series to a forecast that animates, with intervals, skill and an honest report.",
    "ALG_CREATOR": "GeoDL",
    "SERIES": "Point layer with one feature a station and time, or a table together with the points of the stations.",
    "STATION": "Field with the station's id, kept as text.",
    "TIME": "Field with the time.",
    "VALUE": "Field to forecast.",
    "STATIONS": "Points of the stations, if the series are a table; the ids stand in a field of the same name.",
    "HORIZON": "Steps to forecast. 0: a year of months, two weeks of days, a day of hours.",
    "SUM": "mean (temperature, level) or sum (rain): how values are joined, and whether roots are forecast.",
    "forecast": "One point a station and step, coloured by anomaly; larger ones are less certain.",
    "skill": "One point a station, coloured by skill against climatology.",
    "report": "One web page: what was found in the data, and whether the model beats the baselines.",
    "model": "The trained model, for “Forecast series” when new values have come.",
}
WHOLE = QgsProcessingParameterNumber.Type.Integer


def inputs():
    """Return the parameters of the model, in order."""
    vector = [QgsProcessing.SourceType.TypeVector]
    series = {"parentLayerParameterName": "SERIES"}
    yield QgsProcessingParameterVectorLayer("SERIES", "Series", vector)
    yield QgsProcessingParameterField("STATION", "Field with the station", **series)
    yield QgsProcessingParameterField("TIME", "Field with the time", **series)
    yield QgsProcessingParameterField("VALUE", "Field to forecast", **series)
    yield QgsProcessingParameterVectorLayer("STATIONS", "Points of the stations", vector, optional=True)
    yield QgsProcessingParameterNumber("HORIZON", "Horizon (steps)", WHOLE, 0, minValue=0)
    kinds = {"options": ["mean", "sum"], "defaultValue": "mean", "usesStaticStrings": True}
    yield QgsProcessingParameterEnum("SUM", "Values are", **kinds)


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
    model = QgsProcessingModelAlgorithm("stationforecast", "forecasting")
    for place, parameter in enumerate(inputs()):
        parameter.setHelp(HELP[parameter.name()])
        box = QgsProcessingModelParameter(parameter.name())
        box.setPosition(QPointF(110, 60 + 62 * place))
        box.setSize(QSizeF(230, 32))
        model.addModelParameter(parameter, box)
    fields = {
        "INPUT": "SERIES",
        "STATION_FIELD": "STATION",
        "TIME_FIELD": "TIME",
        "VALUE_FIELD": "VALUE",
        "STATIONS": "STATIONS",
    }
    both = {name: source.fromModelParameter(given) for name, given in fields.items()}
    horizon = {"HORIZON": source.fromModelParameter("HORIZON"), "QUANTITY": source.fromModelParameter("SUM")}
    outputs = [("OUTPUT", "MODEL", "Model"), ("REPORT", "REPORT", "Report"), ("SKILL", "SKILL", "Skill")]
    model.addChildAlgorithm(step("trainforecaster", "Train and judge", 0, both | horizon, outputs))
    trained = {"MODEL": source.fromChildOutput("trainforecaster", "OUTPUT")}
    model.addChildAlgorithm(step("forecastseries", "Forecast", 1, both | trained, [("OUTPUT", "FORECAST", "Forecast")]))
    model.setHelpContent(HELP)
    model.setParameterOrder([parameter.name() for parameter in inputs()])
    model.updateDestinationParameters()
    return model


def main():
    """Write the model, or say why it would not run."""
    with tempfile.TemporaryDirectory(prefix="geodl-profile-") as profile:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", profile)
        application = QgsApplication([], False)
        QgsApplication.initQgis()
        plugin = GeoDLPlugin(None)
        plugin.initProcessing()
        model = build()
        fine, why = model.validate()
        if fine:
            PATH.parent.mkdir(exist_ok=True)
            fine, why = model.toFile(str(PATH)), [f"{PATH} could not be written."]
        del model
        plugin.unload()
        QgsApplication.exitQgis()
        del application
    if not fine:
        sys.exit("\n".join(why))


if __name__ == "__main__":
    main()
