"""Terrain predictors against GDAL, analytic surfaces, and themselves in windows."""

import numpy as np
import pytest
from osgeo import gdal, osr

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters import terrain
from geodl_qgis_plugin.engine.rasters.sources import read_source
from geodl_qgis_plugin.engine.rasters.terrain import terrain_bands

gdal.UseExceptions()
INNER = (slice(2, -2), slice(2, -2))


def fractal_dem(height=150, width=190, seed=0):
    """Return a rough surface of a few hundred metres, with slopes as in hills at 30 m pixels."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    dem = np.real(np.fft.ifft2(np.fft.fft2(noise) * frequency**-2.0))
    return 500.0 + 200.0 * (dem - dem.mean()) / dem.std()


def write_raster(path, values, *, transform=(500000.0, 30.0, 0.0, 4100000.0, 0.0, -30.0), epsg=32611, nodata=None):
    """Write an array (row, column) as a float GeoTIFF."""
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], 1, gdal.GDT_Float32)
    dataset.SetGeoTransform(transform)
    if epsg:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(epsg)
        dataset.SetProjection(reference.ExportToWkt())
    if nodata is not None:
        dataset.GetRasterBand(1).SetNoDataValue(nodata)
    dataset.WriteArray(values.astype(np.float32))
    return str(path)


def by_name(values, bands):
    """Return the bands of a stack by name."""
    return {band.name: layer for band, layer in zip(bands, values, strict=True)}


def run_terrain(dem, output, **settings):
    """Run the job; return its bands by name (NaN where missing) and what it said."""
    progress = SilentProgress()
    run_job("terrainpredictors", {"dem": str(dem), "output": str(output), **settings}, progress)
    return by_name(gdal.Open(str(output)).ReadAsArray(), read_source(str(output)).bands), progress


@pytest.mark.parametrize(
    ("mode", "band", "options"),
    [
        ("slope", "slope", {}),
        ("roughness", "roughness", {}),
        ("hillshade", "hillshade", {"multiDirectional": True}),
    ],
)
def test_equals_gdal(tmp_path, mode, band, options):
    """Slope, roughness and multidirectional hillshade are those of gdaldem, also with pixels that are not square."""
    dem = fractal_dem()
    path = write_raster(tmp_path / "dem.tif", dem, transform=(5e5, 30.0, 0.0, 4.1e6, 0.0, -20.0))
    expected = gdal.DEMProcessing("", path, mode, format="MEM", **options).ReadAsArray().astype(float)
    if mode == "hillshade":
        expected = (expected - 1.0) / 254.0
    found = by_name(*terrain_bands(dem, (30.0, 20.0), [3]))[band]
    tolerance = 0.51 / 254.0 if mode == "hillshade" else 2e-3
    np.testing.assert_allclose(found[INNER], expected[INNER], atol=tolerance)


def test_aspect_equals_gdal(tmp_path):
    """Sine and cosine of aspect are those of gdaldem's aspect."""
    dem = fractal_dem(seed=1)
    path = write_raster(tmp_path / "dem.tif", dem)
    aspect = np.radians(gdal.DEMProcessing("", path, "aspect", format="MEM").ReadAsArray().astype(float))
    found = by_name(*terrain_bands(dem, 30.0, [3]))
    np.testing.assert_allclose(found["aspect_sine"][INNER], np.sin(aspect)[INNER], atol=1e-3)
    np.testing.assert_allclose(found["aspect_cosine"][INNER], np.cos(aspect)[INNER], atol=1e-3)


def test_windows_equal_one_pass(tmp_path, monkeypatch):
    """A DEM with holes worked through in small windows gives the same bits as one pass over the whole."""
    dem = fractal_dem(seed=2)
    dem[40:60, 70:75] = np.nan
    dem[100, 100] = np.nan
    path = write_raster(tmp_path / "dem.tif", np.where(np.isnan(dem), -9999.0, dem), nodata=-9999.0)
    whole, _ = run_terrain(path, tmp_path / "whole.tif", scales=[2, 7, 40])
    monkeypatch.setattr(terrain, "_WINDOW_PX", 37)
    parts, _ = run_terrain(path, tmp_path / "parts.tif", scales=[2, 7, 40])
    for name, layer in whole.items():
        np.testing.assert_array_equal(parts[name], layer, err_msg=name)


def test_bands_are_described(tmp_path):
    """Names, units and kinds stand in the file; the aspect's parts turn as a vector, the shade does not turn."""
    path = write_raster(tmp_path / "dem.tif", fractal_dem(40, 50))
    run_terrain(path, tmp_path / "out.tif", scales=[10, 3])
    bands = read_source(str(tmp_path / "out.tif")).bands
    assert list(bands[:3]) == [
        Band("slope", "degree"),
        Band("aspect_sine", "", "vector_x"),
        Band("aspect_cosine", "", "vector_y"),
    ]
    assert [band.name for band in bands if band.kind == "directional"] == ["hillshade"]
    assert [band.name for band in bands][-4:] == ["position_3", "position_10", "relief_3", "relief_10"]
