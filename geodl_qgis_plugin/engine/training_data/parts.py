"""
The part that each pixel belongs to: 1 training, 2 validation, 3 test, 4 hidden buffer round the test, 0 none.

A pixel in the buffer of a test pixel is hidden from training and validation: neither its labels nor its predictors are seen.
A training pixel in the buffer of a validation pixel is 0: its predictors may be seen, its label is not learnt from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..rasters.grid import Grid
from .labels import distance_sampling
from .splits import BUFFER, TEST, TRAINING, VALIDATION

PartArray = NDArray[np.uint8]


def buffer_margin_px(buffer: float, grid: Grid) -> int:
    """Return how many pixels round a window decide which of its pixels lie in a buffer."""
    return int(np.ceil(buffer / min(distance_sampling(grid)))) + 2 if buffer > 0 else 0


def with_buffers(parts: PartArray, buffer: float, grid: Grid) -> PartArray:
    """
    Take out what lies within ``buffer`` (map units) of a test pixel, or of a validation pixel for training.

    The gap is measured between the pixels' edges, so that it is nowhere smaller than ``buffer``.

    Parameters
    ----------
    parts : array (row, column)
        1, 2 and 3 as dealt; it must reach `buffer_margin_px` beyond the pixels that matter.
    """
    if buffer <= 0:
        return parts
    result = parts.copy()
    near_validation = _within(parts == VALIDATION, buffer, grid)
    result[near_validation & (parts == TRAINING)] = 0
    near_test = _within(parts == TEST, buffer, grid)
    result[near_test & (parts != TEST)] = BUFFER
    return result


def _within(there: NDArray[np.bool_], buffer: float, grid: Grid) -> NDArray[np.bool_]:
    if not there.any():
        return there
    sampling = distance_sampling(grid)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~there, sampling=sampling)
    # Middles that are one pixel apart touch: the gap between pixels is at least the distance less one pixel.
    reach = buffer + max(sampling)
    return distance < reach * (1 - 1e-9)
