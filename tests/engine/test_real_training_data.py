"""Labels in another CRS with non-square pixels, on real ground."""

from pathlib import Path

import numpy as np
from osgeo import gdal

from geodl_qgis_plugin.engine.rasters.grid import Grid

from .planted import middles
from .test_tile_set import extract

DATA = Path(__file__).resolve().parents[1] / "data"


def test_land_cover_lands_on_the_elevation_it_lies_on(tmp_path):
    """Each DEM pixel in degrees has the class of the UTM pixel that holds its middle, point by point through PROJ."""
    tiles = extract(
        tmp_path / "set", predictors=[str(DATA / "zion_srtm.tif")], labels=[str(DATA / "zion_nlcd.tif")], buffer=0.002
    )
    cover = gdal.Open(str(DATA / "zion_nlcd.tif"))
    ground, codes = Grid.of(cover), cover.ReadAsArray()
    rows, columns = ground.pixels(*middles(tiles.grid, 26912))
    clear = np.minimum(np.abs(rows - np.round(rows)), np.abs(columns - np.round(columns))) > 0.1
    expected = codes[np.floor(rows).astype(int), np.floor(columns).astype(int)]
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(np.array(tiles.labels)[clear], expected[clear])
    assert {c.colour for c in tiles.classes} >= {"#68aa63", "#a58c30"}  # forest and shrub, as the palette has them
    values = gdal.Open(str(DATA / "zion_srtm.tif")).ReadAsArray()
    np.testing.assert_array_equal(tiles.predictors[0], values)
    assert all(tiles.indices(part).size for part in ("training", "validation", "test"))
