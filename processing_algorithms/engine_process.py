"""Run a job of the engine in a process of its own, and tell QGIS what it says.

The engine writes one JSON object a line: progress, messages, warnings, and at the end a result or an error. Anything
else on its output is kept only to be shown should it fail.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingFeedback
from qgis.PyQt.QtCore import QCoreApplication

import geodl_qgis_plugin
from geodl_qgis_plugin.engine.errors import GeoDLError

from .interpreter import find_interpreter
from .watched_process import ProcessEnd, WatchedProcess

DEFAULT_SILENCE_LIMIT_S = 120.0
_OUT_OF_MEMORY_SIGNAL = 9
# QGIS keeps each text of progress as a line of its log: every "Epoch 12 of 400" there would drown what matters.
_COUNT_EVERY_S = 30.0


class EngineError(GeoDLError):
    """The engine refused a job, or ended without a result."""


def run_job(job: str, settings: Mapping[str, Any], feedback: QgsProcessingFeedback) -> dict[str, Any]:
    """
    Run one job and wait for it.

    Parameters
    ----------
    job : str
        Name of the job: the algorithm's id without ``geodl:``.
    settings : dict
        What the job's settings dataclass takes; plain values that JSON knows.

    Returns
    -------
    result : dict
        Outputs by name in lower case. After a cancel this is what the engine could keep (it then holds
        ``"cancelled": True``), or nothing.

    Raises
    ------
    EngineError
        With the engine's own sentence if it refused; else with what happened to it and its last lines.
    """
    interpreter = find_interpreter()
    relay = _Relay(feedback)
    import tempfile  # noqa: PLC0415 - QGIS need not load it to list algorithms

    with tempfile.TemporaryDirectory(prefix="geodl-job-", ignore_cleanup_errors=True) as folder:
        settings_file = Path(folder, "settings.json")
        settings_file.write_text(json.dumps(dict(settings), indent=1, ensure_ascii=False), encoding="utf-8")
        cancel_file = Path(folder, "cancel")
        arguments = ["-E", str(Path(geodl_qgis_plugin.__path__[0], "run_engine.py"))]
        if interpreter.packages is not None:
            arguments += ["--packages", str(interpreter.packages)]
        arguments += ["--parent-pid", str(os.getpid()), "--cancel-file", str(cancel_file), job, str(settings_file)]
        process = WatchedProcess(
            interpreter.program,
            arguments,
            relay.line,
            silence_limit_s=silence_limit_s(),
            cancel_file=cancel_file,
        )
        end = process.run(feedback)
    if relay.error is not None and not end.silent:
        return _refused(relay.error, end, feedback)
    if relay.result is not None:
        return relay.result
    if end.cancelled:
        feedback.pushWarning(_tr("Cancelled. The engine kept nothing."))
        return {}
    raise EngineError(_what_happened(interpreter.program, end))


def silence_limit_s() -> float:
    """Seconds without a line after which the engine counts as hung; it says that it is alive every five."""
    return float(os.environ.get("GEODL_SILENCE_LIMIT_S", DEFAULT_SILENCE_LIMIT_S))


class _Relay:
    """Passes the engine's lines to QGIS and keeps the result or the error."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._doing, self._told_at = "", 0.0
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None

    def line(self, text: str) -> bool:
        """Take one line; return whether it was one of the engine's."""
        try:
            line = json.loads(text)
            kind = line["type"]
        except (ValueError, KeyError, TypeError):
            return False
        if kind == "progress":
            self._feedback.setProgress(100.0 * line["fraction"])
            self._tell_doing(line.get("text", ""))
        elif kind == "message":
            self._feedback.pushInfo(line["text"])
        elif kind == "warning":
            self._feedback.pushWarning(line["text"])
        elif kind == "result":
            self.result = line["result"]
        elif kind == "error":
            self.error = line
        return kind in ("progress", "message", "warning", "alive", "result", "error")

    def _tell_doing(self, text: str) -> None:
        """Tell what is being done: at once where it is something else, seldom where only its numbers are others."""
        doing, now = re.sub(r"[\d.,]+", "", text), time.monotonic()
        if text and (doing != self._doing or now - self._told_at > _COUNT_EVERY_S):
            self._doing, self._told_at = doing, now
            self._feedback.setProgressText(text)


def _refused(error: Mapping[str, Any], end: ProcessEnd, feedback: QgsProcessingFeedback) -> dict[str, Any]:
    if end.cancelled and error.get("name") == "Cancelled":
        feedback.pushWarning(error["text"])
        return {}
    if error.get("detail"):
        feedback.pushDebugInfo(error["detail"])
    raise EngineError(error["text"])


def _what_happened(program: str, end: ProcessEnd) -> str:
    if not end.started:
        return _tr(
            "The engine's Python, {}, could not be started. Name another one in Settings › Options › GeoDL, or run "
            "“Check and install” there."
        ).format(program)
    if end.silent:
        text = _tr(
            "The engine said nothing for {} seconds and was stopped. Run it again; if it stops again, report it."
        )
        text = text.format(f"{silence_limit_s():g}")
    elif end.signal == _OUT_OF_MEMORY_SIGNAL:
        text = _tr(
            "The engine was killed from outside (signal 9), most often because memory ran out. Choose smaller batches "
            "or tiles, or close other programs."
        )
    elif end.crashed:
        text = _tr("The engine crashed ({}) before it had a result. Please report it with the lines below.")
        text = text.format(_tr("signal {}").format(end.signal) if end.signal else _tr("code {}").format(end.exit_code))
    else:
        text = _tr("The engine ended with status {} and without a result. Please report it with the lines below.")
        text = text.format(end.exit_code)
    if end.last_lines:
        text += "\n" + _tr("The engine's last lines:") + "\n" + "\n".join(end.last_lines)
    return text


def _tr(text: str) -> str:
    return QCoreApplication.translate("GeoDL", text)
