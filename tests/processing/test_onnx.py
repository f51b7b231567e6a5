"""geodl:exportonnx and geodl:importonnx through the Processing registry, and a map by what came back."""

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProcessingException

from tests.engine.planted import grids, write_raster

onnx = pytest.importorskip("onnx", reason="the extra geodl[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="the extra geodl[onnx] is not installed")

DATA = Path(__file__).resolve().parents[1] / "data"


def test_a_forest_maps_in_qgis(run_algorithm, tmp_path):
    """A forest of scikit-learn becomes a model; the map has names and colours; wrong classes end with a sentence."""
    parameters = {
        "ONNX": str(DATA / "sklearn_pixels.onnx"),
        "CLASSES": "1=water=#0000ff, 2=forest=#00ff00, 3=rock=#ff0000, 4=ice=#ffffff",
        "BANDS": "a, b, c",
        "PIXEL_SIZE": 30.0,
        "OUTPUT": str(tmp_path / "m.geodl"),
    }
    outputs = run_algorithm("geodl:importonnx", parameters)
    assert (outputs["FOUND_HALO"], outputs["FOUND_STRIDE"], outputs["FOUND_TASK"]) == (0, 1, "each pixel")
    expected = np.load(DATA / "onnx_nets.npz")
    values = expected["sklearn_pixels_values"].astype(np.float32).T.reshape(3, 20, 20)
    grid = grids()["plain"]
    raster = write_raster(
        tmp_path / "v.tif", values, grid.__class__(grid.crs, grid.transform, 20, 20), names=("a", "b", "c")
    )
    made = run_algorithm(
        "geodl:classifyraster",
        {"MODEL": outputs["OUTPUT"], "PREDICTORS": [raster], "OUTPUT": str(tmp_path / "map.tif")},
    )
    dataset = gdal.Open(made["OUTPUT"])
    band = dataset.GetRasterBand(1)
    np.testing.assert_array_equal(band.ReadAsArray().ravel(), expected["sklearn_pixels"].argmax(axis=1) + 1)
    assert band.GetColorTable().GetColorEntry(3)[:3] == (255, 0, 0)
    with pytest.raises(QgsProcessingException, match="gives 4 scores, but CLASSES names 2"):
        run_algorithm("geodl:importonnx", parameters | {"CLASSES": "water, land"})


def test_a_model_is_exported_from_qgis(run_algorithm, tmp_path):
    """A model of GeoDL's own becomes an ONNX file; one that came from ONNX is not exported again."""
    from geodl_qgis_plugin.engine.bands import Band
    from geodl_qgis_plugin.engine.classification.networks import Architecture
    from tests.engine.models import write_classifier

    small = Architecture("unet", 2, 3, [0, 1], numbers={"widths": [4, 6]})
    write_classifier(tmp_path / "m.geodl", small, [Band("a"), Band("b")], ["x", "y", "z"])
    parameters = {"MODEL": str(tmp_path / "m.geodl"), "TILE_SIZE": 64, "OUTPUT": str(tmp_path / "m.onnx")}
    outputs = run_algorithm("geodl:exportonnx", parameters)
    assert outputs["DIFFERENCE"] <= 1e-4
    (taken,) = onnx.load(outputs["OUTPUT"]).graph.input
    assert [side.dim_value for side in taken.type.tensor_type.shape.dim] == [1, 2, 64, 64]
