"""What a report says of one variable: skill by method, lead time and station, the gate, intervals, fans and training."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..reports.page import Page
from .baselines import CLIMATOLOGY, SEASONAL_NAIVE
from .charts import calibration, fan, gate_chart, held_by_lead, skill_by_lead, training_curves
from .classic import Classic
from .evaluation import MODEL, Evaluation
from .forecaster import Forecaster
from .metrics import Scores
from .model import Fitted
from .networks import QUANTILES
from .origins import step_of
from .series import StationSeries
from .skill_gate import Gate
from .skill_layer import station_skill

_MOST_FANS = 12
_MOST_ROWS = 60
_TRENDS = {
    "none": "the mean of the whole record",
    "recent": "a recent level about half the record's slope",
    "linear": "a straight line",
}


def report_variable(page: Page, name: str, fitted: Fitted, judged: Evaluation, series: StationSeries) -> None:
    """Write all sections of one variable."""
    page.section(f"Skill: {name}")
    if no_skill(judged, fitted):
        page.warning(
            "There is no skill beyond the baselines here: what the map shows can be said without a network."
            if isinstance(fitted, Forecaster) and not fitted.gate.has_skill
            else f"At the scored origins the model was not better than {judged.best_baseline}."
        )
    _methods(page, judged, series)
    _leads(page, judged, series)
    _stations(page, judged, series)
    _gate(page, name, fitted, judged, series)
    _intervals(page, name, judged, series)
    page.section(f"Forecasts and what came: {name}")
    _fans(page, judged, series, name)
    _training(page, name, fitted)


def no_skill(judged: Evaluation, fitted: Fitted) -> bool:
    """Whether the model shows no skill beyond the best baseline: its gate is shut, or it lost where it was scored."""
    if isinstance(fitted, Forecaster) and not fitted.gate.has_skill:
        return True
    return judged.skill(judged.best_baseline)[0] <= 0


def gates_sentence(saved: Gate, judged: Gate | None) -> str:
    """Return what the gates of the two models did: of the one that was scored, and of the one that is saved."""
    if judged is None or judged.sentence == saved.sentence:
        return f"{saved.sentence} That holds for the model that was scored and for the one that is saved."
    return (
        f"In the model that was scored, which saw nothing from the first scored origin on: {judged.sentence} In the model that "
        f"is saved, which was fitted on the whole record: {saved.sentence}"
    )


def day_of(series: StationSeries, column: int) -> str:
    """Return the day, with the time where it is not midnight, at which a column's period starts."""
    text = str(series.start(column))
    return text[:10] if text.endswith("00:00:00") else text[:16].replace("T", " ")


def _methods(page: Page, judged: Evaluation, series: StationSeries) -> None:
    scores, best = judged.scores(), judged.best_baseline
    page.text(
        f"Scored at {len(judged.origins)} rolling origins, {step_of(judged.origins)} steps apart, from "
        f"{day_of(series, int(judged.origins[0]))} on. Everything was fitted on what came before the first of them; at each "
        "origin only what came before it was known." + _drawn(judged, series)
    )
    winner = min(scores, key=lambda name: np.nan_to_num(scores[name].mase, nan=np.inf))
    page.table(
        ["Method", "MASE", "MAE", "MAE, first lead", "RMSE", "Bias", "CRPS", "80 % held", "90 % held", "Skill"],
        [_method(name, score, scores, judged) for name, score in scores.items()],
        f"The model and what it is compared with, from best to worst. Winner: {winner}. Best baseline: {best}. "
        "Skill is against climatology.",
        "l" + "r" * 9,
        highlight=[list(scores).index(winner)],
    )


def _method(name: str, score: Scores, scores: dict[str, Scores], judged: Evaluation) -> list[Any]:
    climate = scores[CLIMATOLOGY["none"]].mase
    spread = judged.spread_scores(name)
    held = [f"{float(spread[f'coverage_{percent}']):.1%}" if spread else None for percent in (80, 90)]
    crps = float(spread["crps"]) if spread else None
    return [
        name,
        score.mase,
        score.mae,
        float(score.by_lead.mae[0]),
        score.rmse,
        score.bias,
        crps,
        *held,
        _signed(1 - score.mase / climate),
    ]


def _leads(page: Page, judged: Evaluation, series: StationSeries) -> None:
    scores, best = judged.scores(), judged.best_baseline
    shown = [MODEL, *dict.fromkeys([best, CLIMATOLOGY["none"], SEASONAL_NAIVE, "ridge"])]
    errors = {method: scores[method].by_lead.mae for method in shown if method in scores}
    opened = None if judged.gate is None else judged.gate.open
    page.svg(skill_by_lead(errors, "", series.frequency.words, opened), "Mean absolute error over lead time.")
    own, other, spread = scores[MODEL].by_lead, scores[best].by_lead, judged.spread_scores(MODEL, (0, 1))
    leads = len(own.mae)
    rows = [
        [
            str(lead + 1),
            *(float(column[lead]) for column in (own.mae, other.mae, own.rmse, own.bias, own.mase, spread["crps"])),
            *(f"{spread[f'coverage_{percent}'][lead]:.0%}" for percent in (80, 90)),
            *(float(spread[f"width_{percent}"][lead]) for percent in (80, 90)),
        ]
        for lead in np.unique(np.linspace(0, leads - 1, min(leads, 14)).round().astype(int))
    ]
    header = ["Lead time", "MAE", f"MAE, {best}", "RMSE", "Bias", "MASE", "CRPS"]
    header += ["80 % held", "90 % held", "80 % width", "90 % width"]
    page.table(header, rows, "By lead time.", "r" * len(header))


def _drawn(judged: Evaluation, series: StationSeries) -> str:
    """Say so where not all stations were scored."""
    scored = judged.observed.shape[1]
    if scored == len(series.stations):
        return ""
    return (
        f" Of {len(series.stations):,} stations, {scored:,} in whole regions drawn with the seed are scored, and stand "
        "for the rest; all were trained on."
    )


def _stations(page: Page, judged: Evaluation, series: StationSeries) -> None:
    rows, best = station_skill(judged)
    stations = np.arange(len(series.stations)) if judged.stations is None else judged.stations
    scored = np.flatnonzero(rows["values_scored"])
    order = scored[np.argsort(-np.nan_to_num(rows["skill_climatology"][scored], nan=-9), kind="stable")]
    note = ""
    if len(order) > _MOST_ROWS:
        note = f" The best and the worst of {len(order):,}."
        order = np.concatenate([order[: _MOST_ROWS // 2], order[-_MOST_ROWS // 2 :]])
    table = [
        [
            series.stations[stations[row]],
            int(rows["values_scored"][row]),
            *(float(rows[name][row]) for name in ("mae", "rmse", "bias", "mase", "crps")),
            _signed(rows["skill_climatology"][row]),
            _signed(rows["skill_best"][row]),
            *(f"{rows[f'coverage_{percent}'][row]:.0%}" for percent in (80, 90)),
            float(rows["width_80"][row]),
        ]
        for row in order
    ]
    header = ["Station", "Values", "MAE", "RMSE", "Bias", "MASE", "CRPS", "Skill against climatology"]
    header += [f"Skill against {best}", "80 % held", "90 % held", "80 % width"]
    page.table(header, table, f"By station.{note}", "l" + "r" * (len(header) - 1))


def _gate(page: Page, name: str, fitted: Fitted, judged: Evaluation, series: StationSeries) -> None:
    page.section(f"What the gate did: {name}")
    if isinstance(fitted, Classic):
        page.text(
            "This is the classic preset: an LSTM of 50 units with one dense output, fed with its own forecasts. It has no "
            "gate; compare it with the baselines before it is used."
        )
        return
    errors = ", ".join(f"{_TRENDS[trend]} {error:.3f}" for trend, error in fitted.trend_errors.items())
    page.text(
        f"{gates_sentence(fitted.gate, judged.gate)} Trend of the saved model, chosen by rolling origins within its record: "
        f"{_TRENDS[fitted.trend]} (MASE of climatology with {errors})."
    )
    page.svg(
        gate_chart(fitted.gate.skill, fitted.gate.ratio, fitted.gate.open, series.frequency.words),
        "Skill of the saved model against the best baseline at origins of the last third of its record, with one standard "
        "error, and what its gate therefore gives.",
    )


def _intervals(page: Page, name: str, judged: Evaluation, series: StationSeries) -> None:
    page.section(f"How often the intervals held: {name}")
    share = []
    for index in range(len(QUANTILES)):
        seen = np.isfinite(judged.observed) & np.isfinite(judged.quantiles[..., index])
        below = judged.observed <= judged.quantiles[..., index]
        share.append(float(below[seen].mean()) if seen.any() else float("nan"))
    page.svg(calibration(QUANTILES, share), "How often each quantile held: on the line is as promised.", half=True)
    spread = judged.spread_scores(MODEL, (0, 1))
    by_lead = {percent: spread[f"coverage_{percent}"] for percent in (80, 90)}
    page.svg(held_by_lead(by_lead, series.frequency.words), "Share of values inside the intervals.", half=True)


def _fans(page: Page, judged: Evaluation, series: StationSeries, variable: str) -> None:
    stations = np.arange(len(series.stations)) if judged.stations is None else judged.stations
    horizon = judged.observed.shape[2]
    origin = int(judged.origins[-1])
    back = max(2 * horizon, 8)
    past_times = series.frequency.start(series.first + np.arange(max(0, origin - back), origin))
    times = series.frequency.start(series.first + np.arange(origin, origin + horizon))
    shown = [row for row in range(len(stations)) if np.isfinite(judged.observed[-1, row]).any()]
    if len(shown) > _MOST_FANS:
        page.text(f"{_MOST_FANS} of {len(shown):,} stations are drawn, at the last scored origin.")
        shown = [shown[index] for index in np.linspace(0, len(shown) - 1, _MOST_FANS).round().astype(int)]
    for row in shown:
        past = series.values[variable][stations[row], max(0, origin - back) : origin]
        normal = np.concatenate([np.full(len(past), np.nan), judged.normal[-1, row]])
        figure = fan(past_times, past, times, judged.quantiles[-1, row], normal, variable, judged.observed[-1, row])
        name = series.stations[stations[row]]
        page.svg(figure, f"{name}: what was said on {day_of(series, origin)}, and what came.", half=True)


def _training(page: Page, name: str, fitted: Fitted) -> None:
    page.section(f"Training: {name}")
    curves = fitted.curves if isinstance(fitted, Classic) else fitted.core.curves
    if curves:
        page.svg(training_curves(curves), "Loss of the networks by round of steps; each one's kept round is marked.")
    else:
        page.text("The record was too short for the network; the ridge regression stands alone.")


def _signed(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−") if np.isfinite(share) else "–"
