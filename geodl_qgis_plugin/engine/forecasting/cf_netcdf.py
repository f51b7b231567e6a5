"""
Read CF NetCDF files of station time series (``featureType = timeSeries``) through GDAL's multidimensional API.

OGR does not read them. Orthogonal arrays (station and time), single stations, and ragged arrays in either order are understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from osgeo import gdal, osr

from ..errors import SeriesError, SourceError
from ..files import check_source
from .columns import Finding
from .frequency import Frequency, Times
from .joining import Places, to_series
from .rows import GridRows, LongRows, Rows, on_one_axis
from .seasons import Array
from .series import StationSeries

if TYPE_CHECKING:
    from .reading import Source

_SECONDS = {
    "second": 1,
    "sec": 1,
    "s": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "hr": 3600,
    "h": 3600,
    "day": 86400,
    "d": 86400,
}
_CALENDARS = ("", "standard", "gregorian", "proleptic_gregorian")


def read_cf_series(path: str, source: Source, frequency: Frequency | None = None) -> StationSeries:
    """Read the station series of a CF NetCDF file; all variables over time if none is named."""
    variables = [*source.variables, *source.covariates]
    group = _open(path)
    names = group.GetMDArrayNames() or []
    arrays = {name: group.OpenMDArray(name) for name in names}
    time = _named(
        arrays, "time", lambda array: _attribute(array, "standard_name") == "time" or " since " in array.GetUnit()
    )
    lat = _named(arrays, "lat", lambda array: _attribute(array, "standard_name") == "latitude")
    lon = _named(arrays, "lon", lambda array: _attribute(array, "standard_name") == "longitude")
    if time is None:
        raise SeriesError(f"{path} has no time variable (units like “days since 1970-01-01”), so it holds no series.")
    if lat is None or lon is None:
        raise SeriesError(
            f"{path} has no latitude and longitude (standard names), so its stations have no place. Add them to the file, or "
            "give the series as a table with the points of the stations."
        )
    times = _times(time)
    over = [dimension.GetFullName() for dimension in time.GetDimensions()]
    wanted = variables or [
        name
        for name, array in arrays.items()
        if array.GetDataType().GetClass() == gdal.GEDTC_NUMERIC
        and name not in (time.GetName(), lat and lat.GetName(), lon and lon.GetName())
        and any(dimension.GetFullName() in over for dimension in array.GetDimensions())
        and not _attribute(array, "instance_dimension")
    ]
    for name in wanted:
        if name not in arrays:
            raise SeriesError(f"The file has no variable {name!r}. It has {', '.join(names)}.")
    places = np.stack([_flat(lon), _flat(lat)], axis=1)
    stations = _names(arrays, len(places))
    owner = _ragged_owner(arrays, times)
    rows: Rows
    if owner is not None:
        values = {name: _values(arrays[name].ReadAsArray(), arrays[name]).ravel() for name in wanted}
        findings = [
            Finding(f"Missing values of {name} in the file", int(np.isnan(column).sum()))
            for name, column in values.items()
            if np.isnan(column).any()
        ]
        distinct, moment = np.unique(times, return_inverse=True)
        rows = LongRows(stations, owner.astype(np.uint32), distinct, moment.astype(np.uint32), values, findings)
    else:
        rows = GridRows(stations, times, wanted, _reader(arrays, over))
        if not wanted:
            raise SeriesError(f"No variable of {path} runs over time. Choose another file.")
        if not (times[1:] > times[:-1]).all():
            matrices = {name: rows.block(name, 0, len(stations)) for name in wanted}
            rows = on_one_axis(stations, times, matrices, rows.findings)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(4326)
    where = {name: (float(x), float(y)) for name, (x, y) in zip(stations, places)}
    return to_series(
        rows,
        Places(where, reference.ExportToWkt(), _heights(arrays, stations)),
        step=source.step,
        quantity=source.quantity,
        duplicates=source.duplicates,
        frequency=frequency,
        variables=source.variables or wanted[:1],
    )


def _open(path: str) -> Any:
    check_source(path, "The NetCDF file")
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        dataset = gdal.OpenEx(path, gdal.OF_MULTIDIM_RASTER)
    finally:
        gdal.PopErrorHandler()
    if dataset is None:
        raise SourceError(f"{path} cannot be read as NetCDF. Check the file, and that GDAL was built with netCDF.")
    return dataset.GetRootGroup()


def _named(arrays: dict[str, Any], usual: str, test: Any) -> Any:
    for array in arrays.values():
        if test(array):
            return array
    return next((array for name, array in arrays.items() if name.lower().startswith(usual)), None)


def _attribute(array: Any, name: str) -> str:
    # Asked by name, GDAL answers nothing or raises, as whoever loaded it first wanted.
    found = next((one for one in array.GetAttributes() if one.GetName() == name), None)
    return str(found.ReadAsString()) if found is not None else ""


def _times(array: Any) -> Times:
    unit = array.GetUnit() or _attribute(array, "units")
    match = re.match(r"^(\w+?)s? since (\d{1,4})-(\d{1,2})-(\d{1,2})(?:[T ]+(\d{1,2}):(\d{2}))?", unit.strip())
    calendar = _attribute(array, "calendar").lower()
    if not match or match[1] not in _SECONDS:
        raise SeriesError(f"The time's unit “{unit}” cannot be read. It must be like “days since 1970-01-01 00:00”.")
    if calendar not in _CALENDARS:
        raise SeriesError(
            f"The times use the calendar {calendar!r}, which has other days than ours. Convert them first."
        )
    base = np.datetime64(
        datetime(int(match[2]), int(match[3]), int(match[4]), int(match[5] or 0), int(match[6] or 0)), "s"
    )
    steps = np.round(np.asarray(array.ReadAsArray(), dtype=float).ravel() * _SECONDS[match[1]]).astype(np.int64)
    return np.asarray(base + steps.astype("timedelta64[s]"))


def _reader(arrays: dict[str, Any], over: list[str]) -> Callable[[str, int, int], Array]:
    """Return what reads a variable's values of some stations (station, moment) from the file."""

    def read(name: str, first: int, last: int) -> Array:
        array = arrays[name]
        dimensions = [dimension.GetFullName() for dimension in array.GetDimensions()]
        sizes = [dimension.GetSize() for dimension in array.GetDimensions()]
        if len(dimensions) == 1:
            return _values(array.ReadAsArray(), array)[None, :]
        if dimensions[0] in over:
            return _values(array.ReadAsArray([0, first], [sizes[0], last - first]), array).T
        return _values(array.ReadAsArray([first, 0], [last - first, sizes[1]]), array)

    return read


def _values(raw: npt.NDArray[Any], array: Any) -> Array:
    matrix = np.asarray(raw, dtype=float)
    nodata = array.GetNoDataValueAsDouble()
    missing = _attribute(array, "missing_value")
    for code in (nodata, float(missing) if re.fullmatch(r"[-+.eE\d]+", missing) else None):
        if code is not None:
            matrix[np.isclose(matrix, code, rtol=1e-6)] = np.nan
    scale, offset = array.GetScale(), array.GetOffset()
    if scale is not None or offset is not None:
        return np.asarray(matrix * (1.0 if scale is None else scale) + (0.0 if offset is None else offset))
    return matrix


def _flat(array: Any) -> Array:
    return np.asarray(array.ReadAsArray(), dtype=float).reshape(-1)


def _names(arrays: dict[str, Any], count: int) -> list[str]:
    for name, array in arrays.items():
        if _attribute(array, "cf_role") == "timeseries_id" or name.lower() in ("station_name", "station_id", "station"):
            found = array.ReadAsArray() if array.GetDataType().GetClass() == gdal.GEDTC_NUMERIC else array.Read()
            texts = [str(one).strip("\x00 ") for one in (found if isinstance(found, list) else np.atleast_1d(found))]
            if len(texts) == count and len(set(texts)) == count:
                return texts
    return [f"station {index + 1}" for index in range(count)]


def _heights(arrays: dict[str, Any], stations: list[str]) -> dict[str, float]:
    """Return the stations' elevations, where the file has them."""
    array = _named(arrays, "alt", lambda one: _attribute(one, "standard_name") in ("altitude", "surface_altitude"))
    heights = _values(array.ReadAsArray(), array).ravel() if array is not None else np.zeros(0)
    return {name: float(height) for name, height in zip(stations, heights) if np.isfinite(height)}


def _ragged_owner(arrays: dict[str, Any], times: Times) -> npt.NDArray[np.int64] | None:
    for array in arrays.values():
        if _attribute(array, "sample_dimension"):
            counts = np.asarray(array.ReadAsArray(), dtype=np.int64)
            return np.repeat(np.arange(len(counts)), counts)
        if _attribute(array, "instance_dimension"):
            return np.asarray(array.ReadAsArray(), dtype=np.int64)
    return None
