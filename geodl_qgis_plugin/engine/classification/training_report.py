"""The report on a trained classifier: what it scores where it has not been, beside the majority class and a forest."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from ..rasters.grid import Window
from ..reports import charts, maps
from ..reports.page import Page, Swatch
from ..settings import as_dict
from ..training_data.tile_set import TileSet
from .appraisal import Appraisal
from .assessment_report import score_table
from .fold_scores import CrossValidation
from .folds_report import folds_section
from .metrics import Accuracy
from .networks import EACH_PIXEL, EACH_TILE, ON_STATISTICS, Architecture
from .networks.surroundings import MEMBERS
from .shortfall import cut_short
from .trained import Trained
from .training_settings import Settings
from .trust_report import trust_sections

_PAGE_PX = 900
_WHY_KEPT = {
    EACH_PIXEL: "Accuracy and macro-F1 decided, equally; what is highlighted was kept. The Brier score is the mean squared "
    "error of the probabilities: 0 is perfect.",
    EACH_TILE: "The best by the Brier score (the mean squared error of the probabilities: 0 is perfect) was kept.",
}


def training_page(
    tile_set: TileSet,
    architecture: Architecture,
    trained: Trained,
    appraisal: Appraisal,
    settings: Settings,
    folds: CrossValidation | None = None,
) -> Page:
    """Return the report."""
    score, what = appraisal.accuracy, "pixels" if architecture.task == EACH_PIXEL else "tiles"
    bands = ", ".join(band.name for band in tile_set.bands[:6]) + (" …" if len(tile_set.bands) > 6 else "")
    count = "one band" if len(tile_set.bands) == 1 else f"{len(tile_set.bands)} bands"
    page = Page("Trained classifier", f"{len(tile_set.classes)} classes from {count}: {bands}")
    page.lead(appraisal.finding)
    page.figures(
        [
            ("Accuracy", score.accuracy, f"share of right {what}"),
            ("Kappa", score.kappa, "agreement beyond chance"),
            ("Macro-F1", score.macro_f1, f"mean over {sum(n > 0 for n in score.support)} classes"),
            (f"Scored {what}", score.pixels, f"of the {appraisal.part} part, never trained on"),
        ]
    )
    if appraisal.part == "validation":
        page.warning("There was no test part. The net was chosen by these very areas, so the scores are optimistic.")
    if tile_set.summary().get("optimistic"):
        page.warning("The split is random: test pixels lie between training pixels, and the scores are optimistic.")

    if (sentence := cut_short(trained, settings.minutes)) is not None:
        page.warning(sentence)

    page.section("Beside simpler methods")
    _comparison(page, appraisal, what)
    page.svg(
        charts.per_class_bars(score, {"forest": appraisal.forest} if appraisal.forest else None, what),
        f"F1 of each class in the {appraisal.part} areas" + (", and the forest's." if appraisal.forest else "."),
    )
    page.section("What is taken for what")
    page.svg(
        charts.confusion_matrix(score, what),
        f"Confusion matrix of the {appraisal.part} areas: rows are the mapped reference.",
    )
    score_table(page, score, what)

    page.section("Where it was trained and tested")
    _places(page, tile_set, appraisal)

    trust_sections(page, appraisal.trust(), what)
    if folds is not None:
        folds_section(page, folds, what)
    page.section("How training went")
    _training(page, architecture, trained, settings)
    page.section("What the data were")
    _data(page, tile_set)
    page.settings(as_dict(settings))
    return page


def _training(page: Page, architecture: Architecture, trained: Trained, settings: Settings) -> None:
    if trained.members:
        last_seed = settings.seed + len(trained.members) - 1
        right = ", ".join(f"{100 * one.best.validation_accuracy:.1f}" for one in trained.members)
        page.text(
            f"An ensemble of {len(trained.members)} classifiers from the seeds {settings.seed} to {last_seed}; the mean of "
            f"their probabilities is mapped. Each alone is right for {right}\u00a0% of the validation part. What follows is "
            "how the first of them went."
        )
        trained = trained.members[0]
        architecture = trained.architecture or Architecture.from_dict(architecture.numbers["members"][0])
    if trained.tried:
        page.table(
            ["", "Accuracy", "Macro-F1", "Brier score"],
            [[trial.name, trial.accuracy, trial.macro_f1, trial.brier] for trial in trained.tried],
            f"What was tried, scored on the validation part. {_WHY_KEPT[architecture.task]}",
            highlight=[number for number, trial in enumerate(trained.tried) if trial.kept],
        )
    in_batches = architecture.name not in (*ON_STATISTICS, "ensemble")
    if in_batches or len(trained.history) > 1:
        page.svg(
            charts.learning_curves([_curve(asdict(check)) for check in trained.history], trained.best.epoch),
            f"Learning curves. Training ended because {trained.ended}; the state after epoch {trained.best.epoch} was kept.",
        )
    arrays, last = trained.net.state_dict(), trained.history[-1]
    sight = f", and sees {trained.halo_px} pixels beyond each" if architecture.task == EACH_PIXEL else ""
    if architecture.is_forest:
        size = f"{arrays['trees.roots'].numel():,} trees of {arrays['trees.feature'].numel():,} nodes in all"
        text = f"It was grown until {trained.ended}. In the validation part it is right for"
        text += f" {100 * last.validation_accuracy:.1f} %."
    elif architecture.name == "surroundings":
        weights: list[float] = architecture.numbers["weights"]
        size = "the weighted mean of " + ", ".join(f"{name} ({weight:.3g})" for name, weight in zip(MEMBERS, weights))
        text = (
            "The weights were chosen by the validation part. There it was right for "
            f"{100 * last.validation_accuracy:.1f} % before its members learnt from that part too."
        )
    else:
        size = f"{sum(parameter.numel() for parameter in trained.net.parameters()):,} weights"
        text = ""
        if trained.batch_size:
            text = f"{last.batches:,} batches of {trained.batch_size} tiles; largest learning rate {trained.learning_rate:.2g}."
        if trained.rate_curve:
            page.svg(
                charts.rate_curve(trained.rate_curve, trained.learning_rate),
                "The loss while the learning rate rose from batch to batch, and the rate at which it fell fastest.",
            )
    if architecture.name == "ensemble":
        members, weights = architecture.numbers["members"], architecture.numbers["weights"]
        names = " and ".join(f"“{member['name']}” ({weight:.3g})" for member, weight in zip(members, weights))
        size = f"the weighted mean of {names}"
    page.text(f"Architecture “{architecture.name}” with {size}; classifies {architecture.task}{sight}. {text}")


def _comparison(page: Page, appraisal: Appraisal, what: str) -> None:
    score = appraisal.accuracy
    majority = score.majority
    counts = np.zeros_like(score.confusion)
    counts[:, score.classes.index(majority)] = score.confusion.sum(axis=1)
    others = {
        f"Majority class (always {majority.name})": Accuracy.from_confusion(counts, score.classes),
        "Random forest": appraisal.forest,
        f"This {appraisal.name}": score,
    }
    rows = [
        [name, a.accuracy, a.kappa, a.macro_f1, a.weighted_f1, a.balanced_accuracy] for name, a in others.items() if a
    ]
    best = max(range(len(rows)), key=lambda i: rows[i][1] or 0.0)
    page.table(
        ["", "Accuracy", "Kappa", "Macro-F1", "Weighted F1", "Balanced accuracy"],
        rows,
        f"The same {what} and the same split. The forest sees terrain predictors of an elevation, and for other bands the "
        "value, and its mean and spread in windows of 5 to 121 pixels (for whole tiles: their percentiles).",
        highlight=[best],
    )


def _places(page: Page, tile_set: TileSet, appraisal: Appraisal) -> None:
    summary, metres = tile_set.summary(), "degrees" if tile_set.grid.in_degrees else "map units"
    if tile_set.storage == "mosaic":
        step = max(-(-max(tile_set.split.shape) // _PAGE_PX), 1)
        split = np.asarray(tile_set.split[::step, ::step])
        page.svg(
            maps.split_map(split, tile_set.grid),
            f"The parts. The buffer round test areas is {summary['buffer']:,.10g} {metres} wide. {maps.IN_NO_PART}",
        )
        if appraisal.codes is not None and (appraisal.codes > 0).any():
            window = _bounding(appraisal.codes > 0)
            reference = np.asarray(tile_set.labels[::step, ::step])[window.slices]
            shown = Window(window.row * step, window.column * step, window.height * step, window.width * step)
            grid = tile_set.grid.part(shown)
            page.svg(
                maps.class_map(reference, tile_set.classes, grid),
                f"The {appraisal.part} areas and what lies between them: the reference.",
            )
            page.svg(
                maps.class_map(appraisal.codes[window.slices], tile_set.classes, grid),
                f"What the {appraisal.name} maps in the {appraisal.part} areas.",
            )
    shares = {part: tile_set.class_counts(part) for part in ("training", "validation", "test")}
    page.table(
        ["Class", *(part.capitalize() for part in shares)],
        [
            [Swatch(one.colour, one.name), *(counts.get(one.code, 0) for counts in shares.values())]
            for one in tile_set.classes
        ],
        "Labelled pixels of each class in each part.",
    )
    for note in tile_set.facts.get("notes", []):
        page.warning(note)


def _bounding(there: npt.NDArray[np.bool_]) -> Window:
    """Return the smallest window that holds all that is true."""
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    return Window(int(rows[0]), int(columns[0]), height, width)


def _data(page: Page, tile_set: TileSet) -> None:
    scaling = tile_set.scaling
    page.table(
        ["Band", "Unit", "Kind", "1st percentile", "99th percentile", "Mean", "Spread"],
        [
            [band.name, band.unit, band.kind, *(f"{number:.5g}" for number in numbers)]
            for band, *numbers in zip(tile_set.bands, scaling.low, scaling.high, scaling.offset, scaling.scale)
        ],
        "Predictors, from training pixels only; mean and spread (standard deviation) are of the values between the "
        "percentiles.",
    )
    tiles = tile_set.summary()["tiles"]
    across, down = tile_set.grid.pixel_size
    page.text(
        f"Tiles of {tile_set.tile_size_px} pixels ({across:g} × {down:g} map units each): "
        + ", ".join(f"{count:,} {part}" for part, count in tiles.items())
        + "."
    )
    page.table(
        ["Source", "Bands", "SHA-256"],
        [
            [source["path"], ", ".join(map(str, source.get("bands", []))), str(source.get("sha256", ""))[:16]]
            for source in tile_set.facts["sources"]
        ],
        "Predictors that the tiles were cut from.",
    )


def _curve(check: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in check.items() if name not in ("batches", "seconds")}
