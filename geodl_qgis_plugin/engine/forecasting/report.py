"""The report of a trained forecaster: what was found in the data, and whether there is skill, against what, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from osgeo import osr

from ..reports.page import Page
from .baselines import BASELINES, CLIMATOLOGY, SEASONAL_NAIVE
from .charts import calibration, fan, skill_by_lead, station_map, training_curves
from .classic import Classic
from .evaluation import MODEL, Evaluation
from .forecaster import Forecaster
from .metrics import Scores, coverage, crps, width
from .model import Fitted, ForecastModel
from .networks import QUANTILES
from .origins import step_of
from .series import StationSeries
from .skill_layer import station_skill

_MOST_FANS = 12
_MOST_ROWS = 60


def write_report(
    model: ForecastModel, series: StationSeries, judged: Mapping[str, Evaluation], settings: Mapping[str, Any]
) -> Page:
    """Return the report's page."""
    names = ", ".join(model.fitted)
    first, last = _day(series, 0), _day(series, series.length - 1)
    page = Page(
        f"Forecaster of {names}",
        f"{len(series.stations):,} stations, a value every {series.frequency.words.removeprefix('1 ')}, {first} to {last}",
    )
    page.lead(" ".join(_finding(name, model.fitted[name], one) for name, one in judged.items()))
    for name, one in judged.items():
        own = one.scores()[MODEL]
        note = f"{name}, " if len(judged) > 1 else ""
        page.figures(
            [
                ("MASE", own.mase, f"{note}1 is the seasonal naive error in training"),
                ("Mean absolute error", own.mae, f"{note}over all lead times"),
                (
                    "80 % intervals held",
                    f"{float(coverage(one.quantiles, one.observed, 80)):.1%}",
                    f"{note}of the time",
                ),
                (
                    "90 % intervals held",
                    f"{float(coverage(one.quantiles, one.observed, 90)):.1%}",
                    f"{note}of the time",
                ),
            ]
        )
    _data(page, series, model)
    for name, one in judged.items():
        _variable(page, name, model.fitted[name], one, series)
    page.settings(settings)
    return page


def no_skill(judged: Evaluation, fitted: Fitted) -> bool:
    """Whether the model shows no skill beyond the best baseline: closed by the gate, or not better at the scored origins."""
    if isinstance(fitted, Forecaster) and not fitted.gate.has_skill:
        return True
    return judged.skill(_best_baseline(judged.scores()))[0] <= 0


def _finding(name: str, fitted: Fitted, judged: Evaluation) -> str:
    scores = judged.scores()
    best = _best_baseline(scores)
    skill, low, high = judged.skill(best)
    origins = len(judged.origins)
    if isinstance(fitted, Forecaster) and not fitted.gate.has_skill:
        used = " and ".join(dict.fromkeys(fitted.gate.baseline))
        plain = judged.skill(CLIMATOLOGY["none"])[0]
        than = (
            ""
            if used == CLIMATOLOGY["none"]
            else f" That one's errors are {plain:.1%} smaller than those of the record's mean."
        )
        if plain <= 0:
            than = ""
        return f"{name}: the model has no skill beyond the best baseline, so the forecast is the baseline's ({used}).{than}"
    if skill <= 0:
        return f"{name}: there was no skill at {origins} scored origins: {best} was better by {-skill:.1%}."
    if low <= 0:
        return (
            f"{name}: the model's errors were {skill:.1%} smaller than those of the best baseline ({best}), which may "
            "be chance: the 95 % "
            f"interval is {low:.1%} to {high:.1%} over {origins} origins."
        )
    return (
        f"{name}: the model's errors were {skill:.1%} smaller than those of the best baseline ({best}); "
        f"95 % interval {low:.1%} to {high:.1%} over {origins} origins."
    )


def _best_baseline(scores: Mapping[str, Scores]) -> str:
    return next(name for name in scores if name in BASELINES or name in ("ETS", "ARIMA"))


def _data(page: Page, series: StationSeries, model: ForecastModel) -> None:
    page.section("What was found in the data")
    cycle = {1: "none is expected"}.get(series.frequency.season, f"{series.frequency.season} steps")
    page.text(
        f"The step is {series.frequency.words} and the season {cycle}. The model looks {model.shape.input_length} steps back "
        f"and {model.shape.horizon} ahead. Values are {'sums' if model.quantity == 'sum' else 'means'} over a step. "
        "Times are in UTC."
    )
    rows = [[finding.what, finding.count, finding.detail] for finding in series.findings]
    if rows:
        page.table(["Found", "Count", ""], rows, "What was odd. Nothing was filled in; gaps stay gaps.")
    else:
        page.text("No gaps, duplicates or missing codes were found.")


def _variable(page: Page, name: str, fitted: Fitted, judged: Evaluation, series: StationSeries) -> None:
    scores = judged.scores()
    best = _best_baseline(scores)
    page.section(f"Skill: {name}")
    if isinstance(fitted, Forecaster):
        page.text(fitted.gate.sentence + " " + _trend(fitted))
    else:
        page.text(
            "This is the classic preset: an LSTM of 50 units with one dense output, fed with its own forecasts. It "
            "has no gate; compare it "
            "with the baselines below before it is used."
        )
    if no_skill(judged, fitted):
        page.warning(
            "There is no skill beyond the baselines here: what the map shows can be said without a network."
            if isinstance(fitted, Forecaster) and not fitted.gate.has_skill
            else f"At the scored origins the model was not better than {best}."
        )
    step = step_of(judged.origins)
    page.text(
        f"Scored at {len(judged.origins)} rolling origins, {step} steps apart, from "
        f"{_day(series, int(judged.origins[0]))} on. Everything was "
        "fitted on what came before the first of them; at each origin only what came before it was known."
    )
    page.table(
        ["Method", "MASE", "MAE", "MAE, first lead", "RMSE", "Bias", "CRPS", "Skill against climatology"],
        [_row(method, score, scores, judged) for method, score in scores.items()],
        f"The model and the baselines, from best to worst. Best baseline: {best}.",
        highlight=[0],
    )
    shown = [MODEL, *dict.fromkeys([best, CLIMATOLOGY["none"], SEASONAL_NAIVE, "ridge"])]
    errors = {method: scores[method].mae_by_lead for method in shown if method in scores}
    opened = fitted.gate.open if isinstance(fitted, Forecaster) else None
    page.svg(skill_by_lead(errors, "", series.frequency.words, opened), "Mean absolute error over lead time.")
    _leads(page, judged, scores, best)
    _stations(page, judged, series)
    _intervals(page, judged)
    _fans(page, judged, series, name)
    curves = fitted.curves if isinstance(fitted, Classic) else fitted.core.curves
    if curves:
        page.section(f"Training: {name}")
        page.svg(training_curves(curves), "Loss of the networks by round of steps; each one's kept round is marked.")


def _trend(fitted: Forecaster) -> str:
    words = {
        "none": "the mean of the whole record",
        "recent": "a recent level about half the record's slope",
        "linear": "a straight line",
    }
    errors = ", ".join(f"{words[trend]} {error:.3f}" for trend, error in fitted.trend_errors.items())
    return (
        f"Trend, chosen by rolling origins within training: {words[fitted.trend]} (MASE of climatology with {errors})."
    )


def _row(method: str, score: Scores, scores: Mapping[str, Scores], judged: Evaluation) -> list[Any]:
    climate = scores[CLIMATOLOGY["none"]].mase
    own = float(crps(judged.quantiles, judged.observed)) if method == MODEL else None
    skill = f"{1 - score.mase / climate:+.1%}".replace("-", "−")
    return [method, score.mase, score.mae, float(score.mae_by_lead[0]), score.rmse, score.bias, own, skill]


def _leads(page: Page, judged: Evaluation, scores: Mapping[str, Scores], best: str) -> None:
    own, other = scores[MODEL], scores[best]
    leads = len(own.mae_by_lead)
    shown = np.unique(np.linspace(0, leads - 1, min(leads, 14)).round().astype(int))
    held = [coverage(judged.quantiles, judged.observed, percent, (0, 1)) for percent in (80, 90)]
    wide = width(judged.quantiles, 80, (0, 1))
    rows = [
        [
            str(lead + 1),
            float(own.mae_by_lead[lead]),
            float(other.mae_by_lead[lead]),
            float(own.bias_by_lead[lead]),
            f"{held[0][lead]:.0%}",
            f"{held[1][lead]:.0%}",
            float(wide[lead]),
        ]
        for lead in shown
    ]
    page.table(
        ["Lead time", "MAE", f"MAE, {best}", "Bias", "80 % held", "90 % held", "Width of 80 %"],
        rows,
        "By lead time.",
        "rrrrrrr",
    )


def _stations(page: Page, judged: Evaluation, series: StationSeries) -> None:
    rows, best = station_skill(judged)
    stations = np.arange(len(series.stations)) if judged.stations is None else judged.stations
    names = [series.stations[index] for index in stations]
    places = series.coordinates[stations]
    if len(names) > 1:
        page.svg(
            station_map(places, rows["skill_climatology"], "Skill against climatology", names, _degrees(series.crs)),
            "Where the stations are, and how much smaller the model's errors were than those of the record's mean.",
        )
    order = np.argsort(-np.nan_to_num(rows["skill_climatology"], nan=-9))
    if len(order) > _MOST_ROWS:
        order = np.concatenate([order[: _MOST_ROWS // 2], order[-_MOST_ROWS // 2 :]])
    table = [
        [
            names[row],
            int(rows["values_scored"][row]),
            float(rows["mae"][row]),
            float(rows["mase"][row]),
            f"{rows['skill_climatology'][row]:+.1%}".replace("-", "−"),
            f"{rows['skill_best'][row]:+.1%}".replace("-", "−"),
            f"{rows['coverage_80'][row]:.0%}",
        ]
        for row in order
        if rows["values_scored"][row]
    ]
    note = f" The best and the worst of {len(names):,}." if len(names) > _MOST_ROWS else ""
    header = ["Station", "Values", "MAE", "MASE", "Skill against climatology", f"Skill against {best}", "80 % held"]
    page.table(header, table, f"By station.{note}", "lrrrrrr")


def _intervals(page: Page, judged: Evaluation) -> None:
    held = []
    for index in range(len(QUANTILES)):
        seen = np.isfinite(judged.observed) & np.isfinite(judged.quantiles[..., index])
        held.append(
            float((judged.observed <= judged.quantiles[..., index])[seen].mean()) if seen.any() else float("nan")
        )
    page.svg(calibration(QUANTILES, held), "How often each quantile held: on the line is as promised.", half=True)


def _fans(page: Page, judged: Evaluation, series: StationSeries, variable: str) -> None:
    stations = np.arange(len(series.stations)) if judged.stations is None else judged.stations
    horizon = judged.observed.shape[2]
    origin = int(judged.origins[-1])
    back = max(2 * horizon, 8)
    past_times = series.frequency.start(series.first + np.arange(max(0, origin - back), origin))
    times = series.frequency.start(series.first + np.arange(origin, origin + horizon))
    shown = [row for row in range(len(stations)) if np.isfinite(judged.observed[-1, row]).any()]
    for row in shown[:: max(1, -(-len(shown) // _MOST_FANS))]:
        past = series.values[variable][stations[row], max(0, origin - back) : origin]
        normal = np.concatenate([np.full(len(past), np.nan), judged.normal[-1, row]])
        figure = fan(past_times, past, times, judged.quantiles[-1, row], normal, variable, judged.observed[-1, row])
        page.svg(
            figure,
            f"{series.stations[stations[row]]}: what was said on {_day(series, origin)}, and what came.",
            half=True,
        )


def _degrees(crs: str) -> bool:
    if not crs:
        return True
    reference = osr.SpatialReference()
    reference.ImportFromWkt(crs)
    return bool(reference.IsGeographic())


def _day(series: StationSeries, column: int) -> str:
    text = str(series.start(column))
    return text[:10] if text.endswith("00:00:00") else text[:16].replace("T", " ")
