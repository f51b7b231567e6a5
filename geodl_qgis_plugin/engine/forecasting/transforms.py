"""The scale in which a variable is forecast: as it stands, or its root, where values are skewed and never negative."""

from __future__ import annotations

from math import gcd

import numpy as np

from ..errors import SeriesError
from .seasons import Array

TRANSFORMS = ("none", "sqrt")
_OFTEN = 0.02  # share of zeros from which they count as often
_MOST_LOOKED_AT = 4000  # values of a station
_MOST_VALUES = 4_000_000  # that a quantile over all stations is taken from
_CYCLES = 24 * 7 * 365


def choose_transform(values: Array, wanted: str, is_sum: bool) -> str:
    """
    Return ``none`` or ``sqrt``.

    Parameters
    ----------
    wanted : str
        ``auto``, ``none`` or ``sqrt``. Sums (rain) get the root; other variables where no value is negative, some come near
        zero, and the root makes their distribution more even.
    """
    if wanted == "none":
        return "none"
    seen = some_values(values)
    negative = int((values < 0).sum())
    if wanted == "sqrt":
        if negative:
            raise SeriesError(
                f"{negative} values are below zero, so that no square root can be taken. Choose the transform 'none', or set a "
                "missing code for values that stand for none."
            )
        return "sqrt"
    if negative or not seen.size:
        return "none"
    if is_sum:
        return "sqrt"
    near_zero = np.quantile(seen, 0.05) < 0.5 * np.median(seen)
    return "sqrt" if near_zero and abs(_skewness(np.sqrt(seen))) < abs(_skewness(seen)) else "none"


def some_values(values: Array) -> Array:
    """Return the values (station, time) that are there; of very many some millions, of all stations and seasons alike."""
    every = max(1, values.size // _MOST_VALUES)
    while gcd(every, _CYCLES) > 1:
        every += 1
    some = values[:, ::every]
    return np.asarray(some[np.isfinite(some)])


def forward(values: Array, transform: str) -> Array:
    """Take values into the scale in which they are forecast."""
    return np.sqrt(np.maximum(values, 0.0)) if transform == "sqrt" else values


def backward(values: Array, transform: str) -> Array:
    """Take forecasts back; a root below zero is a value of zero."""
    return np.asarray(np.square(np.maximum(values, 0.0))) if transform == "sqrt" else values


def none_below_trace(quantiles: Array, history: Array) -> Array:
    """
    Set low quantiles to nothing where they are nearer to it than to a trace, in series that are often zero, such as daily rain.

    Half of the days being dry, the lower quantiles are zero and not some hundredth of a millimetre: else every dry day would
    lie outside its interval. A trace is what a tenth of a station's values above zero are below.

    Parameters
    ----------
    quantiles : (station, lead, quantile)
        Those below the middle are changed.
    history : (station, time)
        Values in their own units.
    """
    some = history[:, :: max(1, history.shape[1] // _MOST_LOOKED_AT)]
    result = quantiles.copy()
    middle = quantiles.shape[-1] // 2
    for station, own in enumerate(some):
        seen = own[np.isfinite(own)]
        if not seen.size or seen.min() < 0 or (seen == 0).mean() < _OFTEN or not (seen > 0).any():
            continue
        low = result[station, :, :middle]
        low[low < 0.5 * np.quantile(seen[seen > 0], 0.1)] = 0.0
    return result


def _skewness(values: Array) -> float:
    spread = values.std()
    return float(((values - values.mean()) ** 3).mean() / spread**3) if spread > 0 else 0.0
