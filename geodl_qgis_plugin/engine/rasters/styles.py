"""
Styles of layers as QGIS reads them (QML), written without QGIS, so that a result made on a server is styled too.

QGIS takes the style of a raster from the `.qml` beside it, that of a GeoPackage's layer from the table `layer_styles` in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from osgeo import gdal, ogr

from ..classes import LandClass
from ..errors import OutputError

gdal.UseExceptions()
ogr.UseExceptions()

SPLIT_COLOURS = {"training": "#0072b2", "validation": "#e69f00", "test": "#d55e00", "buffer": "#b9c2ca"}
# viridis at equal steps: ordered in lightness, and told apart by colour-blind readers
_RAMP = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_VERSION = "3.34.0"


def class_raster_qml(classes: Sequence[LandClass], band: int = 1) -> str:
    """Return the style of a class raster: a palette with names and colours."""
    root, renderer = _raster_root("paletted", band)
    palette = SubElement(renderer, "colorPalette")
    for one in sorted(classes, key=lambda one: one.code):
        SubElement(palette, "paletteEntry", value=str(one.code), color=one.colour, label=one.name, alpha="255")
    # codes have no values in between: pixels stay as they are at any zoom
    return _text(root)


def value_raster_qml(low: float = 0.0, high: float = 1.0, band: int = 1) -> str:
    """Return the style of a raster of values from ``low`` to ``high``: a ramp from dark to light (viridis)."""
    root, renderer = _raster_root("singlebandpseudocolor", band)
    renderer.set("classificationMin", f"{low:g}")
    renderer.set("classificationMax", f"{high:g}")
    shader = SubElement(SubElement(renderer, "rastershader"), "colorrampshader")
    attributes = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0", "labelPrecision": "4"}
    for name, value in {**attributes, "minimumValue": f"{low:g}", "maximumValue": f"{high:g}"}.items():
        shader.set(name, value)
    steps = len(_RAMP) - 1
    ramp = SubElement(shader, "colorramp", type="gradient", name="[source]")
    stops = ":".join(f"{i / steps:g};{_rgba(colour)}" for i, colour in enumerate(_RAMP) if 0 < i < steps)
    _options(ramp, {"color1": _rgba(_RAMP[0]), "color2": _rgba(_RAMP[-1]), "rampType": "gradient", "discrete": "0"})
    options = ramp.find("Option")
    if options is not None:
        SubElement(options, "Option", type="QString", name="stops", value=stops)
    for i, colour in enumerate(_RAMP):
        level = low + (high - low) * i / steps
        SubElement(shader, "item", value=f"{level:.10g}", color=colour, label=f"{level:.4g}", alpha="255")
    return _text(root)


def polygons_qml(classes: Sequence[LandClass], field: str = "class") -> str:
    """Return the style of polygons that carry a class: filled with its colour, by the name (text) in ``field``."""
    categories = [(one.name, one.name, _fill(one.colour, "#ffffff", 0.1, opacity=0.85)) for one in classes]
    return _categorised_qml(field, categories)


def footprints_qml(colours: Mapping[str, str] = SPLIT_COLOURS, field: str = "split") -> str:
    """Return the style of tile footprints: outlines and a tint by split."""
    return _categorised_qml(
        field, [(split, split, _fill(colour, colour, 0.4, opacity=0.35)) for split, colour in colours.items()]
    )


def write_layer_style(geopackage: str | Path, layer: str, qml: str, name: str = "GeoDL") -> None:
    """
    Save a style in a GeoPackage as the default one of a layer; a former one of that name is replaced.

    Raises
    ------
    OutputError
        If the file cannot be written or has no such layer.
    """
    try:
        dataset = gdal.OpenEx(str(geopackage), gdal.OF_VECTOR | gdal.OF_UPDATE)
        styled = dataset.GetLayerByName(layer)
        if styled is None:
            raise RuntimeError(f"it has no layer {layer}")
        geometry = styled.GetGeometryColumn()
        table = dataset.GetLayerByName("layer_styles") or _style_table(dataset)
        table.SetAttributeFilter(f"f_table_name = {_quoted(layer)}")
        for former in list(table):
            if former["styleName"] == name:
                table.DeleteFeature(former.GetFID())
            elif former["useAsDefault"]:
                former["useAsDefault"] = 0
                table.SetFeature(former)
        table.SetAttributeFilter(None)
        feature = ogr.Feature(table.GetLayerDefn())
        values = {"f_table_catalog": "", "f_table_schema": "", "f_table_name": layer, "f_geometry_column": geometry}
        for field, value in {**values, "styleName": name, "styleQML": qml, "styleSLD": "", "useAsDefault": 1}.items():
            feature[field] = value
        table.CreateFeature(feature)
        dataset.FlushCache()
    except RuntimeError as error:
        raise OutputError(f"The style of {layer} could not be saved in {geopackage}: {error}.") from error


def _style_table(dataset: gdal.Dataset) -> ogr.Layer:
    """Make the table as QGIS does."""
    table = dataset.CreateLayer("layer_styles", geom_type=ogr.wkbNone, options=["FID=id"])
    fields = [("f_table_catalog", 256), ("f_table_schema", 256), ("f_table_name", 256), ("f_geometry_column", 256)]
    for name, width in [*fields, ("styleName", 30), ("styleQML", 0), ("styleSLD", 0)]:
        field = ogr.FieldDefn(name, ogr.OFTString)
        field.SetWidth(width)
        table.CreateField(field)
    default = ogr.FieldDefn("useAsDefault", ogr.OFTInteger)
    default.SetSubType(ogr.OFSTBoolean)
    table.CreateField(default)
    for name, width in (("description", 0), ("owner", 30), ("ui", 30)):
        field = ogr.FieldDefn(name, ogr.OFTString)
        field.SetWidth(width)
        table.CreateField(field)
    time = ogr.FieldDefn("update_time", ogr.OFTDateTime)
    time.SetDefault("CURRENT_TIMESTAMP")
    table.CreateField(time)
    return table


def _raster_root(kind: str, band: int) -> tuple[Element, Element]:
    root = Element("qgis", version=_VERSION, styleCategories="AllStyleCategories", hasScaleBasedVisibilityFlag="0")
    pipe = SubElement(root, "pipe")
    renderer = SubElement(
        pipe, "rasterrenderer", type=kind, band=str(band), opacity="1", alphaBand="-1", nodataColor=""
    )
    SubElement(renderer, "rasterTransparency")
    SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0", invertColors="0")
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    SubElement(root, "blendMode").text = "0"
    return root, renderer


def _categorised_qml(field: str, categories: Sequence[tuple[str, str, Element]]) -> str:
    root = Element("qgis", version=_VERSION, styleCategories="Symbology")
    renderer = SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=field, symbollevels="0", enableorderby="0", forceraster="0"
    )
    entries, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, (value, label, symbol) in enumerate(categories):
        key = str(number)
        SubElement(entries, "category", symbol=key, value=value, type="string", label=label, render="true")
        symbol.set("name", key)
        symbols.append(symbol)
    return _text(root)


def _fill(colour: str, outline: str, width_mm: float, opacity: float) -> Element:
    symbol = Element("symbol", type="fill", alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill", "pass": "0", "locked": "0", "enabled": "1"})
    values = {
        "color": _rgba(colour, round(opacity * 255)),
        "style": "solid",
        "outline_color": _rgba(outline),
        "outline_style": "solid",
        "outline_width": f"{width_mm:g}",
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }
    _options(layer, values)
    return symbol


def _options(parent: Element, values: Mapping[str, str]) -> None:
    group = SubElement(parent, "Option", type="Map")
    for name, value in values.items():
        SubElement(group, "Option", type="QString", name=name, value=value)


def _rgba(colour: str, alpha: int = 255) -> str:
    red, green, blue = LandClass(0, "", colour).rgb
    return f"{red},{green},{blue},{alpha}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _text(root: Element) -> str:
    ElementTree.indent(root)
    return _DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"
