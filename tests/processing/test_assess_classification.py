"""geodl:assessclassification through the Processing registry."""

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsProcessingException,
    QgsRendererCategory,
    QgsVectorLayer,
)

from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.writer import class_map

ROCKS = classes_from_names(["granite", "schist"])


@pytest.fixture
def layers(tmp_path):
    """Write a map, half granite and half schist, and a reference by numbers: 1 in the west, 2 in the north-east."""
    reference = ogr.GetDriverByName("GPKG").CreateDataSource(str(tmp_path / "truth.gpkg"))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32635)
    layer = reference.CreateLayer("truth", crs, ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("unit", ogr.OFTInteger))
    for unit, west, south in ((11, 500_000, 7_499_600), (12, 500_200, 7_499_800), (11, 500_200, 7_499_600)):
        feature = ogr.Feature(layer.GetLayerDefn())
        east, north = west + 200, 7_500_000 if unit == 11 and west == 500_000 else south + 200
        ring = f"{west} {south},{east} {south},{east} {north},{west} {north},{west} {south}"
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON(({ring}))"))
        feature["unit"] = unit
        layer.CreateFeature(feature)
    del layer, reference
    grid = Grid(crs.ExportToWkt(), (500_000.0, 10.0, 0.0, 7_500_000.0, 0.0, -10.0), 40, 40)
    codes = np.ones((40, 40), np.uint8)
    codes[:, 20:] = 2
    with class_map(tmp_path / "map.tif", grid, ROCKS) as writer:
        writer.write(Window(0, 0, 40, 40), codes)
    return str(tmp_path / "map.tif"), str(tmp_path / "truth.gpkg")


def test_a_layer_as_it_is_drawn(run_algorithm, layers, tmp_path):
    """The reference's own names, given to its numbers in QGIS, match the map's; scores, report and matrix come back."""
    classified, reference = layers
    layer = QgsVectorLayer(reference, "truth", "ogr")
    names = ((11, "granite"), (12, "schist"))
    categories = [QgsRendererCategory(unit, QgsFillSymbol.createSimple({}), name) for unit, name in names]
    layer.setRenderer(QgsCategorizedSymbolRenderer("unit", categories))
    outputs = run_algorithm(
        "geodl:assessclassification",
        {
            "CLASSIFIED": classified,
            "REFERENCE": layer,
            "REPORT": str(tmp_path / "report.html"),
            "MATRIX": str(tmp_path / "matrix.gpkg"),
        },
    )
    assert outputs["ACCURACY"] == pytest.approx(0.75)
    assert outputs["KAPPA"] == pytest.approx(0.5)
    assert "right for 75.0%" in (tmp_path / "report.html").read_text()
    dataset = gdal.OpenEx(outputs["MATRIX"])
    rows = {row["reference"]: row["mapped schist"] for row in dataset.GetLayer(0)}
    assert rows == {"granite": 400, "schist": 400}


def test_a_field_that_names_no_class_of_the_map(run_algorithm, layers, tmp_path):
    """Numbers that are none of the map's end with a sentence, and no report is left."""
    classified, reference = layers
    parameters = {"CLASSIFIED": classified, "REFERENCE": reference, "CLASS_FIELD": "unit"}
    with pytest.raises(QgsProcessingException, match="No class of the map"):
        run_algorithm("geodl:assessclassification", parameters | {"REPORT": str(tmp_path / "report.html")})
    assert not (tmp_path / "report.html").exists()
