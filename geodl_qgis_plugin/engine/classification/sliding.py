"""
Tile nets over whole rasters: the same classes as window by window, at a fraction of the work.

Where tiles start at multiples of the net's own stride, its unpadded convolutions run once over a block and its head slides
along; otherwise it is given tiles one by one, in batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import SettingsError
from ..rasters.grid import Grid, Window
from ..rasters.stack import Stack
from .blocks import Block, BlockWork
from .classifier import Classifier
from .map_mask import Mask
from .map_products import Product, Scores, wants_applicability
from .net_runner import NoRoom

_LARGEST_VALUES = 24 * 2**20  # of a block's predictors: bounds the memory of its activations
_BATCH_VALUES = 4 * 2**20
_TILES_AT_ONCE, _VALUES_AT_ONCE = 32, 2**18


class _Given(NamedTuple):
    values: npt.NDArray[np.float32]  # (band, row, column) of the block, or (tile, band, row, column)
    valid: npt.NDArray[np.bool_]  # (row, column) of tiles


class _Strip(NamedTuple):
    values: npt.NDArray[np.float32]  # (band, row, column)
    height: int  # in tiles
    width: int


class TileBlocks(BlockWork):
    """
    Tiles, each with a class; the map has one pixel a tile.

    Parameters
    ----------
    step : int
        How far apart tiles start, in pixels.

    Raises
    ------
    SettingsError
        If the area is smaller than a tile.
    """

    def __init__(
        self,
        model: Classifier,
        stack: Stack,
        area: Window,
        products: Sequence[Product],
        step: int,
        mask: Mask | None = None,
    ) -> None:
        super().__init__(model, stack, area, products, mask)
        self.size, self.step, self._stride = model.tile_size_px, step, int(model.net.stride)  # type: ignore[arg-type]
        if area.height < self.size or area.width < self.size:
            raise SettingsError(
                f"The area of {area.width} × {area.height} pixels is smaller than the model's tiles of {self.size} pixels. "
                "Give a larger raster or EXTENT."
            )
        rows, columns = (area.height - self.size) // step + 1, (area.width - self.size) // step + 1
        self.grid = _tile_grid(stack.grid.part(area), self.size, step, rows, columns)
        self.dense = step % self._stride == 0 and step < self.size
        bands = len(stack.bands)
        if self.dense:
            side = int((_LARGEST_VALUES / 4 / max(bands, 4)) ** 0.5)
            most = max((side - self.size) // step + 1, 1)
            down, across = (-(-count // -(-count // most)) for count in (rows, columns))  # nearly alike
        else:
            down, across = 1, max(_BATCH_VALUES // (bands * self.size**2), 1)
        self.blocks = [
            block
            for row in range(0, rows, down)
            for column in range(0, columns, across)
            if self._touches(block := Window(row, column, min(down, rows - row), min(across, columns - column)))
        ]

    def read(self, block: Block) -> _Given:
        """
        Read the block, or each of its tiles.

        A tile is valid if at least half its pixels have a value in every band and lie in the mask.
        """
        if self.dense:
            window = self._window(block)
            values = self.stack.read(window)
            full = np.isfinite(values).all(axis=0)
            if self.mask is not None:
                full &= self.mask.read(window)
            return _Given(values, _at_least_half(full, self.size, self.step))
        corners = [
            (self.area.row + row * self.step, self.area.column + column * self.step)
            for row in range(block.row, block.row + block.height)
            for column in range(block.column, block.column + block.width)
        ]
        tiles = self._row_of_tiles(corners)
        full = np.isfinite(tiles).all(axis=1)
        if self.mask is not None:
            full &= np.stack([self.mask.read(Window(*corner, self.size, self.size)) for corner in corners])
        return _Given(tiles, (full.mean(axis=(1, 2)) >= 0.5).reshape(block.height, block.width))

    def _window(self, block: Block) -> Window:
        """Return the pixels of a block's tiles."""
        height, width = (block.height - 1) * self.step + self.size, (block.width - 1) * self.step + self.size
        return Window(self.area.row + block.row * self.step, self.area.column + block.column * self.step, height, width)

    def _touches(self, block: Block) -> bool:
        return self.mask is None or self.mask.touched(self._window(block)).height > 0

    def _row_of_tiles(self, corners: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
        """Return tiles (tile, band, row, column): cut out of one strip, unless most of it would be read in vain."""
        if self.step > 4 * self.size:
            return np.stack([self.stack.read(Window(*corner, self.size, self.size)) for corner in corners])
        strip = self.stack.read(Window(*corners[0], self.size, (len(corners) - 1) * self.step + self.size))
        cut = sliding_window_view(strip, self.size, axis=2)[:, :, :: self.step]  # (band, row, tile, column)
        return np.ascontiguousarray(cut.transpose(2, 0, 1, 3))

    def _slid(self, strip: _Strip) -> torch.Tensor:
        """Return logits (class, row, column) of all tiles of a block; in parts when memory runs out."""
        single = strip.height == strip.width == 1
        try:
            logits = self.model.runner.logits(np.ascontiguousarray(strip.values)[None], smaller=not single)[0]
        except NoRoom:
            logits = None
        if logits is None:
            along = 1 if strip.height >= strip.width else 2
            return torch.cat([self._slid(part) for part in _parts(*strip, self.size, self.step)], dim=along)
        every = self.step // self._stride
        return logits[:, ::every, ::every][:, : strip.height, : strip.width]

    @torch.inference_mode()
    def score(self, block: Block, given: _Given) -> Scores | None:
        """Slide the net over the block, or run it over the batch."""
        if not given.valid.any():
            return None
        runner, values = self.model.runner, given.values
        if self.dense:
            logits = self._slid(_Strip(values, block.height, block.width))
        else:
            some = max(_VALUES_AT_ONCE // values[0].size, _TILES_AT_ONCE)
            parts = [runner.logits(values[i : i + some])[:, :, 0, 0] for i in range(0, len(values), some)]
            logits = torch.cat(parts).T.reshape(-1, block.height, block.width)
        area = None
        if self.model.applicability is not None and wants_applicability(self.products):
            if self.dense:
                area = self.model.applicability.of_strip(given.values, self.model.bands, self.size, self.step)
            else:
                flat = self.model.applicability.of_tiles(given.values, self.model.bands)
                area = flat.reshape(2, block.height, block.width)
        return Scores(torch.softmax(logits, dim=0).numpy(), given.valid, applicability=area)


def _parts(values: npt.NDArray[np.float32], height: int, width: int, size: int, step: int) -> list[_Strip]:
    """Return two parts of a block of tiles, upper and lower or left and right, each with all of its tiles' pixels."""
    first = max(height, width) // 2
    pixels, start = (first - 1) * step + size, first * step
    if height >= width:
        return [_Strip(values[:, :pixels], first, width), _Strip(values[:, start:], height - first, width)]
    return [_Strip(values[:, :, :pixels], height, first), _Strip(values[:, :, start:], height, width - first)]


def _tile_grid(grid: Grid, size: int, step: int, rows: int, columns: int) -> Grid:
    """Return the grid whose pixels are ``step`` wide and lie about the middles of the tiles."""
    offset = (size - step) / 2
    east, north = grid.coordinates(offset, offset)
    t = grid.transform
    transform = (float(east), t[1] * step, t[2] * step, float(north), t[4] * step, t[5] * step)
    return Grid(grid.crs, transform, columns, rows)


def _at_least_half(full: npt.NDArray[np.bool_], size: int, step: int) -> npt.NDArray[np.bool_]:
    """Return which tiles are at least half full, by sums over a table of running sums."""
    sums = np.zeros((full.shape[0] + 1, full.shape[1] + 1), np.int64)
    sums[1:, 1:] = full.cumsum(axis=0).cumsum(axis=1)
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    result: npt.NDArray[np.bool_] = inside[::step, ::step] * 2 >= size * size
    return result
