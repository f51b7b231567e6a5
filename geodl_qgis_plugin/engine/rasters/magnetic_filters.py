"""
Filters of a magnetic grid, worked out by harmonica in the frequency domain.

What harmonica leaves to its caller is done here: rows are put in ascending order of northing (a GeoTIFF is read from north
to south, and all that has a direction would come back mirrored without a word), the mean is taken off, holes are filled, and
a margin is added on all sides, since the transform takes the grid for one tile of an endless pattern.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hole_filling import fill_holes
from .optional_packages import needed_package

Array = NDArray[np.float64]

MARGIN = 1 / 3  # of the grid's height and width, on each side
ZEROS, MIRRORED = "zeros", "mirrored"


@dataclass(frozen=True)
class PaddedGrid:
    """
    A grid ready for the filters: ascending, without mean and holes, with a margin.

    ``nodes`` is harmonica's array (northing, easting); the rest tells the way back.
    """

    nodes: Any
    margin: tuple[int, int]
    missing: NDArray[np.bool_]  # (row, column), of the grid as it was given
    north_up: bool

    def inside(self) -> Any:
        """Return the nodes without the margin."""
        rows, columns = self.margin
        height, width = self.missing.shape
        return self.nodes[rows : rows + height, columns : columns + width]

    def with_nodes(self, nodes: Any) -> PaddedGrid:
        """Return a grid of the same layout with other nodes."""
        return replace(self, nodes=nodes)

    def values(self) -> Array:
        """Return the nodes as the grid was given, NaN where it was missing."""
        return self.masked(self.inside())

    def masked(self, inside: Any) -> Array:
        """Return nodes without margin in the order of the grid as it was given, NaN where it was missing."""
        values = np.array(inside, np.float64)
        if self.north_up:
            values = values[::-1].copy()
        values[self.missing] = np.nan
        return values


def padded_grid(values: Array, spacing_m: tuple[float, float], *, north_up: bool, margin: str = ZEROS) -> PaddedGrid:
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
    margin : "zeros" or "mirrored"
        What is put around it: zeros, as most programs do, or the grid's mirror image that fades to zero, which makes no step
        at the edge.
    """
    xarray = needed_package("xarray", "Magnetic predictors")
    missing = ~np.isfinite(values)
    level = float(values[~missing].mean())
    filled = fill_holes(values - level)
    ascending = filled[::-1] if north_up else filled
    rows, columns = (max(int(length * MARGIN), 1) for length in values.shape)
    width = ((rows, rows), (columns, columns))
    if margin == MIRRORED:
        padded = np.pad(ascending, width, mode="symmetric")
        padded *= np.outer(_fading(values.shape[0], rows), _fading(values.shape[1], columns))
    else:
        padded = np.pad(ascending, width)
    coordinates = {
        "northing": np.arange(padded.shape[0]) * spacing_m[1],
        "easting": np.arange(padded.shape[1]) * spacing_m[0],
    }
    nodes = xarray.DataArray(padded, dims=("northing", "easting"), coords=coordinates)
    return PaddedGrid(nodes, (rows, columns), missing, north_up)


def reduced_to_pole(grid: PaddedGrid, inclination: float, declination: float) -> PaddedGrid:
    """
    Return the field as it would be at the magnetic pole, over sources magnetised along today's field.

    Baranov & Naudy (1964), doi:10.1190/1.1438334. ``declination`` is clockwise from the grid's north.
    """
    harmonica = needed_package("harmonica", "Magnetic predictors")
    nodes = _quietly(harmonica.reduction_to_pole, grid.nodes, inclination=inclination, declination=declination)
    return grid.with_nodes(nodes)


def derivatives(grid: PaddedGrid) -> tuple[Array, Array, Array]:
    """
    Return the derivatives towards east, north and up (row, column), in nT/m.

    The horizontal ones are differences of neighbours and know nothing of the margin; the upward one comes from the
    frequency domain.
    """
    harmonica = needed_package("harmonica", "Magnetic predictors")
    inside = grid.inside()
    up = grid.with_nodes(_quietly(harmonica.derivative_upward, grid.nodes))
    return (
        grid.masked(harmonica.derivative_easting(inside)),
        grid.masked(harmonica.derivative_northing(inside)),
        up.values(),
    )


def total_gradient(east: Array, north: Array, up: Array) -> Array:
    """Return the length of the gradient, "analytic signal": Roest et al. (1992), doi:10.1190/1.1443174."""
    length: Array = np.sqrt(east**2 + north**2 + up**2)
    return length


def tilt(east: Array, north: Array, up: Array) -> Array:
    """Return the gradient's angle above the horizon, radians: Miller & Singh (1994), doi:10.1016/0926-9851(94)90022-1."""
    angle: Array = np.arctan2(up, np.hypot(east, north))
    return angle


def upward_continued(grid: PaddedGrid, height_m: float) -> PaddedGrid:
    """Return the field as it would be ``height_m`` higher: Blakely (1995), doi:10.1017/CBO9780511549816."""
    harmonica = needed_package("harmonica", "Magnetic predictors")
    return grid.with_nodes(_quietly(harmonica.upward_continuation, grid.nodes, height_displacement=height_m))


def _fading(length: int, margin: int) -> Array:
    """Return 1 over a length, fading to 0 over a margin on both sides (half a cosine)."""
    slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(margin) + 0.5) / margin)
    return np.concatenate([slope, np.ones(length), slope[::-1]])


def _quietly(function: Any, *arguments: Any, **options: Any) -> Any:
    """Call a filter without the notices of xrft, and numpy's about 0 / 0 at the zero wavenumber."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        for kind in (FutureWarning, DeprecationWarning, RuntimeWarning):
            warnings.simplefilter("ignore", kind)
        return function(*arguments, **options)
