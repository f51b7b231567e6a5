"""The skill layer: one point a station and variable, with how well it was forecast and whether that beats the best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .baselines import CLIMATOLOGY
from .evaluation import MODEL, Evaluation
from .geopackage import write_points
from .seasons import Array
from .series import StationSeries
from .styles import skill_style

LAYER = "skill"
FIELDS = {
    "station": "text",
    "variable": "text",
    "values_scored": "int",
    "mae": "real",
    "rmse": "real",
    "bias": "real",
    "mase": "real",
    "crps": "real",
    "mase_climatology": "real",
    "skill_climatology": "real",
    "best_baseline": "text",
    "skill_best": "real",
    "beats_baseline": "int",
    "coverage_80": "real",
    "coverage_90": "real",
    "width_80": "real",
    "width_90": "real",
}


def write_skill_layer(path: str | Path, series: StationSeries, judged: Mapping[str, Evaluation]) -> None:
    """Write the layer; stations that were not scored are left out."""
    columns: dict[str, list[Any]] = {name: [] for name in FIELDS}
    places = []
    for variable, one in judged.items():
        rows, scored = station_skill(one)
        stations = np.arange(len(series.stations)) if one.stations is None else one.stations
        for row, station in enumerate(stations):
            if not rows["values_scored"][row]:
                continue
            columns["station"].append(series.stations[station])
            columns["variable"].append(variable)
            columns["best_baseline"].append(scored)
            for name, values in rows.items():
                columns[name].append(values[row])
            places.append(series.coordinates[station])
    write_points(
        path, LAYER, np.array(places), series.crs, FIELDS, columns, skill_style(np.array(columns["skill_climatology"]))
    )


def station_skill(judged: Evaluation) -> tuple[dict[str, Array], str]:
    """Return the columns of the skill layer by name, (station,), and the best baseline over all stations."""
    scores, best = judged.scores(), judged.best_baseline
    # climatology in the usual sense: the mean of the record, whatever trend the model uses
    own, climate, other = (scores[name].by_station for name in (MODEL, CLIMATOLOGY["none"], best))
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = {
            "values_scored": np.isfinite(judged.points[MODEL] - judged.observed).sum(axis=(0, 2)),
            "mae": own.mae,
            "rmse": own.rmse,
            "bias": own.bias,
            "mase": own.mase,
            "mase_climatology": climate.mase,
            "skill_climatology": 1 - own.mase / climate.mase,
            "skill_best": 1 - own.mase / other.mase,
            "beats_baseline": (own.mase < other.mase).astype(int),
        }
    return rows | judged.spread_scores(MODEL, (0, 2)), best
