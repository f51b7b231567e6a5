"""Which tiles an epoch shows: each once, or those with rare classes more often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..training_data.tile_set import TileSet


def tile_shares(
    tile_set: TileSet, tiles: npt.NDArray[np.int64], balance: float, *, per_pixel: bool
) -> npt.NDArray[np.float64] | None:
    """
    Return how often each tile is drawn, adding up to 1; None where each is shown once.

    Parameters
    ----------
    balance : float
        0 shows each tile once an epoch. With 1 tiles are drawn so that, of tiles with a class each, every class is shown as
        often; a tile of labelled pixels is drawn as its rarest classes would be, each for as much of the tile as it takes.
    """
    if balance == 0:
        return None
    if per_pixel:
        counts = np.array([_counts(tile_set, int(index)) for index in tiles])
        parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    else:
        codes = np.array([one.code for one in tile_set.classes])
        parts = (tile_set.tiles["code"][tiles][:, None] == codes).astype(np.float64)
    whole = parts.mean(axis=0)
    weights = np.zeros_like(whole)
    weights[whole > 0] = whole[whole > 0] ** -balance
    shares: npt.NDArray[np.float64] = parts @ weights
    shares /= shares.sum()
    return shares


def _counts(tile_set: TileSet, index: int) -> npt.NDArray[np.int64]:
    """Return the labelled pixels of each class in a tile."""
    _, labels = tile_set.read([index])
    counts = np.bincount(labels.ravel(), minlength=65536)
    return counts[[one.code for one in tile_set.classes]]
