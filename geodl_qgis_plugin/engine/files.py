"""Outputs that exist whole or not at all: written beside their place and renamed when done."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import OutputError, SourceError


def check_source(path: str | Path, what: str) -> Path:
    """Return the path if something lies there, else say so; ``what`` names it ("The model file")."""
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{what} {path} does not exist. Check its name and folder.")
    return path


def check_output(path: str | Path, needed_bytes: int = 0, *, folder: bool = False) -> Path:
    """
    Make sure that ``path`` can be written, with room for ``needed_bytes``, before any long work; make its folder.

    ``folder`` says that a folder is to be written.

    Raises
    ------
    OutputError
        If the folder cannot be made or written, the disk has too little room, or a folder lies where a file is to be.
    """
    path = Path(path)
    if not folder and path.is_dir():
        raise OutputError(f"{path} is a folder, but a file is to be written there. Give the file another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.parent / f".geodl-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The folder {path.parent} cannot be written ({error.strerror}). Choose another folder for {path.name}."
        ) from error
    check_room(path.parent, needed_bytes)
    return path


def not_written(path: str | Path, why: object) -> OutputError:
    """Return the error that tells why a file could not be written; of several lines, as GDAL may give, the first."""
    line = next((line.strip(" .") for line in str(why).splitlines() if line.strip()), "")
    reason = f": {line}" if line else ""
    return OutputError(f"{path} could not be written{reason}. Free some space or choose another folder.")


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise an `OutputError` if the disk that holds ``folder`` has less than ``needed_bytes`` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"{folder} has {free / 2**20:,.0f} MB free, but about {needed_bytes / 2**20:,.0f} MB are needed. "
            "Free some space or choose another folder."
        )


@contextlib.contextmanager
def whole_file(path: str | Path, key: str = "") -> Iterator[Path]:
    """
    Give a temporary path beside ``path``; rename it when the block ends well, delete it when not.

    The temporary name keeps the suffix, since GDAL and others choose the format by it. With a ``key`` it is always the same:
    what a run that was killed left behind is taken away by the next one.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{key or uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        if key:
            _remove_parts(part)
        with _sentences(path):
            yield part
            os.replace(part, path)
    finally:
        _remove_parts(part)


def _remove_parts(part: Path) -> None:
    for leftover in part.parent.glob(glob.escape(part.name) + "*"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def all_or_none(paths: Sequence[str | Path | None]) -> Iterator[None]:
    """Delete those of ``paths``, with the style and names beside them, that were written by a block that then failed."""
    files = [Path(path) for path in paths if path]
    files += [Path(f"{file}.aux.xml") for file in files] + [file.with_suffix(".qml") for file in files]
    before = {file: _written(file) for file in files}
    try:
        yield
    except BaseException:
        for file, when in before.items():
            if _written(file) != when:
                file.unlink(missing_ok=True)
        raise


def _written(file: Path) -> tuple[int, int] | None:
    return (file.stat().st_ino, file.stat().st_mtime_ns) if file.is_file() else None


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; put it in its place when the block ends well, delete it when not."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with _sentences(path):
            part.mkdir(parents=True)
            yield part
            old = None
            if path.exists():
                old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
                os.replace(path, old)
            os.replace(part, path)
            if old is not None:
                shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_parts(path: str | Path) -> None:
    """Delete what a process that was killed while it wrote ``path`` with `whole_file` left beside it."""
    path = Path(path)
    name = f".{glob.escape(path.stem)}.{'[0-9a-f]' * 8}.part{glob.escape(path.suffix)}*"
    for leftover in path.parent.glob(name):
        with contextlib.suppress(OSError):
            leftover.unlink()


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn the system's refusals into a sentence."""
    try:
        yield
    except (OutputError, SourceError):
        raise
    except OSError as error:
        raise not_written(path, error.strerror or error) from error
