"""What both jobs of forecasting are told about their series, and how both begin: reading them and telling what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError
from ..files import check_output
from ..messages import Progress
from ..settings import option
from .frequency import Frequency
from .reading import MISSING_CODES, Source, read_series
from .series import DUPLICATES, StationSeries


@dataclass(frozen=True, kw_only=True)
class SeriesSettings:
    """The settings that say where the series are and how they are read."""

    input: str
    station_field: str = ""
    time_field: str = ""
    value_field: Any = ""
    stations: str = ""
    stations_id_field: str = ""
    covariates: Any = ""
    elevation_field: str = ""
    missing_codes: str = MISSING_CODES
    time_format: str = ""
    time_zone: str = ""
    duplicates: str = option("refuse", choices=DUPLICATES)


def source_of(settings: SeriesSettings, step: str, quantity: str) -> Source:
    """
    Return where the series are.

    Parameters
    ----------
    step : str
        A step to bring the values to; empty or ``found`` for that of the data.
    quantity : str
        ``mean`` or ``sum``.
    """
    variables = names_of(settings.value_field, "VALUE_FIELD")
    if settings.time_field and not variables:
        raise SettingsError("VALUE_FIELD is empty. Choose the field with the values.")
    return Source(
        settings.input,
        settings.station_field,
        settings.time_field,
        variables,
        names_of(settings.covariates, "COVARIATES"),
        settings.stations,
        settings.stations_id_field,
        settings.elevation_field,
        settings.missing_codes,
        settings.time_format,
        settings.time_zone,
        "" if step == "found" else step,
        quantity,
        settings.duplicates,
    )


def names_of(value: Any, what: str) -> list[str]:
    """Return field names, given as a list or as a text with semicolons."""
    if isinstance(value, str):
        names = [part.strip() for part in value.split(";") if part.strip()]
    elif isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        names = list(value)
    else:
        raise SettingsError(f"{what} is {value!r}, but must be the name of a field, or several in a list.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f"{what} names the field {twice} twice. Name each field once.")
    return names


def check_outputs(*paths: str | None) -> None:
    """Make sure that every output that was asked for can be written, and that no two are the same file."""
    asked = [path for path in paths if path]
    twice = next((path for path in asked if asked.count(path) > 1), None)
    if twice is not None:
        raise SettingsError(f"Two outputs would be written to {twice}. Give each a file of its own.")
    for path in asked:
        check_output(path)


def read_and_tell(source: Source, progress: Progress, frequency: Frequency | None = None) -> StationSeries:
    """Read the series, with a message for everything that was odd about them."""
    progress.update(0.01, "Reading the series")
    series = read_series(source, frequency)
    for finding in series.findings:
        progress.message(finding.sentence)
    return series
