"""
The shared real data, each through the installed plugin with qgis_process, checked by numbers of GDAL and numpy alone.

The data lie beside the checkout (`../shared/data`) and are no part of it; where they are missing, these tests say so
and are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from scipy import ndimage

gdal.UseExceptions()
ogr.UseExceptions()

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT / "tools"))

import install_plugin
import lay_tiles
import package

from geodl_qgis_plugin.engine.training_data.tile_set import TileSet

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data do not lie beside the checkout"),
    pytest.mark.skipif(shutil.which("qgis_process") is None, reason="needs QGIS"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return the folder of a fresh QGIS profile with the built plugin in it."""
    folder = tmp_path_factory.mktemp("home")
    install_plugin.install(package.build(folder / "dist"), folder / "profiles" / "default")
    return folder


@pytest.fixture
def run(home):
    """Return a function that runs an algorithm in a process of its own and gives its results."""

    def run_algorithm(name, **inputs):
        own = {"QGIS_CUSTOM_CONFIG_PATH": str(home), "QT_QPA_PLATFORM": "offscreen", "GEODL_PYTHON": sys.executable}
        ran = subprocess.run(
            ["qgis_process", "run", f"geodl:{name}", "-"],
            input=json.dumps({"inputs": inputs}),
            capture_output=True,
            text=True,
            env=os.environ | own,
            check=False,
        )
        assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
        return json.loads(ran.stdout[ran.stdout.index("{") :])["results"]

    return run_algorithm


@pytest.fixture
def shared(tmp_path):
    """Return a function that copies a file of the shared data, beside which GDAL may write what it likes."""

    def copy(name):
        target = tmp_path / Path(name).name
        shutil.copyfile(SHARED / name, target)
        return str(target)

    return copy


def part_of(tiles, raster):
    """Return where the tile set's area lies in the raster that it was cut out of: slices of rows and columns."""
    west, width, _, north, _, height = raster.GetGeoTransform()
    row, column = ((tiles.grid.transform[3] - north) / height, (tiles.grid.transform[0] - west) / width)
    assert abs(row - round(row)) < 1e-6
    assert abs(column - round(column)) < 1e-6
    return slice(round(row), round(row) + tiles.grid.height), slice(round(column), round(column) + tiles.grid.width)


def values_of(raster):
    """Return the bands (band, row, column) with NaN for nodata."""
    values = raster.ReadAsArray().astype(np.float32).reshape(raster.RasterCount, raster.RasterYSize, raster.RasterXSize)
    for band, number in zip(values, range(1, raster.RasterCount + 1)):
        nodata = raster.GetRasterBand(number).GetNoDataValue()
        if nodata is not None:
            band[band == np.float32(nodata)] = np.nan
    return values


def burnt(path, raster, field=None):
    """
    Return the names of classes, and their numbers from 1 on the raster's pixels: of the polygon that holds the middle.

    Of polygons that overlap the smallest counts. Without a field each polygon is a class of its own.
    """
    source = ogr.Open(path)
    features = sorted(source.GetLayer(0), key=lambda feature: -feature.GetGeometryRef().GetArea())
    names = sorted({feature.GetFieldAsString(field) for feature in features}) if field else range(len(features))
    store = ogr.GetDriverByName("Memory").CreateDataSource("")
    layer = store.CreateLayer("burnt", raster.GetSpatialRef())
    layer.CreateField(ogr.FieldDefn("number", ogr.OFTInteger))
    for place, feature in enumerate(features):
        copy = ogr.Feature(layer.GetLayerDefn())
        copy.SetGeometry(feature.GetGeometryRef())
        copy.SetField("number", 1 + (names.index(feature.GetFieldAsString(field)) if field else place))
        layer.CreateFeature(copy)
    target = gdal.GetDriverByName("MEM").Create("", raster.RasterXSize, raster.RasterYSize, 1, gdal.GDT_UInt16)
    target.SetGeoTransform(raster.GetGeoTransform())
    target.SetSpatialRef(raster.GetSpatialRef())
    gdal.RasterizeLayer(target, [1], layer, options=["ATTRIBUTE=number"])
    return names, target.ReadAsArray()


def named(tiles):
    """Return how many pixels each class has, by its name."""
    codes, counts = np.unique(np.array(tiles.labels), return_counts=True)
    names = {c.code: c.name for c in tiles.classes}
    return {names[code]: count for code, count in zip(codes.tolist(), counts.tolist()) if code}


def counted(names, numbers):
    """Return the same of numbers from 1."""
    counts = np.bincount(numbers.ravel(), minlength=len(names) + 1)
    return {name: int(count) for name, count in zip(names, counts[1:]) if count}


def far_from_test(tiles, buffer_px):
    """Check that every training or validation pixel with a label lies at least so far from every test pixel."""
    split, labelled = np.array(tiles.split), np.array(tiles.labels) > 0
    distance = ndimage.distance_transform_edt(split != 3)
    learnt = np.isin(split, (1, 2)) & labelled
    assert learnt.any()
    assert distance[learnt].min() > buffer_px


def all_parts(tiles):
    """Check that each part has tiles."""
    assert all(tiles.indices(part).size for part in ("training", "validation", "test"))


def test_central_lapland(run, shared, tmp_path):
    """Nine airborne bands, lithology from polygons, the test areas of the data with 1,500 m round them."""
    predictors, lithology = (
        shared(f"geology_central_lapland/{name}") for name in ("clb_predictors_100m.tif", "clb_lithology_1M.gpkg")
    )
    areas = shared("geology_central_lapland/test_areas.gpkg")
    result = run(
        "extracttiles",
        PREDICTORS=[predictors],
        LABELS=[lithology],
        CLASS_FIELD="ROCK_NAME_",
        TEST_AREAS=areas,
        BUFFER=1500,
        TILE_SIZE=64,
        STORAGE="mosaic",
        OUTPUT=str(tmp_path / "set"),
    )
    tiles, raster = TileSet.open(result["OUTPUT"]), gdal.Open(predictors)
    place = part_of(tiles, raster)
    values = values_of(raster)[(slice(None), *place)]
    np.testing.assert_array_equal(tiles.predictors, values)
    assert [band.name for band in tiles.bands][:4] == ["mag_nT", "K_pct", "eTh_ppm", "eU_ppm"]
    names, numbers = burnt(lithology, raster, "ROCK_NAME_")
    numbers = np.where(np.isnan(values).any(0), 0, numbers[place])
    assert named(tiles) == counted(names, numbers)
    inside = burnt(areas, raster)[1][place] > 0
    np.testing.assert_array_equal(np.array(tiles.split)[numbers > 0] == 3, inside[numbers > 0])
    far_from_test(tiles, 15)
    all_parts(tiles)


def test_hamersley(run, shared, tmp_path):
    """GeoJSON in degrees, as the standard wants it, on a terrain model in metres."""
    terrain, geology = (shared(f"geology_hamersley_wa/{name}") for name in ("dtm_rp.tif", "geology.geojson"))
    degrees = str(tmp_path / "degrees.geojson")
    gdal.VectorTranslate(
        degrees, geology, dstSRS="EPSG:4326", layerCreationOptions=["RFC7946=YES", "COORDINATE_PRECISION=9"]
    )
    result = run(
        "extracttiles",
        PREDICTORS=[terrain],
        LABELS=[degrees],
        CLASS_FIELD="code",
        TILE_SIZE=16,
        STORAGE="mosaic",
        OUTPUT=str(tmp_path / "set"),
    )
    tiles, raster = TileSet.open(result["OUTPUT"]), gdal.Open(terrain)
    place = part_of(tiles, raster)
    names, numbers = burnt(geology, raster, "code")
    expected = np.where(np.isnan(values_of(raster)[0]), 0, numbers)[place]
    found = named(tiles)
    there = counted(names, expected)
    assert found.keys() == there.keys()
    # RFC 7946 knows WGS 84 only: GDA94 differs by as much as the transformation is uncertain, a pixel in a thousand at contacts
    assert sum(abs(found[name] - there[name]) for name in there) <= 2e-3 * sum(there.values())
    of_name = {name: code for code, name in enumerate(names, 1)}
    table = np.zeros(1 + max(c.code for c in tiles.classes), int)
    for c in tiles.classes:
        table[c.code] = of_name[c.name]
    assert (table[np.array(tiles.labels)] == expected).mean() > 0.998
    all_parts(tiles)


def test_landsat_of_north_carolina(run, shared, tmp_path):
    """Six bands, and polygons that are dealt whole: none is in two parts."""
    image, polygons = (
        shared(f"landcover_nc_landsat/{name}") for name in ("lsat7_2000_6band.tif", "training_polygons.gpkg")
    )
    result = run(
        "extracttiles",
        PREDICTORS=[image],
        LABELS=[polygons],
        CLASS_FIELD="label",
        TILE_SIZE=32,
        SPLIT="polygons",
        STORAGE="mosaic",
        OUTPUT=str(tmp_path / "set"),
    )
    tiles, raster = TileSet.open(result["OUTPUT"]), gdal.Open(image)
    place = part_of(tiles, raster)
    values = values_of(raster)[(slice(None), *place)]
    np.testing.assert_array_equal(tiles.predictors, values)
    names, numbers = burnt(polygons, raster, "label")
    assert named(tiles) == counted(names, np.where(np.isnan(values).any(0), 0, numbers[place]))
    labelled, split = np.array(tiles.labels) > 0, np.array(tiles.split)
    single = burnt(polygons, raster)[1][place]
    for polygon in range(1, single.max() + 1):
        assert np.unique(split[(single == polygon) & labelled]).size <= 1
    all_parts(tiles)


def test_zion(run, shared, tmp_path):
    """A DEM in degrees has the land cover of the UTM raster, whose pixels are not square, pixel by pixel through PROJ."""
    dem, cover = (shared(f"landcover_zion/{name}") for name in ("srtm.tif", "nlcd.tif"))
    result = run(
        "extracttiles",
        PREDICTORS=[dem],
        LABELS=[cover],
        TILE_SIZE=64,
        BUFFER=0.005,
        STORAGE="mosaic",
        OUTPUT=str(tmp_path / "set"),
    )
    tiles, raster, reference = TileSet.open(result["OUTPUT"]), gdal.Open(dem), gdal.Open(cover)
    place = part_of(tiles, raster)
    np.testing.assert_array_equal(tiles.predictors, values_of(raster)[(slice(None), *place)])
    rows, columns = np.mgrid[place] + 0.5
    west, width, _, north, _, height = raster.GetGeoTransform()
    degrees, metres = raster.GetSpatialRef(), reference.GetSpatialRef()
    for crs in (degrees, metres):
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    points = np.stack([west + width * columns.ravel(), north + height * rows.ravel()], axis=1)
    points = np.array(osr.CoordinateTransformation(degrees, metres).TransformPoints(points.tolist()))
    west, width, _, north, _, height = reference.GetGeoTransform()
    column, row = (points[:, 0] - west) / width, (points[:, 1] - north) / height
    clear = np.minimum(np.abs(row - np.round(row)), np.abs(column - np.round(column))) > 0.1
    codes = reference.ReadAsArray()
    inside = (row >= 0) & (row < codes.shape[0]) & (column >= 0) & (column < codes.shape[1])
    expected = np.zeros(row.size, int)
    expected[inside] = codes[np.floor(row[inside]).astype(int), np.floor(column[inside]).astype(int)]
    expected[expected == 255] = 0
    labels = np.array(tiles.labels).ravel()
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(labels[clear], expected[clear])
    assert len(tiles.classes) == 8
    far_from_test(tiles, 6)
    all_parts(tiles)


def test_landslides_of_ecuador(run, shared, tmp_path):
    """Each point labels the pixel that it lies on, unless a terrain attribute is NaN there."""
    attributes, points = shared("landslide_ecuador/ta.tif"), shared("landslide_ecuador/lsl_350_CC0.gpkg")
    result = run(
        "extracttiles",
        PREDICTORS=[attributes],
        LABELS=[points],
        CLASS_FIELD="landslide",
        TILE_SIZE=32,
        STORAGE="mosaic",
        OUTPUT=str(tmp_path / "set"),
    )
    tiles, raster = TileSet.open(result["OUTPUT"]), gdal.Open(attributes)
    place = part_of(tiles, raster)
    values = values_of(raster)
    assert np.isnan(values).any()
    np.testing.assert_array_equal(tiles.predictors, values[(slice(None), *place)])
    assert [band.name for band in tiles.bands] == ["slope", "cplan", "cprof", "elev", "log10_carea"]
    west, width, _, north, _, height = raster.GetGeoTransform()
    found, source = {}, ogr.Open(points)
    for feature in source.GetLayer(0):
        place_of = feature.GetGeometryRef()
        row, column = int((place_of.GetY() - north) // height), int((place_of.GetX() - west) // width)
        if np.isfinite(values[:, row, column]).all():
            found.setdefault((row - place[0].start, column - place[1].start), set()).add(
                feature.GetFieldAsString("landslide")
            )
    labels, names = np.array(tiles.labels), {c.code: c.name for c in tiles.classes}
    assert (labels > 0).sum() == len(found) > 300
    for (row, column), classes in found.items():
        assert names[int(labels[row, column])] in classes
    assert Counter(names.values()).keys() == set.union(*found.values())
    all_parts(tiles)


def test_points_of_great_britain_become_a_grid(run, tmp_path):
    """Half a million survey points, as they are packed, become the published grid of 1 km, holes and all."""
    result = run(
        "gridpoints",
        INPUT=str(SHARED / "magnetic_great_britain" / "britain-magnetic.csv.xz"),
        VALUE_FIELD="total_field_anomaly_nt",
        SPACING=1000,
        MAX_DISTANCE=3000,
        CRS="EPSG:27700",
        OUTPUT=str(tmp_path / "grid.tif"),
    )
    published = gdal.Open(str(SHARED / "magnetic_great_britain" / "gb_tfa_1km.tif"))
    west, width, _, north, _, height = published.GetGeoTransform()
    bounds = [west, north + height * published.RasterYSize, west + width * published.RasterXSize, north]
    ours = values_of(gdal.Translate("", result["OUTPUT"], format="MEM", projWin=[bounds[i] for i in (0, 3, 2, 1)]))[0]
    theirs = values_of(published)[0]
    assert ours.shape == theirs.shape
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert (np.isfinite(ours) != np.isfinite(theirs)).mean() < 1e-3
    difference = np.abs(ours - theirs)[both]
    assert both.sum() > 400_000
    assert np.median(difference) < 0.05
    assert np.percentile(difference, 99) < 0.1


def test_magnetic_field_of_great_britain(run, shared, tmp_path):
    """A grid is reduced to the pole and keeps its holes, and is cut into tiles with domains drawn in squares of 30 km."""
    field = shared("magnetic_great_britain/gb_tfa_1km.tif")
    reduced = run(
        "magneticpredictors", INPUT=field, DATE="1960-07-01", HEIGHT=2000, OUTPUT=str(tmp_path / "predictors.tif")
    )
    raster, source = gdal.Open(reduced["OUTPUT"]), gdal.Open(field)
    anomaly, values = values_of(source)[0], values_of(raster)
    bands = [raster.GetRasterBand(number).GetDescription() for number in range(1, raster.RasterCount + 1)]
    assert (bands[0], bands[-1]) == ("reduced_to_pole", "upward_2000m")
    assert (np.isnan(values) == np.isnan(anomaly)).all()
    # An inclination near 70° moves anomalies little and keeps their size; 2 km of air makes the field smoother, not stronger.
    known = np.isfinite(anomaly)
    assert np.corrcoef(values[0][known], anomaly[known])[0, 1] > 0.75
    assert np.corrcoef(values[-1][known], anomaly[known])[0, 1] > 0.9
    assert values[-1][known].std() < anomaly[known].std()
    domains, numbers = squares(tmp_path / "domains.gpkg", source, anomaly, 30)
    result = run(
        "extracttiles",
        PREDICTORS=[reduced["OUTPUT"]],
        LABELS=[domains],
        CLASS_FIELD="domain",
        TILE_SIZE=32,
        BUFFER=5000,
        STORAGE="mosaic",
        OUTPUT=str(tmp_path / "set"),
    )
    tiles = TileSet.open(result["OUTPUT"])
    place = part_of(tiles, raster)
    assert named(tiles) == counted(["high", "low"], np.where(known, numbers, 0)[place])
    assert [band.name for band in tiles.bands] == bands
    assert {band.name: band.kind for band in tiles.bands}["reduced_to_pole"] == "scalar"
    np.testing.assert_array_equal(tiles.predictors, values[(slice(None), *place)])
    far_from_test(tiles, 5)
    all_parts(tiles)


def squares(path, raster, values, side):
    """Write squares of so many pixels as polygons, high or low by their mean; return the path and the numbers (row, column)."""
    west, width, _, north, _, height = raster.GetGeoTransform()
    store = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = store.CreateLayer("domains", raster.GetSpatialRef(), ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("domain", ogr.OFTString))
    numbers = np.zeros(values.shape, int)
    layer.StartTransaction()
    for row in range(0, values.shape[0] - side, 2 * side):
        for column in range(0, values.shape[1] - side, side):
            here = values[row : row + side, column : column + side]
            if not np.isfinite(here).any():
                continue
            high = np.nanmean(here) > np.nanmedian(values)
            numbers[row : row + side, column : column + side] = 1 if high else 2
            left, top, right, bottom = column, row, column + side, row + side
            corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
            ring = ",".join(f"{west + width * x} {north + height * y}" for x, y in corners)
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetField("domain", "high" if high else "low")
            feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON (({ring}))"))
            layer.CreateFeature(feature)
    layer.CommitTransaction()
    return str(path), numbers


def test_tiles_of_statlog(run, tmp_path):
    """All 6,435 tiles of 3 × 3 pixels come out bit for bit, with their class and in their part."""
    source = SHARED / "tiles_statlog_landsat" / "statlog_satellite_3x3x4.npz"
    parameters = lay_tiles.lay(source, tmp_path)
    lists = {name: [parameters[name]] for name in ("PREDICTORS", "LABELS")}
    result = run("extracttiles", **{**parameters, **lists, "OUTPUT": str(tmp_path / "set")})
    assert result["TILES"] == 6435
    tiles = TileSet.open(result["OUTPUT"])
    with np.load(source, allow_pickle=False) as file:
        given = {name: file[name] for name in file.files}
    names = {c.code: c.name for c in tiles.classes}
    assert names == dict(enumerate(given["class_names"].tolist(), 1))
    learnt = np.flatnonzero(tiles.tiles["split"] != 3)
    learnt = learnt[np.lexsort((tiles.tiles["column"][learnt], tiles.tiles["row"][learnt]))]
    first = 1 - given["y_train"].min()
    for indices, part in ((learnt, "train"), (tiles.indices("test"), "test")):
        predictors, labels = tiles.read(indices)
        np.testing.assert_array_equal(predictors, given[f"X_{part}"])
        np.testing.assert_array_equal(tiles.tiles["code"][indices], given[f"y_{part}"] + first)
        assert (labels == tiles.tiles["code"][indices][:, None, None]).all()
    all_parts(tiles)
