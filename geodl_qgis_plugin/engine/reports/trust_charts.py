"""Charts of which predictors mattered, and of scores fold by fold; style and conventions are those of `charts.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .charts import BLUE, WIDTH_IN, short, styled
from .svg import INK, MUTED


@styled
def band_importance(names: Sequence[str], loss: npt.ArrayLike, spread: npt.ArrayLike) -> Figure:
    """
    Draw bars of the accuracy that is lost without each band, the largest on top.

    Parameters
    ----------
    loss, spread : array_like of float, (band,)
        Mean and standard deviation over repeats.
    """
    loss, spread = np.asarray(loss, float), np.asarray(spread, float)
    order = np.argsort(-loss, kind="stable")
    rows = np.arange(len(order))
    figure = Figure(figsize=(WIDTH_IN * 0.78, 0.3 * len(order) + 0.9))
    axes = figure.add_subplot()
    style = {"ecolor": INK, "error_kw": {"elinewidth": 1.0, "capsize": 2.5}}
    axes.barh(rows, loss[order], height=0.62, color=BLUE, xerr=spread[order], **style)
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    for row, value in zip(rows, loss[order]):
        text = f"{value:.3f}".replace("-", "−")
        axes.text(1.03, row, text, va="center", ha="left", transform=axes.get_yaxis_transform())
    axes.set(ylim=(len(order) - 0.4, -0.6), xlabel="Accuracy lost")
    axes.set_yticks(rows, [short(names[i], 32) for i in order])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return figure
