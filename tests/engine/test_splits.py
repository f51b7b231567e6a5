"""Units of space are dealt so that every class is in every part where it can be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geodl_qgis_plugin.engine.errors import SplitError
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.training_data.correlation import correlation_range_px
from geodl_qgis_plugin.engine.training_data.parts import buffer_margin_px, with_buffers
from geodl_qgis_plugin.engine.training_data.splits import Blocks, deal, deal_folds

from .planted import grids

SHARES = (0.6, 0.2, 0.2)
counts_of_units = hnp.arrays(np.int64, st.tuples(st.integers(3, 40), st.integers(1, 6)), elements=st.integers(0, 50))


@settings(max_examples=60, deadline=None)
@given(counts_of_units, st.integers(0, 5))
def test_every_class_is_in_every_part_where_it_can_be(counts, seed):
    """A class in enough units for itself reaches training always, and all parts if units are not shared out already."""
    if np.count_nonzero(counts.sum(1)) < 3:
        with pytest.raises(SplitError, match="the split needs 3"):
            deal(counts, SHARES, seed)
        return
    parts = deal(counts, SHARES, seed)
    assert np.array_equal(parts, deal(counts, SHARES, seed))
    assert set(parts[counts.sum(1) > 0]) == {1, 2, 3}
    if len(counts) >= 20 and (np.count_nonzero(counts, axis=0) >= 12).all():
        for part in (1, 2, 3):
            assert counts[parts == part].any(0).all()


def test_shares_are_met_class_by_class():
    """With many units each class comes within two percent of its wished share."""
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 100, (600, 8)) * (generator.random((600, 8)) < 0.4)
    parts = deal(counts, SHARES, 0)
    for part, share in zip((1, 2, 3), SHARES):
        np.testing.assert_allclose(counts[parts == part].sum(0) / counts.sum(0), share, atol=0.02)


def test_a_class_in_one_unit_trains_and_other_seeds_deal_otherwise():
    """What exists once cannot be scored, but can be learnt."""
    counts = np.full((30, 3), 10)
    counts[:, 2] = 0
    counts[17, 2] = 1
    splits = [deal(counts, SHARES, seed) for seed in range(5)]
    assert all(parts[17] == 1 for parts in splits)
    assert len({tuple(parts) for parts in splits}) > 1


def test_a_part_that_is_not_asked_for_gets_nothing():
    """TEST 0 or VALIDATION 0."""
    counts = np.full((10, 2), 5)
    assert set(deal(counts, (0.8, 0.2, 0.0), 0)) == {1, 2}
    assert set(deal(counts, (0.8, 0.0, 0.2), 0)) == {1, 3}


@settings(max_examples=40, deadline=None)
@given(counts_of_units, st.integers(2, 5), st.integers(0, 3))
def test_each_unit_is_in_one_fold_and_no_fold_is_empty(counts, folds, seed):
    """For cross-validation; units without labels are in none."""
    used = counts.sum(1) > 0
    if used.sum() < folds:
        with pytest.raises(SplitError, match="too few for"):
            deal_folds(counts, folds, seed)
        return
    result = deal_folds(counts, folds, seed)
    assert set(result[used]) == set(range(folds))
    assert (result[~used] == -1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 50), st.integers(0, 50))
def test_blocks_part_an_area(height, width, row, column):
    """Each pixel is in one block, and blocks of a window are those of the whole."""
    area = Window(row, column, 53, 47)
    blocks = Blocks(area, height, width)
    units = blocks.units(area)
    assert set(np.unique(units)) == set(range(1, blocks.count + 1))
    part = Window(row + 5, column + 7, 20, 11)
    np.testing.assert_array_equal(blocks.units(part), units[5:25, 7:18])


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(3, 30), st.integers(3, 30)), elements=st.sampled_from([0, 1, 1, 1, 2, 3])
    ),
    st.floats(1, 300),
    st.sampled_from(["plain", "rotated", "south-up", "non-square", "degrees"]),
)
def test_no_training_pixel_lies_within_the_buffer(parts, buffer, name):
    """Pixel by pixel, between middles in map units; and nothing farther than a pixel beyond the buffer is lost."""
    grid = grids()[name]
    if grid.in_degrees:
        buffer = buffer / 1e5
    got = with_buffers(parts, buffer, grid)
    rows, columns = np.mgrid[0 : parts.shape[0], 0 : parts.shape[1]]
    east, north = grid.coordinates(rows + 0.5, columns + 0.5)
    pixel = max(grid.pixel_size)
    for near, kept, lost in ((3, (1, 2), 4), (2, (1,), None)):
        source = parts == near
        if not source.any():
            continue
        distance = np.hypot(
            east[..., None] - east[source][None, None], north[..., None] - north[source][None, None]
        ).min(-1)
        assert (distance[np.isin(got, kept)] > buffer).all()
        if lost:
            assert (distance[got == lost] < buffer + pixel).all()
    assert (got[parts == 3] == 3).all()


def test_a_buffer_is_the_same_window_by_window():
    """A margin of `buffer_margin_px` is enough."""
    grid = grids()["non-square"]
    parts = np.ones((80, 60), np.uint8)
    parts[30:40, 20:30] = 3
    parts[:10, 50:] = 2
    whole = with_buffers(parts, 200, grid)
    margin = buffer_margin_px(200, grid)
    window = Window(15, 10, 20, 15)
    wide = window.grown(margin, 80, 60)
    got = with_buffers(parts[wide.slices], 200, grid)[window.from_origin(wide).slices]
    np.testing.assert_array_equal(got, whole[window.slices])


def test_on_a_skewed_grid_the_buffer_is_never_too_small():
    """Distances are shortened where rows and columns are not at right angles."""
    grid = Grid(grids()["plain"].crs, (0, 30, 20, 0, 0, -30), 40, 40)
    parts = np.ones((40, 40), np.uint8)
    parts[20, 20] = 3
    got = with_buffers(parts, 150, grid)
    rows, columns = np.mgrid[0:40, 0:40]
    east, north = grid.coordinates(rows, columns)
    distance = np.hypot(east - east[20, 20], north - north[20, 20])
    assert (distance[got == 1] > 150).all()


def test_the_correlation_range_of_a_smooth_field_is_found():
    """A field smoothed with a Gaussian of sigma s has correlation exp(-h²/4s²): 5 % at h = 3.46 s."""
    from scipy import ndimage

    noise = np.random.default_rng(0).normal(size=(700, 700))
    field = ndimage.gaussian_filter(noise, 8, mode="wrap").astype(np.float32)
    assert correlation_range_px(field, (30, 30)) == pytest.approx(3.46 * 8 * 30, rel=0.25)
    field[200:300, 100:600] = np.nan
    assert correlation_range_px(field, (30, 30)) == pytest.approx(3.46 * 8 * 30, rel=0.25)
    assert correlation_range_px(np.full((50, 50), 3, np.float32), (1, 1)) == 0
    assert correlation_range_px(np.full((50, 50), np.nan, np.float32), (1, 1)) == 0
    assert correlation_range_px(noise.astype(np.float32), (1, 1)) <= 2
