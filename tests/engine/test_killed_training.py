"""Training that is killed at any moment, and the same command again: the model and the report of an unbroken run."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .models import told
from .test_tile_set import extract
from .test_training import QUICK, rule

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows")

# The engine, with a checkpoint after every batch, that kills itself instead of putting its n-th whole file in its place, or
# some seconds after it has said something.
ENGINE = """
import os, signal, sys, threading, time
from geodl_qgis_plugin.engine import __main__, messages
from geodl_qgis_plugin.engine.classification import forest, training
training.KEEP_EVERY_S = 0.0
forest.TREES = 20
training.FEWEST_BATCHES_BETWEEN_CHECKS = 1
left, replace = int(sys.argv[1]), os.replace
def deadly(*paths):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
os.replace = deadly
words, after_s, line = sys.argv[2], float(sys.argv[3]), messages.LineProgress
message, update = line.message, line.update
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def heard(text):
    if words and words in text:
        threading.Timer(after_s, die).start() if after_s else die()
    if after_s and text.startswith("Training ended"):
        time.sleep(after_s + 60)  # the moment is one of training's, however quick that was
line.message = lambda self, text: (message(self, text), heard(text))
line.update = lambda self, share, text="": (update(self, share, text), heard(text))
sys.exit(__main__.main(sys.argv[4:]))
"""


class Training:
    """The same command, again and again."""

    def __init__(self, folder):
        tiles = extract(folder / "set", **rule(folder / "in"))
        self.model, self.report = folder / "out" / "m.geodl", folder / "out" / "r.html"
        settings = {"tiles": str(tiles.folder), "output": str(self.model), "report": str(self.report), **QUICK}
        self.settings = folder / "settings.json"
        self.settings.write_text(json.dumps({**settings, "epochs": 3, "forest": True, "dropout": 0.2}))

    def run(self, fatal_write=0, fatal_words="", after_s=0.0):
        """Run to the end, however it comes; return the status and what was said."""
        moment = [str(fatal_write), fatal_words, str(after_s)]
        engine = subprocess.run(
            [sys.executable, "-c", ENGINE, *moment, "trainclassifier", str(self.settings)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        return engine.returncode, engine.stdout


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return Training(tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def unbroken(training):
    status, said = training.run()
    assert status == 0, said[-1000:]
    found = told(training.model, training.report)
    assert sorted(path.name for path in training.model.parent.iterdir()) == ["m.geodl", "r.html"]
    training.model.unlink()
    training.report.unlink()
    return found


def test_killed_at_many_moments(training, unbroken):
    """
    While a checkpoint is written, at random moments of training, in the forest, and while the model is written.

    Then the weights, the report and the description are those of the unbroken run, and nothing else is left.
    """
    folder = training.model.parent
    assert training.run(fatal_write=7)[0] == -signal.SIGKILL
    assert len(list(folder.glob(".m.*.training/.checkpoint.*.part.*"))) == 1
    going_on = "Going on after epoch 0, batch 6"
    assert training.run(fatal_words=going_on, after_s=random.uniform(0.01, 0.5))[0] == -signal.SIGKILL
    assert training.run(fatal_words="Growing the forest")[0] == -signal.SIGKILL
    assert not training.model.exists()
    status, said = training.run(fatal_write=1)
    assert status == -signal.SIGKILL
    assert "Training on" not in said  # what is trained is not trained again
    assert not training.model.exists()
    assert len(list(folder.glob(".m.*.part.geodl"))) == 1
    status, said = training.run()
    assert status == 0, said[-1000:]
    weights, report, item = told(training.model, training.report)
    for name, array in unbroken[0].items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)
    assert report == unbroken[1]
    assert item == unbroken[2]
    assert sorted(path.name for path in folder.iterdir()) == ["m.geodl", "r.html"]
