"""One training from settings: whether the set can be learnt from, the plan, the fresh net, where checkpoints lie."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..environment import one_thread
from ..errors import SettingsError, TileSetError
from ..messages import PartOfProgress, Progress
from ..ranks import ALONE, Ranks
from ..run_lock import NAME as LOCK
from ..run_lock import is_held
from ..settings import as_dict
from ..training_data.folds import FEWEST_FOLDS, check_folds
from ..training_data.tile_set import TileSet
from .alterations import Alteration
from .automatic import FOREST_SHARE, SURROUNDINGS_SHARE, better_of, surfaces_alone, train_best
from .automatic_tiles import best_for_tiles, candidates_for, is_tried
from .batches import training_tiles
from .course import News, Standing
from .forest import CLASS_WEIGHT, grow, spacing_m
from .networks import EACH_PIXEL, Architecture, choose_architecture
from .networks.residual import SMALLEST_SLIDING_PX
from .pieces import pieces_beside
from .surroundings_training import SurroundingsTraining
from .trained import Plan, Trained
from .training import train
from .training_settings import Settings

# Batch norms bear long steps; without them a net dies of such.
LEARNING_RATES = {"unet": 0.01, "pooled": 0.001, "classic": 0.001, "residual": 0.002}
# Tiles of a few pixels: a batch of them is soon done, and they are many.
SMALL_EPOCHS, SMALL_BATCHES, SMALL_RATE = 60, 4, 2
CHECKPOINT = "checkpoint.safetensors"
# What does not change the weights, or only how the result is told.
_OF_NO_EFFECT = ("output", "report", "resume", "forest", "cross_validation")


def check_parts(tile_set: TileSet, settings: Settings) -> None:
    """
    Check that there is something to learn and something to choose by.

    Raises
    ------
    TileSetError, SettingsError, SplitError
        If a part has no labels, or training only one class; if there are too few folds, or blocks for them.
    """
    if 0 < settings.cross_validation < FEWEST_FOLDS:
        raise SettingsError(
            f"CROSS_VALIDATION is {settings.cross_validation}, but each fold needs others to learn from and to choose by. Give "
            f"{FEWEST_FOLDS} folds or more, or 0 for none."
        )
    check_folds(tile_set, settings.cross_validation)
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


def architecture_of(settings: Settings, tile_set: TileSet) -> Architecture:
    """
    Return the architecture that the settings ask for.

    Raises
    ------
    SettingsError
        If it does not do the task, or the tiles are too small for it.
    """
    numbers: dict[str, Any] = {"dropout": settings.dropout} if settings.dropout >= 0 else {}
    if settings.task == EACH_PIXEL:
        numbers["widths"] = list(settings.widths)
    return choose_architecture(
        settings.architecture,
        settings.task,
        tile_set.bands,
        len(tile_set.classes),
        tile_set.tile_size_px,
        numbers,
        spacing_m(tile_set.grid),
    )


def fit(
    architecture: Architecture,
    settings: Settings,
    tile_set: TileSet,
    checkpoint: Path,
    progress: Progress,
    ranks: Ranks,
    after_check: Callable[[News], None] | None = None,
) -> Trained:
    """
    Grow a forest, train a net or surroundings, whichever the architecture is; or try several and keep what is best.

    What stands is kept in ``checkpoint`` and beside it, and the same call goes on from there; ``after_check`` is told how
    things stand.
    """
    if is_tried(settings.architecture, settings.task) and ranks.size == 1:

        def choose(name: str) -> Architecture:
            return architecture_of(dataclasses.replace(settings, architecture=name), tile_set)

        def fit_one(one: Architecture, minutes: float, epochs: int, place: Path, progress: Progress) -> Trained:
            own = dataclasses.replace(settings, architecture=one.name, minutes=minutes, epochs=epochs)
            return fit(one, own, tile_set, place, progress, ranks, after_check)

        return best_for_tiles(
            candidates_for(choose),
            fit_one,
            tile_set,
            checkpoint,
            progress,
            minutes=settings.minutes,
            epochs=settings.epochs,
        )
    if settings.architecture == "automatic" and settings.task == EACH_PIXEL and ranks.size == 1:
        try_several = _unet_or_forest if surfaces_alone(tile_set) else _best
        return try_several(architecture, settings, tile_set, checkpoint, progress, after_check)
    if architecture.name == "surroundings":
        training = SurroundingsTraining(
            architecture,
            tile_set,
            settings.seed,
            minutes=settings.minutes,
            epochs=settings.epochs,
            kept=pieces_beside(checkpoint, architecture.name),
            tell=after_check,
        )
        training.try_members(PartOfProgress(progress, 0.0, 0.4))
        return training.finish(PartOfProgress(progress, 0.4, 1.0))
    if architecture.is_forest:
        return grow(
            architecture,
            tile_set,
            settings.seed,
            progress,
            class_weight=CLASS_WEIGHT if settings.class_weight < 0 else settings.class_weight,
            minutes=settings.minutes,
            augment=settings.augment,
            kept=pieces_beside(checkpoint, architecture.name),
            tell=after_check,
        )
    net = fresh_net(architecture, settings.seed)
    with one_thread() if _is_small(architecture) else contextlib.nullcontext():
        return train(
            net, tile_set, plan_of(settings, architecture), checkpoint, progress, ranks=ranks, after_check=after_check
        )


def _best(
    unet: Architecture,
    settings: Settings,
    tile_set: TileSet,
    checkpoint: Path,
    progress: Progress,
    tell: Callable[[News], None] | None,
) -> Trained:
    """Try surroundings and a U-Net."""
    kept = pieces_beside(checkpoint, "surroundings")
    surroundings = SurroundingsTraining(
        architecture_of(dataclasses.replace(settings, architecture="surroundings"), tile_set),
        tile_set,
        settings.seed,
        minutes=settings.minutes * SURROUNDINGS_SHARE,
        epochs=settings.epochs,
        kept=kept,
        tell=tell,
    )

    def train_unet(minutes: float, after_check: Callable[[Standing], None], progress: Progress) -> Trained:
        plan = dataclasses.replace(plan_of(settings, unet), minutes=minutes)
        net = fresh_net(unet, settings.seed)

        def after_each(standing: Standing) -> None:
            if tell is not None:
                tell(standing)
            after_check(standing)

        return train(net, tile_set, plan, checkpoint, progress, after_check=after_each)

    return train_best(surroundings, unet, train_unet, settings.minutes, tile_set, kept, progress)


def _unet_or_forest(
    unet: Architecture,
    settings: Settings,
    tile_set: TileSet,
    checkpoint: Path,
    progress: Progress,
    tell: Callable[[News], None] | None,
) -> Trained:
    """Train a U-Net, grow a forest, and keep what is better."""

    def fit_one(name: str, minutes: float, part: Progress) -> Trained:
        own = dataclasses.replace(settings, architecture=name, minutes=minutes)
        return fit(architecture_of(own, tile_set), own, tile_set, checkpoint, part, ALONE, tell)

    def grow_forest(part: Progress) -> Trained:
        architecture = architecture_of(dataclasses.replace(settings, architecture="forest"), tile_set)
        grown = fit_one("forest", settings.minutes * FOREST_SHARE, part)
        return dataclasses.replace(grown, architecture=architecture)

    trained = fit_one("unet", settings.minutes, PartOfProgress(progress, 0.0, 0.95))
    return better_of(trained, unet, grow_forest, tile_set, PartOfProgress(progress, 0.95, 1.0))


def plan_of(settings: Settings, architecture: Architecture) -> Plan:
    """Return the training's plan."""
    small = _is_small(architecture)
    return Plan(
        epochs=settings.epochs or (SMALL_EPOCHS if small else 0),
        batch_size=settings.batch_size * (SMALL_BATCHES if small else 1),
        learning_rate=settings.learning_rate or LEARNING_RATES[architecture.name] * (SMALL_RATE if small else 1),
        patience=settings.patience,
        seed=settings.seed,
        minutes=settings.minutes,
        weight_decay=settings.weight_decay,
        class_weight=max(settings.class_weight, 0.0),
        augment=settings.augment,
        precision=settings.precision,
        loss=settings.loss,
        focal_gamma=settings.focal_gamma,
        label_smoothing=settings.label_smoothing,
        alteration=Alteration(settings.noise, settings.gain, settings.band_dropout),
        balance=settings.balance,
        find_rate=settings.find_learning_rate,
    )


def _is_small(architecture: Architecture) -> bool:
    """Whether it is a net for tiles of a few pixels."""
    return architecture.name == "residual" and architecture.numbers["tile_size_px"] < SMALLEST_SLIDING_PX


def fresh_net(architecture: Architecture, seed: int) -> nn.Module:
    """Return the net with weights drawn anew, the same for the same seed."""
    import torch  # noqa: PLC0415 - seeded right before the weights are drawn

    torch.manual_seed(seed)
    return architecture.build()


def checkpoint_of(output: Path, settings: Settings, tile_set: TileSet) -> Path:
    """Return where checkpoints lie: beside the model, in a folder named by what is trained, so that no other run takes it."""
    what = {**as_dict(settings), "tiles": tile_set.checksum()}
    for name in _OF_NO_EFFECT:
        what.pop(name)
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    return output.parent / f".{output.stem}.{digest}.training" / CHECKPOINT


def forget_checkpoints(folder: Path) -> None:
    """Delete all that a run left in its folder but the lock, which this process holds."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink()


def forget_training(output: Path, own: Path | None) -> None:
    """Delete the checkpoints of ``own``, and those that runs with other settings for the same model left behind."""
    if own is not None:
        shutil.rmtree(own.parent, ignore_errors=True)
    for folder in output.parent.glob(f".{glob.escape(output.stem)}.{'[0-9a-f]' * 12}.training"):
        if not is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)
