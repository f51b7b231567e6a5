"""Labels land on the pixels they lie on, and keep codes, names and colours."""

import numpy as np
import pytest
from osgeo import gdal, ogr

from geodl_qgis_plugin.engine.errors import LabelsError, SettingsError, SourceError
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.training_data.labels import LabelOptions, open_labels

from .planted import grids, middles, reference, write_polygons, write_raster

UTM = reference(26912).ExportToWkt()
TENTH = 0.1


def read(paths, grid, **options):
    labels = open_labels([str(path) for path in paths], grid, LabelOptions(**options))
    return labels, labels.read(Window(0, 0, grid.height, grid.width), count_overlaps=True)


def pixel_in(grid, code):
    """Return the longer side of a pixel in units of another CRS."""
    east, north = middles(grid, code)
    return max(np.hypot(np.diff(east, axis=axis), np.diff(north, axis=axis)).max() for axis in (0, 1))


@pytest.mark.parametrize("code", [26912, 4326, 3857])
@pytest.mark.parametrize("name", grids())
def test_a_polygon_covers_the_pixels_whose_middle_it_holds(tmp_path, name, code):
    """On rotated, south-up, degree and non-square grids and in another CRS, right to a tenth of a pixel."""
    grid = grids()[name]
    east, north = middles(grid, code)
    # a band from corner to corner of the ground, with oblique edges, in the polygons' own CRS
    (x0, x1), (y0, y1) = np.percentile(east, (20, 80)), np.percentile(north, (20, 80))
    width, height = x1 - x0, y1 - y0
    corners = [(x0, y0), (x1, y0 + 0.2 * height), (x1 - 0.1 * width, y1), (x0 + 0.3 * width, y1 - 0.1 * height)]
    ring = ", ".join(f"{float(x)!r} {float(y)!r}" for x, y in [*corners, corners[0]])
    path = write_polygons(tmp_path / "shape.gpkg", [(f"POLYGON (({ring}))", "a")], code)
    _, got = read([path], grid, class_field="kind")
    distance = np.full(east.shape, np.inf)  # to the nearest edge; positive inside
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]]):
        across = ((bx - ax) * (north - ay) - (by - ay) * (east - ax)) / np.hypot(bx - ax, by - ay)
        distance = np.minimum(distance, across)
    clear = np.abs(distance) > TENTH * pixel_in(grid, code)
    assert (got[clear] > 0).sum() > 500
    np.testing.assert_array_equal(got[clear] > 0, distance[clear] > 0)


@pytest.mark.parametrize("name", grids())
def test_a_label_raster_gives_each_pixel_the_code_at_its_middle(tmp_path, name):
    """A pattern of codes in UTM with non-square pixels, right to a tenth of a pixel on every kind of grid."""
    grid = grids()[name]
    ground = Grid(UTM, (316000.3, 53.7, 0, 4134000.9, 0, -31.1), 130, 210)
    codes = np.random.default_rng(0).integers(1, 200, (ground.height, ground.width)).astype(np.uint8)
    path = write_raster(tmp_path / "codes.tif", codes, ground, nodata=0)
    labels, got = read([path], grid)
    rows, columns = ground.pixels(*middles(grid, 26912))
    off = np.minimum(np.abs(rows - np.round(rows)), np.abs(columns - np.round(columns)))
    clear = off > TENTH
    expected = codes[np.floor(rows).astype(int), np.floor(columns).astype(int)]
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(got[clear], expected[clear])
    assert all(c.name == str(c.code) for c in labels.classes)


@pytest.mark.parametrize("name", grids())
def test_a_point_labels_the_pixel_that_it_lies_in(tmp_path, name):
    """One pixel a point, whichever way the grid runs."""
    grid = grids()[name]
    rows, columns = np.array([3.2, 40.9, 20.5]), np.array([7.9, 50.1, 0.5])
    eastings, northings = grid.coordinates(rows, columns)
    code = 4326 if grid.in_degrees else 26912
    points = [(f"POINT ({float(x)!r} {float(y)!r})", f"p{i}") for i, (x, y) in enumerate(zip(eastings, northings))]
    _, got = read([write_polygons(tmp_path / "points.gpkg", points, code)], grid, class_field="kind")
    assert (got > 0).sum() == 3
    assert [got[int(row), int(column)] for row, column in zip(rows, columns)] == [1, 2, 3]


def test_lines_have_the_width_that_is_asked_for(tmp_path):
    """A line of 300 m with a width of 120 m covers 4 pixels across."""
    grid = grids()["plain"]
    line = [("LINESTRING (318600 4131000, 318900 4131000)", "fault")]
    path = write_polygons(tmp_path / "line.gpkg", line, 26912)
    _, got = read([path], grid, class_field="kind", width=120.0)
    assert set((got[:, 24] > 0).nonzero()[0]) == {31, 32, 33, 34} or (got[:, 24] > 0).sum() == 4
    _, thin = read([path], grid, class_field="kind")
    assert (thin[:, 24] > 0).sum() == 1


def test_the_smaller_of_overlapping_features_counts_and_it_is_told(tmp_path):
    """A dyke lies on its host rock, whatever the order in the file; or both are left out."""
    grid = grids()["plain"]
    dyke = ("POLYGON ((318300 4131100, 318900 4131100, 318900 4131400, 318300 4131400, 318300 4131100))", "dyke")
    host = ("POLYGON ((318000 4130500, 319500 4130500, 319500 4131800, 318000 4131800, 318000 4130500))", "host")
    for i, shapes in enumerate(([dyke, host], [host, dyke])):
        path = write_polygons(tmp_path / f"{i}.gpkg", shapes, 26912)
        labels, got = read([path], grid, class_field="kind")
        assert (got == 1).sum() == 20 * 10  # dyke
        assert labels.overlapping_pixels == 20 * 10
        _, without = read([path], grid, class_field="kind", overlap="leave out")
        assert (without == 1).sum() == 0
        np.testing.assert_array_equal(without == 2, got == 2)


def test_a_belt_along_contacts_is_left_out(tmp_path):
    """Every pixel whose middle lies within 100 m of the contact, and none beyond; outer edges are no contacts."""
    grid = grids()["plain"]
    left = ("POLYGON ((318000 4129900, 319050 4129900, 319050 4132000, 318000 4132000, 318000 4129900))", "a")
    right = ("POLYGON ((319050 4129900, 320100 4129900, 320100 4132000, 319050 4132000, 319050 4129900))", "b")
    path = write_polygons(tmp_path / "two.gpkg", [left, right], 26912)
    _, got = read([path], grid, class_field="kind", belt=100.0)
    east, _ = middles(grid, 26912)
    np.testing.assert_array_equal(got == 0, (np.abs(east - 319050) <= 100) | (east > 320100))
    labels = open_labels([path], grid, LabelOptions(class_field="kind", belt=100.0))
    np.testing.assert_array_equal(labels.read(Window(11, 28, 9, 13)), got[11:20, 28:41])


def test_integer_fields_keep_their_codes_and_zero_gets_one(tmp_path):
    """0 is unlabelled in every raster of GeoDL, so a class 0 gets the next free code and keeps its name."""
    grid = grids()["plain"]
    shapes = [("POINT (318100 4131900)", 0), ("POINT (318400 4131900)", 7), ("POINT (318700 4131900)", 3)]
    path = write_polygons(tmp_path / "points.gpkg", shapes, 26912, field_type=ogr.OFTInteger)
    labels, got = read([path], grid, class_field="kind")
    assert [(c.code, c.name) for c in labels.classes] == [(3, "3"), (7, "7"), (8, "0")]
    assert sorted(np.unique(got)) == [0, 3, 7, 8]


def test_classes_of_the_style_decide_names_colours_and_what_is_left_out(tmp_path):
    """Values without a category are no class; two values with one code become one class; 3 and 3.0 are the same."""
    grid = grids()["plain"]
    shapes = [(f"POINT ({318100 + 100 * i} 4131900)", value) for i, value in enumerate((1, 2, 3, 4))]
    path = write_polygons(tmp_path / "points.gpkg", shapes, 26912, field_type=ogr.OFTInteger)
    classes = (
        {"value": 1, "code": 5, "name": "sand", "colour": "#ffee00"},
        {"value": 2, "code": 5},
        {"value": 3.0, "code": 9, "name": "clay", "colour": "#884400"},
    )
    labels, got = read([path], grid, class_field="kind", classes=classes)
    assert [(c.code, c.name, c.colour) for c in labels.classes] == [(5, "sand", "#ffee00"), (9, "clay", "#884400")]
    assert np.bincount(got.ravel())[[5, 9]].tolist() == [2, 1]
    assert "4" in labels.left_out[0]


def test_a_raster_tells_names_and_colours_by_palette_and_table(tmp_path):
    """The colour table gives colours; an attribute table gives names."""
    grid = grids()["plain"]
    codes = np.ones((grid.height, grid.width), np.uint8)
    codes[:, 50:] = 4
    path = tmp_path / "codes.tif"
    write_raster(path, codes, grid, palette={1: (255, 0, 0), 4: (0, 0, 255)})
    table = gdal.RasterAttributeTable()
    table.CreateColumn("Value", gdal.GFT_Integer, gdal.GFU_MinMax)
    table.CreateColumn("Rock", gdal.GFT_String, gdal.GFU_Name)
    for i, (code, name) in enumerate(((1, "granite"), (4, "gabbro"))):
        table.SetValueAsInt(i, 0, code)
        table.SetValueAsString(i, 1, name)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetDefaultRAT(table)
    dataset = None
    labels, _ = read([path], grid)
    found = [(c.code, c.name, c.colour) for c in labels.classes]
    assert found == [(1, "granite", "#ff0000"), (4, "gabbro", "#0000ff")]
    drawn = ({"value": 1.0, "name": "1", "colour": "#00ff00"}, {"value": 4.0, "name": "dark rock", "colour": "#0000ff"})
    labels, _ = read([path], grid, classes=drawn)
    assert [(c.code, c.name, c.colour) for c in labels.classes] == [
        (1, "granite", "#00ff00"),
        (4, "dark rock", "#0000ff"),
    ]


def test_the_first_of_several_layers_lies_on_top(tmp_path):
    """Points mapped in the field above a polygon map."""
    grid = grids()["plain"]
    host = ("POLYGON ((318000 4130500, 319500 4130500, 319500 4131800, 318000 4131800, 318000 4130500))", "host")
    field = write_polygons(tmp_path / "field.gpkg", [("POINT (318105 4131105)", "dyke")], 26912)
    polygons = write_polygons(tmp_path / "map.gpkg", [host], 26912)
    labels, got = read([field, polygons], grid, class_field="kind")
    assert [c.name for c in labels.classes] == ["dyke", "host"]
    assert (got == 1).sum() == 1
    _, covered = read([polygons, field], grid, class_field="kind")
    assert (covered == 1).sum() == 0


def test_small_classes_are_left_out_or_merged(tmp_path):
    """What is below the smallest size goes, and it is told."""
    grid = grids()["plain"]
    codes = np.full((grid.height, grid.width), 3, np.uint8)
    codes[0, :5], codes[1, :4] = 1, 2
    path = write_raster(tmp_path / "codes.tif", codes, grid)
    counts = {1: 5, 2: 4, 3: codes.size - 9}
    labels, _ = read([path], grid)
    labels.shrink(counts, 10, "leave out")
    assert [c.code for c in labels.classes] == [3]
    assert (labels.read(Window(0, 0, 2, 5)) == 0).sum() == 9
    labels, _ = read([path], grid)
    labels.shrink(counts, 10, "merge")
    assert [c.name for c in labels.classes] == ["3", "other classes"]
    assert (labels.read(Window(0, 0, 2, 5)) == 65535).sum() == 9


def test_labels_that_teach_nothing_are_refused(tmp_path):
    """No feature on the raster, an empty or missing field, a measurement, no layer: one sentence each."""
    grid = grids()["plain"]
    away = write_polygons(tmp_path / "away.gpkg", [("POINT (518100 4131900)", "a")], 26912)
    empty = write_polygons(tmp_path / "empty.gpkg", [("POINT (318100 4131900)", None)], 26912)
    heights = np.random.default_rng(0).normal(size=(grid.height, grid.width)).astype(np.float32)
    nothing = write_raster(tmp_path / "nothing.tif", np.zeros((grid.height, grid.width), np.uint8), grid)
    (tmp_path / "text.gpkg").write_text("no layer")
    for path, field, error, words in (
        (away, "kind", LabelsError, "no feature inside the raster"),
        (empty, "kind", LabelsError, "is empty in all 1 features"),
        (empty, "", LabelsError, "CLASS_FIELD is not set"),
        (empty, "rock", LabelsError, "no field rock"),
        (write_raster(tmp_path / "heights.tif", heights, grid), "", LabelsError, "fractions"),
        (nothing, "", LabelsError, "no labelled pixel"),
        (tmp_path / "none.gpkg", "kind", SourceError, "do not exist"),
        (tmp_path / "text.gpkg", "kind", SourceError, "no vector layer"),
    ):
        with pytest.raises(error, match=words):
            read([path], grid, class_field=field)
    with pytest.raises(SettingsError, match="LABELS is missing"):
        open_labels([], grid, LabelOptions())
