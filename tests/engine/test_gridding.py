"""Gridding of survey points: known surfaces, nodata away from data, tables and layers alike."""

import lzma
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr, osr

from geodl_qgis_plugin.engine.errors import GeoDLError, OutputError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.sources import read_source

gdal.UseExceptions()
pytest.importorskip("verde", reason="the extra geodl[magnetics] is not installed")

GREAT_BRITAIN = Path(__file__).resolve().parents[3] / "shared" / "data" / "magnetic_great_britain"


def survey(count=6000, seed=0):
    """Return eastings, northings and a smooth field of points in a square of 10 km with an empty corner."""
    random = np.random.default_rng(seed)
    east, north = 500000.0 + 10000.0 * random.random(count), 5500000.0 + 10000.0 * random.random(count)
    keep = (east < 507000.0) | (north < 5507000.0)
    east, north = east[keep], north[keep]
    return east, north, field(east, north)


def field(east, north):
    """Return the field that the survey measured."""
    return 100.0 * np.sin((east - 500000.0) / 2000.0) * np.cos((north - 5500000.0) / 3000.0)


def write_table(path, east, north, value, names=("easting", "northing", "tmi"), separator=","):
    """Write a table, compressed if its name ends so."""
    lines = [separator.join(("line", *names))]
    lines += [
        separator.join(("L1", f"{e:.6f}", f"{n:.6f}", f"{v}")) for e, n, v in zip(east, north, value, strict=True)
    ]
    open_text = lzma.open if str(path).endswith("xz") else open
    with open_text(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    return str(path)


def write_layer(path, east, north, value, epsg=32632, geometry=ogr.wkbPoint):
    """Write a GeoPackage of points with a field tmi, empty where the value is NaN."""
    reference = None
    if epsg:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(epsg)
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = dataset.CreateLayer("points", reference, geometry)
    layer.CreateField(ogr.FieldDefn("tmi", ogr.OFTReal))
    layer.StartTransaction()
    for e, n, v in zip(east, north, value, strict=True):
        feature = ogr.Feature(layer.GetLayerDefn())
        if np.isfinite(v):
            feature.SetField("tmi", float(v))
        if geometry == ogr.wkbPoint:
            feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({e} {n})"))
        layer.CreateFeature(feature)
    layer.CommitTransaction()
    return str(path)


def run_grid(source, output, **settings):
    """Run the job; return the values (row, column), their grid, and what was said."""
    progress = SilentProgress()
    settings = {"value_field": "tmi", "spacing": 200.0} | settings
    run_job("gridpoints", {"input": str(source), "output": str(output), **settings}, progress)
    return gdal.Open(str(output)).ReadAsArray().astype(float), read_source(str(output)).grid, progress


def expected_field(grid):
    """Return the field in the middles of the pixels."""
    row, column = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    return field(*grid.coordinates(row, column))


@pytest.mark.parametrize(
    ("method", "tolerance"), [("linear", 0.05), ("cubic", 0.02), ("neighbours", 0.2), ("spline", 0.01)]
)
def test_a_smooth_field_comes_back(tmp_path, method, tolerance):
    """Each method gives the field back in the middle of the survey, and nodata in the corner without points."""
    source = write_table(tmp_path / "a.csv", *survey())
    values, grid, _ = run_grid(source, tmp_path / "o.tif", method=method, points_crs="EPSG:32632", max_distance=600.0)
    assert grid.transform[:2] == (500000.0, 200.0)
    known = np.isfinite(values)
    row, column = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    east, north = grid.coordinates(row, column)
    assert not known[(east > 508000.0) & (north > 5508000.0)].any()
    inner = (east > 501000.0) & (east < 506000.0) & (north > 5501000.0) & (north < 5509000.0)
    assert known[inner].all()
    assert np.abs(values - expected_field(grid))[inner].max() < tolerance * 200.0


def test_the_distance_to_data_is_kept(tmp_path):
    """Every pixel with data has a point within the distance, and none without is nearer than the triangles reach."""
    east, north, value = survey(400, seed=3)
    source = write_table(tmp_path / "a.csv", east, north, value)
    values, grid, _ = run_grid(
        source, tmp_path / "o.tif", points_crs="EPSG:32632", max_distance=350.0, method="neighbours"
    )
    row, column = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    x, y = grid.coordinates(row, column)
    distance = np.sqrt(((x[..., None] - east) ** 2 + (y[..., None] - north) ** 2).min(axis=-1))
    np.testing.assert_array_equal(np.isfinite(values), distance <= 350.0)


def test_a_spike_does_not_reach_the_grid(tmp_path):
    """One wild reading among many in a pixel is taken off by the median."""
    east, north, value = survey(40000, seed=1)
    value = value.copy()
    value[::200] = 1e6
    source = write_table(tmp_path / "a.csv", east, north, value)
    values, _, _ = run_grid(source, tmp_path / "o.tif", points_crs="EPSG:32632", spacing=400.0)
    assert np.nanmax(np.abs(values)) < 110.0


def test_tables_and_layers_give_the_same(tmp_path):
    """CSV, compressed CSV, a table with semicolons and other names, and a GeoPackage give the same grid."""
    points = survey(2000)
    first, grid, _ = run_grid(write_table(tmp_path / "a.csv", *points), tmp_path / "a.tif", points_crs="EPSG:32632")
    packed, _, _ = run_grid(write_table(tmp_path / "b.csv.xz", *points), tmp_path / "b.tif", points_crs="EPSG:32632")
    named = write_table(tmp_path / "c.csv", *points, names=("rechts", "hoch", "tmi"), separator=";")
    other, _, _ = run_grid(named, tmp_path / "c.tif", points_crs="EPSG:32632", x_field="rechts", y_field="hoch")
    layer, there, _ = run_grid(write_layer(tmp_path / "d.gpkg", *points), tmp_path / "d.tif")
    np.testing.assert_array_equal(first, packed)
    np.testing.assert_array_equal(first, other)
    assert grid.transform == there.transform
    np.testing.assert_allclose(first, layer, atol=1e-3)


def test_degrees_are_brought_to_metres(tmp_path):
    """Longitude and latitude are found by name, and gridded in their UTM zone, which is said."""
    east, north, value = survey(2000)
    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromEPSG(32632)
    target.ImportFromEPSG(4326)
    for reference in (source, target):
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    degrees = np.array(osr.CoordinateTransformation(source, target).TransformPoints(np.column_stack([east, north])))
    table = write_table(tmp_path / "a.csv", degrees[:, 0], degrees[:, 1], value, names=("Longitude", "Latitude", "tmi"))
    values, grid, progress = run_grid(table, tmp_path / "o.tif")
    assert any("UTM zone 32N" in text for text in progress.messages)
    expected = expected_field(grid)
    known = np.isfinite(values)
    assert np.median(np.abs(values - expected)[known]) < 2.0


def test_points_without_a_number_are_left_out(tmp_path):
    """Empty and wrong values are counted and said; the rest is gridded."""
    east, north, value = survey(2000)
    value = value.copy()
    value[:50] = np.nan
    _, _, progress = run_grid(write_layer(tmp_path / "a.gpkg", east, north, value), tmp_path / "o.tif")
    assert any("50 points" in text for text in progress.warnings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"value_field": "nt"}, "no field 'nt'. Its fields are line, easting"),
        ({"value_field": "line"}, "no point with a number in line"),
        ({"points_crs": ""}, "does not say its CRS"),
        ({"points_crs": "EPSG:999999"}, "is no CRS"),
        ({"crs": "EPSG:4326"}, "in degrees, but SPACING is in metres"),
        ({"spacing": 0.0}, "must be more than 0"),
        ({"spacing": -5.0}, "must be more than 0"),
        ({"spacing": 50000.0}, "cover only"),
        ({"spacing": 0.01}, "Give a larger SPACING"),
        ({"max_distance": -1.0}, "MAX_DISTANCE is -1"),
        ({"max_distance": 1e-3}, "larger MAX_DISTANCE"),
        ({"method": "kriging"}, "METHOD is 'kriging'"),
        ({"x_field": "rechts", "y_field": "northing"}, "no field 'rechts'"),
        ({"method": "spline", "spacing": 10.0}, "a spline takes"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, sentence):
    """Each gives one sentence and leaves nothing behind."""
    count = 20000 if settings.get("method") == "spline" else 500
    source = write_table(tmp_path / "a.csv", *survey(count))
    (tmp_path / "out").mkdir()
    with pytest.raises(GeoDLError, match=sentence):
        run_grid(source, tmp_path / "out" / "o.tif", **{"points_crs": "EPSG:32632"} | settings)
    assert list((tmp_path / "out").iterdir()) == []


def test_points_on_a_line_are_refused(tmp_path):
    """Points along one line make no triangles; the sentence says what does."""
    east = np.linspace(500000.0, 510000.0, 200)
    source = write_table(tmp_path / "a.csv", east, np.full(200, 5500000.0), np.arange(200.0))
    with pytest.raises(GeoDLError, match="neighbours"):
        run_grid(source, tmp_path / "o.tif", points_crs="EPSG:32632")
    values, _, _ = run_grid(source, tmp_path / "o.tif", points_crs="EPSG:32632", method="neighbours")
    assert np.isfinite(values).any()


def test_sources_that_are_no_points_are_refused(tmp_path):
    """A missing file, a broken one, polygons, a layer without CRS: one sentence each."""
    with pytest.raises(GeoDLError, match="does not exist"):
        run_grid(tmp_path / "none.csv", tmp_path / "o.tif")
    (tmp_path / "broken.gpkg").write_bytes(b"nothing")
    with pytest.raises(GeoDLError, match="neither a point layer"):
        run_grid(tmp_path / "broken.gpkg", tmp_path / "o.tif")
    with pytest.raises(GeoDLError, match="polygons, but points"):
        run_grid(write_layer(tmp_path / "p.gpkg", [0], [0], [1.0], geometry=ogr.wkbPolygon), tmp_path / "o.tif")
    with pytest.raises(GeoDLError, match="no CRS"):
        run_grid(write_layer(tmp_path / "n.gpkg", *survey(50), epsg=None), tmp_path / "o.tif")
    with pytest.raises(GeoDLError, match="in degrees, but its coordinates"):
        run_grid(write_layer(tmp_path / "w.gpkg", *survey(50), epsg=4326), tmp_path / "o.tif")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(GeoDLError, match="cannot be read"):
        run_grid(tmp_path / "empty.csv", tmp_path / "o.tif")


def test_an_output_that_cannot_be_written_is_refused_first(tmp_path):
    """A file where the folder should be: one sentence, before the points are read."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run_grid(tmp_path / "none.csv", tmp_path / "file" / "o.tif")


@pytest.mark.skipif(not GREAT_BRITAIN.is_dir(), reason="no ../shared/data beside this checkout")
def test_great_britain_equals_its_published_grid(tmp_path):
    """541,508 points give the grid that was made from them elsewhere: the same pixels, half of them to 0.05 nT."""
    values, grid, _ = run_grid(
        GREAT_BRITAIN / "britain-magnetic.csv.xz",
        tmp_path / "o.tif",
        value_field="total_field_anomaly_nt",
        spacing=1000.0,
        crs="EPSG:27700",
    )
    reference = gdal.Open(str(GREAT_BRITAIN / "gb_tfa_1km.tif"))
    expected = reference.ReadAsArray().astype(float)
    expected[expected == -99999.0] = np.nan
    east, north = reference.GetGeoTransform()[0], reference.GetGeoTransform()[3]
    row, column = (round(float(v)) for v in grid.pixels(east, north))
    there = values[row : row + expected.shape[0], column : column + expected.shape[1]]
    expected = expected[: there.shape[0], : there.shape[1]]
    both = np.isfinite(there) & np.isfinite(expected)
    assert (np.isfinite(there) != np.isfinite(expected)).mean() < 0.001
    assert np.median(np.abs(there - expected)[both]) < 0.05
    assert np.sqrt(np.mean((there - expected)[both] ** 2)) < 1.0
