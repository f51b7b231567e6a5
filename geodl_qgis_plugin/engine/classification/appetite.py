"""How much memory a net takes a pixel, found by trying it, and how large windows may be for it."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .devices import device_of
from .prediction import up_to_multiple

TRIAL_PX = 256
# What the heap takes for each byte that tensors take: freed pieces of other sizes lie between them (docs/benchmarks.md).
_HEAP_SHARE = 1.8
_LEAST_BYTES_PX = 300.0  # for nets that other libraries compute, whose tensors are not seen
SMALLEST_PX, _LARGEST_PX = 192**2, 1536**2


_found: weakref.WeakKeyDictionary[nn.Module, float] = weakref.WeakKeyDictionary()


def bytes_per_pixel(net: nn.Module, bands: int) -> float:
    """Return how many bytes of tensors a pixel of a window takes at the worst moment; each net is tried once."""
    if net not in _found:
        _found[net] = _tried(net, bands)
    return _found[net]


def _tried(net: nn.Module, bands: int) -> float:
    side = up_to_multiple(TRIAL_PX, int(net.stride))  # type: ignore[arg-type]
    values = torch.zeros(1, bands, side, side, device=device_of(net))
    with torch.no_grad(), _Tensors() as tensors:
        net(values)
    return max(float(tensors.most_bytes) / side**2, _LEAST_BYTES_PX)


def largest_window_px(net: nn.Module, bands: int, budget_bytes: float) -> int:
    """Return how many pixels a window may have, halo included."""
    each = bytes_per_pixel(net, bands) * _HEAP_SHARE
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
