"""
The fitted part of a forecaster: ridge highway and small LSTM on its residual, learnt from the columns before an origin.

What it says is in standard deviations about the normal; the normal itself is fitted anew from the history at each origin, so
that appended rows and new stations need no new training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import nn

from ..errors import SeriesError
from ..messages import PartOfProgress, Progress
from .climatology import NormalsPlan, fit_normals
from .neighbours import Neighbours, fit_neighbours, nearest
from .networks import QUANTILES
from .ridge import Ridge, RidgeSums
from .seasons import Array, Calendar
from .training import Curve, TrainingPlan, Weights, anomaly_network, member_quantiles, train_anomaly
from .windows import Anomalies, Shape, anomalies, inputs, latest, origins_with_windows, regions_of, targets

MEDIAN = QUANTILES.index(0.5)
MOST_WINDOWS = 120_000  # windows that the network learns from; the ridge sees twice as many at most
_STATIONS_AT_ONCE = 512
_LATER = 0.15  # share of the time, at its end, that decides when training stops


@dataclass(frozen=True)
class Side:
    """
    What stands beside the values.

    Attributes
    ----------
    regions : (station,)
        See `windows.regions_of`.
    keys : (station,)
        Which training stations these are, -1 for others.
    coordinates : (station, 2), optional
    covariates : (covariate, station, time), optional
        As they were measured, as long as the values.
    static : (station, feature), optional
        Standardised.
    """

    regions: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]
    coordinates: Array | None = None
    covariates: Array | None = None
    static: Array | None = None

    @classmethod
    def of_training(cls, stations: int, coordinates: Array | None = None) -> Side:
        """Return the side of the stations that are trained on."""
        return cls(regions_of(coordinates, stations), np.arange(stations), coordinates)

    def before(self, origin: int) -> Side:
        """Return the part that was known before a column."""
        return self if self.covariates is None else replace(self, covariates=self.covariates[:, :, :origin])

    def of(self, stations: npt.NDArray[np.int64]) -> Side:
        """Return the part of some stations."""
        return Side(
            self.regions[stations],
            self.keys[stations],
            None if self.coordinates is None else self.coordinates[stations],
            None if self.covariates is None else self.covariates[:, stations],
            None if self.static is None else self.static[stations],
        )


@dataclass(frozen=True)
class Core:
    """Ridge, what the neighbours add to it, members of the network, and how the normals are to be made."""

    plan: NormalsPlan
    shape: Shape
    ridge: Ridge
    neighbours: Neighbours | None
    members: list[Weights]
    curves: list[Curve]


@dataclass(frozen=True)
class Outlook:
    """
    What a core says at one origin.

    Attributes
    ----------
    normal, deviation : (station, lead)
        Normal (level included) and standard deviation, in transformed units.
    ridge : (station, lead)
        Anomaly expected by the ridge, in standard deviations.
    network : (station, lead, quantile)
        Quantiles of the anomaly by ridge and network, in standard deviations.
    """

    normal: Array
    deviation: Array
    ridge: Array
    network: Array


def fit_core(
    history: Array,
    side: Side,
    calendar: Calendar,
    plan: NormalsPlan,
    shape: Shape,
    training: TrainingPlan,
    seed: int,
    progress: Progress,
) -> Core:
    """
    Fit ridge and network on ``history`` (station, time), transformed values up to an origin.

    Stations are taken region by region and windows are cut on the fly, so that memory holds the values once.
    """
    length = history.shape[1]
    first = min(shape.input_length, length // 3)
    generator = np.random.default_rng(seed)
    sums = RidgeSums(first, length)
    parts = _station_parts(side.regions)
    quota = 2 * MOST_WINDOWS // len(parts) + 1
    around = nearest(side.coordinates, side.regions)
    pool: list[
        tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]
    ] = []
    for index, stations in enumerate(parts):
        known = _anomalies(history[stations], side.of(stations), calendar, plan, shape)
        possible = len(stations) * (length - first)
        where = origins_with_windows(known, shape, first, length, _thinning(possible, 4 * quota))
        if len(where) > quota:
            where = where[np.sort(generator.choice(len(where), quota, replace=False))]
        if not len(where):
            continue
        cut, wanted = inputs(known, calendar, shape, where), targets(known, shape, where)
        sums.add(cut, wanted, where[:, 1])
        half = slice(None) if len(where) * len(parts) <= MOST_WINDOWS else slice(None, None, 2)
        local = np.append(np.full(len(side.regions), -1), -1)
        local[stations] = np.arange(len(stations))
        near = latest(known, where[half], local[around[stations]])
        owner = np.stack([stations[where[half, 0]], where[half, 1]], axis=1)
        pool.append((cut[half], wanted[half], near, owner))
        progress.update(0.3 * (index + 1) / len(parts), "Cutting windows")
    if not pool:
        raise SeriesError(
            f"No station has {shape.input_length} steps in a row to learn from. Choose a shorter input length, or "
            "give longer series."
        )
    ridge = sums.solve()
    windows, wanted, near = (np.concatenate([part[index] for part in pool]) for index in range(3))
    station, origin = np.concatenate([part[3] for part in pool]).T
    del pool
    rest = wanted - ridge.predict(windows).astype(np.float32)
    neighbours = fit_neighbours(near, rest, station, origin, around)
    if neighbours is not None:
        rest = rest - np.einsum("wn,wnl->wl", near, neighbours.weights[station]).astype(np.float32)
    border = int(length - _LATER * (length - first))
    keep = (origin + shape.horizon <= border) | (origin >= border)
    windows, rest, origin = windows[keep], rest[keep], origin[keep]
    later = origin >= border
    if later.all() or training.members == 0:
        return Core(plan, shape, ridge, neighbours, [], [])
    if later.sum() > 8192:  # as many as the check of a round looks at, drawn from the whole stretch
        out = generator.permutation(np.flatnonzero(later))[8192:]
        windows, rest, later = np.delete(windows, out, 0), np.delete(rest, out, 0), np.delete(later, out)
    members, curves = train_anomaly(windows, rest, later, training, seed, PartOfProgress(progress, 0.3, 1.0))
    return Core(plan, shape, ridge, neighbours, members, curves)


def look_ahead(core: Core, history: Array, side: Side, calendar: Calendar) -> Outlook:
    """Say what comes after ``history`` (station, time), in parts of some hundred stations."""
    networks = [anomaly_network(weights) for weights in core.members]
    found = [_look(core, networks, history[part], side.of(part), calendar) for part in _station_parts(side.regions)]
    back = np.argsort(np.concatenate(_station_parts(side.regions)), kind="stable")
    normal, deviation, ridge, network, now = (
        np.concatenate([part[index] for part in found])[back] for index in range(5)
    )
    if core.neighbours is not None:
        correction = core.neighbours.predict(now, side.keys)
        ridge, network = ridge + correction, network + correction[..., None]
    return Outlook(normal, deviation, ridge, network)


def _look(
    core: Core, networks: list[nn.Module], history: Array, side: Side, calendar: Calendar
) -> tuple[Array, Array, Array, Array, Array]:
    stations, length = history.shape
    normals = fit_normals(history, calendar, core.plan)
    known = anomalies(history, normals, calendar, core.shape.horizon, side.regions, side.covariates, side.static)
    where = np.stack([np.arange(stations), np.full(stations, length)], axis=1)
    cut = inputs(known, calendar, core.shape, where)
    deviation = known.deviation[:, length:]
    normal = normals.expected(calendar, length, length + core.shape.horizon) + known.level[:, -1:] * deviation
    ridge = core.ridge.predict(cut)
    network = ridge[..., None] + (member_quantiles(networks, cut) if networks else np.zeros(len(QUANTILES)))
    now = np.nan_to_num(known.values[:, -1] - known.level[:, -1])
    return normal, deviation, ridge, network, now


def _anomalies(history: Array, side: Side, calendar: Calendar, plan: NormalsPlan, shape: Shape) -> Anomalies:
    normals = fit_normals(history, calendar, plan)
    return anomalies(history, normals, calendar, shape.horizon, side.regions, side.covariates, side.static)


def _station_parts(regions: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Whole regions together, some hundred stations a part."""
    order = np.argsort(regions, kind="stable")
    edges = np.flatnonzero(np.diff(regions[order])) + 1
    parts, held = [], np.zeros(0, dtype=np.int64)
    for group in np.split(order, edges):
        if len(held) and len(held) + len(group) > _STATIONS_AT_ONCE:
            parts.append(held)
            held = np.zeros(0, dtype=np.int64)
        held = np.concatenate([held, group])
    return [*parts, held]


def _thinning(possible: int, wanted: int) -> int:
    """Take every so many origins where there are far more windows than wanted."""
    return max(1, possible // max(1, wanted))
