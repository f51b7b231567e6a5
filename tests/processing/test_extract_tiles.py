"""geodl:extracttiles and geodl:exporttiles through the Processing registry, with layers as QGIS has them."""

import json
from pathlib import Path

import numpy as np
import pytest
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsRectangle,
    QgsRendererCategory,
    QgsSymbol,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QColor

from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def dem(tmp_path):
    """Return the path of a small DEM in UTM."""
    from osgeo import gdal, osr

    crs = osr.SpatialReference()
    crs.ImportFromEPSG(26912)
    path = tmp_path / "dem.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 200, 160, 1, gdal.GDT_Float32)
    dataset.SetGeoTransform((318000, 30, 0, 4132000, 0, -30))
    dataset.SetProjection(crs.ExportToWkt())
    dataset.GetRasterBand(1).SetDescription("elevation")
    dataset.GetRasterBand(1).WriteArray(np.random.default_rng(0).normal(1500, 90, (160, 200)).astype(np.float32))
    dataset = None
    return str(path)


@pytest.fixture
def mapped(qgis):
    """Return a memory layer of squares, drawn by the field `rock` with names and colours of its own."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:26912", "mapped", "memory")
    layer.dataProvider().addAttributes([QgsField("rock", QVariant.String)])
    layer.updateFields()
    features = []
    for i in range(40):
        feature = QgsFeature(layer.fields())
        x, y = 318000 + i % 8 * 750, 4132000 - i // 8 * 960
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(x, y - 900, x + 700, y)))
        feature["rock"] = ("gr", "ba", "xx")[i % 3]
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    categories = []
    for value, label, colour in (("gr", "Granite", "#ff0000"), ("ba", "Basalt", "#0000ff")):
        symbol = QgsSymbol.defaultSymbol(layer.geometryType())
        symbol.setColor(QColor(colour))
        categories.append(QgsRendererCategory(value, symbol, label))
    layer.setRenderer(QgsCategorizedSymbolRenderer("rock", categories))
    yield layer
    sip.delete(layer)  # before QGIS ends


def test_a_memory_layers_style_gives_names_and_colours(run_algorithm, dem, mapped, tmp_path):
    """The class field too; values without a category are no class; the footprints come styled."""
    result = run_algorithm(
        "geodl:extracttiles",
        {
            "PREDICTORS": [dem],
            "LABELS": [mapped],
            "TILE_SIZE": 32,
            "BUFFER": 60,
            "OUTPUT": str(tmp_path / "set"),
            "FOOTPRINTS": str(tmp_path / "footprints.gpkg"),
            "REPORT": str(tmp_path / "report.html"),
        },
    )
    tiles = TileSet.open(result["OUTPUT"])
    assert [(c.name, c.colour) for c in tiles.classes] == [("Granite", "#ff0000"), ("Basalt", "#0000ff")]
    assert [band.name for band in tiles.bands] == ["elevation"]
    assert result["TILES"] == len(tiles.tiles)
    assert "Granite" in (tmp_path / "report.html").read_text(encoding="utf-8")
    for path in (tmp_path / "footprints.gpkg", tmp_path / "set" / "tiles.gpkg"):
        footprints = QgsVectorLayer(str(path), "footprints", "ogr")
        assert footprints.featureCount() == len(tiles.tiles)
        assert footprints.renderer().type() == "categorizedSymbol"
        assert {c.value() for c in footprints.renderer().categories()} == {"training", "validation", "test"}
        assert footprints.crs().authid() == "EPSG:26912"


def test_points_test_areas_extent_and_bands(run_algorithm, dem, tmp_path, qgis):
    """Each parameter reaches the engine as Processing gives it."""
    points = QgsVectorLayer("Point?crs=EPSG:4326", "points", "memory")
    points.dataProvider().addAttributes([QgsField("slide", QVariant.Int)])
    points.updateFields()
    generator = np.random.default_rng(0)
    features = []
    for i in range(200):
        feature = QgsFeature(points.fields())
        place = QgsPointXY(-113.05 + 0.06 * generator.random(), 37.285 + 0.03 * generator.random())
        feature.setGeometry(QgsGeometry.fromPointXY(place))
        feature["slide"] = i % 2
        features.append(feature)
    points.dataProvider().addFeatures(features)
    areas = QgsVectorLayer("Polygon?crs=EPSG:26912", "areas", "memory")
    area = QgsFeature()
    area.setGeometry(QgsGeometry.fromRect(QgsRectangle(318000, 4127200, 320000, 4132000)))
    areas.dataProvider().addFeatures([area])
    result = run_algorithm(
        "geodl:extracttiles",
        {
            "PREDICTORS": dem,
            "LABELS": points,
            "CLASS_FIELD": "slide",
            "LABEL_WIDTH": 90,
            "TEST_AREAS": areas,
            "EXTENT": "318000,323000,4127500,4132000 [EPSG:26912]",
            "BANDS": "height; m; scalar; -9999, -32768",
            "TILE_SIZE": 32,
            "SPLIT": "blocks",
            "OUTPUT": str(tmp_path / "set"),
        },
    )
    tiles = TileSet.open(result["OUTPUT"])
    assert tiles.bands[0].as_dict() == {"name": "height", "unit": "m", "kind": "scalar", "missing": [-9999, -32768]}
    assert sorted(c.name for c in tiles.classes) == ["0", "1"]
    east, _ = tiles.grid.coordinates(0, np.arange(tiles.grid.width) + 0.5)
    in_test = (np.array(tiles.split) == 3).any(0)
    np.testing.assert_array_equal(in_test, east < 320000)
    _, south, right, _ = tiles.grid.bounds
    assert right < 323000 + 30
    assert south >= 4127500 - 30


def test_refusals_name_what_was_found(run_algorithm, dem, mapped, tmp_path):
    """A missing file, a file that is no raster, a field that is not there."""
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    good = {"PREDICTORS": [dem], "LABELS": [mapped], "TILE_SIZE": 32, "OUTPUT": str(tmp_path / "set")}
    for change, words in (
        ({"PREDICTORS": [str(tmp_path / "none.tif")]}, r"none\.tif does not exist"),
        ({"PREDICTORS": [str(text)]}, r"text\.tif is no layer"),
        ({"LABELS": [str(tmp_path / "none.gpkg")]}, r"none\.gpkg does not exist"),
        ({"CLASS_FIELD": "colour"}, "have no field colour"),
        ({"TILE_SIZE": 512}, "TILE_SIZE of 160 or less"),
    ):
        with pytest.raises(QgsProcessingException, match=words):
            run_algorithm("geodl:extracttiles", {**good, **change})
        assert not (tmp_path / "set").exists()


def test_every_parameter_has_help(qgis):
    """In both algorithms."""
    from qgis.core import QgsApplication

    for name in ("extracttiles", "exporttiles"):
        algorithm = QgsApplication.processingRegistry().algorithmById(f"geodl:{name}")
        assert all(parameter.help() for parameter in algorithm.parameterDefinitions())


def test_tiles_are_exported(run_algorithm, dem, mapped, tmp_path):
    """From the tile set's folder to pairs and to ArcGIS."""
    tiles = run_algorithm(
        "geodl:extracttiles",
        {"PREDICTORS": [dem], "LABELS": [mapped], "TILE_SIZE": 32, "OUTPUT": str(tmp_path / "set")},
    )
    for form in ("pairs", "ArcGIS Classified_Tiles"):
        out = tmp_path / form.split()[0]
        result = run_algorithm("geodl:exporttiles", {"TILES": tiles["OUTPUT"], "FORMAT": form, "OUTPUT": str(out)})
        assert result["COUNT"] == tiles["TILES"]
        assert (out / "classes.csv").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data do not lie beside the checkout")
@pytest.mark.parametrize(
    ("predictors", "labels", "options", "classes"),
    [
        ("landcover_zion/srtm.tif", "landcover_zion/nlcd.tif", {"TILE_SIZE": 64}, 8),
        (
            "geology_central_lapland/clb_predictors_100m.tif",
            "geology_central_lapland/clb_lithology_1M.gpkg",
            {
                "CLASS_FIELD": "ROCK_NAME_",
                "TEST_AREAS": "geology_central_lapland/test_areas.gpkg",
                "TILE_SIZE": 64,
                "BUFFER": 1500,
            },
            21,
        ),
        (
            "geology_hamersley_wa/dtm_rp.tif",
            "geology_hamersley_wa/geology.geojson",
            {"CLASS_FIELD": "code", "TILE_SIZE": 32},
            19,
        ),
        (
            "landcover_nc_landsat/lsat7_2000_6band.tif",
            "landcover_nc_landsat/training_polygons.gpkg",
            {"CLASS_FIELD": "label", "TILE_SIZE": 32, "SPLIT": "polygons"},
            7,
        ),
        (
            "landslide_ecuador/ta.tif",
            "landslide_ecuador/lsl_350_CC0.gpkg",
            {"CLASS_FIELD": "landslide", "TILE_SIZE": 32},
            2,
        ),
    ],
)
def test_real_data_go_through(run_algorithm, tmp_path, predictors, labels, options, classes):
    """Other CRS and non-square pixels, polygons, GeoJSON, points; the classes that are there."""
    options = {k: str(SHARED / v) if k == "TEST_AREAS" else v for k, v in options.items()}
    result = run_algorithm(
        "geodl:extracttiles",
        {
            "PREDICTORS": [str(SHARED / predictors)],
            "LABELS": [str(SHARED / labels)],
            "OUTPUT": str(tmp_path / "set"),
            **options,
        },
    )
    tiles = TileSet.open(result["OUTPUT"])
    assert len(tiles.classes) == classes
    assert all(tiles.indices(part).size for part in ("training", "validation", "test"))
    assert json.loads((tmp_path / "set" / "tileset.json").read_text())["sources"][0]["sha256"]
