"""
A map of pixels as polygons: pixels of one class that share a side, with area and mean confidence, in a styled GeoPackage.

GDAL sieves and polygonises line by line, and each polygon is written when it ends; areas and confidence are then summed block
by block over the pixels that each polygon covers. What is kept in memory is a few numbers a polygon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import gdal, ogr
from scipy import ndimage

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
_STRIP_PX = 256
_DATE = "2000-01-01T00:00:00.000Z"  # the same map gives the same file


def write_pixel_polygons(
    path: str | Path,
    class_raster: str | Path,
    classes: Sequence[LandClass],
    confidence: Callable[[Window], npt.NDArray[np.float32]],
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
    confidence : callable
        Gives the confidence (row, column) of a window, NaN where there is no data.
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
            sieved = _sieved(source, grid, least_area_m2, work_folder, progress)
            band = sieved.GetRasterBand(1)
            pieces = _polygonise(band, grid, work_folder, progress)
            sums = _sums(pieces, band, grid, confidence, progress)
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


def _sieved(source: gdal.Dataset, grid: Grid, least_m2: float, folder: Path, progress: Progress) -> gdal.Dataset:
    """Return the class raster without its small patches."""
    band = source.GetRasterBand(1)
    least_px = math.ceil(least_m2 / float(row_areas_m2(grid)[grid.height // 2])) if least_m2 > 0 else 0
    if least_px <= 1:
        return source
    sieved = gdal.GetDriverByName("GTiff").Create(
        str(folder / "sieved.tif"), grid.width, grid.height, 1, band.DataType, options=["TILED=YES", "SPARSE_OK=TRUE"]
    )
    gdal.SieveFilter(band, band.GetMaskBand(), sieved.GetRasterBand(1), least_px, 4, callback=_told(progress, 0.0))
    sieved.SetGeoTransform(grid.transform)
    sieved.GetRasterBand(1).SetNoDataValue(0)
    return sieved


def _polygonise(band: gdal.Band, grid: Grid, folder: Path, progress: Progress) -> gdal.Dataset:
    """Return the outlines of all patches, each with its code."""
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
    band: gdal.Band,
    grid: Grid,
    confidence: Callable[[Window], npt.NDArray[np.float32]],
    progress: Progress,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """
    Return the area in square metres and the mean confidence of each polygon, by its number.

    Pixels that hang together are numbered strip by strip, and numbers that meet at a seam are made one. A polygon's number is
    that of the pixel in its first corner: to burn outlines would take time with the square of their length.
    """
    corners = _first_pixels(pieces, grid)
    numbers = np.zeros(len(corners), np.int64)
    rows_m2, patches = row_areas_m2(grid), _Patches()
    above = np.zeros((0, 0), np.int64)
    for row in range(0, grid.height, _STRIP_PX):
        if progress.cancelled():
            raise Cancelled("The job was stopped before the polygons were written.")
        strip = Window(row, 0, min(_STRIP_PX, grid.height - row), grid.width)
        codes = band.ReadAsArray(0, row, grid.width, strip.height)
        labels = patches.add(codes, confidence(strip), rows_m2[strip.slices[0]])
        if row:
            patches.join(above, labels[0], codes[0])
        above = np.stack([labels[-1], codes[-1]])
        here = (corners[:, 0] >= row) & (corners[:, 0] < row + strip.height)
        numbers[here] = labels[corners[here, 0] - row, corners[here, 1]]
        progress.update(0.4 + 0.5 * (row + strip.height) / grid.height, "Making polygons")
    return patches.sums(numbers)


class _Patches:
    """Pixels that hang together, numbered from 1; numbers that turn out to be one patch are joined."""

    def __init__(self) -> None:
        self._sums: list[npt.NDArray[np.float64]] = [np.zeros((3, 1))]  # pixels, confidence, area
        self._count = 1
        self._joined: dict[int, int] = {}

    def add(
        self, codes: npt.NDArray[Any], sure: npt.NDArray[np.float32], rows_m2: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Number the patches of a strip and sum them up; return the numbers (row, column), 0 for nodata."""
        labels, count = np.zeros(codes.shape, np.int64), 0
        for code in np.unique(codes[codes > 0]):
            own, found = ndimage.label(codes == code)
            labels[own > 0] = own[own > 0] + count
            count += found
        known, size = labels[labels > 0], count + 1
        area = np.broadcast_to(rows_m2[:, None], codes.shape)[labels > 0]
        weights = (None, np.nan_to_num(sure[labels > 0]), area)
        self._sums.append(np.stack([np.bincount(known, weights=one, minlength=size)[1:] for one in weights]))
        labels[labels > 0] += self._count - 1
        self._count += count
        return labels

    def join(self, above: npt.NDArray[np.int64], below: npt.NDArray[np.int64], codes: npt.NDArray[Any]) -> None:
        """Make one of the patches of the same code that meet at a seam."""
        meet = (above[1] == codes) & (codes > 0)
        for one, other in np.unique(np.stack([above[0][meet], below[meet]]), axis=1).T:
            first, second = sorted((self._root(int(one)), self._root(int(other))))
            if first != second:
                self._joined[second] = first

    def sums(self, numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the areas and mean confidences of the patches that the numbers belong to."""
        sums = np.concatenate(self._sums, axis=1)
        roots = np.arange(self._count)
        for number in self._joined:
            roots[number] = self._root(number)
        whole = np.stack([np.bincount(roots, weights=row, minlength=self._count) for row in sums])
        pixels, sure, area = whole[:, roots[numbers]]
        return area, sure / np.maximum(pixels, 1)

    def _root(self, number: int) -> int:
        path = []
        while number in self._joined:
            path.append(number)
            number = self._joined[number]
        for passed in path:
            self._joined[passed] = number
        return number


def _first_pixels(pieces: gdal.Dataset, grid: Grid) -> npt.NDArray[np.int64]:
    """Return the row and column of the pixel in each polygon's uppermost, leftmost corner, by the polygon's number."""
    layer = pieces.GetLayerByName(_PIECES)
    found = np.full((layer.GetFeatureCount() + 1, 2), -1, np.int64)
    for piece in layer:
        data = bytes(piece.GetGeometryRef().ExportToIsoWkb(ogr.wkbNDR))
        count = int(
            np.frombuffer(data, "<u4", 1, 9)[0]
        )  # of the outer ring's points, after order, type and number of rings
        points = np.frombuffer(data, "<f8", 2 * count, 13).reshape(-1, 2)
        rows, columns = (np.rint(one).astype(np.int64) for one in grid.pixels(points[:, 0], points[:, 1]))
        first = np.lexsort((columns, rows))[0]
        found[piece.GetFID()] = rows[first], columns[first]
    return found


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
