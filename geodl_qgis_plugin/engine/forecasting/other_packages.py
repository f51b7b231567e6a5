"""ETS and ARIMA of the package statsforecast at the same origins, where it is installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import Cancelled, EnvironmentProblem
from ..messages import Progress
from .evaluation import Evaluation
from .networks import QUANTILES
from .seasons import Array

ETS, ARIMA = "ETS", "ARIMA"
CHOICES = ("auto", "yes", "no")
_MOST_AUTO = {ETS: 400, ARIMA: 40}  # stations up to which they are compared with unasked: some tens of seconds
_LONGEST_SEASON = 24  # both are meant for short seasons
_MOST_STEPS = 1000  # what lies further back hardly changes the fit, and ARIMA's time grows with it


def add_statistical_baselines(
    judged: Evaluation, values: Array, season: int, wanted: str, progress: Progress
) -> Evaluation:
    """
    Return the evaluation with AutoETS and AutoARIMA added, with their intervals.

    Both are chosen and fitted before the first origin, as the forecaster is, and told the values up to each later one.

    Parameters
    ----------
    values : (station, time)
    wanted : str
        ``yes``, ``no``, or ``auto``: where the package is installed and the stations are few enough.

    Raises
    ------
    EnvironmentProblem
        If they were asked for and statsforecast is not installed.
    """
    check_statistical_baselines(wanted)
    stations = np.arange(len(values)) if judged.stations is None else judged.stations
    if wanted == "no":
        return judged
    if importlib.util.find_spec("statsforecast") is None:
        progress.message("statsforecast is not installed, so ETS and ARIMA are not compared with.")
        return judged
    try:
        from statsforecast.models import AutoARIMA, AutoETS  # noqa: PLC0415
    except ImportError as error:  # it is there, but something that it needs is not, or does not go with numpy
        if wanted == "yes":
            raise EnvironmentProblem(
                f"statsforecast is installed, but cannot be loaded ({error}). Install it anew, or set COMPARE_STATISTICAL to "
                "no."
            ) from error
        progress.warning(f"statsforecast cannot be loaded ({error}), so ETS and ARIMA are not compared with.")
        return judged

    usual_season = season if season <= _LONGEST_SEASON else 1
    methods: dict[str, Callable[[], Any]] = {
        ETS: lambda: AutoETS(season_length=usual_season),
        ARIMA: lambda: AutoARIMA(season_length=usual_season, approximation=True),
    }
    points, distributions = dict(judged.points), dict(judged.distributions)
    for name, make in methods.items():
        if wanted == "auto" and len(stations) > _MOST_AUTO[name]:
            progress.message(
                f"{name} is not compared with at {len(stations):,} stations; set COMPARE_STATISTICAL to yes for that."
            )
            continue
        quantiles = np.full(judged.quantiles.shape, np.nan)
        for row, station in enumerate(stations):
            with warnings.catch_warnings():  # each of the many fits that were tried says that it did not converge
                warnings.simplefilter("ignore")
                quantiles[:, row] = _forecasts(make(), values[station], judged, season)
            progress.update((row + 1) / len(stations), f"{name}: station {row + 1} of {len(stations)}")
            if progress.cancelled():
                raise Cancelled("The comparison was stopped; nothing was kept.")
        points[name], distributions[name] = quantiles[..., QUANTILES.index(0.5)], quantiles
    return replace(judged, points=points, distributions=distributions)


def check_statistical_baselines(wanted: str) -> None:
    """Raise an `EnvironmentProblem` where they were asked for and statsforecast is not installed."""
    if wanted == "yes" and importlib.util.find_spec("statsforecast") is None:
        raise EnvironmentProblem(
            "ETS and ARIMA were asked for, but the package statsforecast is not installed. Install it (pip install "
            "statsforecast), or set COMPARE_STATISTICAL to auto or no."
        )


def _forecasts(model: Any, series: Array, judged: Evaluation, season: int) -> Array:
    """Return one station's quantiles at every origin: (origin, lead, quantile); NaN where nothing can be fitted."""
    horizon = judged.observed.shape[2]
    result = np.full((len(judged.origins), horizon, len(QUANTILES)), np.nan)
    before = series[: judged.origins[0]]
    if np.isfinite(before).sum() < max(8, 2 * season):
        return result
    model.fit(_filled(before, season)[-_MOST_STEPS:])
    for index, origin in enumerate(judged.origins):
        known = _filled(series[:origin], season)[-_MOST_STEPS:]
        answer = model.forward(y=known, h=horizon, level=[50, 80, 90])
        for at, level in enumerate(QUANTILES):
            percent = round(abs(2 * level - 1) * 100)
            key = "mean" if percent == 0 else f"{'lo' if level < 0.5 else 'hi'}-{percent}"
            result[index, :, at] = np.asarray(answer[key], dtype=float)
    return np.sort(result, axis=-1)


def _filled(history: Array, season: int) -> Array:
    """Fill gaps with the mean of the same place in the season: these packages take none."""
    result = history.copy()
    for at in np.flatnonzero(np.isnan(history)):
        same = history[at % season :: season]
        result[at] = np.nanmean(same) if np.isfinite(same).any() else np.nanmean(history)
    return result
