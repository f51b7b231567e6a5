"""
What is normal at a station: a smooth yearly (and daily) cycle, a spread that changes with the season, and a trend.

Everything is fitted on columns before an origin and extrapolated from there. The trend is one of three, chosen by rolling
origins within the training part, since it decides more than any network does and is as often wrong as right:

- ``none``: the mean of the whole record;
- ``recent``: a level that forgets, with a half-life of four years, about a line of half the record's slope (after the optimal
  climate normals of Livezey et al. 2007, doi:10.1175/2007JAMC1666.1);
- ``linear``: a straight line through the whole record.

``recent`` is the usual one: over thirty-nine parts of British and Irish records it lost least of all to whatever came next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from .seasons import Array, Calendar

TRENDS = ("none", "recent", "linear")
USUAL_TREND = "recent"
HALF_LIFE_YEARS = 4.0
_SLOPE_KEPT = {"none": 0.0, "recent": 0.5, "linear": 1.0}
_HARMONICS = (2, 3, 4, 6)  # one alone is too smooth for most climates, and the second costs little
LEAST_DEVIATION = (
    1e-100  # a deviation to divide by, where nothing ever changes; values may be in any unit, however small
)
_CHUNK = 512  # stations whose normal equations are made at a time


@dataclass(frozen=True)
class NormalsPlan:
    """How the normals are made: harmonics of each cycle, and the trend."""

    harmonics: dict[str, int]
    trend: str


@dataclass(frozen=True)
class Normals:
    """
    The normals of stations, as fitted before ``origin``.

    Attributes
    ----------
    cycle : (station, column)
        Coefficients of the harmonics.
    slope : (station,)
        Change a year that is carried on; half the fitted one for ``recent``.
    spread : (station, column)
        Coefficients of the seasonal standard deviation.
    typical : (station,)
        Standard deviation over the whole year; the seasonal one is kept above a fifth of it.
    origin : int
        Number of columns that were seen.
    """

    plan: NormalsPlan
    cycle: Array
    slope: Array
    spread: Array
    typical: Array
    origin: int

    def expected(self, calendar: Calendar, start: int, stop: int) -> Array:
        """Return cycle and line for the columns from ``start`` to ``stop``: (station, stop - start)."""
        design = calendar.harmonics(self.plan.harmonics, start, stop)
        years = calendar.years(start, stop) - calendar.years(self.origin, self.origin + 1)
        return np.asarray(self.cycle @ design.T + self.slope[:, None] * years)

    def deviation(self, calendar: Calendar, start: int, stop: int) -> Array:
        """Return the standard deviation for the columns from ``start`` to ``stop``: (station, stop - start)."""
        design = calendar.harmonics(_first(self.plan.harmonics), start, stop)
        floor = np.maximum(0.2 * self.typical, LEAST_DEVIATION)[:, None]
        return np.asarray(np.sqrt(np.maximum(self.spread @ design.T, floor**2)))


def fit_normals(values: Array, calendar: Calendar, plan: NormalsPlan) -> Normals:
    """
    Fit the normals of every station on all the columns given.

    Parameters
    ----------
    values : (station, time)
        Missing values are NaN.
    """
    length = values.shape[1]
    design = calendar.harmonics(plan.harmonics, 0, length)
    years = calendar.years(0, length) - calendar.years(length, length + 1)
    with_line = np.hstack([design, years[:, None]])
    coefficients = least_squares(with_line if plan.trend != "none" else design, values)
    columns = design.shape[1]
    cycle = coefficients[:, :columns].copy()
    slope = np.zeros(len(values))
    if plan.trend != "none":
        kept = _SLOPE_KEPT[plan.trend]
        if plan.trend == "recent" and is_short(calendar, length):
            kept = 0.0  # a stretch of one year's cycle is no trend
        slope = kept * coefficients[:, columns]
        # the line that is kept turns about the middle of the record, where the mean is best known
        cycle[:, 0] += (coefficients[:, columns] - slope) * years.mean()
    rest = values - cycle @ design.T - slope[:, None] * years
    narrow = calendar.harmonics(_first(plan.harmonics), 0, length)
    centred = rest - levels(rest, calendar)[:, :-1] if plan.trend == "recent" else rest
    squares = np.square(centred)
    typical = np.sqrt(_mean(squares))
    return Normals(plan, cycle, slope, least_squares(narrow, squares), typical, length)


def half_life_steps(calendar: Calendar, length: int) -> float:
    """
    Return the steps after which a value counts half in the recent level: four years, or an eighth of a shorter record.

    Where a record is too short to show the yearly cycle, the level has to follow the season: a fortieth of the record.
    """
    if is_short(calendar, length):
        return max(2.0 * calendar.frequency.season, length / 40)
    return min(HALF_LIFE_YEARS * calendar.frequency.steps_per_year, length / 8)


def is_short(calendar: Calendar, length: int) -> bool:
    """Whether there is a yearly cycle that so short a record cannot show."""
    return "year" in calendar.cycles and length < 2 * calendar.frequency.steps_per_year


def levels(rest: Array, calendar: Calendar) -> Array:
    """
    Return the exponentially weighted level that was known at each step.

    Parameters
    ----------
    rest : (station, time)
        Values less their cycle.

    Returns
    -------
    level : (station, time + 1)
        Column t rests on the columns before t alone; it begins at 0 with the weight of a quarter of a half-life.
    """
    life = half_life_steps(calendar, rest.shape[1])
    decay = 0.5 ** (1 / life)
    seen = np.isfinite(rest)
    prior = 0.25 * life
    total = lfilter([1.0], [1.0, -decay], np.where(seen, rest, 0.0), axis=1)
    weight = lfilter([1.0], [1.0, -decay], seen.astype(float), axis=1)
    fading = prior * decay ** np.arange(1, rest.shape[1] + 1)
    result = np.zeros((rest.shape[0], rest.shape[1] + 1))
    result[:, 1:] = total / (weight + fading)
    return result


def choose_harmonics(values: Array, calendar: Calendar) -> dict[str, int]:
    """
    Choose how many harmonics the cycles need, for all stations together, by generalised cross-validation.

    The yearly cycle needs two years of record; without them it is left out and the series' own level stands for the season.
    Neighbouring values of a series are alike, so each harmonic is charged for as if there were fewer of them.
    """
    length = values.shape[1]
    steps = calendar.frequency.steps_per_year
    some = values[:: max(1, len(values) // 200)]
    chosen: dict[str, int] = {}
    for cycle in calendar.cycles:
        if cycle == "year" and is_short(calendar, length):
            continue
        # a longer window of a fast series teaches no more about its cycle's shape
        part = some[:, -int(min(length, 40 * steps)) :]
        offset = length - part.shape[1]
        years = calendar.years(offset, length)[:, None]
        scores = {}
        for count in _HARMONICS:
            count = min(count, calendar.highest(cycle))
            if count in scores:
                continue
            design = np.hstack([calendar.harmonics({**chosen, cycle: count}, offset, length), years])
            scores[count] = _cross_validation(part, design)
        chosen[cycle] = min(scores, key=lambda key: scores[key])
    return {cycle: count for cycle, count in chosen.items() if count}


def least_squares(design: Array, values: Array) -> Array:
    """
    Solve one regression a station, missing values left out.

    Parameters
    ----------
    design : (time, column)
    values : (station, time)

    Returns
    -------
    coefficients : (station, column)
        Zero for a station without values.
    """
    columns = design.shape[1]
    pairs = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    result = np.zeros((len(values), columns))
    for at in range(0, len(values), _CHUNK):
        part = values[at : at + _CHUNK]
        seen = np.isfinite(part)
        gram = (seen.astype(float) @ pairs).reshape(-1, columns, columns)
        # a whisper of ridge, so that a station with few values gets a tame answer instead of a singular matrix
        trace = np.trace(gram, axis1=1, axis2=2) / columns
        gram += (1e-6 * trace + 1e-12)[:, None, None] * np.eye(columns)
        right = np.where(seen, part, 0.0) @ design
        result[at : at + _CHUNK] = np.linalg.solve(gram, right[..., None])[..., 0]
    return result


def _cross_validation(values: Array, design: Array) -> float:
    """Generalised cross-validation, its parameters charged by the series' own memory."""
    rest = values - least_squares(design, values) @ design.T
    seen = np.isfinite(rest)
    total, count = np.nansum(rest**2), max(1, int(seen.sum()))
    both = seen[:, 1:] & seen[:, :-1]
    lag = np.sum(np.where(both, rest[:, 1:] * rest[:, :-1], 0.0)) / max(
        1e-12, np.sum(np.where(both, rest[:, 1:] ** 2, 0.0))
    )
    charge = design.shape[1] * (1 + max(0.0, lag)) / max(0.02, 1 - max(0.0, lag))
    per_station = count / len(values)
    return float(total / count / max(1e-3, 1 - min(0.99, charge / per_station)) ** 2)


def _first(harmonics: dict[str, int]) -> dict[str, int]:
    return {cycle: min(1, count) for cycle, count in harmonics.items()}


def _mean(values: Array) -> Array:
    seen = np.isfinite(values)
    return np.asarray(np.where(seen, values, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
