"""A raster of which one band is read, window by window, with NaN for all that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal

from ..errors import GridError, SourceError
from ..files import check_source
from .grid import Grid, Window

_NO_NUMBER = 1e30  # Surfer, Geosoft and old ArcInfo grids mark missing pixels with huge values that are not declared


class SingleBand:
    """
    One band of a raster, opened for reading.

    Attributes
    ----------
    grid : Grid
        Where its pixels lie.
    unit : str
        Unit of the values if the file tells, else empty.
    """

    def __init__(self, dataset: gdal.Dataset, band: int, name: str) -> None:
        self.dataset = dataset
        self.name = name
        self.number = band
        self.keep_alive: tuple[gdal.Dataset, ...] = ()  # a VRT keeps no reference to datasets without a file name
        self.grid = Grid.of(dataset)
        self._band = dataset.GetRasterBand(band)
        self.unit = str(self._band.GetUnitType() or "")
        nodata = self._band.GetNoDataValue()
        self._nodata = None if nodata is None or np.isnan(nodata) else nodata
        self._scale = self._band.GetScale() or 1.0
        self._offset = self._band.GetOffset() or 0.0
        self._has_mask = bool(self._band.GetMaskFlags() & gdal.GMF_PER_DATASET)

    def read(self, window: Window | None = None) -> NDArray[np.float64]:
        """Return the values (row, column) of a window that may reach beyond the raster; NaN where missing or outside."""
        grid = self.grid
        if window is None:
            window = Window(0, 0, grid.height, grid.width)
        inside = _inside(window, grid)
        values = np.full((window.height, window.width), np.nan)
        if inside.height > 0 and inside.width > 0:
            top, left = inside.row - window.row, inside.column - window.column
            values[top : top + inside.height, left : left + inside.width] = self._read(inside)
        return values

    def check_values(self) -> tuple[float, float]:
        """
        Return the least and the largest value.

        Raises
        ------
        SourceError
            If every pixel is missing.
        """
        low, high = np.inf, -np.inf
        for window in windows(self.grid, 2048):
            values = self.read(window)
            values = values[np.isfinite(values)]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        if low > high:
            raise SourceError(f"{self.name} has no valid pixel: all are nodata. Choose another raster, band or extent.")
        return low, high

    def _read(self, window: Window) -> NDArray[np.float64]:
        place = (window.column, window.row, window.width, window.height)
        raw = self._band.ReadAsArray(*place)
        values: NDArray[np.float64] = raw.astype(np.float64)
        missing = ~np.isfinite(values) | (np.abs(values) >= _NO_NUMBER)
        if self._nodata is not None:
            # compared in the band's own type: a float32 band holds -3.4e38 a little differently from the number declared
            with np.errstate(over="ignore", invalid="ignore"):
                missing |= raw == np.float64(self._nodata).astype(raw.dtype)
        if self._has_mask:
            missing |= self._band.GetMaskBand().ReadAsArray(*place) == 0
        values = values * self._scale + self._offset
        values[missing] = np.nan
        return values


def open_band(path: str | Path, what: str, band: int = 1, needs_metres: bool = False) -> SingleBand:
    """
    Open one band of a raster; ``what`` names it in errors ("The DEM").

    Raises
    ------
    SourceError
        If the file does not exist or is no raster, or has no such band, or holds no measured values (a palette, complex numbers).
    GridError
        If the raster has no CRS or no geotransform, or (``needs_metres``) is in degrees.
    """
    if not str(path).startswith(("/vsi", "NETCDF:", "HDF5:", "GTIFF_RAW:")) and "://" not in str(path):
        check_source(path, what)
    try:
        dataset = gdal.OpenEx(str(path), gdal.OF_RASTER)
    except RuntimeError as error:
        raise SourceError(
            f"{what} {path} is not a raster that GDAL can open ({error}). Give a raster file such as a GeoTIFF."
        ) from error
    return check_band(SingleBand(_with_band(dataset, f"{what} {path}", band), band, f"{what} {path}"), needs_metres)


def check_band(source: SingleBand, needs_metres: bool = False) -> SingleBand:
    """Return ``source`` if it has a CRS and a place on the map, else raise what `open_band` says."""
    what = source.name
    if not source.grid.crs:
        raise GridError(f"{what} has no CRS. Assign one (Raster > Projections > Assign Projection) and run again.")
    if source.dataset.GetGeoTransform(can_return_null=True) is None:
        raise GridError(f"{what} has a CRS but no place on the map (no geotransform). Georeference it and run again.")
    if needs_metres and source.grid.in_degrees:
        raise GridError(
            f"{what} is in degrees ({source.grid.spatial_reference.GetName()}), but lengths in metres are needed. Warp it to a "
            "projected CRS, such as the UTM zone (Raster > Projections > Warp), and run again."
        )
    return source


def windows(grid: Grid, size: int) -> Iterator[Window]:
    """Yield windows of at most ``size`` by ``size`` pixels that cover a grid, row by row."""
    for row in range(0, grid.height, size):
        for column in range(0, grid.width, size):
            yield Window(row, column, min(size, grid.height - row), min(size, grid.width - column))


def _inside(window: Window, grid: Grid) -> Window:
    row, column = max(window.row, 0), max(window.column, 0)
    bottom, right = min(window.row + window.height, grid.height), min(window.column + window.width, grid.width)
    return Window(row, column, bottom - row, right - column)


def _with_band(dataset: gdal.Dataset, name: str, band: int) -> gdal.Dataset:
    if dataset.RasterCount == 0:
        parts = [part[0] for part in dataset.GetSubDatasets()]
        hint = f" Give one of its parts, such as {parts[0]}." if parts else " Give another file."
        raise SourceError(f"{name} has no raster band of its own.{hint}")
    if not 1 <= band <= dataset.RasterCount:
        raise SourceError(f"{name} has {dataset.RasterCount} band(s), but BAND is {band}. Give a number from 1 to {dataset.RasterCount}.")
    chosen = dataset.GetRasterBand(band)
    if chosen.GetColorTable() is not None:
        raise SourceError(f"{name} holds codes of a colour table, not measured values. Give the raster of values it was made from.")
    if gdal.DataTypeIsComplex(chosen.DataType):
        raise SourceError(f"{name} holds complex numbers. Give a raster of real values, such as their magnitude.")
    return dataset
