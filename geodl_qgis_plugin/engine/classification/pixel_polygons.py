"""
A map of pixels as polygons: pixels of one class that share a side, with area and mean confidence, in a styled GeoPackage.

GDAL sieves and polygonises line by line, and each polygon is written when it ends; areas and confidence are then summed block
by block over the pixels that each polygon covers. What is kept in memory is a few numbers a polygon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import gdal, ogr

from ..classes import LandClass
from ..errors import Cancelled
from ..files import whole_file
from ..messages import Progress
from ..rasters.grid import Grid, Window
from ..rasters.projection import metres_per_unit
from ..rasters.styles import polygons_qml, write_layer_style
from ..rasters.writer import gdal_sentences

LAYER = "classes"
_PIECES = "pieces"
_DATE = "2000-01-01T00:00:00.000Z"  # the same map gives the same file


def write_pixel_polygons(
    path: str | Path,
    class_raster: str | Path,
    classes: Sequence[LandClass],
    confidence: Iterable[tuple[Window, npt.NDArray[np.float32] | None]],
    *,
    least_area_m2: float,
    work_folder: Path,
    part_key: str,
    progress: Progress,
) -> None:
    """
    Write the polygons of a finished class raster.

    Parameters
    ----------
    confidence : iterable of (Window, array)
        The confidence (row, column) of each block, or None where there is no data.
    least_area_m2 : float
        Patches that are smaller take the class of the largest one beside them.
    work_folder : path
        Where what is needed on the way is put.
    """
    path = Path(path)
    source = gdal.Open(str(class_raster))
    grid = Grid.of(source)
    before = gdal.GetConfigOption("OGR_CURRENT_DATE")
    gdal.SetConfigOption("OGR_CURRENT_DATE", _DATE)
    try:
        with gdal_sentences(path):
            work_folder.mkdir(parents=True, exist_ok=True)
            pieces = _polygonise(source, grid, least_area_m2, work_folder, progress)
            sums = _sums(pieces, grid, confidence, progress)
            with whole_file(path, part_key) as part:
                _write(part, pieces, grid, classes, sums)
                write_layer_style(part, LAYER, polygons_qml(classes))
    finally:
        gdal.SetConfigOption("OGR_CURRENT_DATE", before)


def row_areas_m2(grid: Grid) -> npt.NDArray[np.float64]:
    """Return the area of a pixel of each row: on the ellipsoid where coordinates are degrees, else in the plane of the CRS."""
    t = grid.transform
    if not grid.in_degrees:
        return np.full(grid.height, abs(t[1] * t[5] - t[2] * t[4]) * metres_per_unit(grid) ** 2)
    reference = grid.spatial_reference
    a, b = reference.GetSemiMajor(), reference.GetSemiMinor()
    e = math.sqrt(max(1 - (b / a) ** 2, 1e-18))
    latitudes = np.radians(np.clip(t[3] + t[5] * np.arange(grid.height + 1), -90, 90))
    sines = np.sin(latitudes)
    # area between the equator and a latitude, for a radian of longitude (Snyder 1987, doi:10.3133/pp1395, eq. 3-12)
    belts = b**2 / 2 * (sines / (1 - (e * sines) ** 2) + np.arctanh(e * sines) / e)
    return np.asarray(np.abs(np.diff(belts)) * math.radians(abs(t[1])))


def _polygonise(source: gdal.Dataset, grid: Grid, least_m2: float, folder: Path, progress: Progress) -> gdal.Dataset:
    band = source.GetRasterBand(1)
    least_px = math.ceil(least_m2 / float(row_areas_m2(grid)[grid.height // 2])) if least_m2 > 0 else 0
    if least_px > 1:
        sieved = gdal.GetDriverByName("GTiff").Create(
            str(folder / "sieved.tif"),
            grid.width,
            grid.height,
            1,
            band.DataType,
            options=["TILED=YES", "SPARSE_OK=TRUE"],
        )
        gdal.SieveFilter(band, band.GetMaskBand(), sieved.GetRasterBand(1), least_px, 4, callback=_told(progress, 0.0))
        sieved.SetGeoTransform(grid.transform)
        band = sieved.GetRasterBand(1)
        band.SetNoDataValue(0)
    file = folder / "pieces.gpkg"
    file.unlink(missing_ok=True)
    pieces = gdal.GetDriverByName("GPKG").Create(str(file), 0, 0, 0, gdal.GDT_Unknown)
    layer = pieces.CreateLayer(_PIECES, grid.spatial_reference, ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("code", ogr.OFTInteger))
    pieces.StartTransaction()
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0, [], callback=_told(progress, 0.2))
    pieces.CommitTransaction()
    return pieces


def _sums(
    pieces: gdal.Dataset,
    grid: Grid,
    confidence: Iterable[tuple[Window, npt.NDArray[np.float32] | None]],
    progress: Progress,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the area in square metres and the mean confidence of each polygon, by its number."""
    count = pieces.GetLayerByName(_PIECES).GetFeatureCount() + 1
    pixels, sure, area = np.zeros(count), np.zeros(count), np.zeros(count)
    rows_m2 = row_areas_m2(grid)
    for window, values in confidence:
        if progress.cancelled():
            raise Cancelled("The job was stopped before the polygons were written.")
        if values is None:
            continue
        numbers = _numbers(pieces, grid.part(window))
        known = (numbers > 0) & np.isfinite(values)
        found = numbers[known]
        pixels += np.bincount(found, minlength=count)
        sure += np.bincount(found, weights=values[known], minlength=count)
        each = np.broadcast_to(rows_m2[window.slices[0]][:, None], numbers.shape)
        area += np.bincount(found, weights=each[known], minlength=count)
    return area, sure / np.maximum(pixels, 1)


def _numbers(pieces: gdal.Dataset, part: Grid) -> npt.NDArray[Any]:
    """Return the number of the polygon that each pixel lies in; 0 for none."""
    target = gdal.GetDriverByName("MEM").Create("", part.width, part.height, 1, gdal.GDT_Int32)
    target.SetSpatialRef(part.spatial_reference)
    target.SetGeoTransform(part.transform)
    west, south, east, north = part.bounds
    found = pieces.ExecuteSQL(
        f'SELECT p.fid + 0 AS piece, p.geom FROM "{_PIECES}" p JOIN "rtree_{_PIECES}_geom" r ON p.fid = r.id WHERE '
        f"r.minx <= {east!r} AND r.maxx >= {west!r} AND r.miny <= {north!r} AND r.maxy >= {south!r}"
    )
    gdal.RasterizeLayer(target, [1], found, options=["ATTRIBUTE=piece"])
    pieces.ReleaseResultSet(found)
    numbers: npt.NDArray[Any] = target.ReadAsArray()
    return numbers


def _write(
    part: Path,
    pieces: gdal.Dataset,
    grid: Grid,
    classes: Sequence[LandClass],
    sums: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
) -> None:
    names = {one.code: one.name for one in classes}
    dataset = gdal.GetDriverByName("GPKG").Create(str(part), 0, 0, 0, gdal.GDT_Unknown)
    layer = dataset.CreateLayer(LAYER, grid.spatial_reference, ogr.wkbPolygon)
    kinds = (("class", ogr.OFTString), ("code", ogr.OFTInteger), ("confidence", ogr.OFTReal), ("area_m2", ogr.OFTReal))
    for name, kind in kinds:
        layer.CreateField(ogr.FieldDefn(name, kind))
    dataset.StartTransaction()
    for piece in pieces.GetLayerByName(_PIECES):
        number, code = piece.GetFID(), piece["code"]
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(piece.GetGeometryRef())
        feature["class"], feature["code"] = names.get(code, str(code)), code
        feature["confidence"], feature["area_m2"] = round(float(sums[1][number]), 3), round(float(sums[0][number]), 3)
        layer.CreateFeature(feature)
    dataset.CommitTransaction()
    dataset.FlushCache()


def _told(progress: Progress, start: float) -> Any:
    def tell(fraction: float, _text: str, _data: object) -> int:
        progress.update(start + 0.2 * fraction, "Making polygons")
        return 0 if progress.cancelled() else 1

    return tell
