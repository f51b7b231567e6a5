"""The mean over turns: it turns with the ground, stays the same map from windows, and comes through jobs and workers."""

import pickle

import numpy as np
import pytest
import torch
from osgeo import gdal

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification.augmentation import ALL, turn, turn_back, turn_tile
from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.prediction import (
    padded,
    probabilities_of,
    reading_of,
    receptive_halo_px,
    up_to_multiple,
)
from geodl_qgis_plugin.engine.classification.turned import Turned
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window

from .models import unsettled, write_classifier
from .planted import write_raster
from .test_tile_set import UTM

torch.set_num_threads(1)
BANDS = [Band("dem", "m"), Band("slope", "degree"), Band("e", kind="vector_x"), Band("n", kind="vector_y")]


def ground(rows, columns, bands=4, seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(0, 4, (bands, rows, columns)).cumsum(axis=1).cumsum(axis=2).astype(np.float32) / 9
    values[:, 3:6, 4:9] = np.nan
    return values


@pytest.fixture(scope="module")
def net():
    architecture = choose_architecture("unet", "each pixel", BANDS, 3, 64, {"widths": [4, 6, 8]})
    return Turned(unsettled(architecture, len(BANDS)).eval(), BANDS)


def shares(net, values):
    with torch.inference_mode():
        return torch.softmax(net(torch.from_numpy(np.ascontiguousarray(values))[None]), 1)[0].numpy()


@pytest.mark.parametrize("symmetry", ALL)
def test_turning_back_undoes_a_turn(symmetry):
    """Also of arrays that are no squares."""
    values = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(turn_back(turn(values, symmetry), symmetry), values)


@pytest.mark.parametrize("symmetry", ALL[1:])
def test_what_is_mapped_turns_with_the_ground(net, symmetry):
    """The map of turned ground is the turned map, which the net alone does not give."""
    values = ground(32, 40)
    turned = turn_tile(values, BANDS, symmetry)
    np.testing.assert_allclose(shares(net, turned), turn(shares(net, values), symmetry), atol=2e-5)
    alone = np.abs(shares(net.net, turned) - turn(shares(net.net, values), symmetry)).max()
    assert alone > 0.01


def test_one_orientation_is_the_net_itself():
    """A band that is lit from one side bears no turns."""
    bands = [Band("slope", "degree"), Band("shade", kind="directional")]
    architecture = choose_architecture("unet", "each pixel", bands, 3, 64, {"widths": [4, 6]})
    alone = unsettled(architecture, 2).eval()
    values = ground(16, 16, 2)
    np.testing.assert_allclose(shares(Turned(alone, bands), values), shares(alone, values), atol=1e-6)


@pytest.mark.parametrize("place", [(0, 0, 30, 30), (9, 21, 17, 30), (40, 61, 21, 11), (60, 0, 1, 72)])
def test_windows_give_the_map_of_one_pass(net, place):
    """Wherever they lie, in a raster whose sides are no multiples of the stride."""
    values, height, width = ground(61, 72), 61, 72
    bottom, right = (up_to_multiple(length, net.stride) for length in (height, width))
    whole = shares(net, padded(values, Window(0, 0, height, width), Window(0, 0, bottom, right)))
    core = Window(*place)
    reading = reading_of(core, height, width, receptive_halo_px(net.net), net.stride)
    inside = reading.outer.grown(0, height, width)
    window = padded(values[(slice(None), *inside.slices)], inside, reading.outer)
    part = probabilities_of(net, window, reading)
    np.testing.assert_allclose(part, whole[(slice(None), *core.slices)], atol=2e-5)


@pytest.mark.parametrize(("architecture", "task", "step"), [("unet", "each pixel", 0), ("residual", "each tile", 4)])
def test_a_map_with_turns(tmp_path, architecture, task, step):
    """The job's classes are those of the mean; another process is told to turn, too; a tile net slides as before."""
    bands = BANDS[1:]
    numbers = {"widths": [4, 6]} if architecture == "unet" else None
    chosen = choose_architecture(architecture, task, bands, 3, 32, numbers)
    model = write_classifier(tmp_path / "m.geodl", chosen, bands, ["one", "two", "three"], tile_size_px=32)
    values = ground(96, 88, 3)
    values[:, 3:6, 4:9] = 1.0
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 88, 96)
    raster = write_raster(tmp_path / "p.tif", values, grid, names=[band.name for band in bands])
    settings = {"model": str(tmp_path / "m.geodl"), "predictors": [raster], "turns": True, "stride": step}
    run_job("classifyraster", {**settings, "output": str(tmp_path / "map.tif")}, SilentProgress())
    mapped = gdal.Open(str(tmp_path / "map.tif")).ReadAsArray()
    wanted = shares(Turned(model.net, bands), values)
    if step:
        wanted = wanted[:, :: step // model.net.stride, :: step // model.net.stride]
    first, second = np.sort(wanted, axis=0)[[-1, -2]]
    clear = first - second > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal((mapped - 1)[clear], wanted.argmax(axis=0)[clear])
    work = prepare(Settings(**settings, output=str(tmp_path / "o.tif")), SilentProgress())
    there = pickle.loads(pickle.dumps(work))  # noqa: S301 - made right here, as Dask does
    assert isinstance(there.model.net, Turned)


def test_turns_that_bands_do_not_bear_are_told(tmp_path):
    """A warning, and the map is made."""
    bands = [Band("slope", "degree"), Band("shade", kind="directional")]
    chosen = choose_architecture("unet", "each pixel", bands, 2, 32, {"widths": [3, 4]})
    write_classifier(tmp_path / "m.geodl", chosen, bands, ["one", "two"], tile_size_px=32)
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 20, 20)
    raster = write_raster(tmp_path / "p.tif", np.ones((2, 20, 20), np.float32), grid, names=["slope", "shade"])
    progress = SilentProgress()
    settings = {"model": str(tmp_path / "m.geodl"), "predictors": [raster], "output": str(tmp_path / "map.tif")}
    run_job("classifyraster", {**settings, "turns": True}, progress)
    assert any("TURNS changes nothing" in text for text in progress.warnings)
