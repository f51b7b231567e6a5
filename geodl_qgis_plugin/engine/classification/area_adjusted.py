"""
Accuracy and area of classes from a sample of points, weighted by how much of the map each class covers.

Points are mostly spread evenly over classes, not over the ground: a rare class gets as many as a common one, and the plain
share of right points is then the accuracy of no map. The stratified estimators of Olofsson et al. (2014,
doi:10.1016/j.rse.2014.02.015, equations 1 to 11) put that right and say how sure they are. They hold for simple random
samples, and for random samples stratified by the map's classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Z_95 = 1.959963984540054  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class Estimate:
    """A value from 0 to 1 and half the width of its 95 % confidence interval; None where the sample cannot tell."""

    value: float | None
    margin: float | None


@dataclass(frozen=True)
class AreaAdjusted:
    """
    What a sample says of the whole map.

    ``users`` (of what is mapped as the class, how much is it), ``producers`` (of what is the class, how much is mapped so) and
    ``area`` (share of the mapped area that the class truly has) have one entry a class. ``unsampled`` is the share of the map
    in classes with fewer than two points, about which the sample says nothing; all estimates are for the rest.
    """

    accuracy: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    area: tuple[Estimate, ...]
    unsampled: float


def area_adjusted(confusion: npt.ArrayLike, mapped_pixels: npt.ArrayLike) -> AreaAdjusted:
    """
    Estimate accuracies and areas.

    Parameters
    ----------
    confusion : array of counts, (class, class)
        Points; rows are the reference, columns the map.
    mapped_pixels : array of counts, (class,)
        Pixels of each class in the map that the points were drawn from.
    """
    counts = np.asarray(confusion, float).T  # (mapped, reference), as in the paper
    pixels = np.asarray(mapped_pixels, float)
    points = counts.sum(axis=1)
    known = points >= 2  # a variance needs two
    total = pixels[known].sum()
    unsampled = float(1 - total / pixels.sum()) if pixels.sum() else 0.0
    weights = np.where(known, pixels, 0.0) / (total or 1.0)
    shares = np.where(known[:, None], counts / np.maximum(points, 1)[:, None], 0.0)
    spread = shares * (1 - shares) / np.maximum(points - 1, 1)[:, None]
    right, right_spread = np.diag(shares), np.diag(spread)
    areas = weights @ shares
    nothing = Estimate(None, None)
    if not total:
        none = (nothing,) * len(pixels)
        return AreaAdjusted(nothing, none, none, none, unsampled)
    users = tuple(_estimate(u, v) if k else nothing for u, v, k in zip(right, right_spread, known))
    area = tuple(_estimate(a, v) for a, v in zip(areas, weights**2 @ spread))
    producers = []
    for j, share in enumerate(areas):
        if share <= 0:
            producers.append(nothing)
            continue
        value = weights[j] * right[j] / share
        others = np.arange(len(pixels)) != j
        variance = (weights[j] * (1 - value)) ** 2 * right_spread[j]
        variance += value**2 * (weights[others] ** 2 @ spread[others, j])
        producers.append(_estimate(value, variance / share**2))
    overall = _estimate(weights @ right, weights**2 @ right_spread)
    return AreaAdjusted(overall, users, tuple(producers), area, unsampled)


def _estimate(value: float, variance: float) -> Estimate:
    return Estimate(float(value), float(_Z_95 * np.sqrt(variance)))
