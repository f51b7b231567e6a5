"""The gate opens where the model wins, and intervals follow what the record at hand shows."""

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting.baselines import CLIMATOLOGY, PERSISTENCE
from geodl_qgis_plugin.engine.forecasting.conformal import independent_values, quantile_shifts, spread_factors
from geodl_qgis_plugin.engine.forecasting.recent_errors import weighted_quantiles
from geodl_qgis_plugin.engine.forecasting.skill_gate import decide
from geodl_qgis_plugin.engine.forecasting.transforms import none_below_trace

LEADS = 8


def gate_for(gains, seed=0, origins=60):
    """A gate where the model's mean errors are smaller than persistence's by ``gains`` (lead,), each with noise."""
    generator = np.random.default_rng(seed)
    reference = 1 + 0.2 * generator.normal(size=(origins, LEADS))
    model = reference - np.asarray(gains) + 0.2 * generator.normal(size=(origins, LEADS))
    return decide({PERSISTENCE: reference}, [PERSISTENCE] * LEADS, model, "ridge", 1)


def test_later_leads_open_though_the_first_does_not():
    """No better than persistence one step ahead but far better later: the later lead times are the model's."""
    gate = gate_for([-0.1, -0.05, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])
    assert not gate.open[0]
    assert gate.open[2:].all()
    assert "to 8 of 8" in gate.sentence


def test_luck_does_not_open_it():
    """Of eighty models without any gain at most four get a lead time: the odds of one in twenty hold for the first alone."""
    opened = sum(gate_for(np.full(LEADS, -0.01), seed).open.any() for seed in range(80))
    assert opened <= 4


def test_a_later_gain_alone_stays_shut_where_it_is_lost_elsewhere():
    """A model that loses over all lead times together and at the first gets none."""
    assert not gate_for([-0.3, -0.2, -0.2, -0.1, -0.1, 0.0, 0.05, 0.05]).has_skill


@pytest.mark.parametrize(
    ("copies", "block", "low", "high"),
    [(1, 1, 80, 400), (10, 1, 80, 400), (1, 10, 8, 40)],
    ids=["own", "copied", "blocks"],
)
def test_copies_count_once(copies, block, low, high):
    """Errors of stations that are copies, or that are wild for ten origins together, tell as much as so many fewer."""
    generator = np.random.default_rng(1)
    size = np.repeat(np.exp(1.5 * generator.normal(size=(200 // block, 4))), block, axis=0)[:, None, :]
    errors = np.abs(size * (1 if block > 1 else generator.normal(size=(200, 1, 4))))
    assert low < independent_values(np.repeat(errors, copies, axis=1)) < high


def test_stations_of_their_own_count_each():
    """Ten stations whose errors have nothing to do with each other tell as much as ten times the origins."""
    errors = np.abs(np.random.default_rng(2).normal(size=(200, 10, 4)))
    assert 1000 < independent_values(errors) < 4000


def test_few_origins_widen():
    """The same errors seen at fewer origins make wider intervals; the middle stays."""
    errors = np.random.default_rng(3).normal(size=(2000, 1, 3))
    few, many = (quantile_shifts(errors[:count], np.zeros((count, 1, 3, 7))) for count in (12, 2000))
    assert (few[:, -1] - few[:, 0] > many[:, -1] - many[:, 0]).all()
    assert (few[:, 3] == 0).all()


def test_intervals_grow_with_the_errors():
    """Errors twice as wide of late make intervals twice as wide, to either side by itself; the middle stays."""
    judged = np.array([-2.0, -1.5, -0.7, 0.0, 0.7, 1.5, 2.0])
    late = np.where(judged < 0, 2 * judged, judged)
    np.testing.assert_allclose(spread_factors(judged, late), [2, 2, 2, 1, 1, 1, 1])


def test_weighted_quantiles():
    """Weights of whole numbers count as so many copies."""
    values = np.random.default_rng(0).normal(size=4000)
    many = np.repeat(values, np.tile([1, 3], 2000))
    found = weighted_quantiles(values, np.tile([1.0, 3.0], 2000))
    np.testing.assert_allclose(found, weighted_quantiles(many), atol=0.01)


def test_dry_days_lie_inside():
    """Where most days are dry, a lower bound below half a trace is nothing; where none is, it stays."""
    generator = np.random.default_rng(0)
    rain = np.where(generator.random((1, 1000)) < 0.6, 0.0, 0.2 + generator.gamma(1, 5, (1, 1000)))
    quantiles = np.array([[[0.001, 0.02, 0.05, 0.08, 2.0, 9.0, 14.0]]])
    assert none_below_trace(quantiles, rain)[0, 0].tolist() == [0.0, 0.0, 0.0, 0.08, 2.0, 9.0, 14.0]
    np.testing.assert_array_equal(none_below_trace(quantiles, rain + 1), quantiles)


def test_hourly_intervals_hold_through_a_stormy_season():
    """
    Hourly values whose spread doubles after training: 80 % intervals hold 72 to 90 % of the time, since they follow the errors;

    without following they held 60 %. A record of some months cannot know the season.
    """
    from geodl_qgis_plugin.engine.forecasting.core import Side
    from geodl_qgis_plugin.engine.forecasting.forecaster import fit_forecaster, predict
    from geodl_qgis_plugin.engine.forecasting.frequency import Frequency
    from geodl_qgis_plugin.engine.forecasting.seasons import Calendar
    from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
    from geodl_qgis_plugin.engine.forecasting.windows import Shape

    generator = np.random.default_rng(0)
    length, known = 24 * 150, 24 * 90
    size = np.where(np.arange(length) < known, 1.0, 2.0)
    values = np.zeros((2, length))
    for step in range(1, length):
        values[:, step] = 0.97 * values[:, step - 1] + size[step] * generator.normal(size=2)
    hourly, side = Calendar(Frequency("second", 3600), 0), Side.of_training(2)
    quick = TrainingPlan(members=0)
    model = fit_forecaster(values[:, :known], side, hourly, Shape(12, 6), "none", training=quick)
    inside = []
    for origin in range(24 * 120, length - 6, 41):
        found = predict(model, values[:, :origin], side, hourly)
        came = values[:, origin : origin + 6]
        inside.append((came >= found.quantiles[..., 1]) & (came <= found.quantiles[..., 5]))
    assert 0.72 < np.mean(inside) < 0.90
    assert set(model.gate.baseline) & {PERSISTENCE, *CLIMATOLOGY.values()}
