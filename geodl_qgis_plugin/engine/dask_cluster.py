"""
Parts of a job on the workers of a Dask cluster: one that runs already, named by its address, or one started for this job.

``tcp://host:8786`` is a scheduler's address; ``local:4`` starts four workers on this computer and ends them with the job. Parts
are made when a worker is free for them, so that a job's memory holds a few at a time; a part whose worker was lost is done
again by another.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from .environment import versions
from .errors import Cancelled, ClusterError, EnvironmentProblem, SettingsError
from .messages import Progress

_LOCAL = re.compile(r"local(?::(\d{1,3}))?")
_PATIENCE_S = 60.0  # without a single worker
_ANSWER_S = "15s"
_AHEAD = 2  # parts a worker thread that are made before they are needed


@dataclass(frozen=True)
class Failed:
    """Stands for the answer of a part that failed as often as it may."""

    reason: str


class UnfitWorker(Exception):
    """
    Raised by a part on a worker that cannot do any: the part goes to another one, and this one gets no more.

    Its arguments are the worker's address and a sentence.
    """


class _Part(NamedTuple):
    number: int
    arguments: tuple[Any, ...]
    attempt: int


@contextlib.contextmanager
def dask_client(scheduler: str, needed: tuple[str, ...] = ("numpy", "torch")) -> Iterator[Any]:
    """
    Open a client to the cluster that ``scheduler`` names, with workers that can do GeoDL's work.

    Parameters
    ----------
    scheduler : str
        An address, or ``local:N`` for N workers on this computer.
    needed : tuple of str
        Modules that the work needs on every worker.

    Raises
    ------
    EnvironmentProblem
        If Dask is not installed.
    SettingsError
        If the text is neither an address nor ``local:N``.
    ClusterError
        If nobody answers, there is no worker, or a worker's versions do not fit.
    """
    own = check_scheduler(scheduler)
    try:
        import dask  # noqa: PLC0415
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(
            f"SCHEDULER is {scheduler}, but the Python package {error.name} is not installed. Run geodl:setup with INSTALL "
            "set to yes, or install the extra with pip (geodl[cluster]); or leave SCHEDULER empty."
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with contextlib.ExitStack() as open_things, dask.config.set(_CONFIGURATION):
        address: Any = scheduler
        if own:
            # a process a worker, each of one thread: GDAL's handles and PyTorch's settings are a process's own
            address = open_things.enter_context(
                LocalCluster(
                    n_workers=own,
                    threads_per_worker=1,
                    memory_limit=None,
                    dashboard_address=":0",
                    env={"DASK_LOGGING__DISTRIBUTED": "warning"},
                )
            )
        try:
            client = open_things.enter_context(Client(address, timeout=_ANSWER_S))
        except (OSError, ValueError, TimeoutError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {scheduler} ({str(error).splitlines()[0] or type(error).__name__}). Check the "
                "address and that “dask scheduler” runs there, or leave SCHEDULER empty."
            ) from error
        _wait_for_workers(client, scheduler)
        _compare_versions(client, scheduler, needed)
        with _told_when_lost(scheduler):
            yield client


@contextlib.contextmanager
def _told_when_lost(scheduler: str) -> Iterator[None]:
    """Turn what is raised when the scheduler is gone into a sentence."""
    from distributed import CancelledError  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415

    try:
        yield
    except (CommClosedError, CancelledError) as error:
        raise ClusterError(
            f"The Dask scheduler at {scheduler} was lost while it worked ({type(error).__name__}). Start it again, with "
            "workers, then run the job again."
        ) from error


def check_scheduler(scheduler: str) -> int:
    """Return how many workers are to be started on this computer, 0 if an address is given; refuse anything else."""
    local = _LOCAL.fullmatch(scheduler)
    if local:
        count = int(local[1] or 2)
        if count:
            return count
    elif "://" in scheduler:
        return 0
    raise SettingsError(
        f"SCHEDULER is {scheduler!r}, which is no address. Give one like tcp://host:8786, local:4 for four workers on this "
        "computer, or leave it empty."
    )


def run_parts(
    client: Any,
    function: Callable[..., Any],
    common: Any,
    parts: Iterable[tuple[Any, ...]],
    progress: Progress,
    attempts: int = 0,
) -> Iterator[tuple[int, Any]]:
    """
    Yield (number of the part, ``function(common, *part)``) as the workers answer, in no order.

    Parameters
    ----------
    function : callable
        A function of a module that the workers can import.
    common : object
        What every part needs; it is sent once.
    attempts : int
        How often a part may fail before a `Failed` is yielded for it; 0 ends the job at the first error.

    Raises
    ------
    ClusterError
        If a part ended several workers, or all workers are gone or unfit.
    Cancelled
        If the user stopped the job.
    """
    from distributed import CancelledError, wait  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415

    held = client.submit(_same, common, pure=False)  # a task, so that it is made again where its worker is lost
    waiting: dict[Any, _Part] = {}
    unfit: dict[str, str] = {}
    source, alone_s = enumerate(parts), 0.0
    more = True

    def send(part: _Part) -> None:
        fit = [address for address in client.nthreads() if address not in unfit] if unfit else None
        waiting[client.submit(function, held, *part.arguments, pure=False, workers=fit)] = part

    try:
        while more or waiting:
            while more and len(waiting) < _AHEAD * max(1, sum(client.nthreads().values())):
                number, arguments = next(source, (-1, None))
                if arguments is None:
                    more = False
                    break
                send(_Part(number, arguments, 1))
            if not waiting:
                break
            with contextlib.suppress(TimeoutError):
                wait(list(waiting), timeout=1, return_when="FIRST_COMPLETED")
            if progress.cancelled():
                raise Cancelled("The job was stopped; nothing was kept.")
            for future in [one for one in waiting if one.done()]:
                part = waiting.pop(future)
                try:
                    answer = _result(future)
                except UnfitWorker as error:
                    _set_aside(client, error, unfit, progress)
                    send(part)
                    continue
                except Exception as error:  # whatever the part raised, on a worker
                    if not attempts or isinstance(error, (CommClosedError, CancelledError)):
                        raise
                    if part.attempt < attempts and not isinstance(error, ClusterError):
                        send(part._replace(attempt=part.attempt + 1))
                        continue
                    answer = Failed(f"{type(error).__name__}: {error}")
                yield part.number, answer
            alone_s = 0.0 if client.nthreads() else alone_s + 1
            if alone_s > _PATIENCE_S:
                raise ClusterError("All workers of the Dask cluster are gone. Start workers, then run the job again.")
    finally:
        if waiting:
            client.cancel(list(waiting))


def _set_aside(client: Any, error: UnfitWorker, unfit: dict[str, str], progress: Progress) -> None:
    """Send nothing more to a worker, and say why; raise where no other is left."""
    address, reason = error.args
    if address not in unfit:
        unfit[address] = reason
        progress.warning(f"The worker {address} gets no work: {reason}")
    if not set(client.nthreads()) - set(unfit):
        raise ClusterError(f"No worker of the Dask cluster can do this job. {reason}") from error


_CONFIGURATION = {
    "distributed.admin.large-graph-warning-threshold": "1GB",  # arrays are meant to travel with their part
    "distributed.worker.multiprocessing-method": "spawn",
    # what workers do beside their work: by default they look at their threads a hundred times a second, and tick fifty times
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "5s",
    # what must be there before a worker's process starts: its threads share one arena, see `environment.tune_memory`
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
}


def _same(value: Any) -> Any:
    return value


def _result(future: Any) -> Any:
    from distributed import KilledWorker  # noqa: PLC0415

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            "One part of the job ended several workers one after the other, most likely for want of memory. Give the workers "
            "more memory, or start fewer on each machine."
        ) from error


def _wait_for_workers(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_ANSWER_S)
    except TimeoutError as error:
        raise ClusterError(
            f"The Dask scheduler at {scheduler} has no workers. Start some (dask worker {scheduler}), then run the job again."
        ) from error


def _compare_versions(client: Any, scheduler: str, needed: tuple[str, ...]) -> None:
    """Refuse workers whose Python, NumPy or GeoDL would not understand what they are sent."""
    own = worker_versions(needed)
    try:
        found = client.run(worker_versions, needed)
    except Exception as error:  # whatever a worker without GeoDL says of it
        raise ClusterError(
            f"The workers of {scheduler} cannot run GeoDL ({type(error).__name__}: {error}). Install GeoDL {own['GeoDL']} "
            "for the Python of every worker."
        ) from error
    for worker, theirs in found.items():
        lacking = [name for name in needed if theirs[name] == "missing"]
        if lacking:
            raise ClusterError(
                f"The worker {worker} lacks the Python package {lacking[0]}. Install it for the Python of every worker."
            )
        for name in ("GeoDL", "Python", "NumPy"):
            if theirs[name] != own[name]:
                raise ClusterError(
                    f"The worker {worker} has {name} {theirs[name]}, but this computer has {own[name]}. Use the same on all of "
                    "them."
                )


def worker_versions(needed: tuple[str, ...]) -> dict[str, str]:
    """Return what must be alike on all machines (Python and NumPy by their first numbers), and which modules are missing."""
    import importlib.util  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    found = {name: "missing" if importlib.util.find_spec(name) is None else "there" for name in needed}
    python = ".".join(platform.python_version_tuple()[:2])
    return {**found, "GeoDL": versions()["GeoDL"], "Python": python, "NumPy": np.__version__.partition(".")[0]}
