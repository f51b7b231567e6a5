"""Styles written without QGIS are read by it: names and colours in the legend, and every pixel in its colour."""

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsPalettedRasterRenderer,
    QgsRasterLayer,
    QgsSingleBandPseudoColorRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classes import LandClass
from geodl_qgis_plugin.engine.rasters import styles
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.writer import class_map, value_map

CLASSES = [LandClass(2, "granite", "#ff8000"), LandClass(7, 'schist "grey" & <blue>', "#102030")]


def _grid(height, width):
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32616)
    return Grid(crs.ExportToWkt(), (700_000.0, 90.0, 0.0, 4_060_000.0, 0.0, -90.0), width, height)


def test_a_class_map_opens_with_its_legend(qgis, tmp_path):
    """The layer has one legend entry a class, with name and colour, and draws its pixels in them; nodata is not drawn."""
    path = tmp_path / "map.tif"
    codes = np.zeros((40, 60), np.uint8)
    codes[:20], codes[20:, :30] = 2, 7
    with class_map(path, _grid(40, 60), CLASSES) as writer:
        writer.write(Window(0, 0, 40, 60), codes)
    layer = QgsRasterLayer(str(path), "map")
    renderer = layer.renderer()
    assert isinstance(renderer, QgsPalettedRasterRenderer)
    entries = [(entry.value, entry.label, entry.color.name()) for entry in renderer.classes()]
    assert entries == [(one.code, one.name, one.colour) for one in CLASSES]
    image = layer.previewAsImage(QSize(60, 40))
    assert image.pixelColor(10, 5).name() == "#ff8000"
    assert image.pixelColor(10, 35).name() == "#102030"
    assert layer.dataProvider().sourceHasNoDataValue(1)


@pytest.mark.parametrize("packed", [True, False])
def test_confidence_opens_with_a_ramp(qgis, tmp_path, packed):
    """Confidence from 0 to 1 is drawn dark to light, in true units also when it is stored as bytes."""
    path = tmp_path / "confidence.tif"
    values = np.repeat(np.linspace(0, 1, 101)[None], 20, axis=0)
    with value_map(path, _grid(20, 101), [Band("confidence")], packed=packed, limits=(0, 1)) as writer:
        writer.write(Window(0, 0, 20, 101), values)
    layer = QgsRasterLayer(str(path), "confidence")
    renderer = layer.renderer()
    assert isinstance(renderer, QgsSingleBandPseudoColorRenderer)
    items = renderer.shader().rasterShaderFunction().colorRampItemList()
    assert (items[0].value, items[-1].value) == (0, 1)
    assert len(items) == 9
    image = layer.previewAsImage(QSize(101, 20))
    colours = [image.pixelColor(x, 10) for x in range(0, 101, 10)]
    luminance = [0.2126 * one.red() + 0.7152 * one.green() + 0.0722 * one.blue() for one in colours]
    assert luminance == sorted(luminance)
    assert image.pixelColor(0, 10).name() == "#440154"
    assert image.pixelColor(100, 10).name() == "#fde725"
    assert renderer.shader().rasterShaderFunction().sourceColorRamp().count() == 9


def _geopackage(path, layer, field, values):
    dataset = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32616)
    table = dataset.CreateLayer(layer, crs, ogr.wkbPolygon)
    table.CreateField(ogr.FieldDefn(field, ogr.OFTString))
    for i, value in enumerate(values):
        feature = ogr.Feature(table.GetLayerDefn())
        feature[field] = value
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON(({i} 0,{i + 1} 0,{i + 1} 1,{i} 1,{i} 0))"))
        table.CreateFeature(feature)


@pytest.mark.parametrize(
    ("qml", "field", "expected"),
    [
        (styles.polygons_qml(CLASSES), "class", {one.name: one.colour for one in CLASSES}),
        (styles.footprints_qml(), "split", styles.SPLIT_COLOURS),
    ],
)
def test_a_layer_of_a_geopackage_opens_styled(qgis, tmp_path, qml, field, expected):
    """The style saved in the GeoPackage is the layer's when QGIS opens it, also after it was written twice."""
    path, name = tmp_path / "result.gpkg", "it's a layer"
    _geopackage(path, name, field, list(expected))
    styles.write_layer_style(path, name, styles.polygons_qml([]))
    styles.write_layer_style(path, name, qml)
    layer = QgsVectorLayer(f"{path}|layername={name}", "result", "ogr")
    assert layer.isValid()
    renderer = layer.renderer()
    assert isinstance(renderer, QgsCategorizedSymbolRenderer)
    assert renderer.classAttribute() == field
    found = {category.label(): category.symbol().color().name() for category in renderer.categories()}
    assert found == expected
    features = {feature[field]: feature for feature in layer.getFeatures()}
    assert set(features) == set(expected)
    count, *_ = layer.listStylesInDatabase()
    assert count == 1


@pytest.mark.parametrize(
    "qml", [styles.class_raster_qml(CLASSES), styles.value_raster_qml(-2, 5), styles.polygons_qml(CLASSES)]
)
def test_qml_files_load(qgis, tmp_path, qml):
    """Each style is accepted as a file, too."""
    (tmp_path / "style.qml").write_text(qml, encoding="utf-8")
    if "rasterrenderer" in qml:
        path = tmp_path / "map.tif"
        with value_map(path, _grid(5, 5), [Band("x")]) as writer:
            writer.write(Window(0, 0, 5, 5), np.ones((5, 5)))
        layer = QgsRasterLayer(str(path), "x")
    else:
        _geopackage(tmp_path / "x.gpkg", "x", "class", ["granite"])
        layer = QgsVectorLayer(str(tmp_path / "x.gpkg"), "x", "ogr")
    message, accepted = layer.loadNamedStyle(str(tmp_path / "style.qml"))
    assert accepted, message
