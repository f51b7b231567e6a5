"""
The blocks of a map on the workers of a Dask cluster.

What travels is small: the work's description, once, and a block's place. Each worker opens the rasters and the model itself,
and writes the blocks it has finished into the map's work folder, by rename, as one process does. So the folder is the ledger:
a run that was killed goes on, with or without the cluster, and the map is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dask_cluster import Failed, UnfitWorker, dask_client, run_parts
from ..environment import tune_memory, versions
from ..errors import Cancelled, ClusterError, GeoDLError
from ..messages import Progress
from ..rasters.sources import fingerprint
from .blocks import Block, BlockWork
from .work_folder import WorkFolder

ATTEMPTS = 3
_ALIKE = ("PyTorch", "GDAL")  # by their first two numbers: others may map a pixel in ten thousand differently
_SHOWN = 5


@dataclass(frozen=True)
class _Common:
    """What every block needs: the work, and where its arrays go; ``rasters`` and ``sign`` tell a worker's files from others."""

    work: BlockWork
    folder: WorkFolder
    rasters: Mapping[str, Any]
    sign: Path
    versions: Mapping[str, str]


def work_through_cluster(
    scheduler: str, work: BlockWork, blocks: Sequence[Block], folder: WorkFolder, progress: Progress
) -> dict[Block, str]:
    """
    Work out blocks on a cluster; return those that failed three times, with why.

    Raises
    ------
    ClusterError
        If nobody answers, or a worker has other versions, or does not see the rasters, the model or the folder; if every
        block failed.
    Cancelled
        If it was asked for; finished blocks stay in the folder.
    """
    failed: dict[Block, str] = {}
    with dask_client(scheduler, ("numpy", "torch", "osgeo", "safetensors")) as client, folder.sign() as sign:
        rasters = {path: _contents(path) for path in work.stack.paths}
        common = _Common(work, folder, rasters, sign, {name: versions()[name] for name in _ALIKE})
        for address, reason in client.run(why_unfit, common).items():
            if reason:
                raise ClusterError(f"The worker {address} cannot do this job: {reason}")
        progress.message(f"{len(blocks)} blocks go to {len(client.nthreads())} workers.")
        parts = ((block,) for block in blocks)
        try:
            for done, (number, answer) in enumerate(
                run_parts(client, finish_block, common, parts, progress, ATTEMPTS), start=1
            ):
                if isinstance(answer, Failed):
                    failed[blocks[number]] = answer.reason
                progress.update(done / len(blocks), "Classifying")
        except Cancelled:
            left = len(set(blocks) - folder.finished())
            raise Cancelled(f"Classifying was stopped after {len(blocks) - left} of {len(blocks)} blocks.") from None
    if len(failed) == len(blocks):
        raise ClusterError(
            f"Every block failed on the cluster's workers. The first said: {next(iter(failed.values()))}"
        )
    return failed


def what_failed(failed: Sequence[Block], blocks: int, folder: WorkFolder) -> str:
    """Return a sentence that lists blocks by where they lie in the map."""
    shown = "; ".join(f"rows from {one.row}, columns from {one.column}" for one in failed[:_SHOWN])
    shown += "; …" if len(failed) > _SHOWN else ""
    return (
        f"{len(failed)} of {blocks} blocks failed {ATTEMPTS} times and have no class in the map ({shown}). The rest is kept in "
        f"{folder.path}: the same command tries only the failed ones again. Delete it to start afresh."
    )


def finish_block(common: _Common, block: Block) -> None:
    """
    Work out a block and put it into the folder; called on a worker.

    Raises
    ------
    UnfitWorker
        If this worker does not see what the job needs: one may have joined after the others were asked.
    """
    own = _own_work(common)
    common.folder.put(block, own.compute(block))


def why_unfit(common: _Common) -> str:
    """Return why this process cannot do the job, as a sentence; nothing if it can."""
    tune_memory()
    own = versions()
    for name in _ALIKE:
        if _first_two(own.get(name, "")) != _first_two(common.versions[name]):
            return (
                f"it has {name} {own.get(name, 'in no version')}, but the map was begun with {common.versions[name]}. Use the "
                "same on all machines."
            )
    if not common.sign.is_file():
        folder = common.sign.parent
        return (
            f"it does not see {folder}. The output's folder must be one that all machines share, under the same path."
        )
    try:
        for path, contents in common.rasters.items():
            if _contents(path) != contents:
                return f"its {path} is another file than this computer's. Put the rasters where all machines see the same ones."
        common.work.model  # noqa: B018 - read here, and kept for the blocks
    except (GeoDLError, OSError) as error:
        return str(error)
    return ""


_lock = threading.Lock()
_own = threading.local()
_fit: list[Any] = []  # the sign of the job that this process was found fit for


def _own_work(common: _Common) -> BlockWork:
    """Return the work with raster handles that no other thread of this worker uses; the model is the process's."""
    if getattr(_own, "common", None) is not common:
        with _lock:
            if _fit != [common.sign]:
                reason = why_unfit(common)
                if reason:
                    from distributed import get_worker  # noqa: PLC0415

                    raise UnfitWorker(get_worker().address, reason)
                _fit[:] = [common.sign]
            _own.common, _own.work = common, common.work.for_thread()
    work: BlockWork = _own.work
    return work


def _contents(path: str) -> list[dict[str, Any]]:
    """Return what tells a raster from another of its name; not its time, which a copy has of its own."""
    return [{key: value for key, value in facts.items() if key != "time"} for facts in fingerprint(path)]


def _first_two(version: str) -> list[str]:
    return version.split(".")[:2]
