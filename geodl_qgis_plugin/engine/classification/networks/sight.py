"""What a pixel makes of its lines of sight: one small net for all eight directions, and the mean over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .intake import DIRECTIONS, Intake


class Sight(nn.Module):
    """
    Turn the horizons of the first layer into features that do not depend on where north is.

    Every direction is read with the same weights, from the ascents and descents of all its stretches, and what is read is
    averaged: a landform is told by in how many directions the ground rises and falls, not by which. With weights of its own for
    each direction a net needs many times the batches to find that out (docs/benchmarks.md).

    Input is (batch, channel, row, column) as the `Intake` gives it; in the output the horizons of each surface are replaced by
    ``width`` features.
    """

    def __init__(self, intake: Intake, width: int = 8) -> None:
        super().__init__()
        self.width, self.kept = width, len(intake.kept)
        self.surfaces, self.radii, self.stretches = len(intake.surfaces), len(intake.radii), len(intake.reaches)
        self.first = nn.Conv2d(2 * self.stretches, width, 1) if self.stretches else None
        self.second = nn.Conv2d(width, width, 1)
        seen = width if self.stretches else 0
        self.channels = self.kept + self.surfaces * (self.radii + seen)

    def forward(self, channels: Tensor) -> Tensor:
        """Return the channels with what was seen in place of the horizons."""
        if self.first is None or not self.surfaces:
            return channels
        batch, _, height, width = channels.shape
        directions, parts, start = len(DIRECTIONS), [channels[:, : self.kept]], self.kept
        horizons = 2 * self.stretches * directions
        for _ in range(self.surfaces):
            parts.append(channels[:, start : start + self.radii])
            start += self.radii
            # Directions lie next to each other for each ascent and descent: seen as more rows, they share the weights.
            lines = channels[:, start : start + horizons].reshape(batch, 2 * self.stretches, directions * height, width)
            read = F.relu(self.second(F.relu(self.first(lines))))
            parts.append(read.reshape(batch, self.width, directions, height, width).mean(dim=2))
            start += horizons
        return torch.cat(parts, dim=1)
