"""Residual tile nets (He et al. 2016, doi:10.1109/CVPR.2016.90): one that slides, one for tiles of a few pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .intake import Intake

WIDTHS = (48, 96, 128)
STEM, DENSE = 32, 128
SMALLEST_SLIDING_PX = 16
_POOLED_FROM_PX, _LEAST_PX = 20, 5


class ResidualCNN(nn.Module):
    """
    A class for a tile; (batch, band, row, column) in, logits (batch, class, row, column) out.

    Convolutions are unpadded and shortcuts cropped to what they leave, so the net slides like the classic one: every `stride`
    pixels it gives what it gives the tile by itself. Filters are averaged over the tile, and their largest values taken.

    Parameters
    ----------
    tile_size_px : int
        Side of a tile, at least 16 pixels more than the first layer needs on both sides.
    dropout : float
        Share of what the dense layer sees, and of its own units, that is left out at random while training.
    """

    def __init__(self, intake: Intake, classes: int, *, tile_size_px: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.intake, self.tile_size_px = intake, tile_size_px
        self.stem = _convolution(intake.channels, STEM)
        size = tile_size_px - 2 * intake.halo_px - 2
        self.stem_pool = size >= _POOLED_FROM_PX
        size //= 2 if self.stem_pool else 1
        self.stride = 2 if self.stem_pool else 1
        self.blocks, self.pools = nn.ModuleList(), []
        before = STEM
        for width in WIDTHS:
            if size - 4 < 1:
                break
            self.blocks.append(_Block(before, width, padded=False))
            size, before = size - 4, width
            self.pools.append(size // 2 >= _LEAST_PX)
            if self.pools[-1]:
                size, self.stride = size // 2, self.stride * 2
        self.positions = size
        self.head = _Head(2 * before, classes, dropout)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits, (batch, class, 1, 1) for one tile."""
        halo = self.intake.halo_px
        channels = self.intake(values, derived)
        return self.body(channels[:, :, halo : channels.shape[2] - halo, halo : channels.shape[3] - halo])

    def body(self, channels: Tensor) -> Tensor:
        """Return logits of scaled channels: all that is learnt."""
        x = self.stem(channels)
        x = F.max_pool2d(x, 2) if self.stem_pool else x
        for block, pool in zip(self.blocks, self.pools):
            x = block(x)
            x = F.max_pool2d(x, 2) if pool else x
        seen = [F.avg_pool2d(x, self.positions, stride=1), F.max_pool2d(x, self.positions, stride=1)]
        logits: Tensor = self.head(torch.cat(seen, dim=1))
        return logits


class SmallTileNet(nn.Module):
    """
    A class for a tile of a few pixels; (batch, band, row, column) in, logits (batch, class, row, column) out.

    Convolutions are padded within the tile and nothing is pooled on the way; the head sees the mean, the largest and the middle
    of each filter. Given more than a tile, it returns the logits of the tiles that lie side by side in it: each is cut out
    before it is looked at, so none sees its neighbours.
    """

    def __init__(
        self, intake: Intake, classes: int, *, tile_size_px: int, width: int = 48, blocks: int = 2, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.intake, self.tile_size_px, self.stride = intake, tile_size_px, tile_size_px
        self.stem = _convolution(intake.channels, width, 1)
        self.blocks = nn.Sequential(*(_Block(width, width, padded=True) for _ in range(blocks)))
        self.head = _Head(3 * width, classes, dropout)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits, (batch, class, 1, 1) for one tile."""
        size = self.tile_size_px
        batch, bands, height, width = values.shape
        rows, columns = height // size, width // size
        tiles = values[..., : rows * size, : columns * size].reshape(batch, bands, rows, size, columns, size)
        logits = self.body(self.intake(tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, bands, size, size)))
        return logits.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)

    def body(self, channels: Tensor) -> Tensor:
        """Return logits (tile, class, 1, 1) of scaled channels: all that is learnt."""
        x = self.blocks(self.stem(channels))
        first, last = (self.tile_size_px - 1) // 2, self.tile_size_px // 2 + 1
        middle = x[:, :, first:last, first:last]
        logits: Tensor = self.head(torch.cat([_mean(x), x.amax(dim=(2, 3), keepdim=True), _mean(middle)], dim=1))
        return logits


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut; unpadded ones leave two pixels less on each side."""

    def __init__(self, inputs: int, outputs: int, *, padded: bool) -> None:
        super().__init__()
        self.crop = 0 if padded else 2
        self.first = _convolution(inputs, outputs, padding=int(padded))
        self.second = _convolution(outputs, outputs, padding=int(padded), active=False)
        self.shortcut = nn.Identity() if inputs == outputs else _convolution(inputs, outputs, 1, active=False)

    def forward(self, x: Tensor) -> Tensor:
        crop = self.crop
        kept = x[:, :, crop : x.shape[2] - crop, crop : x.shape[3] - crop]
        return F.relu(self.second(self.first(x)) + self.shortcut(kept))


class _Head(nn.Sequential):
    """From features to logits, position by position."""

    def __init__(self, features: int, classes: int, dropout: float) -> None:
        super().__init__(
            nn.Dropout(dropout),
            nn.Conv2d(features, DENSE, 1),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(DENSE, classes, 1),
        )


def _convolution(inputs: int, outputs: int, size: int = 3, *, padding: int = 0, active: bool = True) -> nn.Sequential:
    parts = [nn.Conv2d(inputs, outputs, size, padding=padding, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if active else []))


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)
