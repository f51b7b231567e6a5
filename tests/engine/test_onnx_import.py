"""
Nets from elsewhere as models: they say what they said where they were trained, and a map of them is that of one pass.

The files in tests/data were exported by Keras 3, by TensorFlow through tf2onnx and by scikit-learn through skl2onnx; their
answers were written down there too (tools/onnx_reference_nets.py).
"""

import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from osgeo import gdal
from torch import nn

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.interchange import graphs
from geodl_qgis_plugin.engine.classification.networks import Architecture
from geodl_qgis_plugin.engine.errors import ModelFileError, SettingsError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import read_model, write_model
from tests.engine.models import write_classifier
from tests.engine.planted import grids, write_raster

onnx = pytest.importorskip("onnx", reason="the extra geodl[onnx] is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra geodl[onnx] is not installed")
torch.set_num_threads(1)

DATA = Path(__file__).resolve().parents[1] / "data"
EXPECTED = np.load(DATA / "onnx_nets.npz")
CLASSES, BANDS = "water, 7=forest, 9=rock=#112233, ice", "red, green, blue"
CODES = np.array([1, 7, 9, 4])
GRID = grids()["plain"]


def bring_in(path, output, **settings):
    progress = SilentProgress()
    given = {"classes": CLASSES, "bands": BANDS, "pixel_size": 30.0, **settings}
    result = run_job("importonnx", {"onnx": str(path), "output": str(output), **given}, progress)
    return load_classifier(output), result, progress


def probabilities(model, values):
    """Return (batch, class, row, column) of values in that order."""
    with torch.inference_mode():
        return torch.softmax(model.net(torch.from_numpy(np.ascontiguousarray(values, np.float32))), 1).numpy()


def answers(name, softmax=False):
    """Return values (batch, band, row, column) and what the framework said of them."""
    values, said = EXPECTED[f"{name}_values"].astype(np.float32), EXPECTED[name]
    if softmax:
        said = torch.softmax(torch.from_numpy(said), -1).numpy()
    return values, said


def mapped(tmp_path, model, values, **settings):
    """Write values (band, row, column) as a raster, classify it, and return the codes and the probabilities."""
    grid = GRID.__class__(GRID.crs, GRID.transform, values.shape[2], values.shape[1])
    names = [band.name for band in model.bands]
    raster = write_raster(tmp_path / "values.tif", np.ascontiguousarray(values, np.float32), grid, names=names)
    outputs = {name: str(tmp_path / f"{name}.tif") for name in ("output", "probabilities")}
    settings = {"model": str(model.file.path), "predictors": [raster], **outputs, **settings}
    run_job("classifyraster", settings, SilentProgress())
    stacked = gdal.Open(outputs["probabilities"])
    packed = stacked.ReadAsArray().astype(np.float32)
    scale = stacked.GetRasterBand(1).GetScale() or 1.0
    return gdal.Open(outputs["output"]).ReadAsArray(), packed * scale


def net_of_torch(net, bands, side=None):
    """Return a net of PyTorch as ONNX, for windows of any size unless ``side`` is given."""
    written = io.BytesIO()
    axes = {} if side else {"dynamic_axes": {name: {0: "n", 2: "r", 3: "c"} for name in ("x", "y")}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = torch.zeros(1, bands, side or 48, side or 48)
        names = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(net.eval(), (values,), written, dynamo=False, opset_version=17, **names, **axes)
    return written.getvalue()


def test_keras_pixels(tmp_path):
    """A net of Keras says what Keras said; its layout, probabilities, halo and stride are found out."""
    model, result, _ = bring_in(DATA / "keras_pixels.onnx", tmp_path / "m.geodl")
    values, said = answers("keras_pixels")
    found = probabilities(model, values.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(found, said.transpose(0, 3, 1, 2), atol=1e-5)
    # 3×3, pooled by 2, 3×3: a neighbour of a neighbouring pair of pixels, in the worst place of the pair
    assert (result["layout"], result["gives"], result["halo"], result["stride"]) == (
        "bands last",
        "probabilities",
        4,
        2,
    )
    assert [one.code for one in model.classes] == list(CODES)
    assert model.classes[2].colour == "#112233"


def test_a_map_of_keras_is_that_of_one_pass(tmp_path):
    """A raster of several windows, with nodata: the class of every pixel is that of the file run once over all of it."""
    model, _, _ = bring_in(DATA / "keras_pixels.onnx", tmp_path / "m.geodl", offset="4", scale="2, 3, 4", nodata="4")
    values = np.random.default_rng(5).normal(4, 3, (3, 450, 506)).astype(np.float32)
    values[0, 100:130, 370:400] = np.nan
    scaled = (np.where(np.isnan(values), 4, values) - 4) / np.array([2, 3, 4], np.float32)[:, None, None]
    session = runtime.InferenceSession((DATA / "keras_pixels.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    (whole,) = session.run(None, {session.get_inputs()[0].name: scaled.transpose(1, 2, 0)[None].astype(np.float32)})
    codes, _ = mapped(tmp_path, model, values)
    valid = np.isfinite(values).all(axis=0)
    second, first = np.sort(whole[0], axis=2)[..., -2], np.sort(whole[0], axis=2)[..., -1]
    clear = valid & (first - second > 1e-5)
    np.testing.assert_array_equal(codes[clear], CODES[whole[0].argmax(axis=2)][clear])
    assert (codes[~valid] == 0).all()


def test_keras_tiles(tmp_path):
    """A net of Keras for tiles maps a row of tiles as Keras classified them."""
    model, result, _ = bring_in(DATA / "keras_tiles.onnx", tmp_path / "m.geodl")
    values, said = answers("keras_tiles")
    assert (result["task"], model.tile_size_px) == ("each tile", 32)
    tiles = values.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(probabilities(model, tiles)[:, :, 0, 0], said, atol=1e-5)
    codes, shares = mapped(tmp_path, model, np.concatenate(list(tiles), axis=2))
    np.testing.assert_array_equal(codes[0], CODES[said.argmax(axis=1)])
    np.testing.assert_allclose(shares[:, 0].T, said, atol=0.01)


def test_tensorflow_windows_of_one_size(tmp_path):
    """A net whose window is fixed is run window by window, and no seam shows: any part of the map is that part of the whole."""
    model, result, _ = bring_in(DATA / "tensorflow_fixed.onnx", tmp_path / "m.geodl")
    values, said = answers("tensorflow_fixed", softmax=True)
    assert (result["gives"], result["halo"], result["stride"]) == ("logits", 3, 1)
    values = values.transpose(0, 3, 1, 2)
    inner = (
        slice(None),
        slice(None),
        slice(3, -3),
        slice(3, -3),
    )  # beyond the edge TensorFlow puts zeros after each layer
    np.testing.assert_allclose(probabilities(model, values)[inner], said.transpose(0, 3, 1, 2)[inner], atol=1e-5)
    raster = np.random.default_rng(3).normal(size=(3, 140, 151)).astype(np.float32)
    codes, _ = mapped(tmp_path, model, raster)
    east, north = GRID.coordinates(31, 17)
    west, south = GRID.coordinates(131, 150)
    extent = f"{east},{west},{south},{north} [EPSG:26912]"
    part, _ = mapped(tmp_path, model, raster, extent=extent)
    np.testing.assert_array_equal(part, codes[31:131, 17:150])


def test_scikit_learn(tmp_path):
    """A forest of single pixels, its probabilities taken out of their tables, and a perceptron of unrolled tiles."""
    model, result, _ = bring_in(DATA / "sklearn_pixels.onnx", tmp_path / "m.geodl")
    values, said = answers("sklearn_pixels")
    assert (result["task"], result["halo"], result["stride"]) == ("each pixel", 0, 1)
    raster = values.T.reshape(3, 20, 20)
    np.testing.assert_allclose(probabilities(model, raster[None])[0], said.T.reshape(4, 20, 20), atol=1e-5)
    codes, _ = mapped(tmp_path, model, raster)
    np.testing.assert_array_equal(codes, CODES[said.argmax(axis=1)].reshape(20, 20))
    model, result, _ = bring_in(DATA / "sklearn_tiles.onnx", tmp_path / "t.geodl")
    values, said = answers("sklearn_tiles")
    assert (result["task"], model.tile_size_px) == ("each tile", 8)
    np.testing.assert_allclose(probabilities(model, values)[:, :, 0, 0], said, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "halo", "stride"),
    [
        ([nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 5, padding=6, dilation=3)], 7, 1),
        ([nn.MaxPool2d(4), nn.Conv2d(2, 3, 3, padding=1), nn.Upsample(scale_factor=4)], 7, 4),
        ([nn.Conv2d(2, 4, 3, 2, padding=1), nn.BatchNorm2d(4), nn.Sigmoid(), nn.ConvTranspose2d(4, 3, 2, 2)], 2, 2),
        ([nn.Conv2d(2, 3, 1)], 0, 1),
        ([nn.Conv2d(2, 2, 3, padding=1), *[nn.Tanh(), nn.Conv2d(2, 2, 3, padding=1)] * 8, nn.Conv2d(2, 3, 1)], 9, 1),
    ],
    ids=["dilated", "pooled by four", "strided", "pixels", "deep"],
)
def test_how_far_a_net_looks_is_found(tmp_path, layers, halo, stride):
    """The halo and the stride that follow from a net's layers, found without looking at them."""
    torch.manual_seed(3)
    (tmp_path / "net.onnx").write_bytes(net_of_torch(nn.Sequential(*layers), 2))
    _, result, _ = bring_in(tmp_path / "net.onnx", tmp_path / "m.geodl", bands="a,b", classes="x,y,z")
    assert (result["halo"], result["stride"], result["gives"]) == (halo, stride, "logits")


class Normalised(nn.Module):
    """Looks at the whole window: an instance norm."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        """Return logits."""
        x = self.one(x)
        return self.two(x / (x.pow(2).mean((2, 3), keepdim=True) + 1).sqrt())


def test_nets_that_look_at_their_whole_window(tmp_path):
    """A gate by the window's mean and a norm over the window are refused; with a halo given they are taken, with a warning."""
    (tmp_path / "net.onnx").write_bytes(net_of_torch(Normalised(), 2))
    with pytest.raises(ModelFileError, match="depends on the whole window"):
        bring_in(tmp_path / "net.onnx", tmp_path / "m.geodl", bands="a,b", classes="x,y,z")
    with pytest.raises(ModelFileError, match="depends on the whole window"):
        bring_in(DATA / "tensorflow_gated.onnx", tmp_path / "m.geodl")
    small = nn.Sequential(nn.Conv2d(2, 4, 9, padding=4), nn.ReLU(), nn.Conv2d(4, 3, 9, padding=4))
    (tmp_path / "small.onnx").write_bytes(net_of_torch(small, 2, side=16))
    with pytest.raises(ModelFileError, match="larger windows"):
        bring_in(tmp_path / "small.onnx", tmp_path / "m.geodl", bands="a,b", classes="x,y,z")
    assert not (tmp_path / "m.geodl").exists()
    _, result, progress = bring_in(DATA / "tensorflow_gated.onnx", tmp_path / "m.geodl", halo=8, stride=1)
    assert result["halo"] == 8
    assert "differ by" in progress.warnings[0]


def test_one_score_for_two_classes(tmp_path):
    """A net with a single sigmoid, or a single logit, says how sure the second class is."""
    values = np.random.default_rng(1).normal(size=(1, 2, 8, 8)).astype(np.float32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 1, 3, padding=1))
    with torch.inference_mode():
        sure = torch.sigmoid(net(torch.from_numpy(values))).numpy()[:, 0]
    for layers, gives in ((net, "logits"), (nn.Sequential(*net, nn.Sigmoid()), "probabilities")):
        (tmp_path / "net.onnx").write_bytes(net_of_torch(layers, 2))
        model, result, _ = bring_in(tmp_path / "net.onnx", tmp_path / "m.geodl", bands="a,b", classes="rest,slide")
        assert result["gives"] == gives
        found = probabilities(model, values)
        np.testing.assert_allclose(found[:, 1], sure, atol=1e-5)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_there_and_back(tmp_path):
    """An exported U-Net comes back with nothing typed in, sees as far as it did, and makes the same map."""
    bands, names = [Band("dem", "m"), Band("slope", "degree")], ["a", "b", "c"]
    small = Architecture("unet", 2, 3, [1], [0], [2], [2], {"widths": [4, 6]})
    model = write_classifier(tmp_path / "m.geodl", small, bands, names, pixel_m=25.0)
    settings = {"model": str(tmp_path / "m.geodl"), "output": str(tmp_path / "net.onnx"), "any_size": True}
    run_job("exportonnx", settings, SilentProgress())
    back, result, _ = bring_in(tmp_path / "net.onnx", tmp_path / "b.geodl", classes="", bands="", pixel_size=0.0)
    assert back.bands == bands
    assert back.classes == classes_from_names(names)
    assert back.grid.pixel_size == (25.0, 25.0)
    assert result["stride"] == model.net.stride
    assert model.halo_px - model.net.stride < result["halo"] <= model.halo_px
    assert (back.file.weights["offset"] == 0).all() and (back.file.weights["scale"] == 1).all()  # noqa: PT018
    values = np.random.default_rng(2).normal(20, 5, (2, 96, 101)).astype(np.float32)
    values[1, 5:9, 60:70] = np.nan
    first = mapped(tmp_path, model, values)
    second = mapped(tmp_path, back, values)
    np.testing.assert_allclose(first[1], second[1], atol=0.006)  # packed in bytes
    assert (first[0] == second[0]).mean() > 0.999


def test_what_deepness_files_tell(tmp_path):
    """Names, pixel size and scaling are taken from the metadata of a net that was made for Deepness."""
    graph = onnx.load(DATA / "keras_pixels.onnx")
    told = {
        "model_type": '"Segmentor"',
        "class_names": '{"0": "w", "1": "x", "2": "y", "3": "z"}',
        "resolution": "250",
        "standardization_mean": "[0.5, 0.4, 0.3]",
        "standardization_std": "[0.1, 0.2, 0.5]",
    }
    onnx.helper.set_model_props(graph, told)
    (tmp_path / "d.onnx").write_bytes(graph.SerializeToString())
    model, _, _ = bring_in(tmp_path / "d.onnx", tmp_path / "d.geodl", classes="", pixel_size=0.0)
    assert [one.name for one in model.classes] == ["w", "x", "y", "z"]
    assert model.grid.pixel_size == (2.5, 2.5)
    values, said = answers("keras_pixels")
    mean, spread = np.array([0.5, 0.4, 0.3]), np.array([0.1, 0.2, 0.5])
    in_bytes = (values * spread + mean) * 255  # what Deepness would read from the raster
    np.testing.assert_allclose(
        probabilities(model, in_bytes.transpose(0, 3, 1, 2)), said.transpose(0, 3, 1, 2), atol=1e-4
    )


def changed(change, source="keras_pixels"):
    graph = onnx.load(DATA / f"{source}.onnx")
    change(graph)
    return graph.SerializeToString()


def elsewhere(graph):
    tensor = graph.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def strange(graph):
    graph.graph.node[0].domain = "com.example"
    graph.opset_import.add(domain="com.example", version=1)


def later(graph):
    graph.opset_import[0].version = 999


def unconnected(graph):
    graph.graph.node[-1].input[0] = "nothing"


def second_input(graph):
    graph.graph.input.append(onnx.helper.make_tensor_value_info("mask", 1, [1]))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (changed(elsewhere), "keeps weights in other files"),
        (changed(strange), r"not ONNX's own \(com.example::"),
        (changed(later), "version 999 of ONNX's operators"),
        (changed(unconnected), "no valid ONNX file"),
        (changed(second_input), "has 2 inputs"),
        (b"no net at all, only text", "is no ONNX file"),
        ((DATA / "keras_pixels.onnx").read_bytes()[:3000], "no ONNX file|no valid ONNX file"),
    ],
    ids=["external weights", "custom operator", "later opset", "broken graph", "two inputs", "text", "cut short"],
)
def test_files_that_are_not_let_in(tmp_path, data, sentence):
    """What is no ONNX, or points elsewhere, is refused with a sentence, and no model is written."""
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(ModelFileError, match=sentence):
        bring_in(tmp_path / "net.onnx", tmp_path / "m.geodl")
    assert not (tmp_path / "m.geodl").exists()


def test_too_large_a_file(tmp_path, monkeypatch):
    """A file above the limit is not even read."""
    monkeypatch.setattr(graphs, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelFileError, match="no file of 2 GB at most"):
        bring_in(DATA / "keras_pixels.onnx", tmp_path / "m.geodl")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"classes": "a, b"}, "gives 4 scores, but CLASSES names 2"),
        ({"classes": ""}, "CLASSES is missing"),
        ({"classes": "a=b, c, d, e"}, "CLASSES has 'a=b'"),
        ({"classes": "1=a, 1=b, c, d"}, "a code twice"),
        ({"bands": ""}, "BANDS is missing"),
        ({"bands": "a, b"}, "takes 3 bands, but BANDS names 2"),
        ({"scale": "0"}, "SCALE has a 0"),
        ({"offset": "1, 2"}, "OFFSET has 2 numbers for 3 bands"),
        ({"offset": "eins"}, "must be numbers"),
        ({"pixel_size": 0.0}, "PIXEL_SIZE is missing"),
        ({"task": "each tile"}, "gives a class for each pixel"),
        ({"output_name": "other"}, "no output 'other'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_what_does_not_fit_the_net(tmp_path, settings, sentence):
    """Classes, bands and numbers that do not fit are refused with a sentence before anything is written."""
    with pytest.raises((SettingsError, ModelFileError), match=sentence):
        bring_in(DATA / "keras_pixels.onnx", tmp_path / "m.geodl", **settings)
    assert not (tmp_path / "m.geodl").exists()


def test_a_model_file_whose_onnx_is_not_let_in(tmp_path):
    """The file inside a model is checked again when the model is loaded, whatever its checksums say."""
    model, _, _ = bring_in(DATA / "keras_pixels.onnx", tmp_path / "m.geodl")
    file = read_model(model.file.path)
    write_model(tmp_path / "bad.geodl", file.item, file.weights, onnx=changed(strange))
    with pytest.raises(ModelFileError, match="not ONNX's own"):
        load_classifier(tmp_path / "bad.geodl")
    write_model(tmp_path / "none.geodl", file.item, file.weights)
    with pytest.raises(ModelFileError, match="does not hold a whole classifier"):
        load_classifier(tmp_path / "none.geodl")
    with pytest.raises(ModelFileError, match="was made from an ONNX file"):
        run_job(
            "exportonnx", {"model": str(tmp_path / "m.geodl"), "output": str(tmp_path / "x.onnx")}, SilentProgress()
        )
    run_job("describemodel", {"model": str(tmp_path / "m.geodl"), "report": str(tmp_path / "m.html")}, SilentProgress())
    page = (tmp_path / "m.html").read_text()
    assert "green" in page
    # 3×3×3×8 + 8, 3×3×8×12, a norm folded or not, 1×1×20×4 + 4
    assert 1176 <= int(re.search(r"with ([\d,]+) weights", page)[1].replace(",", "")) <= 1300
