"""Polygons of a map of pixels: those of gdal_polygonize, with area and confidence of the pixels that they cover."""

import numpy as np
import pytest
import torch
from osgeo import gdal, ogr

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification import pixel_blocks, pixel_polygons
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.pixel_polygons import row_areas_m2
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid

from .models import write_classifier
from .planted import reference, write_raster

torch.set_num_threads(1)
UTM = Grid(reference(26912).ExportToWkt(), (318000, 30, 0, 4132000, 0, -30), 150, 110)
DEGREES = Grid(reference(4326).ExportToWkt(), (-113.05, 0.002, 0, 37.33, 0, -0.002), 150, 110)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 64)
    monkeypatch.setattr(pixel_polygons, "_STRIP_PX", 16)


def mapped(folder, grid, **settings):
    """Map noise smoothed a little; return the outputs' paths."""
    values = np.random.default_rng(0).normal(2, 6, (1, grid.height + 8, grid.width)).astype(np.float32)
    values = np.stack([values[:, i : i + grid.height] for i in range(8)]).mean(axis=0)
    values[:, 20:30, 40:70] = np.nan
    raster = write_raster(folder / "p.tif", values, grid, names=["one"])
    architecture = choose_architecture("unet", "each pixel", [Band("one")], 3, 64, {"widths": [4, 6]})
    write_classifier(folder / "m.geodl", architecture, [Band("one")], "abc", seed=3)
    paths = {"output": "c.tif", "confidence": "k.tif", "polygons": "p.gpkg"}
    paths = {name: str(folder / file) for name, file in paths.items()}
    run_job(
        "classifyraster",
        {"model": str(folder / "m.geodl"), "predictors": [raster], **paths, **settings},
        SilentProgress(),
    )
    return paths


def polygons_of(path):
    dataset = gdal.OpenEx(path)
    layer = dataset.GetLayerByName("classes")
    return [
        (f["code"], f["class"], f["confidence"], f["area_m2"], f.GetGeometryRef().Clone().Normalize().ExportToWkt())
        for f in layer
    ]


def gdals(path, least=0):
    """Return (code, WKT) of GDAL's own sieve and polygons."""
    band = gdal.Open(path).GetRasterBand(1)
    source = gdal.GetDriverByName("MEM").CreateCopy("", gdal.Open(path))
    band = source.GetRasterBand(1)
    if least:
        gdal.SieveFilter(band, band.GetMaskBand(), band, least, 4)
    memory = ogr.GetDriverByName("Memory").CreateDataSource("")
    layer = memory.CreateLayer("x")
    layer.CreateField(ogr.FieldDefn("code", ogr.OFTInteger))
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
    return [(f["code"], f.GetGeometryRef().Clone().Normalize().ExportToWkt()) for f in layer]


@pytest.mark.parametrize("least", [0, 7])
def test_polygons_are_gdals_across_the_seams_of_blocks(tmp_path, least):
    """The same geometries and codes, named; areas add up to the mapped ground."""
    paths = mapped(tmp_path, UTM, min_area=least * 900.0)
    found = polygons_of(paths["polygons"])
    assert sorted((code, wkt) for code, _, _, _, wkt in found) == sorted(gdals(paths["output"], least))
    assert len(found) > 10
    codes = gdal.Open(paths["output"]).ReadAsArray()
    assert sum(area for _, _, _, area, _ in found) == pytest.approx((codes > 0).sum() * 900.0)
    assert all(name == "abc"[code - 1] for code, name, *_ in found)
    if least:
        assert min(area for _, _, _, area, _ in found) >= least * 900.0
    for _, _, _, area, wkt in found:
        assert ogr.CreateGeometryFromWkt(wkt).GetArea() == pytest.approx(area, rel=1e-6)


def test_confidence_is_the_mean_over_a_polygon(tmp_path):
    """Of the pixels whose middles lie in it, one by one."""
    paths = mapped(tmp_path, UTM)
    sure = gdal.Open(paths["confidence"]).ReadAsArray() * 0.004
    for _, _, confidence, _, wkt in polygons_of(paths["polygons"])[:12]:
        target = gdal.GetDriverByName("MEM").Create("", UTM.width, UTM.height, 1, gdal.GDT_Byte)
        target.SetGeoTransform(UTM.transform)
        memory = ogr.GetDriverByName("Memory").CreateDataSource("")
        layer = memory.CreateLayer("x", reference(26912))
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
        layer.CreateFeature(feature)
        target.SetProjection(UTM.crs)
        gdal.RasterizeLayer(target, [1], layer, burn_values=[1])
        assert confidence == pytest.approx(sure[target.ReadAsArray() == 1].mean(), abs=6e-4)


def test_areas_in_degrees_are_those_of_the_ellipsoid(tmp_path):
    """A pixel's area is that of an equal-area projection of its outline, and a whole ellipsoid's rows add up to its surface."""
    paths = mapped(tmp_path, DEGREES)
    codes = gdal.Open(paths["output"]).ReadAsArray()
    areas = row_areas_m2(DEGREES)
    total = sum(area for _, _, _, area, _ in polygons_of(paths["polygons"]))
    assert total == pytest.approx(((codes > 0).sum(axis=1) * areas).sum(), rel=1e-6)
    globe = Grid(DEGREES.crs, (-180, 1, 0, 90, 0, -1), 360, 180)
    assert row_areas_m2(globe).sum() * 360 == pytest.approx(510_065_621_724_089, rel=1e-9)  # WGS 84 (NIMA TR8350.2)
