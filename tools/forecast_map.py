"""Render a forecast layer as the Temporal Controller would show it, a few periods side by side, above fan charts."""

from pathlib import Path

import numpy as np
from matplotlib.dates import ConciseDateFormatter, HourLocator
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from osgeo import ogr
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsDateTimeRange,
    QgsFillSymbol,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPalLayerSettings,
    QgsProject,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor

LEADS = (1, 7, 13, 19)
INK, MUTED, RULE, BLUE, RED = "#1f2a34", "#5b6874", "#9aa7b2", "#0072b2", "#d55e00"


def draw(folder, output, kept, names):
    """Draw the forecast and skill layers of ``folder`` into the picture ``output``; ``kept`` (station, hour) is what came."""
    rows = read(folder / "forecast.gpkg")
    stations = sorted({row["station"] for row in rows})
    application = QgsApplication.instance() or QgsApplication([], False)
    application.initQgis()
    layer, skill = open_layer(folder, "forecast"), open_layer(folder, "skill")
    if not layer.temporalProperties().isActive():
        raise SystemExit("The forecast layer has no temporal settings.")
    label(layer, "\"station\" || '\\n' || format_number(\"median\", 1) || ' °C'")
    label(skill, "\"station\" || '\\n' || format_number(100 * \"skill_climatology\", 0) || ' %'")
    ground = base_map()
    figure = Figure(figsize=(14, 8.4), dpi=130, facecolor="white")
    layout = figure.add_gridspec(
        3, 15, height_ratios=[10, 3, 10], left=0.035, right=0.985, top=0.9, bottom=0.06, hspace=0.12, wspace=0.9
    )
    for index, lead in enumerate(LEADS):
        start = next(row["t_start"] for row in rows if row["kind"] == "forecast" and row["lead_time"] == lead)
        axes = figure.add_subplot(layout[0, 3 * index : 3 * index + 3])
        picture(axes, frame([layer, *ground], layer.extent(), start))
        when = start[:16].replace("T", " ").replace("/", "-")
        axes.set_title(f"{when} UTC\n{lead} h ahead", fontsize=9.5, loc="left", color=INK)
    axes = figure.add_subplot(layout[0, 12:15])
    picture(axes, frame([skill, *ground], layer.extent()))
    axes.set_title("Skill against climatology\nover all scored origins", fontsize=9.5, loc="left", color=INK)
    legend(figure.add_subplot(layout[1, 0:8]), layer, "Anomaly (°C); the larger, the wider the 80 % interval", 4)
    legend(figure.add_subplot(layout[1, 9:15]), skill, "Skill", 3)
    for index, station in enumerate(stations):
        fan(figure.add_subplot(layout[2, 5 * index : 5 * index + 5]), rows, station, kept, names, index == 0)
    title = "Tomorrow's temperature at New York's airports"
    figure.suptitle(title, fontsize=14, x=0.035, y=0.98, ha="left", color=INK)
    figure.savefig(output)


def open_layer(folder, name):
    """Return a layer in the style that lies in its file."""
    path = folder / f"{name}.gpkg"
    layer = QgsVectorLayer(f"{path}|layername={name}", name, "ogr")
    layer.loadDefaultStyle()  # once more, as QGIS's own Add Layer does: making the layer leaves its time switched off
    if not layer.isValid():
        raise SystemExit(f"{path} has no layer {name}.")
    return layer


def base_map():
    """Return QGIS's own map of the world in quiet colours, where it is installed."""
    path = Path(QgsApplication.pkgDataPath()) / "resources" / "data" / "world_map.gpkg"
    layer = QgsVectorLayer(f"{path}|layername=states_provinces", "ground", "ogr")
    if not layer.isValid():
        return []
    fill = {"color": "#fbfaf7", "outline_color": "#b9c2ca", "outline_width": "0.3"}
    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple(fill)))
    return [layer]


def picture(axes, image):
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)


def legend(axes, layer, title, columns):
    """Draw the classes of a layer."""
    marks = [
        Line2D([], [], marker="o", linewidth=0, markersize=7, markerfacecolor=one.symbol().color().name(), color=MUTED)
        for one in layer.renderer().ranges()
    ]
    texts = [one.label() for one in layer.renderer().ranges()]
    axes.axis("off")
    found = axes.legend(marks, texts, title=title, ncols=columns, loc="upper left", frameon=False, fontsize=8.5)
    found.get_title().set(fontsize=9.5, color=INK)
    found._legend_box.align = "left"


def read(path):
    """Return the layer's rows."""
    dataset = ogr.Open(str(path))
    layer = dataset.GetLayerByName("forecast")
    return [{key: feature.GetField(key) for key in feature.keys()} for feature in layer]  # noqa: SIM118 - no mapping


def label(layer, expression):
    """Write the station's name and value beside its point."""
    settings = QgsPalLayerSettings()
    settings.fieldName = expression
    settings.isExpression = True
    settings.placement = Qgis.LabelPlacement.OverPoint
    settings.quadOffset = Qgis.LabelQuadrantPosition.Above
    settings.yOffset = -3.2
    settings.displayAll = True
    text = settings.format()
    text.setSize(9)
    text.setColor(QColor(INK))
    settings.setFormat(text)
    layer.setLabeling(QgsVectorLayerSimpleLabeling(settings))
    layer.setLabelsEnabled(True)


def frame(layers, extent, start=None):
    """Return the picture of one period, or of all: (row, column, 4)."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32618"))
    change = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:4326"), settings.destinationCrs(), QgsProject.instance()
    )
    box = change.transformBoundingBox(extent)
    box.grow(0.55 * max(box.width(), box.height()))
    settings.setExtent(box)
    settings.setOutputSize(QSize(520, 520))
    settings.setOutputDpi(150)
    settings.setBackgroundColor(QColor("#dfe9f0"))
    if start is not None:
        moment = QDateTime.fromString(start.replace("/", "-").replace(" ", "T")[:19], Qt.DateFormat.ISODate)
        moment.setTimeSpec(Qt.TimeSpec.UTC)
        settings.setIsTemporal(True)
        settings.setTemporalRange(QgsDateTimeRange(moment, moment.addSecs(3599)))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage().convertToFormat(job.renderedImage().Format.Format_RGBA8888)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return np.frombuffer(bytes(bits), np.uint8).reshape(image.height(), image.width(), 4)


def fan(axes, rows, station, kept, names, first):
    """Draw one station's fan and what came."""
    own = [row for row in rows if row["station"] == station]
    past = [row for row in own if row["kind"] == "history"]
    ahead = sorted((row for row in own if row["kind"] == "forecast"), key=lambda row: row["lead_time"])
    when = {id(row): np.datetime64(row["t_start"].replace("/", "-").replace(" ", "T")[:19]) for row in own}
    past.sort(key=lambda row: when[id(row)])
    times = [when[id(row)] for row in ahead]
    for low, high, opacity, title in (("low_90", "high_90", 0.16, "90 %"), ("low_80", "high_80", 0.26, "80 %")):
        lower, upper = [row[low] for row in ahead], [row[high] for row in ahead]
        axes.fill_between(times, lower, upper, color=BLUE, alpha=opacity, linewidth=0, label=title)
    axes.plot(
        times, [row["climatology"] for row in ahead], color=MUTED, linestyle="--", linewidth=1, label="climatology"
    )
    axes.plot(
        [when[id(row)] for row in past], [row["value"] for row in past], color=INK, linewidth=1.3, label="measured"
    )
    axes.plot(times, [row["median"] for row in ahead], color=BLUE, linewidth=2, label="forecast")
    came = [kept.get((station, lead)) for lead in range(len(ahead))]
    axes.plot(
        times,
        [np.nan if value is None else value for value in came],
        color=RED,
        marker="o",
        markersize=3,
        linewidth=0,
        label="what came",
    )
    axes.set_title(f"{names.get(station, station)} ({station}), °C", fontsize=10, loc="left", color=INK)
    axes.xaxis.set_major_locator(HourLocator(byhour=(0, 12)))
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d3dae0", linewidth=0.7)
    axes.tick_params(labelsize=8)
    if first:
        axes.legend(
            frameon=False, fontsize=8, ncols=6, loc="lower left", bbox_to_anchor=(-0.02, 1.08), columnspacing=1.2
        )
