"""Maps that are written: the same values come back, with names, colours and overviews, whole or not at all."""

import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from osgeo import gdal, osr

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classes import LandClass, classes_from_names
from geodl_qgis_plugin.engine.errors import Cancelled, OutputError
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.writer import class_map, value_map


def _grid(height, width):
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32616)
    return Grid(crs.ExportToWkt(), (700_000.0, 90.0, 0.0, 4_060_000.0, 0.0, -90.0), width, height)


def _write_shuffled(writer, array, size, seed=0):
    rows, columns = array.shape[-2:]
    corners = [(row, column) for row in range(0, rows, size) for column in range(0, columns, size)]
    np.random.default_rng(seed).shuffle(corners)
    for row, column in corners:
        part = array[..., row : row + size, column : column + size]
        writer.write(Window(row, column, *part.shape[-2:]), part)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 700), st.integers(1, 700), st.integers(37, 300), st.integers(0, 99))
def test_classes_come_back(tmp_path, height, width, size, seed):
    """Windows of any size in any order, beside the blocks or across them, give the array that they were cut from."""
    codes = np.random.default_rng(seed).integers(0, 4, (height, width)).astype(np.uint8)
    with class_map(tmp_path / "map.tif", _grid(height, width), classes_from_names("abc")) as writer:
        _write_shuffled(writer, codes, size, seed)
    dataset = gdal.Open(str(tmp_path / "map.tif"))
    np.testing.assert_array_equal(dataset.ReadAsArray(), codes)
    assert Grid.of(dataset).same_as(_grid(height, width))


def test_a_class_map_tells_what_it_is(tmp_path):
    """Colour table, names, attribute table, nodata, band name, metadata, layout and overviews are in the file."""
    classes = [LandClass(2, "granite", "#ff8000"), LandClass(7, 'schist "grey" & <blue>', "#102030")]
    codes = np.full((1500, 1300), 2, np.uint8)
    codes[:, 900:] = 7
    path = tmp_path / "map [1].tif"
    with class_map(path, _grid(*codes.shape), classes, band_name="rock", metadata={"GEODL_MODEL": "a.geodl"}) as writer:
        _write_shuffled(writer, codes, 512)
    assert _names(tmp_path) == ["map [1].qml", "map [1].tif", "map [1].tif.aux.xml"]
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    assert dataset.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE") == "COG"
    assert dataset.GetMetadataItem("GEODL_MODEL") == "a.geodl"
    assert (band.GetDescription(), band.GetNoDataValue(), band.DataType) == ("rock", 0, gdal.GDT_Byte)
    assert band.GetColorTable().GetColorEntry(2) == (255, 128, 0, 255)
    assert band.GetCategoryNames()[7] == classes[1].name
    table = band.GetDefaultRAT()
    assert [table.GetValueAsString(row, 1) for row in range(2)] == [one.name for one in classes]
    assert table.GetValueAsInt(1, 0) == 7
    assert band.GetOverviewCount() >= 1
    assert set(np.unique(band.GetOverview(0).ReadAsArray())) == {2, 7}  # the most frequent, never a mean such as 4


def test_codes_above_255_take_16_bits(tmp_path):
    """Codes beyond a byte are kept, with colours and names in the attribute table."""
    classes = [LandClass(3, "a", "#112233"), LandClass(60_001, "b", "#445566")]
    codes = np.array([[0, 3], [60_001, 3]], np.uint16)
    with class_map(tmp_path / "map.tif", _grid(2, 2), classes) as writer:
        writer.write(Window(0, 0, 2, 2), codes)
    dataset = gdal.Open(str(tmp_path / "map.tif"))
    np.testing.assert_array_equal(dataset.ReadAsArray(), codes)
    assert dataset.GetRasterBand(1).GetDefaultRAT().GetValueAsString(1, 1) == "b"
    assert dataset.GetRasterBand(1).GetColorTable().GetColorEntry(60_001)[:3] == (0x44, 0x55, 0x66)


def test_values_come_back_with_nodata_units_and_true_means(tmp_path):
    """Floats are kept exactly, NaN is nodata, and an overview is the mean of the pixels that have a value."""
    values = np.random.default_rng(1).normal(size=(2, 1024, 1024)).astype(np.float32)
    values[0, :, 1::2] = np.nan
    with value_map(
        tmp_path / "map.tif", _grid(1024, 1024), [Band("slope", "°"), Band("east", "", "vector_x")]
    ) as writer:
        _write_shuffled(writer, values, 300)
    dataset = gdal.Open(str(tmp_path / "map.tif"))
    np.testing.assert_array_equal(dataset.ReadAsArray(), values)
    first, second = (dataset.GetRasterBand(number) for number in (1, 2))
    assert np.isnan(first.GetNoDataValue())
    assert (first.GetDescription(), first.GetUnitType()) == ("slope", "°")
    assert second.GetMetadataItem("GEODL_KIND") == "vector_x"
    coarse = first.GetOverview(0).ReadAsArray()
    np.testing.assert_allclose(coarse, values[0, :, ::2].reshape(512, 2, 512).mean(axis=1), atol=1e-6)


def test_packed_values_are_true_to_half_a_step(tmp_path):
    """Bytes with scale and nodata in the metadata: unscaled they are the values to 0.002."""
    values = np.random.default_rng(2).random((300, 200))
    values[:5] = np.nan
    with value_map(tmp_path / "map.tif", _grid(300, 200), [Band("confidence")], packed=True) as writer:
        writer.write(Window(0, 0, 300, 200), values)
    dataset = gdal.Open(str(tmp_path / "map.tif"))
    band = dataset.GetRasterBand(1)
    raw = band.ReadAsArray()
    assert raw.dtype == np.uint8
    unpacked = np.where(raw == band.GetNoDataValue(), np.nan, raw * band.GetScale() + band.GetOffset())
    np.testing.assert_allclose(unpacked, values, atol=0.00201)
    assert (tmp_path / "map.qml").exists()


def test_an_error_leaves_what_was_there(tmp_path):
    """A job that fails half-way leaves the older map as it was, and nothing else."""
    path = tmp_path / "map.tif"
    for name in ("map.tif", "map.qml"):
        (tmp_path / name).write_text("older")

    class Trouble(Exception):
        pass

    def fail():
        with class_map(path, _grid(50, 50), classes_from_names("a")) as writer:
            writer.write(Window(0, 0, 10, 10), np.ones((10, 10), np.uint8))
            raise Trouble

    with pytest.raises(Trouble):
        fail()
    assert _names(tmp_path) == ["map.qml", "map.tif"]
    assert path.read_text() == "older"


def test_cancelled_while_overviews_are_made(tmp_path):
    """A stop in the last step ends with a sentence and leaves nothing."""

    class Stopped(SilentProgress):
        def cancelled(self):
            return True

    with (
        pytest.raises(Cancelled, match="stopped"),
        class_map(tmp_path / "map.tif", _grid(600, 600), classes_from_names("a"), progress=Stopped()) as writer,
    ):
        writer.write(Window(0, 0, 600, 600), np.ones((600, 600), np.uint8))
    assert _names(tmp_path) == []


def test_too_little_room_is_told_before_the_work(tmp_path, monkeypatch):
    """The room that the map needs is asked for before anything is written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(OutputError, match="1 MB free"), class_map(tmp_path / "a.tif", _grid(4000, 4000), []):
        pytest.fail("The block must not be entered.")


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("side", [1150, 1300, 1400, 1450, 1600])
def test_a_full_disk(small_disk, monkeypatch, side, values):
    """Wherever the disk fills up, in the raw file, the overviews or the end, it is told and nothing stays."""
    monkeypatch.setattr("geodl_qgis_plugin.engine.files.check_room", lambda *_: None)
    with pytest.raises(OutputError, match="could not be written"):
        _write_noise(small_disk / "map.tif", side // 2 if values else side, values)
    assert _names(small_disk) == []


@pytest.mark.parametrize("values", [False, True])
def test_a_disk_that_is_just_large_enough(small_disk, values):
    """What fits is written, although the disk is small."""
    side = 300 if values else 600
    noise = _write_noise(small_disk / "map.tif", side, values)
    np.testing.assert_array_equal(gdal.Open(str(small_disk / "map.tif")).ReadAsArray(), noise)


def _write_noise(path, side, values):
    generator = np.random.default_rng(0)
    if values:
        noise = generator.random((side, side), np.float32)
        opened = value_map(path, _grid(side, side), [Band("x")])
    else:
        noise = generator.integers(1, 256, (side, side)).astype(np.uint8)
        opened = class_map(path, _grid(side, side), classes_from_names(map(str, range(1, 256))))
    with opened as writer:
        _write_shuffled(writer, noise, 300)
    return noise


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_large_map_is_written_in_seconds(tmp_path):
    """67 million pixels, overviews included, cost less than 20 s of the processor (3 to 4 s of time on two free cores)."""
    side = 8192
    block = np.kron(np.random.default_rng(0).integers(1, 11, (16, 16)), np.ones((32, 32), int)).astype(np.uint8)
    start = time.process_time()
    with class_map(tmp_path / "map.tif", _grid(side, side), classes_from_names("abcdefghij")) as writer:
        for row in range(0, side, 512):
            for column in range(0, side, 512):
                writer.write(Window(row, column, 512, 512), block)
    assert time.process_time() - start < 20
