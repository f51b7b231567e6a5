"""
Series of stations on one step, a matrix of stations and steps for each variable, with what was odd about them, counted.

Nothing is ever filled in: a gap is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from osgeo import osr

from ..errors import SeriesError
from .columns import Finding
from .frequency import Frequency
from .seasons import Array, Calendar

DUPLICATES = ("refuse", "mean", "first")
QUANTITIES = ("mean", "sum")
LEAST_VALUES = 24
_FOLDS = ((np.minimum, np.inf), (np.maximum, -np.inf))


@dataclass(frozen=True)
class StationSeries:
    """
    Series of stations on one step.

    Attributes
    ----------
    first : int
        Number of the first period (`Frequency.number`).
    values : dict
        By variable: (station, time), NaN where missing.
    coordinates : (station, 2)
    elevation : (station,)
        NaN where unknown.
    """

    stations: list[str]
    frequency: Frequency
    first: int
    values: dict[str, Array]
    coordinates: Array
    crs: str
    elevation: Array
    findings: list[Finding]

    @property
    def length(self) -> int:
        """Number of steps."""
        return next(iter(self.values.values())).shape[1]

    @property
    def calendar(self) -> Calendar:
        """The steps in the year and the day."""
        return Calendar(self.frequency, self.first)

    def start(self, column: int) -> np.datetime64:
        """Return the time at which a column's period starts."""
        return np.datetime64(self.frequency.start(np.array([self.first + column]))[0])

    def only(self, keep: npt.NDArray[np.bool_], findings: list[Finding]) -> StationSeries:
        """Return the stations to keep, with what is to be told about the others."""
        if keep.all():  # many stations are not copied for nothing
            return replace(self, findings=[*self.findings, *findings])
        return replace(
            self,
            stations=[name for name, kept in zip(self.stations, keep) if kept],
            values={name: matrix[keep] for name, matrix in self.values.items()},
            coordinates=self.coordinates[keep],
            elevation=self.elevation[keep],
            findings=[*self.findings, *findings],
        )


def usable(series: StationSeries, variables: Sequence[str], least: int, horizon: int) -> StationSeries:
    """
    Leave out the stations that nothing can be learnt from, and tell which; refuse if none is left.

    A station that has enough of one variable and too little of another is kept, without the latter's values.

    Parameters
    ----------
    least : int
        Values that a station must have.
    """
    values, findings = dict(series.values), []
    some = np.zeros(len(series.stations), dtype=bool)
    for name in variables:
        keep, found = _usable(series, name, least, horizon)
        if not keep.all():
            values[name] = np.where(keep[:, None], series.values[name], np.nan)
        findings += found
        some |= keep
    return replace(series, values=values).only(some, findings)


def _usable(
    series: StationSeries, variable: str, least: int, horizon: int
) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    values = series.values[variable]
    counts = np.isfinite(values).sum(axis=1)
    if not counts.any():
        raise SeriesError(
            f"All {values.size:,} values of {variable} are missing. Choose another field, or check the missing codes."
        )
    low, high = (fold.reduce(values, axis=1, initial=empty, where=np.isfinite(values)) for fold, empty in _FOLDS)
    short, constant = counts < least, (low == high) & (counts > 0)
    keep = ~(short | constant)
    if not keep.any():
        if constant.any() and not (short & ~constant).any():
            raise SeriesError(
                f"The values of {variable} never change (all are {low[constant][0]:g}), so there is nothing to "
                "forecast. Choose another field."
            )
        best = int(counts.argmax())
        raise SeriesError(
            f"The longest series of {variable} ({series.stations[best]}) has {counts[best]} values, but {least} are "
            "needed for a horizon "
            f"of {horizon}. Give longer series, or choose a shorter horizon."
        )
    findings = []
    for mask, what in (
        (short, f"Stations left out of {variable}, with fewer than {least} values"),
        (constant & ~short, f"Stations left out of {variable}, whose values never change"),
    ):
        if mask.any():
            findings.append(
                Finding(what, int(mask.sum()), some_names([series.stations[i] for i in np.flatnonzero(mask)]))
            )
    return keep, findings


def last_seen(values: Array) -> npt.NDArray[np.int64]:
    """Return the last column with a value of each station, -1 if there is none."""
    seen = np.isfinite(values)
    last = values.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    return np.where(seen.any(axis=1), last, -1)


def is_geographic(crs: str) -> bool:
    """Whether coordinates in a CRS (WKT) are degrees; taken for granted where it is unknown."""
    if not crs:
        return True
    reference = osr.SpatialReference()
    reference.ImportFromWkt(crs)
    return bool(reference.IsGeographic())


def some_names(names: list[str], most: int = 6) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
