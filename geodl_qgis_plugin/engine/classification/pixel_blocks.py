"""The blocks of a model that maps pixels: windows with a halo, cut to the area that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..rasters.grid import Window
from ..rasters.stack import Stack
from .applicability import HALO_PX
from .blocks import Block, BlockWork
from .classifier import Classifier
from .map_products import Product, Scores, wants_applicability
from .prediction import Reading, padded, probabilities_of, readings, up_to_multiple

CORE_PX = 384


class _Given(NamedTuple):
    values: npt.NDArray[np.float32]  # (band, row, column) of the window with its halo
    valid: npt.NDArray[np.bool_]  # (row, column) of the block


class PixelBlocks(BlockWork):
    """
    Pixels, each with a class.

    The lattice of windows is that of the whole raster, whatever part of it is wanted: a part's map is a part of the map.
    """

    def __init__(self, model: Classifier, stack: Stack, area: Window, products: Sequence[Product]) -> None:
        super().__init__(model, stack, area, products)
        self.grid = stack.grid.part(area)
        stride = int(model.net.stride)  # type: ignore[arg-type]
        halo_px = max(model.halo_px, HALO_PX if wants_applicability(products) else 0)
        self._readings: dict[Block, Reading] = {}
        for reading in readings(stack.grid.height, stack.grid.width, up_to_multiple(CORE_PX, stride), halo_px, stride):
            place = reading.core.shared(area)
            if place.height and place.width:
                self._readings[place.from_origin(area)] = reading
        self.blocks = list(self._readings)

    def read(self, block: Block) -> _Given:
        """Read a window with its halo."""
        reading = self._readings[block]
        inside = reading.outer.grown(0, self.stack.grid.height, self.stack.grid.width)
        values = padded(self.stack.read(inside), inside, reading.outer)
        rows, columns = self._place(block).from_origin(reading.outer).slices
        return _Given(values, np.isfinite(values[:, rows, columns]).all(axis=0))

    def score(self, block: Block, given: _Given) -> Scores | None:
        """Run the net over the window."""
        if not given.valid.any():
            return None
        reading, place = self._readings[block], self._place(block)
        probabilities = probabilities_of(self.model.net, given.values, reading)
        rows, columns = place.from_origin(reading.core).slices
        outer_rows, outer_columns = place.from_origin(reading.outer).slices
        area = None
        if self.model.applicability is not None and wants_applicability(self.products):
            area = self.model.applicability.of_window(given.values, self.model.bands, reading.outer, place)
        values = given.values[:, outer_rows, outer_columns]
        return Scores(probabilities[:, rows, columns], given.valid, values, area)

    def _place(self, block: Block) -> Window:
        """Return where a block lies in the raster."""
        return Window(block.row + self.area.row, block.column + self.area.column, block.height, block.width)
