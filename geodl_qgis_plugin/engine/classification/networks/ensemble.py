"""Several classifiers as one: the mean of their probabilities, weighted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """
    Members that do the same task, averaged; (batch, band, row, column) in, logits (batch, class, row, column) out.

    Parameters
    ----------
    members : sequence of modules
        Classifiers of the same bands, classes and tile size; each derives from the bands what it needs.
    weights : sequence of float, optional
        How much each member counts; all alike if not given.
    """

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        from ..prediction import receptive_halo_px  # noqa: PLC0415 - which knows nets, not the other way round

        given = [1.0] * len(members) if weights is None else [float(weight) for weight in weights]
        if not members or len(given) != len(members) or not all(0 <= w < math.inf for w in given) or sum(given) <= 0:
            raise ValueError("An ensemble needs members and a weight for each, none below 0.")
        sizes = {member.tile_size_px for member in members}
        if len(sizes) > 1:
            raise ValueError("The members of an ensemble must classify the same: pixels, or tiles of one size.")
        self.members = nn.ModuleList(members)
        self.weights = [weight / sum(given) for weight in given]
        self.tile_size_px = sizes.pop()
        self.stride = math.lcm(*(int(member.stride) for member in members))  # type: ignore[arg-type]
        self.halo_px = 0 if self.tile_size_px is not None else max(receptive_halo_px(member) for member in members)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits: logarithms of the mean probabilities. What was derived for one net is not used by the others."""
        total: Tensor | None = None
        for member, weight in zip(self.members, self.weights):
            if weight == 0:
                continue
            logits = member(values)
            if self.tile_size_px is not None:
                step = self.stride // int(member.stride)  # type: ignore[arg-type]
                logits = logits[:, :, ::step, ::step]
            shares = weight * torch.softmax(logits.float(), dim=1)
            total = shares if total is None else total + shares
        return torch.log(total.clamp_min(1e-8))  # type: ignore[union-attr]
