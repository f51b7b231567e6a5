"""
Filters of a magnetic grid, worked out by harmonica in the frequency domain.

What harmonica leaves to its caller is done here: rows are put in ascending order of northing (a GeoTIFF is read from north
to south, and all that has a direction would come back mirrored without a word), the mean is taken off, holes are filled, and
a margin is added on all sides, since the transform takes the grid for one tile of an endless pattern.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hole_filling import fill_holes
from .optional_packages import needed_package

Array = NDArray[np.float64]

MARGIN = 1 / 3  # of the grid's height and width, on each side


@dataclass(frozen=True)
class PaddedGrid:
    """
    A grid ready for the filters: ascending, without mean and holes, with a margin of zeros.

    ``nodes`` is harmonica's array (northing, easting); the rest tells the way back.
    """

    nodes: Any
    margin: tuple[int, int]
    missing: NDArray[np.bool_]  # (row, column), of the grid as it was given
    north_up: bool

    def unpadded(self, nodes: Any) -> Array:
        """Return filtered nodes as the grid was given, NaN where it was missing."""
        rows, columns = self.margin
        height, width = self.missing.shape
        values = np.array(nodes.values[rows : rows + height, columns : columns + width], np.float64)
        if self.north_up:
            values = values[::-1].copy()
        values[self.missing] = np.nan
        return values


def padded_grid(values: Array, spacing_m: tuple[float, float], *, north_up: bool) -> PaddedGrid:
    """
    Prepare a grid for the filters.

    Parameters
    ----------
    values : array (row, column)
        Total-field anomaly in nT, NaN where missing.
    spacing_m : (easting, northing)
        Positive distances of neighbouring pixels.
    north_up : bool
        Whether row 0 is the northernmost.
    """
    xarray = needed_package("xarray", "Magnetic predictors")
    missing = ~np.isfinite(values)
    level = float(values[~missing].mean())
    filled = fill_holes(values - level)
    ascending = filled[::-1] if north_up else filled
    margin = (max(int(values.shape[0] * MARGIN), 1), max(int(values.shape[1] * MARGIN), 1))
    padded = np.pad(ascending, ((margin[0], margin[0]), (margin[1], margin[1])))
    coordinates = {
        "northing": np.arange(padded.shape[0]) * spacing_m[1],
        "easting": np.arange(padded.shape[1]) * spacing_m[0],
    }
    nodes = xarray.DataArray(padded, dims=("northing", "easting"), coords=coordinates)
    return PaddedGrid(nodes, margin, missing, north_up)


def reduced_to_pole(grid: PaddedGrid, inclination: float, declination: float) -> PaddedGrid:
    """
    Return the field as it would be at the magnetic pole, over sources magnetised along today's field.

    Baranov & Naudy (1964), doi:10.1190/1.1438334. ``declination`` is clockwise from the grid's north.
    """
    harmonica = needed_package("harmonica", "Magnetic predictors")
    nodes = _quietly(harmonica.reduction_to_pole, grid.nodes, inclination=inclination, declination=declination)
    return PaddedGrid(nodes, grid.margin, grid.missing, grid.north_up)


def derivatives(grid: PaddedGrid) -> tuple[Any, Any, Any]:
    """Return nodes of the derivatives towards east and north (differences) and upwards (frequency domain), nT/m."""
    harmonica = needed_package("harmonica", "Magnetic predictors")
    return (
        harmonica.derivative_easting(grid.nodes),
        harmonica.derivative_northing(grid.nodes),
        _quietly(harmonica.derivative_upward, grid.nodes),
    )


def total_gradient(east: Any, north: Any, up: Any) -> Any:
    """Return the length of the gradient, "analytic signal": Roest et al. (1992), doi:10.1190/1.1443174."""
    return np.sqrt(east**2 + north**2 + up**2)


def tilt(east: Any, north: Any, up: Any) -> Any:
    """Return the gradient's angle above the horizon, radians: Miller & Singh (1994), doi:10.1016/0926-9851(94)90022-1."""
    return np.arctan2(up, np.hypot(east, north))


def upward_continued(grid: PaddedGrid, height_m: float) -> Any:
    """Return nodes of the field as it would be ``height_m`` higher: Blakely (1995), doi:10.1017/CBO9780511549816."""
    harmonica = needed_package("harmonica", "Magnetic predictors")
    return _quietly(harmonica.upward_continuation, grid.nodes, height_displacement=height_m)


def _quietly(function: Any, *arguments: Any, **options: Any) -> Any:
    """Call a filter without xrft's notice about a default of its own, and numpy's about 0 / 0 at the zero wavenumber."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*arguments, **options)
