"""
Scores over the distance to the nearest training pixel: what a score means depends on how far from its examples a map reaches.

Near ground is alike, so the pixels beside training pixels are easy. The curve tells how much of a score is owed to them, and
what to expect farther away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ..rasters.grid import Grid, Window
from ..training_data.labels import distance_sampling
from ..training_data.splits import number_of
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .metrics import Accuracy
from .scoring import Predicted

MOST_PLACES = 500_000  # of a part whose distances are measured
FEWEST_IN_BIN = 30  # below that a bin has no score
_MOST_POINTS = 2_000_000  # training pixels that are kept; above, one in each cell of some pixels
_STRIP_PX = 1024
_MOST_BINS, _FEWEST_BINS, _PLACES_A_BIN = 10, 4, 100


class TrainingDistance:
    """
    How far places lie from the nearest labelled training pixel, in map units, middle to middle.

    Only training pixels at the rim of their area are kept, since from outside the nearest one is always such. Where there
    are more than two million of them, one is kept in each cell of a few pixels, and distances come out too long by less than
    that cell's diagonal.

    Parameters
    ----------
    parts : sequence of str
        What was learnt from.
    """

    def __init__(self, tile_set: TileSet, parts: Sequence[str] = ("training",)) -> None:
        self._spacing = distance_sampling(tile_set.grid)
        points = _thinned(_rims(tile_set, [number_of(part) for part in parts]))
        self._tree = cKDTree((points + 0.5) * self._spacing) if len(points) else None

    def __call__(self, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the distances of places (place,), given in pixels of the set's grid; infinite without training pixels."""
        if self._tree is None:
            return np.full(rows.shape, np.inf)
        distances, _ = self._tree.query(np.column_stack([rows, columns]) * self._spacing, workers=-1)
        measured: npt.NDArray[np.float64] = distances
        return measured


class DistanceScores:
    """Collects a model's predictions with their distances, at most 500,000 drawn evenly from a part."""

    def __init__(self, distance: TrainingDistance, tile_set: TileSet, part: str) -> None:
        self._distance, self._classes = distance, tile_set.classes
        self._position = positions_of_codes(tile_set)
        self._share = min(MOST_PLACES / max(sum(tile_set.class_counts(part).values()), 1), 1.0)
        self._random = np.random.default_rng(17)
        self._kept: list[tuple[npt.NDArray[Any], ...]] = []

    def add(self, predicted: Predicted) -> None:
        """Take the places of a window that have a reference."""
        known = predicted.reference > 0
        if self._share < 1.0:
            known &= self._random.random(known.shape) < self._share
        if not known.any():
            return
        rows = np.broadcast_to(predicted.rows, known.shape)[known]
        columns = np.broadcast_to(predicted.columns, known.shape)[known]
        self._kept.append(
            (
                self._distance(rows, columns).astype(np.float32),
                self._position[predicted.reference[known]].astype(np.int16),
                predicted.probabilities[:, known].argmax(axis=0).astype(np.int16),
            )
        )

    def distances(self) -> npt.NDArray[np.float32]:
        """Return all finite distances (place,)."""
        kept = np.concatenate([some[0] for some in self._kept]) if self._kept else np.zeros(0, np.float32)
        finite: npt.NDArray[np.float32] = kept[np.isfinite(kept)]
        return finite

    def binned(self, edges: npt.ArrayLike) -> list[Accuracy]:
        """Return the scores between each two edges; the upper edge belongs to the next bin, but for the last."""
        limits, count = np.asarray(edges, np.float64), len(self._classes)
        matrices = np.zeros((len(limits) - 1, count, count), np.int64)
        for distances, wanted, mapped in self._kept:
            inside = np.searchsorted(limits, distances, "right") - 1
            inside[distances == limits[-1]] = len(limits) - 2
            use = (inside >= 0) & (inside < len(matrices))
            np.add.at(matrices, (inside[use], wanted[use], mapped[use]), 1)
        return [Accuracy.from_confusion(matrix, self._classes) for matrix in matrices]


@dataclass(frozen=True)
class DistanceCurve:
    """
    Scores by distance, for one model or several on the same bins.

    ``scores[model][name]`` has one entry a bin, None where it has fewer than 30 places; names are accuracy, kappa, macro_f1.
    """

    edges: list[float]
    unit: str
    pixels: list[int]
    scores: dict[str, dict[str, list[float | None]]]

    @classmethod
    def of(cls, models: Mapping[str, DistanceScores], grid: Grid) -> DistanceCurve | None:
        """Return the curve; the first model's places are counted; None where nothing was scored."""
        first = next(iter(models.values()))
        distances = first.distances()
        if not distances.size:
            return None
        bins = int(np.clip(distances.size // _PLACES_A_BIN, _FEWEST_BINS, _MOST_BINS))
        edges = nice_edges(float(distances.min()), float(distances.max()), bins)
        scores: dict[str, dict[str, list[float | None]]] = {}
        for name, collected in models.items():
            binned = collected.binned(edges)
            enough = [one if one.pixels >= FEWEST_IN_BIN else None for one in binned]
            scores[name] = {
                score: [None if one is None else getattr(one, score) for one in enough]
                for score in ("accuracy", "kappa", "macro_f1")
            }
        counts = [one.pixels for one in first.binned(edges)]
        return cls([float(edge) for edge in edges], unit_of(grid), counts, scores)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"edges": self.edges, "unit": self.unit, "pixels": self.pixels, "scores": self.scores}


def nice_edges(least: float, most: float, bins: int = _MOST_BINS) -> npt.NDArray[np.float64]:
    """Return the edges of about so many bins, on round numbers, from ``least`` to ``most``."""
    wide = (most - least) / bins or max(most, 1.0)
    power = 10.0 ** math.floor(math.log10(wide))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= wide * (1 - 1e-9))
    first = math.floor(least / step)
    count = max(math.ceil(most / step - 1e-9) - first, 1)
    edges: npt.NDArray[np.float64] = (first + np.arange(count + 1)) * step
    return edges


def unit_of(grid: Grid) -> str:
    """Return the short name of a grid's unit of length."""
    if grid.in_degrees:
        return "°"
    name = str(grid.spatial_reference.GetLinearUnitsName() or "map units")
    return "m" if name.lower() in ("metre", "meter", "metres", "meters", "m") else name


def _rims(tile_set: TileSet, parts: Sequence[int]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row and column (pixel, 2) of the labelled training pixels that have a neighbour which is none."""
    if tile_set.storage != "mosaic":
        for index in np.flatnonzero(np.isin(tile_set.tiles["split"], parts)):
            there = (tile_set.split[index] == tile_set.tiles["split"][index]) & (tile_set.labels[index] > 0)
            tile = tile_set.tiles[index]
            yield np.argwhere(_rim(there)) + np.array([int(tile["row"]), int(tile["column"])])
        return
    grid = tile_set.grid
    for row in range(0, grid.height, _STRIP_PX):
        strip = Window(row, 0, min(_STRIP_PX, grid.height - row), grid.width)
        outer = strip.grown(1, grid.height, grid.width)
        there = np.isin(tile_set.split[outer.slices], parts) & (tile_set.labels[outer.slices] > 0)
        top = strip.row - outer.row
        yield np.argwhere(_rim(there)[top : top + strip.height]) + np.array([row, 0])


def _rim(there: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    framed = np.pad(there, 1)
    inner = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    rim: npt.NDArray[np.bool_] = there & ~inner
    return rim


def _thinned(rims: Iterator[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Return the points (point, 2), each once; where they are too many, the first one in each cell of some pixels."""
    points, cell = np.zeros((0, 2), np.int64), 1
    for rim in rims:
        points = np.concatenate([points, rim])
        if len(points) > 2 * _MOST_POINTS:
            points, cell = _fewer(points, cell)
    points, _ = _fewer(points, cell)
    return points


def _fewer(points: npt.NDArray[np.int64], cell: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return at most as many points as are kept, and the cells that this took."""
    while True:
        numbers = points[:, 0] // cell * (int(points[:, 1].max(initial=0)) + 1) + points[:, 1] // cell
        _, first = np.unique(numbers, return_index=True)
        points = points[np.sort(first)]
        if len(points) <= _MOST_POINTS:
            return points, cell
        cell *= 2
