"""
Values of stations as they were read, given group of stations by group, so that what is worked out of them needs little room.

Tables have a row a station and time, in any order; NetCDF files mostly have one axis of times for all stations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .columns import Codes, Finding, count_codes
from .frequency import Times
from .seasons import Array

STATIONS_A_GROUP = 256


@dataclass(frozen=True)
class Group:
    """
    The rows of some stations, ordered by station and time; rows of the same station and time in the order of the source.

    Attributes
    ----------
    first, last : int
        The stations, ``last`` not included.
    station : (row,)
    moment : (row,)
        Index into the times of the whole.
    row : (row,)
        Place in the source.
    """

    first: int
    last: int
    station: npt.NDArray[np.int64]
    moment: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]

    @property
    def again(self) -> npt.NDArray[np.bool_]:
        """Which rows have the station and time of the one before: (row,)."""
        found = np.zeros(len(self.row), dtype=bool)
        found[1:] = (self.moment[1:] == self.moment[:-1]) & (self.station[1:] == self.station[:-1])
        return found


@dataclass
class LongRows:
    """
    A row a station and time.

    Attributes
    ----------
    station, moment : (row,)
        Indices into ``stations`` and ``times``.
    times : (moment,) datetime64[s]
        The distinct ones, ascending, in UTC.
    values : dict
        By variable: (row,), NaN where missing.
    """

    stations: list[str]
    station: Codes
    times: Times
    moment: Codes
    values: dict[str, Array]
    findings: list[Finding] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.station)

    @property
    def names(self) -> list[str]:
        """The variables."""
        return list(self.values)

    def moment_counts(self) -> npt.NDArray[np.int64]:
        """Return how many rows each time has."""
        return count_codes(self.moment, len(self.times))

    def groups(self) -> Iterator[Group]:
        """Give the rows of some hundred stations after the other."""
        in_order = all(
            bool((part[1:] >= part[:-1]).all()) for part in _overlapping(self.station)
        )  # the table lists one station after the other
        for first in range(0, len(self.stations), STATIONS_A_GROUP):
            last = min(first + STATIONS_A_GROUP, len(self.stations))
            if in_order:
                ends = np.array([first, last], dtype=self.station.dtype)  # else all of them are widened for it
                row = np.arange(*np.searchsorted(self.station, ends))
            elif last - first == len(self.stations):
                row = np.arange(len(self.station))
            else:
                row = np.flatnonzero((self.station >= first) & (self.station < last))
            key = self.station[row].astype(np.int64) * len(self.times) + self.moment[row]
            if (key[1:] < key[:-1]).any():
                order = np.argsort(key, kind="stable")
                row, key = row[order], key[order]
            yield Group(first, last, key // len(self.times), key % len(self.times), row)

    def column(self, name: str, group: Group) -> Array:
        """Return a variable's values of the group's rows."""
        return self.values[name][group.row]


@dataclass
class GridRows:
    """
    One axis of times for all stations.

    Attributes
    ----------
    times : (moment,) datetime64[s]
        In UTC, ascending and each once.
    names : list of str
    read : callable
        (variable, first station, last station) → (station, moment), NaN where missing.
    """

    stations: list[str]
    times: Times
    names: list[str]
    read: Callable[[str, int, int], Array]
    said: list[Finding] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.stations) * len(self.times)

    @property
    def findings(self) -> list[Finding]:
        """What was found so far: complete when all was read."""
        return [*self.said, *self._missing()]

    def _missing(self) -> list[Finding]:
        return [
            Finding(f"Missing values of {name} in the file", count) for name, count in self.missing.items() if count
        ]

    def moment_counts(self) -> npt.NDArray[np.int64]:
        """Return how many rows each time has."""
        return np.full(len(self.times), len(self.stations), dtype=np.int64)

    def groups(self) -> Iterator[Group]:
        """Give the rows of some stations after the other."""
        count = len(self.times)
        for first in range(0, len(self.stations), STATIONS_A_GROUP):
            last = min(first + STATIONS_A_GROUP, len(self.stations))
            station = np.repeat(np.arange(first, last), count)
            row = np.arange(first * count, last * count)
            yield Group(first, last, station, np.tile(np.arange(count), last - first), row)

    def column(self, name: str, group: Group) -> Array:
        """Return a variable's values of the group's rows."""
        return self.block(name, group.first, group.last).ravel()

    def block(self, name: str, first: int, last: int) -> Array:
        """Return the values of some stations, missing ones counted: (station, moment)."""
        found = self.read(name, first, last)
        self.missing[name] = self.missing.get(name, 0) + int(np.isnan(found).sum())
        return found


Rows = LongRows | GridRows


def on_one_axis(stations: list[str], times: Times, values: dict[str, Array], findings: list[Finding]) -> LongRows:
    """
    Return the rows of arrays (station, moment) that are in memory.

    Parameters
    ----------
    times : (moment,)
        In any order; some may be there twice.
    """
    distinct, place = np.unique(times, return_inverse=True)
    station = np.repeat(np.arange(len(stations), dtype=np.uint32), len(times))
    moment = np.tile(place.astype(np.uint32), len(stations))
    return LongRows(
        stations, station, distinct, moment, {name: matrix.ravel() for name, matrix in values.items()}, findings
    )


def _overlapping(codes: Codes, size: int = 1 << 22) -> Iterator[Codes]:
    for at in range(0, len(codes), size):
        yield codes[at : at + size + 1]
