"""Where there is nothing to be known the model says so; where there is, it finds it."""

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting import forecaster
from geodl_qgis_plugin.engine.forecasting.baselines import CLIMATOLOGY, PERSISTENCE
from geodl_qgis_plugin.engine.forecasting.core import Side
from geodl_qgis_plugin.engine.forecasting.forecaster import fit_forecaster, predict
from geodl_qgis_plugin.engine.forecasting.report_skill import gates_sentence
from geodl_qgis_plugin.engine.forecasting.skill_gate import Gate
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
from geodl_qgis_plugin.engine.forecasting.windows import Shape
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress

from .made_up import MONTHLY, monthly, random_walk, white_noise, write_table

QUICK = TrainingPlan(members=1, rounds=6)


def fitted(values, seed=0):
    side = Side.of_training(len(values))
    return fit_forecaster(values, side, MONTHLY, Shape(12, 6), "none", training=QUICK, seed=seed), side


@pytest.mark.parametrize("seed", range(4))
def test_white_noise_gets_climatology(seed):
    """On white noise the gate stays shut, and the forecast is climatology's, number for number."""
    values = white_noise(seed=seed)
    model, side = fitted(values)
    assert not model.gate.has_skill
    assert "no skill" in model.gate.sentence
    found = predict(model, values, side, MONTHLY)
    np.testing.assert_allclose(found.median, found.parts[CLIMATOLOGY[model.trend]], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_gets_persistence(seed):
    """On a random walk the gate stays shut, and the forecast is the last value."""
    values = random_walk(seed=seed)
    model, side = fitted(values)
    assert not model.gate.has_skill
    found = predict(model, values, side, MONTHLY)
    assert set(model.gate.baseline) == {PERSISTENCE}
    np.testing.assert_allclose(found.median, np.repeat(values[:, -1:], 6, axis=1), atol=1e-9)


@pytest.mark.parametrize("made", [white_noise, random_walk])
def test_the_report_says_so(made, tmp_path, monkeypatch):
    """Through the job itself: the report's first sentence and a warning say that there is no skill."""
    monkeypatch.setattr(forecaster, "TrainingPlan", lambda: QUICK)
    series, places = write_table(tmp_path / "series.csv", made())
    given = {"input": str(series), "stations": str(places), "station_field": "station", "time_field": "time"}
    given |= {
        "value_field": "value",
        "horizon": 6,
        "compare_statistical": "no",
        "report": str(tmp_path / "report.html"),
    }
    run_job("trainforecaster", given | {"output": str(tmp_path / "model.geodl")}, SilentProgress())
    page = (tmp_path / "report.html").read_text()
    assert "value: the model has no skill beyond the best baseline, so the forecast is the baseline&#39;s" in page
    assert "There is no skill beyond the baselines here" in page


def test_two_gates_are_told_apart():
    """Where the scored and the saved model's gates differ, the report says what each did; where not, once for both."""
    shut, wide = (
        Gate(np.full(3, opened), ["climatology"] * 3, np.zeros(3), np.zeros(3), "ridge") for opened in (False, True)
    )
    both = gates_sentence(wide, shut)
    assert (
        both.index("that was scored")
        < both.index("no skill")
        < both.index("that is saved")
        < both.index("beat the best")
    )
    assert gates_sentence(shut, shut).count("no skill") == 1


def test_memory_is_found():
    """Of anomalies with a memory of 0.8 the first lead time's error falls by a fifth or more below climatology's."""
    values = monthly(6, 45, 0.8)
    model, side = fitted(values[:, :300])
    assert model.gate.open[0]
    errors = {"model": [], "climatology": []}
    for origin in range(300, 534, 3):
        found = predict(model, values[:, :origin], side, MONTHLY)
        errors["model"].append(np.abs(found.median[:, 0] - values[:, origin]))
        errors["climatology"].append(np.abs(found.parts[CLIMATOLOGY["none"]][:, 0] - values[:, origin]))
    assert np.mean(errors["model"]) < 0.8 * np.mean(errors["climatology"])


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_does_not_matter(unit):
    """Values in tesla are forecast as in nanotesla: the same gate, trend and forecast, in their own unit."""
    values = monthly(3, 20, 0.8)
    (one, side), (other, _) = fitted(values), fitted(values * unit)
    assert (one.gate.open == other.gate.open).all()
    found, scaled = (predict(model, given, side, MONTHLY) for model, given in ((one, values), (other, values * unit)))
    np.testing.assert_allclose(scaled.quantiles / unit, found.quantiles, rtol=1e-3)


def test_intervals_hold_what_they_promise():
    """Over fresh noise, 80 % intervals hold 74 to 86 % of the time."""
    values = monthly(8, 40, 0.0, seed=3)
    model, side = fitted(values[:, :360])
    inside = []
    for origin in range(360, 474, 7):
        found = predict(model, values[:, :origin], side, MONTHLY)
        came = values[:, origin : origin + 6]
        inside.append((came >= found.quantiles[..., 1]) & (came <= found.quantiles[..., 5]))
    assert 0.74 < np.mean(inside) < 0.86
