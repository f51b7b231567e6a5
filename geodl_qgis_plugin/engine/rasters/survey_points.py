"""Points of a survey with one measured value each, from a point layer or from a table of coordinates."""

from __future__ import annotations

import csv
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, ogr, osr

from ..errors import GridError, SettingsError, SourceError
from ..files import check_source
from .optional_packages import needed_package

ogr.UseExceptions()

Array = NDArray[np.float64]

_TABLES = (".csv", ".csv.xz", ".csv.gz", ".csv.bz2", ".csv.zip", ".txt", ".xyz", ".dat")
# names of columns, in lower case, that are taken for coordinates where none are named
_PROJECTED = (("easting", "northing"), ("x", "y"), ("east", "north"))
_DEGREES = (("longitude", "latitude"), ("lon", "lat"), ("long", "lat"))


@dataclass(frozen=True)
class SurveyPoints:
    """Coordinates and values of points in one CRS; ``dropped`` counts those without a number."""

    easting: Array
    northing: Array
    value: Array
    crs: str  # WKT
    dropped: int = 0

    def projected_to(self, target: osr.SpatialReference) -> SurveyPoints:
        """Return the points in another CRS."""
        source = osr.SpatialReference(wkt=self.crs)
        source.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        target = target.Clone()
        target.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        if source.IsSame(target):
            return self
        try:
            there = np.array(
                osr.CoordinateTransformation(source, target).TransformPoints(
                    np.column_stack([self.easting, self.northing])
                )
            )
        except RuntimeError as error:
            raise GridError(
                f"The points cannot be brought into {target.GetName()} ({error}). Check the CRS of the points and of the grid."
            ) from error
        inside = np.isfinite(there[:, :2]).all(axis=1)
        return SurveyPoints(
            there[inside, 0],
            there[inside, 1],
            self.value[inside],
            target.ExportToWkt(),
            self.dropped + int((~inside).sum()),
        )


def read_points(path: str, value_field: str, *, x_field: str = "", y_field: str = "", crs: str = "") -> SurveyPoints:
    """
    Read the points of a layer (``path`` or ``path|layername=name``) or of a table (CSV, also compressed).

    Parameters
    ----------
    x_field, y_field : str
        Columns of a table with the coordinates; guessed from usual names where they are not given.
    crs : str
        CRS of a table's coordinates; longitude and latitude on WGS 84 where their names say so.

    Raises
    ------
    SourceError, SettingsError, GridError
        If the file is missing or no point layer, a field is missing or not numeric, or the CRS is unknown.
    """
    file, _, layer_name = path.partition("|layername=")
    check_source(file, "The points")
    if Path(file).name.lower().endswith(_TABLES):
        return _of_table(file, value_field, x_field, y_field, crs)
    return _of_layer(file, layer_name.partition("|")[0], value_field, crs)


def _of_table(path: str, value_field: str, x_field: str, y_field: str, crs: str) -> SurveyPoints:
    pandas = needed_package("pandas", "Tables of points")
    try:
        names = [str(name) for name in pandas.read_csv(path, nrows=0, sep=None, engine="python").columns]
    except (ValueError, OSError, EOFError, csv.Error, lzma.LZMAError) as error:
        raise SourceError(
            f"The table {path} cannot be read ({error}). Give a CSV with one line of column names."
        ) from error
    _check_field(value_field, names, path)
    x_field, y_field, in_degrees = _coordinate_fields(x_field, y_field, names, path)
    if not crs:
        if not in_degrees:
            raise GridError(f"The table {path} does not say its CRS. Give POINTS_CRS for {x_field} and {y_field}.")
        crs = "EPSG:4326"
    wanted = list(dict.fromkeys([x_field, y_field, value_field]))
    try:
        table = pandas.read_csv(path, usecols=wanted, na_values=["*", "-", "dummy"])
    except ValueError:  # another separator than a comma
        table = pandas.read_csv(path, usecols=wanted, na_values=["*", "-", "dummy"], sep=None, engine="python")
    columns = [
        pandas.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in (x_field, y_field, value_field)
    ]
    return _checked(*columns, crs=_wkt(crs), path=path, value_field=value_field)


def _of_layer(path: str, layer_name: str, value_field: str, crs: str) -> SurveyPoints:
    try:
        dataset = gdal.OpenEx(path, gdal.OF_VECTOR)
    except RuntimeError as error:
        raise SourceError(f"{path} is neither a point layer nor a table that can be read ({error}).") from error
    layer = dataset.GetLayerByName(layer_name) if layer_name else dataset.GetLayer(0)
    if layer is None:
        raise SourceError(
            f"{path} has no layer {layer_name!r}. Give one that it has, such as {dataset.GetLayer(0).GetName()!r}."
        )
    definition = layer.GetLayerDefn()
    kind = ogr.GT_Flatten(layer.GetGeomType())
    if kind not in (ogr.wkbPoint, ogr.wkbMultiPoint, ogr.wkbUnknown):
        raise SourceError(f"The layer {path} holds {ogr.GeometryTypeToName(kind).lower()}s, but points are needed.")
    _check_field(value_field, [definition.GetFieldDefn(i).GetName() for i in range(definition.GetFieldCount())], path)
    reference = layer.GetSpatialRef()
    if reference is not None and reference.GetName().startswith("Undefined"):  # so GeoPackage writes that there is none
        reference = None
    if reference is None and not crs:
        raise GridError(
            f"The layer {path} has no CRS. Assign one (Layer > Layer CRS > Set CRS of Layer), or give POINTS_CRS."
        )
    wkt = reference.ExportToWkt() if reference is not None else _wkt(crs)
    index = definition.GetFieldIndex(value_field)
    rows = []
    for feature in layer:
        geometry = feature.GetGeometryRef()
        if geometry is None or feature.IsFieldNull(index) or not feature.IsFieldSet(index):
            continue
        if ogr.GT_Flatten(geometry.GetGeometryType()) == ogr.wkbMultiPoint:
            geometry = geometry.GetGeometryRef(0)
        rows.append((geometry.GetX(), geometry.GetY(), feature.GetFieldAsDouble(index)))
    columns = np.array(rows, np.float64).reshape(-1, 3).T
    points = _checked(*columns, crs=wkt, path=path, value_field=value_field)
    return SurveyPoints(points.easting, points.northing, points.value, wkt, layer.GetFeatureCount() - points.value.size)


def _checked(x: Array, y: Array, value: Array, *, crs: str, path: str, value_field: str) -> SurveyPoints:
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(value)
    if not good.any():
        raise SourceError(f"{path} has no point with a number in {value_field}. Choose another field.")
    return SurveyPoints(x[good], y[good], value[good], crs, int((~good).sum()))


def _check_field(name: str, names: list[str], path: str) -> None:
    if name not in names:
        raise SettingsError(f"{path} has no field {name!r}. Its fields are {', '.join(names)}.")


def _coordinate_fields(x_field: str, y_field: str, names: list[str], path: str) -> tuple[str, str, bool]:
    """Return the columns of a table's coordinates, and whether their names say that they are degrees."""
    if x_field or y_field:
        for name in (x_field, y_field):
            _check_field(name, names, path)
        return x_field, y_field, (x_field.lower(), y_field.lower()) in _DEGREES
    lower = {name.lower(): name for name in names}
    for pairs, degrees in ((_PROJECTED, False), (_DEGREES, True)):
        for x, y in pairs:
            if x in lower and y in lower:
                return lower[x], lower[y], degrees
    raise SettingsError(
        f"{path} has no columns of usual names for coordinates. Give X_FIELD and Y_FIELD ({', '.join(names)})."
    )


def _wkt(crs: str) -> str:
    reference: Any = osr.SpatialReference()
    try:
        reference.SetFromUserInput(crs)
    except RuntimeError as error:
        raise SettingsError(f"{crs!r} is no CRS. Give a code such as EPSG:27700.") from error
    return str(reference.ExportToWkt())
