"""
Classify rasters with a trained model: the job `classifyraster`.

A net for pixels is run over windows with a halo, so the map equals one pass over the whole raster; a net for tiles slides over
it and gives a class at every step. Memory does not grow with the raster.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..bands import Band
from ..errors import Cancelled, SettingsError
from ..files import all_or_none, check_output
from ..messages import PartOfProgress, Progress
from ..rasters.extent import window_of_extent
from ..rasters.grid import Grid, Window
from ..rasters.stack import Stack, open_stack
from ..rasters.writer import MapWriter, class_map, value_map
from ..settings import as_dict, option
from .classifier import Classifier, load_classifier
from .fitting_bands import check_pixel_size, fit_bands
from .prediction import Reading, padded, probabilities_of, readings, up_to_multiple
from .sliding import slide
from .streaming import Behind, ahead
from .tile_polygons import TilePolygons

CORE_PX = 384


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    model: str
    predictors: list[str]
    output: str
    extent: str = ""
    confidence: str | None = None
    probabilities: str | None = None
    polygons: str | None = None
    stride: int = option(0, at_least=0)  # pixels; for tile models; 0: a tile's side


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the class raster, and what else was asked for.

    Raises
    ------
    SourceError, ModelFileError, BandMismatchError, GridError, OutputError
        Before any work, each with a sentence.
    Cancelled
        If it was stopped; nothing is left behind.
    """
    outputs = [settings.output, settings.confidence, settings.probabilities, settings.polygons]
    for path in outputs:
        if path:
            check_output(path)
    model = load_classifier(settings.model)
    if settings.polygons and model.per_pixel:
        raise SettingsError(
            "POLYGONS are made by models that classify tiles, and this one classifies pixels. Leave POLYGONS empty, and run "
            "Polygonize on the class raster."
        )
    stack = fit_bands(open_stack(settings.predictors), model, progress)
    check_pixel_size(stack.grid, model, progress)
    area = window_of_extent(settings.extent, stack.grid)
    work = _pixels if model.per_pixel else _tiles
    with all_or_none(outputs):
        counts = work(settings, model, stack, area, progress)
    if not counts.any():
        progress.warning("The map is empty: the rasters have no pixel with a value in every band there.")
    progress.update(1.0)
    return {
        "output": settings.output,
        "confidence": settings.confidence,
        "probabilities": settings.probabilities,
        "polygons": settings.polygons,
        "counts": {str(one.code): int(count) for one, count in zip(model.classes, counts)},
    }


def _pixels(
    settings: Settings, model: Classifier, stack: Stack, area: Window, progress: Progress
) -> npt.NDArray[np.int64]:
    """Map each pixel; return the pixels of each class."""
    stride, grid = int(model.net.stride), stack.grid  # type: ignore[arg-type]
    core = up_to_multiple(CORE_PX, stride)
    wanted = [
        reading
        for reading in readings(grid.height, grid.width, core, model.halo_px, stride)
        if _touch(reading.core, area)
    ]
    with _Maps(settings, model, grid.part(area), progress) as maps, Behind(maps.write) as write:
        for number, (reading, values) in enumerate(ahead(_read(stack, reading) for reading in wanted)):
            if progress.cancelled():
                raise Cancelled("Classifying was stopped; nothing was kept.")
            place = _cut(reading.core, area)
            rows, columns = _within(reading.core, reading.outer)
            inside = values[:, rows, columns]
            valid = np.isfinite(inside).all(axis=0)
            if valid.any():
                probabilities = probabilities_of(model.net, values, reading)
                rows, columns = _within(place, reading.core)
                write(probabilities[:, rows, columns], valid[rows, columns], _moved(place, area))
            progress.update(0.9 * (number + 1) / len(wanted), "Classifying")
    return maps.counts


def _tiles(
    settings: Settings, model: Classifier, stack: Stack, area: Window, progress: Progress
) -> npt.NDArray[np.int64]:
    """Map each tile; return the tiles of each class."""
    size = model.tile_size_px
    step = settings.stride or size
    if area.height < size or area.width < size:
        raise SettingsError(
            f"The area of {area.width} × {area.height} pixels is smaller than the model's tiles of {size} pixels. Give a "
            "larger raster or EXTENT."
        )
    rows, columns = (area.height - size) // step + 1, (area.width - size) // step + 1
    grid = _tile_grid(stack.grid.part(area), size, step, rows, columns)
    polygons = TilePolygons(settings.polygons, stack.grid.part(area), model, size, step) if settings.polygons else None
    with (
        _Maps(settings, model, grid, progress) as maps,
        polygons or contextlib.nullcontext(),
        Behind(maps.write) as write,
    ):
        for place, probabilities, valid in slide(model.net, stack, area, size, step, rows, columns):
            if progress.cancelled():
                raise Cancelled("Classifying was stopped; nothing was kept.")
            if valid.any():
                write(probabilities, valid, place)
                if polygons is not None:
                    polygons.write(probabilities, valid, place)
            progress.update(0.9 * (place.row + place.height) / rows, "Classifying")
    return maps.counts


class _Maps:
    """The rasters that are written; a context that keeps them all or none."""

    def __init__(self, settings: Settings, model: Classifier, grid: Grid, progress: Progress) -> None:
        self._classes = list(model.classes)
        self._codes = np.array([one.code for one in model.classes], np.uint16)
        self.counts = np.zeros(len(model.classes), np.int64)
        self._stack = contextlib.ExitStack()
        self._settings, self._grid = settings, grid
        self._metadata = _metadata(settings, model)
        self._progress = PartOfProgress(progress, 0.9, 1.0)
        self._confidence: MapWriter | None = None
        self._probabilities: MapWriter | None = None

    def __enter__(self) -> _Maps:
        with contextlib.ExitStack() as stack:
            settings, grid = self._settings, self._grid
            shared: dict[str, Any] = {"metadata": self._metadata, "progress": self._progress}
            self._output = stack.enter_context(class_map(settings.output, grid, self._classes, **shared))
            if settings.confidence:
                bands = [Band("confidence")]
                self._confidence = stack.enter_context(
                    value_map(settings.confidence, grid, bands, packed=True, **shared)
                )
            if settings.probabilities:
                bands = [Band(one.name) for one in self._classes]
                self._probabilities = stack.enter_context(
                    value_map(settings.probabilities, grid, bands, packed=True, **shared)
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, probabilities: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], window: Window) -> None:
        """Write a window: (class, row, column), and where there is data."""
        best = probabilities.argmax(axis=0)
        self._output.write(window, np.where(valid, self._codes[best], 0))
        self.counts += np.bincount(best[valid], minlength=self.counts.size)
        masked = np.where(valid, probabilities, np.nan)
        if self._confidence is not None:
            self._confidence.write(window, np.where(valid, probabilities.max(axis=0), np.nan)[None])
        if self._probabilities is not None:
            self._probabilities.write(window, masked)


def _metadata(settings: Settings, model: Classifier) -> dict[str, Any]:
    return {
        "GEODL_MODEL": model.name,
        "GEODL_MODEL_SHA256": model.file.sha256,
        "GEODL_PREDICTORS": "; ".join(Path(path).name for path in settings.predictors),
        "GEODL_SETTINGS": {name: value for name, value in as_dict(settings).items() if value},
    }


def _read(stack: Stack, reading: Reading) -> tuple[Reading, npt.NDArray[np.float32]]:
    inside = reading.outer.grown(0, stack.grid.height, stack.grid.width)
    return reading, padded(stack.read(inside), inside, reading.outer)


def _tile_grid(grid: Grid, size: int, step: int, rows: int, columns: int) -> Grid:
    """Return the grid whose pixels are ``step`` wide and lie about the middles of the tiles."""
    offset = (size - step) / 2
    east, north = grid.coordinates(offset, offset)
    t = grid.transform
    transform = (float(east), t[1] * step, t[2] * step, float(north), t[4] * step, t[5] * step)
    return Grid(grid.crs, transform, columns, rows)


def _touch(one: Window, other: Window) -> bool:
    cut = _cut(one, other)
    return cut.height > 0 and cut.width > 0


def _cut(one: Window, other: Window) -> Window:
    row, column = max(one.row, other.row), max(one.column, other.column)
    bottom = min(one.row + one.height, other.row + other.height)
    right = min(one.column + one.width, other.column + other.width)
    return Window(row, column, bottom - row, right - column)


def _moved(window: Window, area: Window) -> Window:
    return Window(window.row - area.row, window.column - area.column, window.height, window.width)


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    return _moved(inner, outer).slices
