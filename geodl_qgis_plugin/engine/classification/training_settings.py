"""Settings of the job `trainclassifier`."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import option
from .devices import PRECISIONS
from .losses import LOSSES
from .networks import EACH_PIXEL, EACH_TILE, NAMES


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    tiles: str
    output: str
    report: str | None = None
    task: str = option(EACH_PIXEL, choices=(EACH_PIXEL, EACH_TILE))
    architecture: str = option("automatic", choices=("automatic", *NAMES))
    epochs: int = option(0, at_least=0, at_most=100_000)  # 0: about 3,000 batches
    batch_size: int = option(16, at_least=0, at_most=4096)  # 0: what suits the net, the tiles and the memory
    learning_rate: float = option(0.0, at_least=0, at_most=1.0)  # 0: what suits the architecture
    patience: int = option(0, at_least=0)  # epochs; 0: one in four of all
    seed: int = option(0, at_least=0)
    resume: bool = True
    minutes: float = option(0.0, at_least=0)  # 0: no limit
    class_weight: float = option(-1.0, at_least=-1, at_most=1)  # below 0: what suits the architecture
    weight_decay: float = option(0.01, at_least=0, at_most=1)
    augment: bool = True
    precision: str = option("automatic", choices=PRECISIONS)
    dropout: float = option(-1.0, at_least=-1, at_most=0.9)  # below 0: what suits the architecture
    widths: list[int] = option([16, 24, 32, 48], at_least=1, at_most=2048)
    forest: bool = True
    loss: str = option("cross-entropy", choices=LOSSES)
    focal_gamma: float = option(2.0, at_least=0, at_most=10)
    label_smoothing: float = option(0.0, at_least=0, at_most=0.5)
    balance: float = option(0.0, at_least=0, at_most=1)
    noise: float = option(0.0, at_least=0, at_most=2)  # standard deviations of each band
    gain: float = option(0.0, at_least=0, at_most=2)  # of brightness and contrast
    band_dropout: float = option(0.0, at_least=0, at_most=0.9)
    ensemble: int = option(1, at_least=1, at_most=50)  # seeds
    cross_validation: int = option(0, at_least=0, at_most=100)  # folds; 0: none
    find_learning_rate: bool = False
