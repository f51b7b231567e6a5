"""Charts of forecasts: fans, skill by lead time, learning curves, stations on a map; in the style of all reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..reports.charts import BLUE, ORANGE, PALETTE, VERMILION, WIDTH_IN, styled
from ..reports.svg import INK, MUTED, RULE
from .frequency import Times
from .networks import QUANTILES
from .seasons import Array
from .training import Curve

_LOW90, _LOW80, _MIDDLE, _HIGH80, _HIGH90 = (QUANTILES.index(level) for level in (0.05, 0.1, 0.5, 0.9, 0.95))


@styled
def fan(
    past_times: Times,
    past: Array,
    times: Times,
    quantiles: Array,
    normal: Array,
    unit: str,
    observed: Array | None = None,
) -> Figure:
    """
    Draw what was measured and, behind it, the fan of the forecast.

    Parameters
    ----------
    past : (past step,)
    quantiles : (lead, quantile)
    normal : (past step + lead,)
    observed : (lead,), optional
        What came, where it is known.
    """
    figure = Figure(figsize=(WIDTH_IN / 2, 2.7))
    axes = figure.add_subplot()
    joined_times = np.concatenate([past_times[-1:], times])
    last = past[-1] if np.isfinite(past[-1]) else quantiles[0, _MIDDLE]
    joined = np.vstack([np.full((1, len(QUANTILES)), last), quantiles])
    every = np.concatenate([past_times, times])
    axes.plot(every, normal, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label="climatology")
    axes.fill_between(
        joined_times, joined[:, _LOW90], joined[:, _HIGH90], color=BLUE, alpha=0.16, linewidth=0, label="90 %"
    )
    axes.fill_between(
        joined_times, joined[:, _LOW80], joined[:, _HIGH80], color=BLUE, alpha=0.26, linewidth=0, label="80 %"
    )
    axes.plot(past_times, past, color=INK, linewidth=1.3, label="measured")
    axes.plot(joined_times, joined[:, _MIDDLE], color=BLUE, linewidth=1.8, label="forecast")
    if observed is not None:
        axes.plot(times, observed, color=VERMILION, linewidth=0, marker="o", markersize=3, label="what came")
    _dates(axes)
    axes.set_ylabel(unit)
    axes.grid(axis="y")
    axes.legend(ncols=3, fontsize=7.5, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, handlelength=1.6)
    return figure


@styled
def skill_by_lead(
    errors: Mapping[str, Array], unit: str, step: str, opened: npt.NDArray[np.bool_] | None = None
) -> Figure:
    """
    Draw the mean absolute error of methods over lead time; the model is the first of them.

    Parameters
    ----------
    errors : mapping
        By method: (lead,).
    opened : (lead,), optional
        Lead times at which the gate gave the model's own forecast; shaded.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.4))
    axes = figure.add_subplot()
    leads = np.arange(1, len(next(iter(errors.values()))) + 1)
    if opened is not None:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], opened.astype(int), [0]])))
        for index, (first_lead, last) in enumerate(zip(edges[::2], edges[1::2])):
            label = "model's own" if index == 0 else None
            axes.axvspan(first_lead + 0.5, last + 0.5, color=BLUE, alpha=0.07, linewidth=0, label=label)
    colours = [BLUE, *[colour for colour in PALETTE if colour != BLUE], MUTED, INK]
    for index, (name, error) in enumerate(errors.items()):
        first = index == 0
        axes.plot(
            leads,
            error,
            color=colours[index % len(colours)],
            linewidth=2.6 if first else 1.3,
            marker="o" if first or len(leads) == 1 else "",
            markersize=4,
            zorder=5 if first else 3,
            label=name,
        )
    axes.set(
        xlabel=f"Lead time (steps of {step})",
        ylabel=f"Mean absolute error{f' ({unit})' if unit else ''}",
        xlim=(0.5, len(leads) + 0.5),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def training_curves(curves: Sequence[Curve]) -> Figure:
    """Draw the members' losses: training thin, the later stretch that decided bold, the kept round marked."""
    figure = Figure(figsize=(WIDTH_IN * 0.6, 2.9))
    axes = figure.add_subplot()
    for number, curve in enumerate(curves):
        label = {0: ("training", "later stretch", "kept")}.get(number, (None, None, None))
        axes.plot(np.arange(1, len(curve.training) + 1), curve.training, color=MUTED, linewidth=0.9, label=label[0])
        axes.plot(np.arange(len(curve.validation)), curve.validation, color=BLUE, linewidth=1.6, label=label[1])
        best = int(np.argmin(curve.validation))
        axes.plot(best, curve.validation[best], color=VERMILION, marker="o", markersize=5, linewidth=0, label=label[2])
    axes.set(xlabel="Round", ylabel="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def gate_chart(skill: Array, ratio: Array, opened: npt.NDArray[np.bool_], step: str) -> Figure:
    """
    Draw what the gate saw, the model's skill against the best baseline at the earlier origins, and where it let it through.

    Parameters
    ----------
    skill, ratio : (lead,)
        As in `skill_gate.Gate`; bars reach one standard error to either side.
    opened : (lead,) bool
    """
    figure = Figure(figsize=(WIDTH_IN * 0.75, 2.9))
    axes = figure.add_subplot()
    leads = np.arange(1, len(skill) + 1)
    error = np.abs(np.divide(skill, ratio, out=np.zeros(len(skill)), where=np.abs(ratio) > 1e-6))
    wire = {"ecolor": INK, "elinewidth": 0.8}
    for mask, colour, label in ((opened, BLUE, "the model's own forecast"), (~opened, MUTED, "the best baseline's")):
        if mask.any():
            wires = 100 * error[mask] if len(leads) <= 40 else None
            axes.bar(leads[mask], 100 * skill[mask], yerr=wires, color=colour, width=0.7, label=label, error_kw=wire)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set(xlabel=f"Lead time (steps of {step})", ylabel="Skill (%)", xlim=(0.3, len(leads) + 0.7))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="What is given", alignment="left")
    return figure


@styled
def records(seen: npt.NDArray[np.bool_], edges: Times, names: Sequence[str]) -> Figure:
    """
    Draw when each station has values.

    Parameters
    ----------
    seen : (station, stretch)
        Whether most steps of a stretch have a value.
    edges : (stretch + 1,)
        Where the stretches of time begin and end.
    """
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.15 * len(names)))
    axes = figure.add_subplot()
    place = np.asarray(date2num(edges))
    for row, own in enumerate(seen):
        change = np.flatnonzero(np.diff(np.concatenate([[0], own.astype(int), [0]])))
        spans = [(place[a], place[b] - place[a]) for a, b in zip(change[::2], change[1::2])]
        axes.broken_barh(spans, (row - 0.35, 0.7), color=BLUE, linewidth=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(np.arange(len(names)), names, fontsize=7)
    axes.set_xlim(place[0], place[-1])
    axes.xaxis_date()
    _dates(axes)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return figure


@styled
def held_by_lead(held: Mapping[int, Array], step: str) -> Figure:
    """Draw how often the intervals held at each lead time; by percent: (lead,)."""
    figure = Figure(figsize=(WIDTH_IN / 2, 2.7))
    axes = figure.add_subplot()
    for (percent, share), colour in zip(held.items(), (BLUE, ORANGE)):
        axes.plot(
            np.arange(1, len(share) + 1), 100 * share, color=colour, marker="o", markersize=3, label=f"{percent} %"
        )
        axes.axhline(percent, color=colour, linewidth=1, linestyle=(0, (4, 3)))
    lowest = min(float(np.nanmin(share)) for share in held.values()) if held else 0.5
    axes.set(xlabel=f"Lead time (steps of {step})", ylabel="Held (%)", ylim=(min(60, 100 * lowest - 3), 101))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend(ncols=2, loc="lower left")
    return figure


@styled
def station_map(coordinates: Array, values: Array, label: str, names: Sequence[str], degrees: bool) -> Figure:
    """
    Draw where the stations are, coloured by a skill about zero.

    Parameters
    ----------
    coordinates : (station, 2)
    values : (station,)
        NaN is drawn hollow.
    """
    width, height = np.ptp(coordinates, axis=0)
    aspect = 1 / max(0.2, float(np.cos(np.radians(coordinates[:, 1].mean())))) if degrees else 1.0
    side = max(width, height * aspect, 1e-9)
    ratio = float(np.clip(max(height * aspect, 0.25 * side) / max(width, 0.25 * side), 0.4, 1.6))
    figure = Figure(figsize=(WIDTH_IN * 0.62, min(6.4, WIDTH_IN * 0.52 * ratio + 0.6)))
    axes = figure.add_subplot()
    limit = max(0.02, float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.02)
    dots = axes.scatter(
        *coordinates.T,
        c=values,
        cmap="BrBG",
        vmin=-limit,
        vmax=limit,
        s=46,
        edgecolors=INK,
        linewidths=0.6,
        plotnonfinite=True,
        zorder=3,
    )
    if len(names) <= 40:
        for (x, y), name in zip(coordinates, names):
            axes.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=6.5, color=MUTED)
    margin = 0.08 * max(width, height, 1e-6)
    axes.set_xlim(coordinates[:, 0].min() - margin, coordinates[:, 0].max() + 3 * margin)
    axes.set_ylim(coordinates[:, 1].min() - margin, coordinates[:, 1].max() + margin)
    axes.set_aspect(aspect, adjustable="box")
    axes.set(xlabel="Longitude" if degrees else "Easting", ylabel="Latitude" if degrees else "Northing")
    axes.grid(color=RULE, linewidth=0.6)
    figure.colorbar(dots, ax=axes, shrink=0.7, label=label, pad=0.02)
    return figure


@styled
def calibration(promised: Sequence[float], held: Sequence[float]) -> Figure:
    """Draw how often each quantile held against how often it promised to."""
    figure = Figure(figsize=(WIDTH_IN / 2, 2.7))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(promised, held, color=ORANGE, marker="o", markersize=5)
    axes.set(xlabel="Quantile", ylabel="Share of values below it", xlim=(0, 1), ylim=(0, 1))
    axes.grid()
    return figure


def _dates(axes: object) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)  # type: ignore[attr-defined]
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[attr-defined]
