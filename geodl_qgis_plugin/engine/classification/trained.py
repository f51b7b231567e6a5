"""What training is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from .alterations import AS_IT_IS, Alteration
from .course import Check
from .metrics import brier, scores_of_shares
from .networks import Architecture

ALL_DONE, STOPPED = "all epochs were done", "it was stopped"
LEARNT_IN_THE_END = ("training", "validation", "belt")  # when nothing is left to choose


@dataclass(frozen=True)
class Plan:
    """
    How a net is trained.

    ``epochs`` 0 chooses as many as about 3,000 batches need, 10 to 400; ``minutes`` 0 sets no limit; ``patience`` is in epochs,
    0 for a quarter of all, three checks at least. ``class_weight`` is the power of the inverse class share: 0 weighs all
    pixels alike, 1 all classes. ``batch_size`` 0 chooses one; ``find_rate`` looks for a learning rate first. ``precision`` is
    one of `devices.PRECISIONS`, ``loss`` of `losses.LOSSES`; ``balance`` is that of `tile_shares`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int
    minutes: float = 0.0
    weight_decay: float = 0.01
    class_weight: float = 0.0
    augment: bool = True
    precision: str = "automatic"
    loss: str = "cross-entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    alteration: Alteration = AS_IT_IS
    balance: float = 0.0
    find_rate: bool = False


@dataclass(frozen=True)
class Trial:
    """
    What one of several candidates, or the mean of some, did on the validation part, and whether it was kept.

    ``brier`` is None of one that was given up.
    """

    name: str
    accuracy: float
    macro_f1: float
    brier: float | None
    kept: bool

    @classmethod
    def of(
        cls, name: str, probabilities: npt.NDArray[np.float32], wanted: npt.NDArray[np.int64], *, kept: bool
    ) -> Trial:
        """Score probabilities (place, class) of places whose right positions are known."""
        return cls(name, *scores_of_shares(probabilities, wanted), brier(probabilities, wanted), kept)


@dataclass(frozen=True)
class Trained:
    """
    A trained net: its best state, how it went, why it ended, how far it sees beyond a pixel, and what to call it.

    ``architecture`` is given where training chose it, or numbers of it, with ``tried``, what it was chosen from;
    ``before_validation`` is the net as it was before it learnt from the validation part too, where it did; ``members`` are
    those of an ensemble of seeds.
    """

    net: nn.Module
    history: list[Check]
    best: Check
    ended: str
    halo_px: int
    name: str = "net"
    architecture: Architecture | None = None
    before_validation: nn.Module | None = None
    members: tuple[Trained, ...] = ()
    tried: tuple[Trial, ...] = ()
    batch_size: int = 0
    learning_rate: float = 0.0
    rate_curve: tuple[tuple[float, float], ...] = ()

    @property
    def judged(self) -> nn.Module:
        """Return the net that can be judged by the validation part: it has not learnt from it."""
        return self.net if self.before_validation is None else self.before_validation

    @property
    def learnt_from(self) -> Sequence[str]:
        """Return the parts whose labels the net has seen."""
        return ("training",) if self.before_validation is None else LEARNT_IN_THE_END

    @property
    def name_of_architecture(self) -> str:
        """Return the name in the registry, where it is known."""
        return self.name if self.architecture is None else self.architecture.name
