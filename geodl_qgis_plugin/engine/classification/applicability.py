"""
The area of applicability of a model (Meyer & Pebesma 2021, doi:10.1111/2041-210X.13650): where a map rests on examples.

The dissimilarity index of a place is its distance, in the space of predictors, to the nearest training point, divided by the
mean distance between training points. Predictors are scaled by the training points' mean and standard deviation and multiplied
by how much each band matters to the model (`importance.py`). The threshold is the largest index of training points that is no
outlier (beyond the upper quartile by more than 1.5 times the interquartile range), each measured to the nearest point of
another fold of space.

A net sees more than a pixel, so its space is made of what a pixel's surroundings are like: see `features_of_window`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from ..bands import Band
from ..model_file import TRAINING_POINTS
from ..rasters.grid import Window
from ..rasters.neighbourhoods import window_mean
from .networks import is_surface

RADII_PX = (5, 15)
HALO_PX = max(RADII_PX)
_PLACES_AT_ONCE = 4096

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Applicability:
    """
    What is kept of the training points.

    ``points`` are scaled and weighted, (point, feature); ``middle``, ``spread`` and ``weights`` have one entry a feature.
    """

    points: npt.NDArray[np.float32]
    middle: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    mean_distance: float
    threshold: float

    @classmethod
    def of_training(
        cls, features: npt.NDArray[Any], folds: npt.NDArray[np.integer[Any]], weights: npt.ArrayLike
    ) -> Applicability:
        """
        Work out scales, mean distance and threshold.

        Parameters
        ----------
        features : array (point, feature)
        folds : array (point,)
            The fold of space of each point; where all are the same, each point is a fold of its own.
        weights : array (feature,)
            How much each matters; at least one above 0.
        """
        values = np.asarray(features, np.float64)
        middle, spread = values.mean(axis=0), values.std(axis=0, ddof=1 if len(values) > 1 else 0)
        spread = np.where(spread > 0, spread, 1.0)
        weight = np.asarray(weights, np.float64)
        points = ((values - middle) / spread * weight).astype(np.float32)
        distances = cdist(points, points)
        count = len(points)
        mean = float(distances.sum() / (count * (count - 1))) if count > 1 else 0.0
        mean = mean if mean > 0 else 1.0
        if np.unique(folds).size == 1:
            folds = np.arange(count)
        distances[np.equal.outer(folds, folds)] = np.inf
        nearest = distances.min(axis=1)
        threshold = without_outliers(nearest[np.isfinite(nearest)] / mean)
        single = np.float32
        return cls(points, middle.astype(single), spread.astype(single), weight.astype(single), mean, threshold)

    def dissimilarity(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the index (…) of places with features (feature, …); NaN where a feature is missing."""
        shape = features.shape[1:]
        flat = np.asarray(features, np.float32).reshape(len(features), -1).T
        places = (flat - self.middle) / self.spread * self.weights
        known = np.isfinite(places).all(axis=1)
        index = np.full(len(places), np.nan, np.float32)
        index[known] = self._nearest(places[known]) / self.mean_distance
        return index.reshape(shape)

    def of_window(
        self, values: npt.NDArray[np.float32], bands: Sequence[Band], outer: Window, core: Window
    ) -> npt.NDArray[np.float32]:
        """
        Return the index, and 1 where it is within the threshold and 0 where not: (2, row, column) of ``core``.

        Parameters
        ----------
        values : array (band, row, column)
            Of ``outer``, which reaches `HALO_PX` beyond the core or to the raster's edge; NaN for nodata.
        """
        rows, columns = core.from_origin(outer).slices
        return self._both(features_of_window(values, bands)[:, rows, columns])

    def of_tiles(self, tiles: npt.NDArray[np.float32], bands: Sequence[Band]) -> npt.NDArray[np.float32]:
        """Return the same (2, tile) of whole tiles (tile, band, row, column)."""
        return self._both(features_of_tiles(tiles, bands).T)

    def of_strip(
        self, values: npt.NDArray[np.float32], bands: Sequence[Band], size: int, step: int
    ) -> npt.NDArray[np.float32]:
        """Return the same (2, row, column) of tiles that begin every ``step`` pixels in values (band, row, column)."""
        axes: Any = (1, 2)  # numpy 1.24's stubs know one axis only
        tiles = np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=axes)[:, ::step, ::step]
        return np.stack([self.of_tiles(row.swapaxes(0, 1), bands) for row in tiles.swapaxes(0, 1)], axis=1)

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the arrays by their names in a model file."""
        return {f"{TRAINING_POINTS}{name}": getattr(self, name) for name in ("points", "middle", "spread", "weights")}

    def as_dict(self) -> dict[str, Any]:
        """Return what of it is told in words and numbers."""
        points, features = self.points.shape
        return {
            "threshold": self.threshold,
            "mean_distance": self.mean_distance,
            "points": int(points),
            "features": int(features),
            "radii_px": list(RADII_PX),
        }

    @classmethod
    def from_model(cls, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Applicability:
        """Put together what `as_dict` and `arrays` gave."""
        points, middle, spread, weights = (
            np.asarray(arrays[f"{TRAINING_POINTS}{name}"], np.float32)
            for name in ("points", "middle", "spread", "weights")
        )
        return cls(points, middle, spread, weights, float(facts["mean_distance"]), float(facts["threshold"]))

    def _both(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        index = self.dissimilarity(features)
        inside = np.where(np.isfinite(index), index <= self.threshold, np.nan)
        return np.stack([index, inside.astype(np.float32)])

    def _nearest(self, places: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """
        Return the distance to the nearest point.

        Which one that is comes out of one product of matrices; the distance to it is then worked out directly, since the
        product loses the small ones.
        """
        squares = (self.points**2).sum(axis=1)
        result = np.empty(len(places), np.float32)
        for start in range(0, len(places), _PLACES_AT_ONCE):
            some = places[start : start + _PLACES_AT_ONCE]
            nearest = (squares - 2 * (some @ self.points.T)).argmin(axis=1)
            result[start : start + len(some)] = np.sqrt(((some - self.points[nearest]) ** 2).sum(axis=1))
        return result


def without_outliers(values: npt.NDArray[Any]) -> float:
    """Return the largest value that is no outlier: at most the upper quartile and 1.5 interquartile ranges."""
    lower, upper = np.percentile(values, (25, 75))
    return float(values[values <= upper + 1.5 * (upper - lower)].max())


def feature_weights(bands: Sequence[Band], weights: npt.ArrayLike, *, per_pixel: bool) -> Array:
    """Return a weight for each feature from one for each band."""
    count = [(4 if is_surface(band) else 3) if per_pixel else 2 for band in bands]
    return np.repeat(np.asarray(weights, np.float64), count)


def features_of_window(values: npt.NDArray[np.float32], bands: Sequence[Band]) -> Array:
    """
    Return what the surroundings of each pixel are like, (feature, row, column), of values (band, row, column).

    For a band: its value, and its mean within 5 and within 15 pixels. For an elevation, whose absolute height does not count
    here either: its value less these means, and its standard deviation within these distances. Missing pixels are passed over.
    """
    features: list[Array] = []
    for layer, band in zip(values.astype(np.float64), bands):
        means = [window_mean(layer, radius) for radius in RADII_PX]
        squares = [window_mean(layer**2, radius) for radius in RADII_PX] if is_surface(band) else []
        features += _of_band(layer, means, squares)
    return np.stack(features)


def features_of_patches(patches: npt.NDArray[np.float32], bands: Sequence[Band]) -> Array:
    """Return the same (point, feature) of the middle pixels of patches (point, band, 31, 31)."""
    features: list[Array] = []
    for i, band in enumerate(bands):
        layers = patches[:, i].astype(np.float64)
        means, squares = [], []
        for radius in RADII_PX:
            inner = layers[:, HALO_PX - radius : HALO_PX + radius + 1, HALO_PX - radius : HALO_PX + radius + 1]
            means.append(_mean(inner))
            squares += [_mean(inner**2)] if is_surface(band) else []
        features += _of_band(layers[:, HALO_PX, HALO_PX], means, squares)
    return np.stack(features, axis=1)


def features_of_tiles(tiles: npt.NDArray[np.float32], bands: Sequence[Band]) -> Array:
    """
    Return what whole tiles are like, (tile, feature), of values (tile, band, row, column).

    For a band its mean and standard deviation; for an elevation its standard deviation and that of the steps between pixels.
    """
    features: list[Array] = []
    for i, band in enumerate(bands):
        layers = tiles[:, i].astype(np.float64)
        mean = _mean(layers)
        spread = np.sqrt(_mean((layers - mean[:, None, None]) ** 2))
        features += [spread, np.sqrt(_mean(np.diff(layers, axis=2) ** 2))] if is_surface(band) else [mean, spread]
    return np.stack(features, axis=1)


def _of_band(values: Array, means: Sequence[Array], squares: Sequence[Array]) -> list[Array]:
    missing = ~np.isfinite(values)
    if not squares:
        return [values, *(np.where(missing, np.nan, mean) for mean in means)]
    spreads = [np.sqrt(np.maximum(square - mean**2, 0.0)) for mean, square in zip(means, squares)]
    return [values - mean for mean in means] + [np.where(missing, np.nan, spread) for spread in spreads]


def _mean(layers: npt.NDArray[Any]) -> Array:
    """Return the mean of the last two axes, passing over what is missing; NaN where all is."""
    known = np.isfinite(layers)
    count = known.sum(axis=(-2, -1))
    total = np.where(known, layers, 0.0).sum(axis=(-2, -1))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
