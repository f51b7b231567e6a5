"""Small rasters and polygons with known contents, for tests of training data."""

import math

import numpy as np
from osgeo import gdal, ogr, osr

from geodl_qgis_plugin.engine.rasters.grid import Grid

gdal.UseExceptions()
ogr.UseExceptions()
osr.UseExceptions()


def reference(code):
    """Return a CRS with easting or longitude first."""
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(code)
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return crs


def grids():
    """Return grids of every awkward kind on the same ground near 113° W, 37.3° N, with the name of each."""
    wkt, degrees = reference(26912).ExportToWkt(), reference(4326).ExportToWkt()
    angle = math.radians(25)
    c, s = 30 * math.cos(angle), 30 * math.sin(angle)
    return {
        "plain": Grid(wkt, (318000, 30, 0, 4132000, 0, -30), 90, 70),
        "rotated": Grid(wkt, (318000, c, s, 4132000, s, -c), 90, 70),
        "south-up": Grid(wkt, (318000, 30, 0, 4129900, 0, 30), 90, 70),
        "degrees": Grid(degrees, (-113.05, 0.00034, 0, 37.33, 0, -0.00027), 90, 70),
        "non-square": Grid(wkt, (318000.7, 41.3, 0, 4132000.2, 0, -23.9), 60, 80),
    }


def write_raster(path, bands, grid, *, nodata=None, kind=None, names=(), palette=None):
    """Write bands (band, row, column) as a GeoTIFF and return its path as text."""
    bands = np.atleast_3d(bands.T).T if bands.ndim == 2 else bands
    types = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "int16": gdal.GDT_Int16, "float64": gdal.GDT_Float64}
    types |= {"float32": gdal.GDT_Float32, "int32": gdal.GDT_Int32, "complex64": gdal.GDT_CFloat32}
    kind = kind or types[str(bands.dtype)]
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), grid.width, grid.height, len(bands), kind)
    dataset.SetGeoTransform(grid.transform)
    dataset.SetProjection(grid.crs)
    for i, band in enumerate(bands):
        target = dataset.GetRasterBand(i + 1)
        if nodata is not None:
            target.SetNoDataValue(nodata)
        if palette:
            table = gdal.ColorTable()
            for code, colour in palette.items():
                table.SetColorEntry(code, colour)
            target.SetColorTable(table)
        target.WriteArray(band)
        if names:
            target.SetDescription(names[i])
    dataset = None
    return str(path)


def write_polygons(path, shapes, code, *, field="kind", field_type=ogr.OFTString):
    """Write polygons, lines or points (WKT, value) as a GeoPackage in the CRS ``code`` and return its path as text."""
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = dataset.CreateLayer("shapes", reference(code), ogr.wkbUnknown)
    layer.CreateField(ogr.FieldDefn(field, field_type))
    for wkt, value in shapes:
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
        if value is not None:
            feature[field] = value
        layer.CreateFeature(feature)
    del layer, dataset
    return str(path)


def middles(grid, code):
    """Return the coordinates of all pixels' middles in another CRS, each (row, column); by PROJ, point by point."""
    rows, columns = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    eastings, northings = grid.coordinates(rows, columns)
    there = osr.CoordinateTransformation(grid.spatial_reference, reference(code))
    points = np.array(there.TransformPoints(np.column_stack([eastings.ravel(), northings.ravel()])))
    return points[:, 0].reshape(rows.shape), points[:, 1].reshape(rows.shape)
