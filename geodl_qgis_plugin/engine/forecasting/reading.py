"""Read the series of stations: point layers, points with a table, wide tables with a column a date, CF NetCDF files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError
from .columns import Codes, Finding, RowPlaces, TextColumn, count_codes, numbers_of, texts_of
from .frequency import Frequency, Times
from .joining import Places, to_series
from .rows import LongRows, on_one_axis
from .seasons import Array
from .series import StationSeries, some_names
from .tables import LAYER_NAME, Table, field_names, read_table
from .time_zones import in_utc, is_daily, zone_of
from .times import Moments, date_of_name, parse_times

MISSING_CODES = "---, -9999, -99999, 99999, -999.9, NA, NaN"
_LEAST_DATES = 4  # columns whose names are dates make a wide table


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
    time_zone: str = ""
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

        return read_cf_series(path, source, frequency)
    names = field_names(source.input)
    dates = {name: date_of_name(name) for name in names if date_of_name(name)}
    if not source.time_field:
        if len(dates) < _LEAST_DATES:
            raise SeriesError(
                "No time field was chosen, and the table has no columns whose names are dates. Choose under "
                "TIME_FIELD the field with the "
                f"times; the fields are {', '.join(names)}."
            )
        texts, numbers = [source.station_field], [*dates, source.elevation_field]
    else:
        texts, numbers = [source.station_field, source.time_field], [*source.variables, *source.covariates]
        numbers += [] if source.stations else [source.elevation_field]
    placed = not (source.stations and source.station_field)
    table = read_table(source.input, texts, numbers, source.missing_codes, points=placed)
    rows = _long_rows(table, source) if source.time_field else _wide_rows(table, dates, source)
    places = _places(table, source)
    del table
    return to_series(
        rows,
        places,
        step=source.step,
        quantity=source.quantity,
        duplicates=source.duplicates,
        frequency=frequency,
        variables=source.variables,
    )


def _long_rows(table: Table, source: Source) -> LongRows:
    when, who = table.texts(source.time_field, "TIME_FIELD"), _ids(table, source)
    moments = parse_times(when.texts, source.time_field, source.time_format)
    findings = []
    lost_times, nameless = np.isnat(moments.utc), np.array([not text for text in who.texts])
    if lost_times.any():
        findings.append(Finding("Rows without a time, left out", int(when.counts()[lost_times].sum())))
    if nameless.any():
        findings.append(Finding("Rows without a station, left out", int(who.counts()[nameless].sum())))
    values = {}
    for name in dict.fromkeys([*source.variables, *source.covariates]):
        column = table.numbers(name, "VALUE_FIELD" if name in source.variables else "COVARIATES")
        values[name] = column.values
        findings += column.findings
    station, moment = who.codes, when.codes
    if lost_times.any() or nameless.any():
        keep = ~(lost_times[moment] | nameless[station])
        if not keep.any():
            raise SeriesError("No row has both a station and a time. Check the station and the time field.")
        station, moment = station[keep], moment[keep]
        values = {name: column[keep] for name, column in values.items()}
    stations, station = _renumbered(who.texts, station)
    return _on_the_clock(moments, LongRows(stations, station, moments.wall, moment, values, findings), source)


def _on_the_clock(moments: Moments, rows: LongRows, source: Source) -> LongRows:
    """Count in UTC; days and longer steps by the calendar of the place. ``rows`` still have the texts' codes."""
    zone = zone_of(source.time_zone) if source.time_zone else None
    times, codes = moments.utc, rows.moment
    if moments.zoned.any() or zone is not None:
        local = _with_times(rows, moments.wall, codes)
        if is_daily(next(local.groups()), local.times):
            moved = int(count_codes(codes, len(times))[moments.utc != moments.wall].sum())
            what = "Times in another zone than UTC; days and months are those of the place"
            local.findings += [Finding(what, moved)] if moved else []
            return local
        times, codes, found = in_utc(moments, rows.station, codes, zone)
        rows.findings += found
    return _with_times(rows, times, codes)


def _with_times(rows: LongRows, times: Times, codes: Codes) -> LongRows:
    """Return the rows with distinct, ascending times; ``times`` (code,) are those that the codes stand for."""
    distinct, place = np.unique(times, return_inverse=True)  # NaT, if any, comes last and is no row's any more
    return replace(rows, times=distinct[~np.isnat(distinct)], moment=_through(place, codes))


def _renumbered(texts: list[str], codes: Codes) -> tuple[list[str], Codes]:
    """Leave out the texts that no row has any more."""
    there = count_codes(codes, len(texts)) > 0
    if there.all():
        return texts, codes
    return [text for text, kept in zip(texts, there) if kept], _through(np.cumsum(there) - 1, codes)


def _through(numbers: npt.NDArray[np.int64], codes: Codes) -> Codes:
    """Return the numbers that the codes stand for, as small as the codes."""
    return np.asarray(numbers.astype(codes.dtype)[codes])


def _wide_rows(table: Table, dates: dict[str, str], source: Source) -> LongRows:
    who = _ids(table, source)
    if len(who.texts) != len(who.codes):
        raise SeriesError(
            "A wide table has one row a station, but some station stands in several rows. Choose a TIME_FIELD instead."
        )
    if len(source.variables) > 1 or source.covariates:
        raise SeriesError(
            "A wide table holds one variable, but several fields or covariates were named. Choose a TIME_FIELD, or leave "
            "VALUE_FIELD and COVARIATES empty."
        )
    times = parse_times(list(dates.values()), "of column names").wall
    variable = source.variables[0] if source.variables else "value"
    matrix = np.stack([table.numbers(name, "VALUE_FIELD").values for name in dates], axis=1)
    missing = sum(finding.count for name in dates for finding in table.numbers(name, "VALUE_FIELD").findings)
    merged = [Finding(f"Missing values of {variable}", missing)] if missing else []
    return on_one_axis(who.texts, times, {variable: matrix}, merged)


def _ids(table: Table, source: Source) -> TextColumn:
    if source.station_field:
        return table.texts(source.station_field, "STATION_FIELD")
    if table.places is not None:  # the place names the station
        names = [f"{x:.6g}, {y:.6g}" if np.isfinite(x) else "" for x, y in table.places.points]
        merged = texts_of(names)
        return TextColumn(merged.texts, _through(merged.codes.astype(np.int64), table.places.codes))
    return TextColumn(["station"], np.zeros(table.rows, dtype=np.uint16))


def _places(table: Table, source: Source) -> Places:
    points = table
    if source.stations:
        if not source.station_field:
            raise SeriesError(
                "STATIONS gives the points, but STATION_FIELD is empty, so nothing says whose values the rows are. Choose the "
                "field with the station."
            )
        points = read_table(source.stations)
        field = source.stations_id_field or source.station_field
        ids = points.texts(field, "STATIONS_ID_FIELD")
    elif table.has_geometry:
        ids = _ids(table, source)
    else:
        raise SeriesError(
            "The series have no places: the layer is a table without points. Give under STATIONS a point layer with "
            "the same station ids."
        )
    coordinates: dict[str, tuple[float, float]] = {}
    moved: dict[str, None] = {}
    if points.places is not None:
        for name, (x, y) in _first_of_each(ids, points.places):
            if coordinates.setdefault(name, (float(x), float(y))) != (float(x), float(y)):
                moved[name] = None
    _explain_zeros(table, source, coordinates)
    elevation = {}
    if source.elevation_field:
        field = source.elevation_field
        if source.stations:
            heights = numbers_of(points.texts(field, "ELEVATION_FIELD"), field, source.missing_codes)
        else:
            heights = points.numbers(field, "ELEVATION_FIELD")
        last = np.full(len(ids.texts), np.nan)  # of several heights of a station its last row's counts
        for at in range(0, len(ids.codes), 1 << 22):
            some = heights.values[at : at + (1 << 22)]
            seen = np.isfinite(some)
            last[ids.codes[at : at + (1 << 22)][seen]] = some[seen]
        elevation = {name: float(height) for name, height in zip(ids.texts, last) if np.isfinite(height)}
    what = "Stations with several places, of which the first is taken"
    findings = [Finding(what, len(moved), some_names(list(moved)))] if moved else []
    return Places(coordinates, points.crs, elevation, findings)


def _first_of_each(ids: TextColumn, places: RowPlaces) -> Iterator[tuple[str, Array]]:
    """Give names and places, each pair once, in the order of the rows; rows without a place are left out."""
    for at in range(0, len(ids.codes), 1 << 22):
        where = places.codes[at : at + (1 << 22)]
        pair = ids.codes[at : at + (1 << 22)].astype(np.int64) * len(places.points) + where
        there = np.flatnonzero(np.isfinite(places.points).all(axis=1)[where])
        _, first = np.unique(pair[there], return_index=True)
        for row in there[np.sort(first)]:
            yield ids.texts[int(pair[row]) // len(places.points)], places.points[where[row]]


def _explain_zeros(table: Table, source: Source, coordinates: dict[str, tuple[float, float]]) -> None:
    """Say what went wrong where ids would fit but for their leading zeros."""
    if not source.stations or not source.station_field:
        return
    for name in table.texts(source.station_field, "STATION_FIELD").texts:
        stripped = name.lstrip("0")
        if name and name not in coordinates:
            other = next((one for one in coordinates if one.lstrip("0") == stripped), None)
            if other is not None:
                raise SeriesError(
                    f"The series name a station “{name}”, the points “{other}”: leading zeros were lost. Load the "
                    "table with its ids as "
                    "text (in QGIS: Add Delimited Text Layer, without “Detect field types”)."
                )
