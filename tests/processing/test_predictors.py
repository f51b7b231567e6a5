"""The predictor algorithms through the Processing registry."""

import importlib.util

import numpy as np
import pytest
from osgeo import gdal, osr

gdal.UseExceptions()

# looked for, not imported: numba and QGIS in one process end it, which is one reason why the engine has its own
needs_magnetics = pytest.mark.skipif(
    importlib.util.find_spec("harmonica") is None, reason="the extra geodl[magnetics] is not installed"
)


@pytest.fixture
def dem(tmp_path):
    """Return the path of a small DEM of two valleys with a hole."""
    rows, columns = np.mgrid[0:60, 0:80].astype(np.float32)
    values = 500.0 + 40.0 * np.sin(columns / 9.0) + 30.0 * np.cos(rows / 7.0)
    values[20:23, 30:33] = -9999.0
    return write(tmp_path / "dem.tif", values, nodata=-9999.0)


def write(path, values, nodata=None):
    """Write an array (row, column) as a GeoTIFF in UTM."""
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], 1, gdal.GDT_Float32)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32632)
    dataset.SetProjection(reference.ExportToWkt())
    dataset.SetGeoTransform((500000.0, 30.0, 0.0, 5500000.0, 0.0, -30.0))
    dataset.WriteArray(values)
    if nodata is not None:
        dataset.GetRasterBand(1).SetNoDataValue(nodata)
    return str(path)


def test_terrain_predictors(run_algorithm, dem, tmp_path):
    """The algorithm writes named bands on the DEM's grid, with the DEM's holes and no others."""
    output = str(tmp_path / "out.tif")
    assert (
        run_algorithm("geodl:terrainpredictors", {"DEM": dem, "SCALES": "2, 5", "OUTPUT": output})["OUTPUT"] == output
    )
    dataset = gdal.Open(output)
    names = [dataset.GetRasterBand(number + 1).GetDescription() for number in range(dataset.RasterCount)]
    assert names[0] == "slope"
    assert names[-2:] == ["relief_2", "relief_5"]
    assert dataset.GetGeoTransform() == gdal.Open(dem).GetGeoTransform()
    holes = np.isnan(dataset.ReadAsArray())
    assert (holes == (gdal.Open(dem).ReadAsArray() == -9999.0)).all()


def test_scales_that_are_no_numbers_are_refused(run_algorithm, dem, tmp_path):
    """A text among the scales gives a sentence."""
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="whole numbers of pixels"):
        run_algorithm("geodl:terrainpredictors", {"DEM": dem, "SCALES": "small", "OUTPUT": str(tmp_path / "out.tif")})


@needs_magnetics
def test_magnetic_predictors(run_algorithm, dem, tmp_path, feedback):
    """A date is enough for the IGRF; the output has the field reduced to the pole first."""
    output = str(tmp_path / "out.tif")
    run_algorithm("geodl:magneticpredictors", {"INPUT": dem, "DATE": "2000-01-31", "HEIGHT": 100, "OUTPUT": output})
    dataset = gdal.Open(output)
    assert dataset.GetRasterBand(1).GetDescription() == "reduced_to_pole"
    assert dataset.GetRasterBand(dataset.RasterCount).GetDescription() == "upward_100m"
    assert any("2000-01-31" in text for text in feedback.infos)


@needs_magnetics
def test_a_geosoft_grid_is_handed_to_the_engine(run_algorithm, tmp_path):
    """QGIS cannot load a .grd; its path goes to the engine, which says what is wrong with it, or reads it."""
    from qgis.core import QgsProcessingException

    (tmp_path / "a.grd").write_bytes(b"no grid at all, but long enough for a header")
    settings = {
        "INPUT": str(tmp_path / "a.grd"),
        "INCLINATION": 60,
        "DECLINATION": 0,
        "OUTPUT": str(tmp_path / "out.tif"),
    }
    with pytest.raises(QgsProcessingException, match="no raster that GDAL can read"):
        run_algorithm("geodl:magneticpredictors", settings)


@needs_magnetics
def test_grid_points(run_algorithm, tmp_path):
    """A table given by its path, and a point layer, become the same grid."""
    from qgis.core import QgsProject, QgsVectorLayer

    random = np.random.default_rng(0)
    table = tmp_path / "points.csv"
    rows = [f"{500000 + x:.1f},{5500000 + y:.1f},{x + y:.2f}" for x, y in 2000 * random.random((3000, 2))]
    table.write_text("\n".join(["easting,northing,tmi", *rows]))
    settings = {"INPUT": str(table), "VALUE_FIELD": "tmi", "SPACING": 100, "POINTS_CRS": "EPSG:32632"}
    run_algorithm("geodl:gridpoints", settings | {"OUTPUT": str(tmp_path / "a.tif")})
    of_table = gdal.Open(str(tmp_path / "a.tif")).ReadAsArray()
    layer = str(tmp_path / "points.gpkg")
    columns = ["X_POSSIBLE_NAMES=easting", "Y_POSSIBLE_NAMES=northing", "AUTODETECT_TYPE=YES"]
    source = gdal.OpenEx(str(table), gdal.OF_VECTOR, open_options=columns)
    gdal.VectorTranslate(layer, source, format="GPKG", dstSRS="EPSG:32632", srcSRS="EPSG:32632")
    # in the project, which is cleared before QGIS ends: a layer of the context would outlive it
    points = QgsProject.instance().addMapLayer(QgsVectorLayer(layer, "points"))
    settings = {"INPUT": points.id(), "VALUE_FIELD": "tmi", "SPACING": 100}
    run_algorithm("geodl:gridpoints", settings | {"OUTPUT": str(tmp_path / "b.tif")})
    np.testing.assert_allclose(gdal.Open(str(tmp_path / "b.tif")).ReadAsArray(), of_table, atol=1e-3)
    assert np.nanmax(of_table) == pytest.approx(3900, abs=150)
