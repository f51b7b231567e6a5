"""
The layer of polygons in a GeoPackage: GDAL makes it, SQLite fills it, many rows at a time, and GDAL makes its spatial index.

A loop over features in Python takes several times as long. The spatial index comes last, as what keeps it up to date calls
functions that only GDAL has.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr

from ..rasters.grid import Grid
from .outlines import stored_polygons
from .patches import Ended

LAYER = "classes"


def write_polygons(file: Path, grid: Grid, names: Mapping[int, str], patches: Iterable[Ended]) -> None:
    """Write the polygons of patches, as they come, with class, code, confidence (0 to 1) and area."""
    _create(file, grid)
    least, largest, count = np.full(4, np.inf), np.full(4, -np.inf), 0
    with _database(file) as database:
        query = "SELECT srs_id, column_name FROM gpkg_geometry_columns WHERE table_name = ?"
        srs_id, geometry = database.execute(query, (LAYER,)).fetchone()
        database.execute("BEGIN")
        for part in patches:
            blobs, bounds = stored_polygons(part.rings, grid, srs_id)
            least, largest = np.minimum(least, bounds.min(axis=0)), np.maximum(largest, bounds.max(axis=0))
            count += len(blobs)
            codes = part.code.tolist()
            values = [np.round(each, 3).tolist() for each in (part.confidence, part.area_m2)]
            insert = f'INSERT INTO {LAYER} ("{geometry}", class, code, confidence, area_m2) VALUES (?, ?, ?, ?, ?)'
            database.executemany(insert, zip(blobs, [names.get(code, str(code)) for code in codes], codes, *values))
        if count:
            extent = (least[0], least[2], largest[1], largest[3], LAYER)
            database.execute("UPDATE gpkg_contents SET min_x=?, min_y=?, max_x=?, max_y=? WHERE table_name = ?", extent)
        database.execute("UPDATE gpkg_ogr_contents SET feature_count = ? WHERE table_name = ?", (count, LAYER))
        database.execute("COMMIT")
    dataset = gdal.OpenEx(str(file), gdal.OF_VECTOR | gdal.OF_UPDATE)
    try:
        dataset.ExecuteSQL(f"SELECT CreateSpatialIndex('{LAYER}', '{geometry}')")
        dataset.FlushCache()
    finally:
        del dataset  # an error would keep the file open, which is then to be deleted


def _create(file: Path, grid: Grid) -> None:
    dataset = gdal.GetDriverByName("GPKG").Create(str(file), 0, 0, 0, gdal.GDT_Unknown)
    try:
        layer = dataset.CreateLayer(LAYER, grid.spatial_reference, ogr.wkbPolygon, options=["SPATIAL_INDEX=NO"])
        kinds = (
            ("class", ogr.OFTString),
            ("code", ogr.OFTInteger),
            ("confidence", ogr.OFTReal),
            ("area_m2", ogr.OFTReal),
        )
        for name, kind in kinds:
            layer.CreateField(ogr.FieldDefn(name, kind))
        dataset.FlushCache()
        del layer
    finally:
        del dataset


@contextlib.contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a GeoPackage as the SQLite database that it is; what it refuses is an error as GDAL's are."""
    try:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
            for setting in ("journal_mode", "synchronous"):  # a file that was not finished is thrown away
                database.execute(f"PRAGMA {setting} = OFF")
            yield database
    except sqlite3.Error as error:
        raise RuntimeError(str(error)) from error
