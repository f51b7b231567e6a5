"""What cannot work is refused with one sentence, before long work, and nothing is left half-written."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geodl_qgis_plugin.engine.errors import (
    Cancelled,
    GridError,
    LabelsError,
    OutputError,
    SettingsError,
    SourceError,
    SplitError,
)
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .planted import write_polygons, write_raster
from .test_tile_set import GRID, UTM, planted


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    return planted(folder)


def refused(tmp_path, error, words, **options):
    """Run, expect the error, and find nothing where the output would be."""
    output = tmp_path / "out" / "set"
    with pytest.raises(error, match=words) as caught:
        run_job("extracttiles", {"output": str(output), "tile_size": 32, **options}, SilentProgress())
    assert "\n" not in str(caught.value)
    assert not output.exists()
    left = [path.name for path in output.parent.iterdir()] if output.parent.exists() else []
    assert left == []


def test_missing_and_wrong_files(tmp_path, inputs):
    """A missing raster, a text file as raster, missing labels."""
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    refused(tmp_path, SourceError, "does not exist", **{**inputs, "predictors": ["/none.tif"]})
    refused(tmp_path, SourceError, "is no raster", **{**inputs, "predictors": [str(text)]})
    refused(tmp_path, SourceError, "do not exist", **{**inputs, "labels": ["/none.gpkg"]})
    refused(tmp_path, SettingsError, "PREDICTORS is missing", **{**inputs, "predictors": []})
    refused(tmp_path, SourceError, "does not exist", test_areas="/none.gpkg", **inputs)


def test_rasters_and_labels_elsewhere(tmp_path, inputs):
    """No overlap of rasters, of labels, of test areas, of the extent."""
    away = Grid(UTM, (518000, 30, 0, 4132000, 0, -30), 50, 50)
    raster = write_raster(tmp_path / "away.tif", np.ones((50, 50), np.uint8), away)
    refused(tmp_path, GridError, "does not overlap", **{**inputs, "predictors": [*inputs["predictors"], raster]})
    refused(tmp_path, LabelsError, "do not lie on the predictors", **{**inputs, "labels": [raster]})
    shape = "POLYGON ((520000 4126000, 524000 4126000, 524000 4129000, 520000 4126000))"
    areas = write_polygons(tmp_path / "areas.gpkg", [(shape, "x")], 26912)
    refused(tmp_path, SplitError, "do not lie on the raster", test_areas=areas, **inputs)
    refused(tmp_path, GridError, "EXTENT does not overlap", extent="0,10,0,10 [EPSG:26912]", **inputs)
    refused(tmp_path, SettingsError, "EXTENT is", extent="everything", **inputs)


def test_one_class_and_a_tile_larger_than_the_raster(tmp_path, inputs):
    """The sentence names the class, and the largest tile that fits."""
    one = write_raster(tmp_path / "one.tif", np.full((GRID.height, GRID.width), 4, np.uint8), GRID)
    refused(tmp_path, LabelsError, r"only one class inside the area \(4\)", **{**inputs, "labels": [one]})
    refused(tmp_path, GridError, "TILE_SIZE of 210 or less", **{**inputs, "tile_size": 256})


def test_too_few_blocks_and_too_wide_a_buffer(tmp_path, inputs):
    """Before the split is written; with what to change."""
    refused(tmp_path, SplitError, "the split needs 3 or more", block_size=8000.0, **inputs)
    refused(tmp_path, SplitError, "is left for training", buffer=50000.0, **inputs)
    refused(tmp_path, SettingsError, "leave nothing to train on", validation=50.0, test=60.0, **inputs)
    refused(tmp_path, SplitError, "the labels are a raster", split="polygons", **inputs)
    refused(tmp_path, SplitError, "too few for 40 folds", folds=40, block_size=2000.0, **inputs)


def test_predictors_without_values(tmp_path, inputs):
    """Where no band has a value there is nothing to learn from."""
    empty = write_raster(tmp_path / "empty.tif", np.full((GRID.height, GRID.width), -1, np.float32), GRID, nodata=-1)
    refused(tmp_path, SourceError, "hold no value", **{**inputs, "predictors": [empty]})


def test_a_raster_that_is_cut_short(tmp_path, inputs):
    """Found while reading: the half-made set is gone."""
    path = Path(inputs["predictors"][0])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(tmp_path, SourceError, r"predictors\.tif", **inputs)


def test_an_output_that_cannot_be_written(tmp_path, inputs):
    """A folder below a file; an old set in the output's place stays as it was."""
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        run_job("extracttiles", {**inputs, "output": str(blocked / "set"), "tile_size": 32}, SilentProgress())
    good = {**inputs, "output": str(tmp_path / "set"), "tile_size": 32}
    run_job("extracttiles", good, SilentProgress())
    before = (tmp_path / "set" / "tileset.json").read_bytes()
    with pytest.raises(SplitError):
        run_job("extracttiles", {**good, "block_size": 8000.0}, SilentProgress())
    assert (tmp_path / "set" / "tileset.json").read_bytes() == before
    assert TileSet.open(tmp_path / "set").check_sources() == []


def test_a_cancelled_run_leaves_nothing(tmp_path, inputs):
    """At whatever moment it is stopped."""

    class Stopping(SilentProgress):
        def __init__(self, calls):
            super().__init__()
            self.calls = calls

        def cancelled(self):
            self.calls -= 1
            return self.calls < 0

    for calls in range(3):
        with pytest.raises(Cancelled):
            run_job("extracttiles", {**inputs, "output": str(tmp_path / "o" / "set"), "tile_size": 32}, Stopping(calls))
        assert not list((tmp_path / "o").iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 1 MB, if that is allowed here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("storage", ["mosaic", "stacked"])
def test_a_full_disk(small_disk, tmp_path, storage):
    """The sentence says how much room there is and how much is needed."""
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 640, 640)
    folder = tmp_path / "large"
    folder.mkdir()
    with pytest.raises(OutputError, match=r"MB are needed|could not be written"):
        run_job(
            "extracttiles",
            {**planted(folder, grid), "output": str(small_disk / "set"), "tile_size": 32, "storage": storage},
            SilentProgress(),
        )
    assert list(small_disk.iterdir()) == []
