"""
Training of `networks.surroundings`: members on the training part, choices by the validation part, then all once more on both.

How wide the windows are and how much each member counts is chosen on the validation part alone. Then nothing is left to choose
by it, and its labels are learnt from as well: near them the map is the better for it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..training_data.splits import VALIDATION
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .forest import places
from .networks import Architecture
from .networks.statistics import pixel_features
from .networks.surroundings import MEMBERS, Surroundings
from .scoring import Scored
from .training import Check, Trained

NET_PIXELS, TREE_PIXELS, VALIDATION_PIXELS = 200_000, 80_000, 50_000
TREES, TRIAL_TREES = 150, 60
MOST_PASSES = 30  # of a net over the training pixels
STEPS, TRIAL_STEPS = 700, 400
BATCH, RATE, DECAY, NOISE, SMOOTHING = 2048, 0.002, 0.05, 0.3, 0.1
TREE_CLASS_WEIGHT, NET_CLASS_WEIGHT = 0.5, 0.25
CHOICES_PX = ((5, 11, 31, 61, 121), (5, 11, 31, 61, 121, 201))
WIDEST_PX = CHOICES_PX[-1]
_AS_TEST = (0, VALIDATION)  # 0: the belt round it
_WEIGHT_STEPS, _TREES_AN_EPOCH = 4, 10
_TRIAL_SHARE, _NETS_SHARE = 0.35, 0.6
NAME, ALL_STAND = "model of surroundings", "all members stood"
_WORTH, _WORTH_WEIGHTS = 0.01, 0.02  # of the score: what wider windows, and weights that are not equal, must gain

Features = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Sample:
    """Features (pixel, feature) and positions of classes (pixel,) of labelled pixels."""

    features: Features
    wanted: npt.NDArray[np.int64]

    def of(self, columns: npt.NDArray[np.int64]) -> Sample:
        """Return the same pixels with some of the features."""
        if columns.size == self.features.shape[1]:
            return self
        return Sample(np.ascontiguousarray(self.features[:, columns]), self.wanted)

    def thinned(self, most: int, random: np.random.Generator) -> Sample:
        """Return at most ``most`` pixels, drawn evenly."""
        if len(self.wanted) <= most:
            return self
        chosen = np.sort(random.permutation(len(self.wanted))[:most])
        return Sample(self.features[chosen], self.wanted[chosen])

    def __add__(self, other: Sample) -> Sample:
        return Sample(np.concatenate([self.features, other.features]), np.concatenate([self.wanted, other.wanted]))


class SurroundingsTraining:
    """
    The two stages of training.

    Parameters
    ----------
    minutes : float
        For both stages together: nets get fewer steps and forests fewer trees where it would take longer; 0 for no limit.
    epochs : int
        How many times the nets see the training pixels, and, in tens, how many trees are grown; 0 for what was found to be
        enough.

    Both stages raise `Cancelled` when they are stopped: there is nothing to keep before their end.
    """

    def __init__(
        self, architecture: Architecture, tile_set: TileSet, seed: int, *, minutes: float = 0.0, epochs: int = 0
    ) -> None:
        self.architecture, self.tile_set, self.seed = architecture, tile_set, seed
        self.limit_s = 60 * minutes if minutes else math.inf
        self.epochs, self.seconds = epochs, 0.0
        self._random = np.random.default_rng([seed, 13])

    def try_members(self, progress: Progress) -> Trained:
        """
        Train fewer members on the training part alone, and choose widths and weights by the validation part.

        That part, and the belt round it, is hidden meanwhile as the test part is: else the choice would not know what it costs
        that wide windows reached into ground that could not be seen.
        """
        started = time.monotonic()
        until = started + _TRIAL_SHARE * self.limit_s
        progress.update(0.0, "Looking at the surroundings of pixels")
        seen = self._of_widths(WIDEST_PX, nets=1)
        training = sample(seen, self.tile_set, "training", NET_PIXELS, self._random, progress, _AS_TEST)
        validation = sample(seen, self.tile_set, "validation", VALIDATION_PIXELS, self._random, progress)
        net, loss, columns = self._of_best_widths(seen, training, validation, until, progress)
        training, validation = training.of(columns), validation.of(columns)
        trees = training.thinned(TREE_PIXELS // 2, self._random)
        _fit_trees(net, trees, self.seed, self._trees(TRIAL_TREES), until, PartOfProgress(progress, 0.6, 1.0))
        shares, wanted = net.shares(validation.features), validation.wanted
        net.weigh(choose_weights(shares, wanted))
        together = weighted(shares, net.weights)
        scored = Scored(self.tile_set)
        codes = np.array([one.code for one in self.tile_set.classes], np.uint16)
        scored.add(together.T, codes[wanted])
        progress.message(
            "On validation pixels "
            + ", ".join(f"{name} {_accuracy(some, wanted):.3f}" for name, some in zip(MEMBERS, shares))
            + f"; weighted {', '.join(f'{weight:g}' for weight in net.weights)}: {_accuracy(together, wanted):.3f}."
        )
        self.architecture = self._with(widths=net.widths, weights=net.weights)
        self.seconds = time.monotonic() - started
        accuracy = scored.accuracy
        self.check = Check(1, 0, loss, scored.loss, accuracy.accuracy or 0.0, accuracy.macro_f1 or 0.0, self.seconds)
        self.trial = net.eval()
        return Trained(self.trial, [self.check], self.check, ALL_STAND, net.halo_px, NAME, self._with(nets=1))

    def finish(self, progress: Progress) -> Trained:
        """Train all members that count on training and validation; the check is that of the trial."""
        started = time.monotonic()
        until = started + self.limit_s - self.seconds
        net: Surroundings = self.architecture.build()  # type: ignore[assignment]
        counts = {part: sum(self.tile_set.class_counts(part).values()) for part in ("training", "validation")}
        parts = [
            sample(net, self.tile_set, part, NET_PIXELS * count // sum(counts.values()), self._random, progress)
            for part, count in counts.items()
        ]
        both = parts[0] + parts[1]
        net.measure(both.features)
        if net.weights[0] > 0:
            end = started + _NETS_SHARE * (until - started)
            _fit_nets(net, both, self.seed, self._steps(both, STEPS), end, PartOfProgress(progress, 0.0, 0.6))
        trees = both.thinned(TREE_PIXELS, self._random)
        _fit_trees(net, trees, self.seed, self._trees(TREES), until, PartOfProgress(progress, 0.6, 1.0))
        check = dataclasses.replace(self.check, seconds=self.seconds + time.monotonic() - started)
        return Trained(net.eval(), [check], check, ALL_STAND, net.halo_px, NAME, self.architecture, self.trial)

    def _of_best_widths(
        self, seen: Surroundings, training: Sample, validation: Sample, until: float, progress: Progress
    ) -> tuple[Surroundings, float, npt.NDArray[np.int64]]:
        """Train a net for each choice of widths; return the best, its loss, and the features that it sees."""
        started, best = time.monotonic(), None
        end = started + _NETS_SHARE * (until - started)
        told = []
        for number, widths in enumerate(CHOICES_PX):
            columns = columns_of(seen, widths)
            net = self._of_widths(widths, nets=1)
            some = training.of(columns)
            net.measure(some.features)
            ends = started + (end - started) * (number + 1) / len(CHOICES_PX)
            part = PartOfProgress(
                progress, 0.1 + 0.5 * number / len(CHOICES_PX), 0.1 + 0.5 * (number + 1) / len(CHOICES_PX)
            )
            loss = _fit_nets(net, some, self.seed, self._steps(some, TRIAL_STEPS), ends, part)
            share = net.shares(validation.features[:, columns], only=0)[0]
            found = score_of(share, validation.wanted)
            told.append(f"{widths[-1]} px {found:.3f}")
            if best is None or found > best[0] + _WORTH:
                best = found, net, loss, columns
        progress.message(f"Mean of accuracy and macro-F1 on validation pixels, with windows to {', '.join(told)}.")
        return best[1:]  # type: ignore[index]

    def _of_widths(self, widths: Sequence[int], nets: int) -> Surroundings:
        net: Surroundings = self._with(widths=list(widths), nets=nets).build()  # type: ignore[assignment]
        return net

    def _with(self, **numbers: Any) -> Architecture:
        return dataclasses.replace(self.architecture, numbers={**self.architecture.numbers, **numbers})

    def _steps(self, given: Sample, most: int) -> int:
        """Return how many steps a net is trained: as many as ``most``, but where pixels are few no more than they bear."""
        return min(most, (self.epochs or MOST_PASSES) * math.ceil(len(given.wanted) / BATCH))

    def _trees(self, most: int) -> int:
        return min(most, _TREES_AN_EPOCH * self.epochs) if self.epochs else most


def columns_of(net: Surroundings, widths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the places, among a net's features, of those that one with only some of its widths has."""
    places, start = [], 0
    for band in range(net.bands):
        surface = [band] if band in net.surfaces else []
        count = pixel_features(1, [0] if surface else [], net.widths, net.scales)
        own = np.arange(start, start + count)
        if not surface:
            keep = [0, *(1 + 2 * net.widths.index(width) + part for width in widths for part in (0, 1))]
            own = own[keep]
        places.append(own)
        start += count
    return np.concatenate(places)


def weighted(shares: list[Features], weights: Sequence[float]) -> Features:
    """Return the weighted mean of probabilities (pixel, class)."""
    total = np.zeros_like(shares[0])
    for weight, some in zip(weights, shares):
        if weight:
            total += np.float32(weight) * some
    return total


def choose_weights(shares: list[Features], wanted: npt.NDArray[np.int64]) -> list[float]:
    """
    Return weights of members by what their weighted mean scores: accuracy and macro-F1, equally.

    Parameters
    ----------
    shares : list of arrays (pixel, class)
        The members' probabilities.

    Equal weights are kept unless others are better by 0.02.
    """
    equal = [1.0 / len(shares)] * len(shares)
    best, best_score = equal, score_of(weighted(shares, equal), wanted) + _WORTH_WEIGHTS
    for steps in itertools.product(range(_WEIGHT_STEPS + 1), repeat=len(shares)):
        if sum(steps) != _WEIGHT_STEPS:
            continue
        weights = [step / _WEIGHT_STEPS for step in steps]
        found = score_of(weighted(shares, weights), wanted)
        if found > best_score:
            best, best_score = weights, found
    return best


def sample(
    net: Surroundings,
    tile_set: TileSet,
    part: str,
    most: int,
    random: np.random.Generator,
    progress: Progress,
    also_hidden: Sequence[int] = (),
) -> Sample:
    """Return labelled pixels of a part, drawn evenly, at most about ``most``; see `as_on_a_map` for ``also_hidden``."""
    share = min(most / max(sum(tile_set.class_counts(part).values()), 1), 1.0)
    position, parts = positions_of_codes(tile_set), []
    for values, labels, core, _ in places(tile_set, part, net.halo_px, also_hidden):
        if progress.cancelled():
            raise Cancelled("Training was stopped before there was anything to keep.")
        known = labels > 0
        if share < 1.0:
            known &= random.random(labels.shape) < share
        if known.any():
            parts.append((net.features(values)[:, core[0], core[1]][:, known].T, position[labels[known]]))
    return Sample(np.concatenate([some for some, _ in parts]), np.concatenate([codes for _, codes in parts]))


def _fit_nets(net: Surroundings, given: Sample, seed: int, steps: int, until: float, progress: Progress) -> float:
    """Train the nets, one after the other; return the last losses' mean."""
    scaled, wanted = net.scaled(given.features), torch.from_numpy(given.wanted)
    counts = torch.bincount(wanted).double()
    chances = (counts.clamp_min(1) ** -NET_CLASS_WEIGHT)[wanted]
    ladder = torch.cumsum(chances, 0)
    chosen = list(net.nets)
    losses: list[float] = []
    for number, one in enumerate(chosen):
        started = time.monotonic()
        end = started + (until - started) / (len(chosen) - number)
        losses = _fit_net(
            one,
            scaled,
            wanted,
            ladder,
            [seed, number],
            steps,
            end,
            PartOfProgress(progress, number / len(chosen), (number + 1) / len(chosen)),
        )
    return float(np.mean(losses[-50:])) if losses else math.nan


def _fit_net(
    net: nn.Module,
    scaled: Tensor,
    wanted: Tensor,
    ladder: Tensor,
    seed: list[int],
    steps: int,
    end: float,
    progress: Progress,
) -> list[float]:
    """Train one net: noise on what it gets, dropout, label smoothing, weight decay; a cosine after a short rise."""
    numbers = np.random.default_rng([*seed, 17])
    torch.manual_seed(int(numbers.integers(2**31)))
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.BatchNorm1d)):
            module.reset_parameters()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    started, losses = time.monotonic(), []
    net.train()
    for step in range(steps):
        passed = (time.monotonic() - started) / (end - started) if end < math.inf else 0.0
        done = max(step / steps, passed)
        if done >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((done + 0.01) / 0.1, 1.0) * (0.5 + 0.5 * math.cos(math.pi * done))
        drawn = torch.searchsorted(ladder, torch.rand(BATCH, dtype=torch.float64) * ladder[-1])
        drawn = drawn.clamp_max(len(wanted) - 1)
        inputs = scaled[drawn]
        inputs = inputs + NOISE * torch.randn_like(inputs)
        loss = F.cross_entropy(net(inputs), wanted[drawn], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if progress.cancelled():
            raise Cancelled("Training was stopped before there was anything to keep.")
        progress.update(done, f"Training nets on the surroundings, loss {np.mean(losses[-20:]):.3f}")
    net.eval()
    return losses


def _fit_trees(net: Surroundings, given: Sample, seed: int, trees: int, until: float, progress: Progress) -> None:
    """Grow the forest and the extra trees, a few trees at a time, where they count."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # noqa: PLC0415 - a second to import

    counts = np.bincount(given.wanted).astype(np.float64)
    weights = (counts[given.wanted] / len(given.wanted)) ** -TREE_CLASS_WEIGHT
    kinds = ((ExtraTreesClassifier, net.extra_trees), (RandomForestClassifier, net.forest))
    members = [(kind, where) for kind, where in kinds if where is not None]
    for place, (kind, where) in enumerate(members):
        started = time.monotonic()
        end = started + (until - started) / (len(members) - place)
        grown: Any = kind(0, min_samples_leaf=2, max_features="sqrt", n_jobs=-1, random_state=seed, warm_start=True)
        for number in range(10, trees + 1, 10):
            grown.n_estimators = number
            grown.fit(given.features, given.wanted, weights)
            progress.update((place + number / trees) / len(members), f"Growing trees, {number} of {trees}")
            if progress.cancelled():
                raise Cancelled("Training was stopped before there was anything to keep.")
            if time.monotonic() > end:
                break
        where.take([tree.tree_ for tree in grown.estimators_], grown.classes_.astype(np.int64))


def _accuracy(shares: Features, wanted: npt.NDArray[np.int64]) -> float:
    return float((shares.argmax(axis=1) == wanted).mean())


def score_of(shares: Features, wanted: npt.NDArray[np.int64]) -> float:
    """Return the mean of accuracy and macro-F1 over the classes that are there."""
    given, classes = shares.argmax(axis=1), shares.shape[1]
    table = np.bincount(wanted * classes + given, minlength=classes**2).reshape(classes, classes)
    right, there, named = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    f1 = 2 * right[there > 0] / (there + named)[there > 0]
    return float(right.sum() / table.sum() + f1.mean()) / 2
