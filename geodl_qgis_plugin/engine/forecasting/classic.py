"""
The classic preset: one LSTM of 50 units with one dense output, fed with its own forecasts, as in the textbooks.

It knows neither seasons nor trend but what its window shows, and there is no gate. It is here to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError
from ..messages import PartOfProgress, Progress, SilentProgress
from .baselines import baseline_forecasts
from .climatology import LEAST_DEVIATION, NormalsPlan, choose_harmonics, fit_normals
from .conformal import quantile_shifts
from .core import Side
from .crew import Crew
from .forecaster import Prediction, mean_of_quantiles
from .frequency import Frequency
from .networks import QUANTILES
from .origins import check_observed, validation_origins
from .seasons import Array, Calendar
from .training import Curve, TrainingPlan, Weights, classic_network, classic_next, train_classic
from .transforms import backward, forward
from .windows import Shape

_PLAN = TrainingPlan(members=1, rounds=40, steps_per_round=50, weight_decay=0.0, learning_rate=1e-3)
_MOST_WINDOWS = 60_000
_MOST_ORIGINS = 40


@dataclass(frozen=True)
class Classic:
    """A fitted classic LSTM; ``shifts`` (lead, quantile) make its intervals, in the station's standard deviations."""

    weights: Weights
    curves: list[Curve]
    shape: Shape
    frequency: Frequency
    transform: str
    harmonics: dict[str, int]
    shifts: Array


def fit_classic(
    values: Array,
    calendar: Calendar,
    shape: Shape,
    transform: str,
    *,
    training: TrainingPlan | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    crew: Crew | None = None,
) -> Classic:
    """Fit the classic LSTM on all the columns given: (station, time), NaN where missing."""
    training, progress, crew = training or _PLAN, progress or SilentProgress(), crew or Crew()
    history = forward(values, transform)
    judged = validation_origins(history.shape[1], shape.horizon, calendar.frequency.season, _MOST_ORIGINS)
    check_observed(history, judged, shape.horizon)
    harmonics = choose_harmonics(history[:, : judged[0]], calendar)
    members, _ = _fit(
        history[:, : judged[0]], shape, training, seed, PartOfProgress(progress, 0.0, 0.5), crew.at("judged")
    )
    said, happened = [], []
    for at in judged:
        middle, spread = _scaling(history[:, :at])
        said.append(_roll(members[0], history[:, :at], shape))
        happened.append((history[:, at : at + shape.horizon] - middle) / spread)
    quantiles = np.repeat(np.stack(said)[..., None], len(QUANTILES), axis=3)
    shifts = quantile_shifts(np.stack(happened), quantiles)
    members, curves = _fit(history, shape, training, seed, PartOfProgress(progress, 0.5, 1.0), crew.at("all"))
    return Classic(members[0], curves, shape, calendar.frequency, transform, harmonics, shifts)


def predict_classic(model: Classic, history: Array, side: Side, calendar: Calendar) -> Prediction:
    """Forecast the steps after ``history`` (station, time), values in the variable's own units up to the origin."""
    values = forward(history, model.transform)
    middle, spread = _scaling(values)
    scaled = np.sort(_roll(model.weights, values, model.shape)[..., None] + model.shifts, axis=-1)
    quantiles = backward(scaled * spread[..., None] + middle[..., None], model.transform)
    quantiles[~np.isfinite(history).any(axis=1)] = np.nan
    length, horizon = values.shape[1], model.shape.horizon
    normals = fit_normals(values, calendar, NormalsPlan(model.harmonics, "none"))
    baselines = baseline_forecasts(values, calendar, model.harmonics, horizon)
    return Prediction(
        quantiles,
        mean_of_quantiles(quantiles),
        backward(normals.expected(calendar, length, length + horizon), model.transform),
        {name: backward(found, model.transform) for name, found in baselines.items()},
    )


def _fit(
    history: Array, shape: Shape, training: TrainingPlan, seed: int, progress: Progress, crew: Crew
) -> tuple[list[Weights], list[Curve]]:
    middle, spread = _scaling(history)
    scaled = (history - middle) / spread
    length, steps = scaled.shape[1], shape.input_length
    rows = np.stack(np.nonzero(np.isfinite(scaled[:, steps:])), axis=1)
    if not len(rows):
        raise SeriesError(f"No value has {steps} steps before it to learn from. Choose a shorter input length.")
    if len(rows) > _MOST_WINDOWS:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), _MOST_WINDOWS, replace=False))]
    origin = rows[:, 1] + steps
    filled = np.nan_to_num(scaled)  # a gap is the station's mean
    windows = filled[rows[:, [0]], origin[:, None] + np.arange(-steps, 0)].astype(np.float32)[..., None]
    wanted = scaled[rows[:, 0], origin].astype(np.float32)
    return train_classic(windows, wanted, origin >= 0.85 * length, training, seed, progress, crew)


def _roll(weights: Weights, history: Array, shape: Shape) -> Array:
    """Feed the network with its own forecasts: (station, horizon), in the station's standard deviations."""
    middle, spread = _scaling(history)
    network = classic_network(weights)
    recent = history[:, -shape.input_length :]
    window = np.zeros((len(history), shape.input_length), dtype=np.float32)
    window[:, shape.input_length - recent.shape[1] :] = np.nan_to_num((recent - middle) / spread)
    found = []
    for _ in range(shape.horizon):
        found.append(classic_next(network, window[..., None]))
        window = np.hstack([window[:, 1:], found[-1][:, None]])
    return np.asarray(np.stack(found, axis=1), dtype=float)


def _scaling(history: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each station: (station, 1)."""
    seen: npt.NDArray[np.bool_] = np.isfinite(history)
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    middle = np.where(seen, history, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt(np.where(seen, (history - middle) ** 2, 0.0).sum(axis=1, keepdims=True) / count)
    return middle, np.maximum(spread, LEAST_DEVIATION)
