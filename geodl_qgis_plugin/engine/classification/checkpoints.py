"""
Checkpoints: all that training needs to go on as if it had never stopped, in one file that is replaced whole.

Named arrays lie in safetensors, the rest as JSON in its header: nothing in it can execute. No state of a random generator is
kept, since every random choice follows from the seed, the epoch and the batch's place in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..files import whole_file

DAMAGED = "The checkpoint {} is damaged or of another net. Delete it, or train with RESUME off to start anew."


def save_checkpoint(
    path: Path, net: nn.Module, best: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, facts: Mapping[str, Any]
) -> None:
    """Write the net, its best state so far, the optimiser's state, and facts that JSON can hold."""
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    state = optimizer.state_dict()["state"]
    for index, moments in state.items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    write_tensors(path, tensors, facts)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], *, key: str = "") -> None:
    """Write named arrays, and facts that JSON can hold, into a file that is there whole or not at all; see `whole_file`."""
    from safetensors.torch import save  # noqa: PLC0415 - only while training

    # Tensors that share memory are refused by safetensors, and channels-last ones are not contiguous.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, key) as part, part.open("wb") as file:
        file.write(save(plain, {"facts": json.dumps(facts)}))  # a full disk is then an OSError
        file.flush()
        os.fsync(file.fileno())  # after a power cut there is the old one or the new one, never an empty one


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds; ``path`` names it in sentences."""

    path: Path
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def best(self) -> dict[str, Tensor]:
        """Return the best state so far; empty before the first look at the validation part."""
        return self._group("best.")

    def restore(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """
        Put the state into net and optimiser.

        Raises
        ------
        SettingsError
            If the checkpoint is of another net.
        """
        state: dict[int, dict[str, Tensor]] = {}
        try:
            net.load_state_dict(self._group("net."))
            for name, tensor in self._group("optimizer.").items():
                index, moment = name.split(".", 1)
                state.setdefault(int(index), {})[moment] = tensor
        except (ValueError, RuntimeError) as error:
            raise SettingsError(DAMAGED.format(self.path)) from error
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for parameter, moments in optimizer.state.items():
            for moment, tensor in moments.items():
                if tensor.shape == parameter.shape:
                    # The fused optimiser takes for granted that they lie in memory as the weights do.
                    moments[moment] = torch.empty_like(parameter).copy_(tensor)

    def load_into(self, net: nn.Module) -> None:
        """
        Put a state that was kept without optimiser into a net.

        Raises
        ------
        SettingsError
            If it is of another net.
        """
        try:
            net.load_state_dict(self.tensors)
        except (ValueError, RuntimeError) as error:
            raise SettingsError(DAMAGED.format(self.path)) from error

    def _group(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def read_checkpoint(path: Path, data: bytes) -> Checkpoint:
    """
    Read a checkpoint from its bytes, which may have come from another process.

    Raises
    ------
    SettingsError
        If it is none.
    """
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load  # noqa: PLC0415

    try:
        header_bytes = int.from_bytes(data[:8], "little")
        facts = json.loads(json.loads(data[8 : 8 + header_bytes])["__metadata__"]["facts"])
        return Checkpoint(path, facts, load(data))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(DAMAGED.format(path)) from error
