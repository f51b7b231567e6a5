"""Many rasters beside each other, read as one: a stack whose pieces each have all of its bands."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import GridError
from .grid import Grid, Window
from .stack import Stack
from .warping import FloatArray, transformation

_MOST_OPEN = 32  # pieces with open handles, of which systems allow some hundreds
_MOST_PIXELS, _MOST_EMPTY = 4 * 10**9, 50.0
_SAME_PX = 0.01
_POINTS = 21  # along a side: sides are bent by reprojection


class Mosaic(Stack):
    """
    Rasters on one grid: that of the first, widened until all of them lie on it.

    Where several have a value the first one counts; a pixel's bands are all of one raster. Rasters of another CRS or pixel
    size are warped. Only those that a window touches are opened for it.

    Parameters
    ----------
    pieces : sequence of Stack
        One for each raster, each with the same bands in the same order.

    Raises
    ------
    GridError
        If a raster cannot be brought to the first one's CRS, or they lie so far apart that most of the grid would be empty.
    """

    def __init__(self, pieces: Sequence[Stack]) -> None:
        first = pieces[0]
        places = [_place(piece, first) for piece in pieces]
        top, left = min(place.row for place in places), min(place.column for place in places)
        bottom = max(place.row + place.height for place in places)
        right = max(place.column + place.width for place in places)
        whole = Window(top, left, bottom - top, right - left)
        _check_size(whole, places)
        grid = first.grid.part(whole)
        super().__init__([], grid, first.bands)
        self._given = list(pieces)
        self._pieces = [piece.on(grid) for piece in pieces]
        self._rasters = [source for piece in self._pieces for source in piece._rasters]
        self._places = [place.from_origin(whole) for place in places]
        self._open: dict[int, Stack] = {}

    @property
    def manner(self) -> list[str]:
        """Return how each raster's values are read, and that they lie beside each other."""
        return ["mosaic", *super().manner]

    def read(self, window: Window) -> FloatArray:
        """Read a window, see `Stack.read`."""
        values = np.full((len(self.bands), window.height, window.width), np.nan, np.float32)
        wanted = np.ones((window.height, window.width), bool)
        for number, place in enumerate(self._places):
            shared = window.shared(place)
            rows, columns = shared.from_origin(window).slices
            if not shared.height or not shared.width or not wanted[rows, columns].any():
                continue
            found = self._opened(number).read(shared)
            here, still = values[:, rows, columns], wanted[rows, columns]
            whole = np.isfinite(found).all(axis=0)
            take = still & (whole | np.isnan(here).all(axis=0))
            here[:, take] = found[:, take]
            still[whole] = False
        return values

    def hold(self, rows: int, cache_bytes: int) -> int:
        """Let GDAL's cache hold what a row of blocks needs, see `Stack.hold`."""
        return min(piece.hold(rows, cache_bytes) for piece in self._pieces)

    def reopen(self) -> Mosaic:
        """Return the same mosaic with handles of its own."""
        other = copy.copy(self)
        other._open = {}
        return other

    def chosen(self, keep: Sequence[int]) -> Mosaic:
        """Return the mosaic with only the bands whose positions are given."""
        return Mosaic([piece.chosen(keep) for piece in self._given])

    def also_missing(self, values: Sequence[Sequence[float]]) -> Mosaic:
        """Return the mosaic with further values that mean no data."""
        return Mosaic([piece.also_missing(values) for piece in self._given])

    def _opened(self, number: int) -> Stack:
        """Return a piece with open handles; of too many the one that was not read for longest is closed."""
        piece = self._open.pop(number, None) or self._pieces[number].reopen()
        while len(self._open) >= _MOST_OPEN:
            self._open.pop(next(iter(self._open)))
        self._open[number] = piece
        return piece

    def __getstate__(self) -> dict[str, Any]:
        """Leave the handles behind."""
        return self.__dict__ | {"_open": {}}


def _place(piece: Stack, first: Stack) -> Window:
    """Return the whole pixels of the first raster's grid that a piece touches; they may lie before its first one."""
    steps = np.linspace(0, 1, _POINTS)
    low, high = np.zeros(_POINTS), np.ones(_POINTS)
    rows = np.concatenate([low, high, steps, steps]) * piece.grid.height
    columns = np.concatenate([steps, steps, low, high]) * piece.grid.width
    there = transformation(piece.grid, first.grid)
    try:
        points = [there.TransformPoint(float(x), float(y))[:2] for x, y in zip(*piece.grid.coordinates(rows, columns))]
        row, column = first.grid.pixels(*np.array(points).T)
        known = bool(np.isfinite(row).all() and np.isfinite(column).all())
    except RuntimeError:
        known = False
    if not known:
        raise GridError(
            f"The raster {piece.paths[0]} cannot be brought to the CRS of {first.paths[0]} "
            f"({_name(first.grid)}), which does not reach there. Warp both to one CRS, or make one map each."
        )
    top, left = (int(np.floor(side.min() + _SAME_PX)) for side in (row, column))
    bottom, right = (int(np.ceil(side.max() - _SAME_PX)) for side in (row, column))
    return Window(top, left, max(bottom - top, 1), max(right - left, 1))


def _check_size(whole: Window, places: Sequence[Window]) -> None:
    pixels, covered = whole.height * whole.width, sum(place.height * place.width for place in places)
    too_large = max(whole.height, whole.width) >= 2**31
    if too_large or (pixels > _MOST_PIXELS and pixels > _MOST_EMPTY * covered):
        raise GridError(
            f"The rasters lie so far apart that a mosaic would have {whole.width:,} × {whole.height:,} pixels, of which they "
            f"cover {covered / pixels:.2%}. Make one map each, or a mosaic of those that lie together."
        )


def _name(grid: Grid) -> str:
    return str(grid.spatial_reference.GetName())
