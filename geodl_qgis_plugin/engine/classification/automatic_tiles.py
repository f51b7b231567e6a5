"""
The automatic choice for a class for each tile: forests and nets are tried, and what does best on the validation part is kept.

That may be the mean of several. They are compared by the Brier score, the mean squared error of the probabilities (Brier 1950,
doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2): of few validation tiles, how many are right is much a matter of luck.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from ..errors import Cancelled, SettingsError
from ..messages import PartOfProgress, Progress, Uninterrupted
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .metrics import brier
from .networks import EACH_TILE, FORESTS, Architecture, ensemble_of
from .networks.ensemble import Ensemble
from .scoring import predictions
from .trained import STOPPED, Trained, Trial

CANDIDATES = ("forest", "extra trees", "residual", "pooled")
_FORESTS_SHARE = 0.1  # of the progress for each forest

Fit = Callable[[Architecture, float, int, Path, Progress], Trained]


def candidates_for(choose: Callable[[str], Architecture]) -> list[Architecture]:
    """Return the architectures that tiles of this size can be given to; ``choose`` refuses the others."""
    fitting = []
    for name in CANDIDATES:
        try:
            fitting.append(choose(name))
        except SettingsError:
            continue
    return fitting


def best_for_tiles(
    candidates: Sequence[Architecture],
    fit: Fit,
    tile_set: TileSet,
    checkpoint: Path,
    progress: Progress,
    *,
    minutes: float = 0.0,
    epochs: int = 0,
) -> Trained:
    """
    Train every candidate, and return the best one or the mean of several, with what was tried.

    Parameters
    ----------
    candidates : sequence of Architecture
        Forests first: what time they leave is the nets'.
    fit : callable
        Given an architecture, minutes (0: no limit), epochs (0: automatic), a checkpoint and progress, trains it.
    minutes, epochs : float, int
        Shared out between the nets.

    Raises
    ------
    Cancelled
        If it was stopped before anything was trained; later the best so far is returned.
    """
    trained: list[Trained] = []
    stopped = False
    nets = [one for one in candidates if one.name not in FORESTS]
    done = 0.0
    for architecture in candidates:
        left, place = 0.0, checkpoint
        if architecture in nets:
            number = nets.index(architecture)
            share = (1 - done) / (len(nets) - number)
            if minutes:  # never 0, which would be no limit
                spent = sum(one.history[-1].seconds for one in trained)
                left = max(minutes - spent / 60, 0.01) / (len(nets) - number)
            place = checkpoint if number == 0 else checkpoint.with_stem(f"{checkpoint.stem}-{architecture.name}")
        else:
            share = _FORESTS_SHARE
        part = PartOfProgress(progress, done, done + share)
        try:
            own_epochs = max(epochs // len(nets), 1) if epochs and architecture in nets else 0
            one = fit(architecture, left, own_epochs, place, part)
        except Cancelled:
            if not trained or progress.abandoned():
                raise
            stopped = True
            break
        trained.append(dataclasses.replace(one, architecture=architecture))
        stopped = one.ended == STOPPED
        done += share
        if stopped:
            break
    return _best(trained, tile_set, stopped, progress)


def _best(trained: Sequence[Trained], tile_set: TileSet, stopped: bool, progress: Progress) -> Trained:
    position = positions_of_codes(tile_set)
    shares, wanted = [], np.zeros(0, np.int64)
    for one in trained:
        given = list(
            predictions(one.net, tile_set, "validation", halo_px=0, progress=Uninterrupted(progress, 1.0, 1.0))
        )
        shares.append(np.concatenate([predicted.probabilities.T for predicted in given]))
        wanted = position[np.concatenate([predicted.reference for predicted in given])]
    numbers = range(len(trained))
    choices = [chosen for size in range(1, len(trained) + 1) for chosen in combinations(numbers, size)]
    means = {chosen: np.mean([shares[i] for i in chosen], axis=0) for chosen in choices}
    best = min(choices, key=lambda chosen: brier(means[chosen], wanted))
    listed = [chosen for chosen in choices if len(chosen) == 1 or chosen == best]
    tried = tuple(
        Trial.of(
            " + ".join(trained[i].name_of_architecture for i in chosen), means[chosen], wanted, kept=chosen == best
        )
        for chosen in listed
    )
    for trial in tried:
        progress.message(
            f"On the validation part {trial.name}: accuracy {trial.accuracy:.3f}, macro-F1 {trial.macro_f1:.3f}, Brier score "
            f"{trial.brier:.4f}{', which is kept' if trial.kept else ''}."
        )
    whole = trained[best[0]] if len(best) == 1 else _together([trained[i] for i in best])
    return dataclasses.replace(whole, tried=tried, ended=STOPPED if stopped else whole.ended)


def _together(members: Sequence[Trained]) -> Trained:
    """Return several trained classifiers as one; its course is that of the net among them, if any, that was looked at most."""
    net = Ensemble([member.net for member in members]).eval()
    longest = max(members, key=lambda member: (member.batch_size > 0, len(member.history)))
    architecture = ensemble_of([member.architecture for member in members if member.architecture is not None])
    return dataclasses.replace(longest, net=net, name="ensemble", architecture=architecture, halo_px=int(net.halo_px))


def is_tried(architecture: str, task: str) -> bool:
    """Whether it takes a trial to know what is trained."""
    return architecture == "automatic" and task == EACH_TILE
