"""The nets of `networks.surroundings`: how they are trained on features, one after the other, each kept when it stands."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import Cancelled
from ..messages import PartOfProgress, Progress
from .networks.surroundings import Surroundings
from .pieces import Clock, Pieces

BATCH, RATE, DECAY, NOISE, SMOOTHING = 2048, 0.002, 0.05, 0.3, 0.1
NET_CLASS_WEIGHT = 0.25
STOPPED_EARLY = "Training was stopped before there was a model to keep. The same command goes on with what stands."
_LEAST_S = 2.0  # for a net, where a break has cost its share of the time


def fit_nets(
    net: Surroundings,
    features: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
    seed: int,
    steps: int,
    progress: Progress,
    *,
    clock: Clock,
    end: float,
    kept: Pieces,
    name: str,
    tell: Callable[[int, int], None],
) -> float:
    """
    Train the nets on features (pixel, feature) and positions of classes (pixel,); return the last losses' mean.

    Parameters
    ----------
    clock, end : Clock, float
        When its seconds are ``end``, the last step of the last net is taken; infinite for no limit.
    kept, name : Pieces, str
        Where nets are kept when they stand, and what they are called there.
    tell : callable
        Told how many nets of how many stand.

    Raises
    ------
    Cancelled
        If it was stopped; the same call goes on with the net that it was at.
    """
    scaled, wanted = net.scaled(features), torch.from_numpy(positions)
    counts = torch.bincount(wanted).double()
    chances = (counts.clamp_min(1) ** -NET_CLASS_WEIGHT)[wanted]
    ladder = torch.cumsum(chances, 0)
    chosen = list(net.nets)
    loss = math.nan
    for number, one in enumerate(chosen):
        piece = f"{name} {number}"
        if (found := kept.get(piece)) is not None:
            found.load_into(one)
            loss = float(found.facts["loss"])
        else:
            start = clock.seconds()
            own_end = start + max((end - start) / (len(chosen) - number), _LEAST_S)
            part = PartOfProgress(progress, number / len(chosen), (number + 1) / len(chosen))
            losses = _fit_net(one, scaled, wanted, ladder, [seed, number], steps, clock, own_end, part)
            loss = float(np.mean(losses[-50:])) if losses else math.nan
            kept.put(piece, one.state_dict(), {"loss": loss})
        one.eval()
        tell(number + 1, len(chosen))
    return loss


def _fit_net(
    net: nn.Module,
    scaled: Tensor,
    wanted: Tensor,
    ladder: Tensor,
    seed: list[int],
    steps: int,
    clock: Clock,
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
    started, losses = clock.seconds(), []
    net.train()
    for step in range(steps):
        passed = 0.0 if end == math.inf else (clock.seconds() - started) / max(end - started, 1e-9)
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
            raise Cancelled(STOPPED_EARLY)
        progress.update(done, f"Training nets on the surroundings, loss {np.mean(losses[-20:]):.3f}")
    return losses
