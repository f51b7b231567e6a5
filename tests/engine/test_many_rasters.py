"""Many rasters in one call: each map is that of its raster alone, a mosaic's is that of the rasters as one."""

import csv

import numpy as np
import pytest
import torch
from osgeo import gdal

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import pixel_blocks
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.errors import Cancelled, GeoDLError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.mosaic import Mosaic
from geodl_qgis_plugin.engine.rasters.stack import open_stack

from .models import write_classifier
from .planted import reference, write_raster
from .test_map_resume import After
from .test_tile_set import UTM

torch.set_num_threads(1)
NAMES = ["one", "other"]
WHOLE = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 150, 120)
SHEETS = {
    "nw": Window(0, 0, 70, 80),
    "ne": Window(0, 72, 64, 78),
    "sw": Window(60, 0, 60, 75),
    "se": Window(64, 75, 56, 75),
}


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    """Make a model for pixels, one for tiles, one raster, and four sheets of it that overlap."""
    folder = tmp_path_factory.mktemp("sheets")
    bands = [Band(name) for name in NAMES]
    architecture = choose_architecture("unet", "each pixel", bands, 3, 64, {"widths": [3, 4]})
    write_classifier(folder / "m.geodl", architecture, bands, ["a", "b", "c"])
    tiles = choose_architecture("pooled", "each tile", bands, 2, 24, {})
    write_classifier(folder / "t.geodl", tiles, bands, ["a", "b"], tile_size_px=24)
    values = np.random.default_rng(3).normal(20, 10, (2, WHOLE.height, WHOLE.width)).astype(np.float32)
    values[:, 20:30, 60:90] = np.nan
    write_raster(folder / "whole.tif", values, WHOLE, names=NAMES)
    (folder / "in").mkdir()
    for number, (name, window) in enumerate(SHEETS.items()):
        part = values[:, window.row : window.row + window.height, window.column : window.column + window.width]
        names, nodata = NAMES, None
        if number % 2:  # the bands in another order
            part, names = part[::-1], NAMES[::-1]
        if number == 2:
            part, nodata = np.nan_to_num(part, nan=-9999), -9999
        path = folder / "in" / f"{name}.tif"
        write_raster(path, np.ascontiguousarray(part), WHOLE.part(window), names=names, nodata=nodata)
    (folder / "in" / "notes.txt").write_text("no raster")
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 32)


def settings_of(sheets, out, **changes):
    return {"model": str(sheets / "m.geodl"), "folder": str(sheets / "in"), "output": str(out), **changes}


def array(path):
    return gdal.Open(str(path)).ReadAsArray()


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".gpkg"}


def test_a_mosaic_is_the_map_of_one_raster(sheets, tmp_path):
    """Sheets that overlap, with bands in any order and nodata of their own, map as the raster that they were cut from."""
    run_job("classifyrasters", settings_of(sheets, tmp_path, maps="one mosaic", confidence=True), SilentProgress())
    one = {"model": str(sheets / "m.geodl"), "predictors": [str(sheets / "whole.tif")]}
    paths = {"output": str(tmp_path / "c.tif"), "confidence": str(tmp_path / "k.tif")}
    run_job("classifyraster", one | paths, SilentProgress())
    for name, expected in (("mosaic_classes.tif", "c.tif"), ("mosaic_confidence.tif", "k.tif")):
        assert Grid.of(gdal.Open(str(tmp_path / name))) == Grid.of(gdal.Open(str(tmp_path / expected)))
        np.testing.assert_array_equal(array(tmp_path / name), array(tmp_path / expected))
    assert len(np.unique(array(tmp_path / "c.tif"))) > 2


@pytest.mark.parametrize("changes", [{}, {"model": "t.geodl", "stride": 8, "polygons": True}])
def test_each_map_is_that_of_its_raster_alone(sheets, tmp_path, changes):
    """Named after the raster; the list has its pixels by class."""
    changes = changes | ({"model": str(sheets / changes["model"])} if changes else {})
    result = run_job("classifyrasters", settings_of(sheets, tmp_path / "maps", **changes), SilentProgress())
    assert result["count"] == 4
    with (tmp_path / "maps" / "maps.csv").open(encoding="utf-8") as file:
        rows = {row["map"]: row for row in csv.DictReader(file)}
    for name in SHEETS:
        alone = {
            "model": changes.get("model", str(sheets / "m.geodl")),
            "predictors": [str(sheets / "in" / f"{name}.tif")],
        }
        alone |= {"output": str(tmp_path / f"{name}.tif")} | ({"stride": 8} if changes else {})
        run_job("classifyraster", alone, SilentProgress())
        codes = array(tmp_path / "maps" / f"{name}_classes.tif")
        np.testing.assert_array_equal(codes, array(tmp_path / f"{name}.tif"))
        assert rows[f"{name}_classes.tif"]["raster"] == f"{name}.tif"
        assert int(rows[f"{name}_classes.tif"]["1 a"]) == (codes == 1).sum()
        assert (tmp_path / "maps" / f"{name}_polygons.gpkg").exists() == bool(changes)


@pytest.mark.parametrize("maps", ["one map each", "one mosaic"])
@pytest.mark.parametrize(("number", "text"), [(3, "Classifying"), (6, "Classifying"), (2, "Writing"), (9, "Writing")])
def test_a_break_changes_nothing(sheets, tmp_path, maps, number, text):
    """Stopped anywhere, in any map, the same command writes the same bytes, and makes no finished map again."""
    changes = {"maps": maps, "probabilities": True}
    run_job("classifyrasters", settings_of(sheets, tmp_path / "unbroken", **changes), SilentProgress())
    settings = settings_of(sheets, tmp_path / "broken", **changes)
    with pytest.raises(KeyboardInterrupt):
        run_job("classifyrasters", settings, After(number, KeyboardInterrupt(), text))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").glob("n*_classes.tif")}
    progress = SilentProgress()
    run_job("classifyrasters", settings, progress)
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")
    listed = "maps were finished before" in " ".join(progress.messages)
    assert listed == bool(before)
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_a_changed_raster_is_mapped_again(sheets, tmp_path):
    """Finished maps stay; that of a raster with new values, and one that was deleted, are made anew."""
    (tmp_path / "in").mkdir()
    for name in SHEETS:
        (tmp_path / "in" / f"{name}.tif").write_bytes((sheets / "in" / f"{name}.tif").read_bytes())
    settings = settings_of(sheets, tmp_path / "out", folder=str(tmp_path / "in"))
    run_job("classifyrasters", settings, SilentProgress())
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*_classes.tif")}
    window = SHEETS["ne"]
    values = np.full((2, window.height, window.width), 30, np.float32)
    write_raster(tmp_path / "in" / "ne.tif", values, WHOLE.part(window), names=NAMES)
    (tmp_path / "out" / "sw_classes.tif").unlink()
    run_job("classifyrasters", settings, SilentProgress())
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*_classes.tif")}
    assert {name for name in after if after[name] != before[name]} == {"ne_classes.tif", "sw_classes.tif"}


def test_a_damaged_raster_keeps_no_other_from_being_mapped(sheets, tmp_path):
    """Cut short, which its header does not tell: the others are mapped, and the same command tries it again."""
    (tmp_path / "in").mkdir()
    for name in SHEETS:
        data = (sheets / "in" / f"{name}.tif").read_bytes()
        (tmp_path / "in" / f"{name}.tif").write_bytes(data[: len(data) // 2] if name == "nw" else data)
    settings, progress = settings_of(sheets, tmp_path / "out", folder=str(tmp_path / "in")), SilentProgress()
    result = run_job("classifyrasters", settings, progress)
    assert result["count"] == 3
    assert result["failed"] == [str(tmp_path / "in" / "nw.tif")]
    assert any("1 of 4 rasters could not be mapped" in text and "nw.tif" in text for text in progress.warnings)
    (tmp_path / "in" / "nw.tif").write_bytes((sheets / "in" / "nw.tif").read_bytes())
    progress = SilentProgress()
    assert run_job("classifyrasters", settings, progress)["failed"] == []
    assert "3 of 4 maps were finished before." in progress.messages
    assert not list((tmp_path / "out").glob(".*"))


def test_rasters_outside_the_extent_are_left_out(sheets, tmp_path):
    """And said to be; where none is left that is refused."""
    progress = SilentProgress()
    settings = settings_of(sheets, tmp_path, extent="318000,319000,4131000,4132000 [EPSG:26912]")
    assert run_job("classifyrasters", settings, progress)["layers"] == [str(tmp_path / "nw_classes.tif")]
    assert any("3 rasters lie outside" in text for text in progress.messages)
    with pytest.raises(GeoDLError, match="No raster overlaps EXTENT"):
        run_job("classifyrasters", settings | {"extent": "0,1,0,1 [EPSG:26912]"}, SilentProgress())


def test_the_same_warning_is_told_once(sheets, tmp_path):
    """Of four rasters whose pixels are half as wide as the model's, one line with the first one's name."""
    for name in SHEETS:
        grid = Grid(UTM, (318000, 15, 0, 4132000, 0, -15), 40, 40)
        write_raster(tmp_path / f"{name}.tif", np.full((2, 40, 40), 20, np.float32), grid, names=NAMES)
    progress = SilentProgress()
    run_job("classifyrasters", settings_of(sheets, tmp_path / "out", folder=str(tmp_path)), progress)
    (warning,) = progress.warnings
    assert warning.startswith("ne.tif and 3 others: The raster's pixels are 15 m wide")


def rasters(folder):
    """Make rasters of every wrong kind."""
    grid, values = WHOLE.part(Window(0, 0, 40, 40)), np.full((2, 40, 40), 20, np.float32)
    write_raster(folder / "good.tif", values, grid, names=NAMES)
    write_raster(folder / "bands.tif", values, grid, names=["one", "third"])
    (folder / "text.tif").write_text("no raster")
    write_raster(folder / "no_crs.tif", values, Grid("", grid.transform, 40, 40), names=NAMES)
    (folder / "more").mkdir()
    write_raster(folder / "more" / "GOOD.tif", values, grid, names=NAMES)
    other_side = Grid(reference(4326).ExportToWkt(), (-21.006, 0.0003, 0, 0.006, 0, -0.0003), 40, 40)
    write_raster(folder / "other_side.tif", values, other_side, names=NAMES)
    far = Grid(UTM, (9318000, 0.3, 0, 9132000, 0, -0.3), 40, 40)
    write_raster(folder / "near.tif", values, Grid(UTM, (318000, 0.3, 0, 4132000, 0, -0.3), 40, 40), names=NAMES)
    write_raster(folder / "far.tif", values, far, names=NAMES)


@pytest.mark.parametrize(
    ("names", "changes", "sentence"),
    [
        (
            ["good.tif", "bands.tif"],
            {},
            r"1 of 2 rasters cannot be mapped. bands.tif: The rasters have 2 bands \(one, third\)",
        ),
        (["text.tif"], {}, "text.tif is no raster that GDAL can read"),
        (["gone.tif", "no_crs.tif"], {}, r"2 of 2 .*gone.tif does not exist.*no_crs.tif has no CRS"),
        (["good.tif", "more/GOOD.tif"], {}, "would both become GOOD_classes.tif"),
        (["near.tif", "far.tif"], {"maps": "one mosaic"}, "lie so far apart that a mosaic would have"),
        (
            ["good.tif", "other_side.tif"],
            {"maps": "one mosaic"},
            "other_side.tif cannot be brought to the CRS of .*good.tif",
        ),
        (["good.tif", "bands.tif"], {"maps": "one mosaic"}, "1 of 2 rasters cannot be mapped"),
        ([], {}, "No raster is given"),
        ([], {"folder": "more", "pattern": "*.img"}, r"holds 1 files, and none that is named like \*.img"),
        ([], {"folder": "nowhere"}, "nowhere is no folder"),
        ([], {"folder": "more", "output": "more"}, "into the folder that the rasters are taken from"),
        (["good.tif"], {"output": "good.tif"}, "is a file, but the maps go into a folder"),
        (["good.tif"], {"applicability": True}, "holds no training points"),
        (["good.tif"], {"maps": "two"}, "must be one of one map each, one mosaic"),
    ],
)
def test_refusals(sheets, tmp_path, names, changes, sentence):
    """Before any work, all that is wrong at once; nothing is left behind."""
    rasters(tmp_path)
    changes = {
        name: str(tmp_path / value) if name in ("folder", "output") else value for name, value in changes.items()
    }
    settings = {"model": str(sheets / "m.geodl"), "rasters": [str(tmp_path / name) for name in names]}
    with pytest.raises(GeoDLError, match=sentence):
        run_job("classifyrasters", settings | {"output": str(tmp_path / "out")} | changes, SilentProgress())
    assert not (tmp_path / "out").exists()


def test_a_stop_between_maps_is_told(sheets, tmp_path):
    """A cancel keeps the maps that are finished."""
    settings = settings_of(sheets, tmp_path)
    with pytest.raises(Cancelled, match="was stopped"):
        run_job("classifyrasters", settings, After(4, text="Classifying"))


def test_a_mosaic_of_two_crs_lies_on_the_first_ones_grid(tmp_path):
    """Each pixel has the first raster's value, or that of the second one warped there, band by band of one raster."""
    first = WHOLE.part(Window(0, 0, 40, 40))
    there = Grid(reference(4326).ExportToWkt(), (-113.052, 0.0003, 0, 37.318, 0, -0.0003), 60, 50)
    generator = np.random.default_rng(0)
    one = generator.normal(0, 1, (2, 40, 40)).astype(np.float32)
    one[0, 10:20, 5:15] = np.nan  # half a value there: the second raster's both count
    paths = [
        write_raster(tmp_path / "one.tif", one, first, names=NAMES),
        write_raster(tmp_path / "two.tif", generator.normal(50, 1, (2, 50, 60)).astype(np.float32), there, names=NAMES),
    ]
    mosaic = Mosaic([open_stack([path]) for path in paths])
    assert mosaic.grid.pixel_size == (30.0, 30.0)
    whole = Window(0, 0, mosaic.grid.height, mosaic.grid.width)
    values, second = mosaic.read(whole), open_stack(paths[1:], grid=mosaic.grid).read(whole)
    left = round((first.transform[0] - mosaic.grid.transform[0]) / 30)
    top = round((mosaic.grid.transform[3] - first.transform[3]) / 30)
    inside = np.zeros(values.shape[1:], bool)
    inside[top : top + 40, left : left + 40] = np.isfinite(one).all(axis=0)
    np.testing.assert_array_equal(values[:, inside].ravel(), one[:, np.isfinite(one).all(axis=0)].ravel())
    both = np.isfinite(second).all(axis=0) & ~inside
    assert both.sum() > 1000
    np.testing.assert_array_equal(values[:, both], second[:, both])
    seen = np.isfinite(second).all(axis=0) | inside
    assert np.isfinite(values).all(axis=0)[seen].all()
    part = Window(7, 3, 33, 29)  # and a window is a part of the whole
    np.testing.assert_array_equal(mosaic.read(part), values[:, part.slices[0], part.slices[1]])
