"""
Windows of anomalies: what a model sees at an origin, and what it has to say about the steps after it.

An anomaly is a value less its normal, over the season's standard deviation. Where the trend is ``recent``, the level known at
the origin is taken off the window and off the targets alike, so that no window knows a later level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .climatology import Normals, NormalsPlan, fit_normals, levels
from .seasons import Array, Calendar

CHANNELS = ("anomaly", "seen", "region", "cosine", "sine")
_REGION_MOST = 64  # stations that share one regional mean
_FEW_PAIRS = (
    30.0  # so many neighbouring values tell as much of a station's memory as is assumed of it: that it has none
)


@dataclass(frozen=True)
class Anomalies:
    """
    The anomalies of some stations.

    Attributes
    ----------
    values : (station, time)
        In standard deviations, NaN where missing; the level is still in them.
    carried : (station, time)
        The same without gaps: the last value that was seen, fading towards the level as fast as the station forgets.
    deviation : (station, time + horizon)
        Standard deviation of each step in units of the series.
    level : (station, time + 1)
        The level known at each origin, in standard deviations.
    region : (station, time)
        Mean anomaly of the station's region without the station itself; 0 where nothing was seen.
    covariates : (covariate, station, time)
        Past anomalies of other fields, 0 where missing.
    static : (station, feature)
        What does not change: standardised elevation and the like.
    """

    values: Array
    carried: Array
    deviation: Array
    level: Array
    region: Array
    covariates: Array
    static: Array


@dataclass(frozen=True)
class Shape:
    """The shape of a window: past steps seen, steps forecast."""

    input_length: int
    horizon: int


def anomalies(
    values: Array,
    normals: Normals,
    calendar: Calendar,
    horizon: int,
    regions: npt.NDArray[np.int64],
    covariates: Array | None = None,
    static: Array | None = None,
) -> Anomalies:
    """
    Turn values into anomalies.

    Parameters
    ----------
    values : (station, time)
        Transformed values (their square root, for rain).
    covariates : (covariate, station, time), optional
        As they were measured; their own normals are taken off here, so that nothing after the columns at hand is known.
    static : (station, feature), optional
        Standardised.
    """
    length = values.shape[1]
    rest = values - normals.expected(calendar, 0, length)
    deviation = normals.deviation(calendar, 0, length + horizon)
    scaled = rest / deviation[:, :length]
    level = levels(scaled, calendar) if normals.plan.trend == "recent" else np.zeros((len(values), length + 1))
    others = (
        np.zeros((0, *values.shape))
        if covariates is None
        else np.stack([_standardised(one, normals, calendar) for one in covariates])
    )
    return Anomalies(
        scaled,
        _carried(scaled, level),
        deviation,
        level,
        _region_means(scaled, regions),
        others,
        np.zeros((len(values), 0)) if static is None else static,
    )


def origins_with_windows(known: Anomalies, shape: Shape, first: int, last: int, step: int = 1) -> npt.NDArray[np.int64]:
    """
    Return (station, origin) of the windows whose last input and at least one target were seen.

    Origin c has seen the columns before c. Only origins from ``first`` to ``last`` (without) are taken.
    """
    seen = np.isfinite(known.values)
    ends = np.arange(max(first, 1), last, step)
    some_input = np.stack([seen[:, max(0, c - shape.input_length) : c].mean(axis=1) > 0.5 for c in ends], axis=1)
    some_target = np.stack([seen[:, c : c + shape.horizon].any(axis=1) for c in ends], axis=1)
    station, index = np.nonzero(some_input & some_target)
    return np.stack([station, ends[index]], axis=1)


def inputs(known: Anomalies, calendar: Calendar, shape: Shape, where: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """
    Cut the input windows.

    Parameters
    ----------
    where : (window, 2)
        Station and origin of each window.

    Returns
    -------
    inputs : (window, input length, channel)
        Channels as in `CHANNELS`, then one a covariate, then the statics.
    """
    station, origin = where[:, 0], where[:, 1]
    steps = origin[:, None] + np.arange(-shape.input_length, 0)  # (window, time)
    inside = np.clip(steps, 0, None)
    rows = station[:, None]
    shift = known.level[station, origin][:, None]
    seen = (steps >= 0) & np.isfinite(known.values[rows, inside])
    own = np.where(steps >= 0, known.carried[rows, inside] - shift, 0.0)
    # the region keeps its own level: its mean is taken less that of the station's shift, which is nearly the region's
    region = np.where(steps >= 0, known.region[rows, inside], 0.0)
    region = np.where(region != 0.0, region - shift, 0.0)
    phase = _slow_phase(calendar, known.values.shape[1])[inside]
    parts = [own, seen, region, np.cos(2 * np.pi * phase), np.sin(2 * np.pi * phase)]
    parts += [np.where(steps >= 0, layer[rows, inside], 0.0) for layer in known.covariates]
    parts += [np.broadcast_to(column[station][:, None], steps.shape) for column in known.static.T]
    return np.asarray(np.stack(parts, axis=2), dtype=np.float32)


def latest(known: Anomalies, where: npt.NDArray[np.int64], around: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """
    Return the latest anomalies of each window's neighbours: (window, neighbour), 0 where there is no neighbour.

    Parameters
    ----------
    around : (station, neighbour)
        Rows of ``known``, -1 for none.
    """
    others = around[where[:, 0]]
    origin = where[:, 1][:, None]
    found = known.carried[others, origin - 1] - known.level[others, origin]
    return np.asarray(np.where(others >= 0, found, 0.0), dtype=np.float32)


def targets(
    known: Anomalies, shape: Shape, where: npt.NDArray[np.int64], before: int | None = None
) -> npt.NDArray[np.float32]:
    """Return the anomalies after each origin: (window, horizon), NaN where unobserved or not ``before`` that column."""
    station, origin = where[:, 0], where[:, 1]
    steps = origin[:, None] + np.arange(shape.horizon)
    end = known.values.shape[1] if before is None else min(before, known.values.shape[1])
    inside = np.clip(steps, 0, end - 1)
    shift = known.level[station, origin][:, None]
    found = np.where(steps < end, known.values[station[:, None], inside] - shift, np.nan)
    return np.asarray(found, dtype=np.float32)


def regions_of(coordinates: Array | None, stations: int) -> npt.NDArray[np.int64]:
    """
    Part the stations into regions of some tens, by where they lie; in their order where no coordinates are known.

    The parting looks at nothing but places, so it knows nothing of any value.
    """
    parts = -(-stations // _REGION_MOST)
    if parts == 1:
        return np.zeros(stations, dtype=np.int64)
    if coordinates is None or not np.isfinite(coordinates).all():
        return np.asarray(np.arange(stations) * parts // stations, dtype=np.int64)
    labels = np.zeros(stations, dtype=np.int64)
    queue, count = [np.arange(stations)], 0
    while queue:  # halve along the longer side until each part is small: even sizes, and the same on every machine
        members = queue.pop()
        if len(members) <= _REGION_MOST:
            labels[members] = count
            count += 1
            continue
        place = coordinates[members]
        side = int(np.argmax(np.ptp(place, axis=0)))
        order = members[np.argsort(place[:, side], kind="stable")]
        queue += [order[: len(order) // 2], order[len(order) // 2 :]]
    return labels


def some_regions(regions: npt.NDArray[np.int64], most: int, seed: int, least_regions: int = 4) -> npt.NDArray[np.int64]:
    """
    Draw whole regions, about as many as hold ``most`` stations; all stations where there are no more than that.

    Whole, since a station's window has its region's mean: a station drawn alone would be judged with less than it has.

    Parameters
    ----------
    least_regions : int
        So many are taken though they hold more stations than that: one region's weather is one draw.
    """
    if len(regions) <= most:
        return np.arange(len(regions))
    sizes = np.bincount(regions)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(sizes))
    count = max(least_regions, int(np.searchsorted(np.cumsum(sizes[order]), most)))
    return np.flatnonzero(np.isin(regions, order[:count]))


def _carried(scaled: Array, level: Array) -> Array:
    """Fill gaps with what was seen last: of a series that remembers, "the normal" would be a bad guess of its latest value."""
    rest = scaled - level[:, :-1]
    seen = np.isfinite(rest)
    both = seen[:, 1:] & seen[:, :-1]
    product = np.where(both, rest[:, 1:] * rest[:, :-1], 0.0).sum(axis=1)
    square = np.where(both, np.square(rest[:, :-1]), 0.0).sum(axis=1)
    memory = np.clip(product / (square + _FEW_PAIRS), 0.0, 1.0)  # in standard deviations, so that a square is about 1
    columns = np.arange(scaled.shape[1])
    last = np.maximum.accumulate(np.where(seen, columns, -1), axis=1)
    faded = np.power(memory[:, None], columns - last)
    latest = np.take_along_axis(np.nan_to_num(rest), np.maximum(last, 0), axis=1)
    return np.asarray(level[:, :-1] + np.where(last >= 0, faded * latest, 0.0))


def _region_means(scaled: Array, regions: npt.NDArray[np.int64]) -> Array:
    result = np.zeros_like(scaled)
    seen = np.isfinite(scaled)
    filled = np.where(seen, scaled, 0.0)
    for region in np.unique(regions):
        members = regions == region
        total, count = filled[members].sum(axis=0), seen[members].sum(axis=0)
        others = count - seen[members]
        result[members] = np.where(others > 0, (total - filled[members]) / np.maximum(others, 1), 0.0)
    return result


def _standardised(values: Array, like: Normals, calendar: Calendar) -> Array:
    """Return the anomalies of a covariate, 0 where missing; one that never changes is 0 throughout."""
    own = fit_normals(values, calendar, NormalsPlan(like.plan.harmonics, "none"))
    rest = values - own.expected(calendar, 0, values.shape[1])
    scaled = np.nan_to_num(np.clip(rest / own.deviation(calendar, 0, values.shape[1]), -10, 10))
    changes = np.fmax.reduce(values, axis=1) > np.fmin.reduce(values, axis=1)
    return np.where(changes[:, None], scaled, 0.0)


def _slow_phase(calendar: Calendar, length: int) -> Array:
    cycles = calendar.cycles
    if not cycles:
        return np.zeros(length)
    return calendar.phase("day" if "day" in cycles else "year", 0, length)
