"""A map that was stopped, however, goes on where it was, and is the same byte for byte as one that was not."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification import classification_job, pixel_blocks
from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
from geodl_qgis_plugin.engine.classification.net_runner import NetRunner
from geodl_qgis_plugin.engine.classification.work_folder import WorkFolder
from geodl_qgis_plugin.engine.errors import Cancelled, OutputError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid

from .planted import write_raster
from .test_tile_set import UTM

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
CORE = 48


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Make a model for pixels, one for tiles, and rasters; return the folder."""
    folder = tmp_path_factory.mktemp("good")
    generator = np.random.default_rng(0)
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 144, 144)
    codes = np.kron(generator.integers(1, 3, (6, 6)), np.ones((24, 24))).astype(np.uint8)
    values = (codes + generator.normal(0, 0.3, codes.shape)).astype(np.float32)
    values[30:40, 50:90] = np.nan
    raster = write_raster(folder / "p.tif", np.stack([values, values**2]), grid, names=["one", "other"])
    labels = write_raster(folder / "l.tif", codes, grid, nodata=0)
    extract = {"predictors": [raster], "labels": [labels], "tile_size": 24, "block_size": 720.0}
    run_job("extracttiles", {**extract, "output": str(folder / "tiles")}, SilentProgress())
    shared = {"tiles": str(folder / "tiles"), "epochs": 1, "forest": False}
    pixel_task = {"architecture": "unet", "widths": [3, 4]}
    run_job("trainclassifier", {**shared, **pixel_task, "output": str(folder / "m.geodl")}, SilentProgress())
    tile_task = {"task": "each tile", "architecture": "pooled"}
    run_job("trainclassifier", {**shared, **tile_task, "output": str(folder / "t.geodl")}, SilentProgress())
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_blocks, "CORE_PX", CORE)


def settings_of(good, out, model="m.geodl", **changes):
    outputs = {"output": "c.tif", "confidence": "conf.tif", "probabilities": "p.tif"}
    if model == "t.geodl":
        outputs |= {"polygons": "tiles.gpkg"}
        changes = {"stride": 4, **changes}
    paths = {name: str(out / file) for name, file in outputs.items()}
    return {"model": str(good / model), "predictors": [str(good / "p.tif")], **paths, **changes}


def contents(folder):
    """Return the bytes of every file by name; those of GeoPackages are compared elsewhere, as they hold dates."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".gpkg"}


class After(SilentProgress):
    """Cancels, or fails, when told of a number of blocks."""

    def __init__(self, number, error=None, text="Classifying"):
        super().__init__()
        self.left, self.error, self.text = number, error, text

    def update(self, fraction, text=""):
        if text.startswith(self.text):
            self.left -= 1
            if self.left == 0 and self.error is not None:
                raise self.error

    def cancelled(self):
        return self.left <= 0 and self.error is None


@pytest.fixture(scope="module")
def unbroken(good, tmp_path_factory):
    """Return what unbroken runs write, by model."""
    found = {}
    for model in ("m.geodl", "t.geodl"):
        out = tmp_path_factory.mktemp("unbroken")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pixel_blocks, "CORE_PX", CORE)
            run_job("classifyraster", settings_of(good, out, model), SilentProgress())
        found[model] = contents(out)
    return found


@pytest.mark.parametrize("model", ["m.geodl", "t.geodl"])
@pytest.mark.parametrize(
    ("number", "error", "text"),
    [(2, KeyboardInterrupt(), "Classifying"), (1, None, "Classifying"), (3, KeyboardInterrupt(), "Writing")],
)
def test_a_break_changes_nothing(good, unbroken, tmp_path, model, number, error, text):
    """Stopped while blocks are made or put together; the same command then writes the same bytes and leaves nothing else."""
    settings = settings_of(good, tmp_path, model)
    with pytest.raises(KeyboardInterrupt if error else Cancelled):
        run_job("classifyraster", settings, After(number, error, text))
    assert not (tmp_path / "c.tif").exists()
    (folder,) = tmp_path.glob(".*.unfinished")
    kept = set(folder.iterdir())
    assert kept
    progress = SilentProgress()
    run_job("classifyraster", settings, progress)
    assert any("were finished before" in text for text in progress.messages)
    assert contents(tmp_path) == unbroken[model]


def test_a_stopped_map_says_what_is_kept(good, tmp_path):
    """The sentence names the folder; where nothing was finished nothing is left."""
    with pytest.raises(Cancelled, match=r"kept in .*unfinished: the same command goes on"):
        run_job("classifyraster", settings_of(good, tmp_path), After(1))
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith(".c.")
    (tmp_path / "none").mkdir()
    with pytest.raises(Cancelled, match=r"after 0 of 9 blocks\.$"):
        run_job("classifyraster", settings_of(good, tmp_path / "none"), After(0))
    assert not list((tmp_path / "none").iterdir())


def test_another_run_takes_no_blocks(good, tmp_path):
    """Other settings, another model or changed rasters have a folder of their own."""
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 144, 144)
    raster = write_raster(tmp_path / "p.tif", np.zeros((2, 144, 144), np.float32), grid, names=["one", "other"])
    base = settings_of(good, tmp_path, predictors=[raster])
    changed = [
        {},
        {"extent": "318000,319000,4131000,4132000 [EPSG:26912]"},
        {"probabilities": None},
        {"model": str(good / "t.geodl")},
        {"model": str(good / "t.geodl"), "stride": 8},
    ]

    def key(**changes):
        settings = Settings(**{**base, **changes})
        work = prepare(settings, SilentProgress())
        return WorkFolder(settings.output, classification_job.facts_of(settings, work)).key

    keys = [key(**changes) for changes in changed]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    values = np.zeros((2, 144, 144), np.float32)
    values[1, 100, 100] = 1
    write_raster(tmp_path / "p.tif", values, grid, names=["one", "other"])
    assert key() not in keys


def test_a_block_that_the_disk_lost_is_computed_again(good, unbroken, tmp_path):
    """Cut short, altered or gone after the rename: its checksum tells, and the map is the same."""
    with pytest.raises(KeyboardInterrupt):
        run_job("classifyraster", settings_of(good, tmp_path), After(1, KeyboardInterrupt(), "Writing"))
    (folder,) = tmp_path.glob(".*.unfinished")
    blocks = sorted(folder.iterdir())
    assert len(blocks) == 9
    blocks[0].write_bytes(b"")
    blocks[1].write_bytes(blocks[1].read_bytes()[:300])
    data = bytearray(blocks[2].read_bytes())
    data[200] ^= 0xFF
    blocks[2].write_bytes(data)
    progress = SilentProgress()
    run_job("classifyraster", settings_of(good, tmp_path), progress)
    assert sum("computed again" in text for text in progress.messages) == 3
    assert contents(tmp_path) == unbroken["m.geodl"]


def test_blocks_do_not_depend_on_who_computes_them(good, tmp_path):
    """In any order, and after the work went to another process: the same arrays."""
    work = prepare(Settings(**settings_of(good, tmp_path)), SilentProgress())
    again = copy.deepcopy(work)  # as it is pickled
    assert again._model is None
    for block in reversed(work.blocks):
        one, other = work.compute(block), again.compute(block)
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


def test_an_output_that_cannot_be_finished_leaves_nothing(good, tmp_path, monkeypatch):
    """A full disk, say: no map, and no blocks that would keep it full."""

    def full(*_):
        raise OutputError("The disk is full. Free some space.")

    monkeypatch.setattr(WorkFolder, "put", full)
    with pytest.raises(OutputError, match="disk is full"):
        run_job("classifyraster", settings_of(good, tmp_path), SilentProgress())
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_killed_at_any_moment(good, tmp_path):
    """SIGKILL after a random number of lines, thrice, then the same command once more: the same bytes, and nothing else."""
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 1500, 1100)
    values = np.random.default_rng(1).normal(1.5, 0.5, (2, 1100, 1500)).astype(np.float32)
    raster = write_raster(tmp_path / "large.tif", values, grid, names=["one", "other"])
    results = []
    for kills in (0, 3):
        out = tmp_path / f"out{kills}"
        out.mkdir()
        file = out.with_suffix(".json")
        file.write_text(json.dumps(settings_of(good, out, predictors=[raster])))
        command = [sys.executable, "-E", str(ROOT / "geodl_qgis_plugin" / "run_engine.py"), "classifyraster", str(file)]
        for number in range(kills):
            killed(command, random.Random(number).randint(1, 12))
        subprocess.run(command, check=True, capture_output=True)
        results.append(contents(out))
    assert results[0] == results[1]
    assert set(results[0]) == {"c.tif", "c.tif.aux.xml", "c.qml", "conf.tif", "conf.qml", "p.tif", "p.qml"}


def killed(command, lines):
    """Start a command and kill it after it has written so many lines, if it lasts so long."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for _, line in zip(range(lines), process.stdout):
            assert b"error" not in line
        process.send_signal(signal.SIGKILL)


def test_two_lanes_map_the_same(good, unbroken, tmp_path, monkeypatch):
    """With cores for two threads, and stopped on the way: the bytes of one thread's map."""
    monkeypatch.setattr(NetRunner, "lanes", property(lambda self: 2, lambda self, _: None), raising=False)
    with pytest.raises(KeyboardInterrupt):
        run_job("classifyraster", settings_of(good, tmp_path), After(2, KeyboardInterrupt()))
    run_job("classifyraster", settings_of(good, tmp_path), SilentProgress())
    assert contents(tmp_path) == unbroken["m.geodl"]
