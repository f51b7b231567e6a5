"""One band of one raster, as numbers on which derivatives and filters can be worked out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .grid import Grid, Window
from .sources import open_raster
from .stack import Stack, open_stack

_NO_NUMBER = 1e30  # Surfer, Geosoft and old ArcInfo grids mark missing pixels with huge values that are not declared


@dataclass(frozen=True)
class SingleBand:
    """
    A band opened for reading.

    ``what`` names it in sentences ("The DEM dem.tif"), ``source`` opens it again, ``siblings`` counts the bands of its file.
    """

    stack: Stack
    what: str
    source: str
    unit: str
    siblings: int

    @property
    def grid(self) -> Grid:
        """Return where its pixels lie."""
        return self.stack.grid

    def read(self, window: Window | None = None) -> NDArray[np.float64]:
        """Return the values (row, column) of a window that may reach beyond the raster; NaN where missing or outside."""
        window = window or Window(0, 0, self.grid.height, self.grid.width)
        values: NDArray[np.float64] = self.stack.read(window)[0].astype(np.float64)
        values[np.abs(values) >= _NO_NUMBER] = np.nan
        return values

    def value_range(self) -> tuple[float, float]:
        """
        Return the least and the largest value, reading all of it.

        Raises
        ------
        SourceError
            If every pixel is missing.
        """
        low, high = np.inf, -np.inf
        for window in windows(self.grid, 2048):
            values = self.read(window)
            values = values[np.isfinite(values)]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        if low > high:
            raise SourceError(f"{self.what} has no valid pixel: all are nodata. Give another raster, band or extent.")
        return low, high


def open_band(path: str, what: str, band: int = 1, *, coded: bool = False) -> SingleBand:
    """
    Open one band of a raster; ``what`` names it in errors ("The DEM"), ``coded`` lets codes of a colour table through.

    Raises
    ------
    SourceError
        If the file does not exist or is no raster, or holds codes of a colour table or complex numbers.
    BandMismatchError
        If it has no such band.
    GridError
        If it has no CRS or is not georeferenced.
    """
    dataset = open_raster(path)
    source = f"{path}|bands={band}"
    stack = open_stack([source])
    if dataset.GetRasterBand(band).GetColorTable() is not None and not coded:
        raise SourceError(
            f"{what} {path} holds codes of a colour table, not measured values. Give the raster of values it was made from."
        )
    return SingleBand(stack, f"{what} {path}", source, stack.bands[0].unit, dataset.RasterCount)


def windows(grid: Grid, size: int) -> Iterator[Window]:
    """Yield windows of at most ``size`` by ``size`` pixels that cover a grid, row by row."""
    for row in range(0, grid.height, size):
        for column in range(0, grid.width, size):
            yield Window(row, column, min(size, grid.height - row), min(size, grid.width - column))
