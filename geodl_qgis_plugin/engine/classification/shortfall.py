"""Whether training was cut short: the time was over long before the net had learnt what it can."""

from __future__ import annotations

from .course import Check
from .trained import Trained
from .training import AUTOMATIC_BATCHES

FEW_BATCHES = AUTOMATIC_BATCHES // 3
_RISING = 0.01  # of the mean of accuracy and macro-F1, over the last third of the checks


def cut_short(trained: Trained, minutes: float) -> str | None:
    """
    Return a sentence where MINUTES ended a training of few batches while the validation score was still rising.

    With a limit of time the learning rate falls to nothing when it is over, so that a rise at the end alone says little; with
    few batches besides, the machine was slow or busy. None where all is well. Of an ensemble the first member is looked at.
    """
    history = trained.history
    minutes /= max(len(trained.members), 1)
    last = history[-1]
    if not minutes or last.seconds < 0.95 * 60 * minutes or last.batches >= FEW_BATCHES or not last.batches:
        return None
    before = history[: max(len(history) * 2 // 3, 1)]
    best = max((_score(check) for check in before), default=0.0)
    if len(history) > 1 and _score(last) < best + _RISING:
        return None
    rising = ", and the validation score was still rising" if len(history) > 1 else ""
    return (
        f"Training had time for {last.batches:,} batches only (about {AUTOMATIC_BATCHES:,} are usual) when the {minutes:g} "
        f"minutes were over{rising}: the machine is slow, or was busy. The scores are those of a net that has not learnt all "
        "it can. Give it more MINUTES, or train when the machine is free."
    )


def _score(check: Check) -> float:
    return (check.validation_accuracy + check.validation_macro_f1) / 2
