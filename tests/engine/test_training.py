"""Training: the same seed gives the same net, a break changes nothing, stopping keeps the best, a planted rule is learnt."""

import json
import threading
import time

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification.batches import Batches
from geodl_qgis_plugin.engine.classification.forest import forest_accuracy
from geodl_qgis_plugin.engine.classification.losses import class_weights
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.prediction import receptive_halo_px
from geodl_qgis_plugin.engine.classification.scoring import score_net
from geodl_qgis_plugin.engine.classification.streaming import Behind, ahead
from geodl_qgis_plugin.engine.errors import Cancelled, TileSetError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .planted import write_raster
from .test_tile_set import UTM, extract

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("checks_after_every_epoch")
SIDE = 128
QUICK = {
    "architecture": "unet",
    "epochs": 6,
    "batch_size": 4,
    "widths": [3, 4],
    "learning_rate": 0.03,
    "forest": False,
    "seed": 3,
}


def rule(folder, *, rare=False, side=SIDE):
    """Write two bands and the classes that follow from them: which band is the larger, in patches; return the settings."""
    random = np.random.default_rng(1)
    patches = np.kron(random.integers(0, 2, (side // 8, side // 8)), np.ones((8, 8)))
    values = np.stack([patches, 1 - patches]) + random.normal(0, 0.3, (2, side, side))
    codes = (10 + 10 * patches).astype(np.uint8)
    codes[::7] = 0
    if rare:
        codes[1:4, 1:4] = 30
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), side, side)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "predictors": [write_raster(folder / "p.tif", values.astype(np.float32), grid, names=["one", "other"])],
        "labels": [write_raster(folder / "l.tif", codes, grid, nodata=0)],
        "block_size": 960.0,
        "buffer": 60.0,
    }


@pytest.fixture(scope="module")
def unbroken(tiles, tmp_path_factory):
    """Train once; return the model's path and the result."""
    output = tmp_path_factory.mktemp("unbroken") / "m.geodl"
    return output, train(tiles, output)


def train(tiles, output, progress=None, **options):
    settings = {"tiles": str(tiles.folder), "output": str(output), **QUICK, **options}
    return run_job("trainclassifier", settings, progress or SilentProgress())


def same_weights(one, other):
    first, second = read_model(one).weights, read_model(other).weights
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


class After(SilentProgress):
    """Cancels, or fails, once something was told a number of times."""

    def __init__(self, epoch, error=None):
        super().__init__()
        self.epoch, self.error, self.stopped = epoch, error, False

    def update(self, fraction, text=""):
        if text.startswith(f"Epoch {self.epoch} of"):
            if self.error is not None:
                raise self.error
            self.stopped = True

    def cancelled(self):
        return self.stopped


def test_a_planted_rule_is_learnt(unbroken):
    """Far better than the majority class, and the model tells of it."""
    output, result = unbroken
    assert result["accuracy"] > result["majority_accuracy"] + 0.25
    part = read_model(output).part("classifier")
    assert part["accuracy"]["accuracy"] == pytest.approx(result["accuracy"])
    assert part["split"]["pixels"]["test"]
    assert list(output.parent.iterdir()) == [output]


def test_the_same_seed_gives_the_same_net(tiles, unbroken, tmp_path):
    """And another seed another one."""
    train(tiles, tmp_path / "again.geodl")
    same_weights(unbroken[0], tmp_path / "again.geodl")
    train(tiles, tmp_path / "other.geodl", seed=4, epochs=1)
    assert any(
        not np.array_equal(array, read_model(unbroken[0]).weights[name])
        for name, array in read_model(tmp_path / "other.geodl").weights.items()
    )


def test_a_break_changes_nothing(tiles, unbroken, tmp_path):
    """Interrupted twice, in the middle of epochs after checks; the same command then gives the net of an unbroken run."""
    output = tmp_path / "m.geodl"
    for epoch in (5, 6):
        with pytest.raises(KeyboardInterrupt):
            train(tiles, output, After(epoch, KeyboardInterrupt()))
        assert not output.exists()
    progress = SilentProgress()
    train(tiles, output, progress)
    assert any("Going on after epoch" in text for text in progress.messages)
    same_weights(unbroken[0], output)
    assert list(tmp_path.iterdir()) == [output]


def test_a_break_after_the_last_check_trains_no_further(tiles, tmp_path):
    """Where patience had ended the training, going on scores the same net and does not train on."""
    options = {"epochs": 40, "patience": 1, "learning_rate": 1e-7}
    whole = train(tiles, tmp_path / "whole.geodl", **options)

    class WhileScoring(SilentProgress):
        def update(self, fraction, text=""):
            if text.startswith("Scoring the test part"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiles, tmp_path / "m.geodl", WhileScoring(), **options)
    again = train(tiles, tmp_path / "m.geodl", **options)
    assert again["epochs"] == whole["epochs"] < 40
    same_weights(tmp_path / "whole.geodl", tmp_path / "m.geodl")


def test_stopping_keeps_the_best_so_far(tiles, tmp_path):
    """Once there is something to keep there is a model with its scores; before, nothing is left behind."""
    result = train(tiles, tmp_path / "m.geodl", After(5), epochs=40, forest=True, report=str(tmp_path / "r.html"))
    assert result["cancelled"]
    assert result["accuracy"] > result["majority_accuracy"]
    assert (tmp_path / "r.html").exists()
    again = train(tiles, tmp_path / "m.geodl", After(8), epochs=40, forest=True, report=str(tmp_path / "r.html"))
    assert again["epochs"] > result["epochs"]  # it went on from where it had been stopped
    (tmp_path / "empty").mkdir()
    with pytest.raises(Cancelled, match="nothing to keep"):
        train(tiles, tmp_path / "empty" / "m.geodl", After(1))
    assert list((tmp_path / "empty").iterdir()) == []


def test_batches_are_the_same_for_a_seed_and_epoch(tiles):
    """Also from the middle of an epoch; another epoch moves and turns the tiles otherwise; labels stay on their pixels."""
    batches = Batches(tiles, 4, 5, per_pixel=True)
    first, second, later = (list(batches.epoch(*which)) for which in ((2,), (2,), (2, 1)))
    for a, b in [*zip(first, second), *zip(first[1:], later)]:
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.targets, b.targets)
    assert not np.array_equal(first[0].values, next(iter(batches.epoch(3))).values)
    for batch in first:
        larger = (batch.values[:, 0] < batch.values[:, 1]) == (batch.targets == 0)
        assert larger[batch.targets >= 0].mean() > 0.95
        assert (batch.targets >= 0).any()


def test_each_test_pixel_counts_once(tiles):
    """As many as the tile set says, by class, whatever the windows; and those of the test part alone."""
    architecture = choose_architecture("automatic", "each pixel", tiles.bands, 2, 32, {"widths": [3, 4]})
    torch.manual_seed(0)
    net = architecture.build()
    for part in ("validation", "test"):
        accuracy = score_net(net, tiles, part, halo_px=receptive_halo_px(net), progress=SilentProgress()).accuracy
        counted = {one.code: int(n) for one, n in zip(tiles.classes, np.asarray(accuracy.confusion).sum(axis=1))}
        wanted = {one.code: 0 for one in tiles.classes} | tiles.class_counts(part)
        assert counted in (wanted, {one.code: int(n) for one, n in zip(tiles.classes, accuracy.confusion.sum(axis=0))})
        assert accuracy.pixels == sum(wanted.values())


def test_weights_of_classes(tiles):
    """Power 0 weighs all alike, 1 by the inverse share; 1 on average; a class without training pixels gets 0."""
    np.testing.assert_allclose(class_weights(tiles, 0.0, per_pixel=True), 1.0)
    counts = np.array([tiles.class_counts("training")[one.code] for one in tiles.classes])
    weights = class_weights(tiles, 1.0, per_pixel=True).numpy()
    np.testing.assert_allclose(weights * counts / counts.sum(), 0.5, rtol=1e-5)


def test_a_class_that_is_missing_from_a_part(tmp_path):
    """Three pixels of a class in one corner: it is in one part alone, and training, scores and report live with it."""
    tiles = extract(tmp_path / "set", **rule(tmp_path / "in", rare=True))
    assert sum(tiles.class_counts(part).get(30, 0) > 0 for part in ("training", "validation", "test")) == 1
    result = train(tiles, tmp_path / "m.geodl", epochs=1, class_weight=0.5, report=str(tmp_path / "r.html"))
    assert 0 <= result["macro_f1"] <= 1
    assert [one["code"] for one in read_model(tmp_path / "m.geodl").part("classifier")["classes"]] == [10, 20, 30]


def test_one_class_to_learn_from_is_refused(tiles, tmp_path):
    """Where all other classes lie in other parts there is nothing to tell apart."""
    import shutil

    folder = tmp_path / "one"
    shutil.copytree(tiles.folder, folder)
    facts = json.loads((folder / "tileset.json").read_text())
    pixels = facts["split"]["pixels"]
    pixels["training"] = {code: count for code, count in pixels["training"].items() if int(code) == 10}
    (folder / "tileset.json").write_text(json.dumps(facts))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(TileSetError, match="only one class"):
        train(TileSet.open(folder), out / "m.geodl")
    assert list(out.iterdir()) == []


def test_tiles_of_any_size_are_learnt_from(tmp_path):
    """Also of a size that is no multiple of the net's stride."""
    tiles = extract(tmp_path / "set", **{**rule(tmp_path / "in"), "tile_size": 27})
    result = train(tiles, tmp_path / "m.geodl", epochs=1, widths=[3, 4, 5])
    assert result["epochs"] == 1


@pytest.mark.parametrize("architecture", ["pooled", "classic"])
@pytest.mark.parametrize("storage", ["mosaic", "stacked"])
def test_tiles_as_wholes(tmp_path, architecture, storage):
    """Both nets for tiles, from both storages, with the forest beside them."""
    options = {**rule(tmp_path / "in"), "tile_size": 24, "stride": 16, "storage": storage}
    tiles = extract(tmp_path / "set", **options)
    options = {"task": "each tile", "architecture": architecture, "epochs": 2, "forest": True}
    result = train(tiles, tmp_path / "m.geodl", **options)
    assert 0 <= result["accuracy"] <= 1
    assert result["forest_accuracy"] is not None


def test_a_forest_learns_the_rule(tiles):
    """Nearly all test pixels, and the same for the same seed."""
    one, other = (forest_accuracy(tiles, "test", 0, SilentProgress(), per_pixel=True) for _ in range(2))
    assert one.accuracy > 0.9
    assert one.accuracy == other.accuracy


def readers():
    return [thread for thread in threading.enumerate() if thread.name in ("reader", "writer")]


def test_reading_ahead():
    """In order; what goes wrong reaches the caller after what was good; leaving early ends the thread."""
    assert list(ahead(iter(range(50)))) == list(range(50))

    def failing():
        yield 1
        raise OSError("disk")

    got = []
    with pytest.raises(OSError, match="disk"):
        got.extend(ahead(failing()))
    endless = ahead(iter(int, 1))
    next(endless)
    endless.close()
    time.sleep(0.05)
    assert readers() == []


def calls(function, numbers):
    with Behind(function) as write:
        for number in numbers:
            write(number)


def test_writing_behind():
    """In order, all of it; an error reaches the caller, at its next call or at the end; no thread is left."""
    done = []
    with Behind(done.append) as write:
        for number in range(50):
            write(number)
    assert done == list(range(50))

    def full(number):
        if number >= 3:
            raise OSError("full")

    for count in (4, 400):
        with pytest.raises(OSError, match="full"):
            calls(full, range(count))

    def own():
        yield 9
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        calls(full, own())
    assert readers() == []
