"""The demo's data: the DEM that is made from matplotlib's sample, and the labels that lie beside the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal

from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.training_data.labels import LabelOptions, open_labels

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "tests" / "data" / "jacksboro_geomorphon_L15.tif"
SHARED = ROOT.parent / "shared" / "data" / "landform_geomorphon"


@pytest.fixture(scope="module")
def dem(tmp_path_factory):
    """Make the DEM as the demo does."""
    path = tmp_path_factory.mktemp("dem") / "dem.tif"
    subprocess.run([sys.executable, str(ROOT / "tools" / "jacksboro_dem.py"), str(path)], check=True)
    return path


def test_the_dem_is_what_the_labels_were_made_from(dem):
    """Same grid as the labels, elevations in metres, and every labelled pixel has an elevation."""
    elevation, labels = gdal.Open(str(dem)), gdal.Open(str(LABELS))
    assert Grid.of(elevation).same_as(Grid.of(labels))
    heights, codes = elevation.ReadAsArray(), labels.ReadAsArray()
    valid = heights != elevation.GetRasterBand(1).GetNoDataValue()
    assert (heights[valid].min(), heights[valid].max()) == pytest.approx((242.478, 1072.204), abs=0.01)
    assert valid[codes > 0].all()
    if not SHARED.exists():
        pytest.skip("the grid was checked; the DEM to compare pixel by pixel is not beside this checkout")
    np.testing.assert_array_equal(heights, gdal.Open(str(SHARED / "jacksboro_dem_utm16n_90m.tif")).ReadAsArray())


def test_the_labels_have_their_names():
    """Ten classes with the names of r.geomorphon and the colours that the recipe gives them."""
    classes = open_labels([str(LABELS)], Grid.of(gdal.Open(str(LABELS))), LabelOptions()).classes
    names = ["flat", "peak", "ridge", "shoulder", "spur", "slope", "hollow", "footslope", "valley", "pit"]
    assert [(one.code, one.name) for one in classes] == list(enumerate(names, start=1))
    assert classes[8].colour == "#3d85b8"


@pytest.mark.skipif(shutil.which("grass") is None, reason="GRASS, which labels the DEM, is not installed")
def test_the_recipe_gives_the_labels(dem, tmp_path):
    """r.geomorphon gives the committed labels again, but for a few pixels where its versions differ."""
    output = tmp_path / "labels.tif"
    command = ["bash", str(ROOT / "tools" / "make_geomorphons.sh"), str(dem), str(output)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHON": sys.executable})
    assert (gdal.Open(str(output)).ReadAsArray() != gdal.Open(str(LABELS)).ReadAsArray()).mean() < 0.01
