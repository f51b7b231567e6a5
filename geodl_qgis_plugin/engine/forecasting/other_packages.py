"""ETS and ARIMA of the package statsforecast at the same origins, where it is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np

from ..messages import Progress
from .evaluation import Evaluation
from .seasons import Array


def add_statistical_baselines(judged: Evaluation, values: Array, season: int, progress: Progress) -> Evaluation:
    """Return the evaluation with AutoETS and AutoARIMA added; with a warning and as it was, where statsforecast is missing."""
    if importlib.util.find_spec("statsforecast") is None:
        progress.warning(
            "statsforecast is not installed, so ETS and ARIMA are not compared with. The other baselines are."
        )
        return judged
    from statsforecast.models import AutoARIMA, AutoETS  # noqa: PLC0415

    stations = np.arange(len(values)) if judged.stations is None else judged.stations
    points = dict(judged.points)
    horizon = judged.observed.shape[2]
    usual_season = season if season <= 24 else 1  # both are meant for short seasons
    for name, make in (("ETS", AutoETS), ("ARIMA", AutoARIMA)):
        found = np.full(judged.observed.shape, np.nan)
        for index, origin in enumerate(judged.origins):
            for row, station in enumerate(stations):
                history = _filled(values[station, :origin], season)
                answer = make(season_length=usual_season).forecast(y=history, h=horizon)
                found[index, row] = np.asarray(answer["mean"], dtype=float)
            progress.message(f"{name}: origin {index + 1} of {len(judged.origins)}.")
        points[name] = found
    return replace(judged, points=points)


def _filled(history: Array, season: int) -> Array:
    """Fill gaps with the mean of the same place in the season: these packages take none."""
    result = history.copy()
    for at in np.flatnonzero(np.isnan(history)):
        same = history[at % season :: season]
        result[at] = np.nanmean(same) if np.isfinite(same).any() else np.nanmean(history)
    return result
