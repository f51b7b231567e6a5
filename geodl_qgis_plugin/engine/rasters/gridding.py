"""
Grid scattered survey points, the job ``gridpoints``: block medians, interpolation by verde, nodata where no data are near.

A survey is dense along its lines and sparse between them. The median of the points in each pixel takes off spikes and the
excess of points along lines; what is interpolated is then about as many points as the grid has pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import osr
from scipy.spatial import QhullError, cKDTree

from ..bands import Band
from ..errors import Cancelled, GridError, SettingsError
from ..files import check_output
from ..messages import PartOfProgress, Progress
from ..settings import option
from .grid import Grid, Window
from .optional_packages import needed_package
from .projection import crs_in_metres
from .sources import guess_kind
from .survey_points import SurveyPoints, read_points
from .writer import value_map

Array = NDArray[np.float64]

METHODS = ("linear", "cubic", "neighbours", "spline")
_NEIGHBOURS = 8
_MOST_SPLINE_POINTS = 10_000  # a spline solves for all points at once: 10,000 take 800 MB
_MOST_PIXELS = 2_000_000_000
_CHUNK_PIXELS = 500_000


@dataclass(frozen=True)
class Settings:
    """Settings of the job ``gridpoints``."""

    input: str
    output: str
    value_field: str
    spacing: float  # m
    max_distance: float | None = None  # m; three pixels
    method: str = option("linear", choices=METHODS)
    crs: str = ""  # of the grid; that of the points, or their UTM zone
    x_field: str = ""  # of tables
    y_field: str = ""
    points_crs: str = ""  # of tables
    unit: str = ""


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the grid as a GeoTIFF of one band.

    Raises
    ------
    SettingsError, SourceError, GridError, OutputError, EnvironmentProblem
        Before any long work, each with a sentence.
    """
    check_output(settings.output)
    if settings.spacing <= 0:
        raise SettingsError(f"SPACING is {settings.spacing:g}, but must be more than 0 metres.")
    max_distance = 3 * settings.spacing if settings.max_distance is None else settings.max_distance
    if max_distance <= 0:
        raise SettingsError(f"MAX_DISTANCE is {max_distance:g}, but must be more than 0 metres.")
    needed_package("verde", "Gridding")
    progress.update(0.0, "Reading the points")
    points = read_points(
        settings.input,
        settings.value_field,
        x_field=settings.x_field,
        y_field=settings.y_field,
        crs=settings.points_crs,
    )
    points = points.projected_to(_target_crs(points, settings.crs, progress))
    progress.message(f"{points.value.size:,} points were read.")
    if points.dropped:
        progress.warning(
            f"{points.dropped:,} points have no number in {settings.value_field} or no place, and are left out."
        )
    grid = _grid_around(points, settings.spacing)
    band = Band(settings.value_field, settings.unit, guess_kind(settings.value_field, settings.unit))
    with value_map(settings.output, grid, [band], progress=PartOfProgress(progress, 0.9, 1.0)) as file:
        valid = 0
        parts = grid_points(
            points, grid, max_distance=max_distance, method=settings.method, progress=PartOfProgress(progress, 0.1, 0.9)
        )
        for window, values in parts:
            file.write(window, values[None])
            valid += int(np.isfinite(values).sum())
        if valid == 0:
            raise GridError(
                f"No pixel lies between points and within MAX_DISTANCE ({max_distance:g} m) of one. Give a larger MAX_DISTANCE."
            )
    share = valid / (grid.width * grid.height)
    progress.message(
        f"The grid has {grid.width} by {grid.height} pixels of {settings.spacing:g} m; {100 * share:.1f} % have data."
    )
    return {"output": settings.output, "points": int(points.value.size), "share": share}


def grid_points(
    points: SurveyPoints, grid: Grid, *, max_distance: float, method: str = "linear", progress: Progress
) -> Iterator[tuple[Window, Array]]:
    """
    Yield windows of the grid, from the top down, and their values.

    Parameters
    ----------
    points : SurveyPoints
        In the CRS of the grid.
    max_distance : float
        Pixels whose middle is farther from any point are NaN; map units.
    method : str
        ``linear`` on triangles (kinks but no new extremes), ``cubic`` (smooth, may overshoot), ``neighbours`` (the mean
        of the eight nearest block medians) or ``spline`` (biharmonic, for up to ten thousand block medians).
    """
    progress.update(0.0, "Block medians")
    gridder = _fitted(method, *_block_medians(points, grid))
    tree = cKDTree(np.column_stack([points.easting, points.northing]))
    rows = max(_CHUNK_PIXELS // grid.width, 1)
    for row in range(0, grid.height, rows):
        if progress.cancelled():
            raise Cancelled("The gridding was cancelled; nothing was written.")
        progress.update(0.3 + 0.7 * row / grid.height, "Interpolating")
        window = Window(row, 0, min(rows, grid.height - row), grid.width)
        row_of, column_of = np.mgrid[row : row + window.height, 0 : grid.width] + 0.5
        east, north = (part.ravel() for part in grid.coordinates(row_of, column_of))
        distance, _ = tree.query(np.column_stack([east, north]), distance_upper_bound=max_distance * (1 + 1e-9))
        near = np.isfinite(distance)
        values = np.full(near.shape, np.nan)
        if near.any():
            values[near] = gridder.predict((east[near], north[near]))
        yield window, values.reshape(window.height, window.width)


def _block_medians(points: SurveyPoints, grid: Grid) -> tuple[Array, Array, Array]:
    """Return one point a pixel that holds any: the medians of their coordinates and of their values."""
    verde = needed_package("verde", "Gridding")
    west, south, east, north = grid.bounds
    reducer = verde.BlockReduce(
        "median", spacing=grid.pixel_size[::-1], region=(west, east, south, north), center_coordinates=False
    )
    (eastings, northings), values = reducer.filter((points.easting, points.northing), points.value)
    return eastings, northings, values


def _fitted(method: str, eastings: Array, northings: Array, values: Array) -> Any:
    verde = needed_package("verde", "Gridding")
    if method == "spline" and values.size > _MOST_SPLINE_POINTS:
        raise SettingsError(
            f"METHOD is spline, but there are {values.size:,} block medians; a spline takes {_MOST_SPLINE_POINTS:,} at most. "
            "Choose cubic, or a larger SPACING."
        )
    gridder = {
        "linear": verde.Linear,
        "cubic": verde.Cubic,
        "neighbours": lambda: verde.KNeighbors(k=min(_NEIGHBOURS, values.size)),
        "spline": verde.Spline,
    }[method]()
    try:
        return gridder.fit((eastings, northings), values)
    except (QhullError, ValueError) as error:
        raise GridError(
            f"{values.size:,} block medians cannot be joined into triangles: they lie on one line, or are too few. Give points "
            "that cover an area, a smaller SPACING, or the METHOD neighbours."
        ) from error


def _target_crs(points: SurveyPoints, crs: str, progress: Progress) -> osr.SpatialReference:
    """Return the CRS of the grid, in metres: the one asked for, the points' own, or their UTM zone."""
    own = osr.SpatialReference(wkt=points.crs)
    reference = osr.SpatialReference()
    if crs:
        try:
            reference.SetFromUserInput(crs)
        except RuntimeError as error:
            raise SettingsError(f"CRS is {crs!r}, which is no CRS. Give a code such as EPSG:27700.") from error
        if reference.IsGeographic():
            raise SettingsError(
                f"CRS is {crs}, which is in degrees, but SPACING is in metres. Give a projected CRS, such as the UTM zone."
            )
        return reference
    if not own.IsGeographic():
        return own
    bounds = (points.easting.min(), points.northing.min(), points.easting.max(), points.northing.max())
    reference = crs_in_metres(*(float(number) for number in bounds))
    progress.message(f"The points are in degrees; the grid is in {reference.GetName()}.")
    return reference


def _grid_around(points: SurveyPoints, spacing_m: float) -> Grid:
    """Return the grid around all points, its edges on multiples of the spacing."""
    reference = osr.SpatialReference(wkt=points.crs)
    spacing = spacing_m / reference.GetLinearUnits()
    west, east = points.easting.min(), points.easting.max()
    south, north = points.northing.min(), points.northing.max()
    if spacing > max(east - west, north - south):
        raise SettingsError(
            f"SPACING is {spacing_m:g} m, but the points cover only {east - west:,.0f} by {north - south:,.0f}. "
            "Give a smaller SPACING."
        )
    left, bottom = np.floor(west / spacing) * spacing, np.floor(south / spacing) * spacing
    width, height = int((east - left) // spacing) + 1, int((north - bottom) // spacing) + 1
    if width * height > _MOST_PIXELS:
        raise SettingsError(
            f"SPACING is {spacing_m:g} m, which makes {width:,} by {height:,} pixels. Give a larger SPACING, or the points "
            "of a part."
        )
    transform = (float(left), spacing, 0.0, float(bottom + height * spacing), 0.0, -spacing)
    return Grid(points.crs, transform, width, height)
