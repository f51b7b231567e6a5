"""Tables without geometry: CSV, or any other format that GDAL writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from osgeo import gdal, ogr

from .errors import OutputError
from .files import not_written, whole_file

gdal.UseExceptions()
ogr.UseExceptions()

_DRIVERS = {".csv": "CSV", ".gpkg": "GPKG", ".geojson": "GeoJSON", ".ods": "ODS", ".xlsx": "XLSX"}
_KINDS = {int: ogr.OFTInteger64, float: ogr.OFTReal, str: ogr.OFTString}


def table_driver(path: Path) -> str:
    """
    Return the name of GDAL's driver for a table.

    Raises
    ------
    OutputError
        If the ending is none that is known.
    """
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise OutputError(f"{path.name} has no known table format. Give it one of the endings {', '.join(_DRIVERS)}.")
    return driver


def write_table(path: str | Path, name: str, fields: Sequence[tuple[str, type]], rows: Iterable[Sequence[Any]]) -> None:
    """
    Write a table whole or not at all.

    Parameters
    ----------
    name : str
        Of the layer.
    fields : sequence of (name, int, float or str)
        Names that differ in nothing but case are numbered.
    rows : iterable of sequences
        One value a field; None is left empty.

    Raises
    ------
    OutputError
        If the format is unknown or the file cannot be written.
    """
    path = Path(path)
    driver = table_driver(path)
    with whole_file(path) as part:
        try:
            dataset = gdal.GetDriverByName(driver).Create(str(part), 0, 0, 0, gdal.GDT_Unknown)
            # GDAL would quote whole numbers of 64 bits as if they were texts
            options = ["STRING_QUOTING=IF_NEEDED"] if driver == "CSV" else []
            layer = dataset.CreateLayer(name, geom_type=ogr.wkbNone, options=options)
            for unique, (_, kind) in zip(_unique([title for title, _ in fields]), fields):
                layer.CreateField(ogr.FieldDefn(unique, _KINDS[kind]))
            for row in rows:
                feature = ogr.Feature(layer.GetLayerDefn())
                for column, value in enumerate(row):
                    if value is None:
                        feature.SetFieldNull(column)
                    else:
                        feature.SetField(column, value)
                layer.CreateFeature(feature)
            dataset.FlushCache()
            del layer, dataset
        except RuntimeError as error:
            raise not_written(path, error) from error


def _unique(names: list[str]) -> list[str]:
    """Number names that differ in nothing but case, which SQL tables take for the same."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{name} ({number})"
        taken.add(unique.casefold())
        found.append(unique)
    return found
