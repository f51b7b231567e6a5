"""
Cross-validation over folds of space: how much a score depends on which ground happened to be kept apart.

Every fold is the test part once, of a net that is trained anew on the others, with the buffer between them and with scaling of
its own; the forest stands beside it. Once more all is trained on a random split, whose score is optimistic: the gap between the
two is what near ground gives away. A fold that was finished is kept, so that a run that was broken off goes on.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from ..errors import Cancelled, TileSetError
from ..files import whole_file
from ..messages import PartOfProgress, Progress
from ..ranks import ALONE
from ..training_data.folds import Folds
from ..training_data.tile_set import TileSet
from .fitting import architecture_of, check_parts
from .fold_scores import RANDOM, CrossValidation, FoldScore
from .forest import forest_accuracy
from .members import fit_members
from .networks import EACH_PIXEL
from .scoring import score_net
from .trained import STOPPED
from .training_settings import Settings


def cross_validate(
    tile_set: TileSet, settings: Settings, folder: Path, progress: Progress, name: str = "net"
) -> CrossValidation | None:
    """
    Train and score on every fold, and on a random split.

    Parameters
    ----------
    folder : path
        Where checkpoints and the scores of finished folds lie; what lies there is not done again.
    name : str
        What the report calls the model.

    Returns
    -------
    scores : CrossValidation or None
        None where it was stopped on the way.
    """
    count = settings.cross_validation
    folds, random = (Folds(tile_set, count, settings.seed, random=kind) for kind in (False, True))
    wanted = [*((str(number + 1), folds, number) for number in range(count)), (RANDOM, random, 0)]
    scores = []
    for done, (fold, dealt, number) in enumerate(wanted):
        file = folder / f"{fold.replace(' ', '-')}.json"
        if file.exists():
            scores.append(FoldScore.from_dict(json.loads(file.read_text(encoding="utf-8"))))
            continue
        part = PartOfProgress(progress, done / len(wanted), (done + 1) / len(wanted))
        progress.message(f"Cross-validation: {f'fold {fold} of {count}' if fold != RANDOM else fold}.")
        try:
            score = _scored(fold, dealt.tile_set_of(number), settings, file.with_suffix(".safetensors"), part)
        except Cancelled:
            score = None
        if score is None:
            progress.message("Cross-validation was left out, since the job was stopped.")
            return None
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as new:
            new.write_text(json.dumps(score.as_dict()), encoding="utf-8")
        file.with_suffix(".safetensors").unlink(missing_ok=True)
        for left in folder.glob(f"{file.stem}-*"):  # of members, and of what is made of pieces
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
        scores.append(score)
    for score in scores:
        if score.left_out:
            progress.warning(f"Cross-validation: fold {score.name} was left out. {score.left_out}")
    return CrossValidation(scores[:-1], scores[-1], name)


def _scored(name: str, tile_set: TileSet, settings: Settings, checkpoint: Path, progress: Progress) -> FoldScore | None:
    """Return the scores of one fold, or None if it was stopped."""
    alone = replace(settings, cross_validation=0)
    try:
        check_parts(tile_set, alone)
    except TileSetError as error:
        return FoldScore(name, None, None, str(error))
    if not sum(tile_set.class_counts("test").values()):
        return FoldScore(name, None, None, "It has no labels.")
    architecture = architecture_of(alone, tile_set)
    trained = fit_members(architecture, alone, tile_set, checkpoint, PartOfProgress(progress, 0.0, 0.8), ALONE)
    if trained.ended == STOPPED or progress.cancelled():
        return None
    net = score_net(trained.net, tile_set, "test", halo_px=trained.halo_px, progress=PartOfProgress(progress, 0.8, 0.9))
    forest = None
    if settings.forest and trained.name != "forest":
        per_pixel = settings.task == EACH_PIXEL
        forest = forest_accuracy(
            tile_set, "test", settings.seed, PartOfProgress(progress, 0.9, 1.0), per_pixel=per_pixel
        )
    return FoldScore(name, net.accuracy, forest)
