"""
Exact maps from windows: a window is read with a halo as wide as the net sees and cropped to its core.

Origins lie on multiples of the net's total stride, so the map is the same as one pass over the whole raster, which is thought
of as ending at the next multiple of the stride, with nodata beyond its edge.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..rasters.grid import Window
from .devices import device_of
from .networks.fused import for_maps, halved


class Reading(NamedTuple):
    """What is read and what of it is written: ``outer`` may reach beyond the raster, where there is no data."""

    outer: Window
    core: Window


def readings(height: int, width: int, core_px: int, halo_px: int, stride: int) -> Iterator[Reading]:
    """
    Yield windows whose cores tile a raster, row by row.

    Parameters
    ----------
    core_px : int
        Side of the cores; a multiple of ``stride``. Those at the lower and right edge are smaller.
    """
    halo = up_to_multiple(halo_px, stride)
    bottom, right = up_to_multiple(height, stride), up_to_multiple(width, stride)
    for row in range(0, height, core_px):
        for column in range(0, width, core_px):
            core = Window(row, column, min(core_px, height - row), min(core_px, width - column))
            whole = Window(row, column, min(core_px, bottom - row), min(core_px, right - column))
            yield Reading(whole.grown(halo, bottom, right), core)


def reading_of(core: Window, height: int, width: int, halo_px: int, stride: int) -> Reading:
    """Return how one window, wherever it lies, is read."""
    row, column = core.row // stride * stride, core.column // stride * stride
    whole = Window(
        row,
        column,
        up_to_multiple(core.row + core.height, stride) - row,
        up_to_multiple(core.column + core.width, stride) - column,
    )
    halo = up_to_multiple(halo_px, stride)
    return Reading(whole.grown(halo, up_to_multiple(height, stride), up_to_multiple(width, stride)), core)


def up_to_multiple(length: int, stride: int) -> int:
    """Return the smallest multiple of ``stride`` that is not less than ``length``."""
    return -(-length // stride) * stride


def padded(values: npt.NDArray[np.float32], inside: Window, outer: Window) -> npt.NDArray[np.float32]:
    """Put values (band, row, column) of the window ``inside`` into those of ``outer``; NaN beyond."""
    if inside == outer:
        return values
    result = np.full((values.shape[0], outer.height, outer.width), np.nan, np.float32)
    row, column = inside.row - outer.row, inside.column - outer.column
    result[:, row : row + inside.height, column : column + inside.width] = values
    return result


@torch.inference_mode()
def probabilities_of(
    net: nn.Module,
    values: npt.NDArray[np.float32],
    reading: Reading,
    derived: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """
    Return the classes' probabilities (class, row, column) in the core of a window.

    Parameters
    ----------
    values : array (band, row, column)
        Of ``reading.outer``.
    derived : array (channel, row, column), optional
        What the first layer derives from surfaces there, where it was made before.
    """
    device = device_of(net)
    beside = None if derived is None else torch.from_numpy(derived)[None].to(device)
    logits: Tensor = net(torch.from_numpy(values)[None].to(device), beside)
    row, column = reading.core.row - reading.outer.row, reading.core.column - reading.outer.column
    core = logits[0, :, row : row + reading.core.height, column : column + reading.core.width]
    result: npt.NDArray[np.float32] = torch.softmax(core.float(), dim=0).cpu().numpy()
    return result


def receptive_halo_px(net: nn.Module) -> int:
    """
    Return how far beyond a pixel a pixel net sees: what it says itself (``halo_px``), or else by trying it.

    All learnt weights are made positive, so that nothing cancels, and a single line is lit: what lights up in the output has
    seen it. Lines on every place within a stride are tried, along rows and along columns; the first layer's own halo is added.
    """
    told = getattr(net, "halo_px", None)
    if told is not None:
        return int(told)
    probe = copy.deepcopy(net).double().eval()
    for module in probe.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.fill_(1.0 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()  # type: ignore[union-attr]
            module.running_var.fill_(1.0)  # type: ignore[union-attr]
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
    stride, channels = int(probe.stride), int(probe.intake.channels)  # type: ignore[arg-type, union-attr]
    length = 64 * stride
    while True:
        halo = max(_reach(probe, channels, stride, length, along) for along in (2, 3))
        if halo < length // 2 - 2 * stride:
            return halo + int(probe.intake.halo_px)  # type: ignore[arg-type, union-attr]
        length *= 2


@torch.inference_mode()
def _reach(probe: nn.Module, channels: int, stride: int, length: int, along: int) -> int:
    middle, farthest = length // 2, 0
    for offset in range(stride):
        shape = [1, channels, stride, stride]
        shape[along] = length
        lit = torch.zeros(shape, dtype=torch.float64)
        lit.narrow(along, middle + offset, 1).fill_(1.0)
        seen = probe.body(lit)[0].sum(0).sum(1 if along == 2 else 0).nonzero().flatten()  # type: ignore[operator]
        farthest = max(farthest, int(seen.max()) - middle - offset, middle + offset - int(seen.min()))
    return farthest


def ready_for_maps(net: nn.Module, *, fast: bool = False) -> nn.Module:
    """
    Return a copy for prediction: norms and rectifiers fused with the convolutions before them, memory laid out for the CPU.

    ``fast`` lets convolutions compute in bfloat16: half the time where the processor has it, and a few pixels in a thousand
    get another class.
    """
    copied = for_maps(copy.deepcopy(net).eval()).eval()
    if fast:
        halved(copied)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
