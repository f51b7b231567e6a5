"""Distances to training pixels: those of an exact distance transform; scores fall into the right bins."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from geodl_qgis_plugin.engine.classification import distance
from geodl_qgis_plugin.engine.classification.distance import (
    DistanceCurve,
    DistanceScores,
    TrainingDistance,
    nice_edges,
    unit_of,
)
from geodl_qgis_plugin.engine.classification.scoring import Predicted
from geodl_qgis_plugin.engine.training_data.labels import distance_sampling

from .test_tile_set import extract
from .test_training import rule


@pytest.fixture(scope="module", params=["mosaic", "stacked"])
def tiles(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rule")
    return extract(folder / "set", **rule(folder), storage=request.param)


def _training(tiles):
    """Return where labelled training pixels lie, (row, column) of the whole area."""
    if tiles.storage == "mosaic":
        return (tiles.split[:] == 1) & (tiles.labels[:] > 0)
    there = np.zeros((tiles.grid.height + 64, tiles.grid.width + 64), bool)
    for index in tiles.indices("training"):
        tile, size = tiles.tiles[index], tiles.tile_size_px
        own = (tiles.split[index] == 1) & (tiles.labels[index] > 0)
        there[tile["row"] : tile["row"] + size, tile["column"] : tile["column"] + size] |= own
    return there[: tiles.grid.height, : tiles.grid.width]


def test_distances_are_those_of_a_distance_transform(tiles):
    """Everywhere outside the training pixels, to the last digit, in map units."""
    there = _training(tiles)
    expected = ndimage.distance_transform_edt(~there, sampling=distance_sampling(tiles.grid))
    rows, columns = np.nonzero(~there)
    found = TrainingDistance(tiles)(rows + 0.5, columns + 0.5)
    np.testing.assert_allclose(found, expected[rows, columns], rtol=1e-9)
    whole = cKDTree(np.argwhere(there) * 30.0).query(np.column_stack([rows, columns]) * 30.0)[0]
    np.testing.assert_allclose(found, whole, rtol=1e-9)


def test_too_many_points_are_thinned_within_bounds(tiles, monkeypatch):
    """Distances then come out too long by less than the cell's diagonal, never too short."""
    rows, columns = np.nonzero(~_training(tiles))
    exact = TrainingDistance(tiles)(rows + 0.5, columns + 0.5)
    monkeypatch.setattr(distance, "_MOST_POINTS", 60)
    rough = TrainingDistance(tiles)(rows + 0.5, columns + 0.5)
    assert (rough >= exact - 1e-6).all()
    assert (rough > exact).any()
    assert (rough - exact).max() < 30 * 2**0.5 * 32


def test_scores_fall_into_their_bins(tiles):
    """A model that is right near training pixels and wrong beyond 100 m has a curve that says just that."""
    measure = TrainingDistance(tiles)
    rows = np.repeat(np.arange(tiles.grid.height) + 0.5, tiles.grid.width)
    columns = np.tile(np.arange(tiles.grid.width) + 0.5, tiles.grid.height)
    far = measure(rows, columns)
    position = np.arange(rows.size) % 2
    reference = np.array([one.code for one in tiles.classes], np.uint16)[position]
    mapped = np.where(far < 100, position, 1 - position)
    good, bad = DistanceScores(measure, tiles, "test"), DistanceScores(measure, tiles, "test")
    for collected, answers in ((good, mapped), (bad, 1 - position)):
        collected._share = 1.0
        collected.add(Predicted(np.eye(2, dtype=np.float32)[answers].T, reference, rows, columns))
    edges = np.array([0, 50, 100, 200, 10_000])
    found = [one.accuracy for one in good.binned(edges)]
    assert found == [1.0, 1.0, 0.0, 0.0]
    assert [one.pixels for one in good.binned(edges)] == np.histogram(far, edges)[0].tolist()
    curve = DistanceCurve.of({"net": good, "forest": bad}, tiles.grid)
    assert sum(curve.pixels) == rows.size
    assert curve.unit == "m"
    assert curve.edges[0] <= far.min() <= far.max() <= curve.edges[-1]
    assert {score for score in curve.scores["forest"]["accuracy"] if score is not None} == {0.0}
    for count, score in zip(curve.pixels, curve.scores["net"]["accuracy"]):
        assert (score is None) == (count < distance.FEWEST_IN_BIN)


def test_a_part_of_very_many_pixels_is_sampled(tiles, monkeypatch):
    """No more are measured than the limit, give or take chance."""
    monkeypatch.setattr(distance, "MOST_PLACES", 200)
    collected = DistanceScores(TrainingDistance(tiles), tiles, "test")
    total = sum(tiles.class_counts("test").values())
    reference = np.full(total, tiles.classes[0].code, np.uint16)
    collected.add(Predicted(np.ones((2, total), np.float32), reference, np.zeros(total), np.zeros(total)))
    assert 120 < collected.distances().size < 280


@pytest.mark.parametrize(
    ("least", "most"), [(0, 0), (30, 30), (30, 812.3), (1600, 5210), (0.0003, 0.0171), (42.4, 1e6)]
)
def test_edges_are_round_and_hold_all(least, most):
    """At most a dozen bins, each edge a multiple of the step."""
    edges = nice_edges(least, most)
    assert edges[0] <= least
    assert edges[-1] >= most
    assert 2 <= len(edges) <= 13
    step = edges[1] - edges[0]
    np.testing.assert_allclose(edges / step, np.round(edges / step), atol=1e-6)


def test_units_of_degrees(tiles, tmp_path):
    """A grid in degrees says so."""
    from .planted import grids

    assert unit_of(grids()["degrees"]) == "°"
    assert unit_of(tiles.grid) == "m"
