"""
The anomaly forecaster: normals, ridge highway, small LSTM, skill gate and conformal intervals in one.

Fitted on the columns before an origin, in three passes: the last third of them judges (which trend, which baseline, which lead
times the model may have, how wide the intervals must be) a core that was fitted on the first two thirds; then a core is fitted
on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..messages import PartOfProgress, Progress, SilentProgress
from ..ranks import Ranks
from .baselines import BASELINES, CLIMATOLOGY, baseline_forecasts, naive_scale
from .climatology import TRENDS, USUAL_TREND, NormalsPlan, choose_harmonics
from .conformal import quantile_shifts, spread_factors
from .core import MEDIAN, Core, Outlook, Side, fit_core, look_ahead
from .crew import Crew
from .frequency import Frequency
from .networks import QUANTILES
from .origins import check_observed, step_of, validation_origins
from .recent_errors import anomaly_quantiles, error_quantiles, is_steady, late_origins, weighted_quantiles
from .seasons import Array, Calendar
from .skill_gate import Gate, best_baseline, decide, gain_ratio
from .training import TrainingPlan
from .transforms import backward, forward, none_below_trace
from .windows import Shape, some_regions

_MOST_ORIGINS = 120
_MARGIN = 1.02  # another trend than the usual one must win by this much: one record's last third is one draw
_JUDGED_VALUES = 1_500_000  # so many values judge trend, gate and intervals where there are more of them
_LEAST_JUDGES = 64
_LEAST_ORIGINS = 40


@dataclass(frozen=True)
class Forecaster:
    """
    A fitted forecaster of one variable.

    Attributes
    ----------
    transform : str
        ``none`` or ``sqrt``.
    trend_errors : dict
        Scaled error of climatology with each trend at the validation origins.
    shifts : (lead, quantile)
        The conformal shifts, in standard deviations.
    judged_spread : (quantile,)
        Quantiles of the errors at the origins that judged, in standard deviations: what the intervals were fitted to, and are
        stretched from (see `recent_errors`).
    """

    core: Core
    frequency: Frequency
    transform: str
    gate: Gate
    trend_errors: dict[str, float]
    shifts: Array
    judged_spread: Array

    @property
    def trend(self) -> str:
        """The trend that was chosen."""
        return self.core.plan.trend


@dataclass(frozen=True)
class Prediction:
    """
    Forecasts of some stations from one origin, in the variable's own units.

    Attributes
    ----------
    quantiles : (station, lead, quantile)
    mean, normal : (station, lead)
        Mean of the distribution; climatology with the chosen trend.
    parts : dict
        Medians of what stands beside: each baseline, ``ridge``, ``ridge and LSTM``: (station, lead).
    """

    quantiles: Array
    mean: Array
    normal: Array
    parts: dict[str, Array]

    @property
    def median(self) -> Array:
        """The middle of the distribution: (station, lead)."""
        return self.quantiles[..., MEDIAN]


def fit_forecaster(
    values: Array,
    side: Side,
    calendar: Calendar,
    shape: Shape,
    transform: str,
    *,
    training: TrainingPlan | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    crew: Crew | None = None,
) -> Forecaster:
    """
    Fit a forecaster on all the columns given; the processes of a crew each do their share, and all return the same.

    Parameters
    ----------
    values : (station, time)
        In the variable's own units, NaN where missing.
    transform : str
        ``none`` or ``sqrt``.
    """
    training, progress, crew = training or TrainingPlan(), progress or SilentProgress(), crew or Crew()
    history = forward(values, transform)
    season = calendar.frequency.season
    judges = some_regions(side.regions, max(_LEAST_JUDGES, _JUDGED_VALUES // history.shape[1]), seed)
    most = int(
        np.clip(_MOST_ORIGINS * _JUDGED_VALUES // (len(judges) * history.shape[1]), _LEAST_ORIGINS, _MOST_ORIGINS)
    )
    judged = validation_origins(history.shape[1], shape.horizon, season, most)
    jury, jury_side = history[judges], side.of(judges)
    check_observed(jury, judged, shape.horizon)
    scale = naive_scale(values[judges][:, : judged[0]], season)
    harmonics = choose_harmonics(history[:, : judged[0]], calendar)

    baselines = _baselines_at(jury, calendar, harmonics, shape.horizon, judged, crew.ranks)
    wanted = np.stack([values[judges, at : at + shape.horizon] for at in judged])
    errors = {name: _scaled_errors(backward(found, transform), wanted, scale) for name, found in baselines.items()}
    trend = _choose_trend(errors, -(-shape.horizon // step_of(judged)))
    progress.update(0.15, "Rolling the baselines")

    plan = NormalsPlan(harmonics, trend)
    before = judged[0]
    core = fit_core(
        history[:, :before],
        side.before(before),
        calendar,
        plan,
        shape,
        training,
        seed,
        PartOfProgress(progress, 0.15, 0.5),
        crew.at("judged"),
    )
    outlooks = _outlooks_at(core, jury, jury_side, calendar, judged, crew.ranks)
    model, source = _better_model(outlooks, transform, wanted, scale)
    gate = decide(errors, best_baseline(errors, trend), model, source, step_of(judged))
    said = np.stack(
        [
            raw_quantiles(outlook, gate, {name: found[index] for name, found in baselines.items()})
            for index, outlook in enumerate(outlooks)
        ]
    )
    happened = np.stack(
        [
            (forward(wanted[index], transform) - outlook.normal) / outlook.deviation
            for index, outlook in enumerate(outlooks)
        ]
    )
    shifts = quantile_shifts(happened, said)
    progress.update(0.55, "Judging the model")
    core = fit_core(
        history, side, calendar, plan, shape, training, seed, PartOfProgress(progress, 0.55, 1.0), crew.at("all")
    )
    if is_steady(core, gate, calendar):
        judged_spread = weighted_quantiles(happened)
    else:
        judged_spread = error_quantiles(core, gate, jury, jury_side, calendar, judged)
    trend_errors = {name: float(np.nanmean(errors[CLIMATOLOGY[name]])) for name in TRENDS}
    return Forecaster(core, calendar.frequency, transform, gate, trend_errors, shifts, judged_spread)


def predict(
    forecaster: Forecaster,
    history: Array,
    side: Side,
    calendar: Calendar,
    factors: Array | None = None,
    *,
    beside: bool = True,
) -> Prediction:
    """
    Forecast the steps after ``history`` (station, time), values in the variable's own units up to the origin.

    The normals are fitted on this history; nothing after it is seen.

    Parameters
    ----------
    factors : (quantile,), optional
        What `interval_factors` says of all stations, where these are a part of them.
    beside : bool
        Give the parts too; without them, baselines that the forecast does not need are not worked out.
    """
    core, transform, gate = forecaster.core, forecaster.transform, forecaster.gate
    values = forward(history, transform)
    outlook = look_ahead(core, values, side, calendar)
    trends = tuple(trend for trend in TRENDS if beside or CLIMATOLOGY[trend] in gate.baseline)
    baselines = baseline_forecasts(values, calendar, core.plan.harmonics, core.shape.horizon, trends)
    scaled = raw_quantiles(outlook, gate, baselines) + forecaster.shifts
    middle = scaled[..., [MEDIAN]]
    if factors is None:
        factors = interval_factors(forecaster, history, side, calendar)
    scaled = np.sort(middle + (scaled - middle) * factors, axis=-1)
    quantiles = outlook.normal[..., None] + scaled * outlook.deviation[..., None]
    # a station that never had a value has no forecast either
    quantiles[~np.isfinite(history).any(axis=1)] = np.nan
    parts = {name: backward(found, transform) for name, found in baselines.items()} if beside else {}
    for name, anomaly in (("ridge", outlook.ridge), ("ridge and LSTM", outlook.network[..., MEDIAN])):
        if beside:
            parts[name] = backward(outlook.normal + anomaly * outlook.deviation, transform)
    own = none_below_trace(backward(quantiles, transform), history)
    return Prediction(own, mean_of_quantiles(own), backward(outlook.normal, transform), parts)


def interval_factors(forecaster: Forecaster, history: Array, side: Side, calendar: Calendar) -> Array:
    """Return by how much each quantile's distance from the middle grows, from the latest errors: (quantile,)."""
    some = some_regions(side.regions, max(_LEAST_JUDGES, _JUDGED_VALUES // history.shape[1]), 0)
    values = forward(history[some], forecaster.transform)
    core, gate = forecaster.core, forecaster.gate
    if is_steady(core, gate, calendar):
        late = anomaly_quantiles(core, values, calendar)
    else:
        origins, weight = late_origins(history.shape[1], calendar, core)
        late = error_quantiles(core, gate, values, side.of(some), calendar, origins, weight)
    return spread_factors(forecaster.judged_spread, late)


def raw_quantiles(outlook: Outlook, gate: Gate, baselines: dict[str, Array]) -> Array:
    """
    Return the quantiles before their conformal shift, in standard deviations about the normal: (station, lead, quantile).

    Open lead times get the model's, the others the best baseline's point at every quantile: its width is all in the shift.
    """
    ridge = np.repeat(outlook.ridge[..., None], len(QUANTILES), axis=2)
    model = outlook.network if gate.source == "ridge and LSTM" else ridge
    point = np.stack([baselines[name][:, lead] for lead, name in enumerate(gate.baseline)], axis=1)
    anomaly = np.nan_to_num((point - outlook.normal) / outlook.deviation)  # no value to persist from: the normal
    return np.where(gate.open[None, :, None], model, anomaly[..., None])


def _baselines_at(
    history: Array,
    calendar: Calendar,
    harmonics: dict[str, int],
    horizon: int,
    judged: npt.NDArray[np.int64],
    ranks: Ranks,
) -> dict[str, Array]:
    """Return the baselines at every origin, by name: (origin, station, lead)."""

    def at(origin: int) -> Array:
        found = baseline_forecasts(history[:, :origin], calendar, harmonics, horizon)
        return np.stack([found[name] for name in BASELINES])

    return dict(zip(BASELINES, np.moveaxis(ranks.each(judged.tolist(), at), 1, 0)))


def _outlooks_at(
    core: Core, history: Array, side: Side, calendar: Calendar, judged: npt.NDArray[np.int64], ranks: Ranks
) -> list[Outlook]:
    def at(origin: int) -> Array:
        one = look_ahead(core, history[:, :origin], side.before(origin), calendar)
        return np.concatenate([np.stack([one.normal, one.deviation, one.ridge], axis=2), one.network], axis=2)

    return [Outlook(one[..., 0], one[..., 1], one[..., 2], one[..., 3:]) for one in ranks.each(judged.tolist(), at)]


def _scaled_errors(found: Array, wanted: Array, scale: Array) -> Array:
    """Mean over stations of the absolute error over the station's scale: (origin, lead)."""
    error = np.abs(found - wanted) / scale[None, :, None]
    seen = np.isfinite(error)
    count = seen.sum(axis=1)
    return np.where(count > 0, np.where(seen, error, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _choose_trend(errors: dict[str, Array], lags: int) -> str:
    """Keep the usual trend unless another wins by more than the margin, and by more than its standard error."""
    by_origin = {trend: np.nanmean(errors[CLIMATOLOGY[trend]], axis=1) for trend in TRENDS}
    usual = by_origin[USUAL_TREND]
    better = [
        trend
        for trend in TRENDS
        if np.nanmean(by_origin[trend]) * _MARGIN < np.nanmean(usual)
        and gain_ratio(usual - by_origin[trend], lags) >= 1
    ]
    return min(better, key=lambda trend: float(np.nanmean(by_origin[trend])), default=USUAL_TREND)


def _better_model(outlooks: list[Outlook], transform: str, wanted: Array, scale: Array) -> tuple[Array, str]:
    """Choose between the ridge alone and ridge with LSTM, by their errors at the validation origins."""
    found = {}
    for source in ("ridge and LSTM", "ridge"):
        medians = [
            backward(
                one.normal + (one.network[..., MEDIAN] if source != "ridge" else one.ridge) * one.deviation, transform
            )
            for one in outlooks
        ]
        found[source] = _scaled_errors(np.stack(medians), wanted, scale)
    source = min(found, key=lambda name: float(np.nanmean(found[name])))
    return found[source], source


def mean_of_quantiles(quantiles: Array) -> Array:
    """Mean of the distribution with these quantiles, straight between them and flat beyond the outermost."""
    levels = np.array([0.0, *QUANTILES, 1.0])
    padded = np.concatenate([quantiles[..., :1], quantiles, quantiles[..., -1:]], axis=-1)
    return np.asarray(((padded[..., 1:] + padded[..., :-1]) / 2 * np.diff(levels)).sum(axis=-1))
