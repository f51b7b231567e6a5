"""
What the neighbours say: a correction of each station's own to the common ridge, from the latest anomalies around it.

Weather travels, so the station upwind knows more than the mean of all. The weights differ from station to station and are
shrunk towards none, by as much as leaving out whole stretches of time says, for all stations together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..ranks import Ranks
from .seasons import Array

MOST_NEIGHBOURS = 16  # the station itself is one of them
_LEAST_WINDOWS = 20  # a neighbour
_BLOCKS = 6
_AT_ONCE = 512  # stations whose equations are solved together
_PENALTIES = 10.0 ** np.arange(-2.0, 3.1, 0.5)


@dataclass(frozen=True)
class Neighbours:
    """
    Weights of the neighbours.

    Attributes
    ----------
    index : (station, neighbour)
        Which training stations they are.
    weights : (station, neighbour, lead)
    """

    index: npt.NDArray[np.int64]
    weights: Array

    def predict(self, latest: Array, keys: npt.NDArray[np.int64]) -> Array:
        """
        Return the correction of each station: (station, lead); none for stations that were not trained.

        Parameters
        ----------
        latest : (station,)
            Latest anomalies of the stations at hand.
        keys : (station,)
            Which training stations these are, -1 for others.
        """
        everyone = np.zeros(len(self.index) + 1)  # the last place is for the unknown
        known = keys >= 0
        everyone[keys[known]] = latest[known]
        result = np.zeros((len(keys), self.weights.shape[2]))
        result[known] = np.einsum("sn,snl->sl", everyone[self.index[keys[known]]], self.weights[keys[known]])
        return result


def nearest(coordinates: Array | None, regions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each station itself and its nearest within its region: (station, neighbour); -1 where there are fewer."""
    stations = len(regions)
    sizes = np.bincount(regions)
    count = int(min(MOST_NEIGHBOURS, sizes.max()))
    result = np.full((stations, count), -1, dtype=np.int64)
    for region in np.flatnonzero(sizes):
        members = np.flatnonzero(regions == region)
        if coordinates is None:
            distance = np.abs(members[:, None] - members[None, :]).astype(float)
        else:
            distance = np.linalg.norm(coordinates[members][:, None] - coordinates[members][None], axis=2)
        order = np.argsort(distance, axis=1, kind="stable")[:, :count]
        result[members, : order.shape[1]] = members[order]
    return result


class NeighbourSums:
    """
    The sums that the weights of all stations need, gathered part by part, so that windows need not stay in memory.

    Parameters
    ----------
    index : (station, neighbour)
    leads : int
    first, last : int
        The origins lie from ``first`` to ``last``.
    """

    def __init__(self, index: npt.NDArray[np.int64], leads: int, first: int, last: int) -> None:
        stations, count = index.shape
        self.index = index
        self._edges = np.linspace(first, last, _BLOCKS + 1)
        self._gram = np.zeros((stations, _BLOCKS, count, count), dtype=np.float32)
        self._right = np.zeros((stations, _BLOCKS, count, leads), dtype=np.float32)
        self._size = np.zeros(stations)

    @property
    def windows_wanted(self) -> int:
        """The windows a station that its weights need."""
        return _LEAST_WINDOWS * self.index.shape[1]

    def add(self, near: npt.NDArray[np.float32], rest: Array, where: npt.NDArray[np.int64]) -> None:
        """
        Take in all the windows of some stations.

        Parameters
        ----------
        near : (window, neighbour)
            Latest anomalies of the neighbours, 0 where missing.
        rest : (window, lead)
            What the common ridge left; NaN where nothing was observed.
        where : (window, 2)
            Station and origin.
        """
        block = np.clip(np.searchsorted(self._edges, where[:, 1], side="right") - 1, 0, _BLOCKS - 1)
        key = where[:, 0] * _BLOCKS + block
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        design, wanted = near[order].astype(float), np.nan_to_num(rest[order])
        for start, stop in zip(starts, np.append(starts[1:], len(order))):
            station, part = divmod(int(key[order[start]]), _BLOCKS)
            own = design[start:stop]
            self._gram[station, part] = own.T @ own
            self._right[station, part] = own.T @ wanted[start:stop]
            self._size[station] += stop - start

    def join(self, ranks: Ranks) -> None:
        """Add up what all processes have taken in."""
        self._gram, self._right, self._size = (ranks.sum(one) for one in (self._gram, self._right, self._size))

    def solve(self) -> Neighbours | None:
        """Choose the penalty by leaving out one stretch of time after the other; none where there are too few windows."""
        stations, count = self.index.shape
        if count < 2 or self._size.sum() < self.windows_wanted * stations:
            return None
        leads = self._right.shape[3]
        errors = np.zeros((len(_PENALTIES), leads))
        unit = np.maximum(self._size, 1)[:, None, None] * np.eye(count)
        for at in range(0, stations, _AT_ONCE):
            some = slice(at, at + _AT_ONCE)
            grams, rights = self._gram[some].astype(float), self._right[some].astype(float)
            gram, right = grams.sum(axis=1), rights.sum(axis=1)
            for left_out in range(_BLOCKS):
                own, wanted = grams[:, left_out], rights[:, left_out]
                for row, penalty in enumerate(_PENALTIES):
                    found = np.linalg.solve(gram - own + penalty * unit[some], right - wanted)
                    errors[row] += (found * (own @ found - 2 * wanted)).sum(axis=(0, 1))
        best = _PENALTIES[errors.argmin(axis=0)]
        helps = errors.min(axis=0) < 0  # less than no correction at all
        weights = np.zeros((stations, count, leads))
        for at in range(0, stations, _AT_ONCE):
            some = slice(at, at + _AT_ONCE)
            gram = self._gram[some].astype(float).sum(axis=1)
            right = self._right[some].astype(float).sum(axis=1)
            for penalty in np.unique(best[helps]):
                chosen = helps & (best == penalty)
                weights[some, :, chosen] = np.linalg.solve(gram + penalty * unit[some], right[:, :, chosen])
        return Neighbours(self.index, weights)
