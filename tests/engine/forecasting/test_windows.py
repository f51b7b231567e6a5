"""What a model sees of a series with gaps, and of the stations around it."""

import numpy as np
import pytest

pytest.importorskip("torch")

from geodl_qgis_plugin.engine.forecasting.climatology import NormalsPlan, fit_normals
from geodl_qgis_plugin.engine.forecasting.windows import Shape, anomalies, inputs, targets

from .made_up import MONTHLY, monthly


def known_of(values, trend="none"):
    plan = NormalsPlan({"year": 2}, trend)
    return anomalies(values, fit_normals(values, MONTHLY, plan), MONTHLY, 6, np.zeros(len(values), dtype=int))


@pytest.mark.parametrize(("memory", "low", "high"), [(0.95, 0.8, 1.0), (0.0, 0.0, 0.2)])
def test_a_gap_carries_what_was_seen_last(memory, low, high):
    """After a gap of one step a series that remembers is as it was, one that does not is normal; targets keep their gap."""
    values = monthly(3, 40, memory)
    values[0, 200] = np.nan
    known = known_of(values)
    assert np.isnan(known.values[0, 200])
    faded = known.carried[0, 200] / known.values[0, 199]
    assert low <= faded <= high
    where = np.array([[0, 201]])
    cut = inputs(known, MONTHLY, Shape(12, 6), where)
    assert cut[0, -1, 0] == pytest.approx(known.carried[0, 200])
    assert cut[0, :, 1].tolist() == [1.0] * 11 + [0.0]
    assert np.isnan(targets(known, Shape(12, 6), np.array([[0, 199]]))[0, 1])


@pytest.mark.parametrize("trend", ["none", "recent"])
def test_what_is_carried_fades(trend):
    """Through a long gap, and before a late beginning, a series comes to its level; nothing is ever missing."""
    values = monthly(3, 40, 0.9)
    values[1, 240:300] = np.nan
    values[2, :120] = np.nan
    known = known_of(values, trend)
    assert np.isfinite(known.carried).all()
    away = np.abs(known.carried - known.level[:, :-1])
    assert (np.diff(away[1, 240:300]) <= 0).all()
    assert away[1, 299] < 0.05
    assert (away[2, :120] == 0).all()
