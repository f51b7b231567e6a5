"""The job `extracttiles`: from rasters and mapped examples to a tile set, parted in space."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..errors import GridError, LabelsError, SettingsError, SplitError
from ..files import check_output, whole_file, whole_folder
from ..messages import Progress
from ..rasters.extent import window_of_extent
from ..rasters.grid import Window
from ..rasters.stack import open_stack
from .assembly import Assembly
from .extraction_settings import Settings
from .footprints import copy_footprints
from .labels import LabelOptions, Labels, open_labels
from .tile_set import FOOTPRINTS_NAME, REPORT_NAME
from .vector_layers import Areas

__all__ = ["Settings", "run"]


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Cut a tile set.

    Returns
    -------
    result : dict
        ``output`` (folder), ``footprints``, ``report``, and how many tiles: ``tiles``, ``training``, ``validation``, ``test``.

    Raises
    ------
    GeoDLError
        One sentence for whatever is missing or does not fit; before the predictors are read where it can be known.
    """
    _check(settings)
    output = check_output(settings.output, folder=True)
    if settings.footprints:
        check_output(settings.footprints)
    if settings.report:
        check_output(settings.report)
    stack = open_stack(settings.predictors, bands=settings.bands)
    grid = stack.grid
    size = settings.tile_size
    extent = window_of_extent(settings.extent, grid)
    if size > min(extent.height, extent.width):
        raise GridError(
            f"A tile of {size} pixels is larger than the area of {extent.width} × {extent.height} pixels. "
            f"Choose a TILE_SIZE of {min(extent.height, extent.width)} or less, or a larger EXTENT."
        )
    labels = open_labels([str(path) for path in settings.labels], grid, _label_options(settings))
    tests = Areas(settings.test_areas, grid) if settings.test_areas else None
    if tests is not None and not tests.count:
        raise SplitError(
            f"The test areas {settings.test_areas} do not lie on the raster. Draw them where the labels are."
        )
    area = _area(labels, extent, size)
    with whole_folder(output) as folder:
        facts = Assembly(settings, stack, labels, tests, area, folder, progress).run()
    if settings.footprints:
        copy_footprints(output / FOOTPRINTS_NAME, Path(settings.footprints))
    if settings.report:
        with whole_file(settings.report) as part:
            shutil.copyfile(output / REPORT_NAME, part)
    tiles = facts["split"]["tiles"]
    result = {"output": str(output), "footprints": settings.footprints or str(output / FOOTPRINTS_NAME)}
    result["report"] = settings.report or str(output / REPORT_NAME)
    return result | {"tiles": sum(tiles.values()), **tiles}


def _check(s: Settings) -> None:
    if not s.predictors:
        raise SettingsError("PREDICTORS is missing. Give one raster or more.")
    if s.validation + s.test >= 100:
        raise SettingsError(
            f"VALIDATION and TEST are {s.validation + s.test:g} percent together and leave nothing to train on."
        )
    if s.folds == 1 or (s.folds and s.test_fold >= s.folds):
        raise SettingsError(
            f"FOLDS is {s.folds} and TEST_FOLD {s.test_fold}. Give 2 folds or more, and a TEST_FOLD below FOLDS."
        )
    if s.folds and s.test_areas:
        raise SettingsError(
            "FOLDS and TEST_AREAS exclude each other: each fold is a test part of its own. Choose one of them."
        )


def _label_options(s: Settings) -> LabelOptions:
    return LabelOptions(s.class_field, tuple(s.classes or ()), s.label_width, s.contact_belt, s.overlap)


def _area(labels: Labels, extent: Window, size: int) -> Window:
    """Return the part of the extent in which labels lie, with a tile's width of context round it."""
    there = labels.window
    top, left = max(there.row - size, extent.row), max(there.column - size, extent.column)
    bottom = min(there.row + there.height + size, extent.row + extent.height)
    right = min(there.column + there.width + size, extent.column + extent.width)
    if bottom <= top or right <= left:
        raise LabelsError("The labels have no feature inside EXTENT. Choose an extent that holds labels.")
    # Labels in a corner of the extent may leave less than a tile.
    top, left = min(top, max(bottom - size, extent.row)), min(left, max(right - size, extent.column))
    bottom, right = max(bottom, top + size), max(right, left + size)
    return Window(top, left, bottom - top, right - left)
