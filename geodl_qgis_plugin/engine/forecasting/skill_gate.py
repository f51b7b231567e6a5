"""
The skill gate: a lead time gets the model's forecast only where earlier origins showed that it beats the best baseline.

Trying many lead times must not open it by luck, so one of two questions has to be answered with yes. Where the model wins over
all lead times together beyond doubt, each lead time at which it does not lose is its own: hourly pressure is forecast no better
than by its last value one hour ahead, but much better a day ahead. Else lead times are asked one after the other from the first
on; the first has to show skill, later ones only must not lose, since the ridge shrinks towards the normal as memory fades, and
the gate closes for good at the first that does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .baselines import CLIMATOLOGY
from .seasons import Array

LEAST_SKILL = 0.01
LEAST_RATIO = 1.645  # standard errors, one-sided p < 0.05
_BEYOND_DOUBT = 2.0  # standard errors
_BETTER_BY = 0.02  # what another baseline must win to replace climatology with the chosen trend


@dataclass(frozen=True)
class Gate:
    """
    What the gate decided.

    Attributes
    ----------
    open : (lead,) bool
    baseline : list of str
        The best baseline of each lead time.
    skill : (lead,)
        1 - error of the model over that of the best baseline, at the validation origins.
    ratio : (lead,)
        The gain over its standard error.
    source : str
        What the open leads get: ``ridge`` or ``ridge and LSTM``.
    """

    open: npt.NDArray[np.bool_]
    baseline: list[str]
    skill: Array
    ratio: Array
    source: str

    @property
    def has_skill(self) -> bool:
        """Whether any lead time is the model's."""
        return bool(self.open.any())

    @property
    def sentence(self) -> str:
        """What the gate did, for the report."""
        names = sorted(set(self.baseline), key=self.baseline.index)
        if not self.has_skill:
            return (
                "The model showed no skill beyond the best baseline at the validation origins, so the forecast is "
                "the baseline's "
                f"({', '.join(names)}) at every lead time."
            )
        if self.open.all():
            return f"The model ({self.source}) beat the best baseline ({', '.join(names)}) at every lead time."
        rest = [name for name, own in zip(self.baseline, self.open) if not own]
        return (
            f"The model ({self.source}) showed skill at lead times {self._own_leads} of {len(self.open)}; the others get the "
            f"best baseline ({', '.join(dict.fromkeys(rest))})."
        )

    @property
    def _own_leads(self) -> str:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.open.astype(int), [0]])))
        runs = zip((edges[::2] + 1).tolist(), edges[1::2].tolist())
        return ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in runs)


def best_baseline(errors: dict[str, Array], trend: str) -> list[str]:
    """
    Name the best baseline of each lead time; climatology with the chosen trend unless another is clearly better.

    Parameters
    ----------
    errors : dict
        By baseline: scaled absolute errors (origin, lead), mean over stations, NaN where nothing was observed.
    """
    usual = CLIMATOLOGY[trend]  # one trend for all lead times: it is a matter of years, not of steps
    others = [name for name in errors if name not in CLIMATOLOGY.values()]
    means = {name: _smoothed(np.nanmean(errors[name], axis=0)) for name in (usual, *others)}
    best = []
    for lead in range(len(means[usual])):
        candidates = {name: mean[lead] * (1.0 if name == usual else 1.0 + _BETTER_BY) for name, mean in means.items()}
        best.append(min(candidates, key=lambda name: np.nan_to_num(candidates[name], nan=np.inf)))
    return best


def decide(errors: dict[str, Array], baseline: list[str], model: Array, source: str, step: int) -> Gate:
    """
    Decide which lead times the model gets.

    Parameters
    ----------
    errors : dict
        As for `best_baseline`.
    model : (origin, lead)
        The model's errors at the same origins.
    step : int
        Steps between origins: errors closer than the lead time share what happened.
    """
    leads = model.shape[1]
    reference = np.stack([errors[name][:, lead] for lead, name in enumerate(baseline)], axis=1)
    gain = reference - model
    ratio = np.array([gain_ratio(gain[:, lead], -(-(lead + 1) // step)) for lead in range(leads)])
    with np.errstate(invalid="ignore"):
        skill = 1 - np.nanmean(model, axis=0) / np.nanmean(reference, axis=0)
        relative = np.nanmean(gain / np.nanmean(reference, axis=0), axis=1)  # (origin,), over all lead times
    good = _smoothed(np.nan_to_num(skill, nan=-1.0)) > 0
    whole = np.nanmean(relative) >= LEAST_SKILL and gain_ratio(relative, -(-leads // step)) >= _BEYOND_DOUBT
    if not whole:
        good[0] = np.nan_to_num(skill[0]) >= LEAST_SKILL and ratio[0] >= LEAST_RATIO
        good = np.logical_and.accumulate(good)
    return Gate(good, baseline, skill, ratio, source)


def gain_ratio(gain: Array, lags: int) -> float:
    """Return the mean over its standard error, autocovariances counted (Newey and West 1987, doi:10.2307/1913610)."""
    seen = gain[np.isfinite(gain)]
    if len(seen) < 4:
        return 0.0
    centred = seen - seen.mean()
    variance = centred @ centred
    for lag in range(1, min(lags, len(seen) // 3) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    error = np.sqrt(max(variance, 1e-18)) / len(seen)
    return float(seen.mean() / error)


def _smoothed(values: Array) -> Array:
    padded = np.pad(values, 1, mode="edge")
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3)
