"""Scores of forecasts: only observed values count, and every score says how it was averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .networks import QUANTILES
from .seasons import Array

INTERVALS = {80: (QUANTILES.index(0.1), QUANTILES.index(0.9)), 90: (QUANTILES.index(0.05), QUANTILES.index(0.95))}


@dataclass(frozen=True)
class Along:
    """Scores along one axis, lead times or stations: arrays of its length, NaN where nothing was observed."""

    mae: Array
    rmse: Array
    bias: Array
    mase: Array


@dataclass(frozen=True)
class Scores:
    """
    Scores of one method.

    Attributes
    ----------
    mae, rmse, bias : float
        Over all observed values, in units of the series.
    mase : float
        Mean over stations of the station's error over its seasonal naive scale (Hyndman and Koehler 2006,
        doi:10.1016/j.ijforecast.2006.03.001).
    by_lead, by_station : Along
    """

    mae: float
    rmse: float
    bias: float
    mase: float
    by_lead: Along
    by_station: Along


def score_points(found: Array, observed: Array, scale: Array) -> Scores:
    """
    Score points.

    Parameters
    ----------
    found, observed : (origin, station, lead)
    scale : (station,)
    """
    error = found - observed
    by_station = _along(error, (0, 2), _mean(np.abs(error), (0, 2)) / scale)
    each = _mean(np.abs(error), (0,)) / scale[:, None]  # (station, lead)
    return Scores(
        float(_mean(np.abs(error), None)),
        float(np.sqrt(_mean(error**2, None))),
        float(_mean(error, None)),
        float(_mean(by_station.mase, None)),
        _along(error, (0, 1), _mean(each, (0,))),
        by_station,
    )


def _along(error: Array, axis: tuple[int, ...], mase: Array) -> Along:
    return Along(_mean(np.abs(error), axis), np.sqrt(_mean(error**2, axis)), _mean(error, axis), mase)


def crps(quantiles: Array, observed: Array, axis: tuple[int, ...] | None = None) -> Array:
    """
    Return the continuous ranked probability score as twice the mean pinball loss of the quantiles.

    Parameters
    ----------
    quantiles : (origin, station, lead, quantile)
    observed : (origin, station, lead)
    """
    levels = np.array(QUANTILES)
    miss = observed[..., None] - quantiles
    return 2 * _mean(np.maximum(levels * miss, (levels - 1) * miss).mean(axis=-1), axis)


def coverage(quantiles: Array, observed: Array, percent: int, axis: tuple[int, ...] | None = None) -> Array:
    """Return the share of observed values inside the interval of 80 or 90 percent."""
    low, high = INTERVALS[percent]
    inside = (observed >= quantiles[..., low]) & (observed <= quantiles[..., high])
    seen = np.isfinite(observed) & np.isfinite(quantiles[..., low])
    return _mean(np.where(seen, inside.astype(float), np.nan), axis)


def width(quantiles: Array, percent: int, axis: tuple[int, ...] | None = None) -> Array:
    """Return the mean width of the interval of 80 or 90 percent, in units of the series."""
    low, high = INTERVALS[percent]
    return _mean(quantiles[..., high] - quantiles[..., low], axis)


def skill_interval(
    model: Array, reference: Array, scale: Array, block: int, seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """
    Return the skill (1 - MASE of the model over that of the reference) and its 95 % interval.

    Origins are drawn anew in blocks, for all stations together: neighbouring stations and origins share their weather.

    Parameters
    ----------
    model, reference : (origin, station, lead)
        Absolute errors, NaN where nothing was observed.
    block : int
        Origins a block.
    """
    one, other = (_mean(error / scale[None, :, None], (1, 2)) for error in (model, reference))
    weight = np.isfinite(model).sum(axis=(1, 2)).astype(float)
    one, other = np.nan_to_num(one) * weight, np.nan_to_num(other) * weight
    count = len(one)
    block = max(1, min(block, count // 2))
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, count - block + 1, size=(draws, -(-count // block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :count]
    drawn = 1 - one[rows].sum(axis=1) / np.maximum(other[rows].sum(axis=1), 1e-12)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(1 - one.sum() / max(other.sum(), 1e-12)), float(low), float(high)


def _mean(values: Array, axis: tuple[int, ...] | None) -> Array:
    seen = np.isfinite(values)
    count = seen.sum(axis=axis)
    total = np.where(seen, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
