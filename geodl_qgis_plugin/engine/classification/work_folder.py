"""
The folder in which the blocks of a map wait until all are there: what lets a map that was stopped go on.

It lies beside the map, under a name that follows from all that the map depends on, so that no other run takes it. A block is
one file, written beside its place and renamed, with a checksum of each array: a block whose file is there and whole is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..files import not_written
from ..rasters.grid import Window

_SUFFIX = ".unfinished"


class WorkFolder:
    """
    Finished blocks of one map.

    Parameters
    ----------
    output : path
        The map, beside which the folder lies.
    facts : mapping
        All that the map depends on, as plain values: model, rasters, settings.
    """

    def __init__(self, output: str | Path, facts: Mapping[str, Any]) -> None:
        self.key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
        output = Path(output)
        self.path = output.parent / f".{output.stem}.{self.key}{_SUFFIX}"

    def finished(self) -> set[Window]:
        """Return the blocks that are done."""
        found = re.compile(r"block-(\d+)-(\d+)-(\d+)-(\d+)\.npz")
        files = self.path.iterdir() if self.path.is_dir() else ()
        return {Window(*map(int, match.groups())) for file in files if (match := found.fullmatch(file.name))}

    def put(self, block: Window, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep a block's arrays, by product; none where there is no data. Several processes may do so at once."""
        file = self._file(block)
        part = file.with_suffix(f".{uuid.uuid4().hex[:8]}.part")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            stream = io.BytesIO()
            np.savez(stream, **arrays)  # each member carries its CRC-32
            part.write_bytes(stream.getbuffer())
            os.replace(part, file)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise not_written(self.path, error.strerror or error) from error

    def get(self, block: Window, name: str) -> npt.NDArray[Any] | None:
        """
        Return one array of a finished block; None where there is no data.

        Raises
        ------
        DamagedBlock
            If the file is gone, or not what was written.
        """
        try:
            with np.load(self._file(block), allow_pickle=False) as arrays:
                return arrays[name] if name in arrays.files else None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedBlock(f"{self._file(block)} is damaged ({error}).") from error

    @contextlib.contextmanager
    def sign(self) -> Iterator[Path]:
        """Lay a file into the folder, which is made, by which other machines can tell that they see the same folder."""
        path = self.path / f"sign-{uuid.uuid4().hex[:8]}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            path.write_text(path.name, encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{self.path} could not be written: {error.strerror or error}. Choose another folder."
            ) from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, block: Window) -> Path:
        return self.path / f"block-{block.row}-{block.column}-{block.height}-{block.width}.npz"


class DamagedBlock(Exception):
    """A block's file does not hold what was written: the disk lost it when the machine went down."""
