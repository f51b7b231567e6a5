"""
What is done after training: confidence is calibrated on the validation part, and the test part is seen, only here.

There the net is scored, and the forest beside it, also by distance to the nearest training pixel and by confidence. Which
predictors matter is looked for on the validation part, and weighs the area of applicability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress, Uninterrupted
from ..training_data.tile_set import TileSet
from .applicability import Applicability
from .applicability_check import ScoredSample
from .applicability_sample import applicability_of
from .calibration import Calibrated, Calibration, Reliability, calibrate
from .distance import DistanceCurve, DistanceScores, TrainingDistance
from .forest import forest_accuracy
from .importance import Importance, band_importance, weights_of_bands
from .metrics import Accuracy
from .networks import EACH_PIXEL
from .part_map import PartMap
from .scoring import Predicted, score_net
from .trained import Trained
from .training_settings import Settings

A_TIE = 0.005  # of accuracy


@dataclass(frozen=True)
class Appraisal:
    """
    How a net did on the part it was scored on.

    ``codes`` are the mapped classes there (row, column), thinned, or None; ``reliability`` is ``before`` and ``after``
    calibration; ``checked`` is how right the net is inside and outside its area of applicability; ``name`` is what the report
    calls the net.
    """

    part: str
    accuracy: Accuracy
    loss: float
    forest: Accuracy | None
    codes: npt.NDArray[np.uint16] | None
    calibration: Calibration
    reliability: dict[str, Any]
    distance: DistanceCurve | None = None
    importance: Importance | None = None
    applicability: Applicability | None = None
    checked: dict[str, Any] | None = None
    name: str = "net"

    def trust(self) -> dict[str, Any]:
        """Return what a model file holds on how far it can be trusted: plain values, see `trust_report.py`."""
        told: dict[str, Any] = {
            "calibration": {**self.calibration.as_dict(), "part": self.part, "reliability": self.reliability}
        }
        if self.distance is not None:
            told["distance"] = self.distance.as_dict()
        if self.importance is not None:
            told["importance"] = self.importance.as_dict()
        if self.applicability is not None:
            told["applicability"] = {**self.applicability.as_dict(), "scored": self.checked}
        return told

    @property
    def finding(self) -> str:
        """Return the first sentence of the report."""
        score = self.accuracy
        text = (
            f"In the {self.part} areas the {self.name} is right for {_percent(score.accuracy)} "
            f"(kappa {_number(score.kappa)})"
        )
        if self.forest is None or self.forest.accuracy is None or score.accuracy is None:
            return (
                f"{text}; always naming the most frequent class there would be for {_percent(score.majority_accuracy)}."
            )
        gap = score.accuracy - self.forest.accuracy
        forest = f"{_percent(self.forest.accuracy)} (kappa {_number(self.forest.kappa)})"
        useless = self._neither_is_of_use(score.accuracy, self.forest.accuracy)
        if gap > A_TIE:
            return f"{text}, a random forest for {forest}: the {self.name} is the better of the two.{useless}"
        if gap < -A_TIE:
            return (
                f"{text}, but a random forest for {forest}: the forest is the better of the two; map with it "
                f"(ARCHITECTURE forest), or give the {self.name} more.{useless}"
            )
        return f"{text}, a random forest for {forest}: they are as good as each other.{useless}"

    def _neither_is_of_use(self, own: float, forest: float) -> str:
        """Return a further sentence where naming the most frequent class would be as good as either."""
        majority = self.accuracy.majority_accuracy
        if majority is None or max(own, forest) > majority:
            return ""
        return (
            f" Always naming the most frequent class there would be right for {_percent(majority)}: as they are, neither is "
            "of use."
        )


def appraise(trained: Trained, tile_set: TileSet, settings: Settings, progress: Progress) -> Appraisal:
    """Score the net, and the forest beside it, on the test part; where there is none, on the validation part."""
    part = "test" if sum(tile_set.class_counts("test").values()) else "validation"
    if part == "validation":
        progress.warning(
            "The tile set has no test part, so the scores are those on the validation part, by which the net was chosen: they "
            "are optimistic."
        )
    per_pixel = settings.task == EACH_PIXEL
    calibration = calibrate(trained.judged, tile_set, trained.halo_px, Uninterrupted(progress, 0.0, 0.1))
    net = Calibrated(trained.net if part == "test" else trained.judged, calibration.temperature)
    map_of_part = PartMap(tile_set)
    distances = TrainingDistance(tile_set, trained.learnt_from if part == "test" else ("training",))
    by_distance = {trained.name: DistanceScores(distances, tile_set, part)}
    reliability = {"before": Reliability(tile_set, calibration.temperature), "after": Reliability(tile_set)}
    sample = ScoredSample(tile_set, part, per_pixel=per_pixel)

    def note(predicted: Predicted) -> None:
        for add in (
            map_of_part.add,
            by_distance[trained.name].add,
            *(one.add for one in reliability.values()),
            sample.add,
        ):
            add(predicted)

    scored = score_net(
        net, tile_set, part, halo_px=trained.halo_px, progress=Uninterrupted(progress, 0.1, 0.3), then=note
    )
    forest: Accuracy | None = None
    if settings.forest and trained.name != "forest" and not progress.cancelled():
        try:
            beside, seed = DistanceScores(distances, tile_set, part), settings.seed
            forest = forest_accuracy(
                tile_set, part, seed, PartOfProgress(progress, 0.3, 0.6), per_pixel=per_pixel, then=beside.add
            )
            by_distance["forest"] = beside
        except Cancelled:
            progress.message("The forest was left out, since the job was stopped.")
    importance, area = _reach(trained, tile_set, settings, PartOfProgress(progress, 0.6, 1.0))
    return Appraisal(
        part,
        scored.accuracy,
        scored.loss,
        forest,
        map_of_part.codes,
        calibration,
        {name: counted.as_dict() for name, counted in reliability.items()},
        DistanceCurve.of(by_distance, tile_set.grid),
        importance,
        area,
        sample.told(area) if area is not None else None,
        trained.name,
    )


def _reach(
    trained: Trained, tile_set: TileSet, settings: Settings, progress: Progress
) -> tuple[Importance | None, Applicability | None]:
    """Return which bands matter on the validation part, and the area of applicability; None for both when stopped."""
    if progress.cancelled():
        return None, None
    seed = settings.seed
    try:
        importance = band_importance(
            trained.judged,
            tile_set,
            "validation",
            halo_px=trained.halo_px,
            seed=seed,
            progress=PartOfProgress(progress, 0.0, 0.7),
        )
    except Cancelled:
        progress.message("What predictors matter was left out, since the job was stopped.")
        return None, None
    weights = weights_of_bands(importance, len(tile_set.bands))
    return importance, applicability_of(
        tile_set, weights, per_pixel=settings.task == EACH_PIXEL, seed=seed, progress=PartOfProgress(progress, 0.7, 1.0)
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f}\u00a0%"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
