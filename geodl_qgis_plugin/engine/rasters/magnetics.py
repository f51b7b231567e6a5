"""
Predictors of a total-field magnetic grid, the job ``magneticpredictors``.

Reduction to the pole, total gradient, tilt, derivatives and upward continuation. The transforms work on the whole grid at once,
so it is held in memory; what that takes is checked before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, osr

from ..bands import Band
from ..errors import Cancelled, GridError, SettingsError, SourceError
from ..files import check_output
from ..messages import PartOfProgress, Progress
from ..settings import option
from . import magnetic_filters as filters
from .geomagnetic_field import FieldDirection, grid_north_azimuth, igrf_direction
from .geosoft import is_geosoft_grid, read_geosoft_grid
from .grid import Grid, Window
from .optional_packages import needed_package
from .projection import in_metres, metres_per_unit, north_up
from .single_band import open_band
from .sources import open_raster
from .writer import value_map

TOTAL_FIELD, REDUCED = "total field", "reduced to the pole"
LOW_INCLINATION = 20.0  # degrees; below, the filter amplifies noise along the declination into stripes
NO_REDUCTION = 3.0  # below, it amplifies it more than 300 times
_TOLERATED_CONVERGENCE = 1.0
_BYTES_PER_NODE = 160  # of the padded grid: ten complex numbers; 152 were measured


@dataclass(frozen=True)
class Settings:
    """Settings of the job ``magneticpredictors``."""

    input: str
    output: str
    inclination: float | None = option(None, at_least=-90.0, at_most=90.0)
    declination: float | None = option(None, at_least=-180.0, at_most=360.0)
    date: str = ""  # for the IGRF, where the direction is not given
    survey_height: float = option(0.0, at_least=-1000.0, at_most=600000.0)  # m above the ellipsoid, for the IGRF
    height: float = option(500.0, at_least=0.0)  # m, of upward continuation; 0 leaves it out
    derivatives_of: str = option(TOTAL_FIELD, choices=(TOTAL_FIELD, REDUCED))
    margin: str = option(filters.ZEROS, choices=(filters.ZEROS, filters.MIRRORED))
    grid_north: bool = False  # turn the declination from true north to the grid's
    crs: str = ""  # where the file has none
    band: int = option(1, at_least=1)


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the predictors of a magnetic grid to a multi-band GeoTIFF.

    Raises
    ------
    SettingsError, SourceError, GridError, OutputError, EnvironmentProblem
        Before any work, each with a sentence.
    """
    check_output(settings.output)
    _check_direction_given(settings)
    for package in ("xarray", "harmonica"):
        needed_package(package, "Magnetic predictors")
    values, grid, what = _opened(settings, progress)
    _check_values(values, what, progress)
    direction = _direction(settings, grid, progress)
    reduced = abs(direction.inclination) >= NO_REDUCTION
    if settings.derivatives_of == REDUCED and not reduced:
        raise SettingsError(
            f"DERIVATIVES_OF asks for the field reduced to the pole, but at an inclination of {direction.inclination:.1f}° it "
            f"cannot be reduced. Choose “{TOTAL_FIELD}”."
        )
    bands = magnetic_band_list(settings.height, settings.derivatives_of, reduced=reduced)
    metadata = {
        "GEODL_INCLINATION": f"{direction.inclination:.4f}",
        "GEODL_DECLINATION": f"{direction.declination:.4f}",
    }
    with value_map(
        settings.output, grid, bands, metadata=metadata, progress=PartOfProgress(progress, 0.8, 1.0)
    ) as file:
        predictors = magnetic_bands(
            values,
            _spacing(grid),
            direction,
            height_m=settings.height,
            derivatives_of=settings.derivatives_of,
            margin=settings.margin,
            north_up=grid.transform[5] < 0,
            progress=PartOfProgress(progress, 0.1, 0.8),
        )
        file.write(Window(0, 0, grid.height, grid.width), predictors[0])
    progress.update(1.0)
    return {
        "output": settings.output,
        "inclination": direction.inclination,
        "declination": direction.declination,
        "bands": [band.as_dict() for band in bands],
    }


def magnetic_bands(
    anomaly: NDArray[np.float64],
    spacing_m: tuple[float, float],
    direction: FieldDirection,
    *,
    height_m: float = 500.0,
    derivatives_of: str = TOTAL_FIELD,
    margin: str = filters.ZEROS,
    north_up: bool = True,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], list[Band]]:
    """
    Return the predictors of a total-field anomaly that is held in memory.

    Parameters
    ----------
    anomaly : array (row, column)
        nT, NaN where missing. Its level means nothing: the mean is taken off.
    spacing_m : (easting, northing)
        Distances of neighbouring pixels.
    direction : FieldDirection
        Of the main field, its declination clockwise from the grid's north.
    height_m : float
        Height of upward continuation; 0 leaves that band out.
    margin : "zeros" or "mirrored"
        What surrounds the grid while it is filtered, see `magnetic_filters.padded_grid`.
    north_up : bool
        Whether row 0 is the northernmost.

    Returns
    -------
    values : array (band, row, column)
        NaN where the anomaly is missing, and only there.
    bands : list of Band
    """
    reduced = abs(direction.inclination) >= NO_REDUCTION
    bands = magnetic_band_list(height_m, derivatives_of, reduced=reduced)
    field = filters.padded_grid(anomaly, spacing_m, north_up=north_up, margin=margin)
    layers: list[NDArray[np.float64]] = []
    source = field
    _tell(progress, 0.2)
    if reduced:
        pole = filters.reduced_to_pole(field, direction.inclination, direction.declination)
        layers.append(pole.values())
        source = pole if derivatives_of == REDUCED else field
    _tell(progress, 0.5)
    east, north, up = filters.derivatives(source)
    layers += [filters.total_gradient(east, north, up), filters.tilt(east, north, up), east, north, up]
    _tell(progress, 0.8)
    if height_m > 0:
        layers.append(filters.upward_continued(source, height_m).values())
    return np.stack(layers).astype(np.float32), bands


def magnetic_band_list(height_m: float, derivatives_of: str, *, reduced: bool) -> list[Band]:
    """Return the bands that `magnetic_bands` makes, in their order; what is not reduced to the pole has a direction."""
    of_pole = derivatives_of == REDUCED
    bands = [Band("reduced_to_pole", "nT")] if reduced else []
    bands += [
        Band("total_gradient", "nT/m"),
        Band("tilt", "radian", "scalar" if of_pole else "directional"),
        Band("derivative_east", "nT/m", "vector_x" if of_pole else "directional"),
        Band("derivative_north", "nT/m", "vector_y" if of_pole else "directional"),
        Band("derivative_up", "nT/m", "scalar" if of_pole else "directional"),
    ]
    if height_m > 0:
        bands.append(Band(f"upward_{height_m:g}m", "nT", "scalar" if of_pole else "directional"))
    return bands


def _check_direction_given(settings: Settings) -> None:
    if (settings.inclination is None) != (settings.declination is None):
        missing = "DECLINATION" if settings.declination is None else "INCLINATION"
        raise SettingsError(
            f"{missing} is missing. Give both INCLINATION and DECLINATION, or the survey's DATE instead."
        )
    if settings.inclination is None and not settings.date:
        raise SettingsError(
            "The direction of the Earth's field is missing. Give the survey's DATE (for the IGRF), or INCLINATION and "
            "DECLINATION."
        )


def _direction(settings: Settings, grid: Grid, progress: Progress) -> FieldDirection:
    """Return the field's direction, from the settings or the IGRF, and say what about it matters."""
    if settings.inclination is not None and settings.declination is not None:
        direction = FieldDirection(settings.inclination, settings.declination)
    else:
        direction = igrf_direction(grid, settings.date, settings.survey_height)
        progress.message(
            f"The IGRF at the grid's centre on {settings.date[:10]}: inclination {direction.inclination:.2f}°, declination "
            f"{direction.declination:.2f}°."
        )
    convergence = grid_north_azimuth(grid)
    if settings.grid_north:
        direction = direction._replace(declination=direction.declination - convergence)
        progress.message(f"The declination is {direction.declination:.2f}° from the grid's north.")
    elif abs(convergence) > _TOLERATED_CONVERGENCE:
        side = "west" if convergence < 0 else "east"
        progress.warning(
            f"The grid's north lies {abs(convergence):.1f}° {side} of true north, but the declination is taken as it is. If it "
            "counts from true north, run again with GRID_NORTH set."
        )
    if abs(direction.inclination) < LOW_INCLINATION:
        outcome = (
            "is left out" if abs(direction.inclination) < NO_REDUCTION else "will have stripes along the declination"
        )
        progress.warning(
            f"The inclination is {direction.inclination:.1f}°, near the magnetic equator: the field reduced to the pole "
            f"{outcome}. Use the band total_gradient instead, which hardly depends on the direction."
        )
    return direction


def _opened(settings: Settings, progress: Progress) -> tuple[NDArray[np.float64], Grid, str]:
    """Return the values, their grid in metres, and the words that name them."""
    if is_geosoft_grid(settings.input):
        if not settings.crs:
            raise GridError(f"The Geosoft grid {settings.input} holds no CRS that can be read. Give the survey's CRS.")
        values, grid = read_geosoft_grid(settings.input, _wkt(settings.crs))
        what = f"The grid {settings.input}"
        if grid.in_degrees:
            raise GridError(
                f"{what} is in degrees, but the filters need metres. Give the projected CRS that it is in, or export it."
            )
        _check_memory(grid, what)
        return values, grid, what
    source = open_band(_with_crs(settings.input, settings.crs), "The grid", settings.band)
    if source.siblings > 1:
        progress.message(
            f"{source.what} has {source.siblings} bands; band {settings.band} is taken as the total field."
        )
    source = north_up(in_metres(source, progress), progress)
    _check_memory(source.grid, source.what)
    return source.read(), source.grid, source.what


def _with_crs(path: str, crs: str) -> str:
    """Return the path of a raster that has a CRS: the file itself, or a virtual one with the CRS that the user gave."""
    if not crs or open_raster(path).GetSpatialRef() is not None:
        return path
    copy = f"/vsimem/geodl-crs-{os.getpid()}.vrt"
    whole = str(Path(path).resolve()) if Path(path).exists() else path  # a VRT would look for it beside itself
    gdal.Translate(copy, whole, format="VRT", outputSRS=_wkt(crs))
    return copy


def _wkt(crs: str) -> str:
    reference = osr.SpatialReference()
    try:
        reference.SetFromUserInput(crs)
    except RuntimeError as error:
        raise SettingsError(f"CRS is {crs!r}, which is no CRS. Give a code such as EPSG:32633.") from error
    return str(reference.ExportToWkt())


def _check_memory(grid: Grid, what: str) -> None:
    if min(grid.width, grid.height) < 4:
        raise GridError(
            f"{what} has {grid.width} by {grid.height} pixels, but the filters need 4 by 4 at least. Give a larger grid."
        )
    needed = grid.width * grid.height * (1 + 2 * filters.MARGIN) ** 2 * _BYTES_PER_NODE
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**33
    if needed > 0.8 * total:
        raise GridError(
            f"{what} has {grid.width} by {grid.height} pixels; its transforms need {needed / 2**30:.0f} GB of memory, "
            f"and this machine has {total / 2**30:.0f} GB. Cut it into parts that overlap, or give it a larger pixel."
        )


def _check_values(values: NDArray[np.float64], what: str, progress: Progress) -> None:
    valid = np.isfinite(values)
    if not valid.any():
        raise SourceError(f"{what} has no valid pixel: all are nodata. Give another grid, band or extent.")
    if float(values[valid].min()) == float(values[valid].max()):
        raise SourceError(
            f"{what} has the same value, {values[valid].min():g}, everywhere: there is no anomaly to filter."
        )
    share = 1 - valid.mean()
    if share > 0:
        progress.message(
            f"{100 * share:.1f} % of the pixels are missing. They are filled smoothly for the filters and masked again; values "
            "within some pixels of a hole lean on the filling."
        )


def _spacing(grid: Grid) -> tuple[float, float]:
    factor = metres_per_unit(grid)
    return grid.transform[1] * factor, abs(grid.transform[5]) * factor


def _tell(progress: Progress | None, fraction: float) -> None:
    if progress is None:
        return
    if progress.cancelled():
        raise Cancelled("The predictors were cancelled; nothing was written.")
    progress.update(fraction, "Filtering the field")
