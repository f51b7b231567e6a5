"""
The forecasts that a network has to beat: persistence, the same time last season, and climatology with each trend.

Each looks at the columns before its origin and at nothing else.
"""

from __future__ import annotations

import numpy as np

from .climatology import TRENDS, NormalsPlan, fit_normals, levels
from .networks import QUANTILES
from .seasons import Array, Calendar

PERSISTENCE, SEASONAL_NAIVE = "persistence", "seasonal naive"
CLIMATOLOGY = {"none": "climatology", "recent": "climatology, recent level", "linear": "climatology, linear trend"}
BASELINES = (PERSISTENCE, SEASONAL_NAIVE, *CLIMATOLOGY.values())


def baseline_forecasts(
    history: Array, calendar: Calendar, harmonics: dict[str, int], horizon: int, trends: tuple[str, ...] = TRENDS
) -> dict[str, Array]:
    """
    Forecast the steps after ``history`` with every baseline.

    Parameters
    ----------
    history : (station, time)
        Transformed values up to the origin.

    Returns
    -------
    forecasts : dict
        By name: (station, horizon), in transformed units.
    """
    found = {
        PERSISTENCE: np.repeat(last_value(history)[:, None], horizon, axis=1),
        SEASONAL_NAIVE: seasonal_naive(history, calendar.frequency.season, horizon),
    }
    length = history.shape[1]
    for trend in trends:
        normals = fit_normals(history, calendar, NormalsPlan(harmonics, trend))
        found[CLIMATOLOGY[trend]] = normals.expected(calendar, length, length + horizon)
        if trend == "recent":
            scaled = (history - normals.expected(calendar, 0, length)) / normals.deviation(calendar, 0, length)
            shift = levels(scaled, calendar)[:, -1:]
            found[CLIMATOLOGY[trend]] += shift * normals.deviation(calendar, length, length + horizon)
    return found


def climatology_distribution(history: Array, calendar: Calendar, harmonics: dict[str, int], horizon: int) -> Array:
    """
    Return each station's own distribution about the record's mean for the season: what is known without any forecast.

    Returns
    -------
    quantiles : (station, horizon, quantile)
        In transformed units.
    """
    length = history.shape[1]
    normals = fit_normals(history, calendar, NormalsPlan(harmonics, "none"))
    scaled = (history - normals.expected(calendar, 0, length)) / normals.deviation(calendar, 0, length)
    shape = np.full((len(history), len(QUANTILES)), np.nan)
    known = np.isfinite(scaled).any(axis=1)
    if known.any():
        shape[known] = np.nanquantile(scaled[known], QUANTILES, axis=1).T
    expected = normals.expected(calendar, length, length + horizon)
    deviation = normals.deviation(calendar, length, length + horizon)
    return np.asarray(expected[..., None] + shape[:, None, :] * deviation[..., None])


def seasonal_naive(history: Array, season: int, horizon: int) -> Array:
    """
    Repeat the last season; a value that is missing there is taken from the season before it, and so on.

    Returns
    -------
    forecast : (station, horizon)
        NaN where no earlier season has a value.
    """
    length = history.shape[1]
    result = np.full((len(history), horizon), np.nan)
    for lead in range(horizon):
        at = length + lead - season * (lead // season + 1)
        while at >= 0 and np.isnan(result[:, lead]).any():
            result[:, lead] = np.where(np.isnan(result[:, lead]), history[:, at], result[:, lead])
            at -= season
    return result


def naive_scale(values: Array, season: int) -> Array:
    """
    Return the mean absolute error of the seasonal naive forecast within ``values``: what MASE divides by, a station each.

    Where no two values are a season apart, those one step apart serve; a station without either gets the mean of the rest.
    """
    scale = _mean_change(values, season)
    if season > 1:
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, _mean_change(values, 1))
    good = np.isfinite(scale) & (scale > 0)
    return np.where(good, scale, scale[good].mean() if good.any() else 1.0)


def _mean_change(values: Array, lag: int) -> Array:
    if lag >= values.shape[1]:
        return np.full(len(values), np.nan)
    change = np.abs(values[:, lag:] - values[:, :-lag])
    seen = np.isfinite(change)
    count = seen.sum(axis=1)
    return np.where(count > 0, np.where(seen, change, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def last_value(history: Array) -> Array:
    """Return the last value that was seen at each station, NaN if there is none: (station,)."""
    seen = np.isfinite(history)
    last = history.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    return np.where(seen.any(axis=1), history[np.arange(len(history)), last], np.nan)
