"""What a net's first layer derives from surfaces, made once for a mosaic: training need not make it in every batch."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..messages import Progress
from ..rasters.grid import Window
from ..training_data.splits import TRAINING
from ..training_data.tile_set import TileSet
from .augmentation import Symmetry
from .networks.intake import Intake
from .prediction import padded

_STRIP_PX = 512
LARGEST_BYTES = 8 * 2**30


class DerivedSurfaces:
    """
    The derived channels of a mosaic as training may see them: test pixels and their buffer count as nodata.

    They lie in a temporary file that is mapped into memory.
    """

    def __init__(self, tile_set: TileSet, intake: Intake, progress: Progress) -> None:
        grid = tile_set.grid
        self.intake, self.height, self.width = intake, grid.height, grid.width
        self.channels = intake.channels - len(intake.kept)
        shape = (self.channels, grid.height, grid.width)
        # A file without a name: nothing is left of it, however the process ends.
        self._file = tempfile.TemporaryFile(prefix="geodl-")  # noqa: SIM115 - lives as long as this object
        self.values: npt.NDArray[np.float32] = np.memmap(self._file, np.float32, "w+", shape=shape)
        for row in range(0, grid.height, _STRIP_PX):
            strip = Window(row, 0, min(_STRIP_PX, grid.height - row), grid.width)
            outer = strip.grown(intake.halo_px, grid.height, grid.width)
            values, _ = tile_set.read_window(outer, TRAINING)
            top = strip.row - outer.row
            derived = intake.derive(torch.from_numpy(values)[None])[0].numpy()
            self.values[:, strip.slices[0]] = derived[:, top : top + strip.height]
            progress.update((row + strip.height) / grid.height, "Looking along lines of sight")

    def read(self, window: Window, symmetry: Symmetry | None = None) -> npt.NDArray[np.float32]:
        """Return the channels (channel, row, column) of a window, turned; 0 beyond the mosaic."""
        inside = window.grown(0, self.height, self.width)
        rows, columns = inside.slices
        values: npt.NDArray[Any] = padded(self.values[:, rows, columns], inside, window)
        if inside != window:
            values = np.nan_to_num(values, nan=0.0)
        return values if symmetry is None else self.intake.turned(values, symmetry)


def derived_surfaces(tile_set: TileSet, intake: Intake, progress: Progress) -> DerivedSurfaces | None:
    """Return the derived channels of a mosaic, or None where there is nothing to derive or it would take too much room."""
    channels = intake.channels - len(intake.kept)
    bytes_needed = channels * tile_set.grid.height * tile_set.grid.width * 4
    if tile_set.storage != "mosaic" or channels == 0 or bytes_needed > LARGEST_BYTES:
        return None
    if shutil.disk_usage(tempfile.gettempdir()).free < 2 * bytes_needed:
        return None  # a mapped file that outgrows the disk would end the process
    return DerivedSurfaces(tile_set, intake, progress)
