"""
The fitted part of a forecaster: ridge highway and small LSTM on its residual, learnt from the columns before an origin.

What it says is in standard deviations about the normal; the normal itself is fitted anew from the history at each origin, so
that appended rows and new stations need no new training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

import numpy as np
import numpy.typing as npt
from torch import nn

from ..errors import SeriesError
from ..messages import PartOfProgress, Progress
from ..ranks import Ranks
from .climatology import NormalsPlan, fit_normals
from .crew import Crew
from .neighbours import Neighbours, NeighbourSums, nearest
from .networks import QUANTILES
from .ridge import Ridge, RidgeSums, features
from .seasons import Array, Calendar
from .training import Curve, TrainingPlan, Weights, anomaly_network, member_quantiles, train_anomaly
from .windows import CHANNELS, Anomalies, Shape, anomalies, inputs, latest, origins_with_windows, regions_of, targets

MEDIAN = QUANTILES.index(0.5)
MOST_WINDOWS = 120_000  # windows that the network learns from; the ridge sees twice as many at most
_STATIONS_AT_ONCE = 512
_ALONE = Crew()
_LATER_WINDOWS = 8192
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
    crew: Crew = _ALONE,
) -> Core:
    """
    Fit ridge and network on ``history`` (station, time), transformed values up to an origin.

    Stations are taken region by region and windows are cut on the fly, so that memory holds the values once. The processes of a
    crew share the parts of the stations; afterwards each holds all the windows.
    """
    length = history.shape[1]
    around = nearest(side.coordinates, side.regions)
    generator = np.random.default_rng(seed)  # of the first part, which is the first process's, and of what comes after
    cut = _cut_all(
        history, side, calendar, plan, shape, generator, seed, around, PartOfProgress(progress, 0.0, 0.2), crew.ranks
    )
    ridge = cut.sums.solve()
    station, origin = cut.owner.T
    rest = cut.wanted - ridge.predict(cut.windows).astype(np.float32)
    neighbours = _fit_neighbours(
        history, side, calendar, plan, shape, ridge, around, PartOfProgress(progress, 0.2, 0.3), crew.ranks
    )
    if neighbours is not None:
        rest = rest - np.einsum("wn,wnl->wl", cut.near, neighbours.weights[station]).astype(np.float32)
    border = int(length - _LATER * (length - _first(shape, length)))
    keep = (origin + shape.horizon <= border) | (origin >= border)
    windows, rest, later = cut.windows[keep], rest[keep], origin[keep] >= border
    del cut
    if later.all() or training.members == 0:
        return Core(plan, shape, ridge, neighbours, [], [])
    spare = int(later.sum()) - _LATER_WINDOWS
    if spare > 0:  # as many as the check of a round looks at, drawn from the whole stretch
        out = crew.ranks.from_first(generator.permutation(np.flatnonzero(later))[_LATER_WINDOWS:])
        windows, rest, later = np.delete(windows, out, 0), np.delete(rest, out, 0), np.delete(later, out)
    members, curves = train_anomaly(windows, rest, later, training, seed, PartOfProgress(progress, 0.3, 1.0), crew)
    return Core(plan, shape, ridge, neighbours, members, curves)


@dataclass(frozen=True)
class _Cut:
    """
    Windows, as many as are learnt from, and the ridge's sums over twice as many.

    Attributes
    ----------
    windows : (window, input length, channel)
    wanted : (window, lead)
    near : (window, neighbour)
    owner : (window, 2)
        Station and origin.
    """

    sums: RidgeSums
    windows: npt.NDArray[np.float32]
    wanted: npt.NDArray[np.float32]
    near: npt.NDArray[np.float32]
    owner: npt.NDArray[np.int64]


def _cut_all(
    history: Array,
    side: Side,
    calendar: Calendar,
    plan: NormalsPlan,
    shape: Shape,
    generator: np.random.Generator,
    seed: int,
    around: npt.NDArray[np.int64],
    progress: Progress,
    ranks: Ranks,
) -> _Cut:
    """Cut windows out of all stations, part by part; each process its share of the parts, and then all of them hold all."""
    length = history.shape[1]
    first = _first(shape, length)
    sums = RidgeSums(first, length)
    parts = _station_parts(side.regions)
    quota = 2 * MOST_WINDOWS // len(parts) + 1
    pool = [_nothing(side, shape, around)]
    for index in ranks.share(range(len(parts))):
        stations = parts[index]
        known = _anomalies(history[stations], side.of(stations), calendar, plan, shape)
        step = _thinning(len(stations) * (length - first), 4 * quota, calendar.frequency.season)
        where = origins_with_windows(known, shape, first, length, step)
        if len(where) > quota:
            own = generator if index == 0 else np.random.default_rng([seed, index])
            where = where[np.sort(own.choice(len(where), quota, replace=False))]
        if not len(where):
            continue
        cut, wanted = inputs(known, calendar, shape, where), targets(known, shape, where)
        sums.add(cut, wanted, where[:, 1])
        half = slice(None) if len(where) * len(parts) <= MOST_WINDOWS else slice(None, None, 2)
        local = _local(stations, len(side.regions))
        near = latest(known, where[half], local[around[stations]])
        owner = np.stack([stations[where[half, 0]], where[half, 1], np.full(len(where[half]), index)], axis=1)
        pool.append((cut[half], wanted[half], near, owner))
        progress.update((index + 1) / len(parts), "Cutting windows")
    joined = [np.concatenate(ranks.gather(np.concatenate([part[index] for part in pool]))) for index in range(4)]
    windows, wanted, near, owner = joined
    if not len(windows):
        raise SeriesError(
            f"No station has {shape.input_length} steps in a row to learn from. Choose a shorter input length, or "
            "give longer series."
        )
    if ranks.size > 1:
        sums.join(ranks, features(windows[:1]).shape[1], shape.horizon)
        order = np.argsort(owner[:, 2], kind="stable")  # as one process would have cut them
        windows, wanted, near, owner = windows[order], wanted[order], near[order], owner[order]
    return _Cut(sums, windows, wanted, near, owner[:, :2])


def _fit_neighbours(
    history: Array,
    side: Side,
    calendar: Calendar,
    plan: NormalsPlan,
    shape: Shape,
    ridge: Ridge,
    around: npt.NDArray[np.int64],
    progress: Progress,
    ranks: Ranks,
) -> Neighbours | None:
    """Fit each station's weights to what the ridge leaves, on as many windows a station as they need, cut once more."""
    length = history.shape[1]
    first = _first(shape, length)
    sums = NeighbourSums(around, shape.horizon, first, length)
    if length - first < sums.windows_wanted:
        return None
    parts = _station_parts(side.regions)
    for index in ranks.share(range(len(parts))):
        stations = parts[index]
        known = _anomalies(history[stations], side.of(stations), calendar, plan, shape)
        most = max(MOST_WINDOWS // len(parts), sums.windows_wanted * len(stations))
        step = _thinning(len(stations) * (length - first), most, calendar.frequency.season)
        where = origins_with_windows(known, shape, first, length, step)
        if len(where):
            local = _local(stations, len(side.regions))
            rest = targets(known, shape, where) - ridge.predict(inputs(known, calendar, shape, where))
            own = np.stack([stations[where[:, 0]], where[:, 1]], axis=1)
            sums.add(latest(known, where, local[around[stations]]), rest, own)
        progress.update((index + 1) / len(parts), "Asking the neighbours")
    sums.join(ranks)
    return sums.solve()


def _local(stations: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return where each of all stations stands among some, -1 for the others and for none (-1)."""
    local = np.full(count + 1, -1)
    local[stations] = np.arange(len(stations))
    return local


def _nothing(
    side: Side, shape: Shape, around: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return no windows, in the shape of some."""
    channels = len(CHANNELS) + (0 if side.covariates is None else len(side.covariates))
    channels += 0 if side.static is None else side.static.shape[1]
    return (
        np.zeros((0, shape.input_length, channels), dtype=np.float32),
        np.zeros((0, shape.horizon), dtype=np.float32),
        np.zeros((0, around.shape[1]), dtype=np.float32),
        np.zeros((0, 3), dtype=np.int64),
    )


def _first(shape: Shape, length: int) -> int:
    """Return the first origin whose window is taken."""
    return min(shape.input_length, length // 3)


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
    now = known.carried[:, -1] - known.level[:, -1]
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


def _thinning(possible: int, wanted: int, season: int) -> int:
    """Take every so many origins where there are far more windows than wanted; in all seasons alike."""
    step = max(1, possible // max(1, wanted))
    while gcd(step, season) > 1:
        step += 1
    return step
