"""Train the small networks: a few members a network, each stopped where a later stretch of time says so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import Cancelled
from ..messages import Progress
from .networks import QUANTILES, AnomalyLSTM, ClassicLSTM

Floats = npt.NDArray[np.float32]
Weights = dict[str, npt.NDArray[np.float32]]
BATCH = 256
_EVAL_BATCH = 8192


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


def train_anomaly(
    windows: Floats,
    rest: Floats,
    later: npt.NDArray[np.bool_],
    plan: TrainingPlan,
    seed: int,
    progress: Progress,
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

    return _train(make, windows, rest, later, pinball, plan, seed, progress)


def train_classic(
    windows: Floats, wanted: Floats, later: npt.NDArray[np.bool_], plan: TrainingPlan, seed: int, progress: Progress
) -> tuple[list[Weights], list[Curve]]:
    """Train the classic network with squared errors on the next value: windows (window, time, 1), wanted (window,)."""
    return _train(ClassicLSTM, windows, wanted, later, _squared, plan, seed, progress)


def pinball(found: Tensor, wanted: Tensor) -> Tensor:
    """Pinball loss of quantiles (window, lead, quantile) against values (window, lead); NaN counts nothing."""
    levels = found.new_tensor(QUANTILES)
    seen = torch.isfinite(wanted)
    miss = torch.where(seen, wanted, 0.0)[..., None] - found
    loss = torch.maximum(levels * miss, (levels - 1) * miss).mean(dim=2)
    return (loss * seen).sum() / seen.sum().clamp(min=1)


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
    with torch.inference_mode(), _one_thread():
        parts = [
            network(torch.from_numpy(windows[at : at + _EVAL_BATCH])) for at in range(0, len(windows), _EVAL_BATCH)
        ]
    return np.asarray(torch.cat(parts).numpy())


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: these networks are so small that threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _squared(found: Tensor, wanted: Tensor) -> Tensor:
    return torch.mean((found - wanted) ** 2)


def _train(
    make: Callable[[], nn.Module],
    windows: Floats,
    wanted: Floats,
    later: npt.NDArray[np.bool_],
    loss: Callable[[Tensor, Tensor], Tensor],
    plan: TrainingPlan,
    seed: int,
    progress: Progress,
) -> tuple[list[Weights], list[Curve]]:
    members, curves = [], []
    x, y = torch.from_numpy(windows[~later]), torch.from_numpy(wanted[~later])
    x_later, y_later = torch.from_numpy(windows[later][:_EVAL_BATCH]), torch.from_numpy(wanted[later][:_EVAL_BATCH])
    with torch.random.fork_rng(devices=[]), _one_thread():
        for member in range(plan.members):
            torch.manual_seed(seed * 1000 + member)
            network = make()
            optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
            best, kept, waited = _score(network, x_later, y_later, loss), _weights(network), 0
            curve = Curve([], [best])
            for round_ in range(plan.rounds):
                curve.training.append(_round(network, optimizer, x, y, loss, plan.steps_per_round))
                curve.validation.append(_score(network, x_later, y_later, loss))
                if curve.validation[-1] < best - 1e-5:
                    best, kept, waited = curve.validation[-1], _weights(network), 0
                else:
                    waited += 1
                progress.update((member + (round_ + 1) / plan.rounds) / plan.members, f"Network {member + 1}")
                if progress.cancelled():
                    raise Cancelled("Training was stopped; nothing was kept.")
                if waited >= plan.patience:
                    break
            members.append(kept)
            curves.append(curve)
    return members, curves


def _round(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
) -> float:
    network.train()
    total = 0.0
    for _ in range(steps):
        rows = torch.randint(len(x), (min(BATCH, len(x)),))
        optimizer.zero_grad()
        value = loss(network(x[rows]), y[rows])
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(value.detach())
    return total / steps


def _score(network: nn.Module, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> float:
    if not len(x):
        return float("inf")
    network.eval()
    with torch.inference_mode():
        return float(loss(network(x), y))


def _weights(network: nn.Module) -> Weights:
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}
