"""Write point layers to a GeoPackage, with a style in it: a headless result is drawn and animates as one made in QGIS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, ogr, osr

from ..errors import OutputError
from ..files import whole_file
from .seasons import Array

_TYPES = {
    "text": ogr.OFTString,
    "real": ogr.OFTReal,
    "int": ogr.OFTInteger64,
    "date": ogr.OFTDate,
    "datetime": ogr.OFTDateTime,
}
_STYLES_TABLE = """CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT,
styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""
_FORMATS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".csv": "CSV"}


def write_points(
    path: str | Path,
    name: str,
    coordinates: Array,
    crs: str,
    fields: Mapping[str, str],
    columns: Mapping[str, Sequence[Any]],
    qml: str = "",
) -> None:
    """
    Write one point layer, whole or not at all.

    Parameters
    ----------
    name : str
        Of the layer.
    coordinates : (row, 2)
    crs : str
        WKT.
    fields : mapping
        Field → ``text``, ``real``, ``int``, ``date`` or ``datetime``.
    columns : mapping
        Field → one value a row; None and NaN are null; times are ISO texts in UTC.
    qml : str, optional
        QGIS's style, kept in the GeoPackage; for other formats it is written beside the file.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{path.name} has a format that is not written. Choose .gpkg (with style and time), .geojson or .csv."
        )
    reference = None
    if crs:
        reference = osr.SpatialReference()
        reference.ImportFromWkt(crs)
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    with whole_file(path) as part:
        driver = ogr.GetDriverByName(kind)
        dataset = driver.CreateDataSource(str(part))
        options = ["GEOMETRY=AS_XY"] if kind == "CSV" else []
        layer = dataset.CreateLayer(name, reference, ogr.wkbPoint, options)
        for field, type_ in fields.items():
            layer.CreateField(ogr.FieldDefn(field, _TYPES[type_]))
        _fill(layer, coordinates, fields, columns)
        if kind == "GPKG" and qml:
            _keep_style(dataset, name, qml)
        layer = dataset = None
    if kind != "GPKG" and qml:
        path.with_suffix(".qml").write_text(qml, encoding="utf-8")


def _fill(layer: Any, coordinates: Array, fields: Mapping[str, str], columns: Mapping[str, Sequence[Any]]) -> None:
    definition = layer.GetLayerDefn()
    ordered = [(index, columns[field], type_) for index, (field, type_) in enumerate(fields.items())]
    layer.StartTransaction()
    for row, (x, y) in enumerate(coordinates):
        feature = ogr.Feature(definition)
        for index, column, type_ in ordered:
            value = column[row]
            if value is None or (type_ == "real" and not np.isfinite(value)):
                continue
            feature.SetField(index, float(value) if type_ == "real" else int(value) if type_ == "int" else str(value))
        point = ogr.Geometry(ogr.wkbPoint)
        point.AddPoint_2D(float(x), float(y))
        feature.SetGeometryDirectly(point)
        layer.CreateFeature(feature)
    layer.CommitTransaction()


def _keep_style(dataset: Any, layer: str, qml: str) -> None:
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        dataset.ExecuteSQL(_STYLES_TABLE)
        # a GeoPackage's other tables are listed as attributes, else some readers do not see them
        dataset.ExecuteSQL(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', "
            "'layer_styles')"
        )
        text = qml.replace("'", "''")
        dataset.ExecuteSQL(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, styleSLD, "
            f"useAsDefault, description, owner) VALUES ('', '', '{layer}', 'geom', 'GeoDL', '{text}', '', 1, 'GeoDL', '')"
        )
    finally:
        gdal.PopErrorHandler()
