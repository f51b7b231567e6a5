"""The mapped classes of a part, thinned to what a page can show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..training_data.tile_set import TileSet
from .scoring import Predicted


class PartMap:
    """Collects a mosaic's mapped classes window by window; ``codes`` (row, column) is None for other sets."""

    LARGEST_PX = 900

    def __init__(self, tile_set: TileSet) -> None:
        grid = tile_set.grid
        self.step = max(-(-max(grid.height, grid.width) // self.LARGEST_PX), 1)
        self.codes: npt.NDArray[np.uint16] | None = None
        self._of_position = np.array([one.code for one in tile_set.classes], np.uint16)
        if tile_set.storage == "mosaic":
            self.codes = np.zeros((-(-grid.height // self.step), -(-grid.width // self.step)), np.uint16)

    def add(self, predicted: Predicted) -> None:
        """Put the most probable classes of a window on the map."""
        if self.codes is None or predicted.reference.ndim < 2:
            return
        first_row, first_column = int(predicted.rows[0, 0]), int(predicted.columns[0, 0])
        top, left = -first_row % self.step, -first_column % self.step
        best = self._of_position[predicted.probabilities[:, top :: self.step, left :: self.step].argmax(axis=0)]
        row, column = (first_row + top) // self.step, (first_column + left) // self.step
        self.codes[row : row + best.shape[0], column : column + best.shape[1]] = best
