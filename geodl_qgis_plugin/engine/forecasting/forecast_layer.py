"""
The forecast layer: one point a station, variable and step, with intervals, climatology and anomaly, dated so that it animates.

A period ends just before the next begins: with `t_end` equal to the next `t_start` the Temporal Controller shows two at once.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .fan_picture import fan_picture
from .forecaster import Prediction
from .frequency import DAY_S, Frequency
from .geopackage import write_points
from .networks import QUANTILES
from .seasons import Array
from .series import StationSeries
from .styles import forecast_style

LAYER = "forecast"
_BOUNDS = {"low_80": 0.1, "high_80": 0.9, "low_90": 0.05, "high_90": 0.95}
_REALS = ("value", "median", "mean", "low_80", "high_80", "low_90", "high_90", "climatology", "anomaly", "width_80")
_MOST_PICTURES = 2000


class ForecastLayer:
    """Gathers the rows of all variables, then writes them."""

    def __init__(self, series: StationSeries, origin: int, model: str) -> None:
        self._series, self._origin, self._model = series, origin, model
        self._daily = series.frequency.unit == "month" or series.frequency.count % DAY_S == 0
        time = "date" if self._daily else "datetime"
        self.fields = {
            "station": "text",
            "variable": "text",
            "t_start": time,
            "t_end": time,
            "lead_time": "int",
            "kind": "text",
        }
        self.fields |= dict.fromkeys(_REALS, "real") | {"model": "text", "fan": "text"}
        self._columns: dict[str, list[Any]] = {name: [] for name in self.fields}
        self._places: list[Array] = []

    def add(
        self, variable: str, stations: npt.NDArray[np.int64], past: Array, past_normal: Array, found: Prediction
    ) -> None:
        """
        Add one variable.

        Parameters
        ----------
        stations : (row,) int
            Which stations of the series the rows are.
        past, past_normal : (row, step)
            What was measured up to the origin, and the normals of those steps.
        """
        steps, horizon = past.shape[1], found.mean.shape[1]
        first = self._origin - steps
        starts = [_stamp(self._series, column, self._daily) for column in range(first, self._origin + horizon)]
        ends = [_stamp(self._series, column, self._daily, end=True) for column in range(first, self._origin + horizon)]
        pictures = len(stations) <= _MOST_PICTURES
        for row, station in enumerate(stations):
            fan = ""
            if pictures:
                joined = np.concatenate([past_normal[row], found.normal[row]])
                labels = (starts[0][:10], starts[steps][:10], starts[-1][:10])
                svg = fan_picture(past[row], found.quantiles[row], joined, labels)
                fan = base64.b64encode(svg.encode()).decode()
            for column in range(steps):
                if np.isfinite(past[row, column]):
                    values = {
                        "value": past[row, column],
                        "median": past[row, column],
                        "climatology": past_normal[row, column],
                    }
                    values["anomaly"] = values["value"] - values["climatology"]
                    self._row(
                        variable, int(station), starts[column], ends[column], column - steps + 1, "history", values, ""
                    )
            for lead in range(horizon):
                values = {name: found.quantiles[row, lead, QUANTILES.index(level)] for name, level in _BOUNDS.items()}
                values |= {
                    "median": found.median[row, lead],
                    "mean": found.mean[row, lead],
                    "climatology": found.normal[row, lead],
                }
                values["anomaly"] = values["median"] - values["climatology"]
                values["width_80"] = values["high_80"] - values["low_80"]
                at = steps + lead
                self._row(
                    variable, int(station), starts[at], ends[at], lead + 1, "forecast", values, fan if lead == 0 else ""
                )

    def write(self, path: str | Path) -> int:
        """Write the layer and return the number of its features."""
        anomaly = np.array(self._columns["anomaly"], dtype=float)
        width = np.array([np.nan if value is None else value for value in self._columns["width_80"]], dtype=float)
        qml = forecast_style(anomaly, width, *frame(self._series.frequency), daily=self._daily)
        write_points(path, LAYER, np.array(self._places), self._series.crs, self.fields, self._columns, qml)
        return len(self._places)

    def _row(
        self,
        variable: str,
        station: int,
        start: str,
        end: str,
        lead: int,
        kind: str,
        values: dict[str, float],
        fan: str,
    ) -> None:
        columns = self._columns
        for name, value in zip(
            ("station", "variable", "t_start", "t_end", "lead_time", "kind", "model", "fan"),
            (self._series.stations[station], variable, start, end, lead, kind, self._model, fan or None),
        ):
            columns[name].append(value)
        for name in _REALS:
            columns[name].append(values.get(name, np.nan))
        self._places.append(self._series.coordinates[station])


def frame(frequency: Frequency) -> tuple[float, str]:
    """Return the length of one period and its unit, as QGIS names it."""
    if frequency.unit == "month":
        return float(frequency.count), "mo"
    for size, unit in ((DAY_S, "d"), (3600, "h"), (60, "min")):
        if frequency.count % size == 0:
            return frequency.count / size, unit
    return float(frequency.count), "s"


def _stamp(series: StationSeries, column: int, daily: bool, *, end: bool = False) -> str:
    if not end:
        time = series.start(column)
    elif daily:
        time = series.start(column + 1) - np.timedelta64(1, "D")
    else:
        time = series.start(column + 1) - np.timedelta64(1, "s")
    text = str(time.astype("datetime64[s]"))
    return text[:10] if daily else text + "Z"
