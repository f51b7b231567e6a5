"""
Surroundings: small nets, a random forest and extra trees on one set of neighbourhood statistics, averaged; for each pixel.

Where classes are large bodies in noisy predictors (rocks in airborne geophysics), what decides is a wide, smooth view and much
regularisation, not fine forms: there this beats a U-Net by far, and each of its members (docs/benchmarks.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .core import Core
from .forest import SCALES_PX, WIDTHS_PX, logits_by_features
from .intake import Intake
from .statistics import MISSING, pixel_features, pixel_halo_px, pixel_statistics, window_bytes_px
from .trees import Trees

MEMBERS = ("nets", "forest", "extra trees")
HIDDEN_UNITS, HOW_MANY_NETS = 256, 3
_LARGEST_WINDOW_PX, _MOST_UNITS, _MOST_NETS = 2001, 4096, 100
_ROWS_AT_ONCE = 32_768


class Surroundings(nn.Module):
    """
    Nets and trees that give each pixel a class, by `pixel_statistics`; (batch, band, row, column) in, logits out.

    The mean of a window always adds the same numbers in the same order, so what is seen in a window with a halo is, to the bit,
    what is seen in one pass.

    Parameters
    ----------
    widths, scales : sequence of int
        Windows, as for `PixelForest`.
    hidden : int
        Units in each of a net's two hidden layers.
    nets : int
        Nets that differ in their seed only; their probabilities are averaged.
    dropout : float
        Share of hidden units that are left out at random while training.
    weights : three numbers
        How much the nets together, the forest, and the extra trees count; chosen on validation blocks.
    """

    tile_size_px = None
    stride = 1
    processor_only = True
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        intake: Intake,
        classes: int,
        *,
        spacing_m: Sequence[float] = (1.0, 1.0),
        widths: Sequence[int] = WIDTHS_PX,
        scales: Sequence[int] = SCALES_PX,
        hidden: int = HIDDEN_UNITS,
        nets: int = HOW_MANY_NETS,
        dropout: float = 0.5,
        weights: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        if not all(1 <= size <= _LARGEST_WINDOW_PX for size in (*widths, *scales)):
            raise ValueError(f"Windows must be 1 to {_LARGEST_WINDOW_PX} pixels wide.")
        if not 1 <= hidden <= _MOST_UNITS or not 1 <= nets <= _MOST_NETS:
            raise ValueError(f"Surroundings have 1 to {_MOST_NETS} nets of 1 to {_MOST_UNITS} units.")
        self.bands, self.surfaces = intake.offset.numel(), list(intake.surfaces)
        self.spacing_m, self.widths, self.scales = list(spacing_m), list(widths), list(scales)
        seen = (self.bands, self.surfaces, self.widths, self.scales)
        self.halo_px, features = pixel_halo_px(*seen), pixel_features(*seen)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.classes = classes
        self.nets = nn.ModuleList(_net(features, classes, hidden, dropout) for _ in range(nets))
        self.forest: Trees | None = Trees(features, classes)
        self.extra_trees: Trees | None = Trees(features, classes)
        self.weigh(weights)

    def weigh(self, weights: Sequence[float]) -> None:
        """Set the members' weights; those that do not count are dropped."""
        if len(weights) != len(MEMBERS) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise ValueError("Surroundings need three weights, none below 0 and not all 0.")
        self.weights = [float(weight) / sum(weights) for weight in weights]
        of_nets, of_forest, of_extra_trees = self.weights
        if of_nets == 0:
            self.nets = nn.ModuleList()
        self.forest = self.forest if of_forest > 0 else None
        self.extra_trees = self.extra_trees if of_extra_trees > 0 else None

    @property
    def bytes_px(self) -> float:
        """Return how much memory a pixel of a window takes; half of them are halo, and have no features."""
        return window_bytes_px(self.bands, self.centre.numel())

    def features(self, values: npt.NDArray[np.float32], core: Core | None = None) -> npt.NDArray[np.float32]:
        """Return features (feature, row, column) of bands (band, row, column), or of their core."""
        return pixel_statistics(values, self.surfaces, self.spacing_m, self.widths, self.scales, core)

    def measure(self, features: npt.NDArray[np.float32]) -> None:
        """Set centre and spread from training pixels (pixel, feature): median, and the range of the middle half."""
        known = np.where(features == MISSING, np.nan, features)
        known[:, np.isnan(known).all(axis=0)] = 0.0
        low, middle, high = np.nanpercentile(known, (25, 50, 75), axis=0)
        spread = (high - low) / 1.349  # a normal distribution's standard deviation
        usual = np.nanstd(known, axis=0)
        spread = np.where(spread > 1e-6 * np.maximum(usual, 1e-30), spread, np.where(usual > 0, usual, 1.0))
        self.centre.copy_(torch.from_numpy(middle))
        self.spread.copy_(torch.from_numpy(spread))

    def scaled(self, features: npt.NDArray[np.float32]) -> Tensor:
        """Return what the nets get (pixel, feature): scaled, long tails drawn in, 0 where there is no value."""
        given = torch.from_numpy(np.ascontiguousarray(features))
        scaled = torch.asinh((given - self.centre) / self.spread)
        return torch.where(given == MISSING, 0.0, scaled)

    @torch.no_grad()
    def shares(self, features: npt.NDArray[np.float32], only: int | None = None) -> list[npt.NDArray[np.float32]]:
        """
        Return each member's probabilities (pixel, class) of features (pixel, feature); zeros of one that does not count.

        ``only`` asks for one member alone.
        """
        members = (
            self._of_nets if len(self.nets) else None,
            self.forest.probabilities if self.forest is not None else None,
            self.extra_trees.probabilities if self.extra_trees is not None else None,
        )
        return [
            np.zeros((len(features), self.classes), np.float32)
            if member is None or only not in (None, i)
            else member(features)
            for i, member in enumerate(members)
        ]

    def probabilities(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the weighted mean of the members' probabilities (pixel, class)."""
        total = np.zeros((len(features), self.classes), np.float32)
        for weight, part in zip(self.weights, self.shares(features)):
            total += np.float32(weight) * part
        return total

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits: logarithms of the mean probabilities."""
        return logits_by_features(self, values)

    def of_core(self, values: Tensor, core: Core) -> Tensor:
        """Return the logits of a window's core; see `logits_of_core`."""
        return logits_by_features(self, values, core)

    def _of_nets(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        parts = []
        for start in range(0, len(features), _ROWS_AT_ONCE):
            given = self.scaled(features[start : start + _ROWS_AT_ONCE])
            parts.append(torch.stack([torch.softmax(net(given), dim=1) for net in self.nets]).mean(dim=0).numpy())
        result: npt.NDArray[np.float32] = np.concatenate(parts)
        return result


def _net(features: int, classes: int, hidden: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (features, hidden):
        layers += [nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))
