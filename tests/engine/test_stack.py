"""Any rasters are read as one stack on one grid, and every pixel lands where it lies."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import gdal

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.errors import BandMismatchError, GridError, SettingsError, SourceError
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.sources import guess_kind
from geodl_qgis_plugin.engine.rasters.stack import open_stack

from .planted import grids, middles, reference, write_raster

UTM = reference(26912).ExportToWkt()
GROUND = Grid(UTM, (316000, 50, 0, 4134000, 0, -50), 140, 130)  # wider than all of `grids`


def whole(stack):
    return stack.read(Window(0, 0, stack.grid.height, stack.grid.width))


@pytest.mark.parametrize("name", grids())
def test_a_warped_plane_has_at_every_pixel_the_height_of_its_middle(tmp_path, name):
    """A plane in UTM, warped to a rotated, south-up, degree or non-square grid, is right to a twentieth of a pixel."""
    grid = grids()[name]
    eastings, northings = middles(GROUND, 26912)
    path = write_raster(tmp_path / "plane.tif", np.array([eastings - 316000, northings - 4127000]), GROUND)
    target = write_raster(tmp_path / "target.tif", np.zeros((grid.height, grid.width), np.uint8), grid)
    values = whole(open_stack([target, path]))
    east, north = middles(grid, 26912)
    assert np.abs(values[1] + 316000 - east).max() < 50 / 20
    assert np.abs(values[2] + 4127000 - north).max() < 50 / 20


def test_bands_come_in_the_order_that_is_asked_for(tmp_path):
    """Values follow their names, also where bands of two rasters are taken in turn."""
    grid = grids()["plain"]
    flat = np.ones((2, grid.height, grid.width), np.float32) * np.array([[[1]], [[2]]], np.float32)
    paths = [write_raster(tmp_path / f"{name}.tif", flat + more, grid) for name, more in (("a", 0), ("b", 10))]
    stack = open_stack(paths).chosen([2, 1, 3, 0])
    assert [band.name for band in stack.bands] == ["b 1", "a 2", "b 2", "a 1"]
    assert whole(stack)[:, 0, 0].tolist() == [11, 2, 12, 1]


@pytest.mark.parametrize("where", ["plain", "rotated"])
def test_values_that_are_said_to_be_missing_are_nodata(tmp_path, where):
    """Read straight or warped, beside the raster's own nodata, and without a trace of the code in what is interpolated."""
    grid, other = grids()["plain"], grids()[where]
    values = np.random.default_rng(0).normal(5, 1, (2, grid.height, grid.width)).astype(np.float32)
    values[0, 5:20, 5:20], values[0, 30:40], values[1, 50:60] = -32768, -1, -9999
    path = write_raster(tmp_path / "a.tif", values, grid, nodata=-1)
    target = write_raster(tmp_path / "target.tif", np.zeros((other.height, other.width), np.uint8), other)
    read = whole(open_stack([target, f"{path}|nodata=-32768,-9999"]))[1:]
    by_hand = np.where((values == -32768) | (values == -9999), -1, values)
    declared = write_raster(tmp_path / "b.tif", by_hand, grid, nodata=-1)
    np.testing.assert_array_equal(read, whole(open_stack([target, declared]))[1:])
    assert np.isnan(read).any()
    assert np.nanmin(read) > 0
    described = open_stack([path], bands=[{"missing": [-32768]}, {"missing": [-9999]}])
    np.testing.assert_array_equal(np.isnan(whole(described)), by_hand == -1)


@pytest.mark.parametrize("name", grids())
def test_a_raster_on_its_own_grid_is_read_as_it_stands(tmp_path, name):
    """Rotated, south-up and degree grids included."""
    grid = grids()[name]
    values = np.random.default_rng(0).normal(size=(2, grid.height, grid.width)).astype(np.float32)
    path = write_raster(tmp_path / "a.tif", values, grid)
    np.testing.assert_array_equal(whole(open_stack([path])), values)


def test_nodata_that_is_no_number_is_refused(tmp_path):
    """With a sentence that shows how it is written."""
    grid = grids()["plain"]
    path = write_raster(tmp_path / "a.tif", np.ones((grid.height, grid.width), np.float32), grid)
    with pytest.raises(SettingsError, match=r"such as `\|nodata=-9999,-32768`"):
        open_stack([f"{path}|nodata=none"])


def test_grids_that_differ_by_less_than_a_hundredth_of_a_pixel_are_the_same(tmp_path):
    """Values are not resampled for a rounding error of the corner; for a tenth of a pixel they are."""
    grid = grids()["plain"]
    values = np.random.default_rng(0).normal(size=(grid.height, grid.width)).astype(np.float32)
    t = grid.transform
    first = write_raster(tmp_path / "first.tif", values, grid)
    for shift, same in ((0.005, True), (0.1, False)):
        moved = Grid(grid.crs, (t[0] + shift * t[1], *t[1:]), grid.width, grid.height)
        other = write_raster(tmp_path / f"moved{shift}.tif", values, moved)
        assert np.array_equal(whole(open_stack([first, other]))[1], values) == same


def test_a_raster_that_starts_whole_pixels_away_is_read_straight(tmp_path):
    """What it does not cover is nodata; nothing is resampled."""
    grid = grids()["rotated"]
    values = np.random.default_rng(0).normal(size=(grid.height, grid.width)).astype(np.float32)
    part = write_raster(tmp_path / "part.tif", values[10:40, 20:70], grid.part(Window(10, 20, 30, 50)))
    first = write_raster(tmp_path / "first.tif", values, grid)
    got = whole(open_stack([first, part]))[1]
    np.testing.assert_array_equal(got[10:40, 20:70], values[10:40, 20:70])
    assert np.isnan(got).sum() == got.size - 30 * 50


@settings(max_examples=25, deadline=None)
@given(st.integers(-20, 80), st.integers(-20, 100), st.integers(1, 60), st.integers(1, 60))
def test_a_window_has_the_values_of_the_whole(warped_pair, row, column, height, width):
    """However the raster is parted, warped values are the same to the last bit, also beyond the edge."""
    stack, everything = warped_pair
    padded = np.pad(everything, ((0, 0), (200, 200), (200, 200)), constant_values=np.nan)
    expected = padded[:, row + 200 : row + 200 + height, column + 200 : column + 200 + width]
    np.testing.assert_array_equal(stack.read(Window(row, column, height, width)), expected)


@pytest.fixture(scope="module")
def warped_pair(tmp_path_factory):
    """Return a stack of a raster on the grid, one warped bilinearly and one averaged, and all its values."""
    folder = tmp_path_factory.mktemp("pair")
    generator = np.random.default_rng(1)
    grid = grids()["degrees"]
    first = write_raster(folder / "a.tif", generator.normal(size=(2, grid.height, grid.width)).astype(np.float32), grid)
    rough = generator.normal(size=(GROUND.height, GROUND.width)).astype(np.float32)
    rough[30:40, 30:60] = np.nan
    second = write_raster(folder / "b.tif", rough, GROUND)
    fine = Grid(UTM, (317000, 7, 0, 4133000, 0, -7), 600, 500)
    third = write_raster(folder / "c.tif", generator.normal(size=(500, 600)).astype(np.float32), fine)
    stack = open_stack([first, second, third])
    return stack, whole(stack)


def test_what_is_much_finer_is_averaged(tmp_path):
    """The mean over a coarse pixel, not one fine pixel of it."""
    coarse = Grid(UTM, (318000, 100, 0, 4132000, 0, -100), 8, 6)
    fine = Grid(UTM, (318000, 10, 0, 4132000, 0, -10), 80, 60)
    values = np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32)
    first = write_raster(tmp_path / "coarse.tif", np.zeros((6, 8), np.float32), coarse)
    got = whole(open_stack([first, write_raster(tmp_path / "fine.tif", values, fine)]))[1]
    np.testing.assert_allclose(got, values.reshape(6, 10, 8, 10).mean((1, 3)), atol=1e-5)


def test_classes_and_azimuths_are_not_mixed(tmp_path):
    """A palette and an aspect come out with values that went in."""
    values = np.where(np.arange(GROUND.width) % 2, 1, 9).astype(np.uint8) * np.ones((GROUND.height, 1), np.uint8)
    palette = write_raster(tmp_path / "classes.tif", values, GROUND, palette={1: (255, 0, 0), 9: (0, 0, 255)})
    aspect = write_raster(tmp_path / "aspect.tif", np.where(values == 1, 1.0, 359.0).astype(np.float32), GROUND)
    grid = grids()["degrees"]
    first = write_raster(tmp_path / "first.tif", np.zeros((grid.height, grid.width), np.uint8), grid)
    stack = open_stack([first, palette, aspect])
    assert stack.bands[2].kind == "azimuth"
    got = whole(stack)
    assert set(np.unique(got[1])) == {1, 9}
    assert set(np.unique(got[2])) == {1, 359}


@pytest.mark.parametrize("warped", [False, True])
def test_nodata_nan_and_mask_are_missing(tmp_path, warped):
    """A nodata value, NaN, infinity and a mask band at once; scale and offset apply to the rest."""
    grid = grids()["plain"]
    values = np.full((grid.height, grid.width), 5, np.float32)
    values[:20, :20], values[:20, 40:60], values[50:, :20] = -9999, np.nan, np.inf
    path = tmp_path / "a.tif"
    write_raster(path, values, grid, nodata=-9999)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(2)
    dataset.GetRasterBand(1).SetOffset(1)
    dataset = None
    other = tmp_path / "b.tif"
    write_raster(other, np.full((2, grid.height, grid.width), 7, np.uint8), grid)
    dataset = gdal.Open(str(other), gdal.GA_Update)
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    mask = np.full((grid.height, grid.width), 255, np.uint8)
    mask[:30] = 0
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(mask)
    dataset = None
    target = grids()["rotated"] if warped else grid
    first = write_raster(tmp_path / "first.tif", np.zeros((target.height, target.width), np.uint8), target)
    got = whole(open_stack([first, str(path), str(other)]))
    assert set(np.unique(got[1][np.isfinite(got[1])])) == {11}
    assert set(np.unique(got[2][np.isfinite(got[2])])) == {7}
    if not warped:
        missing = ~np.isfinite(values) | (values == -9999)
        np.testing.assert_array_equal(np.isnan(got[1]), missing)
        np.testing.assert_array_equal(np.isnan(got[2]), mask == 0)
    else:
        assert np.isnan(got[1]).any()
        assert np.isnan(got[2]).any()


@pytest.mark.parametrize(
    ("kind", "nodata", "values"),
    [
        (np.uint8, 7, (0, 7, 255)),
        (np.uint8, 300, (0, 44, 255)),  # 44 is 300 in a byte
        (np.uint8, -1, (0, 1, 255)),
        (np.uint8, 7.5, (7, 8, 0)),
        (np.int16, -32768, (-32768, 0, 32767)),
        (np.int16, 32767, (-32768, 0, 32767)),
        (np.int16, 65535, (-1, 0, 1)),
        (np.uint16, 65535, (0, 65535, 255)),
    ],
)
def test_small_integers_and_their_nodata(tmp_path, kind, nodata, values):
    """They are read as they are stored; a nodata value that they cannot have hides none of them, nor does scaling it."""
    stored = np.resize(np.array(values, kind), (2, 9, 7))
    path = write_raster(tmp_path / "a.tif", stored, Grid(UTM, (0, 10, 0, 0, 0, -10), 7, 9))
    virtual = gdal.Translate(str(tmp_path / "a.vrt"), str(path), format="VRT")
    for band in (1, 2):
        virtual.GetRasterBand(band).SetNoDataValue(nodata)
    del virtual
    wanted = np.where(stored == nodata, np.nan, stored.astype(np.float32))
    np.testing.assert_array_equal(whole(open_stack([tmp_path / "a.vrt"])), wanted)
    scaled = gdal.Open(str(tmp_path / "a.vrt"), gdal.GA_Update)
    scaled.GetRasterBand(2).SetScale(0.5)
    scaled.GetRasterBand(2).SetOffset(-3.0)
    del scaled
    wanted[1] = wanted[1] * 0.5 - 3
    np.testing.assert_array_equal(whole(open_stack([tmp_path / "a.vrt"])), wanted)


def test_an_alpha_band_is_a_mask_and_no_predictor(tmp_path):
    """RGBA has three bands."""
    grid = grids()["plain"]
    values = np.full((4, grid.height, grid.width), 9, np.uint8)
    values[3] = 255
    values[3, :10] = 0
    path = tmp_path / "rgba.tif"
    write_raster(path, values, grid)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(4).SetColorInterpretation(gdal.GCI_AlphaBand)
    dataset = None
    got = whole(open_stack([path]))
    assert got.shape[0] == 3
    assert np.isnan(got[:, :10]).all()
    assert (got[:, 10:] == 9).all()


def test_three_hundred_bands_and_chosen_ones(tmp_path):
    """`|bands=` chooses in the order given; all 300 are read otherwise."""
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 20, 10)
    values = np.arange(300)[:, None, None] + np.zeros((300, 10, 20), np.float32)
    path = write_raster(tmp_path / "many.tif", values.astype(np.float32), grid)
    np.testing.assert_array_equal(whole(open_stack([path]))[:, 0, 0], np.arange(300))
    np.testing.assert_array_equal(whole(open_stack([f"{path}|bands=300,7"]))[:, 0, 0], [299, 6])


def test_bands_are_named_and_can_be_described_anew(tmp_path):
    """Names come from the raster; a description replaces name, unit or kind; equal names are told apart."""
    grid = grids()["plain"]
    shape = (2, grid.height, grid.width)
    a = write_raster(tmp_path / "a.tif", np.zeros(shape, np.float32), grid, names=["slope", "hillshade"])
    b = write_raster(tmp_path / "b.tif", np.zeros(shape, np.float32), grid, names=["slope", ""])
    assert [band.name for band in open_stack([a, b]).bands] == ["a slope", "hillshade", "b slope", "b 2"]
    assert open_stack([a]).bands[1].kind == "directional"
    given = [{"name": "steepness", "unit": "°"}, {"kind": "scalar"}]
    assert open_stack([a], bands=given).bands == [Band("steepness", "°"), Band("hillshade", "", "scalar")]
    with pytest.raises(BandMismatchError, match="the rasters have 2"):
        open_stack([a], bands=[{"name": "x"}])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Aspect", "azimuth"),
        ("sine of aspect", "vector_x"),
        ("cos_aspect", "vector_y"),
        ("hillshade 315", "directional"),
        ("multidirectional hillshade", "scalar"),
        ("TMI", "directional"),
        ("TMI RTP", "scalar"),
        ("mag_nT", "directional"),
        ("easting derivative", "vector_x"),
        ("slope", "scalar"),
        ("elevation", "scalar"),
        ("magnesium", "scalar"),
    ],
)
def test_kinds_are_guessed_from_names(name, kind):
    """Where the raster does not tell."""
    assert guess_kind(name) == kind


def test_a_stack_survives_pickling_and_reopening(tmp_path):
    """Another process or thread reads the same values with handles of its own."""
    grid = grids()["rotated"]
    values = np.random.default_rng(0).normal(size=(grid.height, grid.width)).astype(np.float32)
    stack = open_stack([write_raster(tmp_path / "a.tif", values, grid)])
    whole(stack)
    sent = pickle.loads(pickle.dumps(stack))  # noqa: S301 - our own
    np.testing.assert_array_equal(whole(sent)[0], values)
    np.testing.assert_array_equal(whole(stack.reopen())[0], values)


def test_what_cannot_be_read_is_named(tmp_path):
    """Missing, no raster, no CRS, complex, elsewhere, no such band: one sentence each, before any work."""
    grid = grids()["plain"]
    good = write_raster(tmp_path / "good.tif", np.zeros((grid.height, grid.width), np.float32), grid)
    (tmp_path / "text.tif").write_text("no raster")
    complex_values = np.zeros((grid.height, grid.width), np.complex64)
    bare = write_raster(tmp_path / "bare.tif", np.zeros((5, 5), np.uint8), Grid("", grid.transform, 5, 5))
    away = Grid(UTM, (518000, 30, 0, 4132000, 0, -30), 20, 10)
    for path, error, words in (
        (tmp_path / "none.tif", SourceError, "does not exist"),
        (tmp_path / "text.tif", SourceError, "is no raster"),
        (write_raster(tmp_path / "complex.tif", complex_values, grid), SourceError, "complex numbers"),
        (bare, GridError, "no CRS"),
        (write_raster(tmp_path / "away.tif", np.zeros((10, 20), np.uint8), away), GridError, "does not overlap"),
        (f"{good}|bands=2", BandMismatchError, "no band 2"),
    ):
        with pytest.raises(error, match=words):
            open_stack([good, path])


def test_a_raster_cut_short_is_named(tmp_path):
    """GDAL's error becomes a sentence with the file's name."""
    grid = Grid(UTM, (318000, 30, 0, 4132000, 0, -30), 300, 300)
    path = tmp_path / "short.tif"
    write_raster(path, np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32), grid)
    data = path.read_bytes()
    stack = open_stack([path])
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"short\.tif"):
        whole(stack.reopen())
