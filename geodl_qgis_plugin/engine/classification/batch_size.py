"""How many tiles a batch holds where nobody says: as many as learn well, and no more than fit in memory."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .devices import Compute, free_bytes

USUAL_PIXEL_NET, USUAL_TILE_NET = 16, 32
_FEWEST_BATCHES = 8  # of an epoch
_SHARE_OF_MEMORY = 0.5
_TIMES_SAVED = 2.5  # what is kept for the gradient, the gradients themselves, and what layers need on the way


def automatic_batch_size(net: nn.Module, bands: int, tile_size_px: int, tiles: int, compute: Compute) -> int:
    """
    Return a batch size for a net, a power of two.

    16 tiles for nets that classify pixels and 32 for those that classify tiles; fewer where there are few tiles, or where
    memory is short: how much a tile takes is found by running two through a copy of the net.
    """
    size = USUAL_PIXEL_NET if net.tile_size_px is None else USUAL_TILE_NET
    while size > 2 and tiles < _FEWEST_BATCHES * size:
        size //= 2
    free = free_bytes(compute)
    if free is not None:
        needed = _TIMES_SAVED * saved_bytes(net, bands, tile_size_px)
        while size > 1 and size * needed > _SHARE_OF_MEMORY * free:
            size //= 2
    return size


def saved_bytes(net: nn.Module, bands: int, tile_size_px: int) -> int:
    """Return how many bytes a net keeps of one tile for the gradient."""
    trial = copy.deepcopy(net).cpu().train()
    side = -(-tile_size_px // int(net.stride)) * int(net.stride) if net.tile_size_px is None else tile_size_px
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    state = torch.get_rng_state()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trial(torch.zeros(2, bands, side, side))
    torch.set_rng_state(state)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in trial.parameters())
    return max(sum(kept.values()) - weights, 0) // 2
