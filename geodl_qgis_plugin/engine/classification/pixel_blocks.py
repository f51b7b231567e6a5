"""The blocks of a model that maps pixels: windows with a halo, cut to the area that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..rasters.grid import Window
from ..rasters.stack import Stack
from .appetite import SMALLEST_PX, core_sides, largest_window_px
from .applicability import HALO_PX
from .blocks import Block, BlockWork
from .classifier import Classifier
from .map_mask import Mask
from .map_products import Product, Scores, wants_applicability
from .net_runner import PixelWindow
from .prediction import Reading, padded, reading_of, up_to_multiple

CORE_PX = 0  # side of a block; 0 makes them as large as the memory that a window may take allows
BUDGET_BYTES = 560 * 2**20  # of a window's tensors
_CACHE_BYTES = 64 * 2**20  # of GDAL, for rasters in tiles


class _Given(NamedTuple):
    values: npt.NDArray[np.float32]  # (band, row, column) of the window with its halo
    valid: npt.NDArray[np.bool_]  # (row, column) of the block


class PixelBlocks(BlockWork):
    """
    Pixels, each with a class.

    Blocks lie on a lattice over the area; those outside the mask are left out, and those on its edge cut to what it touches.
    """

    def __init__(
        self, model: Classifier, stack: Stack, area: Window, products: Sequence[Product], mask: Mask | None = None
    ) -> None:
        super().__init__(model, stack, area, products, mask)
        self.grid = stack.grid.part(area)
        self._stride = int(model.net.stride)  # type: ignore[arg-type]
        self._halo_px = max(model.halo_px, HALO_PX if wants_applicability(products) else 0)
        halo = up_to_multiple(self._halo_px, self._stride)
        down, across = self._sides(halo)
        model.runner.expect(len(stack.bands), (down + 2 * halo) * (across + 2 * halo))
        self.blocks = []
        held = stack.block_size[0] + down + 2 * halo  # rows that a row of blocks touches
        columns = stack.hold(held, _CACHE_BYTES) // across * across or across
        # Columns of blocks that share what is read are taken together: the cache need not hold all of a wide raster's rows.
        for left in range(0, area.width, columns):
            for row in range(0, area.height, down):
                for column in range(left, min(left + columns, area.width), across):
                    block = Window(row, column, min(down, area.height - row), min(across, area.width - column))
                    touched = block if mask is None else mask.touched(self._place(block)).from_origin(area)
                    if touched.height and touched.width:
                        self.blocks.append(touched)

    def _sides(self, halo: int) -> tuple[int, int]:
        """Return the rows and columns of a block."""
        if CORE_PX:
            return (up_to_multiple(CORE_PX, self._stride),) * 2
        height, width = self.area.height, self.area.width
        if (height + 2 * halo) * (width + 2 * halo) <= SMALLEST_PX:
            return up_to_multiple(height, self._stride), up_to_multiple(width, self._stride)
        most = largest_window_px(self.model.net, len(self.stack.bands), BUDGET_BYTES)
        return core_sides(height, width, halo, self._stride, most)

    def read(self, block: Block) -> _Given:
        """Read a window with its halo."""
        reading = self._reading(block)
        inside = reading.outer.grown(0, self.stack.grid.height, self.stack.grid.width)
        values = padded(self.stack.read(inside), inside, reading.outer)
        rows, columns = reading.core.from_origin(reading.outer).slices
        valid = np.isfinite(values[:, rows, columns]).all(axis=0)
        return _Given(values, valid if self.mask is None else valid & self.mask.read(reading.core))

    @property
    def at_once(self) -> int:
        """As many windows as the device holds."""
        return self.model.runner.at_once

    def score(self, block: Block, given: _Given) -> Scores | None:
        """Run the net over the window."""
        return self.score_together([(block, given)])[0]

    def score_together(self, given: Sequence[tuple[Block, _Given]]) -> list[Scores | None]:
        """Run the net over windows, those of one size at once."""
        windows = [PixelWindow(self._reading(block), read.values) for block, read in given if read.valid.any()]
        found = iter(self.model.runner.probabilities(windows, self._halo_px))
        return [self._scores(block, read, next(found)) if read.valid.any() else None for block, read in given]

    def _scores(self, block: Block, given: _Given, probabilities: npt.NDArray[np.float32]) -> Scores:
        reading = self._reading(block)
        rows, columns = reading.core.from_origin(reading.outer).slices
        area = None
        if self.model.applicability is not None and wants_applicability(self.products):
            area = self.model.applicability.of_window(given.values, self.model.bands, reading.outer, reading.core)
        return Scores(probabilities, given.valid, given.values[:, rows, columns], area)

    def _reading(self, block: Block) -> Reading:
        """Return what is read for a block."""
        grid = self.stack.grid
        return reading_of(self._place(block), grid.height, grid.width, self._halo_px, self._stride)

    def _place(self, block: Block) -> Window:
        """Return where a block lies in the raster."""
        return Window(block.row + self.area.row, block.column + self.area.column, block.height, block.width)
