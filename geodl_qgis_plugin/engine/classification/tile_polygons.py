"""Classified tiles as polygons: one square a tile, with its class and confidence, in a styled GeoPackage."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import ogr

from ..classes import LandClass
from ..files import whole_file
from ..rasters.grid import Grid, Window
from ..rasters.styles import polygons_qml, write_layer_style
from ..rasters.writer import gdal_sentences

LAYER = "tiles"


class TilePolygons:
    """
    A GeoPackage of tiles that is written row by row; a context that keeps all or nothing.

    Parameters
    ----------
    grid : Grid
        Of the area that is classified; tiles start at its upper left corner, every ``step`` pixels.
    """

    def __init__(
        self, path: str, grid: Grid, classes: Sequence[LandClass], size: int, step: int, part_key: str = ""
    ) -> None:
        self._path, self._grid, self._classes, self._key = Path(path), grid, list(classes), part_key
        self._size, self._step = size, step

    def __enter__(self) -> TilePolygons:
        self._whole = whole_file(self._path, self._key)
        self._part = self._whole.__enter__()
        with gdal_sentences(self._path):
            self._dataset: Any = ogr.GetDriverByName("GPKG").CreateDataSource(str(self._part))
            self._layer: Any = self._dataset.CreateLayer(LAYER, self._grid.spatial_reference, ogr.wkbPolygon)
            for name, kind in (("class", ogr.OFTString), ("code", ogr.OFTInteger), ("confidence", ogr.OFTReal)):
                self._layer.CreateField(ogr.FieldDefn(name, kind))
            self._dataset.StartTransaction()
        return self

    def write(self, codes: npt.NDArray[Any], confidence: npt.NDArray[np.floating[Any]], place: Window) -> None:
        """Write a block of tiles: codes (row, column) with 0 for nodata, their confidence, and where they lie, in tiles."""
        names = {one.code: one.name for one in self._classes}
        with gdal_sentences(self._path):
            for row, column in zip(*np.nonzero(codes)):
                code = int(codes[row, column])
                feature = ogr.Feature(self._layer.GetLayerDefn())
                feature.SetGeometry(self._square(place.row + int(row), place.column + int(column)))
                feature["class"], feature["code"] = names[code], code
                feature["confidence"] = round(float(confidence[row, column]), 3)
                self._layer.CreateFeature(feature)

    def __exit__(self, *error: Any) -> None:
        try:
            with gdal_sentences(self._path):
                if error[0] is None:
                    self._dataset.CommitTransaction()
                self._layer = self._dataset = None
                if error[0] is None:
                    write_layer_style(self._part, LAYER, polygons_qml(self._classes))
        except BaseException:
            self._layer = self._dataset = None
            self._whole.__exit__(*sys.exc_info())
            raise
        self._whole.__exit__(*error)

    def _square(self, row: int, column: int) -> ogr.Geometry:
        top, left, size = row * self._step, column * self._step, self._size
        ring = ogr.Geometry(ogr.wkbLinearRing)
        for down, right in ((0, 0), (0, size), (size, size), (size, 0), (0, 0)):
            ring.AddPoint_2D(*self._grid.coordinates(top + down, left + right))
        polygon = ogr.Geometry(ogr.wkbPolygon)
        polygon.AddGeometry(ring)
        return polygon
