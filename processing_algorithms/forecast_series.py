"""geodl:forecastseries: forecast from the latest values with a trained model, as a point layer that animates."""

from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .series_parameters import SeriesAlgorithm


class ForecastSeries(SeriesAlgorithm):
    """Forecasts station series with a trained model."""

    NAME, GROUP_ID = "forecastseries", "forecasting"
    AS_TRAINED = True
    MODEL, HISTORY, VARIABLE, SCHEDULER = "MODEL", "HISTORY", "VARIABLE", "SCHEDULER"
    OUTPUT, CHARTS = "OUTPUT", "CHARTS"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Forecast series")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr(
            "Forecast from the latest values, with intervals, as points that animate in the Temporal Controller."
        )

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Give all rows that there are, not only the latest: what is normal at a station is worked out from them. Rows "
            "may have been appended since training, and stations may be new. The forecast begins after the last step of the "
            "input.</p>"
            "<p>Points are coloured by anomaly, and the larger they are the less certain. Hold the mouse over one (with map "
            "tips on) for its chart.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterFile(self.MODEL, self.tr("Model"), extension="geodl"),
            help=self.tr("A model made by “Train forecaster”."),
        )
        self.add_series()
        self.add_horizon(self.tr("How many steps to forecast, at most as many as in training. 0: as many."))
        self.add_number(
            self.HISTORY,
            self.tr("Past steps in the layer"),
            self.WHOLE,
            -1,
            self.tr("Measured steps before the forecast that are put into the layer. -1: some that suit the step."),
            advanced=True,
            minValue=-1,
        )
        self.add(
            QgsProcessingParameterString(self.VARIABLE, self.tr("Variable"), optional=True),
            help=self.tr("The model's name of the variable, where the field is named otherwise."),
            advanced=True,
        )
        self.add_reading()
        self.add(
            QgsProcessingParameterString(self.SCHEDULER, self.tr("Dask scheduler"), optional=True),
            help=self.tr(
                "Address (tcp://host:8786) of a Dask cluster that forecasts stations in parts, or local:4 for four workers on "
                "this computer. Empty for one process. The forecast is the same; worth it from some thousand stations on. "
                "Needs the Python package distributed, and GeoDL on every worker."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterVectorDestination(
                self.OUTPUT, self.tr("Forecast"), QgsProcessing.SourceType.TypeVectorPoint
            ),
            help=self.tr(
                "One point a station and step, with median, mean, intervals, climatology and anomaly; styled and dated."
            ),
        )
        self.add(
            QgsProcessingParameterFileDestination(
                self.CHARTS, self.tr("Charts"), self.tr("HTML page (*.html)"), optional=True, createByDefault=True
            ),
            help=self.tr("A page with each station's fan chart."),
        )

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the job; where QGIS will load the layer, have it animate at once."""
        results = super().processAlgorithm(parameters, context, feedback)
        path = results.get(self.OUTPUT)
        if path and context.willLoadLayerOnCompletion(path):
            animation = _Animation()
            _Animation.alive.append(animation)
            context.layerToLoadOnCompletionDetails(path).setPostProcessor(animation)
        return results


class _Animation(QgsProcessingLayerPostProcessorInterface):
    """Loads the style that lies in the file once more: QGIS switches its temporal part off while it makes the layer."""

    # QGIS takes no reference: one that Python has collected ends QGIS when the layer is loaded.
    alive: "list[_Animation]" = []

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Style the layer and switch its time on."""
        layer.loadDefaultStyle()
        layer.temporalProperties().setIsActive(True)
        layer.triggerRepaint()
