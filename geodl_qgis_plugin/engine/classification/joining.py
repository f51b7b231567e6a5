"""Put the finished blocks of a map together: one file for each product, made whole before it takes its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..rasters.grid import Window
from ..rasters.writer import PACKED_NODATA, unpack
from .blocks import Block, BlockWork
from .map_products import ClassProduct, ConfidenceProduct, Product
from .pixel_polygons import write_pixel_polygons
from .sliding import TileBlocks
from .tile_polygons import TilePolygons
from .work_folder import DamagedBlock, WorkFolder


class FinishedMap:
    """
    The blocks of a map, all of them there, and the files that are made of them.

    Parameters
    ----------
    metadata : mapping
        Items of each raster: the model's name and hash, settings.
    """

    def __init__(self, work: BlockWork, folder: WorkFolder, metadata: Mapping[str, Any], progress: Progress) -> None:
        self._work, self._folder, self._metadata, self._progress = work, folder, metadata, progress

    def write_raster(self, product: Product, path: str, blocks: Sequence[Block]) -> None:
        """Write one product, block by block, and make the cloud-optimised file of it."""
        copying, finishing = PartOfProgress(self._progress, 0.0, 0.3), PartOfProgress(self._progress, 0.3, 1.0)
        shared = {"metadata": self._metadata, "progress": finishing, "part_key": self._folder.key}
        with product.open(path, self._work.grid, **shared) as writer:
            for number, block in enumerate(blocks):
                stored = self.array(block, product.name)
                if stored is not None:
                    writer.write_stored(block, stored)
                self._step(copying, (number + 1) / len(blocks), path)

    def write_tile_polygons(self, path: str, work: TileBlocks, blocks: Sequence[Block]) -> None:
        """Write a square for each tile."""
        area = work.stack.grid.part(work.area)
        with TilePolygons(path, area, work.model.classes, work.size, work.step, self._folder.key) as polygons:
            for number, block in enumerate(blocks):
                codes, sure = self.array(block, ClassProduct.name), self.array(block, ConfidenceProduct.name)
                if codes is not None and sure is not None:
                    polygons.write(codes, unpack(sure), block)
                self._step(self._progress, (number + 1) / len(blocks), path)

    def write_pixel_polygons(self, path: str, class_raster: str, least_area_m2: float, blocks: Sequence[Block]) -> None:
        """Write the patches of the finished class raster."""

        def confidence(window: Window) -> npt.NDArray[np.uint8]:
            values = np.full((window.height, window.width), PACKED_NODATA, np.uint8)
            for block in blocks:
                shared = window.shared(block)
                stored = self.array(block, ConfidenceProduct.name) if shared.height and shared.width else None
                if stored is not None:
                    values[shared.from_origin(window).slices] = stored[shared.from_origin(block).slices]
            return values

        write_pixel_polygons(
            path,
            class_raster,
            self._work.model.classes,
            confidence,
            least_area_m2=least_area_m2,
            work_folder=self._folder.path,
            part_key=self._folder.key,
            progress=self._progress,
        )

    def counts(self, codes: Sequence[int], blocks: Sequence[Block]) -> dict[str, int]:
        """Return how many pixels each class has."""
        total = np.zeros(max(codes) + 1, np.int64)
        for block in blocks:
            stored = self.array(block, ClassProduct.name)
            if stored is not None:
                total += np.bincount(stored.ravel(), minlength=total.size)
        return {str(code): int(total[code]) for code in codes}

    def array(self, block: Block, name: str) -> npt.NDArray[Any] | None:
        """Return a block's array; a block that the disk has lost is worked out once more."""
        try:
            return self._folder.get(block, name)
        except DamagedBlock as damage:
            self._progress.message(f"{damage} It is computed again.")
            self._folder.put(block, self._work.compute(block))
            return self._folder.get(block, name)

    @staticmethod
    def _step(progress: Progress, fraction: float, path: str) -> None:
        if progress.cancelled():
            raise Cancelled(f"The job was stopped before {path} was written.")
        progress.update(fraction, f"Writing {path}")
