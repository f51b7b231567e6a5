"""The automatic choice on elevations alone: a U-Net, unless a forest, or the mean of both, is better in the validation part."""

import numpy as np
import pytest
import torch
from torch import nn

from geodl_qgis_plugin.engine.classification import automatic, forest, pieces, training
from geodl_qgis_plugin.engine.classification.automatic import better_of
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.course import Check
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.trained import ALL_DONE, Trained
from geodl_qgis_plugin.engine.classification.tree_growth import grow_trees
from geodl_qgis_plugin.engine.errors import Cancelled
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .models import told
from .planted import write_raster
from .test_tile_set import UTM, extract
from .test_training import train

torch.set_num_threads(1)
SMALL = {"architecture": "automatic", "widths": [2, 3], "forest": False}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Return a set of steep and gentle ground, as a forest sees it at once in the slope."""
    folder, side = tmp_path_factory.mktemp("ground"), 128
    random = np.random.default_rng(2)
    steep = np.kron(random.integers(0, 2, (side // 16, side // 16)), np.ones((16, 16)))
    waves = np.sin(np.arange(side) / 2)[:, None] * np.cos(np.arange(side) / 2)[None]
    heights = 500 + waves * (2 + 40 * steep) + random.normal(0, 0.5, (side, side))
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), side, side)
    return extract(
        folder / "set",
        predictors=[write_raster(folder / "dem.tif", heights.astype(np.float32), grid, names=["dem"])],
        labels=[write_raster(folder / "l.tif", (10 + 10 * steep).astype(np.uint8), grid, nodata=0)],
        tile_size=32,
        block_size=960.0,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Grow few trees, keep each lot, and look at the validation part after every epoch."""
    monkeypatch.setattr(forest, "TREES", 20)
    monkeypatch.setattr(pieces, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(training, "FEWEST_BATCHES_BETWEEN_CHECKS", 1)


class Stopping(SilentProgress):
    """Stops, or fails, when a text begins with some words."""

    def __init__(self, words, error=None):
        super().__init__()
        self.words, self.error, self.stopped = words, error, False

    def update(self, fraction, text=""):
        """Look at the text."""
        if text.startswith(self.words):
            if self.error is not None:
                raise self.error
            self.stopped = True

    def cancelled(self):
        """Whether the words have come."""
        return self.stopped


def test_a_forest_is_kept_where_it_wins(tiles, tmp_path):
    """A net of one epoch is nothing beside it: the model maps as a forest, and the report tells what was tried."""
    report = tmp_path / "r.html"
    result = train(tiles, tmp_path / "m.geodl", **SMALL, epochs=1, report=str(report))
    assert result["accuracy"] > 0.9
    assert load_classifier(tmp_path / "m.geodl").architecture.name == "forest"
    tried = {one["name"]: one for one in read_model(tmp_path / "m.geodl").part("classifier")["training"]["tried"]}
    assert [name for name, one in tried.items() if one["kept"]] == ["forest"]
    assert tried["forest"]["accuracy"] > tried["U-Net"]["accuracy"]
    html = report.read_text(encoding="utf-8")
    assert "In the test areas the forest is right for" in html
    assert "What was tried" in html


def test_killed_while_the_forest_grows(tiles, tmp_path):
    """The same command trains no epoch again, and comes to the model and the report of an unbroken run."""
    options = {**SMALL, "epochs": 2, "report": str(tmp_path / "r.html")}
    train(tiles, tmp_path / "m.geodl", **options)
    unbroken = told(tmp_path / "m.geodl", tmp_path / "r.html")
    (tmp_path / "m.geodl").unlink()
    with pytest.raises(KeyboardInterrupt):
        train(tiles, tmp_path / "m.geodl", Stopping("Growing the forest, 20", KeyboardInterrupt()), **options)
    train(tiles, tmp_path / "m.geodl", Stopping("Epoch", AssertionError("trained again")), **options)
    weights, report, item = told(tmp_path / "m.geodl", tmp_path / "r.html")
    for name, array in unbroken[0].items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)
    assert report == unbroken[1]
    assert item == unbroken[2]


def test_stopped_while_the_forest_grows(tiles, tmp_path):
    """The net that is finished is kept, and the same command goes on."""
    result = train(tiles, tmp_path / "m.geodl", Stopping("Growing the forest"), **SMALL, epochs=1)
    assert result["cancelled"]
    assert load_classifier(tmp_path / "m.geodl").architecture.name == "unet"
    result = train(tiles, tmp_path / "m.geodl", Stopping("Epoch", AssertionError("trained again")), **SMALL, epochs=1)
    assert not result["cancelled"]
    assert load_classifier(tmp_path / "m.geodl").architecture.name == "forest"


class Known(nn.Module):
    """A net that is known by its number alone."""

    stride, halo_px, tile_size_px = 1, 0, None

    def __init__(self, number):
        super().__init__()
        self.number = number


WANTED = np.tile([0, 1], 200)


def sure_of(right):
    """Return probabilities that are right for the given places, and unsure elsewhere."""
    given = np.where(right, WANTED, 1 - WANTED)
    return np.eye(2, dtype=np.float32)[given] * np.where(right, 0.9, 0.6)[:, None] + 0.05


PLACES = np.arange(400)


@pytest.mark.parametrize(
    ("of_forest", "of_net", "kept"),
    [
        (PLACES < 300, PLACES < 320, "unet"),  # the forest adds nothing
        (PLACES < 330, PLACES < 300, "forest"),
        (PLACES < 300, PLACES >= 80, "ensemble"),  # each is sure where the other is not
        (PLACES < 320, PLACES < 320, "unet"),  # a tie
    ],
)
def test_what_is_kept(tiles, monkeypatch, of_forest, of_net, kept):
    """The better one; the mean only where it is much better than both; the net where nothing speaks against it."""
    bands, shares = tiles.bands, [sure_of(of_forest), sure_of(of_net)]
    monkeypatch.setattr(automatic, "shares_of", lambda *_: (shares, WANTED))
    both = []
    for name, right in (("forest", of_forest), ("unet", of_net)):
        check = Check(1, 1, 0.0, 0.0, right.mean(), right.mean(), 1.0)
        architecture = choose_architecture(name, "each pixel", bands, 2, 32)
        both.append(Trained(Known(name), [check], check, ALL_DONE, 0, name, architecture))
    found = better_of(both[1], both[1].architecture, lambda _: both[0], tiles, SilentProgress())
    assert found.architecture.name == kept
    (chosen,) = (trial for trial in found.tried if trial.kept)
    assert chosen.name == {"unet": "U-Net", "forest": "forest", "ensemble": "mean of forest and U-Net"}[kept]


def test_a_net_that_is_far_ahead_is_not_compared(tiles, monkeypatch):
    """Nothing is mapped to know it, and nobody who stopped waits for a forest."""
    monkeypatch.setattr(automatic, "shares_of", lambda *_: pytest.fail("it was compared"))
    good, bad = Check(1, 1, 0.0, 0.0, 0.9, 0.9, 1.0), Check(1, 0, 0.0, 0.0, 0.6, 0.6, 1.0)
    unet, trees = Trained(Known(1), [good], good, ALL_DONE, 0), Trained(Known(2), [bad], bad, ALL_DONE, 0, "forest")
    architecture = choose_architecture("unet", "each pixel", tiles.bands, 2, 32)
    found = better_of(unet, architecture, lambda _: trees, tiles, SilentProgress())
    assert found.net is unet.net
    assert [(one.name, one.kept) for one in found.tried] == [("U-Net", True), ("forest", False)]

    def gone(progress):
        raise Cancelled("Nobody waits.")

    class Alone(SilentProgress):
        def abandoned(self):
            return True

    with pytest.raises(Cancelled):
        better_of(unet, architecture, gone, tiles, Alone())


@pytest.mark.parametrize("task", ["each pixel", "each tile"])
def test_a_forest_that_stands_is_not_grown_again_to_be_compared_with(tiles, monkeypatch, task):
    """Beside the net stands what was grown for the choice: the same accuracy, and no tree more; another seed's is another."""
    fresh = TileSet.open(tiles.folder)
    wanted = forest.forest_accuracy(fresh, "test", 0, SilentProgress(), per_pixel=task == "each pixel")
    grown = []
    monkeypatch.setattr(forest, "grow_trees", lambda *some, **more: (grown.append(1), grow_trees(*some, **more)))
    for weight, times in ((1.0, 2), (forest.CLASS_WEIGHT, 3)):
        opened = TileSet.open(tiles.folder)
        architecture = choose_architecture("forest", task, opened.bands, 2, 32, spacing_m=forest.spacing_m(opened.grid))
        forest.grow(architecture, opened, 0, SilentProgress(), class_weight=weight)
        found = forest.forest_accuracy(opened, "test", 0, SilentProgress(), per_pixel=task == "each pixel")
        np.testing.assert_array_equal(found.confusion, wanted.confusion)
        assert len(grown) == times
    forest.forest_accuracy(opened, "test", 1, SilentProgress(), per_pixel=task == "each pixel")
    assert len(grown) == 4
