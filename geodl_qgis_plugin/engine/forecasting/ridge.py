"""
The linear highway: one ridge regression for all stations, from the latest anomalies to those at every lead time at once.

Stations of a region are near copies of each other, so that thousands of windows hold a few hundred independent ones; the
penalty is therefore chosen by leaving out whole stretches of time for all stations together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..ranks import Ranks
from .seasons import Array

_BLOCKS = 6
_PENALTIES = 10.0 ** np.arange(-6.0, 2.6, 0.5)  # times the number of windows


@dataclass(frozen=True)
class Ridge:
    """
    A fitted ridge regression.

    Attributes
    ----------
    coefficients : (feature, lead)
    penalty : (lead,)
        As chosen for each lead time, relative to the number of windows.
    """

    coefficients: Array
    penalty: Array

    def predict(self, windows: npt.NDArray[np.float32]) -> Array:
        """Return the anomalies expected at each lead time: (window, lead)."""
        return features(windows) @ self.coefficients


def features(windows: npt.NDArray[np.float32]) -> Array:
    """
    Turn input windows into what the regression sees.

    Own and regional anomalies step by step, their means over growing stretches, the latest anomaly by season, and the latest
    covariates. There is no constant: where nothing is known the answer is the normal.

    Parameters
    ----------
    windows : (window, input length, channel)
    """
    own, region = windows[:, ::-1, 0].astype(float), windows[:, ::-1, 2].astype(float)  # latest step first
    cosine, sine = windows[:, -1:, 3].astype(float), windows[:, -1:, 4].astype(float)
    length = own.shape[1]
    parts = [own, region[:, : min(4, length)]]
    for stretch in (3, 6, 12, 24, 48):
        if stretch <= length:
            parts += [own[:, :stretch].mean(axis=1, keepdims=True), region[:, :stretch].mean(axis=1, keepdims=True)]
    parts += [own[:, :1] * cosine, own[:, :1] * sine]
    parts += [windows[:, -1, 5:].astype(float)]
    return np.hstack(parts)


class RidgeSums:
    """The sums that a ridge regression needs, gathered stretch by stretch of time, so that windows need not stay in memory."""

    def __init__(self, first: int, last: int) -> None:
        self._edges = np.linspace(first, last, _BLOCKS + 1)
        self._gram: Array | None = None
        self._right: Array | None = None
        self._square: Array | None = None
        self._count: Array | None = None

    def add(
        self, windows: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32], origin: npt.NDArray[np.int64]
    ) -> None:
        """
        Take in some windows with their targets.

        A lead time that was not observed counts as the normal (0): it draws the answer towards it, a little.
        """
        block = np.clip(np.searchsorted(self._edges, origin, side="right") - 1, 0, _BLOCKS - 1)
        design, right = features(windows), np.nan_to_num(wanted.astype(float))
        if self._gram is None or self._right is None or self._square is None or self._count is None:
            count, leads = design.shape[1], right.shape[1]
            self._gram, self._right = np.zeros((_BLOCKS, count, count)), np.zeros((_BLOCKS, count, leads))
            self._square, self._count = np.zeros((_BLOCKS, leads)), np.zeros(_BLOCKS)
        for index in np.unique(block):
            rows = block == index
            self._gram[index] += design[rows].T @ design[rows]
            self._right[index] += design[rows].T @ right[rows]
            self._square[index] += (right[rows] ** 2).sum(axis=0)
            self._count[index] += rows.sum()

    def join(self, ranks: Ranks, features_: int, leads: int) -> None:
        """Add up what all processes have taken in; each says how many features and lead times there are."""
        shapes: dict[str, tuple[int, ...]] = {
            "_gram": (_BLOCKS, features_, features_),
            "_right": (_BLOCKS, features_, leads),
        }
        shapes |= {"_square": (_BLOCKS, leads), "_count": (_BLOCKS,)}
        for name, shape in shapes.items():
            own = getattr(self, name)
            setattr(self, name, ranks.sum(np.zeros(shape) if own is None else own))

    def solve(self) -> Ridge:
        """Choose the penalty of each lead time by leaving out one stretch after the other, and solve on all of them."""
        if self._gram is None or self._right is None or self._square is None or self._count is None:
            raise ValueError("no windows were added")
        gram, right, count = self._gram.sum(axis=0), self._right.sum(axis=0), self._count.sum()
        scale = np.diag(gram) / max(count, 1.0) + 1e-9
        errors = np.zeros((len(_PENALTIES), right.shape[1]))
        for index in range(_BLOCKS):
            rest = count - self._count[index]
            for at, penalty in enumerate(_PENALTIES):
                matrix = gram - self._gram[index] + np.diag(penalty * rest * scale)
                found = np.linalg.solve(matrix, right - self._right[index])
                errors[at] += (
                    self._square[index]
                    - 2 * (found * self._right[index]).sum(axis=0)
                    + (found * (self._gram[index] @ found)).sum(axis=0)
                )
        smooth = _smoothed(errors)
        best = _PENALTIES[smooth.argmin(axis=0)]
        coefficients = np.zeros_like(right)
        for penalty in np.unique(best):
            leads = best == penalty
            coefficients[:, leads] = np.linalg.solve(gram + np.diag(penalty * count * scale), right[:, leads])
        return Ridge(coefficients, best)


def _smoothed(errors: Array) -> Array:
    """Mean over neighbouring lead times: a single one's best penalty is mostly luck."""
    padded = np.pad(errors, ((0, 0), (1, 1)), mode="edge")
    return np.asarray((padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3)
