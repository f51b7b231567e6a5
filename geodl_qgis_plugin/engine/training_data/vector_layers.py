"""Vector layers brought to a raster's grid: opened by QGIS' kind of name, filtered, reprojected finely, widened."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, ogr, osr

from ..errors import GridError, SettingsError, SourceError
from ..rasters.grid import Grid, Window

ogr.UseExceptions()
osr.UseExceptions()

_SEGMENT_PX = 16  # straight edges are bent by reprojection: they are cut into pieces of this length first


@dataclass
class OpenLayer:
    """A layer and the dataset that keeps it open."""

    path: str
    dataset: gdal.Dataset
    layer: ogr.Layer
    fields: list[str]
    reference: osr.SpatialReference


def open_vector(path: str) -> OpenLayer:
    """
    Open ``path`` or ``path|layername=name|subset=filter``.

    Raises
    ------
    SourceError
        If it is missing, no vector layer, or holds several and none is named.
    GridError
        If it has no CRS.
    """
    file, *rest = path.split("|")
    options = dict(part.split("=", 1) for part in rest if "=" in part)
    if not file.startswith("/vsi") and not re.match(r"^[A-Za-z]{2,}:", file) and not Path(file).exists():
        raise SourceError(f"The layer {file} does not exist. Check its name and folder.")
    try:
        dataset = gdal.OpenEx(file, gdal.OF_VECTOR)
    except RuntimeError as error:
        raise SourceError(
            f"{file} is no vector layer that GDAL can read, nor a raster. Give polygons, points or a raster."
        ) from error
    layer = _layer(dataset, file, options)
    if "subset" in options:
        layer.SetAttributeFilter(options["subset"])
    if layer.GetSpatialRef() is None:
        raise GridError(
            f"The layer {path} has no CRS. Assign one (Layer > Layer CRS > Set CRS of Layer) and save it again."
        )
    reference = layer.GetSpatialRef().Clone()
    reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return OpenLayer(path, dataset, layer, [field.GetName() for field in layer.schema], reference)


def features_on_grid(opened: OpenLayer, grid: Grid, width: float = 0.0) -> Iterator[tuple[ogr.Feature, ogr.Geometry]]:
    """
    Give each feature that touches the grid, with its geometry in the grid's CRS.

    Lines and points are widened to ``width`` (map units of the grid) if it is not 0.
    """
    there = osr.CoordinateTransformation(opened.reference, grid.spatial_reference)
    same = bool(opened.reference.IsSame(grid.spatial_reference))
    segment = 0.0 if same else _SEGMENT_PX * _layer_units_per_pixel(opened, grid)
    area = _outline(grid)
    opened.layer.SetSpatialFilter(None)
    opened.layer.ResetReading()
    for feature in opened.layer:
        geometry = feature.GetGeometryRef()
        if geometry is None or geometry.IsEmpty():
            continue
        geometry = geometry.Clone()
        if geometry.HasCurveGeometry(1):
            geometry = geometry.GetLinearGeometry()
        geometry.FlattenTo2D()
        if not same:
            if segment and geometry.GetDimension() > 0:
                geometry.Segmentize(segment)
            try:
                geometry.Transform(there)
            except RuntimeError:  # outside the reach of the grid's projection, so not on the grid
                continue
        if width > 0 and geometry.GetDimension() < 2:
            geometry = geometry.Buffer(width / 2, 16)
        if _envelopes_meet(geometry.GetEnvelope(), area.GetEnvelope()) and _intersects(geometry, area):
            yield feature, geometry


class Areas:
    """Polygons as a mask on a grid: the user's own test areas, or what is to be mapped; ``setting`` names the parameter."""

    def __init__(self, path: str, grid: Grid, setting: str = "TEST_AREAS") -> None:
        opened = open_vector(path)
        self._grid = grid
        self._store = ogr.GetDriverByName("Memory").CreateDataSource("")
        self._layer = self._store.CreateLayer("areas", grid.spatial_reference)
        self.count = 0
        for _, geometry in features_on_grid(opened, grid):
            if geometry.GetDimension() < 2:
                what = setting.lower().replace("_", " ")
                raise SettingsError(f"The {what} {path} holds points or lines. Give a layer of polygons as {setting}.")
            feature = ogr.Feature(self._layer.GetLayerDefn())
            feature.SetGeometry(geometry)
            self._layer.CreateFeature(feature)
            self.count += 1

    @property
    def window(self) -> Window:
        """Return the smallest window of the grid that holds all polygons, as far as they lie on it."""
        west, east, south, north = self._layer.GetExtent()
        rows, columns = self._grid.pixels(np.array([west, west, east, east]), np.array([south, north, south, north]))
        top, left = max(math.floor(rows.min()), 0), max(math.floor(columns.min()), 0)
        bottom, right = min(math.ceil(rows.max()), self._grid.height), min(math.ceil(columns.max()), self._grid.width)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))

    def read(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of the window have their middle inside a polygon."""
        part = self._grid.part(window)
        target = gdal.GetDriverByName("MEM").Create("", window.width, window.height, 1, gdal.GDT_Byte)
        target.SetSpatialRef(part.spatial_reference)
        target.SetGeoTransform(part.transform)
        west, south, east, north = part.bounds
        self._layer.SetSpatialFilterRect(west, south, east, north)
        gdal.RasterizeLayer(target, [1], self._layer, burn_values=[1])
        inside: NDArray[np.bool_] = target.ReadAsArray() == 1
        return inside


def _layer(dataset: gdal.Dataset, file: str, options: dict[str, str]) -> ogr.Layer:
    names = [dataset.GetLayer(i).GetName() for i in range(dataset.GetLayerCount())]
    if "layername" in options:
        if options["layername"] not in names:
            raise SourceError(f"{file} has no layer {options['layername']}. Choose one of {', '.join(names)}.")
        return dataset.GetLayerByName(options["layername"])
    if "layerid" in options:
        return dataset.GetLayer(int(options["layerid"]))
    drawn = [name for name in names if dataset.GetLayerByName(name).GetGeomType() != ogr.wkbNone]
    if len(drawn) == 1:
        return dataset.GetLayerByName(drawn[0])
    if not drawn:
        raise SourceError(f"{file} holds no layer with points, lines or polygons. Give a vector layer or a raster.")
    raise SourceError(
        f"{file} holds {len(drawn)} layers ({', '.join(drawn[:6])}). Name one: {file}|layername={drawn[0]}."
    )


def _layer_units_per_pixel(opened: OpenLayer, grid: Grid) -> float:
    back = osr.CoordinateTransformation(grid.spatial_reference, opened.reference)
    middle, across = (grid.coordinates(grid.height / 2, grid.width / 2 + d) for d in (0, 1))
    try:
        (x0, y0, *_), (x1, y1, *_) = back.TransformPoint(*middle), back.TransformPoint(*across)
    except RuntimeError:
        return 0.0
    step = math.hypot(x1 - x0, y1 - y0)
    return step if math.isfinite(step) else 0.0


def _outline(grid: Grid) -> ogr.Geometry:
    ring = ogr.Geometry(ogr.wkbLinearRing)
    for row, column in ((0, 0), (0, grid.width), (grid.height, grid.width), (grid.height, 0), (0, 0)):
        ring.AddPoint_2D(*grid.coordinates(row, column))
    polygon = ogr.Geometry(ogr.wkbPolygon)
    polygon.AddGeometry(ring)
    return polygon


def _envelopes_meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1] and a[2] <= b[3] and b[2] <= a[3]


def _intersects(geometry: ogr.Geometry, area: ogr.Geometry) -> bool:
    try:
        return bool(geometry.Intersects(area))
    except RuntimeError:  # a polygon that is not valid is still drawn
        return True
