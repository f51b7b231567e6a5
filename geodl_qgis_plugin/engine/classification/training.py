"""The training loop: AdamW, a cosine schedule, early stopping on the validation part, the best state kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import Cancelled, GeoDLError
from ..messages import PartOfProgress, Progress, SilentProgress
from ..ranks import ALONE, Ranks
from ..training_data.tile_set import TileSet
from .batch_size import automatic_batch_size
from .batches import Batch, Batches, training_tiles
from .checkpoints import Checkpoint, read_checkpoint, save_checkpoint
from .course import Check, Course, Standing, log_line, progress_text, score_of_check
from .devices import choose_compute, device_of
from .losses import choose_loss, class_weights
from .networks.intake import Intake
from .prediction import receptive_halo_px
from .rate_finder import best_rate, rate_curve
from .scoring import score_net
from .steps import Steps
from .surfaces import derived_surfaces
from .trained import ALL_DONE, STOPPED, Plan, Trained

WARM_UP = 0.05  # share of the batches
FEWEST_BATCHES_BETWEEN_CHECKS = 25
AUTOMATIC_BATCHES = 3000
KEEP_EVERY_S = 60.0  # what a power cut may cost


def train(
    net: nn.Module,
    tile_set: TileSet,
    plan: Plan,
    checkpoint: Path | None,
    progress: Progress,
    *,
    ranks: Ranks = ALONE,
    after_check: Callable[[Standing], None] | None = None,
) -> Trained:
    """
    Train a net on a tile set's training part.

    Parameters
    ----------
    net : module
        From `networks.Architecture.build`; its first layer is set from the training part here.
    checkpoint : path, optional
        Written after every check and every minute; where it exists already, training goes on from it, to the same net as
        without the break. One of a training that had ended gives its net at once.
    ranks : Ranks, optional
        The processes that train together; all of them call this, and get the same net.
    after_check : callable, optional
        Told how things stand; what it raises ends the training, which can go on later.

    Raises
    ------
    Cancelled
        If it was stopped before the first check, or nobody waits for the result; else the best state so far is returned.
    """
    lessons = _Lessons(net, tile_set, plan, checkpoint, progress, ranks)
    while not lessons.ended:
        lessons.learn()
        if not lessons.ended and lessons.look_is_due():
            lessons.look(after_check)
    return lessons.result()


class _Lessons:
    """
    A training under way: what `train` is told, the net and its optimiser, and how far it has come.

    Raises
    ------
    GeoDLError
        If the loss is no number any more, or training ends before its first look.
    """

    def __init__(
        self,
        net: nn.Module,
        tile_set: TileSet,
        plan: Plan,
        checkpoint: Path | None,
        progress: Progress,
        ranks: Ranks,
    ) -> None:
        self.net, self.tile_set, self.plan, self.ranks = net, tile_set, plan, ranks
        self.checkpoint, self.progress = checkpoint, progress
        saved = _saved(checkpoint, ranks)
        self.course = Course.from_facts(saved.facts) if saved else Course()
        self.best, self.ended = self.course.best, self.course.ended
        self.best_state: dict[str, Tensor] = saved.best if saved else {}
        self.per_pixel = net.tile_size_px is None
        self.compute = choose_compute(plan.precision, progress)
        torch.manual_seed(plan.seed)
        _prepare_intake(net.intake, tile_set, plan.seed, per_pixel=self.per_pixel)  # type: ignore[arg-type]
        self.halo_px = receptive_halo_px(net) if self.per_pixel else 0
        self.surfaces = None
        if not self.ended:
            self.surfaces = derived_surfaces(tile_set, net.intake, PartOfProgress(progress, 0.0, 0.03))  # type: ignore[arg-type]
        self.batches = self._batches()
        self.epochs = plan.epochs or min(max(math.ceil(AUTOMATIC_BATCHES / len(self.batches)), 10), 400)
        self.epochs_between_checks = max(math.ceil(FEWEST_BATCHES_BETWEEN_CHECKS / len(self.batches)), 1)
        self.patience = plan.patience or max(self.epochs // 4, 3 * self.epochs_between_checks)
        self.steps = self._steps(saved)
        if not self.ended:
            progress.message(self.compute.sentence())
            progress.message(
                f"{len(self.batches.tiles):,} training tiles, {len(self.batches):,} batches of {self.course.batch_size} an "
                f"epoch, at most {self.epochs:,} epochs."
            )
        self.out_of_time = False
        self._kept = time.monotonic()
        self._started = self._kept - self.course.seconds

    def learn(self) -> None:
        """Learn from what is left of an epoch, until it ends, the time is over, or it is stopped."""
        course, peak = self.course, self.course.learning_rate
        self.net.train()
        for batch in self.batches.epoch(course.epoch, course.place):
            weight, stopped, abandoned = self._heed(batch)
            done = self._done((course.epoch + course.place / len(self.batches)) / self.epochs)
            for group in self.steps.optimizer.param_groups:
                group["lr"] = peak * _schedule(done)
            if weight > 0:
                self._take(batch, weight)
            course.place, course.parts = course.place + 1, self.steps.parts
            self.progress.update(0.03 + 0.97 * done, progress_text(course, self.epochs, self.best, done))
            if stopped:
                self._stop(abandoned=abandoned)
                return
            if self.out_of_time:
                break
            if time.monotonic() - self._kept > KEEP_EVERY_S:
                self.keep()
        if course.place >= len(self.batches):
            course.epoch, course.place = course.epoch + 1, 0

    def look_is_due(self) -> bool:
        """Whether to look at the validation part after this epoch: not after each, where they are short."""
        return (
            self.course.epoch % self.epochs_between_checks == 0 or self.course.epoch >= self.epochs or self.out_of_time
        )

    def look(self, after_check: Callable[[Standing], None] | None) -> None:
        """Score the net on the validation part, keep its state if it is the best, and see whether this was the end."""
        course = self.course
        check = self._check()
        course.history.append(check)
        course.losses = []
        if self.best is None or score_of_check(check) > score_of_check(self.best):
            self.best = check
            self.best_state = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}
        if self.out_of_time:
            course.ended = f"the {self.plan.minutes:g} minutes were over"
        elif check.epoch - self.best.epoch >= self.patience:
            course.ended = f"the validation part had not got better for {self.patience} epochs"
        elif course.epoch >= self.epochs:
            course.ended = ALL_DONE
        self.ended = course.ended
        self.keep()
        done = self._done(check.epoch / self.epochs)
        left = 0.0 if self.ended else course.seconds * (1 - done) / done
        self.progress.message(log_line(check, self.epochs, self.best, left))
        if after_check is not None and self.ranks.is_first:
            after_check(Standing(course, self.epochs, done, left))

    def keep(self) -> None:
        """Write the checkpoint."""
        if self.checkpoint is not None and self.ranks.is_first:
            save_checkpoint(self.checkpoint, self.net, self.best_state, self.steps.optimizer, asdict(self.course))
        self._kept = time.monotonic()

    def result(self) -> Trained:
        """Return the net in its best state."""
        course = self.course
        if self.best is None:
            raise GeoDLError(
                "Training ended before its first look at the validation part. Give it more MINUTES or EPOCHS."
            )
        self.net.load_state_dict(self.best_state)
        self.progress.message(
            f"Training ended after {course.seconds / 60:.1f} minutes because {self.ended}; the best state is that after epoch "
            f"{self.best.epoch}."
        )
        return Trained(
            self.net.cpu().eval(),
            course.history,
            self.best,
            self.ended,
            self.halo_px,
            batch_size=course.batch_size,
            learning_rate=course.learning_rate,
            rate_curve=tuple(course.rate_curve),
        )

    def _batches(self) -> Batches:
        plan, course = self.plan, self.course
        course.batch_size = course.batch_size or plan.batch_size
        if not course.batch_size:
            usable = len(training_tiles(self.tile_set, per_pixel=self.per_pixel))
            size = automatic_batch_size(
                self.net, len(self.tile_set.bands), self.tile_set.tile_size_px, usable, self.compute
            )
            course.batch_size = int(self.ranks.from_first(np.array([size]))[0])
        return Batches(
            self.tile_set,
            course.batch_size,
            plan.seed,
            per_pixel=self.per_pixel,
            augment=plan.augment,
            surfaces=self.surfaces if self.per_pixel else None,
            ranks=self.ranks,
            alteration=plan.alteration,
            balance=plan.balance,
        )

    def _steps(self, saved: Checkpoint | None) -> Steps:
        """Return what takes steps, with the learning rate settled and the state of a checkpoint restored."""
        plan, course, net, compute = self.plan, self.course, self.net, self.compute
        weights = class_weights(self.tile_set, plan.class_weight, per_pixel=self.per_pixel)
        net.to(compute.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss = choose_loss(
            plan.loss,
            weights.to(compute.device),
            focal_gamma=plan.focal_gamma,
            label_smoothing=plan.label_smoothing,
        )
        if plan.find_rate and not course.learning_rate:
            began, trial = time.monotonic(), copy.deepcopy(net).train()
            some_steps = Steps(trial, _optimizer(trial, plan), loss, weights, compute, self.ranks)
            course.rate_curve = rate_curve(some_steps, self.batches, plan.seed, self.ranks, self.progress)
            course.learning_rate = best_rate(course.rate_curve, plan.learning_rate)
            course.seconds += time.monotonic() - began
            self.progress.message(f"The learning rate that was found is {course.learning_rate:.2g}.")
        course.learning_rate = course.learning_rate or plan.learning_rate
        optimizer = _optimizer(net, plan)
        if saved is not None:
            saved.restore(net, optimizer)
            self.progress.message(f"Going on after epoch {course.epoch}, batch {course.place}.")
        return Steps(net, optimizer, loss, weights, compute, self.ranks, course.parts)

    def _heed(self, batch: Batch) -> tuple[float, bool, bool]:
        """
        Return a batch's weight over all processes, whether to stop, and whether nobody waits any more.

        Time and wishes are those of the first process, which the others must follow.
        """
        said = (0.0, False, False)
        if self.ranks.is_first:
            said = (time.monotonic() - self._started, self.progress.cancelled(), self.progress.abandoned())
        told = self.ranks.sum(np.array([self.steps.weight(batch), *said], np.float64)).tolist()
        weight, self.course.seconds, stop, alone = told
        self.out_of_time = bool(self.plan.minutes) and self.course.seconds > 60 * self.plan.minutes
        return weight, stop > 0, alone > 0

    def _take(self, batch: Batch, weight: float) -> None:
        course = self.course
        # dropout too is the same after a break
        seed = hash((self.plan.seed, course.epoch, course.place)) & 0xFFFFFFFF
        course.losses += self.ranks.sum(np.array([self.steps.take(batch, weight, seed, self.progress)])).tolist()
        if not math.isfinite(course.losses[-1]):
            raise GeoDLError(
                f"Training lost its way in epoch {course.epoch + 1}: the loss is no number any more. Choose a smaller "
                f"LEARNING_RATE than {course.learning_rate:g}."
            )

    def _stop(self, *, abandoned: bool) -> None:
        """End before the end: the same command goes on, so the checkpoint does not say that training has ended."""
        if self.best is not None or abandoned or (self.checkpoint is not None and self.checkpoint.exists()):
            self.keep()
        if abandoned:
            raise Cancelled("Nobody waits for the result any more. The same command goes on from here.")
        if self.best is None:
            raise Cancelled(
                "Training was stopped before the first look at the validation part; there is nothing to keep."
            )
        self.ended = STOPPED

    def _check(self) -> Check:
        """Look at the validation part; what the first process finds is told to all."""
        course, found = self.course, [0.0] * 3
        if self.ranks.is_first:
            scored = score_net(
                self.net,
                self.tile_set,
                "validation",
                halo_px=self.halo_px,
                progress=SilentProgress(),
                surfaces=self.surfaces,
            )
            found = [scored.loss, scored.accuracy.accuracy or 0.0, scored.accuracy.macro_f1 or 0.0]
        course.seconds = time.monotonic() - self._started
        return Check(
            course.epoch + (course.place > 0),
            course.epoch * len(self.batches) + course.place,
            float(np.mean(course.losses)) if course.losses else math.nan,
            *self.ranks.from_first(np.array([*found, course.seconds])).tolist(),
        )

    def _done(self, of_epochs: float) -> float:
        """Return the share of training that is done: of the epochs, or of the minutes where these are the shorter."""
        return max(of_epochs, self.course.seconds / (60 * self.plan.minutes)) if self.plan.minutes else of_epochs


def _saved(path: Path | None, ranks: Ranks) -> Checkpoint | None:
    """Return the checkpoint that the first process finds, in all processes: they need not share a disk."""
    data = path.read_bytes() if path is not None and ranks.is_first and path.exists() else b""
    size = int(ranks.from_first(np.array([len(data)]))[0])
    if size == 0:
        return None
    own = np.frombuffer(data, np.uint8) if ranks.is_first else np.zeros(size, np.uint8)
    return read_checkpoint(path or Path("checkpoint"), ranks.from_first(own).tobytes())


def _prepare_intake(intake: Intake, tile_set: TileSet, seed: int, *, per_pixel: bool) -> None:
    intake.offset.copy_(torch.from_numpy(tile_set.scaling.offset))
    intake.scale.copy_(torch.from_numpy(tile_set.scaling.scale))
    if intake.surfaces:
        tiles = tile_set.indices("training")
        chosen = np.random.default_rng([seed, 7]).permutation(tiles)[:32]
        intake.measure(torch.from_numpy(tile_set.read(np.sort(chosen))[0]))


def _optimizer(net: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    fused = device_of(net).type != "mps"  # which older versions cannot
    return torch.optim.AdamW(_weight_groups(net, plan.weight_decay), lr=plan.learning_rate, fused=fused)


def _weight_groups(net: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Decay the weights of convolutions only: not biases, not batch norms."""
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _schedule(done: float) -> float:
    """Return the share of the learning rate: a short rise, then half a cosine down to 0."""
    done = min(max(done, 0.0), 1.0)
    if done < WARM_UP:
        return max(done / WARM_UP, 0.02)
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))
