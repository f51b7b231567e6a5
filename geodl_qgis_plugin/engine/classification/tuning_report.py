"""What a report and a table say of the trials that led to a classifier's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reports.page import Page
from ..tables import write_table
from .study import begun
from .tuning_plots import tuning_plots

if TYPE_CHECKING:
    import optuna

_SHOWN = 10


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
    for figure, caption in tuning_plots(study):
        page.svg(figure, caption)


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
