"""Charts of which predictors mattered, and of scores fold by fold; style and conventions are those of `charts.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .charts import BLUE, PALETTE, WIDTH_IN, short, styled
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


@styled
def fold_scores(names: Sequence[str], values: Mapping[str, Sequence[float | None]], score: str, folds: int) -> Figure:
    """
    Draw a score as marks on a line for each fold, and below a rule for what is no fold.

    Parameters
    ----------
    names : sequence of str
        Folds first, then the pooled score and others.
    values : mapping of model to sequence
        One value a name; None draws no mark.
    folds : int
        How many of the names are folds.
    """
    figure = Figure(figsize=(WIDTH_IN * 0.48, 0.34 * len(names) + 1.1))
    axes = figure.add_subplot()
    rows = np.arange(len(names)) + (np.arange(len(names)) >= folds) * 0.4
    for (model, scores), colour, marker in zip(values.items(), PALETTE, "osD^"):
        numbers = np.array([np.nan if one is None else one for one in scores], float)
        axes.plot(numbers, rows, marker, color=colour, markersize=6, linestyle="", label=model, clip_on=False)
    axes.axhline(folds - 0.3, color=MUTED, linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(rows[-1] + 0.6, -0.6), xlabel=score)
    axes.set_yticks(rows, [short(name, 30) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.grid(axis="y", linewidth=0.4)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0, ncols=len(values))
    return figure
