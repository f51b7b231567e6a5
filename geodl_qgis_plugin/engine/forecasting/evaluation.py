"""
Rolling-origin evaluation: the forecaster is fitted before the first origin and asked at each; so is every baseline.

At each origin the model sees the columns before it, and its normals are fitted on these; ridge, network, gate and intervals
stay as they were before the first origin, as a user's would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled, SeriesError
from ..messages import Progress
from ..ranks import ALONE, Ranks
from .baselines import CLIMATOLOGY, climatology_distribution, naive_scale
from .core import Side
from .metrics import Scores, coverage, crps, score_points, skill_interval, width
from .origins import rolling_origins, step_of
from .seasons import Array, Calendar
from .skill_gate import Gate
from .transforms import backward, forward

MODEL = "GeoDL"
OWN_PARTS = (
    "ridge",
    "ridge and LSTM",
)  # what the model is made of; no baselines, though they stand in the table beside it
# (history, side, calendar) → quantiles (station, lead, quantile), normal (station, lead), points by method
Method = Callable[[Array, Side, Calendar], tuple[Array, Array, dict[str, Array]]]


@dataclass(frozen=True)
class Evaluation:
    """
    What a model and its baselines said at rolling origins, and what came.

    Attributes
    ----------
    origins : (origin,)
        Columns before each origin.
    observed : (origin, station, lead)
    quantiles : (origin, station, lead, quantile)
    points : dict
        By method, the model (`MODEL`) included: (origin, station, lead).
    normal : (origin, station, lead)
    scale : (station,)
    stations : (station,), optional
        Which stations were scored, if not all.
    distributions : dict
        Quantiles of those other methods that give them: (origin, station, lead, quantile).
    gate : Gate, optional
        That of the model that was judged, which saw nothing from the first origin on; the saved model's may differ.
    """

    origins: npt.NDArray[np.int64]
    observed: Array
    quantiles: Array
    points: dict[str, Array]
    normal: Array
    scale: Array
    stations: npt.NDArray[np.int64] | None = None
    distributions: dict[str, Array] = field(default_factory=dict)
    gate: Gate | None = None

    def scores(self) -> dict[str, Scores]:
        """Return the scores of every method, the model first and the others from best to worst."""
        found = {name: score_points(points, self.observed, self.scale) for name, points in self.points.items()}
        order = sorted(
            found, key=lambda name: (name != MODEL, found[name].mase if np.isfinite(found[name].mase) else np.inf)
        )
        return {name: found[name] for name in order}

    @property
    def best_baseline(self) -> str:
        """The method with the lowest MASE that is neither the model nor a part of it."""
        return next(name for name in self.scores() if name != MODEL and name not in OWN_PARTS)

    def spread_scores(self, method: str, axis: tuple[int, ...] | None = None) -> dict[str, Array]:
        """
        Return CRPS, coverage and width of a method's intervals; nothing where it has none.

        Parameters
        ----------
        axis : tuple of int, optional
            What to average over; (0, 1) leaves the lead times, (0, 2) the stations.
        """
        quantiles = self.quantiles if method == MODEL else self.distributions.get(method)
        if quantiles is None:
            return {}
        found = {"crps": crps(quantiles, self.observed, axis)}
        for percent in (80, 90):
            found[f"coverage_{percent}"] = coverage(quantiles, self.observed, percent, axis)
            found[f"width_{percent}"] = width(quantiles, percent, axis)
        return found

    def skill(self, reference: str) -> tuple[float, float, float]:
        """Return the model's skill against a method, with its 95 % interval from a block bootstrap."""
        own, other = (np.abs(self.points[name] - self.observed) for name in (MODEL, reference))
        leads = self.observed.shape[2]
        return skill_interval(own, other, self.scale, -(-leads // step_of(self.origins)))


def evaluation_origins(
    length: int, horizon: int, season: int, most: int, wanted: int | None = None
) -> npt.NDArray[np.int64]:
    """
    Return the origins that are scored: in the last quarter of the record, with their targets inside it.

    Parameters
    ----------
    wanted : int, optional
        How many; by default as many as the step that suits the season gives, up to ``most``.

    Raises
    ------
    SeriesError
        If the record is too short for a single one.
    """
    first = max(length - max(length // 4, 2 * horizon), length // 2)
    found = rolling_origins(first, length - horizon, wanted or most, season)
    if not len(found):
        raise SeriesError(
            f"The horizon of {horizon} steps is too long for series of {length} steps: nothing would be left to judge it by. "
            f"Choose a horizon of {max(1, length // 5)} or less, or give longer series."
        )
    return found


def evaluate(
    method: Method,
    values: Array,
    side: Side,
    calendar: Calendar,
    origins: npt.NDArray[np.int64],
    horizon: int,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """
    Ask a fitted method at every origin; several processes share the origins.

    Parameters
    ----------
    values : (station, time)
        In the variable's own units.
    """
    names: list[str] = []
    done = 0

    def ask(origin: int) -> Array:
        """Return quantiles, normal and points behind each other: (station, lead, what)."""
        nonlocal done
        if progress.cancelled():
            raise Cancelled("The evaluation was stopped; nothing was kept.")
        quantiles, normal, parts = method(values[:, :origin], side.before(origin), calendar)
        names[:] = list(parts)
        done += 1
        progress.update(min(1.0, done * ranks.size / len(origins)), f"Origin {done * ranks.size} of {len(origins)}")
        return np.concatenate([quantiles, np.stack([normal, *parts.values()], axis=2)], axis=2)

    said = ranks.each(origins.tolist(), ask)
    count = said.shape[3] - 1 - len(names)
    quantiles = said[..., :count]
    observed = np.full((len(origins), len(values), horizon), np.nan)
    for index, origin in enumerate(origins):
        known = values[:, origin : origin + horizon]
        observed[index, :, : known.shape[1]] = known
    points = {name: said[..., count + 1 + index] for index, name in enumerate(names)}
    return Evaluation(
        origins,
        observed,
        quantiles,
        {MODEL: quantiles[..., count // 2], **points},
        said[..., count],
        naive_scale(values[:, : origins[0]], calendar.frequency.season),
    )


def add_climatology_distribution(
    judged: Evaluation,
    values: Array,
    calendar: Calendar,
    harmonics: dict[str, int],
    transform: str,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """
    Return the evaluation with the climatological distribution at every origin: what the model's CRPS is to be compared with.

    Parameters
    ----------
    values : (station, time)
        Of the scored stations, in the variable's own units.
    """
    horizon = judged.observed.shape[2]

    def at(origin: int) -> Array:
        return climatology_distribution(forward(values[:, :origin], transform), calendar, harmonics, horizon)

    own = backward(ranks.each(judged.origins.tolist(), at), transform)
    return replace(judged, distributions={**judged.distributions, CLIMATOLOGY["none"]: own})
