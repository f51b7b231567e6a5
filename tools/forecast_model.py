"""
Write the graphical model of the forecasting chain: geodl_qgis_plugin/models/station_forecast.model3.

    .venv/bin/python tools/forecast_model.py
"""

from graphical_model import WHOLE, begin, source, step, write
from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterEnum,
    QgsProcessingParameterField,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorLayer,
)

HELP = {
    "SHORT_DESCRIPTION": "From station series to a forecast, with intervals, skill and a report.",
    "ALG_DESC": "From station series to a forecast that animates, with intervals, skill and an honest report.",
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


def build():
    """Return the model."""
    model = begin("stationforecast", "forecasting", inputs(), HELP)
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
    return model


if __name__ == "__main__":
    write({"station_forecast.model3": build})
