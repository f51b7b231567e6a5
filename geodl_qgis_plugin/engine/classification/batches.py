"""
Batches of training tiles: the same for the same seed, epoch and place, whatever came before.

Windows into a mosaic are moved by up to half a stride, so that no two epochs show the same tiles; labels near a tile's edge,
where the net sees only one side, are left out of the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import TileSetError
from ..ranks import ALONE, Ranks
from ..rasters.grid import Window
from ..training_data.splits import TRAINING
from ..training_data.tile_set import TileSet
from .alterations import AS_IT_IS, Alteration
from .augmentation import NONE, Symmetry, allowed_symmetries, turn, turn_tile
from .streaming import ahead
from .surfaces import DerivedSurfaces
from .tile_choice import tile_shares

IGNORED = -1


@dataclass(frozen=True)
class Batch:
    """
    Some tiles.

    ``values`` are (tile, band, row, column), float32, NaN for nodata; ``targets`` are positions of classes,
    (tile, row, column) or (tile,), int64, -1 for what is not learnt from; ``derived`` are the channels that the net's first
    layer derives from surfaces, where they were made before.
    """

    values: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    derived: npt.NDArray[np.float32] | None = None


class Batches:
    """
    The training tiles of a set, in batches.

    Parameters
    ----------
    per_pixel : bool
        Whether targets are for each pixel or for each tile.
    augment : bool
        Whether tiles are turned, mirrored and moved.
    surfaces : DerivedSurfaces, optional
        Channels derived from the whole mosaic; they see beyond a tile's edge.
    ranks : Ranks, optional
        The processes that train together: each makes its own part of every batch.
    alteration : Alteration, optional
        What is done to values, beside moves and turns.
    balance : float
        See `tile_shares`.
    """

    def __init__(
        self,
        tile_set: TileSet,
        batch_size: int,
        seed: int,
        *,
        per_pixel: bool,
        augment: bool = True,
        surfaces: DerivedSurfaces | None = None,
        ranks: Ranks = ALONE,
        alteration: Alteration = AS_IT_IS,
        balance: float = 0.0,
    ) -> None:
        self.surfaces, self.ranks, self.alteration = surfaces, ranks, alteration
        self.tile_set, self.batch_size, self.seed, self.per_pixel = tile_set, batch_size, seed, per_pixel
        self.tiles = training_tiles(tile_set, per_pixel=per_pixel)
        self.shares = tile_shares(tile_set, self.tiles, balance, per_pixel=per_pixel)
        self.symmetries: tuple[Symmetry, ...] = allowed_symmetries(tile_set.bands) if augment else NONE
        self.jitter_px = tile_set.stride_px // 2 if augment and tile_set.storage == "mosaic" and per_pixel else 0
        self.margin_px = tile_set.tile_size_px // 8 if tile_set.storage == "mosaic" else 0
        self.position = positions_of_codes(tile_set)

    def __len__(self) -> int:
        return -(-len(self.tiles) // self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch from the one with the number ``start``; the next is made while one is used."""
        random = np.random.default_rng([self.seed, number])
        if self.shares is None:
            order = random.permutation(self.tiles)
        else:
            order = random.choice(self.tiles, len(self.tiles), p=self.shares)
        return ahead(
            self._batch(order[place * self.batch_size : (place + 1) * self.batch_size], (self.seed, number, place))
            for place in range(start, len(self))
        )

    def _batch(self, chosen: npt.NDArray[np.int64], key: tuple[int, int, int]) -> Batch:
        """Make a batch; what is random about a tile follows from the seed, the epoch, the batch and its place there."""
        values, targets, derived = [], [], []
        for place in own_part(len(chosen), self.ranks):
            index, random = chosen[place], np.random.default_rng([*key, place])
            window = self._window(int(index), random)
            tile_values, codes = self._read(int(index), window)
            symmetry = self.symmetries[random.integers(len(self.symmetries))]
            turned = turn_tile(tile_values, self.tile_set.bands, symmetry)
            if self.alteration:
                turned = self.alteration.apply(turned, self.tile_set.bands, self.tile_set.scaling, random)
            values.append(turned)
            if self.surfaces is not None:
                derived.append(self.surfaces.read(window, symmetry))
            if self.per_pixel:
                targets.append(self.position[turn(codes, symmetry)])
            else:
                targets.append(self.position[self.tile_set.tiles["code"][index]])
        return Batch(np.stack(values), np.stack(targets), np.stack(derived) if derived else None)

    def _window(self, index: int, random: np.random.Generator) -> Window:
        """Return the tile's window, moved where it may be."""
        tile, size, grid = self.tile_set.tiles[index], self.tile_set.tile_size_px, self.tile_set.grid
        if not self.jitter_px:
            return Window(int(tile["row"]), int(tile["column"]), size, size)
        down, right = random.integers(-self.jitter_px, self.jitter_px + 1, 2)
        row = int(np.clip(tile["row"] + down, 0, max(grid.height - size, 0)))
        column = int(np.clip(tile["column"] + right, 0, max(grid.width - size, 0)))
        return Window(row, column, size, size)

    def _read(self, index: int, window: Window) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
        if not self.per_pixel or self.tile_set.storage != "mosaic":
            values, codes = self.tile_set.read([index])
            return values[0], codes[0]
        values, codes = self.tile_set.read_window(window, TRAINING)
        margin, grid = self.margin_px, self.tile_set.grid
        for axis, (start, size, length) in enumerate(
            ((window.row, window.height, grid.height), (window.column, window.width, grid.width))
        ):
            view = np.moveaxis(codes, axis, 0)
            if start > 0:
                view[:margin] = 0
            if start + size < length:
                view[size - margin :] = 0
        return values, codes


def own_part(tiles: int, ranks: Ranks) -> range:
    """Return which of a batch's tiles are a process's own: all of them where there are fewer tiles than processes."""
    if tiles < ranks.size:
        return range(tiles)
    return range(ranks.rank * tiles // ranks.size, (ranks.rank + 1) * tiles // ranks.size)


def training_tiles(tile_set: TileSet, *, per_pixel: bool) -> npt.NDArray[np.int64]:
    """
    Return the training tiles that can be learnt from.

    For each pixel: those with labels. For each tile: those with a class, and of them those that reach into no other part or
    buffer, so that nothing is hidden in them; where there is none, those with a class.

    Raises
    ------
    TileSetError
        If there is none.
    """
    tiles = tile_set.tiles
    usable = (tiles["split"] == TRAINING) & (tiles["labelled"] > 0)
    if not per_pixel:
        usable &= tiles["code"] > 0
        if (usable & (tiles["foreign"] == 0)).any():
            usable &= tiles["foreign"] == 0
    indices: npt.NDArray[np.int64] = np.flatnonzero(usable)
    if indices.size == 0:
        what = "labelled pixels" if per_pixel else "a class of their own"
        raise TileSetError(
            f"The tile set {tile_set.folder} has no training tiles with {what}. Extract tiles with more labels, a smaller "
            "tile size or a smaller share for a tile's class."
        )
    return indices


def positions_of_codes(tile_set: TileSet) -> npt.NDArray[np.int64]:
    """Return an array (65536,) that turns a class code into the class's position, and all else into -1."""
    position = np.full(65536, IGNORED, np.int64)
    for i, one in enumerate(tile_set.classes):
        position[one.code] = i
    return position
