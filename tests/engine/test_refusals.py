"""
Every job on rasters refuses what cannot work: one sentence, before long work, and nothing half-written is left.

Each case runs a job that would work but for the one thing that the case spoils, in a folder whose listing must not change.
"""

import gc
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geodl_qgis_plugin.engine.classification import map_products, training_job
from geodl_qgis_plugin.engine.errors import Cancelled, GeoDLError, OutputError
from geodl_qgis_plugin.engine.files import not_written
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid

from .planted import write_polygons, write_raster
from .test_tile_set import UTM

torch.set_num_threads(1)
GRID = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 144, 144)
AWAY = Grid(UTM, (518000, 30, 0, 4132000, 0, -30), 40, 40)
WEST = "POLYGON ((318000 4127680, 320160 4127680, 320160 4132000, 318000 4132000, 318000 4127680))"
EAST = "POLYGON ((320160 4127680, 322320 4127680, 322320 4132000, 320160 4132000, 320160 4127680))"
FAR = "POLYGON ((918000 4129120, 919400 4129120, 919400 4132000, 918000 4132000, 918000 4129120))"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Make what every job needs; return the settings of each, all of which work."""
    folder = tmp_path_factory.mktemp("good")
    random = np.random.default_rng(0)
    codes = np.kron(random.integers(1, 3, (6, 6)), np.ones((24, 24))).astype(np.uint8)
    values = (codes + random.normal(0, 0.3, codes.shape)).astype(np.float32)
    slope = random.normal(0, 1, codes.shape).astype(np.float32)
    both = write_raster(folder / "both.tif", np.stack([values, slope]), GRID, names=["signal", "noise"])
    labels = write_raster(folder / "labels.tif", codes, GRID, nodata=0)
    extract = {"predictors": [both], "labels": [labels], "tile_size": 24, "block_size": 720.0, "buffer": 0.0}
    run_job("extracttiles", {**extract, "output": str(folder / "tiles")}, SilentProgress())
    short = {"tiles": str(folder / "tiles"), "architecture": "unet", "epochs": 1, "forest": False}
    train = {**short, "widths": [3, 4]}
    run_job("trainclassifier", {**train, "output": str(folder / "m.geodl")}, SilentProgress())
    options = {
        "task": "each tile",
        "architecture": "pooled",
        "epochs": 1,
        "forest": False,
        "output": str(folder / "t.geodl"),
    }
    run_job("trainclassifier", {"tiles": str(folder / "tiles"), **options}, SilentProgress())
    classify = {"model": str(folder / "m.geodl"), "predictors": [both]}
    run_job("classifyraster", {**classify, "output": str(folder / "map.tif")}, SilentProgress())
    points = random.uniform((318000, 4128000), (322000, 4132000), (300, 2))
    table = "\n".join(f"{x:.1f},{y:.1f},{x - y:.2f}" for x, y in points)
    (folder / "points.csv").write_text(f"x,y,field\n{table}\n")
    return {
        "folder": folder,
        "terrainpredictors": {"dem": both, "scales": [2]},
        "extracttiles": extract,
        "trainclassifier": train,
        "classifyraster": classify,
        "assessclassification": {"classified": str(folder / "map.tif"), "reference": labels},
        "describemodel": {"model": str(folder / "m.geodl")},
        "tuneclassifier": {**short, "trials": 1},
        "exporttiles": {"tiles": str(folder / "tiles")},
        "exportonnx": {"model": str(folder / "m.geodl")},
        "importonnx": {"onnx": guest(folder)},
        "magneticpredictors": {"input": both, "inclination": 60.0, "declination": 5.0},
        "gridpoints": {
            "input": str(folder / "points.csv"),
            "value_field": "field",
            "x_field": "x",
            "y_field": "y",
            "points_crs": "EPSG:26912",
            "spacing": 100.0,
        },
    }


def guest(folder):
    """Write the model as ONNX and return the file, or the place where it would lie."""
    file = folder / "m.onnx"
    if "exportonnx" in OUTPUTS:
        run_job("exportonnx", {"model": str(folder / "m.geodl"), "output": str(file)}, SilentProgress())
    return str(file)


OUTPUTS = {
    "terrainpredictors": {"output": "terrain.tif"},
    "extracttiles": {"output": "set", "footprints": "f.gpkg", "report": "r.html"},
    "trainclassifier": {"output": "new.geodl", "report": "r.html"},
    "classifyraster": {
        "output": "c.tif",
        "confidence": "conf.tif",
        "probabilities": "p.tif",
        "entropy": "e.tif",
        "polygons": "p.gpkg",
    },
    "assessclassification": {"report": "r.html", "matrix": "m.gpkg"},
    "describemodel": {"report": "r.html"},
    "tuneclassifier": {"output": "new.geodl", "report": "r.html", "trials_table": "t.csv"},
    "exporttiles": {"output": "files"},
    "exportonnx": {"output": "new.onnx"},
    "importonnx": {"output": "new.geodl"},
    "magneticpredictors": {"output": "magnetic.tif"},
    "gridpoints": {"output": "grid.tif"},
}
PACKAGES = {"tuneclassifier": "optuna", "exportonnx": "onnxruntime", "importonnx": "onnxruntime"}
PACKAGES |= {"magneticpredictors": "harmonica", "gridpoints": "verde"}
OUTPUTS = {
    job: files for job, files in OUTPUTS.items() if job not in PACKAGES or importlib.util.find_spec(PACKAGES[job])
}
FOLDERS = ("extracttiles", "exporttiles")  # jobs whose output is a folder


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(good, out, job, words, error=GeoDLError, **changes):
    """Run a job with something spoilt: one sentence or two, and the folder's listing stays as it was."""
    before = listing(out) if out.is_dir() else None
    outputs = {name: str(out / file) for name, file in OUTPUTS[job].items()}
    with pytest.raises(error, match=words) as caught:
        run_job(job, {**good[job], **outputs, **changes}, SilentProgress())
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    assert "Error:" not in sentence.partition("(")[0]
    assert not isinstance(caught.value, Cancelled)
    if before is not None:
        assert listing(out) == before


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def spoilt(tmp_path, good):
    """Return a function that makes the named wrong thing and gives its path."""

    def make(what):
        path = tmp_path / what
        if what == "none":
            return str(path)
        if what == "text.tif":
            path.write_text("no raster")
        elif what == "folder":
            path.mkdir()
        elif what == "away.tif":
            return write_raster(path, np.ones((40, 40), np.float32), AWAY)
        elif what == "one.tif":
            return write_raster(path, np.ones((144, 144), np.uint8), GRID)
        elif what == "empty.tif":
            return write_raster(path, np.full((144, 144), -9, np.float32), GRID, nodata=-9)
        elif what == "three.tif":
            bands = np.zeros((3, 144, 144), np.float32)
            return write_raster(path, bands, GRID, names=["one", "two", "three"])
        elif what == "far.gpkg":
            return write_polygons(path, [(FAR, "a"), (FAR, "b")], 26912)
        elif what == "empty-field.gpkg":
            return write_polygons(path, [(WEST, None), (EAST, None)], 26912)
        elif what == "one-class.gpkg":
            return write_polygons(path, [(WEST, "a"), (EAST, "a")], 26912)
        elif what == "others.gpkg":
            return write_polygons(path, [(WEST, "a"), (EAST, "b")], 26912)
        elif what in ("cut.geodl", "altered.geodl"):
            data = bytearray((good["folder"] / "m.geodl").read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data[: len(data) // 2] if what == "cut.geodl" else data)
        else:  # a tile set with something wrong
            shutil.copytree(good["folder"] / "tiles", path)
            if what == "damaged-json":
                (path / "tileset.json").write_text('{"format_version": 1, "bands": 7}')
            elif what == "cut-arrays":
                data = (path / "predictors.npy").read_bytes()
                (path / "predictors.npy").write_bytes(data[: len(data) // 2])
            elif what == "no-table":
                (path / "tiles.npy").unlink()
        return str(path)

    return make


TILE_JOBS = ("trainclassifier", "tuneclassifier", "exporttiles")
CASES = [
    # a missing file
    ("terrainpredictors", {"dem": "none"}, "does not exist"),
    ("extracttiles", {"predictors": ["none"]}, "does not exist"),
    ("extracttiles", {"labels": ["none"]}, "do not exist|does not exist"),
    ("trainclassifier", {"tiles": "none"}, "is no tile set"),
    ("classifyraster", {"model": "none"}, "does not exist"),
    ("classifyraster", {"predictors": ["none"]}, "does not exist"),
    ("assessclassification", {"classified": "none"}, "does not exist"),
    ("assessclassification", {"reference": "none"}, "do not exist|does not exist"),
    ("classifyraster", {"mask": "none"}, "does not exist|do not exist"),
    ("describemodel", {"model": "none"}, "does not exist"),
    ("tuneclassifier", {"tiles": "none"}, "is no tile set"),
    ("exporttiles", {"tiles": "none"}, "is no tile set"),
    ("exportonnx", {"model": "none"}, "does not exist"),
    ("importonnx", {"onnx": "none"}, "does not exist"),
    ("magneticpredictors", {"input": "none"}, "does not exist"),
    ("gridpoints", {"input": "none"}, "does not exist"),
    # a raster that is no raster
    ("terrainpredictors", {"dem": "text.tif"}, "is no raster"),
    ("extracttiles", {"predictors": ["text.tif"]}, "is no raster"),
    ("extracttiles", {"labels": ["text.tif"]}, "text.tif"),
    ("classifyraster", {"predictors": ["text.tif"]}, "is no raster"),
    ("assessclassification", {"classified": "text.tif"}, "is no raster"),
    ("assessclassification", {"reference": "text.tif"}, "text.tif"),
    ("classifyraster", {"mask": "text.tif"}, "text.tif"),
    ("magneticpredictors", {"input": "text.tif"}, "is no raster"),
    ("gridpoints", {"input": "text.tif"}, "text.tif"),
    ("importonnx", {"onnx": "text.tif"}, "text.tif"),
    # rasters with no overlap
    ("extracttiles", {"predictors": ["both.tif", "away.tif"]}, "does not overlap"),
    ("classifyraster", {"predictors": ["both.tif", "away.tif"]}, "does not overlap"),
    ("assessclassification", {"reference": "away.tif"}, "do not lie|does not overlap"),
    ("classifyraster", {"mask": "far.gpkg"}, "mask"),
    # labels with no feature in the raster, an empty class field, one class
    ("extracttiles", {"labels": ["far.gpkg"], "class_field": "kind"}, "do not lie|inside"),
    ("assessclassification", {"reference": "far.gpkg", "class_field": "kind"}, "do not lie|inside"),
    ("extracttiles", {"labels": ["empty-field.gpkg"], "class_field": "kind"}, "kind"),
    ("assessclassification", {"reference": "empty-field.gpkg", "class_field": "kind"}, "kind"),
    ("extracttiles", {"labels": ["others.gpkg"], "class_field": "nothing"}, "no field"),
    ("extracttiles", {"labels": ["one.tif"]}, "only one class"),
    ("extracttiles", {"labels": ["one-class.gpkg"], "class_field": "kind"}, "only one class"),
    # a tile larger than the raster, too few blocks
    ("extracttiles", {"tile_size": 160}, "TILE_SIZE of 144 or less"),
    ("extracttiles", {"block_size": 5000.0}, "the split needs 3 or more"),
    (
        "classifyraster",
        {"model": "t.geodl", "extent": "318000,318300,4131700,4132000 [EPSG:26912]"},
        "smaller than the",
    ),
    # a model for other bands, cut short, altered, of another kind of thing
    ("classifyraster", {"predictors": ["three.tif"]}, "3 bands.*trained on 2 bands"),
    *(
        (job, {"model": name}, "geodl")
        for job in ("classifyraster", "describemodel", "exportonnx")
        for name in ("cut.geodl", "altered.geodl")
    ),
    *((job, {"model": "folder"}, "is no GeoDL model") for job in ("classifyraster", "describemodel", "exportonnx")),
    ("describemodel", {"model": "both.tif"}, "is no GeoDL model"),
    # tile sets
    *((job, {"tiles": "folder"}, "is no tile set") for job in TILE_JOBS),
    *((job, {"tiles": what}, "is damaged") for job in TILE_JOBS for what in ("damaged-json", "cut-arrays", "no-table")),
    # settings
    ("classifyraster", {"extent": "0,10,0,10 [EPSG:26912]"}, "EXTENT does not overlap"),
    ("extracttiles", {"extent": "0,10,0,10 [EPSG:26912]"}, "EXTENT does not overlap"),
    ("classifyraster", {"extent": "everywhere"}, "EXTENT is"),
    ("extracttiles", {"predictors": []}, "PREDICTORS"),
    ("classifyraster", {"predictors": []}, "No raster is given"),
    ("extracttiles", {"seed": -1}, "SEED is -1"),
    ("trainclassifier", {"seed": -1}, "SEED is -1"),
    ("trainclassifier", {"architecture": "classic"}, "does not classify each pixel"),
    ("trainclassifier", {"epochs": "many"}, "EPOCHS is 'many'"),
    ("trainclassifier", {"speed": 3}, "unknown"),
    ("tuneclassifier", {"trials": 0}, "TRIALS is 0"),
    ("tuneclassifier", {"architecture": "classic"}, "does not classify each pixel"),
    ("exporttiles", {"format": "pictures"}, "FORMAT is"),
    ("exportonnx", {"tile_size": -1}, "TILE_SIZE is -1"),
    ("classifyraster", {"min_area": -1.0}, "MIN_AREA is -1"),
    ("classifyraster", {"fast": "very"}, "FAST is"),
    ("classifyraster", {"stride": -8}, "STRIDE is -8"),
    ("magneticpredictors", {"inclination": 95.0}, "INCLINATION is 95"),
    ("magneticpredictors", {"band": 9}, "band"),
    ("magneticpredictors", {"input": "empty.tif"}, "no value|holds no|has no"),
    ("gridpoints", {"spacing": 0.0}, "SPACING is 0"),
    ("gridpoints", {"value_field": "gold"}, "gold"),
    ("gridpoints", {"points_crs": "nowhere"}, "nowhere"),
    ("terrainpredictors", {"scales": [0]}, "SCALES is 0"),
    ("terrainpredictors", {"scales": []}, "SCALES"),
    ("terrainpredictors", {"band": 9}, "band"),
    ("terrainpredictors", {"dem": "empty.tif"}, "no value|holds no|has no"),
    ("extracttiles", {"predictors": ["empty.tif"]}, "hold no value"),
]


@pytest.mark.parametrize(("job", "changes", "words"), [case for case in CASES if case[0] in OUTPUTS])
def test_what_cannot_work_is_refused(good, out, spoilt, job, changes, words):
    """A sentence that names what was found, and nothing is left."""
    files = {"both.tif", "t.geodl"}

    def path_of(name):
        return str(good["folder"] / name) if name in files else spoilt(name)

    named = {"dem", "predictors", "labels", "tiles", "model", "classified", "reference", "mask", "onnx", "input"}
    made = {}
    for name, value in changes.items():
        if name in named:
            made[name] = [path_of(one) for one in value] if isinstance(value, list) else path_of(value)
        else:
            made[name] = value
    refused(good, out, job, words, **made)


@pytest.mark.parametrize("job", OUTPUTS)
def test_a_folder_that_cannot_be_written(good, tmp_path, job):
    """Below a file, and in /proc where there is one: before anything is read or trained."""
    blocked = tmp_path / "file"
    blocked.write_text("x")
    refused(good, blocked / "below", job, "cannot be written", OutputError)
    assert blocked.read_text() == "x"
    if Path("/proc/self").exists():
        outputs = {name: f"/proc/{file}" for name, file in OUTPUTS[job].items()}
        with pytest.raises(OutputError, match="cannot be written"):
            run_job(job, {**good[job], **outputs}, SilentProgress())


@pytest.mark.parametrize("job", [job for job in OUTPUTS if job not in FOLDERS])
def test_an_output_that_is_a_folder(good, out, job):
    """A folder in the place of a file is found before long work."""
    for file in OUTPUTS[job].values():
        (out / file).mkdir()
    refused(good, out, job, "is a folder", OutputError)


@pytest.fixture
def disk(tmp_path):
    """Mount a file system of 2 MB, if that is allowed here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    gc.collect()  # what an error still holds open
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk, left):
    """Leave as many bytes free."""
    free = shutil.disk_usage(disk).free
    (disk / "other-data").write_bytes(bytes(max(free - left, 0)))


@pytest.mark.parametrize("job", OUTPUTS)
def test_a_disk_that_is_full(good, disk, job):
    """With nothing free: a sentence about the disk, and nothing is left."""
    fill(disk, 0)
    refused(good, disk, job, r"could not be written|MB are needed|cannot be written", OutputError)


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("disk is full\n----------\nMay be caused by: no room", ": disk is full"),
        ("No space left on device", ": No space left on device"),
        ("\nsomething.", ": something"),
        ("", ""),
    ],
)
def test_what_could_not_be_written_is_one_sentence(why, reason):
    """GDAL gives several lines, or none."""
    wanted = f"map.tif could not be written{reason}. Free some space or choose another folder."
    assert str(not_written("map.tif", why)) == wanted


@pytest.mark.parametrize("job", OUTPUTS)
@pytest.mark.parametrize("left", [8192, 40960, 98304])
def test_a_disk_that_fills_up(good, disk, job, left, monkeypatch):
    """Wherever in the writing the room ends, what was begun is gone; what was finished is whole."""
    monkeypatch.setattr(training_job, "_ROOM_BYTES", 0)
    monkeypatch.setattr("geodl_qgis_plugin.engine.files.check_room", lambda folder, needed_bytes: None)
    fill(disk, left)
    before = listing(disk)
    outputs = {name: str(disk / file) for name, file in OUTPUTS[job].items()}
    try:
        run_job(job, {**good[job], **outputs}, SilentProgress())
    except OutputError as error:
        sentence = str(error)
    else:
        return  # there was room enough
    assert "\n" not in sentence
    after = [name for name in listing(disk) if ".training" not in name]  # a checkpoint is kept to go on from
    if job == "classifyraster":
        assert after == before
    assert not [name for name in after if ".part" in name or "raw" in name]


def test_a_map_that_fails_leaves_none_of_its_rasters(good, out, monkeypatch):
    """Where the last of three rasters cannot be finished, the two that were are taken away again."""
    real = map_products.class_map

    def failing(*args, **options):
        context = real(*args, **options)

        class Failing:
            def __enter__(self):
                return context.__enter__()

            def __exit__(self, *error):
                context.__exit__(OutputError, OutputError("full"), None)
                raise OutputError("The disk is full. Free some space.")

        return Failing()

    monkeypatch.setattr(map_products, "class_map", failing)
    refused(good, out, "classifyraster", "disk is full", OutputError)


def test_a_set_whose_training_part_has_one_class(good, out, tmp_path):
    """Training refuses it before it begins, and names the class."""
    folder = tmp_path / "one"
    shutil.copytree(good["folder"] / "tiles", folder)
    facts = json.loads((folder / "tileset.json").read_text())
    facts["split"]["pixels"]["training"] = {"1": 99}
    (folder / "tileset.json").write_text(json.dumps(facts))
    refused(good, out, "trainclassifier", r"only one class \(1\)", tiles=str(folder))
