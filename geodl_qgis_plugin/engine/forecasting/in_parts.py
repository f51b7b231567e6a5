"""Forecast many stations: in this process, or in parts on the workers of a Dask cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import EnvironmentProblem
from ..messages import Progress
from .core import Side
from .forecaster import Prediction
from .model import Fitted, answer
from .seasons import Array, Calendar

_STATIONS_A_PART = 1024


def answer_in_parts(
    fitted: Fitted, values: Array, side: Side, calendar: Calendar, scheduler: str, progress: Progress
) -> Prediction:
    """
    Forecast the steps after ``values`` (station, time).

    Regions stay together, so that the answer is the same in one part and in many.

    Parameters
    ----------
    scheduler : str
        Address of a Dask scheduler; empty for this process.
    """
    parts = _parts(side)
    tasks = [(fitted, values[part], side.of(part), calendar) for part in parts]
    if scheduler:
        answers = _on_dask(tasks, scheduler, progress)
    else:
        answers = []
        for index, task in enumerate(tasks):
            answers.append(answer(*task))
            progress.update(0.1 + 0.7 * (index + 1) / len(tasks), f"Part {index + 1} of {len(tasks)}")
    back = np.argsort(np.concatenate(parts), kind="stable")
    return Prediction(
        np.concatenate([one.quantiles for one in answers])[back],
        np.concatenate([one.mean for one in answers])[back],
        np.concatenate([one.normal for one in answers])[back],
        {},
    )


def _on_dask(tasks: list[tuple[Fitted, Array, Side, Calendar]], scheduler: str, progress: Progress) -> list[Prediction]:
    try:
        from distributed import Client  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(
            "A scheduler was named, but the package distributed is not installed. Install it (pip install "
            "distributed), or leave SCHEDULER "
            "empty."
        ) from error
    with Client(scheduler) as client:
        futures: list[Any] = [client.submit(_one, task, pure=False, retries=2) for task in tasks]
        found = []
        for index, future in enumerate(futures):
            found.append(future.result())
            progress.update(0.1 + 0.7 * (index + 1) / len(tasks), f"Part {index + 1} of {len(tasks)}")
        return found


def _one(task: tuple[Fitted, Array, Side, Calendar]) -> Prediction:
    return answer(*task)


def _parts(side: Side) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    order = np.argsort(side.regions, kind="stable")
    edges = np.flatnonzero(np.diff(side.regions[order])) + 1
    parts: list[Any] = []
    for group in np.split(order, edges):
        if parts and len(parts[-1]) + len(group) <= _STATIONS_A_PART:
            parts[-1] = np.concatenate([parts[-1], group])
        else:
            parts.append(group)
    return parts
