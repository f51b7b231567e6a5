"""geodl:trainforecaster: learn from station series, judge the forecasts honestly, and keep the model."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingParameterVectorLayer,
)

from .base import GeoDLAlgorithm

STEPS = ["found", "hour", "3 hours", "6 hours", "day", "week", "month", "quarter", "year"]
MISSING_CODES = "---, -9999, -99999, 99999, -999.9, NA, NaN"


class TrainForecaster(GeoDLAlgorithm):
    """Trains a forecaster of station series."""

    NAME, GROUP_ID = "trainforecaster", "forecasting"
    INPUT, STATION_FIELD, TIME_FIELD, VALUE_FIELD = "INPUT", "STATION_FIELD", "TIME_FIELD", "VALUE_FIELD"
    STATIONS, STATIONS_ID_FIELD, HORIZON, INPUT_LENGTH = "STATIONS", "STATIONS_ID_FIELD", "HORIZON", "INPUT_LENGTH"
    ARCHITECTURE, QUANTITY, TRANSFORM, STEP = "ARCHITECTURE", "QUANTITY", "TRANSFORM", "STEP"
    COVARIATES, ELEVATION_FIELD, USE_COORDINATES = "COVARIATES", "ELEVATION_FIELD", "USE_COORDINATES"
    MISSING, TIME_FORMAT, DUPLICATES, ORIGINS = "MISSING_CODES", "TIME_FORMAT", "DUPLICATES", "ORIGINS"
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
            "table with a column a date (leave TIME_FIELD empty); or a CF NetCDF station file. The step, from hours to years, "
            "and the season are found and told.</p>"
            "<p>What is normal for the place and the season is taken off first; a ridge regression and a small LSTM, "
            "one for all "
            "stations, forecast what is left. A lead time at which earlier origins show no skill gets the best "
            "baseline instead. "
            "The report compares with persistence, the last season and climatology at rolling origins that the model "
            "never saw.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self._where()
        self._how()
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

    def _where(self) -> None:
        self.add(
            QgsProcessingParameterVectorLayer(self.INPUT, self.tr("Series"), [QgsProcessing.SourceType.TypeVector]),
            help=self.tr("Point layer or table with one row a station and time, a wide table, or a CF NetCDF file."),
        )
        self.add(
            QgsProcessingParameterField(
                self.STATION_FIELD,
                self.tr("Field with the station"),
                parentLayerParameterName=self.INPUT,
                optional=True,
            ),
            help=self.tr("Station id, kept as text: leading zeros matter. If empty, the place names the station."),
        )
        self.add(
            QgsProcessingParameterField(
                self.TIME_FIELD, self.tr("Field with the time"), parentLayerParameterName=self.INPUT, optional=True
            ),
            help=self.tr(
                "Date, date and time, or text (2014-07-01, 201407). Times with a zone are brought to UTC. "
                "Empty for a wide table."
            ),
        )
        self.add(
            QgsProcessingParameterField(
                self.VALUE_FIELD,
                self.tr("Fields to forecast"),
                parentLayerParameterName=self.INPUT,
                allowMultiple=True,
                optional=True,
            ),
            help=self.tr(
                "One or more variables; each is forecast by itself and judged by itself. Empty for a wide table."
            ),
        )
        self.add(
            QgsProcessingParameterVectorLayer(
                self.STATIONS,
                self.tr("Points of the stations"),
                [QgsProcessing.SourceType.TypeVectorAnyGeometry],
                optional=True,
            ),
            help=self.tr("Needed if the series are a table. The ids must be the same texts in both."),
        )
        self.add(
            QgsProcessingParameterField(
                self.STATIONS_ID_FIELD,
                self.tr("Field with the station id of the points"),
                parentLayerParameterName=self.STATIONS,
                optional=True,
            ),
            help=self.tr("If empty, the field is named as in the series."),
        )

    def _how(self) -> None:
        whole = QgsProcessingParameterNumber.Type.Integer
        self.add(
            QgsProcessingParameterNumber(self.HORIZON, self.tr("Horizon (steps)"), whole, defaultValue=0, minValue=0),
            help=self.tr("How many steps to forecast. 0: a year of months, two weeks of days, a day of hours."),
        )
        self.add(
            QgsProcessingParameterEnum(
                self.QUANTITY, self.tr("Values are"), ["mean", "sum"], defaultValue="mean", usesStaticStrings=True
            ),
            help=self.tr(
                "Means over a step (temperature, level) or sums (rain, sunshine). Sums are forecast as square roots."
            ),
        )
        self.add(
            QgsProcessingParameterEnum(
                self.ARCHITECTURE,
                self.tr("Architecture"),
                ["anomaly", "classic"],
                defaultValue="anomaly",
                usesStaticStrings=True,
            ),
            help=self.tr(
                "anomaly: climatology, ridge and a small LSTM on anomalies, with a skill gate. classic: the LSTM of "
                "50 units of the "
                "textbooks, to compare with; it is seldom better than climatology."
            ),
        )

    def _advanced(self) -> None:
        whole = QgsProcessingParameterNumber.Type.Integer
        self.add(
            QgsProcessingParameterNumber(
                self.INPUT_LENGTH, self.tr("Input length (steps)"), whole, defaultValue=0, minValue=0
            ),
            help=self.tr(
                "How many past steps the model sees. 0: a year of months, two weeks of days, two days of hours."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(self.STEP, self.tr("Step"), STEPS, defaultValue="found", usesStaticStrings=True),
            help=self.tr("Brings values to a longer or regular step, as means or sums. found: the step of the data."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                self.TRANSFORM,
                self.tr("Transform"),
                ["auto", "none", "sqrt"],
                defaultValue="auto",
                usesStaticStrings=True,
            ),
            help=self.tr(
                "auto takes the square root of sums, and of other values where none is negative and the root is less skewed."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterField(
                self.COVARIATES,
                self.tr("Covariates"),
                parentLayerParameterName=self.INPUT,
                allowMultiple=True,
                optional=True,
            ),
            help=self.tr(
                "Further fields whose past may help, such as pressure for temperature. Forecasting needs them, too."
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(self.ELEVATION_FIELD, self.tr("Field with the elevation"), optional=True),
            help=self.tr("Of the points (or of the series' layer); given to the model."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(
                self.USE_COORDINATES, self.tr("Give the model the coordinates"), defaultValue=False
            ),
            help=self.tr("May help where the stations cover several climates."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(
                self.MISSING, self.tr("Missing codes"), defaultValue=MISSING_CODES, optional=True
            ),
            help=self.tr("Texts and numbers that stand for a missing value, separated by commas."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(self.TIME_FORMAT, self.tr("Time format"), optional=True),
            help=self.tr("As for strptime (%d/%m/%Y), where times are texts that could be read in two ways."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterEnum(
                self.DUPLICATES,
                self.tr("Rows of the same station and time"),
                ["refuse", "mean", "first"],
                defaultValue="refuse",
                usesStaticStrings=True,
            ),
            help=self.tr("Refuse them, take their mean, or the first."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(self.ORIGINS, self.tr("Scored origins"), whole, defaultValue=0, minValue=0),
            help=self.tr("How many rolling origins are scored, in the last quarter of the record. 0: up to 24."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(self.COMPARE, self.tr("Compare with ETS and ARIMA"), defaultValue=False),
            help=self.tr("Needs the package statsforecast; slow with many stations."),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(self.SEED, self.tr("Seed"), whole, defaultValue=0, minValue=0),
            help=self.tr("The same seed gives the same model on the same machine."),
            advanced=True,
        )
