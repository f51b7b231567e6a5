"""
Where tiles lie and what each holds.

Training tiles lie on a lattice with the stride; validation and test tiles side by side, so that each of their pixels is scored
once. A tile is kept if enough of its pixels carry a label of its own part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rasters.grid import Window
from .splits import BUFFER, TEST, TRAINING, VALIDATION
from .tile_set import TILE_TYPE


@dataclass(frozen=True)
class TileRule:
    """Size, stride and what makes a tile worth keeping; shares are from 0 to 1."""

    size: int
    stride: int
    min_labelled: float  # share of a tile's pixels that must be labelled; one pixel at the least
    label: str  # "majority" or "any"
    label_share: float  # smallest share of the labelled pixels for a majority


@dataclass(frozen=True)
class AreaMaps:
    """The area's maps, each (row, column): class codes, parts, and whether the predictors are valid."""

    labels: NDArray[np.uint16]
    parts: NDArray[np.uint8]
    valid: NDArray[np.uint8]


def starts(length: int, size: int, stride: int) -> list[int]:
    """Return where tiles start along a side so that they cover it and stay inside; ``length`` is at least ``size``."""
    last = length - size
    return [*range(0, last, stride), last]


def cells(length: int, size: int) -> list[int]:
    """Return where tiles start that lie side by side; the last may reach beyond the side."""
    return list(range(0, length, size))


def occupied_cells(labels: NDArray[np.uint16], size: int) -> NDArray[np.bool_]:
    """Return which cells of ``size`` times ``size`` pixels hold any label, read a row of cells at a time."""
    rows, columns = cells(labels.shape[0], size), cells(labels.shape[1], size)
    return np.array([np.add.reduceat((labels[row : row + size] > 0).any(0), columns) > 0 for row in rows]).reshape(
        len(rows), len(columns)
    )


def candidates(labels: NDArray[np.uint16], size: int, stride: int) -> Iterator[tuple[int, int, bool]]:
    """Give row and column of each possible tile that may hold a label, and whether it is one for training."""
    occupied = occupied_cells(labels, size)
    for row in starts(labels.shape[0], size, stride):
        first, last = row // size, (row + size - 1) // size + 1
        near = occupied[first:last].any(0)
        for column in starts(labels.shape[1], size, stride):
            if near[column // size : (column + size - 1) // size + 1].any():
                yield row, column, True
    for i, row in enumerate(cells(labels.shape[0], size)):
        for j, column in enumerate(cells(labels.shape[1], size)):
            if occupied[i, j]:
                yield row, column, False


def tile_table(
    maps: AreaMaps,
    rule: TileRule,
    class_counts: Mapping[int, int],
    fold_of: Callable[[Window, NDArray[np.bool_]], int],
    *,
    context_visible: bool,
) -> NDArray[np.void]:
    """
    Return the table of tiles, in the order of part, row and column.

    Parameters
    ----------
    class_counts : dict
        Training pixels by code; the rule "any" gives a tile the rarest class that it holds.
    fold_of : callable
        Gives the fold of a window, knowing which of its pixels count.
    """
    found = []
    height, width = maps.labels.shape
    for row, column, training in candidates(maps.labels, rule.size, rule.stride):
        window = Window(row, column, rule.size, rule.size).grown(0, height, width)
        labels, parts = maps.labels[window.slices], maps.parts[window.slices]
        valid: NDArray[np.bool_] | None = None
        for part in (TRAINING,) if training else (VALIDATION, TEST):
            own = (parts == part) & (labels > 0)
            count = int(np.count_nonzero(own))
            if count < max(1, rule.min_labelled * rule.size**2):
                continue
            valid = maps.valid[window.slices] > 0 if valid is None else valid
            found.append(tile_row(row, column, part, own, labels, parts, valid, rule, class_counts, context_visible))
            found[-1]["fold"] = fold_of(window, own)
    tiles: NDArray[np.void] = np.concatenate(found) if found else np.zeros(0, TILE_TYPE)
    order: NDArray[np.int64] = np.lexsort((tiles["column"], tiles["row"], tiles["split"]))
    ordered: NDArray[np.void] = tiles[order]
    return ordered


def tile_row(
    row: int,
    column: int,
    part: int,
    own: NDArray[np.bool_],
    labels: NDArray[np.uint16],
    parts: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    rule: TileRule,
    class_counts: Mapping[int, int],
    context_visible: bool,
) -> NDArray[np.void]:
    """Return the row (1,) of the table for one tile; ``own`` are its labelled pixels of its part."""
    pixels = rule.size**2
    hidden = np.zeros(parts.shape, bool)
    if part != TEST and not context_visible:
        hidden = (parts == TEST) | (parts == BUFFER)
    tile = np.zeros(1, TILE_TYPE)
    tile["row"], tile["column"], tile["split"] = row, column, part
    tile["code"] = _code(labels[own], rule, class_counts)
    tile["labelled"] = np.count_nonzero(own) / pixels
    tile["valid"] = np.count_nonzero(valid & ~hidden) / pixels
    tile["hidden"] = np.count_nonzero(hidden) / pixels
    tile["foreign"] = np.count_nonzero((parts != 0) & (parts != part)) / pixels
    tile["fold"] = -1
    return tile


def _code(codes: NDArray[np.uint16], rule: TileRule, class_counts: Mapping[int, int]) -> int:
    counts = np.bincount(codes)  # faster than sorting them
    if rule.label == "any":
        return int(min(np.flatnonzero(counts), key=lambda code: (class_counts.get(int(code), 0), int(code))))
    largest = int(np.argmax(counts))
    return largest if counts[largest] >= rule.label_share * codes.size else 0
