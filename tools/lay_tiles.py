"""
Lay tiles that were cut elsewhere side by side in a raster, from which Extract tiles cuts them again.

The NPZ holds X_train, X_test (tile, band, row, column), y_train, y_test (tile,) and class_names; other libraries' tiles are
easily saved so. Written are predictors.tif, labels.tif and test_areas.gpkg, and what to run is told. Tiles have no place on the
ground, so the grid (1 m pixels from 0, 0) is made up, and each tile is one block of the split: its neighbours are strangers.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr, osr

gdal.UseExceptions()
ogr.UseExceptions()

CRS = 32631  # any CRS in metres


def lay_out(training, test, columns=None):
    """
    Lay tiles (tile, band, row, column) in rows, the test tiles in rows of their own below the others.

    Returns
    -------
    raster : array (band, row, column)
        NaN where there is no tile.
    places : array (tile, 2)
        Row and column of each tile's upper left pixel, training tiles first.
    first_test_row : int
        The row in pixels from which all tiles are test tiles.
    """
    _, bands, size, width = training.shape
    if size != width or test.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"Tiles must be square and alike, but have the shapes {training.shape[1:]} and {test.shape[1:]}."
        )
    columns = columns or math.ceil(math.sqrt(len(training) + len(test)))
    upper = math.ceil(len(training) / columns)
    rows = upper + math.ceil(len(test) / columns)
    numbers = np.concatenate([np.arange(len(training)), upper * columns + np.arange(len(test))])
    places = np.stack([numbers // columns, numbers % columns], axis=1) * size
    raster = np.full((bands, rows * size, columns * size), np.nan, np.float32)
    for tile, (row, column) in zip([*training, *test], places):
        raster[:, row : row + size, column : column + size] = tile
    return raster, places, upper * size


def lay_labels(codes, places, size, shape):
    """Return a raster (row, column) in which each tile has its code throughout."""
    raster = np.zeros(shape, np.uint16)
    for code, (row, column) in zip(codes, places):
        raster[row : row + size, column : column + size] = code
    return raster


def write(path, array, names=(), categories=()):
    """Write an array (band, row, column) on the made-up grid, with names of bands or of classes."""
    kind = gdal.GDT_Float32 if array.dtype == np.float32 else gdal.GDT_UInt16
    bands, height, width = array.shape
    raster = gdal.GetDriverByName("GTiff").Create(
        str(path), width, height, bands, kind, ["COMPRESS=DEFLATE", "TILED=YES"]
    )
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(CRS)
    raster.SetSpatialRef(reference)
    raster.SetGeoTransform((0.0, 1.0, 0.0, float(height), 0.0, -1.0))
    for number, values in enumerate(array, 1):
        band = raster.GetRasterBand(number)
        band.WriteArray(values)
        band.SetNoDataValue(float("nan") if kind == gdal.GDT_Float32 else 0)
        if names:
            band.SetDescription(names[number - 1])
    if categories:
        raster.GetRasterBand(1).SetCategoryNames(["", *categories])
    return path


def write_test_areas(path, first_row, height, width):
    """Write the rectangle of the test tiles."""
    layers = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(CRS)
    layer = layers.CreateLayer("test_areas", reference, ogr.wkbPolygon)
    feature = ogr.Feature(layer.GetLayerDefn())
    top = height - first_row
    feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON ((0 0, {width} 0, {width} {top}, 0 {top}, 0 0))"))
    layer.CreateFeature(feature)
    return path


def lay(source, folder):
    """Write the rasters and the test areas of an NPZ into a folder; return the parameters for Extract tiles."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(source, allow_pickle=False) as file:
        training, test = file["X_train"], file["X_test"]
        codes, names = np.concatenate([file["y_train"], file["y_test"]]), [str(name) for name in file["class_names"]]
    if codes.min() == 0:
        codes = codes.astype(np.uint16) + 1  # 0 is unlabelled
    raster, places, first_test_row = lay_out(training, test)
    size, (_, height, width) = training.shape[2], raster.shape
    bands = [f"band_{number}" for number in range(1, len(raster) + 1)]
    labels = lay_labels(codes, places, size, (height, width))
    return {
        "PREDICTORS": str(write(folder / "predictors.tif", raster, bands)),
        "LABELS": str(write(folder / "labels.tif", labels[np.newaxis], categories=names)),
        "TEST_AREAS": str(write_test_areas(folder / "test_areas.gpkg", first_test_row, height, width)),
        "TILE_SIZE": size,
        "STRIDE": size,
        "BLOCK_SIZE": size,
    }


def main():
    """Lay tiles and tell the command that cuts them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="NPZ with X_train, y_train, X_test, y_test, class_names")
    parser.add_argument("folder", type=Path, help="where to write")
    options = parser.parse_args()
    try:
        parameters = lay(options.source, options.folder)
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"{options.source} cannot be laid out: {error}")
    told = " ".join(f"--{name}={value}" for name, value in parameters.items())
    print(f"qgis_process run geodl:extracttiles {told} --OUTPUT={options.folder / 'tiles'}")


if __name__ == "__main__":
    main()
