"""Layers as the engine needs them: paths that GDAL opens, classes with names and colours, and styles for results.

A QGIS layer is more than its file: it may live in memory or on a server, carry a filter, a selection, joined fields or a
CRS that its file lacks. Whatever the file alone would not tell is written to a temporary copy first.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFields,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication

LAYER_NAME = "|layername="
_VECTOR_FILES = ["gpkg", "shp", "geojson", "json", "fgb", "gml", "kml", "sqlite", "csv"]


def raster_path(layer: QgsRasterLayer) -> str:
    """
    Return what GDAL opens for a raster layer.

    A CRS that was set in QGIS and stands not in the file goes into a small VRT of the same name.

    Raises
    ------
    QgsProcessingException
        If the layer comes from a server (WMS, WCS, XYZ) or is computed by QGIS, so that no file has its values.
    """
    if layer.providerType() != "gdal":
        text = _tr(
            "The raster “{}” comes from {}, so there is no file with its values. Export it first: layer menu › Export › "
            "Save As, format GeoTIFF, “Raw data”."
        )
        raise QgsProcessingException(text.format(layer.name(), layer.providerType().upper()))
    uri = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    path = str(layer.source().partition("|")[0] if uri.get("openOptions") else layer.source())
    if layer.crs() == layer.dataProvider().crs() or not layer.crs().isValid():
        return path
    copy = str(Path(QgsProcessingUtils.generateTempFilename(f"{Path(uri.get('path') or layer.name()).stem}.vrt")))
    from osgeo import gdal  # noqa: PLC0415 - QGIS need not load it to list algorithms

    gdal.Translate(copy, path, format="VRT", outputSRS=layer.crs().toWkt())
    return copy


def further_nodata(layer: QgsRasterLayer) -> str:
    """Return ``|nodata=…`` with what was entered as additional no data value in the layer's properties, or nothing."""
    provider = layer.dataProvider()
    ranges = [one for number in range(1, layer.bandCount() + 1) for one in provider.userNoDataValues(number)]
    values = dict.fromkeys(one.min() for one in ranges if one.min() == one.max())
    return "|nodata=" + ",".join(f"{value:.17g}" for value in values) if values else ""


def vector_path(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    name: str,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> str:
    """
    Return what GDAL opens for a vector parameter, with ``|layername=…`` behind it if the file holds several layers.

    Selections, filters, memory layers, databases, joined and virtual fields are written to a temporary GeoPackage.
    """
    layer = algorithm.parameterAsVectorLayer(parameters, name, context)
    file_tells_all = layer is None or (
        layer.crs() == layer.dataProvider().crs()
        and not _has_joined_or_virtual_fields(layer)
        and not layer.isModified()
    )
    path, layer_name = algorithm.parameterAsCompatibleSourceLayerPathAndLayerName(
        parameters, name, context, _VECTOR_FILES if file_tells_all else [], "gpkg", feedback
    )
    if not path:
        raise QgsProcessingException(algorithm.invalidSourceError(parameters, name))
    several = layer is not None and path in layer.source() and layer.dataProvider().subLayerCount() > 1
    return f"{path}{LAYER_NAME}{layer_name}" if several and layer_name else path


def layer_paths(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    name: str,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> list[str]:
    """
    Return what GDAL opens for each layer of a parameter that takes several, vectors and rasters alike.

    What QGIS cannot load is returned as it was given: the engine says what is wrong with it.
    """
    layers = algorithm.parameterAsLayerList(parameters, name, context)
    given = parameters[name] if isinstance(parameters[name], (list, tuple)) else [parameters[name]]
    if len(layers) != len(given):
        return [value.source() if isinstance(value, QgsMapLayer) else str(value) for value in given]
    return [
        raster_path(x) if isinstance(x, QgsRasterLayer) else _vector_layer_path(x, context, feedback) for x in layers
    ]


def layer_classes(layer: QgsMapLayer, field: str = "") -> list[dict[str, Any]]:
    """
    Return the classes that a layer is drawn with: ``value``, ``name`` and ``colour`` (``#rrggbb``) of each.

    Empty unless the layer is drawn by category (a vector by `field`) or by palette. Categories without a value
    ("all other values") and those that are switched off are left out.
    """
    renderer = layer.renderer()
    if isinstance(renderer, QgsPalettedRasterRenderer):
        return [_a_class(item.value, item.label, item.color) for item in renderer.classes()]
    if isinstance(renderer, QgsCategorizedSymbolRenderer) and renderer.classAttribute().strip('"') == field:
        classes = []
        for category in renderer.categories():
            values = category.value() if isinstance(category.value(), list) else [category.value()]
            if category.renderState():
                classes += [
                    _a_class(value, category.label(), category.symbol().color())
                    for value in values
                    if value not in (None, "")
                ]
        return classes
    return []


def drawn_by_field(layer: QgsMapLayer) -> str:
    """Return the field by whose categories a vector layer is drawn; empty if it is not."""
    if isinstance(layer, QgsVectorLayer) and isinstance(layer.renderer(), QgsCategorizedSymbolRenderer):
        return str(layer.renderer().classAttribute().strip('"'))
    return ""


def style_when_loaded(context: QgsProcessingContext, destination: str, qml: str, name: str = "") -> None:
    """Have QGIS style a result with the QML file `qml` when it loads it, and call the layer `name`."""
    if not context.willLoadLayerOnCompletion(destination):
        return
    details = context.layerToLoadOnCompletionDetails(destination)
    if name:
        details.name = name
    style = _Style(qml)
    _Style.alive.append(style)
    details.setPostProcessor(style)


def order_when_loaded(context: QgsProcessingContext, paths: Sequence[str]) -> None:
    """Have QGIS lay the layers that it loads over each other in the order of `paths`, the first on top."""
    for place, path in enumerate(paths):
        if context.willLoadLayerOnCompletion(path):
            context.layerToLoadOnCompletionDetails(path).layerSortKey = len(paths) - place


class _Style(QgsProcessingLayerPostProcessorInterface):
    """Loads a QML file into a new layer, on the main thread."""

    # QGIS takes no reference: a style that Python has collected ends QGIS when the layer is loaded.
    alive: "list[_Style]" = []

    def __init__(self, qml: str) -> None:
        super().__init__()
        self._qml = qml

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Style the layer."""
        message, loaded = layer.loadNamedStyle(self._qml)
        if not loaded:
            feedback.pushWarning(message)
        layer.triggerRepaint()


def _vector_layer_path(layer: QgsVectorLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> str:
    """Return what GDAL opens for a vector layer, with its layer name; a copy where the file alone would not tell all."""
    file_tells_all = (
        layer.crs() == layer.dataProvider().crs()
        and not _has_joined_or_virtual_fields(layer)
        and not layer.isModified()
    )
    path, layer_name = QgsProcessingUtils.convertToCompatibleFormatAndLayerName(
        layer, False, layer.name(), _VECTOR_FILES if file_tells_all else [], "gpkg", context, feedback
    )
    several = path in layer.source() and layer.dataProvider().subLayerCount() > 1
    return f"{path}{LAYER_NAME}{layer_name}" if several and layer_name else path


def _has_joined_or_virtual_fields(layer: QgsVectorLayer) -> bool:
    fields = layer.fields()
    of_the_file = QgsFields.FieldOrigin.OriginProvider
    return any(fields.fieldOrigin(index) != of_the_file for index in range(fields.count()))


def _a_class(value: Any, name: str, colour: Any) -> dict[str, Any]:
    return {"value": value, "name": name or str(value), "colour": colour.name()}


def _tr(text: str) -> str:
    return QCoreApplication.translate("GeoDL", text)
