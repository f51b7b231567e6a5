"""
Conformal intervals: each quantile is moved until it held as often as it promised at earlier origins.

After conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222), quantile by quantile, in standard deviations
and pooled over stations, since one station alone has too few origins. Lead times borrow from their neighbours, whose errors are
brought to the size of their own.
"""

from __future__ import annotations

import numpy as np

from .networks import QUANTILES
from .seasons import Array

MIDDLE = QUANTILES.index(0.5)
_NEIGHBOURS = 2
_LEAST_ORIGINS = 8
_MOST_STRETCH = 2.0


def quantile_shifts(observed: Array, quantiles: Array) -> Array:
    """
    Return by how much each quantile has to move; outer ones a little further, as for so many independent values as there were.

    Parameters
    ----------
    observed : (origin, station, lead)
        In standard deviations, NaN where nothing was observed.
    quantiles : (origin, station, lead, quantile)
        What was said at those origins.

    Returns
    -------
    shifts : (lead, quantile)
    """
    leads = observed.shape[2]
    shifts = np.zeros((leads, len(QUANTILES)))
    middle = np.abs(observed - quantiles[..., MIDDLE])
    independent = independent_values(middle)
    size = np.array([_mean(middle[:, :, lead]) for lead in range(leads)])
    for lead in range(leads):
        near = slice(max(0, lead - _NEIGHBOURS), lead + _NEIGHBOURS + 1)
        for index, level in enumerate(QUANTILES):
            miss = (observed[:, :, near] - quantiles[:, :, near, index]) * (size[lead] / size[near])
            miss = miss[np.isfinite(miss)]
            if miss.size:
                shifts[lead, index] = np.quantile(miss, _widened(level, independent))
    # a stretch of some years that was warm or dry throughout says nothing about the next: the middle stays where it was
    return shifts - shifts[:, [MIDDLE]]


def independent_values(errors: Array) -> float:
    """
    Return how many independent values would tell as much of an interval as these errors: the median over lead times.

    Stations share their weather, and a wild week is followed by another: how often the widest fifth of the errors falls on each
    origin scatters more than it would by chance alone, and that says how many values there are in truth.

    Parameters
    ----------
    errors : (origin, station, lead)
        Absolute, NaN where nothing was observed.
    """
    share = 0.2
    counts = []
    for lead in range(errors.shape[2]):
        own = errors[:, np.isfinite(errors[:, :, lead]).any(axis=0), lead]
        own = own[np.isfinite(own).any(axis=1)]
        if len(own) < _LEAST_ORIGINS:
            continue
        wide = np.where(np.isfinite(own), own > np.nanquantile(own, 1 - share), np.nan)
        by_origin = np.nanmean(wide, axis=1)
        centred = by_origin - by_origin.mean()
        variance = centred @ centred
        for lag in range(1, len(own) // 3):
            both = centred[lag:] @ centred[:-lag]
            if both <= 0:  # what follows is chance (Geyer 1992, doi:10.1214/ss/1177011137)
                break
            variance += 2 * both
        counts.append(share * (1 - share) * len(own) ** 2 / max(variance, 1e-9))
    return float(np.clip(np.median(counts), _LEAST_ORIGINS, errors.size)) if counts else float(_LEAST_ORIGINS)


def spread_factors(judged: Array, late: Array) -> Array:
    """
    Return by how much each quantile's distance from the middle has to grow.

    Parameters
    ----------
    judged, late : (quantile,)
        Quantiles of the errors at the origins that the intervals were fitted to, and of those before a forecast.

    Returns
    -------
    factors : (quantile,)
        1 in the middle.
    """
    few, many = judged - judged[MIDDLE], late - late[MIDDLE]
    factors = np.divide(many, few, out=np.ones(len(QUANTILES)), where=np.abs(few) > 1e-9)
    return np.asarray(np.clip(factors, 1 / _MOST_STRETCH, _MOST_STRETCH))


def _mean(errors: Array) -> float:
    seen = errors[np.isfinite(errors)]
    return max(float(seen.mean()), 1e-9) if seen.size else 1.0


def _widened(level: float, independent: float) -> float:
    """The finite-sample correction of conformal prediction, towards the outside: (n + 1) / n of the way from the median."""
    wide = 0.5 + (level - 0.5) * (1 + 1 / max(independent, 5.0))
    return float(np.clip(wide, 0.002, 0.998))
