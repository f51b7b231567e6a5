"""Forecast many stations in parts: one after the other in this process, or on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dask_cluster import dask_client, run_parts
from ..errors import Cancelled
from ..messages import Progress
from .core import Side
from .forecaster import Forecaster, Prediction, interval_factors
from .model import Fitted, answer, shape_of
from .networks import QUANTILES
from .seasons import Array, Calendar

_STATIONS_A_PART = 256  # forty years of days of so many are 30 MB, which travel to a worker in one message
_Part = tuple[Array, Side, Calendar]


def answer_in_parts(
    fitted: Fitted, values: Array, side: Side, calendar: Calendar, scheduler: str, progress: Progress
) -> Prediction:
    """
    Forecast the steps after ``values`` (station, time).

    Regions stay together, and how wide the intervals are is worked out once for all stations, so that the answer is the same
    in one part and in many, here and on a cluster.

    Parameters
    ----------
    scheduler : str
        See `dask_cluster.dask_client`; empty for this process.
    """
    factors = interval_factors(fitted, values, side, calendar) if isinstance(fitted, Forecaster) else None
    parts = parts_of(side)
    horizon = shape_of(fitted).horizon
    whole = Prediction(
        np.empty((len(values), horizon, len(QUANTILES))),
        np.empty((len(values), horizon)),
        np.empty((len(values), horizon)),
        {},
    )
    tasks = ((values[part], side.of(part), calendar) for part in parts)
    for done, (index, found) in enumerate(_answers((fitted, factors), tasks, scheduler, progress), start=1):
        where = parts[index]
        whole.quantiles[where], whole.mean[where], whole.normal[where] = found.quantiles, found.mean, found.normal
        progress.update(0.1 + 0.7 * done / len(parts), f"Part {done} of {len(parts)}")
    return whole


def parts_of(side: Side) -> list[npt.NDArray[np.int64]]:
    """Return the stations of each part: whole regions together."""
    order = np.argsort(side.regions, kind="stable")
    edges = np.flatnonzero(np.diff(side.regions[order])) + 1
    parts: list[npt.NDArray[np.int64]] = []
    for group in np.split(order, edges):
        if parts and len(parts[-1]) + len(group) <= _STATIONS_A_PART:
            parts[-1] = np.concatenate([parts[-1], group])
        else:
            parts.append(group)
    return parts


def _answers(
    model: tuple[Fitted, Array | None], tasks: Iterator[_Part], scheduler: str, progress: Progress
) -> Iterator[tuple[int, Any]]:
    if scheduler:
        with dask_client(scheduler) as client:
            yield from run_parts(client, answer_one, model, tasks, progress)
        return
    for index, task in enumerate(tasks):
        if progress.cancelled():
            raise Cancelled("The job was stopped; nothing was kept.")
        yield index, answer_one(model, *task)


def answer_one(model: tuple[Fitted, Array | None], values: Array, side: Side, calendar: Calendar) -> Prediction:
    """Forecast one part."""
    fitted, factors = model
    return replace(answer(fitted, values, side, calendar, factors, beside=False), parts={})
