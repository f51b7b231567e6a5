"""Train the small networks: a few members a network, each stopped where a later stretch of time says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..environment import one_thread
from ..errors import Cancelled
from ..messages import Progress
from ..ranks import Ranks
from .crew import Crew
from .networks import QUANTILES, AnomalyLSTM, ClassicLSTM

Floats = npt.NDArray[np.float32]
Weights = dict[str, npt.NDArray[np.float32]]
BATCH = 256
_EVAL_BATCH = 8192
_ALONE = Crew()


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how carefully to train: the same numbers for every data set."""

    members: int = 3
    rounds: int = 24
    steps_per_round: int = 25
    patience: int = 5
    learning_rate: float = 3e-3
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Curve:
    """Loss of training and of the later stretch after each round of steps; the best one is kept."""

    training: list[float]
    validation: list[float]


@dataclass(frozen=True)
class Loss:
    """
    A loss that can be worked out in shares: the sum over some windows, and what the whole's is divided by.

    Attributes
    ----------
    total : callable
        (found, wanted) → sum.
    count : callable
        wanted → number of values that count, at least 1.
    """

    total: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], Tensor]

    def mean(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of all the windows given."""
        return self.total(found, wanted) / self.count(wanted)


def train_anomaly(
    windows: Floats,
    rest: Floats,
    later: npt.NDArray[np.bool_],
    plan: TrainingPlan,
    seed: int,
    progress: Progress,
    crew: Crew = _ALONE,
) -> tuple[list[Weights], list[Curve]]:
    """
    Train the members of the anomaly network with the pinball loss.

    Parameters
    ----------
    windows : (window, input length, channel)
    rest : (window, lead)
        Anomaly less the ridge's; NaN where nothing was observed.
    later : (window,)
        The stretch that decides when to stop.
    """
    horizon = rest.shape[1]
    base = torch.tensor(np.nanquantile(rest[~later], QUANTILES, axis=0).T, dtype=torch.float32)

    def make() -> nn.Module:
        network = AnomalyLSTM(windows.shape[2], horizon)
        with torch.no_grad():
            network.base.copy_(torch.nan_to_num(base))
        return network

    return _train(make, windows, rest, later, PINBALL, plan, seed, progress, crew)


def train_classic(
    windows: Floats,
    wanted: Floats,
    later: npt.NDArray[np.bool_],
    plan: TrainingPlan,
    seed: int,
    progress: Progress,
    crew: Crew = _ALONE,
) -> tuple[list[Weights], list[Curve]]:
    """Train the classic network with squared errors on the next value: windows (window, time, 1), wanted (window,)."""
    return _train(ClassicLSTM, windows, wanted, later, _SQUARED, plan, seed, progress, crew)


def _pinball(found: Tensor, wanted: Tensor) -> Tensor:
    """Sum the pinball loss of quantiles (window, lead, quantile) against values (window, lead); NaN counts nothing."""
    levels = found.new_tensor(QUANTILES)
    seen = torch.isfinite(wanted)
    miss = torch.where(seen, wanted, 0.0)[..., None] - found
    loss = torch.maximum(levels * miss, (levels - 1) * miss).mean(dim=2)
    return (loss * seen).sum()


PINBALL = Loss(_pinball, lambda wanted: torch.isfinite(wanted).sum().clamp(min=1))
_SQUARED = Loss(
    lambda found, wanted: ((found - wanted) ** 2).sum(), lambda wanted: torch.tensor(max(1, wanted.numel()))
)


def member_quantiles(members: list[nn.Module], windows: Floats) -> npt.NDArray[np.float64]:
    """Average the members' quantiles: (window, lead, quantile), sorted so that none cross."""
    total = None
    for network in members:
        found = _apply(network, windows)
        total = found if total is None else total + found
    if total is None:
        raise ValueError("no members")
    return np.sort(np.asarray(total / len(members), dtype=np.float64), axis=-1)


def anomaly_network(weights: Weights) -> nn.Module:
    """Build an anomaly network of the weights' shape."""
    hidden = weights["cell.weight_hh_l0"].shape[1]
    network = AnomalyLSTM(weights["cell.weight_ih_l0"].shape[1], weights["base"].shape[0], hidden)
    return _loaded(network, weights)


def classic_network(weights: Weights) -> nn.Module:
    """Build a classic network of the weights' shape."""
    return _loaded(ClassicLSTM(weights["recurrent"].shape[0], weights["kernel"].shape[0]), weights)


def classic_next(network: nn.Module, windows: Floats) -> Floats:
    """Return the classic network's next values (window,)."""
    return _apply(network, windows)


def _loaded(network: nn.Module, weights: Weights) -> nn.Module:
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return network.eval()


def _apply(network: nn.Module, windows: Floats) -> Floats:
    network.eval()
    with torch.inference_mode(), one_thread():
        parts = [
            network(torch.from_numpy(windows[at : at + _EVAL_BATCH])) for at in range(0, len(windows), _EVAL_BATCH)
        ]
    return np.asarray(torch.cat(parts).numpy())


def _train(
    make: Callable[[], Any],
    windows: Floats,
    wanted: Floats,
    later: npt.NDArray[np.bool_],
    loss: Loss,
    plan: TrainingPlan,
    seed: int,
    progress: Progress,
    crew: Crew,
) -> tuple[list[Weights], list[Curve]]:
    """
    Train the members.

    Every process of the crew holds all the windows and draws the same batches; each works on its share of a batch, and the
    gradients are summed, so that all take the step that one process would have taken.
    """
    members, curves = [], []
    x, y = torch.from_numpy(windows[~later]), torch.from_numpy(wanted[~later])
    x_later, y_later = torch.from_numpy(windows[later][:_EVAL_BATCH]), torch.from_numpy(wanted[later][:_EVAL_BATCH])
    with torch.random.fork_rng(devices=[]), one_thread():
        for member in range(plan.members):
            torch.manual_seed(seed * 1000 + member)
            network = make()
            optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
            found = crew.restore(member, network, optimizer)
            if found is None:
                _share_start(network, crew.ranks)
                best = _score(network, x_later, y_later, loss, crew.ranks)
                kept, waited, curve = _weights(network), 0, Curve([], [best])
            else:
                kept, facts = {name: tensor.numpy() for name, tensor in found[0].items()}, found[1]
                best, waited, curve = facts["best"], facts["waited"], Curve(facts["training"], facts["validation"])
                torch.set_rng_state(torch.tensor(list(bytes.fromhex(facts["random"])), dtype=torch.uint8))
            for round_ in range(len(curve.training), plan.rounds):
                if waited >= plan.patience:
                    break
                curve.training.append(_round(network, optimizer, x, y, loss, plan.steps_per_round, crew.ranks))
                curve.validation.append(_score(network, x_later, y_later, loss, crew.ranks))
                if curve.validation[-1] < best - 1e-5:
                    best, kept, waited = curve.validation[-1], _weights(network), 0
                else:
                    waited += 1
                state = {name: torch.from_numpy(array) for name, array in kept.items()}
                crew.keep(member, network, state, optimizer, _facts(best, waited, curve))
                progress.update((member + (round_ + 1) / plan.rounds) / plan.members, f"Network {member + 1}")
                if crew.ranks.any(progress.cancelled()):
                    raise Cancelled("Training was stopped; nothing was kept.")
            members.append(kept)
            curves.append(curve)
    return members, curves


def _facts(best: float, waited: int, curve: Curve) -> dict[str, Any]:
    random = bytes(torch.get_rng_state().tolist()).hex()
    return {
        "best": best,
        "waited": waited,
        "training": curve.training,
        "validation": curve.validation,
        "random": random,
    }


def _share_start(network: nn.Module, ranks: Ranks) -> None:
    """Let all begin with the first one's weights: on machines of different kinds their last bits may differ."""
    if ranks.size > 1:
        with torch.no_grad():
            for tensor in network.parameters():
                tensor.copy_(torch.from_numpy(ranks.from_first(tensor.numpy())))


def _round(
    network: Any,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    steps: int,
    ranks: Ranks,
) -> float:
    network.train()
    total = 0.0
    for _ in range(steps):
        rows = torch.randint(len(x), (min(BATCH, len(x)),))
        keep = network.drawn(len(rows))
        count = loss.count(y[rows])  # of the whole batch
        own = rows if ranks.size == 1 else rows[ranks.rank :: ranks.size]
        own_keep = keep if ranks.size == 1 or keep is None else keep[ranks.rank :: ranks.size]
        optimizer.zero_grad()
        value = loss.total(network(x[own], own_keep), y[own]) / count
        value.backward()
        ranks.sum_gradients(network.parameters())
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(value.detach())
    return float(ranks.sum_tensor(torch.tensor(total, dtype=torch.float64))) / steps


def _score(network: nn.Module, x: Tensor, y: Tensor, loss: Loss, ranks: Ranks) -> float:
    if not len(x):
        return float("inf")
    network.eval()
    own = slice(ranks.rank, None, ranks.size)
    with torch.inference_mode():
        total = loss.total(network(x[own]), y[own])
    return float(ranks.sum_tensor(total) / loss.count(y))


def _weights(network: nn.Module) -> Weights:
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}
