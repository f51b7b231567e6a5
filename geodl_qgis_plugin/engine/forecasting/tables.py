"""Read features and tables with OGR: columns of texts and numbers, places of the points, one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import gdal, ogr

from ..errors import SeriesError, SourceError
from ..files import check_source

LAYER_NAME = "|layername="
_CSV_OPTIONS = [
    "AUTODETECT_TYPE=NO",  # station ids keep their leading zeros
    "X_POSSIBLE_NAMES=easting,x,lon,long,longitude",
    "Y_POSSIBLE_NAMES=northing,y,lat,latitude",
    "KEEP_GEOM_COLUMNS=YES",
]
_DEGREES = {"lon", "long", "longitude"}


@dataclass(frozen=True)
class Table:
    """
    A layer's rows.

    Attributes
    ----------
    columns : dict
        By field: texts as they stand (empty where null).
    points : (row, 2)
        NaN where a row has no point.
    crs : str
        WKT, empty if unknown or without geometry.
    has_geometry : bool
    """

    path: str
    columns: dict[str, list[str]]
    points: npt.NDArray[np.float64]
    crs: str
    has_geometry: bool

    def column(self, name: str, what: str) -> list[str]:
        """Return a field by name, or say which there are."""
        if name not in self.columns:
            raise SeriesError(
                f"{what} is “{name}”, but {Path(self.path.partition('|')[0]).name} has no such field. Its fields are "
                f"{', '.join(self.columns)}."
            )
        return self.columns[name]


def field_names(path: str) -> list[str]:
    """Return the names of a layer's fields."""
    _, layer = _open(path)
    definition = layer.GetLayerDefn()
    return [definition.GetFieldDefn(index).GetName() for index in range(definition.GetFieldCount())]


def read_table(path: str, fields: list[str] | None = None) -> Table:
    """
    Read a vector layer or table.

    Parameters
    ----------
    path : str
        As GDAL opens it, with ``|layername=NAME`` behind it where the file holds several layers.
    fields : list of str, optional
        The fields to read; all if not given.
    """
    dataset, layer = _open(path)
    definition = layer.GetLayerDefn()
    names = [definition.GetFieldDefn(index).GetName() for index in range(definition.GetFieldCount())]
    chosen = [(index, name) for index, name in enumerate(names) if fields is None or name in fields]
    is_time = [definition.GetFieldDefn(index).GetType() in (ogr.OFTDate, ogr.OFTDateTime) for index, _ in chosen]
    has_geometry = definition.GetGeomType() != ogr.wkbNone
    points, columns = [], [[] for _ in chosen]  # type: ignore[var-annotated]
    for feature in layer:
        for column, (index, _), as_time in zip(columns, chosen, is_time):
            column.append(_time_text(feature, index) if as_time else _text(feature, index))
        if has_geometry:
            points.append(_point(feature.GetGeometryRef()))
    if not columns or not columns[0]:
        raise SourceError(f"{Path(path.partition('|')[0]).name} has no rows. Choose a layer that holds the series.")
    place = np.array(points, dtype=float).reshape(-1, 2) if has_geometry else np.full((len(columns[0]), 2), np.nan)
    crs = layer.GetSpatialRef().ExportToWkt() if has_geometry and layer.GetSpatialRef() is not None else ""
    if (
        not crs
        and has_geometry
        and dataset.GetDriver().ShortName == "CSV"
        and _DEGREES & {name.lower() for name in names}
    ):
        crs = _wgs84()
    return Table(path, {name: column for (_, name), column in zip(chosen, columns)}, place, crs, has_geometry)


def _open(path: str) -> tuple[Any, Any]:
    file, _, name = path.partition(LAYER_NAME)
    check_source(file, "The layer")
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        options = _CSV_OPTIONS if Path(file).suffix.lower() in (".csv", ".tsv", ".txt") else []
        dataset = gdal.OpenEx(file, gdal.OF_VECTOR, open_options=options)
    finally:
        gdal.PopErrorHandler()
    if dataset is None:
        raise SourceError(f"{Path(file).name} is no layer or table that GDAL can open. Export it as GeoPackage or CSV.")
    layer = dataset.GetLayerByName(name) if name else dataset.GetLayer(0)
    if layer is None:
        raise SourceError(f"{Path(file).name} has no layer {name!r}. Choose another layer.")
    return dataset, layer


def _text(feature: Any, index: int) -> str:
    return feature.GetFieldAsString(index).strip() if feature.IsFieldSetAndNotNull(index) else ""


def _time_text(feature: Any, index: int) -> str:
    if not feature.IsFieldSetAndNotNull(index):
        return ""
    year, month, day, hour, minute, second, zone = feature.GetFieldAsDateTime(index)
    text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{int(second):02d}"
    if zone <= 1:  # unknown, or local without saying where
        return text
    offset = (zone - 100) * 15
    return f"{text}{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"


def _point(geometry: Any) -> tuple[float, float]:
    if geometry is None or geometry.IsEmpty():
        return np.nan, np.nan
    if geometry.GetGeometryName() != "POINT":
        geometry = geometry.Centroid()
    return geometry.GetX(), geometry.GetY()


def _wgs84() -> str:
    from osgeo import osr  # noqa: PLC0415

    reference = osr.SpatialReference()
    reference.ImportFromEPSG(4326)
    return str(reference.ExportToWkt())
