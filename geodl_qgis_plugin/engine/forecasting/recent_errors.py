"""
How wide the intervals have to be now: the errors at the origins that judged a forecaster, against those of the record at hand.

The years that judged may have been calmer or wilder than those that a forecast follows. Where climatology is the baseline of a
record that shows its yearly cycle, the anomalies of the whole record say by how much. Elsewhere the forecaster's own errors at
earlier origins are worked out anew; for speed normals are fitted once, on all of the record, and not anew at each origin: that
makes these errors a little too small, at the judging origins and lately alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .baselines import CLIMATOLOGY, PERSISTENCE, SEASONAL_NAIVE, last_value, seasonal_naive
from .climatology import fit_normals, is_short
from .core import MEDIAN, Core, Side
from .networks import QUANTILES
from .origins import rolling_origins
from .seasons import Array, Calendar
from .skill_gate import Gate
from .training import anomaly_network, member_quantiles
from .windows import Anomalies, anomalies, inputs, targets

_MOST_ORIGINS = 120
_HALF_LIFE_YEARS = 3.0


def is_steady(core: Core, gate: Gate, calendar: Calendar) -> bool:
    """Whether anomalies about a yearly cycle tell the errors: persistence and the last season's have little to do with them."""
    cycle = "year" in core.plan.harmonics or "year" not in calendar.cycles
    return cycle and set(gate.baseline) == {CLIMATOLOGY[core.plan.trend]}


def anomaly_quantiles(core: Core, history: Array, calendar: Calendar) -> Array:
    """
    Return the quantiles of the anomalies of the whole record, recent years counting more: (quantile,).

    They are taken about the level that was known before each step, and widened from residuals of a fit to errors of a forecast.
    """
    length = history.shape[1]
    normals = fit_normals(history, calendar, core.plan)
    known = anomalies(history, normals, calendar, 0, np.arange(len(history)))
    age = np.arange(length)[::-1] / calendar.frequency.steps_per_year
    found = weighted_quantiles(known.values - known.level[:, :-1], 0.5 ** (age / _HALF_LIFE_YEARS))
    columns = normals.cycle.shape[1] + 1
    return np.asarray(found * np.sqrt((length + columns) / max(1, length - columns)))


def late_origins(length: int, calendar: Calendar, core: Core) -> tuple[npt.NDArray[np.int64], Array]:
    """
    Return origins of a record and how much each counts: all alike.

    Where a record is too short to show the yearly cycle, what is usual changes with the season, and an origin counts half after
    a sixteenth of it.
    """
    life = length / 16 if is_short(calendar, length) else float("inf")
    first = max(1, core.shape.input_length, length - int(min(4 * life, length)))
    found = rolling_origins(min(first, length - 1), length - 1, _MOST_ORIGINS, calendar.frequency.season)
    return found, np.asarray(0.5 ** ((length - found) / life))


def error_quantiles(
    core: Core,
    gate: Gate,
    history: Array,
    side: Side,
    calendar: Calendar,
    origins: npt.NDArray[np.int64],
    weight: Array | None = None,
) -> Array:
    """
    Return the quantiles of the errors at some origins, in standard deviations and over all lead times: (quantile,).

    Parameters
    ----------
    history : (station, time)
        Transformed values.
    weight : (origin,), optional
        How much each origin counts.
    """
    errors = _errors(core, gate, history, side, calendar, origins)
    return weighted_quantiles(errors, None if weight is None else weight[:, None, None])


def weighted_quantiles(values: Array, weight: Array | None = None) -> Array:
    """Return the quantiles of all values, NaN left out: (quantile,). ``weight`` is broadcast against them."""
    seen = np.isfinite(values)
    if not seen.any():
        return np.zeros(len(QUANTILES))
    if weight is None:
        return np.asarray(np.quantile(values[seen], QUANTILES))
    weights = np.broadcast_to(weight, values.shape)[seen]
    order = np.argsort(values[seen])
    total = np.cumsum(weights[order])
    return np.asarray(np.interp(np.array(QUANTILES) * total[-1], total, values[seen][order]))


def _errors(
    core: Core, gate: Gate, history: Array, side: Side, calendar: Calendar, origins: npt.NDArray[np.int64]
) -> Array:
    """Return what came less what would have been said: (origin, station, lead), NaN where nothing came."""
    stations, length = history.shape
    horizon = core.shape.horizon
    normals = fit_normals(history, calendar, core.plan)
    known = anomalies(history, normals, calendar, horizon, side.regions, side.covariates, side.static)
    where = np.stack(np.meshgrid(np.arange(stations), origins), axis=2).reshape(-1, 2)
    shape = (len(origins), stations, horizon)
    came = targets(known, core.shape, where).reshape(shape).astype(float)
    said = _model(core, gate, known, side, calendar, where).reshape(shape) if gate.has_skill else np.zeros(shape)
    season = calendar.frequency.season
    lasting: dict[str, Callable[[int], Array]] = {
        PERSISTENCE: lambda at: np.repeat(last_value(history[:, :at])[:, None], horizon, axis=1),
        SEASONAL_NAIVE: lambda at: seasonal_naive(history[:, :at], season, horizon),
    }
    expected = normals.expected(calendar, 0, length + horizon)
    for name, points in lasting.items():
        leads = np.array([one == name for one in gate.baseline]) & ~gate.open
        if not leads.any():
            continue
        for index, at in enumerate(origins):
            ahead = slice(at, at + horizon)
            scaled = (points(at) - expected[:, ahead]) / known.deviation[:, ahead] - known.level[:, [at]]
            said[index][:, leads] = np.nan_to_num(scaled)[:, leads]
    said[..., ~gate.open & np.isin(gate.baseline, list(CLIMATOLOGY.values()))] = 0.0
    return np.asarray(came - said)


def _model(
    core: Core, gate: Gate, known: Anomalies, side: Side, calendar: Calendar, where: npt.NDArray[np.int64]
) -> Array:
    """Return the model's medians: (window, lead)."""
    cut = inputs(known, calendar, core.shape, where)
    found = core.ridge.predict(cut)
    if gate.source == "ridge and LSTM" and core.members:
        found = found + member_quantiles([anomaly_network(weights) for weights in core.members], cut)[..., MEDIAN]
    if core.neighbours is not None:
        stations = len(known.values)
        for at in np.unique(where[:, 1]):
            now = known.carried[:, at - 1] - known.level[:, at]
            rows = where[:, 1] == at
            found[rows] += core.neighbours.predict(now, side.keys)[where[rows, 0] % stations]
    return found
