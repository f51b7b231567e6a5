"""Comparing a map with any reference: known answers, classes matched by name, sentences for what does not fit."""

import csv

import numpy as np
import pytest
from osgeo import gdal, ogr, osr

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classes import LandClass, classes_from_names
from geodl_qgis_plugin.engine.classification.assessment import Settings, run
from geodl_qgis_plugin.engine.classification.class_matching import match_classes
from geodl_qgis_plugin.engine.classification.metrics import Accuracy
from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.writer import class_map, value_map

ROCKS = classes_from_names(["granite", "schist", "gneiss"])


def _reference_system(code):
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(code)
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return crs


def _grid(height, width, size=10.0):
    transform = (500_000.0, size, 0.0, 7_500_000.0, 0.0, -size)
    return Grid(_reference_system(32635).ExportToWkt(), transform, width, height)


def _raster(path, codes, classes=ROCKS, size=10.0):
    with class_map(path, _grid(*codes.shape, size), classes) as writer:
        writer.write(Window(0, 0, *codes.shape), codes)
    return str(path)


def _vector(path, shapes, kind=ogr.wkbPolygon, epsg=32635, field="rock"):
    """Write shapes, each a WKT in EPSG:32635 and a class, in another CRS."""
    dataset = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    there = osr.CoordinateTransformation(_reference_system(32635), _reference_system(epsg))
    layer = dataset.CreateLayer("truth", _reference_system(epsg), kind)
    layer.CreateField(ogr.FieldDefn(field, ogr.OFTString))
    for wkt, name in shapes:
        feature, geometry = ogr.Feature(layer.GetLayerDefn()), ogr.CreateGeometryFromWkt(wkt)
        geometry.Transform(there)
        feature[field] = name
        feature.SetGeometry(geometry)
        layer.CreateFeature(feature)
    dataset.FlushCache()
    return str(path)


def _rectangle(row, column, height, width, size=10.0):
    west, north = 500_000 + column * size, 7_500_000 - row * size
    east, south = west + width * size, north - height * size
    return f"POLYGON(({west} {south},{east} {south},{east} {north},{west} {north},{west} {south}))"


def test_a_raster_on_the_same_grid(tmp_path):
    """Scores equal those of the two arrays; report and matrix say the same."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, (70, 90)).astype(np.uint8)
    codes = np.where(generator.random((70, 90)) < 0.7, truth, generator.integers(0, 4, (70, 90))).astype(np.uint8)
    both = (truth > 0) & (codes > 0)
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (truth[both] - 1, codes[both] - 1), 1)
    expected = Accuracy.from_confusion(matrix, ROCKS)
    settings = Settings(
        _raster(tmp_path / "map.tif", codes),
        _raster(tmp_path / "truth.tif", truth),
        report=str(tmp_path / "report.html"),
        matrix=str(tmp_path / "matrix.csv"),
    )
    result = run(settings, SilentProgress())
    assert (result["accuracy"], result["kappa"], result["macro_f1"]) == (
        expected.accuracy,
        expected.kappa,
        expected.macro_f1,
    )
    with (tmp_path / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[int(row[f"mapped {one.name}"]) for one in ROCKS] for row in rows] == matrix.tolist()
    assert f"{expected.accuracy:.3f}" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("epsg", [32635, 4326, 3067])
def test_polygons_of_another_crs(tmp_path, epsg):
    """Rectangles planted on known pixels are compared with just those pixels, in any CRS."""
    codes = np.full((60, 80), 1, np.uint8)
    codes[:, 40:] = 2
    codes[55:] = 3
    shapes = [
        (_rectangle(10, 10, 20, 20), "granite"),
        (_rectangle(10, 36, 10, 10), "SCHIST "),
        (_rectangle(40, 0, 5, 5), ""),
    ]
    reference = _vector(tmp_path / "truth.gpkg", shapes, epsg=epsg)
    settings = Settings(_raster(tmp_path / "map.tif", codes), reference, "rock", matrix=str(tmp_path / "m.gpkg"))
    progress = SilentProgress()
    result = run(settings, progress)
    assert result["accuracy"] == pytest.approx((400 + 60) / 500)
    assert any("Only the map shows gneiss" in text for text in progress.warnings)
    assert any("empty class field" in text for text in progress.warnings)
    dataset = gdal.OpenEx(str(tmp_path / "m.gpkg"))
    rows = {row["reference"]: row["mapped granite"] for row in dataset.GetLayer(0)}
    assert rows == {"granite": 400, "schist": 40, "gneiss": 0}


def test_points_are_weighed_by_mapped_area(tmp_path):
    """Ten points in each class, one wrong in the class that covers 9/10 of the map: the report weighs it with 0.9."""
    codes = np.full((100, 100), 1, np.uint8)
    codes[:10] = 2
    middle = "POINT({} {})".format
    shapes = [(middle(500_005 + i * 100, 7_499_955), "schist") for i in range(10)]
    shapes += [(middle(500_005 + i * 100, 7_499_505), "granite" if i else "schist") for i in range(10)]
    reference = _vector(tmp_path / "truth.gpkg", shapes, ogr.wkbPoint, epsg=4326)
    report = tmp_path / "report.html"
    settings = Settings(_raster(tmp_path / "map.tif", codes), reference, "rock", report=str(report))
    result = run(settings, SilentProgress())
    assert result["accuracy"] == pytest.approx(19 / 20)
    page = report.read_text()
    assert "91.0% ± " in page  # 0.1 × 1 + 0.9 × 0.9
    assert "81.00 ± " in page  # per cent of the area is granite, not the 0.9 that are mapped


def test_areas_limit_the_comparison(tmp_path):
    """Only pixels inside the areas count."""
    codes, truth = np.ones((50, 50), np.uint8), np.ones((50, 50), np.uint8)
    truth[:, 25:] = 2
    areas = _vector(tmp_path / "areas.gpkg", [(_rectangle(0, 15, 50, 20), "x")])
    settings = Settings(_raster(tmp_path / "map.tif", codes), _raster(tmp_path / "truth.tif", truth), areas=areas)
    assert run(settings, SilentProgress())["accuracy"] == pytest.approx(0.5)


def test_a_coarser_reference(tmp_path):
    """A reference of another pixel size is read at the middle of each of the map's pixels."""
    codes = np.kron(np.array([[1, 2], [3, 1]]), np.ones((30, 30), int)).astype(np.uint8)
    reference = _raster(tmp_path / "truth.tif", np.array([[1, 2], [3, 3]], np.uint8), size=300.0)
    assert run(Settings(_raster(tmp_path / "map.tif", codes), reference), SilentProgress())["accuracy"] == 0.75


def test_classes_match_by_name_then_by_code():
    """Names decide; a code does only where a side has no name but its code."""
    mapped = [LandClass(1, "Granite", "#111111"), LandClass(2, "schist", "#222222"), LandClass(3, "3", "#333333")]
    reference = [
        LandClass(7, "schist", "#0"),
        LandClass(3, "gneiss", "#0"),
        LandClass(1, "1", "#0"),
        LandClass(2, "marl", "#0"),
    ]
    match = match_classes(mapped, reference)
    assert [one.name for one in match.classes] == ["Granite", "schist", "gneiss", "marl"]
    assert match.from_reference[[7, 3, 1, 2]].tolist() == [2, 3, 1, 4]
    assert match.from_map[:4].tolist() == [0, 1, 2, 3]
    assert match.only_reference == ("marl",)
    assert match.only_mapped == ()


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("missing map", "does not exist"),
        ("no raster", "raster"),
        ("fractions", "CLASSIFIED is no raster of classes"),
        ("no overlap", "no feature inside the raster"),
        ("other names", "No class of the map"),
        ("no field", "no field"),
        ("over nodata", "no class at any of the 100 pixels"),
        ("folder", "cannot be written"),
        ("ending", "no known table format"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, case, sentence):
    """Each wrong input ends with a sentence and leaves no output."""
    codes = np.ones((40, 40), np.uint8)
    codes[:, 20:] = 0
    settings = {
        "classified": _raster(tmp_path / "map.tif", codes),
        "reference": _vector(tmp_path / "t.gpkg", [(_rectangle(5, 5, 10, 10), "granite")]),
        "class_field": "rock",
        "report": str(tmp_path / "out" / "report.html"),
        "matrix": str(tmp_path / "out" / "matrix.csv"),
    }
    if case == "missing map":
        settings["classified"] = str(tmp_path / "nothing.tif")
    elif case == "no raster":
        (tmp_path / "text.tif").write_text("no raster")
        settings["classified"] = str(tmp_path / "text.tif")
    elif case == "fractions":
        with value_map(tmp_path / "f.tif", _grid(9, 9), [Band("x")]) as writer:
            writer.write(Window(0, 0, 9, 9), np.random.default_rng(0).random((9, 9)))
        settings["classified"] = str(tmp_path / "f.tif")
    elif case == "no overlap":
        settings["reference"] = _vector(tmp_path / "u.gpkg", [(_rectangle(5000, 5, 10, 10), "granite")])
    elif case == "other names":
        settings["reference"] = _vector(tmp_path / "u.gpkg", [(_rectangle(5, 5, 10, 10), "limestone")])
    elif case == "no field":
        settings["class_field"] = "colour"
    elif case == "over nodata":
        settings["reference"] = _vector(tmp_path / "u.gpkg", [(_rectangle(5, 25, 10, 10), "granite")])
    elif case == "folder":
        (tmp_path / "file").write_text("")
        settings["report"] = str(tmp_path / "file" / "report.html")
    elif case == "ending":
        settings["matrix"] = str(tmp_path / "out" / "matrix.xyz")
    with pytest.raises(GeoDLError, match=sentence):
        run(Settings(**settings), SilentProgress())
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
