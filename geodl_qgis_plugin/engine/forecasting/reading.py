"""Read the series of stations: point layers, points with a table, wide tables with a column a date, CF NetCDF files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import SeriesError
from .frequency import Frequency
from .seasons import Array
from .series import Finding, Places, Rows, StationSeries, to_series
from .tables import LAYER_NAME, Table, field_names, read_table
from .times import date_of_name, parse_times

MISSING_CODES = "---, -9999, -99999, 99999, -999.9, NA, NaN"
_LEAST_DATES = 4  # columns whose names are dates make a wide table
_NUMBER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([*#$a-zA-Z]?)$")


@dataclass(frozen=True)
class Source:
    """
    Where the series are and how to read them: the settings of both jobs.

    Attributes
    ----------
    variables : list of str
        The fields that are forecast; for a wide table, the name that its values get.
    covariates : list of str
        Further fields.
    """

    input: str
    station_field: str
    time_field: str
    variables: list[str]
    covariates: list[str]
    stations: str = ""
    stations_id_field: str = ""
    elevation_field: str = ""
    missing_codes: str = MISSING_CODES
    time_format: str = ""
    step: str = ""
    quantity: str = "mean"
    duplicates: str = "refuse"


def read_series(source: Source, frequency: Frequency | None = None) -> StationSeries:
    """
    Read the series of stations and put them on one step.

    Parameters
    ----------
    frequency : Frequency, optional
        The step that is known already, from a model.

    Raises
    ------
    SeriesError, SourceError
        With a sentence, before anything is computed.
    """
    path = source.input.partition(LAYER_NAME)[0]
    if Path(path).suffix.lower() in (".nc", ".nc4", ".cdf"):
        from .cf_netcdf import read_cf_series  # noqa: PLC0415

        return read_cf_series(path, source.variables + source.covariates, frequency, source.step, source.quantity)
    names = field_names(source.input)
    dates = {name: date_of_name(name) for name in names if date_of_name(name)}
    if not source.time_field:
        if len(dates) < _LEAST_DATES:
            raise SeriesError(
                "No time field was chosen, and the table has no columns whose names are dates. Choose under "
                "TIME_FIELD the field with the "
                f"times; the fields are {', '.join(names)}."
            )
        table = read_table(source.input)
        rows = _wide_rows(table, dates, source)
    else:
        wanted = [
            source.station_field,
            source.time_field,
            *source.variables,
            *source.covariates,
            source.elevation_field,
        ]
        table = read_table(source.input, [name for name in wanted if name])
        rows = _long_rows(table, source)
    places = _places(table, source)
    return to_series(
        rows, places, step=source.step, quantity=source.quantity, duplicates=source.duplicates, frequency=frequency
    )


def numbers(texts: list[str], field: str, codes: str) -> tuple[Array, list[Finding]]:
    """
    Turn texts into numbers; missing codes and empty cells become NaN and are counted by code.

    A single mark behind a number (``4.5*``, the Met Office's "estimated") is taken off and counted.
    """
    missing = {code.strip().lower() for code in codes.split(",") if code.strip()}
    missing_numbers = {float(code) for code in missing if _is_number(code)}
    found: dict[str, int] = {}
    table: dict[str, float] = {}
    marked = empty = 0
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        value = table.get(text)
        if value is None:
            value = table[text] = _number(text, field, missing)
        if not text:
            empty += 1
        elif value != value or value in missing_numbers:
            found[text] = found.get(text, 0) + 1
            continue
        elif text[-1] in "*#$" or text[-1].isalpha():
            marked += 1
        values[row] = value
    findings = [
        Finding(f"Values of {field} with the missing code {code}", count) for code, count in sorted(found.items())
    ]
    if empty:
        findings.append(Finding(f"Rows without a value of {field}", empty))
    if marked:
        findings.append(Finding(f"Values of {field} with a mark behind the number, read without it", marked))
    return values, findings


def _number(text: str, field: str, missing: set[str]) -> float:
    if not text or text.lower() in missing:
        return float("nan")
    match = _NUMBER.match(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    if not match:
        raise SeriesError(
            f"The field {field} holds “{text}”, which is no number. Choose a field of numbers, or add the text to the "
            "missing codes."
        )
    return float(match[1])


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _long_rows(table: Table, source: Source) -> Rows:
    times, shifted = parse_times(table.column(source.time_field, "TIME_FIELD"), source.time_field, source.time_format)
    ids = _ids(table, source)
    findings = []
    if shifted:
        findings.append(Finding("Times in another zone than UTC, moved to UTC", shifted))
    lost = np.isnat(times)
    if lost.any():
        findings.append(Finding("Rows without a time, left out", int(lost.sum())))
    nameless = np.array([not name for name in ids])
    if nameless.any():
        findings.append(Finding("Rows without a station, left out", int(nameless.sum())))
    keep = ~(lost | nameless)
    if not keep.any():
        raise SeriesError("No row has both a station and a time. Check the station and the time field.")
    values = {}
    for name in dict.fromkeys([*source.variables, *source.covariates]):
        column, found = numbers(table.column(name, "VALUE_FIELD"), name, source.missing_codes)
        values[name] = column[keep]
        findings += found
    stations = list(dict.fromkeys(name for name, kept in zip(ids, keep) if kept))
    index = {name: number for number, name in enumerate(stations)}
    station = np.array([index[name] for name, kept in zip(ids, keep) if kept], dtype=np.int64)
    return Rows(stations, station, times[keep], values, findings)


def _wide_rows(table: Table, dates: dict[str, str], source: Source) -> Rows:
    ids = _ids(table, source)
    if len(set(ids)) != len(ids):
        raise SeriesError(
            "A wide table has one row a station, but some station stands in several rows. Choose a TIME_FIELD instead."
        )
    times, _ = parse_times(list(dates.values()), "of column names")
    variable = source.variables[0] if source.variables else "value"
    columns, findings = [], []
    for name in dates:
        column, found = numbers(table.columns[name], name, source.missing_codes)
        columns.append(column)
        findings += found
    matrix = np.stack(columns, axis=1)
    missing = sum(finding.count for finding in findings)
    merged = [Finding(f"Missing values of {variable}", missing)] if missing else []
    station = np.repeat(np.arange(len(ids)), len(times))
    return Rows(ids, station, np.tile(times, len(ids)), {variable: matrix.ravel()}, merged)


def _ids(table: Table, source: Source) -> list[str]:
    if not source.station_field:
        if table.has_geometry:  # the place names the station
            return [f"{x:.6g}, {y:.6g}" if np.isfinite(x) else "" for x, y in table.points]
        return ["station"] * len(next(iter(table.columns.values())))
    return table.column(source.station_field, "STATION_FIELD")


def _places(table: Table, source: Source) -> Places:
    points = table
    ids = _ids(table, source)
    if source.stations:
        points = read_table(source.stations)
        field = source.stations_id_field or source.station_field
        ids = points.column(field, "STATIONS_ID_FIELD")
    elif not table.has_geometry:
        raise SeriesError(
            "The series have no places: the layer is a table without points. Give under STATIONS a point layer with "
            "the same station ids."
        )
    coordinates: dict[str, tuple[float, float]] = {}
    for name, (x, y) in zip(ids, points.points):
        if np.isfinite(x) and np.isfinite(y):
            coordinates.setdefault(name, (float(x), float(y)))
    _explain_zeros(table, source, coordinates)
    elevation = {}
    if source.elevation_field:
        heights, _ = numbers(
            points.column(source.elevation_field, "ELEVATION_FIELD"), source.elevation_field, source.missing_codes
        )
        elevation = {name: float(height) for name, height in zip(ids, heights) if np.isfinite(height)}
    return Places(coordinates, points.crs, elevation)


def _explain_zeros(table: Table, source: Source, coordinates: dict[str, tuple[float, float]]) -> None:
    """Say what went wrong where ids would fit but for their leading zeros."""
    if not source.stations or not source.station_field:
        return
    for name in dict.fromkeys(table.column(source.station_field, "STATION_FIELD")):
        stripped = name.lstrip("0")
        if name and name not in coordinates:
            other = next((one for one in coordinates if one.lstrip("0") == stripped), None)
            if other is not None:
                raise SeriesError(
                    f"The series name a station “{name}”, the points “{other}”: leading zeros were lost. Load the "
                    "table with its ids as "
                    "text (in QGIS: Add Delimited Text Layer, without “Detect field types”)."
                )
