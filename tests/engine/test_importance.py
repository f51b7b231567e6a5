"""Permutation importance: a band that decides costs much when it is exchanged, noise costs nothing."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from geodl_qgis_plugin.engine.classification import importance
from geodl_qgis_plugin.engine.classification.importance import Importance, band_importance, weights_of_bands
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.networks.ensemble import Ensemble
from geodl_qgis_plugin.engine.errors import Cancelled
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid

from .planted import write_raster
from .test_tile_set import UTM, extract


class FirstBand(nn.Module):
    """Maps class 1 where the first band is above 0; a model of which it is known what matters."""

    stride, halo_px = 4, 0

    def __init__(self, tile_size_px=None):
        super().__init__()
        self.tile_size_px = tile_size_px

    def forward(self, values, derived=None):
        first = torch.nan_to_num(values[:, :1])
        if self.tile_size_px is not None:
            first = first.mean(dim=(2, 3), keepdim=True)
        return torch.cat([-first, first], dim=1)


def _set(folder, **settings):
    random = np.random.default_rng(2)
    side = 256
    decides = np.kron(random.choice([-1.0, 1.0], (side // 16, side // 16)), np.ones((16, 16)))
    values = np.stack([decides + random.normal(0, 0.1, (side, side)), random.normal(0, 1, (side, side))])
    codes = np.where(decides > 0, 20, 10).astype(np.uint8)
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), side, side)
    predictors = write_raster(folder / "p.tif", values.astype(np.float32), grid, names=["planted", "noise"])
    labels = write_raster(folder / "l.tif", codes, grid, nodata=0)
    return extract(folder / "set", predictors=[predictors], labels=[labels], **settings)


@pytest.mark.parametrize("storage", ["mosaic", "stacked"])
def test_the_planted_band_matters_and_noise_does_not(storage, tmp_path):
    """A right guess in two is all that is left without the band; the other one costs nothing at all."""
    tiles = _set(tmp_path, tile_size=32, block_size=1920.0, storage=storage)
    found = band_importance(FirstBand(), tiles, "test", halo_px=3, seed=0, progress=SilentProgress())
    assert found.bands == ["planted", "noise"]
    assert found.accuracy > 0.99
    assert 0.3 < found.loss[0] < 0.7
    assert found.loss[1] == 0.0
    assert found.places > 1000
    np.testing.assert_array_equal(weights_of_bands(found, 2), [1.0, 0.0])


def test_whole_tiles(tmp_path):
    """The same of a model that classifies tiles."""
    tiles = _set(tmp_path, tile_size=16, block_size=480.0, stride=16)
    found = band_importance(FirstBand(16), tiles, "test", halo_px=0, seed=0, progress=SilentProgress())
    assert found.accuracy > 0.95
    assert 0.25 < found.loss[0] < 0.75
    assert found.loss[1] == 0.0
    again = band_importance(FirstBand(16), tiles, "test", halo_px=0, seed=0, progress=SilentProgress())
    assert again == found


@pytest.mark.parametrize("mixed", [False, True])
def test_statistics_that_are_exchanged_are_those_of_exchanged_windows(mixed, tmp_path):
    """A model on statistics is right at the very same pixels, alone and beside a net, also where a place stands alone."""
    tiles = _set(tmp_path, tile_size=32, block_size=1920.0)
    trees = choose_architecture("forest", "each pixel", tiles.bands, 2, 32, {"widths": [3, 9]}, (30.0, 30.0)).build()
    values, codes = tiles.read(tiles.indices("training")[:4])
    seen = np.concatenate([trees.features(tile).reshape(len(trees.features(tile)), -1).T for tile in values])
    fitted = RandomForestClassifier(5, random_state=0).fit(seen, codes.ravel() == 20)
    trees.trees.take([tree.tree_ for tree in fitted.estimators_], np.arange(2))
    net = Ensemble([trees, FirstBand()], [0.7, 0.3]) if mixed else trees
    places = importance._places(net, tiles, "validation", 4, np.random.default_rng(0))
    assert len(places) > 2
    model = importance._Model(net, places)
    sources = np.array([1, 0, *range(2, len(places))])
    for band in range(2):
        exchanged = [importance._with_band(place, places[source], band) for place, source in zip(places, sources)]
        quick, slow = model.right(band, exchanged, sources), importance._right(net, exchanged)
        for place, one, other in zip(places, quick, slow):
            known = place.wanted >= 0
            np.testing.assert_array_equal(one[known], other[known])
    found = band_importance(net, tiles, "validation", halo_px=4, seed=0, progress=SilentProgress())
    assert found.loss[0] > 0.2 > abs(found.loss[1]) * 5
    assert 4000 < found.places < 6000


def test_one_window_alone(tmp_path):
    """Where there is nothing to exchange with, the band is turned by half a circle."""
    tiles = _set(tmp_path, tile_size=64, block_size=3840.0, test=25.0)
    found = band_importance(FirstBand(), tiles, "test", halo_px=0, seed=0, progress=SilentProgress())
    assert found.loss[0] > 0.2
    assert found.loss[1] == 0.0


def test_it_can_be_stopped(tmp_path):
    """Between two bands."""

    class Stopped(SilentProgress):
        def cancelled(self):
            return True

    tiles = _set(tmp_path, tile_size=32, block_size=1920.0)
    with pytest.raises(Cancelled):
        band_importance(FirstBand(), tiles, "test", halo_px=0, seed=0, progress=Stopped())


def test_where_nothing_matters_all_bands_weigh_alike():
    """Negative losses are chance; weights are never all 0."""
    none = Importance(["a", "b"], [-0.01, 0.0], [0.0, 0.0], 0.5, 10, "test")
    np.testing.assert_array_equal(weights_of_bands(none, 2), [1.0, 1.0])
    np.testing.assert_array_equal(weights_of_bands(None, 3), [1.0, 1.0, 1.0])
