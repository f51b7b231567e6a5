"""One process at a time in a folder of work that can be gone on with: a lock that the system frees when its holder is gone."""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import Cancelled, OutputError
from .messages import Progress

NAME = "lock"
_WAIT_S = 60.0  # an engine whose QGIS was killed may take a while to end
_LOOK_EVERY_S = 0.5


@contextlib.contextmanager
def only_run(folder: Path, progress: Progress) -> Iterator[None]:
    """
    Hold a folder, which is made, for as long as the block lasts; where another process holds it, wait a minute for its end.

    Raises
    ------
    OutputError
        If the other process goes on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / NAME).open("ab")
    except OSError as error:
        raise OutputError(
            f"The folder {folder} cannot be written ({error.strerror}). Choose another folder for the output."
        ) from error
    with file:
        waited = 0.0
        while not _held(file):
            if waited == 0.0:
                progress.message("The same command is running already; waiting for its end.")
            if progress.cancelled():
                raise Cancelled("The job was stopped before it began.")
            if waited >= _WAIT_S:
                raise OutputError(
                    "The same command is running already, in another window or process. Wait for its end, or choose another "
                    "OUTPUT."
                )
            time.sleep(_LOOK_EVERY_S)
            waited += _LOOK_EVERY_S
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder."""
    try:
        with (folder / NAME).open("ab") as file:
            return not _held(file)
    except OSError:
        return False


def _held(file: IO[bytes]) -> bool:
    """Take the lock if it is free; it is freed when the file is closed, however the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - of Windows

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - not of Windows

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A disk that knows no locks is no reason not to train.
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
