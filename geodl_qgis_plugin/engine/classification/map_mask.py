"""A mask for maps: polygons outside of which nothing is read or mapped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NoOverlapError
from ..rasters.grid import Grid, Window
from ..training_data.vector_layers import Areas


class Mask:
    """
    Polygons on a grid.

    It can be sent to another process, which opens the layer again.

    Raises
    ------
    SourceError, NoOverlapError, GridError, SettingsError
        If the layer is missing, has no CRS, holds no polygons, or none on the grid.
    """

    def __init__(self, path: str, grid: Grid) -> None:
        self._path, self._grid = path, grid
        self._areas: Areas | None = Areas(path, grid, "MASK")
        if not self._areas.count:
            raise NoOverlapError(f"No polygon of the mask {path} lies on the rasters. Give a mask of the same ground.")
        self.window = self._areas.window

    def read(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return which pixels (row, column) of a window have their middle inside a polygon."""
        if self._areas is None:
            self._areas = Areas(self._path, self._grid, "MASK")
        return self._areas.read(window)

    def touched(self, window: Window) -> Window:
        """Return the smallest part of a window that holds all of its pixels inside; it has no height where there are none."""
        inside = self.read(window) if self.window.shared(window).height else np.zeros((1, 1), bool)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not rows.size:
            return Window(window.row, window.column, 0, 0)
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        return Window(window.row + int(rows[0]), window.column + int(columns[0]), height, width)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open layer behind."""
        return self.__dict__ | {"_areas": None}
