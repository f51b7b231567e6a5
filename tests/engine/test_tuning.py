"""Tuning: the same study whether it was killed or not, shared by processes, scored on the validation part alone."""

import csv
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

optuna = pytest.importorskip("optuna")

from geodl_qgis_plugin.engine.classification.study import begun, finished, is_wanted, open_study, revive
from geodl_qgis_plugin.engine.errors import Cancelled, OutputError, SettingsError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("checks_after_every_epoch")
ROOT = Path(__file__).resolve().parents[2]
# The engine, with a checkpoint after every batch, that kills itself in its third trial before the batch that it is told;
# told -1, its first trial waits until another process has begun one.
ENGINE = """
import os, signal, sys, time
from geodl_qgis_plugin.engine import __main__
from geodl_qgis_plugin.engine.classification import steps, training, tuning_job
training.KEEP_EVERY_S = 0.0
training.FEWEST_BATCHES_BETWEEN_CHECKS = 1
fatal, trial, taken = int(sys.argv[1]), None, 0
value, take = tuning_job._Tuning._value, steps.Steps.take
def begun(self, begun_trial, progress):
    global trial
    while fatal == -1 and trial is None and len(self.study.trials) < 2:
        time.sleep(0.1)
    trial = begun_trial.number
    return value(self, begun_trial, progress)
def counted(self, *arguments):
    global taken
    taken += trial == 2
    if taken and taken == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return take(self, *arguments)
tuning_job._Tuning._value, steps.Steps.take = begun, counted
sys.exit(__main__.main(sys.argv[2:]))
"""


def settings(tiles, folder, **options):
    folder.mkdir(exist_ok=True)
    names = {"output": "m.geodl", "report": "r.html", "trials_table": "t.csv"}
    outputs = {name: str(folder / file) for name, file in names.items()}
    return {"tiles": str(tiles.folder), **outputs, "trials": 4, "epochs": 3, "forest": False, **options}


@pytest.fixture(scope="module")
def unbroken(tiles, tmp_path_factory):
    """Tune once; return the settings and the result."""
    folder = tmp_path_factory.mktemp("unbroken")
    given = settings(tiles, folder / "out")
    return given, tuned(given, folder / "settings.json")


def engine(given, file, fatal_batch=0):
    file.write_text(json.dumps(given))
    return subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(fatal_batch), "tuneclassifier", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def tuned(given, file):
    """Tune in a process of its own, whose sums have the order of one thread, whatever other tests set; return the result."""
    worker = engine(given, file)
    said, _ = worker.communicate()
    assert worker.returncode == 0, said[-1000:]
    return json.loads(said.splitlines()[-1])["result"]


def study(path):
    storage = f"sqlite:///{path}"
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)


def table(given):
    with Path(given["trials_table"]).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_comes_out(unbroken):
    """The model is that of the best trial in the validation part, its report shows the trials, and the table holds them all."""
    given, result = unbroken
    rows = table(given)
    assert [row["state"] in ("complete", "pruned") for row in rows] == [True] * 4
    best = max((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["score"]))
    assert int(best["trial"]) == result["best_trial"]
    assert float(best["score"]) == pytest.approx((float(best["accuracy"]) + float(best["macro_f1"])) / 2)
    assert result["accuracy"] > result["majority_accuracy"] + 0.25
    part = read_model(given["output"]).part("classifier")
    assert part["settings"]["dropout"] == pytest.approx(float(best["dropout"]))
    checks = part["training"]["history"]
    assert max((one["validation_accuracy"] + one["validation_macro_f1"]) / 2 for one in checks) == pytest.approx(
        result["validation_score"]
    )
    html = Path(given["report"]).read_text()
    assert "How the settings were found" in html
    assert html.count("<svg") >= 6
    folder = Path(given["output"]).parent
    assert sorted(path.name for path in folder.iterdir()) == ["m.geodl", "m.study.db", "r.html", "t.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows")
def test_a_killed_tuning_comes_to_the_same_study(tiles, unbroken, tmp_path):
    """Killed in the third trial: that one is tried again, and all proposals and scores are those of the unbroken study."""
    given = settings(tiles, tmp_path / "out")
    process = engine(given, tmp_path / "settings.json", fatal_batch=13)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not Path(given["output"]).exists()
    assert [trial.state.name for trial in study(tmp_path / "out" / "m.study.db").trials][2:] == ["RUNNING"]
    result = tuned(given, tmp_path / "settings.json")
    trials = [trial for trial in study(tmp_path / "out" / "m.study.db").trials if trial.state.name != "FAIL"]
    whole = study(Path(unbroken[0]["output"]).with_suffix(".study.db")).trials
    assert len(trials) == len(whole) == 4
    for one, other in zip(trials, whole):
        assert one.params == other.params
        assert one.value == other.value
    assert result["accuracy"] == unbroken[1]["accuracy"]
    for name, array in read_model(unbroken[0]["output"]).weights.items():
        np.testing.assert_array_equal(read_model(given["output"]).weights[name], array)


def test_more_trials_go_on_with_the_study(tiles, unbroken, tmp_path):
    """Four are there, so asking for five makes one."""
    where = str(Path(unbroken[0]["output"]).with_suffix(".study.db"))
    progress = SilentProgress()
    result = run_job("tuneclassifier", settings(tiles, tmp_path / "more", study=where, trials=5), progress)
    assert [text[:8] for text in progress.messages if text.startswith("Trial ") and "architecture" in text] == [
        "Trial 4:"
    ]
    assert result["trials"] == 5


@pytest.mark.parametrize("ending", ["journal", "db"])
def test_two_workers_share_a_study(tiles, tmp_path, ending):
    """Both make trials, none is made twice, no more than were asked for, and both end with the same model."""
    shared = str(tmp_path / f"shared.{ending}")
    options = {"study": shared, "trials": 4, "epochs": 2, "report": None}
    given = [settings(tiles, tmp_path / name, **options) for name in ("one", "other")]
    workers = [engine(each, tmp_path / f"{i}.json", -1) for i, each in enumerate(given)]
    with ThreadPoolExecutor(2) as readers:
        said = list(readers.map(lambda worker: worker.communicate()[0], workers))
    assert [worker.returncode for worker in workers] == [0, 0], said[0][-500:] + said[1][-500:]
    made = [text.count(" has a score of ") + text.count("was given up") for text in said]
    assert sum(made) == 4
    assert min(made) >= 1
    rows = table(given[0])
    assert len({row["dropout"] for row in rows}) == 4
    first, second = (read_model(each["output"]).weights for each in given)
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)


def test_one_trial_too_many(tmp_path):
    """Of two processes that begin the last trial at the same moment the later is told no, unless the earlier one dies."""
    made = open_study(str(tmp_path / "s.db"), "s", 0)
    for _ in range(2):
        made.tell(made.ask(), 0.5)
    quicker, later = made.ask(), made.ask()
    assert is_wanted(made, quicker.number, 3)
    assert not is_wanted(made, later.number, 3)
    made.tell(later, state=optuna.trial.TrialState.FAIL)
    revive(made)
    assert [trial.number for trial in begun(made)] == [0, 1, 2]
    made.tell(quicker, state=optuna.trial.TrialState.FAIL)
    assert is_wanted(made, made.ask().number, 3)


def test_trials_of_dead_processes(tmp_path):
    """One silent for long elsewhere is tried again, three times at most; one that failed for a reason, or speaks, is not."""
    made = open_study(str(tmp_path / "s.db"), "s", 0)
    for attributes in ({"seen": 0.0}, {"seen": 4e9}):
        trial = made.ask()
        trial.suggest_float("x", 0.0, 1.0)
        for name, value in {"host": "elsewhere", "process": 1, "run": "another", **attributes}.items():
            trial.set_user_attr(name, value)
    failed = made.ask()
    failed.suggest_float("x", 0.0, 1.0)
    failed.set_user_attr("why", "The loss is no number.")
    made.tell(failed, state=optuna.trial.TrialState.FAIL)
    for tries in range(2, 6):
        revive(made)
        revive(made)
        waiting = [trial for trial in made.trials if trial.state.name == "WAITING"]
        assert len(waiting) == (1 if tries <= 4 else 0)
        if waiting:
            again = made.ask()
            assert again.suggest_float("x", 0.0, 1.0) == made.trials[0].params["x"]
            made.tell(again, state=optuna.trial.TrialState.FAIL)
    assert finished(made) == 1


def test_stopping(tiles, tmp_path):
    """Before a trial has come to its end nothing is kept; later the best so far is written, and the same command goes on."""

    class After(SilentProgress):
        def __init__(self, words):
            super().__init__()
            self.words, self.stopped = words, False

        def message(self, text):
            self.stopped = self.stopped or self.words in text

        def cancelled(self):
            return self.stopped

    with pytest.raises(Cancelled):
        run_job("tuneclassifier", settings(tiles, tmp_path / "early", trials=2), After("Trial 0:"))
    given = settings(tiles, tmp_path / "late", trials=2, epochs=2)
    result = run_job("tuneclassifier", given, After("Trial 1:"))
    assert result["cancelled"]
    assert Path(given["output"]).exists()
    result = run_job("tuneclassifier", given, SilentProgress())
    assert not result["cancelled"]
    assert result["trials"] == 2


def test_refusals(tiles, tmp_path):
    """A database that is not there and a table of an unknown kind are told before the first trial."""
    with pytest.raises(SettingsError, match="cannot be opened"):
        run_job("tuneclassifier", settings(tiles, tmp_path / "o", study="nosuchbase://here/study"), SilentProgress())
    with pytest.raises(OutputError, match="table format"):
        run_job(
            "tuneclassifier", settings(tiles, tmp_path / "o", trials_table=str(tmp_path / "t.doc")), SilentProgress()
        )
    with pytest.raises(SettingsError, match="does not classify"):
        run_job("tuneclassifier", settings(tiles, tmp_path / "o", architecture="classic"), SilentProgress())
