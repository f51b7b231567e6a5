"""Optuna's own plots of a study, dressed as the other charts of a report."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..reports.svg import INK, MUTED, PAPER, RULE

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_LEGEND_TRIALS = 12
_SLICES = 4  # settings side by side
_SCORE = "Score in the validation part"
# how Optuna names things → what a report calls them
_WORDS = {
    "Objective Value": _SCORE,
    "Best Value": "the best so far",
    "Hyperparameter": "Setting",
    "Hyperparameter Importance": "Share",
    "Step": "Tenth of the training",
    "Intermediate Value": _SCORE,
}
_WIDTH_IN = 9.6


def tuning_plots(study: optuna.Study) -> list[tuple[Figure, str]]:
    """Return the plots, each with a caption; those that so few trials cannot fill are left out."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415
    from optuna.importance import FanovaImportanceEvaluator  # noqa: PLC0415
    from optuna.visualization import matplotlib as plots  # noqa: PLC0415

    varied = _varied(study)
    wanted: list[tuple[Callable[..., Any], dict[str, Any], float, str]] = [
        (
            plots.plot_optimization_history,
            {},
            3.4,
            "The score of each trial in the validation part, and the best so far.",
        ),
        (
            plots.plot_intermediate_values,
            {},
            3.8,
            "How the trials got on: the best score after each tenth of the training. Lines that end early were given up.",
        ),
        (
            plots.plot_param_importances,
            {"params": varied, "evaluator": FanovaImportanceEvaluator(seed=0)},
            3.4,
            "Share of the differences between trials that each setting explains (fANOVA).",
        ),
    ]
    for start in range(0, len(varied), _SLICES):
        some = varied[start : start + _SLICES]
        told = f"The score over {', '.join(some)}; the later the trial, the darker."
        wanted.append((plots.plot_slice, {"params": some}, 3.4, told))
    wanted.append(
        (plots.plot_parallel_coordinate, {"params": varied}, 4.6, "The settings of each trial; the darker, the better.")
    )
    found = []
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # Optuna calls its plots experimental
        for plot, options, height_in, caption in wanted:
            try:
                drawn = plot(study, **options)
            except (ValueError, RuntimeError):  # too few trials
                continue
            figure = np.ravel(drawn)[0].figure
            if not any(len(one.lines) + len(one.patches) + len(one.collections) for one in figure.axes):
                continue
            if plot is plots.plot_slice:
                figure.axes[-1].remove()  # the colour bar, which covers the last panel
            figure.suptitle("")
            figure.set_size_inches(_WIDTH_IN, height_in)
            is_parallel = plot is plots.plot_parallel_coordinate
            for axes in figure.axes:
                _dress(axes, is_parallel=is_parallel)
            legend = figure.axes[0].get_legend()
            many = plot is plots.plot_intermediate_values and len(study.trials) > _LEGEND_TRIALS
            if legend is not None and (many or plot is plots.plot_param_importances):
                legend.remove()
            figure.set_layout_engine("tight")
            found.append((figure, caption))
    pyplot.close("all")
    return found


def _varied(study: optuna.Study) -> list[str]:
    """Return the settings of which more than one value came to its end; only some trials have some of them."""
    values: dict[str, set[Any]] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE":
            for name, value in trial.params.items():
                values.setdefault(name, set()).add(value)
    return [name for name, found in values.items() if len(found) > 1]


def _dress(axes: Axes, *, is_parallel: bool) -> None:
    """Give axes the reports' ink, words and ticks that can be read."""
    for side in ("left", "center"):
        axes.set_title("", loc=side)  # the caption says it
    axes.set_facecolor("none")
    if is_parallel:
        axes.grid(False)
    else:
        axes.grid(color=RULE, linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set(
            visible=side in (("left", "right") if is_parallel else ("left", "bottom")), color=MUTED, linewidth=0.8
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(text=_WORDS.get(axis.label.get_text(), axis.label.get_text()), color=INK, fontsize=9)
        _spread_ticks(axis)
        axis.set_tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=8)
    if axes.xaxis.label.get_text() == "Trial":
        axes.xaxis.get_major_locator().set_params(integer=True)
    if is_parallel:
        names = [label.get_text() for label in axes.get_xticklabels()]
        axes.set_xticks(
            axes.get_xticks(), ["Score" if name == "Objective Value" else name for name in names], rotation=30
        )
        for label in axes.get_yticklabels():  # over the lines
            label.set_bbox({"facecolor": PAPER, "edgecolor": "none", "pad": 0.6})
    legend = axes.get_legend()
    if legend is not None:
        legend.set_frame_on(False)
        for text in legend.get_texts():
            name = text.get_text()
            text.set(text="a trial" if name == "Objective Value" else _WORDS.get(name, name), color=INK, fontsize=9)


def _spread_ticks(axis: Axis) -> None:
    """Put enough ticks on a logarithmic axis, and take the quotation marks off the names of choices."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    if axis.get_scale() == "log":
        low, high = sorted(axis.get_view_interval())
        decades = math.log10(high / low)
        subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0) if decades > 1 else (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
        axis.set_major_locator(LogLocator(subs=subs, numticks=8))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
        return
    names = [label.get_text() for label in axis.get_ticklabels()]
    if any(name.startswith("'") for name in names):
        axis.set_ticks(axis.get_majorticklocs(), [name.strip("'") for name in names])
