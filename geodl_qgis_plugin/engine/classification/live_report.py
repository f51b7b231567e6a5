"""The report while training goes on: curves, time left, a page that fetches itself anew; the final report takes its place."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..files import whole_file
from ..reports import charts
from ..reports.page import Page
from .course import Standing

REFRESH_S = 15


class LiveReport:
    """Writes the page after each look at the validation part; ``name`` is what is trained."""

    def __init__(self, path: Path, name: str, bands: int, classes: int) -> None:
        self.path, self.name, self.bands, self.classes = path, name, bands, classes
        self.written = False

    def __call__(self, standing: Standing) -> None:
        """Write how things stand."""
        course, best = standing.course, standing.course.best
        if best is None:
            return
        last = course.history[-1]
        page = Page(
            "Classifier in training", f"{self.classes} classes from {self.bands} bands; architecture “{self.name}”"
        )
        page.refresh_s = REFRESH_S
        left = f", about {max(round(standing.seconds_left / 60), 1)} minutes left" if standing.seconds_left else ""
        page.lead(
            f"Epoch {last.epoch} of {standing.epochs} is done{left}. The best state so far, after epoch {best.epoch}, is "
            f"right for {100 * best.validation_accuracy:.1f} % of the validation part."
        )
        page.figures(
            [
                ("Accuracy", best.validation_accuracy, "best so far, validation part"),
                ("Macro-F1", best.validation_macro_f1, "there"),
                ("Minutes", f"{course.seconds / 60:.1f}", "spent on training"),
            ]
        )
        page.section("How training goes")
        rows = [
            {key: value for key, value in asdict(check).items() if key not in ("batches", "seconds")}
            for check in course.history
        ]
        page.svg(charts.learning_curves(rows, best.epoch), "Learning curves so far.")
        page.text(
            "This page shows itself anew four times a minute. The final report, with the scores in the test part, takes its "
            "place when training has ended."
        )
        with whole_file(self.path) as part:
            part.write_text(page.html(), encoding="utf-8")
        self.written = True

    def withdraw(self) -> None:
        """Delete the page, where training came to nothing."""
        if self.written:
            self.path.unlink(missing_ok=True)
