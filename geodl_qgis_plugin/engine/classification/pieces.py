"""
Finished pieces of a training that is made of many: nets, and trees a few at a time. What stands is not made again.

Each piece is a file of named arrays with facts in its header, as a checkpoint is; it is there whole or not at all. What a
training draws at random must not depend on whether a piece was made or found.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files import whole_file
from .checkpoints import Checkpoint, read_checkpoint, write_tensors

KEEP_EVERY_S = 5.0  # pieces that are made faster are put into one file
_NOTE_EVERY_S = 5.0


class Clock:
    """Counts the seconds that were spent on something, those before a break included."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._before = path, 0.0
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                self._before = float(path.read_text(encoding="ascii"))
        self._started = self._noted = time.monotonic()

    def seconds(self) -> float:
        """Return how many; every five seconds they are also written down."""
        now = time.monotonic()
        spent = self._before + now - self._started
        if self._path is not None and now - self._noted > _NOTE_EVERY_S:
            self._noted = now
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path, "now") as part:
                part.write_text(f"{spent:.2f}", encoding="ascii")
        return spent


class Pieces:
    """
    The pieces of one training.

    Parameters
    ----------
    folder : path, optional
        Where they lie; it is made when the first one is put there. None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._kept = time.monotonic()

    def clock(self, name: str) -> Clock:
        """Return the clock of a stage, which goes on where it stood."""
        return Clock(self._path(name, "seconds"))

    def due(self) -> bool:
        """Whether so much time has passed since the last piece that another one is worth a file."""
        return self.folder is not None and time.monotonic() - self._kept >= KEEP_EVERY_S

    def get(self, name: str) -> Checkpoint | None:
        """
        Return a piece, or None where it has not been made.

        Raises
        ------
        SettingsError
            If its file is damaged.
        """
        path = self._path(name)
        return None if path is None or not path.exists() else read_checkpoint(path, path.read_bytes())

    def put(self, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep a piece: named arrays, and facts that JSON can hold."""
        if (path := self._path(name)) is not None:
            write_tensors(path, tensors, facts, key="now")
            self._kept = time.monotonic()

    def _path(self, name: str, suffix: str = "safetensors") -> Path | None:
        return None if self.folder is None else self.folder / f"{name.replace(' ', '-')}.{suffix}"


def pieces_beside(checkpoint: Path, name: str) -> Pieces:
    """Return the pieces of what has a name, beside the checkpoint of the training that it is a part of."""
    return Pieces(checkpoint.with_name(f"{checkpoint.stem}-{name.replace(' ', '-')}"))


def holds_work(folder: Path) -> bool:
    """Whether a training's folder holds something that can be gone on with."""
    return any(folder.rglob("*.safetensors"))
