"""Footprints: the tiles as polygons in a GeoPackage, coloured by part, with the style inside the file and beside it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, ogr

from ..classes import LandClass
from ..errors import OutputError
from ..files import not_written, whole_file
from ..rasters.grid import Grid
from .splits import PARTS

gdal.UseExceptions()
ogr.UseExceptions()

PART_COLOURS = {"training": "#0072b2", "validation": "#e69f00", "test": "#d55e00"}  # as in reports
_DATE = "2000-01-01T00:00:00.000Z"  # the same tiles give the same file


def write_footprints(
    path: Path, tiles: NDArray[np.void], grid: Grid, size: int, classes: Mapping[int, LandClass]
) -> None:
    """Write one polygon a tile, with part, class and shares in percent, and the style that colours them by part."""
    try:
        _write(path, tiles, grid, size, classes)
    except RuntimeError as error:
        raise not_written(path, error) from error


def copy_footprints(source: Path, target: Path) -> None:
    """Write the footprints once more where the user wants them, in any vector format, with the style beside them."""
    try:
        if target.suffix.lower() == ".gpkg":
            with whole_file(target) as part:
                shutil.copyfile(source, part)
        else:
            with _fixed_date():
                gdal.VectorTranslate(str(target), str(source), layers=["tiles"])
        target.with_suffix(".qml").write_text(style(), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"The footprints {target} could not be written: {error}. Choose another folder or format."
        ) from error


def style() -> str:
    """Return QGIS' style for footprints: outlines and a light fill, coloured by part."""
    symbols, categories = [], []
    for i, (name, colour) in enumerate(PART_COLOURS.items()):
        rgb = ",".join(str(int(colour[j : j + 2], 16)) for j in (1, 3, 5))
        categories.append(f'<category render="true" symbol="{i}" value="{name}" label="{escape(name)}" type="string"/>')
        symbols.append(
            f'<symbol type="fill" name="{i}" alpha="1" clip_to_extent="1" force_rhr="0"><layer class="SimpleFill" enabled="1" '
            f'pass="0" locked="0"><Option type="Map"><Option name="color" type="QString" value="{rgb},38"/>'
            f'<Option name="outline_color" type="QString" value="{rgb},255"/><Option name="outline_style" type="QString" '
            'value="solid"/><Option name="outline_width" type="QString" value="0.3"/><Option name="outline_width_unit" '
            'type="QString" value="MM"/><Option name="style" type="QString" value="solid"/></Option></layer></symbol>'
        )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis styleCategories="Symbology" version="3.34.0"><renderer-v2 type="categorizedSymbol" attr="split" '
        'enableorderby="0" forceraster="0" symbollevels="0" referencescale="-1"><categories>'
        f"{''.join(categories)}</categories><symbols>{''.join(symbols)}</symbols></renderer-v2>"
        "<blendMode>0</blendMode><featureBlendMode>0</featureBlendMode><layerGeometryType>2</layerGeometryType></qgis>\n"
    )


def _write(path: Path, tiles: NDArray[np.void], grid: Grid, size: int, classes: Mapping[int, LandClass]) -> None:
    with _fixed_date():
        dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
        layer = dataset.CreateLayer("tiles", grid.spatial_reference, ogr.wkbPolygon)
        for name, kind in (
            ("tile", ogr.OFTInteger),
            ("split", ogr.OFTString),
            ("class", ogr.OFTString),
            ("code", ogr.OFTInteger),
            ("labelled_percent", ogr.OFTReal),
            ("valid_percent", ogr.OFTReal),
            ("hidden_percent", ogr.OFTReal),
            ("fold", ogr.OFTInteger),
        ):
            layer.CreateField(ogr.FieldDefn(name, kind))
        names = {number: name for name, number in PARTS.items()}
        layer.StartTransaction()
        for i, tile in enumerate(tiles):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetGeometry(_square(grid, int(tile["row"]), int(tile["column"]), size))
            feature["tile"] = i
            feature["split"] = names[int(tile["split"])]
            if tile["code"]:
                feature["class"] = classes[int(tile["code"])].name
                feature["code"] = int(tile["code"])
            for name in ("labelled", "valid", "hidden"):
                feature[f"{name}_percent"] = round(100 * float(tile[name]), 3)
            if tile["fold"] >= 0:
                feature["fold"] = int(tile["fold"])
            layer.CreateFeature(feature)
        layer.CommitTransaction()
        _save_style(dataset)
        del layer, dataset


def _square(grid: Grid, row: int, column: int, size: int) -> ogr.Geometry:
    ring = ogr.Geometry(ogr.wkbLinearRing)
    for r, c in ((0, 0), (0, size), (size, size), (size, 0), (0, 0)):
        ring.AddPoint_2D(*grid.coordinates(row + r, column + c))
    polygon = ogr.Geometry(ogr.wkbPolygon)
    polygon.AddGeometry(ring)
    return polygon


def _save_style(dataset: ogr.DataSource) -> None:
    """Write the style into the table in which QGIS looks for a GeoPackage's default style."""
    dataset.ExecuteSQL(
        "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema "
        "TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, "
        "useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME)"
    )
    qml = style().replace("'", "''")
    dataset.ExecuteSQL(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, "
        f"styleSLD, useAsDefault, description, owner, update_time) VALUES ('', '', 'tiles', 'geom', 'tiles', '{qml}', '', 1, "
        f"'GeoDL', '', '{_DATE}')"
    )
    dataset.ExecuteSQL(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) VALUES "
        f"('layer_styles', 'attributes', 'layer_styles', '', '{_DATE}')"
    )


@contextlib.contextmanager
def _fixed_date() -> Iterator[None]:
    before = gdal.GetConfigOption("OGR_CURRENT_DATE")
    gdal.SetConfigOption("OGR_CURRENT_DATE", _DATE)
    try:
        yield
    finally:
        gdal.SetConfigOption("OGR_CURRENT_DATE", before)
