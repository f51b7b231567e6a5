"""The chains of geology and magnetics, whole, by their graphical models, on small pieces of the shared real data."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import QgsProcessingModelAlgorithm, QgsRasterLayer
from qgis.PyQt import sip
from scipy import ndimage

gdal.UseExceptions()
ogr.UseExceptions()

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LITHOLOGY = SHARED / "geology_central_lapland" / "clb_lithology_1M.gpkg"
OUTPUTS = {"map": "tif", "confidence": "tif", "model": "geodl", "report": "html"}
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data do not lie beside the checkout")
# looked for, not imported: numba and QGIS in one process end it, which is one reason why the engine has its own
needs_magnetics = pytest.mark.skipif(
    importlib.util.find_spec("harmonica") is None, reason="the extra geodl[magnetics] is not installed"
)


def destinations(folder, names):
    """Return a path for each output of a model."""
    return {name: str(folder / f"{name}.{end}") for name, end in names.items()}


def drawn(path):
    """Return the names of classes by code that QGIS draws a raster with."""
    layer = QgsRasterLayer(str(path), "map")
    names = {int(one.value): one.label for one in layer.renderer().classes()}
    sip.delete(layer)
    return names


def rectangle(path, raster, columns, rows):
    """Write a polygon over some of a raster's columns and rows."""
    west, width, _, north, _, height = raster.GetGeoTransform()
    (left, right), (top, bottom) = columns, rows
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    ring = ",".join(f"{west + width * x} {north + height * y}" for x, y in corners)
    store = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = store.CreateLayer("area", raster.GetSpatialRef(), ogr.wkbPolygon)
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON (({ring}))"))
    layer.CreateFeature(feature)
    return str(path)


@pytest.mark.parametrize("name", ["lithologymap", "magneticdomains"])
def test_the_models_are_listed_as_algorithms(qgis, name):
    """Each has a plain id, a name to read, its place beside Train classifier, and help for every input."""
    model = qgis.processingRegistry().algorithmById(f"geodl:{name}")
    assert isinstance(model, QgsProcessingModelAlgorithm)
    assert model.displayName().endswith(", in one go")
    assert model.group() == qgis.processingRegistry().algorithmById("geodl:trainclassifier").group()
    copy = model.create({})
    inputs = [one for one in copy.parameterDefinitions() if not one.isDestination()]
    assert all(parameter.help() for parameter in inputs)
    assert OUTPUTS.keys() <= {one.name() for one in copy.outputDefinitions()}


@needs_data
def test_airborne_grids_and_mapped_geology_become_a_lithology_map(run_algorithm, tmp_path):
    """A piece of Central Lapland: rocks keep their names, and a short training beats naming the most frequent one."""
    source = gdal.Open(str(SHARED / "geology_central_lapland" / "clb_predictors_100m.tif"))
    piece = str(tmp_path / "grids.tif")
    gdal.Translate(piece, source, srcWin=[200, 150, 240, 200])
    grids = gdal.Open(piece)
    made = run_algorithm(
        "geodl:lithologymap",
        {
            "PREDICTORS": [piece],
            "LABELS": [str(LITHOLOGY)],
            "CLASS_FIELD": "ROCK_CLA_1",
            "TEST_AREAS": rectangle(tmp_path / "test.gpkg", grids, (170, 240), (0, 200)),
            "BUFFER": 500,
            "CONTACT_BELT": 200,
            "SMALLEST_CLASS": 200,
            "TILE_SIZE": 32,
            "EPOCHS": 3,
            **destinations(tmp_path, OUTPUTS),
        },
    )
    codes, names = gdal.Open(made["map"]).ReadAsArray(), drawn(made["map"])
    mapped = ogr.Open(str(LITHOLOGY))  # held while its features are read
    rocks = {feature.GetField("ROCK_CLA_1") for feature in mapped.GetLayer(0)}
    assert set(names.values()) <= rocks
    assert len(names) >= 2
    values = grids.ReadAsArray()
    assert ((codes > 0) == (values != -9999).all(0)).all()
    assert np.isin(np.unique(codes), [0, *names]).all()
    reference = {"REFERENCE": str(LITHOLOGY), "CLASS_FIELD": "ROCK_CLA_1"}
    assessed = run_algorithm("geodl:assessclassification", {"CLASSIFIED": made["map"], **reference})
    assert assessed["KAPPA"] > 0.3
    assert "How training went" in Path(made["report"]).read_text(encoding="utf-8")


@needs_data
@needs_magnetics
def test_a_total_field_becomes_a_map_of_magnetic_domains(run_algorithm, tmp_path):
    """Ground north-west of Black Hill: domains drawn in the west are found again in the east, holes stay holes."""
    field = str(tmp_path / "field.tif")
    gdal.Translate(field, str(SHARED / "magnetic_blackhill_sa" / "blackhill_north_tmi_100m.tif"))
    grid = gdal.Open(field, gdal.GA_Update)
    anomaly = grid.ReadAsArray()
    anomaly[60:70, 60:75] = -99999
    grid.GetRasterBand(1).WriteArray(anomaly)
    grid.FlushCache()
    domains = draw_domains(tmp_path / "domains.tif", grid, anomaly)
    made = run_algorithm(
        "geodl:magneticdomains",
        {
            "FIELD": field,
            "DATE": "2000-01-01",
            "LABELS": [domains],
            "TEST_AREAS": rectangle(tmp_path / "test.gpkg", grid, (160, 234), (0, 194)),
            "BUFFER": 500,
            "TILE_SIZE": 32,
            "EPOCHS": 4,
            **destinations(tmp_path, OUTPUTS | {"magnetic_predictors": "tif"}),
        },
    )
    predictors = gdal.Open(made["magnetic_predictors"])
    bands = [predictors.GetRasterBand(number).GetDescription() for number in range(1, predictors.RasterCount + 1)]
    assert bands[0] == "reduced_to_pole"
    codes = gdal.Open(made["map"]).ReadAsArray()
    known = anomaly != -99999
    assert ((codes > 0) == known).all()
    assert drawn(made["map"]) == {1: "quiet", 2: "disturbed"}
    truth = gdal.Open(domains).ReadAsArray()
    east = np.zeros(known.shape, bool)
    east[:, 160:] = True
    scored = east & known & (truth > 0)
    majority = max((truth[scored] == code).mean() for code in (1, 2))
    assert (codes == truth)[scored].mean() > majority + 0.05


def draw_domains(path, grid, anomaly):
    """Write where the field is quiet and where it is disturbed: by its range within 2 km, beside its median range."""
    filled = np.where(anomaly == -99999, np.median(anomaly[anomaly != -99999]), anomaly)
    steep = np.hypot(*np.gradient(filled))
    rough = ndimage.uniform_filter(steep, 15)
    raster = gdal.GetDriverByName("GTiff").CreateCopy(
        str(path), gdal.Translate("", grid, format="MEM", outputType=gdal.GDT_Byte)
    )
    band = raster.GetRasterBand(1)
    band.WriteArray(np.where(rough > np.median(rough), 2, 1).astype(np.uint8))
    band.SetNoDataValue(0)
    band.SetCategoryNames(["", "quiet", "disturbed"])
    raster.FlushCache()
    return str(path)
