"""
Train a forecaster and judge it honestly: the job ``trainforecaster``.

The scored origins lie in the last quarter of the record. A model that was fitted before the first of them is asked at each; the
model that is saved is then fitted on everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError
from ..files import all_or_none
from ..messages import PartOfProgress, Progress
from ..model_file import write_model
from ..ranks import Ranks, joined
from ..settings import as_dict, option
from .classic import Classic, fit_classic
from .core import Side
from .crew import Crew, crew_of
from .evaluation import MODEL, Evaluation, add_climatology_distribution, evaluate, evaluation_origins
from .forecaster import fit_forecaster
from .frequency import DAY_S, STEPS, Frequency
from .input_length import default_input_length
from .item import forecaster_item
from .model import Fitted, ForecastModel, Statics, answer, make_side, make_statics, to_parts
from .other_packages import CHOICES as STATISTICAL_CHOICES
from .other_packages import add_statistical_baselines, check_statistical_baselines
from .report import write_report
from .seasons import Array, Calendar
from .series import QUANTITIES, StationSeries, usable
from .series_settings import SeriesSettings, check_outputs, read_and_tell, source_of
from .skill_layer import write_skill_layer
from .tables import LAYER_NAME
from .transforms import choose_transform
from .windows import Shape, some_regions

_MOST_ORIGINS = 24
_SCORED_VALUES = (
    8_000_000  # regions are drawn for the evaluation where there are more: some hundred stations tell enough
)
ARCHITECTURES = ("anomaly", "classic")


@dataclass(frozen=True, kw_only=True)
class Settings(SeriesSettings):
    """Settings of the job ``trainforecaster``."""

    output: str
    horizon: int = option(0, at_least=0, at_most=10_000)
    input_length: int = option(0, at_least=0, at_most=10_000)
    architecture: str = option("anomaly", choices=ARCHITECTURES)
    quantity: str = option("mean", choices=QUANTITIES)
    transform: str = option("auto", choices=("auto", "none", "sqrt"))
    step: str = option("found", choices=("found", *STEPS))
    use_coordinates: bool = False
    origins: int = option(0, at_least=0, at_most=500)
    compare_statistical: str = option("auto", choices=STATISTICAL_CHOICES)
    seed: int = option(0, at_least=0)
    report: str | None = None
    skill: str | None = None


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Train, judge and write a forecaster.

    Raises
    ------
    SeriesError, SourceError, SettingsError, OutputError
        Each with a sentence, before anything is written.
    """
    with joined() as ranks:
        result, crew = _run(settings, progress, ranks)
    crew.leave()  # now that all are through: a process lost before has the job go on from what was kept
    return result


def _run(settings: Settings, progress: Progress, ranks: Ranks) -> tuple[dict[str, Any], Crew]:
    check_outputs(settings.output, settings.report, settings.skill)
    check_statistical_baselines(settings.compare_statistical)
    source = source_of(settings, settings.step, settings.quantity)
    series = read_and_tell(source, progress)
    variables = source.variables or list(series.values)[:1]
    horizon = settings.horizon or default_horizon(series.frequency)
    shape = Shape(settings.input_length or default_input_length(series.frequency, horizon), horizon)
    told = len(series.findings)
    series = usable(series, variables, least_values(horizon), horizon)
    for finding in series.findings[told:]:
        progress.message(finding.sentence)
    origins = evaluation_origins(
        series.length, horizon, series.frequency.season, _MOST_ORIGINS, settings.origins or None
    )
    _check_covariates(series, source.covariates)
    _tell(series, variables, progress)
    crew = crew_of(ranks, settings.output, source.input.partition(LAYER_NAME)[0], as_dict(settings))
    fitted: dict[str, Fitted] = {}
    judged: dict[str, Evaluation] = {}
    statics = _statics(series, settings)
    for index, name in enumerate(variables):
        part = PartOfProgress(
            progress, 0.05 + 0.85 * index / len(variables), 0.05 + 0.85 * (index + 1) / len(variables)
        )
        values = series.values[name]
        side = _side(series, source.covariates, statics)
        before = int(origins[0])
        transform = choose_transform(values[:, :before], settings.transform, settings.quantity == "sum")
        first = _fit(
            values[:, :before],
            side.before(before),
            series.calendar,
            shape,
            transform,
            settings,
            PartOfProgress(part, 0, 0.4),
            crew.at(f"{name}-first"),
        )
        judged[name] = _judge(
            first, values, side, series.calendar, origins, horizon, settings, PartOfProgress(part, 0.4, 0.55), ranks
        )
        if ranks.is_first:
            judged[name] = add_statistical_baselines(
                judged[name],
                values,
                series.frequency.season,
                settings.compare_statistical,
                PartOfProgress(part, 0.55, 0.65),
            )
        transform = choose_transform(values, settings.transform, settings.quantity == "sum")
        fitted[name] = _fit(
            values,
            side,
            series.calendar,
            shape,
            transform,
            settings,
            PartOfProgress(part, 0.65, 1.0),
            crew.at(f"{name}-all"),
        )
    if not ranks.is_first:
        return {}, crew
    model = ForecastModel(fitted, series.frequency, series.stations, source.covariates, statics, settings.quantity)
    progress.update(0.92, "Writing the report")
    page = write_report(model, series, judged, as_dict(settings))
    block, arrays = to_parts(model)
    item = forecaster_item(model, series, judged, block, as_dict(settings))
    result: dict[str, Any] = {"output": settings.output}
    with all_or_none((settings.output, settings.report, settings.skill)):
        write_model(settings.output, item, arrays, page.html())
        if settings.report:
            page.save(settings.report)
            result["report"] = settings.report
        if settings.skill:
            write_skill_layer(settings.skill, series, judged)
            result["skill"] = settings.skill
    return result | _numbers(judged, progress), crew


def _tell(series: StationSeries, variables: list[str], progress: Progress) -> None:
    """Tell what will be learnt from."""
    progress.message(
        f"{len(series.stations):,} stations, {series.length:,} steps of {series.frequency.words}, season of "
        f"{series.frequency.season} steps."
    )
    others = [name for name in series.values if name not in variables]
    if len(variables) == 1 and others:
        progress.message(f"{variables[0]} is forecast. There is also {', '.join(others)}.")
    if "year" in series.calendar.cycles and series.length < 2 * series.frequency.steps_per_year:
        progress.warning(
            "The record is shorter than two years, so the yearly cycle cannot be told: what is called normal follows the "
            "last weeks."
        )


def _check_covariates(series: StationSeries, names: list[str]) -> None:
    """Refuse a covariate that cannot tell anything."""
    for name in names:
        seen = series.values[name][np.isfinite(series.values[name])]
        if not seen.size or seen.min() == seen.max():
            found = "All values are missing" if not seen.size else f"All values are {seen[0]:g}"
            raise SeriesError(f"The covariate {name} tells nothing. {found}. Choose another field, or leave it out.")


def default_horizon(frequency: Frequency) -> int:
    """Return a year of months, two weeks of days, a day of hours, five years."""
    if frequency.unit == "month":
        return 12 // frequency.count if frequency.count < 12 else 5
    if frequency.count < DAY_S:
        return frequency.season
    return 14 if frequency.count == DAY_S else 8


def least_values(horizon: int) -> int:
    """Return how many values a station must have."""
    return max(24, 3 * horizon + 6)


def _fit(
    values: Array,
    side: Side,
    calendar: Calendar,
    shape: Shape,
    transform: str,
    settings: Settings,
    progress: Progress,
    crew: Crew,
) -> Fitted:
    if settings.architecture == "classic":
        return fit_classic(values, calendar, shape, transform, seed=settings.seed, progress=progress, crew=crew)
    return fit_forecaster(values, side, calendar, shape, transform, seed=settings.seed, progress=progress, crew=crew)


def _judge(
    model: Fitted,
    values: Array,
    side: Side,
    calendar: Calendar,
    origins: npt.NDArray[np.int64],
    horizon: int,
    settings: Settings,
    progress: Progress,
    ranks: Ranks,
) -> Evaluation:
    scored = some_regions(side.regions, max(64, _SCORED_VALUES // values.shape[1]), settings.seed)
    if len(scored) < len(values):
        progress.message(
            f"{len(scored):,} of {len(values):,} stations are scored, in whole regions that were drawn with the seed; all are "
            "trained on."
        )

    def method(history: Array, beside: Side, when: Calendar) -> tuple[Array, Array, dict[str, Array]]:
        found = answer(model, history, beside, when)
        return found.quantiles, found.normal, found.parts

    judged = evaluate(method, values[scored], side.of(scored), calendar, origins, horizon, progress, ranks)
    harmonics = model.harmonics if isinstance(model, Classic) else model.core.plan.harmonics
    judged = add_climatology_distribution(judged, values[scored], calendar, harmonics, model.transform, ranks)
    return replace(judged, stations=scored, gate=None if isinstance(model, Classic) else model.gate)


def _statics(series: StationSeries, settings: Settings) -> Statics:
    names = ["elevation"] if settings.elevation_field else []
    names += ["easting", "northing"] if settings.use_coordinates else []
    return make_statics(names, series.coordinates, series.elevation)


def _side(series: StationSeries, covariates: list[str], statics: Statics) -> Side:
    beside = np.stack([series.values[name] for name in covariates]) if covariates else None
    return make_side(series.stations, series.stations, series.coordinates, series.elevation, beside, statics)


def _numbers(judged: dict[str, Evaluation], progress: Progress) -> dict[str, float]:
    """Return the scores over all variables, and tell each one's."""
    found = []
    for name, one in judged.items():
        scores = one.scores()[MODEL]
        held = float(one.spread_scores(MODEL)["coverage_90"])
        found.append((scores.mase, scores.mae, held))
        progress.message(
            f"{name}: MASE {scores.mase:.3f}, mean absolute error {scores.mae:.3f}, 90 % intervals held {held:.0%} of the time."
        )
    mase, mae, held = np.mean(found, axis=0)
    return {"mase": float(mase), "mae": float(mae), "coverage": float(held)}
