"""
The passes over an area that fill a tile set's arrays, chunk by chunk: labels, predictors, parts.

Arrays lie on disk from the start (memory-mapped, sparse where nothing is written), so memory does not grow with the area.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Cancelled
from ..messages import Progress
from ..rasters.grid import Grid, Window, windows_of
from ..rasters.stack import Stack
from .labels import Labels
from .parts import buffer_margin_px, with_buffers
from .splits import TEST, TRAINING, Blocks
from .vector_layers import Areas

CHUNK_PX = 2048  # side of the windows in which labels and parts are drawn
CHUNK_VALUES = 12_000_000  # values of all bands in a chunk of predictors
_READERS = 2
# Larger maps of labels and parts stay sparse: few labels in a huge raster need little of them.
_RESERVED_BYTES = 4 * 2**30
_ZEROS, _HEADER_BYTES = 16 * 2**20, 4096


def new_array(path: Path, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """
    Make a .npy file of zeros that is mapped into memory, with room on the disk for all of it.

    Writing into a mapped file for which the disk has no room would end the process without a word.
    """
    array: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)  # type: ignore[no-untyped-call]
    if array.nbytes <= _RESERVED_BYTES or kind == np.float32:
        _reserve(path)
    return array


def _reserve(path: Path) -> None:
    """Make the disk hold all of a sparse file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        header = file.read(_HEADER_BYTES)
        file.seek(0)
        for start in range(0, size, _ZEROS):
            zeros = b"\0" * min(_ZEROS, size - start)
            file.write(zeros if start else header + zeros[len(header) :])


def stop_if_cancelled(progress: Progress) -> None:
    """Raise `Cancelled` if the user asked to stop."""
    if progress.cancelled():
        raise Cancelled("Extracting tiles was stopped; nothing was kept.")


def fill_labels(labels: Labels, area: Window, out: NDArray[np.uint16], progress: Progress) -> dict[int, int]:
    """Write the codes of the area and return the pixels of each."""
    counts = np.zeros(65536, np.int64)
    labels.overlapping_pixels = 0
    reach = labels.window
    windows = windows_of(area, CHUNK_PX)
    for i, window in enumerate(windows):
        stop_if_cancelled(progress)
        place = window.from_origin(area).slices
        if not min(window.shared(reach)[2:]):
            continue
        codes = labels.read(window, count_overlaps=True)
        if codes.any() or out[place].any():
            out[place] = codes
            counts += np.bincount(codes.ravel(), minlength=65536)
        progress.update((i + 1) / len(windows), "Drawing the labels")
    return {int(code): int(counts[code]) for code in np.flatnonzero(counts) if code}


def bands_without_values(stack: Stack, area: Window, labels: NDArray[np.uint16]) -> list[int]:
    """Return the positions of bands that hold no value on the area; most bands are cleared by one look at labelled places."""
    missing = list(range(len(stack.bands)))
    windows = _chunks_of(stack, area)
    labelled = [w for w in windows if labels[w.from_origin(area).slices].any()]
    for window in [*labelled, *windows]:
        values = stack.read(window)
        missing = [i for i in missing if not np.isfinite(values[i]).any()]
        if not missing:
            break
    return missing


def fill_predictors(
    stack: Stack,
    area: Window,
    labels: NDArray[np.uint16],
    valid: NDArray[np.uint8],
    out: NDArray[np.float32] | None,
    progress: Progress,
) -> int:
    """
    Read the area's predictors, mark where all bands hold, and unlabel pixels where they do not; return how many those were.

    ``out`` (band, row, column) takes the values; without it only chunks with labels are looked at.
    """
    lost = 0
    windows = _chunks_of(stack, area)
    if out is None:
        windows = [w for w in windows if labels[w.from_origin(area).slices].any()]
    for i, (window, values) in enumerate(_read_ahead(stack, windows)):
        stop_if_cancelled(progress)
        place = window.from_origin(area).slices
        holds = np.isfinite(values).all(0)
        valid[place] = holds
        codes = labels[place]
        gone = (codes > 0) & ~holds
        if gone.any():
            lost += int(np.count_nonzero(gone))
            labels[place] = np.where(gone, 0, codes)
        if out is not None:
            out[:, place[0], place[1]] = values
        progress.update((i + 1) / len(windows), f"Reading the predictors ({i + 1} of {len(windows)} parts)")
    return lost


def count_units(
    labels: NDArray[np.uint16],
    codes: Sequence[int],
    units: Blocks | Labels,
    area: Window,
    grid: Grid,
    tests: Areas | None,
    buffer: float,
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Count the labelled pixels of each class in each unit, those inside the user's test areas apart, without their buffer.

    Returns
    -------
    counts : array (unit, class)
        Units are numbered from 1: row 0 holds labelled pixels of no unit.
    in_tests : array (class,)
    """
    position = np.zeros(65536, np.int64)
    position[list(codes)] = np.arange(len(codes))
    counts = np.zeros((count + 1) * len(codes), np.int64)
    in_tests = np.zeros(len(codes), np.int64)
    margin = buffer_margin_px(buffer, grid)
    for window in windows_of(area, CHUNK_PX):
        here = labels[window.from_origin(area).slices]
        use = here > 0
        if not use.any():
            continue
        if tests is not None:
            wide = window.grown(margin, grid.height, grid.width)
            inside = tests.read(wide)
            parts = with_buffers(np.where(inside, TEST, TRAINING).astype(np.uint8), buffer, grid)[
                window.from_origin(wide).slices
            ]
            in_tests += np.bincount(position[here[use & (parts == TEST)]], minlength=len(codes))
            use &= parts == TRAINING
        numbers = units.units(window)[use].astype(np.int64)
        counts += np.bincount(numbers * len(codes) + position[here[use]], minlength=counts.size)
    return counts.reshape(count + 1, len(codes)), in_tests


def fill_parts(
    unit_parts: NDArray[np.uint8],
    units: Blocks | Labels,
    area: Window,
    grid: Grid,
    tests: Areas | None,
    buffer: float,
    out: NDArray[np.uint8],
    progress: Progress,
) -> None:
    """
    Write the part of each pixel of the area.

    Parameters
    ----------
    unit_parts : array (unit + 1,)
        The part of each unit as dealt; row 0 is that of pixels of no unit.
    buffer : float
        In map units of ``grid``.
    """
    margin = buffer_margin_px(buffer, grid)
    windows = windows_of(area, CHUNK_PX)
    for i, window in enumerate(windows):
        stop_if_cancelled(progress)
        wide = window.from_origin(area).grown(margin, area.height, area.width)
        wide = Window(wide.row + area.row, wide.column + area.column, wide.height, wide.width)
        parts = unit_parts[units.units(wide)]
        if tests is not None:
            parts[tests.read(wide)] = TEST
        parts = with_buffers(parts, buffer, grid)
        out[window.from_origin(area).slices] = parts[window.from_origin(wide).slices]
        progress.update((i + 1) / len(windows), "Parting the area into training, validation and test")


def _read_ahead(stack: Stack, windows: Sequence[Window]) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Read windows in order with a few threads, each with its own handles; at most a handful wait in memory."""
    own = threading.local()

    def read(window: Window) -> NDArray[np.float32]:
        if not hasattr(own, "stack"):
            own.stack = stack.reopen()
        values: NDArray[np.float32] = own.stack.read(window)
        return values

    with ThreadPoolExecutor(_READERS, thread_name_prefix="reader") as pool:
        waiting: list[tuple[Window, Future[NDArray[np.float32]]]] = []
        try:
            for window in windows:
                waiting.append((window, pool.submit(read, window)))
                if len(waiting) > _READERS + 1:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            while waiting:
                first, future = waiting.pop(0)
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _chunks_of(stack: Stack, area: Window) -> list[Window]:
    """Return windows of whole blocks, as many as a chunk may hold values, that make up the area."""
    rows, columns = stack.block_size
    pixels = max(CHUNK_VALUES // len(stack.bands), 256 * 256)
    width = min(area.width + columns, max(columns, int(pixels / rows / columns) * columns))
    height = max(rows, int(pixels / width / rows) * rows)
    windows = []
    for row in range(area.row // height * height, area.row + area.height, height):
        for column in range(area.column // width * width, area.column + area.width, width):
            top, left = max(row, area.row), max(column, area.column)
            bottom, right = min(row + height, area.row + area.height), min(column + width, area.column + area.width)
            windows.append(Window(top, left, bottom - top, right - left))
    return windows
