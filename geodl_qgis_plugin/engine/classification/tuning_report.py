"""What a report and a table say of the trials that led to a classifier's settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..reports.page import Page
from ..tables import write_table
from .study import begun

if TYPE_CHECKING:
    import optuna

_SHOWN = 10
_LEGEND_TRIALS = 12
_SLICES = 4  # settings side by side


def add_tuning(page: Page, study: optuna.Study, best: Any, where: str) -> None:
    """Add a section on the trials to the report of the best model."""
    trials = begun(study)
    counts = {state: sum(trial.state.name == state for trial in trials) for state in ("COMPLETE", "PRUNED", "FAIL")}
    page.section("How the settings were found")
    page.text(
        f"{counts['COMPLETE']} trials came to their end, {counts['PRUNED']} were given up early because half of the others "
        f"were better by then, {counts['FAIL']} failed or were broken off. They were compared by the mean of accuracy and "
        f"macro-F1 in the validation part only; trial {best.number} was the best, and its net alone saw the test part, once. "
        "The more trials, the more the best score in the validation part owes to luck: believe the one in the test part."
    )
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    complete.sort(key=lambda trial: trial.value or 0.0, reverse=True)
    place = "a database" if "://" in where else Path(where).name
    names = list(dict.fromkeys(name for trial in complete for name in trial.params))
    page.table(
        ["Trial", "Score", *names],
        [
            [str(trial.number), trial.value, *(_cell(trial.params.get(name)) for name in names)]
            for trial in complete[:_SHOWN]
        ],
        f"The best {min(_SHOWN, len(complete))} trials. The study lies in {place}.",
        highlight=[0],
    )
    for figure, caption in _plots(study):
        page.svg(figure, caption)


def _plots(study: optuna.Study) -> list[tuple[Any, str]]:
    """Return Optuna's own plots; those that so few trials cannot fill are left out."""
    import matplotlib  # noqa: PLC0415

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415
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
        wanted.append(
            (
                plots.plot_slice,
                {"params": some},
                3.4,
                f"The score over {', '.join(some)}; the later the trial, the darker.",
            )
        )
    wanted.append(
        (plots.plot_parallel_coordinate, {"params": varied}, 4.2, "The settings of each trial; the darker, the better.")
    )
    found = []
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")  # Optuna calls its plots experimental
        for plot, options, height_in, caption in wanted:
            try:
                drawn = plot(study, **options)
            except (ValueError, RuntimeError):  # too few trials
                continue
            figure = np.ravel(drawn)[0].figure
            if plot is plots.plot_intermediate_values and len(study.trials) > _LEGEND_TRIALS:
                figure.axes[0].get_legend().remove()
            if not any(len(one.lines) + len(one.patches) + len(one.collections) for one in figure.axes):
                continue
            for one in figure.axes:
                for side in ("left", "center"):
                    one.set_title("", loc=side)  # the caption says it
                one.xaxis.set_minor_formatter(NullFormatter())
                for label in one.get_xticklabels():
                    label.set_rotation(30)
            figure.suptitle("")
            figure.set_size_inches(9.6, height_in)
            if plot is plots.plot_slice:
                figure.axes[-1].remove()  # the colour bar, which covers the last panel
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


def write_trials(path: str | Path, study: optuna.Study) -> None:
    """Write a table with one row a trial: state, scores, settings, and why it failed."""
    trials = begun(study)
    kinds: dict[str, type] = {}
    for trial in trials:
        for name, value in trial.params.items():
            kinds.setdefault(name, type(value) if type(value) in (int, float) else str)
    scores = {"accuracy": float, "macro_f1": float, "epochs": int, "minutes": float}
    fields: list[tuple[str, type]] = [("trial", int), ("state", str), ("score", float), *scores.items(), *kinds.items()]
    rows = [
        [
            trial.number,
            trial.state.name.lower(),
            trial.value if trial.state.name == "COMPLETE" else None,
            *(trial.user_attrs.get(name) for name in scores),
            *(_plain(trial.params.get(name), kind) for name, kind in kinds.items()),
            trial.user_attrs.get("why"),
        ]
        for trial in trials
    ]
    write_table(path, "trials", [*fields, ("why", str)], rows)


def _plain(value: Any, kind: type) -> Any:
    return value if value is None or kind is not str else str(value)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value if value is None else f"{value:.3g}"
    return str(value)
