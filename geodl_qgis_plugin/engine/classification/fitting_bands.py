"""Find a model's bands in rasters, and say where the rasters are not like those that the model was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import BandMismatchError
from ..messages import Progress
from ..rasters.grid import Grid
from ..rasters.projection import metres_per_unit
from ..rasters.stack import Stack
from .classifier import Classifier

_DEGREE_M = 111_320.0
_LIKE_ENOUGH = 1.25


def fit_bands(stack: Stack, model: Classifier, progress: Progress) -> Stack:
    """
    Return the stack with the model's bands in the model's order, and the model's values that mean no data.

    Bands are found by name. Where no name of the model occurs and the number is right, they are taken as they come, which is
    said: the bands of another file of the same kind are often named otherwise.

    Raises
    ------
    BandMismatchError
        If some of the model's bands are there and others are not, or the number is not that of the model.
    """
    wanted, found = [band.name for band in model.bands], [band.name for band in stack.bands]
    places = {name: i for i, name in reversed(list(enumerate(found)))}
    missing = [name for name in wanted if name not in places]
    codes = [band.missing for band in model.bands]
    if not missing:
        return (stack if found == wanted else stack.chosen([places[name] for name in wanted])).also_missing(codes)
    if len(found) != len(wanted) or len(missing) < len(wanted):
        raise BandMismatchError(
            f"The rasters have {_bands(found)}, but this model was trained on {_bands(wanted)}. Give rasters with those "
            "bands."
        )
    units = [(one.name, one.unit, other.unit) for one, other in zip(stack.bands, model.bands)]
    for name, unit, needed in units:
        if unit and needed and unit != needed:
            raise BandMismatchError(
                f"Band {name} is in {unit}, but this model was trained on {_bands(wanted)}, where that band is in {needed}. "
                "Give rasters with those bands, in that order."
            )
    if len(wanted) > 1:
        progress.warning(
            f"None of the model's bands ({', '.join(wanted)}) is found by its name. The raster's bands ({', '.join(found)}) "
            "are taken in their order: make sure that they are the same quantities."
        )
    return stack.also_missing(codes)


def check_pixel_size(grid: Grid, model: Classifier, progress: Progress) -> None:
    """Warn where pixels are larger or smaller than those that the model was trained on."""
    here, there = pixel_m(grid), pixel_m(model.grid)
    if max(here, there) > _LIKE_ENOUGH * min(here, there):
        progress.warning(
            f"The raster's pixels are {here:,.4g} m wide, but the model was trained on pixels of {there:,.4g} m. Forms look "
            "larger or smaller to it than they are; warp the raster to that pixel size for a better map."
        )


def pixel_m(grid: Grid) -> float:
    """Return the side of a pixel in metres; of one in degrees, as it is at the equator."""
    side = math.sqrt(grid.pixel_size[0] * grid.pixel_size[1])
    return side * (_DEGREE_M if grid.in_degrees else metres_per_unit(grid))


def _bands(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"{len(names)} band{'s' if len(names) != 1 else ''} ({shown})"
