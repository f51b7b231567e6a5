"""
The automatic choice for a class for each pixel: by the data, and by what wins on the validation part.

- Where all bands are elevations, form decides: a U-Net, which sees horizons. A forest on the terrain is grown after it, and is
  kept where it is the better one after all, or the mean of both where that is much better.
- Elsewhere surroundings are tried first, and a U-Net after them. What is better on the validation part is kept, or the mean of
  both where that is better still. A U-Net that is far behind is given up early.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..rasters.grid import Window
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .course import Standing, score_of_check
from .metrics import score_of_shares
from .networks import Architecture, ensemble_of, is_surface
from .networks.ensemble import Ensemble
from .pieces import Pieces
from .prediction import Reading, padded, probabilities_of, reading_of
from .scoring import part_windows
from .surroundings_training import SurroundingsTraining, choose_weights, weighted
from .trained import STOPPED, Trained, Trial

SURROUNDINGS_SHARE = 0.5  # of the minutes
_PIXELS = 100_000
_PATIENCE, _FAR = 0.2, 0.1  # of a U-Net's course; of the mean of accuracy and macro-F1
FOREST_SHARE = 0.05  # of the minutes, beyond them
_WORTH_A_MEAN = 0.02  # of the mean of accuracy and macro-F1: a map by both takes longer, and cannot be exported


def surfaces_alone(tile_set: TileSet) -> bool:
    """Whether all bands are elevations."""
    return all(is_surface(band) for band in tile_set.bands)


class FarBehind(Exception):
    """A U-Net, which scores this by now, is so far behind that the rest of its training would be in vain."""

    def __init__(self, accuracy: float, macro_f1: float) -> None:
        super().__init__(accuracy, macro_f1)
        self.accuracy, self.macro_f1 = accuracy, macro_f1


def train_best(
    surroundings: SurroundingsTraining,
    unet: Architecture,
    train_unet: Callable[[float, Callable[[Standing], None], Progress], Trained],
    minutes: float,
    tile_set: TileSet,
    kept: Pieces,
    progress: Progress,
) -> Trained:
    """
    Train surroundings and a U-Net, and return the better one, or both as one.

    Parameters
    ----------
    train_unet : callable
        Given the minutes that it may take (0: no limit) and what is to be called after every check, trains the U-Net on the
        training part.
    kept : Pieces
        Where it is kept that the U-Net was given up.

    Raises
    ------
    Cancelled
        If it was stopped before the trial's end; later the best so far is returned.
    """
    trial = surroundings.try_members(PartOfProgress(progress, 0.0, 0.15))

    def compare(standing: Standing) -> None:
        best, seconds = standing.course.best, standing.course.seconds
        gone = seconds / max(seconds + standing.seconds_left, 1e-9)
        if best is not None and gone > _PATIENCE and score_of_check(best) < score_of_check(trial.best) - _FAR:
            raise FarBehind(best.validation_accuracy, best.validation_macro_f1)

    given_up = kept.get("given up")  # before a break
    try:
        if given_up is not None:
            raise FarBehind(**given_up.facts)
        second = train_unet(minutes * (1 - SURROUNDINGS_SHARE), compare, PartOfProgress(progress, 0.15, 0.75))
    except FarBehind as found:
        kept.put("given up", {}, {"accuracy": found.accuracy, "macro_f1": found.macro_f1})
        own = (found.accuracy + found.macro_f1) / 2
        progress.message(
            f"The U-Net was given up, since on the validation part it is far behind: {own:.3f} against "
            f"{score_of_check(trial.best):.3f}."
        )
        surroundings.tried.append(Trial("U-Net, given up", found.accuracy, found.macro_f1, None, kept=False))
        return _finished(surroundings, trial, PartOfProgress(progress, 0.75, 1.0))
    except Cancelled:
        return dataclasses.replace(trial, ended=STOPPED)
    shares, wanted = shares_of([trial, second], tile_set)
    weights = choose_weights(shares, wanted)
    right = [float((some.argmax(axis=1) == wanted).mean()) for some in (*shares, weighted(shares, weights))]
    progress.message(
        f"On validation pixels surroundings are right for {right[0]:.1%}, the U-Net for {right[1]:.1%}; with the weights "
        f"{weights[0]:g} and {weights[1]:g} they are for {right[2]:.1%}."
    )
    tried = [dataclasses.replace(one, kept=one.kept and weights[1] == 0) for one in surroundings.tried]
    tried.append(Trial.of("U-Net", shares[1], wanted, kept=weights[0] == 0))
    if 0 < weights[0] < 1:
        told = f"{weights[0]:.3g} model of surroundings + {weights[1]:.3g} U-Net"
        tried.append(Trial.of(told, weighted(shares, weights), wanted, kept=True))
    surroundings.tried = tried
    unet_alone = dataclasses.replace(second, architecture=unet, name="U-Net", tried=tuple(tried))
    if weights[0] == 0:
        return unet_alone
    if second.ended == STOPPED:
        whole = dataclasses.replace(trial, ended=STOPPED)
    else:
        whole = _finished(surroundings, trial, PartOfProgress(progress, 0.75, 1.0))
    return whole if weights[1] == 0 else _together([whole, unet_alone], weights, "surroundings and U-Net")


def better_of(
    unet: Trained,
    architecture: Architecture,
    grow: Callable[[Progress], Trained],
    tile_set: TileSet,
    progress: Progress,
) -> Trained:
    """
    Return a U-Net that is trained, or a forest that is grown now, or the mean of both, as the validation part decides.

    A U-Net that is far ahead is not compared pixel by pixel, and one that was stopped not at all.

    Raises
    ------
    Cancelled
        If nobody waits for the result any more.
    """
    stopped = dataclasses.replace(unet, ended=STOPPED)
    if unet.ended == STOPPED or progress.cancelled():
        return stopped
    try:
        forest = grow(PartOfProgress(progress, 0.0, 0.8))
    except Cancelled:
        if progress.abandoned():
            raise
        return stopped
    if forest.ended == STOPPED:
        return stopped
    if score_of_check(unet.best) > score_of_check(forest.best) + _FAR:
        tried = tuple(
            Trial(name, one.best.validation_accuracy, one.best.validation_macro_f1, None, kept=one is unet)
            for name, one in (("U-Net", unet), ("forest", forest))
        )
        return dataclasses.replace(unet, tried=tried)
    shares, wanted = shares_of([forest, unet], tile_set)
    mean = weighted(shares, [0.5, 0.5])
    scores = [score_of_shares(some, wanted) for some in (*shares, mean)]
    best = 2 if scores[2] > max(scores[:2]) + _WORTH_A_MEAN else int(scores[1] >= scores[0])
    names = ("forest", "U-Net", "mean of forest and U-Net")
    tried = tuple(
        Trial.of(name, some, wanted, kept=number == best)
        for number, (name, some) in enumerate(zip(names, (*shares, mean)))
    )
    progress.message(
        "On the validation part "
        + ", ".join(
            f"{name}: accuracy {one.accuracy:.3f}, macro-F1 {one.macro_f1:.3f}" for name, one in zip(names, tried)
        )
        + f". What is kept: {names[best]}."
    )
    if best == 2:
        both = [forest, dataclasses.replace(unet, architecture=architecture)]
        return dataclasses.replace(_together(both, [0.5, 0.5], "mean of forest and U-Net"), tried=tried)
    return dataclasses.replace((forest, unet)[best], tried=tried)


def _finished(surroundings: SurroundingsTraining, trial: Trained, progress: Progress) -> Trained:
    """Return the surroundings with all members, or, when stopped, those that were tried."""
    try:
        return surroundings.finish(progress)
    except Cancelled:
        return dataclasses.replace(trial, ended=STOPPED)


def shares_of(
    trained: Sequence[Trained], tile_set: TileSet, most: int = _PIXELS
) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.int64]]:
    """Return each net's probabilities (pixel, class), before it saw the validation part, and the right positions, there."""
    nets = [one.judged for one in trained]
    halo, stride = max(one.halo_px for one in trained), math.lcm(*(int(net.stride) for net in nets))  # type: ignore[arg-type]
    position, random = positions_of_codes(tile_set), np.random.default_rng(23)
    share = min(most / max(sum(tile_set.class_counts("validation").values()), 1), 1.0)
    parts: list[list[npt.NDArray[np.float32]]] = [[] for _ in nets]
    wanted = []
    for values, labels, reading in _windows(tile_set, stride, halo):
        known = (labels > 0) & (random.random(labels.shape) < share)
        wanted.append(position[labels[known]])
        for net, part in zip(nets, parts):
            part.append(probabilities_of(net, values, reading)[:, known].T)
    return [np.concatenate(part) for part in parts], np.concatenate(wanted)


def _windows(
    tile_set: TileSet, stride: int, halo_px: int
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16], Reading]]:
    """Yield predictors, the labels of the core, and how the core lies in the predictors, of the validation part."""
    if tile_set.storage == "mosaic":
        for reading in part_windows(tile_set, "validation", stride, halo_px):
            values, _ = tile_set.read_window(reading.outer, "validation")
            yield values, tile_set.read_window(reading.core, "validation")[1], reading
        return
    size = tile_set.tile_size_px
    whole = Window(0, 0, size, size)
    for index in tile_set.indices("validation"):
        tiles, labels = tile_set.read([index])
        reading = reading_of(whole, size, size, 0, stride)
        yield padded(tiles[0], whole, reading.outer), labels[0], reading


def _together(members: list[Trained], weights: list[float], name: str) -> Trained:
    """Return several trained nets as one; its course is that of the last."""
    architectures = [member.architecture for member in members if member.architecture is not None]
    architecture = ensemble_of(architectures, weights)
    net = Ensemble([member.net for member in members], weights).eval()
    judged = Ensemble([member.judged for member in members], weights).eval()
    last, spent = members[-1], sum(member.history[-1].seconds for member in members)
    history = [*last.history[:-1], dataclasses.replace(last.history[-1], seconds=spent)]
    stopped = any(member.ended == STOPPED for member in members)
    return Trained(
        net,
        history,
        last.best,
        STOPPED if stopped else last.ended,
        int(net.halo_px),
        name,
        architecture,
        judged,
        tried=last.tried,
    )
