"""The area of applicability as a raster: from a model file, over windows, for pixels and tiles."""

import numpy as np
import pytest
import torch
from osgeo import gdal

from geodl_qgis_plugin.engine.classification import pixel_blocks
from geodl_qgis_plugin.engine.classification.applicability import features_of_window
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.errors import SettingsError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import TRAINING_POINTS, read_model, write_model
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.rasters.stack import open_stack

from .planted import write_raster
from .test_tile_set import UTM, extract
from .test_training import rule, train

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Train a small net on the planted rule; return the model and a raster with a strange corner and a hole."""
    folder = tmp_path_factory.mktemp("made")
    given = rule(folder)
    tiles = extract(folder / "set", **given)
    train(tiles, folder / "m.geodl", epochs=2)
    values = gdal.Open(given["predictors"][0]).ReadAsArray()
    values[:, :40, :50] += 30.0
    values[0, 90:94, 100:105] = np.nan
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), values.shape[2], values.shape[1])
    return folder / "m.geodl", write_raster(folder / "strange.tif", values, grid, names=["one", "other"]), values


def _classify(model, raster, folder, **options):
    outputs = {name: str(folder / f"{name}.tif") for name in ("output", "applicability", "confidence")}
    run_job("classifyraster", {"model": str(model), "predictors": [raster], **outputs, **options}, SilentProgress())
    return gdal.Open(outputs["applicability"])


def test_strange_ground_is_outside_and_windows_are_one_pass(made, tmp_path, monkeypatch):
    """The index is that of the whole raster at once, though it is mapped in windows; holes stay holes."""
    path, raster, values = made
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 48)
    written = _classify(path, raster, tmp_path)
    assert [written.GetRasterBand(i).GetDescription() for i in (1, 2)] == ["dissimilarity index", "inside"]
    index, inside = written.ReadAsArray()
    model = load_classifier(path)
    expected = model.applicability.dissimilarity(features_of_window(values, model.bands))
    expected[~np.isfinite(values).all(axis=0)] = np.nan
    np.testing.assert_array_equal(index, expected)
    assert (inside[:40, :50] == 0).all()
    assert np.nanmean(inside[60:, 60:]) > 0.8
    assert np.isnan(inside[90:94, 100:105]).all()
    area = gdal.Translate(
        "", gdal.Open(raster), format="VRT", srcWin=[30, 20, 64, 70]
    )  # an extent gives a part of the same map
    bounds = area.GetGeoTransform()
    west, north = bounds[0], bounds[3]
    part = _classify(path, raster, tmp_path, extent=f"{west},{west + 64 * 30},{north - 70 * 30},{north}").ReadAsArray()
    np.testing.assert_array_equal(part, np.stack([index, inside])[:, 20:90, 30:94])


@pytest.mark.parametrize("stride", [8, 5])
def test_tiles(stride, tmp_path):
    """A model of tiles maps the index of each tile, the same slid over a strip as tile by tile."""
    given = rule(tmp_path / "in", side=192)
    tiles = extract(tmp_path / "set", **given, stride=16)
    train(tiles, tmp_path / "m.geodl", task="each tile", architecture="pooled", epochs=1, widths=[4])
    written = _classify(tmp_path / "m.geodl", given["predictors"][0], tmp_path, stride=stride).ReadAsArray()
    model, stack = load_classifier(tmp_path / "m.geodl"), open_stack(given["predictors"])
    values = stack.read(_whole(stack))
    for row, column in ((0, 0), (3, 7), (10, 12)):
        top, left = row * stride, column * stride
        tile = values[:, top : top + 32, left : left + 32]
        np.testing.assert_allclose(written[:, row, column], model.applicability.of_tiles(tile[None], model.bands)[:, 0])


def _whole(stack):
    from geodl_qgis_plugin.engine.rasters.grid import Window

    return Window(0, 0, stack.grid.height, stack.grid.width)


def test_a_model_without_training_points_says_so(made, tmp_path):
    """An older file still maps, but has no area of applicability, and is refused before any work."""
    path, raster, _ = made
    model = read_model(path)
    item = model.item
    for key in ("applicability", "calibration", "distance", "importance"):
        item["properties"]["geodl:classifier"].pop(key)
    weights = {name: array for name, array in model.weights.items() if not name.startswith(TRAINING_POINTS)}
    write_model(tmp_path / "old.geodl", item, weights)
    with pytest.raises(SettingsError, match="no training points"):
        _classify(tmp_path / "old.geodl", raster, tmp_path)
    assert not (tmp_path / "output.tif").exists()
    settings = {"model": str(tmp_path / "old.geodl"), "predictors": [raster], "output": str(tmp_path / "map.tif")}
    run_job("classifyraster", settings, SilentProgress())
    run_job("describemodel", {"model": settings["model"], "report": str(tmp_path / "r.html")}, SilentProgress())


def test_the_map_has_calibrated_confidence(made, tmp_path):
    """The temperature of the file is applied: another one changes the confidence and not one class."""
    path, raster, _ = made
    _classify(path, raster, tmp_path)
    classes, sure = (gdal.Open(str(tmp_path / f"{name}.tif")).ReadAsArray() for name in ("output", "confidence"))
    model = read_model(path)
    item = model.item
    calibration = item["properties"]["geodl:classifier"]["calibration"]
    assert calibration["temperature"] != 1.0
    calibration["temperature"] *= 3.0
    write_model(tmp_path / "unsure.geodl", item, model.weights, model.report)
    _classify(tmp_path / "unsure.geodl", raster, tmp_path)
    again, unsure = (gdal.Open(str(tmp_path / f"{name}.tif")).ReadAsArray() for name in ("output", "confidence"))
    np.testing.assert_array_equal(again, classes)
    known = classes > 0
    assert (unsure[known] <= sure[known]).all()
    assert unsure[known].mean() < sure[known].mean() - 5


def test_the_description_tells_of_it(made, tmp_path):
    """Distance, confidence, predictors and area have their sections; training points are not counted as weights."""
    path, _, _ = made
    result = run_job("describemodel", {"model": str(path), "report": str(tmp_path / "r.html")}, SilentProgress())
    html = (tmp_path / "r.html").read_text()
    for title in ("How far from its examples", "How sure it may be", "Which predictors mattered", "rests on examples"):
        assert title in html
    arrays = read_model(path).weights
    assert result["weights"] == sum(a.size for n, a in arrays.items() if not n.startswith(TRAINING_POINTS))
