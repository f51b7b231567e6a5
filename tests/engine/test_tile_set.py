"""Tile sets: put together they are the raster, nothing of the test is seen, and the same inputs give the same bytes."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import gdal
from scipy.spatial import KDTree

from geodl_qgis_plugin.engine.errors import TileSetError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .planted import grids, middles, reference, write_polygons, write_raster

UTM = reference(26912).ExportToWkt()
GRID = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 230, 210)


def planted(folder, grid=GRID, *, holes=True):
    """Write two bands and five classes in patches; return the settings that name them."""
    generator = np.random.default_rng(0)
    values = generator.normal(100, 20, (2, grid.height, grid.width)).astype(np.float32)
    patches = np.kron(generator.integers(1, 6, (15, 15)), np.ones((16, 16)))[: grid.height, : grid.width]
    codes = patches.astype(np.uint8)
    if holes:
        values[1, 50:60, 70:90] = -9999
        codes[100:110, 100:130] = 0
    return {
        "predictors": [write_raster(folder / "predictors.tif", values, grid, nodata=-9999, names=["dem", "slope"])],
        "labels": [write_raster(folder / "labels.tif", codes, grid, nodata=0)],
    }


def extract(folder, *, progress=None, **options):
    progress = progress or SilentProgress()
    result = run_job("extracttiles", {"output": str(folder), "tile_size": 32, **options}, progress)
    return TileSet.open(result["output"])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def sets(inputs, tmp_path_factory):
    """Return the same tiles in both storages; predictors of test pixels are hidden."""
    folder = tmp_path_factory.mktemp("sets")
    options = {**inputs, "buffer": 60.0, "context": "hidden"}
    return {storage: extract(folder / storage, storage=storage, **options) for storage in ("mosaic", "stacked")}


@pytest.mark.parametrize("storage", ["mosaic", "stacked"])
def test_tiles_put_together_give_the_raster(sets, inputs, storage, tmp_path):
    """Every pixel that a tile shows is that of the raster, and all labelled pixels of test tiles are there once."""
    tiles = sets[storage]
    raster = gdal.Open(inputs["predictors"][0]).ReadAsArray()
    raster[raster == -9999] = np.nan
    codes = gdal.Open(inputs["labels"][0]).ReadAsArray()
    codes[np.isnan(raster).any(0)] = 0
    seen = np.zeros(codes.shape, int)
    predictors, labels = tiles.read(tiles.indices("test"))
    for tile, shown, marked in zip(tiles.tiles[tiles.indices("test")], predictors, labels):
        window = Window(int(tile["row"]), int(tile["column"]), 32, 32)
        inside = window.shared(Window(0, 0, *codes.shape))
        rows, columns = inside.from_origin(window).slices
        np.testing.assert_array_equal(shown[:, rows, columns], raster[(slice(None), *inside.slices)])
        own = marked[rows, columns] > 0
        np.testing.assert_array_equal(marked[rows, columns][own], codes[inside.slices][own])
        seen[inside.slices] += own
    assert seen.max() == 1
    assert seen.sum() == sum(tiles.class_counts("test").values())


def test_both_storages_show_the_same_tiles(sets):
    """Predictors, labels, table and scaling."""
    mosaic, stacked = sets["mosaic"], sets["stacked"]
    np.testing.assert_array_equal(mosaic.tiles, stacked.tiles)
    everything = np.arange(len(mosaic.tiles))
    for a, b in zip(mosaic.read(everything), stacked.read(everything)):
        np.testing.assert_array_equal(a, b)
    assert mosaic.class_counts("training") == stacked.class_counts("training")


def test_training_sees_no_pixel_within_the_buffer_of_a_test_pixel(sets):
    """Pixel by pixel: neither values nor labels, and labels of each part only in its own tiles."""
    tiles = sets["mosaic"]
    split = np.array(tiles.split)
    tests = KDTree(np.argwhere(split == 3))
    for part in ("training", "validation"):
        for tile in tiles.tiles[tiles.indices(part)]:
            window = Window(int(tile["row"]), int(tile["column"]), 32, 32)
            predictors, labels = tiles.read_window(window, part)
            visible = np.argwhere(np.isfinite(predictors).any(0)) + np.array([window.row, window.column])
            assert (tests.query(visible)[0] * 30 > 60).all()
            shown = split[window.row : window.row + 32, window.column : window.column + 32]
            used = labels[: shown.shape[0], : shown.shape[1]] > 0
            assert (shown[used] == (1 if part == "training" else 2)).all()


def test_training_labels_keep_the_buffer_from_validation(sets):
    """No pixel that is learnt from lies within the buffer of a validation pixel."""
    split = np.array(sets["mosaic"].split)
    distance, _ = KDTree(np.argwhere(split == 2)).query(np.argwhere(split == 1))
    assert (distance * 30 > 60).all()


def test_validation_and_test_tiles_do_not_overlap(sets):
    """Within a part no pixel is scored twice."""
    tiles = sets["mosaic"]
    for part in ("validation", "test"):
        here = tiles.tiles[tiles.indices(part)]
        assert len({(tile["row"], tile["column"]) for tile in here}) == len(here)
        assert (here["row"] % 32 == 0).all()
        assert (here["column"] % 32 == 0).all()


def test_shares_in_the_table_are_those_of_the_tiles(sets):
    """Labelled, valid and hidden shares."""
    tiles = sets["mosaic"]
    predictors, labels = tiles.read(np.arange(len(tiles.tiles)))
    np.testing.assert_allclose(tiles.tiles["labelled"], (labels > 0).mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(tiles.tiles["valid"], np.isfinite(predictors).all(1).mean((1, 2)), atol=1e-6)
    assert (tiles.tiles["hidden"] <= tiles.tiles["foreign"]).all()
    assert (tiles.tiles["hidden"][tiles.indices("training")] > 0).any()


def test_scaling_comes_from_training_pixels_only(sets, inputs, tmp_path):
    """It equals the statistics of training pixels, and a planted outlier in the test area changes nothing."""
    tiles = sets["mosaic"]
    training = np.array(tiles.split) == 1
    for i, band in enumerate(np.array(tiles.predictors)):
        values = band[training & np.isfinite(band)].astype(float)
        low, high = np.percentile(values, (1, 99))
        inside = values[(values >= low) & (values <= high)]
        got = tiles.scaling
        assert (got.low[i], got.high[i]) == pytest.approx((low, high), rel=1e-6)
        assert (got.offset[i], got.scale[i]) == pytest.approx((inside.mean(), inside.std()), rel=1e-4)
    changed = tmp_path / "predictors.tif"
    shutil.copy(inputs["predictors"][0], changed)
    dataset = gdal.Open(str(changed), gdal.GA_Update)
    row, column = np.argwhere(np.array(tiles.split) == 3)[0]
    dataset.GetRasterBand(1).WriteArray(np.array([[1e30]], np.float32), int(column), int(row))
    dataset = None
    options = {**inputs, "predictors": [str(changed)], "buffer": 60.0}
    again = extract(tmp_path / "set", **options)
    np.testing.assert_array_equal(again.split, tiles.split)
    assert again.scaling.as_dict() == tiles.scaling.as_dict()


@pytest.mark.parametrize("storage", ["mosaic", "stacked"])
def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path, storage):
    """Every file of the set, footprints and report included; another seed gives others."""

    def bytes_of(folder):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}

    first, second, other = (
        extract(tmp_path / name, storage=storage, seed=seed, **inputs).folder
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert bytes_of(first) == bytes_of(second)
    assert bytes_of(first)["split.npy"] != bytes_of(other)["split.npy"]


@settings(max_examples=30, deadline=None)
@given(st.integers(-40, 240), st.integers(-40, 240), st.integers(1, 50), st.integers(1, 50))
def test_any_window_shows_what_its_part_may_see(sets, row, column, height, width):
    """Windows of any place and size, also beyond the area."""
    tiles = sets["mosaic"]
    window = Window(row, column, height, width)
    predictors, labels = tiles.read_window(window, "training")
    assert predictors.shape == (2, height, width)
    inside = window.shared(Window(0, 0, 210, 230))
    rows, columns = inside.from_origin(window).slices
    split = np.array(tiles.split[inside.slices])
    expected = np.where(split >= 3, np.nan, tiles.predictors[(slice(None), *inside.slices)])
    np.testing.assert_array_equal(predictors[:, rows, columns], expected)
    np.testing.assert_array_equal(labels[rows, columns], np.where(split == 1, tiles.labels[inside.slices], 0))
    assert np.isfinite(predictors).sum() == np.isfinite(expected).sum()


def test_the_users_areas_are_the_test_part(inputs, tmp_path):
    """All of them and nothing else, to the pixel; validation is dealt from the rest."""
    shape = "POLYGON ((320000 4126000, 324000 4126000, 324000 4129000, 320000 4129000, 320000 4126000))"
    areas = write_polygons(tmp_path / "areas.gpkg", [(shape, "x")], 26912)
    tiles = extract(tmp_path / "set", test_areas=areas, **inputs)
    east, north = middles(GRID, 26912)
    inside = (east > 320000) & (east < 324000) & (north > 4126000) & (north < 4129000)
    np.testing.assert_array_equal(np.array(tiles.split) == 3, inside)
    assert sum(tiles.class_counts("validation").values()) > 0


def test_visible_context_shows_values_but_never_labels(inputs, tmp_path):
    """CONTEXT visible, as it is if nothing is said."""
    tiles = extract(tmp_path / "set", buffer=60.0, **inputs)
    predictors, labels = tiles.read_window(Window(0, 0, 210, 230), "training")
    split = np.array(tiles.split)
    assert np.isfinite(predictors[0]).all()
    assert (labels[split != 1] == 0).all()


def test_folds_take_turns_as_the_test_part(inputs, tmp_path):
    """Every labelled pixel is in exactly one test part of three."""
    parts = [np.array(extract(tmp_path / f"{i}", folds=3, test_fold=i, **inputs).split) == 3 for i in range(3)]
    assert (np.sum(parts, axis=0) == 1).all()
    tiles = TileSet.open(tmp_path / "0")
    assert set(tiles.tiles["fold"][tiles.indices("test")]) == {0}


def test_a_split_by_polygon_keeps_polygons_whole(tmp_path):
    """All pixels of a polygon are in one part."""
    inputs = planted(tmp_path)
    shapes = []
    for i in range(24):
        x, y = 318100 + i % 6 * 1100, 4131900 - i // 6 * 1500
        shapes.append((f"POLYGON (({x} {y}, {x + 800} {y}, {x + 800} {y - 900}, {x} {y - 900}, {x} {y}))", "ab"[i % 2]))
    inputs["labels"] = [write_polygons(tmp_path / "shapes.gpkg", shapes, 26912)]
    tiles = extract(tmp_path / "set", split="polygons", class_field="kind", **inputs)
    east, north = middles(tiles.grid, 26912)
    parts = []
    for i in range(24):
        x, y = 318100 + i % 6 * 1100, 4131900 - i // 6 * 1500
        inside = (east > x) & (east < x + 800) & (north < y) & (north > y - 900)
        (part,) = np.unique(tiles.split[inside])
        parts.append(part)
    assert set(parts) == {1, 2, 3}


def test_a_random_split_says_that_it_is_optimistic(inputs, tmp_path):
    """In the facts and as a warning."""
    progress = SilentProgress()
    tiles = extract(tmp_path / "set", split="random", progress=progress, **inputs)
    assert tiles.summary()["optimistic"]
    assert any("optimistic" in warning for warning in progress.warnings)


@pytest.mark.parametrize("name", ["rotated", "south-up", "degrees", "non-square"])
def test_every_kind_of_grid_goes_through(tmp_path, name):
    """And the set's grid lies where the raster's does."""
    grid = grids()[name]
    inputs = planted(tmp_path, grid, holes=False)
    tiles = extract(tmp_path / "set", tile_size=16, test=20, **inputs)
    assert tiles.grid.same_as(grid)


def test_a_class_missing_from_a_part_and_one_of_a_single_pixel(tmp_path):
    """The single pixel trains; counts say so; nothing warns but in a sentence."""
    inputs = planted(tmp_path, holes=False)
    dataset = gdal.Open(inputs["labels"][0], gdal.GA_Update)
    dataset.GetRasterBand(1).WriteArray(np.array([[9]], np.uint8), 17, 130)
    dataset = None
    progress = SilentProgress()
    tiles = extract(tmp_path / "set", progress=progress, **inputs)
    assert [tiles.class_counts(part)[9] for part in ("training", "validation", "test")] == [1, 0, 0]
    assert any("The test part has no pixel of class 9." in warning for warning in progress.warnings)


def test_odd_bands_go_through(tmp_path):
    """Constant, all-nodata, 16-bit and palette bands, NaN and nodata at once, in one stack."""
    inputs = planted(tmp_path, holes=False)
    shape = (GRID.height, GRID.width)
    mixed = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    mixed[:9], mixed[9:18] = np.nan, -1
    inputs["predictors"] += [
        write_raster(tmp_path / "constant.tif", np.full(shape, 7, np.int16), GRID),
        write_raster(tmp_path / "nothing.tif", np.full(shape, -5, np.float32), GRID, nodata=-5),
        write_raster(tmp_path / "deep.tif", np.full(shape, 60000, np.uint16), GRID, nodata=65535),
        write_raster(tmp_path / "palette.tif", np.full(shape, 2, np.uint8), GRID, palette={2: (1, 2, 3)}),
        write_raster(tmp_path / "mixed.tif", mixed, GRID, nodata=-1),
    ]
    progress = SilentProgress()
    tiles = extract(tmp_path / "set", progress=progress, **inputs)
    assert [band.name for band in tiles.bands] == ["dem", "slope", "constant", "deep", "palette", "mixed"]
    assert any("nothing" in text for text in progress.messages)
    assert tiles.scaling.scale[2:5].tolist() == [1, 1, 1]
    assert tiles.scaling.offset[2:5].tolist() == [7, 60000, 2]
    assert (np.array(tiles.labels)[:18] == 0).all()


def test_changed_sources_are_told(tmp_path):
    """A set says which source is gone or changed since."""
    inputs = planted(tmp_path)
    tiles = extract(tmp_path / "set", **inputs)
    assert tiles.check_sources() == []
    dataset = gdal.Open(inputs["labels"][0], gdal.GA_Update)
    dataset.GetRasterBand(1).WriteArray(np.array([[3]], np.uint8), 5, 5)
    dataset = None
    (tmp_path / "predictors.tif").unlink()
    gone, changed = tiles.check_sources()
    assert "predictors.tif is gone" in gone
    assert "labels.tif has changed" in changed


def test_a_damaged_set_is_refused(sets, tmp_path):
    """No set, a later version, an array cut short, another shape."""
    with pytest.raises(TileSetError, match="is no tile set"):
        TileSet.open(tmp_path)
    for spoil, words in (
        (lambda f: (f / "labels.npy").write_bytes(b"x"), r"labels\.npy is missing or cut short"),
        (lambda f: (f / "split.npy").unlink(), r"split\.npy is missing"),
        (lambda f: np.save(f / "split.npy", np.zeros((3, 3), np.uint8)), "has the shape"),
        (lambda f: (f / "tileset.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "tileset.json").write_text(json.dumps({"format_version": 99})), "later GeoDL"),
    ):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sets["mosaic"].folder, folder)
        spoil(folder)
        with pytest.raises(TileSetError, match=words):
            TileSet.open(folder)
