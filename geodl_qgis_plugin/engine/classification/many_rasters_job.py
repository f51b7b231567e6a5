"""
Classify many rasters with one model: the job `classifyrasters`.

Each is mapped by itself, or all together as one mosaic; how a map is made is `classification_job`'s. All rasters are checked
before the first is mapped. A run that was stopped goes on with the map that it was at: `map_list.MapList` says which are done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..dask_cluster import check_scheduler
from ..errors import BandMismatchError, GridError, NoOverlapError, OutputError, SettingsError, SourceError
from ..files import check_output
from ..messages import PartOfProgress, Progress
from ..rasters.mosaic import Mosaic
from ..rasters.sources import raster_file
from ..rasters.stack import Stack, open_stack
from ..settings import option
from . import classification_job
from .blocks import BlockWork
from .classification_job import facts_of, finish_map, model_for, outputs_of, work_of
from .classifier import Classifier
from .fitting_bands import fit_bands
from .map_list import MapList
from .warnings_by_raster import WarningsByRaster
from .work_folder import WorkFolder

ONE_EACH, MOSAIC = "one map each", "one mosaic"
PATTERN = "*.tif *.tiff *.img *.vrt *.jp2 *.asc"
_EXTRA = ("confidence", "entropy", "probabilities", "applicability", "polygons")
_PASSED_ON = ("model", "extent", "mask", "min_area", "fast", "stride", "turns", "scheduler")
_SHOWN = 5


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    model: str
    output: str  # a folder
    rasters: list[str] = option([])
    folder: str | None = None  # whose rasters are mapped, too
    pattern: str = PATTERN  # of the names of files in it
    maps: str = option(ONE_EACH, choices=(ONE_EACH, MOSAIC))
    extent: str = ""
    mask: str | None = None
    confidence: bool = False
    entropy: bool = False
    probabilities: bool = False
    applicability: bool = False
    polygons: bool = False
    min_area: float = option(0.0, at_least=0.0)
    fast: bool = False
    stride: int = option(0, at_least=0)
    turns: bool = False
    scheduler: str = ""


class _Map(NamedTuple):
    """One map to make."""

    settings: classification_job.Settings
    work: BlockWork
    raster: str  # its name, for the list

    @property
    def name(self) -> str:
        return Path(self.settings.output).name

    @property
    def pixels(self) -> int:
        return self.work.area.height * self.work.area.width


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Map all rasters into the folder.

    A raster that turns out to be damaged while it is read does not keep the others from being mapped.

    Raises
    ------
    SourceError, ModelFileError, BandMismatchError, GridError, OutputError, SettingsError
        Before any work, with what is wrong with which raster; SourceError also if every raster was damaged.
    Cancelled
        If it was stopped; the same command goes on from there.
    """
    paths = rasters_of(settings)
    by_name = _settings_by_raster(settings, paths)
    folder = check_output(settings.output, folder=True)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, but the maps go into a folder. Name a folder.")
    if settings.scheduler:
        check_scheduler(settings.scheduler)
    warned = WarningsByRaster(progress)
    model = model_for(next(iter(by_name.values())), progress)
    maps = _one_mosaic(by_name, model, warned) if settings.maps == MOSAIC else _one_each(by_name, model, warned)
    warned.tell()
    check_output(folder / "maps")
    finished = MapList(folder, model.classes)
    finished.keep([one.name for one in maps])
    failed = _make(maps, finished, progress)
    done = [one.settings.output for one in maps if one.settings.predictors[0] not in failed]
    if not done:
        raise SourceError(f"None of the rasters could be mapped. The first: {next(iter(failed.values()))}")
    if failed:
        progress.warning(
            f"{len(failed)} of {len(maps)} rasters could not be mapped: {_some(list(failed.values()))} The others are "
            "finished: the same command tries only these again."
        )
    progress.update(1.0)
    return {
        "output": str(folder),
        "table": str(finished.path),
        "count": len(done),
        "layers": done,
        "failed": list(failed),
    }


def rasters_of(settings: Settings) -> list[str]:
    """
    Return the rasters that are given, and those in the folder by name, each once.

    Raises
    ------
    SourceError, SettingsError
        If the folder is none, is the one that the maps go into, or nothing is found.
    """
    found = list(settings.rasters)
    if settings.folder:
        folder = Path(settings.folder)
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder. Give the folder that the rasters lie in, or a list of RASTERS.")
        if folder.resolve() == Path(settings.output).resolve():
            raise SettingsError(
                f"The maps would go into the folder that the rasters are taken from, {folder}, and be taken for rasters "
                "next time. Give another OUTPUT."
            )
        patterns = settings.pattern.lower().split()
        inside = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
        named = [str(file) for file in inside if any(Path(file.name.lower()).match(one) for one in patterns)]
        if not named:
            raise SourceError(
                f"The folder {folder} holds {len(inside)} files, and none that is named like {settings.pattern}. Give a "
                "folder with rasters, or another PATTERN."
            )
        found += named
    if not found:
        raise SettingsError("No raster is given. Give RASTERS, or a FOLDER that holds some.")
    return list({str(Path(path)) if Path(path).exists() else path: path for path in found}.values())


def _settings_by_raster(settings: Settings, paths: Sequence[str]) -> dict[str, classification_job.Settings]:
    """Return the settings of each map by its raster; a mosaic has the first one's, with all rasters."""
    shared = {name: getattr(settings, name) for name in _PASSED_ON}
    folder, found = Path(settings.output), {}
    names: dict[str, str] = {}
    for path in paths:
        stem = "mosaic" if settings.maps == MOSAIC else _stem(path)
        if settings.maps == ONE_EACH and stem.lower() in names:
            raise SettingsError(
                f"Maps take the names of their rasters, and {names[stem.lower()]} and {path} would both become "
                f"{stem}_classes.tif. Rename one, or map them into different folders."
            )
        names[stem.lower()] = path
        files = {name: f"{stem}_{name}.{'gpkg' if name == 'polygons' else 'tif'}" for name in _EXTRA}
        wanted: dict[str, Any] = {name: str(folder / file) for name, file in files.items() if getattr(settings, name)}
        found[path] = classification_job.Settings(
            predictors=list(paths) if settings.maps == MOSAIC else [path],
            output=str(folder / f"{stem}_classes.tif"),
            **shared,
            **wanted,
        )
    return found


def _one_each(
    by_name: dict[str, classification_job.Settings], model: Classifier, warned: WarningsByRaster
) -> list[_Map]:
    """Open every raster and check it; leave out what lies outside EXTENT and MASK."""
    maps, outside, wrong = [], [], []
    for path, own in by_name.items():
        try:
            stack = _fitting(path, model, warned)
            maps.append(_Map(own, work_of(own, model, stack, warned.of(path)), _file_name(path)))
        except NoOverlapError:
            outside.append(path)
        except _WRONG as error:
            wrong.append(f"{_file_name(path)}: {error}")
    _refuse(wrong, len(by_name))
    if not maps:
        raise NoOverlapError("No raster overlaps EXTENT and MASK. Choose them on the rasters, and check their CRS.")
    if outside:
        names = _some([_file_name(path) for path in outside], ", ")
        warned.progress.message(f"{len(outside)} rasters lie outside EXTENT or MASK and are left out: {names}.")
    return maps


def _one_mosaic(
    by_name: dict[str, classification_job.Settings], model: Classifier, warned: WarningsByRaster
) -> list[_Map]:
    """Open every raster, check it, and put all on one grid."""
    pieces, wrong = [], []
    for path in by_name:
        try:
            pieces.append(_fitting(path, model, warned))
        except _WRONG as error:
            wrong.append(f"{_file_name(path)}: {error}")
    _refuse(wrong, len(by_name))
    own = next(iter(by_name.values()))
    work = work_of(own, model, Mosaic(pieces), warned.of(next(iter(by_name))))
    return [_Map(own, work, "; ".join(_file_name(path) for path in by_name))]


_WRONG = (SourceError, BandMismatchError, GridError, SettingsError)


def _fitting(path: str, model: Classifier, warned: WarningsByRaster) -> Stack:
    return fit_bands(open_stack([path]), model, warned.of(path))


def _refuse(wrong: Sequence[str], count: int) -> None:
    """Say what is wrong with the rasters, of all at once."""
    if wrong:
        raise SourceError(f"{len(wrong)} of {count} rasters cannot be mapped. {_some(wrong)}")


def _make(maps: Sequence[_Map], finished: MapList, progress: Progress) -> dict[str, str]:
    """Make the maps that are not finished; return what failed, by raster, with why."""
    failed: dict[str, str] = {}
    whole, done, before = max(sum(one.pixels for one in maps), 1), 0, 0
    for number, one in enumerate(maps, start=1):
        part = PartOfProgress(progress, done / whole, (done + one.pixels) / whole)
        done += one.pixels
        key = WorkFolder(one.settings.output, facts_of(one.settings, one.work)).key
        there = all(Path(path).exists() for path in outputs_of(one.settings).values())
        if there and finished.counts(one.name, key) is not None:
            before += 1
            continue
        finished.drop(one.name)
        progress.message(f"Map {number} of {len(maps)}: {one.name}.")
        try:
            result = finish_map(one.settings, one.work, part)
        except SourceError as error:
            failed[one.settings.predictors[0]] = str(error)
            continue
        if not result["failed_blocks"]:
            finished.put(one.name, one.raster, key, result["counts"])
    if before:
        progress.message(f"{before} of {len(maps)} maps were finished before.")
    return failed


def _stem(path: str) -> str:
    """Return what a raster's map is named after, in letters that every file system takes."""
    return re.sub(r'[<>:"/\\|?*\s]+', "_", Path(raster_file(path)).stem).strip("._") or "raster"


def _file_name(path: str) -> str:
    return Path(raster_file(path)).name


def _some(texts: Sequence[str], between: str = " ") -> str:
    """Put the first few texts together, and say how many there are beside them."""
    more = f"{between}(and {len(texts) - _SHOWN} more)" if len(texts) > _SHOWN else ""
    return between.join(texts[:_SHOWN]) + more
