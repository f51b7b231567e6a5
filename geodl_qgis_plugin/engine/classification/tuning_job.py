"""
Try settings for a classifier on the validation part, keep the best, and see the test part once: the job `tuneclassifier`.

Each trial trains as `trainclassifier` would; one that does worse than half of the others did by then is given up. In the end
the best trial's net is scored on the test part and written, as `trainclassifier` writes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, GeoDLError
from ..files import check_output
from ..messages import PartOfProgress, Progress
from ..ranks import ALONE
from ..run_lock import only_run
from ..settings import as_dict, read_settings
from ..tables import table_driver
from ..training_data.tile_set import TileSet
from . import training_job
from .course import Check, News, Standing, score_of_check
from .fitting import CHECKPOINT, LEARNING_RATES, architecture_of, check_parts, fit
from .networks import does
from .search_space import suggested
from .study import finished, is_wanted, open_study, revive, that_may_be_lost, under_way
from .training_settings import Settings as TrainingSettings
from .tuning_report import add_tuning, write_trials
from .tuning_settings import Settings

if TYPE_CHECKING:
    import optuna

_ROOM_BYTES = 256 * 2**20
_TRAINING_SHARE = 0.95
_RUNGS = 10  # places of a training at which trials are compared
_LOOK_EVERY_S = 1.0

__all__ = ["Settings", "run"]


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Try settings, and write the best model, its report and the table of trials.

    Raises
    ------
    TileSetError, SettingsError, OutputError, EnvironmentProblem
        Before any work, each with a sentence.
    Cancelled
        If it was stopped before a trial had come to its end; later the best model so far is written.
    """
    output = check_output(settings.output, _ROOM_BYTES)
    for path in (settings.report, settings.trials_table):
        if path:
            check_output(path)
    if settings.trials_table:
        table_driver(Path(settings.trials_table))
    tile_set = TileSet.open(settings.tiles)
    base = _base(settings)
    check_parts(tile_set, base)
    architectures = _architectures(settings, base, tile_set)
    digest = _digest(settings, tile_set)
    where = settings.study or str(output.with_suffix(".study.db"))
    study = open_study(where, f"geodl-{digest}", settings.seed)
    folder = output.parent / f".{output.stem}.{digest}.tuning"
    if not settings.resume:
        shutil.rmtree(folder, ignore_errors=True)
    tuning = _Tuning(settings, base, architectures, tile_set, study, folder)
    stopped = False
    try:
        with that_may_be_lost(where):
            tuning.go_on(PartOfProgress(progress, 0.0, _TRAINING_SHARE))
    except Cancelled:
        if progress.abandoned() or not tuning.complete():
            raise
        stopped = True
    best = study.best_trial
    chosen = tuning.settings_of(best)
    progress.message(
        f"Trial {best.number} is the best of {finished(study)}, with a score of {best.value:.3f} in the validation part."
    )
    result = training_job.run(
        replace(chosen, output=str(output), report=settings.report, forest=settings.forest),
        PartOfProgress(progress, _TRAINING_SHARE, 1.0),
        checkpoint=tuning.checkpoint(best.params),
        extend=lambda page: add_tuning(page, study, best, where),
    )
    if settings.trials_table:
        write_trials(settings.trials_table, study)
    if not stopped:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        **result,
        "trials_table": settings.trials_table,
        "trials": finished(study),
        "best_trial": best.number,
        "validation_score": best.value,
        "cancelled": stopped,
    }


class _Tuning:
    """The trials that this process makes of a study."""

    def __init__(
        self,
        settings: Settings,
        base: TrainingSettings,
        architectures: list[str],
        tile_set: TileSet,
        study: optuna.Study,
        folder: Path,
    ) -> None:
        self.settings, self.base, self.architectures = settings, base, architectures
        self.tile_set, self.study, self.folder = tile_set, study, folder

    def go_on(self, progress: Progress) -> None:
        """Make trials until the study has as many as were asked for, those of other processes included."""
        from optuna.trial import TrialState  # noqa: PLC0415

        waiting = False
        while True:
            revive(self.study)
            done = finished(self.study)
            trials = self.study.get_trials(deepcopy=False)
            lined_up = sum(trial.state == TrialState.WAITING for trial in trials)
            elsewhere = sum(trial.state == TrialState.RUNNING for trial in trials)
            wanted = self.settings.trials - done
            if progress.cancelled():
                raise Cancelled("Tuning was stopped before a trial had come to its end; there is nothing to keep.")
            if wanted <= 0 and not elsewhere:
                return
            if wanted - elsewhere > 0 or lined_up:
                part = PartOfProgress(
                    progress, done / self.settings.trials, min(done + 1, self.settings.trials) / self.settings.trials
                )
                self.study.optimize(partial(self._value, progress=part), n_trials=1, catch=(_Unworkable, _TooMany))
                self._tidy()
                waiting = False
                continue
            if not waiting:
                progress.message("Waiting for the trials of other processes.")
                waiting = True
            time.sleep(_LOOK_EVERY_S)

    def complete(self) -> bool:
        """Whether a trial has come to its end with a score."""
        from optuna.trial import TrialState  # noqa: PLC0415

        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def settings_of(self, trial: Any) -> TrainingSettings:
        """Return the settings of `trainclassifier` that a trial is made with, or was."""
        from optuna.trial import FixedTrial, FrozenTrial  # noqa: PLC0415

        asked = FixedTrial(trial.params) if isinstance(trial, FrozenTrial) else trial
        chosen = suggested(asked, self.settings, self.architectures, self.tile_set.tile_size_px)
        return replace(self.base, **chosen)

    def checkpoint(self, parameters: dict[str, Any]) -> Path:
        """Return where the checkpoint of a trial lies: named by its settings, so that one that is tried again goes on."""
        key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / key / CHECKPOINT

    def _value(self, trial: optuna.Trial, progress: Progress) -> float:
        import optuna  # noqa: PLC0415

        with under_way(trial):
            if not is_wanted(self.study, trial.number, self.settings.trials):
                raise _TooMany("Another process was quicker.")
            chosen = self.settings_of(trial)
            told = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
            progress.message(f"Trial {trial.number}: {told}.")
            checkpoint = self.checkpoint(trial.params)
            try:
                with only_run(checkpoint.parent, progress):
                    trained = fit(
                        architecture_of(chosen, self.tile_set),
                        chosen,
                        self.tile_set,
                        checkpoint,
                        progress,
                        ALONE,
                        after_check=lambda standing: self._look(trial, standing),
                    )
            except optuna.TrialPruned:
                progress.message(f"Trial {trial.number} was given up: half of the others were better by then.")
                raise
            except Cancelled:
                raise
            except GeoDLError as error:
                trial.set_user_attr("why", str(error))
                progress.message(f"Trial {trial.number} failed: {error}")
                raise _Unworkable(str(error)) from error
            if progress.cancelled():
                raise Cancelled("Tuning was stopped before a trial had come to its end; there is nothing to keep.")
            self._note(trial, trained.history)
            value = score_of_check(trained.best)
            progress.message(f"Trial {trial.number} has a score of {value:.3f}.")
            return value

    def _look(self, trial: optuna.Trial, standing: News) -> None:
        """Compare a trial with the others at the same share of their training; give it up where it falls behind."""
        import optuna  # noqa: PLC0415

        if not isinstance(standing, Standing):
            return

        rung = int(standing.done * _RUNGS)
        best = standing.course.best
        if best is None or standing.course.ended or rung < 1:
            return
        if rung not in self.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(score_of_check(best), rung)
            if trial.should_prune():
                self._note(trial, standing.course.history)
                raise optuna.TrialPruned

    def _note(self, trial: optuna.Trial, history: Sequence[Check]) -> None:
        best = max(history, key=score_of_check)
        trial.set_user_attr("accuracy", best.validation_accuracy)
        trial.set_user_attr("macro_f1", best.validation_macro_f1)
        trial.set_user_attr("epochs", history[-1].epoch)
        trial.set_user_attr("minutes", round(history[-1].seconds / 60, 2))

    def _tidy(self) -> None:
        """Keep the checkpoints of the best trial, and of those that can be gone on with."""
        with contextlib.suppress(ValueError):  # none is complete
            best = self.checkpoint(self.study.best_trial.params).parent
            for trial in self.study.get_trials(deepcopy=False):
                own = self.checkpoint(trial.params).parent
                if trial.state.name in ("COMPLETE", "PRUNED") and own != best:
                    shutil.rmtree(own, ignore_errors=True)


class _TooMany(GeoDLError):
    """A trial that two processes began at the same moment, where one was missing."""


class _Unworkable(GeoDLError):
    """Settings with which training cannot be done; they are not tried again."""


def _base(settings: Settings) -> TrainingSettings:
    shared = {name: getattr(settings, name) for name in ("tiles", "task", "epochs", "minutes", "seed", "precision")}
    return read_settings(TrainingSettings, {**shared, "output": settings.output, "architecture": settings.architecture})


def _architectures(settings: Settings, base: TrainingSettings, tile_set: TileSet) -> list[str]:
    """Return the names of those that are tried: the one that is asked for, or all that fit task and tiles."""
    if settings.architecture != "automatic":
        architecture_of(replace(base, architecture=settings.architecture), tile_set)  # says why, where it does not fit
        return [settings.architecture]
    found = []
    for name in LEARNING_RATES:
        with contextlib.suppress(GeoDLError):
            if does(name, settings.task):
                architecture_of(replace(base, architecture=name), tile_set)
                found.append(name)
    return found


def _digest(settings: Settings, tile_set: TileSet) -> str:
    """Return what names a study: all that its scores depend on, but neither how many trials nor where results go."""
    what = {**as_dict(settings), "tiles": tile_set.checksum()}
    for name in ("output", "report", "trials_table", "study", "trials", "forest", "resume"):
        what.pop(name)
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
