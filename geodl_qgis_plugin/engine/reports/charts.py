"""
Charts of reports: each function returns a matplotlib Figure, drawn without pyplot so that no window system is touched.

One style for all: Okabe and Ito's palette, which colour-blind readers tell apart; ink that follows the page (`svg.py`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..classification.metrics import Accuracy
from .svg import INK, MUTED, PAPER, RULE

# Okabe & Ito 2008, without the yellow that vanishes on white
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
SHADES = LinearSegmentedColormap.from_list("shades", ["#eaf2f8", "#9cc5e0", "#3f8fc0", "#0b5c8a", "#073b5c"])
NO_SHADE = "#f7fafc"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib; SVG names Verdana, as wide, next
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "text.color": INK,
    "text.parse_math": False,  # a class may be named "a$b$"
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
WIDTH_IN = 9.6  # the page's width at 96 pixels an inch
_P = ParamSpec("_P")


def styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw in the reports' style, whatever the process's own settings are."""

    @functools.wraps(draw)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # lays it out while the style holds
            return figure

    return wrapper


@styled
def learning_curves(
    history: Sequence[Mapping[str, float]], best_epoch: int | None = None, across: str = "Epoch"
) -> Figure:
    """
    Draw losses, and beside them the other scores, over the epochs.

    Parameters
    ----------
    history : sequence of mappings
        One a epoch. Names that end in ``loss`` go to the left panel, all others to the right one, except ``epoch`` (from 1),
        ``learning_rate``, ``batches`` and ``seconds``. A value may be missing or NaN.
    best_epoch : int, optional
        The epoch whose weights were kept.
    across : str
        What ``epoch`` counts.
    """
    names = list(dict.fromkeys(name for row in history for name in row))
    names = [name for name in names if name not in ("epoch", "learning_rate", "batches", "seconds")]
    losses, scores = [n for n in names if n.endswith("loss")], [n for n in names if not n.endswith("loss")]
    panels = [panel for panel in (("Loss", losses, (MUTED, BLUE)), ("Score", scores, PALETTE)) if panel[1]]
    figure = Figure(figsize=(WIDTH_IN if len(panels) > 1 else WIDTH_IN * 0.6, 3.2))
    epochs = np.array([row.get("epoch", i + 1) for i, row in enumerate(history)], float)
    for i, (title, group, colours) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        for name, colour in zip(group, itertools.cycle(colours)):
            values = np.array([row.get(name, np.nan) for row in history], float)
            axes.plot(
                epochs, values, color=colour, label=_words(name), marker="o" if len(epochs) < 3 else "", markersize=4
            )
        if best_epoch is not None:
            axes.axvline(
                best_epoch, color=VERMILION, linewidth=1.2, linestyle=(0, (4, 3)), label=f"kept: epoch {best_epoch}"
            )
        axes.set(title=title, xlabel=across)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(axis="y")
        axes.legend()
    return figure


@styled
def rate_curve(curve: Sequence[tuple[float, float]], chosen: float) -> Figure:
    """Draw the loss over rising learning rates, pairs of a rate and a loss, and the rate that was chosen."""
    figure = Figure(figsize=(WIDTH_IN * 0.6, 3.0))
    axes = figure.add_subplot()
    axes.plot([rate for rate, _ in curve], [loss for _, loss in curve], color=BLUE)
    axes.axvline(chosen, color=VERMILION, linewidth=1.2, linestyle=(0, (4, 3)), label=f"chosen: {chosen:.2g}")
    axes.set(xscale="log", xlabel="Learning rate", ylabel="Loss, smoothed")
    axes.xaxis.set_major_formatter("{x:g}")  # powers as text, which a page's SVG can show
    axes.grid(axis="y")
    axes.legend()
    return figure


@styled
def confusion_matrix(accuracy: Accuracy, unit: str = "pixels") -> Figure:
    """
    Draw the confusion matrix: shade and percentage are shares of a row, a reference class.

    ``unit`` names what was counted: pixels, points, tiles.
    Counts stand below and in the margin. From 11 classes on the cells hold percentages only, and those of less than one in
    a hundred are left out.
    """
    count, many = len(accuracy.classes), len(accuracy.classes) > 10
    cell = 0.66 if not many else 0.52 if count <= 16 else 0.33
    names = [short(one.name, 26 if count <= 16 else 20) for one in accuracy.classes]
    longest = max(len(name) for name in names)
    side = cell * count
    margin, head = 0.08 * max(longest, 12) + 0.3, 0.06 * max(longest, 3) + 0.5
    figure = Figure(figsize=(side + margin + 1.1, side + head + 0.3), layout="none")
    width, height = figure.get_size_inches()
    axes = figure.add_axes((margin / width, 0.3 / height, side / width, side / height))
    support = np.array(accuracy.support, float)
    shares = accuracy.confusion / np.where(support > 0, support, np.nan)[:, None]
    size = 8.5 if not many else 7.5 if count <= 16 else 6.5
    for row, column in np.ndindex(count, count):
        pixels, share = int(accuracy.confusion[row, column]), shares[row, column]
        if support[row]:
            shade = SHADES(share) if pixels else NO_SHADE
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=shade, edgecolor="none"))
        if not pixels:
            continue
        ink = "#ffffff" if share > 0.45 else "#12212c"
        middle = (column + 0.5, row + (0.5 if many else 0.37))
        if not many or share >= 0.01:
            axes.text(*middle, _percent(share), ha="center", va="center", color=ink, fontsize=size)
        if not many:
            where = (column + 0.5, row + 0.68)
            axes.text(*where, _count(pixels), ha="center", va="center", color=ink, fontsize=6.2, alpha=0.85)
    for i, one in enumerate(accuracy.classes):
        axes.add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor=INK, linewidth=1.0, zorder=3))
        for place in ((-0.3, i + 0.36), (i + 0.36, -0.3)):  # beside the row, above the column
            square = Rectangle(place, 0.22, 0.28) if place[0] < 0 else Rectangle(place, 0.28, 0.22)
            square.set(facecolor=one.colour, edgecolor=MUTED, linewidth=0.5, clip_on=False)
            axes.add_patch(square)
        axes.text(-0.42, i + 0.5, names[i], ha="right", va="center")
        axes.text(i + 0.5, -0.42, names[i], ha="left", va="bottom", rotation=50, rotation_mode="anchor")
        axes.text(count + 0.15, i + 0.5, _count(accuracy.support[i]), ha="left", va="center", color=MUTED, fontsize=7.5)
    axes.text(count + 0.15, -0.2, unit, ha="left", va="bottom", color=MUTED, fontsize=7.5)
    axes.set(xlim=(0, count), ylim=(count, 0), xticks=[], yticks=[])
    axes.text(-0.42, -0.15, "mapped →\nreference ↓", ha="right", va="bottom", color=MUTED, fontsize=7.5)
    axes.set_xlabel(f"Percent of the {unit} of the reference class", labelpad=6, loc="left", color=MUTED, fontsize=7.5)
    axes.set_xticks(np.arange(count + 1), minor=True)
    axes.set_yticks(np.arange(count + 1), minor=True)
    axes.grid(which="minor", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE)
    return figure


@styled
def per_class_bars(accuracy: Accuracy, others: Mapping[str, Accuracy] | None = None, unit: str = "pixels") -> Figure:
    """
    Draw the F1 of each class as a bar in its colour, with precision and recall as marks.

    Parameters
    ----------
    others : mapping of name to Accuracy, optional
        Other maps of the same classes (the forest); their F1 are drawn as marks instead of precision and recall.
    unit : str
        What was counted: pixels, points, tiles.
    """
    count = len(accuracy.classes)
    figure = Figure(figsize=(WIDTH_IN * 0.78, 0.34 * count + 1.1))
    axes = figure.add_subplot()
    rows = np.arange(count)
    values = _numbers(accuracy.f1)
    colours = [one.colour for one in accuracy.classes]
    axes.barh(rows, np.nan_to_num(values), height=0.66, color=colours, edgecolor=MUTED, linewidth=0.6)
    marks = {name: other.f1 for name, other in others.items()} if others else {}
    marks = marks or {"precision": accuracy.precision, "recall": accuracy.recall}
    for (name, scores), marker, colour in zip(marks.items(), ("D", "o", "s", "^"), (INK, PAPER, VERMILION, SKY)):
        style = {"color": colour, "markeredgecolor": INK, "markersize": 5.5, "linestyle": "", "clip_on": False}
        axes.plot(_numbers(scores), rows, marker, label=name, **style)
    for row, value, pixels in zip(rows, values, accuracy.support):
        text = "–" if np.isnan(value) else f"{value:.2f}"
        axes.text(1.03, row, text, va="center", ha="left", transform=axes.get_yaxis_transform())
        axes.text(1.13, row, f"{pixels:,}", va="center", ha="left", color=MUTED, transform=axes.get_yaxis_transform())
    for x, title in ((1.03, "F1"), (1.13, unit)):
        axes.text(x, -0.85, title, va="bottom", ha="left", color=MUTED, transform=axes.get_yaxis_transform())
    axes.set(
        xlim=(-0.015, 1),  # a mark at 0 stands clear of the class's name
        ylim=(count - 0.4, -0.6),
        xlabel="F1 (bars)" if others else "F1 (bars), precision and recall (marks)",
    )
    axes.set_yticks(rows, [short(one.name, 32) for one in accuracy.classes])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0, ncols=len(marks))
    return figure


@styled
def reliability_diagram(
    confidence: npt.ArrayLike,
    right: npt.ArrayLike,
    pixels: npt.ArrayLike,
    before: npt.ArrayLike | None = None,
    what: str = "pixels",
) -> Figure:
    """
    Draw how often the map was right over how sure it was, bin by bin.

    Parameters
    ----------
    confidence, right : array_like of float, (bin,)
        Mean confidence and share of right pixels, both 0 to 1.
    pixels : array_like of int, (bin,)
        Pixels in the bin, drawn below; bins with none are left out.
    before : array_like of float, (bin, 2), optional
        Confidence and share before calibration.
    what : str
        What was counted: pixels, tiles.
    """
    confidence, right, pixels = (np.asarray(values, float) for values in (confidence, right, pixels))
    figure = Figure(figsize=(WIDTH_IN * 0.48, 4.9))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="as sure as right")
    if before is not None:
        before = np.asarray(before, float)
        style = {"color": ORANGE, "marker": "s", "markersize": 4, "linewidth": 1.2}
        upper.plot(before[:, 0], before[:, 1], label="before calibration", **style)
    kept = pixels > 0
    upper.plot(confidence[kept], right[kept], color=BLUE, marker="o", markersize=5, label="this model")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"Share of right {what}")
    upper.grid()
    upper.legend(loc="upper left")
    lower.bar(confidence[kept], pixels[kept], width=0.8 / max(len(pixels), 1), color=SKY)
    lower.set(xlabel="Confidence", ylabel=what.capitalize())
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(int(value))))
    return figure


@styled
def score_over_distance(
    edges: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    pixels: npt.ArrayLike,
    score: str = "Accuracy",
    unit: str = "m",
    what: str = "pixels",
) -> Figure:
    """
    Draw a score over the distance to the nearest training pixel.

    Parameters
    ----------
    edges : array_like of float, (bin + 1,)
        Distances in ``unit``.
    scores : mapping of name to array_like of float, (bin,)
        One line a model; NaN where a bin has no pixels.
    pixels : array_like of int, (bin,)
        Test pixels in the bin, drawn below.
    what : str
        What was counted: pixels, tiles.
    """
    edges, pixels = np.asarray(edges, float), np.asarray(pixels, float)
    if unit == "m" and edges[-1] >= 5000:
        edges, unit = edges / 1000, "km"
    middles = (edges[1:] + edges[:-1]) / 2
    figure = Figure(figsize=(WIDTH_IN * 0.48, 4.9))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for (name, values), colour, marker in zip(scores.items(), PALETTE, "osD^vP"):
        upper.plot(
            middles, np.asarray(values, float), color=colour, marker=marker, markersize=5, label=name, clip_on=False
        )
    upper.set(ylabel=score, ylim=(0, 1))
    upper.grid(axis="y")
    upper.legend()
    lower.bar(edges[:-1], pixels, width=np.diff(edges), align="edge", color=SKY, edgecolor=PAPER, linewidth=1)
    label = f"Distance to the nearest training pixel ({unit})"
    lower.set(xlabel=label, ylabel=what.capitalize(), xlim=(edges[0], edges[-1]))
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(int(value))))
    return figure


@styled
def band_histograms(
    names: Sequence[str],
    counts: Sequence[npt.ArrayLike],
    edges: Sequence[npt.ArrayLike],
    units: Sequence[str] | None = None,
) -> Figure:
    """
    Draw a small histogram of each band.

    Parameters
    ----------
    counts, edges : sequences of array_like, (bin,) and (bin + 1,)
        As of `numpy.histogram`, one a band.
    """
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH_IN * columns / 4 if columns > 1 else 4.0, 1.75 * rows))
    for i, name in enumerate(names):
        axes: Axes = figure.add_subplot(rows, columns, i + 1)
        steps, values = np.asarray(edges[i], float), np.asarray(counts[i], float)
        axes.stairs(values / max(values.sum(), 1), steps, fill=True, color=BLUE)
        axes.set_title(short(name, 24), fontsize=9)
        axes.set_xlabel(units[i] if units and units[i] else "", fontsize=8)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(labelsize=8)
    return figure


def _numbers(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], float)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("f1", "F1").replace("macro F1", "macro-F1")


def short(text: str, length: int) -> str:
    """Return a text cut to a length."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _percent(share: float) -> str:
    return "<1" if share < 0.005 else f"{share * 100:.0f}"


def _count(pixels: int) -> str:
    """Write a count in at most five characters: 9,999, 12k, 3.4M."""
    for limit, divisor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if pixels >= limit:
            value = pixels / divisor
            return f"{value:.1f}{letter}" if value < 10 else f"{value:.0f}{letter}"
    return f"{pixels:,}"
