"""A classifier that is asked in every orientation that its bands allow, and answers with the mean: slower, and often better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..bands import Band
from .augmentation import allowed_symmetries, turn_back, turn_tile
from .classifier import Classifier


class Turned(nn.Module):
    """
    The mean of a net's probabilities over turns and mirrorings; (batch, band, row, column) in, logits out.

    What it gives turns with the ground, as landforms do. Windows that begin and end at multiples of the net's stride still do
    so when they are turned, so a map from windows stays that of one pass.

    Parameters
    ----------
    bands : sequence of Band
        What may be turned, and how: `augmentation.allowed_symmetries`.
    """

    def __init__(self, net: nn.Module, bands: Sequence[Band]) -> None:
        super().__init__()
        self.net, self.bands = net, list(bands)
        self.symmetries = allowed_symmetries(bands)
        self.stride, self.tile_size_px = net.stride, net.tile_size_px

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits; what was derived before is derived anew, since it depends on where north is."""
        tiles = values.detach().cpu().numpy()
        total: Tensor | float = 0.0
        for symmetry in self.symmetries:
            turned = np.stack([turn_tile(tile, self.bands, symmetry) for tile in tiles])
            shares = torch.softmax(self.net(torch.from_numpy(turned).to(values.device)).float(), dim=1)
            back = np.ascontiguousarray(turn_back(shares.cpu().numpy(), symmetry))
            total = total + torch.from_numpy(back)
        return torch.log((total / len(self.symmetries)).clamp_min(1e-8)).to(values.device)  # type: ignore[union-attr]


def turned(model: Classifier) -> Classifier:
    """Return the same classifier, asked in every orientation."""
    return replace(model, net=Turned(model.net, model.bands))
