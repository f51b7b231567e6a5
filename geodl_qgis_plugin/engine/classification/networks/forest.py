"""Forests as nets: physical values in, logarithms of the probabilities out, for pixels or for tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .core import Core
from .intake import Intake
from .statistics import pixel_features, pixel_halo_px, pixel_statistics, tile_features, tile_statistics, window_bytes_px
from .trees import Trees

WIDTHS_PX = (5, 11, 31, 61, 121)
SCALES_PX = (2, 5, 15, 30)
_LEAST_PROBABILITY = 1e-8  # its logarithm is finite; a forest of 10,000 trees tells no less apart
_LARGEST_WINDOW_PX = 2001


class PixelForest(nn.Module):
    """
    A forest that gives each pixel a class, by `pixel_statistics`; (batch, band, row, column) in, logits out.

    The mean of a window always adds the same numbers in the same order, so what trees see in a window with a halo is, to the
    bit, what they see in one pass.
    """

    tile_size_px = None
    stride = 1
    processor_only = True

    def __init__(
        self, intake: Intake, classes: int, *, spacing_m: Sequence[float], widths: Sequence[int], scales: Sequence[int]
    ) -> None:
        super().__init__()
        if not all(1 <= size <= _LARGEST_WINDOW_PX for size in (*widths, *scales)):
            raise ValueError(f"Windows must be 1 to {_LARGEST_WINDOW_PX} pixels wide.")
        self.bands, self.surfaces = intake.offset.numel(), list(intake.surfaces)
        self.spacing_m, self.widths, self.scales = list(spacing_m), list(widths), list(scales)
        seen = (self.bands, self.surfaces, self.widths, self.scales)
        self.halo_px = pixel_halo_px(*seen)
        self.trees = Trees(pixel_features(*seen), classes)

    @property
    def bytes_px(self) -> float:
        """Return how much memory a pixel of a window takes; half of them are halo, and have no features."""
        return window_bytes_px(self.bands, self.trees.features)

    def features(self, values: npt.NDArray[np.float32], core: Core | None = None) -> npt.NDArray[np.float32]:
        """Return features (feature, row, column) of bands (band, row, column), or of their core."""
        return pixel_statistics(values, self.surfaces, self.spacing_m, self.widths, self.scales, core)

    def probabilities(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the classes' probabilities (pixel, class) of features (pixel, feature)."""
        return self.trees.probabilities(features)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits."""
        return logits_by_features(self, values)

    def of_core(self, values: Tensor, core: Core) -> Tensor:
        """Return the logits of a window's core; see `logits_of_core`."""
        return logits_by_features(self, values, core)


class TileForest(nn.Module):
    """
    A forest that gives each tile a class, by `tile_statistics`.

    Given more than a tile, it returns the logits of the tiles that lie side by side in it.
    """

    processor_only = True

    def __init__(self, intake: Intake, classes: int, *, tile_size_px: int) -> None:
        super().__init__()
        self.surfaces, self.tile_size_px, self.stride = list(intake.surfaces), tile_size_px, tile_size_px
        self.trees = Trees(tile_features(intake.offset.numel(), self.surfaces, tile_size_px), classes)

    def features(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return features (tile, feature) of tiles (tile, band, row, column)."""
        return tile_statistics(tiles, self.surfaces)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits, (batch, class, 1, 1) for one tile."""
        size = self.tile_size_px
        batch, bands, height, width = values.shape
        rows, columns = height // size, width // size
        cut = values.detach().float().cpu()[..., : rows * size, : columns * size]
        tiles = cut.reshape(batch, bands, rows, size, columns, size).permute(0, 2, 4, 1, 3, 5)
        probabilities = self.trees.probabilities(self.features(tiles.reshape(-1, bands, size, size).numpy()))
        maps = probabilities.reshape(batch, rows, columns, -1).transpose(0, 3, 1, 2)
        return logits_of(maps).to(values.device)


class ByFeatures(Protocol):
    """What gives each pixel a class by features of its own."""

    def features(self, values: npt.NDArray[np.float32], core: Core | None) -> npt.NDArray[np.float32]:
        """Return features (feature, row, column) of bands (band, row, column), or of their core."""

    def probabilities(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (pixel, class) of features (pixel, feature)."""


def logits_by_features(net: ByFeatures, values: Tensor, core: Core | None = None) -> Tensor:
    """Return logits (batch, class, row, column): logarithms of the probabilities, of windows or their core."""
    maps = []
    for one in values.detach().float().cpu().numpy():
        features = net.features(one, core)
        probabilities = net.probabilities(features.reshape(len(features), -1).T)
        maps.append(probabilities.T.reshape(-1, *features.shape[1:]))
    return logits_of(np.stack(maps)).to(values.device)


def logits_of(probabilities: npt.NDArray[np.float32]) -> Tensor:
    """Return logarithms whose softmax is the probabilities."""
    return torch.from_numpy(np.log(np.maximum(probabilities, _LEAST_PROBABILITY)))
