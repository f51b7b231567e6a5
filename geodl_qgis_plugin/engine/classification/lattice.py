"""
How a raster is parted into windows that are all of one size, with the least work.

Windows overlap by as much as a net sees to both sides. At the raster's edge there is nothing to see, so the cores there are
larger and the windows are not smaller: a net that always gets one size takes the memory that it took before, and the processor
need not fault it in again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..rasters.grid import Window
from .prediction import up_to_multiple


class Side(NamedTuple):
    """Windows along one side of a raster: their length, where each begins, and where its core begins and ends."""

    length: int
    starts: tuple[int, ...]
    cores: tuple[tuple[int, int], ...]


def lattice(area: Window, height: int, width: int, halo_px: int, stride: int, most_px: int) -> tuple[Side, Side]:
    """
    Return the windows along columns and along rows for an area of a raster of ``height`` times ``width``.

    A window has ``most_px`` pixels at most, unless one with a core of a single stride has more.
    """
    best: tuple[Side, Side] | None = None
    least = math.inf
    count = 1
    while True:
        across = _side(area.column, area.width, width, halo_px, stride, count)
        down = _fewest(area.row, area.height, height, halo_px, stride, most_px // across.length)
        work = down.length * len(down.starts) * across.length * len(across.starts)
        if down.length * across.length <= most_px and work < least:
            best, least = (down, across), work
        if across.length <= up_to_multiple(2 * halo_px, stride) + stride or len(across.starts) < count:
            return best or (down, across)
        count += 1


def _fewest(start: int, length: int, limit: int, halo_px: int, stride: int, most: int) -> Side:
    """Return as few windows as are no longer than ``most``, or the shortest that there are."""
    overlap = up_to_multiple(2 * halo_px, stride)
    first, last = _region(start, length, limit, halo_px, stride)
    gain = max(most // stride * stride - overlap, stride)
    count = max(-(-(last - first - overlap) // gain), 1)
    if last - first <= most:
        count = 1
    return _side(start, length, limit, halo_px, stride, count)


def _side(start: int, length: int, limit: int, halo_px: int, stride: int, count: int) -> Side:
    """Return about ``count`` windows of one length that cover what is seen of an area; fewer where these reach farther."""
    overlap = up_to_multiple(2 * halo_px, stride)
    first, last = _region(start, length, limit, halo_px, stride)
    window = min(up_to_multiple(-(-(last - first + overlap * (count - 1)) // count), stride), last - first)
    step = max(window - overlap, stride)
    begins: list[int] = []
    cores: list[tuple[int, int]] = []
    done = start
    while done < start + length:
        begin = min(first + len(begins) * step, last - window)
        end = begin + window - (overlap - overlap // 2)
        if begin + window >= last or end >= start + length:
            end = start + length
        begins.append(begin)
        cores.append((done, end))
        done = end
    return Side(window, tuple(begins), tuple(cores))


def _region(start: int, length: int, limit: int, halo_px: int, stride: int) -> tuple[int, int]:
    """Return where what is seen of an area begins and ends, in whole strides; the raster ends at the next one."""
    first = max((start - halo_px) // stride * stride, 0)
    last = min(up_to_multiple(start + length + halo_px, stride), up_to_multiple(limit, stride))
    return first, last
