"""The U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28): a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .intake import Intake
from .sight import Sight
from .unet_maps import UNetForMaps


class UNet(nn.Module):
    """
    Encoder and decoder with skips; (batch, band, row, column) in, logits (batch, class, row, column) out.

    Rows and columns must be multiples of `stride`. Batch norm looks at no window while mapping, so that windows with a halo
    give the same map as one pass. The full resolution, where a convolution costs most, has few and narrow ones; a 1×1
    convolution narrows what the decoder joins.

    Parameters
    ----------
    widths : sequence of int
        Channels at full resolution and after each halving.
    dropout : float
        Share of the deepest channels that are left out at random while training.
    """

    tile_size_px = None

    def __init__(
        self, intake: Intake, classes: int, *, widths: Sequence[int] = (16, 24, 32, 48), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.intake = intake
        self.stride = 2 ** (len(widths) - 1)
        self.sight = Sight(intake)
        # Pixel by pixel first, wide enough to tell thresholds apart; then with the neighbours.
        self.pixel = nn.Sequential(
            _convolution(self.sight.channels, 2 * widths[0], 1), _convolution(2 * widths[0], 2 * widths[0], 1)
        )
        self.stem = _convolution(2 * widths[0], widths[0], 3)
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(above, width, 3), _convolution(width, width, 3))
            for above, width in pairwise(widths)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(
            nn.Sequential(_convolution(below + width, width, 1), _convolution(width, width, 3))
            for width, below in zip(widths[-2::-1], widths[:0:-1])
        )
        self.head = nn.Conv2d(3 * widths[0], classes, 1)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits."""
        return self.body(self.intake(values, derived))

    def body(self, channels: Tensor) -> Tensor:
        """Return logits of scaled channels: all that is learnt."""
        alone = self.pixel(self.sight(channels).contiguous(memory_format=torch.channels_last))
        x = self.stem(alone)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(F.max_pool2d(x, 2))
        x = self.dropout(x)
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], dim=1))
        logits: Tensor = self.head(torch.cat([x, alone], dim=1))
        return logits

    def for_maps(self) -> nn.Module:
        """Return the same net as it maps; this one is used up."""
        return UNetForMaps(self)


def _convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
