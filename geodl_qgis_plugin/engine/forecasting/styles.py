"""QGIS styles of the forecast's and the skill's layers, filled into templates that QGIS itself wrote."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2
import numpy as np

from .seasons import Array

# ColorBrewer's diverging RdBu (temperature-like: red is above normal) and BrBG (green is skill)
_ANOMALY_COLOURS = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")
_SKILL_COLOURS = ("#8c510a", "#d8b365", "#f6e8c3", "#f5f5f5", "#c7eae5", "#5ab4ac", "#01665e")


@functools.cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, keep_trailing_newline=True).get_template(name)


def forecast_style(anomaly: Array, width: Array, frame: float, unit: str, *, daily: bool = True) -> str:
    """
    Return the forecast layer's style.

    Parameters
    ----------
    anomaly, width : (feature,)
        They set the classes and the sizes.
    frame, unit : float, str
        Length of one period.
    daily : bool
        Whether periods are whole days or longer, so that the map tip tells no time of day.
    """
    classes = _classes(anomaly, _ANOMALY_COLOURS, "")
    seen = width[np.isfinite(width)]
    narrow, wide = (float(v) for v in np.quantile(seen, [0.02, 0.98])) if seen.size else (0.0, 1.0)
    if wide - narrow < 1e-9:
        wide = narrow + 1.0
    when = "yyyy-MM-dd" if daily else "yyyy-MM-dd HH:mm"
    return str(
        _template("forecast.qml.j2").render(
            classes=classes, narrow=narrow, wide=wide, frame=frame, unit=unit, when=when
        )
    )


def skill_style(skill: Array) -> str:
    """Return the skill layer's style: classes about zero, from the stations' skill against climatology."""
    return str(_template("skill.qml.j2").render(classes=_classes(skill, _SKILL_COLOURS, "%")))


def _classes(values: Array, colours: tuple[str, ...], unit: str) -> list[dict[str, object]]:
    """Seven classes about zero, the middle one half as wide as the others on either side of it."""
    seen = np.abs(values[np.isfinite(values)])
    reach = _round(float(np.quantile(seen, 0.95)) if seen.size else 1.0)
    inner = np.array([0.1, 0.4, 0.8]) * reach
    edges = np.concatenate([-inner[::-1], inner])
    outer = max(float(seen.max()) if seen.size else 1.0, reach) * 1.001 + 1e-9
    bounds = np.concatenate([[-outer], edges, [outer]])
    found = []
    for index, colour in enumerate(colours):
        low, high = float(bounds[index]), float(bounds[index + 1])
        if index == 0:
            label = f"below {_number(high, unit)}"
        elif index == len(colours) - 1:
            label = f"above {_number(low, unit)}"
        else:
            label = f"{_number(low, unit)} to {_number(high, unit)}"
        rgb = ",".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
        found.append({"low": repr(low), "high": repr(high), "label": label, "rgb": rgb, "index": index})
    return found


def _round(value: float) -> float:
    """One, two or five of some power of ten, not less than the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999))


def _number(value: float, unit: str) -> str:
    shown = value * 100 if unit == "%" else value
    return f"{shown:.3g}{' %' if unit else ''}".replace("-", "−")
