"""How far a training has come, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Check:
    """What a look at the validation part found; ``batches`` and ``seconds`` count from the beginning, across breaks."""

    epoch: int
    batches: int
    training_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_macro_f1: float
    seconds: float


@dataclass
class Course:
    """
    How far training has come: all of a checkpoint that is not weights.

    ``epoch`` and ``place`` tell the batch that comes next, counted from 0; ``losses`` are those since the last check; ``parts``
    is what `Steps` had to part batches into; ``batch_size`` and ``learning_rate`` are those that were settled on, the latter
    by ``rate_curve``, pairs of a rate and a loss, where it was looked for.
    """

    epoch: int = 0
    place: int = 0
    seconds: float = 0.0
    parts: int = 1
    ended: str = ""
    batch_size: int = 0
    learning_rate: float = 0.0
    rate_curve: list[tuple[float, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    history: list[Check] = field(default_factory=list)

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Course:
        """Read what a checkpoint holds."""
        return cls(**{**facts, "history": [Check(**entry) for entry in facts["history"]]})

    @property
    def best(self) -> Check | None:
        """Return the first of the best checks."""
        return max(self.history, key=score_of_check) if self.history else None


@dataclass(frozen=True)
class Standing:
    """What is known after a check: for a page that refreshes, or to give up early; ``done`` is a share, 0 to 1."""

    course: Course
    epochs: int
    done: float
    seconds_left: float


@dataclass(frozen=True)
class Stage:
    """
    How far a part of a training has come that is not told by epochs: trees, or nets on the surroundings.

    ``made`` of ``wanted`` things called ``unit`` stand; ``score`` is the mean of accuracy and macro-F1 in the validation part,
    where it is known.
    """

    name: str
    made: int
    wanted: int
    unit: str
    score: float | None = None


News = Standing | Stage


def score_of_check(check: Check) -> float:
    """Return what states and trials are compared by: the mean of accuracy and macro-F1 in the validation part."""
    return (check.validation_accuracy + check.validation_macro_f1) / 2


def progress_text(course: Course, epochs: int, best: Check | None, done: float) -> str:
    """Return what stands beside the progress bar."""
    text = f"Epoch {course.epoch + 1} of {epochs}"
    if course.losses:
        text += f", loss {np.mean(course.losses[-20:]):.3f}"
    if best is not None:
        text += f", best validation accuracy {best.validation_accuracy:.3f}"
    return text + _left(course.seconds * (1 - done) / done if done > 0.01 else 0.0)


def log_line(check: Check, epochs: int, best: Check, seconds_left: float) -> str:
    """Return what the log says of a check."""
    return (
        f"Epoch {check.epoch} of {epochs}: loss {check.training_loss:.3f}; validation loss {check.validation_loss:.3f}, "
        f"accuracy {check.validation_accuracy:.3f}, macro-F1 {check.validation_macro_f1:.3f}"
        + (", the best so far" if check is best else "")
        + _left(seconds_left)
    )


def _left(seconds: float) -> str:
    return f", about {math.ceil(seconds / 60)} min left" if seconds > 60 else ""
