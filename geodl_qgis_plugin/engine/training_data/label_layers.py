"""
One layer of labels: polygons, lines, points or a raster, read window by window as numbers of values on the predictors' grid.

A layer knows its distinct values; what they are called and which code each gets is decided in `labels.py` for all layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, ogr

from ..errors import GridError, LabelsError, SettingsError, SourceError
from ..rasters.grid import Grid, Window, windows_of
from ..rasters.sources import open_raster, read_source
from ..rasters.stack import open_stack
from .vector_layers import OpenLayer, features_on_grid, open_vector

gdal.UseExceptions()
ogr.UseExceptions()

_CHUNK_PX = 2048
_MOST_VALUES = 1000  # more than that is a measurement or an identifier, not a class


@dataclass(frozen=True)
class Value:
    """A distinct value in a layer, and the name and colour that the layer itself gives it, if any."""

    text: str
    name: str = ""
    colour: str = ""


class VectorLabels:
    """
    Polygons, lines or points, rasterised where a pixel's middle lies inside.

    Where features of different values overlap, the smaller one lies on top (a dyke on its host rock); points and lines lie on
    top of polygons. `read` gives, for each pixel, 1 + the position of its value in ``values``, and 0 where there is none.
    """

    def __init__(self, path: str, grid: Grid, class_field: str, width: float) -> None:
        self.path, self.grid = path, grid
        layer = open_vector(path)
        field = _field(layer, class_field)
        found = [(geometry, feature.GetField(field)) for feature, geometry in features_on_grid(layer, grid, width)]
        if not found:
            raise LabelsError(
                f"The labels {path} have no feature inside the raster ({layer.layer.GetFeatureCount()} features in all). "
                "Give labels and rasters of the same area, and check their CRS."
            )
        kept = [(geometry, value_text(value)) for geometry, value in found if value_text(value)]
        if not kept:
            raise LabelsError(
                f"The class field {class_field} of {path} is empty in all {len(found)} features inside the raster. "
                f"Choose another field: {', '.join(layer.fields)}."
            )
        self.empty = len(found) - len(kept)
        texts = sorted({text for _, text in kept}, key=value_order)
        if len(texts) > _MOST_VALUES:
            raise LabelsError(
                f"The class field {class_field} of {path} has {len(texts)} different values: it looks like a measurement or an "
                f"identifier. Choose a field that names classes: {', '.join(layer.fields)}."
            )
        self.values = [Value(text) for text in texts]
        kept.sort(key=lambda item: -_area(item[0]))
        numbers = {text: i + 1 for i, text in enumerate(texts)}
        entries = [(geometry, numbers[text], i + 1) for i, (geometry, text) in enumerate(kept)]
        self.unit_count = len(entries)
        self._store = ogr.GetDriverByName("Memory").CreateDataSource("")
        self._layer = _memory_layer(self._store, "features", entries, grid)
        self._reversed = _memory_layer(self._store, "reversed", entries[::-1], grid) if len(entries) > 1 else None
        boxes = np.array([geometry.GetEnvelope() for geometry, _ in kept])
        self.bounds = (boxes[:, 0].min(), boxes[:, 2].min(), boxes[:, 1].max(), boxes[:, 3].max())

    def read(self, window: Window) -> NDArray[np.uint16]:
        """Return the number of each pixel's value, 0 where there is none."""
        return self._burnt(self._layer, "value", window).astype(np.uint16)

    def overlapping(self, window: Window, numbers: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Return where features of different values overlap; ``numbers`` is what `read` gave."""
        if self._reversed is None:
            return np.zeros(numbers.shape, bool)
        differ: NDArray[np.bool_] = self._burnt(self._reversed, "value", window) != numbers
        return differ

    def units(self, window: Window) -> NDArray[np.uint32]:
        """Return the number of the feature on each pixel, from 1; 0 where there is none."""
        return self._burnt(self._layer, "unit", window)

    def _burnt(self, layer: ogr.Layer, attribute: str, window: Window) -> NDArray[np.uint32]:
        part = self.grid.part(window)
        target = gdal.GetDriverByName("MEM").Create("", window.width, window.height, 1, gdal.GDT_UInt32)
        target.SetSpatialRef(part.spatial_reference)
        target.SetGeoTransform(part.transform)
        west, south, east, north = part.bounds
        layer.SetSpatialFilterRect(west, south, east, north)
        gdal.RasterizeLayer(target, [1], layer, options=[f"ATTRIBUTE={attribute}"])
        burnt: NDArray[np.uint32] = target.ReadAsArray()
        return burnt


class RasterLabels:
    """
    A raster of codes, read on the predictors' grid by nearest neighbour.

    Names and colours come from its attribute table, its category names and its colour table. 0 is unlabelled unless the raster
    has another nodata value or names it.
    """

    empty = 0
    unit_count = 0

    def __init__(self, path: str, grid: Grid) -> None:
        self.path, self.grid = path, grid
        if "|" not in path and open_raster(path).RasterCount > 1:
            path += "|bands=1"
        self._stack = open_stack([f"{path}|resampling=nearest"], grid=grid)
        self.bounds = grid.bounds
        dataset = open_raster(path.split("|")[0])
        band = dataset.GetRasterBand(read_source(path).facts[0].number)
        told = _told_by_raster(band)
        codes = self._codes()
        zero_is_a_class = band.GetNoDataValue() not in (None, 0) or bool(told.get(0, Value("")).name)
        if not zero_is_a_class:
            codes = codes[codes != 0]
        if codes.size == 0:
            raise LabelsError(
                f"The labels {self.path} have no labelled pixel inside the raster. Give labels and rasters of the same area, "
                "and check their CRS and nodata value."
            )
        self._sorted = codes
        self.values = [told.get(int(code), Value(str(int(code)))) for code in codes]

    def read(self, window: Window) -> NDArray[np.uint16]:
        """Return the number of each pixel's value, 0 where there is none."""
        values = self._stack.read(window)[0]
        numbers = np.searchsorted(self._sorted, values)
        numbers[numbers == self._sorted.size] = 0
        hit = self._sorted[numbers] == values
        return np.where(hit, numbers + 1, 0).astype(np.uint16)

    def overlapping(self, window: Window, numbers: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Return nothing: codes of one raster do not overlap."""
        return np.zeros(numbers.shape, bool)

    def units(self, window: Window) -> NDArray[np.uint32]:
        """Refuse: a raster has no features."""
        raise SettingsError(
            "A split by polygon needs labels with features, but the labels are a raster. Split by blocks instead."
        )

    def _codes(self) -> NDArray[np.float32]:
        """Return the distinct codes on the grid, in order."""
        found: set[float] = set()
        for window in windows_of(Window(0, 0, self.grid.height, self.grid.width), _CHUNK_PX):
            values = self._stack.read(window)
            values = np.unique(values[np.isfinite(values)])
            if (values != np.round(values)).any():
                raise LabelsError(
                    f"The labels {self.path} hold fractions ({values[values != np.round(values)][0]:g}). Give a "
                    "raster of whole "
                    "codes, one a class."
                )
            found.update(values.tolist())
            if len(found) > _MOST_VALUES:
                raise LabelsError(
                    f"The labels {self.path} hold more than {_MOST_VALUES} different codes: it looks like a "
                    "measurement. Give a "
                    "raster of classes."
                )
        return np.array(sorted(found), np.float32)


LabelLayer = VectorLabels | RasterLabels


def open_label_layer(path: str, grid: Grid, class_field: str, width: float) -> LabelLayer:
    """
    Open a vector layer or a raster as labels on ``grid``.

    Raises
    ------
    SourceError
        If the path is neither.
    LabelsError
        If nothing in it can be learnt from inside the grid.
    """
    file = path.split("|")[0]
    if "layername=" not in path and _is_raster(file):
        try:
            return RasterLabels(path, grid)
        except GridError as error:
            if "does not overlap" in str(error):
                raise LabelsError(f"The labels do not lie on the predictors. {error}") from error
            raise
    return VectorLabels(path, grid, class_field, width)


def value_text(value: Any) -> str:
    """Return a value of a class field as a text: 3.0 and 3 are the same; empty for none."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def value_order(text: str) -> tuple[int, float, str]:
    """Sort numbers by size, then texts by letters."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _is_raster(path: str) -> bool:
    if not path.startswith("/vsi") and ":" not in path and not Path(path).exists():
        raise SourceError(f"The labels {path} do not exist. Check their name and folder.")
    try:
        dataset = gdal.OpenEx(path, gdal.OF_RASTER)
    except RuntimeError:
        return False
    return dataset is not None and dataset.RasterCount > 0


def _field(layer: OpenLayer, class_field: str) -> str:
    if not class_field:
        raise LabelsError(
            f"CLASS_FIELD is not set, and the labels {layer.path} have the fields {', '.join(layer.fields) or '(none)'}. "
            "Choose the field that names the class."
        )
    names = {name.lower(): name for name in layer.fields}
    if class_field.lower() not in names:
        raise LabelsError(
            f"The labels {layer.path} have no field {class_field}. Choose one of {', '.join(layer.fields) or '(none)'}."
        )
    return names[class_field.lower()]


def _area(geometry: ogr.Geometry) -> float:
    return float(geometry.GetArea()) if geometry.GetDimension() == 2 else 0.0


def _memory_layer(
    store: ogr.DataSource, name: str, entries: Sequence[tuple[ogr.Geometry, int, int]], grid: Grid
) -> ogr.Layer:
    layer = store.CreateLayer(name, grid.spatial_reference)
    for field in ("value", "unit"):
        layer.CreateField(ogr.FieldDefn(field, ogr.OFTInteger))
    for geometry, value, unit in entries:
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(geometry)
        feature.SetField("value", value)
        feature.SetField("unit", unit)
        layer.CreateFeature(feature)
    return layer


def _told_by_raster(band: gdal.Band) -> Mapping[int, Value]:
    """Return names and colours by code, from the attribute table, the category names and the colour table."""
    # The palette first: GDAL 3.6 gives no category names from .aux.xml to whoever asks a GeoTIFF for them first.
    palette = band.GetColorTable()
    names: dict[int, str] = {i: name for i, name in enumerate(band.GetCategoryNames() or []) if name}
    colours: dict[int, str] = {}
    for i in range(palette.GetCount() if palette else 0):
        red, green, blue, _ = palette.GetColorEntry(i)
        colours[i] = f"#{red:02x}{green:02x}{blue:02x}"
    table = band.GetDefaultRAT()
    if table is not None and table.GetRowCount():
        _read_table(table, names, colours)
    return {code: Value(str(code), names.get(code, ""), colours.get(code, "")) for code in {*names, *colours}}


def _read_table(table: gdal.RasterAttributeTable, names: dict[int, str], colours: dict[int, str]) -> None:
    columns = range(table.GetColumnCount())
    usages = {table.GetUsageOfCol(i): i for i in columns}
    titles = {table.GetNameOfCol(i).lower(): i for i in columns}
    value = usages.get(gdal.GFU_MinMax, usages.get(gdal.GFU_Min, titles.get("value")))
    texts = [i for i in columns if table.GetTypeOfCol(i) == gdal.GFT_String]
    wanted = [titles[t] for t in ("class_name", "classname", "class", "name", "label", "category") if t in titles]
    name = usages.get(gdal.GFU_Name, next((i for i in [*wanted, *texts] if i in texts), None))
    rgb = [usages.get(use) for use in (gdal.GFU_Red, gdal.GFU_Green, gdal.GFU_Blue)]
    for row in range(table.GetRowCount()):
        code = row if value is None else round(table.GetValueAsDouble(row, value))
        if name is not None and table.GetValueAsString(row, name).strip():
            names[code] = table.GetValueAsString(row, name).strip()
        if None not in rgb:
            red, green, blue = (table.GetValueAsInt(row, i) for i in rgb)
            colours[code] = f"#{red:02x}{green:02x}{blue:02x}"
