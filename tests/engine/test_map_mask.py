"""Masks and extents: what lies outside is neither read nor mapped, and what lies inside is mapped as in the whole map."""

import numpy as np
import pytest
import torch
from osgeo import gdal

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import pixel_blocks
from geodl_qgis_plugin.engine.classification.appetite import bytes_per_pixel
from geodl_qgis_plugin.engine.classification.classification_job import Settings, prepare
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.prediction import ready_for_maps
from geodl_qgis_plugin.engine.errors import GeoDLError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid
from geodl_qgis_plugin.engine.rasters.stack import Stack

from .models import write_classifier
from .planted import reference, write_polygons, write_raster

torch.set_num_threads(1)
SIDE = 320
GRID = Grid(reference(26912).ExportToWkt(), (318000, 30, 0, 4132000, 0, -30), SIDE, SIDE)
TRIANGLE = "POLYGON ((319000 4131000, 321500 4130000, 319000 4129000, 319000 4131000))"
FAR = "POLYGON ((918000 4129120, 919400 4129120, 919400 4132000, 918000 4132000, 918000 4129120))"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return a folder with rasters, a mask, a model for pixels and one for tiles, and the whole maps."""
    folder = tmp_path_factory.mktemp("good")
    values = np.random.default_rng(0).normal(20, 9, (2, SIDE, SIDE)).astype(np.float32)
    values = values.cumsum(axis=1)[:, ::-1] / 9
    write_raster(folder / "p.tif", np.ascontiguousarray(values), GRID, names=["one", "other"])
    write_polygons(folder / "mask.gpkg", [(TRIANGLE, "a")], 26912)
    bands = [Band("one"), Band("other")]
    pixels = choose_architecture("unet", "each pixel", bands, 4, 64, {"widths": [4, 6]})
    write_classifier(folder / "m.geodl", pixels, bands, "abcd")
    tiles = choose_architecture("pooled", "each tile", bands, 3, 32)
    write_classifier(folder / "t.geodl", tiles, bands, "abc", tile_size_px=32)
    for model in "mt":
        run_job("classifyraster", settings_of(folder, model, output=str(folder / f"{model}.tif")), SilentProgress())
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 64)


def settings_of(folder, model, **changes):
    step = {"stride": 8} if model == "t" else {}
    return {"model": str(folder / f"{model}.geodl"), "predictors": [str(folder / "p.tif")], **step, **changes}


def inside_of(path, mask):
    """Return which pixels of a raster have their middle inside the mask, as GDAL burns it."""
    raster = gdal.Open(path)
    target = gdal.GetDriverByName("MEM").Create("", raster.RasterXSize, raster.RasterYSize, 1, gdal.GDT_Byte)
    target.SetGeoTransform(raster.GetGeoTransform())
    target.SetProjection(raster.GetProjection())
    layer = gdal.OpenEx(mask)
    gdal.RasterizeLayer(target, [1], layer.GetLayer(0), burn_values=[1])
    return target.ReadAsArray() == 1


def at(path, like):
    """Return a raster's values on the pixels of another that lies within it."""
    raster, other = gdal.Open(str(path)), gdal.Open(str(like))
    column = round((other.GetGeoTransform()[0] - raster.GetGeoTransform()[0]) / raster.GetGeoTransform()[1])
    row = round((other.GetGeoTransform()[3] - raster.GetGeoTransform()[3]) / raster.GetGeoTransform()[5])
    return raster.ReadAsArray(column, row, other.RasterXSize, other.RasterYSize)


def test_a_masked_map_is_the_map_inside(good, tmp_path):
    """Its pixels inside the polygon are those of the whole map, the others nodata, and it is cut to the polygon."""
    out = str(tmp_path / "c.tif")
    run_job("classifyraster", settings_of(good, "m", mask=str(good / "mask.gpkg"), output=out), SilentProgress())
    found, inside = gdal.Open(out).ReadAsArray(), inside_of(out, str(good / "mask.gpkg"))
    np.testing.assert_array_equal(found > 0, inside)
    assert found.shape == (67, 84)  # of the triangle's bounds, in whole pixels
    whole = at(good / "m.tif", out)
    assert (found[inside] == whole[inside]).mean() > 0.9999


def test_an_extent_gives_a_part_of_the_map(good, tmp_path):
    """Whole pixels that it touches, alike but for pixels that are nearly undecided."""
    out = str(tmp_path / "c.tif")
    extent = "319015,322000,4127000,4130010 [EPSG:26912]"
    run_job("classifyraster", settings_of(good, "m", extent=extent, output=out), SilentProgress())
    assert (gdal.Open(out).ReadAsArray() == at(good / "m.tif", out)).mean() > 0.9999


def test_only_what_the_mask_touches_is_read(good, tmp_path, monkeypatch):
    """Each window that is read holds some of the triangle, and together they are few."""
    read, real = [], Stack.read
    monkeypatch.setattr(Stack, "read", lambda stack, window: read.append(window) or real(stack, window))
    settings = settings_of(good, "m", mask=str(good / "mask.gpkg"), output=str(tmp_path / "c.tif"))
    run_job("classifyraster", settings, SilentProgress())
    work = prepare(Settings(**settings), SilentProgress())
    assert len(read) == len(work.blocks) < 12
    mask = inside_of(str(good / "p.tif"), str(good / "mask.gpkg"))
    assert all(mask[window.slices].any() for window in read)


def test_tiles_half_inside_the_mask_are_mapped(good, tmp_path):
    """And no others."""
    out = str(tmp_path / "c.tif")
    run_job("classifyraster", settings_of(good, "t", mask=str(good / "mask.gpkg"), output=out), SilentProgress())
    mask, found = inside_of(str(good / "p.tif"), str(good / "mask.gpkg")), gdal.Open(out)
    transform = found.GetGeoTransform()
    for row, column in np.ndindex(found.RasterYSize, found.RasterXSize):
        middle_row = (4132000 - (transform[3] + (row + 0.5) * transform[5])) / 30
        middle_column = (transform[0] + (column + 0.5) * transform[1] - 318000) / 30
        top, left = round(middle_row) - 16, round(middle_column) - 16
        mapped = found.ReadAsArray()[row, column] > 0
        assert mapped == (mask[top : top + 32, left : left + 32].mean() >= 0.5)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [([(FAR, "a")], "No polygon of the mask"), ([("POINT (319000 4131000)", "a")], "holds points or lines")],
)
def test_a_mask_that_masks_nothing_is_refused(good, tmp_path, shapes, words):
    """Elsewhere, or without area; nothing is left."""
    mask = write_polygons(tmp_path / "mask.gpkg", shapes, 26912)
    settings = settings_of(good, "m", mask=mask, output=str(tmp_path / "c.tif"))
    with pytest.raises(GeoDLError, match=words):
        run_job("classifyraster", settings, SilentProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["mask.gpkg"]


def test_fast_maps_nearly_the_same(good, tmp_path):
    """Where the processor has bfloat16 few pixels differ; where it has not, none does, and a warning says why."""
    out, progress = str(tmp_path / "c.tif"), SilentProgress()
    run_job("classifyraster", settings_of(good, "m", fast=True, output=out), progress)
    same = (gdal.Open(out).ReadAsArray() == gdal.Open(str(good / "m.tif")).ReadAsArray()).mean()
    assert same > 0.97
    assert same == 1 or not progress.warnings
    told = gdal.Open(out).GetMetadataItem("GEODL_PRECISION")
    net = load_classifier(good / "m.geodl", fast=True).net.net
    kinds = {name: weights.dtype for name, weights in net.named_parameters()}
    assert kinds["head.weight"] is kinds["pixel.0.0.weight"] is torch.float32
    assert kinds["stem.weight"] is kinds["down.0.0.weight"] is torch.bfloat16
    assert told == ("float32" if any("bfloat16" in text for text in progress.warnings) else "bfloat16")


def test_entropy_is_that_of_the_probabilities(good, tmp_path):
    """To the steps in which both are stored; nodata where the map has none."""
    outputs = {name: str(tmp_path / f"{name}.tif") for name in ("output", "entropy", "probabilities")}
    run_job("classifyraster", settings_of(good, "m", mask=str(good / "mask.gpkg"), **outputs), SilentProgress())
    classes, entropy, shares = (gdal.Open(path).ReadAsArray() for path in outputs.values())
    known = classes > 0
    np.testing.assert_array_equal(entropy == 255, ~known)
    p = np.maximum(shares[:, known] * 0.004, 1e-9)
    wanted = -(p * np.log(p)).sum(axis=0) / np.log(4)
    assert np.abs(entropy[known] * 0.004 - wanted).max() < 0.03
    assert gdal.Open(outputs["entropy"]).GetRasterBand(1).GetScale() == 0.004
    assert (tmp_path / "entropy.qml").exists()


def test_windows_are_as_large_as_the_net_allows():
    """A net with more channels takes more memory a pixel, and what was found is kept."""
    bands = [Band(f"b{i}") for i in range(3)]
    small, large = (
        ready_for_maps(choose_architecture("unet", "each pixel", bands, 4, 64, {"widths": widths}).build())
        for widths in ([8, 8, 8], [64, 64, 64])
    )
    assert bytes_per_pixel(large, 3) > 2 * bytes_per_pixel(small, 3)
