"""
Write maps window by window: a class raster, or a raster of values, that exists whole or not at all.

Windows come in any order from one thread and go into an uncompressed tiled file beside the output, where a block can be written
twice without leaving a hole; when all is written, GDAL turns it into a cloud-optimised GeoTIFF with overviews, and it takes its
place together with its style. Memory does not grow with the raster.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from osgeo import gdal

from ..bands import Band
from ..classes import LandClass
from ..environment import versions
from ..errors import Cancelled, OutputError
from ..files import check_output, not_written, whole_file
from ..messages import Progress, SilentProgress
from .grid import Grid, Window
from .styles import class_raster_qml, value_raster_qml

BLOCK_PX = 512
KIND_ITEM = "GEODL_KIND"  # metadata item of a band, see `bands.Band`
_LEAST_CACHE_BYTES = 64 * 2**20
PACKED_SCALE, PACKED_NODATA = 0.004, 255  # 0 to 1 in 250 steps


class MapWriter:
    """An open map; see `class_map` and `value_map`, which make it."""

    def __init__(
        self, path: Path, dataset: gdal.Dataset, encode: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    ) -> None:
        self._path, self._encode = path, encode
        self._dataset: gdal.Dataset | None = dataset

    def write(self, window: Window, values: npt.NDArray[Any]) -> None:
        """
        Write the pixels of a window.

        Parameters
        ----------
        values : array, (row, column) or (band, row, column)
            Codes with 0 for nodata, or values with NaN for nodata.
        """
        self.write_stored(window, self._encode(values))

    def write_stored(self, window: Window, values: npt.NDArray[Any]) -> None:
        """Write pixels that are encoded as the file holds them: codes, floats, or what `pack` made."""
        if self._dataset is None:
            raise ValueError("The map was closed.")
        with gdal_sentences(self._path):
            self._dataset.WriteArray(values, window.column, window.row)

    def close(self) -> None:
        """Bring everything to the disk."""
        with gdal_sentences(self._path):
            gdal.ErrorReset()
            dataset, self._dataset = self._dataset, None
            if dataset is not None:
                dataset.FlushCache()
            del dataset
            # what fails while a file is closed raises nothing
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())


@contextlib.contextmanager
def class_map(
    path: str | Path,
    grid: Grid,
    classes: Sequence[LandClass],
    *,
    band_name: str = "class",
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    part_key: str = "",
) -> Iterator[MapWriter]:
    """
    Open a raster of class codes with colour table, names and style.

    Bytes, or 16 bits where a code exceeds 255; 0 is nodata. Overviews show the most frequent class. A style (`.qml`) and the
    classes' names (`.aux.xml`) are put beside it, where QGIS and GDAL look for them.

    Parameters
    ----------
    metadata : mapping, optional
        Items of the file: the model's name and hash, settings.
    progress : Progress, optional
        Told of, and asked during, the last step, which makes the overviews.
    part_key : str, optional
        What the unfinished file is called by, see `files.whole_file`.

    Raises
    ------
    OutputError
        If the folder cannot be written or has too little room, before anything is written; if the disk fills up, later.
    """
    largest = max((one.code for one in classes), default=0)
    kind, dtype = (gdal.GDT_Byte, np.uint8) if largest <= 255 else (gdal.GDT_UInt16, np.uint16)

    def prepare(dataset: gdal.Dataset) -> None:
        band = dataset.GetRasterBand(1)
        band.SetDescription(band_name)
        band.SetNoDataValue(0)
        _set_classes(band, classes)

    layout = _Layout(
        grid, 1, kind, "MODE", 0.4, prepare, {"LEVEL": "3"}
    )  # half the time of the usual 6, a tenth larger
    style = class_raster_qml(classes)
    with _map(
        Path(path), layout, lambda codes: codes.astype(dtype, copy=False), style, metadata, progress, part_key
    ) as writer:
        yield writer


@contextlib.contextmanager
def value_map(
    path: str | Path,
    grid: Grid,
    bands: Sequence[Band],
    *,
    packed: bool = False,
    limits: tuple[float, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    part_key: str = "",
) -> Iterator[MapWriter]:
    """
    Open a raster of values: confidence, probabilities, predictors.

    Parameters
    ----------
    packed : bool
        Store values from 0 to 1 as bytes in steps of 0.004, with scale and nodata in the metadata: a quarter of the room.
        Otherwise 32-bit floats with NaN as nodata.
    limits : pair of float, optional
        Smallest and largest value of the style put beside the file; without them there is none, unless the values are packed.

    Other parameters and errors are those of `class_map`. Overviews are averages of the pixels that have a value.
    """

    def prepare(dataset: gdal.Dataset) -> None:
        for number, band in enumerate(bands, start=1):
            target = dataset.GetRasterBand(number)
            target.SetDescription(band.name)
            target.SetUnitType(band.unit)
            target.SetMetadataItem(KIND_ITEM, band.kind)
            target.SetColorInterpretation(gdal.GCI_GrayIndex if number == 1 else gdal.GCI_Undefined)
            target.SetNoDataValue(PACKED_NODATA if packed else float("nan"))
            if packed:
                target.SetScale(PACKED_SCALE)
                target.SetOffset(0.0)

    # Noise compresses badly whatever the effort: half the time for a few per cent of size.
    options = {"PREDICTOR": "YES", "LEVEL": "1"}
    layout = _Layout(grid, len(bands), gdal.GDT_Byte if packed else gdal.GDT_Float32, "AVERAGE", 1.5, prepare, options)
    if limits is None and packed:
        limits = (0.0, 1.0)
    style = value_raster_qml(*limits) if limits else ""
    encode = pack if packed else _as_float
    with _map(Path(path), layout, encode, style, metadata, progress, part_key) as writer:
        yield writer


def pack(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return values from 0 to 1 as bytes in steps of 0.004, NaN as the nodata value."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # of NaN as a byte, which is replaced
        steps: npt.NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 1.0) * (1 / PACKED_SCALE)).astype(np.uint8)
    steps[~known] = PACKED_NODATA
    return steps


def unpack(stored: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the values of what `pack` made."""
    return np.where(stored == PACKED_NODATA, np.float32(np.nan), stored * np.float32(PACKED_SCALE))


class _Layout:
    """How a map is stored."""

    def __init__(
        self,
        grid: Grid,
        bands: int,
        data_type: int,
        resampling: str,
        share_compressed: float,
        prepare: Callable[[gdal.Dataset], None],
        options: Mapping[str, str],
    ) -> None:
        self.grid, self.bands, self.data_type, self.resampling = grid, bands, data_type, resampling
        self.prepare, self.options = prepare, options
        raw = grid.width * grid.height * bands * gdal.GetDataTypeSize(data_type) // 8
        self.needed_bytes = int(raw * (1 + share_compressed)) + 2**16
        self.row_bytes = raw // max(grid.height, 1) * BLOCK_PX
        # a block holds all bands: many bands make it smaller, so that a row of blocks stays small in memory
        self.block_px = BLOCK_PX if bands * gdal.GetDataTypeSize(data_type) <= 512 else 128


@contextlib.contextmanager
def _map(
    path: Path,
    layout: _Layout,
    encode: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    style: str,
    metadata: Mapping[str, Any] | None,
    progress: Progress | None,
    part_key: str,
) -> Iterator[MapWriter]:
    path = check_output(path, layout.needed_bytes)
    with whole_file(path, part_key) as part:
        raw = Path(f"{part}.raw.tif")
        writer = MapWriter(path, _create(path, raw, layout, metadata or {}), encode)
        try:
            yield writer
        except BaseException:
            # the file is thrown away: what cannot be brought to the disk any more is of no interest
            with contextlib.suppress(OutputError):
                writer.close()
            raise
        writer.close()
        _optimise(path, raw, part, layout, progress or SilentProgress())
        names = Path(f"{part}.aux.xml")
        if names.exists():
            os.replace(names, f"{path}.aux.xml")
        else:  # of an older file in this place
            Path(f"{path}.aux.xml").unlink(missing_ok=True)
        if style:
            with whole_file(path.with_suffix(".qml")) as qml:
                qml.write_text(style, encoding="utf-8")


def _create(path: Path, raw: Path, layout: _Layout, metadata: Mapping[str, Any]) -> gdal.Dataset:
    options = ["TILED=YES", "SPARSE_OK=TRUE", "BIGTIFF=IF_SAFER", "INTERLEAVE=PIXEL"]
    options += [f"BLOCKXSIZE={layout.block_px}", f"BLOCKYSIZE={layout.block_px}"]
    grid = layout.grid
    with gdal_sentences(path):
        dataset = gdal.GetDriverByName("GTiff").Create(
            str(raw), grid.width, grid.height, layout.bands, layout.data_type, options=options
        )
        dataset.SetGeoTransform(grid.transform)
        if grid.crs:
            dataset.SetProjection(grid.crs)
        dataset.SetMetadata(
            {"TIFFTAG_SOFTWARE": f"GeoDL {versions()['GeoDL']}", **{key: str(item) for key, item in metadata.items()}}
        )
        layout.prepare(dataset)
    return dataset


def _optimise(path: Path, raw: Path, part: Path, layout: _Layout, progress: Progress) -> None:
    """Make the cloud-optimised file with its overviews, read its end back, and delete the raw one."""
    options = {
        "COMPRESS": "DEFLATE",
        "BLOCKSIZE": str(layout.block_px),
        "OVERVIEW_RESAMPLING": layout.resampling,
        "NUM_THREADS": "ALL_CPUS",
        "BIGTIFF": "IF_SAFER",
        **layout.options,
    }

    def tell(fraction: float, _text: str, _data: object) -> int:
        progress.update(fraction, f"Writing {path.name}")
        return 0 if progress.cancelled() else 1

    with gdal_sentences(path), _small_cache(4 * layout.row_bytes):
        gdal.ErrorReset()
        source = gdal.Open(str(raw))
        try:
            gdal.GetDriverByName("COG").CreateCopy(
                str(part), source, options=[f"{key}={value}" for key, value in options.items()], callback=tell
            )
        except RuntimeError:
            if progress.cancelled():
                raise Cancelled(f"The job was stopped before {path.name} was written.") from None
            raise
        if gdal.GetLastErrorType() >= gdal.CE_Failure:
            raise RuntimeError(gdal.GetLastErrorMsg())
        del source
        raw.unlink()
        grid = layout.grid
        written = gdal.Open(str(part))
        written.ReadAsArray(grid.width - 1, grid.height - 1, 1, 1)


@contextlib.contextmanager
def _small_cache(needed_bytes: int) -> Iterator[None]:
    """Let GDAL hold no more blocks than a pass over a raster needs; by default it takes a twentieth of the memory."""
    former = gdal.GetCacheMax()
    gdal.SetCacheMax(min(former, max(needed_bytes, _LEAST_CACHE_BYTES)))
    try:
        yield
    finally:
        gdal.SetCacheMax(former)


@contextlib.contextmanager
def gdal_sentences(path: Path) -> Iterator[None]:
    """Turn GDAL's refusals, a full disk among them, into an `OutputError` about ``path``."""
    try:
        yield
    except RuntimeError as error:
        raise not_written(path, error) from error


def _as_float(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32, copy=False)


def _set_classes(band: gdal.Band, classes: Sequence[LandClass]) -> None:
    """Give a band a colour table, names by code, and an attribute table with both."""
    colours, table = gdal.ColorTable(), gdal.RasterAttributeTable()
    colours.SetColorEntry(0, (0, 0, 0, 0))
    table.CreateColumn("Value", gdal.GFT_Integer, gdal.GFU_MinMax)
    table.CreateColumn("Class", gdal.GFT_String, gdal.GFU_Name)
    for name, use in (("Red", gdal.GFU_Red), ("Green", gdal.GFU_Green), ("Blue", gdal.GFU_Blue)):
        table.CreateColumn(name, gdal.GFT_Integer, use)
    table.SetRowCount(len(classes))
    names = {}
    for row, one in enumerate(sorted(classes, key=lambda one: one.code)):
        colours.SetColorEntry(one.code, (*one.rgb, 255))
        names[one.code] = one.name
        table.SetValueAsInt(row, 0, one.code)
        table.SetValueAsString(row, 1, one.name)
        for column, value in enumerate(one.rgb, start=2):
            table.SetValueAsInt(row, column, value)
    band.SetColorTable(colours)
    band.SetDefaultRAT(table)
    largest = max(names, default=0)
    if largest <= 255:  # the list has an entry for every code below: with 16 bits the attribute table must do
        band.SetCategoryNames([names.get(code, "") for code in range(largest + 1)])
