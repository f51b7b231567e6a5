"""
Render a class raster over a hillshade as a map sheet: title, legend, scale bar, north arrow, coordinates.

    python tools/render_map.py --classes landforms.tif --dem dem.tif --title "Landforms" --output landforms.png

Runs with QGIS's Python and without a window, in a profile of its own. The legend shows the classes that occur, with their
share of the map.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsBilinearRasterResampler,
    QgsFillSymbol,
    QgsHillshadeRenderer,
    QgsLayout,
    QgsLayoutExporter,
    QgsLayoutItemLabel,
    QgsLayoutItemLegend,
    QgsLayoutItemMap,
    QgsLayoutItemMapGrid,
    QgsLayoutItemPicture,
    QgsLayoutItemScaleBar,
    QgsLayoutMeasurement,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsLegendStyle,
    QgsMapLayerLegendUtils,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSimpleLineSymbolLayer,
    QgsSingleSymbolRenderer,
    QgsTextFormat,
    QgsUnitTypes,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor, QFont, QPainter

gdal.UseExceptions()

DPI = 220
FAMILY = "DejaVu Sans"
MARGIN, TITLE, PANEL, GAP = 8.0, 15.0, 46.0, 5.0  # millimetres
MAP_WIDTH, LEAST_HEIGHT, MOST_HEIGHT = 150.0, 90.0, 190.0
INK, MUTED = QColor("#1f2a34"), QColor("#5b6874")


class CannotRender(Exception):
    """Something that the caller can put right."""


def class_layer(path):
    """Return the class raster, its palette cut to the classes that occur and these named with their share."""
    layer = QgsRasterLayer(str(path), "classes")
    renderer = layer.renderer() if layer.isValid() else None
    if not isinstance(renderer, QgsPalettedRasterRenderer):
        raise CannotRender(
            f"{path} is no class raster with a palette. Give a map of classes that geodl:classifyraster made."
        )
    dataset = gdal.Open(str(path))
    codes, counts = np.unique(dataset.ReadAsArray(), return_counts=True)
    found = {
        int(code): int(count) for code, count in zip(codes, counts) if code != dataset.GetRasterBand(1).GetNoDataValue()
    }
    total = sum(found.values())
    entries = [entry for entry in renderer.classes() if int(entry.value) in found]
    for entry in entries:
        share = found[int(entry.value)] / total
        entry.label = f"{entry.label}  {'<1' if share < 0.005 else round(share * 100)} %"
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, entries))
    layer.setBlendMode(QPainter.CompositionMode.CompositionMode_Multiply)
    return layer


def hillshade_layer(path):
    """Return the DEM drawn as a hillshade lit from several sides, light enough to take colour."""
    layer = QgsRasterLayer(str(path), "hillshade")
    if not layer.isValid():
        raise CannotRender(f"{path} is no raster that QGIS can read.")
    renderer = QgsHillshadeRenderer(layer.dataProvider(), 1, 315, 45)
    renderer.setMultiDirectional(True)
    renderer.setZFactor(1.5)
    layer.setRenderer(renderer)
    layer.brightnessFilter().setBrightness(45)
    layer.resampleFilter().setZoomedInResampler(QgsBilinearRasterResampler())
    return layer


def outline_layer(path):
    """Return the areas as outlines."""
    layer = QgsVectorLayer(str(path), "outline", "ogr")
    if not layer.isValid():
        raise CannotRender(f"{path} is no vector layer that QGIS can read.")
    symbol = QgsFillSymbol.createSimple({"style": "no"})
    line = QgsSimpleLineSymbolLayer(QColor("#000000"), 0.55)
    line.setUseCustomDashPattern(True)
    line.setCustomDashVector([3.0, 1.6])
    symbol.changeSymbolLayer(0, line)
    layer.setRenderer(QgsSingleSymbolRenderer(symbol))
    return layer


def text_format(size, bold=False, colour=INK):
    font = QFont(FAMILY)
    font.setBold(bold)
    result = QgsTextFormat()
    result.setFont(font)
    result.setSize(size)
    result.setSizeUnit(QgsUnitTypes.RenderUnit.RenderPoints)
    result.setColor(colour)
    return result


def place(item, x, y, width, height):
    item.attemptMove(QgsLayoutPoint(x, y))
    item.attemptResize(QgsLayoutSize(width, height))
    item.layout().addLayoutItem(item)


def label(layout, text, x, y, width, height, text_style):
    item = QgsLayoutItemLabel(layout)
    item.setText(text)
    item.setTextFormat(text_style)
    place(item, x, y, width, height)


def map_item(layout, layers, extent, height):
    item = QgsLayoutItemMap(layout)
    place(item, MARGIN + 6, MARGIN + TITLE, MAP_WIDTH, height)
    item.setLayers(layers)
    item.setCrs(layers[0].crs())
    item.setExtent(extent)
    item.setFrameEnabled(True)
    item.setFrameStrokeColor(MUTED)
    item.setFrameStrokeWidth(QgsLayoutMeasurement(0.25))
    return item


def add_coordinates(item):
    """Write coordinates along the left and lower edge: kilometres where the CRS has metres, else the CRS's own unit."""
    grid = QgsLayoutItemMapGrid("coordinates", item)
    metres = item.crs().mapUnits() == QgsUnitTypes.DistanceUnit.DistanceMeters
    interval = round_length(item.extent().width() / 4)
    grid.setIntervalX(interval)
    grid.setIntervalY(interval)
    grid.setStyle(QgsLayoutItemMapGrid.GridStyle.FrameAnnotationsOnly)
    grid.setFrameStyle(QgsLayoutItemMapGrid.FrameStyle.ExteriorTicks)
    grid.setFrameWidth(1.0)
    grid.setFramePenSize(0.2)
    grid.setAnnotationEnabled(True)
    if metres:
        grid.setAnnotationFormat(QgsLayoutItemMapGrid.AnnotationFormat.CustomFormat)
        grid.setAnnotationExpression("format_number(@grid_number / 1000, 0) || ' km'")
    else:
        grid.setAnnotationPrecision(max(0, 1 - int(np.floor(np.log10(interval)))))
    grid.setAnnotationTextFormat(text_format(6.5, colour=MUTED))
    grid.setAnnotationFrameDistance(0.8)
    sides = QgsLayoutItemMapGrid.BorderSide
    for side in (sides.Left, sides.Right, sides.Top, sides.Bottom):
        shown = side in (sides.Left, sides.Bottom)
        mode = QgsLayoutItemMapGrid.DisplayMode.ShowAll if shown else QgsLayoutItemMapGrid.DisplayMode.HideAll
        grid.setAnnotationDisplay(mode, side)
        grid.setFrameSideFlag(flag_of(side), shown)
    grid.setAnnotationDirection(QgsLayoutItemMapGrid.AnnotationDirection.Vertical, sides.Left)
    item.grids().addGrid(grid)
    item.updateBoundingRect()


def flag_of(side):
    flags, sides = QgsLayoutItemMapGrid.FrameSideFlag, QgsLayoutItemMapGrid.BorderSide
    return {
        sides.Left: flags.FrameLeft,
        sides.Right: flags.FrameRight,
        sides.Top: flags.FrameTop,
        sides.Bottom: flags.FrameBottom,
    }[side]


def add_legend(layout, drawn, named, x, y):
    legend = QgsLayoutItemLegend(layout)
    legend.setLinkedMap(drawn)
    legend.setAutoUpdateModel(False)
    root = legend.model().rootGroup()
    root.clear()
    for layer, name in named.items():
        root.addLayer(layer).setName(name)
    styles = QgsLegendStyle.Style
    for style, size, bold in ((styles.Subgroup, 9, True), (styles.SymbolLabel, 8.5, False)):
        legend.rstyle(style).setTextFormat(text_format(size, bold))
    legend.rstyle(styles.Subgroup).setMargin(QgsLegendStyle.Side.Top, 3)
    legend.setSymbolWidth(6)
    legend.setSymbolHeight(3.6)
    legend.setBackgroundEnabled(False)
    place(legend, x, y, PANEL, 60)
    legend.refresh()
    # the number of the band says nothing to a reader
    for node in root.children():
        nodes = legend.model().layerLegendNodes(node)
        if len(nodes) > 1 and nodes[0].data(Qt.ItemDataRole.DisplayRole).startswith("Band"):
            QgsMapLayerLegendUtils.setLegendNodeOrder(node, list(range(1, len(nodes))))
            legend.model().refreshLayerLegend(node)
    legend.adjustBoxSize()


def add_scale(layout, drawn, x, y):
    bar = QgsLayoutItemScaleBar(layout)
    layout.addLayoutItem(bar)
    bar.setStyle("Single Box")
    bar.setLinkedMap(drawn)
    length = round_length(drawn.extent().width() * metres_per_unit(drawn) * 0.2)
    kilometres = length >= 1000
    unit = QgsUnitTypes.DistanceUnit.DistanceKilometers if kilometres else QgsUnitTypes.DistanceUnit.DistanceMeters
    bar.setUnits(unit)
    bar.setUnitLabel("km" if kilometres else "m")
    bar.setNumberOfSegments(2)
    bar.setNumberOfSegmentsLeft(0)
    bar.setUnitsPerSegment(length / (1000 if kilometres else 1) / 2)
    bar.setHeight(1.8)
    bar.setTextFormat(text_format(7.5))
    bar.attemptMove(QgsLayoutPoint(x, y))
    bar.update()


def add_north(layout, drawn, x, y):
    path = next((p for p in QgsApplication.svgPaths() if Path(p, "arrows", "NorthArrow_02.svg").exists()), None)
    if path is None:
        return
    arrow = QgsLayoutItemPicture(layout)
    arrow.setPicturePath(str(Path(path, "arrows", "NorthArrow_02.svg")))
    arrow.setLinkedMap(drawn)
    arrow.setNorthMode(QgsLayoutItemPicture.NorthMode.GridNorth)
    place(arrow, x, y, 11, 13)


def metres_per_unit(drawn):
    if drawn.crs().isGeographic():
        return 111_320 * np.cos(np.radians(drawn.extent().center().y()))
    return QgsUnitTypes.fromUnitToUnitFactor(drawn.crs().mapUnits(), QgsUnitTypes.DistanceUnit.DistanceMeters)


def round_length(length):
    """Return the largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= length))


def render(options):
    """Make the sheet and write it."""
    classes, hillshade = class_layer(options.classes), hillshade_layer(options.dem)
    outline = outline_layer(options.outline) if options.outline else None
    layers = [layer for layer in (outline, classes, hillshade) if layer is not None]
    project = QgsProject.instance()
    project.addMapLayers(layers, False)
    project.setCrs(classes.crs())
    extent = QgsRectangle(classes.extent())
    height = min(max(MAP_WIDTH * extent.height() / extent.width(), LEAST_HEIGHT), MOST_HEIGHT)
    layout = QgsLayout(project)
    layout.initializeDefaults()
    width = 2 * MARGIN + 6 + MAP_WIDTH + GAP + PANEL
    layout.pageCollection().page(0).setPageSize(QgsLayoutSize(width, height + TITLE + 2 * MARGIN + 6))
    label(layout, options.title, MARGIN + 6, MARGIN - 2, width - 2 * MARGIN, 8, text_format(15, bold=True))
    label(layout, options.subtitle, MARGIN + 6, MARGIN + 6, width - 2 * MARGIN, 6, text_format(8.5, colour=MUTED))
    drawn = map_item(layout, layers, extent, height)
    add_coordinates(drawn)
    x = MARGIN + 6 + MAP_WIDTH + GAP
    named = {classes: options.legend} | ({outline: options.outline_name} if outline else {})
    add_legend(layout, drawn, named, x, MARGIN + TITLE - 2)
    add_north(layout, drawn, x + 1, MARGIN + TITLE + height - 30)
    add_scale(layout, drawn, x, MARGIN + TITLE + height - 12)
    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = DPI
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    if QgsLayoutExporter(layout).exportToImage(str(options.output), settings) != QgsLayoutExporter.ExportResult.Success:
        raise CannotRender(f"{options.output} could not be written.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--classes", type=Path, required=True, help="class raster with its palette or QML")
    parser.add_argument("--dem", type=Path, required=True, help="elevation for the hillshade")
    parser.add_argument("--outline", help="polygons to be outlined, such as the test area")
    parser.add_argument("--outline-name", default="test area", help="what the legend calls them")
    parser.add_argument("--title", default="")
    parser.add_argument("--subtitle", default="")
    parser.add_argument("--legend", default="Class", help="heading of the legend")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geodl-profile-") as profile:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", profile)
        application = QgsApplication([], True)
        QgsApplication.initQgis()
        refusal = None
        try:
            render(options)
        except CannotRender as error:
            refusal = str(error)
        # layers that outlive QGIS would crash it
        QgsProject.instance().clear()
        QgsApplication.exitQgis()
        del application
    sys.exit(refusal)


if __name__ == "__main__":
    main()
