"""
The layer of polygons in a GeoPackage: GDAL follows the outlines, SQLite fills in the fields, many rows at a time.

GDAL writes a feature once, with its code alone. What is then known of it is put in by SQLite itself: a loop over features in
Python took several times as long. The spatial index comes last, as its triggers use functions that only GDAL has.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from osgeo import gdal, ogr

from ..errors import Cancelled
from ..messages import Progress
from ..rasters.grid import Grid

LAYER = "classes"
_ROWS = 2**15  # read or written at once
_FLAGS, _BOUNDS_AND_LITTLE_END = 3, 0b11  # in the header; GDAL writes polygons so on all usual processors
_FIRST_POINT = (
    8 + 32 + 13
)  # after GeoPackage's header, bounds, and WKB's order, type and numbers of rings and of points
_FIRST_SIDE = _FIRST_POINT + 32  # two points


class Sides(NamedTuple):
    """A side of each polygon: the pixel below or to the right of it, whether its other pixel lies above, and the code."""

    row: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    above: npt.NDArray[np.bool_]
    code: npt.NDArray[np.int32]


def polygonise(file: Path, raster: str, grid: Grid, told: Any) -> None:
    """Write the outlines of all patches of a class raster, each with its code; ``told`` is GDAL's callback."""
    source = gdal.Open(raster)
    band = source.GetRasterBand(1)
    dataset = gdal.GetDriverByName("GPKG").Create(str(file), 0, 0, 0, gdal.GDT_Unknown)
    layer = dataset.CreateLayer(LAYER, grid.spatial_reference, ogr.wkbPolygon, options=["SPATIAL_INDEX=NO"])
    kinds = (("class", ogr.OFTString), ("code", ogr.OFTInteger), ("confidence", ogr.OFTReal), ("area_m2", ogr.OFTReal))
    try:
        for name, kind in kinds:
            layer.CreateField(ogr.FieldDefn(name, kind))
        dataset.StartTransaction()
        gdal.Polygonize(band, band.GetMaskBand(), layer, 1, [], callback=told)
        dataset.CommitTransaction()
        dataset.FlushCache()
    finally:
        del layer, dataset  # an error would keep the file open, which is to be deleted


def first_sides(file: Path, grid: Grid, progress: Progress) -> Sides:
    """Return the first side of each polygon's outline, in the order of their numbers."""
    with _rows(file) as database:
        count = database.execute(f"SELECT count(*) FROM {LAYER}").fetchone()[0]
        sides = Sides(*(np.zeros(count, kind) for kind in (np.int32, np.int32, bool, np.int32)))
        cursor = database.execute(f"SELECT code, substr(geom, 1, {_FIRST_SIDE}) FROM {LAYER} ORDER BY fid")
        for start in range(0, count, _ROWS):
            go_on(progress)
            codes, outlines = zip(*cursor.fetchmany(_ROWS))
            data = np.frombuffer(b"".join(outlines), np.uint8).reshape(-1, _FIRST_SIDE)
            points = (
                np.ascontiguousarray(data[:, _FIRST_POINT:]).view("<f8").reshape(-1, 2, 2)
            )  # (polygon, end, x and y)
            rows, columns = (np.rint(one) for one in grid.pixels(points[..., 0], points[..., 1]))
            across = rows[:, 0] == rows[:, 1]
            for whole, part in zip(sides, (rows.min(axis=1), columns.min(axis=1), across, codes)):
                whole[start : start + len(data)] = part
    return sides


def fill(
    file: Path,
    names: Mapping[int, str],
    code: npt.NDArray[np.int32],
    confidence: npt.NDArray[np.float64],
    area_m2: npt.NDArray[np.float64],
    progress: Progress,
) -> None:
    """Put class, confidence and area into each polygon, in the order of their numbers, and make the spatial index."""
    with _rows(file) as database:
        database.execute("PRAGMA journal_mode = OFF")  # a file that was not finished is thrown away
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        for start in range(0, len(code), _ROWS):
            go_on(progress)
            part = slice(start, start + _ROWS)
            classes = [names.get(one, str(one)) for one in code[part].tolist()]
            values = [np.round(each[part], 3).tolist() for each in (confidence, area_m2)]
            rows = zip(classes, *values, range(start + 1, start + 1 + len(classes)))
            database.executemany(f"UPDATE {LAYER} SET class = ?, confidence = ?, area_m2 = ? WHERE fid = ?", rows)
        database.execute("COMMIT")
    dataset = gdal.OpenEx(str(file), gdal.OF_VECTOR | gdal.OF_UPDATE)
    try:
        column = dataset.GetLayerByName(LAYER).GetGeometryColumn()
        dataset.ExecuteSQL(f"SELECT CreateSpatialIndex('{LAYER}', '{column}')")
        dataset.FlushCache()
    finally:
        del dataset


def go_on(progress: Progress) -> None:
    """Stop if the user wants it."""
    if progress.cancelled():
        raise Cancelled("The job was stopped before the polygons were written.")


@contextlib.contextmanager
def _rows(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a GeoPackage as the SQLite database that it is; what it refuses is an error as GDAL's are."""
    try:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
            yield database
    except sqlite3.Error as error:
        raise RuntimeError(str(error)) from error
