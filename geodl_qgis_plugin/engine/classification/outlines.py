"""
Outlines of patches of pixels, of many at once: from corners to rings, and to polygons as a GeoPackage stores them.

A corner lies in one of the four quarters round a vertex: a patch has that pixel and neither neighbour (convex), or lacks it and
has all three others (reflex). Along each row of vertices a patch's corners pair up to horizontal sides, along each column to
vertical ones; to go along one and the other in turn follows a ring. Where a patch touches itself at a vertex, rings part, so
that polygons are valid. They are those of GDAL's Polygonize, with which tests compare them, in a third of its time.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, depth_first_order

from ..rasters.grid import Grid

# quarters round a vertex, north-west first; the neighbours of quarter q are q ^ 1 and q ^ 2, the one across is q ^ 3
_QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # as row and column
_REFLEX = 4  # kinds of corners are 0 to 3 where they are convex, by quarter, and 4 to 7 where they are reflex
# going round with the patch on the left, whether a ring leaves a corner along its horizontal side
_LEAVES_HORIZONTALLY = np.array([False, True, True, False, True, False, False, True])
_EAST = np.array([False, True, False, True] + [False] * 4)
_SOUTH = np.array([False, False, True, True] + [False] * 4)
_POLYGON = 3  # in WKB


class Corners(NamedTuple):
    """Corners of patches: to which patch each belongs, its vertex, and its kind."""

    patch: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]

    def of(self, which: npt.NDArray[Any] | slice) -> Corners:
        """Return some of them."""
        return Corners(self.patch[which], self.row[which], self.column[which], self.kind[which])


class Rings(NamedTuple):
    """Rings of patches, patch by patch, the outer one first."""

    row: npt.NDArray[np.int32]  # of each point; a ring's first one is not repeated
    column: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]  # points of each ring
    first: npt.NDArray[np.int64]  # outer ring of each patch
    patch: npt.NDArray[np.int32]


def corners_of(
    codes: npt.NDArray[Any],
    changes: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    patch: npt.NDArray[np.int32],
    first_row: int,
) -> Corners:
    """
    Return the corners at the vertices between the rows of a strip.

    Parameters
    ----------
    codes : array, (row, column)
        With a column of nodata, 0, at either side.
    changes : array of bool, (row, column)
        Where a pixel differs from the one to its left.
    starts, patch : array
        Place where each run starts, and its patch.
    first_row : int
        Row of the first vertices.
    """
    width, flat = codes.shape[1], codes.ravel()
    below = codes[1:] != codes[:-1]
    corner = changes[:-1, 1:] | changes[1:, 1:]
    corner &= below[:, :-1] | below[:, 1:]
    row, column = np.divmod(np.flatnonzero(corner), width - 1)
    place = row * width + column  # of the pixel to the north-west
    row, column = (row + first_row).astype(np.int32), column.astype(np.int32)
    code = [flat[place + down * width + right] for down, right in _QUARTERS]
    north, south = (np.searchsorted(starts, place + down * width, side="right") - 1 for down in (0, 1))
    run = [north, north + (code[0] != code[1]), south, south + (code[2] != code[3])]
    found = []
    for quarter in range(4):
        own, beside, under, across = (code[quarter ^ other] for other in range(4))
        convex = (own != beside) & (own != under) & (own > 0)
        reflex = (across == beside) & (across == under) & (across != own) & (across > 0)
        for corners, kind, owner in ((convex, quarter, quarter), (reflex, quarter + _REFLEX, quarter ^ 3)):
            at = np.flatnonzero(corners)
            found.append(Corners(patch[run[owner][at]], row[at], column[at], np.full(len(at), kind, np.int8)))
    return joined(found)


def joined(parts: list[Corners]) -> Corners:
    """Return the corners of all parts, of which there is one at least."""
    return Corners(*(np.concatenate(each) for each in zip(*parts)))


def rings_of(corners: Corners) -> Rings:
    """Return the rings of patches whose corners are all there, a patch at least."""
    corners = corners.of(np.lexsort((_EAST[corners.kind], corners.column, corners.row, corners.patch)))
    patch, row, column, kind = corners
    count = len(patch)
    index = np.arange(count, dtype=np.int32)
    # where a patch has two corners at one vertex, each takes the other's vertical side
    same = (patch[1:] == patch[:-1]) & (row[1:] == row[:-1]) & (column[1:] == column[:-1])
    twice = np.append(False, same) | np.append(same, False)
    vertical = np.lexsort((_SOUTH[kind] ^ twice, row, column, patch))
    partner = np.empty(count, np.int32)
    partner[vertical[0::2]], partner[vertical[1::2]] = vertical[1::2], vertical[0::2]
    following = np.where(_LEAVES_HORIZONTALLY[kind], index ^ 1, partner)

    _, ring = connected_components(_links(following), directed=False)
    # a patch's first corner lies on its outer ring, so by their first corners the rings are in order
    heads = np.sort(np.unique(ring, return_index=True)[1])
    before = np.empty(count, np.int32)
    before[following] = index
    ends = before[heads]
    following[ends] = np.append(heads[1:], heads[-1])  # all rings as one chain, which is followed at once
    order = depth_first_order(_links(following), heads[0], return_predecessors=False)
    first = np.flatnonzero(np.diff(patch[heads], prepend=-1))
    return Rings(row[order], column[order], np.bincount(ring)[ring[heads]], first, patch[heads[first]])


def _links(following: npt.NDArray[np.int32]) -> csr_matrix:
    count = len(following)
    return csr_matrix((np.ones(count, np.int8), following, np.arange(count + 1, dtype=np.int32)), shape=(count, count))


def stored_polygons(rings: Rings, grid: Grid, srs_id: int) -> tuple[list[bytes], npt.NDArray[np.float64]]:
    """
    Return polygons as GeoPackages store them (OGC 12-128r18, clause 2.1.3), and their bounds.

    Returns
    -------
    blobs : list of bytes
        A header with the bounds, then WKB.
    bounds : array, (polygon; least and largest x, least and largest y)
    """
    sizes, start = rings.sizes, np.cumsum(rings.sizes) - rings.sizes
    x, y = grid.coordinates(rings.row.astype(np.float64), rings.column.astype(np.float64))
    polygon_start = start[rings.first]
    bounds = [end.reduceat(values, polygon_start) for values in (x, y) for end in (np.minimum, np.maximum)]
    kinds = [("name", "S2"), ("version", "u1"), ("flags", "u1"), ("srs", "<i4"), ("bounds", "<f8", 4), ("order", "u1")]
    header = np.zeros(len(polygon_start), kinds)
    header["name"], header["srs"], header["bounds"] = b"GP", srs_id, np.stack(bounds, axis=1)
    header["flags"], header["order"] = 0b11, 1  # bounds of x and y; least byte first

    # what follows is words of four bytes: of a polygon its type and number of rings, of a ring the number of points and these
    before_ring = np.zeros(len(sizes), np.int64)
    before_ring[rings.first] = 2
    ring_words = 1 + 4 * (sizes + 1)
    ring_word = np.cumsum(before_ring + ring_words) - ring_words
    polygon_word = ring_word[rings.first] - 2
    words = np.zeros(int(before_ring.sum() + ring_words.sum()), "<u4")
    words[polygon_word] = _POLYGON
    words[polygon_word + 1] = np.diff(np.append(rings.first, len(sizes)))
    words[ring_word] = sizes + 1
    points = np.stack([x, y], axis=1).astype("<f8").view("<u4")
    place = 4 * np.arange(len(points)) + np.repeat(ring_word + 1 - 4 * start, sizes)
    for part in range(4):
        words[place + part] = points[:, part]
        words[ring_word + 1 + 4 * sizes + part] = points[start, part]
    heads, body, size = header.tobytes(), words.tobytes(), header.dtype.itemsize
    ends = (4 * np.append(polygon_word, len(words))).tolist()
    parts = enumerate(itertools.pairwise(ends))
    return [heads[i * size : (i + 1) * size] + body[begin:end] for i, (begin, end) in parts], header["bounds"]
