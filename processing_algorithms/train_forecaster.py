"""geodl:trainforecaster: learn from station series, judge the forecasts honestly, and keep the model."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterVectorDestination,
)

from .series_parameters import SeriesAlgorithm

STEPS = ["found", "hour", "3 hours", "6 hours", "day", "week", "month", "quarter", "year"]


class TrainForecaster(SeriesAlgorithm):
    """Trains a forecaster of station series."""

    NAME, GROUP_ID = "trainforecaster", "forecasting"
    INPUT_LENGTH, ARCHITECTURE, QUANTITY = "INPUT_LENGTH", "ARCHITECTURE", "QUANTITY"
    TRANSFORM, STEP, USE_COORDINATES, ORIGINS = "TRANSFORM", "STEP", "USE_COORDINATES", "ORIGINS"
    COMPARE, SEED = "COMPARE_STATISTICAL", "SEED"
    OUTPUT, REPORT, SKILL = "OUTPUT", "REPORT", "SKILL"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Train forecaster")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Learn to forecast station series, and say honestly whether that beats climatology.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Give a point layer with one feature a station and time; or a table and, under STATIONS, the points; or a wide "
            "table with a column a date (leave TIME_FIELD empty); or, under NETCDF, a CF NetCDF station file. The step, from "
            "hours to years, and the season are found and told.</p>"
            "<p>What is normal for the place and the season is taken off first; a ridge regression and a small LSTM, one for "
            "all stations, forecast what is left. A lead time at which earlier origins show no skill gets the best baseline "
            "instead. The report compares with persistence, the last season and climatology at rolling origins that the model "
            "never saw.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add_series()
        self.add_horizon(self.tr("How many steps to forecast. 0: a year of months, two weeks of days, a day of hours."))
        self._how()
        self.add_reading()
        self._advanced()
        self.add(
            QgsProcessingParameterFileDestination(self.OUTPUT, self.tr("Model"), self.tr("GeoDL model (*.geodl)")),
            help=self.tr("The trained model, with its report inside. Nothing in it can execute."),
        )
        self.add(
            QgsProcessingParameterFileDestination(
                self.REPORT, self.tr("Report"), self.tr("HTML page (*.html)"), optional=True, createByDefault=True
            ),
            help=self.tr("What was found in the data, the skill by lead time and station, and the table of baselines."),
        )
        self.add(
            QgsProcessingParameterVectorDestination(
                self.SKILL,
                self.tr("Skill"),
                QgsProcessing.SourceType.TypeVectorPoint,
                optional=True,
                createByDefault=True,
            ),
            help=self.tr("One point a station, coloured by skill against climatology, about zero."),
        )
        self.add_output(QgsProcessingOutputNumber("MASE", self.tr("MASE (1 is the seasonal naive error)")))
        self.add_output(QgsProcessingOutputNumber("MAE", self.tr("Mean absolute error")))
        self.add_output(QgsProcessingOutputNumber("COVERAGE", self.tr("Share of values inside the 90 % intervals")))

    def _how(self) -> None:
        self.add_choice(
            self.QUANTITY,
            self.tr("Values are"),
            ("mean", "sum"),
            self.tr(
                "Means over a step (temperature, level) or sums (rain, sunshine). Sums are forecast as square roots."
            ),
        )
        self.add_choice(
            self.ARCHITECTURE,
            self.tr("Architecture"),
            ("anomaly", "classic"),
            self.tr(
                "anomaly: climatology, ridge and a small LSTM on anomalies, with a skill gate. classic: the LSTM of 50 units "
                "of the textbooks, to compare with; it is seldom better than climatology."
            ),
        )

    def _advanced(self) -> None:
        self.add_number(
            self.INPUT_LENGTH,
            self.tr("Input length (steps)"),
            self.WHOLE,
            0,
            self.tr("How many past steps the model sees. 0: a year of months, two weeks of days, two days of hours."),
            advanced=True,
            minValue=0,
        )
        self.add_choice(
            self.STEP,
            self.tr("Step"),
            STEPS,
            self.tr("Brings values to a longer or regular step, as means or sums. found: the step of the data."),
            advanced=True,
        )
        self.add_choice(
            self.TRANSFORM,
            self.tr("Transform"),
            ("auto", "none", "sqrt"),
            self.tr(
                "auto takes the square root of sums, and of other values where none is negative and the root is less skewed."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(
                self.USE_COORDINATES, self.tr("Give the model the coordinates"), defaultValue=False
            ),
            help=self.tr("May help where the stations cover several climates."),
            advanced=True,
        )
        self.add_number(
            self.ORIGINS,
            self.tr("Scored origins"),
            self.WHOLE,
            0,
            self.tr("How many rolling origins are scored, in the last quarter of the record. 0: up to 24."),
            advanced=True,
            minValue=0,
        )
        self.add_choice(
            self.COMPARE,
            self.tr("Compare with ETS and ARIMA"),
            ("auto", "yes", "no"),
            self.tr(
                "ETS and ARIMA of the Python package statsforecast at the same origins. auto: where it is installed, ETS with "
                "up to 400 stations and ARIMA with up to 40. yes: with all of them, which may take long."
            ),
            advanced=True,
        )
        self.add_number(
            self.SEED,
            self.tr("Seed"),
            self.WHOLE,
            0,
            self.tr("The same seed gives the same model on the same machine."),
            advanced=True,
            minValue=0,
        )
