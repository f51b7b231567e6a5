"""
A study of settings that several processes and machines share, and that outlives each of them.

A trial that is under way says so every half minute. One whose process is gone, or that has been silent for long, is marked as
failed, and its settings are tried again. What a trial proposes follows from the seed, its place among those that did not die,
and the results so far, so that one process comes to the same study whether it was killed on the way or not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..environment import is_running
from ..errors import GeoDLError, OutputError, SettingsError
from ..files import check_output
from ..rasters.optional_packages import needed_package

if TYPE_CHECKING:
    import optuna

_SAY_EVERY_S = 30.0
SILENT_S = 600.0  # longer than any clock is wrong
MOST_RETRIES = 3  # of settings that may be what kills the process
_STARTUP_TRIALS = 8
# What SQLAlchemy raises where two processes make a database's tables at the same moment.
_OF_TWO_AT_ONCE = ("IntegrityError", "OperationalError", "ProgrammingError")
_ATTEMPTS = 5
_ROOM_BYTES = 2**20  # that a new study takes
_RUN = uuid.uuid4().hex


def open_study(where: str, name: str, seed: int) -> optuna.Study:
    """
    Open a study, or make it.

    Parameters
    ----------
    where : str
        A file: SQLite, or Optuna's journal where it ends in ``.journal`` or ``.log``, which is the safer one on a network disk;
        or the address of a database server, such as ``postgresql://user@host/name``.

    Raises
    ------
    SettingsError
        If it is none, or cannot be reached.
    OutputError
        If it is a file for which the disk has no room.
    EnvironmentProblem
        If Optuna is not installed.
    """
    package = needed_package("optuna", "Tuned classifiers", "tuning")
    package.logging.set_verbosity(package.logging.ERROR)
    is_new = "://" not in where and not Path(where).exists()
    for attempt in range(_ATTEMPTS):
        try:
            study: optuna.Study = package.create_study(
                storage=_storage(where),
                study_name=name,
                direction="maximize",
                load_if_exists=True,
                sampler=_sampler(seed),
                pruner=package.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3),
            )
            return study
        except GeoDLError:
            raise
        except Exception as error:  # what a database says differs by its driver
            if type(error).__name__ in _OF_TWO_AT_ONCE and attempt + 1 < _ATTEMPTS:
                time.sleep(0.5 * (attempt + 1))
                continue
            if "://" not in where and shutil.disk_usage(Path(where).absolute().parent).free < _ROOM_BYTES:
                if is_new:
                    Path(where).unlink(missing_ok=True)
                raise OutputError(f"STUDY {where} could not be written: the disk is full. Free some space.") from error
            raise SettingsError(
                f"STUDY {where} cannot be opened ({type(error).__name__}: {str(error).splitlines()[0]}). Give a file in a "
                "folder that can be written, or the address of a database that is running."
            ) from error
    raise SettingsError(f"STUDY {where} cannot be opened.")


@contextlib.contextmanager
def that_may_be_lost(where: str) -> Iterator[None]:
    """Turn what a storage says when it cannot be written or reached any more into a sentence."""
    import optuna  # noqa: PLC0415 - only while tuning

    try:
        yield
    except GeoDLError:
        raise
    except (optuna.exceptions.StorageInternalError, OSError) as error:
        what = str(error.__cause__ or error).splitlines()[0]
        raise OutputError(
            f"STUDY {where} could not be written or reached ({what}). Free some space, or start the database; then the same "
            "command goes on with the trials that are in it."
        ) from error


def _storage(where: str) -> Any:
    import optuna  # noqa: PLC0415 - only while tuning

    if "://" in where:
        return optuna.storages.RDBStorage(where)
    path = check_output(Path(where).absolute())
    if path.suffix.lower() in (".journal", ".log"):
        from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415

        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    # processes that write at once wait for each other instead of failing
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 120}})


def _sampler(seed: int) -> Any:
    import optuna  # noqa: PLC0415

    class SameForEachPlace(optuna.samplers.BaseSampler):  # type: ignore[misc]
        """Optuna's tree-structured Parzen estimator, seeded anew for each trial."""

        def __init__(self) -> None:
            self._inner: Any = None

        def before_trial(self, study: Any, trial: Any) -> None:
            before = [one for one in study.get_trials(deepcopy=False) if one.number < trial.number]
            place = sum(not died(one) for one in before)
            self._inner = optuna.samplers.TPESampler(
                n_startup_trials=_STARTUP_TRIALS, seed=(seed * 100_003 + place) % 2**32, constant_liar=True
            )
            self._inner.before_trial(study, trial)

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self._inner.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self._inner.sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return self._inner.sample_independent(study, trial, param_name, param_distribution)

    return SameForEachPlace()


@contextlib.contextmanager
def under_way(trial: Any) -> Iterator[None]:
    """Say who makes a trial, and from time to time that it is still under way."""
    for name, value in (("host", socket.gethostname()), ("process", os.getpid()), ("run", _RUN), ("seen", time.time())):
        trial.set_user_attr(name, value)
    over = threading.Event()

    def say() -> None:
        while not over.wait(_SAY_EVERY_S):
            with contextlib.suppress(Exception):  # a database that is away for a moment is no reason to stop training
                trial.set_user_attr("seen", time.time())

    speaker = threading.Thread(target=say, name="trial", daemon=True)
    speaker.start()
    try:
        yield
    finally:
        over.set()
        speaker.join()


def revive(study: optuna.Study) -> None:
    """Mark trials whose process is gone as failed, and line up the settings of all that died to be tried again."""
    from optuna.trial import TrialState  # noqa: PLC0415

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_gone(trial.user_attrs):
            with contextlib.suppress(ValueError, RuntimeError):  # another process was quicker
                study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    tried_again = {trial.user_attrs.get("retry_of") for trial in trials}
    for trial in trials:
        tries = int(trial.user_attrs.get("tries", 1))
        if died(trial) and trial.params and trial.number not in tried_again and tries <= MOST_RETRIES:
            study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number, "tries": tries + 1})


def died(trial: Any) -> bool:
    """Whether a trial ended without a result and without a reason: its process was killed, or stopped by the user."""
    return trial.state.name == "FAIL" and "why" not in trial.user_attrs


def finished(study: optuna.Study) -> int:
    """Return how many trials have come to an end: with a score, given up early, or with settings that do not work."""
    return sum(trial.state.is_finished() and not died(trial) for trial in study.get_trials(deepcopy=False))


def is_wanted(study: optuna.Study, number: int, wanted: int) -> bool:
    """
    Whether a trial is among the first ``wanted``: two processes that see one missing at the same moment begin two.

    The database numbers trials one after the other, so of several only those after the last wanted one are told no. Of those
    before, the ones that died do not count.
    """
    before = [trial for trial in study.get_trials(deepcopy=False) if trial.number < number]
    return sum(not died(trial) for trial in before) < wanted


def begun(study: optuna.Study) -> list[Any]:
    """Return the trials that were begun in earnest: not those of which there were too many."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "FAIL" or trial.params]


def _is_gone(said: Mapping[str, Any]) -> bool:
    if said.get("run") == _RUN or "host" not in said:
        return False
    if said["host"] == socket.gethostname():
        return int(said["process"]) == os.getpid() or not is_running(int(said["process"]))
    return time.time() - float(said["seen"]) > SILENT_S
