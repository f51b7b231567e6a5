"""Calibration: the temperature that made confidence wrong is found again, and no class changes."""

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification.calibration import (
    BINS,
    Calibrated,
    Reliability,
    calibrate,
    fit_temperature,
    temperature_of,
)
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.prediction import ready_for_maps, receptive_halo_px
from geodl_qgis_plugin.engine.classification.scoring import Predicted, score_net
from geodl_qgis_plugin.engine.classification.trust_report import trust_sections
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.reports.page import Page


def _drawn(count=20_000, classes=4, seed=0):
    """Return logits, and classes drawn with the probabilities that they give: perfectly calibrated."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = (shares.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return logits, shares, wanted


@pytest.mark.parametrize("wrong", [0.4, 1.0, 3.0])
def test_the_true_temperature_is_found(wrong):
    """Logits that are so many times too large, or too small, get just that temperature."""
    logits, _, wanted = _drawn()
    assert fit_temperature(logits * wrong, wanted) == pytest.approx(wrong, rel=0.05)


def test_a_net_that_is_always_right_gets_no_wild_temperature():
    """Nothing bounds its confidence but the limit."""
    logits = np.eye(3)[np.arange(300) % 3]
    assert fit_temperature(logits, np.arange(300) % 3) == pytest.approx(0.1, rel=0.01)


def test_the_expected_error_is_the_mean_gap(tiles):
    """By hand: 60 places at 0.9 of which 30 are right, 40 at 0.5 of which 30 are right: 0.6 · 0.4 + 0.4 · 0.25."""
    counted = Reliability(tiles)
    counted.count(np.full(60, 0.9), np.arange(60) < 30)
    counted.count(np.full(40, 0.5), np.arange(40) < 30)
    assert counted.expected_error == pytest.approx(0.34)
    told = counted.as_dict()
    assert sum(told["pixels"]) == 100
    assert [n for n in told["pixels"] if n] == [40, 60]
    assert told["confidence"].count(None) == BINS - 2


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_report_speaks_of_mended_confidence_only_where_it_was(tiles, temperature):
    """Where the validation part was too small there is no curve before calibration, and maps are not said to be mended."""
    counted = Reliability(tiles)
    counted.count(np.full(60, 0.9), np.arange(60) < 30)
    both = {"before": counted.as_dict(), "after": counted.as_dict()}
    page = Page("Trained classifier")
    trust_sections(page, {"calibration": {"temperature": temperature, "part": "test", "reliability": both}})
    html = page.html()
    assert ("too small to mend" in html) == (temperature == 1.0)
    assert ("before calibration" in html) == (temperature != 1.0)
    assert ("written with the mended" in html) == (temperature != 1.0)


def test_probabilities_before_calibration_are_worked_back(tiles):
    """Calibrated probabilities raised to the temperature are those of the net itself."""
    _, shares, _ = _drawn(200, 2)
    calibrated = shares ** (1 / 2.5)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    reference = np.array([one.code for one in tiles.classes], np.uint16)[np.arange(200) % 2]
    places = np.zeros(200)
    plain, back = Reliability(tiles), Reliability(tiles, 2.5)
    plain.add(Predicted(shares.T.astype(np.float32), reference, places, places))
    back.add(Predicted(calibrated.T.astype(np.float32), reference, places, places))
    assert back.expected_error == pytest.approx(plain.expected_error, abs=1e-5)
    assert plain.as_dict()["pixels"] == back.as_dict()["pixels"]


def test_a_net_made_too_sure_is_mended(tiles):
    """Its temperature follows its logits, the likelihood gets better, and the classes stay the same."""
    architecture = choose_architecture("unet", "each pixel", tiles.bands, 2, 32, {"widths": [3, 4]})
    torch.manual_seed(0)
    net = architecture.build().eval()
    with torch.no_grad():
        net.head.weight.mul_(3.0)
        net.head.bias.mul_(3.0)
    halo = receptive_halo_px(net)
    first = calibrate(net, tiles, halo, SilentProgress())
    with torch.no_grad():
        net.head.weight.mul_(4.0)
        net.head.bias.mul_(4.0)
    second = calibrate(net, tiles, halo, SilentProgress())
    assert second.temperature == pytest.approx(4 * first.temperature, rel=0.01)
    assert second.loss_after == pytest.approx(first.loss_after, rel=1e-3)
    assert second.loss_after < second.loss_before
    counted = sum(tiles.class_counts("validation").values())
    assert second.places == counted
    calibrated = Calibrated(net, second.temperature)
    before, after = (
        score_net(ready_for_maps(one), tiles, "test", halo_px=halo, progress=SilentProgress())
        for one in (net, calibrated)
    )
    np.testing.assert_array_equal(before.accuracy.confusion, after.accuracy.confusion)
    assert after.loss < before.loss
    assert temperature_of({"calibration": second.as_dict()}) == second.temperature
    assert temperature_of({}) == 1.0
