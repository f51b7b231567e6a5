"""
Write the demo's DEM: the Jacksboro fault, Tennessee, in UTM zone 16N at 90 m.

    python tools/jacksboro_dem.py OUTPUT.tif

The elevations are SRTM data that matplotlib ships as sample data (jacksboro_fault_dem.npz), so that nothing is downloaded.
They are projected by bilinear interpolation, with GDAL's own choice of origin; the same file comes out on every machine.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import cbook
from osgeo import gdal, osr

gdal.UseExceptions()
osr.UseExceptions()


def degrees():
    """Return the DEM as it is shipped: metres, a pixel of 3 arc seconds, WGS 84."""
    with np.load(cbook.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)) as sample:
        elevation = sample["elevation"]
        west, east, north, south = (float(sample[name]) for name in ("xmin", "xmax", "ymin", "ymax"))  # sic
    rows, columns = elevation.shape
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(4326)
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    dataset = gdal.GetDriverByName("MEM").Create("", columns, rows, 1, gdal.GDT_Int16)
    dataset.SetSpatialRef(crs)
    dataset.SetGeoTransform((west, (east - west) / columns, 0, north, 0, (south - north) / rows))
    dataset.GetRasterBand(1).WriteArray(elevation)
    return dataset


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    dataset = gdal.Warp(
        str(output),
        degrees(),
        dstSRS="EPSG:32616",
        xRes=90,
        yRes=90,
        resampleAlg="bilinear",
        outputType=gdal.GDT_Float32,
        dstNodata=-32768,
        creationOptions=["COMPRESS=DEFLATE", "TILED=YES"],
    )
    band = dataset.GetRasterBand(1)
    band.SetDescription("elevation")
    band.SetUnitType("m")
    dataset.FlushCache()


if __name__ == "__main__":
    main()
