"""The plan of a split: which units are dealt, how large blocks are, and what each unit becomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import SplitError
from ..rasters.grid import Grid, Window
from .correlation import correlation_range_px
from .cutting import count_units
from .labels import Labels, has_features
from .splits import TEST, TRAINING, VALIDATION, Blocks, deal, deal_folds, too_few
from .vector_layers import Areas

_ENOUGH_BLOCKS = 16  # below that the default block is halved, down to one tile
_SAMPLE_SIDE = 320


@dataclass(frozen=True)
class SplitRule:
    """What the user asked of the split; shares are from 0 to 1, lengths in map units."""

    method: str  # "blocks", "polygons" or "random"
    block_size: float  # 0 chooses
    buffer: float
    validation: float
    test: float
    seed: int
    folds: int
    test_fold: int


@dataclass
class Plan:
    """Units and the part of each; row 0 of the arrays is for pixels of no unit."""

    units: Blocks | Labels
    counts: NDArray[np.int64]  # (unit + 1, class)
    parts: NDArray[np.uint8]  # (unit + 1,)
    folds: NDArray[np.int16]  # (unit + 1,)
    block_px: tuple[int, int] | None
    warnings: list[str] = field(default_factory=list)


def ranges_of(predictors: NDArray[np.float32], grid: Grid) -> list[float]:
    """Return the correlation range of each band in map units, from every n-th pixel of (band, row, column)."""
    step = max(1, math.ceil(max(predictors.shape[1:]) / _SAMPLE_SIDE))
    across, down = grid.pixel_size
    sample = (np.array(band[::step, ::step]) for band in predictors)
    return [correlation_range_px(band, (down * step, across * step)) for band in sample]


def make_plan(
    rule: SplitRule,
    labels: Labels,
    codes: NDArray[np.uint16],
    area: Window,
    grid: Grid,
    tile_size: int,
    ranges: Sequence[float],
    tests: Areas | None,
) -> Plan:
    """
    Part the labelled area into units and deal them.

    Raises
    ------
    SplitError
        If there are fewer units with labels than parts, or the test areas hold no label.
    """
    numbers = [c.code for c in labels.classes]
    warnings: list[str] = []
    if rule.method == "polygons":
        if not has_features(labels):
            raise SplitError(
                "A split by polygon needs labels with features, but the labels are a raster. Split by blocks instead."
            )
        units: Blocks | Labels = labels
        count, what = labels.unit_count, "polygons"
        warnings.append(
            "Parts are dealt by polygon: where polygons of different parts touch, test pixels have close neighbours."
        )
    else:
        units, what = blocks_for(rule, codes, area, grid, tile_size, ranges, warnings), "blocks"
        if rule.method == "random":
            what = "tiles"
        else:
            what = f"blocks of {units.height} × {units.width} pixels"
        count = units.count
    counts, in_tests = count_units(codes, numbers, units, area, grid, tests, rule.buffer, count)
    shares = _shares(rule, tests)
    if tests is not None and not in_tests.sum():
        raise SplitError("TEST_AREAS hold no labelled pixel with predictors. Draw them where labels and rasters are.")
    parts = np.full(count + 1, TRAINING, np.uint8)
    folds = np.full(count + 1, -1, np.int16)
    if rule.folds:
        folds[1:] = deal_folds(counts[1:], rule.folds, rule.seed, what=what)
        parts[1:] = parts_by_fold(folds[1:], rule)
    elif shares[1] or shares[2]:
        parts[1:] = deal(counts[1:], shares, rule.seed, balanced=rule.method != "random", what=what)
    elif not counts.sum():
        raise too_few(0, 1, what)
    if rule.method == "polygons":
        parts[0] = 0
    if rule.method == "random":
        warnings.append(
            "The split is random: test tiles lie beside training tiles, and the score will be optimistic. "
            "Use blocks to learn how the model does on new ground."
        )
    block_px = (units.height, units.width) if isinstance(units, Blocks) else None
    return Plan(units, counts, parts, folds, block_px, warnings)


def _shares(rule: SplitRule, tests: Areas | None) -> tuple[float, float, float]:
    """Return the shares of training, validation and test among the units; the user's test areas leave no test to deal."""
    test = 0.0 if tests is not None else rule.test
    return 1 - rule.validation - test, rule.validation, test


def parts_by_fold(folds: NDArray[np.int16], rule: SplitRule) -> NDArray[np.uint8]:
    """Make one fold the test part and, if there is to be validation, the next one the validation part."""
    parts = np.full(folds.shape, TRAINING, np.uint8)
    parts[folds == rule.test_fold] = TEST
    if rule.validation > 0 and rule.folds > 2:
        parts[folds == (rule.test_fold + 1) % rule.folds] = VALIDATION
    return parts


def blocks_for(
    rule: SplitRule,
    codes: NDArray[np.uint16],
    area: Window,
    grid: Grid,
    tile_size: int,
    ranges: Sequence[float],
    warnings: list[str],
) -> Blocks:
    """Return the blocks of a split: as large as asked for, or as the predictors resemble each other over."""
    across, down = grid.pixel_size
    if rule.method == "random":
        return Blocks(area, tile_size, tile_size)
    if rule.block_size > 0:
        return Blocks(area, max(1, round(rule.block_size / down)), max(1, round(rule.block_size / across)))
    typical = float(np.median(ranges)) if len(ranges) else 0.0
    tiles = max(2, math.ceil(typical / (tile_size * min(across, down)) - 1e-9))
    while tiles > 1 and _labelled_blocks(codes, tiles * tile_size) < _ENOUGH_BLOCKS:
        tiles = (tiles + 1) // 2
    block = tiles * tile_size * min(across, down)
    if block < typical:
        warnings.append(
            f"Blocks are {tiles * tile_size} pixels ({block:.6g} map units) wide, less than the {typical:.6g} over which the "
            "predictors resemble each other, since larger ones would be too few: the score may be optimistic. Set BUFFER, or "
            "draw TEST_AREAS farther away."
        )
    return Blocks(area, tiles * tile_size, tiles * tile_size)


def _labelled_blocks(codes: NDArray[np.uint16], side: int) -> int:
    columns = np.arange(0, codes.shape[1], side)
    rows = range(0, codes.shape[0], side)
    return sum(int(np.count_nonzero(np.add.reduceat((codes[row : row + side] > 0).any(0), columns))) for row in rows)
