"""
Patches of a map of pixels: pixels of one code that share sides, with outline, area and mean confidence, strip by strip.

What is numbered and joined is runs, pixels of one code side by side in a row: there are far fewer of them than pixels, and the
confidence of a run is a difference of two running sums. A patch is handed out by the strip in which it ends, and only of those
that have not ended something is kept: their sums and the corners of their outlines.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .outlines import Corners, Rings, corners_of, joined, rings_of

_CORNERS = 2**17  # whose rings are followed at once


class Ended(NamedTuple):
    """Patches that have ended, in the order of their rings."""

    code: npt.NDArray[Any]
    confidence: npt.NDArray[np.float64]  # mean
    area_m2: npt.NDArray[np.float64]
    rings: Rings


class Patches:
    """
    Patches that grow as strips are added, from the first row of a map on.

    Parameters
    ----------
    width : int
        Of the map, in pixels.
    """

    def __init__(self, width: int) -> None:
        self._row = 0  # of the next strip
        self._last_row: npt.NDArray[Any] = np.zeros((1, width + 2), np.uint8)
        self._last_patch = np.zeros(0, np.int64)  # open patch of each run in the last row, but for nodata
        self._sums = np.zeros((3, 0))  # (pixels, confidence and square metres; open patch)
        self._corners: list[list[Corners]] = []  # of each open patch

    def add(
        self, codes: npt.NDArray[Any], confidence: npt.NDArray[np.uint8], rows_m2: npt.NDArray[np.float64]
    ) -> Iterator[Ended]:
        """
        Add the next strip; yield what ended in it, a part at a time.

        Parameters
        ----------
        codes, confidence : array, (row, column)
            Codes with 0 for nodata; confidence counts as it is, in any unit.
        rows_m2 : array
            Area of a pixel of each row.
        """
        height, width = codes.shape
        whole = np.zeros((height + 1, width + 2), codes.dtype)  # the row above, and nodata at either side
        whole[:1], whole[1:, 1:-1] = self._last_row, codes
        changes = np.ones(whole.shape, bool)
        np.not_equal(whole[:, 1:], whole[:, :-1], out=changes[:, 1:])
        starts = np.flatnonzero(changes)
        code = whole.ravel()[starts]
        new, last = (int(np.searchsorted(starts, place)) for place in (width + 2, whole.size - width - 2))
        above = np.flatnonzero(code[:new])
        one, other = np.concatenate([_touching(whole, changes, starts), self._joined_above(above)], axis=1)
        graph = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(len(starts), len(starts)))
        count, patch = connected_components(graph, directed=False)
        continued = np.zeros(len(self._corners), np.int64)  # patch here of each that was open
        continued[self._last_patch] = patch[above]

        sums = _sums(starts[new:] - width - 2, code[new:], patch[new:], count, confidence, rows_m2)
        for row, former in zip(sums, self._sums):
            row += np.bincount(continued, weights=former, minlength=count)
        is_open = np.zeros(count, bool)
        below = last + np.flatnonzero(code[last:])
        is_open[patch[below]] = True
        corners = corners_of(whole, changes, starts, patch, self._row)
        ended = self._grow(corners, continued, is_open)
        number = np.cumsum(is_open) - 1
        self._last_patch, self._sums = number[patch[below]], sums[:, is_open]
        self._last_row, self._row = whole[-1:].copy(), self._row + height
        of_patch = np.zeros(count, codes.dtype)
        of_patch[patch] = code
        for part in _parts(ended):
            rings = rings_of(part)
            pixels, sure, area_m2 = sums[:, rings.patch]
            yield Ended(of_patch[rings.patch], sure / pixels, area_m2, rings)

    def end(self) -> Iterator[Ended]:
        """Yield what was open: a row of nodata below the map ends it."""
        width = self._last_row.shape[1] - 2
        nothing = np.zeros((1, width), self._last_row.dtype)
        return self.add(nothing, nothing.astype(np.uint8), np.zeros(1))

    def _joined_above(self, above: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return pairs of runs of the row above that are known to belong to one patch."""
        order = np.argsort(self._last_patch, kind="stable")
        same = np.flatnonzero(np.diff(self._last_patch[order]) == 0)
        return np.stack([above[order[same]], above[order[same + 1]]])

    def _grow(self, corners: Corners, continued: npt.NDArray[np.int64], is_open: npt.NDArray[np.bool_]) -> Corners:
        """Give each open patch its new corners; return all those of the patches that have ended."""
        stays = is_open[corners.patch]
        ended = [corners.of(~stays)]
        grown: list[list[Corners]] = [[] for _ in range(int(is_open.sum()))]
        number = np.cumsum(is_open) - 1
        for former, patch in zip(self._corners, continued.tolist()):
            if is_open[patch]:
                grown[number[patch]] += former
            else:
                ended += [part._replace(patch=np.full(len(part.row), patch, np.int32)) for part in former]
        corners = corners.of(stays)
        corners = corners.of(np.argsort(corners.patch, kind="stable"))
        patches, first = np.unique(corners.patch, return_index=True)
        for patch, begin, end in zip(patches, first, np.append(first[1:], len(corners.patch))):
            grown[number[patch]].append(corners.of(slice(begin, end)))
        self._corners = grown
        return joined(ended)


def _parts(corners: Corners) -> list[Corners]:
    """Return the corners of whole patches, so many at a time that what each takes on the way stays small together."""
    if len(corners.patch) <= _CORNERS:
        return [corners] if len(corners.patch) else []
    corners = corners.of(np.argsort(corners.patch, kind="stable"))
    first = np.flatnonzero(np.diff(corners.patch, prepend=-1))
    cuts = first[np.unique(first // _CORNERS, return_index=True)[1]]
    return [corners.of(slice(*cut)) for cut in itertools.pairwise([*cuts, len(corners.patch)])]


def _sums(
    starts: npt.NDArray[np.int64],
    code: npt.NDArray[Any],
    patch: npt.NDArray[np.int32],
    count: int,
    confidence: npt.NDArray[np.uint8],
    rows_m2: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return pixels, confidence and square metres of each patch, from runs in rows with a pixel more at either side."""
    height, width = confidence.shape
    ends = np.append(starts[1:], height * (width + 2))
    data = np.flatnonzero(code)  # so none of the pixels at the sides
    starts, ends, patch = starts[data], ends[data], patch[data]
    rows = starts // (width + 2)
    shift = 1 + 2 * rows
    running = np.zeros(confidence.size + 1, np.uint32)  # it may wrap around: differences stay right
    np.cumsum(confidence, dtype=np.uint32, out=running[1:])
    pixels = ends - starts
    weights = (pixels, running[ends - shift] - running[starts - shift], pixels * rows_m2[rows])
    sums = np.zeros((3, count))
    for row, each in zip(sums, weights):
        row += np.bincount(patch, weights=each, minlength=count)
    return sums


def _touching(
    codes: npt.NDArray[Any], changes: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return pairs of runs of one code that touch from row to row: where they begin to, one of them begins."""
    upper, lower = codes[:-1].ravel(), codes[1:].ravel()
    places = np.flatnonzero(changes[1:] | changes[:-1])
    places = places[(upper[places] == lower[places]) & (upper[places] > 0)]
    return np.stack([np.searchsorted(starts, places + down, side="right") - 1 for down in (0, codes.shape[1])])
