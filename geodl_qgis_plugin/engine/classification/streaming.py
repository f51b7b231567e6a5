"""One reader, one computing thread, one writer, short queues between them: reading and writing cost no time of their own."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..environment import trim_memory
from ..errors import Cancelled
from ..messages import Progress

if TYPE_CHECKING:
    from .blocks import Block, BlockWork

A = TypeVar("A")
B = TypeVar("B")
_DEPTH = 2
_TRIM_ABOVE_BYTES = 700 * 2**20


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
    Work out blocks in this process: one is read while the one before it is computed and the one before that is kept.

    Raises
    ------
    Cancelled
        Between two blocks, if it was asked for.
    """
    with Behind(keep) as keep_behind:
        done, read = 0, ahead(((block, work.read(block)) for block in blocks), depth=work.at_once)
        with contextlib.closing(read):
            while some := list(itertools.islice(read, work.at_once)):
                if progress.cancelled():
                    raise Cancelled(f"Classifying was stopped after {done} of {len(blocks)} blocks.")
                for (block, _), arrays in zip(some, work.compute_together(some)):
                    keep_behind(block, arrays)
                done += len(some)
                del some
                trim_memory(_TRIM_ABOVE_BYTES)
                progress.update(done / len(blocks), "Classifying")
