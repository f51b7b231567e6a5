"""Fill holes smoothly, for filters that take no missing pixel; what was filled is masked again afterwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SWEEPS = 30  # of relaxation on each level: enough for a surface without steps, which is all that a filter asks


def fill_holes(values: Array) -> Array:
    """
    Return ``values`` (row, column) with every NaN filled by a surface that is as smooth as a soap film.

    The film (Laplace's equation, free at the raster's edges) is first found on halved grids, where holes are small, and carried
    down to finer ones. Far from data it tends to the mean of the data around the hole and makes no new highs or lows.
    """
    missing = ~np.isfinite(values)
    if not missing.any():
        return values
    if missing.all():
        return np.zeros_like(values)
    coarse = _halved(values)
    guess = (
        _doubled(fill_holes(coarse), values.shape)
        if min(values.shape) > 1
        else np.full_like(values, np.nanmean(values))
    )
    film = np.where(missing, guess, values)
    rows, columns = np.nonzero(missing)
    up, down = np.maximum(rows - 1, 0), np.minimum(rows + 1, values.shape[0] - 1)
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, values.shape[1] - 1)
    for _ in range(_SWEEPS):
        film[rows, columns] = 0.25 * (film[up, columns] + film[down, columns] + film[rows, left] + film[rows, right])
    return film


def _halved(values: Array) -> Array:
    """Return the means of the valid pixels in squares of two by two; NaN where there is none."""
    height, width = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2)), constant_values=np.nan)
    squares = padded.reshape((height + 1) // 2, 2, (width + 1) // 2, 2)
    valid = np.isfinite(squares)
    count = valid.sum(axis=(1, 3))
    total = np.where(valid, squares, 0.0).sum(axis=(1, 3))
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _doubled(values: Array, shape: tuple[int, ...]) -> Array:
    """Return a grid of ``shape`` at twice the resolution, interpolated bilinearly."""
    for axis, length in enumerate(shape):
        place = (np.arange(length) - 0.5) / 2.0
        low = np.clip(np.floor(place).astype(int), 0, values.shape[axis] - 1)
        high = np.clip(low + 1, 0, values.shape[axis] - 1)
        share = np.clip(place - low, 0.0, 1.0)
        share = share[:, None] if axis == 0 else share[None, :]
        values = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return values
