"""Geosoft (Oasis montaj) grids, `.grd`, which GDAL does not read; harmonica does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import GridError, SourceError
from .grid import Grid
from .optional_packages import needed_package

_ELEMENT_BYTES = (1, 2, 4, 8)


def is_geosoft_grid(path: str | Path) -> bool:
    """Whether a file is a Geosoft grid, which its header's first numbers tell: other programs write `.grd` too."""
    path = Path(path)
    if path.suffix.lower() != ".grd" or not path.is_file():
        return False
    with path.open("rb") as file:
        header = np.frombuffer(file.read(20), "<i4")
    if header.size < 5:
        return False
    size, sign, columns, rows, order = (int(number) for number in header)
    return size % 1024 in _ELEMENT_BYTES and sign in (0, 1, 2, 3) and columns > 0 and rows > 0 and order in (-1, 1)


def read_geosoft_grid(path: str | Path, crs: str) -> tuple[NDArray[np.float64], Grid]:
    """
    Read a Geosoft grid.

    Parameters
    ----------
    crs : str
        WKT; a Geosoft grid holds none itself.

    Returns
    -------
    values : array (row, column)
        Northernmost row first, NaN where missing.
    grid : Grid
        Where the pixels lie; the file's nodes are their middles.
    """
    harmonica = needed_package("harmonica", "Geosoft grids")
    try:
        nodes = harmonica.load_oasis_montaj_grid(str(path))
    except (ValueError, NotImplementedError, OSError, EOFError) as error:
        raise SourceError(f"The Geosoft grid {path} cannot be read ({error}). Export it as a GeoTIFF.") from error
    if nodes.dims != ("northing", "easting"):
        raise GridError(f"The Geosoft grid {path} is rotated. Regrid it without rotation, or export it as a GeoTIFF.")
    east, north = nodes.easting.values, nodes.northing.values
    if min(east.size, north.size) < 2:
        raise GridError(f"The Geosoft grid {path} has {east.size} by {north.size} nodes. Give a larger grid.")
    step_east, step_north = (east[-1] - east[0]) / (east.size - 1), (north[-1] - north[0]) / (north.size - 1)
    values = np.asarray(nodes.values, np.float64)
    if step_north > 0:
        values, top = values[::-1], north[-1]
    else:
        top = north[0]
    step_north = abs(step_north)
    transform = (
        float(east[0] - step_east / 2),
        float(step_east),
        0.0,
        float(top + step_north / 2),
        0.0,
        -float(step_north),
    )
    return values, Grid(crs, transform, east.size, north.size)
