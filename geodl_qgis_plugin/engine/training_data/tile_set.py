"""
Tile sets: a folder with `tileset.json`, `tiles.gpkg`, and arrays that are read in place.

Two storages. A *mosaic* holds the area once (predictors (band, row, column), labels and parts (row, column)) and tiles are
windows into it, so overlapping tiles cost nothing. *Stacked* holds each tile by itself (tile first), for sparse labels in a
huge raster.

What a tile may show follows from the part of each pixel (`parts.py`): its labels are those of its own part; a training or
validation tile does not see the predictors of test pixels and of the buffer round them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bands import Band
from ..classes import LandClass
from ..errors import TileSetError
from ..files import sha256_of
from ..rasters.grid import Grid, Window
from ..rasters.sources import checksum
from .splits import BELT, BUFFER, PARTS, TEST, number_of

FORMAT_VERSION = 1
JSON_NAME, FOOTPRINTS_NAME, REPORT_NAME = "tileset.json", "tiles.gpkg", "report.html"
PREDICTORS_NAME, LABELS_NAME, SPLIT_NAME, TILES_NAME = "predictors.npy", "labels.npy", "split.npy", "tiles.npy"

TILE_TYPE = np.dtype(
    [
        ("row", "<i8"),  # of the upper left pixel, in the set's grid; the last tiles may reach beyond it
        ("column", "<i8"),
        ("split", "u1"),  # 1 training, 2 validation, 3 test
        ("code", "<u2"),  # the class of the tile as a whole, 0 for none
        ("labelled", "<f4"),  # share of its pixels with a label of its own part
        ("valid", "<f4"),  # share of its pixels whose predictors it sees
        ("hidden", "<f4"),  # share of its pixels that are hidden from it
        ("foreign", "<f4"),  # share of its pixels that belong to another part or to the buffer, hidden or not
        ("fold", "<i2"),  # -1 where no folds were asked for
    ]
)


@dataclass(frozen=True)
class Scaling:
    """
    How predictors are scaled for a network: (value - offset) / scale, each an array (band,) of float64.

    From valid training pixels only: ``low`` and ``high`` are their 1st and 99th percentile, ``offset`` and ``scale`` the mean
    and standard deviation of the values between them; a constant band has the scale 1.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def as_dict(self) -> dict[str, list[float]]:
        """Return plain values for JSON."""
        return {name: getattr(self, name).tolist() for name in ("offset", "scale", "low", "high")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scaling:
        """Read what `as_dict` wrote."""
        return cls(*(np.asarray(values[name], np.float64) for name in ("offset", "scale", "low", "high")))


class TileSet:
    """
    A tile set that was cut before.

    Attributes
    ----------
    folder : Path
    grid : Grid
        Of the mosaic's area; ``row`` and ``column`` of tiles and windows count from its upper left pixel.
    bands : list of Band
    classes : list of LandClass
    tile_size_px, stride_px : int
    storage : str
        ``mosaic`` or ``stacked``.
    scaling : Scaling
    tiles : structured array (tile,), see `TILE_TYPE`
    predictors : memory-mapped float32, (band, row, column) or (tile, band, row, column); NaN where there is no data
    labels : memory-mapped uint16, (row, column) or (tile, row, column); 0 is unlabelled
    split : memory-mapped uint8, as labels; 0 none, 1 training, 2 validation, 3 test, 4 buffer
    facts : dict
        All of `tileset.json`.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.grid = Grid.from_dict(facts["grid"])
        self.bands = [Band.from_dict(band) for band in facts["bands"]]
        self.classes = [LandClass.from_dict(entry) for entry in facts["classes"]]
        self.tile_size_px = int(facts["tile_size_px"])
        self.stride_px = int(facts["stride_px"])
        self.storage = str(facts["storage"])
        self.context = str(facts["context"])
        self.scaling = Scaling.from_dict(facts["scaling"])
        self.tiles: NDArray[np.void] = _array(folder, TILES_NAME, mapped=False)
        self.predictors: NDArray[np.float32] = _array(folder, PREDICTORS_NAME)
        self.labels: NDArray[np.uint16] = _array(folder, LABELS_NAME)
        self.split: NDArray[np.uint8] = _array(folder, SPLIT_NAME)
        self._check_shapes()

    @classmethod
    def open(cls, folder: str | Path) -> TileSet:
        """
        Open a tile set for reading; nothing is loaded but the table of tiles.

        Raises
        ------
        TileSetError
            If the folder is no tile set, of a later version, or damaged.
        """
        folder = Path(folder)
        if folder.name == JSON_NAME:
            folder = folder.parent
        file = folder / JSON_NAME
        if not file.is_file():
            raise TileSetError(
                f"{folder} is no tile set: it holds no {JSON_NAME}. Give the folder that geodl:extracttiles made."
            )
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            version = int(facts["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(folder, f"{JSON_NAME} cannot be read") from error
        if version > FORMAT_VERSION:
            raise TileSetError(
                f"The tile set {folder} was made by a later GeoDL (format {version}). Update GeoDL to open it."
            )
        try:
            return cls(folder, facts)
        except (KeyError, TypeError, IndexError) as error:
            raise _damaged(folder, f"{JSON_NAME} lacks {error}") from error

    def indices(self, split: str | int) -> NDArray[np.int64]:
        """Return the positions in ``tiles`` of the tiles of a part: ``training``, ``validation``, ``test`` or its number."""
        return np.flatnonzero(self.tiles["split"] == number_of(split))

    def read(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """
        Read tiles as they may be seen.

        Returns
        -------
        predictors : array (tile, band, row, column), float32
            NaN where there is no data or where the pixel is hidden.
        labels : array (tile, row, column), uint16
            Codes of pixels of the tile's own part; 0 elsewhere.
        """
        size = self.tile_size_px
        indices = np.atleast_1d(np.asarray(indices, np.int64))
        predictors = np.empty((indices.size, len(self.bands), size, size), np.float32)
        labels = np.empty((indices.size, size, size), np.uint16)
        for i, index in enumerate(indices):
            tile = self.tiles[index]
            if self.storage == "stacked":
                predictors[i], labels[i] = self.predictors[index], self.labels[index]
                self._mask(predictors[i], labels[i], self.split[index], int(tile["split"]))
            else:
                window = Window(int(tile["row"]), int(tile["column"]), size, size)
                predictors[i], labels[i] = self.read_window(window, int(tile["split"]))
        return predictors, labels

    def read_window(self, window: Window, split: str | int) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """
        Read any window of a mosaic as a tile of the part ``split`` may see it; beyond the area there is no data.

        Returns
        -------
        predictors : array (band, row, column), float32
        labels : array (row, column), uint16
        """
        if self.storage != "mosaic":
            raise TileSetError(
                f"The tile set {self.folder} is stacked: only its own tiles can be read. Cut it as a mosaic."
            )
        predictors = np.full((len(self.bands), window.height, window.width), np.nan, np.float32)
        labels = np.zeros((window.height, window.width), np.uint16)
        inside = window.grown(0, self.grid.height, self.grid.width)
        if inside.height <= 0 or inside.width <= 0:
            return predictors, labels
        rows = slice(inside.row - window.row, inside.row - window.row + inside.height)
        columns = slice(inside.column - window.column, inside.column - window.column + inside.width)
        predictors[:, rows, columns] = self.predictors[:, inside.slices[0], inside.slices[1]]
        labels[rows, columns] = self.labels[inside.slices]
        self._mask(predictors[:, rows, columns], labels[rows, columns], self.split[inside.slices], number_of(split))
        return predictors, labels

    def class_counts(self, split: str | int) -> dict[int, int]:
        """Return the labelled pixels of each class in a part, by code; each pixel counts once. Only mosaics have a belt."""
        if number_of(split) == BELT:
            there = self.split == BELT if self.storage == "mosaic" else np.zeros(self.labels.shape, bool)
            counts = np.bincount(self.labels[there], minlength=65536)
            return {one.code: int(counts[one.code]) for one in self.classes}
        name = next(name for name, number in PARTS.items() if number == number_of(split))
        return {int(code): int(count) for code, count in self.facts["split"]["pixels"][name].items()}

    def summary(self) -> dict[str, Any]:
        """Return what a report says of the set: tiles and pixels of each part, shares of each class, buffer, blocks."""
        return dict(self.facts["split"])

    def check_sources(self) -> list[str]:
        """Return a sentence for each source that is gone or was changed since the tiles were cut; none if all is as it was."""
        sentences = []
        for source in [*self.facts["sources"], *self.facts["label_sources"]]:
            if "size" not in source:
                continue
            file = Path(source["path"])
            if not file.is_file():
                sentences.append(f"{file} is gone since the tiles were cut from it.")
            elif file.stat().st_size != source["size"] or any(
                source.get(name) != value for name, value in checksum(file).items()
            ):
                sentences.append(f"{file} has changed since the tiles were cut from it. Extract the tiles again.")
        return sentences

    def checksum(self) -> str:
        """Return the SHA-256 of `tileset.json`, which names every source and setting: what a model says it was trained on."""
        return sha256_of(self.folder / JSON_NAME)

    def _mask(
        self, predictors: NDArray[np.float32], labels: NDArray[np.uint16], split: NDArray[np.uint8], part: int
    ) -> None:
        """Hide, in place, what a tile of ``part`` must not see."""
        labels[split != part] = 0
        if part != TEST and self.context == "hidden":
            hidden = (split == TEST) | (split == BUFFER)
            if hidden.any():
                predictors[:, hidden] = np.nan

    def _check_shapes(self) -> None:
        size, bands = self.tile_size_px, len(self.bands)
        if self.storage == "stacked":
            flat: tuple[int, ...] = (len(self.tiles), size, size)
            full: tuple[int, ...] = (len(self.tiles), bands, size, size)
        else:
            flat = (self.grid.height, self.grid.width)
            full = (bands, *flat)
        for name, array, shape in (
            (PREDICTORS_NAME, self.predictors, full),
            (LABELS_NAME, self.labels, flat),
            (SPLIT_NAME, self.split, flat),
        ):
            if array.shape != shape:
                raise _damaged(self.folder, f"{name} has the shape {array.shape} instead of {shape}")


def _array(folder: Path, name: str, *, mapped: bool = True) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(folder / name, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{name} is missing or cut short") from error
    return array


def _damaged(folder: Path, what: str) -> TileSetError:
    return TileSetError(f"The tile set {folder} is damaged: {what}. Extract the tiles again.")
