"""
What a report says of how far a model can be trusted: distance, confidence, predictors, area of applicability.

Each function writes one section of a page from what stands in the model file, so that the report on training and
`describemodel` say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..reports import charts, trust_charts
from ..reports.page import Page

KEYS = ("calibration", "distance", "importance", "applicability")


def trust_sections(page: Page, part: Mapping[str, Any], what: str = "pixels") -> None:
    """Write all sections for which the description of a model holds something; ``what`` names what was scored."""
    if part.get("distance"):
        _distance(page, part["distance"], what)
    if part.get("calibration"):
        _confidence(page, part["calibration"], what)
    if part.get("importance"):
        _importance(page, part["importance"], what)
    if part.get("applicability"):
        _applicability(page, part["applicability"], what)


def _distance(page: Page, curve: Mapping[str, Any], what: str) -> None:
    page.section("How far from its examples")
    page.text(
        f"Near ground is alike, so that {what} beside training pixels are easy. Where you map farther away from mapped "
        "examples than these curves reach, no score of this report holds."
    )
    nearest = " to the nearest training pixel, between their middles" + (
        " (tiles: from theirs)" if what == "tiles" else ""
    )
    for score, title in (("accuracy", "Accuracy"), ("macro_f1", "Macro-F1")):
        values = {name: _numbers(scores[score]) for name, scores in curve["scores"].items()}
        page.svg(
            charts.score_over_distance(curve["edges"], values, curve["pixels"], title, curve["unit"], what),
            f"{title} over the distance{nearest}.",
            half=True,
        )
    models = list(curve["scores"])
    rows: list[list[Any]] = []
    for i, (low, high) in enumerate(zip(curve["edges"], curve["edges"][1:])):
        scores = [curve["scores"][name][score][i] for score in ("accuracy", "kappa", "macro_f1") for name in models]
        rows.append([f"{low:,.6g} to {high:,.6g}".replace(" ", "\u00a0"), curve["pixels"][i], *scores])
    titles = [f"{title}, {name}" for title in ("Accuracy", "Kappa", "Macro-F1") for name in models]
    page.table(
        [f"Distance ({curve['unit']})", what.capitalize(), *titles],
        rows,
        f"Scores by distance; a distance with few {what} gets none. Macro-F1 is the mean over the classes that occur at "
        "that distance.",
        align="l" + "r" * (1 + len(titles)),
    )


def _confidence(page: Page, calibration: Mapping[str, Any], what: str) -> None:
    page.section("How sure it may be")
    temperature = float(calibration["temperature"])
    reliability = calibration.get("reliability")
    if not reliability:
        page.text(f"Its logits are divided by {temperature:.3f}, which was fitted on the validation part.")
        return
    before, after = reliability["before"], reliability["after"]
    is_mended = abs(temperature - 1.0) > 1e-9
    shown = _drawn(after)
    counts = np.where(shown, after["pixels"], 0)
    confidence, right = _numbers(after["confidence"]), _numbers(after["right"])
    page.svg(
        charts.reliability_diagram(confidence, right, counts, _line(before) if is_mended else None, what),
        f"Of the {what} mapped with some confidence, the share that is right. Below the dashed line the model is surer than it "
        f"is right. Confidences that hardly any of the {what} have are left out.",
    )
    if not is_mended:
        how = "The validation part was too small to mend confidence by, so it is that of the model itself."
    elif 0.97 < temperature < 1.03:
        how = (
            "On the validation part the model was as sure as it was right, so that next to nothing was to be mended (the "
            f"temperature is {temperature:.2f})."
        )
    else:
        surer = "surer" if temperature > 1 else "less sure"
        how = (
            f"On the validation part the model was {surer} than it was right. Dividing its logits by {temperature:.2f}, the "
            "temperature fitted there, mends that as far as one number can; no class on the map changes."
        )
    apart = (
        f"{how} In the {calibration.get('part', 'test')} areas, confidence and share of right {what} lie "
        f"{_percent(after['expected_error'])} apart on average (the expected calibration error"
    )
    if is_mended:
        page.text(
            f"{apart}; before: {_percent(before['expected_error'])}). Maps are written with the mended confidence and "
            "probabilities."
        )
    else:
        page.text(f"{apart}).")


def _importance(page: Page, importance: Mapping[str, Any], what: str) -> None:
    page.section("Which predictors mattered")
    if len(importance["bands"]) == 1:
        only = importance["bands"][0]
        page.text(
            f"All rests on {only['name']}, the only band: where that no longer belongs to its place, accuracy falls by "
            f"{only['loss']:.3f} from {importance['accuracy']:.3f} ({importance['places']:,} {what} of the "
            f"{importance['part']} part)."
        )
        return
    page.svg(
        trust_charts.band_importance(
            *([band[key] for band in importance["bands"]] for key in ("name", "loss", "spread"))
        ),
        "Accuracy that is lost when one band alone no longer belongs to its place, with the spread over repeats.",
    )
    page.text(
        f"Each band in turn was exchanged among {'windows' if what == 'pixels' else 'tiles'} of the {importance['part']} part "
        f"({importance['places']:,} {what}, accuracy {importance['accuracy']:.3f}), its texture left whole. Bands that say the "
        "same can stand in for each other, and then each alone seems to matter little."
    )


def _applicability(page: Page, area: Mapping[str, Any], what: str) -> None:
    page.section("Where a map rests on examples")
    text = (
        f"The model file holds {area['points']:,} training {what}. When a raster is classified, APPLICABILITY maps how unlike "
        "them each place is: its dissimilarity index, the distance to the most alike of them in the space of the predictors, "
        "weighed by what mattered above, in mean distances between training points (Meyer & Pebesma 2021). Beyond "
        f"{area['threshold']:.3g} a place is unlike anything that was learnt from, and no score of this report holds there."
    )
    page.text(text)
    inside = area.get("scored")
    if inside:
        page.table(
            ["", what.capitalize(), "Accuracy"],
            [
                ["inside the area of applicability", inside["inside"], inside["accuracy_inside"]],
                ["outside", inside["outside"], inside["accuracy_outside"]],
            ],
            f"A sample of the {inside['part']} {what}, by whether their surroundings are like what was learnt from; a handful "
            "has no accuracy.",
        )


def _numbers(values: Any) -> Any:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _drawn(reliability: Mapping[str, Any]) -> Any:
    """Return which bins hold enough to be drawn: a handful of places says nothing, and leaps about."""
    counts = np.asarray(reliability["pixels"])
    return counts >= max(min(10, counts.max()), 0.002 * counts.sum())


def _line(reliability: Mapping[str, Any]) -> Any:
    both = np.column_stack([_numbers(reliability["confidence"]), _numbers(reliability["right"])])
    return both[_drawn(reliability)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f}\u00a0%"
