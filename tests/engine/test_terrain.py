"""Terrain predictors against GDAL, analytic surfaces, and themselves in windows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.errors import Cancelled, GeoDLError, OutputError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters import terrain
from geodl_qgis_plugin.engine.rasters.sources import read_source
from geodl_qgis_plugin.engine.rasters.terrain import terrain_bands

gdal.UseExceptions()
LANDFORMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "landform_geomorphon"
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


def test_curvatures_equal_xdem():
    """Profile, tangential and planform curvature are those of xDEM 0.2.3 (Florinsky's fit), to rounding."""
    with np.load(Path(__file__).resolve().parents[1] / "data" / "curvatures_xdem.npz") as reference:
        found = by_name(*terrain_bands(reference["dem"], 90.0, [3]))
        for name in ("profile", "tangential", "planform"):
            expected = reference[name][INNER]
            np.testing.assert_allclose(found[f"{name}_curvature"][INNER], expected, rtol=1e-5, atol=1e-9, err_msg=name)


def test_curvatures_of_a_sphere_and_a_cone():
    """A dome bends by one over its radius both ways; a cone is straight downslope, and its contours are circles."""
    rows, columns = np.mgrid[-60:61, -60:61] * 10.0
    distance = np.hypot(rows, columns)
    around = (distance > 200.0) & (distance < 500.0)  # away from the top and the edges
    dome = by_name(*terrain_bands(np.sqrt(2000.0**2 - distance**2), 10.0, [3]))
    np.testing.assert_allclose(dome["profile_curvature"][around], 1 / 2000.0, rtol=0.01)
    np.testing.assert_allclose(dome["tangential_curvature"][around], 1 / 2000.0, rtol=0.01)
    cone = by_name(*terrain_bands(1000.0 - 0.5 * distance, 10.0, [3]))
    np.testing.assert_allclose(cone["profile_curvature"][around], 0.0, atol=2e-5)
    np.testing.assert_allclose(cone["planform_curvature"][around], 1 / distance[around], rtol=0.02)
    np.testing.assert_allclose(cone["slope"][around], np.degrees(np.arctan(0.5)), atol=0.05)


def test_a_plane_keeps_its_slope_to_its_edges_and_holes():
    """Slope, aspect and curvature of a plane are exact at the raster's edge and beside a hole."""
    rows, columns = np.mgrid[0:40, 0:50].astype(float)
    plane = 100.0 + 3.0 * columns - 4.0 * rows  # rises to the east and the north
    plane[10:14, 20:23] = np.nan
    bands = by_name(*terrain_bands(plane, 10.0, [2]))
    known = np.isfinite(plane)
    np.testing.assert_allclose(bands["slope"][known], np.degrees(np.arctan(0.5)), atol=1e-4)
    np.testing.assert_allclose(bands["aspect_sine"][known], -0.6, atol=1e-5)
    np.testing.assert_allclose(bands["aspect_cosine"][known], -0.8, atol=1e-5)
    np.testing.assert_allclose(bands["profile_curvature"][known], 0.0, atol=1e-9)
    for name, layer in bands.items():
        np.testing.assert_array_equal(np.isfinite(layer), known, err_msg=name)


@pytest.mark.parametrize("radius", [1, 3, 8])
def test_position_and_relief_leave_out_what_is_missing(radius):
    """Position and relief of every pixel are those of the valid pixels in its window, counted one by one."""
    dem = fractal_dem(30, 35, seed=4)
    dem[np.random.default_rng(0).random(dem.shape) < 0.3] = np.nan
    bands = by_name(*terrain_bands(dem, 30.0, [radius]))
    for row, column in np.argwhere(np.isfinite(dem)):
        window = dem[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
        assert bands[f"position_{radius}"][row, column] == pytest.approx(
            dem[row, column] - np.nanmean(window), abs=1e-3
        )
        assert bands[f"relief_{radius}"][row, column] == pytest.approx(np.nanmax(window) - np.nanmin(window), abs=1e-3)


def test_south_up_and_rotated_grids_need_no_resampling(tmp_path):
    """A DEM with its south on top gives the same pixels the other way round; a rotated one has its aspect turned."""
    dem = fractal_dem(60, 70, seed=5)
    straight, _ = run_terrain(write_raster(tmp_path / "a.tif", dem), tmp_path / "ao.tif", scales=[3])
    south_up = write_raster(tmp_path / "s.tif", dem[::-1], transform=(5e5, 30.0, 0.0, 4.1e6 - 1800.0, 0.0, 30.0))
    flipped, _ = run_terrain(south_up, tmp_path / "so.tif", scales=[3])
    cos, sin = 30.0 * np.cos(np.radians(25)), 30.0 * np.sin(np.radians(25))  # rows run north of east
    rotated = write_raster(tmp_path / "r.tif", dem, transform=(5e5, cos, sin, 4.1e6, sin, -cos))
    turned, _ = run_terrain(rotated, tmp_path / "ro.tif", scales=[3])
    for name in ("slope", "profile_curvature", "planform_curvature", "position_3", "relief_3"):
        np.testing.assert_allclose(flipped[name][::-1], straight[name], rtol=1e-4, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(turned[name], straight[name], rtol=2e-3, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(flipped["aspect_cosine"][::-1], straight["aspect_cosine"], atol=1e-5)
    aspect = np.arctan2(straight["aspect_sine"], straight["aspect_cosine"]) - np.radians(25)
    np.testing.assert_allclose(turned["aspect_sine"], np.sin(aspect), atol=1e-4)


def test_degrees_are_warped_to_metres(tmp_path):
    """A DEM in degrees comes out in its UTM zone, which is said, with the slopes of the same hill in metres."""
    rows, columns = np.mgrid[0:120, 0:140]
    metres_north, metres_east = 111132.0, 78847.0  # lengths of a degree at 45° north
    east, north = (columns - 70) * 1e-3 * metres_east, -(rows - 60) * 1e-3 * metres_north
    hill = 1000.0 * np.exp(-(east**2 + north**2) / (2 * 2000.0**2))
    path = write_raster(tmp_path / "d.tif", hill, transform=(8.93, 1e-3, 0.0, 45.06, 0.0, -1e-3), epsg=4326)
    bands, progress = run_terrain(path, tmp_path / "o.tif", scales=[3])
    assert any("degrees" in text and "UTM zone 32N" in text for text in progress.messages)
    grid = read_source(str(tmp_path / "o.tif")).grid
    assert not grid.in_degrees
    steepest = np.degrees(np.arctan(1000.0 / 2000.0 * np.exp(-0.5)))
    assert np.nanmax(bands["slope"]) == pytest.approx(steepest, abs=0.3)


def test_nodata_nan_and_undeclared_huge_values_are_missing(tmp_path):
    """All three kinds of hole are holes in every band, and nothing else is."""
    dem = fractal_dem(40, 50, seed=6)
    missing = np.zeros(dem.shape, bool)
    for row, value in ((5, -9999.0), (15, np.nan), (25, 1.70141e38)):
        dem[row, 10:14] = value
        missing[row, 10:14] = True
    bands, _ = run_terrain(write_raster(tmp_path / "a.tif", dem, nodata=-9999.0), tmp_path / "o.tif", scales=[3])
    for name, layer in bands.items():
        np.testing.assert_array_equal(np.isnan(layer), missing, err_msg=name)
    assert np.nanmax(bands["relief_3"]) < 1000.0


def test_a_constant_dem_is_level(tmp_path):
    """Every predictor of a level DEM is zero, except the light on it, and it is said."""
    bands, progress = run_terrain(
        write_raster(tmp_path / "a.tif", np.full((20, 20), 7.0)), tmp_path / "o.tif", scales=[3]
    )
    assert bands.pop("hillshade") == pytest.approx(np.sqrt(0.5))
    assert all((layer == 0).all() for layer in bands.values())
    assert any("everywhere" in text for text in progress.warnings)


def test_feet_become_metres(tmp_path):
    """Heights whose band says feet give slopes in true metres."""
    plane = np.tile(np.arange(30.0), (20, 1)) * 10.0
    path = write_raster(tmp_path / "a.tif", plane)
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.GetRasterBand(1).SetUnitType("ft")
    del dataset
    bands, _ = run_terrain(path, tmp_path / "o.tif", scales=[3])
    np.testing.assert_allclose(bands["slope"], np.degrees(np.arctan(3.048 / 30.0)), atol=1e-3)


@pytest.mark.parametrize(
    ("values", "options", "settings", "sentence"),
    [
        (np.zeros((20, 20)), {"epsg": None}, {}, "no CRS"),
        (np.full((20, 20), -1.0), {"nodata": -1.0}, {}, "all are nodata"),
        (np.full((20, 20), np.nan), {}, {}, "all are nodata"),
        (np.arange(20.0).reshape(20, 1), {}, {"scales": [3]}, "1 by 20 pixels"),
        (np.zeros((20, 20)), {}, {"scales": []}, "SCALES is empty"),
        (np.zeros((20, 20)), {}, {"scales": [0]}, "SCALES is 0"),
        (np.zeros((20, 20)), {}, {"scales": [400]}, "only 20 by 20 pixels"),
        (np.zeros((20, 20)), {}, {"scales": [3.5]}, "whole number"),
        (np.zeros((20, 20)), {}, {"scales": [3], "band": 2}, "no band 2"),
        (np.zeros((20, 20)), {}, {"scales": [3], "unknown": 2}, "is unknown"),
        (
            np.zeros((20, 20)),
            {"transform": (5e5, 20.0, 5.0, 4e6, 5.0, -20.0)},
            {"scales": [3], "geomorphons": True},
            "rotated",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, monkeypatch, values, options, settings, sentence):
    """Each gives one sentence and leaves nothing behind."""
    monkeypatch.setattr("geodl_qgis_plugin.engine.rasters.geomorphons.find_grass", lambda: "grass")
    path = write_raster(tmp_path / "a.tif", values, **options)
    (tmp_path / "out").mkdir()
    with pytest.raises(GeoDLError, match=sentence):
        run_terrain(path, tmp_path / "out" / "o.tif", **{"scales": [3]} | settings)
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_are_no_dem_are_refused(tmp_path):
    """A missing file, one that is no raster, one cut short, a palette, complex numbers: one sentence each."""
    output = tmp_path / "out" / "o.tif"
    with pytest.raises(GeoDLError, match="does not exist"):
        run_terrain(tmp_path / "none.tif", output)
    (tmp_path / "text.tif").write_text("elevation")
    with pytest.raises(GeoDLError, match="no raster that GDAL can read"):
        run_terrain(tmp_path / "text.tif", output)
    whole = Path(write_raster(tmp_path / "whole.tif", fractal_dem()))
    (tmp_path / "short.tif").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(GeoDLError, match=r"short\.tif"):
        run_terrain(tmp_path / "short.tif", output)
    palette = gdal.Translate(str(tmp_path / "p.tif"), str(whole), outputType=gdal.GDT_Byte)
    colours = gdal.ColorTable()
    colours.SetColorEntry(1, (255, 0, 0, 255))
    palette.GetRasterBand(1).SetColorTable(colours)
    del palette
    with pytest.raises(GeoDLError, match="colour table"):
        run_terrain(tmp_path / "p.tif", output)
    gdal.Translate(str(tmp_path / "c.tif"), str(whole), outputType=gdal.GDT_CFloat32)
    with pytest.raises(GeoDLError, match="complex"):
        run_terrain(tmp_path / "c.tif", output)
    assert not output.exists()
    assert not list(output.parent.glob("*"))


def test_a_disk_without_room_is_refused_first(tmp_path, monkeypatch):
    """Too little room is a sentence before any work."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match="Free some space"):
        run_terrain(write_raster(tmp_path / "a.tif", fractal_dem(40, 50)), tmp_path / "out" / "o.tif")
    assert not (tmp_path / "out" / "o.tif").exists()


def test_cancel_leaves_nothing(tmp_path):
    """A cancelled job says so and leaves no file."""

    class Stopped(SilentProgress):
        def cancelled(self):
            return True

    path = write_raster(tmp_path / "a.tif", fractal_dem(40, 50))
    (tmp_path / "out").mkdir()
    with pytest.raises(Cancelled):
        run_job("terrainpredictors", {"dem": path, "output": str(tmp_path / "out" / "o.tif"), "scales": [3]}, Stopped())
    assert list((tmp_path / "out").iterdir()) == []


def test_without_grass_geomorphons_are_refused(tmp_path, monkeypatch):
    """The sentence says how to get GRASS, and that it can be done without."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GEODL_GRASS", raising=False)
    with pytest.raises(GeoDLError, match="grass-core"):
        run_terrain(write_raster(tmp_path / "a.tif", fractal_dem(40, 50)), tmp_path / "o.tif", geomorphons=True)


@pytest.mark.skipif(shutil.which("grass") is None, reason="GRASS is not installed")
@pytest.mark.skipif(not LANDFORMS.is_dir(), reason="no ../shared/data beside this checkout")
def test_geomorphons_are_those_of_grass(tmp_path):
    """The codes equal those that r.geomorphon gave for the same DEM elsewhere."""
    bands, _ = run_terrain(LANDFORMS / "jacksboro_dem_utm16n_90m.tif", tmp_path / "o.tif", geomorphons=True)
    expected = gdal.Open(str(LANDFORMS / "jacksboro_dem_utm16n_90m_geomorphon_L15.tif")).ReadAsArray()
    np.testing.assert_array_equal(np.nan_to_num(bands["geomorphon"]), expected)
