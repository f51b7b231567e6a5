"""
The first layer of every net: physical values in, scaled channels out, nodata masked; nothing in it is learnt.

Absolute elevation does not transfer from one region to another, and taking off each window's own mean would make a map from
windows differ from a map in one pass. Two fixed transforms of a surface do neither:

- the local high-pass, a value minus the mean of the valid values within r pixels, for a few r;
- horizons, the steepest ascent and descent along a line of sight in eight directions, near and far: what openness
  (Yokoyama et al. 2002) and geomorphons (Jasiewicz & Stepinski 2013, doi:10.1016/j.geomorph.2012.11.005) are made of.
  Convolutions learn a maximum along a line slowly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..augmentation import Symmetry, turn

# clockwise from north: (row, column)
DIRECTIONS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


class Intake(nn.Module):
    """
    Scale bands and put local high-passes and horizons beside or instead of them.

    Input is (batch, band, row, column) in physical units with NaN for nodata; output is (batch, channel, row, column): first
    the kept bands, then for each surface its high-passes by radius and its horizons by reach (eight ascents, eight descents).

    Parameters
    ----------
    bands : int
        Number of bands.
    kept : sequence of int
        Bands whose values themselves are passed on.
    surfaces : sequence of int
        Bands that are passed on as high-passes and horizons.
    radii : sequence of int
        Of the high-passes' square windows, pixels.
    reaches : sequence of int
        Where the lines of sight end, pixels: each begins where the one before it ends.
    """

    offset: Tensor
    scale: Tensor
    derived_scale: Tensor

    def __init__(
        self,
        bands: int,
        kept: Sequence[int],
        surfaces: Sequence[int] = (),
        radii: Sequence[int] = (),
        reaches: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.kept, self.surfaces = list(kept), list(surfaces)
        self.radii, self.reaches = list(radii), sorted(reaches)
        derived = len(self.surfaces) * (len(self.radii) + 2 * len(DIRECTIONS) * len(self.reaches))
        self.channels = len(self.kept) + derived
        self.halo_px = max([*self.radii, *self.reaches], default=0) if self.surfaces else 0
        self.register_buffer("offset", torch.zeros(bands))
        self.register_buffer("scale", torch.ones(bands))
        self.register_buffer("derived_scale", torch.ones(derived))

    @torch.no_grad()
    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return the scaled channels; nodata is 0, the middle of each channel's values; ``derived`` may be made before."""
        if not self.surfaces:  # the same in fewer passes over the values
            some = values if self.kept == list(range(values.shape[1])) else values[:, self.kept]
            offset, scale = self.offset[self.kept].view(1, -1, 1, 1), self.scale[self.kept].view(1, -1, 1, 1)
            return torch.nan_to_num((some - offset) / scale, nan=0.0, posinf=0.0, neginf=0.0)
        valid = torch.isfinite(values)
        # Values first lose their mean: sums over a window keep their precision in float32.
        centred = torch.where(valid, values - self.offset.view(1, -1, 1, 1), 0.0)
        parts = [centred[:, self.kept] / self.scale[self.kept].view(1, -1, 1, 1)] if self.kept else []
        if derived is not None:
            parts.append(derived)
        elif self.surfaces:
            parts.append(self._derived(centred, valid) / self.derived_scale.view(1, -1, 1, 1))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def derive(self, values: Tensor) -> Tensor:
        """Return the scaled channels that are derived from surfaces, (batch, channel, row, column)."""
        channels: Tensor = self(values)
        return channels[:, len(self.kept) :]

    def turned(self, derived: npt.NDArray[np.float32], symmetry: Symmetry) -> npt.NDArray[np.float32]:
        """Turn derived channels (channel, row, column): lines of sight take each other's places."""
        order: list[int] = []
        start, count = 0, len(DIRECTIONS)
        # where the direction that now points to d came from: a mirroring undone, then the quarter turns
        sources = [((-d if symmetry.mirrored else d) + 2 * symmetry.quarter_turns) % count for d in range(count)]
        for _ in self.surfaces:
            order += range(start, start + len(self.radii))
            start += len(self.radii)
            for _ in range(2 * len(self.reaches)):
                order += [start + source for source in sources]
                start += count
        return turn(derived[order], symmetry)

    @torch.no_grad()
    def measure(self, values: Tensor) -> None:
        """
        Set the scale of the derived channels from training tiles (tile, band, row, column): their spread without the tails.

        The ascents and descents of one reach share a scale, so that turning a tile leaves them alike.
        """
        if not self.surfaces:
            return
        valid = torch.isfinite(values)
        centred = torch.where(valid, values - self.offset.view(1, -1, 1, 1), 0.0)
        derived, start, sight = self._derived(centred, valid), 0, 2 * len(DIRECTIONS)
        for surface in self.surfaces:
            known = valid[:, surface]
            for width in [1] * len(self.radii) + [sight] * len(self.reaches):
                channels = derived[:, start : start + width]
                self.derived_scale[start : start + width] = _spread(channels.movedim(1, -1)[known])
                start += width

    def _derived(self, centred: Tensor, valid: Tensor) -> Tensor:
        parts = []
        for surface in self.surfaces:
            some, known = centred[:, surface, None], valid[:, surface, None]
            known_share = known.to(some.dtype)
            parts += [(some - local_mean(some, known_share, radius)) * known_share for radius in self.radii]
            parts += horizons(torch.where(known, some, torch.nan), self.reaches)
        return torch.cat(parts, dim=1)


def local_mean(values: Tensor, known: Tensor, radius: int) -> Tensor:
    """
    Return the mean of the known values within ``radius`` pixels (a square window).

    ``values`` must be 0 where ``known`` is 0. At the raster's edge only what lies inside counts, so windows that overlap by the
    radius agree with one pass over the whole.
    """
    size = 2 * radius + 1
    both = torch.cat([values, known], dim=1)
    across = F.avg_pool2d(both, (1, size), stride=1, padding=(0, radius))
    total = F.avg_pool2d(across, (size, 1), stride=1, padding=(radius, 0))
    amount, share = total.split(values.shape[1], dim=1)
    mean: Tensor = amount / share.clamp_min(0.5 / size**2)
    return mean


def horizons(surface: Tensor, reaches: Sequence[int]) -> list[Tensor]:
    """
    Return the steepest ascents and descents in eight directions, within each stretch of the line of sight.

    Parameters
    ----------
    surface : tensor (batch, 1, row, column)
        NaN where there is no value: sight passes over it.
    reaches : sequence of int
        Distances at which the stretches end, in pixels, ascending; the first begins at the pixel itself.

    Returns
    -------
    list of tensors (batch, 8, row, column)
        For each stretch the ascents, then the descents, in units of the surface a pixel; 0 where nothing is in sight.
    """
    if not reaches:
        return []
    reach, (height, width) = reaches[-1], surface.shape[-2:]
    padded = F.pad(surface, (reach, reach, reach, reach), value=torch.nan)
    parts = []
    for start, end in zip((0, *reaches), reaches):
        ascents = surface.new_empty((surface.shape[0], len(DIRECTIONS), height, width))
        descents = torch.empty_like(ascents)
        for number, (down, right) in enumerate(DIRECTIONS):
            length = (down**2 + right**2) ** 0.5
            highest = lowest = torch.full_like(surface, torch.nan)
            for step in sight_steps(start, end, length):
                top, left = reach + down * step, reach + right * step
                slope = (padded[..., top : top + height, left : left + width] - surface) / (step * length)
                highest, lowest = torch.fmax(highest, slope), torch.fmin(lowest, slope)
            ascents[:, number], descents[:, number] = highest[:, 0], lowest[:, 0]
        parts += [ascents.nan_to_num_(0.0), descents.nan_to_num_(0.0)]
    return parts


def sight_steps(start: int, end: int, length: float) -> list[int]:
    """
    Return the steps, each ``length`` pixels long, at which a line is sampled beyond ``start`` and up to ``end`` pixels.

    Every one up to 16, then steps that grow by a sixteenth; at least one, so that a short stretch has a diagonal too.
    """
    steps, step = [], 1
    while step * length <= end:
        if step * length > start:
            steps.append(step)
        step += max(step // 16, 1)
    return steps or [max(int(end / length), 1)]


def _spread(sample: Tensor) -> float:
    sample = sample.flatten()
    if sample.numel() < 2:
        return 1.0
    sample = sample[:: max(sample.numel() // 1_000_000, 1)].float()
    low, high = torch.quantile(sample, 0.01), torch.quantile(sample, 0.99)
    spread = float(sample.clamp(low, high).std())
    return spread if spread > 0 else 1.0
