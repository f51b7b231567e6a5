"""
Patches of a map of pixels: pixels of one code that share sides, each patch with its area and mean confidence.

The map comes strip by strip. What is numbered and joined is runs, pixels of one code side by side in a row: there are far fewer
of them than pixels, and the confidence of a run is a difference of two running sums. Each strip repeats the last row of the one
above, which says how patches go on. What is known of a strip waits in a file; only patches that cross a seam stay in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


class _Strip(NamedTuple):
    """A strip with the row above it: its runs, in order, and its patches."""

    starts: npt.NDArray[np.int64]  # of each run: place of its first pixel
    patch: npt.NDArray[np.int32]  # of each run
    codes: npt.NDArray[Any]  # of each patch
    sums: npt.NDArray[np.float64]  # (pixels, confidence and square metres; patch), without the row above


class Patches:
    """
    Patches that grow as strips are added.

    Parameters
    ----------
    width, strip_rows : int
        Size of a strip; the last one may be lower.
    folder : path
        Where strips are kept.
    """

    def __init__(self, width: int, strip_rows: int, folder: Path) -> None:
        self._width, self._strip_rows, self._folder = width, strip_rows, folder
        self._bases = [0]  # a patch's number is its strip's base and its own there
        self._last_row: npt.NDArray[Any] = np.zeros((0, width), np.uint8)
        self._last_numbers = np.zeros(0, np.int64)
        self._seams: list[npt.NDArray[np.int64]] = []  # (upper or lower, pair): two numbers of one patch
        self._seam_sums: list[npt.NDArray[np.float64]] = []

    def add(self, codes: npt.NDArray[Any], confidence: npt.NDArray[np.uint8], rows_m2: npt.NDArray[np.float64]) -> None:
        """
        Add the next strip.

        Parameters
        ----------
        codes, confidence : array, (row, column)
            Codes with 0 for nodata; confidence counts as it is, in any unit.
        rows_m2 : array
            Area of a pixel of each row.
        """
        above = self._last_row.size
        codes = np.concatenate([self._last_row.astype(codes.dtype), codes])
        changes = np.ones(codes.shape, bool)
        np.not_equal(codes[:, 1:], codes[:, :-1], out=changes[:, 1:])
        starts = np.flatnonzero(changes)
        count, patch = connected_components(_touching(codes, changes, starts), directed=False)
        of_patch = np.zeros(count, codes.dtype)
        of_patch[patch] = codes.ravel()[starts]

        new, last = (int(np.searchsorted(starts, place)) for place in (above, codes.size - self._width))
        begin, end = starts[new:] - above, np.append(starts[new + 1 :], codes.size) - above  # of runs not seen before
        running = np.zeros(confidence.size + 1, np.uint32)  # it may wrap around: differences stay right
        np.cumsum(confidence, dtype=np.uint32, out=running[1:])
        pixels = end - begin
        weights = (pixels, running[end] - running[begin], pixels * rows_m2[begin // self._width])
        sums = np.zeros((len(weights), count))
        for row, each in zip(sums, weights):
            row[:] = np.bincount(patch[new:], weights=each, minlength=count)

        base = self._bases[-1]
        if above:
            self._seams.append(np.stack([self._last_numbers, patch[:new].astype(np.int64) + base]))
        ends = np.unique(np.concatenate([patch[:new], patch[last:]]))
        self._seam_sums.append(np.vstack([ends + base, sums[:, ends]]))
        self._last_row, self._last_numbers = codes[-1:].copy(), patch[last:].astype(np.int64) + base
        self._put(len(self._bases) - 1, _Strip(starts, patch, of_patch, sums))
        self._bases.append(base + count)

    def of_sides(
        self, row: npt.NDArray[Any], column: npt.NDArray[Any], above: npt.NDArray[np.bool_], code: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """
        Return area in square metres and mean confidence of patches, each given by one side of a pixel on its outline.

        Parameters
        ----------
        row, column : array
            The pixel below, or to the right of, the side.
        above : array of bool
            Whether the side's other pixel is the one above; if not, it is the one to the left.
        code : array
            Of the patch: just one of the two pixels has it.
        """
        seam_numbers, seam_sums = self._across_seams()
        area_m2, mean = np.zeros(len(row)), np.zeros(len(row))
        strips = len(self._bases) - 1
        index = np.minimum(row // self._strip_rows, strips - 1)
        order = np.argsort(index, kind="stable")
        bounds = np.searchsorted(index, np.arange(strips + 1), sorter=order)
        for number in range(strips):
            strip = self._take(number)
            seam = slice(*np.searchsorted(seam_numbers, self._bases[number : number + 2]))
            strip.sums[:, seam_numbers[seam] - self._bases[number]] = seam_sums[:, seam]
            here = order[bounds[number] : bounds[number + 1]]
            first_row = max(number * self._strip_rows - 1, 0)
            last_row = first_row + int(strip.starts[-1]) // self._width
            for step in (0, 1):
                # at the raster's edge there is one pixel only, which is found twice
                down = np.clip(row[here] - step * above[here], first_row, last_row) - first_row
                right = np.clip(column[here] - step * ~above[here], 0, self._width - 1)
                run = np.searchsorted(strip.starts, down.astype(np.int64) * self._width + right, side="right") - 1
                own = strip.codes[strip.patch[run]] == code[here]
                pixels, confidence, area = strip.sums[:, strip.patch[run[own]]]
                area_m2[here[own]], mean[here[own]] = area, confidence / pixels
        return area_m2, mean

    def _across_seams(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the numbers of the patches at seams, in order, and the sums of the whole patch for each."""
        table = np.concatenate(self._seam_sums, axis=1)
        numbers, sums = table[0].astype(np.int64), table[1:]
        if self._seams:
            upper, lower = np.searchsorted(numbers, np.concatenate(self._seams, axis=1))
            _, patch = connected_components(_graph(upper, lower, len(numbers)), directed=False)
            sums = np.stack([np.bincount(patch, weights=each)[patch] for each in sums])
        return numbers, sums

    def _put(self, number: int, strip: _Strip) -> None:
        with self._file(number).open("wb") as file:
            for array in strip:
                np.save(file, array)

    def _take(self, number: int) -> _Strip:
        with self._file(number).open("rb") as file:
            strip = _Strip(*(np.load(file, allow_pickle=False) for _ in _Strip._fields))
        self._file(number).unlink()
        return strip

    def _file(self, number: int) -> Path:
        return self._folder / f"patches-{number}.npy"


def _touching(codes: npt.NDArray[Any], changes: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]) -> coo_matrix:
    """Return which runs of one code touch from row to row: where they begin to, one of them begins."""
    upper, lower = codes[:-1].ravel(), codes[1:].ravel()
    places = np.flatnonzero(changes[1:] | changes[:-1])
    places = places[(upper[places] == lower[places]) & (upper[places] > 0)]
    above = np.searchsorted(starts, places, side="right") - 1
    below = np.searchsorted(starts, places + codes.shape[1], side="right") - 1
    return _graph(above, below, len(starts))


def _graph(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], count: int) -> coo_matrix:
    return coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
