"""The whole chain of landform mapping, on the DEM of the Jacksboro fault: single algorithms, and the graphical model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsProcessingModelAlgorithm,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.PyQt import sip

gdal.UseExceptions()

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "tests" / "data" / "jacksboro_geomorphon_L15.tif"
# number in the field: name and colour in the layer; geomorphons 1 and 4 and 10 are left unmapped
NAMED = {2: ("Gipfel", "#ff0000"), 3: ("Grat", "#c83200"), 5: ("Sporn", "#e6aa1e"), 6: ("Hang", "#c8c8c8")} | {
    7: ("Mulde", "#b4e614"),
    8: ("Hangfuß", "#3cfa96"),
    9: ("Tal", "#0000ff"),
}


@pytest.fixture(scope="module")
def dem(tmp_path_factory):
    """Return the path of the demo's DEM."""
    path = tmp_path_factory.mktemp("jacksboro") / "dem.tif"
    subprocess.run([sys.executable, str(ROOT / "tools" / "jacksboro_dem.py"), str(path)], check=True)
    return str(path)


@pytest.fixture
def polygons(qgis, tmp_path):
    """Return the landforms as polygons with a field `form`, drawn by it with names and colours of their own."""
    labels = gdal.Open(str(LABELS))
    path = tmp_path / "landforms.gpkg"
    layers = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = layers.CreateLayer("landforms", labels.GetSpatialRef(), ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("form", ogr.OFTInteger))
    layer.StartTransaction()
    gdal.Polygonize(labels.GetRasterBand(1), labels.GetRasterBand(1), layer, 0)
    layer.CommitTransaction()
    del layer, layers
    mapped = QgsVectorLayer(str(path), "landforms", "ogr")
    categories = [
        QgsRendererCategory(code, QgsFillSymbol.createSimple({"color": colour}), name)
        for code, (name, colour) in NAMED.items()
    ]
    mapped.setRenderer(QgsCategorizedSymbolRenderer("form", categories))
    yield mapped
    sip.delete(mapped)  # before QGIS ends


@pytest.fixture
def east(qgis, tmp_path):
    """Return the path of a polygon over the east of the DEM."""
    labels = gdal.Open(str(LABELS))
    west, width, _, north, _, height = labels.GetGeoTransform()
    left, right, south = west + 241 * width, west + 344 * width, north + 363 * height
    ring = [[left, south], [right, south], [right, north], [left, north], [left, south]]
    path = tmp_path / "east.gpkg"
    layers = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = layers.CreateLayer("east", labels.GetSpatialRef(), ogr.wkbPolygon)
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetGeometry(ogr.CreateGeometryFromJson(json.dumps({"type": "Polygon", "coordinates": [ring]})))
    layer.CreateFeature(feature)
    return str(path)


def colours(path):
    """Return what QGIS draws a class raster with: name and colour by code."""
    raster = QgsRasterLayer(str(path), "map")
    found = {int(one.value): (one.label, one.color.name()) for one in raster.renderer().classes()}
    sip.delete(raster)
    return found


def test_polygons_to_a_map(run_algorithm, dem, polygons, east, tmp_path):
    """A short training already beats the majority class on ground kept apart; the map has the layer's names and colours."""
    model, classified = str(tmp_path / "model.geodl"), str(tmp_path / "map.tif")
    extracted = run_algorithm(
        "geodl:extracttiles",
        {
            "PREDICTORS": [dem],
            "LABELS": [polygons],
            "TILE_SIZE": 64,
            "TEST_AREAS": east,
            "BUFFER": 1350,
            "OUTPUT": str(tmp_path / "tiles"),
        },
    )
    trained = run_algorithm(
        "geodl:trainclassifier",
        {
            "TILES": extracted["OUTPUT"],
            "EPOCHS": 8,
            "BATCH_SIZE": 8,
            "FOREST": False,
            "OUTPUT": model,
            "REPORT": str(tmp_path / "report.html"),
        },
    )
    assert trained["ACCURACY"] > trained["MAJORITY_ACCURACY"] + 0.05
    assert trained["KAPPA"] > 0.2
    mapped = run_algorithm(
        "geodl:classifyraster",
        {"MODEL": model, "PREDICTORS": [dem], "OUTPUT": classified, "CONFIDENCE": str(tmp_path / "confidence.tif")},
    )
    assert colours(mapped["OUTPUT"]) == NAMED
    codes = gdal.Open(classified).ReadAsArray()
    elevation = gdal.Open(dem)
    valid = elevation.ReadAsArray() != elevation.GetRasterBand(1).GetNoDataValue()
    assert ((codes > 0) == valid).all()
    sure = gdal.Open(mapped["CONFIDENCE"])
    confidence = sure.ReadAsArray()[valid] * sure.GetRasterBand(1).GetScale()
    assert confidence.min() >= 1 / len(NAMED) - 1e-3
    assert confidence.max() <= 1
    assessed = run_algorithm(
        "geodl:assessclassification", {"CLASSIFIED": classified, "REFERENCE": polygons, "AREAS": east}
    )
    assert assessed["ACCURACY"] == pytest.approx(trained["ACCURACY"], abs=0.005)
    assert assessed["KAPPA"] == pytest.approx(trained["KAPPA"], abs=0.005)
    described = run_algorithm("geodl:describemodel", {"MODEL": model, "REPORT": str(tmp_path / "model.html")})
    assert described["WEIGHTS"] > 10_000
    assert "Hangfuß" in (tmp_path / "model.html").read_text(encoding="utf-8")


def test_the_graphical_model_maps_in_one_go(run_algorithm, qgis, dem, east, tmp_path):
    """geodl:landformmap gives the map with the raster's own classes, its confidence, a report and the model."""
    made = run_algorithm(
        "geodl:landformmap",
        {
            "PREDICTORS": [dem],
            "LABELS": [str(LABELS)],
            "TEST_AREAS": east,
            "TILE_SIZE": 64,
            "EPOCHS": 1,
            **{name: str(tmp_path / f"{name}.{end}") for name, end in OUTPUTS.items()},
        },
    )
    assert all(Path(made[name]).stat().st_size for name in OUTPUTS)
    given = {code: name for code, (name, _) in colours(LABELS).items()}
    assert {code: name for code, (name, _) in colours(made["map"]).items()} == given
    assert np.isin(np.unique(gdal.Open(made["map"]).ReadAsArray()), [0, *given]).all()
    assert "What was tried" in Path(made["report"]).read_text(encoding="utf-8")  # after one epoch the forest may win


OUTPUTS = {"map": "tif", "confidence": "tif", "model": "geodl", "report": "html"}


def test_the_graphical_model_is_listed_as_an_algorithm(qgis):
    """It has a plain id, a name to read, a place beside the algorithms that it calls, and help for every input."""
    model = qgis.processingRegistry().algorithmById("geodl:landformmap")
    assert isinstance(model, QgsProcessingModelAlgorithm)
    assert model.displayName() == "Landform map, in one go"
    beside = qgis.processingRegistry().algorithmById("geodl:trainclassifier")
    assert (model.groupId(), model.group()) == (beside.groupId(), beside.group())
    copy = model.create({})
    assert (copy.id(), copy.displayName()) == (model.id(), model.displayName())
    assert all(parameter.help() for parameter in copy.parameterDefinitions())
