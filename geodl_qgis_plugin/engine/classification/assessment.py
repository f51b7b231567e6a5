"""
Compare a classified raster with a reference of any kind, the job ``assessclassification``.

The reference (polygons, points or a raster) is brought onto the map's grid, where each of the map's pixels that has a reference
counts once; both are read window by window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import ogr

from ..errors import Cancelled, LabelsError
from ..files import check_output
from ..messages import Progress
from ..rasters.grid import Grid, Window, windows_of
from ..rasters.stack import open_stack
from ..settings import as_dict, option
from ..training_data.labels import LabelOptions, Labels, has_features, open_labels
from ..training_data.vector_layers import Areas, open_vector
from .area_adjusted import AreaAdjusted, area_adjusted
from .assessment_report import assessment_page
from .class_matching import ClassMatch, match_classes
from .confusion_table import write_confusion
from .metrics import Accuracy, ConfusionCounter

RIGHT, WRONG = 1, 2  # codes of the map of agreement
_CHUNK_PX = 2048
_SKETCH_PX = 900  # longest side of the map of agreement
_POINT_PX = 2  # half the side of a point's square on it


@dataclass(frozen=True)
class Settings:
    """Settings of the job ``assessclassification``."""

    classified: str
    reference: str
    class_field: str = ""
    areas: str | None = None
    report: str | None = None
    matrix: str | None = None
    classes: list[dict[str, Any]] = option([])  # value, name and colour, as the reference's layer is drawn
    map_classes: list[dict[str, Any]] = option([])  # the same of the classified raster


@dataclass(frozen=True, eq=False)
class Assessment:
    """
    What the comparison found.

    ``agreement`` is a coarse map of where the map is right and wrong (codes `RIGHT` and `WRONG`), ``mapped_pixels`` counts the
    whole map by class; ``adjusted`` is there when the reference is points.
    """

    accuracy: Accuracy
    match: ClassMatch
    grid: Grid
    agreement: npt.NDArray[np.uint8]
    mapped_pixels: npt.NDArray[np.int64]
    unmapped: int
    points: int
    adjusted: AreaAdjusted | None


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Compare, and write the report and the matrix.

    Raises
    ------
    SourceError, GridError, LabelsError, OutputError
        Before the comparison, each with a sentence; `LabelsError` after it, if no pixel has both a class and a reference.
    """
    for path in (settings.report, settings.matrix):
        if path:
            check_output(path)
    assessment = assess(settings, progress)
    accuracy = assessment.accuracy
    if settings.matrix:
        write_confusion(settings.matrix, accuracy)
    if settings.report:
        page = assessment_page(assessment, Path(settings.classified).name, Path(settings.reference).name)
        page.settings({name.upper(): value for name, value in as_dict(settings).items() if value})
        page.save(settings.report)
    progress.update(1.0, "Compared")
    return {
        "accuracy": accuracy.accuracy,
        "macro_f1": accuracy.macro_f1,
        "kappa": accuracy.kappa,
        "report": settings.report,
        "matrix": settings.matrix,
    }


def assess(settings: Settings, progress: Progress) -> Assessment:
    """Open both layers, match their classes, and count."""
    grid = open_stack([settings.classified]).grid
    mapped = _open_map(settings, grid)
    reference = open_labels([settings.reference], grid, LabelOptions(settings.class_field, settings.classes))
    areas = Areas(settings.areas, grid) if settings.areas else None
    match = match_classes(mapped.classes, reference.classes)
    _tell(match, reference, progress)
    points = reference.unit_count if has_features(reference) and _is_points(settings.reference) else 0
    # what a sample of points says is weighed by the whole map, which must then be counted whole
    area = Window(0, 0, grid.height, grid.width) if points else reference.window
    counter = ConfusionCounter(match.classes)
    mapped_pixels = np.zeros(len(match.classes) + 1, np.int64)
    sketch = _Sketch(grid, _POINT_PX if points else 0)
    windows = windows_of(area, _CHUNK_PX)
    for number, window in enumerate(windows):
        if progress.cancelled():
            raise Cancelled("The comparison was stopped before it was done.")
        codes, truth = match.from_map[mapped.read(window)], match.from_reference[reference.read(window)]
        if areas is not None:
            outside = ~areas.read(window)
            codes[outside], truth[outside] = 0, 0
        mapped_pixels += np.bincount(codes.reshape(-1), minlength=len(mapped_pixels))
        counter.add(truth, codes)
        sketch.add(window, truth, codes)
        progress.update((number + 1) / len(windows), "Comparing")
    accuracy = counter.accuracy()
    if not accuracy.pixels:
        inside = " inside the areas" if areas is not None else ""
        raise LabelsError(
            f"The map {settings.classified} has no class at any of the {counter.unmapped:,} pixels with a reference{inside}. "
            "Give a reference of the area that was classified, and check both CRS."
        )
    adjusted = area_adjusted(accuracy.confusion, mapped_pixels[1:]) if points else None
    return Assessment(accuracy, match, grid, sketch.codes, mapped_pixels[1:], counter.unmapped, points, adjusted)


def _open_map(settings: Settings, grid: Grid) -> Labels:
    try:
        return open_labels([settings.classified], grid, LabelOptions(classes=settings.map_classes))
    except LabelsError as error:
        raise LabelsError(f"CLASSIFIED is no raster of classes. {error}") from error


def _is_points(path: str) -> bool:
    opened = open_vector(path)  # holds the file open while its layer is asked
    kinds = {ogr.GT_Flatten(opened.layer.GetGeomType())}
    if kinds == {ogr.wkbUnknown}:
        geometries = (feature.GetGeometryRef() for feature in opened.layer)
        kinds = {ogr.GT_Flatten(geometry.GetGeometryType()) for geometry in geometries if geometry is not None}
    return kinds <= {ogr.wkbPoint, ogr.wkbMultiPoint}


def _tell(match: ClassMatch, reference: Labels, progress: Progress) -> None:
    for sentence in reference.left_out:
        progress.warning(sentence)
    for names, here, there in (
        (match.only_reference, "reference", "map"),
        (match.only_mapped, "map", "reference"),
    ):
        if names:
            progress.warning(f"Only the {here} shows {_listed(names)}; the {there} has no pixel of such a name.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


class _Sketch:
    """A coarse map of agreement, filled window by window."""

    def __init__(self, grid: Grid, grow_px: int) -> None:
        self._step = -(-max(grid.height, grid.width) // _SKETCH_PX)
        self._grow = grow_px
        self.codes = np.zeros((-(-grid.height // self._step), -(-grid.width // self._step)), np.uint8)

    def add(self, window: Window, truth: npt.NDArray[np.uint16], codes: npt.NDArray[np.uint16]) -> None:
        """Mark the pixels of a window; of those that share a cell, the last one counts, and points become squares."""
        rows, columns = np.nonzero((truth > 0) & (codes > 0))
        agreement = np.where(truth[rows, columns] == codes[rows, columns], RIGHT, WRONG).astype(np.uint8)
        rows, columns = (rows + window.row) // self._step, (columns + window.column) // self._step
        for down in range(-self._grow, self._grow + 1):
            for right in range(-self._grow, self._grow + 1):
                r = np.clip(rows + down, 0, self.codes.shape[0] - 1)
                c = np.clip(columns + right, 0, self.codes.shape[1] - 1)
                self.codes[r, c] = agreement
