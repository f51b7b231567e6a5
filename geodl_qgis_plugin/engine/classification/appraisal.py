"""What is done after training: the net, and the forest beside it, are scored on the test part, which is seen only here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..training_data.tile_set import TileSet
from .forest import forest_accuracy
from .metrics import Accuracy
from .networks import EACH_PIXEL
from .part_map import PartMap
from .scoring import score_net
from .training import Trained
from .training_settings import Settings

A_TIE = 0.005  # of accuracy


@dataclass(frozen=True)
class Appraisal:
    """
    How a net did on the part it was scored on.

    ``codes`` are the mapped classes there (row, column), thinned, or None.
    """

    part: str
    accuracy: Accuracy
    loss: float
    forest: Accuracy | None
    codes: npt.NDArray[np.uint16] | None

    @property
    def finding(self) -> str:
        """Return the first sentence of the report."""
        score = self.accuracy
        text = (
            f"In the {self.part} areas the net is right for {_percent(score.accuracy)} (kappa {_number(score.kappa)})"
        )
        if self.forest is None or self.forest.accuracy is None or score.accuracy is None:
            return (
                f"{text}; always naming the most frequent class there would be for {_percent(score.majority_accuracy)}."
            )
        gap = score.accuracy - self.forest.accuracy
        forest = f"{_percent(self.forest.accuracy)} (kappa {_number(self.forest.kappa)})"
        if gap > A_TIE:
            return f"{text}, a random forest for {forest}: the net is the better of the two."
        if gap < -A_TIE:
            return (
                f"{text}, but a random forest for {forest}: the forest is the better of the two; map with it, or give the "
                "net more."
            )
        return f"{text}, a random forest for {forest}: they are as good as each other."


def appraise(trained: Trained, tile_set: TileSet, settings: Settings, progress: Progress) -> Appraisal:
    """Score the net, and the forest beside it, on the test part; where there is none, on the validation part."""
    part = "test" if sum(tile_set.class_counts("test").values()) else "validation"
    if part == "validation":
        progress.warning(
            "The tile set has no test part, so the scores are those on the validation part, by which the net was chosen: they "
            "are optimistic."
        )
    map_of_part = PartMap(tile_set)
    scored = score_net(
        trained.net,
        tile_set,
        part,
        halo_px=trained.halo_px,
        progress=_Uninterrupted(progress, 0.0, 0.3),
        then=map_of_part.add,
    )
    forest: Accuracy | None = None
    if settings.forest and not progress.cancelled():
        try:
            forest = forest_accuracy(
                tile_set,
                part,
                settings.seed,
                PartOfProgress(progress, 0.3, 1.0),
                per_pixel=settings.task == EACH_PIXEL,
            )
        except Cancelled:
            progress.message("The forest was left out, since the job was stopped.")
    return Appraisal(part, scored.accuracy, scored.loss, forest, map_of_part.codes)


class _Uninterrupted(PartOfProgress):
    """Progress of what is done to its end, so that a net that was trained is kept with its scores when the user stops."""

    def cancelled(self) -> bool:
        """Never."""
        return False


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
