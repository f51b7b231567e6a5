"""
Turns and mirrorings of tiles that stay true: only those that the bands' kinds allow, with vectors turned along.

A symmetry is a number of quarter turns, counter-clockwise, and then a mirroring of east and west, or none: eight in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..bands import Band


class Symmetry(NamedTuple):
    """One of the eight symmetries of a square."""

    quarter_turns: int
    mirrored: bool


ALL = tuple(Symmetry(turns, mirrored) for mirrored in (False, True) for turns in range(4))
NONE = ALL[:1]


def allowed_symmetries(bands: Sequence[Band]) -> tuple[Symmetry, ...]:
    """
    Return the symmetries that keep all bands true.

    Any, unless a band is directional (lit or measured from one side), or a part of a vector whose other part is missing.
    """
    kinds = [band.kind for band in bands]
    if "directional" in kinds or kinds.count("vector_x") != kinds.count("vector_y"):
        return NONE
    return ALL


def turn(array: npt.NDArray[Any], symmetry: Symmetry) -> npt.NDArray[Any]:
    """Turn and mirror the last two axes (row, column); a view where possible."""
    turned = np.rot90(array, symmetry.quarter_turns, axes=(-2, -1))
    return turned[..., ::-1] if symmetry.mirrored else turned


def turn_back(array: npt.NDArray[Any], symmetry: Symmetry) -> npt.NDArray[Any]:
    """Undo `turn`."""
    unmirrored = array[..., ::-1] if symmetry.mirrored else array
    return np.rot90(unmirrored, -symmetry.quarter_turns, axes=(-2, -1))


def turn_tile(values: npt.NDArray[np.float32], bands: Sequence[Band], symmetry: Symmetry) -> npt.NDArray[np.float32]:
    """
    Turn a tile (band, row, column) and what its bands say of directions.

    Eastward and northward parts of a vector are turned into each other (the first ``vector_x`` goes with the first
    ``vector_y``); azimuths, degrees clockwise from north, are turned back by what the tile was turned.
    """
    turned = np.ascontiguousarray(turn(values, symmetry))
    if symmetry == ALL[0]:
        return turned
    eastward = [i for i, band in enumerate(bands) if band.kind == "vector_x"]
    northward = [i for i, band in enumerate(bands) if band.kind == "vector_y"]
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[symmetry.quarter_turns % 4]
    for x, y in zip(eastward, northward):
        east, north = turned[x].copy(), turned[y].copy()
        turned[x] = (cosine * east - sine * north) * (-1 if symmetry.mirrored else 1)
        turned[y] = sine * east + cosine * north
    for i, band in enumerate(bands):
        if band.kind == "azimuth":
            azimuth = turned[i] - 90.0 * symmetry.quarter_turns
            turned[i] = np.mod(-azimuth if symmetry.mirrored else azimuth, 360.0)
    return turned
