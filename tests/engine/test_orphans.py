"""An engine that nobody waits for ends by itself, soon, and loses nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .test_tile_set import extract
from .test_training import QUICK, rule

ROOT = Path(__file__).resolve().parents[2]
RUN = str(ROOT / "geodl_qgis_plugin" / "run_engine.py")
SOON_S = 60.0
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # tests share the machine
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows")

# Starts the engine as QGIS does, says which process it is, and waits; what the engine says goes to a file.
PARENT = """
import os, subprocess, sys, time
with open(sys.argv[1], "wb") as log:
    engine = subprocess.Popen([sys.executable, "-E", *sys.argv[3:5], str(os.getpid()), *sys.argv[5:]], stdout=log)
with open(sys.argv[2] + ".part", "w") as file:
    file.write(str(engine.pid))
os.replace(sys.argv[2] + ".part", sys.argv[2])
time.sleep(600)
"""


@pytest.fixture
def endless(tmp_path):
    """Return a training job that would go on for hours, as the engine's last arguments."""
    tiles = extract(tmp_path / "set", **rule(tmp_path / "in"))
    settings = {"tiles": str(tiles.folder), "output": str(tmp_path / "out" / "m.geodl"), **QUICK, "epochs": 100_000}
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "patience": 100_000}))
    return ["trainclassifier", str(tmp_path / "settings.json")]


def wait_for(what, seconds=180.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def running(pid):
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def training(log):
    return log.exists() and past_first_epoch(log.read_text())


def past_first_epoch(text):
    """Whether it is told of a later epoch than the first: not of every one, where they are short."""
    return re.search(r"Epoch ([2-9]|\d\d+) of", text) is not None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
def test_it_ends_when_its_parent_was_killed(endless, tmp_path):
    """Also where nobody has taken note of the parent's death yet, so that its number is still in use; a checkpoint stays."""
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    command = [sys.executable, "-c", PARENT, str(log), str(pid_file), RUN, "--parent-pid", *endless]
    parent = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT)
    wait_for(pid_file.exists)
    engine = int(pid_file.read_text())
    try:
        wait_for(lambda: training(log))
        os.kill(parent.pid, signal.SIGKILL)  # and not waited for: a zombie, as under a shell that is busy
        wait_for(lambda: not running(engine), SOON_S)
    finally:
        parent.kill()
        parent.wait()
        if running(engine):
            os.kill(engine, signal.SIGKILL)
    assert not (tmp_path / "out" / "m.geodl").exists()
    assert len(list((tmp_path / "out").glob(".m.*.training/checkpoint.safetensors"))) == 1


def test_it_ends_when_nobody_reads(endless, tmp_path):
    """Whoever started it without a word of whom to watch: its output leads nowhere."""
    engine = subprocess.Popen(
        [sys.executable, "-E", RUN, *endless], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        for line in engine.stdout:
            if past_first_epoch(line):
                break
        engine.stdout.close()
        engine.wait(SOON_S)
    finally:
        engine.kill()
        engine.wait()
    assert not (tmp_path / "out" / "m.geodl").exists()
    assert len(list((tmp_path / "out").glob(".m.*.training/checkpoint.safetensors"))) == 1
