"""Whether an area of applicability tells good from bad: the accuracy of scored places inside it and outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..rasters.grid import Window
from ..training_data.tile_set import TileSet
from .applicability import HALO_PX, Applicability, features_of_patches, features_of_tiles
from .batches import positions_of_codes
from .scoring import Predicted

MOST_PLACES = 2000
_FEWEST_PLACES = 30  # below that there is no accuracy
_AT_ONCE = 128


class ScoredSample:
    """Collects places of a mosaic's part, drawn evenly, and whether a model is right there."""

    def __init__(self, tile_set: TileSet, part: str, *, per_pixel: bool) -> None:
        self._tile_set, self._part, self._per_pixel = tile_set, part, per_pixel
        self._position, self._random = positions_of_codes(tile_set), np.random.default_rng(31)
        total = sum(tile_set.class_counts(part).values()) if per_pixel else len(tile_set.indices(part))
        self._share = min(1.2 * MOST_PLACES / max(total, 1), 1.0) if tile_set.storage == "mosaic" else 0.0
        self._kept: list[npt.NDArray[np.float64]] = []

    def add(self, predicted: Predicted) -> None:
        """Take some of the places of a window that have a reference."""
        known = (predicted.reference > 0) & (self._random.random(predicted.reference.shape) < self._share)
        if not known.any():
            return
        right = predicted.probabilities[:, known].argmax(axis=0) == self._position[predicted.reference[known]]
        rows, columns = (np.broadcast_to(one, known.shape)[known] for one in (predicted.rows, predicted.columns))
        self._kept.append(np.column_stack([rows, columns, right]))

    def told(self, area: Applicability) -> dict[str, Any] | None:
        """Return how many places lie inside and outside the area, and the accuracy there; None where none were taken."""
        if not self._kept:
            return None
        places = np.concatenate(self._kept)[:MOST_PLACES]
        size = 2 * HALO_PX + 1 if self._per_pixel else self._tile_set.tile_size_px
        features_of = features_of_patches if self._per_pixel else features_of_tiles
        inside = []
        for start in range(0, len(places), _AT_ONCE):
            corners = np.round(places[start : start + _AT_ONCE, :2] - size / 2).astype(np.int64)  # from middles
            windows = [Window(int(row), int(column), size, size) for row, column in corners]
            values = np.stack([self._tile_set.read_window(window, self._part)[0] for window in windows])
            features = features_of(values, self._tile_set.bands)
            inside.append(area.dissimilarity(features.T) <= area.threshold)
        within, right = np.concatenate(inside), places[:, 2]
        return {
            "part": self._part,
            "inside": int(within.sum()),
            "outside": int((~within).sum()),
            "accuracy_inside": _mean(right[within]),
            "accuracy_outside": _mean(right[~within]),
        }


def _mean(right: npt.NDArray[np.float64]) -> float | None:
    return float(right.mean()) if right.size >= _FEWEST_PLACES else None
