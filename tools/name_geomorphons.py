"""Give a raster of geomorphon codes their names and r.geomorphon's colours: `name_geomorphons.py CODES.tif OUTPUT.tif`."""

import sys
from pathlib import Path

from osgeo import gdal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geodl_qgis_plugin.engine.classes import LandClass
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.writer import class_map

GEOMORPHONS = (
    LandClass(1, "flat", "#dcdcdc"),
    LandClass(2, "peak", "#380000"),
    LandClass(3, "ridge", "#c80000"),
    LandClass(4, "shoulder", "#ff5014"),
    LandClass(5, "spur", "#fad23c"),
    LandClass(6, "slope", "#ffff3c"),
    LandClass(7, "hollow", "#b4e614"),
    LandClass(8, "footslope", "#3cfa96"),
    LandClass(9, "valley", "#0000ff"),
    LandClass(10, "pit", "#000038"),
)


def main():
    source = gdal.Open(sys.argv[1])
    codes = source.ReadAsArray()
    with class_map(sys.argv[2], Grid.of(source), GEOMORPHONS, band_name="geomorphon") as writer:
        writer.write(Window(0, 0, *codes.shape), codes)


if __name__ == "__main__":
    main()
