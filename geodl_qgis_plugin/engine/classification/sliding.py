"""
Tile nets over whole rasters: the same classes as window by window, at a fraction of the work.

Where tiles start at multiples of the net's own stride, its unpadded convolutions run once over a strip and its head slides
along; otherwise tiles are read one by one, in batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..rasters.grid import Window
from ..rasters.stack import Stack

_LARGEST_VALUES = 24 * 2**20  # of a strip's predictors: bounds the memory of its activations
_TILES_AT_ONCE = 32


def slide(
    net: nn.Module, stack: Stack, area: Window, size: int, step: int, rows: int, columns: int
) -> Iterator[tuple[Window, npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
    """
    Classify the tiles that start every ``step`` pixels, in blocks.

    Yields
    ------
    place : Window
        Of tiles: rows and columns count tiles.
    probabilities : array (class, row, column)
    valid : array (row, column)
        Tiles at least half of whose pixels have a value in every band.
    """
    dense = step % int(net.stride) == 0 and step < size  # type: ignore[arg-type]
    across = columns if not dense else max(min(columns, (_side(stack) - size) // step + 1), 1)
    down = max(min(rows, (_side(stack) - size) // step + 1), 1) if dense else 1
    for row in range(0, rows, down):
        for column in range(0, columns, across):
            place = Window(row, column, min(down, rows - row), min(across, columns - column))
            yield (place, *(_dense if dense else _one_by_one)(net, stack, area, size, step, place))


def _side(stack: Stack) -> int:
    return int((_LARGEST_VALUES / 4 / max(len(stack.bands), 4)) ** 0.5)


@torch.inference_mode()
def _dense(
    net: nn.Module, stack: Stack, area: Window, size: int, step: int, place: Window
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    height, width = (place.height - 1) * step + size, (place.width - 1) * step + size
    values = stack.read(Window(area.row + place.row * step, area.column + place.column * step, height, width))
    valid = _valid(values, size, step)
    every = step // int(net.stride)  # type: ignore[arg-type]
    logits = net(torch.from_numpy(values)[None])[0, :, ::every, ::every]
    probabilities: npt.NDArray[np.float32] = torch.softmax(logits, dim=0).numpy()
    return probabilities[:, : place.height, : place.width], valid


@torch.inference_mode()
def _one_by_one(
    net: nn.Module, stack: Stack, area: Window, size: int, step: int, place: Window
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    parts, valid = [], []
    for start in range(0, place.width, _TILES_AT_ONCE):
        tiles = []
        for column in range(start, min(start + _TILES_AT_ONCE, place.width)):
            corner = (area.row + place.row * step, area.column + (place.column + column) * step)
            tiles.append(stack.read(Window(*corner, size, size)))
        batch = np.stack(tiles)
        valid.append(np.isfinite(batch).all(axis=1).mean(axis=(1, 2)) >= 0.5)
        parts.append(torch.softmax(net(torch.from_numpy(batch))[:, :, 0, 0], dim=1).numpy())
    return np.concatenate(parts).T[:, None, :], np.concatenate(valid)[None]


def _valid(values: npt.NDArray[np.float32], size: int, step: int) -> npt.NDArray[np.bool_]:
    """Return which tiles are at least half full, by sums over a table of running sums."""
    full = np.isfinite(values).all(axis=0)
    sums = np.zeros((full.shape[0] + 1, full.shape[1] + 1), np.int64)
    sums[1:, 1:] = full.cumsum(axis=0).cumsum(axis=1)
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    result: npt.NDArray[np.bool_] = inside[::step, ::step] * 2 >= size * size
    return result
