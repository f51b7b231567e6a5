"""Rolling origins: the steps from which forecasts are made and scored, chosen before any value is looked at."""

from __future__ import annotations

from math import gcd

import numpy as np
import numpy.typing as npt

from ..errors import SeriesError


def rolling_origins(first: int, last: int, most: int, season: int) -> npt.NDArray[np.int64]:
    """
    Return origins from ``first`` to ``last`` (both included), evenly spaced, so that the last ones are taken.

    The step has no factor in common with the season: otherwise every origin would fall in the same months.
    """
    if last < first:
        return np.zeros(0, dtype=np.int64)
    step = max(1, -(-(last - first + 1) // most))
    while gcd(step, season) > 1:
        step += 1
    return np.arange(last, first - 1, -step, dtype=np.int64)[::-1]


def step_of(origins: npt.NDArray[np.int64]) -> int:
    """Return the step between origins, 1 if there is only one."""
    return int(origins[1] - origins[0]) if len(origins) > 1 else 1


def validation_origins(length: int, horizon: int, season: int, most: int) -> npt.NDArray[np.int64]:
    """
    Return the origins in the last third of the columns, whose targets all lie within them.

    Raises
    ------
    SeriesError
        If so short a record leaves too few of them to say anything.
    """
    first = max(length - max(length // 3, 2 * horizon), length // 3, 8)
    found = rolling_origins(first, length - horizon, most, season)
    if len(found) < 3:
        raise SeriesError(
            f"The horizon of {horizon} steps is too long for {length} steps of record: at least {_needed(horizon)} "
            "are needed to "
            "judge such forecasts. Choose a shorter horizon, or give longer series."
        )
    return found


def check_observed(values: npt.NDArray[np.float64], origins: npt.NDArray[np.int64], horizon: int) -> None:
    """
    Make sure that there is something to judge by after most of the origins.

    Parameters
    ----------
    values : (station, time)

    Raises
    ------
    SeriesError
        If hardly an origin is followed by a value: the record has a hole there at all stations.
    """
    seen = np.isfinite(values).any(axis=0)
    good = [bool(seen[at : at + horizon].any()) for at in origins]
    empty = len(good) - sum(good)
    if empty and sum(good) < max(3, len(origins) // 8):
        raise SeriesError(
            f"No station has values in {empty} of the {len(good)} stretches by which forecasts are judged: there is a hole "
            "in the record. Give a record without it, its later part alone for example, or choose a longer step."
        )


def _needed(horizon: int) -> int:
    return max(12, 3 * horizon + 6)
