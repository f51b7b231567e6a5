"""
The U-Net as it maps: the same function as `unet.UNet`, with less work and a third of the memory.

- What the decoder joins is convolved apart and added, what lies below before it is widened: a quarter of that work.
- The full resolution, which holds most of the memory, is worked out in strips of rows that fit the processor's cache. Only what
  is needed later is kept of a strip. So a window can be larger, and less of it is halo.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .fused import FusedConvolution, fused

if TYPE_CHECKING:
    from .unet import UNet

_STRIPS = 32  # of a window: so what a pixel takes does not depend on the window's size


class UNetForMaps(nn.Module):
    """A U-Net with the weights of ``net``, for mapping only; takes and gives what that does."""

    tile_size_px = None
    # What reads a pixel's own values, and what weighs classes: in bfloat16 they would change 1.5 % of a trained net's classes,
    # without them 0.1 % change (docs/benchmarks.md).
    in_float32 = ("sight", "pixel", "head", "head_alone")

    def __init__(self, net: UNet) -> None:
        super().__init__()
        fused(net)
        self.intake, self.stride = net.intake, net.stride
        self.sight, self.pixel, self.down = net.sight, net.pixel, net.down
        self.stem = _open_above_and_below(net.stem[0])
        strips = [max(_STRIPS >> (2 * level), 1) for level in reversed(range(len(net.up)))]
        self.levels = nn.ModuleList(_Level(*block, number) for block, number in zip(net.up, strips))  # type: ignore[misc, call-arg]
        last: _Level = self.levels[-1]  # type: ignore[assignment]
        self.head, self.head_alone = _apart(net.head, last.convolution.out_channels, rectified=False)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits."""
        return self.body(self.intake(values, derived))

    def body(self, channels: Tensor) -> Tensor:
        """Return logits of scaled channels."""
        x, alone = self._beginning(channels)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(F.max_pool2d(x, 2))
        levels: list[_Level] = list(self.levels)  # type: ignore[arg-type]
        last = levels.pop()
        for level in levels:
            x = level.lower(x)
            x = level(x, skips.pop())
        x = last.lower(x)
        logits = _Whole(alone, alone.shape[1])
        for top, strip in last.strips(x, skips.pop()):
            logits.put(top, self.head(strip, alone[:, :, top : top + strip.shape[2]]))
        return logits.values

    def _beginning(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the full resolution's features, and what the head makes of each pixel alone."""
        height = channels.shape[2]
        features = _Whole(channels, self.stem.out_channels)
        alone = _Whole(channels, self.head_alone.out_channels)
        for top, bottom in _strips(height, _STRIPS):
            above, below = max(top - 1, 0), min(bottom + 1, height)
            seen = self.sight(channels[:, :, above:below]).contiguous(memory_format=torch.channels_last)
            x = self.pixel(seen)
            alone.put(top, self.head_alone(x[:, :, top - above : bottom - above]))
            features.put(top, self.stem(_with_edges(x, top == 0, bottom == height)))
        return features.values, alone.values


class _Level(nn.Module):
    """What lies below, at half the resolution, joined by a 1×1 convolution with what was skipped; then a 3×3 convolution."""

    def __init__(self, join: nn.Sequential, convolution: nn.Sequential, strips: int) -> None:
        super().__init__()
        joining: FusedConvolution = join[0]  # type: ignore[assignment]
        below = joining.in_channels - joining.out_channels
        self.lower, self.upper = _apart(joining, below, rectified=joining.rectified)
        self.convolution, self._strips = _open_above_and_below(convolution[0]), strips

    def forward(self, lower: Tensor, skipped: Tensor) -> Tensor:
        """Return the features of the whole window; ``lower`` is what `lower` made of what lies below."""
        result = _Whole(skipped, self.convolution.out_channels)
        for top, strip in self.strips(lower, skipped):
            result.put(top, strip)
        return result.values

    def strips(self, lower: Tensor, skipped: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the features strip by strip, each with the row that it begins at."""
        height = skipped.shape[2]
        for top, bottom in _strips(height, self._strips):
            above, below = max(top - 2, 0), min(bottom + 2, height)
            joined = self.upper(skipped[:, :, above:below], _doubled(lower[:, :, above // 2 : below // 2]))
            joined = joined[:, :, max(top - 1, 0) - above : min(bottom + 1, height) - above]
            yield top, self.convolution(_with_edges(joined, top == 0, bottom == height))


class _Whole:
    """Features of a whole window, put together of strips."""

    def __init__(self, like: Tensor, channels: int) -> None:
        self._like, self._channels = like, channels
        self.values = like

    def put(self, top: int, strip: Tensor) -> None:
        """Put a strip in its place; the first one says which number type it is."""
        if top == 0:
            batch, _, height, width = self._like.shape
            self.values = torch.empty(
                (batch, self._channels, height, width),
                dtype=strip.dtype,
                device=strip.device,
                memory_format=torch.channels_last,
            )
        self.values[:, :, top : top + strip.shape[2]] = strip


def _strips(height: int, number: int) -> Iterator[tuple[int, int]]:
    rows = max(height // number // 2 * 2, 8)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _with_edges(x: Tensor, first: bool, last: bool) -> Tensor:
    """Return a strip with a row of zeros where the window ends."""
    return F.pad(x, (0, 0, int(first), int(last))) if first or last else x


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _open_above_and_below(convolution: nn.Module) -> FusedConvolution:
    """Let a convolution of 3×3 pad the sides alone: rows above and below are given with the strip."""
    opened: FusedConvolution = convolution  # type: ignore[assignment]
    opened.padding = (0, opened.padding[1])  # type: ignore[assignment]
    opened._reversed_padding_repeated_twice = [1, 1, 0, 0]
    return opened


def _apart(convolution: nn.Conv2d, channels: int, *, rectified: bool) -> tuple[FusedConvolution, FusedConvolution]:
    """Return two 1×1 convolutions whose sum is the one given: of the first channels, without bias, and of the others."""
    outputs, others = convolution.out_channels, convolution.in_channels - channels
    first, second = nn.Conv2d(channels, outputs, 1, bias=False), nn.Conv2d(others, outputs, 1)
    with torch.no_grad():
        first.weight.copy_(convolution.weight[:, :channels])
        second.weight.copy_(convolution.weight[:, channels:])
        if second.bias is not None and convolution.bias is not None:
            second.bias.copy_(convolution.bias)
    return FusedConvolution(first, rectified=False), FusedConvolution(second, rectified=rectified)
