"""
Confidence that can be believed: a temperature that is fitted on validation blocks, and how well confidence and truth agree.

Nets that learn long are surer than they are right. Dividing the logits by one number, the temperature, changes no class and
mends most of it (Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from ..messages import Progress
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .networks.core import Core, logits_of_core
from .scoring import Predicted, predictions

BINS = 15
_LEAST, _MOST = 0.1, 20.0
_FEWEST_PLACES = 50
_MOST_PLACES = 200_000
_LEAST_PROBABILITY = 1e-12


class Calibrated(nn.Module):
    """A net whose logits are divided by a temperature; all else is that of the net within."""

    temperature: Tensor

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.stride, self.tile_size_px = net.stride, net.tile_size_px
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return calibrated logits."""
        logits: Tensor = self.net(values, derived) / self.temperature
        return logits

    def of_core(self, values: Tensor, core: Core) -> Tensor:
        """Return calibrated logits of a window's core; see `logits_of_core`."""
        return logits_of_core(self.net, values, core) / self.temperature


@dataclass(frozen=True)
class Calibration:
    """
    What was found on the validation part.

    ``loss_before`` and ``loss_after`` are mean negative log-likelihoods of ``places`` pixels or tiles there.
    """

    temperature: float
    places: int
    loss_before: float
    loss_after: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "temperature": self.temperature,
            "places": self.places,
            "loss_before": self.loss_before,
            "loss_after": self.loss_after,
        }


def calibrate(net: nn.Module, tile_set: TileSet, halo_px: int, progress: Progress) -> Calibration:
    """
    Fit a temperature on the validation part, at most 200,000 places of it, drawn evenly.

    With fewer than 50 places it stays 1: they would say little.
    """
    position = positions_of_codes(tile_set)
    share = min(_MOST_PLACES / max(sum(tile_set.class_counts("validation").values()), 1), 1.0)
    random, logits, wanted = np.random.default_rng(19), [], []
    for predicted in predictions(net, tile_set, "validation", halo_px=halo_px, progress=progress):
        known = predicted.reference > 0
        if share < 1.0:
            known &= random.random(known.shape) < share
        logits.append(_log(predicted.probabilities[:, known]).T)
        wanted.append(position[predicted.reference[known]])
    values, targets = np.concatenate(logits), np.concatenate(wanted)
    if targets.size < _FEWEST_PLACES:
        return Calibration(1.0, int(targets.size), *([_loss(values, targets, 1.0)] * 2 if targets.size else [0.0, 0.0]))
    temperature = fit_temperature(values, targets)
    return Calibration(temperature, int(targets.size), _loss(values, targets, 1.0), _loss(values, targets, temperature))


def fit_temperature(logits: npt.NDArray[Any], targets: npt.NDArray[np.int64]) -> float:
    """
    Return the temperature with the least negative log-likelihood, between 0.1 and 20.

    Parameters
    ----------
    logits : array (place, class)
        Also logs of probabilities, which are logits too.
    targets : array (place,)
        Positions of the right classes.
    """
    wide = np.asarray(logits, np.float64)
    found = minimize_scalar(
        lambda log: _loss(wide, targets, float(np.exp(log))),
        bounds=(np.log(_LEAST), np.log(_MOST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


class Reliability:
    """
    Counts how often a model is right by how sure it is, in 15 bins of confidence; memory does not grow.

    Parameters
    ----------
    temperature : float
        Probabilities are raised to this power first, and normalised: with that of a calibrated model the counts are those
        before calibration.
    """

    def __init__(self, tile_set: TileSet, temperature: float = 1.0) -> None:
        self._position, self._temperature = positions_of_codes(tile_set), temperature
        self.pixels = np.zeros(BINS, np.int64)
        self._confidence, self._right = np.zeros(BINS), np.zeros(BINS)

    def add(self, predicted: Predicted) -> None:
        """Count the places that have a reference."""
        known = predicted.reference > 0
        probabilities = predicted.probabilities[:, known].astype(np.float64)
        if not probabilities.size:
            return
        if self._temperature != 1.0:
            powers = self._temperature * _log(probabilities)
            probabilities = np.exp(powers - powers.max(axis=0))
            probabilities /= probabilities.sum(axis=0)
        self.count(
            probabilities.max(axis=0), probabilities.argmax(axis=0) == self._position[predicted.reference[known]]
        )

    def count(self, confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> None:
        """Count confidences (place,), each with whether the class was right."""
        inside = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.pixels += np.bincount(inside, minlength=BINS)
        self._confidence += np.bincount(inside, confidence, BINS)
        self._right += np.bincount(inside, right.astype(np.float64), BINS)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: for each bin mean confidence, share of right places and their number; and the ECE."""
        return {
            "confidence": [None if not n else c / n for c, n in zip(self._confidence.tolist(), self.pixels.tolist())],
            "right": [None if not n else r / n for r, n in zip(self._right.tolist(), self.pixels.tolist())],
            "pixels": self.pixels.tolist(),
            "expected_error": self.expected_error,
        }

    @property
    def expected_error(self) -> float | None:
        """Return the expected calibration error: the mean gap between confidence and share of right places; or None."""
        total = int(self.pixels.sum())
        return float(np.abs(self._confidence - self._right).sum() / total) if total else None


def temperature_of(part: Mapping[str, Any]) -> float:
    """Return the temperature that a model's description holds; 1 where it holds none."""
    return float((part.get("calibration") or {}).get("temperature", 1.0))


def _log(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    logs: npt.NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), _LEAST_PROBABILITY))
    return logs


def _loss(logits: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], temperature: float) -> float:
    scaled = logits / temperature
    largest = scaled.max(axis=1)
    total = largest + np.log(np.exp(scaled - largest[:, None]).sum(axis=1))
    return float((total - scaled[np.arange(targets.size), targets]).mean())
