"""Maps of reports: classes, the split, with legend, coordinates and a scale bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..classes import LandClass
from ..rasters.grid import Grid
from .charts import WIDTH_IN, styled
from .svg import INK, MUTED

# code of a pixel's part → what the legend says and its colour
SPLIT_PARTS: dict[int, tuple[str, str]] = {
    1: ("training", "#0072b2"),
    2: ("validation", "#e69f00"),
    3: ("test", "#d55e00"),
    4: ("buffer", "#b9c2ca"),
}
IN_NO_PART = "White ground is in no part: it lies too near to validation pixels to be learnt from, or has no data."
_LARGEST_PX = 900  # a map in a report is read on a screen; larger rasters are thinned
_PLOT_WIDTH_IN, _PLOT_HEIGHT_IN = WIDTH_IN - 2.9, 6.6  # what legend and labels leave


@styled
def split_map(
    split: npt.NDArray[Any],
    grid: Grid,
    test_areas: Sequence[npt.NDArray[np.float64]] = (),
    hillshade: npt.NDArray[Any] | None = None,
    parts: Mapping[int, tuple[str, str]] = SPLIT_PARTS,
) -> Figure:
    """
    Draw which pixels train, validate and test.

    Parameters
    ----------
    split : array of whole numbers, (row, column)
        Codes of ``parts``; 0 is not drawn. It may be coarser than the grid, whose extent it covers.
    grid : Grid
        Where it lies.
    test_areas : sequence of arrays, (vertex, 2)
        Outlines in easting and northing of the grid.
    hillshade : array, (row, column), optional
        Brightness from 0 to 1, drawn below; NaN is not drawn. Of any resolution, over the same extent.
    """
    picture = _coloured(split, {code: colour for code, (_, colour) in parts.items()})
    occurring = [(name, colour) for code, (name, colour) in parts.items() if np.any(split == code)]
    figure, axes = _map(picture, grid, hillshade, opacity=0.75)
    for outline in test_areas:
        axes.plot(outline[:, 0], outline[:, 1], color=INK, linewidth=1.4)
    handles = [Patch(facecolor=colour, edgecolor=MUTED, linewidth=0.5, label=name) for name, colour in occurring]
    if len(test_areas):
        handles.append(Patch(facecolor="none", edgecolor=INK, linewidth=1.4, label="test areas given"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return figure


@styled
def class_map(
    codes: npt.NDArray[Any],
    classes: Sequence[LandClass],
    grid: Grid | None = None,
    hillshade: npt.NDArray[Any] | None = None,
    outlines: Sequence[npt.NDArray[np.float64]] = (),
) -> Figure:
    """
    Draw classes in their colours; the legend has those that occur, with their share of the map.

    Parameters
    ----------
    codes : array of whole numbers, (row, column)
        0 is not drawn.
    outlines : sequence of arrays, (vertex, 2)
        Lines drawn on top, in easting and northing.
    """
    counts = {one.code: int(np.count_nonzero(codes == one.code)) for one in classes}
    total = max(sum(counts.values()), 1)
    picture = _coloured(codes, {one.code: one.colour for one in classes})
    figure, axes = _map(picture, grid, hillshade, opacity=0.8 if hillshade is not None else 1.0)
    for outline in outlines:
        axes.plot(outline[:, 0], outline[:, 1], color=INK, linewidth=1.4)
    labels = {one: f"{one.name[:34]} ({_percent(counts[one.code] / total)})" for one in classes if counts[one.code]}
    handles = [
        Patch(facecolor=one.colour, edgecolor=MUTED, linewidth=0.5, label=label) for one, label in labels.items()
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return figure


@styled
def footprint_map(rings: Sequence[npt.NDArray[np.float64]]) -> Figure:
    """
    Draw outlines in longitude and latitude, with a margin as wide as they are.

    Parameters
    ----------
    rings : sequence of arrays, (vertex, 2)
        Longitude and latitude in degrees.
    """
    points = np.concatenate(rings)
    (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
    stretch = max(float(np.cos(np.radians((south + north) / 2))), 0.05)  # of a degree of longitude on the ground
    reach = max((east - west) * stretch, north - south, 1e-4)
    figure = Figure(figsize=(WIDTH_IN * 0.5, WIDTH_IN * 0.5))
    axes = figure.add_subplot()
    for ring in rings:
        axes.fill(ring[:, 0], ring[:, 1], facecolor="#0072b2", alpha=0.25, edgecolor="none")
        axes.plot(ring[:, 0], ring[:, 1], color="#0072b2", linewidth=1.6)
    middle = ((west + east) / 2, (south + north) / 2)
    axes.set(
        xlim=(middle[0] - reach / stretch, middle[0] + reach / stretch),
        ylim=(middle[1] - reach, middle[1] + reach),
        xlabel="Longitude (°)",
        ylabel="Latitude (°)",
    )
    axes.set_aspect(1 / stretch)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(useOffset=False)
    axes.grid()
    return figure


def _percent(share: float) -> str:
    return "<1 %" if share < 0.005 else f"{share * 100:.0f} %"


def _coloured(codes: npt.NDArray[Any], colours: Mapping[int, str]) -> npt.NDArray[np.float64]:
    """Return (row, column, 4) in 0 to 1, thinned, transparent where a code has no colour."""
    codes = _thinned(codes)
    picture = np.zeros((*codes.shape, 4))
    for code, colour in colours.items():
        picture[codes == code] = (*to_rgb(colour), 1.0)
    return picture


def _thinned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    step = -(-max(array.shape) // _LARGEST_PX)
    return array[step // 2 :: step, step // 2 :: step]


def _map(
    picture: npt.NDArray[np.float64], grid: Grid | None, hillshade: npt.NDArray[Any] | None, opacity: float
) -> tuple[Figure, Axes]:
    """Draw a picture in coordinates; without a grid, or on a turned one, in pixels without a scale."""
    rows, columns = picture.shape[:2]
    left, right, bottom, top = 0.0, float(columns), float(rows), 0.0
    on_map = grid is not None and bool(grid.crs) and not (grid.transform[2] or grid.transform[4])
    if grid is not None and on_map:
        (left, top), (right, bottom) = grid.coordinates(0, 0), grid.coordinates(grid.height, grid.width)
    ratio = abs((top - bottom) / (right - left))
    height = min(_PLOT_WIDTH_IN * ratio, _PLOT_HEIGHT_IN)
    figure = Figure(figsize=(height / ratio + WIDTH_IN - _PLOT_WIDTH_IN, height + 0.55))
    axes = figure.add_subplot()
    if hillshade is not None:
        grey = _thinned(np.asarray(hillshade, float))
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=(left, right, bottom, top), interpolation="none")
    picture[..., 3] *= opacity
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="none")
    axes.set(xlim=sorted((left, right)), ylim=sorted((bottom, top)) if on_map else (bottom, top), xticks=[], yticks=[])
    axes.set_aspect("equal")
    if grid is not None and on_map:
        _label_coordinates(axes, grid)
    for spine in axes.spines.values():
        spine.set(visible=True, color=MUTED)
    return figure, axes


def _label_coordinates(axes: Axes, grid: Grid) -> None:
    """Label the axes in kilometres, degrees or the CRS's own unit, and draw a scale bar where a length is one everywhere."""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=8)
    if grid.in_degrees:
        axes.set(xlabel="Longitude (°)", ylabel="Latitude (°)")
        return
    metres = grid.spatial_reference.GetLinearUnits()
    unit = grid.spatial_reference.GetLinearUnitsName()
    if metres == 1.0:
        unit = "km"
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:,.10g}"))
    axes.set(xlabel=f"Easting ({unit})", ylabel=f"Northing ({unit})")
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    length_m = _round_length((east - west) * metres * 0.22)
    length, thick = length_m / metres, (north - south) * 0.012
    x, y = west + (east - west) * 0.03, south + (north - south) * 0.035
    pad = thick * 1.6
    box = Rectangle(
        (x - pad, y - pad), length + 2 * pad, thick + (north - south) * 0.05 + pad, facecolor="#ffffff", alpha=0.8
    )
    axes.add_patch(box)
    axes.add_patch(Rectangle((x, y), length / 2, thick, facecolor="#101820", edgecolor="#101820", linewidth=0.8))
    axes.add_patch(
        Rectangle((x + length / 2, y), length / 2, thick, facecolor="#ffffff", edgecolor="#101820", linewidth=0.8)
    )
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    axes.text(x + length / 2, y + thick * 1.7, text, ha="center", va="bottom", fontsize=8, color="#101820")


def _round_length(length: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= length))
