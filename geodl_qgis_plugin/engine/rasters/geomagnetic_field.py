"""The direction of the Earth's main field: from the user, or from the IGRF at the grid's centre and date."""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np
from osgeo import osr

from ..errors import GridError, SettingsError
from .grid import Grid
from .optional_packages import needed_package

_FIRST_YEAR, _LAST_YEAR = 1900, 2030  # of the fourteenth generation


class FieldDirection(NamedTuple):
    """Inclination (degrees below the horizon) and declination (degrees clockwise from true north)."""

    inclination: float
    declination: float


def igrf_direction(grid: Grid, date: str, height_m: float) -> FieldDirection:
    """
    Return the direction of the International Geomagnetic Reference Field at the centre of a grid.

    IGRF-14 through ppigrf; the generation before it is Alken et al. (2021), doi:10.1186/s40623-020-01288-x.

    Raises
    ------
    SettingsError
        If ``date`` is no date, or outside the years that the model covers.
    """
    try:
        day = datetime.datetime.fromisoformat(date)
    except ValueError as error:
        raise SettingsError(f"DATE is {date!r}, but must be a date such as 2000-01-31.") from error
    if not _FIRST_YEAR <= day.year < _LAST_YEAR:
        raise SettingsError(
            f"DATE is {day:%Y-%m-%d}, but the IGRF covers {_FIRST_YEAR} to {_LAST_YEAR - 1}. Give the survey's date, or "
            "INCLINATION and DECLINATION instead."
        )
    longitude, latitude = _centre(grid)
    ppigrf = needed_package("ppigrf", "The field's direction on a date")
    east, north, up = (
        float(np.squeeze(part))
        for part in ppigrf.igrf(longitude, latitude, height_m / 1000.0, day.replace(tzinfo=None))
    )
    inclination = np.degrees(np.arctan2(-up, np.hypot(east, north)))
    return FieldDirection(float(inclination), float(np.degrees(np.arctan2(east, north))))


def grid_north_azimuth(grid: Grid) -> float:
    """Return the direction of the grid's north at its centre, in degrees clockwise from true north (its convergence)."""
    longitude, latitude = _centre(grid)
    easting, northing = grid.coordinates(grid.height / 2, grid.width / 2)
    east, north = _to_degrees(grid).TransformPoint(float(easting), float(northing) + 1000.0)[:2]
    return float(np.degrees(np.arctan2((east - longitude) * np.cos(np.radians(latitude)), north - latitude)))


def _centre(grid: Grid) -> tuple[float, float]:
    easting, northing = grid.coordinates(grid.height / 2, grid.width / 2)
    try:
        longitude, latitude = _to_degrees(grid).TransformPoint(float(easting), float(northing))[:2]
    except RuntimeError as error:
        raise GridError(
            "The grid's middle lies outside the reach of its CRS. Check that the CRS is the right one."
        ) from error
    return float(longitude), float(latitude)


def _to_degrees(grid: Grid) -> osr.CoordinateTransformation:
    degrees = osr.SpatialReference()
    degrees.ImportFromEPSG(4326)
    degrees.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return osr.CoordinateTransformation(grid.spatial_reference, degrees)
