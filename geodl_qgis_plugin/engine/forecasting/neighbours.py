"""
What the neighbours say: a correction of each station's own to the common ridge, from the latest anomalies around it.

Weather travels, so the station upwind knows more than the mean of all. The weights differ from station to station and are
shrunk towards none, by as much as leaving out whole stretches of time says, for all stations together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .seasons import Array

MOST_NEIGHBOURS = 16  # the station itself is one of them
_LEAST_WINDOWS = 20  # a neighbour
_BLOCKS = 6
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


def fit_neighbours(
    near: npt.NDArray[np.float32],
    rest: npt.NDArray[np.float32],
    station: npt.NDArray[np.int64],
    origin: npt.NDArray[np.int64],
    index: npt.NDArray[np.int64],
) -> Neighbours | None:
    """
    Fit the weights; none where there are too few windows a station.

    Parameters
    ----------
    near : (window, neighbour)
        Latest anomalies of the neighbours, 0 where missing.
    rest : (window, lead)
        What the common ridge left; NaN where nothing was observed.
    station, origin : (window,)
    index : (station, neighbour)
    """
    stations, count = index.shape
    if count < 2 or len(near) < _LEAST_WINDOWS * count * stations:
        return None
    leads = rest.shape[1]
    block = np.minimum((origin - origin.min()) * _BLOCKS // max(1, int(np.ptp(origin)) + 1), _BLOCKS - 1)
    errors = np.zeros((len(_PENALTIES), leads))
    sums = []
    for one in range(stations):
        rows = station == one
        design, wanted, part = near[rows].astype(float), np.nan_to_num(rest[rows].astype(float)), block[rows]
        grams = np.stack([design[part == b].T @ design[part == b] for b in range(_BLOCKS)])
        rights = np.stack([design[part == b].T @ wanted[part == b] for b in range(_BLOCKS)])
        gram, right, size = grams.sum(axis=0), rights.sum(axis=0), len(design)
        sums.append((gram, right, size))
        for b in range(_BLOCKS):
            for at, penalty in enumerate(_PENALTIES):
                found = np.linalg.solve(gram - grams[b] + penalty * max(size, 1) * np.eye(count), right - rights[b])
                errors[at] += (found * (grams[b] @ found)).sum(axis=0) - 2 * (found * rights[b]).sum(axis=0)
    best = _PENALTIES[errors.argmin(axis=0)]
    helps = errors.min(axis=0) < 0  # less than no correction at all
    weights = np.zeros((stations, count, leads))
    for one, (gram, right, size) in enumerate(sums):
        for penalty in np.unique(best[helps]):
            chosen = helps & (best == penalty)
            weights[one][:, chosen] = np.linalg.solve(gram + penalty * max(size, 1) * np.eye(count), right[:, chosen])
    return Neighbours(index, weights)
