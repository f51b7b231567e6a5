"""A forecaster that two processes under torchrun train together, one of which is lost on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting import core, forecaster, windows
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

from ..own_name import needs_own_name
from .made_up import monthly, write_table

ROOT = Path(__file__).resolve().parents[3]
PLAN = {"members": 2, "rounds": 3, "steps_per_round": 4}
# as below in this process: small regions, so that there are parts to share, and little training
JOB = f"""
import os, signal, sys
from geodl_qgis_plugin.engine.forecasting import core, crew, forecaster, windows
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
windows._REGION_MOST = core._STATIONS_AT_ONCE = 2
forecaster.TrainingPlan = lambda: TrainingPlan(**{PLAN})
kept, restored = [], crew.Crew.restore
def keep(self, member, *rest):
    kept.append(member)
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and len(kept) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    own(self, member, *rest)
def restore(self, member, *rest):
    found = restored(self, member, *rest)
    if found is not None:
        print(self.stage, member, len(found[1]["training"]), file=open(sys.argv[2] + ".restored", "a"))
    return found
own, crew.Crew.keep, crew.Crew.restore = crew.Crew.keep, keep, restore
from geodl_qgis_plugin.engine.__main__ import main
sys.exit(main(["trainforecaster", sys.argv[2]]))
"""


@needs_own_name
def test_two_processes_give_what_one_gives_though_one_is_killed(tmp_path, monkeypatch):
    """
    Killed in its eighth round, the job goes on by itself and ends with the model that one process makes, to float error.

    The rounds that were done are not done again, one result is told, and nothing is left beside the model.
    """
    values = monthly(6, 20, 0.7)
    values[2, 50:70] = np.nan
    series, places = write_table(tmp_path / "series.csv", values)
    fields = {"station_field": "station", "time_field": "time", "value_field": "value", "horizon": 6}
    given = fields | {"input": str(series), "stations": str(places), "compare_statistical": "no"}
    (tmp_path / "job.py").write_text(JOB)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(given | {"output": str(tmp_path / "two" / "model.geodl")}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"]
    done = subprocess.run(
        [*command, str(tmp_path / "job.py"), "x", str(settings)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (result,) = [line["result"] for line in lines if line["type"] == "result"]

    monkeypatch.setattr(windows, "_REGION_MOST", 2)
    monkeypatch.setattr(core, "_STATIONS_AT_ONCE", 2)
    monkeypatch.setattr(forecaster, "TrainingPlan", lambda: TrainingPlan(**PLAN))
    alone = run_job("trainforecaster", given | {"output": str(tmp_path / "one" / "model.geodl")}, SilentProgress())
    for name in ("mase", "mae", "coverage"):
        assert result[name] == pytest.approx(alone[name], rel=1e-3), name
    two, one = (read_model(made["output"]) for made in (result, alone))
    assert two.weights.keys() == one.weights.keys()
    for name, array in one.weights.items():
        np.testing.assert_allclose(two.weights[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    restored = (tmp_path / "settings.json.restored").read_text().split("\n")
    assert any(line.endswith("0 3") for line in restored), restored  # a finished member, taken up after the loss
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["model.geodl"]
