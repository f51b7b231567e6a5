"""Exported tiles are the tiles, in the layouts that other tools read."""

import json

import numpy as np
import pytest
from osgeo import gdal

from geodl_qgis_plugin.engine.errors import TileSetError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.training_data.export import folder_names
from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

from .test_tile_set import extract, planted


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    return extract(folder / "set", buffer=60.0, stride=32, tile_label_share=30.0, **planted(folder))


def export(tiles, folder, form):
    result = run_job(
        "exporttiles", {"tiles": str(tiles.folder), "output": str(folder), "format": form}, SilentProgress()
    )
    return folder, result["count"]


def read(path):
    dataset = gdal.Open(str(path))
    return dataset, dataset.ReadAsArray()


def test_pairs_are_the_tiles_where_they_lie(tiles, tmp_path):
    """Values, codes, nodata, names and place of every tile."""
    folder, count = export(tiles, tmp_path / "out", "pairs")
    assert count == len(tiles.tiles)
    everything = np.arange(len(tiles.tiles))
    predictors, labels = tiles.read(everything)
    for index in everything:
        part = {1: "training", 2: "validation", 3: "test"}[int(tiles.tiles["split"][index])]
        image, values = read(folder / part / "images" / f"{index:06d}.tif")
        mask, codes = read(folder / part / "masks" / f"{index:06d}.tif")
        np.testing.assert_array_equal(values, predictors[index])
        np.testing.assert_array_equal(codes, labels[index])
        row, column = int(tiles.tiles["row"][index]), int(tiles.tiles["column"][index])
        corner = tiles.grid.coordinates(row, column)
        assert image.GetGeoTransform()[0::3] == pytest.approx(corner)
        assert mask.GetGeoTransform() == image.GetGeoTransform()
    assert [image.GetRasterBand(i).GetDescription() for i in (1, 2)] == ["dem", "slope"]
    assert (folder / "classes.csv").read_text().splitlines()[1].startswith("1,1,#")


def test_class_folders_hold_the_tiles_of_their_class(tiles, tmp_path):
    """Every part has every folder, so that readers number the classes alike."""
    folder, count = export(tiles, tmp_path / "out", "class folders")
    assert count == np.count_nonzero(tiles.tiles["code"])
    for part, number in (("training", 1), ("validation", 2), ("test", 3)):
        assert sorted(p.name for p in (folder / part).iterdir()) == [str(c.code) for c in tiles.classes]
        for one in tiles.classes:
            here = {int(p.stem) for p in (folder / part / str(one.code)).glob("*.tif")}
            same = (tiles.tiles["split"] == number) & (tiles.tiles["code"] == one.code)
            assert here == set(np.flatnonzero(same).tolist())


def test_arcgis_tiles_have_the_published_layout(tiles, tmp_path):
    """Files, keys and numbers as in Esri's page on the contents of training data, checked against the tiles themselves."""
    folder, _ = export(tiles, tmp_path / "out", "ArcGIS Classified_Tiles")
    for part in ("training", "validation", "test"):
        here = folder / part
        indices = tiles.indices(part)
        predictors, labels = tiles.read(indices)
        pairs = [line.split() for line in (here / "map.txt").read_text().splitlines()]
        assert len(pairs) == len(indices)
        for (image, label), values, codes in zip(pairs, predictors, labels):
            np.testing.assert_array_equal(read(here / image.replace("\\", "/"))[1], values)
            np.testing.assert_array_equal(read(here / label.replace("\\", "/"))[1], codes)
        definition = json.loads((here / "esri_model_definition.emd").read_text())
        statistics = json.loads((here / "esri_accumulated_stats.json").read_text())
        assert definition["MetaDataMode"] == statistics["MetaDataMode"] == "Classified_Tiles"
        assert (definition["ImageHeight"], definition["ImageWidth"]) == (32, 32)
        assert [(c["Value"], c["Name"]) for c in definition["Classes"]] == [(c.code, c.name) for c in tiles.classes]
        assert all(len(c["Color"]) == 3 for c in definition["Classes"])
        assert definition["InputRastersProps"]["BandNames"] == ["dem", "slope"]
        keys = {
            "Version",
            "NumBands",
            "TileSizeX",
            "TileSizeY",
            "NumClasses",
            "NumTiles",
            "OutputFeatures",
            "MetaDataMode",
        }
        assert keys < set(statistics)
        assert statistics["NumTiles"] == len(indices)
        for i, (told, state) in enumerate(zip(definition["AllTilesStats"], statistics["BandStatsState"])):
            values = predictors[:, i][np.isfinite(predictors[:, i])].astype(float)
            assert [told["Min"], told["Max"]] == [values.min(), values.max()]
            assert [told["Mean"], told["StdDev"]] == pytest.approx([values.mean(), values.std()])
            assert state["Num"] == values.size
            assert (state["M2"] / state["Num"]) ** 0.5 == pytest.approx(values.std())
        pixels = statistics["ClassPixelStats"]["NumPixelsPerClass"]
        assert pixels == [int((labels == c.code).sum()) for c in tiles.classes]
        assert (here / "stats.txt").read_text().startswith(f"images = {len(indices)}")


def test_names_become_folders_that_every_system_takes(tiles):
    """Slashes go; names that differ only in case are told apart."""
    from geodl_qgis_plugin.engine.classes import LandClass

    names = ["a/b: c", "Granite", "granite", " . "]
    classes = [LandClass(i + 1, name, "#000000") for i, name in enumerate(names)]
    assert folder_names(classes) == {1: "a_b_ c", 2: "Granite 2", 3: "granite 3", 4: "4"}


def test_what_cannot_be_exported_is_refused(tiles, tmp_path):
    """No tile set; no class for any tile."""
    with pytest.raises(TileSetError, match="is no tile set"):
        run_job("exporttiles", {"tiles": str(tmp_path), "output": str(tmp_path / "out")}, SilentProgress())
    bare = extract(tmp_path / "set", tile_label_share=100.0, tile_size=96, **planted(tmp_path))
    bare = TileSet.open(bare.folder)
    assert not bare.tiles["code"].any()
    with pytest.raises(TileSetError, match="No tile has a class"):
        export(bare, tmp_path / "out", "class folders")
    assert not (tmp_path / "out").exists()
