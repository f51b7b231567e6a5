"""
A map of pixels as polygons: pixels of one class that share a side, with area and mean confidence, in a styled GeoPackage.

GDAL sieves the map; then it is read once, strip by strip, and each polygon is written when it ends. What is kept in memory is
the outlines of those that have not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from osgeo import gdal

from ..classes import LandClass
from ..errors import Cancelled
from ..files import whole_file
from ..messages import PartOfProgress, Progress
from ..rasters.grid import Grid, Window
from ..rasters.projection import metres_per_unit
from ..rasters.styles import polygons_qml, write_layer_style
from ..rasters.writer import PACKED_NODATA, PACKED_SCALE, gdal_sentences
from .patches import Ended, Patches
from .polygon_layer import LAYER, write_polygons

_STRIP_PIXELS = 2**19
_CHUNK_PIXELS = 2**24  # read at once: files have blocks that are much higher than a strip
_DATE = "2000-01-01T00:00:00.000Z"  # the same map gives the same file


def write_pixel_polygons(
    path: str | Path,
    class_raster: str | Path,
    classes: Sequence[LandClass],
    confidence: Callable[[Window], npt.NDArray[np.uint8]],
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
        Gives the confidence (row, column) of a window as `writer.pack` stores it.
    least_area_m2 : float
        Patches that are smaller take the class of the largest one beside them.
    work_folder : path
        Where what is needed on the way is put.
    """
    path = Path(path)
    grid = Grid.of(gdal.Open(str(class_raster)))
    names = {one.code: one.name for one in classes}
    with gdal_sentences(path), _settings(), whole_file(path, part_key) as part:
        raster = _sieved(str(class_raster), grid, least_area_m2, work_folder, progress)
        patches = _patches(raster, grid, confidence, PartOfProgress(progress, 0.2, 0.9))
        write_polygons(part, grid, names, patches)
        write_layer_style(part, LAYER, polygons_qml(classes))
        with part.open("rb+") as file:
            os.fsync(file.fileno())


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


def _sieved(raster: str, grid: Grid, least_m2: float, folder: Path, progress: Progress) -> str:
    """Return the path of the class raster without its small patches."""
    least_px = math.ceil(least_m2 / float(row_areas_m2(grid)[grid.height // 2])) if least_m2 > 0 else 0
    if least_px <= 1:
        return raster
    source = gdal.Open(raster)
    band = source.GetRasterBand(1)
    folder.mkdir(parents=True, exist_ok=True)
    file = str(folder / "sieved.tif")
    sieved = gdal.GetDriverByName("GTiff").Create(
        file, grid.width, grid.height, 1, band.DataType, options=["TILED=YES", "SPARSE_OK=TRUE"]
    )

    def told(fraction: float, _text: str, _data: object) -> int:
        progress.update(0.2 * fraction, "Making polygons")
        return 0 if progress.cancelled() else 1

    try:
        gdal.SieveFilter(band, band.GetMaskBand(), sieved.GetRasterBand(1), least_px, 4, callback=told)
    except RuntimeError:
        _go_on(progress)  # is it GDAL that was stopped?
        raise
    sieved.SetGeoTransform(grid.transform)
    sieved.GetRasterBand(1).SetNoDataValue(0)
    sieved.FlushCache()
    return file


def _patches(
    raster: str, grid: Grid, confidence: Callable[[Window], npt.NDArray[np.uint8]], progress: Progress
) -> Iterator[Ended]:
    """Yield the patches of a raster as they end, with confidence from 0 to 1."""
    patches, rows_m2, source = Patches(grid.width), row_areas_m2(grid), gdal.Open(raster)
    high = max(_STRIP_PIXELS // grid.width, 1)
    strips = max(_CHUNK_PIXELS // (high * grid.width), 1)
    for chunk in _rows_of(Window(0, 0, grid.height, grid.width), strips * high):
        codes, sure = source.ReadAsArray(0, chunk.row, grid.width, chunk.height), confidence(chunk)
        sure[sure == PACKED_NODATA] = 0
        for strip in _rows_of(chunk, high):
            _go_on(progress)
            rows = strip.from_origin(chunk).slices[0]
            for ended in patches.add(codes[rows], sure[rows], rows_m2[strip.slices[0]]):
                yield ended._replace(confidence=ended.confidence * PACKED_SCALE)
            progress.update((strip.row + strip.height) / grid.height, "Making polygons")
    for ended in patches.end():
        yield ended._replace(confidence=ended.confidence * PACKED_SCALE)


def _rows_of(area: Window, high: int) -> list[Window]:
    """Return strips of whole rows, from the top down."""
    bottom = area.row + area.height
    return [Window(row, area.column, min(high, bottom - row), area.width) for row in range(area.row, bottom, high)]


def _go_on(progress: Progress) -> None:
    if progress.cancelled():
        raise Cancelled("The job was stopped before the polygons were written.")


@contextmanager
def _settings() -> Iterator[None]:
    """Let GeoPackages say that they were changed at one and the same moment, and wait for the disk at the end only."""
    settings = {"OGR_CURRENT_DATE": _DATE, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
    before = {name: gdal.GetConfigOption(name) for name in settings}
    try:
        for name, value in settings.items():
            gdal.SetConfigOption(name, value)
        yield
    finally:
        for name, value in before.items():
            gdal.SetConfigOption(name, value)
