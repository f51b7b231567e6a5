"""Describing a model: what stands in the file stands on the page, for known keys and for unknown ones."""

import zipfile

import numpy as np
import pytest

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.classification.description import Settings, run
from geodl_qgis_plugin.engine.classification.metrics import Accuracy
from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.model_file import stac_item, write_model

pytest.importorskip("safetensors")

CLASSES = classes_from_names(["granite", "<b>schist</b>"])
FOOTPRINT = {"type": "Polygon", "coordinates": [[[25.0, 67.0], [26.0, 67.0], [26.0, 67.5], [25.0, 67.5], [25.0, 67.0]]]}


@pytest.fixture
def classifier(tmp_path):
    """Write a small classifier."""
    part = {
        "architecture": {"name": "unet", "bands": 2, "numbers": {"width": 16}},
        "bands": [Band("elevation", "m").as_dict(), Band("east", "", "vector_x").as_dict()],
        "scaling": {"offset": [432.1, 0.0], "scale": [99.5, 1.0], "low": [250.25, -1.0], "high": [800.0, 1.0]},
        "classes": [one.as_dict() for one in CLASSES],
        "metrics": {
            "test": Accuracy.from_confusion([[90, 10], [20, 80]], CLASSES).as_dict(),
            "calibration_error": 0.0312,
        },
        "sources": [{"path": "dem.tif", "sha256": "abc123"}],
        "something_new": {"deep": {"er": [1, 2.5, None]}, "long": list(range(1000))},
        "empty": {},
        "halo_px": 61,
    }
    properties = {"geodl:kind": "classifier", "geodl:classifier": part, "datetime": "2026-01-01T00:00:00Z"}
    weights = {"first": np.zeros((16, 2, 3, 3), np.float32), "last": np.zeros(5, np.float32)}
    path = tmp_path / "rocks.geodl"
    write_model(path, stac_item("rocks", FOOTPRINT, properties), weights, "<html></html>")
    return path


def test_a_classifier(classifier, tmp_path):
    """Bands with scaling, classes, scores, sources, unknown keys, checksums: all on the page, and escaped."""
    progress = SilentProgress()
    result = run(Settings(str(classifier), str(tmp_path / "report.html")), progress)
    page = (tmp_path / "report.html").read_text()
    assert (result["weights"], result["kind"]) == (16 * 2 * 9 + 5, "classifier")
    assert result["sha256"] in page
    known = ["293 weights", "unet", "elevation", "vector_x", "432.1", "250.25", "granite", "0.850", "0.700", "abc123"]
    for text in known:
        assert text in page, text
    for text in (
        "something new",
        "deep er",
        "1, 2.5, none",
        "1,000 values",
        "calibration error",
        "0.0312",
        "halo px",
        "61",
    ):
        assert text.casefold() in page.casefold(), text
    assert "<b>schist" not in page
    assert "Longitude" in page


def test_a_forecaster(tmp_path):
    """A model of another kind, without bands, classes or area, is described by what it has."""
    part = {"architecture": {"name": "anomaly", "horizon": 12}, "variable": "temperature"}
    part["stations"] = [{"id": "007", "mase": 0.7}]
    path = tmp_path / "wind.geodl"
    properties = {"geodl:kind": "forecaster", "geodl:forecaster": part}
    write_model(path, stac_item("wind", None, properties), {"w": np.zeros(3, np.float32)})
    run(Settings(str(path), str(tmp_path / "report.html")), SilentProgress())
    page = (tmp_path / "report.html").read_text()
    for text in ("Forecaster wind.geodl", "anomaly", "temperature", "007", "0.7", "3 weights"):
        assert text in page, text
    assert "Longitude" not in page


@pytest.mark.parametrize("case", ["missing", "text", "cut", "altered", "strange"])
def test_what_is_no_model_is_told(classifier, tmp_path, case):
    """A missing, foreign, shortened, altered or inconsistent file ends with a sentence and no report."""
    path = tmp_path / "bad.geodl"
    data = classifier.read_bytes()
    if case == "text":
        path.write_text("no model")
    elif case == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif case == "altered":
        path.write_bytes(data.replace(b"<html></html>", b"<html><!--->"))
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist()
    elif case == "strange":
        properties = {"geodl:kind": "classifier", "geodl:classifier": {"bands": 3, "classes": ["x"]}}
        write_model(path, stac_item("x", None, properties), {"w": np.zeros(1, np.float32)})
    with pytest.raises(GeoDLError):
        run(Settings(str(path), str(tmp_path / "report.html")), SilentProgress())
    assert not (tmp_path / "report.html").exists()
