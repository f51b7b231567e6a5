"""What a report says of a cross-validation."""

from __future__ import annotations

from typing import Any

from ..reports import charts, trust_charts
from ..reports.page import Page
from .fold_scores import CrossValidation, FoldScore
from .metrics import Accuracy

_SCORES = {"accuracy": "Accuracy", "kappa": "Kappa", "macro_f1": "Macro-F1"}


def folds_section(page: Page, scores: CrossValidation, what: str = "pixels") -> None:
    """Write the section; ``what`` names what was scored."""
    net, forest = scores.pooled("net"), scores.pooled("forest")
    page.section("Over all folds of space")
    if net is None:
        page.text("No fold could be trained on: " + " ".join(fold.left_out for fold in scores.folds))
        return
    page.text(_finding(scores, net, forest, what))
    models = {"net": net} | ({"forest": forest} if forest is not None else {})
    called = {"net": scores.name, "forest": "forest"}
    names = [f"fold {fold.name}" for fold in scores.folds]
    rows: list[list[Any]] = [_row(name, fold, models) for name, fold in zip(names, scores.folds)]
    pooled = FoldScore("all folds together", net, forest)
    rows.append(_row(pooled.name, pooled, models))
    spread = [scores.spread(model, score) for score in _SCORES for model in models]
    rows.append(["spread between folds", None, *spread])
    shown = [*zip(names, scores.folds), (pooled.name, pooled)]
    if scores.random is not None and scores.random.net is not None:
        rows.append(_row("random split (optimistic)", scores.random, models))
        shown.append(("random split (optimistic)", scores.random))
    for score in ("accuracy", "macro_f1"):
        values = {called[model]: [_value(getattr(fold, model), score) for _, fold in shown] for model in models}
        page.svg(
            trust_charts.fold_scores([name for name, _ in shown], values, _SCORES[score], len(names)),
            f"{_SCORES[score]} on each fold, with the others to learn from.",
            half=True,
        )
    page.table(
        ["", what.capitalize(), *(f"{title}, {called[model]}" for title in _SCORES.values() for model in models)],
        rows,
        "The spread is the standard deviation between folds. In the random split single tiles are dealt, without a buffer.",
        highlight=[len(names)],
    )
    page.svg(
        charts.confusion_matrix(net, what),
        f"Confusion matrix of the {scores.name} over all folds together: rows are the mapped reference.",
    )
    for fold in scores.folds:
        if fold.left_out:
            page.warning(f"Fold {fold.name} was left out. {fold.left_out}")


def _finding(scores: CrossValidation, net: Accuracy, forest: Accuracy | None, what: str) -> str:
    done = sum(fold.net is not None for fold in scores.folds)
    text = f"Each of {done} folds of space was the test part once. Together the models are right for {_percent(net.accuracy)}"
    text += f" of the {what}"
    spread = scores.spread("net", "accuracy")
    text += f", with a spread of {_percent(spread)} between folds" if spread is not None else ""
    if forest is not None:
        text += f"; the forests for {_percent(forest.accuracy)}"
    text += "."
    if scores.random is not None and scores.random.net is not None:
        text += (
            f" With tiles dealt at random it would be {_percent(scores.random.net.accuracy)}: an optimistic score, since every "
            "test tile then has training tiles beside it."
        )
    return text


def _row(name: str, fold: FoldScore, models: dict[str, Accuracy]) -> list[Any]:
    scores = [_value(getattr(fold, model), score) for score in _SCORES for model in models]
    return [name, fold.net.pixels if fold.net is not None else None, *scores]


def _value(accuracy: Accuracy | None, score: str) -> float | None:
    return None if accuracy is None else getattr(accuracy, score)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f}\u00a0%"
