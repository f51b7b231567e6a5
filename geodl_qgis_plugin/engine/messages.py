"""
What the engine says while it works: one JSON object a line on standard output.

QGIS relays the lines to its log and progress bar; a terminal or a scheduler may read them too. Whatever a library prints on
standard output is turned to standard error, so that it cannot tear a line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, Protocol

ALIVE_EVERY_S = 5.0
GRACE_S = 20.0  # of a job that nobody waits for
ABANDONED_STATUS = 4
_PROGRESS_EVERY_S = 0.1


class Progress(Protocol):
    """What a long function tells its caller, and asks of it."""

    def update(self, fraction: float, text: str = "") -> None:
        """Report the share of the work that is done, from 0 to 1, and what is being done."""

    def message(self, text: str) -> None:
        """Tell the user something worth knowing."""

    def warning(self, text: str) -> None:
        """Tell the user something that may make the result worse than hoped."""

    def cancelled(self) -> bool:
        """Whether the job should stop at the next good place: the user asked for it, or nobody waits any more."""

    def abandoned(self) -> bool:
        """Whether nobody waits for the result any more: what was done is to be left as a power cut would, ready to go on."""


class SilentProgress:
    """Progress that goes nowhere, for tests and for callers that do not care; it keeps the warnings."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def update(self, fraction: float, text: str = "") -> None:
        """Ignore the fraction."""

    def message(self, text: str) -> None:
        """Keep the message."""
        self.messages.append(text)

    def warning(self, text: str) -> None:
        """Keep the warning."""
        self.warnings.append(text)

    def cancelled(self) -> bool:
        """Never."""
        return False

    def abandoned(self) -> bool:
        """Never."""
        return False


class PartOfProgress:
    """A stretch of a longer job: fractions from 0 to 1 are mapped onto ``start`` to ``end`` of the whole."""

    def __init__(self, whole: Progress, start: float, end: float) -> None:
        self._whole, self._start, self._end = whole, start, end

    def update(self, fraction: float, text: str = "") -> None:
        """Report the share of this part."""
        self._whole.update(self._start + (self._end - self._start) * min(max(fraction, 0.0), 1.0), text)

    def message(self, text: str) -> None:
        """Pass on."""
        self._whole.message(text)

    def warning(self, text: str) -> None:
        """Pass on."""
        self._whole.warning(text)

    def cancelled(self) -> bool:
        """Pass on."""
        return self._whole.cancelled()

    def abandoned(self) -> bool:
        """Pass on."""
        return self._whole.abandoned()


class Uninterrupted(PartOfProgress):
    """Progress of what is done to its end, so that what was made before is kept with its scores when the user stops."""

    def cancelled(self) -> bool:
        """Never."""
        return False


class LineProgress:
    """
    Writes the lines; safe to call from several threads.

    Parameters
    ----------
    quiet : bool
        Write nothing but an error, and that to standard error: another process of the same job talks.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        sys.stdout.flush()
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._alone = threading.Event()
        self._last_progress = 0.0
        self._last_fraction = 0.0
        threading.Thread(target=self._keep_alive, name="alive", daemon=True).start()

    def update(self, fraction: float, text: str = "") -> None:
        """Write the share done, at most ten times a second; it never goes back."""
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_EVERY_S and fraction < 1.0:
            return
        self._last_progress = now
        self._last_fraction = max(self._last_fraction, min(max(float(fraction), 0.0), 1.0))
        self.write({"type": "progress", "fraction": round(self._last_fraction, 5), "text": text})

    def message(self, text: str) -> None:
        """Write a message."""
        self.write({"type": "message", "text": text})

    def warning(self, text: str) -> None:
        """Write a warning."""
        self.write({"type": "warning", "text": text})

    def result(self, result: dict[str, Any]) -> None:
        """Write the outputs by name; the last line of a job that went well."""
        self.write({"type": "result", "result": result})

    def error(self, error: BaseException, detail: str = "") -> None:
        """Write why the job ended; ``detail`` is a traceback for a bug report."""
        self.write({"type": "error", "name": type(error).__name__, "text": str(error), "detail": detail})

    def cancel(self) -> None:
        """Ask the job to stop at the next good place."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.is_set()

    def abandon(self) -> None:
        """Take note that nobody waits any more: the job is asked to stop, and ended hard when it does not."""
        self._stop.set()
        if not self._alone.is_set():
            self._alone.set()
            threading.Thread(target=_end_hard, name="end", daemon=True).start()

    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return self._alone.is_set()

    def write(self, line: dict[str, Any]) -> None:
        """Write one line whole; where nobody reads any more, the job is abandoned."""
        if self._quiet:
            if line["type"] == "error":
                sys.stderr.write(f"{line['text']}\n{line['detail']}\n")
            return
        data = json.dumps(line, ensure_ascii=False, default=_plain).encode() + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[self._out.write(data) :]
            except OSError:
                self.abandon()

    def _keep_alive(self) -> None:
        while True:
            time.sleep(ALIVE_EVERY_S)
            self.write({"type": "alive"})


def _end_hard() -> None:
    time.sleep(GRACE_S)
    os._exit(ABANDONED_STATUS)


def _plain(value: Any) -> Any:
    """Turn numpy numbers and paths into what JSON knows."""
    return value.item() if hasattr(value, "item") else str(value)
