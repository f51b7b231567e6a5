"""
Splits: blocks of space (or polygons) dealt to training, validation and test before tiles are cut.

Dealing seeks two things for every class at once: its pixels in the asked shares, and some of it in every part. It is greedy,
largest units first, then moves single units while that helps; several seeded orders are tried and the best kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SplitError
from ..rasters.grid import Window

BELT, TRAINING, VALIDATION, TEST, BUFFER = range(5)  # the belt: training pixels in the buffer round validation ones
PARTS = {"training": TRAINING, "validation": VALIDATION, "test": TEST}
_NUMBERS = {**PARTS, "belt": BELT}

# A class without training pixels cannot be learnt, without test pixels not be scored, without validation pixels both still go.
_MISSING_COST = np.array([100.0, 10.0, 20.0])
_EMPTY_COST = 1e6
_TRIES, _TRIES_UNITS = 48, 20_000


def number_of(part: str | int) -> int:
    """Return the number of a part: ``training``, ``validation``, ``test`` or ``belt``; a number is one already."""
    return _NUMBERS[part] if isinstance(part, str) else int(part)


@dataclass(frozen=True)
class Blocks:
    """Rectangles of equal size that part a window, numbered from 1 row by row."""

    area: Window
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Return how many rows of blocks there are."""
        return -(-self.area.height // self.height)

    @property
    def columns(self) -> int:
        """Return how many columns of blocks there are."""
        return -(-self.area.width // self.width)

    @property
    def count(self) -> int:
        """Return how many blocks there are."""
        return self.rows * self.columns

    def units(self, window: Window) -> NDArray[np.uint32]:
        """Return the number of the block on each pixel, from 1; the window lies inside the area."""
        rows = (np.arange(window.row, window.row + window.height) - self.area.row) // self.height
        columns = (np.arange(window.column, window.column + window.width) - self.area.column) // self.width
        numbers: NDArray[np.uint32] = (rows[:, None] * self.columns + columns[None, :] + 1).astype(np.uint32)
        return numbers


def deal(
    counts: NDArray[np.int64],
    shares: Sequence[float],
    seed: int,
    *,
    balanced: bool = True,
    what: str = "blocks",
) -> NDArray[np.uint8]:
    """
    Deal units to training, validation and test.

    Parameters
    ----------
    counts : array (unit, class)
        Labelled pixels of each class in each unit.
    shares : three numbers
        Wished shares of training, validation and test; they sum to 1. A part with the share 0 gets nothing.
    seed : int
        The same seed and counts give the same split.
    balanced : bool
        False deals at random, whatever the classes.
    what : str
        What units are called in the error.

    Returns
    -------
    parts : array (unit,), uint8
        1, 2 or 3; units without labels are 1.

    Raises
    ------
    SplitError
        If there are fewer units with labels than parts.
    """
    used = np.flatnonzero(counts.sum(1))
    wanted = [i for i, share in enumerate(shares) if share > 0]
    if used.size < len(wanted):
        raise too_few(int(used.size), len(wanted), what)
    parts = np.full(len(counts), TRAINING, np.uint8)
    generator = np.random.default_rng(seed)
    present = counts[used][:, counts[used].sum(0) > 0].astype(np.float64)
    # All pixels together count as one class more: else many small classes outvote the wished shares.
    present = np.column_stack([present, present.sum(1)])
    if not balanced:
        parts[used] = _at_random(present, shares, wanted, generator) + 1
        return parts
    tries = max(1, min(_TRIES, _TRIES_UNITS // used.size))
    candidates = [_dealt(present, np.asarray(shares, float), wanted, generator) for _ in range(tries)]
    best = min(range(tries), key=lambda i: candidates[i][0])
    parts[used] = candidates[best][1] + 1
    return parts


def deal_folds(counts: NDArray[np.int64], folds: int, seed: int, *, what: str = "blocks") -> NDArray[np.int16]:
    """
    Deal units with labels to folds for cross-validation, balanced by class; -1 for units without labels.

    Raises
    ------
    SplitError
        If there are fewer units with labels than folds.
    """
    used = np.flatnonzero(counts.sum(1))
    if used.size < folds:
        raise SplitError(
            f"The labels lie in {used.size} {what}, too few for {folds} folds. Choose fewer folds or a smaller BLOCK_SIZE."
        )
    result = np.full(len(counts), -1, np.int16)
    share = counts[used] / np.maximum(counts[used].sum(0), 1)
    generator = np.random.default_rng(seed)
    order = np.lexsort((generator.random(used.size), -share.max(1)))
    filled = np.zeros((folds, counts.shape[1]))
    sizes = np.zeros(folds)
    for unit in order:
        need = filled @ share[unit] + 1e-6 * sizes
        fold = int(np.argmin(need))
        result[used[unit]] = fold
        filled[fold] += share[unit]
        sizes[fold] += 1
    empty = [fold for fold in range(folds) if sizes[fold] == 0]
    for fold in empty:
        largest = int(np.argmax(sizes))
        unit = int(np.flatnonzero(result == largest)[-1])
        result[unit] = fold
        sizes[largest] -= 1
        sizes[fold] += 1
    return result


def too_few(found: int, needed: int, what: str) -> SplitError:
    """Return the error for fewer units than parts."""
    return SplitError(
        f"The labels lie in {found} {what}, but the split needs {needed} or more: one for each of training, "
        "validation and test. "
        "Choose a smaller BLOCK_SIZE or TILE_SIZE, label a larger area, draw TEST_AREAS, or set TEST or VALIDATION to 0."
    )


def _at_random(
    counts: NDArray[np.float64], shares: Sequence[float], wanted: list[int], generator: np.random.Generator
) -> NDArray[np.int64]:
    order = generator.permutation(len(counts))
    ends = np.cumsum(np.asarray(shares)) * len(counts)
    parts = np.empty(len(counts), np.int64)
    parts[order] = np.minimum(np.searchsorted(ends, np.arange(len(counts)) + 0.5), 2)
    for part in wanted:  # every part that is asked for gets at least one unit
        if not (parts == part).any():
            largest = int(np.argmax(np.bincount(parts, minlength=3)))
            parts[np.flatnonzero(parts == largest)[0]] = part
    return parts


def _dealt(
    counts: NDArray[np.float64], shares: NDArray[np.float64], wanted: list[int], generator: np.random.Generator
) -> tuple[float, NDArray[np.int64]]:
    """Return the cost of one dealing and the part of each unit, from 0."""
    fractions = counts / counts.sum(0)  # (unit, class)
    need = np.repeat(shares[:, None], counts.shape[1], axis=1)  # (part, class): share of the class still wanted
    parts = np.zeros(len(counts), np.int64)
    order = np.lexsort((generator.random(len(counts)), -np.round(fractions.max(1), 2)))
    for unit in order:
        gain = need[wanted] @ fractions[unit]
        parts[unit] = wanted[int(np.argmax(gain))]
        need[parts[unit]] -= fractions[unit]
    _improve(parts, fractions, need, wanted)
    presence = np.array([(fractions[parts == part] > 0).any(0) for part in range(3)])
    missing = sum(_MISSING_COST[part] * np.count_nonzero(~presence[part]) for part in wanted)
    return float((need**2).sum() + missing), parts


def _improve(
    parts: NDArray[np.int64], fractions: NDArray[np.float64], need: NDArray[np.float64], wanted: list[int]
) -> None:
    """Move single units between parts while the cost falls; ``parts`` and ``need`` change in place."""
    has = fractions > 0
    square = (fractions**2).sum(1)
    units = np.arange(len(parts))
    sizes = np.array([[np.count_nonzero(has[parts == part, c]) for c in range(has.shape[1])] for part in range(3)])
    for _ in range(2 * len(parts)):
        toward = fractions @ need.T  # (unit, part)
        change = 2 * toward[units, parts][:, None] - 2 * toward + 2 * square[:, None]
        alone = has @ (sizes == 1).T.astype(float)  # classes that the unit alone brings to each part
        absent = has @ (sizes == 0).T.astype(float)
        change += (alone * _MISSING_COST)[units, parts][:, None] - absent * _MISSING_COST
        members = np.bincount(parts, minlength=3)
        change[:, members == 0] -= _EMPTY_COST
        change[members[parts] <= 1] = np.inf
        change[units, parts] = np.inf
        change[:, [part for part in range(3) if part not in wanted]] = np.inf
        unit, part = np.unravel_index(int(np.argmin(change)), change.shape)
        if not change[unit, part] < -1e-9:
            return
        old = parts[unit]
        need[old] += fractions[unit]
        need[part] -= fractions[unit]
        sizes[old] -= has[unit]
        sizes[part] += has[unit]
        parts[unit] = part
