"""
The job `exporttiles`: a tile set as files that other tools train on.

Each part gets a folder of its own, so that nobody mixes them by accident. Tiles are written as they may be seen: what is hidden
from training stays hidden.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal

from ..classes import LandClass
from ..errors import Cancelled, TileSetError
from ..files import check_output, check_room, not_written, whole_folder
from ..messages import Progress
from ..rasters.grid import Grid, Window
from ..settings import option
from .arcgis_tiles import ClassifiedTiles
from .splits import PARTS
from .tile_set import TileSet

gdal.UseExceptions()

FORMATS = ("pairs", "class folders", "ArcGIS Classified_Tiles")
_BATCH = 64


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    tiles: str
    output: str
    format: str = option("pairs", choices=FORMATS)


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the tiles.

    Returns
    -------
    result : dict
        ``output`` (folder) and ``count`` (tiles written).

    Raises
    ------
    TileSetError
        If there is no tile set, or class folders are asked for and no tile has a class.
    OutputError
        If the folder cannot be written or the disk has no room.
    """
    output = check_output(settings.output, folder=True)
    tiles = TileSet.open(settings.tiles)
    for sentence in tiles.check_sources():
        progress.warning(sentence)
    if settings.format == "class folders" and not tiles.tiles["code"].any():
        raise TileSetError("No tile has a class of its own. Extract the tiles with a smaller share for the majority.")
    check_room(output.parent, len(tiles.tiles) * tiles.tile_size_px**2 * (4 * len(tiles.bands) + 1) // 2)
    count = 0
    with whole_folder(output) as folder:
        _write_tables(folder, tiles)
        for part in PARTS:
            indices = tiles.indices(part)
            if not indices.size:
                continue
            writer = _WRITERS[settings.format](folder / part, tiles)
            for start in range(0, indices.size, _BATCH):
                if progress.cancelled():
                    raise Cancelled("Exporting tiles was stopped; nothing was kept.")
                some = indices[start : start + _BATCH]
                predictors, labels = tiles.read(some)
                for index, image, mask in zip(some, predictors, labels):
                    count += writer.add(int(index), image, mask)
                progress.update((count + 1) / (len(tiles.tiles) + 1), f"Writing tiles ({count} of {len(tiles.tiles)})")
            writer.close()
    return {"output": str(output), "count": count}


class Pairs:
    """``images/000001.tif`` and ``masks/000001.tif``: predictors in float32, class codes with their colours."""

    def __init__(self, folder: Path, tiles: TileSet) -> None:
        self.folder, self.tiles = folder, tiles
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True)

    def add(self, index: int, image: NDArray[np.float32], mask: NDArray[np.uint16]) -> int:
        """Write one tile and return 1."""
        grid = tile_grid(self.tiles, index)
        write_image(self.folder / "images" / f"{index:06d}.tif", image, grid, self.tiles)
        write_mask(self.folder / "masks" / f"{index:06d}.tif", mask, grid, self.tiles.classes)
        return 1

    def close(self) -> None:
        """Nothing is left to write."""


class ClassFolders:
    """``granite/000001.tif``: tiles sorted by their class, as torchvision's ImageFolder and its like read them."""

    def __init__(self, folder: Path, tiles: TileSet) -> None:
        self.folder, self.tiles = folder, tiles
        self.names = folder_names(tiles.classes)
        for name in self.names.values():  # every part has every folder: their order numbers the classes for readers
            (folder / name).mkdir(parents=True)

    def add(self, index: int, image: NDArray[np.float32], mask: NDArray[np.uint16]) -> int:
        """Write one tile if it has a class, and return how many were written."""
        code = int(self.tiles.tiles["code"][index])
        if not code:
            return 0
        path = self.folder / self.names[code] / f"{index:06d}.tif"
        write_image(path, image, tile_grid(self.tiles, index), self.tiles)
        return 1

    def close(self) -> None:
        """Nothing is left to write."""


class ArcGIS:
    """Esri's Classified_Tiles: ``images``, ``labels``, ``map.txt``, ``stats.txt`` and the two files of statistics."""

    def __init__(self, folder: Path, tiles: TileSet) -> None:
        self.folder, self.tiles = folder, tiles
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True)
        self.facts = ClassifiedTiles(tiles.bands, tiles.classes, tiles.tile_size_px, tiles.grid)
        self.count = 0

    def add(self, index: int, image: NDArray[np.float32], mask: NDArray[np.uint16]) -> int:
        """Write one tile and return 1."""
        grid, name = tile_grid(self.tiles, index), f"{self.count:09d}.tif"
        write_image(self.folder / "images" / name, image, grid, self.tiles)
        write_mask(self.folder / "labels" / name, mask, grid, self.tiles.classes)
        self.facts.add(name, image, mask)
        self.count += 1
        return 1

    def close(self) -> None:
        """Write what describes the tiles."""
        self.facts.write(self.folder)


_WRITERS: dict[str, Any] = dict(zip(FORMATS, (Pairs, ClassFolders, ArcGIS)))


def tile_grid(tiles: TileSet, index: int) -> Grid:
    """Return where a tile lies."""
    tile = tiles.tiles[index]
    return tiles.grid.part(Window(int(tile["row"]), int(tile["column"]), tiles.tile_size_px, tiles.tile_size_px))


def folder_names(classes: list[LandClass]) -> dict[int, str]:
    """Return a folder's name for each code: the class's name without what some system refuses, told apart by code."""
    names = {c.code: re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", c.name).strip(" .")[:80] or str(c.code) for c in classes}
    taken = [name.lower() for name in names.values()]
    return {code: f"{name} {code}" if taken.count(name.lower()) > 1 else name for code, name in names.items()}


def write_image(path: Path, image: NDArray[np.float32], grid: Grid, tiles: TileSet) -> None:
    """Write predictors (band, row, column) as a GeoTIFF with named bands and NaN for nodata."""
    dataset = _create(path, grid, len(image), gdal.GDT_Float32)
    for i, (band, values) in enumerate(zip(tiles.bands, image)):
        target = dataset.GetRasterBand(i + 1)
        target.SetNoDataValue(float("nan"))
        target.SetDescription(band.name)
        target.SetUnitType(band.unit)
        target.SetMetadataItem("GEODL_KIND", band.kind)
        target.WriteArray(values)
    _close(dataset, path)


def write_mask(path: Path, mask: NDArray[np.uint16], grid: Grid, classes: list[LandClass]) -> None:
    """Write class codes (row, column) as bytes if they fit, with their colours; 0 is nodata."""
    small = max(c.code for c in classes) < 256
    dataset = _create(path, grid, 1, gdal.GDT_Byte if small else gdal.GDT_UInt16)
    target = dataset.GetRasterBand(1)
    table = gdal.ColorTable()
    table.SetColorEntry(0, (0, 0, 0, 0))
    for one in classes:
        table.SetColorEntry(one.code, (*one.rgb, 255))
    target.SetColorTable(table)
    target.SetNoDataValue(0)
    target.WriteArray(mask.astype(np.uint8) if small else mask)
    _close(dataset, path)


def _create(path: Path, grid: Grid, bands: int, kind: int) -> gdal.Dataset:
    options = ["COMPRESS=DEFLATE", "ZLEVEL=1", "INTERLEAVE=BAND"]
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), grid.width, grid.height, bands, kind, options)
    dataset.SetSpatialRef(grid.spatial_reference)
    dataset.SetGeoTransform(grid.transform)
    return dataset


def _close(dataset: gdal.Dataset, path: Path) -> None:
    """Write what GDAL still holds back; it tells of a full disk only now, and not by an exception."""
    gdal.ErrorReset()
    dataset.FlushCache()
    del dataset
    if gdal.GetLastErrorType() >= gdal.CE_Failure:
        raise not_written(path, gdal.GetLastErrorMsg())


def _write_tables(folder: Path, tiles: TileSet) -> None:
    """Write the classes and bands as tables beside the tiles."""
    with (folder / "classes.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["code", "name", "colour"])
        rows.writerows([c.code, c.name, c.colour] for c in tiles.classes)
    with (folder / "bands.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["number", "name", "unit", "kind", "offset", "scale"])
        scaling = zip(tiles.bands, tiles.scaling.offset, tiles.scaling.scale)
        rows.writerows(
            [i + 1, b.name, b.unit, b.kind, repr(float(o)), repr(float(s))] for i, (b, o, s) in enumerate(scaling)
        )
