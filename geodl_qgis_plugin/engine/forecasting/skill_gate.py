"""
The skill gate: a lead time gets the model's forecast only where earlier origins showed that it beats the best baseline.

Lead times are asked one after the other from the first on, and the gate closes for good at the first that shows no skill, so
that trying many lead times does not open it by luck. The first has to show it beyond doubt; later ones only must not lose,
since the ridge shrinks towards the normal by itself as memory fades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .baselines import CLIMATOLOGY
from .seasons import Array

LEAST_SKILL = 0.005
# the odds at which one more parameter pays for itself in prediction (Akaike's criterion): p < 0.16
LEAST_RATIO = 1.0
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
        last = int(np.flatnonzero(self.open)[-1]) + 1
        if last == len(self.open):
            return f"The model ({self.source}) beat the best baseline ({', '.join(names)}) at every lead time."
        rest = sorted(set(self.baseline[last:]), key=self.baseline.index)
        return (
            f"The model ({self.source}) showed skill up to lead time {last} of {len(self.open)}; "
            f"later lead times get the best baseline ({', '.join(rest)})."
        )


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
    ratio = np.array([_ratio(gain[:, lead], -(-(lead + 1) // step)) for lead in range(leads)])
    with np.errstate(invalid="ignore"):
        skill = 1 - np.nanmean(model, axis=0) / np.nanmean(reference, axis=0)
    good = _smoothed(np.nan_to_num(skill, nan=-1.0)) > 0
    good[0] = np.nan_to_num(skill[0]) >= LEAST_SKILL and ratio[0] >= LEAST_RATIO
    return Gate(np.logical_and.accumulate(good), baseline, skill, ratio, source)


def _ratio(gain: Array, lags: int) -> float:
    """Mean over its standard error, with the autocovariances up to ``lags`` (Newey and West 1987, doi:10.2307/1913610)."""
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
