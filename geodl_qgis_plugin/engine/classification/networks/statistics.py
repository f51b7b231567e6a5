"""
What a forest sees of a place: the values, and their means and spreads in windows; of an elevation, what the terrain does.

Absolute elevation is left out: it does not transfer from one region to the next (docs/benchmarks.md). What has no value is far
below all others, so that trees part it from all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...rasters.neighbourhoods import window_mean
from ...rasters.terrain import terrain_band_list, terrain_bands
from .core import Core, Part

MISSING = -9999.0
TERRAIN_STENCIL_PX = 2
_MAPS_BYTES_PX, _CORE_SHARE = 100.0, 0.4
PERCENTILES = (5, 25, 50, 75, 95)
MOST_OWN_VALUES = 512  # tiles of no more values are also seen pixel by pixel


def pixel_statistics(
    values: npt.NDArray[np.float32],
    surfaces: Sequence[int],
    spacing_m: Sequence[float],
    widths: Sequence[int],
    scales: Sequence[int],
    core: Core | None = None,
) -> npt.NDArray[np.float32]:
    """
    Return features (feature, row, column) of bands (band, row, column), NaN where there is no value.

    Parameters
    ----------
    core : two slices, optional
        Rows and columns whose features are wanted; all if not given. They are the same to the bit.
    surfaces : sequence of int
        Bands that are elevations: slope, curvatures, position and relief stand for them.
    spacing_m : (float, float)
        Width and height of a pixel.
    widths : sequence of int
        Sides of the windows in which mean and standard deviation are taken, odd numbers of pixels.
    scales : sequence of int
        Radii of the windows of position and relief.
    """
    height, width = values.shape[1:]
    whole = Part(0, height, 0, width)
    wanted = Part.of_core(core) if core else whole
    rows, columns = wanted.within(whole)
    places = features_of_bands(len(values), surfaces, widths, scales)
    shape = (places[-1].stop, wanted.bottom - wanted.top, wanted.right - wanted.left)
    features = np.empty(shape, np.float32)

    def fill(number: int) -> None:
        layers = features[places[number]]
        if number in surfaces:
            surface = values[number].astype(np.float64)
            terrain: npt.NDArray[np.float32] = terrain_bands(surface, (spacing_m[0], spacing_m[1]), scales)[0]
            layers[:] = terrain[:, rows, columns]
            return
        layers[0] = values[number, rows, columns]
        for place_of_width, radius in enumerate(width // 2 for width in widths):
            near = wanted.grown(radius, height, width)
            place, around = wanted.within(near), near.within(whole)
            band: npt.NDArray[np.float64] = values[number][around].astype(np.float64)
            mean, square = window_mean(band, radius)[place], window_mean(band**2, radius)[place]
            layers[1 + 2 * place_of_width] = mean
            layers[2 + 2 * place_of_width] = np.sqrt(np.maximum(square - mean**2, 0))

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(fill, range(len(values))))
    features[~np.isfinite(features)] = MISSING
    return features


def pixel_features(bands: int, surfaces: Sequence[int], widths: Sequence[int], scales: Sequence[int]) -> int:
    """Return how many features `pixel_statistics` gives."""
    terrain = len(terrain_band_list(scales)) if surfaces else 0
    return len(surfaces) * terrain + (bands - len(surfaces)) * (1 + 2 * len(widths))


def window_bytes_px(bands: int, features: int) -> float:
    """Return how many bytes a window's pixel takes: its values, some maps that statistics are made of, features in the core."""
    return 4.0 * bands + _MAPS_BYTES_PX + 4.0 * _CORE_SHARE * features


def features_of_bands(bands: int, surfaces: Sequence[int], widths: Sequence[int], scales: Sequence[int]) -> list[slice]:
    """Return which of the features that `pixel_statistics` gives are each band's: no other band is in them."""
    counts = [pixel_features(1, [0] if band in surfaces else [], widths, scales) for band in range(bands)]
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for count, end in zip(counts, ends)]


def pixel_halo_px(bands: int, surfaces: Sequence[int], widths: Sequence[int], scales: Sequence[int]) -> int:
    """Return how far beyond a pixel its features see."""
    reach = [0]
    if surfaces:
        reach.append(max(scales, default=0) + TERRAIN_STENCIL_PX)
    if len(surfaces) < bands:
        reach.append(max(widths, default=1) // 2)
    return max(reach)


def tile_statistics(tiles: npt.NDArray[np.float32], surfaces: Sequence[int]) -> npt.NDArray[np.float32]:
    """
    Return features (tile, feature) of tiles (tile, band, row, column): percentiles, mean and spread of each band.

    Elevations first lose their tile's mean. Of tiles with few values, all of them are features, too.
    """
    flat: npt.NDArray[Any] = tiles.reshape(*tiles.shape[:2], -1).astype(np.float64)
    known = np.isfinite(flat)
    count = known.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, flat, 0).sum(axis=2) / count
        flat = np.where(known, flat, np.nan)
        for band in surfaces:
            flat[:, band] -= mean[:, band, None]
        centre = mean.copy()
        centre[:, surfaces] = 0.0
        spread = np.sqrt((np.where(known, flat - centre[:, :, None], 0) ** 2).sum(axis=2) / count)
    parts = [_percentile(np.sort(flat, axis=2), count, share) for share in PERCENTILES]
    parts += [*([] if len(surfaces) == tiles.shape[1] else [np.delete(mean, surfaces, axis=1)]), spread]
    if flat[0].size <= MOST_OWN_VALUES:
        parts.append(flat.reshape(len(flat), -1))
    features = np.concatenate(parts, axis=1).astype(np.float32)
    features[~np.isfinite(features)] = MISSING
    return features


def tile_features(bands: int, surfaces: Sequence[int], tile_size_px: int) -> int:
    """Return how many features `tile_statistics` gives."""
    return bands * (len(PERCENTILES) + 2) - len(surfaces) + tile_values(bands, tile_size_px)


def tile_values(bands: int, tile_size_px: int) -> int:
    """Return how many of the features are the tile's own values: all of them, or none if they are many."""
    own = bands * tile_size_px**2
    return own if own <= MOST_OWN_VALUES else 0


def _percentile(
    ordered: npt.NDArray[np.float64], count: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.float64]:
    """Return percentiles (tile, band) of values in ascending order (tile, band, value), of which ``count`` are known."""
    place = np.maximum(count - 1, 0) * share / 100
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low = np.take_along_axis(ordered, below[..., None], axis=2)[..., 0]
    high = np.take_along_axis(ordered, above[..., None], axis=2)[..., 0]
    result: npt.NDArray[np.float64] = low + (high - low) * (place - below)
    return result
