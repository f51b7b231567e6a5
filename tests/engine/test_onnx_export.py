"""ONNX files that models are exported to: what they say, and that Deepness can open them by its own rules."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.networks import NAMES, NETS, Architecture, choose_architecture, ensemble_of
from geodl_qgis_plugin.engine.errors import ModelFileError, SettingsError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import stac_item, write_model
from tests.engine.models import grown, write_classifier

onnx = pytest.importorskip("onnx", reason="the extra geodl[onnx] is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra geodl[onnx] is not installed")

torch.set_num_threads(1)  # the nets here are small: a second thread costs more than it brings

BANDS = [Band("dem", "m"), Band("slope", "degree"), Band("aspect", "degree", "azimuth")]
CLASSES = ["flat", "ridge", "valley", "slope"]
SMALL = {"unet": {"widths": [4, 6, 8]}}


def architecture(name):
    """Return a small architecture by its name; the ensemble is one of two different nets."""
    if name == "ensemble":
        return ensemble_of(
            [architecture("unet"), Architecture("unet", 3, 4, [0, 2], numbers={"widths": [4, 4]})], [2, 1]
        )
    task = Architecture(name, 1, 2, [0]).task
    chosen = choose_architecture(name, task, BANDS, len(CLASSES), 64, SMALL.get(name))
    return (
        replace(chosen, radii=[2], reaches=[2, 4]) if chosen.surfaces else chosen
    )  # short lines of sight: a small file


def ground(shape, seed=0):
    """Return values in the bands' units, with holes of nodata that do not lie in the same place in each band."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 4, shape).cumsum(axis=2).cumsum(axis=3).astype(np.float32) / 5 + 20
    for band in range(shape[1]):
        row, column = random.integers(0, shape[2] - 8), random.integers(0, shape[3] - 8)
        values[:, band, row : row + 7, column : column + 8] = np.nan
    return values


def probabilities(model, values):
    with torch.inference_mode():
        return torch.softmax(model.net(torch.from_numpy(values)), 1).numpy()


def export(tmp_path, model, **settings):
    path, progress = tmp_path / "net.onnx", SilentProgress()
    result = run_job("exportonnx", {"model": str(model.file.path), "output": str(path), **settings}, progress)
    return path.read_bytes(), result, progress


@pytest.fixture(scope="module", params=[*NETS, "ensemble"])
def model(request, tmp_path_factory):
    """Return a classifier of each architecture that can be trained."""
    return write_classifier(
        tmp_path_factory.mktemp("models") / f"{request.param}.geodl", architecture(request.param), BANDS, CLASSES
    )


def test_any_size(model, tmp_path):
    """ONNX Runtime gives the probabilities of PyTorch for windows of any size, with nodata, for every architecture."""
    data, result, _ = export(tmp_path, model, any_size=True)
    onnx.checker.check_model(data, full_check=True)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for seed, shape in enumerate(((1, 3, 64, 64), (3, 3, 96, 64), (1, 3, 72, 128))):
        values = ground(shape, seed)
        (found,) = session.run(None, {"values": values})
        expected = probabilities(model, values)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert result["difference"] <= 1e-4


class AsDeepness:
    """Opens a file and classifies a tile as Deepness does: its checks, its metadata, its scaling, its choice of class."""

    def __init__(self, data):
        self.session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (self.input,) = self.session.get_inputs()
        texts = self.session.get_modelmeta().custom_metadata_map
        self.told = {name: json.loads(text) for name, text in texts.items()}
        self.mean, self.spread = (
            np.array([float(value) for value in self.told[name]], np.float32)
            for name in ("standardization_mean", "standardization_std")
        )
        (output,) = self.session.get_outputs()
        assert len(output.shape) == 4
        assert output.shape[2] == output.shape[3]
        assert output.shape[0] == 1
        self.channels = output.shape[-3]
        assert self.input.shape[-2] == self.input.shape[-1]
        assert all(isinstance(side, int) for side in self.input.shape)
        assert str(self.told["model_type"]).capitalize() == "Segmentor"
        names = self.told["class_names"]
        assert sorted(int(key) for key in names) == list(range(self.channels))
        self.names = [names[key] for key in sorted(names, key=int)]

    def classes(self, tiles):
        """Return the classes of tiles (tile, row, column, band)."""
        tiles = tiles[:, :, :, : self.input.shape[-3]]
        tiles = np.float32(tiles * 1.0 / 255.0)
        tiles = ((tiles - self.mean) / self.spread).transpose(0, 3, 1, 2)
        (result,) = self.session.run(None, {self.input.name: tiles})
        result[result < float(self.told["seg_thresh"])] = 0.0
        return result.argmax(axis=1)


def test_deepness_opens_it(model, tmp_path):
    """Deepness takes the file, with its names, pixel size, tile and overlap, and finds the classes that GeoDL finds."""
    data, result, _ = export(tmp_path, model, tile_size=128 if model.per_pixel else 0)
    deepness = AsDeepness(data)
    assert deepness.names == CLASSES
    assert float(deepness.told["resolution"]) == 3000.0
    side = deepness.input.shape[-1]
    assert int(deepness.told["tile_size"]) == side == result["tile_size"]
    values = ground((1, 3, side, side), 5)
    expected = probabilities(model, values)
    found = deepness.classes(values.transpose(0, 2, 3, 1))
    assert found.shape == (1, side, side)
    second, first = np.sort(expected, axis=1).transpose(1, 0, 2, 3)[-2:]
    clear = np.broadcast_to(first - second > 1e-3, found.shape)
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(found[clear], np.broadcast_to(expected.argmax(axis=1), found.shape)[clear])
    if model.per_pixel:
        # it uses each tile to the middle of the overlap, which must leave the halo out
        assert int(deepness.told["tiles_overlap"]) / 200 * side >= model.halo_px


def test_the_comparison_finds_a_difference(tmp_path):
    """A file whose weights are not the model's is found out by the comparison that is made before a file is written."""
    from geodl_qgis_plugin.engine.classification.interchange.export_job import exported, largest_difference

    small = architecture("unet")
    one = write_classifier(tmp_path / "one.geodl", small, BANDS, CLASSES)
    other = write_classifier(tmp_path / "other.geodl", small, BANDS, CLASSES, seed=1)
    data = exported(load_classifier(tmp_path / "one.geodl", plain=True).net, one, None)
    assert largest_difference(runtime, data, one, None) < 1e-5
    assert largest_difference(runtime, data, other, None) > 0.01


def test_refusals(tmp_path):
    """Tiles that do not fit the net, and what is no classifier, end with a sentence and leave no file."""
    model = write_classifier(tmp_path / "m.geodl", architecture("unet"), BANDS, CLASSES)
    for size in (100 + 1, 2 * model.halo_px // 4 * 4):
        with pytest.raises(SettingsError, match="multiple of 4"):
            export(tmp_path, model, tile_size=size)
    tiles = write_classifier(tmp_path / "t.geodl", architecture("pooled"), BANDS, CLASSES)
    with pytest.raises(SettingsError, match="tiles of 64 pixels"):
        export(tmp_path, tiles, tile_size=128)
    item = stac_item("f", None, {"geodl:kind": "forecaster", "geodl:forecaster": {}})
    write_model(tmp_path / "f.geodl", item, {})
    with pytest.raises(ModelFileError, match="is a forecaster"):
        run_job(
            "exportonnx", {"model": str(tmp_path / "f.geodl"), "output": str(tmp_path / "net.onnx")}, SilentProgress()
        )
    assert not (tmp_path / "net.onnx").exists()


def test_forests_are_not_exported(tmp_path):
    """What is neither a net nor an ensemble of nets is refused with the reason: every other architecture is exported above."""
    assert set(NAMES) - set(NETS) == {"forest", "extra trees", "surroundings"}
    for task in ("each pixel", "each tile"):
        forest = choose_architecture("forest", task, BANDS, len(CLASSES), 8)
        net = grown(forest, forest.build().trees.features, len(CLASSES))
        model = write_classifier(tmp_path / "f.geodl", forest, BANDS, CLASSES, tile_size_px=8, net=net)
        with pytest.raises(ModelFileError, match="decision trees are not written as ONNX"):
            export(tmp_path, model)
        assert not (tmp_path / "net.onnx").exists()


def test_degrees(tmp_path):
    """A model of pixels in degrees carries no pixel size, which is said."""
    small = architecture("unet")
    model = write_classifier(tmp_path / "m.geodl", small, BANDS, CLASSES, pixel_m=0.0003, crs=4326)
    data, _, progress = export(tmp_path, model, tile_size=128)
    texts = {entry.key for entry in onnx.load_from_string(data).metadata_props}
    assert "resolution" not in texts
    assert "degrees" in progress.warnings[0]
