"""Area-adjusted accuracy: the worked example of the paper, and a sample that is drawn again and again."""

import numpy as np
import pytest

from geodl_qgis_plugin.engine.classification.area_adjusted import area_adjusted

# Olofsson et al. 2014, table 8: rows are the map (deforestation, forest gain, stable forest, stable non-forest)
POINTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 0.09


def test_the_example_of_olofsson_2014():
    """Accuracies and areas with their intervals are those that section 5 of the paper gives."""
    found = area_adjusted(POINTS.T, PIXELS)
    assert (found.accuracy.value, found.accuracy.margin) == pytest.approx((0.95, 0.02), abs=0.005)
    users, producers = [0.88, 0.73, 0.93, 0.96], [0.75, 0.85, 0.93, 0.96]
    assert [one.value for one in found.users] == pytest.approx(users, abs=0.005)
    assert [one.margin for one in found.users] == pytest.approx([0.07, 0.10, 0.04, 0.02], abs=0.005)
    assert [one.value for one in found.producers] == pytest.approx(producers, abs=0.005)
    assert found.producers[0].margin == pytest.approx(0.21, abs=0.005)
    total = PIXELS.sum() * HECTARES
    areas = [one.value * total for one in found.area]
    margins = [one.margin * total for one in found.area]
    assert areas == pytest.approx([21_158, 11_686, 285_770, 581_386], abs=1)
    assert margins == pytest.approx([6_158, 3_756, 15_510, 16_282], abs=2)


def test_intervals_hold_what_they_promise():
    """Over 2,000 stratified samples of a known map, 95 % intervals cover the true accuracy and area 93 to 97 % of the time."""
    generator = np.random.default_rng(0)
    truth = np.array([[0.05, 0.03, 0.0], [0.02, 0.25, 0.05], [0.01, 0.04, 0.55]])  # (mapped, reference)
    pixels = truth.sum(axis=1) * 1e6
    hits = np.zeros(3)
    for _ in range(2000):
        counts = np.array([generator.multinomial(400, row / row.sum()) for row in truth])
        found = area_adjusted(counts.T, pixels)
        pairs = ((found.accuracy, np.trace(truth)), (found.area[0], 0.08), (found.producers[1], 0.25 / 0.32))
        hits += [abs(one.value - true) <= one.margin for one, true in pairs]
    assert np.all((hits / 2000 > 0.93) & (hits / 2000 < 0.97)), hits / 2000


@pytest.mark.filterwarnings("error")
def test_classes_without_points():
    """Classes with fewer than two points are left out and their share of the map is told; nothing divides by zero."""
    found = area_adjusted([[5, 0, 0], [1, 1, 0], [0, 0, 0]], [60, 20, 20])
    assert found.unsampled == pytest.approx(0.4)
    assert found.users[1].value is None
    assert found.accuracy.value == pytest.approx(5 / 6)
    assert found.producers[2].value is None
    assert area_adjusted(np.zeros((2, 2)), [0, 0]).accuracy.value is None
