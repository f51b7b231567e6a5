"""The training loop: AdamW, a cosine schedule, early stopping on the validation part, the best state kept."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import Cancelled, GeoDLError
from ..messages import PartOfProgress, Progress, SilentProgress
from ..training_data.tile_set import TileSet
from .batches import IGNORED, Batches
from .checkpoints import load_checkpoint, save_checkpoint
from .networks.intake import Intake
from .prediction import receptive_halo_px
from .scoring import score_net
from .surfaces import derived_surfaces

WARM_UP = 0.05  # share of the batches
FEWEST_BATCHES_BETWEEN_CHECKS = 25
AUTOMATIC_BATCHES = 3000


@dataclass(frozen=True)
class Plan:
    """
    How a net is trained.

    ``epochs`` 0 chooses as many as about 3,000 batches need, 10 to 400; ``minutes`` 0 sets no limit; ``patience`` is in epochs,
    0 for a quarter of all, three checks at least. ``class_weight`` is the power of the inverse class share: 0 weighs all
    pixels alike, 1 all classes.
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


@dataclass
class Check:
    """What a look at the validation part found."""

    epoch: int
    batches: int
    training_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_macro_f1: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A trained net: its best state, how it went, why it ended, and how far it sees beyond a pixel."""

    net: nn.Module
    history: list[Check]
    best: Check
    ended: str
    halo_px: int


def train(net: nn.Module, tile_set: TileSet, plan: Plan, checkpoint: Path | None, progress: Progress) -> Trained:
    """
    Train a net on a tile set's training part.

    Parameters
    ----------
    net : module
        From `networks.Architecture.build`; its first layer is set from the training part here.
    checkpoint : path, optional
        Written after every check; where it exists already, training goes on from it, to the same net as without the break.

    Raises
    ------
    Cancelled
        If it was stopped before the first check; later the best state so far is returned.
    """
    per_pixel = net.tile_size_px is None
    torch.manual_seed(plan.seed)
    _prepare_intake(net.intake, tile_set, plan.seed, per_pixel=per_pixel)  # type: ignore[arg-type]
    surfaces = derived_surfaces(tile_set, net.intake, PartOfProgress(progress, 0.0, 0.03))  # type: ignore[arg-type]
    batches = Batches(
        tile_set,
        plan.batch_size,
        plan.seed,
        per_pixel=per_pixel,
        augment=plan.augment,
        surfaces=surfaces if per_pixel else None,
    )
    halo_px = receptive_halo_px(net) if per_pixel else 0
    epochs = plan.epochs or min(max(math.ceil(AUTOMATIC_BATCHES / len(batches)), 10), 400)
    epochs_between_checks = max(math.ceil(FEWEST_BATCHES_BETWEEN_CHECKS / len(batches)), 1)
    patience = plan.patience or max(epochs // 4, 3 * epochs_between_checks)
    weights = class_weights(tile_set, plan.class_weight, per_pixel=per_pixel)
    progress.message(
        f"Training on {len(batches.tiles):,} tiles, {len(batches):,} batches an epoch, at most {epochs:,} epochs; "
        f"{torch.get_num_threads()} threads on the processor."
    )

    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_weight_groups(net, plan.weight_decay), lr=plan.learning_rate)
    history: list[Check] = []
    best_state: dict[str, Tensor] = {}
    spent_before, first_epoch = 0.0, 0
    if checkpoint is not None and checkpoint.exists():
        best_state, facts = load_checkpoint(checkpoint, net, optimizer)
        history = [Check(**entry) for entry in facts["history"]]
        first_epoch, spent_before = history[-1].epoch, history[-1].seconds
        progress.message(f"Going on after epoch {first_epoch}.")
    best = max(history, key=_score) if history else None
    ended, started, losses = "all epochs were done", time.monotonic(), []
    no_better = f"the validation part had not got better for {patience} epochs"
    if best is not None and first_epoch - best.epoch >= patience:  # it had ended, and what came after was broken off
        first_epoch, ended = epochs, no_better

    for epoch in range(first_epoch, epochs):
        net.train()
        torch.manual_seed(hash((plan.seed, epoch)) & 0xFFFFFFFF)  # dropout too is the same after a break
        for place, batch in enumerate(batches.epoch(epoch)):
            seconds = spent_before + time.monotonic() - started
            done = (epoch + place / len(batches)) / epochs
            if plan.minutes:
                done = max(done, seconds / (60 * plan.minutes))
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * _schedule(done)
            loss = _loss(net, batch.values, batch.targets, batch.derived, weights)
            if loss is None:
                continue
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise GeoDLError(
                    f"Training lost its way in epoch {epoch + 1}: the loss is no number any more. Choose a smaller "
                    f"LEARNING_RATE than {plan.learning_rate:g}."
                )
            progress.update(0.03 + 0.97 * done, _told(epoch, epochs, losses, best, seconds, done))
            if progress.cancelled() or (plan.minutes and seconds > 60 * plan.minutes):
                break
        stopped = progress.cancelled()
        out_of_time = bool(plan.minutes) and spent_before + time.monotonic() - started > 60 * plan.minutes
        if stopped and best is not None:
            ended = "it was stopped"
            break
        if stopped:
            raise Cancelled(
                "Training was stopped before the first look at the validation part; there is nothing to keep."
            )
        if (epoch + 1) % epochs_between_checks and epoch + 1 < epochs and not out_of_time:
            continue
        scored = score_net(net, tile_set, "validation", halo_px=halo_px, progress=SilentProgress(), surfaces=surfaces)
        accuracy = scored.accuracy
        check = Check(
            epoch + 1,
            (epoch + 1) * len(batches),
            float(np.mean(losses)),
            scored.loss,
            accuracy.accuracy or 0.0,
            accuracy.macro_f1 or 0.0,
            spent_before + time.monotonic() - started,
        )
        history.append(check)
        losses = losses[-1:]
        if best is None or _score(check) > _score(best):
            best = check
            best_state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
        if checkpoint is not None:
            save_checkpoint(checkpoint, net, best_state, optimizer, {"history": [asdict(entry) for entry in history]})
        if out_of_time:
            ended = f"the {plan.minutes:g} minutes were over"
            break
        if epoch + 1 - best.epoch >= patience:
            ended = no_better
            break
    if best is None:
        raise GeoDLError("Training ended before its first look at the validation part. Give it more MINUTES or EPOCHS.")
    net.load_state_dict(best_state)
    progress.message(f"Training ended because {ended}; the best state is that after epoch {best.epoch}.")
    return Trained(net.eval(), history, best, ended, halo_px)


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


def _loss(
    net: nn.Module,
    values: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    derived: npt.NDArray[np.float32] | None,
    weights: Tensor,
) -> Tensor | None:
    wanted = torch.from_numpy(targets)
    if not (wanted != IGNORED).any():
        return None
    given, beside = torch.from_numpy(values), None if derived is None else torch.from_numpy(derived)
    if wanted.ndim > 1 and (beyond := -values.shape[-1] % int(net.stride)):  # type: ignore[arg-type]
        margin = (0, beyond, 0, beyond)  # tiles of any size: nodata, which is not learnt from, up to whole strides
        given, wanted = F.pad(given, margin, value=torch.nan), F.pad(wanted, margin, value=IGNORED)
        beside = None if beside is None else F.pad(beside, margin)
    logits = net(given, beside)
    if wanted.ndim == 1:
        logits = logits[:, :, 0, 0]
    return F.cross_entropy(logits, wanted, weights, ignore_index=IGNORED)


def _prepare_intake(intake: Intake, tile_set: TileSet, seed: int, *, per_pixel: bool) -> None:
    intake.offset.copy_(torch.from_numpy(tile_set.scaling.offset))
    intake.scale.copy_(torch.from_numpy(tile_set.scaling.scale))
    if intake.surfaces:
        tiles = tile_set.indices("training")
        chosen = np.random.default_rng([seed, 7]).permutation(tiles)[:32]
        intake.measure(torch.from_numpy(tile_set.read(np.sort(chosen))[0]))


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


def _score(check: Check) -> float:
    return (check.validation_accuracy + check.validation_macro_f1) / 2


def _told(epoch: int, epochs: int, losses: list[float], best: Check | None, seconds: float, done: float) -> str:
    text = f"Epoch {epoch + 1} of {epochs}, loss {np.mean(losses[-20:]):.3f}"
    if best is not None:
        text += f", best validation accuracy {best.validation_accuracy:.3f}"
    left = seconds * (1 - done) / done if done > 0.01 else 0.0
    return text + (f", about {math.ceil(left / 60)} min left" if left > 60 else "")
