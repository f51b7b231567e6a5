"""Grids: a CRS, a geotransform and a size; windows are rectangles in their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from osgeo import gdal, osr

from ..errors import GridError

gdal.UseExceptions()
osr.UseExceptions()


class Window(NamedTuple):
    """A rectangle in pixels of a grid."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return what cuts this window out of an array (row, column)."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)

    def grown(self, margin: int, height: int, width: int) -> Window:
        """Return the window with a margin on all sides, cut at the edges of a raster of ``height`` times ``width``."""
        row, column = max(self.row - margin, 0), max(self.column - margin, 0)
        bottom = min(self.row + self.height + margin, height)
        right = min(self.column + self.width + margin, width)
        return Window(row, column, bottom - row, right - column)

    def shared(self, other: Window) -> Window:
        """Return what two windows have in common; its height or width is 0 where they do not meet."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.column + self.width, other.column + other.width)
        return Window(row, column, max(bottom - row, 0), max(right - column, 0))

    def from_origin(self, origin: Window) -> Window:
        """Return the same window in pixels that count from the first one of ``origin``."""
        return Window(self.row - origin.row, self.column - origin.column, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """
    Where the pixels of a raster lie.

    ``transform`` is GDAL's: easting of the upper left corner, its change a column and a row, then the same of the northing.
    """

    crs: str  # WKT
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    @classmethod
    def of(cls, dataset: gdal.Dataset) -> Grid:
        """Return the grid of an open dataset."""
        crs = dataset.GetSpatialRef()
        return cls(
            crs.ExportToWkt() if crs else "", tuple(dataset.GetGeoTransform()), dataset.RasterXSize, dataset.RasterYSize
        )

    @property
    def spatial_reference(self) -> osr.SpatialReference:
        """Return GDAL's object, with easting or longitude first."""
        if not self.crs:
            raise GridError("A raster has no CRS. Assign one (Raster > Projections > Assign Projection) and run again.")
        reference = osr.SpatialReference(wkt=self.crs)
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        return reference

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Return the lengths of a pixel's sides along a row and along a column, in map units."""
        t = self.transform
        return float(np.hypot(t[1], t[4])), float(np.hypot(t[2], t[5]))

    @property
    def in_degrees(self) -> bool:
        """Whether coordinates are longitude and latitude."""
        return bool(self.spatial_reference.IsGeographic())

    def coordinates(self, row: Any, column: Any) -> tuple[Any, Any]:
        """Return easting and northing of positions in pixels; (0, 0) is the first pixel's corner, (0.5, 0.5) its middle."""
        t = self.transform
        return t[0] + column * t[1] + row * t[2], t[3] + column * t[4] + row * t[5]

    def pixels(self, easting: Any, northing: Any) -> tuple[Any, Any]:
        """Return positions (row, column) in pixels, not rounded; the inverse of `coordinates`."""
        t = self.transform
        determinant = t[1] * t[5] - t[2] * t[4]
        x, y = easting - t[0], northing - t[3]
        return (t[1] * y - t[4] * x) / determinant, (t[5] * x - t[2] * y) / determinant

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return the least easting and northing and the largest ones, of all four corners."""
        eastings, northings = self.coordinates(
            np.array([0, 0, self.height, self.height]), np.array([0, self.width, 0, self.width])
        )
        return float(eastings.min()), float(northings.min()), float(eastings.max()), float(northings.max())

    def part(self, window: Window) -> Grid:
        """Return the grid of a window."""
        t = self.transform
        east, north = self.coordinates(window.row, window.column)
        return Grid(self.crs, (float(east), t[1], t[2], float(north), t[4], t[5]), window.width, window.height)

    def same_as(self, other: Grid, tolerance_px: float = 0.01) -> bool:
        """Whether every corner lies within ``tolerance_px`` of the other grid's, in the same CRS and with the same size."""
        if (self.width, self.height) != (other.width, other.height):
            return False
        if not self.spatial_reference.IsSame(other.spatial_reference):
            return False
        rows, columns = np.array([0, 0, self.height, self.height]), np.array([0, self.width, 0, self.width])
        there = other.pixels(*self.coordinates(rows, columns))
        return bool(max(np.abs(there[0] - rows).max(), np.abs(there[1] - columns).max()) < tolerance_px)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Grid:
        """Read what `as_dict` wrote."""
        a, b, c, d, e, f = (float(number) for number in values["transform"])
        return cls(str(values["crs"]), (a, b, c, d, e, f), int(values["width"]), int(values["height"]))


def windows_of(area: Window, size: int) -> list[Window]:
    """Return the windows of at most ``size`` times ``size`` pixels that make up ``area``, row by row."""
    return [
        Window(row, column, min(size, area.row + area.height - row), min(size, area.column + area.width - column))
        for row in range(area.row, area.row + area.height, size)
        for column in range(area.column, area.column + area.width, size)
    ]
