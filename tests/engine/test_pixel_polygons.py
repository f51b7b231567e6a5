"""Polygons of a map of pixels: those of gdal_polygonize, with area and confidence of the pixels that they cover."""

import contextlib
import sqlite3

import numpy as np
import pytest
import torch
from osgeo import gdal, ogr
from scipy import ndimage

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classes import LandClass
from geodl_qgis_plugin.engine.classification import patches, pixel_blocks, pixel_polygons
from geodl_qgis_plugin.engine.classification.networks import choose_architecture
from geodl_qgis_plugin.engine.classification.pixel_polygons import row_areas_m2, write_pixel_polygons
from geodl_qgis_plugin.engine.errors import Cancelled, OutputError
from geodl_qgis_plugin.engine.jobs import run_job
from geodl_qgis_plugin.engine.messages import SilentProgress
from geodl_qgis_plugin.engine.rasters.grid import Grid

from .models import write_classifier
from .planted import reference, write_raster

torch.set_num_threads(1)
UTM = Grid(reference(26912).ExportToWkt(), (318000, 30, 0, 4132000, 0, -30), 150, 110)
SMALL = {
    "metres": Grid(UTM.crs, (318000, 30, 0, 4132000, 0, -30), 37, 29),
    "degrees": Grid(reference(4326).ExportToWkt(), (-113.05, 0.5, 0, 67.33, 0, -0.7), 37, 29),
    "rotated": Grid(UTM.crs, (318000, 24, 7, 4132000, 5, -31), 37, 29),
    "upwards": Grid(UTM.crs, (318000, 30, 0, 4132000, 0, 30), 37, 29),
}
DEGREES = Grid(reference(4326).ExportToWkt(), (-113.05, 0.002, 0, 37.33, 0, -0.002), 150, 110)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_blocks, "CORE_PX", 64)
    monkeypatch.setattr(pixel_polygons, "_STRIP_PIXELS", 150 * 16)
    monkeypatch.setattr(pixel_polygons, "_CHUNK_PIXELS", 150 * 48)
    monkeypatch.setattr(patches, "_CORNERS", 100)


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


def patterns(seed):
    """Return codes (row, column), some with nodata: noise, patches, rings within rings, squares that touch at corners."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:29, :37]
    smooth = ndimage.gaussian_filter(random.normal(size=(29, 37)), 1.5)
    rings = np.maximum(abs(rows - 14), abs(columns - 18)) % 3 + 1
    speckled = np.where(random.random(rings.shape) < 0.1, random.integers(0, 4, rings.shape), rings)
    found = {
        "noise": random.integers(0, 4, (29, 37)),
        "patches": np.digitize(smooth, [-0.12, 0, 0.12]),
        "rings": speckled,
        "corners": (rows // 3 + columns // 3) % 2 + 1,
        "two": random.integers(1, 3, (29, 37)),
        "one": np.ones((29, 37)),
        "none": np.zeros((29, 37)),
    }
    found = {name: codes.astype(np.uint8) for name, codes in found.items()}
    return {**found, "large codes": random.integers(254, 258, (29, 37)).astype(np.uint16)}


def slowly(codes, sure, grid):
    """Return the patches as {pixels: (code, mean confidence, area)}, labelled whole and summed up one by one."""
    found = {}
    areas = np.broadcast_to(row_areas_m2(grid)[:, None], codes.shape)
    for code in set(np.unique(codes)) - {0}:
        labels, count = ndimage.label(codes == code)
        for number in range(1, count + 1):
            own = labels == number
            pixels = frozenset(np.flatnonzero(own).tolist())
            found[pixels] = int(code), np.where(sure == 255, 0, sure)[own].mean() * 0.004, areas[own].sum()
    return found


def pixels_within(geometry, grid):
    """Return which pixels have their middles in a polygon, by crossings of its outlines to the one side."""
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    inside = np.zeros(rows.shape, bool)
    for ring in (geometry.GetGeometryRef(i) for i in range(geometry.GetGeometryCount())):
        ends = np.array(ring.GetPoints())[:, :2]
        down, right = grid.pixels(ends[:, 0], ends[:, 1])
        for i in range(len(ends) - 1):
            spans = (down[i] > rows) != (down[i + 1] > rows)
            inside ^= spans & (columns > (right[i] + right[i + 1]) / 2)
    return frozenset(np.flatnonzero(inside).tolist())


@pytest.mark.parametrize(
    ("kind", "strip_rows"),
    [("metres", 1), ("metres", 4), ("metres", 40), ("degrees", 4), ("rotated", 4), ("upwards", 4)],
)
@pytest.mark.parametrize("pattern", patterns(0))
def test_every_patch_has_its_own_sums(tmp_path, monkeypatch, kind, pattern, strip_rows):
    """Whatever the patches' form, the grid and the strips: those of labelling the whole raster, pixel by pixel."""
    monkeypatch.setattr(pixel_polygons, "_STRIP_PIXELS", 37 * strip_rows)
    grid, codes = SMALL[kind], patterns(strip_rows)[pattern]
    sure = np.random.default_rng(1).integers(0, 251, codes.shape).astype(np.uint8)
    sure[codes == 0] = 255
    sure[3, 4:9] = 255
    write_raster(tmp_path / "c.tif", codes, grid, nodata=0)
    write(tmp_path, sure)
    expected = slowly(codes, sure, grid)
    dataset = gdal.OpenEx(str(tmp_path / "p.gpkg"))
    layer = dataset.GetLayer()
    assert all(f.GetGeometryRef().IsValid() for f in layer)
    found = {pixels_within(f.GetGeometryRef(), grid): (f["code"], f["confidence"], f["area_m2"]) for f in layer}
    assert found.keys() == expected.keys()
    outlines = [(code, wkt) for code, _, _, _, wkt in polygons_of(str(tmp_path / "p.gpkg"))]
    assert sorted(outlines) == sorted(gdals(str(tmp_path / "c.tif")))
    for pixels, (code, confidence, area) in found.items():
        assert code == expected[pixels][0]
        assert confidence == pytest.approx(expected[pixels][1], abs=5.01e-4)
        assert area == pytest.approx(expected[pixels][2], rel=1e-9, abs=1e-3)


def write(folder, sure, least=0.0, progress=None):
    """Write ``folder``/p.gpkg of ``folder``/c.tif."""
    write_pixel_polygons(
        folder / "p.gpkg",
        folder / "c.tif",
        [LandClass(1, "one", "#ff0000"), LandClass(2, "two", "#00ff00")],
        lambda window: sure[window.slices].copy(),
        least_area_m2=least,
        work_folder=folder / "work",
        part_key="key",
        progress=progress or SilentProgress(),
    )


def test_the_layer_is_whole_and_the_same_each_time(tmp_path):
    """Fields, extent, number of features and spatial index are there, and two runs write the same."""
    codes = patterns(0)["noise"]
    tables = ("classes", "gpkg_contents", "gpkg_ogr_contents", "rtree_classes_geom_node", "rtree_classes_geom_rowid")
    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_raster(tmp_path / name / "c.tif", codes, SMALL["metres"], nodata=0)
        write(tmp_path / name, np.full(codes.shape, 200, np.uint8))
        assert {path.name for path in (tmp_path / name).iterdir()} == {"c.tif", "p.gpkg"}
        with contextlib.closing(sqlite3.connect(tmp_path / name / "p.gpkg")) as database:
            contents.append({table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables})
    assert contents[0] == contents[1]
    dataset = gdal.OpenEx(str(tmp_path / "one" / "p.gpkg"))
    layer = dataset.GetLayerByName("classes")
    assert [field.GetName() for field in layer.schema] == ["class", "code", "confidence", "area_m2"]
    features = list(layer)
    assert {f["class"] for f in features} == {"one", "two", "3"}
    assert {f["confidence"] for f in features} == {0.8}
    envelopes = np.array([f.GetGeometryRef().GetEnvelope() for f in features])
    bounds = envelopes[:, 0].min(), envelopes[:, 1].max(), envelopes[:, 2].min(), envelopes[:, 3].max()
    assert layer.GetExtent() == pytest.approx(bounds)
    assert layer.TestCapability(ogr.OLCFastSpatialFilter)
    layer.SetSpatialFilterRect(318000, 4131700, 318300, 4132000)
    near = (envelopes[:, 0] <= 318300) & (envelopes[:, 3] >= 4131700)
    assert 0 < layer.GetFeatureCount() <= near.sum()
    assert contents[0]["gpkg_ogr_contents"][0] == ("classes", len(features))
    assert len(contents[0]["rtree_classes_geom_rowid"]) == len(features)


class Impatient(SilentProgress):
    """Stops when it was asked a number of times."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    def cancelled(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("least", [0.0, 2000.0])
def test_a_stop_at_any_moment_leaves_nothing(tmp_path, monkeypatch, least):
    """While GDAL sieves, follows outlines, or while fields are filled in: it says so, and there is no file."""
    codes = patterns(0)["noise"]
    write_raster(tmp_path / "c.tif", codes, SMALL["metres"], nodata=0)
    monkeypatch.setattr(pixel_polygons, "_STRIP_PIXELS", 37 * 2)
    stopped = 0
    for times in range(0, 400, 3):
        with contextlib.suppress(Cancelled):
            write(tmp_path, codes, least, Impatient(times))
            break
        stopped += 1
        assert {path.name for path in tmp_path.iterdir()} - {"work"} == {"c.tif"}
    assert stopped > 4
    assert (tmp_path / "p.gpkg").exists()


def test_what_fails_leaves_no_file(tmp_path, monkeypatch):
    """What the disk refuses is a sentence, what a block lacks is raised as it is, and no file is left."""
    codes = patterns(0)["noise"]
    write_raster(tmp_path / "c.tif", codes, SMALL["metres"], nodata=0)
    with pytest.raises(KeyError, match="a block"):
        write(tmp_path, _Broken())

    def full(*_):
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(pixel_polygons, "write_polygons", full)
    with pytest.raises(OutputError, match=r"p\.gpkg could not be written: No space left"):
        write(tmp_path, codes)
    assert {path.name for path in tmp_path.iterdir()} == {"c.tif"}


class _Broken:
    def __getitem__(self, _):
        raise KeyError("a block")
