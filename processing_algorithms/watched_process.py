"""Run another program from an algorithm: its lines as they come, cancel at once, and an end to one that hangs.

QGIS's own ``QgsBlockingProcess`` starts the program, since it works on the main thread and in a task. It gives no
handle to the process, so a small thread here watches: it passes on the user's cancel, counts the seconds of silence,
and kills a program that does not end when it is asked to.
"""

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsBlockingProcess, QgsFeedback
from qgis.PyQt.QtCore import QProcess

LAST_LINES = 40
LONGEST_LINE = 16 * 1024 * 1024
GRACE_S = 60.0  # after a cancel, a program may still write what it has: its best model, say
_POLL_S = 0.1


@dataclass(frozen=True)
class ProcessEnd:
    """How a program ended."""

    exit_code: int
    started: bool
    crashed: bool
    cancelled: bool
    silent: bool
    last_lines: tuple[str, ...]

    @property
    def signal(self) -> int:
        """Number of the signal that ended the program, or 0; always 0 on Windows."""
        return self.exit_code if self.crashed and os.name == "posix" else 0


class _Lines:
    """Cut a stream of bytes into lines; a line may come in pieces, split in the middle of a letter."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()

    def add(self, data: bytes) -> None:
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > LONGEST_LINE:
                self.end()
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            self._pass_on(line)

    def end(self) -> None:
        if self._rest:
            self._pass_on(bytes(self._rest))
            self._rest.clear()

    def _pass_on(self, line: bytes) -> None:
        self._on_line(line.decode("utf-8", errors="replace").rstrip("\r"))


class WatchedProcess:
    """
    One run of a program.

    Parameters
    ----------
    program, arguments
        What to run; no shell stands between.
    on_line
        Called with each line of standard output, from another thread than the caller's. It returns whether the
        line was understood; lines that were not are kept with those of standard error for ``ProcessEnd.last_lines``.
    silence_limit_s
        Seconds without a line of standard output after which the program is killed; none for no limit.
    cancel_file
        File that is made when the user cancels: the sign for programs on Windows, where no SIGTERM can be sent.
    """

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        on_line: Callable[[str], bool],
        *,
        silence_limit_s: float | None = None,
        cancel_file: Path | None = None,
    ) -> None:
        self._on_line = on_line
        self._silence_limit_s = silence_limit_s
        self._cancel_file = cancel_file
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._silent_for_s = 0.0
        self._silent = False
        self._error: Exception | None = None
        self._command = (program, *arguments)
        self._process = QgsBlockingProcess(program, list(arguments))
        # QGIS keeps no reference to the handlers and calls both: without these attributes, or with one handler only,
        # the next line of output ends QGIS.
        self._out = _Lines(self._relay)
        self._err = _Lines(self._last_lines.append)
        self._handle_out = lambda data: self._out.add(bytes(data))
        self._handle_err = lambda data: self._err.add(bytes(data))
        self._process.setStdOutHandler(self._handle_out)
        self._process.setStdErrHandler(self._handle_err)

    def run(self, feedback: QgsFeedback) -> ProcessEnd:
        """Run the program until it ends, is cancelled through `feedback`, or has been silent for too long."""
        stop = QgsFeedback()
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(feedback, stop, over), daemon=True)
        watcher.start()
        try:
            exit_code = self._process.run(stop)
        finally:
            over.set()
            watcher.join()
        self._out.end()
        self._err.end()
        if self._error is not None:
            raise self._error
        return ProcessEnd(
            exit_code=exit_code,
            started=self._process.processError() != QProcess.ProcessError.FailedToStart,
            crashed=self._process.exitStatus() == QProcess.ExitStatus.CrashExit,
            cancelled=feedback.isCanceled(),
            silent=self._silent,
            last_lines=tuple(line for line in self._last_lines if line.strip()),
        )

    def _relay(self, line: str) -> None:
        self._silent_for_s = 0.0
        try:
            if not self._on_line(line):
                self._last_lines.append(line)
        except Exception as error:  # a Python error must not pass through QGIS's C++ code: run() raises it
            self._error = self._error or error

    def _watch(self, feedback: QgsFeedback, stop: QgsFeedback, over: threading.Event) -> None:
        asked_to_end = None
        before = time.monotonic()
        while not over.wait(_POLL_S):
            now = time.monotonic()
            # A pause of this whole program (a suspended laptop, a debugger) is no silence of the other one.
            self._silent_for_s += min(now - before, 1.0)
            before = now
            if asked_to_end is None and feedback.isCanceled():
                asked_to_end = now
                if self._cancel_file is not None:
                    self._cancel_file.touch()
                if os.name == "posix" or self._cancel_file is None:
                    stop.cancel()  # SIGTERM; on Windows this kills, so there it waits until the grace is over
            if self._silence_limit_s is not None and self._silent_for_s > self._silence_limit_s:
                self._silent = True
                self._kill(stop)
            elif asked_to_end is not None and now - asked_to_end > GRACE_S:
                self._kill(stop)

    def _kill(self, stop: QgsFeedback) -> None:
        stop.cancel()
        for pid in _children_running(self._command):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _children_running(command: Sequence[str]) -> list[int]:
    """Find this process's children that run `command`: QgsBlockingProcess does not tell what it started."""
    if os.name != "posix":
        return []  # there, cancelling QgsBlockingProcess kills
    end = " ".join(command[1:])
    return [pid for pid, parent, line in _processes() if parent == os.getpid() and line.endswith(end)]


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield id, parent's id and command line of what runs: from /proc, or from ps where there is none (macOS)."""
    if Path("/proc/self/stat").exists():
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may end while it is looked at
                parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                yield int(folder.name), int(parent), line.rstrip("\0").replace("\0", " ")
    else:
        import subprocess  # noqa: PLC0415 - QGIS need not load it to list algorithms

        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=False)
        for row in listing.stdout.splitlines():
            pid, parent, line = row.split(None, 2)
            yield int(pid), int(parent), line
