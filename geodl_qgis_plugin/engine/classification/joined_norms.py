"""Batch norms that look at a whole batch, of which each process of a training job has a part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..ranks import Ranks


def join_norms(net: nn.Module, ranks: Ranks) -> None:
    """Let a net's batch norms look at all processes' tiles; its weights, buffers and their names stay."""
    if ranks.size == 1:
        return
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JoinedBatchNorm2d
            module.ranks = ranks  # type: ignore[assignment]


class JoinedBatchNorm2d(nn.BatchNorm2d):
    """
    A batch norm over the tiles of all processes: what one process with the whole batch would do.

    torch's own `SyncBatchNorm` works on CUDA only.
    """

    ranks: Ranks

    def forward(self, values: Tensor) -> Tensor:
        """Normalise (batch, channel, row, column)."""
        if not self.training:
            return super().forward(values)
        channels, sums = values.shape[1], torch.float64
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        count = wide.new_tensor([float(values.numel() // channels)], dtype=sums)
        told: Tensor = _SumOverRanks.apply(  # type: ignore[no-untyped-call]
            torch.cat([wide.sum((0, 2, 3), dtype=sums), wide.square().sum((0, 2, 3), dtype=sums), count]), self.ranks
        )
        total = told[-1].detach()
        middle = told[:channels] / total
        variance = (told[channels:-1] / total - middle.square()).clamp_min(0.0).to(wide.dtype)
        mean, total = middle.to(wide.dtype), total.to(wide.dtype)
        with torch.no_grad():
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum  # type: ignore[arg-type]
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * total / (total - 1).clamp_min(1.0), share)
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = (1, channels, 1, 1)
        normalised: Tensor = wide * scale.view(shape) + shift.view(shape)
        return normalised.to(values.dtype)


class _SumOverRanks(torch.autograd.Function):
    """Sum over all processes; the gradient of a sum that all use is the sum of the gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor, ranks: Ranks) -> Tensor:
        context.ranks = ranks
        return ranks.sum_tensor(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        found: Tensor = context.ranks.sum_tensor(gradient)
        return found, None
