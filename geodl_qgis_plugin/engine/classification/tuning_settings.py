"""Settings of the job `tuneclassifier`."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import option
from .devices import PRECISIONS
from .fitting import LEARNING_RATES
from .networks import EACH_PIXEL, EACH_TILE


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    tiles: str
    output: str
    report: str | None = None
    trials_table: str | None = None
    task: str = option(EACH_PIXEL, choices=(EACH_PIXEL, EACH_TILE))
    trials: int = option(30, at_least=1, at_most=100_000)
    study: str | None = None  # a file or a database's address; beside the model if not said
    architecture: str = option("automatic", choices=("automatic", *LEARNING_RATES))  # automatic: all that fit the task
    epochs: int = option(0, at_least=0, at_most=100_000)  # of each trial
    minutes: float = option(0.0, at_least=0)  # of each trial
    seed: int = option(0, at_least=0)
    precision: str = option("automatic", choices=PRECISIONS)
    forest: bool = True
    resume: bool = True
