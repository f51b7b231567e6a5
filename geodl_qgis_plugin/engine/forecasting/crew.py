"""
The processes that train a forecaster together under torchrun, and where they keep how far they have come.

When a process is lost, torchrun starts all of them anew: windows have to be cut again, which is quick; the networks go on from
their last round.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ranks import ALONE, Ranks, launched

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Crew:
    """
    Who trains, and what for.

    Attributes
    ----------
    ranks : Ranks
    folder : path, optional
        Where networks are kept on the way; nowhere without torchrun, which alone would start the job again.
    fingerprint : str
        Of settings and input: what was kept for others is not taken up.
    stage : str
        What is being fitted: the job fits several times.
    """

    ranks: Ranks = ALONE
    folder: Path | None = None
    fingerprint: str = ""
    stage: str = "core"

    def at(self, stage: str) -> Crew:
        """Return the crew at a stage within this one."""
        return replace(self, stage=f"{self.stage}-{stage}")

    def keep(
        self,
        member: int,
        net: nn.Module,
        best: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        facts: Mapping[str, Any],
    ) -> None:
        """Keep how far a member of the stage has come: the first process writes, and the others wait for nothing."""
        if self.folder is None or not self.ranks.is_first:
            return
        from ..classification.checkpoints import save_checkpoint  # noqa: PLC0415 - only where something is kept

        save_checkpoint(self._path(member), net, best, optimizer, {**facts, "fingerprint": self.fingerprint})

    def restore(
        self, member: int, net: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Put what was kept of a member into net and optimiser; return its best state and the facts, None if nothing was."""
        if self.folder is None:
            return None
        from ..classification.checkpoints import read_checkpoint  # noqa: PLC0415

        path = self._path(member)
        data = self._same_bytes(path.read_bytes() if self.ranks.is_first and path.exists() else b"")
        if not data:
            return None
        kept = read_checkpoint(path, data)
        if kept.facts.pop("fingerprint", None) != self.fingerprint:
            return None
        kept.restore(net, optimizer)
        return kept.best, kept.facts

    def leave(self) -> None:
        """Delete what was kept, when the job is done."""
        if self.folder is not None and self.ranks.is_first:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, member: int) -> Path:
        name = "".join(letter if letter.isalnum() else "-" for letter in self.stage)
        return Path(self.folder or ".") / f"{name}-{member}.safetensors"

    def _same_bytes(self, data: bytes) -> bytes:
        """Return the first process's bytes: the others' disks may not be its own."""
        length = int(self.ranks.from_first(np.array([len(data)]))[0])
        given = np.frombuffer(data, dtype=np.uint8) if self.ranks.is_first else np.zeros(length, dtype=np.uint8)
        return self.ranks.from_first(given).tobytes() if length else b""


def crew_of(ranks: Ranks, output: str, source: str, settings: Mapping[str, Any]) -> Crew:
    """
    Return the crew of a job.

    Parameters
    ----------
    output : str
        The model file; what is kept lies beside it.
    source : str
        The file with the series.
    settings : mapping
        All settings of the job.
    """
    if launched() is None:
        return Crew(ranks)
    facts = Path(source).stat()
    text = json.dumps([dict(settings), facts.st_size, facts.st_mtime_ns, ranks.size], sort_keys=True, default=str)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return Crew(ranks, Path(output).with_suffix(".training"), fingerprint)
