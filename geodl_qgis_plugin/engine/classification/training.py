"""The training loop: AdamW, a cosine schedule, early stopping on the validation part, the best state kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import Cancelled, GeoDLError
from ..messages import PartOfProgress, Progress, SilentProgress
from ..ranks import ALONE, Ranks
from ..training_data.tile_set import TileSet
from .alterations import AS_IT_IS, Alteration
from .batch_size import automatic_batch_size
from .batches import Batches, training_tiles
from .checkpoints import Checkpoint, read_checkpoint, save_checkpoint
from .course import Check, Course, Standing, log_line, progress_text, score_of_check
from .devices import choose_compute, device_of
from .losses import choose_loss
from .networks import Architecture
from .networks.intake import Intake
from .prediction import receptive_halo_px
from .rate_finder import best_rate, rate_curve
from .scoring import score_net
from .steps import Steps
from .surfaces import derived_surfaces

WARM_UP = 0.05  # share of the batches
FEWEST_BATCHES_BETWEEN_CHECKS = 25
AUTOMATIC_BATCHES = 3000
KEEP_EVERY_S = 60.0  # what a power cut may cost
ALL_DONE, STOPPED = "all epochs were done", "it was stopped"

__all__ = [
    "ALL_DONE",
    "STOPPED",
    "Check",
    "Course",
    "Plan",
    "Standing",
    "Trained",
    "Trial",
    "class_weights",
    "score_of_check",
    "train",
]


@dataclass(frozen=True)
class Plan:
    """
    How a net is trained.

    ``epochs`` 0 chooses as many as about 3,000 batches need, 10 to 400; ``minutes`` 0 sets no limit; ``patience`` is in epochs,
    0 for a quarter of all, three checks at least. ``class_weight`` is the power of the inverse class share: 0 weighs all
    pixels alike, 1 all classes. ``batch_size`` 0 chooses one; ``find_rate`` looks for a learning rate first. ``precision`` is
    one of `devices.PRECISIONS`, ``loss`` of `losses.LOSSES`; ``balance`` is that of `tile_shares`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int
    minutes: float = 0.0
    weight_decay: float = 0.01
    class_weight: float = 0.0
    augment: bool = True
    precision: str = "automatic"
    loss: str = "cross-entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    alteration: Alteration = AS_IT_IS
    balance: float = 0.0
    find_rate: bool = False


@dataclass(frozen=True)
class Trial:
    """What one of several candidates, or the mean of some, did on the validation part, and whether it was kept."""

    name: str
    accuracy: float
    macro_f1: float
    brier: float
    kept: bool


@dataclass(frozen=True)
class Trained:
    """
    A trained net: its best state, how it went, why it ended, how far it sees beyond a pixel, and what to call it.

    ``architecture`` is given where training chose it, or numbers of it, with ``tried``, what it was chosen from;
    ``before_validation`` is the net as it was before it learnt from the validation part too, where it did; ``members`` are
    those of an ensemble of seeds.
    """

    net: nn.Module
    history: list[Check]
    best: Check
    ended: str
    halo_px: int
    name: str = "net"
    architecture: Architecture | None = None
    before_validation: nn.Module | None = None
    members: tuple[Trained, ...] = ()
    tried: tuple[Trial, ...] = ()
    batch_size: int = 0
    learning_rate: float = 0.0
    rate_curve: tuple[tuple[float, float], ...] = ()

    @property
    def judged(self) -> nn.Module:
        """Return the net that can be judged by the validation part: it has not learnt from it."""
        return self.net if self.before_validation is None else self.before_validation

    @property
    def name_of_architecture(self) -> str:
        """Return the name in the registry, where it is known."""
        return self.name if self.architecture is None else self.architecture.name


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
    per_pixel = net.tile_size_px is None
    saved = _saved(checkpoint, ranks)
    course = Course.from_facts(saved.facts) if saved else Course()
    compute = choose_compute(plan.precision, progress)
    torch.manual_seed(plan.seed)
    _prepare_intake(net.intake, tile_set, plan.seed, per_pixel=per_pixel)  # type: ignore[arg-type]
    halo_px = receptive_halo_px(net) if per_pixel else 0
    surfaces = None
    if not course.ended:
        surfaces = derived_surfaces(tile_set, net.intake, PartOfProgress(progress, 0.0, 0.03))  # type: ignore[arg-type]
    course.batch_size = course.batch_size or plan.batch_size
    if not course.batch_size:
        usable = len(training_tiles(tile_set, per_pixel=per_pixel))
        size = automatic_batch_size(net, len(tile_set.bands), tile_set.tile_size_px, usable, compute)
        course.batch_size = int(ranks.from_first(np.array([size]))[0])
    batches = Batches(
        tile_set,
        course.batch_size,
        plan.seed,
        per_pixel=per_pixel,
        augment=plan.augment,
        surfaces=surfaces if per_pixel else None,
        ranks=ranks,
        alteration=plan.alteration,
        balance=plan.balance,
    )
    epochs = plan.epochs or min(max(math.ceil(AUTOMATIC_BATCHES / len(batches)), 10), 400)
    epochs_between_checks = max(math.ceil(FEWEST_BATCHES_BETWEEN_CHECKS / len(batches)), 1)
    patience = plan.patience or max(epochs // 4, 3 * epochs_between_checks)
    weights = class_weights(tile_set, plan.class_weight, per_pixel=per_pixel)

    net.to(compute.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = choose_loss(
        plan.loss,
        weights.to(compute.device),
        focal_gamma=plan.focal_gamma,
        label_smoothing=plan.label_smoothing,
    )
    if plan.find_rate and not course.learning_rate:
        began, trial = time.monotonic(), copy.deepcopy(net).train()
        some_steps = Steps(trial, _optimizer(trial, plan), loss, weights, compute, ranks)
        course.rate_curve = rate_curve(some_steps, batches, plan.seed, ranks, progress)
        course.learning_rate = best_rate(course.rate_curve, plan.learning_rate)
        course.seconds += time.monotonic() - began
        progress.message(f"The learning rate that was found is {course.learning_rate:.2g}.")
    peak = course.learning_rate = course.learning_rate or plan.learning_rate
    optimizer = _optimizer(net, plan)
    best_state: dict[str, Tensor] = {}
    if saved is not None:
        saved.restore(net, optimizer)
        best_state = saved.best
        progress.message(f"Going on after epoch {course.epoch}, batch {course.place}.")
    steps = Steps(net, optimizer, loss, weights, compute, ranks, course.parts)
    if not course.ended:
        progress.message(compute.sentence())
        progress.message(
            f"{len(batches.tiles):,} training tiles, {len(batches):,} batches of {course.batch_size} an epoch, at most "
            f"{epochs:,} epochs."
        )

    def keep() -> None:
        if checkpoint is not None and ranks.is_first:
            save_checkpoint(checkpoint, net, best_state, optimizer, asdict(course))

    started = kept = time.monotonic()
    started -= course.seconds
    best, ended = course.best, course.ended
    while not ended:
        net.train()
        stopped = abandoned = out_of_time = False
        for batch in batches.epoch(course.epoch, course.place):
            # Time and wishes are those of the first process, which the others must follow.
            said = (
                (time.monotonic() - started, progress.cancelled(), progress.abandoned())
                if ranks.is_first
                else (0, 0, 0)
            )
            weight, course.seconds, stop, alone = ranks.sum(np.array([steps.weight(batch), *said], np.float64)).tolist()
            stopped, abandoned = stop > 0, alone > 0
            out_of_time = bool(plan.minutes) and course.seconds > 60 * plan.minutes
            done = (course.epoch + course.place / len(batches)) / epochs
            if plan.minutes:
                done = max(done, course.seconds / (60 * plan.minutes))
            for group in optimizer.param_groups:
                group["lr"] = peak * _schedule(done)
            if weight > 0:
                # dropout too is the same after a break
                seed = hash((plan.seed, course.epoch, course.place)) & 0xFFFFFFFF
                course.losses += ranks.sum(np.array([steps.take(batch, weight, seed, progress)])).tolist()
                if not math.isfinite(course.losses[-1]):
                    raise GeoDLError(
                        f"Training lost its way in epoch {course.epoch + 1}: the loss is no number any more. Choose a smaller "
                        f"LEARNING_RATE than {peak:g}."
                    )
            course.place, course.parts = course.place + 1, steps.parts
            progress.update(0.03 + 0.97 * done, progress_text(course, epochs, best, done))
            if stopped or out_of_time:
                break
            if time.monotonic() - kept > KEEP_EVERY_S:
                keep()
                kept = time.monotonic()
        if stopped:
            if best is not None or abandoned or (checkpoint is not None and checkpoint.exists()):
                keep()
            if abandoned:
                raise Cancelled("Nobody waits for the result any more. The same command goes on from here.")
            if best is None:
                raise Cancelled(
                    "Training was stopped before the first look at the validation part; there is nothing to keep."
                )
            ended = STOPPED  # not in the checkpoint: the same command goes on
            break
        if course.place >= len(batches):
            course.epoch, course.place = course.epoch + 1, 0
        if course.epoch % epochs_between_checks and course.epoch < epochs and not out_of_time:
            continue
        found = [0.0] * 3
        if ranks.is_first:
            scored = score_net(
                net, tile_set, "validation", halo_px=halo_px, progress=SilentProgress(), surfaces=surfaces
            )
            accuracy = scored.accuracy
            found = [scored.loss, accuracy.accuracy or 0.0, accuracy.macro_f1 or 0.0]
        course.seconds = time.monotonic() - started
        check = Check(
            course.epoch + (course.place > 0),
            course.epoch * len(batches) + course.place,
            float(np.mean(course.losses)) if course.losses else math.nan,
            *ranks.from_first(np.array([*found, course.seconds])).tolist(),
        )
        course.history.append(check)
        course.losses = []
        if best is None or score_of_check(check) > score_of_check(best):
            best = check
            best_state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
        if out_of_time:
            course.ended = f"the {plan.minutes:g} minutes were over"
        elif check.epoch - best.epoch >= patience:
            course.ended = f"the validation part had not got better for {patience} epochs"
        elif course.epoch >= epochs:
            course.ended = ALL_DONE
        ended = course.ended
        keep()
        kept = time.monotonic()
        done = check.epoch / epochs
        if plan.minutes:
            done = max(done, course.seconds / (60 * plan.minutes))
        left = 0.0 if ended else course.seconds * (1 - done) / done
        progress.message(log_line(check, epochs, best, left))
        if after_check is not None and ranks.is_first:
            after_check(Standing(course, epochs, done, left))
    if best is None:
        raise GeoDLError("Training ended before its first look at the validation part. Give it more MINUTES or EPOCHS.")
    net.load_state_dict(best_state)
    progress.message(
        f"Training ended after {course.seconds / 60:.1f} minutes because {ended}; the best state is that after epoch "
        f"{best.epoch}."
    )
    return Trained(
        net.cpu().eval(),
        course.history,
        best,
        ended,
        halo_px,
        batch_size=course.batch_size,
        learning_rate=peak,
        rate_curve=tuple(course.rate_curve),
    )


def class_weights(tile_set: TileSet, power: float, *, per_pixel: bool) -> Tensor:
    """
    Return a weight for each class (class,), from its share of the training part; 1 on average over what is learnt from.

    At most 10 times the smallest; a class without training pixels gets 0, which is never used.
    """
    if per_pixel:
        counts = tile_set.class_counts("training")
        share = np.array([counts.get(one.code, 0) for one in tile_set.classes], np.float64)
    else:
        codes = tile_set.tiles["code"][tile_set.indices("training")]
        share = np.array([(codes == one.code).sum() for one in tile_set.classes], np.float64)
    weights = np.zeros(share.size)
    there = share > 0
    weights[there] = (share[there] / share.sum()) ** -power
    weights[there] = np.minimum(weights[there], 10 * weights[there].min())
    weights /= (weights * share).sum() / share.sum()
    return torch.from_numpy(weights).float()


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
