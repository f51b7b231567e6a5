"""What surrounds a job: memory settings of the process, the process that started it, the packages it needs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

NEEDED_PACKAGES = ("numpy", "osgeo", "torch", "sklearn", "safetensors", "matplotlib", "jinja2")


class Cancellable(Protocol):
    """Something that can be asked to stop."""

    def cancel(self) -> None:
        """Ask to stop."""

    def abandon(self) -> None:
        """Say that nobody waits for the result any more."""


def missing_packages() -> list[str]:
    """Name the packages that the engine needs and does not find."""
    return [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]


def versions() -> dict[str, str]:
    """Return the versions of GeoDL, Python and those packages that are loaded, by name; nothing is imported for it."""
    found = {"GeoDL": _own_version(), "Python": platform.python_version()}
    for module, name in (("osgeo", "GDAL"), ("numpy", "NumPy"), ("torch", "PyTorch"), ("sklearn", "scikit-learn")):
        if module in sys.modules:
            found[name] = str(getattr(sys.modules[module], "__version__", "of unknown version"))
    return found


def _own_version() -> str:
    """Read the version from metadata.txt, which lies in the plugin's folder, in a checkout beside it."""
    plugin = Path(__file__).resolve().parents[1]
    for folder in (plugin, plugin.parent):
        with contextlib.suppress(OSError):
            line = re.search(r"^version=(.+)$", (folder / "metadata.txt").read_text(encoding="utf-8"), re.MULTILINE)
            if line:
                return line[1].strip()
    return "unknown"


def tune_threads() -> None:
    """
    Let threads that wait for each other sleep soon; call it before torch is imported.

    GNU's OpenMP lets them spin for long: beside other work that took twice the processor time and a third more of the clock's
    (docs/benchmarks.md). What the user has set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread: beside small nets threads wait for each other longer than they work."""
    import torch  # noqa: PLC0415 - whoever asks for this has it already

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tune_memory() -> bool:
    """
    Let glibc keep freed memory instead of giving it back after every layer; return whether it could be set.

    Unmapping and faulting in activations costs nearly half the time of a convolutional net on a CPU (docs/benchmarks.md).
    One arena for all threads: in another thread's arena what is freed is unmapped all the same, which costs a third more.
    Process-wide, so only for the engine's own process, and only on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    m_trim_threshold, m_top_pad, m_mmap_max, m_arena_max = -1, -2, -4, -8
    try:
        libc = ctypes.CDLL("libc.so.6")
        settings = ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_top_pad, 64 * 2**20), (m_arena_max, 1))
        return bool(
            min(libc.mallopt(name, value) for name, value in settings) == 1
        )  # each is set, whatever came of those before
    except (OSError, AttributeError):
        return False


def trim_memory(above_bytes: int) -> None:
    """
    Give back what glibc keeps of freed memory, where the process holds more than ``above_bytes``.

    Between arrays of changing sizes the heap grows although nothing more lives; to fault it in again costs a tenth of a block.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        if pages * os.sysconf("SC_PAGE_SIZE") > above_bytes:
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def watch(job: Cancellable, parent_pid: int | None, cancel_file: Path | None) -> None:
    """Cancel the job when ``cancel_file`` appears; abandon it when the process ``parent_pid`` is gone."""
    if parent_pid is None and cancel_file is None:
        return
    own_child = parent_pid is not None and os.getppid() == parent_pid

    def look() -> None:
        while True:
            time.sleep(0.5)
            if cancel_file is not None and cancel_file.exists():
                job.cancel()
            if parent_pid is None:
                continue
            # A child of it is told at once by its own new parent, even where the number is in use again.
            if (own_child and os.getppid() != parent_pid) or not is_running(parent_pid):
                job.abandon()
                return

    threading.Thread(target=look, name="watch", daemon=True).start()


def is_running(pid: int) -> bool:
    """Whether a process does something still; one that was killed keeps its number until its parent takes note of it."""
    if sys.platform == "win32":
        synchronize, still_waiting = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            return False
        waiting = ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == still_waiting
        ctypes.windll.kernel32.CloseHandle(handle)
        return bool(waiting)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in ("Z", "X")
    return True
