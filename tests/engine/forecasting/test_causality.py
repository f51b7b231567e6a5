"""Nothing that is scored at an origin knows what came after it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting.core import Side
from geodl_qgis_plugin.engine.forecasting.evaluation import evaluate
from geodl_qgis_plugin.engine.forecasting.forecaster import fit_forecaster
from geodl_qgis_plugin.engine.forecasting.model import answer
from geodl_qgis_plugin.engine.forecasting.training import TrainingPlan
from geodl_qgis_plugin.engine.forecasting.windows import Shape
from geodl_qgis_plugin.engine.messages import SilentProgress

from .made_up import MONTHLY, monthly

QUICK = TrainingPlan(members=1, rounds=1, steps_per_round=2)
ORIGINS = np.array([180, 187, 194])
HORIZON = 6


def judged(values, covariate):
    """Fit before the first origin and ask at each."""
    stations = len(values)
    static = np.linspace(-1, 1, stations)[:, None]
    side = Side(np.zeros(stations, dtype=int), np.arange(stations), None, covariate[None], static)
    before = int(ORIGINS[0])
    shape = Shape(12, HORIZON)
    model = fit_forecaster(values[:, :before], side.before(before), MONTHLY, shape, "none", training=QUICK)

    def method(history, beside, when):
        found = answer(model, history, beside, when)
        return found.quantiles, found.normal, found.parts

    return evaluate(method, values, side, MONTHLY, ORIGINS, HORIZON, SilentProgress())


@pytest.fixture(scope="module")
def truth():
    values, covariate = monthly(4, 17, 0.6), monthly(4, 17, 0.2, seed=5)
    return values, covariate, judged(values, covariate)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2), st.integers(0, 3), st.integers(0, 20), st.floats(-1e3, 1e3), st.booleans())
def test_a_value_changed_after_an_origin_changes_nothing_scored_at_it(
    truth, origin, station, after, shock, in_covariate
):
    """Whatever is changed at or after an origin, value or covariate, all forecasts made at or before it stay, bit for bit."""
    values, covariate, before = truth
    column = min(int(ORIGINS[origin]) + after, values.shape[1] - 1)
    changed = [values.copy(), covariate.copy()]
    changed[in_covariate][station, column] += shock
    found = judged(*changed)
    known = column >= ORIGINS
    np.testing.assert_array_equal(found.quantiles[known], before.quantiles[known])
    np.testing.assert_array_equal(found.normal[known], before.normal[known])
    for name in before.points:
        np.testing.assert_array_equal(found.points[name][known], before.points[name][known], err_msg=name)
    np.testing.assert_array_equal(found.scale, before.scale)


def test_what_came_before_does_change_the_forecast(truth):
    """The property above is no accident of a deaf model: a change before the origin is heard."""
    values, covariate, before = truth
    changed = values.copy()
    changed[:, ORIGINS[0] - 1] += 50
    assert not np.array_equal(judged(changed, covariate).quantiles, before.quantiles)
