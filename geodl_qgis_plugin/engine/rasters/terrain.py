"""
Predictors of a DEM: slope, aspect, position, relief, curvature and shade, the job ``terrainpredictors``.

The DEM is worked through in windows with a halo as wide as the largest scale, so a DEM larger than memory works, and the
result equals one pass over the whole. None of the predictors holds absolute elevation: what a model learns from them
can be true in the next valley, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bands import Band
from ..errors import Cancelled, GridError, SettingsError
from ..files import check_output
from ..messages import PartOfProgress, Progress
from ..settings import option
from .derivatives import (
    aspect_vector,
    curvatures,
    florinsky_surface,
    horn_gradient,
    multidirectional_hillshade,
    slope_degrees,
)
from .geomorphons import check_geomorphons, geomorphons
from .grid import Window
from .neighbourhoods import window_mean, window_range
from .projection import in_metres, metres_per_unit
from .single_band import SingleBand, open_band, windows
from .writer import value_map

DEFAULT_SCALES = (3, 10, 30)
_STENCIL_PX = 2  # the 5 by 5 fit's radius
_WINDOW_PX = 1024
_FEET_IN_METRES = {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us-ft": 1200 / 3937, "us survey foot": 1200 / 3937}


@dataclass(frozen=True)
class Settings:
    """Settings of the job ``terrainpredictors``."""

    dem: str
    output: str
    scales: list[int] = option(list(DEFAULT_SCALES), at_least=1, at_most=2000)  # radii of windows, in pixels
    band: int = option(1, at_least=1)
    geomorphons: bool = False
    search: int = option(15, at_least=3, at_most=500)  # how far geomorphons look, in pixels
    flat: float = option(1.0, at_least=0.0, at_most=90.0)  # degrees; what geomorphons take for flat


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the predictors of a DEM to a multi-band GeoTIFF.

    Raises
    ------
    SourceError, GridError, SettingsError, OutputError
        Before any work, each with a sentence.
    """
    check_output(settings.output)
    scales = _checked_scales(settings.scales)
    dem = in_metres(open_band(settings.dem, "The DEM", settings.band), progress)
    _check_size(dem, scales)
    low, high = dem.value_range()
    if low == high:
        progress.warning(f"{dem.what} has the same value, {low:g}, everywhere: its predictors are all zero.")
    if dem.siblings > 1:
        progress.message(f"{dem.what} has {dem.siblings} bands; band {settings.band} is taken as elevation.")
    axes = _axes_in_metres(dem)
    height_factor = _height_factor(dem, progress)
    bands = terrain_band_list(scales)
    with contextlib.ExitStack() as open_files:
        forms = None
        if settings.geomorphons:
            program = check_geomorphons(dem)
            part = PartOfProgress(progress, 0.0, 0.3)
            forms = open_files.enter_context(geomorphons(dem, program, settings.search, settings.flat, part))
            bands.append(Band("geomorphon"))
        file = open_files.enter_context(
            value_map(settings.output, dem.grid, bands, progress=PartOfProgress(progress, 0.8, 1.0))
        )
        start = 0.3 if forms else 0.0
        for window, values in _windows_of_bands(dem, axes, height_factor, scales, PartOfProgress(progress, start, 0.8)):
            if forms is not None:
                values = np.concatenate([values, forms.read(window)[None].astype(np.float32)])
            file.write(window, values)
    progress.update(1.0)
    return {"output": settings.output, "bands": [band.as_dict() for band in bands]}


def _windows_of_bands(
    dem: SingleBand, axes: NDArray[np.float64], height_factor: float, scales: Sequence[int], progress: Progress
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Yield windows that cover the DEM, and their bands; each is read with a halo as wide as the largest scale."""
    halo = max([_STENCIL_PX, *scales])
    todo = list(windows(dem.grid, _WINDOW_PX))
    for done, window in enumerate(todo):
        if progress.cancelled():
            raise Cancelled("The predictors were cancelled; nothing was written.")
        progress.update(done / len(todo), "Working out the predictors")
        wide = Window(window.row - halo, window.column - halo, window.height + 2 * halo, window.width + 2 * halo)
        values = _bands_of(dem.read(wide) * height_factor, axes, scales)
        yield window, values[:, halo : halo + window.height, halo : halo + window.width]


def terrain_bands(
    dem: NDArray[np.floating[Any]], pixel_size: float | tuple[float, float], scales: Sequence[int] = DEFAULT_SCALES
) -> tuple[NDArray[np.float32], list[Band]]:
    """
    Return the predictors of a DEM that is held in memory.

    Parameters
    ----------
    dem : array (row, column)
        Elevation in metres, row 0 in the north, NaN where missing.
    pixel_size : float or (width, height)
        Metres.
    scales : sequence of int
        Radii of the windows for topographic position and local relief, in pixels; a window is a square of 2 radius + 1.

    Returns
    -------
    values : array (band, row, column)
        NaN where the DEM is missing, and only there.
    bands : list of Band
        Their names, units and kinds, in the same order.
    """
    width, height = (pixel_size, pixel_size) if isinstance(pixel_size, (int, float)) else pixel_size
    axes = np.array([[width, 0.0], [0.0, -height]])
    scales = _checked_scales(scales)
    return _bands_of(np.asarray(dem, np.float64), axes, scales), terrain_band_list(scales)


def terrain_band_list(scales: Sequence[int]) -> list[Band]:
    """Return the bands that `terrain_bands` makes, in their order."""
    bands = [
        Band("slope", "degree"),
        Band("aspect_sine", "", "vector_x"),
        Band("aspect_cosine", "", "vector_y"),
        Band("profile_curvature", "1/m"),
        Band("tangential_curvature", "1/m"),
        Band("planform_curvature", "1/m"),
        Band("roughness", "m"),
        Band("hillshade", "", "directional"),
    ]
    bands += [Band(f"position_{radius}", "m") for radius in scales]
    return bands + [Band(f"relief_{radius}", "m") for radius in scales]


def _bands_of(dem: NDArray[np.float64], axes: NDArray[np.float64], scales: Sequence[int]) -> NDArray[np.float32]:
    """Return the bands of `terrain_band_list`; ``axes`` are the steps of `horn_gradient`."""
    values = np.empty((8 + 2 * len(scales), *dem.shape), np.float32)
    gradient = horn_gradient(dem, axes)
    values[0] = slope_degrees(gradient)
    values[1], values[2] = aspect_vector(gradient)
    values[3], values[4], values[5] = curvatures(florinsky_surface(dem, axes))
    values[6] = window_range(dem, 1)  # GDAL's roughness: Wilson et al. (2007), doi:10.1080/01490410701295962
    values[7] = multidirectional_hillshade(gradient)
    for index, radius in enumerate(scales):
        values[8 + index] = dem - window_mean(dem, radius)  # Weiss (2001), with a square instead of a ring
        values[8 + len(scales) + index] = window_range(dem, radius)
    values[:, ~np.isfinite(dem)] = np.nan
    return values


def _checked_scales(scales: Sequence[int]) -> list[int]:
    if not scales:
        raise SettingsError("SCALES is empty. Give at least one window radius in pixels, such as 3, 10, 30.")
    if min(scales) < 1:
        raise SettingsError(f"SCALES has {min(scales)}, but a window's radius must be 1 pixel or more.")
    return sorted(set(scales))


def _check_size(dem: SingleBand, scales: Sequence[int]) -> None:
    grid = dem.grid
    if min(grid.width, grid.height) < 3:
        raise GridError(
            f"{dem.what} has {grid.width} by {grid.height} pixels, but slopes need 3 by 3 at least. Give a larger DEM."
        )
    if scales[-1] > max(grid.width, grid.height):
        raise SettingsError(
            f"SCALES has {scales[-1]} pixels, but {dem.what} is only {grid.width} by {grid.height} pixels. Give smaller radii."
        )


def _axes_in_metres(dem: SingleBand) -> NDArray[np.float64]:
    """Return the steps along a row and down a column as (east, north), in metres."""
    t = dem.grid.transform
    return np.array([[t[1], t[4]], [t[2], t[5]]]) * metres_per_unit(dem.grid)


def _height_factor(dem: SingleBand, progress: Progress) -> float:
    """Return what turns the DEM's values into metres."""
    factor = _FEET_IN_METRES.get(dem.unit.strip().lower(), 1.0)
    if factor != 1.0:
        progress.message(f"{dem.what} has heights in {dem.unit}; they are turned into metres.")
    return factor
