"""Maps on any device: memory that runs out parts the work and does not change the map. GPUs are played by the processor."""

import numpy as np
import pytest
import torch
from osgeo import gdal
from torch import nn

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import pixel_blocks
from geodl_qgis_plugin.engine.classification.devices import Compute
from geodl_qgis_plugin.engine.classification.net_runner import (
    NetRunner,
    NoRoom,
    PixelWindow,
    compute_for_maps,
    on_device,
)
from geodl_qgis_plugin.engine.classification.networks import choose_architecture, ensemble_of
from geodl_qgis_plugin.engine.classification.prediction import Reading, readings
from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window

from .models import grown, unsettled, write_classifier
from .planted import write_raster
from .test_tile_set import UTM

torch.set_num_threads(1)
BANDS = [Band("one"), Band("other")]


class Scarce(nn.Module):
    """A net with memory for so many pixels at once."""

    def __init__(self, net, room_px, error=torch.cuda.OutOfMemoryError):
        super().__init__()
        self.net, self.room_px, self.error = net, room_px, error
        self.stride, self.tile_size_px = net.stride, net.tile_size_px
        self.sizes = []

    def forward(self, values, derived=None):
        self.sizes.append(values.shape[0] * values.shape[2] * values.shape[3])
        if self.sizes[-1] > self.room_px or values.device.type == "meta":
            raise self.error("CUDA out of memory. Tried to allocate 12 TiB")
        return self.net(values, derived)


def unet():
    return unsettled(choose_architecture("unet", "each pixel", BANDS, 3, 64, {"widths": [3, 4]}), 2).eval()


def windows(halo):
    """Return windows of a raster as they are read, and the whole of it as one."""
    values = np.random.default_rng(0).normal(20, 10, (2, 96, 128)).astype(np.float32)
    values[:, 40:60, 30:50] = np.nan
    parts = [
        PixelWindow(one, np.ascontiguousarray(values[(slice(None), *one.outer.slices)]))
        for one in readings(96, 128, 32, halo, 4)
    ]
    whole = Window(0, 0, 96, 128)
    return parts, PixelWindow(Reading(whole, whole), values)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError, MemoryError])
@pytest.mark.parametrize("room_px", [96 * 128, 4000, 2800])
def test_running_out_of_memory_does_not_change_the_map(error, room_px):
    """Batches are halved, then windows: the same probabilities in each core, and the user is told."""
    net = unet()
    halo = 12
    parts, _ = windows(halo)
    expected = NetRunner(net, False, Compute(torch.device("cpu"))).probabilities(parts, halo)
    scarce = Scarce(net, room_px, error)
    runner = NetRunner(scarce, False, Compute(torch.device("cpu")))
    runner.at_once, runner.progress = 8, SilentProgress()
    found = runner.probabilities(parts, halo)
    assert len(found) == len(expected) == 12
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert max(size for size in scarce.sizes if size <= room_px) > 0
    if room_px < 4000:
        assert runner.at_once == 1
        assert any("in two parts" in text for text in runner.progress.messages)
    elif room_px == 4000:
        assert any("at a time" in text for text in runner.progress.messages)


def test_windows_in_parts_are_one_pass():
    """A window that is parted down to a few strides has the probabilities of the whole, for a halo that is wide enough."""
    net = unet()
    _, whole = windows(0)
    (expected,) = NetRunner(net, False, Compute(torch.device("cpu"))).probabilities([whole], 40)
    runner = NetRunner(Scarce(net, 96 * 100), False, Compute(torch.device("cpu")))
    (found,) = runner.probabilities([whole], 40)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_memory_at_all():
    """A graphics card's work goes to the processor; on the processor that is the end, with a sentence."""
    net = unet()
    parts, _ = windows(12)
    expected = NetRunner(net, False, Compute(torch.device("cpu"))).probabilities(parts[:1], 12)
    runner = NetRunner(Scarce(net, 10**9), False, Compute(torch.device("meta")))
    runner.progress = SilentProgress()
    found = runner.probabilities(parts[:1], 12)
    assert any("The processor goes on" in text for text in runner.progress.warnings)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    with pytest.raises(GeoDLError, match="not even memory for the smallest window"):
        NetRunner(Scarce(net, 10), False, Compute(torch.device("cpu"))).probabilities(parts, 12)
    broken = NetRunner(Scarce(net, 10, lambda _: RuntimeError("wrong shape")), False, Compute(torch.device("cpu")))
    with pytest.raises(RuntimeError, match="shape"):
        broken.probabilities(parts, 12)


def test_tiles_in_smaller_batches():
    """The same logits, in order; one that could be made smaller is handed back."""
    net = unsettled(choose_architecture("pooled", "each tile", BANDS, 3, 24, {}), 2).eval()
    values = np.random.default_rng(0).normal(20, 10, (11, 2, 24, 24)).astype(np.float32)
    expected = NetRunner(net, False, Compute(torch.device("cpu"))).logits(values)
    scarce = NetRunner(Scarce(net, 3 * 576), False, Compute(torch.device("cpu")))
    torch.testing.assert_close(scarce.logits(values), expected, rtol=0, atol=1e-5)
    with pytest.raises(NoRoom):
        NetRunner(Scarce(net, 10), False, Compute(torch.device("cpu"))).logits(values, smaller=True)


def test_what_only_processors_run_stays_there():
    """Of an ensemble the net goes to the other device, the forest does not, and the original is left alone."""
    kinds = [
        choose_architecture(name, "each pixel", BANDS, 3, 64, numbers)
        for name, numbers in (("unet", {"widths": [3, 4]}), ("forest", {}))
    ]
    net = ensemble_of(kinds, [0.5, 0.5]).build()
    copy = on_device(net, torch.device("meta"))
    assert {one.device.type for one in copy.members[0].parameters()} == {"meta"}
    assert {one.device.type for one in copy.members[1].buffers()} == {"cpu"}
    assert {one.device.type for one in net.parameters()} == {"cpu"}
    assert on_device(net, torch.device("cpu")) is net
    forest = kinds[1].build()
    assert compute_for_maps(forest, True) == Compute(torch.device("cpu"))


def test_a_cuda_card_keeps_float32(monkeypatch):
    """Its TF32 is turned off; bfloat16 is for FAST, on cards that have it, and the log says so."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Made-up 3000")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    compute = compute_for_maps(unet(), fast=False)
    assert compute == Compute(torch.device("cuda", 0))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert compute.sentence("Mapping") == "Mapping on the graphics card Made-up 3000, in float32."
    assert compute_for_maps(unet(), fast=True).low is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert compute_for_maps(unet(), fast=True).low is None


@pytest.mark.parametrize("task", ["each pixel", "each tile"])
def test_a_map_with_several_windows_at_once(tmp_path, monkeypatch, task):
    """As a GPU would map it, and with memory that runs out on the way: the map is the same, and the log names the device."""
    name, numbers, size = ("unet", {"widths": [3, 4]}, 64) if task == "each pixel" else ("pooled", {}, 24)
    architecture = choose_architecture(name, task, BANDS, 3, size, numbers)
    write_classifier(tmp_path / "m.geodl", architecture, BANDS, ["a", "b", "c"], tile_size_px=size)
    values = np.random.default_rng(0).normal(20, 10, (2, 150, 170)).astype(np.float32)
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 170, 150)
    raster = write_raster(tmp_path / "r.tif", values, grid, names=["one", "other"])
    settings = {"model": str(tmp_path / "m.geodl"), "predictors": [raster], "stride": 8 if task == "each tile" else 0}
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 32)
    progress = SilentProgress()
    run_job("classifyraster", settings | {"output": str(tmp_path / "one.tif")}, progress)
    assert any(text.startswith("Mapping on the ") for text in progress.messages)

    original = NetRunner._run

    def scarce(self, given, core=None):
        if given.shape[0] * given.shape[2] * given.shape[3] > 12_000:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return original(self, given, core)

    monkeypatch.setattr(NetRunner, "expect", lambda self, *_: setattr(self, "at_once", 5))
    monkeypatch.setattr(NetRunner, "_run", scarce)
    run_job("classifyraster", settings | {"output": str(tmp_path / "five.tif")}, SilentProgress())
    one, five = (gdal.Open(str(tmp_path / f"{name}.tif")).ReadAsArray() for name in ("one", "five"))
    assert len(np.unique(one)) > 1
    assert (
        one == five
    ).mean() > 0.9995  # where two classes are as likely as each other to six digits, rounding decides


def test_a_grown_forest_maps_without_a_card(tmp_path):
    """The runner takes nets without parameters."""
    architecture = choose_architecture("forest", "each pixel", BANDS, 2, 64, {"widths": [3], "scales": []})
    net = architecture.build()
    features = len(net.features(np.zeros((2, 8, 8), np.float32)))
    runner = NetRunner(grown(architecture, features, 2), False)
    assert runner.compute.device.type == "cpu"
    window = Window(0, 0, 16, 16)
    values = np.random.default_rng(0).normal(20, 10, (2, 16, 16)).astype(np.float32)
    (found,) = runner.probabilities([PixelWindow(Reading(window, window), values)], 1)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
