"""
One step of the optimiser for a batch: in as many parts as memory bears, and as many processes as there are.

The loss of a batch is the mean over what is learnt from, weighted by class. Whoever works on a part of it (a process, or a part
that fits in memory) multiplies its own mean by its share of the batch's weight, so the sum is the same however it was parted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import GeoDLError
from ..messages import Progress
from ..ranks import ALONE, Ranks
from .batches import IGNORED, Batch
from .devices import Compute, is_out_of_memory
from .joined_norms import join_norms

Loss = Callable[[Tensor, Tensor], Tensor]


class Steps:
    """
    Takes steps.

    Parameters
    ----------
    loss : callable
        Given logits (tile, class, row, column) or (tile, class) and targets (tile, row, column) or (tile,), -1 for what is not
        learnt from, returns a mean.
    weights : tensor (class,)
        How much a pixel or tile of each class counts in that mean.
    parts : int
        Parts that each batch is worked on in, one after the other; doubled when memory runs out.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        weights: Tensor,
        compute: Compute,
        ranks: Ranks = ALONE,
        parts: int = 1,
    ) -> None:
        self.net, self.optimizer, self.loss = net, optimizer, loss
        self.weights, self.compute, self.ranks, self.parts = weights, compute, ranks, parts
        join_norms(net, ranks)

    def weight(self, batch: Batch) -> float:
        """Return the weight of all that is learnt from in this process's part of a batch."""
        targets = torch.from_numpy(batch.targets)
        return float(self.weights.double()[targets[targets != IGNORED]].sum())

    def take(self, batch: Batch, weight: float, seed: int, progress: Progress) -> float:
        """
        Learn from a batch; return its loss in this process's part.

        Parameters
        ----------
        weight : float
            The whole batch's, over all processes.
        seed : int
            Of dropout, so that it is the same whatever came before.

        Raises
        ------
        GeoDLError
            If there is not even memory for one tile at a time.
        """
        while True:
            torch.manual_seed(seed + self.ranks.rank)
            try:
                self.optimizer.zero_grad()
                loss = self._learn(batch, weight)
                self.optimizer.step()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                trouble = str(error).partition("\n")[0][:200]
            else:
                return loss
            # Outside of the handler, so that nothing holds on to what was worked out.
            self.optimizer.zero_grad()
            self.compute.forget()
            self._halve(len(batch.values), trouble, progress)

    def _learn(self, batch: Batch, weight: float) -> float:
        tiles, loss = len(batch.values), 0.0
        parts = min(self.parts, tiles)
        for number in range(parts):
            some = slice(number * tiles // parts, (number + 1) * tiles // parts)
            part = self._part(batch, some, weight)
            part.backward()
            loss += float(part.detach())
        self.ranks.sum_gradients(self.net.parameters())
        return loss

    def _part(self, batch: Batch, some: slice, weight: float) -> Tensor:
        wanted = torch.from_numpy(batch.targets[some])
        own = float(self.weights.double()[wanted[wanted != IGNORED]].sum())
        given = self.compute.tensor(batch.values[some])
        beside = None if batch.derived is None else self.compute.tensor(batch.derived[some])
        wanted = wanted.to(self.compute.device)
        if wanted.ndim > 1 and (beyond := -given.shape[-1] % int(self.net.stride)):  # type: ignore[arg-type]
            margin = (0, beyond, 0, beyond)  # tiles of any size: nodata, which is not learnt from, up to whole strides
            given, wanted = F.pad(given, margin, value=torch.nan), F.pad(wanted, margin, value=IGNORED)
            beside = None if beside is None else F.pad(beside, margin)
        with self.compute.precision():
            logits = self.net(given, beside)
        logits = logits.float()
        if wanted.ndim == 1:
            logits = logits[:, :, 0, 0]
        if own == 0:
            nothing: Tensor = logits.sum() * 0.0
            return nothing  # nothing to learn here, but the other processes wait in the batch norms
        mean: Tensor = self.loss(logits, wanted)
        return mean * (own / weight)

    def _halve(self, tiles: int, trouble: str, progress: Progress) -> None:
        if self.ranks.size > 1:
            raise GeoDLError(
                f"Process {self.ranks.rank} ran out of memory ({trouble}). Choose a smaller BATCH_SIZE, or more processes."
            )
        if self.parts >= tiles:
            raise GeoDLError(
                f"There is not even memory for one tile at a time ({trouble}). Extract smaller tiles, choose smaller WIDTHS, "
                "or close other programs."
            )
        self.parts = min(2 * self.parts, tiles)
        progress.warning(
            f"Memory ran out ({trouble}). Batches keep their size, but are now worked on in {self.parts} parts, one after "
            "the other; a smaller BATCH_SIZE would be faster."
        )
