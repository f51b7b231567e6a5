"""
Training of `networks.surroundings`: members on the training part, choices by the validation part, then all once more on both.

How wide the windows are and how much each member counts is chosen on the validation part alone. Then nothing is left to choose
by it, and its labels are learnt from as well, and so are those of the belt between the two: near them the map is the better
for it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from ..training_data.splits import BELT, VALIDATION
from ..training_data.tile_set import TileSet
from .batches import positions_of_codes
from .course import Check, News, Stage
from .forest import places
from .metrics import score_of_shares
from .networks import Architecture
from .networks.statistics import features_of_bands
from .networks.surroundings import MEMBERS, Surroundings
from .pieces import Clock, Pieces
from .scoring import Scored
from .surroundings_nets import BATCH, STOPPED_EARLY, fit_nets
from .trained import LEARNT_IN_THE_END, Trained, Trial
from .tree_growth import Arrays, grow_trees

NET_PIXELS, TREE_PIXELS, VALIDATION_PIXELS = 300_000, 250_000, 50_000
_MOST_BYTES = 600 * 2**20  # of features: of many bands fewer pixels are taken
_MOST_NODES = 20_000_000  # of a forest: what it takes in memory, where maps are made
TREES, TRIAL_TREES = 150, 60
MOST_PASSES = 30  # of a net over the training pixels
STEPS, TRIAL_STEPS = 700, 400
TREE_CLASS_WEIGHT = 0.0  # rare classes are left to the nets: docs/benchmarks.md
CHOICES_PX = ((5, 11, 31, 61, 121), (5, 11, 31, 61, 121, 201), (5, 11, 31, 61, 121, 201, 301))
WIDEST_PX = CHOICES_PX[-1]
_AS_TEST = (BELT, VALIDATION)
_WEIGHT_STEPS, _TREES_AN_EPOCH = 4, 10
_TRIAL_SHARE, _NETS_SHARE = 0.35, 0.6
_CALLED = {"trial": "trial", "whole": "on training and validation"}
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

    kept : Pieces, optional
        Where nets, trees and stages are kept when they stand; those that are there already are not made again, and the time
        that they took counts.
    tell : callable, optional
        Told how far nets and trees have come, and what they score on the validation part.

    Both stages raise `Cancelled` when they are stopped.
    """

    def __init__(
        self,
        architecture: Architecture,
        tile_set: TileSet,
        seed: int,
        *,
        minutes: float = 0.0,
        epochs: int = 0,
        kept: Pieces | None = None,
        tell: Callable[[News], None] | None = None,
    ) -> None:
        self.architecture, self.tile_set, self.seed = architecture, tile_set, seed
        self.limit_s = 60 * minutes if minutes else math.inf
        self.epochs, self.kept = epochs, kept or Pieces()
        self.tried: list[Trial] = []
        self._tell = tell or (lambda _: None)
        self._random = np.random.default_rng([seed, 13])

    def try_members(self, progress: Progress) -> Trained:
        """
        Train fewer members on the training part alone, and choose widths and weights by the validation part.

        That part, and the belt round it, is hidden meanwhile as the test part is: else the choice would not know what it costs
        that wide windows reached into ground that could not be seen.
        """
        self.check, self.trial = self._found("trial") or self._tried(progress)
        return self._trained(self.trial, self.check, self._with(nets=1))

    def finish(self, progress: Progress) -> Trained:
        """Train all members that count on all but the test part and its buffer; the check is that of the trial."""
        check, net = self._found("whole") or self._finished(progress)
        return self._trained(net, check, self.architecture, self.trial)

    def _trained(
        self, net: Surroundings, check: Check, architecture: Architecture, before: Surroundings | None = None
    ) -> Trained:
        return Trained(net, [check], check, ALL_STAND, net.halo_px, NAME, architecture, before, tried=tuple(self.tried))

    def _tried(self, progress: Progress) -> tuple[Check, Surroundings]:
        clock = self.kept.clock("trial")
        until = _TRIAL_SHARE * self.limit_s
        progress.update(0.0, "Looking at the surroundings of pixels")
        seen = self._of_widths(WIDEST_PX, nets=1)
        training = sample(seen, self.tile_set, "training", pixels_of(seen), self._random, progress, _AS_TEST)
        validation = sample(seen, self.tile_set, "validation", VALIDATION_PIXELS, self._random, progress)
        net, loss, columns = self._of_best_widths(seen, training, validation, clock, until, progress)
        training, validation = training.of(columns), validation.of(columns)
        trees = training.thinned(TREE_PIXELS, self._random)
        self._grow(net, trees, self._trees(TRIAL_TREES), "trial", clock, until, progress)
        shares, wanted = net.shares(validation.features), validation.wanted
        for kind, grown, some in zip(MEMBERS[1:], (net.forest, net.extra_trees), shares[1:]):
            if grown is not None:
                stand, score = len(grown.roots), score_of_shares(some, wanted)
                self._tell(Stage(f"trial: {kind}", stand, self._trees(TRIAL_TREES), "trees", score))
                self.tried.append(Trial.of(f"{stand} trees: {kind}", some, wanted, kept=False))
        net.weigh(choose_weights(shares, wanted))
        together = weighted(shares, net.weights)
        told = " + ".join(f"{weight:.3g} {name}" for weight, name in zip(net.weights, MEMBERS) if weight)
        self.tried.append(Trial.of(f"{NAME}: {told}", together, wanted, kept=True))
        scored = Scored(self.tile_set)
        codes = np.array([one.code for one in self.tile_set.classes], np.uint16)
        scored.add(together.T, codes[wanted])
        progress.message(
            "On validation pixels "
            + ", ".join(f"{name} {_accuracy(some, wanted):.3f}" for name, some in zip(MEMBERS, shares))
            + f"; weighted {', '.join(f'{weight:g}' for weight in net.weights)}: {_accuracy(together, wanted):.3f}."
        )
        self._tell(Stage("trial: all members, weighted", 1, 1, "mean", score_of_shares(together, wanted)))
        accuracy, spent = scored.accuracy, clock.seconds()
        check = Check(1, 0, loss, scored.loss, accuracy.accuracy or 0.0, accuracy.macro_f1 or 0.0, spent)
        self.architecture = self._with(widths=net.widths, weights=net.weights)
        self._keep("trial", self._with(nets=1), check, net)
        return check, net.eval()

    def _finished(self, progress: Progress) -> tuple[Check, Surroundings]:
        clock, until = self.kept.clock("whole"), self.limit_s - self.check.seconds
        net: Surroundings = self.architecture.build()  # type: ignore[assignment]
        counts = {part: sum(self.tile_set.class_counts(part).values()) for part in LEARNT_IN_THE_END}
        all_of_it = functools.reduce(
            Sample.__add__,
            (
                sample(net, self.tile_set, part, pixels_of(net) * count // sum(counts.values()), self._random, progress)
                for part, count in counts.items()
                if count
            ),
        )
        net.measure(all_of_it.features)
        if net.weights[0] > 0:
            fit_nets(
                net,
                all_of_it.features,
                all_of_it.wanted,
                self.seed,
                self._steps(all_of_it, STEPS),
                PartOfProgress(progress, 0.0, 0.6),
                clock=clock,
                end=_NETS_SHARE * until,
                kept=self.kept,
                name="whole net",
                tell=lambda made, wanted: self._tell(Stage("nets on training and validation", made, wanted, "nets")),
            )
        trees = all_of_it.thinned(TREE_PIXELS, self._random)
        self._grow(net, trees, self._trees(TREES), "whole", clock, until, progress)
        check = dataclasses.replace(self.check, seconds=self.check.seconds + clock.seconds())
        self._keep("whole", self.architecture, check, net)
        return check, net.eval()

    def _keep(self, stage: str, architecture: Architecture, check: Check, net: Surroundings) -> None:
        random = self._random.bit_generator.state
        facts = {"architecture": architecture.as_dict(), "check": dataclasses.asdict(check), "random": random}
        self.kept.put(stage, net.state_dict(), {**facts, "tried": [dataclasses.asdict(one) for one in self.tried]})

    def _found(self, stage: str) -> tuple[Check, Surroundings] | None:
        """Return what a stage came to before a break, and go on as if it had been made now."""
        piece = self.kept.get(stage)
        if piece is None:
            return None
        architecture = Architecture.from_dict(piece.facts["architecture"])
        net: Surroundings = architecture.build()  # type: ignore[assignment]
        piece.load_into(net)
        if stage == "trial":
            self.architecture = self._with(widths=net.widths, weights=net.weights)
        self._random.bit_generator.state = piece.facts["random"]
        self.tried = [Trial(**one) for one in piece.facts["tried"]]
        return Check(**piece.facts["check"]), net.eval()

    def _of_best_widths(
        self,
        seen: Surroundings,
        training: Sample,
        validation: Sample,
        clock: Clock,
        until: float,
        progress: Progress,
    ) -> tuple[Surroundings, float, npt.NDArray[np.int64]]:
        """Train a net for each choice of widths; return the best, its loss, and the features that it sees."""
        started, best = clock.seconds(), None
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
            loss = fit_nets(
                net,
                some.features,
                some.wanted,
                self.seed,
                self._steps(some, TRIAL_STEPS),
                part,
                clock=clock,
                end=ends,
                kept=self.kept,
                name=f"trial net {number}",
                tell=lambda *_: None,
            )
            share = net.shares(validation.features[:, columns], only=0)[0]
            found = score_of_shares(share, validation.wanted)
            self.tried.append(Trial.of(f"net, windows to {widths[-1]} pixels", share, validation.wanted, kept=False))
            self._tell(Stage(f"trial: net, windows to {widths[-1]} pixels", 1, 1, "net", found))
            told.append(f"{widths[-1]} px {found:.3f}")
            if best is None or found > best[0] + _WORTH:
                best = found, net, loss, columns
        progress.message(f"Mean of accuracy and macro-F1 on validation pixels, with windows to {', '.join(told)}.")
        return best[1:]  # type: ignore[index]

    def _grow(
        self, net: Surroundings, given: Sample, trees: int, stage: str, clock: Clock, until: float, progress: Progress
    ) -> None:
        """Grow the forest and the extra trees, a few trees at a time, where they count."""
        kinds = (("extra trees", net.extra_trees), ("forest", net.forest))
        members = [(kind, where) for kind, where in kinds if where is not None]
        for place, (kind, where) in enumerate(members):
            start = clock.seconds()
            end = start + (until - start) / (len(members) - place)
            nodes: list[int] = []

            def go_on(
                number: int,
                last: Arrays,
                place: int = place,
                kind: str = kind,
                end: float = end,
                nodes: list[int] = nodes,
            ) -> bool:
                nodes.append(len(last["feature"]))
                done = (place + number / trees) / len(members)
                progress.update(0.6 + 0.4 * done, f"Growing trees, {number} of {trees}")
                self._tell(Stage(f"{_CALLED[stage]}: {kind}", number, trees, "trees"))
                if progress.cancelled():
                    raise Cancelled(STOPPED_EARLY)
                return clock.seconds() <= end and sum(nodes) < _MOST_NODES

            grow_trees(
                where,
                kind,
                given.features,
                given.wanted,
                class_weight=TREE_CLASS_WEIGHT,
                seed=self.seed,
                trees=trees,
                at_once=10,
                kept=self.kept,
                name=f"{stage} {kind}",
                go_on=go_on,
            )

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


def pixels_of(net: Surroundings) -> int:
    """Return how many pixels are drawn, so that their features have room in memory."""
    return min(NET_PIXELS, _MOST_BYTES // (4 * len(net.centre)))


def columns_of(net: Surroundings, widths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the places, among a net's features, of those that one with only some of its widths has."""
    places = []
    for band, own in enumerate(features_of_bands(net.bands, net.surfaces, net.widths, net.scales)):
        numbers = np.arange(own.start, own.stop)
        if band not in net.surfaces:
            keep = [0, *(1 + 2 * net.widths.index(width) + part for width in widths for part in (0, 1))]
            numbers = numbers[keep]
        places.append(numbers)
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
    best, best_score = equal, score_of_shares(weighted(shares, equal), wanted) + _WORTH_WEIGHTS
    for steps in itertools.product(range(_WEIGHT_STEPS + 1), repeat=len(shares)):
        if sum(steps) != _WEIGHT_STEPS:
            continue
        weights = [step / _WEIGHT_STEPS for step in steps]
        found = score_of_shares(weighted(shares, weights), wanted)
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
            raise Cancelled(STOPPED_EARLY)
        known = labels > 0
        if share < 1.0:
            known &= random.random(labels.shape) < share
        if known.any():
            parts.append((net.features(values)[:, core[0], core[1]][:, known].T, position[labels[known]]))
    return Sample(np.concatenate([some for some, _ in parts]), np.concatenate([codes for _, codes in parts]))


def _accuracy(shares: Features, wanted: npt.NDArray[np.int64]) -> float:
    return float((shares.argmax(axis=1) == wanted).mean())
