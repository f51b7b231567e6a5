"""Scaling of predictors from training pixels: robust to tails, exact up to a few million pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rasters.grid import Window, windows_of
from .cutting import CHUNK_VALUES
from .splits import TRAINING
from .tile_set import Scaling

_USUAL_CODES = (-9999.0, -99999.0, -32768.0, 32767.0, 65535.0, -999.0, -1e32, -3.4028234663852886e38)
_LEAST_SHARE = 0.001
_FEWEST_OTHERS = 5  # distinct values beside a code: a mask of 0 and 1 has none
_MOST_VALUES = 48_000_000  # of all bands together; above, every k-th training pixel is taken


class TrainingValues:
    """Collects the values of training pixels, every k-th where there are very many."""

    def __init__(self, bands: int, expected: int) -> None:
        self._step = max(1, -(-expected * bands // _MOST_VALUES))
        self._seen = 0
        self._kept: list[NDArray[np.float32]] = []

    def add(self, predictors: NDArray[np.float32], training: NDArray[np.bool_]) -> None:
        """Take the training pixels of a window; ``predictors`` is (band, row, column), ``training`` (row, column)."""
        values = predictors[:, training]
        first = -self._seen % self._step
        self._seen += values.shape[1]
        if values.shape[1] > first:
            self._kept.append(np.ascontiguousarray(values[:, first :: self._step]))

    def scaling(self) -> tuple[Scaling, list[dict[str, Any]]]:
        """Return the scaling and, for the report, statistics of each band."""
        values = np.concatenate(self._kept, axis=1)
        rows = [_of_band(band) for band in values]
        names = ("offset", "scale", "low", "high")
        return Scaling(*(np.array([row[name] for row in rows]) for name in names)), rows


def scaling_of(predictors: NDArray[np.float32], parts: NDArray[np.uint8]) -> tuple[Scaling, list[dict[str, Any]]]:
    """
    Return the scaling, and statistics of each band, from the training pixels of a mosaic or of stacked tiles.

    Parameters
    ----------
    predictors : array (band, row, column) or (tile, band, row, column)
    parts : array (row, column) or (tile, row, column)
    """
    bands = predictors.shape[-3]
    values = TrainingValues(bands, int(np.count_nonzero(parts == TRAINING)))
    if predictors.ndim == 4:
        for tile, part in zip(predictors, parts):
            values.add(tile, part == TRAINING)
        return values.scaling()
    side = max(64, int(math.sqrt(CHUNK_VALUES / bands)))
    for window in windows_of(Window(0, 0, *parts.shape), side):
        training = parts[window.slices] == TRAINING
        if training.any():
            values.add(predictors[:, window.slices[0], window.slices[1]], training)
    return values.scaling()


def _of_band(values: NDArray[np.float32]) -> dict[str, Any]:
    """Return scaling and statistics of one band's values (pixel,), NaN left out."""
    share = float(np.isfinite(values).mean()) if values.size else 0.0
    values = values[np.isfinite(values)]
    if not values.size:
        return dict.fromkeys(("offset", "low", "high", "least", "most", "valid"), 0.0) | {
            "scale": 1.0,
            "histogram": [],
            "stands_apart": None,
        }
    low, high = (float(value) for value in np.percentile(values, (1, 99)))
    inside = values[(values >= low) & (values <= high)].astype(np.float64)
    if not inside.size:  # the percentiles lie between the only values
        inside = values.astype(np.float64)
    offset, scale = float(inside.mean()), float(inside.std())
    if not scale > 1e-7 * max(abs(offset), 1e-30):
        scale = 1.0
    edges = np.linspace(low, high, 33) if high > low else np.array([low - 0.5, low + 0.5])
    return {
        "stands_apart": _standing_apart(values),
        "offset": offset,
        "scale": scale,
        "low": low,
        "high": high,
        "least": float(values.min()),
        "most": float(values.max()),
        "valid": share,
        "histogram": np.histogram(inside, edges)[0].tolist(),
    }


def _standing_apart(values: NDArray[np.float32]) -> dict[str, float] | None:
    """
    Return a value that many pixels have and that lies far from all others, with its share: most likely it means no data.

    Far is twice the range of all others; for what is used as a code the world over, once.
    """
    for extreme in (values.min(), values.max()):
        others = values[values != extreme]
        share = 1 - others.size / values.size
        if share < _LEAST_SHARE or np.unique(others[:: max(others.size // 100_000, 1)]).size < _FEWEST_OTHERS:
            continue
        low, high = float(others.min()), float(others.max())
        gap = max(low - float(extreme), float(extreme) - high)
        usual = any(np.float32(code) == extreme for code in _USUAL_CODES)
        if gap > (1 if usual else 2) * (high - low):
            return {"value": float(extreme), "share": share, "low": low, "high": high}
    return None
