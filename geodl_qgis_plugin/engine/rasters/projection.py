"""Bring a raster in degrees onto a grid in metres, where lengths are needed."""

from __future__ import annotations

import dataclasses

import numpy as np
from osgeo import gdal, osr

from ..errors import GridError
from ..messages import Progress
from .grid import Grid
from .single_band import SingleBand
from .sources import open_raster
from .stack import open_stack

_UTM_HALF_WIDTH_DEGREES = 4.5  # beyond its zone, UTM's scale is wrong by up to 0.3 % at this distance
_UTM_LIMIT_DEGREES = 84.0
_TOLERATED_SCALE = 1.02
_OVER_THE_POLE = 1.0  # degrees: half a pixel of a coarse global grid


def in_metres(source: SingleBand, progress: Progress) -> SingleBand:
    """
    Return a raster in degrees as one in metres, warped on the fly (cubic), and say so; one in metres as it is.

    The CRS is the UTM zone of the raster's middle, or Lambert's azimuthal equal area about it where the raster is
    too wide for one zone or too near to a pole.
    """
    if not source.grid.in_degrees:
        _warn_of_distortion(source.grid, source.what, progress)
        return source
    if source.grid.width < 2 or source.grid.height < 2:
        raise GridError(f"{source.what} is in degrees and too small to be warped to metres. Give a larger raster.")
    target = crs_in_metres(*source.grid.bounds)
    grid = _suggested_grid(source, target)
    warped = open_stack([f"{source.source}|resampling=cubic"], grid=grid)
    progress.message(
        f"{source.what} is in degrees. It is warped to {target.GetName()} with pixels of {grid.pixel_size[0]:.4g} m, since "
        "slopes and distances need metres; the output is on that grid."
    )
    return dataclasses.replace(source, stack=warped)


def north_up(source: SingleBand, progress: Progress) -> SingleBand:
    """Return a rotated raster warped (cubic) to rows that run east, and say so; one that is not rotated as it is."""
    t = source.grid.transform
    if abs(t[2]) < 1e-6 * abs(t[1]) and abs(t[4]) < 1e-6 * abs(t[5]) and t[1] > 0:
        return source
    grid = _suggested_grid(source, source.grid.spatial_reference)
    warped = open_stack([f"{source.source}|resampling=cubic"], grid=grid)
    progress.message(f"{source.what} is rotated. It is warped to rows that run east; the output is on that grid.")
    return dataclasses.replace(source, stack=warped)


def crs_in_metres(west: float, south: float, east: float, north: float) -> osr.SpatialReference:
    """Return a CRS in metres for an area in degrees: its UTM zone, or Lambert's azimuthal equal area about its middle."""
    if max(abs(south), abs(north)) > 90.0 + _OVER_THE_POLE or max(abs(west), abs(east)) > 360.0 + _OVER_THE_POLE:
        raise GridError(
            f"The CRS is in degrees, but its coordinates reach {max(abs(east), abs(west)):,.0f} east and "
            f"{max(abs(south), abs(north)):,.0f} north. Assign the CRS that they are in."
        )
    longitude, latitude = (west + east) / 2, (south + north) / 2
    longitude = (longitude + 180.0) % 360.0 - 180.0
    reference = osr.SpatialReference()
    if max(abs(south), abs(north)) < _UTM_LIMIT_DEGREES and east - west <= 2 * _UTM_HALF_WIDTH_DEGREES:
        zone = min(int((longitude + 180.0) // 6.0) + 1, 60)
        reference.ImportFromEPSG((32600 if latitude >= 0 else 32700) + zone)
    else:
        reference.ImportFromProj4(
            f"+proj=laea +lat_0={latitude:.4f} +lon_0={longitude:.4f} +datum=WGS84 +units=m +no_defs"
        )
        reference.SetProjCS("Lambert azimuthal equal area about the middle")
    reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return reference


def _suggested_grid(source: SingleBand, target: osr.SpatialReference) -> Grid:
    """Return the grid of square pixels that GDAL suggests: as many along the diagonal as the source has."""
    return Grid.of(gdal.AutoCreateWarpedVRT(open_raster(source.stack.paths[0]), None, target.ExportToWkt()))


def metres_per_unit(grid: Grid) -> float:
    """Return the length of the CRS's unit in metres (1 for metres, 0.3048 for feet)."""
    return float(grid.spatial_reference.GetLinearUnits())


def _warn_of_distortion(grid: Grid, name: str, progress: Progress) -> None:
    """Web Mercator's metres are longer than metres on the ground, away from the equator."""
    method = grid.spatial_reference.GetAttrValue("PROJECTION") or ""
    if method != "Mercator_1SP" and "Pseudo Mercator" not in method and "Popular_Visualisation" not in method:
        return
    to_degrees = osr.SpatialReference()
    to_degrees.ImportFromEPSG(4326)
    to_degrees.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    easting, northing = grid.coordinates(grid.height / 2, grid.width / 2)
    latitude = osr.CoordinateTransformation(grid.spatial_reference, to_degrees).TransformPoint(easting, northing)[1]
    factor = 1 / np.cos(np.radians(latitude))
    if factor > _TOLERATED_SCALE:
        progress.warning(
            f"{name} is in Mercator's projection, whose metres are {factor:.2f} times too long at {latitude:.0f}° latitude: "
            "slopes come out too gentle by as much. Warp it to the UTM zone first if that matters."
        )
