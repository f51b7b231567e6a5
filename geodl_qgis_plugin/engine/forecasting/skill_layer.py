"""The skill layer: one point a station and variable, with how well it was forecast and whether that beats the best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .baselines import BASELINES, CLIMATOLOGY
from .evaluation import MODEL, Evaluation
from .geopackage import write_points
from .metrics import coverage, score_points, width
from .seasons import Array
from .series import StationSeries
from .styles import skill_style

LAYER = "skill"
FIELDS = {
    "station": "text",
    "variable": "text",
    "values_scored": "int",
    "mae": "real",
    "bias": "real",
    "mase": "real",
    "mase_climatology": "real",
    "skill_climatology": "real",
    "best_baseline": "text",
    "skill_best": "real",
    "beats_baseline": "int",
    "coverage_80": "real",
    "coverage_90": "real",
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
    scores = {name: score_points(points, judged.observed, judged.scale) for name, points in judged.points.items()}
    baselines = [name for name in scores if name in BASELINES]
    best = min(baselines, key=lambda name: np.nan_to_num(scores[name].mase, nan=np.inf))
    # climatology in the usual sense: the mean of the record, whatever trend the model uses
    climate, own, other = scores[CLIMATOLOGY["none"]], scores[MODEL], scores[best]
    error = judged.points[MODEL] - judged.observed
    seen = np.isfinite(error).sum(axis=(0, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = {
            "values_scored": seen,
            "mae": own.mase_by_station * judged.scale,
            "bias": np.nansum(error, axis=(0, 2)) / np.where(seen > 0, seen, np.nan),
            "mase": own.mase_by_station,
            "mase_climatology": climate.mase_by_station,
            "skill_climatology": 1 - own.mase_by_station / climate.mase_by_station,
            "skill_best": 1 - own.mase_by_station / other.mase_by_station,
            "beats_baseline": (own.mase_by_station < other.mase_by_station).astype(int),
            "coverage_80": coverage(judged.quantiles, judged.observed, 80, (0, 2)),
            "coverage_90": coverage(judged.quantiles, judged.observed, 90, (0, 2)),
            "width_90": width(judged.quantiles, 90, (0, 2)),
        }
    return rows, best
