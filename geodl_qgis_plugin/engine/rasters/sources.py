"""
One raster of a stack: opened and checked before any work, and described well enough to be opened again elsewhere.

A source is a path that GDAL opens, after which `|bands=1,3` chooses bands, `|resampling=nearest` says how it is warped, and
`|nodata=-32768` names further values that mean no data.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal

from ..bands import Band, Kind
from ..errors import BandMismatchError, GridError, SettingsError, SourceError
from ..files import sha256_of
from .grid import Grid

gdal.UseExceptions()

RESAMPLINGS = ("bilinear", "nearest", "average", "cubic")
# Types whose every value a float32 holds; the others are read as float64 so that nodata is compared before rounding.
_EXACT_IN_FLOAT32 = (gdal.GDT_Byte, gdal.GDT_Int16, gdal.GDT_UInt16, gdal.GDT_Float32)
_COMPLEX = (gdal.GDT_CInt16, gdal.GDT_CInt32, gdal.GDT_CFloat32, gdal.GDT_CFloat64)
_OPTIONS = ("bands", "resampling", "nodata")
_HASHED_WHOLE_BYTES = 4 * 2**30
_SAMPLES, _SAMPLE_BYTES = 64, 2**20


@dataclass(frozen=True)
class BandFacts:
    """What reading one band needs: its number in the file, nodata, mask, scale and offset."""

    number: int
    nodata: float | None
    masked: bool  # a mask band or an alpha band says which pixels hold
    scale: float
    offset: float
    categorical: bool  # a palette: values are names, not amounts


@dataclass(frozen=True)
class RasterSource:
    """A raster that was opened once and found good."""

    path: str
    bands: tuple[Band, ...]
    facts: tuple[BandFacts, ...]
    grid: Grid
    resampling: str  # "" chooses by kind and pixel size
    block_size: tuple[int, int]  # rows, columns
    exact_in_float32: bool

    def open(self) -> gdal.Dataset:
        """Open the raster again, with its own handle."""
        return open_raster(self.path)

    def description(self, *, checksums: bool = True) -> dict[str, Any]:
        """Return path, size, time and checksum of the file, as they are kept with a result; plain values."""
        values: dict[str, Any] = {"path": self.path, "bands": [facts.number for facts in self.facts]}
        return values | describe_file(self.path, checksums=checksums)


def describe_file(path: str, *, checksums: bool = True) -> dict[str, Any]:
    """Return size in bytes, time of change and checksum of a file; nothing of what is no plain file (a service)."""
    file = Path(path)
    if not file.is_file():
        return {}
    values: dict[str, Any] = {"size": file.stat().st_size, "mtime": file.stat().st_mtime}
    if checksums:
        values |= checksum(file)
    return values


def checksum(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or, of one larger than 4 GB, that of 64 pieces of it: reading all would take minutes."""
    size = path.stat().st_size
    if size <= _HASHED_WHOLE_BYTES:
        return {"sha256": sha256_of(path)}
    return {"sha256_of_samples": _pieces(path, _SAMPLES, _SAMPLE_BYTES)}


def _pieces(path: Path, count: int, length: int) -> str:
    """Return the SHA-256 of a file's size and of so many pieces of it."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in np.linspace(0, max(size - length, 0), count).astype(np.int64):
            file.seek(int(start))
            digest.update(file.read(length))
    return digest.hexdigest()


def fingerprint(path: str) -> list[dict[str, Any]]:
    """
    Return what tells whether a raster, or a layer, was changed: size, time and a checksum of pieces of each of its files.

    A virtual raster's files are those that it draws from, too. Nothing but the name is known of a service. Statistics that a
    program has put beside the file do not count.
    """
    found, file = [], _parts(path)[0]
    if _is_plain_path(file) and not Path(file).exists():
        raise SourceError(f"{file} does not exist. Check its name and folder.")
    for name in gdal.OpenEx(file).GetFileList() or [path]:
        if name.endswith(".aux.xml"):
            continue
        status = gdal.VSIStatL(name)
        facts: dict[str, Any] = {"name": Path(name).name}
        if status is not None:
            facts |= {"size": status.size, "time": status.mtime}
        if Path(name).is_file():
            facts |= {"time": Path(name).stat().st_mtime_ns, "pieces": _pieces(Path(name), 16, 2**16)}
        found.append(facts)
    return found


def open_raster(path: str) -> gdal.Dataset:
    """
    Open a raster for reading, decoding compressed blocks on all cores.

    Raises
    ------
    SourceError
        If nothing lies there, or what lies there is no raster.
    """
    if _is_plain_path(path) and not Path(path).exists():
        raise SourceError(f"The raster {path} does not exist. Check its name and folder.")
    try:
        dataset = gdal.OpenEx(path, gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR)
    except RuntimeError as error:
        raise SourceError(
            f"{path} is no raster that GDAL can read ({str(error).splitlines()[0]}). Give a raster, a GeoTIFF for instance."
        ) from error
    if dataset.RasterCount == 0:
        inner = [name for name, _ in dataset.GetSubDatasets()]
        if inner:
            raise SourceError(f"{path} holds {len(inner)} rasters. Name one of them: {', '.join(inner[:4])}.")
        raise SourceError(f"{path} holds no raster band. Give a raster, a GeoTIFF for instance.")
    return dataset


def read_source(text: str) -> RasterSource:
    """
    Open what ``text`` names, check it and return what later reading needs.

    Raises
    ------
    SourceError
        If it is missing, no raster, or holds complex numbers.
    GridError
        If it has no CRS or lies nowhere.
    BandMismatchError
        If it has no such band.
    """
    path, options = _parts(text)
    dataset = open_raster(path)
    if dataset.GetSpatialRef() is None:
        raise GridError(
            f"The raster {path} has no CRS. Assign one (Raster > Projections > Assign Projection) and run again."
        )
    if dataset.GetGeoTransform(can_return_null=True) is None:
        raise GridError(
            f"The raster {path} is not georeferenced. Georeference or warp it first (Raster > Georeferencer)."
        )
    numbers = _band_numbers(path, dataset, options.get("bands", ""))
    types = [dataset.GetRasterBand(number).DataType for number in numbers]
    if any(kind in _COMPLEX for kind in types):
        raise SourceError(
            f"The raster {path} holds complex numbers. Give its amplitude or phase as a raster of its own."
        )
    resampling = options.get("resampling", "")
    if resampling and resampling not in RESAMPLINGS:
        raise SettingsError(f"The resampling {resampling!r} of {path} is unknown. Choose {', '.join(RESAMPLINGS)}.")
    missing = _missing_values(path, options.get("nodata", ""))
    columns, rows = dataset.GetRasterBand(numbers[0]).GetBlockSize()
    return RasterSource(
        path=path,
        bands=tuple(_band(dataset, number, Path(path).stem, missing) for number in numbers),
        facts=tuple(_facts(dataset, number) for number in numbers),
        grid=Grid.of(dataset),
        resampling=resampling,
        block_size=(rows, columns),
        exact_in_float32=all(kind in _EXACT_IN_FLOAT32 for kind in types),
    )


def guess_kind(name: str, unit: str = "") -> Kind:
    """Guess a band's kind from its name, where its metadata does not tell."""
    words = name.lower().replace("_", " ").replace("-", " ")
    sine = re.search(r"\b(sin|sine|eastness)\b", words)
    cosine = re.search(r"\b(cos|cosine|northness)\b", words)
    if sine or (cosine and "aspect" in words) or re.search(r"\bnorthness\b", words):
        return "vector_x" if sine else "vector_y"
    if re.search(r"\baspect\b|\bazimuth\b|\bstrike\b", words):
        return "azimuth"
    if re.search(r"\bhill ?shade\b", words) and "multi" not in words:
        return "directional"
    derivative = re.search(r"deriv|gradient|slope", words)
    if derivative and re.search(r"\b(easting|eastward|east|x)\b", words):
        return "vector_x"
    if derivative and re.search(r"\b(northing|northward|north|y)\b", words):
        return "vector_y"
    magnetic = re.search(r"\b(mag|magnetic|tmi|tfa|total field)\b", words)
    if magnetic and not re.search(r"\b(rtp|pole|tilt|total gradient|analytic|suscept\w*|upward derivative)\b", words):
        return "directional"
    return "scalar"


def raster_file(text: str) -> str:
    """Return the path alone, without what chooses bands and resampling."""
    return _parts(text)[0]


def _is_plain_path(path: str) -> bool:
    """Whether a path is one of the file system, not GDAL's own (``NETCDF:a.nc:b``, ``/vsizip/``, XML, a service)."""
    return not (path.startswith(("/vsi", "<")) or re.match(r"^[A-Za-z0-9_]{2,}:", path))


def _parts(text: str) -> tuple[str, dict[str, str]]:
    if "|" not in text or Path(text).exists():
        return text, {}
    path, *rest = text.split("|")
    options = {name: value for name, _, value in (part.partition("=") for part in rest)}
    for name in options:
        if name not in (*_OPTIONS, "layername", "layerid") and not name.startswith("option:"):
            raise SettingsError(
                f"{name!r} after the raster {path} is unknown. Write `|bands=1,3`, `|resampling=nearest` or `|nodata=-9999`."
            )
    return path, options


def _band_numbers(path: str, dataset: gdal.Dataset, chosen: str) -> list[int]:
    count = dataset.RasterCount
    if not chosen:
        colours = [dataset.GetRasterBand(i + 1).GetColorInterpretation() for i in range(count)]
        numbers = [i + 1 for i in range(count) if colours[i] != gdal.GCI_AlphaBand]
        return numbers or list(range(1, count + 1))
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", chosen):
        raise SettingsError(
            f"The bands {chosen!r} of {path} cannot be read. Write numbers with commas, such as `|bands=1,3`."
        )
    numbers = [int(number) for number in chosen.split(",")]
    for number in numbers:
        if not 1 <= number <= count:
            raise BandMismatchError(
                f"The raster {path} has {count} bands and no band {number}. Choose bands 1 to {count}."
            )
    return numbers


def _missing_values(path: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(",")) if text else ()
    except ValueError as error:
        raise SettingsError(
            f"The nodata values {text!r} of {path} cannot be read. Write numbers with commas, such as `|nodata=-9999,-32768`."
        ) from error


def _band(dataset: gdal.Dataset, number: int, stem: str, missing: tuple[float, ...]) -> Band:
    band = dataset.GetRasterBand(number)
    name = band.GetDescription().strip() or (stem if dataset.RasterCount == 1 else f"{stem} {number}")
    unit = band.GetUnitType() or ""
    kind = band.GetMetadataItem("GEODL_KIND") or guess_kind(name, unit)
    return Band(name, unit, kind, missing)


def _facts(dataset: gdal.Dataset, number: int) -> BandFacts:
    band = dataset.GetRasterBand(number)
    flags = band.GetMaskFlags()
    masked = bool(flags & gdal.GMF_PER_DATASET) or not flags & (gdal.GMF_ALL_VALID | gdal.GMF_NODATA)
    nodata, scale, offset = band.GetNoDataValue(), band.GetScale(), band.GetOffset()
    return BandFacts(
        number=number,
        nodata=None if nodata is None else float(nodata),
        masked=masked,
        scale=1.0 if scale in (None, 0.0) else float(scale),
        offset=float(offset or 0.0),
        categorical=band.GetColorTable() is not None or band.GetCategoryNames() is not None,
    )
