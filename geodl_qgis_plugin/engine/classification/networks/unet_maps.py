"""
The U-Net as it maps: the same function as `unet.UNet`, with less work and a third of the memory.

- What the decoder joins is convolved apart and added, what lies below before it is widened: a quarter of that work.
- The full resolution, which holds most of the memory, is worked out in strips of rows that fit the processor's cache. Only what
  is needed later is kept of a strip. So a window can be larger, and less of it is halo.
- Of the halo only that is worked out which the core's pixels see at each depth: most of it is seen by the first layers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .core import Core, Part
from .fused import FusedConvolution, fused
from .room import room_for

if TYPE_CHECKING:
    from .unet import UNet

# Of a window, half as many of numbers half as long: so what a pixel takes does not depend on the window's size.
_STRIPS = 64


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
        self.sight, self.pixel = net.sight, net.pixel
        self.down = nn.ModuleList(nn.ModuleList(_open(step[0]) for step in block) for block in net.down)  # type: ignore[attr-defined]
        self.stem = _open(net.stem[0])
        depths = reversed(range(len(net.up)))
        self.levels = nn.ModuleList(_Level(*block, depth) for block, depth in zip(net.up, depths))  # type: ignore[misc, call-arg]
        last: _Level = self.levels[-1]  # type: ignore[assignment]
        self.head, self.head_alone = _apart(net.head, last.convolution.out_channels, rectified=False)

    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits."""
        return self.body(self.intake(values, derived))

    def of_core(self, values: Tensor, core: Core) -> Tensor:
        """Return the logits of a window's core; see `logits_of_core`."""
        return self.body(self.intake(values), Part.of_core(core))

    def body(self, channels: Tensor, core: Part | None = None) -> Tensor:
        """Return logits of scaled channels, of the core or all of the window."""
        height, width = channels.shape[2:]
        core = core or Part(0, height, 0, width)
        seen, wanted, sizes = self._parts(core, height, width)
        alone, x, skips = self._encoded(channels, seen, wanted, sizes)
        levels: list[_Level] = list(self.levels)  # type: ignore[arg-type]
        for level, above in pairwise(levels):
            depth = len(skips) - 1
            room = _Room(wanted[depth], f"depth {depth}")
            for strip in level.strips(x, skips.pop(), wanted[depth], sizes[depth]):
                room.put(_Placed(above.lower(strip.values), strip.part))
            x = room.taken()
        logits = _Room(wanted[0])
        for strip in levels[-1].strips(x, skips.pop(), wanted[0], sizes[0]):
            logits.put(_Placed(self.head(strip.values, alone.of(strip.part)), strip.part))
        return logits.taken().of(core)

    def _encoded(
        self, channels: Tensor, seen: list[Part], wanted: list[Part], sizes: list[tuple[int, int]]
    ) -> tuple[_Placed, _Placed, list[_Placed]]:
        """Return what the head makes of each pixel alone, what the decoder begins with, and what is skipped at each depth."""

        def rooms(depth: int) -> tuple[_Room, _Room]:
            skipped = _Room(wanted[depth].grown(2, *sizes[depth]), f"skipped {depth}")
            return skipped, _Room(seen[depth + 1].grown(2, *sizes[depth + 1]), f"depth {depth + 1}")

        skipped, below = rooms(0)
        alone = self._beginning(channels, seen[0], wanted[0].grown(1, *sizes[0]), skipped, below)
        x, skips = below.taken(), [skipped.taken()]
        for depth, convolutions in enumerate(self.down[:-1], start=1):
            skipped, below = rooms(depth)
            for strip in _twice_convolved(convolutions, x, seen[depth], depth, sizes[depth]):
                _keep(strip, skipped, below)
            x = below.taken()
            skips.append(skipped.taken())
        deepest, lower = _Room(seen[-1], "deepest"), self.levels[0].lower
        for strip in _twice_convolved(self.down[-1], x, seen[-1], len(self.down), sizes[-1]):
            deepest.put(_Placed(lower(strip.values), strip.part))  # type: ignore[operator]
        return alone, deepest.taken(), skips

    def _parts(self, core: Part, height: int, width: int) -> tuple[list[Part], list[Part], list[tuple[int, int]]]:
        """
        Return what the encoder must give at each depth, what the decoder must, and how large all of a depth is.

        Ends are even where they are halved. A 3×3 convolution sees a pixel more than it gives, and the encoder has two.
        """
        depths = range(len(self.down) + 1)
        sizes = [(height >> depth, width >> depth) for depth in depths]
        wanted = [core.even()]
        for depth in depths[1:]:
            below = wanted[-1].grown(1, *sizes[depth - 1]).halved()
            wanted.append(below.even() if depth < len(self.down) else below)
        seen = [wanted[-1]]
        for depth in reversed(depths[:-1]):
            given = seen[0].grown(2, *sizes[depth + 1]).doubled()
            seen.insert(0, given.joined(wanted[depth].grown(2, *sizes[depth])))
        return seen, wanted, sizes

    def _beginning(self, channels: Tensor, seen: Part, around: Part, skipped: _Room, below: _Room) -> _Placed:
        """Work out the full resolution's features; return what the head makes of each pixel alone, ``around`` the core."""
        height, width = channels.shape[2:]
        whole, alone = _Placed(channels, Part(0, height, 0, width)), _Room(around, "alone")
        for rows in _strips(seen, 0, self.stem):
            near = rows.grown(1, height, width)
            given = self.sight(whole.of(near)).contiguous(memory_format=torch.channels_last)
            pixels = _Placed(self.pixel(given), near)
            if rows.shared(around) is not None:
                own = rows._replace(left=near.left, right=near.right)  # whole rows need not be copied
                alone.put(_Placed(self.head_alone(pixels.of(own)), own))
            _keep(_convolved(self.stem, pixels, (height, width)), skipped, below)
        return alone.taken()


class _Level(nn.Module):
    """What lies below, at half the resolution, joined by a 1×1 convolution with what was skipped; then a 3×3 convolution."""

    def __init__(self, join: nn.Sequential, convolution: nn.Sequential, depth: int) -> None:
        super().__init__()
        joining: FusedConvolution = join[0]  # type: ignore[assignment]
        below = joining.in_channels - joining.out_channels
        self.lower, self.upper = _apart(joining, below, rectified=joining.rectified)
        self.convolution, self._depth = _open(convolution[0]), depth

    def strips(self, lower: _Placed, skipped: _Placed, wanted: Part, size: tuple[int, int]) -> Iterator[_Placed]:
        """
        Yield the features strip by strip; rows may be a pixel longer than ``wanted``, to both sides.

        Parameters
        ----------
        lower : placed features
            What `lower` made of what lies below.
        """
        for rows in _strips(wanted, self._depth, self.convolution):
            near = rows.grown(2, *size)
            joined = _Placed(self.upper(skipped.of(near), _doubled(lower.of(near.halved()))), near)
            inner = rows.grown(1, *size)._replace(left=near.left, right=near.right)
            strip = _convolved(self.convolution, joined.inside(inner), size)
            yield strip.inside(rows.grown(1, *size)._replace(top=rows.top, bottom=rows.bottom))


class _Placed(NamedTuple):
    """Features (batch, channel, row, column) and the part of their depth that they are of."""

    values: Tensor
    part: Part

    def of(self, part: Part) -> Tensor:
        """Return those of a smaller part, in place."""
        rows, columns = part.within(self.part)
        return self.values[:, :, rows, columns]

    def inside(self, part: Part) -> _Placed:
        """Return those of a smaller part, in place, with their part."""
        return _Placed(self.of(part), part)


class _Room:
    """Features of a part, put together of strips that may reach beyond it."""

    def __init__(self, part: Part, name: str = "") -> None:
        self.part, self._name = part, name
        self._values: Tensor | None = None

    def put(self, strip: _Placed) -> None:
        """Put a strip in its place; the first one says which number type it is."""
        shared = strip.part.shared(self.part)
        if shared is None:
            return
        if self._values is None:
            batch, channels = strip.values.shape[:2]
            height, width = self.part.bottom - self.part.top, self.part.right - self.part.left
            self._values = room_for((batch, height, width, channels), strip.values, self._name).permute(0, 3, 1, 2)
        rows, columns = shared.within(self.part)
        self._values[:, :, rows, columns] = strip.of(shared)

    def taken(self) -> _Placed:
        """Return all of it."""
        if self._values is None:
            raise ValueError("Nothing was put here.")
        return _Placed(self._values, self.part)


def _twice_convolved(
    convolutions: nn.Module, x: _Placed, wanted: Part, depth: int, size: tuple[int, int]
) -> Iterator[_Placed]:
    """Yield what two 3×3 convolutions make of a depth's features, strip by strip."""
    first, second = convolutions.children()
    for rows in _strips(wanted, depth, first):
        yield _convolved(second, _convolved(first, x.inside(rows.grown(2, *size)), size), size)


def _keep(strip: _Placed, skipped: _Room, below: _Room) -> None:
    """Keep what the decoder sees of a strip, and of each two by two features the largest for what lies below."""
    skipped.put(strip)
    shared = strip.part.shared(below.part.doubled())
    if shared is not None:
        below.put(_Placed(F.max_pool2d(strip.of(shared), 2), shared.halved()))


def _strips(part: Part, depth: int, convolution: nn.Module) -> Iterator[Part]:
    """Yield strips that fit the processor's cache: fewer where there are fewer pixels, or shorter numbers."""
    size: int = convolution.weight.element_size()  # type: ignore[operator]
    number = max((_STRIPS * size // 4) >> (2 * depth), 1)
    rows = max((part.bottom - part.top) // number // 2 * 2, 8)
    for top in range(part.top, part.bottom, rows):
        yield part._replace(top=top, bottom=min(top + rows, part.bottom))


def _convolved(convolution: nn.Module, x: _Placed, size: tuple[int, int]) -> _Placed:
    """
    Return what a 3×3 convolution makes of a part: a pixel less to each side, but where all of a depth ends.

    Beyond its end lie zeros.
    """
    height, width = size
    part = x.part
    ends = (part.left == 0, part.right == width, part.top == 0, part.bottom == height)
    given = F.pad(x.values, [int(end) for end in ends]) if any(ends) else x.values
    left, right, top, bottom = (int(not end) for end in ends)
    smaller = Part(part.top + top, part.bottom - bottom, part.left + left, part.right - right)
    return _Placed(convolution(given), smaller)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _open(convolution: nn.Module) -> FusedConvolution:
    """Let a convolution of 3×3 pad nothing: what lies around is given with the part."""
    opened: FusedConvolution = convolution  # type: ignore[assignment]
    opened.padding = (0, 0)
    opened._reversed_padding_repeated_twice = [0, 0, 0, 0]
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
