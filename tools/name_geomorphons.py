"""Give a raster of geomorphon codes their names and colours: `name_geomorphons.py CODES.tif OUTPUT.tif`."""

import sys
from pathlib import Path

from osgeo import gdal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geodl_qgis_plugin.engine.classes import LandClass
from geodl_qgis_plugin.engine.rasters.grid import Grid, Window
from geodl_qgis_plugin.engine.rasters.writer import class_map

# r.geomorphon's hues, from warm (convex) to cool (concave), softened so that a hillshade shows through
GEOMORPHONS = (
    LandClass(1, "flat", "#e4e4e4"),
    LandClass(2, "peak", "#5e1914"),
    LandClass(3, "ridge", "#b8443a"),
    LandClass(4, "shoulder", "#e58b4f"),
    LandClass(5, "spur", "#f2c46d"),
    LandClass(6, "slope", "#f7efb9"),
    LandClass(7, "hollow", "#b7d69c"),
    LandClass(8, "footslope", "#74c2a4"),
    LandClass(9, "valley", "#3d85b8"),
    LandClass(10, "pit", "#1d3a75"),
)


def main():
    source = gdal.Open(sys.argv[1])
    codes = source.ReadAsArray()
    with class_map(sys.argv[2], Grid.of(source), GEOMORPHONS, band_name="geomorphon") as writer:
        writer.write(Window(0, 0, *codes.shape), codes)


if __name__ == "__main__":
    main()
