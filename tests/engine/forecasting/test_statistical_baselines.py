"""ETS and ARIMA stand beside the forecaster at the same origins, and know no more than it."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.errors import EnvironmentProblem
from geodl_qgis_plugin.engine.forecasting import other_packages
from geodl_qgis_plugin.engine.forecasting.baselines import CLIMATOLOGY, naive_scale, seasonal_naive
from geodl_qgis_plugin.engine.forecasting.evaluation import MODEL, Evaluation, add_climatology_distribution
from geodl_qgis_plugin.engine.forecasting.metrics import score_points
from geodl_qgis_plugin.engine.forecasting.networks import QUANTILES
from geodl_qgis_plugin.engine.messages import SilentProgress

from .made_up import MONTHLY, monthly

ORIGINS, HORIZON = np.array([120, 127, 134]), 6


def judged_by_the_last_year(values):
    """An evaluation whose model repeats the last year."""
    points = np.stack([seasonal_naive(values[:, :at], 12, HORIZON) for at in ORIGINS])
    observed = np.stack([values[:, at : at + HORIZON] for at in ORIGINS])
    quantiles = points[..., None] + np.linspace(-2, 2, len(QUANTILES))
    names = dict.fromkeys((MODEL, CLIMATOLOGY["none"]), points)
    return Evaluation(ORIGINS, observed, quantiles, names, points, naive_scale(values[:, :120], 12))


def with_ets(values, monkeypatch):
    monkeypatch.setitem(other_packages._MOST_AUTO, other_packages.ARIMA, 0)
    whole = judged_by_the_last_year(values)
    return other_packages.add_statistical_baselines(whole, values, 12, "auto", SilentProgress())


def test_ets_knows_nothing_of_what_comes(monkeypatch):
    """What changes after an origin changes no forecast of ETS made at it; its intervals are there, with their scores."""
    pytest.importorskip("statsforecast")
    values = monthly(2, 12)
    values[0, 50:53] = np.nan
    before = with_ets(values, monkeypatch)
    changed = values.copy()
    changed[:, 127:] += 50
    after = with_ets(changed, monkeypatch)
    np.testing.assert_array_equal(after.distributions["ETS"][:2], before.distributions["ETS"][:2])
    assert not np.array_equal(after.distributions["ETS"][2], before.distributions["ETS"][2])
    assert before.scores()["ETS"].mase < before.scores()[MODEL].mase
    assert before.best_baseline == "ETS"
    spread = before.spread_scores("ETS", (0, 1))
    assert spread["crps"].shape == (HORIZON,)
    assert 0.5 < spread["coverage_90"].mean() <= 1
    assert (np.diff(before.distributions["ETS"], axis=-1) >= 0).all()


def test_without_the_package(monkeypatch):
    """Where statsforecast is missing, auto goes without it and says so; yes is refused with what to install."""
    monkeypatch.setattr(other_packages.importlib.util, "find_spec", lambda name: None)
    values, progress = monthly(2, 12), SilentProgress()
    whole = judged_by_the_last_year(values)
    assert other_packages.add_statistical_baselines(whole, values, 12, "auto", progress) is whole
    assert "statsforecast" in progress.messages[0]
    with pytest.raises(EnvironmentProblem, match="pip install statsforecast"):
        other_packages.add_statistical_baselines(whole, values, 12, "yes", progress)


def test_climatology_has_a_distribution():
    """Over noise about a yearly cycle, climatology's 80 % interval holds 72 to 88 % of the time; CRPS is below MAE."""
    values = monthly(8, 40, seed=2)
    origins = np.arange(300, 470, 5)
    observed = np.stack([values[:, at : at + HORIZON] for at in origins])
    whole = replace(judged_by_the_last_year(values), origins=origins, observed=observed)
    found = add_climatology_distribution(whole, values, MONTHLY, {"year": 1}, "none")
    spread = found.spread_scores(CLIMATOLOGY["none"])
    assert 0.72 < spread["coverage_80"] < 0.88
    middle = found.distributions[CLIMATOLOGY["none"]][..., QUANTILES.index(0.5)]
    assert spread["crps"] < np.abs(middle - observed).mean()
    assert found.spread_scores("persistence") == {}


def test_scores_along_leads_and_stations():
    """The means over lead times and over stations are those of the whole, where nothing is missing."""
    generator = np.random.default_rng(0)
    found, observed = generator.normal(size=(2, 5, 3, 4))
    scale = np.array([1.0, 2.0, 4.0])
    scores = score_points(found, observed, scale)
    for along in (scores.by_lead, scores.by_station):
        assert along.mae.mean() == pytest.approx(scores.mae)
        assert np.square(along.rmse).mean() == pytest.approx(scores.rmse**2)
        assert along.bias.mean() == pytest.approx(scores.bias)
        assert along.mase.mean() == pytest.approx(scores.mase)
    assert scores.by_station.mase == pytest.approx(np.abs(found - observed).mean(axis=(0, 2)) / scale)
