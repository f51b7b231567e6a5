"""The classic CNN: three 3×3 convolutions with 32, 64 and 128 filters, each pooled; dense 128; a class for each tile."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .intake import Intake

FILTERS = (32, 64, 128)
DENSE = 128


class ClassicCNN(nn.Module):
    """
    A class for a tile; (batch, band, row, column) in, logits (batch, class, row, column) out.

    Convolutions are unpadded, so the net slides: given more than one tile it returns the logits of the tiles that start at
    every `stride` pixels, the same as window by window: what the first layer derives near an edge, where it sees less, is cut
    off. With the dense head and 128×128 tiles of one band and ten classes it has 3,305,354 weights.

    Parameters
    ----------
    tile_size_px : int
        Side of a tile; at least 22 pixels.
    pooled : bool
        Average each filter over the tile before the dense layer, instead of giving every position weights of its own: 32 times
        fewer weights, and the better net where training tiles are few.
    dropout : float
        Share of the dense layer's units that are left out at random while training.
    """

    stride = 2 ** len(FILTERS)

    def __init__(
        self, intake: Intake, classes: int, *, tile_size_px: int, pooled: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.intake, self.tile_size_px, self.pooled = intake, tile_size_px, pooled
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3) for inputs, outputs in zip((intake.channels, *FILTERS), FILTERS)
        )
        self.positions = positions(tile_size_px - 2 * intake.halo_px)
        self.dense = nn.Conv2d(FILTERS[-1], DENSE, 1 if pooled else self.positions)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(DENSE, classes, 1)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits, (batch, class, 1, 1) for one tile."""
        halo = self.intake.halo_px
        channels = self.intake(values, derived)
        return self.body(channels[:, :, halo : channels.shape[2] - halo, halo : channels.shape[3] - halo])

    def body(self, channels: Tensor) -> Tensor:
        """Return logits of scaled channels: all that is learnt."""
        x = channels
        for convolution in self.convolutions:
            x = F.relu(F.max_pool2d(convolution(x), 2))  # the same as the other way round, on a quarter of the values
        if self.pooled:
            x = F.avg_pool2d(x, self.positions, stride=1)
        logits: Tensor = self.head(self.dropout(F.relu(self.dense(x))))
        return logits


def positions(tile_size_px: int) -> int:
    """Return how many positions a side are left of a tile after the three convolutions and poolings."""
    left = tile_size_px
    for _ in FILTERS:
        left = (left - 2) // 2
    return left
