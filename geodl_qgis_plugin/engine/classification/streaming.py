"""One reader, one or two computing threads, one writer, short queues between them: reading and writing cost no time."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from ..environment import trim_memory
from ..errors import Cancelled
from ..messages import Progress

if TYPE_CHECKING:
    from .blocks import Block, BlockWork

A = TypeVar("A")
B = TypeVar("B")
_DEPTH = 2
_TRIM_ABOVE_BYTES = 1100 * 2**20


class _End:
    """Marks the end of a queue, and carries what went wrong."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(things: Iterable[A], depth: int = _DEPTH) -> Generator[A, None, None]:
    """Yield what an iterable yields, made in a thread of its own a few steps ahead until nobody takes any more."""
    line: queue.Queue[Any] = queue.Queue(depth)
    ended = threading.Event()

    def put(thing: Any) -> bool:
        while not ended.is_set():
            try:
                line.put(thing, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for thing in things:
                if not put(thing):
                    return
            put(_End())
        except BaseException as error:  # handed to the thread that waits
            put(_End(error))

    maker = threading.Thread(target=make, name="reader", daemon=True)
    maker.start()
    try:
        while not isinstance(thing := line.get(), _End):
            yield thing
        if thing.error is not None:
            raise thing.error
    finally:
        ended.set()
        maker.join()


class Behind:
    """
    Calls a function in a thread of its own, in order, while the caller goes on.

    Used as a context: leaving it waits for what is left, and raises what went wrong.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._line: queue.Queue[Any] = queue.Queue(_DEPTH)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def __call__(self, *arguments: Any) -> None:
        """Hand over one call; raises what went wrong in an earlier one."""
        if self._error is not None:
            raise self._error
        self._line.put(arguments)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._line.put(_End())
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not isinstance(arguments := self._line.get(), _End):
            if self._error is None:
                try:
                    self._function(*arguments)
                except BaseException as error:  # handed to the caller at its next call
                    self._error = error


def work_through(
    work: BlockWork, blocks: Sequence[Block], keep: Callable[[Block, Mapping[str, Any]], None], progress: Progress
) -> None:
    """
    Work out blocks in this process: some are read while those before them are computed and others are kept.

    On a processor two lanes compute, each with half of its cores: neither waits for the other after every layer, as cores do
    that share one window.

    Raises
    ------
    Cancelled
        Between two blocks, if it was asked for.
    """
    lanes = work.lanes
    import torch  # noqa: PLC0415 - not needed to be imported with this module

    read = ahead(((block, work.read(block)) for block in blocks), depth=work.at_once)
    with (
        contextlib.closing(read),
        Behind(keep) as keep_behind,
        ThreadPoolExecutor(lanes, "lane", torch.set_num_threads, (torch.get_num_threads(),)) as pool,
    ):
        begun: deque[Future[list[tuple[Block, Mapping[str, Any]]]]] = deque()
        done, more = 0, True
        while more or begun:
            if progress.cancelled():
                raise Cancelled(f"Classifying was stopped after {done} of {len(blocks)} blocks.")
            while more and len(begun) < lanes:
                some = list(itertools.islice(read, work.at_once))
                more = bool(some)
                if more:
                    begun.append(pool.submit(_computed, work, some))
                del some
            if not begun:
                break
            for block, arrays in begun.popleft().result():
                keep_behind(block, arrays)
                done += 1
            progress.update(done / len(blocks), "Classifying")


def _computed(work: BlockWork, some: list[tuple[Block, Any]]) -> list[tuple[Block, Mapping[str, Any]]]:
    places = [block for block, _ in some]
    arrays = work.compute_together(some)
    some.clear()
    trim_memory(_TRIM_ABOVE_BYTES)
    return list(zip(places, arrays))
