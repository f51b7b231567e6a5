"""Magnetic predictors against a dipole, whose field is known everywhere, and against harmonica's own filters on a real grid."""

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr

from geodl_qgis_plugin.engine.errors import EnvironmentProblem, GridError, SettingsError, SourceError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.geomagnetic_field import FieldDirection
from geodl_qgis_plugin.engine.rasters.hole_filling import fill_holes
from geodl_qgis_plugin.engine.rasters.sources import read_source

gdal.UseExceptions()
pytest.importorskip("harmonica", reason="the extra geodl[magnetics] is not installed")
pytest.importorskip("ppigrf", reason="the extra geodl[magnetics] is not installed")

from geodl_qgis_plugin.engine.rasters.magnetics import magnetic_bands

BLACK_HILL = Path(__file__).resolve().parents[3] / "shared" / "data" / "magnetic_blackhill_sa"
DIRECTION = FieldDirection(-60.0, 20.0)
SPACING, DEPTH = 50.0, 1000.0
ROWS, COLUMNS = 240, 260


def unit_vector(inclination, declination):
    """Return the east, north and downward parts of a direction."""
    i, d = np.radians([inclination, declination])
    return np.array([np.cos(i) * np.sin(d), np.cos(i) * np.cos(d), np.sin(i)])


def dipole_anomaly(inclination, declination, *, height=0.0, spacing=(SPACING, SPACING), shape=(ROWS, COLUMNS)):
    """
    Return the total-field anomaly (row, column) of a dipole under the middle, magnetised along the main field; north up.

    Blakely (1995), doi:10.1017/CBO9780511549816: b = (3 (m r) r - m) / r³; the anomaly is its part along the field.
    """
    rows, columns = shape
    east = (np.arange(columns) - columns / 2 + 0.5) * spacing[0]
    north = -(np.arange(rows) - rows / 2 + 0.5) * spacing[1]
    east, north = np.meshgrid(east, north)
    down = np.full(east.shape, -(DEPTH + height))  # from the dipole up to the observer
    distance = np.sqrt(east**2 + north**2 + down**2)
    f = unit_vector(inclination, declination)
    along = (f[0] * east + f[1] * north + f[2] * down) / distance
    return 100.0 * DEPTH**3 * (3 * along**2 - 1) / distance**3


def named(result):
    """Return the bands of `magnetic_bands` by name."""
    values, bands = result
    return {band.name: layer for band, layer in zip(bands, values, strict=True)}


def difference(found, expected):
    """Return the largest difference in the inner two thirds, their means aside, in shares of the expected range."""
    rows, columns = found.shape
    inner = (slice(rows // 6, -rows // 6), slice(columns // 6, -columns // 6))
    found, expected = found[inner] - found[inner].mean(), expected[inner] - expected[inner].mean()
    return np.abs(found - expected).max() / np.ptp(expected)


def write_grid(
    path, values, *, transform=(500000.0, SPACING, 0.0, 6200000.0, 0.0, -SPACING), epsg=32753, nodata=None, bands=1
):
    """Write an array (row, column) as a float GeoTIFF."""
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], bands, gdal.GDT_Float32)
    if transform:
        dataset.SetGeoTransform(transform)
    if epsg:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(epsg)
        dataset.SetProjection(reference.ExportToWkt())
    for number in range(bands):
        dataset.GetRasterBand(number + 1).WriteArray(values.astype(np.float32))
        if nodata is not None:
            dataset.GetRasterBand(number + 1).SetNoDataValue(nodata)
    return str(path)


def run_magnetics(source, output, **settings):
    """Run the job; return its bands by name and what it said."""
    progress = SilentProgress()
    if "date" not in settings:
        settings = {"inclination": DIRECTION.inclination, "declination": DIRECTION.declination} | settings
    run_job("magneticpredictors", {"input": str(source), "output": str(output), **settings}, progress)
    values = gdal.Open(str(output)).ReadAsArray()
    return {band.name: layer for band, layer in zip(read_source(str(output)).bands, values, strict=True)}, progress


def test_a_dipole_reduced_to_the_pole_is_the_dipole_at_the_pole():
    """RTP of an inclined dipole's anomaly is the anomaly that the same dipole has at the pole, to 2 % of its range."""
    found = named(magnetic_bands(dipole_anomaly(*DIRECTION), (SPACING, SPACING), DIRECTION))["reduced_to_pole"]
    expected = dipole_anomaly(90.0, 0.0)
    assert difference(found, expected) < 0.02
    assert difference(dipole_anomaly(*DIRECTION), expected) > 0.2


@pytest.mark.parametrize("margin", ["zeros", "mirrored"])
def test_upward_continuation_and_derivatives_of_a_dipole(margin):
    """The field 300 m higher and its three derivatives are those of the formula, to 1 % of their range."""
    anomaly = dipole_anomaly(*DIRECTION)
    found = named(magnetic_bands(anomaly, (SPACING, SPACING), DIRECTION, height_m=300.0, margin=margin))
    assert difference(found["upward_300m"], dipole_anomaly(*DIRECTION, height=300.0)) < 0.01
    step = 1.0
    up = (dipole_anomaly(*DIRECTION, height=step) - dipole_anomaly(*DIRECTION, height=-step)) / (2 * step)
    row_step, column_step = np.gradient(anomaly, SPACING)
    assert difference(found["derivative_up"], up) < 0.01
    assert difference(found["derivative_east"], column_step) < 0.01
    assert difference(found["derivative_north"], -row_step) < 0.01
    assert difference(found["total_gradient"], np.sqrt(up**2 + row_step**2 + column_step**2)) < 0.01


def test_pixels_that_are_not_square_give_the_same_field():
    """Every second row left out, the predictors of the rows that remain are nearly the same."""
    square = named(magnetic_bands(dipole_anomaly(*DIRECTION), (SPACING, SPACING), DIRECTION))
    anomaly = dipole_anomaly(*DIRECTION, spacing=(SPACING, 2 * SPACING), shape=(ROWS // 2, COLUMNS))
    halved = named(magnetic_bands(anomaly, (SPACING, 2 * SPACING), DIRECTION))
    for name in ("reduced_to_pole", "derivative_up", "upward_500m"):
        between_rows = (square[name][::2] + square[name][1::2]) / 2
        assert difference(halved[name], between_rows) < 0.02, name


def test_south_up_grids_are_not_mirrored(tmp_path):
    """A grid whose first row is the southernmost gives the same predictors, row for row the other way round."""
    anomaly = dipole_anomaly(*DIRECTION)
    north_up, _ = run_magnetics(write_grid(tmp_path / "n.tif", anomaly), tmp_path / "no.tif")
    bottom = 6200000.0 - ROWS * SPACING
    flipped = write_grid(tmp_path / "s.tif", anomaly[::-1], transform=(500000.0, SPACING, 0.0, bottom, 0.0, SPACING))
    south_up, _ = run_magnetics(flipped, tmp_path / "so.tif")
    for name, layer in north_up.items():
        np.testing.assert_allclose(south_up[name][::-1], layer, atol=1e-5 * np.ptp(layer), err_msg=name)


def test_holes_are_masked_again_and_do_not_reach_far(tmp_path):
    """Where the grid is missing so is every band, and 30 pixels away from a hole the bands are as without it."""
    anomaly = dipole_anomaly(*DIRECTION)
    whole, _ = run_magnetics(write_grid(tmp_path / "a.tif", anomaly), tmp_path / "ao.tif")
    holed = anomaly.copy()
    holed[30:50, 40:55] = -9999.0
    holed[60, 70] = np.nan
    found, progress = run_magnetics(write_grid(tmp_path / "b.tif", holed, nodata=-9999.0), tmp_path / "bo.tif")
    missing = np.isnan(holed) | (holed == -9999.0)
    far = np.ones(anomaly.shape, bool)
    far[:90, :100] = False
    for name, layer in found.items():
        np.testing.assert_array_equal(np.isnan(layer), missing, err_msg=name)
        if name not in ("reduced_to_pole", "tilt"):
            assert np.abs(layer - whole[name])[far].max() < 0.01 * np.ptp(whole[name]), name
    assert any("missing" in text for text in progress.messages)


def test_holes_are_filled_without_new_extremes():
    """The film over a hole stays between the values around it, and a plane's hole is nearly the plane."""
    rows, columns = np.mgrid[0:60, 0:80].astype(float)
    plane = 2.0 * rows - columns
    holed = plane.copy()
    holed[20:35, 30:50] = np.nan
    filled = fill_holes(holed)
    np.testing.assert_allclose(filled, plane, atol=0.02 * np.ptp(plane))
    edge = np.concatenate([plane[19, 29:51], plane[35, 29:51], plane[19:36, 29], plane[19:36, 50]])
    assert edge.min() - 1e-9 <= filled[20:35, 30:50].min() <= filled[20:35, 30:50].max() <= edge.max() + 1e-9


def test_directions_decide_the_kinds(tmp_path):
    """Derivatives of the total field may not be turned; those of the field reduced to the pole turn as vectors do."""
    source = write_grid(tmp_path / "a.tif", dipole_anomaly(*DIRECTION))
    run_magnetics(source, tmp_path / "total.tif")
    run_magnetics(source, tmp_path / "pole.tif", derivatives_of="reduced to the pole")
    total = {band.name: (band.unit, band.kind) for band in read_source(str(tmp_path / "total.tif")).bands}
    pole = {band.name: (band.unit, band.kind) for band in read_source(str(tmp_path / "pole.tif")).bands}
    assert total["reduced_to_pole"] == ("nT", "scalar")
    assert total["derivative_east"] == ("nT/m", "directional")
    assert pole["derivative_east"] == ("nT/m", "vector_x")
    assert pole["derivative_north"] == ("nT/m", "vector_y")
    assert pole["tilt"] == ("radian", "scalar")


def test_near_the_magnetic_equator_it_warns(tmp_path):
    """Below 20 degrees a warning offers the total gradient; below 3 the field reduced to the pole is left out."""
    source = write_grid(tmp_path / "a.tif", dipole_anomaly(10.0, 0.0))
    bands, progress = run_magnetics(source, tmp_path / "o.tif", inclination=10.0, declination=0.0)
    assert "reduced_to_pole" in bands
    assert any("total_gradient" in text for text in progress.warnings)
    bands, progress = run_magnetics(source, tmp_path / "o.tif", inclination=0.0, declination=0.0)
    assert "reduced_to_pole" not in bands
    assert any("left out" in text for text in progress.warnings)
    with pytest.raises(SettingsError, match="cannot be reduced"):
        run_magnetics(
            source, tmp_path / "o.tif", inclination=1.0, declination=0.0, derivatives_of="reduced to the pole"
        )


def test_the_igrf_gives_the_direction(tmp_path):
    """In South Australia in 2000 the field points 66.87° upwards and 8.41° east of north, as the survey's own record says."""
    # the middle of the Black Hill Norite's grid; direction from the record of its reference filter results
    transform = (905110.7 - 1000.0, SPACING, 0.0, 6149584.2 + 1000.0, 0.0, -SPACING)
    anomaly = dipole_anomaly(60.0, 0.0, shape=(40, 40))
    source = write_grid(tmp_path / "a.tif", anomaly, transform=transform, epsg=20253)
    progress = SilentProgress()
    settings = {"input": source, "output": str(tmp_path / "o.tif"), "date": "2000-01-01"}
    result = run_job("magneticpredictors", settings, progress)
    assert result["inclination"] == pytest.approx(-66.87, abs=0.005)
    assert result["declination"] == pytest.approx(8.41, abs=0.005)
    assert any("IGRF" in text for text in progress.messages)


def test_grid_north_is_not_true_north(tmp_path):
    """Far from the central meridian the convergence is told, and GRID_NORTH takes it off the declination."""
    anomaly = dipole_anomaly(60.0, 0.0, shape=(40, 40))
    source = write_grid(
        tmp_path / "a.tif", anomaly, transform=(760000.0, SPACING, 0.0, 4983950.0, 0.0, -SPACING), epsg=32632
    )
    _, progress = run_magnetics(source, tmp_path / "o.tif", inclination=60.0, declination=1.0)
    assert any("2.3° east of true north" in text for text in progress.warnings)
    _, progress = run_magnetics(source, tmp_path / "o.tif", inclination=60.0, declination=1.0, grid_north=True)
    assert any("-1.3" in text for text in progress.messages)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"inclination": 95.0}, "INCLINATION is 95"),
        ({"inclination": None, "declination": None}, "direction of the Earth's field is missing"),
        ({"declination": None}, "DECLINATION is missing"),
        ({"inclination": None, "declination": None, "date": "2000-13-01"}, "must be a date"),
        ({"inclination": None, "declination": None, "date": "1850-01-01"}, "IGRF covers 1900"),
        ({"height": -5.0}, "HEIGHT is -5"),
        ({"derivatives_of": "nothing"}, "DERIVATIVES_OF"),
        ({"band": 3}, "no band 3"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, sentence):
    """Each gives one sentence and leaves nothing behind."""
    source = write_grid(tmp_path / "a.tif", dipole_anomaly(*DIRECTION, shape=(40, 40)))
    (tmp_path / "out").mkdir()
    with pytest.raises((SettingsError, ValueError), match=sentence):
        run_magnetics(source, tmp_path / "out" / "o.tif", **settings)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (np.full((20, 20), 5.0), {}, "same value, 5"),
        (np.full((20, 20), -1.0), {"nodata": -1.0}, "all are nodata"),
        (np.full((20, 20), np.nan), {}, "all are nodata"),
        (np.random.default_rng(0).normal(size=(20, 1)), {}, "1 by 20 pixels"),
        (np.random.default_rng(0).normal(size=(20, 20)), {"epsg": None}, "no CRS"),
        (np.random.default_rng(0).normal(size=(20, 20)), {"transform": None}, "not georeferenced"),
    ],
)
def test_grids_that_cannot_be_filtered_are_refused(tmp_path, values, options, sentence):
    """Each gives one sentence and leaves nothing behind."""
    source = write_grid(tmp_path / "a.tif", values, **options)
    (tmp_path / "out").mkdir()
    with pytest.raises((GridError, SourceError), match=sentence):
        run_magnetics(source, tmp_path / "out" / "o.tif")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_crs_can_be_given_where_there_is_none(tmp_path, monkeypatch):
    """A grid without a CRS takes the one that is given, by a relative path too; one that has a CRS keeps it."""
    monkeypatch.chdir(tmp_path)
    anomaly = dipole_anomaly(*DIRECTION, shape=(40, 40))
    write_grid("a.tif", anomaly, epsg=None)
    write_grid("b.tif", anomaly, epsg=32632)
    for name in ("a", "b"):
        run_magnetics(f"{name}.tif", f"{name}_out.tif", crs="EPSG:32633")
    found = [read_source(f"{name}_out.tif").grid.spatial_reference.GetAuthorityCode(None) for name in ("a", "b")]
    assert found == ["32633", "32632"]


def test_a_grid_in_degrees_is_warped_to_metres(tmp_path):
    """Degrees are warped to the UTM zone, and it is said."""
    anomaly = dipole_anomaly(*DIRECTION, shape=(60, 60))
    source = write_grid(tmp_path / "a.tif", anomaly, transform=(138.0, 5e-4, 0.0, -33.0, 0.0, -5e-4), epsg=4326)
    _, progress = run_magnetics(source, tmp_path / "o.tif")
    assert any("degrees" in text and "UTM zone 54S" in text for text in progress.messages)
    assert not read_source(str(tmp_path / "o.tif")).grid.in_degrees


def test_a_rotated_grid_is_warped(tmp_path):
    """A grid turned by 30 degrees gives, where both have data, the bands of one that is not."""
    anomaly = dipole_anomaly(*DIRECTION)
    straight, _ = run_magnetics(write_grid(tmp_path / "a.tif", anomaly), tmp_path / "ao.tif")
    cos, sin = SPACING * np.cos(np.radians(30)), SPACING * np.sin(np.radians(30))
    middle_e, middle_n = 500000.0 + COLUMNS / 2 * SPACING, 6200000.0 - ROWS / 2 * SPACING
    corner_e = middle_e - COLUMNS / 2 * cos - ROWS / 2 * sin
    corner_n = middle_n - COLUMNS / 2 * sin + ROWS / 2 * cos
    turned = dipole_anomaly(DIRECTION.inclination, DIRECTION.declination + 30.0)  # the same dipole, seen on turned axes
    source = write_grid(tmp_path / "r.tif", turned, transform=(corner_e, cos, sin, corner_n, sin, -cos))
    found, progress = run_magnetics(source, tmp_path / "ro.tif")
    assert any("rotated" in text for text in progress.messages)
    grid = read_source(str(tmp_path / "ro.tif")).grid
    row, column = (int(v) for v in grid.pixels(middle_e, middle_n))
    half = 40
    rows = slice(ROWS // 2 - half, ROWS // 2 + half)
    columns = slice(COLUMNS // 2 - half, COLUMNS // 2 + half)
    expected = straight["reduced_to_pole"][rows, columns]
    there = found["reduced_to_pole"][row - half : row + half, column - half : column + half]
    assert np.corrcoef(expected.ravel(), there.ravel())[0, 1] > 0.99


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    """Without harmonica, the sentence says how to get it."""
    import builtins

    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "harmonica":
            raise ModuleNotFoundError("No module named 'harmonica'", name="harmonica")
        return real(name, *arguments, **options)

    import importlib

    monkeypatch.setattr(importlib, "import_module", lambda name: without(name))
    source = write_grid(tmp_path / "a.tif", dipole_anomaly(*DIRECTION, shape=(40, 40)))
    from geodl_qgis_plugin.engine.rasters import magnetics

    settings = magnetics.Settings(input=source, output=str(tmp_path / "o.tif"), inclination=60.0, declination=0.0)
    with pytest.raises(EnvironmentProblem, match="geodl:setup"):
        magnetics.run(settings, SilentProgress())


@pytest.mark.skipif(not BLACK_HILL.is_dir(), reason="no ../shared/data beside this checkout")
@pytest.mark.parametrize("source", ["blackhill_tmi_up250m_100m.tif", "bhn_tmi_250m.grd"])
def test_black_hill_norite_equals_harmonica(tmp_path, source):
    """On a real grid, GeoTIFF or Geosoft, each band is harmonica's to 2 % of its standard deviation, 40 pixels inside."""
    crs = {"crs": "EPSG:20253"} if source.endswith("grd") else {}
    found, _ = run_magnetics(BLACK_HILL / source, tmp_path / "o.tif", inclination=-66.87, declination=8.41, **crs)
    reference = gdal.Open(str(BLACK_HILL / "blackhill_harmonica_reference.tif")).ReadAsArray()
    inner = (slice(40, -40), slice(40, -40))
    names = ["reduced_to_pole", "derivative_up", "total_gradient", "tilt", "upward_500m"]
    for name, expected in zip(names, reference, strict=True):
        worst = np.abs(found[name] - expected)[inner].max() / expected.std()
        assert worst < 0.02, name
