"""Nets for tiles of any size, and the choice among candidates by the validation part."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import automatic_tiles, forest, training
from geodl_qgis_plugin.engine.classification.automatic_tiles import best_for_tiles
from geodl_qgis_plugin.engine.classification.course import Check
from geodl_qgis_plugin.engine.classification.metrics import brier
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.trained import Trained
from geodl_qgis_plugin.engine.errors import SettingsError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import lay_tiles

from .models import unsettled
from .test_tile_set import extract
from .test_training import After, same_weights

torch.set_num_threads(1)
DEM, SLOPE = Band("dem", "m"), Band("slope", "degree")


def residual(bands, size):
    """Return a residual net with weights and batch norms of no fresh net."""
    return unsettled(choose_architecture("residual", "each tile", bands, 3, size), len(bands)).eval()


def ground(rows, columns, bands, seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(30, 8, (1, bands, rows, columns)).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    return torch.from_numpy(values)


@pytest.mark.parametrize("size", [16, 17, 22, 30, 32, 45, 48, 64, 65, 128])
@pytest.mark.parametrize("bands", [[SLOPE, SLOPE], [DEM, SLOPE]])
def test_a_residual_net_slides(size, bands):
    """For tiles of every size: what it gives at each stride is what it gives the tile by itself."""
    net = residual(bands, size)
    stride = net.stride
    step = stride if size < 100 else 4 * stride
    values = ground(size + 2 * step, size + step, len(bands))
    with torch.inference_mode():
        slid = net(values)[0]
        assert slid.shape[1:] == ((values.shape[2] - size) // stride + 1, (values.shape[3] - size) // stride + 1)
        for row in range(0, 2 * step + 1, step):
            for column in range(0, step + 1, step):
                alone = net(values[..., row : row + size, column : column + size])
                assert alone.shape == (1, 3, 1, 1)
                given = slid[:, row // stride, column // stride]
                assert (alone[0, :, 0, 0] - given).abs().max() <= 2e-5 * max(float(slid.abs().max()), 1.0)


@pytest.mark.parametrize("size", [3, 4, 5, 9, 15])
@pytest.mark.parametrize("bands", [[SLOPE, SLOPE], [DEM, SLOPE]])
def test_small_tiles_do_not_see_their_neighbours(size, bands):
    """Of tiles side by side each gives what it gives alone; so it does in a raster that ends within a tile."""
    net = residual(bands, size)
    values = ground(3 * size + 1, 2 * size + 2, len(bands))
    with torch.inference_mode():
        together = net(values)[0]
        assert together.shape == (3, 3, 2)
        for row in range(3):
            for column in range(2):
                tile = values[..., row * size : (row + 1) * size, column * size : (column + 1) * size]
                torch.testing.assert_close(net(tile)[0, :, 0, 0], together[:, row, column], rtol=1e-4, atol=1e-4)


def test_an_elevation_in_a_small_tile_is_not_absolute():
    """A constant added to it changes nothing."""
    net = residual([DEM], 5).double()
    tile = ground(5, 5, 1).double()
    torch.testing.assert_close(net(tile), net(tile + 800.0), rtol=1e-6, atol=1e-6)


def test_the_brier_score_by_hand():
    """Probabilities 0.8 and 0.2 of the first class, which is right in both: (0.2² + 0.2² + 0.8² + 0.8²) / 2; bounds 0 and 2."""
    shares = np.array([[0.8, 0.2], [0.2, 0.8]], np.float32)
    assert brier(shares, np.array([0, 0])) == pytest.approx(0.68)
    sure = np.eye(2, dtype=np.float32)
    assert brier(sure, np.array([0, 1])) == 0
    assert brier(sure, np.array([1, 0])) == 2


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return tiles of 3 × 3 pixels whose class is told by which of two bands is the larger in the middle."""
    folder = tmp_path_factory.mktemp("small")
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (420, 2, 3, 3)).astype(np.float32)
    codes = (values[:, 0, 1, 1] > values[:, 1, 1, 1]).astype(np.uint8)
    np.savez(
        folder / "t.npz",
        X_train=values[:300],
        y_train=codes[:300],
        X_test=values[300:],
        y_test=codes[300:],
        class_names=np.array(["less", "more"]),
    )
    settings = {name.lower(): value for name, value in lay_tiles.lay(folder / "t.npz", folder).items()}
    settings |= {name: [settings[name]] for name in ("predictors", "labels")}
    return extract(folder / "set", **settings)


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Grow few trees, and look at the validation part often."""
    before = forest.TREES, training.FEWEST_BATCHES_BETWEEN_CHECKS
    forest.TREES, training.FEWEST_BATCHES_BETWEEN_CHECKS = 20, 1
    yield
    forest.TREES, training.FEWEST_BATCHES_BETWEEN_CHECKS = before


def trained(tiles, output, progress=None, **options):
    settings = {"tiles": str(tiles.folder), "output": str(output), "task": "each tile", "batch_size": 8, **options}
    return run_job("trainclassifier", settings, progress or SilentProgress())


def test_automatic_tries_and_keeps_the_best(small, tmp_path):
    """Tiles that the classic net refuses: all that fits is tried, the report tells, the model maps, and a seed decides all."""
    report = tmp_path / "r.html"
    result = trained(small, tmp_path / "m.geodl", epochs=12, report=str(report))
    assert result["accuracy"] > 0.75
    part = read_model(tmp_path / "m.geodl").part("classifier")
    tried = part["training"]["tried"]
    assert {one["name"] for one in tried if "+" not in one["name"]} == {"forest", "extra trees", "residual"}
    (kept,) = (one for one in tried if one["kept"])
    assert kept["brier"] == min(one["brier"] for one in tried)
    assert "What was tried" in report.read_text()
    assert "0 batches" not in report.read_text()
    trained(small, tmp_path / "again.geodl", epochs=12, forest=False)
    same_weights(tmp_path / "m.geodl", tmp_path / "again.geodl")
    predictors = small.facts["sources"][0]["path"]
    mapped = run_job(
        "classifyraster",
        {"model": str(tmp_path / "m.geodl"), "predictors": [predictors], "output": str(tmp_path / "map.tif")},
        SilentProgress(),
    )
    assert sum(mapped["counts"].values()) == 420


def test_a_broken_trial_goes_on(small, tmp_path):
    """Interrupted while the net trains: the same command gives the model of an unbroken run, and leaves nothing behind."""
    with pytest.raises(KeyboardInterrupt):
        trained(small, tmp_path / "m.geodl", After(5, KeyboardInterrupt()), epochs=8, forest=False)
    progress = SilentProgress()
    trained(small, tmp_path / "m.geodl", progress, epochs=8, forest=False)
    assert any("Going on after epoch" in text for text in progress.messages)
    trained(small, tmp_path / "whole.geodl", epochs=8, forest=False)
    same_weights(tmp_path / "m.geodl", tmp_path / "whole.geodl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.geodl", "whole.geodl"]


def test_stopping_a_trial_keeps_what_stands(small, tmp_path):
    """Stopped before the net's first check: a forest is kept."""
    result = trained(small, tmp_path / "m.geodl", After(1), epochs=8)
    assert result["cancelled"]
    name = read_model(tmp_path / "m.geodl").part("classifier")["architecture"]["name"]
    assert name in ("forest", "extra trees", "ensemble")


def test_minutes_and_epochs_are_shared_out(small):
    """Forests take what they need, the nets share what is left; nobody gets no limit where one was asked for."""
    candidates = [choose_architecture(name, "each tile", [SLOPE], 2, 32) for name in ("forest", "residual", "pooled")]
    asked = []

    def once(architecture, minutes, epochs, checkpoint, progress):
        asked.append((architecture.name, minutes, epochs, checkpoint.name))
        check = Check(1, 1, 0.0, 0.0, 0.0, 0.0, 60.0 if architecture.name == "forest" else 30.0)
        return Trained(architecture.build(), [check], check, "all epochs were done", 0, architecture.name)

    chosen, automatic_tiles._best = automatic_tiles._best, lambda trained, *rest: trained
    try:
        best_for_tiles(candidates, once, small, Path("c.safetensors"), SilentProgress(), minutes=4.0, epochs=9)
    finally:
        automatic_tiles._best = chosen
    names, minutes, epochs, places = zip(*asked)
    assert names == ("forest", "residual", "pooled")
    assert minutes[0] == 0
    assert minutes[1:] == pytest.approx([1.5, 2.5])
    assert epochs == (0, 4, 4)
    assert places == ("c.safetensors", "c.safetensors", "c-pooled.safetensors")


def test_small_tiles_are_refused_by_large_nets(small, tmp_path):
    """With what to choose instead."""
    with pytest.raises(SettingsError, match="or choose residual or forest"):
        trained(small, tmp_path / "m.geodl", architecture="pooled")
