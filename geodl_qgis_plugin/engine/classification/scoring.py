"""Score a net or a forest on a part of a tile set: each pixel or tile once, with as much context as a map gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..errors import Cancelled
from ..messages import Progress
from ..rasters.grid import Window
from ..training_data.splits import PARTS
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .devices import device_of
from .metrics import Accuracy, ConfusionCounter
from .prediction import Reading, padded, probabilities_of, reading_of, readings, up_to_multiple
from .surfaces import DerivedSurfaces

CORE_PX = 512
_TILES_AT_ONCE = 64


class Predicted(NamedTuple):
    """
    What a model said of some places.

    Attributes
    ----------
    probabilities : array (class, …)
    reference : array (…)
        Codes; 0 where there is none.
    rows, columns : arrays
        Of the middles of the pixels, or tiles, in pixels of the set's grid; broadcast together they have the reference's shape.
    """

    probabilities: npt.NDArray[np.float32]
    reference: npt.NDArray[np.uint16]
    rows: npt.NDArray[np.float64]
    columns: npt.NDArray[np.float64]


class Scored:
    """
    What a part's predictions came to.

    Attributes
    ----------
    counter : ConfusionCounter
    loss : float
        Mean negative log of the probability given to the right class.
    """

    def __init__(self, tile_set: TileSet) -> None:
        self.counter = ConfusionCounter(tile_set.classes)
        self._codes = np.array([0, *(one.code for one in tile_set.classes)], np.uint16)
        self._position = positions_of_codes(tile_set)
        self._loss, self._count = 0.0, 0

    def add(self, probabilities: npt.NDArray[np.float32], reference: npt.NDArray[np.uint16]) -> None:
        """Count predictions (class, …) of places with a reference code (…); 0 is left out."""
        known = reference > 0
        if not known.any():
            return
        wanted, given = reference[known], probabilities[:, known]
        self.counter.add(wanted, self._codes[given.argmax(axis=0) + 1])
        right = given[self._position[wanted], np.arange(wanted.size)]
        self._loss -= float(np.log(np.maximum(right, 1e-12)).sum(dtype=np.float64))
        self._count += wanted.size

    @property
    def loss(self) -> float:
        """Return the mean negative log-likelihood; NaN where there was no reference."""
        return self._loss / self._count if self._count else float("nan")

    @property
    def accuracy(self) -> Accuracy:
        """Return the scores."""
        return self.counter.accuracy()


def score_net(
    net: nn.Module,
    tile_set: TileSet,
    part: str,
    *,
    halo_px: int,
    progress: Progress,
    surfaces: DerivedSurfaces | None = None,
    then: Callable[[Predicted], None] | None = None,
) -> Scored:
    """
    Score a net on a part (``validation`` or ``test``).

    Parameters
    ----------
    surfaces : DerivedSurfaces, optional
        What was derived for training, to be used again; never for the test part, which is hidden in it.
    then : callable, optional
        Given what is predicted, window by window; each place once.
    """
    scored = Scored(tile_set)
    for predicted in predictions(net, tile_set, part, halo_px=halo_px, progress=progress, surfaces=surfaces):
        scored.add(predicted.probabilities, predicted.reference)
        if then is not None:
            then(predicted)
    return scored


def predictions(
    net: nn.Module,
    tile_set: TileSet,
    part: str,
    *,
    halo_px: int,
    progress: Progress,
    surfaces: DerivedSurfaces | None = None,
) -> Iterator[Predicted]:
    """Yield what a net says of the places of a part that have a reference, window by window; see `score_net`."""
    net.eval()
    size = tile_set.tile_size_px
    if net.tile_size_px is not None:
        for chosen in _tiles(tile_set, part):
            with torch.inference_mode():
                logits = net(torch.from_numpy(tile_set.read(chosen)[0]).to(device_of(net)))[:, :, 0, 0]
            tiles = tile_set.tiles[chosen]
            yield Predicted(
                torch.softmax(logits, dim=1).cpu().numpy().T,
                tiles["code"],
                tiles["row"] + size / 2,
                tiles["column"] + size / 2,
            )
        return
    if tile_set.storage != "mosaic":
        for index in tile_set.indices(part):
            values, labels = tile_set.read([index])
            whole = Window(0, 0, size, size)
            reading = reading_of(whole, size, size, 0, int(net.stride))
            probabilities = probabilities_of(net, padded(values[0], whole, reading.outer), reading)
            tile = tile_set.tiles[index]
            yield Predicted(
                probabilities, labels[0], *_middles(Window(int(tile["row"]), int(tile["column"]), size, size))
            )
        return
    wanted = list(part_windows(tile_set, part, int(net.stride), halo_px))
    for number, reading in enumerate(wanted):
        if progress.cancelled():
            raise Cancelled("Scoring was stopped.")
        values, _ = tile_set.read_window(reading.outer, part)
        _, labels = tile_set.read_window(reading.core, part)
        derived = surfaces.read(reading.outer) if surfaces is not None and part != "test" else None
        probabilities = probabilities_of(net, values, reading, derived)
        yield Predicted(probabilities, labels, *_middles(reading.core))
        progress.update((number + 1) / len(wanted), f"Scoring the {part} part")


def part_windows(tile_set: TileSet, part: str, stride: int, halo_px: int) -> Iterator[Reading]:
    """Yield the windows of a mosaic that hold labels of a part, each cut to where these lie."""
    grid, number = tile_set.grid, PARTS[part]
    for reading in readings(grid.height, grid.width, up_to_multiple(CORE_PX, stride), halo_px, stride):
        core = reading.core
        here = (tile_set.split[core.slices] == number) & (tile_set.labels[core.slices] > 0)
        if not here.any():
            continue
        rows, columns = np.flatnonzero(here.any(axis=1)), np.flatnonzero(here.any(axis=0))
        cut = Window(
            core.row + int(rows[0]),
            core.column + int(columns[0]),
            int(rows[-1] - rows[0]) + 1,
            int(columns[-1] - columns[0]) + 1,
        )
        yield reading_of(cut, grid.height, grid.width, halo_px, stride)


def _tiles(tile_set: TileSet, part: str) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the numbers of the tiles of a part that have a class, some at a time."""
    indices = tile_set.indices(part)
    indices = indices[tile_set.tiles["code"][indices] > 0]
    for start in range(0, len(indices), _TILES_AT_ONCE):
        yield indices[start : start + _TILES_AT_ONCE]


def _middles(window: Window) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows, columns = np.arange(window.height) + window.row + 0.5, np.arange(window.width) + window.column + 0.5
    return rows[:, None], columns[None, :]
