"""A value that means no data and is not declared is found, told, and once it is said, left out for good."""

from types import SimpleNamespace

import numpy as np
import pytest

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification.fitting_bands import fit_bands
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.stack import open_stack
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .planted import reference, write_raster

GRID = Grid(reference(26912).ExportToWkt(), (318000, 30, 0, 4132000, 0, -30), 160, 160)


@pytest.fixture
def extract(tmp_path):
    """Return what cuts tiles out of some bands, with what was warned of missing values."""
    codes = np.kron(np.arange(1, 26).reshape(5, 5) % 3 + 1, np.ones((32, 32))).astype(np.uint8)
    labels = write_raster(tmp_path / "labels.tif", codes, GRID)

    def run(values, suffix="", **options):
        path = write_raster(tmp_path / "a.tif", values.astype(np.float32), GRID, nodata=-5)
        progress = SilentProgress()
        settings = {"predictors": [path + suffix], "labels": [labels], "tile_size": 32, "output": str(tmp_path / "set")}
        tiles = TileSet.open(run_job("extracttiles", settings | options, progress)["output"])
        return tiles, [text for text in progress.warnings if "far from all its other values" in text]

    return run


def grey(high=255):
    """Return a band of whole numbers from 1."""
    return np.random.default_rng(0).integers(1, high, (GRID.height, GRID.width)).astype(np.float64)


def test_a_code_that_stands_apart_is_told_and_can_be_named(extract):
    """The warning names the band, the value and the way out; taking it leaves no such value in scaling and labels."""
    values = np.stack([grey(), grey()])
    values[1, :, :60] = -32768
    tiles, warnings = extract(values)
    assert len(warnings) == 1
    assert warnings[0].startswith("Band a 2 is -32768 in ")
    assert warnings[0] in tiles.facts["warnings"]
    tiles, warnings = extract(values, "|nodata=-32768")
    assert not warnings
    assert tiles.bands[1] == Band("a 2", missing=(-32768.0,))
    assert tiles.scaling.low[1] >= 1
    assert not np.asarray(tiles.labels)[:, :60].any()
    tiles, warnings = extract(values, bands=[{}, {"missing": [-32768]}])
    assert not warnings
    assert tiles.bands[0].missing == ()
    assert tiles.scaling.low[1] >= 1


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(grey() > 128, id="a mask of 0 and 1"),
        pytest.param(grey() * 10 - 1000, id="values without a gap"),
        pytest.param(np.where(grey() > 250, 1000, 10 + grey(900) / 1000), id="a few true extremes"),
        pytest.param(np.full((GRID.height, GRID.width), 7.0), id="a constant"),
    ],
)
def test_true_values_are_not_called_missing(extract, values):
    """Masks, bands without a gap, constants, and outliers that differ from each other."""
    spread = np.random.default_rng(1).normal(0, 20, values.shape) * (values == 1000)
    assert not extract((values + spread)[None])[1]


def test_a_map_leaves_out_what_the_model_was_told_is_missing(tmp_path):
    """The model brings its values that mean no data to every raster that it maps."""
    values = np.stack([grey(), grey()]).astype(np.float32)
    values[0, :8] = -32768
    model = SimpleNamespace(bands=[Band("second"), Band("first", missing=(-32768.0,))])
    path = write_raster(tmp_path / "a.tif", values, GRID, names=["first", "second"])
    read = fit_bands(open_stack([path]), model, SilentProgress()).read(Window(0, 0, 160, 160))
    np.testing.assert_array_equal(read[0], values[1])
    assert np.isnan(read[1, :8]).all()
    np.testing.assert_array_equal(read[1, 8:], values[0, 8:])
