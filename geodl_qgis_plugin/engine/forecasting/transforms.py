"""The scale in which a variable is forecast: as it stands, or its root, where values are skewed and never negative."""

from __future__ import annotations

from math import gcd

import numpy as np

from ..errors import SeriesError
from .seasons import Array

TRANSFORMS = ("none", "sqrt")
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


def _skewness(values: Array) -> float:
    spread = values.std()
    return float(((values - values.mean()) ** 3).mean() / spread**3) if spread > 0 else 0.0
