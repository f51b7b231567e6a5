"""The report of a trained forecaster: where the stations are, what was found in the data, and each variable's skill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from osgeo import osr

from ..reports.page import Page
from .baselines import CLIMATOLOGY
from .charts import records, station_map
from .evaluation import MODEL, Evaluation
from .forecaster import Forecaster
from .model import Fitted, ForecastModel
from .report_skill import day_of, no_skill, report_variable
from .series import StationSeries, is_geographic
from .skill_gate import Gate
from .skill_layer import station_skill

_MOST_RECORDS = 60  # stations whose record is drawn
_STRETCHES = 240


def write_report(
    model: ForecastModel, series: StationSeries, judged: Mapping[str, Evaluation], settings: Mapping[str, Any]
) -> Page:
    """Return the report's page."""
    names = ", ".join(model.fitted)
    first, last = day_of(series, 0), day_of(series, series.length - 1)
    page = Page(
        f"Forecaster of {names}",
        f"{_stations(len(series.stations))}, a value every {series.frequency.words.removeprefix('1 ')}, {first} to {last}",
    )
    page.lead(" ".join(_finding(name, model.fitted[name], one) for name, one in judged.items()))
    for name, one in judged.items():
        _key_figures(page, f"{name}, " if len(judged) > 1 else "", one)
    _places(page, series, judged)
    _data(page, series, model)
    for name, one in judged.items():
        report_variable(page, name, model.fitted[name], one, series)
    page.settings(settings)
    return page


def _stations(count: int) -> str:
    return f"{count:,} station{'' if count == 1 else 's'}"


def _key_figures(page: Page, note: str, judged: Evaluation) -> None:
    own, spread = judged.scores()[MODEL], judged.spread_scores(MODEL)
    page.figures(
        [
            ("MASE", own.mase, f"{note}1 is the seasonal naive error in training"),
            ("Mean absolute error", own.mae, f"{note}over all lead times"),
            ("80 % intervals held", f"{float(spread['coverage_80']):.1%}", f"{note}of the time"),
            ("90 % intervals held", f"{float(spread['coverage_90']):.1%}", f"{note}of the time"),
        ]
    )


def _finding(name: str, fitted: Fitted, judged: Evaluation) -> str:
    best = judged.best_baseline
    skill, low, high = judged.skill(best)
    origins = len(judged.origins)
    if isinstance(fitted, Forecaster) and not fitted.gate.has_skill:
        return _shut(name, fitted.gate, judged)
    if no_skill(judged, fitted):
        if judged.gate is not None and not judged.gate.has_skill:
            return (
                f"{name}: there was no skill at {origins} scored origins, where the forecast was the baseline's. The model "
                "that is saved knows the later record too and is used at some lead times; that has not been scored."
            )
        return f"{name}: there was no skill at {origins} scored origins: {best} was better by {-skill:.1%}."
    chance = "which may be chance: the 95 % interval is" if low <= 0 else "95 % interval"
    return (
        f"{name}: the model's errors were {skill:.1%} smaller than those of the best baseline ({best}), "
        f"{chance} {low:.1%} to {high:.1%} over {origins} origins.".replace(" -", " −")
    )


def _shut(name: str, gate: Gate, judged: Evaluation) -> str:
    """Say what a forecaster gives whose gate is shut, and what that is worth."""
    used = " and ".join(dict.fromkeys(gate.baseline))
    plain = judged.skill(CLIMATOLOGY["none"])[0]
    said = f"{name}: the model has no skill beyond the best baseline, so the forecast is the baseline's ({used})."
    if used != CLIMATOLOGY["none"] and plain > 0:
        said += f" What was scored had errors {plain:.1%} smaller than those of the record's mean."
    if judged.gate is not None and judged.gate.has_skill:
        said += " At the scored origins, with what was known before them, the model itself was still used at some lead times."
    return said


def _places(page: Page, series: StationSeries, judged: Mapping[str, Evaluation]) -> None:
    page.section("Where the stations are")
    (west, south), (east, north) = series.coordinates.min(axis=0), series.coordinates.max(axis=0)
    degrees = is_geographic(series.crs)
    digits = 2 if degrees else 0
    page.text(
        f"{_stations(len(series.stations))} between {west:,.{digits}f} and {east:,.{digits}f} "
        f"{'degrees east' if degrees else 'easting'} and between {south:,.{digits}f} and {north:,.{digits}f} "
        f"{'degrees north' if degrees else 'northing'} ({_crs_name(series.crs)}).".replace("-", "−")
    )
    for name, one in judged.items():
        skill = station_skill(one)[0]["skill_climatology"]
        stations = np.arange(len(series.stations)) if one.stations is None else one.stations
        names = [series.stations[index] for index in stations]
        page.svg(
            station_map(series.coordinates[stations], 100 * skill, "Skill against climatology (%)", names, degrees),
            f"{name}: the stations, and by how much the model's errors were smaller than those of the record's mean.",
            half=len(judged) > 1,
        )


def _data(page: Page, series: StationSeries, model: ForecastModel) -> None:
    page.section("What was found in the data")
    cycle = {1: "none is expected"}.get(series.frequency.season, f"{series.frequency.season} steps")
    page.text(
        f"The step is {series.frequency.words} and the season {cycle}. The model looks {model.shape.input_length} steps back "
        f"and {model.shape.horizon} ahead. Values are {'sums' if model.quantity == 'sum' else 'means'} over a step. "
        "Times of day are in UTC; days, months and years are those of the place."
    )
    rows = [[finding.what, finding.count, finding.detail] for finding in series.findings]
    if rows:
        page.table(["Found", "Count", ""], rows, "What was odd. Nothing was filled in; gaps stay gaps.")
    else:
        page.text("No gaps, duplicates or missing codes were found.")
    for name in model.fitted:
        _records(page, name, series, len(model.fitted) > 1)


def _records(page: Page, name: str, series: StationSeries, several: bool) -> None:
    """Draw when which station has values; of many stations every so many."""
    shown = np.arange(len(series.stations))[:: -(-len(series.stations) // _MOST_RECORDS)]
    seen = np.isfinite(series.values[name][shown])
    borders = np.unique(np.linspace(0, series.length, min(_STRETCHES, series.length) + 1).round().astype(int))
    share = np.add.reduceat(seen, borders[:-1], axis=1) / np.diff(borders)
    edges = series.frequency.start(series.first + borders)
    note = f" {len(shown)} of {len(series.stations):,} are drawn." if len(shown) < len(series.stations) else ""
    page.svg(
        records(share >= 0.5, edges, [series.stations[row] for row in shown]),
        f"{f'{name}: when' if several else 'When'} the stations have values.{note}",
    )


def _crs_name(crs: str) -> str:
    if not crs:
        return "CRS unknown"
    reference = osr.SpatialReference()
    reference.ImportFromWkt(crs)
    code = reference.GetAuthorityCode(None)
    return f"EPSG:{code}" if code and reference.GetAuthorityName(None) == "EPSG" else str(reference.GetName())
