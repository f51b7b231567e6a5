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
from ..files import all_or_none
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
from .reading import Source
from .report_skill import day_of
from .seasons import Array
from .series import StationSeries, last_seen
from .series_settings import SeriesSettings, check_outputs, names_of, read_and_tell, source_of
from .transforms import backward, forward, some_values

_MOST_FANS, _UNUSUAL = 60, 12
_Fan = tuple[str, str, Array, Prediction, int]  # variable, station, what was measured, all forecasts, which of them


@dataclass(frozen=True, kw_only=True)
class Settings(SeriesSettings):
    """Settings of the job ``forecastseries``; what is left empty is as it was in training."""

    model: str
    output: str
    horizon: int = option(0, at_least=0)
    history: int = option(-1, at_least=-1)
    variable: str = ""
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
    check_outputs(settings.output, settings.charts)
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
    series = read_and_tell(source, progress, model.frequency)
    origin = series.length
    layer = ForecastLayer(series, origin, Path(settings.model).stem)
    back = min(origin, settings.history if settings.history >= 0 else _usual_history(model))
    fans: list[_Fan] = []
    for index, (variable, field) in enumerate(names.items()):
        alive = _alive(series, field, model, progress)
        every = len(alive) == len(series.stations)
        values = series.values[field] if every else series.values[field][alive]
        _doubt(values, block["usual_values"][variable], variable, progress)
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
    result = {"output": settings.output}
    with all_or_none((settings.output, settings.charts)):
        count = layer.write(settings.output)
        if settings.charts:
            _charts(settings, series, fans, back, horizon).save(settings.charts)
            result["charts"] = settings.charts
    progress.message(f"{count:,} points were written, {horizon} lead times from {day_of(series, origin)} on.")
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
    given = names_of(settings.covariates, "COVARIATES") or model.covariates
    missing = next((name for name in model.covariates if name not in given), None)
    if missing is not None:
        raise SeriesError(f"The model needs the covariate {missing} beside the values. Choose its field.")
    trained = block["settings"]
    as_trained = ("station_field", "time_field", "stations_id_field", "elevation_field", "time_format", "time_zone")
    filled: dict[str, Any] = {name: getattr(settings, name) or str(trained.get(name, "")) for name in as_trained}
    filled |= {"value_field": list(names.values()), "covariates": model.covariates}
    source = source_of(replace(settings, **filled), str(trained["step"]), model.quantity)
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
    median = float(np.median(some_values(values)))
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
    fans: list[_Fan],
    back: int,
    horizon: int,
) -> Page:
    origin = series.length
    page = Page(
        f"Forecast from {day_of(series, origin)}",
        f"{Path(settings.model).name}, {len(fans):,} series, {horizon} lead times",
    )
    past_times = series.frequency.start(series.first + np.arange(origin - back, origin))
    times = series.frequency.start(series.first + np.arange(origin, origin + horizon))
    if len(fans) > _MOST_FANS:
        page.text(
            f"{_MOST_FANS} of {len(fans):,} series are drawn: the {_UNUSUAL} whose forecast lies farthest from normal for "
            "its uncertainty, then some from everywhere. The layer holds all."
        )
    for variable, name, past, found, row in _shown(fans):
        normal = np.concatenate([np.full(back, np.nan), found.normal[row]])
        page.svg(fan(past_times, past, times, found.quantiles[row], normal, variable), f"{name}, {variable}", half=True)
    return page


def _shown(fans: list[_Fan]) -> list[_Fan]:
    """Return the fans to draw: the most unusual ones and some from everywhere, where there are many."""
    if len(fans) <= _MOST_FANS:
        return fans
    far = np.zeros(len(fans))
    for index, (_, _, _, found, row) in enumerate(fans):
        width = found.quantiles[row, :, -2] - found.quantiles[row, :, 1]
        far[index] = np.max(np.abs(found.median[row] - found.normal[row]) / np.maximum(width, 1e-9))
    first = np.argsort(-np.nan_to_num(far), kind="stable")[:_UNUSUAL]
    rest = np.setdiff1d(np.arange(len(fans)), first)
    even = rest[np.linspace(0, len(rest) - 1, _MOST_FANS - _UNUSUAL).round().astype(int)]
    return [fans[index] for index in (*first, *even)]
