"""The training points that an area of applicability rests on: a sample of all classes, with its folds of space."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..messages import Progress
from ..rasters.grid import Window
from ..training_data.splits import TRAINING
from ..training_data.tile_set import TileSet
from .applicability import HALO_PX, Applicability, feature_weights, features_of_patches, features_of_tiles
from .batches import training_tiles

MOST_POINTS = 1500
MOST_BYTES = 2 * 2**20  # of the points in the model file
_FOLDS = 10
_STRIP_PX = 1024
_AT_ONCE = 128
_SIDES = 8  # blocks along the longer side, where the split has none


def applicability_of(
    tile_set: TileSet, band_weights: npt.ArrayLike, *, per_pixel: bool, seed: int, progress: Progress
) -> Applicability | None:
    """
    Return the area of applicability from at most 1,500 training points (pixels or tiles), classes alike where they can be.

    Parameters
    ----------
    band_weights : array (band,)
        How much each band matters to the model.

    Returns
    -------
    applicability : Applicability or None
        None with fewer than ten points that have a value in every band.
    """
    weights = feature_weights(tile_set.bands, band_weights, per_pixel=per_pixel)
    most = min(MOST_POINTS, MOST_BYTES // (4 * weights.size))
    random = np.random.default_rng([seed, 29])
    rows, columns, features = (_pixels if per_pixel else _tiles)(tile_set, most, random, progress)
    known = np.isfinite(features).all(axis=1)
    if known.sum() < 10:
        return None
    folds = _folds(tile_set, rows[known], columns[known], random)
    return Applicability.of_training(features[known], folds, weights)


def _pixels(
    tile_set: TileSet, most: int, random: np.random.Generator, progress: Progress
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return row, column and features of a sample of training pixels."""
    places = _balanced(_labelled(tile_set), tile_set.class_counts("training"), most, random)
    parts, side = [], 2 * HALO_PX + 1
    for start in range(0, len(places), _AT_ONCE):
        some = places[start : start + _AT_ONCE]
        patches = np.full((len(some), len(tile_set.bands), side, side), np.nan, np.float32)
        for patch, (tile, row, column, _) in zip(patches, some):
            if tile < 0:
                patch[:] = tile_set.read_window(Window(row - HALO_PX, column - HALO_PX, side, side), TRAINING)[0]
            else:
                _cut(patch, tile_set.read([tile])[0][0], row, column)
        parts.append(features_of_patches(patches, tile_set.bands))
        progress.update((start + len(some)) / len(places), "Measuring what the training pixels are like")
    corners = np.zeros((len(places), 2), np.int64)
    if tile_set.storage != "mosaic":
        tiles = tile_set.tiles[places[:, 0]]
        corners = np.column_stack([tiles["row"], tiles["column"]])
    return places[:, 1] + corners[:, 0], places[:, 2] + corners[:, 1], np.concatenate(parts)


def _tiles(
    tile_set: TileSet, most: int, random: np.random.Generator, progress: Progress
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return row, column and features of a sample of training tiles."""
    indices = training_tiles(tile_set, per_pixel=False)
    tiles = tile_set.tiles[indices]
    rows = np.column_stack([indices, tiles["row"], tiles["column"], tiles["code"]]).astype(np.int64)
    codes, counts = np.unique(tiles["code"], return_counts=True)
    places = _balanced(iter([rows]), dict(zip(codes.tolist(), counts.tolist())), most, random)
    parts = []
    for start in range(0, len(places), _AT_ONCE):
        some = places[start : start + _AT_ONCE]
        parts.append(features_of_tiles(tile_set.read(some[:, 0])[0], tile_set.bands))
        progress.update((start + len(some)) / len(places), "Measuring what the training tiles are like")
    return places[:, 1], places[:, 2], np.concatenate(parts)


def _labelled(tile_set: TileSet) -> Iterator[npt.NDArray[np.int64]]:
    """Yield tile (-1 for a mosaic), row, column and code (place, 4) of the labelled training pixels."""
    if tile_set.storage != "mosaic":
        for index in tile_set.indices("training"):
            yield _listed(int(index), tile_set.split[index], tile_set.labels[index], 0)
        return
    for row in range(0, tile_set.grid.height, _STRIP_PX):
        strip = slice(row, row + _STRIP_PX)
        yield _listed(-1, tile_set.split[strip], tile_set.labels[strip], row)


def _listed(
    tile: int, split: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint16], first_row: int
) -> npt.NDArray[np.int64]:
    rows, columns = np.nonzero((split == TRAINING) & (labels > 0))
    codes = labels[rows, columns].astype(np.int64)
    return np.column_stack([np.full(rows.size, tile), rows + first_row, columns, codes])


def _balanced(
    places: Iterator[npt.NDArray[np.int64]], counts: dict[int, int], most: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return at most ``most`` places, as many of each class as there are, or as of the others."""
    share = np.zeros(65536)
    quota = max(int(_quota([count for count in counts.values() if count], most)), 1)
    for code, count in counts.items():
        share[code] = (
            min(1.5 * quota / count + 10 / count, 1.0) if count else 0.0
        )  # some to spare, then cut to the number
    together = np.concatenate([some[random.random(len(some)) < share[some[:, 3]]] for some in places])
    together = together[random.permutation(len(together))]
    chosen = [np.flatnonzero(together[:, 3] == code)[:quota] for code in counts]
    kept: npt.NDArray[np.int64] = together[np.concatenate(chosen)]
    return kept


def _quota(counts: list[int], most: int) -> float:
    """Return how many of each class may be taken so that all together are ``most``."""
    left, remaining = float(most), sorted(counts)
    for i, count in enumerate(remaining):
        equal = left / (len(remaining) - i)
        if count > equal:
            return equal
        left -= count
    return float(max(remaining, default=1))


def _folds(
    tile_set: TileSet, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return a fold for each place: the blocks of the split, dealt to at most ten folds."""
    block = tile_set.summary().get("block_px") or [max(max(tile_set.grid.height, tile_set.grid.width) // _SIDES, 1)] * 2
    numbers = rows // int(block[0]) * (tile_set.grid.width // int(block[1]) + 1) + columns // int(block[1])
    _, block_of = np.unique(numbers, return_inverse=True)
    folds: npt.NDArray[np.int64] = (random.permutation(int(block_of.max()) + 1) % _FOLDS)[block_of]
    return folds


def _cut(patch: npt.NDArray[np.float32], values: npt.NDArray[np.float32], row: int, column: int) -> None:
    """Put the surroundings of a tile's pixel into a patch; beyond the tile nothing is known."""
    size, side = values.shape[-1], patch.shape[-1]
    top, left = max(HALO_PX - row, 0), max(HALO_PX - column, 0)
    bottom, right = min(side, size - row + HALO_PX), min(side, size - column + HALO_PX)
    rows = slice(row - HALO_PX + top, row - HALO_PX + bottom)
    columns = slice(column - HALO_PX + left, column - HALO_PX + right)
    patch[:, top:bottom, left:right] = values[:, rows, columns]
