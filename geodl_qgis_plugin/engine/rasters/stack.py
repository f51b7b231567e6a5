"""
Stacks: any number of rasters read as one, on one grid, window by window.

A raster whose pixels are those of the grid (same CRS, whole pixels apart to a hundredth) is read straight; any other is warped
for each window, with exact coordinates and a fixed kernel, so that a window's values do not depend on how the raster is parted.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, osr

from ..bands import Band
from ..errors import BandMismatchError, GridError, SettingsError
from .grid import Grid, Window
from .sources import BandFacts, RasterSource, read_source
from .warping import FloatArray, WarpedReader, told, transformation

_SAME_PX = 0.01  # grids that differ by less are the same (design)
_LEAST_CACHE_BYTES = 128 * 2**20
_SMALL_INTEGERS = {gdal.GDT_Byte: np.uint8, gdal.GDT_UInt16: np.uint16, gdal.GDT_Int16: np.int16}  # read as they are


class Stack:
    """
    Rasters as one array (band, row, column) of float32, NaN where there is no data.

    Handles are opened when first read and belong to one thread; `reopen` gives another thread or process its own. Pickling
    keeps the description and drops the handles.
    """

    def __init__(self, sources: Sequence[RasterSource], grid: Grid, bands: Sequence[Band]) -> None:
        self.grid = grid
        self.bands = list(bands)
        self._rasters, first = [], 0
        for source in sources:  # a source is read by what the stack says of its bands
            own = tuple(self.bands[first : first + len(source.bands)])
            self._rasters.append(dataclasses.replace(source, bands=own))
            first += len(own)
        self._readers: list[_Straight | WarpedReader] | None = None
        self._cache_bytes = 0

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Return path, size, time of change and SHA-256 of each file."""
        return [source.description() for source in self._rasters]

    @property
    def paths(self) -> list[str]:
        """Return the paths of the rasters, in order."""
        return [source.path for source in self._rasters]

    @property
    def manner(self) -> list[str]:
        """Return how each raster's values are read: bands, nodata, scale, resampling; as text, to compare with."""
        return [repr((source.facts, source.resampling, source.grid.transform)) for source in self._rasters]

    @property
    def block_size(self) -> tuple[int, int]:
        """Return rows and columns of the first raster's blocks, cut to the grid: windows of whole blocks read fastest."""
        rows, columns = self._rasters[0].block_size
        return min(rows, self.grid.height), min(columns, self.grid.width)

    def read(self, window: Window) -> FloatArray:
        """
        Read a window; it may reach beyond the grid, where there is no data.

        Returns
        -------
        values : array (band, row, column), float32
            In the bands' units, scale and offset applied, NaN where there is no data.
        """
        if self._readers is None:
            self._readers = [_reader(source, self.grid) for source in self._rasters]
            if self._cache_bytes:
                gdal.SetCacheMax(self._cache_bytes)
            else:
                _hold_blocks(self._rasters)
        values = np.full((len(self.bands), window.height, window.width), np.nan, np.float32)
        inside = window.shared(Window(0, 0, self.grid.height, self.grid.width))
        if not inside.height or not inside.width:
            return values
        rows, columns = inside.from_origin(window).slices
        place = values[:, rows, columns]
        first = 0
        for reader in self._readers:
            count = len(reader.source.facts)
            reader.read(inside, place[first : first + count])
            first += count
        return values

    def hold(self, rows: int, cache_bytes: int) -> int:
        """
        Let GDAL's cache hold so many bytes, or whole rows of rasters that are not stored in tiles; return for how many columns.

        Blocks of so many columns are read fastest one below the other: what two of them share is then in the cache.
        """
        pixel_bytes = sum(len(source.facts) * (4 if source.exact_in_float32 else 8) for source in self._rasters)
        if any(source.block_size[1] >= source.grid.width for source in self._rasters):
            most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 if hasattr(os, "sysconf") else 2**30
            self._cache_bytes = max(cache_bytes, min(rows * self.grid.width * pixel_bytes, most))
            return self.grid.width
        self._cache_bytes = cache_bytes
        return max(cache_bytes // (rows * pixel_bytes) - max(source.block_size[1] for source in self._rasters), 1)

    def reopen(self) -> Stack:
        """Return the same stack with handles of its own, for another thread or process."""
        other = copy.copy(self)
        other._readers = None
        return other

    def on(self, grid: Grid) -> Stack:
        """Return the same rasters on another grid."""
        return Stack(self._rasters, grid, self.bands)

    def chosen(self, keep: Sequence[int]) -> Stack:
        """Return the stack with only the bands whose positions are given, in the order that they are given in."""
        places = [(source, i) for source in self._rasters for i in range(len(source.facts))]
        sources = []
        for source, together in itertools.groupby((places[i] for i in keep), key=lambda place: place[0]):
            inside = [i for _, i in together]
            bands, facts = tuple(source.bands[i] for i in inside), tuple(source.facts[i] for i in inside)
            sources.append(dataclasses.replace(source, bands=bands, facts=facts))
        return Stack(sources, self.grid, [self.bands[i] for i in keep])

    def also_missing(self, values: Sequence[Sequence[float]]) -> Stack:
        """Return the stack with further values that mean no data, those of each band in order."""
        bands = [
            dataclasses.replace(band, missing=tuple(dict.fromkeys((*band.missing, *more))))
            for band, more in zip(self.bands, values)
        ]
        return Stack(self._rasters, self.grid, bands)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the handles behind."""
        return self.__dict__ | {"_readers": None}


def open_stack(
    sources: Sequence[str | Path],
    *,
    grid: Grid | None = None,
    bands: Sequence[Band | Mapping[str, Any]] | None = None,
) -> Stack:
    """
    Open rasters as one stack on one grid, and check them before any work.

    Parameters
    ----------
    sources : list of paths
        Any format that GDAL reads; `|bands=1,3` after a path chooses bands, `|resampling=nearest` says how it is warped, and
        `|nodata=-9999` names further values that mean no data.
    grid : Grid, optional
        Where the pixels lie; the first raster's grid if it is not given.
    bands : list, optional
        One entry a band, in order: what stands in its ``name``, ``unit``, ``kind`` or ``missing`` replaces what the raster
        says.

    Raises
    ------
    SourceError
        If a raster is missing, no raster, or complex.
    GridError
        If a raster has no CRS or does not overlap the grid.
    BandMismatchError
        If a chosen band does not exist, or ``bands`` has another length than the stack.
    """
    if not sources:
        raise SettingsError("No raster is given. Give one raster or more.")
    rasters = [read_source(str(source)) for source in sources]
    grid = grid or rasters[0].grid
    for source in rasters:
        if not _overlap(source.grid, grid):
            raise GridError(
                f"The raster {source.path} does not overlap {_named(grid, rasters)}: it covers {_extent(source.grid)}, "
                f"and the other covers {_extent(grid)}. Give rasters of the same area, and check their CRS."
            )
    found = _unique([band for source in rasters for band in source.bands], rasters)
    return Stack(rasters, grid, _replaced(found, bands))


class _Straight:
    """Reads a raster whose pixels are those of the grid, shifted by whole pixels."""

    def __init__(self, source: RasterSource, shift: tuple[int, int]) -> None:
        self.source, self._shift = source, shift
        self._dataset = source.open()
        self._numbers = [facts.number for facts in source.facts]
        self._type = np.float32 if source.exact_in_float32 else np.float64
        types = {self._dataset.GetRasterBand(number).DataType for number in self._numbers}
        self._stored = _SMALL_INTEGERS.get(types.pop(), self._type) if len(types) == 1 else self._type

    def read(self, window: Window, out: FloatArray) -> None:
        there = Window(window.row + self._shift[0], window.column + self._shift[1], window.height, window.width)
        height, width = self.source.grid.height, self.source.grid.width
        top, left = max(there.row, 0), max(there.column, 0)
        rows, columns = min(there.row + there.height, height) - top, min(there.column + there.width, width) - left
        if rows <= 0 or columns <= 0:
            return
        stored = np.empty((len(self._numbers), rows, columns), self._stored)
        place = (left, top, columns, rows)
        told(self.source, lambda: self._dataset.ReadAsArray(*place, buf_obj=stored, band_list=self._numbers))
        row, column = top - there.row, left - there.column
        for i, (facts, band) in enumerate(zip(self.source.facts, self.source.bands)):
            with np.errstate(over="ignore"):
                out[i, row : row + rows, column : column + columns] = self._values(stored[i], facts, band, place)

    def _values(
        self, stored: NDArray[Any], facts: BandFacts, band: Band, place: tuple[int, int, int, int]
    ) -> NDArray[Any]:
        """Return values (row, column), scale and offset applied, NaN where there is no data; floats are changed in place."""
        missing = self._missing(stored, facts, place)
        scaled = facts.scale != 1.0 or facts.offset != 0.0
        if missing is None and not scaled and not band.missing:
            return stored  # small integers, all of which are data
        values = stored.astype(self._type, copy=False)
        if scaled:
            known = True if missing is None else ~missing
            np.multiply(values, facts.scale, out=values, where=known)
            np.add(values, facts.offset, out=values, where=known)
        if missing is not None:
            values[missing] = np.nan
        for code in band.missing:
            values[values.astype(np.float32) == np.float32(code)] = np.nan
        return values

    def _missing(
        self, stored: NDArray[Any], facts: BandFacts, place: tuple[int, int, int, int]
    ) -> NDArray[np.bool_] | None:
        """Return where there is no data, or None where that cannot be."""
        found = [~np.isfinite(stored)] if stored.dtype.kind == "f" else []
        if facts.nodata is not None and np.isfinite(facts.nodata):
            nodata = _as_stored(float(facts.nodata), stored.dtype)
            if nodata is not None:
                found.append(stored == nodata)
        if facts.masked:
            mask = self._dataset.GetRasterBand(facts.number).GetMaskBand()
            found.append(mask.ReadAsArray(*place) == 0)
        return functools.reduce(np.logical_or, found) if found else None


def _as_stored(nodata: float, kind: np.dtype[Any]) -> Any:
    """Return a nodata value in the type of what is read, or None where no pixel can have it."""
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return kind.type(nodata)
    limits = np.iinfo(kind)
    return kind.type(int(nodata)) if nodata.is_integer() and limits.min <= nodata <= limits.max else None


def _reader(source: RasterSource, grid: Grid) -> _Straight | WarpedReader:
    shift = whole_pixel_shift(source.grid, grid)
    return WarpedReader(source, grid) if shift is None else _Straight(source, shift)


def whole_pixel_shift(source: Grid, grid: Grid) -> tuple[int, int] | None:
    """Return by how many rows and columns ``grid`` starts inside ``source``, or None if their pixels are not the same."""
    if not source.spatial_reference.IsSame(grid.spatial_reference):
        return None
    rows, columns = np.array([0, 0, grid.height, grid.height]), np.array([0, grid.width, 0, grid.width])
    there = source.pixels(*grid.coordinates(rows, columns))
    row, column = round(float(there[0][0])), round(float(there[1][0]))
    off = max(np.abs(there[0] - rows - row).max(), np.abs(there[1] - columns - column).max())
    return (row, column) if off < _SAME_PX else None


def _overlap(source: Grid, grid: Grid) -> bool:
    """Whether a raster covers any of a lattice of points on the grid, or the grid any of the raster's."""
    return _touches(source, grid) or _touches(grid, source)


def _touches(inside: Grid, outside: Grid) -> bool:
    there = transformation(outside, inside)
    rows, columns = (g.ravel() for g in np.mgrid[0:1:33j, 0:1:33j])
    eastings, northings = outside.coordinates(rows * outside.height, columns * outside.width)
    points = [_point(there, float(x), float(y)) for x, y in zip(eastings, northings)]
    row, column = inside.pixels(*np.array(points).T)
    return bool(((row > 0) & (row < inside.height) & (column > 0) & (column < inside.width)).any())


def _point(there: osr.CoordinateTransformation, x: float, y: float) -> tuple[float, float]:
    try:
        easting, northing, _ = there.TransformPoint(x, y)
        return float(easting), float(northing)
    except RuntimeError:  # outside the projection's reach
        return np.nan, np.nan


def _hold_blocks(sources: Sequence[RasterSource]) -> None:
    """Let GDAL's cache hold two rows of blocks of every raster, at most a quarter of the memory; its default is far more."""
    row = 0
    for source in sources:
        pixels = source.block_size[0] * (source.grid.width + source.block_size[1])
        row += pixels * len(source.facts) * (4 if source.exact_in_float32 else 8)
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 if hasattr(os, "sysconf") else 2 * 2**30
    gdal.SetCacheMax(int(max(_LEAST_CACHE_BYTES, min(2 * row, most))))


def _unique(bands: list[Band], sources: Sequence[RasterSource]) -> list[Band]:
    """Give bands of the same name in several rasters the raster's name before theirs, and then a number."""
    stems = [Path(source.path).stem for source in sources for _ in source.bands]
    names = [band.name for band in bands]
    names = [f"{stem} {name}" if names.count(name) > 1 else name for stem, name in zip(stems, names)]
    numbered = [
        f"{name} {names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)
    ]
    return [dataclasses.replace(band, name=name) for band, name in zip(bands, numbered)]


def _replaced(found: list[Band], wanted: Sequence[Band | Mapping[str, Any]] | None) -> list[Band]:
    if not wanted:
        return found
    if len(wanted) != len(found):
        names = ", ".join(band.name for band in found)
        raise BandMismatchError(
            f"{len(wanted)} bands are described, but the rasters have {len(found)} ({names}). Describe each of them, in order."
        )
    bands = []
    for band, change in zip(found, wanted):
        values = change.as_dict() if isinstance(change, Band) else {k: v for k, v in change.items() if v}
        unknown = sorted(set(values) - {"name", "unit", "kind", "missing"})
        if unknown:
            raise SettingsError(
                f"{unknown[0]!r} is unknown in the description of band {band.name}. Give name, unit, kind and missing."
            )
        bands.append(Band.from_dict(band.as_dict() | dict(values)))
    return bands


def _named(grid: Grid, sources: Sequence[RasterSource]) -> str:
    same = [source.path for source in sources if source.grid == grid]
    return f"the raster {same[0]}" if same else "the grid that is asked for"


def _extent(grid: Grid) -> str:
    west, south, east, north = grid.bounds
    digits = 4 if grid.in_degrees else 0
    unit = "degrees" if grid.in_degrees else grid.spatial_reference.GetLinearUnitsName()
    return f"{west:.{digits}f} to {east:.{digits}f} east and {south:.{digits}f} to {north:.{digits}f} north ({unit})"
