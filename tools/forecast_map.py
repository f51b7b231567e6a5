"""Render a forecast layer as the Temporal Controller would show it, a few periods side by side, above fan charts."""

import numpy as np
from matplotlib.dates import ConciseDateFormatter, HourLocator
from matplotlib.figure import Figure
from osgeo import ogr
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsDateTimeRange,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPalLayerSettings,
    QgsRectangle,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor

LEADS = (1, 7, 13, 19)
INK, MUTED, BLUE, RED = "#1f2a34", "#5b6874", "#0072b2", "#d55e00"


def draw(path, output, kept, names):
    """Draw the layer at ``path`` into the picture ``output``; ``kept`` (station, hour) is what came."""
    rows = read(path)
    stations = sorted({row["station"] for row in rows})
    application = QgsApplication.instance() or QgsApplication([], False)
    application.initQgis()
    layer = QgsVectorLayer(f"{path}|layername=forecast", "forecast", "ogr")
    layer.loadDefaultStyle()  # once more, as QGIS's own Add Layer does: making the layer leaves its time switched off
    if not layer.isValid() or not layer.temporalProperties().isActive():
        raise SystemExit(f"{path} has no forecast layer with temporal settings.")
    label(layer)
    figure = Figure(figsize=(13, 8.0), dpi=130, facecolor="white")
    layout = figure.add_gridspec(
        2, 12, height_ratios=[1, 1], left=0.04, right=0.985, top=0.89, bottom=0.06, hspace=0.2, wspace=0.9
    )
    for index, lead in enumerate(LEADS):
        start = next(row["t_start"] for row in rows if row["kind"] == "forecast" and row["lead"] == lead)
        axes = figure.add_subplot(layout[0, 3 * index : 3 * index + 3])
        axes.imshow(frame(layer, start))
        axes.set_title(
            f"{start[:16].replace('T', ' ').replace('/', '-')} UTC, {lead} h ahead", fontsize=9.5, loc="left", color=INK
        )
        axes.set_xticks([])
        axes.set_yticks([])
    for index, station in enumerate(stations):
        fan(figure.add_subplot(layout[1, 4 * index : 4 * index + 4]), rows, station, kept, names, index == 0)
    title = "Temperature at New York's airports: anomaly from normal (colour), width of the 80 % interval (size)"
    figure.suptitle(title, fontsize=13, x=0.04, ha="left", color=INK)
    figure.savefig(output)


def read(path):
    """Return the layer's rows."""
    dataset = ogr.Open(str(path))
    layer = dataset.GetLayerByName("forecast")
    return [{key: feature.GetField(key) for key in feature.keys()} for feature in layer]  # noqa: SIM118 - no mapping


def label(layer):
    """Write the station's name and value beside its point."""
    settings = QgsPalLayerSettings()
    settings.fieldName = "\"station\" || '\\n' || format_number(\"median\", 1) || ' °C'"
    settings.isExpression = True
    settings.placement = Qgis.LabelPlacement.OverPoint
    settings.quadOffset = Qgis.LabelQuadrantPosition.Above
    settings.yOffset = -2.5
    text = settings.format()
    text.setSize(9)
    text.setColor(QColor(INK))
    settings.setFormat(text)
    layer.setLabeling(QgsVectorLayerSimpleLabeling(settings))
    layer.setLabelsEnabled(True)


def frame(layer, start):
    """Return the picture of one period: (row, column, 4)."""
    moment = QDateTime.fromString(start.replace("/", "-").replace(" ", "T")[:19], Qt.DateFormat.ISODate)
    moment.setTimeSpec(Qt.TimeSpec.UTC)
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    box = QgsRectangle(layer.extent())
    box.scale(1.9)
    settings.setExtent(box)
    settings.setOutputSize(QSize(520, 480))
    settings.setOutputDpi(150)
    settings.setBackgroundColor(QColor("#f3f6f8"))
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
    ahead = sorted((row for row in own if row["kind"] == "forecast"), key=lambda row: row["lead"])
    when = {id(row): np.datetime64(row["t_start"].replace("/", "-").replace(" ", "T")[:19]) for row in own}
    past.sort(key=lambda row: when[id(row)])
    times = [when[id(row)] for row in ahead]
    for low, high, opacity, title in (("low_90", "high_90", 0.16, "90 %"), ("low_80", "high_80", 0.26, "80 %")):
        lower, upper = [row[low] for row in ahead], [row[high] for row in ahead]
        axes.fill_between(times, lower, upper, color=BLUE, alpha=opacity, linewidth=0, label=title)
    axes.plot(times, [row["normal"] for row in ahead], color=MUTED, linestyle="--", linewidth=1, label="normal")
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
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
