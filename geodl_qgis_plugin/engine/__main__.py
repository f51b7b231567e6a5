"""`python -m geodl_qgis_plugin.engine <job> settings.json`: one job, then the end."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from .environment import missing_packages, tune_memory, tune_threads, watch
from .errors import Cancelled, EnvironmentProblem, GeoDLError, SettingsError
from .jobs import JOBS, run_job
from .messages import LineProgress
from .ranks import end


def main(arguments: list[str] | None = None) -> int:
    """Run the job that the arguments name; return 0 after a result, 1 after a sentence to the user, 3 after a crash."""
    parser = argparse.ArgumentParser(prog="python -m geodl_qgis_plugin.engine", description=__doc__)
    parser.add_argument("job", help=", ".join(JOBS))
    parser.add_argument("settings", help="JSON file with the job's settings, by name in lower case")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    parser.add_argument("--cancel-file", type=Path, help="stop when this file appears")
    options = parser.parse_args(arguments)

    progress = LineProgress(quiet=_is_second())
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: progress.cancel())
    parent_pid = options.parent_pid or (os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)
    watch(progress, parent_pid, options.cancel_file)
    tune_threads()
    tune_memory()
    status = _done(options.job, options.settings, progress)
    end(status)
    return status


def _done(job: str, settings: str, progress: LineProgress) -> int:
    """Run a job and tell its result or what it failed on; return the process's status."""
    try:
        result = run_job(job, _read(settings), progress)
    except GeoDLError as error:
        progress.error(error)
        return 1
    except KeyboardInterrupt:
        progress.error(Cancelled("The job was stopped."))
        return 1
    except ModuleNotFoundError as error:
        missing = missing_packages() or [str(error.name)]
        sentence = f"The package {missing[0]} is not installed for {sys.executable}. Run geodl:setup to install it."
        progress.error(EnvironmentProblem(sentence), traceback.format_exc())
        return 1
    except MemoryError:
        progress.error(GeoDLError("The job ran out of memory. Choose smaller batches or tiles, or close programs."))
        return 1
    except Exception as error:  # a defect of ours: the sentence must still reach the user, with what a bug report needs
        sentence = f"GeoDL failed in a way it should not ({type(error).__name__}: {error}). Please report it."
        progress.error(GeoDLError(sentence), traceback.format_exc())
        return 3
    progress.result(result)
    return 0


def _is_second() -> bool:
    """Whether this is one of torchrun's processes that has to leave the talking to the first."""
    return os.environ.get("RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" in os.environ


def _read(path: str) -> dict[str, object]:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingsError(f"The settings file {path} is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise SettingsError(f"The settings file {path} must hold one JSON object with the settings by name.")
    return values


if __name__ == "__main__":
    sys.exit(main())
