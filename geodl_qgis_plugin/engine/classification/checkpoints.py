"""
Checkpoints: all that training needs to go on as if it had never stopped, in one file that is replaced whole.

The optimiser's state is kept as named arrays in safetensors, the rest as JSON in its header: nothing in it can execute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..files import whole_file


def save_checkpoint(
    path: Path, net: nn.Module, best: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, facts: Mapping[str, Any]
) -> None:
    """Write the net, its best state so far, the optimiser's state, and facts that JSON can hold."""
    from safetensors.torch import save  # noqa: PLC0415 - only while training

    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    state = optimizer.state_dict()["state"]
    for index, moments in state.items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    # Tensors that share memory are refused by safetensors, and channels-last ones are not contiguous.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(save(tensors, {"facts": json.dumps(facts)}))  # a full disk is then an OSError


def load_checkpoint(
    path: Path, net: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """
    Put a checkpoint's state into net and optimiser; return the best state and the facts.

    Raises
    ------
    SettingsError
        If the file is no checkpoint, or of another net.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        net.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net.")})
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"The checkpoint {path} is damaged or of another net. Delete it, or train with RESUME off to start anew."
        ) from error
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, moment = name.split(".", 2)
            state.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best.")}, facts
