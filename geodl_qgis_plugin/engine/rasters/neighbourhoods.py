"""
Means, sums and ranges within square windows, as if what is missing were not there.

Sums are made by doubling: a window's sum always adds the same numbers in the same order, wherever the array begins. A
running sum would be as fast, but its rounding depends on all that came before, and a raster worked through in
windows would differ from one pass over the whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]


def window_mean(values: Array, radius: int) -> Array:
    """
    Return the mean of the valid pixels within ``radius`` pixels (a square of 2 radius + 1), NaN where there is none.

    Parameters
    ----------
    values : array (row, column)
        NaN where missing. Beyond the edges all is missing.
    """
    valid = np.isfinite(values)
    total = _box_sum(np.where(valid, values, 0.0), radius)
    count = _box_sum(valid.astype(np.float64), radius)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def window_range(values: Array, radius: int) -> Array:
    """Return the largest less the smallest valid value within ``radius`` pixels, NaN where there is none."""
    missing = ~np.isfinite(values)
    size = 2 * radius + 1
    high = ndimage.maximum_filter(np.where(missing, -np.inf, values), size, mode="constant", cval=-np.inf)
    low = ndimage.minimum_filter(np.where(missing, np.inf, values), size, mode="constant", cval=np.inf)
    return np.where(np.isfinite(high) & np.isfinite(low), high - low, np.nan)


def _box_sum(values: Array, radius: int) -> Array:
    """Return the sum within ``radius`` pixels; zeros lie beyond the edges."""
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (radius, radius)
        values = _running_sum(np.pad(values, width), 2 * radius + 1, axis)
    return values


def _running_sum(values: Array, length: int, axis: int) -> Array:
    """Return sums over ``length`` neighbours along an axis, which gets shorter by ``length`` - 1."""
    values = np.moveaxis(values, axis, 0)
    count = values.shape[0] - length + 1
    total = np.zeros((count, *values.shape[1:]))
    power, reach, start = values, 1, 0  # power[i] is the sum of ``reach`` values from i on
    while True:
        if length & reach:
            total += power[start : start + count]
            start += reach
        if 2 * reach > length:
            return np.moveaxis(total, 0, axis)
        power = power[:-reach] + power[reach:]
        reach *= 2
