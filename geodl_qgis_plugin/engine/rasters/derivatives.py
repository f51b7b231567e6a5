"""
First and second derivatives of a surface, and what geomorphometry makes of them.

Derivatives are taken along rows and columns and turned into east and north with the grid's own geotransform. Rotated,
south-up and non-square grids therefore need no resampling, which would smooth the very things that are measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# weights (row, column) of the slope along columns and along rows: Horn (1981), doi:10.1109/PROC.1981.11918
_HORN = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8.0

# least-squares fit of a third-order polynomial to 5 by 5 pixels: Florinsky (2009), doi:10.1080/13658810802527499
_FLORINSKY_P = (
    np.array(
        [[31, -44, 0, 44, -31], [-5, -62, 0, 62, 5], [-17, -68, 0, 68, 17], [-5, -62, 0, 62, 5], [31, -44, 0, 44, -31]]
    )
    / 420.0
)
_FLORINSKY_R = np.tile([2, -1, -2, -1, 2], (5, 1)) / 35.0
_FLORINSKY_S = np.outer([-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2]) / 100.0


class Gradient(NamedTuple):
    """Rise per metre towards east and towards north."""

    east: Array
    north: Array


class Surface(NamedTuple):
    """First and second derivatives towards east (x) and north (y), per metre."""

    x: Array
    y: Array
    xx: Array
    xy: Array
    yy: Array


class Curvatures(NamedTuple):
    """Curvatures, 1/m; positive where the surface bulges outwards (ridges, spurs)."""

    profile: Array
    tangential: Array
    planform: Array


def horn_gradient(values: Array, axes: Array) -> Gradient:
    """
    Return the gradient after Horn (1981), the one that GDAL takes by default.

    Parameters
    ----------
    values : array (row, column)
        NaN where missing. Missing neighbours are put where a plane through the pixel would have them, so every valid pixel
        gets a value, and a plane keeps its slope up to its edge.
    axes : array (2, 2)
        ``[[east, north] of a step along a row, [east, north] of a step down a column]``, in metres.
    """
    down, right = _weighted(values, [_HORN.T, _HORN])
    inverse = np.linalg.inv(axes)
    return Gradient(inverse[0, 0] * right + inverse[0, 1] * down, inverse[1, 0] * right + inverse[1, 1] * down)


def florinsky_surface(values: Array, axes: Array) -> Surface:
    """
    Return first and second derivatives after Florinsky (2009), a cubic polynomial fitted to 5 by 5 pixels.

    Wider than a 3 by 3 fit, it lets less of a DEM's noise and steps of whole metres into the second derivatives.
    Parameters as of `horn_gradient`.
    """
    weights = [_FLORINSKY_P, _FLORINSKY_P.T, _FLORINSKY_R, _FLORINSKY_S, _FLORINSKY_R.T]
    u, v, uu, uv, vv = _weighted(values, weights)  # u: along a row, v: down a column
    (a, b), (c, d) = np.linalg.inv(axes)  # du/dx = a, dv/dx = b; du/dy = c, dv/dy = d
    return Surface(
        a * u + b * v,
        c * u + d * v,
        a * a * uu + 2 * a * b * uv + b * b * vv,
        a * c * uu + (a * d + b * c) * uv + b * d * vv,
        c * c * uu + 2 * c * d * uv + d * d * vv,
    )


def curvatures(surface: Surface) -> Curvatures:
    """
    Return the geometric curvatures of a surface, 0 where it is level.

    Profile: normal curvature along the slope line; tangential: normal curvature along the contour; planform: curvature
    of the contour on the map. Formulas as gathered by Minár et al. (2020), doi:10.1016/j.earscirev.2020.103414.
    """
    x, y, xx, xy, yy = surface
    squared = x * x + y * y
    along = xx * x * x + 2 * xy * x * y + yy * y * y
    across = xx * y * y - 2 * xy * x * y + yy * x * x
    sloping = squared > 1e-14
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = -along / (squared * (1 + squared) ** 1.5)
        tangential = -across / (squared * np.sqrt(1 + squared))
        planform = -across / squared**1.5
    level = np.where(np.isfinite(squared), 0.0, np.nan)
    return Curvatures(*(np.where(sloping, part, level) for part in (profile, tangential, planform)))


def slope_degrees(gradient: Gradient) -> Array:
    """Return the steepest slope, in degrees."""
    slope: Array = np.degrees(np.arctan(np.hypot(gradient.east, gradient.north)))
    return slope


def aspect_vector(gradient: Gradient) -> tuple[Array, Array]:
    """Return the sine and cosine of aspect (where the surface faces, clockwise from north); both 0 where it is level."""
    length = np.hypot(gradient.east, gradient.north)
    safe = np.where(length == 0, 1.0, length)
    return -gradient.east / safe, -gradient.north / safe


def multidirectional_hillshade(gradient: Gradient, altitude_degrees: float = 45.0) -> Array:
    """
    Return illumination from 225°, 270°, 315° and 360°, from 0 (dark) to 1.

    Each light counts by the squared cosine of the angle between it and the aspect. After Mark (1992), U.S. Geological Survey
    Open-File Report 92-422, doi:10.3133/ofr92422, as ``gdaldem hillshade -multidirectional``, which writes it as 1 to 255.
    """
    sine, cosine = aspect_vector(gradient)
    steepness = np.arctan(np.hypot(gradient.east, gradient.north))
    high, low = np.sin(np.radians(altitude_degrees)), np.cos(np.radians(altitude_degrees))
    light = np.zeros_like(sine)
    for azimuth in np.radians([225.0, 270.0, 315.0, 360.0]):
        facing = sine * np.sin(azimuth) + cosine * np.cos(azimuth)  # cosine of aspect less azimuth
        lit = np.maximum(high * np.cos(steepness) + low * np.sin(steepness) * facing, 0.0)
        light += 0.5 * facing**2 * lit
    return np.where(np.hypot(gradient.east, gradient.north) == 0, high, light)


def _weighted(values: Array, weights: list[Array]) -> list[Array]:
    """Return one weighted sum of the neighbours per table of weights; weights must add up to nothing."""
    neighbours = _Neighbours(values, weights[0].shape[0] // 2)
    sums = [np.zeros_like(values) for _ in weights]
    for row, column in neighbours.steps:
        factors = [table[row + neighbours.radius, column + neighbours.radius] for table in weights]
        if not any(factors):
            continue
        difference = neighbours.difference(row, column)
        for total, factor in zip(sums, factors, strict=True):
            if factor:
                total += factor * difference
    return [np.where(np.isfinite(values), total, np.nan) for total in sums]


class _Neighbours:
    """
    Differences from each pixel to its neighbours, as a plane through the pixel would have them where they are missing.

    A missing one is taken from the opposite neighbour; failing that, from those along the row and along the column.
    """

    def __init__(self, values: Array, radius: int) -> None:
        self.radius = radius
        self._values = values
        self._padded = np.pad(values, radius, constant_values=np.nan)
        self._straight: dict[tuple[int, int], Array] = {}
        steps = range(-radius, radius + 1)
        # along rows and columns first, near ones before far ones: the others lean on them
        self.steps = sorted(
            ((row, column) for row in steps for column in steps if row or column),
            key=lambda step: (step[0] != 0 and step[1] != 0, abs(step[0]) + abs(step[1])),
        )

    def difference(self, row: int, column: int) -> Array:
        """Return the neighbour ``row`` rows down and ``column`` columns right less the pixel."""
        found = self._found(row, column)
        missing = ~np.isfinite(found)
        if missing.any():
            opposite = -self._found(-row, -column)
            found = np.where(missing, np.where(np.isfinite(opposite), opposite, self._plane(row, column)), found)
        if row == 0 or column == 0:
            self._straight[row, column] = found
        return found

    def _found(self, row: int, column: int) -> Array:
        height, width = self._values.shape
        top, left = self.radius + row, self.radius + column
        difference: Array = self._padded[top : top + height, left : left + width] - self._values
        return difference

    def _plane(self, row: int, column: int) -> Array | float:
        if row and column:
            return self._along(row, 0) + self._along(0, column)
        if abs(row + column) > 1:
            return abs(row + column) * self._along(np.sign(row), np.sign(column))
        return 0.0

    def _along(self, row: int, column: int) -> Array:
        if (row, column) not in self._straight:
            self.difference(int(row), int(column))
        return self._straight[row, column]
