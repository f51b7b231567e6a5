"""
The processes of one training job under torchrun: which of them this is, and sums and joins over all of them.

Every process runs the same job on the same settings. The first talks and writes; each does its share of the work, and what a
share gives is summed or joined so that all hold the same afterwards. Outside torchrun there is one process, and nothing here
costs anything. Only the arrays themselves pass between processes, so that nothing that can execute does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import LostRankError, SettingsError

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

T = TypeVar("T")
_WAIT = timedelta(minutes=30)  # for the slowest process; a lost one is noticed at once, since its connection breaks
_WAIT_FOR_THE_FIRST = timedelta(days=30)  # to score and to write alone what all have trained


@dataclass(frozen=True)
class Ranks:
    """
    One process among those of its job: the one that holds this.

    Attributes
    ----------
    rank : int
        Its number, from 0 on.
    size : int
        How many there are.
    restarted : int
        How often torchrun has started the job anew because a process was lost.
    """

    rank: int = 0
    size: int = 1
    restarted: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that talks and writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share: every ``size``-th item, from its own rank on."""
        return items[self.rank :: self.size]

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            _together("barrier")

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all get the same answer."""
        if self.size == 1:
            return flag
        import torch  # noqa: PLC0415 - as below: not before it is needed

        return bool(self.sum_tensor(torch.tensor(float(flag))) > 0)

    def sum(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the sum of the processes' arrays, the same in each to the last bit."""
        if self.size == 1:
            return array
        import torch  # noqa: PLC0415

        tensor = torch.from_numpy(array.copy())
        _together("all_reduce", tensor)
        return tensor.numpy().reshape(array.shape)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """
        Put the sum of the processes' gradients in place of each one's own.

        Each process's loss must be its share of the whole batch's: its own sum over the whole batch's count.
        """
        if self.size == 1:
            return
        import torch  # noqa: PLC0415

        given = [parameter for parameter in parameters if parameter.requires_grad]
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in given]
        flat = torch.cat([part.reshape(-1) for part in parts])  # one message, not one a parameter
        _together("all_reduce", flat)
        for one, own, part in zip(given, parts, flat.split([part.numel() for part in parts])):
            one.grad = own.copy_(part.view_as(one))  # lying in memory as before: fused optimisers rely on it

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the mean of the processes' gradients in place of each one's own: for losses that are means over equal batches."""
        given = list(parameters)
        self.sum_gradients(given)
        for one in given:
            if self.size > 1 and one.grad is not None:
                one.grad /= self.size

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """Return the sum of the processes' tensors."""
        if self.size == 1:
            return tensor
        found = tensor.clone()
        _together("all_reduce", found)
        return found

    def gather(self, rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return every process's rows, by rank: arrays that may differ in their first length alone."""
        if self.size == 1:
            return [rows]
        import torch  # noqa: PLC0415

        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(rows)
        counts = self.sum_tensor(counts)
        own = torch.from_numpy(rows.copy())
        given = torch.zeros((int(counts.max()), *rows.shape[1:]), dtype=own.dtype)
        given[: len(rows)] = own
        found = [torch.empty_like(given) for _ in range(self.size)]
        _together("all_gather", found, given)
        return [tensor.numpy()[:count] for tensor, count in zip(found, counts.tolist())]

    def each(self, items: Sequence[Any], work: Callable[[Any], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return ``work`` of every item, one behind the other along a new first axis; each process does its share."""
        import numpy as np  # noqa: PLC0415

        own = [work(item) for item in self.share(items)]
        if self.size == 1:
            return np.stack(own)
        if len(items) < self.size:  # some have nothing to do, and do not know the shape
            return np.stack([work(item) for item in items])
        parts = self.gather(np.stack(own))
        found = np.empty((len(items), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for rank, part in enumerate(parts):
            found[rank :: self.size] = part
        return found

    def from_first(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the first process's array; the others give one of the same shape and kind."""
        if self.size == 1:
            return array
        import torch  # noqa: PLC0415

        tensor = torch.from_numpy(array.copy())
        _together("broadcast", tensor, 0)
        return tensor.numpy().reshape(array.shape)


ALONE = Ranks()


def launched() -> Ranks | None:
    """Return which process this is, if torchrun started it, without connecting to the others."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    try:
        return Ranks(
            int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        )
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"torchrun started this job without saying which of its processes this is ({error}). Start it with torchrun of "
            "PyTorch 2.4 or newer."
        ) from error


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """
    Connect the processes that torchrun started, for as long as the block lasts; alone where it started none.

    None leaves a block that went well before all are through it: a process that ends badly while another works on would have
    torchrun start a job anew that has told its result. Arrays in memory pass by gloo, those on CUDA cards by nccl.
    """
    found = launched()
    if found is None or found.size == 1:
        yield found or ALONE
        return
    distributed = _distributed()
    store, _, _ = next(distributed.rendezvous("env://", found.rank, found.size))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if _has_cards() else "gloo",
        store=distributed.PrefixStore(_generation(store, found), store),
        rank=found.rank,
        world_size=found.size,
        timeout=_WAIT,
    )
    try:
        ending = distributed.new_group(backend="gloo", timeout=_WAIT_FOR_THE_FIRST)
        yield found
        _leave_together(found, ending)
    finally:
        distributed.destroy_process_group()


def end(status: int) -> None:
    """
    End a process of torchrun's with ``status``; nothing happens outside torchrun.

    At once, without Python's own end: there the threads of torch's connections may abort a process that has done its work
    ("terminate called without an active exception"), which torchrun takes for a loss.
    """
    if launched() is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _leave_together(ranks: Ranks, group: Any) -> None:
    """Wait until all are through; the first then hears that the others know, before it closes the connections."""
    import torch  # noqa: PLC0415

    _together("barrier", group)
    if ranks.is_first:
        for other in range(1, ranks.size):
            _together("recv", torch.zeros(1), other, group)
    else:
        _together("send", torch.zeros(1), 0, group)


def _generation(store: Any, ranks: Ranks) -> str:
    """
    Agree on a name for this start of the job.

    After a loss torchrun may hand over the store of the start before, with the addresses of processes that are gone. So the
    first process names the start, and the others take no name that it does not confirm to them while it lives.
    """
    own = uuid.uuid4().hex
    if ranks.is_first:
        store.set("geodl/start", own)
        for other in range(1, ranks.size):
            asked = f"geodl/{own}/{other}"
            store.set(f"{asked}/{store.get(asked).decode()}", "yes")
        return own
    while True:
        name = str(store.get("geodl/start").decode())
        asked = f"geodl/{name}/{ranks.rank}"
        store.set(asked, own)
        while store.get("geodl/start").decode() == name:
            if store.check([f"{asked}/{own}"]):
                return name
            time.sleep(0.05)


def _has_cards() -> bool:
    import torch  # noqa: PLC0415

    return torch.cuda.is_available() and torch.distributed.is_nccl_available()


def _together(what: str, *arguments: Any) -> None:
    try:
        getattr(_distributed(), what)(*arguments)
    except RuntimeError as error:  # the connection broke, or nobody answered
        raise LostRankError(
            "Another process of this job was lost or does not answer. torchrun starts all of them anew if it was given "
            "--max-restarts; the job then goes on from its last checkpoint."
        ) from error


def _distributed() -> Any:
    import torch.distributed as distributed  # noqa: PLC0415 - slow to import, and only needed here

    return distributed
