"""The report while training goes on: curves, time left, a page that fetches itself anew; the final report takes its place."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path

from ..files import whole_file
from ..reports import charts
from ..reports.page import Page
from .course import News, Stage, Standing

REFRESH_S = 15
STAGES_EVERY_S = 5.0


class LiveReport:
    """Writes the page after each look at the validation part, and while trees grow; ``name`` is what is trained."""

    def __init__(self, path: Path, name: str, bands: int, classes: int) -> None:
        self.path, self.name, self.bands, self.classes = path, name, bands, classes
        self.written = False
        self._last = -math.inf
        self._stages: dict[str, Stage] = {}
        self._scores: dict[str, list[tuple[int, float]]] = {}
        self._standing: Standing | None = None

    def __call__(self, news: News) -> None:
        """Write how things stand; not more often than every few seconds where only another few trees have grown."""
        if isinstance(news, Standing):
            if news.course.best is None:
                return
            self._standing = news
        else:
            self._stages[news.name] = news
            if news.score is not None:
                self._scores.setdefault(news.name, []).append((news.made, news.score))
            if news.made < news.wanted and time.monotonic() - self._last < STAGES_EVERY_S:
                return
        page = Page(
            "Classifier in training", f"{self.classes} classes from {self.bands} bands; architecture “{self.name}”"
        )
        page.refresh_s = REFRESH_S
        page.lead(_sentence(news))
        if self._stages:
            self._add_stages(page)
        if self._standing is not None:
            _add_course(page, self._standing, alone=not self._stages)
        page.text(
            "This page shows itself anew four times a minute. The final report, with the scores in the test part, takes its "
            "place when training has ended."
        )
        with whole_file(self.path) as part:
            part.write_text(page.html(), encoding="utf-8")
        self.written, self._last = True, time.monotonic()

    def _add_stages(self, page: Page) -> None:
        page.section("What stands")
        page.table(
            ["What", "Stands", "Score in the validation part"],
            [[one.name, f"{one.made} of {one.wanted} {one.unit}", one.score] for one in self._stages.values()],
            "The score is the mean of accuracy and macro-F1. What learns from the validation part too has none.",
        )
        for name, scores in self._scores.items():
            if len(scores) > 1:
                rows = [{"epoch": made, "accuracy and macro-F1, mean": score} for made, score in scores]
                unit = self._stages[name].unit
                page.svg(
                    charts.learning_curves(rows, across=unit.capitalize()),
                    f"Score in the validation part over the number of {unit}: {name}.",
                )

    def withdraw(self) -> None:
        """Delete the page, where training came to nothing."""
        if self.written:
            self.path.unlink(missing_ok=True)


def _sentence(news: News) -> str:
    if isinstance(news, Stage):
        what = f"{news.name[:1].upper()}{news.name[1:]}: {news.made} of {news.wanted} {news.unit}"
        return f"{what}." if news.score is None else f"{what}, with a score of {news.score:.3f} in the validation part."
    best = news.course.best
    if best is None:
        return ""
    left = f", about {max(round(news.seconds_left / 60), 1)} minutes left" if news.seconds_left else ""
    return (
        f"Epoch {news.course.history[-1].epoch} of {news.epochs} is done{left}. The best state so far, after epoch "
        f"{best.epoch}, is right for {100 * best.validation_accuracy:.1f} % of the validation part."
    )


def _add_course(page: Page, standing: Standing, *, alone: bool) -> None:
    course, best = standing.course, standing.course.best
    if best is None:
        return
    if alone:  # else these would be taken for those of all that stands
        page.figures(
            [
                ("Accuracy", best.validation_accuracy, "best so far, validation part"),
                ("Macro-F1", best.validation_macro_f1, "there"),
                ("Minutes", f"{course.seconds / 60:.1f}", "spent on training"),
            ]
        )
    page.section("How training goes" if alone else "How the net beside them goes")
    rows = [
        {key: value for key, value in asdict(check).items() if key not in ("batches", "seconds")}
        for check in course.history
    ]
    page.svg(charts.learning_curves(rows, best.epoch), "Learning curves so far.")
