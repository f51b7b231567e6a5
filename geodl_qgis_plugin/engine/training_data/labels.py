"""
Labels: one or more layers as class codes on the predictors' grid, read window by window.

Classes keep the codes, names and colours that the layer gives them. Codes are uint16; 0 is unlabelled, which is no class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..classes import LandClass, distinct_colours
from ..errors import LabelsError, SettingsError
from ..rasters.grid import Grid, Window
from .label_layers import LabelLayer, Value, VectorLabels, open_label_layer, value_order, value_text

CodeArray = NDArray[np.uint16]
_OTHER = LandClass(65535, "other classes", "#9e9e9e")


@dataclasses.dataclass(frozen=True)
class LabelOptions:
    """
    How layers become labels.

    ``classes`` holds what QGIS' renderer says: dicts with ``value`` and any of ``code``, ``name``, ``colour``; values that are
    not in it are left out, and entries with the same code become one class. ``width`` widens points and lines, ``belt`` leaves
    out what lies so near to a contact between two classes (both in map units). ``overlap`` says what pixels are where features
    of different classes overlap: ``smallest`` feature on top, or ``leave out``.
    """

    class_field: str = ""
    classes: Sequence[Mapping[str, Any]] = ()
    width: float = 0.0
    belt: float = 0.0
    overlap: str = "smallest"


class Labels:
    """
    Class codes on a grid.

    Attributes
    ----------
    classes : list of LandClass
        In the order of their codes.
    left_out : list of str
        What was left out and why, in sentences.
    """

    def __init__(self, layers: Sequence[LabelLayer], grid: Grid, options: LabelOptions) -> None:
        self.grid, self._layers, self._options = grid, list(layers), options
        self.left_out: list[str] = []
        for layer in layers:
            if layer.empty:
                self.left_out.append(
                    f"{layer.empty} features of {layer.path} have an empty class field and are left out."
                )
        by_value = self._decide()
        self.classes = sorted({c.code: c for c in reversed(list(by_value.values()))}.values(), key=lambda c: c.code)
        if not self.classes:
            raise LabelsError(
                "None of the labels' values is among the classes of the layer's style. Give every class a style."
            )
        self._tables = [
            np.array([0] + [by_value[v.text].code if v.text in by_value else 0 for v in layer.values], np.uint16)
            for layer in layers
        ]
        self._recode: NDArray[np.uint16] | None = None
        self.overlapping_pixels = 0
        px = grid.pixel_size
        self._margin = int(np.ceil(options.belt / min(px))) + 2 if options.belt > 0 else 0

    @property
    def paths(self) -> list[str]:
        """Return the paths of the layers."""
        return [layer.path for layer in self._layers]

    @property
    def unit_count(self) -> int:
        """Return how many features the first layer has on the grid; 0 for a raster."""
        return self._layers[0].unit_count

    @property
    def window(self) -> Window:
        """Return the window of the grid that the labels' layers span; no label lies outside."""
        corners = []
        for layer in self._layers:
            west, south, east, north = layer.bounds
            rows, columns = self.grid.pixels(np.array([west, west, east, east]), np.array([south, north, south, north]))
            corners.append((rows.min(), columns.min(), rows.max(), columns.max()))
        top, left, bottom, right = np.array(corners).T
        row, column = max(int(np.floor(top.min())), 0), max(int(np.floor(left.min())), 0)
        end_row = min(int(np.floor(bottom.max())) + 1, self.grid.height)
        end_column = min(int(np.floor(right.max())) + 1, self.grid.width)
        return Window(row, column, max(end_row - row, 0), max(end_column - column, 0))

    def read(self, window: Window, *, count_overlaps: bool = False) -> CodeArray:
        """
        Return the class codes of a window, shape (row, column); 0 where nothing is labelled.

        With ``count_overlaps`` the pixels on which features of different classes overlap are added to ``overlapping_pixels``.
        """
        wide = window.grown(self._margin, self.grid.height, self.grid.width) if self._margin else window
        codes = np.zeros((wide.height, wide.width), np.uint16)
        inner = (slice(window.row - wide.row, None), slice(window.column - wide.column, None))
        inner = (
            slice(inner[0].start, inner[0].start + window.height),
            slice(inner[1].start, inner[1].start + window.width),
        )
        for layer, table in zip(self._layers[::-1], self._tables[::-1]):  # the first layer lies on top
            numbers = layer.read(wide)
            here = table[numbers]
            leave_out = self._options.overlap == "leave out"
            if count_overlaps or leave_out:
                twice = layer.overlapping(wide, numbers)
                twice &= here > 0
                if count_overlaps:
                    self.overlapping_pixels += int(np.count_nonzero(twice[inner]))
                if leave_out:
                    codes[twice] = 0
                    here = np.where(twice, 0, here).astype(np.uint16)
            np.copyto(codes, here, where=here > 0)
        if self._recode is not None:
            codes = self._recode[codes]
        if self._margin:
            codes[_near_contact(codes, self._options.belt, self.grid)] = 0
        return np.ascontiguousarray(codes[inner])

    def units(self, window: Window) -> NDArray[np.uint32]:
        """Return the number of the first layer's feature on each pixel, from 1; 0 where there is none."""
        return self._layers[0].units(window)

    def shrink(self, counts: Mapping[int, int], smallest: int, small: str) -> None:
        """
        Leave out classes with fewer than ``smallest`` pixels (``small`` is "leave out") or make them one class ("merge").

        Parameters
        ----------
        counts : dict
            Pixels by code.
        """
        few = [c for c in self.classes if counts.get(c.code, 0) < max(smallest, 1)]
        if not few:
            return
        names = ", ".join(c.name for c in few)
        merged = small == "merge" and any(counts.get(c.code, 0) for c in few)
        recode = np.arange(65536, dtype=np.uint16)
        recode[[c.code for c in few]] = _OTHER.code if merged else 0
        self._recode = recode
        self.classes = [c for c in self.classes if c not in few] + ([_OTHER] if merged else [])
        what = f"merged into {_OTHER.name!r}" if merged else "left out"
        why = f"fewer than {smallest} pixels" if smallest > 1 else "no pixel in the area"
        self.left_out.append(f"Classes with {why} are {what}: {names}.")

    def _decide(self) -> dict[str, LandClass]:
        """Return the class of each value of all layers."""
        values = {value.text: value for layer in reversed(self._layers) for value in layer.values}
        if self._options.classes:
            return self._styled(values)
        texts = sorted(values, key=value_order)
        codes = _codes(texts)
        colours = distinct_colours(len(texts))
        classes = {}
        for text, code, colour in zip(texts, codes, colours):
            value = values[text]
            classes[text] = LandClass(code, value.name or text, value.colour or colour)
        return classes

    def _styled(self, values: Mapping[str, Value]) -> dict[str, LandClass]:
        """Return the classes that the settings describe, for the values that exist; a raster's own names stand in for none."""
        styled: dict[str, LandClass] = {}
        entries = [dict(entry) for entry in self._options.classes]
        texts = [value_text(entry.get("value", entry.get("code"))) for entry in entries]
        codes, colours = _codes(texts), distinct_colours(len(texts))
        for entry, text, code, colour in zip(entries, texts, codes, colours):
            unknown = sorted(set(entry) - {"value", "code", "name", "colour"})
            if unknown:
                raise SettingsError(f"{unknown[0]!r} is unknown in CLASSES. A class has value, code, name and colour.")
            code = int(entry.get("code") or code)
            if not 1 <= code <= 65535:
                raise SettingsError(f"The class {text!r} has the code {code}, but codes lie between 1 and 65535.")
            if text in values:
                name = str(entry.get("name") or text)
                name = values[text].name or name if name == text else name
                styled[text] = LandClass(code, name, str(entry.get("colour") or values[text].colour or colour)[:7])
        missing = [value for value in values if value not in styled]
        if missing:
            shown = ", ".join(missing[:8])
            self.left_out.append(
                f"{len(missing)} values of the labels are not among the classes and are left out: {shown}."
            )
        return styled


def open_labels(paths: Sequence[str], grid: Grid, options: LabelOptions) -> Labels:
    """
    Open layers of labels on a grid; where several have a label for a pixel, the first one counts.

    Raises
    ------
    SourceError
        If a layer is missing or neither raster nor vector.
    LabelsError
        If a layer has no feature on the grid or its class field is empty or missing.
    """
    if not paths:
        raise SettingsError("LABELS is missing. Give polygons, points or a raster with the classes.")
    return Labels([open_label_layer(path, grid, options.class_field, options.width) for path in paths], grid, options)


def has_features(labels: Labels) -> bool:
    """Whether the first layer has features, by which a split can be made."""
    return isinstance(labels._layers[0], VectorLabels)


def distance_sampling(grid: Grid) -> tuple[float, float]:
    """
    Return the row and column spacing with which distances between pixels are measured, in map units.

    Where a grid is skewed the spacings are shortened so far that no distance comes out too long.
    """
    t = grid.transform
    across, down = grid.pixel_size
    skew = abs(t[1] * t[2] + t[4] * t[5]) / (across * down)
    shrink = float(np.sqrt(max(1 - skew, 1e-12)))
    return down * shrink, across * shrink


def _near_contact(codes: CodeArray, belt: float, grid: Grid) -> NDArray[np.bool_]:
    """Return the pixels whose middle lies within ``belt`` of a line between two classes."""
    contact = np.zeros(codes.shape, bool)
    for axis in (0, 1):
        a, b = np.moveaxis(codes, axis, 0)[:-1], np.moveaxis(codes, axis, 0)[1:]
        differ = (a != b) & (a > 0) & (b > 0)
        edge = np.moveaxis(contact, axis, 0)
        edge[:-1] |= differ
        edge[1:] |= differ
    if not contact.any():
        return contact
    sampling = distance_sampling(grid)
    # The contact lies half a pixel beyond the pixels on either side of it.
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~contact, sampling=sampling)
    return distance + min(sampling) / 2 <= belt


def _codes(texts: Sequence[str]) -> list[int]:
    """Keep whole numbers from 1 to 65535 as codes; a 0 among them gets the next free code; else count from 1."""
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        return list(range(1, len(texts) + 1))
    if len(set(numbers)) < len(numbers) or not all(0 <= number <= 65534 for number in numbers):
        return list(range(1, len(texts) + 1))
    return [number or max(max(numbers) + 1, 1) for number in numbers]
