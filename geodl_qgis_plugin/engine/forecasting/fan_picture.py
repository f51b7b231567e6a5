"""A small picture of one station's forecast for the map tip: plain SVG of a few kilobytes, that Qt draws too."""

from __future__ import annotations

import numpy as np

from .networks import QUANTILES
from .seasons import Array

_WIDTH, _HEIGHT = 360, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 10, 20
_INK, _MUTED, _BLUE = "#1f2a34", "#8795a1", "#0072b2"


def fan_picture(past: Array, quantiles: Array, normal: Array, dates: tuple[str, str, str]) -> str:
    """
    Draw history, fan and normal.

    Parameters
    ----------
    past : (past step,)
    quantiles : (lead, quantile)
    normal : (past step + lead,)
    dates : tuple of str
        First step, first forecast step, last step.
    """
    count = len(normal)
    low, high = _limits(np.concatenate([past, quantiles.ravel(), normal]))
    x = _LEFT + np.arange(count) / max(1, count - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(values: Array) -> Array:
        return _TOP + (high - values) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def line(xs: Array, values: Array, colour: str, width: float, dash: str = "") -> str:
        seen = np.isfinite(values)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs[seen], y(values[seen])))
        more = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{more}/>'

    def band(lower: float, upper: float, opacity: float) -> str:
        one, other = quantiles[:, QUANTILES.index(lower)], quantiles[:, QUANTILES.index(upper)]
        if not np.isfinite(one).all():
            return ""
        ahead = x[len(past) :]
        points = [f"{a:.1f},{b:.1f}" for a, b in zip(ahead, y(one))]
        points += [f"{a:.1f},{b:.1f}" for a, b in zip(ahead[::-1], y(other[::-1]))]
        return f'<polygon points="{" ".join(points)}" fill="{_BLUE}" fill-opacity="{opacity}"/>'

    def text(place: float, height: float, words: str, anchor: str) -> str:
        return (
            f'<text x="{place:.0f}" y="{height:.0f}" font-size="10" font-family="sans-serif" fill="{_INK}" '
            f'text-anchor="{anchor}">{words}</text>'
        )

    base = _HEIGHT - _BOTTOM
    parts = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        band(0.05, 0.95, 0.18),
        band(0.1, 0.9, 0.28),
    ]
    for value in (low, (low + high) / 2, high):
        at = float(y(np.array([value]))[0])
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#d3dae0" stroke-width="0.7"/>'
        )
        parts.append(text(_LEFT - 4, at + 3.5, f"{value:.4g}", "end"))
    parts += [
        line(x, normal, _MUTED, 1.2, "4 3"),
        line(x[: len(past)], past, _INK, 1.4),
        line(x[len(past) :], quantiles[:, QUANTILES.index(0.5)], _BLUE, 2.2),
        text(_LEFT, base + 14, dates[0], "start"),
        text(float(x[len(past)]), base + 14, dates[1], "middle"),
        text(_WIDTH - _RIGHT, base + 14, dates[2], "end"),
    ]
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">{"".join(parts)}</svg>'


def _limits(values: Array) -> tuple[float, float]:
    seen = values[np.isfinite(values)]
    if not seen.size:
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad
