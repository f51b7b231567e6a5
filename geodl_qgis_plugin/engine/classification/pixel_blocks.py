"""The blocks of a model that maps pixels: windows with a halo, cut to the area that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..environment import trim_memory
from ..rasters.grid import Window
from ..rasters.stack import Stack
from .appetite import SMALLEST_PX, largest_window_px
from .applicability import HALO_PX
from .blocks import Block, BlockWork
from .classifier import Classifier
from .lattice import Side, lattice
from .map_mask import Mask
from .map_products import Product, Scores, wants_applicability
from .net_runner import PixelWindow
from .prediction import Reading, padded, reading_of, up_to_multiple

CORE_PX = 0  # side of a block; 0 makes them as large as the memory that a window may take allows
BUDGET_BYTES = 335 * 2**20  # of a window's tensors, of which there are two at once
_LEAST_CORE_PX = 96  # of a window: of many bands, or with a wide halo, more memory is taken rather
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
        self._outer: dict[Block, Window] = {}  # what is read for a block, where that is one of the lattice's windows
        down, across = self._lattice()
        model.runner.expect(len(stack.bands), down.length * across.length)
        self.blocks = []
        held = stack.block_size[0] + down.length  # rows that a row of blocks touches
        each = max(across.length - 2 * self._halo_px, 1)
        together = max(stack.hold(held, _CACHE_BYTES) // each, 1)
        # Columns of blocks that share what is read are taken together: the cache need not hold all of a wide raster's rows.
        for left in range(0, len(across.starts), together):
            for row, (top, bottom) in zip(down.starts, down.cores):
                for column, core in list(zip(across.starts, across.cores))[left : left + together]:
                    outer = Window(row, column, down.length, across.length)
                    self._add(Window(top, core[0], bottom - top, core[1] - core[0]), outer)

    def _add(self, core: Window, outer: Window) -> None:
        """Add a block, or what of it the mask touches."""
        touched = core if self.mask is None else self.mask.touched(core)
        if touched.height and touched.width:
            self.blocks.append(touched.from_origin(self.area))
            if touched == core:
                self._outer[self.blocks[-1]] = outer

    def _lattice(self) -> tuple[Side, Side]:
        """Return the windows along columns and along rows."""
        stack, area, halo = self.stack, self.area, up_to_multiple(self._halo_px, self._stride)
        place = (area, stack.grid.height, stack.grid.width, self._halo_px, self._stride)
        if CORE_PX:
            return lattice(*place, (CORE_PX + 2 * halo) ** 2)
        if (area.height + 2 * halo) * (area.width + 2 * halo) <= SMALLEST_PX:
            return lattice(*place, SMALLEST_PX)
        most = largest_window_px(self.model.net, len(stack.bands), BUDGET_BYTES)
        trim_memory(0)  # of what the net was tried with
        return lattice(*place, max(most, (2 * halo + _LEAST_CORE_PX) ** 2))

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
        if block in self._outer:
            return Reading(self._outer[block], self._place(block))
        grid = self.stack.grid
        return reading_of(self._place(block), grid.height, grid.width, self._halo_px, self._stride)

    def _place(self, block: Block) -> Window:
        """Return where a block lies in the raster."""
        return Window(block.row + self.area.row, block.column + self.area.column, block.height, block.width)
