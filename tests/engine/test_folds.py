"""Folds of a tile set: what `extracttiles` cuts with FOLDS, a partition of the labels, with buffers and scaling of its own."""

import numpy as np
import pytest
from scipy import ndimage

from geodl_qgis_plugin.engine.errors import SplitError
from geodl_qgis_plugin.engine.training_data.folds import Folds

from .test_tile_set import extract
from .test_training import rule


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return rule(tmp_path_factory.mktemp("rule"))


@pytest.fixture(scope="module", params=["mosaic", "stacked"])
def tiles(request, given, tmp_path_factory):
    return extract(tmp_path_factory.mktemp("set") / "set", **given, storage=request.param, context="hidden")


def test_folds_are_those_that_extract_tiles_cuts(given, tmp_path):
    """With the same number of folds and the same seed: parts, tiles, counts and scaling are the same to the last digit."""
    cut = extract(tmp_path / "cut", **given, folds=4, test_fold=2, seed=5)
    again = Folds(extract(tmp_path / "plain", **given, seed=1), 4, 5).tile_set_of(2)
    np.testing.assert_array_equal(again.split, cut.split)
    for name in ("row", "column", "split", "code", "labelled", "foreign", "hidden"):
        np.testing.assert_array_equal(again.tiles[name], cut.tiles[name], err_msg=name)
    assert again.facts["split"]["pixels"]["test"] == {
        int(code): n for code, n in cut.facts["split"]["pixels"]["test"].items()
    }
    for name in ("offset", "scale", "low", "high"):
        np.testing.assert_array_equal(getattr(again.scaling, name), getattr(cut.scaling, name))


def _scored(tiles):
    """Return how often each labelled pixel of the area is scored, by a set's test tiles."""
    counts = np.zeros((tiles.grid.height + 64, tiles.grid.width + 64), int)
    for index in tiles.indices("test"):
        _, labels = tiles.read([index])
        tile, size = tiles.tiles[index], tiles.tile_size_px
        counts[tile["row"] : tile["row"] + size, tile["column"] : tile["column"] + size] += labels[0] > 0
    return counts[: tiles.grid.height, : tiles.grid.width]


def test_each_label_is_tested_once(tiles, given):
    """All folds together score each pixel of the set in one fold and once; of a stacked set those that it holds."""
    folds = Folds(tiles, 4, 0)
    sets = [folds.tile_set_of(number) for number in range(4)]
    counts = sum(_scored(one) for one in sets)
    assert counts.max() == 1
    if tiles.storage == "mosaic":
        np.testing.assert_array_equal(counts > 0, tiles.labels[:] > 0)
    else:
        assert counts.sum() > 0.95 * (np.unique(_ids(tiles)).size)
    for one in sets:
        assert sum(one.class_counts("test").values()) == _scored(one).sum()
        assert one.indices("training").size
        assert one.indices("validation").size


def _ids(tiles):
    found = []
    for index, tile in enumerate(tiles.tiles):
        rows, columns = np.nonzero(tiles.labels[index] > 0)
        found.append((rows + tile["row"]) * 10_000 + columns + tile["column"])
    return np.concatenate(found)


def test_the_buffer_is_kept_between_folds(tiles):
    """No training label lies within the buffer of a test pixel, and none of its predictors is seen there."""
    one = Folds(tiles, 4, 0).tile_set_of(1)
    shape = (one.grid.height, one.grid.width)
    test, seen, learnt = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, bool)
    for part, where in (("test", test), ("training", learnt)):
        for index in one.indices(part):
            values, labels = one.read([index])
            tile = one.tiles[index]
            rows = slice(int(tile["row"]), min(int(tile["row"]) + one.tile_size_px, shape[0]))
            columns = slice(int(tile["column"]), min(int(tile["column"]) + one.tile_size_px, shape[1]))
            height, width = rows.stop - rows.start, columns.stop - columns.start
            where[rows, columns] |= labels[0, :height, :width] > 0
            if part == "training":
                seen[rows, columns] |= np.isfinite(values[0, 0, :height, :width])
    gap = ndimage.distance_transform_edt(~test, sampling=30.0) - 30.0
    assert gap[learnt].min() >= 60.0 - 1e-6
    assert gap[seen].min() >= 60.0 - 1e-6


def test_scaling_is_of_each_folds_training_pixels(tiles):
    """Not of the set's, and not of other parts: by hand from the pixels of the training part."""
    one = Folds(tiles, 4, 0).tile_set_of(0)
    values = one.predictors[:, one.split == 1] if one.storage == "mosaic" else None
    if values is None:
        values = np.concatenate([tile[:, part == 1] for tile, part in zip(one.predictors, one.split)], axis=1)
    low, high = np.nanpercentile(values[0], (1, 99))
    inside = values[0][(values[0] >= low) & (values[0] <= high)]
    assert one.scaling.offset[0] == pytest.approx(inside.mean(), rel=1e-5)
    assert one.scaling.offset[0] != tiles.scaling.offset[0]


def test_a_random_split_has_no_buffer_and_says_that_it_is_optimistic(tiles):
    """Its units are single tiles; test pixels touch training pixels."""
    one = Folds(tiles, 4, 0, random=True).tile_set_of(0)
    assert one.summary()["optimistic"]
    assert one.summary()["buffer"] == 0
    total = sum(sum(one.class_counts(part).values()) for part in ("training", "validation", "test"))
    assert 0.1 < sum(one.class_counts("test").values()) / total < 0.45


def test_the_users_test_areas_stay_unseen(given, tmp_path):
    """No fold learns from them, tests on them, or sees their predictors."""
    from .planted import write_polygons

    outline = "POLYGON((318000 4132000, 319200 4132000, 319200 4130800, 318000 4130800, 318000 4132000))"
    area = write_polygons(tmp_path / "a.gpkg", [(outline, "test")], 26912)
    tiles = extract(tmp_path / "set", **given, test_areas=area, context="hidden")
    there = np.isin(tiles.split, (3, 4))
    assert (tiles.split == 3).any()
    for number in range(3):
        one = Folds(tiles, 3, 0).tile_set_of(number)
        assert (one.split[there] == 4).all()
        for index in one.indices("training")[:5]:
            values, _ = one.read([index])
            tile, size = one.tiles[index], one.tile_size_px
            hidden = there[tile["row"] : tile["row"] + size, tile["column"] : tile["column"] + size]
            assert np.isnan(values[0, 0, : hidden.shape[0], : hidden.shape[1]][hidden]).all()


def test_too_many_folds_are_refused(tiles):
    """With fewer blocks than folds."""
    with pytest.raises(SplitError, match="too few for 90 folds"):
        Folds(tiles, 90, 0)
