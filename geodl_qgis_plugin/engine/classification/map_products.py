"""
What a map consists of: one small class for each raster that is made of a model's probabilities.

A product says what is kept of each block, and how the blocks are put together into a file. What is kept is what the file holds:
bytes, mostly, so that a block is small and the file is the same however often the work was stopped.
"""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..bands import Band
from ..classes import LandClass
from ..rasters.grid import Grid
from ..rasters.writer import MapWriter, class_map, pack, value_map

_STRIP_ROWS = 32


@dataclass(frozen=True)
class Scores:
    """
    What a model says of a block.

    Attributes
    ----------
    probabilities : array (class, row, column)
    valid : array (row, column)
        Where there is data; nothing is mapped elsewhere.
    values : array (band, row, column), optional
        The predictors there, in their units; None for a model of tiles.
    applicability : array (2, row, column), optional
        Dissimilarity index and 1 inside, 0 outside, where it was asked for; see `applicability.py`.
    """

    probabilities: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32] | None = None
    applicability: npt.NDArray[np.float32] | None = None

    @functools.cached_property
    def best(self) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32]]:
        """Return the position of the most probable class, the first of equals, and its probability, each (row, column)."""
        return most_probable(self.probabilities)


def most_probable(probabilities: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32]]:
    """
    Return the position of the largest of probabilities (class, row, column), the first of equals, and the largest itself.

    Strip by strip, in the processor's cache: a tenth of the time that `numpy.argmax` takes along the first axis.
    """
    shape = probabilities.shape[1:]
    positions, largest = np.zeros(shape, np.uint16), probabilities[0].copy()
    for top in range(0, shape[0], _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        best, where = largest[strip], positions[strip]
        for position, some in enumerate(probabilities[1:, strip], start=1):
            # positions grow, so that the larger of two is the later one
            np.maximum(where, (some > best) * np.uint16(position), out=where)
            np.maximum(best, some, out=best)
    return positions, largest


class Product(abc.ABC):
    """A raster of the map; ``name`` is that of its setting and of its arrays in a block file."""

    name: str

    @abc.abstractmethod
    def stored(self, scores: Scores) -> npt.NDArray[Any]:
        """Return what is kept of a block: (row, column) or (band, row, column), encoded as in the file."""

    @abc.abstractmethod
    def open(self, path: str, grid: Grid, **shared: Any) -> contextlib.AbstractContextManager[MapWriter]:
        """Open the file that the blocks are put together in; ``shared`` is handed to the writer."""


class ClassProduct(Product):
    """The most probable class."""

    name = "output"

    def __init__(self, classes: Sequence[LandClass]) -> None:
        self._classes = list(classes)
        codes = [one.code for one in classes]
        self.codes = np.array(codes, np.uint8 if max(codes) <= 255 else np.uint16)

    def stored(self, scores: Scores) -> npt.NDArray[Any]:
        """Return codes, 0 for nodata."""
        codes: npt.NDArray[Any] = self.codes.take(scores.best[0])
        codes[~scores.valid] = 0
        return codes

    def open(self, path: str, grid: Grid, **shared: Any) -> contextlib.AbstractContextManager[MapWriter]:
        """Open a class raster."""
        return class_map(path, grid, self._classes, **shared)


class ConfidenceProduct(Product):
    """The probability of the most probable class."""

    name = "confidence"

    def stored(self, scores: Scores) -> npt.NDArray[Any]:
        """Return bytes, see `pack`."""
        return pack(np.where(scores.valid, scores.best[1], np.nan))

    def open(self, path: str, grid: Grid, **shared: Any) -> contextlib.AbstractContextManager[MapWriter]:
        """Open a raster of one band."""
        return value_map(path, grid, [Band("confidence")], packed=True, **shared)


class EntropyProduct(Product):
    """How undecided the model is: 0 where one class has all the probability, 1 where all have the same."""

    name = "entropy"

    def stored(self, scores: Scores) -> npt.NDArray[Any]:
        """Return bytes, see `pack`."""
        shares = scores.probabilities
        entropy = -np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-37)), 0).sum(axis=0)
        return pack(np.where(scores.valid, entropy / np.log(max(len(shares), 2)), np.nan))

    def open(self, path: str, grid: Grid, **shared: Any) -> contextlib.AbstractContextManager[MapWriter]:
        """Open a raster of one band."""
        return value_map(path, grid, [Band("entropy")], packed=True, **shared)


class ProbabilitiesProduct(Product):
    """The probability of each class, a band each."""

    name = "probabilities"

    def __init__(self, classes: Sequence[LandClass]) -> None:
        self._bands = [Band(one.name) for one in classes]

    def stored(self, scores: Scores) -> npt.NDArray[Any]:
        """Return bytes, see `pack`."""
        return pack(np.where(scores.valid, scores.probabilities, np.nan))

    def open(self, path: str, grid: Grid, **shared: Any) -> contextlib.AbstractContextManager[MapWriter]:
        """Open a raster with a band for each class."""
        return value_map(path, grid, self._bands, packed=True, **shared)


class ApplicabilityProduct(Product):
    """How unlike the training points each place is, and whether that is within the model's threshold."""

    name = "applicability"

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def stored(self, scores: Scores) -> npt.NDArray[Any]:
        """Return 32-bit floats, NaN for nodata."""
        if scores.applicability is None:
            raise ValueError("The block was worked out without its area of applicability.")
        return np.where(scores.valid, scores.applicability, np.float32(np.nan))

    def open(self, path: str, grid: Grid, **shared: Any) -> contextlib.AbstractContextManager[MapWriter]:
        """Open a raster of two bands, drawn up to twice the threshold."""
        limits = (0.0, 2 * self._threshold)
        return value_map(path, grid, [Band("dissimilarity index"), Band("inside")], limits=limits, **shared)


def wants_applicability(products: Sequence[Product]) -> bool:
    """Whether the area of applicability is among the products."""
    return any(isinstance(product, ApplicabilityProduct) for product in products)
