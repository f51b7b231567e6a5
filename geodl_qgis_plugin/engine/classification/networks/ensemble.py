"""Several classifiers as one: the mean of their probabilities, weighted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .core import Core, logits_of_core


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

        def of_member(member: nn.Module) -> Tensor:
            logits: Tensor = member(values)
            step = 1 if self.tile_size_px is None else self.stride // int(member.stride)  # type: ignore[arg-type]
            return logits[:, :, ::step, ::step]

        return self._mean(of_member)

    def of_core(self, values: Tensor, core: Core) -> Tensor:
        """Return the logits of a window's core; see `logits_of_core`. For members that classify pixels."""
        return self._mean(lambda member: logits_of_core(member, values, core))

    def _mean(self, logits_of: Callable[[nn.Module], Tensor]) -> Tensor:
        total: Tensor | None = None
        for member, weight in zip(self.members, self.weights):
            if weight:
                shares = weight * torch.softmax(logits_of(member).float(), dim=1)
                total = shares if total is None else total + shares
        return torch.log(total.clamp_min(1e-8))  # type: ignore[union-attr]
