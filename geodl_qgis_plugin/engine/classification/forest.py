"""
The random forest that stands beside every net: the same labels, the same split, no net.

It sees what a geologist's own spreadsheet might: terrain predictors of an elevation, and for other bands the value with its
mean and spread in windows of three widths; for whole tiles the percentiles of each band.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import Progress
from ..rasters.grid import Grid, Window
from ..rasters.neighbourhoods import window_mean
from ..rasters.terrain import terrain_bands
from ..training_data.splits import PARTS
from ..training_data.tile_set import TileSet
from .batches import training_tiles
from .metrics import Accuracy, ConfusionCounter
from .networks import is_surface

TREES = 200
TRAINING_PIXELS = 30_000
SCORED_PIXELS = 400_000
WINDOW_WIDTHS_PX = (5, 11, 31)
TERRAIN_SCALES_PX = (2, 5, 15, 30)
_CORE_PX, _HALO_PX = 512, 32
_PERCENTILES = (5, 25, 50, 75, 95)
_MISSING = -9999.0  # trees part it from all else; scikit-learn's own handling of NaN came after 1.3


def forest_accuracy(tile_set: TileSet, part: str, seed: int, progress: Progress, *, per_pixel: bool) -> Accuracy:
    """
    Train a forest on the training part of a set and score it on ``part``.

    At most 30,000 training pixels are drawn, and at most 400,000 pixels scored; for whole tiles all are used.
    """
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - a second to import

    forest = RandomForestClassifier(
        TREES, min_samples_leaf=2, class_weight="balanced_subsample", n_jobs=-1, random_state=seed, max_features="sqrt"
    )
    random = np.random.default_rng([seed, 11])
    sample = _pixels if per_pixel else _tiles
    features, codes = _gathered(sample(tile_set, "training", TRAINING_PIXELS, random, progress))
    progress.update(0.3, "Growing the forest")
    counter = ConfusionCounter(tile_set.classes)
    if np.unique(codes).size == 1:
        for _, wanted in sample(tile_set, part, SCORED_PIXELS, random, progress):
            counter.add(wanted, np.full(wanted.size, codes[0], np.uint16))
        return counter.accuracy()
    forest.fit(features, codes)
    for some, wanted in sample(tile_set, part, SCORED_PIXELS, random, progress):
        if progress.cancelled():
            raise Cancelled("The forest was stopped.")
        if wanted.size:
            counter.add(wanted, forest.predict(some).astype(np.uint16))
    progress.update(1.0, "Growing the forest")
    return counter.accuracy()


def pixel_features(values: npt.NDArray[np.float32], tile_set: TileSet) -> npt.NDArray[np.float32]:
    """Return features (feature, row, column) of predictors (band, row, column); what has no value is far below all others."""
    surfaces = [i for i, band in enumerate(tile_set.bands) if is_surface(band)]
    parts: list[npt.NDArray[Any]] = []
    for i, band in enumerate(values):
        if i in surfaces:
            # Absolute elevation is left out: it does not transfer (docs/benchmarks.md).
            parts.append(terrain_bands(band, _metres(tile_set.grid), TERRAIN_SCALES_PX)[0])
            continue
        wide = band.astype(np.float64)
        layers = [band]
        for width in WINDOW_WIDTHS_PX:
            mean, square = window_mean(wide, width // 2), window_mean(wide**2, width // 2)
            layers += [mean.astype(np.float32), np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)]
        parts.append(np.stack(layers))
    stacked = np.concatenate(parts).astype(np.float32)
    filled: npt.NDArray[np.float32] = np.nan_to_num(stacked, nan=_MISSING)
    return filled


def _pixels(
    tile_set: TileSet, part: str, most: int, random: np.random.Generator, progress: Progress
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]]:
    """Yield features (pixel, feature) and codes (pixel,) of labelled pixels of a part, drawn evenly."""
    total = sum(tile_set.class_counts(part).values())
    share = min(most / max(total, 1), 1.0)
    for values, labels, core in _places(tile_set, part):
        if progress.cancelled():
            raise Cancelled("The forest was stopped.")
        known = labels > 0
        if share < 1.0:
            known &= random.random(labels.shape) < share
        if known.any():
            features = pixel_features(values, tile_set)[:, core[0], core[1]]
            yield features[:, known].T, labels[known]


def _places(
    tile_set: TileSet, part: str
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16], tuple[slice, slice]]]:
    """Yield predictors with a margin, the labels of the core, and where the core lies in them."""
    if tile_set.storage != "mosaic":
        whole = (slice(None), slice(None))
        for index in tile_set.indices(part):
            values, labels = tile_set.read([index])
            yield values[0], labels[0], whole
        return
    grid, number = tile_set.grid, PARTS[part]
    for row in range(0, grid.height, _CORE_PX):
        for column in range(0, grid.width, _CORE_PX):
            core = Window(row, column, min(_CORE_PX, grid.height - row), min(_CORE_PX, grid.width - column))
            if not (tile_set.split[core.slices] == number).any():
                continue
            outer = core.grown(_HALO_PX, grid.height, grid.width)
            values, labels = tile_set.read_window(outer, part)
            top, left = core.row - outer.row, core.column - outer.column
            place = (slice(top, top + core.height), slice(left, left + core.width))
            yield values, labels[place], place


def _tiles(
    tile_set: TileSet, part: str, most: int, random: np.random.Generator, progress: Progress
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]]:
    """Yield features and codes of whole tiles."""
    indices = training_tiles(tile_set, per_pixel=False) if part == "training" else tile_set.indices(part)
    indices = indices[tile_set.tiles["code"][indices] > 0]
    for start in range(0, len(indices), 256):
        values, _ = tile_set.read(indices[start : start + 256])
        flat = values.reshape(*values.shape[:2], -1)
        empty = ~np.isfinite(flat).any(axis=2)
        flat[empty] = _MISSING
        spread = np.nanpercentile(flat, _PERCENTILES, axis=2)
        features = np.concatenate([*spread, np.nanmean(flat, axis=2), np.nanstd(flat, axis=2)], axis=1)
        yield features.astype(np.float32), tile_set.tiles["code"][indices[start : start + 256]]


def _gathered(
    parts: Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    gathered = list(parts)
    return np.concatenate([features for features, _ in gathered]), np.concatenate([codes for _, codes in gathered])


def _metres(grid: Grid) -> tuple[float, float]:
    """Return the pixel size in metres; degrees at the grid's middle."""
    across, down = grid.pixel_size
    if not grid.in_degrees:
        return across, down
    _, south, _, north = grid.bounds
    return across * 111_320.0 * float(np.cos(np.radians((south + north) / 2))), down * 110_574.0
