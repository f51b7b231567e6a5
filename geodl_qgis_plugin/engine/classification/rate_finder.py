"""
A learning rate for a net and its data: rates rise from batch to batch, and the loss tells which was good.

The range test of Smith (2017, doi:10.1109/WACV.2017.58). It is made with a copy of the net, which is thrown away.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..messages import Progress
from ..ranks import Ranks
from .batches import Batch, Batches
from .steps import Steps

LOWEST, HIGHEST = 1e-5, 1.0
_BATCHES = 100
_SMOOTHING = 0.9
_SKIPPED = 10  # the first losses are a mean of few
_SPAN = 10  # steps over which the fall is taken: single batches differ
_TOO_BAD = 2.0  # times the smallest loss: from there on nothing is learnt


def rate_curve(
    steps: Steps, batches: Batches, seed: int, ranks: Ranks, progress: Progress
) -> list[tuple[float, float]]:
    """Return the smoothed loss at rising rates, as pairs (rate, loss); ends where the loss grows out of bounds."""
    curve: list[tuple[float, float]] = []
    mean, smallest = 0.0, math.inf
    for number, batch in enumerate(_first(batches, _BATCHES)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (_BATCHES - 1))
        for group in steps.optimizer.param_groups:
            group["lr"] = rate
        said = progress.cancelled() and ranks.is_first
        weight, stop = ranks.sum(np.array([steps.weight(batch), said], np.float64)).tolist()
        if stop:
            break
        if weight == 0:
            continue
        loss = float(ranks.sum(np.array([steps.take(batch, weight, seed + number, progress)]))[0])
        if not math.isfinite(loss):
            break
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed = mean / (1 - _SMOOTHING ** (len(curve) + 1))
        curve.append((rate, smoothed))
        smallest = min(smallest, smoothed)
        progress.update(number / _BATCHES, f"Looking for a learning rate: {rate:.2g}")
        if smoothed > _TOO_BAD * smallest and len(curve) > 10:
            break
    return curve


def best_rate(curve: Sequence[tuple[float, float]], usual: float) -> float:
    """
    Return the rate at which the loss falls fastest, by the logarithm of the rate; ``usual`` where it does not fall.

    Only what lies before the smallest loss counts, and none of the first batches, over which the loss was not yet smoothed.
    """
    losses = np.array([loss for _, loss in curve])
    end = int(losses[_SKIPPED:].argmin()) + _SKIPPED if len(curve) > _SKIPPED else 0
    # The rates rise by one factor from step to step, so the fall over so many steps is the slope.
    falls = losses[_SKIPPED : end + 1 - _SPAN] - losses[_SKIPPED + _SPAN : end + 1]
    if falls.size == 0 or falls.max() <= 0:
        return usual
    return float(curve[_SKIPPED + int(falls.argmax()) + _SPAN // 2][0])


def _first(batches: Batches, count: int) -> Iterator[Batch]:
    """Yield so many batches, of as many epochs as that takes."""
    for epoch in itertools.count():
        for batch in batches.epoch(epoch):
            if count == 0:
                return
            count -= 1
            yield batch
