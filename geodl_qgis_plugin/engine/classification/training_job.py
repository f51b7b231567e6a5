"""
Train a classifier on a tile set: the job `trainclassifier`.

The net is trained on the training part, its best state chosen on the validation part, and the test part seen once, at the end;
there the majority class and a random forest stand beside it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from ..errors import Cancelled, TileSetError
from ..files import check_output, whole_file
from ..messages import PartOfProgress, Progress
from ..model_file import write_model
from ..rasters.grid import Window
from ..settings import as_dict
from ..training_data.tile_set import TileSet
from .batches import training_tiles
from .classifier import classifier_item
from .forest import forest_accuracy
from .metrics import Accuracy
from .networks import EACH_PIXEL, Architecture, choose_architecture
from .scoring import score_net
from .training import Plan, Trained, train
from .training_report import TestedModel, training_page
from .training_settings import Settings

_ROOM_BYTES = 64 * 2**20
# Batch norms bear long steps; without them a net dies of such.
LEARNING_RATES = {"unet": 0.01, "pooled": 0.001, "classic": 0.001}

__all__ = ["Settings", "run"]


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Train, score on the test part, and write the model and its report.

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
    _check_parts(tile_set, settings)
    for sentence in tile_set.check_sources():
        progress.warning(sentence)
    architecture = choose_architecture(
        settings.architecture,
        settings.task,
        tile_set.bands,
        len(tile_set.classes),
        tile_set.tile_size_px,
        _numbers(settings),
    )
    checkpoint = _checkpoint(output, settings, tile_set)
    net = _fresh(architecture, settings.seed)
    plan = Plan(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate or LEARNING_RATES[architecture.name],
        patience=settings.patience,
        seed=settings.seed,
        minutes=settings.minutes,
        weight_decay=settings.weight_decay,
        class_weight=settings.class_weight,
        augment=settings.augment,
    )
    try:
        trained = train(net, tile_set, plan, checkpoint, PartOfProgress(progress, 0.0, 0.85))
    except BaseException:
        if not checkpoint.exists():  # nothing to go on from
            shutil.rmtree(checkpoint.parent, ignore_errors=True)
        raise

    tested = _tested(trained, tile_set, settings, PartOfProgress(progress, 0.85, 0.99))
    page = training_page(tile_set, architecture, trained, tested, settings)
    item = classifier_item(
        output.stem, tile_set, architecture, trained, tested.accuracy, tested.forest, as_dict(settings)
    )
    weights = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in trained.net.state_dict().items()}
    html = page.html()
    write_model(output, item, weights, html)
    if report is not None:
        with whole_file(report) as part:
            part.write_text(html, encoding="utf-8")
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    progress.message(tested.finding)
    progress.update(1.0)
    return {
        "output": str(output),
        "report": str(report) if report else None,
        "accuracy": tested.accuracy.accuracy,
        "macro_f1": tested.accuracy.macro_f1,
        "kappa": tested.accuracy.kappa,
        "forest_accuracy": tested.forest.accuracy if tested.forest else None,
        "forest_kappa": tested.forest.kappa if tested.forest else None,
        "forest_macro_f1": tested.forest.macro_f1 if tested.forest else None,
        "majority_accuracy": tested.accuracy.majority_accuracy,
        "epochs": trained.history[-1].epoch,
        "batches": trained.history[-1].batches,
        "cancelled": trained.ended == "it was stopped",
    }


def _tested(trained: Trained, tile_set: TileSet, settings: Settings, progress: Progress) -> TestedModel:
    """Score the net, and the forest beside it, on the test part; where there is none, on the validation part."""
    part = "test" if sum(tile_set.class_counts("test").values()) else "validation"
    if part == "validation":
        progress.warning(
            "The tile set has no test part, so the scores are those on the validation part, by which the net was chosen: they "
            "are optimistic."
        )
    map_of_part = PartMap(tile_set)
    scored = score_net(
        trained.net,
        tile_set,
        part,
        halo_px=trained.halo_px,
        progress=_Uninterrupted(progress, 0.0, 0.3),
        then=map_of_part.add,
    )
    forest: Accuracy | None = None
    if settings.forest and not progress.cancelled():
        try:
            forest = forest_accuracy(
                tile_set,
                part,
                settings.seed,
                PartOfProgress(progress, 0.3, 1.0),
                per_pixel=settings.task == EACH_PIXEL,
            )
        except Cancelled:
            progress.message("The forest was left out, since the job was stopped.")
    return TestedModel(part, scored.accuracy, scored.loss, forest, map_of_part.codes)


class _Uninterrupted(PartOfProgress):
    """Progress of what is done to its end, so that a net that was trained is kept with its scores when the user stops."""

    def cancelled(self) -> bool:
        """Never."""
        return False


class PartMap:
    """The mapped classes of a part, thinned to what a page can show."""

    LARGEST_PX = 900

    def __init__(self, tile_set: TileSet) -> None:
        grid = tile_set.grid
        self.step = max(-(-max(grid.height, grid.width) // self.LARGEST_PX), 1)
        self.codes: npt.NDArray[np.uint16] | None = None
        self._of_position = np.array([one.code for one in tile_set.classes], np.uint16)
        if tile_set.storage == "mosaic":
            self.codes = np.zeros((-(-grid.height // self.step), -(-grid.width // self.step)), np.uint16)

    def add(self, probabilities: npt.NDArray[np.float32], core: Window) -> None:
        """Put the most probable classes of a window on the map."""
        if self.codes is None:
            return
        top, left = -core.row % self.step, -core.column % self.step
        best = self._of_position[probabilities[:, top :: self.step, left :: self.step].argmax(axis=0)]
        row, column = (core.row + top) // self.step, (core.column + left) // self.step
        self.codes[row : row + best.shape[0], column : column + best.shape[1]] = best


def _check_parts(tile_set: TileSet, settings: Settings) -> None:
    counts = {part: sum(tile_set.class_counts(part).values()) for part in ("training", "validation")}
    for part, count in counts.items():
        if count == 0:
            raise TileSetError(
                f"The tile set {tile_set.folder} has no labels in its {part} part. Extract tiles again with more labels, "
                "smaller blocks or another SEED."
            )
    if settings.task == EACH_PIXEL:
        learnt = [code for code, count in tile_set.class_counts("training").items() if count]
    else:
        learnt = np.unique(tile_set.tiles["code"][training_tiles(tile_set, per_pixel=False)]).tolist()
    if len(learnt) < 2:
        name = next(one.name for one in tile_set.classes if one.code == learnt[0])
        raise TileSetError(
            f"The training part of {tile_set.folder} has only one class ({name}), so there is nothing to tell apart. Extract "
            "tiles again with smaller blocks, smaller tiles or another SEED."
        )
    if settings.task != EACH_PIXEL and not (tile_set.tiles["code"][tile_set.indices("validation")] > 0).any():
        raise TileSetError(
            f"No validation tile of {tile_set.folder} has a class of its own. Extract tiles again with smaller tiles, or a "
            "smaller share for a tile's class."
        )


def _numbers(settings: Settings) -> dict[str, Any]:
    if settings.task == EACH_PIXEL:
        return {"widths": list(settings.widths), "dropout": settings.dropout}
    return {"dropout": settings.dropout}


def _fresh(architecture: Architecture, seed: int) -> nn.Module:
    import torch  # noqa: PLC0415 - seeded right before the weights are drawn

    torch.manual_seed(seed)
    return architecture.build()


def _checkpoint(output: Path, settings: Settings, tile_set: TileSet) -> Path:
    """Return where checkpoints lie: beside the model, in a folder named by what is trained, so that no other run takes it."""
    what = {**as_dict(settings), "tiles": tile_set.checksum()}
    for name in ("output", "report", "resume", "forest"):
        what.pop(name)
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    folder = output.parent / f".{output.stem}.{digest}.training"
    if not settings.resume:
        shutil.rmtree(folder, ignore_errors=True)
    return folder / "checkpoint.safetensors"
