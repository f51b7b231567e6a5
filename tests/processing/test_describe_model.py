"""geodl:describemodel through the Processing registry."""

from pathlib import Path

import numpy as np
import pytest
from qgis.core import QgsProcessingException

from geodl_qgis_plugin.engine.model_file import stac_item, write_model

pytest.importorskip("safetensors")


def test_a_model_is_described(run_algorithm, tmp_path):
    """The page and the number of weights come back."""
    part = {"bands": [{"name": "elevation", "unit": "m", "kind": "scalar"}]}
    item = stac_item("m", None, {"geodl:kind": "classifier", "geodl:classifier": part})
    write_model(tmp_path / "m.geodl", item, {"w": np.zeros((3, 4), np.float32)})
    parameters = {"MODEL": str(tmp_path / "m.geodl"), "REPORT": str(tmp_path / "m.html")}
    outputs = run_algorithm("geodl:describemodel", parameters)
    assert outputs["WEIGHTS"] == 12
    assert "elevation" in Path(outputs["REPORT"]).read_text()


def test_a_file_that_is_no_model(run_algorithm, tmp_path):
    """Another file ends with a sentence and leaves no report."""
    (tmp_path / "m.geodl").write_text("no model")
    with pytest.raises(QgsProcessingException, match="no GeoDL model"):
        run_algorithm("geodl:describemodel", {"MODEL": str(tmp_path / "m.geodl"), "REPORT": str(tmp_path / "m.html")})
    assert not (tmp_path / "m.html").exists()
