"""The scores of a cross-validation: fold by fold, pooled, and beside them those of a random split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import Accuracy

RANDOM = "random split"


@dataclass(frozen=True)
class FoldScore:
    """
    How the net, and the forest beside it, did on one fold; a fold that could not be trained on says why in ``left_out``.

    ``name`` is the fold's number from 1, or ``random split``.
    """

    name: str
    net: Accuracy | None
    forest: Accuracy | None
    left_out: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        scores = {"net": self.net, "forest": self.forest}
        told = {name: one.as_dict() if one is not None else None for name, one in scores.items()}
        return {"name": self.name, **told, "left_out": self.left_out}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FoldScore:
        """Read what `as_dict` wrote."""
        net, forest = (Accuracy.from_dict(values[name]) if values[name] else None for name in ("net", "forest"))
        return cls(str(values["name"]), net, forest, str(values["left_out"]))


@dataclass(frozen=True)
class CrossValidation:
    """The scores of all folds, and of a random split; ``name`` is what the report calls the model."""

    folds: list[FoldScore]
    random: FoldScore | None
    name: str = "net"

    def pooled(self, model: str) -> Accuracy | None:
        """Return the scores of ``net`` or ``forest`` on the pixels of all folds together."""
        found = [one for fold in self.folds if (one := getattr(fold, model)) is not None]
        if not found:
            return None
        return Accuracy.from_confusion(np.sum([one.confusion for one in found], axis=0), found[0].classes)

    def spread(self, model: str, score: str) -> float | None:
        """Return the standard deviation of a score between folds; None with fewer than two."""
        values = [
            value
            for fold in self.folds
            if (one := getattr(fold, model)) is not None and (value := getattr(one, score)) is not None
        ]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "folds": [fold.as_dict() for fold in self.folds],
            "random": self.random.as_dict() if self.random else None,
            "name": self.name,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CrossValidation:
        """Read what `as_dict` wrote."""
        random = values.get("random")
        folds = [FoldScore.from_dict(fold) for fold in values["folds"]]
        return cls(folds, FoldScore.from_dict(random) if random else None, str(values.get("name", "net")))
