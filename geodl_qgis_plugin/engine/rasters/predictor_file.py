"""Write a stack of predictors window by window: names, units and kinds in the file, compressed, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal

from ..bands import Band
from ..errors import OutputError
from ..files import check_output, whole_file
from .grid import Grid, Window

NODATA = -99999.0
KIND_ITEM = "GEODL_KIND"
BLOCK_PX = 256


class PredictorFile:
    """An open multi-band GeoTIFF of 32-bit floats."""

    def __init__(self, dataset: gdal.Dataset, path: Path) -> None:
        self._dataset = dataset
        self._path = path

    def write(self, window: Window, values: NDArray[np.floating[Any]]) -> None:
        """Write ``values`` (band, row, column), NaN where missing, at ``window``."""
        data = np.where(np.isfinite(values), values, NODATA).astype(np.float32)
        with _sentence(self._path):
            self._dataset.WriteArray(data, window.column, window.row)

    def write_band(self, band: int, window: Window, values: NDArray[np.floating[Any]]) -> None:
        """Write one band's ``values`` (row, column) at ``window``; bands count from 1."""
        data = np.where(np.isfinite(values), values, NODATA).astype(np.float32)
        with _sentence(self._path):
            self._dataset.GetRasterBand(band).WriteArray(data, window.column, window.row)

    def close(self, part: Path) -> None:
        """Write what is still in memory to ``part`` and read its end back: a full disk may show only here."""
        with _sentence(self._path):
            gdal.ErrorReset()
            self._dataset.FlushCache()
            del self._dataset
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
            dataset = gdal.Open(str(part))
            for number in range(1, dataset.RasterCount + 1):
                dataset.GetRasterBand(number).ReadAsArray(dataset.RasterXSize - 1, dataset.RasterYSize - 1, 1, 1)


@contextlib.contextmanager
def predictor_file(path: str | Path, grid: Grid, bands: Sequence[Band]) -> Iterator[PredictorFile]:
    """
    Open a GeoTIFF to write ``bands`` on ``grid``; it appears at ``path`` when the block ends well, and not at all else.

    Raises
    ------
    OutputError
        Before any work, if the folder cannot be written or is too full; later, if the disk runs full.
    """
    # compressed predictors take about half of their raw size
    path = check_output(path, grid.width * grid.height * len(bands) * 2)
    with whole_file(path) as part:
        with _sentence(path):
            dataset = gdal.GetDriverByName("GTiff").Create(
                str(part), grid.width, grid.height, len(bands), gdal.GDT_Float32,
                options=[
                    "TILED=YES", f"BLOCKXSIZE={BLOCK_PX}", f"BLOCKYSIZE={BLOCK_PX}", "COMPRESS=DEFLATE", "PREDICTOR=3",
                    "ZLEVEL=1", "INTERLEAVE=BAND", "BIGTIFF=IF_SAFER", "NUM_THREADS=ALL_CPUS",
                ],
            )  # fmt: skip
            dataset.SetGeoTransform(grid.transform)
            dataset.SetProjection(grid.crs)
            for number, band in enumerate(bands, start=1):
                raster_band = dataset.GetRasterBand(number)
                raster_band.SetDescription(band.name)
                raster_band.SetUnitType(band.unit)
                raster_band.SetMetadataItem(KIND_ITEM, band.kind)
                raster_band.SetNoDataValue(NODATA)
        file = PredictorFile(dataset, path)
        del dataset
        yield file
        file.close(part)


def read_bands(dataset: gdal.Dataset) -> list[Band]:
    """Return the bands of a file that `predictor_file` wrote."""
    bands = [dataset.GetRasterBand(number + 1) for number in range(dataset.RasterCount)]
    return [
        Band(band.GetDescription(), band.GetUnitType(), band.GetMetadataItem(KIND_ITEM) or "scalar") for band in bands
    ]


@contextlib.contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise OutputError(f"{path} could not be written: {error}. Free some space or choose another folder.") from error
