"""
Accuracy of a map against a reference: a confusion matrix, counted window by window, and the scores that follow from it.

Rows of the matrix are the reference, columns the map. A score that would divide by nothing is None, never 0 with a warning: the
precision of a class that was never mapped, the recall, F1 and IoU of one that the reference does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..classes import LandClass
from ..errors import LabelsError

_LARGEST_CODE = 65535


class ConfusionCounter:
    """
    Counts pairs of reference and mapped codes; memory does not grow with what is added.

    Parameters
    ----------
    classes : sequence of LandClass
        Rows and columns of the matrix, in this order.

    Attributes
    ----------
    matrix : array of int64, (class, class)
        Rows are the reference, columns the map.
    unmapped : int
        Pixels with a reference where the map has no class.
    """

    def __init__(self, classes: Sequence[LandClass]) -> None:
        self.classes = tuple(classes)
        self.matrix = np.zeros((len(classes), len(classes)), np.int64)
        self.unmapped = 0
        # code → index + 1; 0 is no class, -1 a code that no class has
        self._index = np.full(_LARGEST_CODE + 1, -1, np.int32)
        self._index[0] = 0
        for i, one in enumerate(classes):
            self._index[one.code] = i + 1

    def add(self, reference: npt.NDArray[Any], mapped: npt.NDArray[Any]) -> None:
        """
        Count the pixels of a window.

        Parameters
        ----------
        reference, mapped : arrays of whole numbers, of the same shape
            Class codes; 0 is unlabelled in the one and nodata in the other.

        Raises
        ------
        LabelsError
            If a code belongs to no class.
        """
        if reference.shape != mapped.shape:
            raise ValueError(f"The reference has the shape {reference.shape}, the map {mapped.shape}.")
        rows, columns = self._indices(reference, "reference"), self._indices(mapped, "map")
        count = len(self.classes) + 1
        pairs = np.bincount(rows * count + columns, minlength=count * count).reshape(count, count)
        self.matrix += pairs[1:, 1:]
        self.unmapped += int(pairs[1:, 0].sum())

    def _indices(self, codes: npt.NDArray[Any], what: str) -> npt.NDArray[np.int32]:
        codes = codes.reshape(-1)
        if codes.size and (codes.min() < 0 or codes.max() > _LARGEST_CODE):
            raise LabelsError(
                f"The {what} has codes outside 0 to {_LARGEST_CODE}. Give its classes codes in that range."
            )
        indices: npt.NDArray[np.int32] = self._index[codes]
        if codes.size and indices.min() < 0:
            code = int(codes[indices < 0][0])
            known = ", ".join(f"{one.code} {one.name}" for one in self.classes)
            raise LabelsError(f"The {what} has the code {code}, which is none of the classes ({known}).")
        return indices

    def accuracy(self) -> Accuracy:
        """Return the scores of all that was counted."""
        return Accuracy.from_confusion(self.matrix, self.classes)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """
    Scores of a map, made with `from_confusion`.

    ``macro_f1`` and ``balanced_accuracy`` are means over the classes that occur in the reference; ``kappa`` is Cohen's.
    ``precision``, ``recall``, ``f1``, ``iou``, ``support`` (reference pixels) and ``mapped`` (mapped pixels) have one
    entry a class.
    """

    classes: tuple[LandClass, ...]
    confusion: npt.NDArray[np.int64]
    accuracy: float | None
    balanced_accuracy: float | None
    kappa: float | None
    macro_f1: float | None
    weighted_f1: float | None
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    iou: tuple[float | None, ...]
    support: tuple[int, ...]
    mapped: tuple[int, ...]

    @classmethod
    def from_confusion(cls, matrix: npt.ArrayLike, classes: Sequence[LandClass]) -> Accuracy:
        """
        Compute all scores.

        Parameters
        ----------
        matrix : array of counts, (class, class)
            Rows are the reference, columns the map, in the order of ``classes``.
        """
        confusion = np.array(matrix, np.int64)
        if confusion.shape != (len(classes), len(classes)):
            raise ValueError(f"The matrix has the shape {confusion.shape}, but there are {len(classes)} classes.")
        hits, support, mapped = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        total, occurs = int(confusion.sum()), support > 0
        union = support + mapped - hits
        recall = _shares(hits, support)
        f1 = [_share(2 * hit, here + there) if here else None for hit, here, there in zip(hits, support, mapped)]
        iou = [_share(hit, all_) if here else None for hit, all_, here in zip(hits, union, support)]
        f1_values = np.array([value for value in f1 if value is not None])
        # chance agreement of Cohen's kappa; floats, since products of pixel counts outgrow 64 bits
        chance = float(support.astype(float) @ mapped.astype(float)) / total**2 if total else 1.0
        accuracy = _share(hits.sum(), total)
        return cls(
            classes=tuple(classes),
            confusion=confusion,
            accuracy=accuracy,
            balanced_accuracy=_mean([value for value in recall if value is not None]),
            kappa=None if accuracy is None or chance >= 1.0 else (accuracy - chance) / (1.0 - chance),
            macro_f1=_mean(f1_values),
            weighted_f1=float(np.average(f1_values, weights=support[occurs])) if total else None,
            precision=_shares(hits, mapped),
            recall=recall,
            f1=tuple(f1),
            iou=tuple(iou),
            support=tuple(int(n) for n in support),
            mapped=tuple(int(n) for n in mapped),
        )

    @property
    def pixels(self) -> int:
        """Return how many pixels were compared."""
        return int(self.confusion.sum())

    @property
    def majority(self) -> LandClass:
        """Return the class that most of the reference's pixels have."""
        return self.classes[int(np.argmax(self.support))]

    @property
    def majority_accuracy(self) -> float | None:
        """Return the accuracy of a map that shows nothing but the majority class."""
        return _share(max(self.support, default=0), self.pixels)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the scores, a list with one entry a class, the matrix."""
        per_class = [
            {**one.as_dict(), "precision": p, "recall": r, "f1": f, "iou": u, "support": s, "mapped": m}
            for one, p, r, f, u, s, m in zip(
                self.classes, self.precision, self.recall, self.f1, self.iou, self.support, self.mapped
            )
        ]
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "kappa": self.kappa,
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            "pixels": self.pixels,
            "classes": per_class,
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Accuracy:
        """Read what `as_dict` wrote."""
        return cls.from_confusion(values["confusion"], [LandClass.from_dict(one) for one in values["classes"]])


def score_of_shares(shares: npt.NDArray[np.float32], wanted: npt.NDArray[np.int64]) -> float:
    """Return the mean of accuracy and macro-F1 of probabilities (place, class)."""
    return sum(scores_of_shares(shares, wanted)) / 2


def scores_of_shares(shares: npt.NDArray[np.float32], wanted: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return accuracy and macro-F1, over the classes that are there, of probabilities (place, class)."""
    given, classes = shares.argmax(axis=1), shares.shape[1]
    table = np.bincount(wanted * classes + given, minlength=classes**2).reshape(classes, classes)
    right, there, named = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    f1 = 2 * right[there > 0] / (there + named)[there > 0]
    return float(right.sum() / table.sum()), float(f1.mean())


def brier(probabilities: npt.NDArray[np.float32], wanted: npt.NDArray[np.int64]) -> float:
    """Return the mean squared error of probabilities (place, class), summed over classes: 0 is perfect, 2 the worst."""
    truth = np.eye(probabilities.shape[1])[wanted]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def _share(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None


def _shares(parts: npt.NDArray[np.int64], wholes: npt.NDArray[np.int64]) -> tuple[float | None, ...]:
    return tuple(_share(part, whole) for part, whole in zip(parts, wholes))


def _mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float | None:
    return float(np.mean(values)) if len(values) else None
