"""Losses with known values, tiles chosen by class, and changes of values that leave labels alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification.alterations import Alteration
from geodl_qgis_plugin.engine.classification.augmentation import ALL, turn
from geodl_qgis_plugin.engine.classification.batches import Batches
from geodl_qgis_plugin.engine.classification.losses import LOSSES, choose_loss, dice_loss, focal_loss
from geodl_qgis_plugin.engine.classification.tile_choice import tile_shares
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.training_data.tile_set import Scaling

from .planted import write_raster
from .test_tile_set import UTM, extract
from .test_training import train

SHAPES = [((6, 4), (6,)), ((2, 4, 5, 7), (2, 5, 7))]


def drawn(shapes, seed=0):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(shapes[0], generator=random, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(-1, shapes[0][1], shapes[1], generator=random)


WEIGHTS = torch.tensor([1.0, 0.5, 3.0, 0.2], dtype=torch.float64)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_focus_of_none_is_cross_entropy(shapes, smoothing):
    """Its value and its gradient, with weights and with places that are not learnt from."""
    logits, wanted = drawn(shapes)
    focal = choose_loss("focal", WEIGHTS, focal_gamma=0.0, label_smoothing=smoothing)(logits, wanted)
    plain = F.cross_entropy(logits, wanted, WEIGHTS, ignore_index=-1, label_smoothing=smoothing)
    torch.testing.assert_close(focal, plain)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (focal, plain)))
    chosen = choose_loss("cross-entropy", WEIGHTS, label_smoothing=smoothing)(logits, wanted)
    torch.testing.assert_close(chosen, plain)


def test_focal_loss_by_hand():
    """Two places, p of the right class 3/4 and 1/4: the mean of (1 - p)² times -log p."""
    logits = torch.log(torch.tensor([[0.75, 0.25], [0.75, 0.25]], dtype=torch.float64))
    value = focal_loss(logits, torch.tensor([0, 1]))
    assert float(value) == pytest.approx((0.25**2 * -np.log(0.75) + 0.75**2 * -np.log(0.25)) / 2)


def test_dice_by_hand():
    """Class 0: 2 · 0.75 / (1.5 + 1), class 1: 2 · 0.25 / (0.5 + 1); a place that is not known counts for nothing."""
    logits = torch.log(torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.1, 0.9]], dtype=torch.float64))
    value = dice_loss(logits, torch.tensor([0, 1, -1]))
    assert float(value) == pytest.approx(1 - (1.5 / 2.5 + 0.5 / 1.5) / 2)


@pytest.mark.parametrize("shapes", SHAPES)
def test_a_perfect_map_has_no_loss(shapes):
    """Dice is 0 and with it the loss that has cross-entropy in it; a map that is wrong everywhere has a Dice of 1."""
    _, wanted = drawn(shapes)
    sure = 60.0 * F.one_hot(wanted.clamp_min(0), 4).movedim(-1, 1).double()
    assert float(dice_loss(sure, wanted)) == pytest.approx(0, abs=1e-9)
    for name in LOSSES:
        assert float(choose_loss(name, torch.ones(4).double())(sure, wanted)) == pytest.approx(0, abs=1e-9)
    wrong = 60.0 * F.one_hot((wanted.clamp_min(0) + 1) % 4, 4).movedim(-1, 1).double()
    assert float(dice_loss(wrong, wanted)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_finite_where_classes_are_absent(name, shapes, gamma):
    """Also of places that are surely right or surely wrong, and where a class has the weight 0."""
    logits, wanted = drawn(shapes)
    wanted.view(-1)[0] = 0
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    loss = choose_loss(name, weights, focal_gamma=gamma, label_smoothing=0.1)
    for places in (torch.where(wanted == 2, -1, wanted), torch.where(wanted == 0, 0, -1)):
        for scale in (1.0, 1e4):
            given = (logits.detach() * scale).requires_grad_()
            value = loss(given, places)
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(given.grad).all()


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """Return tiles of 16 pixels, one in sixteen of which is of a class of its own."""
    folder = tmp_path_factory.mktemp("rare")
    random = np.random.default_rng(2)
    kinds = np.where(random.random((16, 16)) < 1 / 16, 2, 1)
    codes = np.kron(kinds, np.ones((16, 16))).astype(np.uint8)
    values = (codes + random.normal(0, 0.4, codes.shape)).astype(np.float32)
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 256, 256)
    return extract(
        folder / "set",
        predictors=[write_raster(folder / "p.tif", np.stack([values, values[::-1]]), grid, names=["one", "other"])],
        labels=[write_raster(folder / "l.tif", codes, grid, nodata=0)],
        tile_size=16,
        stride=16,
        block_size=480.0,
    )


@pytest.mark.parametrize("per_pixel", [True, False])
def test_balance_shows_rare_classes_as_often(rare, per_pixel):
    """At 1 both classes are drawn alike, at 0 each tile once an epoch; the same seed draws the same tiles."""
    batches = Batches(rare, 16, 0, per_pixel=per_pixel, augment=False, balance=1.0)
    shares = tile_shares(rare, batches.tiles, 1.0, per_pixel=per_pixel)
    scarce = rare.tiles["code"][batches.tiles] == 2
    assert 0 < scarce.sum() < len(scarce) / 4
    assert shares[scarce].sum() == pytest.approx(0.5)
    found = [np.concatenate([batch.targets.reshape(-1) for batch in batches.epoch(epoch)]) for epoch in (0, 1, 0)]
    known = [targets[targets >= 0] for targets in found]
    assert np.mean(np.concatenate(known) == 1) == pytest.approx(0.5, abs=0.12)
    np.testing.assert_array_equal(found[0], found[2])
    assert tile_shares(rare, batches.tiles, 0.0, per_pixel=per_pixel) is None


def test_values_change_and_labels_do_not(rare):
    """The same turns and moves with and without noise: the labels are alike, and every label lies on the value of its class."""
    plain = Batches(rare, 8, 1, per_pixel=True)
    altered = Batches(rare, 8, 1, per_pixel=True, alteration=Alteration(noise=0.2))
    for one, other in zip(plain.epoch(0), altered.epoch(0)):
        known = one.targets >= 0
        above = other.values[:, 0] > 1.5
        assert (above == (other.targets == 1))[known].mean() > 0.85
        assert not np.array_equal(one.values, other.values)


@pytest.mark.parametrize("symmetry", ALL)
def test_image_and_mask_are_turned_alike(symmetry):
    """A mask that is made of its image is, turned, the mask of the turned image."""
    image = np.random.default_rng(0).normal(size=(1, 9, 9))
    mask = (image[0] > 0).astype(np.uint16)
    np.testing.assert_array_equal(turn(mask, symmetry), turn(image, symmetry)[0] > 0)


SCALING = Scaling(*(np.array(numbers, float) for numbers in ([5, 0, 180, 0, 0], [2, 4, 90, 1, 1], [0] * 5, [9] * 5)))
BANDS = [
    Band("red"),
    Band("dem", "m"),
    Band("aspect", "degree", "azimuth"),
    Band("e", kind="vector_x"),
    Band("n", kind="vector_y"),
]


def altered(seed=0, side=64, **how):
    values = np.zeros((5, side, side), np.float32) + np.array([5, 100, 359, 0.6, 0.8], np.float32)[:, None, None]
    values[0, :4] = np.nan
    return values, Alteration(**how).apply(values, BANDS, SCALING, np.random.default_rng(seed))


def test_noise_has_its_spread():
    """In each band's standard deviations; not on elevations; azimuths stay between 0 and 360; nodata stays nodata."""
    before, after = altered(noise=0.5, side=200)
    assert np.nanstd(after[0]) == pytest.approx(1.0, rel=0.05)
    np.testing.assert_array_equal(after[1], before[1])
    assert after[2].min() >= 0
    assert after[2].max() < 360
    assert np.std(after[3]) == pytest.approx(0.5, rel=0.05)
    np.testing.assert_array_equal(np.isnan(after), np.isnan(before))


def test_brightness_is_one_change_a_band():
    """A band stays even if it was even, and differs between tiles as much as was asked; vectors keep their direction."""
    shifts = []
    for seed in range(200):
        before, after = altered(seed, 8, gain=0.25)
        assert np.nanstd(after[0]) < 1e-5
        shifts.append(np.nanmean(after[0]) - 5)
        np.testing.assert_array_equal(after[1:], before[1:])
    assert np.std(shifts) == pytest.approx(0.25 * 2, rel=0.2)


def test_bands_fail_as_often_as_asked():
    """Elevations never, the others a share of the time; one band at least is left."""
    lost = [np.isnan(altered(seed, 4, band_dropout=0.4)[1][2:]).all(axis=(1, 2)) for seed in range(300)]
    assert np.mean(lost) == pytest.approx(0.4, abs=0.05)
    for seed in range(40):
        one = Alteration(band_dropout=0.9).apply(
            np.ones((2, 3, 3), np.float32), BANDS[3:], SCALING, np.random.default_rng(seed)
        )
        assert np.isfinite(one).any()


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_a_rule_is_learnt_with_every_loss(rare, tmp_path, loss):
    """With smoothing, balance and changes of values all at once: better than the majority class by far."""
    result = train(
        rare,
        tmp_path / "m.geodl",
        loss=loss,
        label_smoothing=0.05,
        balance=0.5,
        noise=0.1,
        gain=0.05,
        band_dropout=0.1,
        batch_size=16,
        epochs=5,
    )
    assert result["macro_f1"] > 0.7
