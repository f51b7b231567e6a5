"""Extents as Processing writes them: the part of a grid that a user chose."""

from __future__ import annotations

import numpy as np
from osgeo import osr

from ..errors import GridError, NoOverlapError, SettingsError
from .grid import Grid, Window


def window_of_extent(text: str, grid: Grid) -> Window:
    """Return the window of whole pixels that the extent touches; all of the grid for an empty text.

    Raises
    ------
    SettingsError
        If the text is no extent, ``west,east,south,north [EPSG:code]`` (the CRS may be left out).
    NoOverlapError
        If the extent does not overlap the grid.
    GridError
        If it cannot be brought to the grid's CRS.
    """
    if not text.strip():
        return Window(0, 0, grid.height, grid.width)
    numbers, _, crs = text.partition("[")
    try:
        west, east, south, north = (float(number) for number in numbers.split(","))
    except ValueError as error:
        raise SettingsError(f'EXTENT is {text!r}, but must read "west,east,south,north [EPSG:code]".') from error
    steps = np.linspace(0, 1, 21)
    eastings = np.concatenate([west + (east - west) * steps] * 2 + [np.full(21, west), np.full(21, east)])
    northings = np.concatenate([np.full(21, south), np.full(21, north)] + [south + (north - south) * steps] * 2)
    if crs.strip(" ]"):
        reference = osr.SpatialReference()
        reference.SetFromUserInput(crs.strip(" ]"))
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        there = osr.CoordinateTransformation(reference, grid.spatial_reference)
        points = np.array([there.TransformPoint(float(x), float(y))[:2] for x, y in zip(eastings, northings)])
        eastings, northings = points.T
    rows, columns = grid.pixels(eastings, northings)
    if not (np.isfinite(rows).all() and np.isfinite(columns).all()):
        raise GridError("EXTENT cannot be brought to the CRS of the first raster. Choose an extent on the raster.")
    top, left = max(int(np.floor(rows.min() + 1e-6)), 0), max(int(np.floor(columns.min() + 1e-6)), 0)
    bottom = min(int(np.ceil(rows.max() - 1e-6)), grid.height)
    right = min(int(np.ceil(columns.max() - 1e-6)), grid.width)
    if bottom <= top or right <= left:
        raise NoOverlapError(
            "EXTENT does not overlap the first raster. Choose an extent on the raster, and check its CRS."
        )
    return Window(top, left, bottom - top, right - left)
