"""
Room for the features of a window, which a thread keeps for the next one.

Windows are of one size, or nearly, and so are their features. Were room for them taken and given back for every window, the
heap would be twice as large as what lives in it, and windows would have to be smaller (docs/benchmarks.md).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_own = threading.local()


def room_for(shape: Sequence[int], like: Tensor, name: str = "") -> Tensor:
    """
    Return a tensor to be filled, of the number type and on the device of another.

    On a processor the same memory is returned to the same thread for the same ``name``: what was there is lost. Without a name
    the memory is new.
    """
    if not name or like.device.type != "cpu":
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    kept: dict[str, Tensor] = _own.__dict__.setdefault("kept", {})
    size = math.prod(shape) * like.element_size()
    if name not in kept or kept[name].numel() < size:
        kept.pop(name, None)
        kept[name] = torch.empty(size, dtype=torch.uint8)
    return kept[name][:size].view(like.dtype).view(*shape)
