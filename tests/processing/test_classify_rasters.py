"""geodl:classifyrasters through the Processing registry."""

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProcessingException

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification.networks import Architecture
from geodl_qgis_plugin.engine.rasters.grid import Grid
from tests.engine.models import write_classifier
from tests.engine.planted import grids, write_raster


def test_a_folder_and_a_list_are_mapped(run_algorithm, tmp_path):
    """Rasters of a folder and of a list, a map each and as a mosaic; a wrong one ends with a sentence."""
    small = Architecture("unet", 2, 3, [0, 1], numbers={"widths": [4, 6]})
    write_classifier(tmp_path / "m.geodl", small, [Band("a"), Band("b")], ["x", "y", "z"])
    (tmp_path / "in").mkdir()
    plain, generator = grids()["plain"], np.random.default_rng(0)
    for name, column in (("in/north.tif", 0), ("in/south.tif", 40), ("list.tif", 80)):
        grid = Grid(plain.crs, (318000 + 30 * column, 30, 0, 4132000, 0, -30), 40, 40)
        write_raster(tmp_path / name, generator.normal(0, 1, (2, 40, 40)).astype(np.float32), grid, names=("a", "b"))
    parameters = {
        "MODEL": str(tmp_path / "m.geodl"),
        "FOLDER": str(tmp_path / "in"),
        "RASTERS": [str(tmp_path / "list.tif")],
        "CONFIDENCE": True,
        "OUTPUT": str(tmp_path / "maps"),
    }
    outputs = run_algorithm("geodl:classifyrasters", parameters)
    assert outputs["COUNT"] == 3
    names = ["list", "north", "south"]
    assert sorted(outputs["LAYERS"]) == [str(tmp_path / "maps" / f"{name}_classes.tif") for name in names]
    assert all((tmp_path / "maps" / f"{name}_confidence.tif").exists() for name in names)
    outputs = run_algorithm("geodl:classifyrasters", parameters | {"MAPS": "one mosaic", "POLYGONS": True})
    assert gdal.Open(str(tmp_path / "maps" / "mosaic_classes.tif")).RasterXSize == 120
    assert (tmp_path / "maps" / "mosaic_polygons.gpkg").exists()
    assert outputs["TABLE"] == str(tmp_path / "maps" / "maps.csv")
    write_raster(tmp_path / "list.tif", np.zeros((1, 40, 40), np.float32), plain, names=("a",))
    with pytest.raises(
        QgsProcessingException, match=r"1 of 3 rasters cannot be mapped. list.tif: The rasters have 1 band"
    ):
        run_algorithm("geodl:classifyrasters", parameters)
