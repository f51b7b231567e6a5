"""The area of applicability: the paper's definitions by hand, duplicates at 0, and windows like one pass."""

import numpy as np
import pytest

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import applicability_sample
from geodl_qgis_plugin.engine.classification.applicability import (
    HALO_PX,
    Applicability,
    feature_weights,
    features_of_patches,
    features_of_tiles,
    features_of_window,
    without_outliers,
)
from geodl_qgis_plugin.engine.classification.applicability_sample import applicability_of
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Window

from .test_tile_set import extract
from .test_training import rule

BANDS = [Band("magnetics"), Band("elevation")]


def test_the_papers_definitions_by_hand():
    """
    Four points on a line at 0, 2, 6 and 12, mean 5, standard deviation √28 (n − 1), in two folds (0 and 2; 6 and 12).

    Distances are 2, 6, 12, 4, 10 and 6: 40 / 6 on average. To the other fold it is 6, 4, 4 and 10; the index of the training
    points is that by the mean distance: 0.9, 0.6, 0.6 and 1.5. Quartiles 0.6 and 1.05 make 1.725 the
    whisker: the threshold is 1.5.
    """
    features = np.array([[0.0], [2.0], [6.0], [12.0]])
    area = Applicability.of_training(features, np.array([0, 0, 1, 1]), [1.0])
    assert area.mean_distance == pytest.approx(40 / 6 / 28**0.5, rel=1e-6)
    assert area.threshold == pytest.approx(1.5, rel=1e-6)
    index = area.dissimilarity(np.array([[0.0, 3.0, 22.0, 22.1, np.nan]]))
    np.testing.assert_allclose(index, [0.0, 0.15, 1.5, 1.515, np.nan], rtol=1e-5)
    inside = area._both(np.array([[3.0, 21.9, 22.1, np.nan]]))[1]
    np.testing.assert_array_equal(inside, [1.0, 1.0, 0.0, np.nan])


def test_outliers_do_not_set_the_threshold():
    """Of 1 to 9 and 100 the whisker is 8.5 + 1.5 · (7.75 − 3.25): the largest below it is 9."""
    assert without_outliers(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 100])) == 9.0


def test_a_band_that_does_not_matter_does_not_count():
    """With the weight 0 it may be anything; with a weight of 2 a distance counts twice."""
    features = np.random.default_rng(0).normal(0, 1, (50, 2))
    folds = np.arange(50) % 5
    plain = Applicability.of_training(features[:, :1], folds, [1.0])
    other = Applicability.of_training(features, folds, [1.0, 0.0])
    places = np.array([[0.3, 2.0], [50.0, -70.0]])
    np.testing.assert_allclose(other.dissimilarity(places), plain.dissimilarity(places[:1]), rtol=1e-5)
    assert other.threshold == pytest.approx(plain.threshold, rel=1e-5)


def test_duplicates_of_training_points_are_at_0_and_all_is_the_true_nearest():
    """The index is that of a search through all points."""
    random = np.random.default_rng(1)
    features = random.normal(100, 3, (300, 5))
    area = Applicability.of_training(features, np.arange(300) % 7, random.random(5) + 0.1)
    assert (area.dissimilarity(features[:40].T) < 1e-5).all()
    places = random.normal(100, 5, (5, 11, 13))
    scaled = ((places.reshape(5, -1).T - area.middle) / area.spread * area.weights)[:, None]
    expected = np.sqrt(((scaled - area.points[None]) ** 2).sum(axis=2)).min(axis=1) / area.mean_distance
    np.testing.assert_allclose(area.dissimilarity(places), expected.reshape(11, 13), rtol=1e-4)


def test_it_survives_the_model_file():
    """What is put together again says the same."""
    random = np.random.default_rng(2)
    area = Applicability.of_training(random.normal(0, 1, (60, 3)), np.arange(60) % 4, [1, 2, 3])
    again = Applicability.from_model(area.as_dict(), area.arrays())
    places = random.normal(0, 2, (3, 20))
    np.testing.assert_array_equal(area.dissimilarity(places), again.dissimilarity(places))
    assert again.threshold == area.threshold


def _values(seed=3, height=70, width=90):
    random = np.random.default_rng(seed)
    values = random.normal(500, 40, (2, height, width)).astype(np.float32)
    values[0, 20:28, 30:33] = np.nan
    values[1, 50, 60] = np.nan
    return values


def test_windows_give_the_map_of_one_pass():
    """Cut anywhere, with the halo, the index and the mask are the same, bit for bit."""
    values = _values()
    features = features_of_window(values, BANDS)
    some = features[:, 5:60:7, 5:80:9].reshape(len(features), -1).T
    some = some[np.isfinite(some).all(axis=1)]
    area = Applicability.of_training(some, np.arange(len(some)) % 3, feature_weights(BANDS, [1, 0.5], per_pixel=True))
    whole = Window(0, 0, 70, 90)
    once = area.of_window(values, BANDS, whole, whole)
    assert np.isnan(once[:, 22, 31]).all()
    assert np.isnan(once[:, 50, 60]).all()
    assert {0.0, 1.0} >= set(np.unique(once[1][np.isfinite(once[1])]))
    for row in range(0, 70, 24):
        for column in range(0, 90, 32):
            core = Window(row, column, min(24, 70 - row), min(32, 90 - column))
            outer = core.grown(HALO_PX, 70, 90)
            parts = area.of_window(values[:, outer.slices[0], outer.slices[1]], BANDS, outer, core)
            np.testing.assert_array_equal(parts, once[:, core.slices[0], core.slices[1]])


def test_patches_see_what_windows_see():
    """Features of a pixel are the same, whether worked out for a whole window or for the pixel alone."""
    values = _values()
    framed = np.pad(values, ((0, 0), (HALO_PX, HALO_PX), (HALO_PX, HALO_PX)), constant_values=np.nan)
    places = [(0, 0), (35, 40), (26, 34), (69, 89), (49, 61)]
    side = 2 * HALO_PX + 1
    patches = np.stack([framed[:, r : r + side, c : c + side] for r, c in places])
    expected = np.stack([features_of_window(values, BANDS)[:, r, c] for r, c in places])
    np.testing.assert_allclose(features_of_patches(patches, BANDS), expected, rtol=1e-9, atol=1e-7)


def test_absolute_elevation_does_not_count():
    """A DEM lifted by 1,000 m looks the same; another band lifted so does not."""
    values = _values()
    lifted = values + np.array([0, 1000], np.float32)[:, None, None]
    np.testing.assert_allclose(features_of_window(lifted, BANDS), features_of_window(values, BANDS), atol=1e-2)
    np.testing.assert_allclose(
        features_of_tiles(lifted[None], BANDS), features_of_tiles(values[None], BANDS), atol=1e-2
    )
    lifted = values + np.array([1000, 0], np.float32)[:, None, None]
    assert np.nanmax(np.abs(features_of_window(lifted, BANDS) - features_of_window(values, BANDS))) > 900


@pytest.mark.parametrize(("storage", "per_pixel"), [("mosaic", True), ("stacked", True), ("mosaic", False)])
def test_training_points_are_inside_and_strange_ones_outside(storage, per_pixel, tmp_path):
    """Of the training pixels nearly all are within the threshold; pixels with values never seen are not."""
    tiles = extract(tmp_path / "set", **rule(tmp_path / "in"), storage=storage, tile_size=16)
    options = {"per_pixel": per_pixel, "seed": 0, "progress": SilentProgress()}
    area = applicability_of(tiles, np.ones(2), **options)
    again = applicability_of(tiles, np.ones(2), **options)
    np.testing.assert_array_equal(area.points, again.points)
    values = tiles.read(tiles.indices("training")[:3])[0]
    size = tiles.tile_size_px
    whole = Window(0, 0, size, size)
    for shift, expected in ((0.0, 1.0), (25.0, 0.0)):
        shifted = values + np.float32(shift)
        if per_pixel:
            found = np.stack([area.of_window(one, tiles.bands, whole, whole)[1] for one in shifted])
        else:
            found = area.of_tiles(shifted, tiles.bands)[1]
        assert abs(np.nanmean(found) - expected) < 0.1


def test_the_sample_is_bounded_and_holds_rare_classes(tmp_path, monkeypatch):
    """A class of nine pixels is in it whole where the others are cut down."""
    monkeypatch.setattr(applicability_sample, "MOST_POINTS", 60)
    tiles = extract(tmp_path / "set", **rule(tmp_path / "in", rare=True), test=0.0, validation=0.0)
    random = np.random.default_rng(0)
    places = applicability_sample._balanced(
        applicability_sample._labelled(tiles), tiles.class_counts("training"), 60, random
    )
    assert len(places) <= 60
    assert (places[:, 3] == 30).sum() == 9
    assert applicability_of(tiles, np.ones(2), per_pixel=True, seed=0, progress=SilentProgress()).points.shape[0] <= 60
