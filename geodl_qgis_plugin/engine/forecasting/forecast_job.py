"""
Forecast from the latest values with a trained model: the job ``forecastseries``.

Appended rows and new stations need no new training: normals are fitted on what is given, the rest comes from the model file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dask_cluster import check_scheduler
from ..errors import SeriesError
from ..files import check_output
from ..messages import Progress
from ..model_file import read_model
from ..reports.page import Page
from ..settings import option
from .charts import fan
from .climatology import NormalsPlan, fit_normals, levels
from .forecast_layer import ForecastLayer
from .forecaster import Forecaster, Prediction
from .in_parts import answer_in_parts
from .model import Fitted, ForecastModel, from_parts, make_side
from .reading import MISSING_CODES, Source, read_series
from .seasons import Array
from .series import DUPLICATES, StationSeries, last_seen
from .training_job import names_of
from .transforms import backward, forward

_MOST_FANS = 60


@dataclass(frozen=True)
class Settings:
    """Settings of the job ``forecastseries``."""

    model: str
    input: str
    output: str
    station_field: str = ""
    time_field: str = ""
    value_field: Any = ""
    stations: str = ""
    stations_id_field: str = ""
    horizon: int = option(0, at_least=0)
    history: int = option(-1, at_least=-1)
    variable: str = ""
    covariates: Any = ""
    elevation_field: str = ""
    missing_codes: str = MISSING_CODES
    time_format: str = ""
    duplicates: str = option("refuse", choices=DUPLICATES)
    scheduler: str = ""
    charts: str | None = None


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the forecast layer and, if asked, a page of charts.

    Raises
    ------
    SeriesError, SourceError, ModelFileError, OutputError
        Each with a sentence, before anything is written.
    """
    check_output(settings.output)
    if settings.charts:
        check_output(settings.charts)
    if settings.scheduler:
        check_scheduler(settings.scheduler)
    file = read_model(settings.model)
    block = file.part("forecaster")
    model = from_parts(block, file.weights)
    source, names = _source(settings, block, model)
    horizon = settings.horizon or model.shape.horizon
    if horizon > model.shape.horizon:
        raise SeriesError(
            f"A horizon of {horizon} was asked for, but the model was trained for {model.shape.horizon}. Choose "
            f"{model.shape.horizon} or "
            "less, or train with a longer horizon."
        )
    progress.update(0.05, "Reading the series")
    series = read_series(source, model.frequency)
    for finding in series.findings:
        progress.message(finding.sentence)
    origin = series.length
    layer = ForecastLayer(series, origin, Path(settings.model).stem)
    back = min(origin, settings.history if settings.history >= 0 else _usual_history(model))
    fans: list[tuple[str, str, Array, Prediction, int]] = []
    for index, (variable, field) in enumerate(names.items()):
        alive = _alive(series, field, model, progress)
        _doubt(series.values[field][alive], block["usual_values"][variable], variable, progress)
        values = series.values[field][alive]
        beside = np.stack([series.values[name][alive] for name in model.covariates]) if model.covariates else None
        chosen = [series.stations[row] for row in alive]
        side = make_side(
            chosen, model.stations, series.coordinates[alive], series.elevation[alive], beside, model.statics
        )
        fitted = model.fitted[variable]
        found = answer_in_parts(fitted, values, side, series.calendar, settings.scheduler, progress)
        found = _cut(found, horizon)
        past = values[:, origin - back :]
        layer.add(variable, alive, past, _past_normals(fitted, values, series, back), found)
        fans += [(variable, name, past[row], found, row) for row, name in enumerate(chosen)]
        progress.update(0.1 + 0.7 * (index + 1) / len(names), f"Forecasting {variable}")
    count = layer.write(settings.output)
    progress.message(f"{count:,} points were written, {horizon} lead times from {series.start(origin)} on.")
    result = {"output": settings.output}
    if settings.charts:
        _charts(settings, series, fans, back, horizon).save(settings.charts)
        result["charts"] = settings.charts
    return result


def _source(settings: Settings, block: dict[str, Any], model: ForecastModel) -> tuple[Source, dict[str, str]]:
    """Return where to read, and the field of each of the model's variables."""
    known = list(model.fitted)
    fields = names_of(settings.value_field, "VALUE_FIELD")
    said = names_of(settings.variable, "VARIABLE") or fields or known
    if fields and len(said) != len(fields):
        raise SeriesError(
            f"{len(fields)} fields but {len(said)} variables are named. Name one variable for each field."
        )
    for name in said:
        if name not in known:
            raise SeriesError(
                f"The model was trained on {', '.join(known)}, but the field chosen is {name}. Choose the field with "
                f"{known[0]}, or train a "
                f"model for {name}. If it is the same variable under another name, say so with VARIABLE."
            )
    names = dict(zip(said, fields or said))
    missing = [
        name
        for name in model.covariates
        if name not in (names_of(settings.covariates, "COVARIATES") or model.covariates)
    ]
    if missing:
        raise SeriesError(f"The model needs the covariate {missing[0]} beside the values. Choose its field.")
    trained = block["settings"]
    source = Source(
        settings.input,
        settings.station_field or trained["station_field"],
        settings.time_field or trained["time_field"],
        list(names.values()),
        model.covariates,
        settings.stations,
        settings.stations_id_field or trained["stations_id_field"],
        settings.elevation_field or trained["elevation_field"],
        settings.missing_codes,
        settings.time_format or trained["time_format"],
        "" if trained["step"] == "found" else trained["step"],
        model.quantity,
        settings.duplicates,
    )
    return source, names


def _alive(series: StationSeries, field: str, model: ForecastModel, progress: Progress) -> npt.NDArray[np.int64]:
    """Return the stations with a value among the latest steps, and tell of the others."""
    last = last_seen(series.values[field])
    if (last < 0).all():
        raise SeriesError(f"All values of {field} are missing. Choose another field, or check the missing codes.")
    alive = np.flatnonzero(last >= series.length - model.shape.input_length)
    ended = len(last) - len(alive)
    if ended:
        names = ", ".join(
            series.stations[row] for row in np.flatnonzero(last < series.length - model.shape.input_length)[:6]
        )
        progress.warning(
            f"{ended} stations have no value in the last {model.shape.input_length} steps and get no forecast "
            f"({names}{' …' if ended > 6 else ''})."
        )
    least = 2 * series.frequency.season
    short = int((np.isfinite(series.values[field][alive]).sum(axis=1) < least).sum())
    if short:
        progress.warning(
            f"{short} stations have fewer than {least} values, too few to know what is normal there: their forecasts are rough."
        )
    known = set(model.stations)
    unknown = sum(series.stations[row] not in known for row in alive)
    if unknown:
        progress.message(f"{unknown} stations are new to the model; their normals come from the rows given.")
    return alive


def _doubt(values: Array, usual: list[float], variable: str, progress: Progress) -> None:
    low, middle, high = usual
    median = float(np.nanmedian(values))
    if not low - (high - low) <= median <= high + (high - low):
        progress.warning(
            f"The values of {variable} have a median of {median:.4g}, the training values had {middle:.4g} (1st to "
            f"99th percentile {low:.4g} to "
            f"{high:.4g}). Check that field and unit are the same."
        )


def _usual_history(model: ForecastModel) -> int:
    return max(2 * model.shape.horizon, min(model.frequency.season, 30))


def _past_normals(fitted: Fitted, values: Array, series: StationSeries, back: int) -> Array:
    """Return the normals of the last steps as they are seen from the origin: (station, back)."""
    plan = fitted.core.plan if isinstance(fitted, Forecaster) else NormalsPlan(fitted.harmonics, "none")
    found = np.zeros((len(values), back))
    for at in range(0, len(values), 512):
        part = forward(values[at : at + 512], fitted.transform)
        normals = fit_normals(part, series.calendar, plan)
        length = part.shape[1]
        normal = normals.expected(series.calendar, 0, length)
        if plan.trend == "recent":
            deviation = normals.deviation(series.calendar, 0, length)
            normal += levels((part - normal) / deviation, series.calendar)[:, -1:] * deviation
        found[at : at + 512] = backward(normal[:, length - back :], fitted.transform)
    return found


def _cut(found: Prediction, horizon: int) -> Prediction:
    return replace(
        found,
        quantiles=found.quantiles[:, :horizon],
        mean=found.mean[:, :horizon],
        normal=found.normal[:, :horizon],
        parts={},
    )


def _charts(
    settings: Settings,
    series: StationSeries,
    fans: list[tuple[str, str, Array, Prediction, int]],
    back: int,
    horizon: int,
) -> Page:
    origin = series.length
    page = Page(
        f"Forecast from {series.start(origin)}",
        f"{Path(settings.model).name}, {len(fans):,} series, {horizon} lead times",
    )
    past_times = series.frequency.start(series.first + np.arange(origin - back, origin))
    times = series.frequency.start(series.first + np.arange(origin, origin + horizon))
    if len(fans) > _MOST_FANS:
        page.text(f"The first {_MOST_FANS} of {len(fans):,} series are drawn; the layer holds all.")
    for variable, name, past, found, row in fans[:_MOST_FANS]:
        normal = np.concatenate([np.full(back, np.nan), found.normal[row]])
        page.svg(fan(past_times, past, times, found.quantiles[row], normal, variable), f"{name}, {variable}", half=True)
    return page
