"""The report of a comparison of a map with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..reports import charts, maps
from ..reports.page import MISSING, Page, Swatch, format_value
from .area_adjusted import AreaAdjusted, Estimate
from .metrics import Accuracy

if TYPE_CHECKING:
    from .assessment import Assessment

_AGREEMENT = {1: ("map and reference agree", "#0072b2"), 2: ("they differ", "#d55e00")}


def assessment_page(assessment: Assessment, map_name: str, reference_name: str) -> Page:
    """Return the report."""
    accuracy = assessment.accuracy
    page = Page(f"Accuracy of {map_name}", f"Compared with {reference_name}")
    page.lead(_finding(assessment))
    what = "points" if assessment.points else "pixels"
    page.figures(
        [
            ("Accuracy", accuracy.accuracy, f"share of right {what}"),
            ("Kappa", accuracy.kappa, "agreement beyond chance"),
            ("Macro-F1", accuracy.macro_f1, f"mean over {sum(n > 0 for n in accuracy.support)} classes"),
            (f"Compared {what}", accuracy.pixels, f"{assessment.unmapped:,} more lie where the map has no class"),
        ]
    )
    page.section("What is taken for what")
    _one_sided(page, assessment)
    page.svg(
        charts.confusion_matrix(accuracy, what),
        f"Confusion matrix: of the {what} of each reference class, how they are mapped.",
    )
    page.section("Accuracy of each class")
    page.svg(
        charts.per_class_bars(accuracy, unit=what),
        "F1, precision (user's accuracy) and recall (producer's accuracy) of each class.",
    )
    score_table(page, accuracy, what)
    if assessment.adjusted is not None:
        _adjusted(page, assessment, assessment.adjusted)
    page.section("Where map and reference differ")
    page.svg(maps.split_map(assessment.agreement, assessment.grid, parts=_AGREEMENT), "Agreement of map and reference.")
    if not assessment.points:
        page.text(
            "Pixels near each other are alike, so that their number says little about how sure these scores are. Where the "
            "reference was used to train the model that made the map, the scores are those of training and not of the map."
        )
    return page


def score_table(page: Page, accuracy: Accuracy, what: str = "pixels") -> None:
    """Add the table of scores by class."""
    rows = zip(
        accuracy.classes,
        accuracy.precision,
        accuracy.recall,
        accuracy.f1,
        accuracy.iou,
        accuracy.support,
        accuracy.mapped,
    )
    page.table(
        ["Class", "Precision", "Recall", "F1", "IoU", f"Reference ({what})", f"Mapped ({what})"],
        [[Swatch(one.colour, one.name), *scores] for one, *scores in rows],
        f"Scores by class. A {MISSING} stands where there is nothing to divide by: the precision of a class that was never "
        "mapped, the recall, F1 and IoU of one that the reference does not hold.",
    )


def _finding(assessment: Assessment) -> str:
    accuracy = assessment.accuracy
    if assessment.adjusted is not None and assessment.adjusted.accuracy.value is not None:
        value, margin = assessment.adjusted.accuracy.value, assessment.adjusted.accuracy.margin or 0.0
        points = f"estimated from {accuracy.pixels:,} points"
        return f"The map is right on {value:.1%} ± {margin:.1%} of its area (95 % confidence), {points}."
    kappa = "" if accuracy.kappa is None else f" (kappa {accuracy.kappa:.2f})"
    return (
        f"The map is right for {accuracy.accuracy or 0:.1%} of the pixels with a reference{kappa}; a map that shows nothing "
        f"but {accuracy.majority.name} would be right for {accuracy.majority_accuracy or 0:.1%}."
    )


def _one_sided(page: Page, assessment: Assessment) -> None:
    match = assessment.match
    if match.only_reference:
        page.warning(
            f"Only the reference has {', '.join(match.only_reference)}: the map cannot be right there, and "
            "these count as wrong."
        )
    if match.only_mapped:
        page.warning(
            f"Only the map has {', '.join(match.only_mapped)}: where the reference shows another class, these count as wrong."
        )


def _adjusted(page: Page, assessment: Assessment, adjusted: AreaAdjusted) -> None:
    page.section("Accuracy and area of the whole map")
    page.text(
        "The points are taken as a random sample, or a random sample in each mapped class. Weighted by the area that each "
        "class has in the map, they tell the accuracy of the whole map and the area that each class truly covers, with 95 % "
        "confidence intervals (Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015). They do not hold for points that were "
        "chosen by hand or along roads."
    )
    if adjusted.unsampled > 0:
        page.warning(
            f"{adjusted.unsampled:.1%} of the map lies in classes with fewer than two points; the estimates leave "
            "that area out."
        )
    grid = assessment.grid
    side = grid.pixel_size
    total = float(assessment.mapped_pixels.sum()) * (1 - adjusted.unsampled)
    km2 = None if grid.in_degrees else total * side[0] * side[1] * grid.spatial_reference.GetLinearUnits() ** 2 / 1e6
    rows = []
    for i, one in enumerate(assessment.accuracy.classes):
        row = [Swatch(one.colour, one.name), int(assessment.accuracy.mapped[i])]
        row += [_interval(adjusted.users[i]), _interval(adjusted.producers[i]), _interval(adjusted.area[i], 100, 2)]
        if km2 is not None:
            row.append(_interval(adjusted.area[i], km2, 2))
        rows.append(row)
    header = ["Class", "Points", "User's accuracy", "Producer's accuracy", "Share of the area (%)"]
    if km2 is not None:
        header.append("Area (km²)")
    page.table(
        header,
        rows,
        "Estimates with half the width of their 95 % confidence intervals.",
        align="lr" + "r" * (len(header) - 2),
    )
    if grid.in_degrees:
        page.text("The map is in degrees, where pixels differ in area: shares are shares of pixels.")


def _interval(estimate: Estimate, factor: float = 1.0, digits: int = 3) -> str:
    if estimate.value is None or estimate.margin is None:
        return format_value(None)
    return f"{estimate.value * factor:,.{digits}f} ± {estimate.margin * factor:,.{digits}f}"
