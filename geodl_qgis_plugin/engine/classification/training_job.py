"""
Train a classifier on a tile set: the job `trainclassifier`.

The net is trained on the training part, its best state chosen on the validation part, and the test part seen once, at the end;
there the majority class and a random forest stand beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import check_output, remove_parts, whole_file
from ..messages import PartOfProgress, Progress
from ..model_file import write_model
from ..ranks import ALONE, Ranks, joined, launched
from ..reports.page import Page
from ..run_lock import only_run
from ..settings import as_dict
from ..training_data.tile_set import TileSet
from .appraisal import appraise
from .classifier import classifier_item
from .cross_validation import cross_validate
from .fitting import architecture_of, check_parts, checkpoint_of, forget_checkpoints, forget_training
from .live_report import LiveReport
from .members import fit_members
from .networks import ON_STATISTICS
from .pieces import holds_work
from .shortfall import cut_short
from .trained import STOPPED
from .training_report import training_page
from .training_settings import Settings

_ROOM_BYTES = 64 * 2**20

__all__ = ["Settings", "run"]


def run(
    settings: Settings,
    progress: Progress,
    *,
    checkpoint: Path | None = None,
    extend: Callable[[Page], None] | None = None,
) -> dict[str, Any]:
    """
    Train, score on the test part, and write the model and its report.

    Parameters
    ----------
    checkpoint : path, optional
        Where the checkpoint lies, if not where this job would put it.
    extend : callable, optional
        Adds to the report.

    Raises
    ------
    TileSetError, SettingsError, OutputError
        Before any work, each with a sentence.
    Cancelled
        If it was stopped before there was anything to keep; later the best state so far is kept.
    """
    output = check_output(settings.output, _ROOM_BYTES)
    report = check_output(settings.report) if settings.report else None
    tile_set = TileSet.open(settings.tiles)
    check_parts(tile_set, settings)
    checkpoint = checkpoint or checkpoint_of(output, settings, tile_set)
    if not (launched() or ALONE).is_first:  # what lies on the disk is the first process's
        with joined() as ranks:
            return _trained(settings, output, report, tile_set, checkpoint, ranks, progress, extend)
    try:
        with joined() as ranks, only_run(checkpoint.parent, progress):
            if not settings.resume and not ranks.restarted:
                forget_checkpoints(checkpoint.parent)
            result = _trained(settings, output, report, tile_set, checkpoint, ranks, progress, extend)
    except BaseException:
        if not holds_work(checkpoint.parent):  # nothing to go on from
            shutil.rmtree(checkpoint.parent, ignore_errors=True)
        raise
    if not progress.cancelled() or not holds_work(checkpoint.parent):
        forget_training(output, checkpoint)
    return result


def _trained(
    settings: Settings,
    output: Path,
    report: Path | None,
    tile_set: TileSet,
    checkpoint: Path,
    ranks: Ranks,
    progress: Progress,
    extend: Callable[[Page], None] | None,
) -> dict[str, Any]:
    if ranks.is_first:
        for path in filter(None, (output, report, checkpoint)):
            remove_parts(path)
    for sentence in tile_set.check_sources():
        progress.warning(sentence)
    architecture = architecture_of(settings, tile_set)
    if architecture.name in ON_STATISTICS and not ranks.is_first:
        return {}  # it is trained by one process
    share = 0.85 / (settings.cross_validation + 2) if settings.cross_validation else 0.85  # of the progress
    live = LiveReport(report, settings.architecture, len(tile_set.bands), len(tile_set.classes)) if report else None
    try:
        training = PartOfProgress(progress, 0.0, share)
        trained = fit_members(architecture, settings, tile_set, checkpoint, training, ranks, live)
    except Exception:
        if live is not None and not progress.abandoned():
            live.withdraw()
        raise
    if not ranks.is_first:
        return {}  # the first process scores and writes

    architecture = trained.architecture or architecture  # what won, where that was open
    if (shortfall := cut_short(trained, settings.minutes)) is not None:
        progress.warning(shortfall)
    appraisal = appraise(trained, tile_set, settings, PartOfProgress(progress, share, share + 0.14))
    folds = None
    if settings.cross_validation:
        folder = checkpoint.parent / f"folds-{settings.cross_validation}"
        folds = cross_validate(tile_set, settings, folder, PartOfProgress(progress, share + 0.14, 0.99), trained.name)
    page = training_page(tile_set, architecture, trained, appraisal, settings, folds)
    if extend is not None:
        extend(page)
    item = classifier_item(
        output.stem,
        tile_set,
        architecture,
        trained,
        appraisal.accuracy,
        appraisal.forest,
        as_dict(settings),
        appraisal.trust() | ({"cross_validation": folds.as_dict()} if folds is not None else {}),
    )
    weights = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in trained.net.state_dict().items()}
    if appraisal.applicability is not None:
        weights |= appraisal.applicability.arrays()
    html = page.html()
    write_model(output, item, weights, html)
    if report is not None:
        with whole_file(report) as part:
            part.write_text(html, encoding="utf-8")
    if progress.cancelled() and holds_work(checkpoint.parent):
        progress.message("The same command goes on from where training was stopped.")
    progress.message(appraisal.finding)
    progress.update(1.0)
    return {
        "output": str(output),
        "report": str(report) if report else None,
        "accuracy": appraisal.accuracy.accuracy,
        "macro_f1": appraisal.accuracy.macro_f1,
        "kappa": appraisal.accuracy.kappa,
        "forest_accuracy": appraisal.forest.accuracy if appraisal.forest else None,
        "forest_kappa": appraisal.forest.kappa if appraisal.forest else None,
        "forest_macro_f1": appraisal.forest.macro_f1 if appraisal.forest else None,
        "majority_accuracy": appraisal.accuracy.majority_accuracy,
        "epochs": trained.history[-1].epoch,
        "batches": trained.history[-1].batches,
        "cancelled": trained.ended == STOPPED,
    }
