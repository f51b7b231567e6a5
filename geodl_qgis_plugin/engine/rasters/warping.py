"""Warping a raster to a grid, block by block, so that a pixel's value does not depend on the window that is read."""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, osr

from ..errors import SourceError
from .grid import Grid, Window
from .sources import RasterSource

FloatArray = NDArray[np.float32]
_FINER = 2.0  # a source with pixels so many times finer is averaged
_BLOCK, _KEPT_BYTES = 256, 64 * 2**20  # of warped blocks


class WarpedReader:
    """Warps a raster to the grid, a window at a time; coordinates are exact, so every window gives the same values."""

    def __init__(self, source: RasterSource, grid: Grid) -> None:
        self.source, self._grid = source, grid
        self._dataset = gdal.Open(_without_missing(source, _as_float_vrt(source)))
        scale = _source_pixels_per_pixel(source.grid, grid)
        self._blocks: dict[Window, FloatArray] = {}
        self._groups: dict[str, list[int]] = {}
        for i in range(len(source.facts)):
            self._groups.setdefault(_resampling(source, i, scale), []).append(i)
        # The kernel of a reduction would else follow from each window's rounded size.
        self._kernel = {"XSCALE": f"{min(1.0, 1 / scale[1]):.9f}", "YSCALE": f"{min(1.0, 1 / scale[0]):.9f}"}

    def read(self, window: Window, out: FloatArray) -> None:
        """Fill ``out`` (band, row, column) with a window of the grid."""
        # GDAL's coordinates and sums depend in the last bits on where a window starts: blocks of a fixed lattice do not.
        for block in _lattice(window):
            shared = window.shared(block)
            here, there = shared.from_origin(window).slices, shared.from_origin(block).slices
            out[:, here[0], here[1]] = self._block(block)[:, there[0], there[1]]

    def _block(self, block: Window) -> FloatArray:
        if block not in self._blocks:
            values = np.empty((len(self.source.facts), block.height, block.width), np.float32)
            for resampling, positions in self._groups.items():
                values[positions] = self._warp(block, resampling, positions)
            while len(self._blocks) >= max(2, _KEPT_BYTES // values.nbytes):
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[block] = values
        return self._blocks[block]

    def _warp(self, window: Window, resampling: str, positions: list[int]) -> FloatArray:
        source = self._dataset
        if len(positions) < len(self.source.facts):
            source = gdal.Translate("", self._dataset, format="VRT", bandList=[i + 1 for i in positions])
        target = _empty(self._grid.part(window), len(positions))
        options = gdal.WarpOptions(
            resampleAlg=resampling,
            errorThreshold=0,
            overviewLevel="NONE",
            srcNodata="nan",
            dstNodata="nan",
            warpOptions=["UNIFIED_SRC_NODATA=NO", *(f"{k}={v}" for k, v in self._kernel.items())],
        )
        told(self.source, lambda: gdal.Warp(target, source, options=options))
        values: FloatArray = target.ReadAsArray().reshape(len(positions), window.height, window.width)
        return values


def transformation(source: Grid, target: Grid) -> osr.CoordinateTransformation:
    """Return what takes coordinates of ``source`` to those of ``target``."""
    return osr.CoordinateTransformation(source.spatial_reference, target.spatial_reference)


def told(source: RasterSource, read: Callable[[], object]) -> None:
    """Run a reading of GDAL, and turn its error into a sentence with the raster's name."""
    try:
        read()
    except RuntimeError as error:
        raise SourceError(
            f"The raster {source.path} cannot be read to its end ({str(error).splitlines()[0]}). It may be cut short or "
            "damaged: copy or make it again."
        ) from error


def _lattice(window: Window) -> list[Window]:
    """Return the blocks of a fixed lattice that a window touches; they may lie beyond the grid."""
    rows = range(window.row // _BLOCK * _BLOCK, window.row + window.height, _BLOCK)
    columns = range(window.column // _BLOCK * _BLOCK, window.column + window.width, _BLOCK)
    return [Window(row, column, _BLOCK, _BLOCK) for row in rows for column in columns]


def _as_float_vrt(source: RasterSource) -> str:
    """Write a virtual raster of float32 bands with NaN for nodata, mask and alpha alike, so that warping knows one rule."""
    bands = []
    for facts in source.facts:
        nodata = "" if facts.nodata is None else f"<NODATA>{facts.nodata:.17g}</NODATA>"
        mask = "<UseMaskBand>true</UseMaskBand>" if facts.masked else ""
        bands.append(
            f'<SourceFilename relativeToVRT="0">{escape(source.path)}</SourceFilename><SourceBand>{facts.number}</SourceBand>'
            f"<ScaleOffset>{facts.offset:.17g}</ScaleOffset><ScaleRatio>{facts.scale:.17g}</ScaleRatio>{nodata}{mask}"
        )
    return _float_vrt(source.grid, bands)


def _without_missing(source: RasterSource, vrt: str) -> str:
    """Put NaN for the bands' further values that mean no data: a virtual raster round another for each of them."""
    for place in range(max(len(band.missing) for band in source.bands)):
        bands = []
        for i, band in enumerate(source.bands):
            code = (
                f"<NODATA>{float(np.float32(band.missing[place])):.17g}</NODATA>" if place < len(band.missing) else ""
            )
            bands.append(f"<SourceFilename>{escape(vrt)}</SourceFilename><SourceBand>{i + 1}</SourceBand>{code}")
        vrt = _float_vrt(source.grid, bands)
    return vrt


def _float_vrt(grid: Grid, sources: list[str]) -> str:
    """Return a virtual raster of float32 bands, each from what is said inside a ComplexSource."""
    transform = ", ".join(f"{number:.17g}" for number in grid.transform)
    bands = [
        f'<VRTRasterBand dataType="Float32" band="{i + 1}"><NoDataValue>nan</NoDataValue><ComplexSource>{told_source}'
        f"</ComplexSource></VRTRasterBand>"
        for i, told_source in enumerate(sources)
    ]
    return (
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}"><SRS dataAxisToSRSAxisMapping="'
        f'{_axes(grid)}">{escape(grid.crs)}</SRS><GeoTransform>{transform}</GeoTransform>{"".join(bands)}</VRTDataset>'
    )


def _axes(grid: Grid) -> str:
    return ",".join(str(axis) for axis in grid.spatial_reference.GetDataAxisToSRSAxisMapping())


def _empty(grid: Grid, bands: int) -> gdal.Dataset:
    target = gdal.GetDriverByName("MEM").Create("", grid.width, grid.height, bands, gdal.GDT_Float32)
    target.SetSpatialRef(grid.spatial_reference)
    target.SetGeoTransform(grid.transform)
    for i in range(bands):
        target.GetRasterBand(i + 1).SetNoDataValue(np.nan)
        target.GetRasterBand(i + 1).Fill(np.nan)
    return target


def _resampling(source: RasterSource, i: int, scale: tuple[float, float]) -> str:
    if source.resampling:
        return source.resampling
    # The mean of 359 and 1 degree would be 180: azimuths are not mixed.
    if source.facts[i].categorical or source.bands[i].kind == "azimuth":
        return "nearest"
    return "average" if max(scale) > _FINER else "bilinear"


def _source_pixels_per_pixel(source: Grid, grid: Grid) -> tuple[float, float]:
    """Return how many rows and columns of the source one pixel of the grid spans, in the middle of where they overlap."""
    there = transformation(grid, source)
    rows, columns = (g.ravel() for g in np.mgrid[0.05:0.95:7j, 0.05:0.95:7j])
    spans = []
    for row, column in zip(rows * grid.height, columns * grid.width):
        corners = [grid.coordinates(row + a, column + b) for a, b in ((0, 0), (0, 1), (1, 0))]
        try:
            points = np.array([source.pixels(*there.TransformPoint(float(x), float(y))[:2]) for x, y in corners])
        except RuntimeError:
            continue
        if np.isfinite(points).all():
            spans.append(np.abs(points[1] - points[0]) + np.abs(points[2] - points[0]))
    if not spans:
        return 1.0, 1.0
    rows_spanned, columns_spanned = np.median(np.array(spans), axis=0)
    return max(float(rows_spanned), 1e-9), max(float(columns_spanned), 1e-9)
