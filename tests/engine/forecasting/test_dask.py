"""Stations in parts on the workers of a Dask cluster, and what is said where there is none."""

import os
import signal

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")
import psutil

from geodl_qgis_plugin.engine.dask_cluster import check_scheduler, dask_client
from geodl_qgis_plugin.engine.errors import ClusterError, SettingsError
from geodl_qgis_plugin.engine.forecasting import in_parts
from geodl_qgis_plugin.engine.forecasting.core import Side
from geodl_qgis_plugin.engine.forecasting.forecaster import fit_forecaster, predict
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
from geodl_qgis_plugin.engine.forecasting.windows import Shape
from geodl_qgis_plugin.engine.messages import SilentProgress

from .made_up import MONTHLY, monthly


class Killer(SilentProgress):
    """Kills one worker after the first part has come back."""

    victims = 0

    def update(self, fraction, text=""):
        if not self.victims:
            found = [
                one for one in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(one.cmdline())
            ]
            os.kill(found[0].pid, signal.SIGKILL)
            self.victims += 1


@pytest.fixture(scope="module")
def case():
    values = monthly(12, 20, 0.7)
    values[3, 100:140] = np.nan
    side = Side(np.repeat(np.arange(4), 3), np.arange(12))
    plan = TrainingPlan(members=1, rounds=1, steps_per_round=3)
    return fit_forecaster(values, side, MONTHLY, Shape(12, 6), "none", training=plan), values, side


def test_parts_on_workers_give_what_one_process_gives(case, monkeypatch):
    """Four parts on two workers, one of them killed on the way: what they give here, and what all stations give at once."""
    model, values, side = case
    whole = predict(model, values, side, MONTHLY)
    monkeypatch.setattr(in_parts, "_STATIONS_A_PART", 3)
    here = in_parts.answer_in_parts(model, values, side, MONTHLY, "", SilentProgress())
    killer = Killer()
    there = in_parts.answer_in_parts(model, values, side, MONTHLY, "local:2", killer)
    assert killer.victims == 1
    for name in ("quantiles", "mean", "normal"):
        # threads are fewer there, so that sums are taken in another order
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(getattr(here, name), getattr(whole, name), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("text", ["local:0", "somewhere", "8786", "local:two"])
def test_what_is_no_address_is_refused(text):
    """A text that names no scheduler is refused with examples of what does."""
    with pytest.raises(SettingsError, match="local:4"):
        check_scheduler(text)


def test_a_silent_address_is_told(monkeypatch):
    """Where nobody answers, one sentence says so and what to do."""
    monkeypatch.setattr("geodl_qgis_plugin.engine.dask_cluster._ANSWER_S", "1s")
    with (
        pytest.raises(ClusterError, match="No Dask scheduler answers at tcp"),
        dask_client("tcp://127.0.0.1:9"),
    ):
        pass
