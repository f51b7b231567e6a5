"""What several processes under torchrun do together, and what a job says that cannot be shared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from geodl_qgis_plugin.engine.errors import SettingsError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.ranks import ALONE, joined

from .own_name import needs_own_name

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = """
import json, sys
import numpy as np, torch
from geodl_qgis_plugin.engine.ranks import joined
with joined() as ranks:
    rows = np.arange(2 + 3 * ranks.rank, dtype=float).reshape(-1, 1) + 10 * ranks.rank
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    batch = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    (net(ranks.share(batch)) ** 2).sum().div(len(batch)).backward()
    ranks.sum_gradients(net.parameters())
    found = {
        "rank": ranks.rank,
        "share": list(ranks.share(range(5))),
        "sum": ranks.sum(np.array([1.0, ranks.rank])).tolist(),
        "gather": [part.ravel().tolist() for part in ranks.gather(rows)],
        "first": ranks.from_first(np.array([5 - ranks.rank])).tolist(),
        "any": [ranks.any(ranks.rank == 1), ranks.any(False)],
        "gradient": float(net.weight.grad),
    }
    ranks.barrier()
open(sys.argv[1] + str(ranks.rank), "w").write(json.dumps(found))
"""

# A job whose second process is slower than the first, is lost in its first life, and aborts at Python's own end.
SLOWER = """
import atexit, os, signal, sys, time
from pathlib import Path
from geodl_qgis_plugin.engine import __main__
from geodl_qgis_plugin.engine.ranks import joined
through = Path(sys.argv[2] + ".through")
def job(*_):
    with joined() as ranks:
        if not ranks.is_first:
            atexit.register(os.abort)
            time.sleep(1)
            if not ranks.restarted:
                os.kill(os.getpid(), signal.SIGKILL)
            through.write_text("yes")
    return {"restarted": ranks.restarted, "all through": through.exists()}
__main__.run_job = job
sys.exit(__main__.main(sys.argv[1:]))
"""


def torchrun(*arguments, processes=2):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "--max-restarts=1",
        *arguments,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)


@needs_own_name
def test_two_processes_hold_the_same_after_each_step(tmp_path):
    """Sums, joined rows, the first one's array and the gradients of a shared batch are the same in both, and right."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    done = torchrun(str(script), f"{tmp_path}/found")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"found{rank}").read_text()) for rank in range(2))
    assert (first.pop("rank"), second.pop("rank")) == (0, 1)
    assert (first.pop("share"), second.pop("share")) == ([0, 2, 4], [1, 3])
    assert first == second
    assert first["sum"] == [2.0, 1.0]
    assert first["gather"] == [[0.0, 1.0], [10.0, 11.0, 12.0, 13.0, 14.0]]
    assert first["first"] == [5]
    assert first["any"] == [True, False]
    assert first["gradient"] == pytest.approx(2 * (1 + 4 + 9 + 16) / 4)  # of the mean of squares over all four


@needs_own_name
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows")
def test_a_result_is_told_once(tmp_path):
    """The first process tells it when the others are through, not when one of them may still be lost and all start anew."""
    script, settings = tmp_path / "slower.py", tmp_path / "settings.json"
    script.write_text(SLOWER)
    settings.write_text("{}")
    done = torchrun(str(script), "trainclassifier", str(settings))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["result"] for line in lines if line["type"] == "result"] == [{"restarted": 1, "all through": True}]
    assert [line["name"] for line in lines if line["type"] == "error"] == ["LostRankError"]


def test_one_process_alone_needs_nobody(monkeypatch):
    """Without torchrun there is one process, which shares with no one."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined() as ranks:
        assert ranks is ALONE
        assert list(ranks.share(range(3))) == [0, 1, 2]


def test_a_job_that_cannot_be_shared_says_so(monkeypatch):
    """Under torchrun with several processes, a job that only one can do is refused before it begins."""
    for name, value in {"RUN_ID": "x", "RESTART_COUNT": "0"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="one process, but torchrun started 2"):
        run_job("describemodel", {}, SilentProgress())
