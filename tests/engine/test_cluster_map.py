"""Maps made by the workers of a Dask cluster: the same as in one process, whoever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from osgeo import gdal

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import cluster_blocks, pixel_blocks
from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
from geodl_qgis_plugin.engine.classification.networks import Architecture
from geodl_qgis_plugin.engine.dask_cluster import Failed, UnfitWorker, run_parts
from geodl_qgis_plugin.engine.errors import ClusterError, SettingsError, SourceError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from tests.engine.models import write_classifier
from tests.engine.planted import grids

distributed = pytest.importorskip("distributed", reason="the extra geodl[cluster] is not installed")
import psutil

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
SIDE, CORE = 320, 64


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Write a model and a tiled raster with nodata; return the folder."""
    folder = tmp_path_factory.mktemp("case")
    small = Architecture("unet", 2, 3, [0, 1], numbers={"widths": [4, 6]})
    write_classifier(folder / "m.geodl", small, [Band("a"), Band("b")], ["x", "y", "z"])
    values = np.random.default_rng(0).normal(20, 12, (2, SIDE, SIDE)).astype(np.float32)
    values[0, 70:140, 60:200] = np.nan
    grid = grids()["plain"]
    options = ["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE"]
    dataset = gdal.GetDriverByName("GTiff").Create(str(folder / "v.tif"), SIDE, SIDE, 2, gdal.GDT_Float32, options)
    dataset.SetGeoTransform(grid.transform)
    dataset.SetProjection(grid.crs)
    for number, name in enumerate(("a", "b"), start=1):
        dataset.GetRasterBand(number).WriteArray(values[number - 1])
        dataset.GetRasterBand(number).SetDescription(name)
    dataset = None
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_blocks, "CORE_PX", CORE)


def settings_of(case, out, raster="v.tif", **changes):
    outputs = {"output": str(out / "c.tif"), "confidence": str(out / "conf.tif")}
    return {"model": str(case / "m.geodl"), "predictors": [str(case / raster)], **outputs, **changes}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def alone(case, tmp_path_factory):
    """Return what one process writes."""
    out = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_blocks, "CORE_PX", CORE)
        run_job("classifyraster", settings_of(case, out), SilentProgress())
    return contents(out)


class Killer(SilentProgress):
    """Kills one of the workers on this computer half-way."""

    killed = 0

    def update(self, fraction, text=""):
        if text == "Classifying" and fraction > 0.4 and not self.killed:
            workers = [
                one for one in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(one.cmdline())
            ]
            os.kill(workers[0].pid, signal.SIGKILL)
            self.killed = workers[0].pid


def test_killed_engine_and_killed_worker(case, alone, tmp_path):
    """The engine is killed while two workers map; the same command goes on, loses a worker, and writes the very same bytes."""
    settings = settings_of(case, tmp_path, scheduler="local:2")
    (tmp_path / "s.json").write_text(json.dumps(settings))
    code = (
        "from geodl_qgis_plugin.engine.classification import pixel_blocks; pixel_blocks.CORE_PX = 64\n"
        "from geodl_qgis_plugin.engine.__main__ import main\n"
        f"if __name__ == '__main__': main(['classifyraster', {str(tmp_path / 's.json')!r}])\n"
    )
    (tmp_path / "engine.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    engine = subprocess.Popen([sys.executable, tmp_path / "engine.py"], env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (finished := list(tmp_path.glob(".c.*.unfinished/block-*.npz"))):
        assert engine.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    family = psutil.Process(engine.pid).children(recursive=True)
    engine.kill()
    engine.wait()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive, "the workers must end with the engine that started them"
    (folder,) = tmp_path.glob(".*.unfinished")
    assert finished
    for name in ("s.json", "engine.py"):
        (tmp_path / name).unlink()
    progress = Killer()
    result = run_job("classifyraster", settings, progress)
    assert progress.killed
    assert any("were finished before" in text for text in progress.messages)
    assert result["failed_blocks"] == []
    assert not folder.exists()
    assert contents(tmp_path) == alone


@pytest.fixture(scope="module")
def cluster():
    """Start a scheduler and a worker in this process, as a cluster that runs already."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=None
    ) as running:
        yield running


def test_blocks_that_fail_thrice(case, alone, cluster, tmp_path):
    """A raster with a damaged piece: the blocks that need it are listed and empty, the others are as in the whole map."""
    data = bytearray((case / "v.tif").read_bytes())
    dataset = gdal.Open(str(case / "v.tif"))
    at = int(dataset.GetRasterBand(1).GetMetadataItem("BLOCK_OFFSET_3_3", "TIFF"))
    data[at : at + 64] = b"\xff" * 64
    (case / "damaged.tif").write_bytes(bytes(data))
    with pytest.raises(SourceError):
        run_job("classifyraster", settings_of(case, tmp_path, "damaged.tif"), SilentProgress())
    progress = SilentProgress()
    settings = settings_of(case, tmp_path, "damaged.tif", scheduler=cluster.scheduler_address)
    result = run_job("classifyraster", settings, progress)
    assert 1 <= len(result["failed_blocks"]) < 10
    assert "failed 3 times" in progress.warnings[-1]
    assert list(tmp_path.glob(".*.unfinished"))
    whole = case / "whole.tif"
    whole.write_bytes(alone["c.tif"])
    expected = gdal.Open(str(whole)).ReadAsArray()
    found = gdal.Open(str(tmp_path / "c.tif")).ReadAsArray()
    for row, column, height, width in result["failed_blocks"]:
        expected[row : row + height, column : column + width] = 0
    np.testing.assert_array_equal(found, expected)


def test_what_a_worker_does_not_see(case, cluster, tmp_path, monkeypatch):
    """Another PyTorch, a folder that is not shared, another raster of the same name, a model that is gone: each a sentence."""
    work = prepare(Settings(**settings_of(case, tmp_path)), SilentProgress())
    rasters = {path: cluster_blocks._contents(path) for path in work.stack.paths}
    (tmp_path / "sign").write_text("")
    own = {name: cluster_blocks.versions()[name] for name in ("PyTorch", "GDAL")}

    def told(sign=tmp_path / "sign", rasters=rasters, versions=own):
        return cluster_blocks.why_unfit(cluster_blocks._Common(work, None, rasters, sign, versions))

    assert told() == ""
    assert "does not see" in told(sign=tmp_path / "elsewhere" / "sign")
    assert "is another file" in told(rasters={path: [] for path in rasters})
    assert "does not exist" in told(rasters={"/nowhere/v.tif": []})
    assert "PyTorch" in told(versions=own | {"PyTorch": "1.0.0"})
    monkeypatch.setattr(cluster_blocks, "_contents", lambda path: [object()])
    with pytest.raises(ClusterError, match=r"cannot do this job: its .* is another file"):
        run_job("classifyraster", settings_of(case, tmp_path, scheduler=cluster.scheduler_address), SilentProgress())
    with pytest.raises(SettingsError, match="no address"):
        run_job("classifyraster", settings_of(case, tmp_path, scheduler="somewhere"), SilentProgress())


ATTEMPTS = {}


def moody(common, part):
    """Fail for part 1 always, for part 2 twice, and on the worker that is named."""
    worker = distributed.get_worker()
    if worker.name == common:
        raise UnfitWorker(worker.address, "it is in no mood.")
    ATTEMPTS[part] = ATTEMPTS.get(part, 0) + 1
    if part == 1 or (part == 2 and ATTEMPTS[part] < 3):
        raise ValueError("no")
    return part


def test_parts_are_tried_again_and_unfit_workers_set_aside():
    """A part that fails thrice is told as failed, one that fails twice is done; a worker that cannot work is left out."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as running,
        distributed.Client(running) as client,
    ):
        progress = SilentProgress()
        answers = dict(run_parts(client, moody, 1, [(part,) for part in range(4)], progress, 3))
        assert answers[1] == Failed("ValueError: no")
        assert [answers[part] for part in (0, 2, 3)] == [0, 2, 3]
        assert ATTEMPTS[1] == ATTEMPTS[2] == 3
        assert progress.warnings == [] or "in no mood" in progress.warnings[0]
        with pytest.raises(ValueError, match="no"):
            dict(run_parts(client, moody, None, [(1,)], progress))
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as running,
        distributed.Client(running) as client,
        pytest.raises(ClusterError, match=r"No worker of the Dask cluster can do this job\. it is in no mood"),
    ):
        dict(run_parts(client, moody, 0, [(3,)], SilentProgress(), 3))


def slow(_, part):
    """Take a while, and say which worker did it."""
    time.sleep(0.02)
    return distributed.get_worker().address


def test_a_worker_that_joins_gets_work():
    """A second worker starts when the first part is done: both did some of the others."""
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as running,
        distributed.Client(running) as client,
    ):
        workers = set()
        for _, address in run_parts(client, slow, None, [(part,) for part in range(100)], SilentProgress()):
            if not workers:
                running.scale(2)
            workers.add(address)
            if len(workers) == 2:
                break
    assert len(workers) == 2
