"""The parameters that say where station series are and how they are read: the same for training and for forecasting."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorLayer,
)

from .base import GeoDLAlgorithm

MISSING_CODES = "---, -9999, -99999, 99999, -999.9, NA, NaN"


class SeriesAlgorithm(GeoDLAlgorithm):
    """An algorithm that reads station series. `AS_TRAINED` says that fields left empty are named as in training."""

    INPUT, NETCDF, STATIONS, STATIONS_ID_FIELD = "INPUT", "NETCDF", "STATIONS", "STATIONS_ID_FIELD"
    STATION_FIELD, TIME_FIELD, VALUE_FIELD = "STATION_FIELD", "TIME_FIELD", "VALUE_FIELD"
    COVARIATES, ELEVATION_FIELD, MISSING = "COVARIATES", "ELEVATION_FIELD", "MISSING_CODES"
    TIME_FORMAT, TIME_ZONE, DUPLICATES, HORIZON = "TIME_FORMAT", "TIME_ZONE", "DUPLICATES", "HORIZON"
    AS_TRAINED = False

    def add_series(self) -> None:
        """Add where the series and the stations are."""
        vector = [QgsProcessing.SourceType.TypeVector]
        self.add(
            QgsProcessingParameterVectorLayer(self.INPUT, self.tr("Series"), vector, optional=True),
            help=self.tr(
                "Point layer or table with one row a station and time, or a wide table with a column a date. A CF NetCDF file "
                "goes into NETCDF instead."
            ),
        )
        self._field(
            self.STATION_FIELD,
            self.tr("Field with the station"),
            self.tr("Station id, kept as text: leading zeros matter. If empty, the place names the station."),
        )
        self._field(
            self.TIME_FIELD,
            self.tr("Field with the time"),
            self.tr("Date, date and time, or text (2014-07-01, 201407). Empty for a wide table."),
        )
        self._field(
            self.VALUE_FIELD,
            self.tr("Fields to forecast"),
            self.tr("One or more variables; each is forecast by itself and judged by itself. Empty for a wide table."),
            several=True,
        )
        points = [QgsProcessing.SourceType.TypeVectorAnyGeometry]
        self.add(
            QgsProcessingParameterVectorLayer(self.STATIONS, self.tr("Points of the stations"), points, optional=True),
            help=self.tr("Needed if the series are a table. The ids must be the same texts in both."),
        )
        self.add(
            QgsProcessingParameterField(
                self.STATIONS_ID_FIELD,
                self.tr("Field with the station id of the points"),
                parentLayerParameterName=self.STATIONS,
                optional=True,
            ),
            help=self._or_as_trained(self.tr("If empty, the field is named as in the series.")),
        )

    def add_horizon(self, help: str) -> None:
        """Add the horizon."""
        self.add_number(
            self.HORIZON,
            self.tr("Horizon (steps)"),
            self.WHOLE,
            0,
            help,
            minValue=0,
        )

    def add_reading(self) -> None:
        """Add how the rows are read (advanced)."""
        self.add(
            QgsProcessingParameterFile(
                self.NETCDF, self.tr("CF NetCDF file"), fileFilter=self.tr("NetCDF (*.nc *.nc4 *.cdf)"), optional=True
            ),
            help=self.tr(
                "Station series (featureType timeSeries) instead of a layer. VALUE_FIELD then names variables of the file; if "
                "empty, the first one over time is taken. The stations' places and ids stand in the file."
            ),
            advanced=True,
        )
        self._field(
            self.COVARIATES,
            self.tr("Covariates"),
            self.tr(
                "Further fields whose past may help, such as pressure for temperature. Forecasting needs them, too."
            ),
            several=True,
            advanced=True,
        )
        texts = (
            (
                self.ELEVATION_FIELD,
                self.tr("Field with the elevation"),
                self.tr("Of the points (or of the series' layer); given to the model."),
                None,
            ),
            (
                self.MISSING,
                self.tr("Missing codes"),
                self.tr("Texts and numbers that stand for a missing value, separated by commas."),
                MISSING_CODES,
            ),
            (
                self.TIME_FORMAT,
                self.tr("Time format"),
                self.tr("As for strptime (%d/%m/%Y), where times are texts that could be read in two ways."),
                None,
            ),
            (
                self.TIME_ZONE,
                self.tr("Time zone"),
                self.tr(
                    "Where the clock of times without a zone hangs, such as Europe/Dublin: they are brought to UTC, with the "
                    "hour that comes twice in autumn told apart. Empty: they are UTC. Days, months and years stay as they are."
                ),
                None,
            ),
        )
        for name, title, help, default in texts:
            self.add(
                QgsProcessingParameterString(name, title, defaultValue=default, optional=True),
                help=help if default else self._or_as_trained(help),
                advanced=True,
            )
        self.add_choice(
            self.DUPLICATES,
            self.tr("Rows of the same station and time"),
            ("refuse", "mean", "first"),
            self.tr("Refuse them, take their mean, or the first."),
            advanced=True,
        )

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Ask for one source of series."""
        given = [name for name in (self.INPUT, self.NETCDF) if parameters.get(name) not in (None, "")]
        if len(given) != 1:
            return False, self.tr("Give the series either as a layer or table (INPUT) or as a CF NetCDF file (NETCDF).")
        return super().checkParameterValues(parameters, context)

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the settings; the job has one input, whatever kind it is of."""
        settings = super().settings(parameters, context, feedback)
        if "netcdf" in settings:
            settings["input"] = settings.pop("netcdf")
        return settings

    def _field(self, name: str, title: str, help: str, *, several: bool = False, advanced: bool = False) -> None:
        definition = QgsProcessingParameterField(
            name, title, parentLayerParameterName=self.INPUT, allowMultiple=several, optional=True
        )
        self.add(definition, help=self._or_as_trained(help), advanced=advanced)

    def _or_as_trained(self, help: str) -> str:
        return self.tr("If empty, as it was in training.") if self.AS_TRAINED else help
