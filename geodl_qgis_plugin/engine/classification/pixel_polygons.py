"""
A map of pixels as polygons: pixels of one class that share a side, with area and mean confidence, in a styled GeoPackage.

GDAL sieves the map and follows the outlines line by line; meanwhile the same patches are summed up strip by strip. One side of
a polygon's outline then tells which sums are its own. What is kept in memory is a few numbers a polygon.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from osgeo import gdal

from ..classes import LandClass
from ..files import whole_file
from ..messages import Progress
from ..rasters.grid import Grid, Window
from ..rasters.projection import metres_per_unit
from ..rasters.styles import polygons_qml, write_layer_style
from ..rasters.writer import PACKED_NODATA, PACKED_SCALE, gdal_sentences
from .patches import Patches
from .polygon_layer import LAYER, fill, first_sides, go_on, polygonise

_STRIP_PIXELS, _LEAST_ROWS = 2**20, 64
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
        Gives the confidence (row, column) of a window as `writer.pack` stores it; windows come from the top down.
    least_area_m2 : float
        Patches that are smaller take the class of the largest one beside them.
    work_folder : path
        Where what is needed on the way is put.
    """
    path = Path(path)
    grid = Grid.of(gdal.Open(str(class_raster)))
    with gdal_sentences(path), _settings(), whole_file(path, part_key) as part:
        work_folder.mkdir(parents=True, exist_ok=True)
        raster = _sieved(str(class_raster), grid, least_area_m2, work_folder, progress)
        patches = _outlines_and_patches(part, raster, grid, confidence, work_folder, progress)
        sides = first_sides(part, grid, progress)
        progress.update(0.8, "Making polygons")
        area_m2, mean = patches.of_sides(*sides)
        progress.update(0.9, "Making polygons")
        names = {one.code: one.name for one in classes}
        fill(part, names, sides.code, mean * PACKED_SCALE, area_m2, progress)
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
    file = str(folder / "sieved.tif")
    sieved = gdal.GetDriverByName("GTiff").Create(
        file, grid.width, grid.height, 1, band.DataType, options=["TILED=YES", "SPARSE_OK=TRUE"]
    )
    told = _told(progress, 0.0, 0.2)
    with _stopped(progress):
        gdal.SieveFilter(band, band.GetMaskBand(), sieved.GetRasterBand(1), least_px, 4, callback=told)
    sieved.SetGeoTransform(grid.transform)
    sieved.GetRasterBand(1).SetNoDataValue(0)
    sieved.FlushCache()
    return file


def _outlines_and_patches(
    part: Path,
    raster: str,
    grid: Grid,
    confidence: Callable[[Window], npt.NDArray[np.uint8]],
    folder: Path,
    progress: Progress,
) -> Patches:
    """Write the outlines, in a thread of GDAL's, and sum up the patches; both stop when one fails."""
    failed = threading.Event()
    told = _told(progress, 0.2, 0.7, failed)
    with _stopped(progress), ThreadPoolExecutor(1, thread_name_prefix="outlines") as pool:
        outlines = pool.submit(polygonise, part, raster, grid, told)
        try:
            strip_rows = max(_STRIP_PIXELS // grid.width, _LEAST_ROWS)
            patches, rows_m2, source = Patches(grid.width, strip_rows, folder), row_areas_m2(grid), gdal.Open(raster)
            for row in range(0, grid.height, strip_rows):
                if outlines.done():
                    outlines.result()  # raises what ended it
                go_on(progress)
                strip = Window(row, 0, min(strip_rows, grid.height - row), grid.width)
                sure = confidence(strip)
                sure[sure == PACKED_NODATA] = 0
                patches.add(source.ReadAsArray(0, row, grid.width, strip.height), sure, rows_m2[strip.slices[0]])
        except BaseException:
            failed.set()
            raise
        outlines.result()
    return patches


def _told(progress: Progress, start: float, end: float, failed: threading.Event | None = None) -> Callable[..., int]:
    """Return a callback for GDAL, which goes on as long as it gives 1."""

    def tell(fraction: float, _text: str, _data: object) -> int:
        progress.update(start + (end - start) * fraction, "Making polygons")
        return 0 if progress.cancelled() or (failed is not None and failed.is_set()) else 1

    return tell


@contextmanager
def _stopped(progress: Progress) -> Iterator[None]:
    """Tell that the user stopped GDAL from errors of its own."""
    try:
        yield
    except RuntimeError:
        go_on(progress)
        raise


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
