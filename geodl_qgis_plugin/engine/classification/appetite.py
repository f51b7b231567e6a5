"""How much memory a net takes a pixel, found by trying it, and how large windows may be for it."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .devices import device_of
from .networks.core import logits_of_core
from .prediction import up_to_multiple

TRIAL_PX, _TRIAL_MARGIN = 256, 0.06  # as much of a window is halo, to each side
# What the heap takes for each byte that tensors take: freed pieces of other sizes lie between them (docs/benchmarks.md).
# Where numbers are half as long oneDNN's own copies weigh more.
_HEAP_SHARE, _HEAP_SHARE_FAST = 1.8, 2.3
_LEAST_BYTES_PX = 160.0
SMALLEST_PX, _LARGEST_PX = 192**2, 1536**2


_found: weakref.WeakKeyDictionary[nn.Module, float] = weakref.WeakKeyDictionary()


def bytes_per_pixel(net: nn.Module, bands: int) -> float:
    """Return how many bytes of tensors a pixel of a window takes at the worst moment; each net is tried once."""
    if net not in _found:
        _found[net] = _tried(net, bands)
    return _found[net]


def _tried(net: nn.Module, bands: int) -> float:
    """Try a net in a thread of its own, which keeps no room from before; see `networks.room`."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_bytes_in_this_thread, net, bands).result()


def _bytes_in_this_thread(net: nn.Module, bands: int) -> float:
    side = up_to_multiple(TRIAL_PX, int(net.stride))  # type: ignore[arg-type]
    values = torch.zeros(1, bands, side, side, device=device_of(net))
    margin = int(_TRIAL_MARGIN * side)
    core = slice(margin, side - margin)
    with torch.no_grad(), _Tensors() as tensors:
        logits_of_core(net, values, (core, core))
    # What other libraries compute is not seen, so they tell it themselves.
    told = [float(getattr(part, "bytes_px", 0.0)) for part in net.modules()]
    return max(float(tensors.most_bytes) / side**2, _LEAST_BYTES_PX, *told)


def largest_window_px(net: nn.Module, bands: int, budget_bytes: float) -> int:
    """Return how many pixels a window may have, halo included."""
    fast = any(weight.dtype == torch.bfloat16 for weight in net.parameters())
    each = bytes_per_pixel(net, bands) * (_HEAP_SHARE_FAST if fast else _HEAP_SHARE)
    return int(min(max(budget_bytes / each, SMALLEST_PX), _LARGEST_PX))


class _Tensors(TorchDispatchMode):
    """Counts the bytes of the tensors that live, while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._living: dict[int, int] = {}  # how many tensors share a storage, by its address
        self._bytes = self.most_bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: PyTorch would import its compiler to be able to, which takes a second and 80 MB."""
        return False

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self._born(tensor)
        self.most_bytes = max(self.most_bytes, self._bytes)
        return result

    def _born(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._living:
            self._living[address] = 0
            self._bytes += size
        self._living[address] += 1
        weakref.finalize(tensor, self._gone, address, size).atexit = False

    def _gone(self, address: int, size: int) -> None:
        self._living[address] -= 1
        if not self._living[address]:
            del self._living[address]
            self._bytes -= size
