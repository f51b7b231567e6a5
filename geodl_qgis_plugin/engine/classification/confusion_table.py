"""Write a confusion matrix as a table: CSV, or any other format that GDAL writes without geometry."""

from __future__ import annotations

from pathlib import Path

from osgeo import gdal, ogr

from ..errors import OutputError
from ..files import whole_file
from .metrics import Accuracy

gdal.UseExceptions()
ogr.UseExceptions()

_DRIVERS = {".csv": "CSV", ".gpkg": "GPKG", ".geojson": "GeoJSON", ".ods": "ODS", ".xlsx": "XLSX"}


def write_confusion(path: str | Path, accuracy: Accuracy) -> None:
    """
    Write one row a reference class: its name, a count for each mapped class, and the class's scores.

    Raises
    ------
    OutputError
        If the format is unknown or the file cannot be written.
    """
    path = Path(path)
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise OutputError(f"{path.name} has no known table format. Give it one of the endings {', '.join(_DRIVERS)}.")
    with whole_file(path) as part:
        try:
            dataset = gdal.GetDriverByName(driver).Create(str(part), 0, 0, 0, gdal.GDT_Unknown)
            # GDAL would quote whole numbers of 64 bits as if they were texts
            options = ["STRING_QUOTING=IF_NEEDED"] if driver == "CSV" else []
            _fill(dataset.CreateLayer("confusion", geom_type=ogr.wkbNone, options=options), accuracy)
            dataset.FlushCache()
            del dataset
        except RuntimeError as error:
            raise OutputError(
                f"{path} could not be written: {error}. Free some space or choose another folder."
            ) from error


def _fill(layer: ogr.Layer, accuracy: Accuracy) -> None:
    layer.CreateField(ogr.FieldDefn("reference", ogr.OFTString))
    for name in _unique([f"mapped {one.name}" for one in accuracy.classes]):
        layer.CreateField(ogr.FieldDefn(name, ogr.OFTInteger64))
    scores = {"precision": accuracy.precision, "recall": accuracy.recall, "f1": accuracy.f1, "iou": accuracy.iou}
    for name in scores:
        layer.CreateField(ogr.FieldDefn(name, ogr.OFTReal))
    first = len(accuracy.classes) + 1
    for row, one in enumerate(accuracy.classes):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetField(0, one.name)
        for column, count in enumerate(accuracy.confusion[row], start=1):
            feature.SetField(column, int(count))
        for column, values in enumerate(scores.values(), start=first):
            if values[row] is None:
                feature.SetFieldNull(column)
            else:
                feature.SetField(column, values[row])
        layer.CreateFeature(feature)


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
