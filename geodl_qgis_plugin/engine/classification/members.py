"""
A classifier as several of the same kind, trained from different seeds and averaged.

What the members disagree on, none of them knows: the mean of their probabilities is less sure there, and is mostly the better
map. Each member has a checkpoint of its own, so that a run that was broken off goes on with the member that it was at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..ranks import Ranks
from ..training_data.tile_set import TileSet
from .course import News
from .fitting import fit
from .networks import Architecture, ensemble_of
from .networks.ensemble import Ensemble
from .trained import STOPPED, Trained
from .training_settings import Settings


def fit_members(
    architecture: Architecture,
    settings: Settings,
    tile_set: TileSet,
    checkpoint: Path,
    progress: Progress,
    ranks: Ranks,
    after_check: Callable[[News], None] | None = None,
) -> Trained:
    """
    Train as many members as the settings ask for, from as many seeds, each in its share of the minutes; one is itself.

    Raises
    ------
    Cancelled
        If it was stopped before the first member had anything to keep; later those that stand are kept.
    """
    count = settings.ensemble
    if count == 1:
        return fit(architecture, settings, tile_set, checkpoint, progress, ranks, after_check)
    members: list[Trained] = []
    ended = ""
    for number in range(count):
        own = replace(settings, seed=settings.seed + number, ensemble=1, minutes=settings.minutes / count)
        path = checkpoint if number == 0 else checkpoint.with_stem(f"{checkpoint.stem}-{number + 1}")
        part = PartOfProgress(progress, number / count, (number + 1) / count)
        progress.message(f"Member {number + 1} of {count}, seed {own.seed}.")
        try:
            members.append(fit(architecture, own, tile_set, path, part, ranks, after_check))
        except Cancelled:
            if not members:
                raise
            ended = STOPPED
        if ended or members[-1].ended == STOPPED:
            ended = STOPPED
            break
    return together(members, architecture, ended or members[0].ended)


def together(members: Sequence[Trained], architecture: Architecture, ended: str) -> Trained:
    """Return trained classifiers as one, the mean of all; what they call themselves and how they went is the first one's."""
    first = members[0]
    if len(members) == 1:
        return replace(first, ended=ended)
    architectures, weights = [], []
    nets: list[nn.Module] = []
    judged: list[nn.Module] = []
    for member in members:
        own, share = member.architecture or architecture, 1.0 / len(members)
        if own.name != "ensemble":
            architectures.append(own)
            weights.append(share)
            nets.append(member.net)
            judged.append(member.judged)
            continue
        # a member that is an ensemble itself: its own members take its place
        inner, inner_judged = member.net, member.judged
        architectures += [Architecture.from_dict(values) for values in own.numbers["members"]]
        weights += [share * weight for weight in inner.weights]  # type: ignore[union-attr]
        nets += list(inner.members)  # type: ignore[arg-type]
        judged += list(inner_judged.members)  # type: ignore[arg-type]
    net = Ensemble(nets, weights).eval()
    before = Ensemble(judged, weights).eval() if any(one.before_validation is not None for one in members) else None
    whole = ensemble_of(architectures, weights)
    return replace(
        first,
        net=net,
        ended=ended,
        halo_px=net.halo_px,
        name="ensemble",
        architecture=whole,
        before_validation=before,
        members=tuple(members),
    )
