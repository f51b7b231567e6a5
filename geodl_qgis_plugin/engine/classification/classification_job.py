"""
Classify rasters with a trained model: the job `classifyraster`.

A net for pixels is run over windows with a halo, so the map equals one pass over the whole raster; a net for tiles slides over
it and gives a class at every step. The work is parted into blocks, which are kept until all are there: a run that was stopped
goes on where it was. Memory does not grow with the raster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dask_cluster import check_scheduler
from ..environment import versions
from ..errors import GeoDLError, NoOverlapError, OutputError, SettingsError
from ..files import all_or_none, check_output
from ..messages import PartOfProgress, Progress
from ..rasters.extent import window_of_extent
from ..rasters.sources import fingerprint
from ..rasters.stack import Stack, open_stack
from ..settings import as_dict, option
from .augmentation import NONE, allowed_symmetries
from .blocks import Block, BlockWork
from .classifier import Classifier, load_classifier
from .cluster_blocks import what_failed, work_through_cluster
from .devices import best_device
from .fitting_bands import check_pixel_size, fit_bands
from .joining import FinishedMap
from .map_mask import Mask
from .map_products import (
    ApplicabilityProduct,
    ClassProduct,
    ConfidenceProduct,
    EntropyProduct,
    ProbabilitiesProduct,
    Product,
)
from .net_runner import share_of_cores
from .pixel_blocks import PixelBlocks
from .sliding import TileBlocks
from .streaming import work_through
from .turned import turned
from .work_folder import WorkFolder

OUTPUTS = ("output", "confidence", "entropy", "probabilities", "applicability", "polygons")
_VERSIONS = ("GeoDL", "NumPy", "PyTorch", "GDAL")  # of what maps are made with; others may be loaded or not
_NO_MATTER = ("model", "scheduler", *OUTPUTS)  # to what the maps hold: the model counts by its hash


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    model: str
    predictors: list[str]
    output: str
    extent: str = ""
    confidence: str | None = None
    entropy: str | None = None
    probabilities: str | None = None
    applicability: str | None = None
    polygons: str | None = None
    min_area: float = option(0.0, at_least=0.0)  # of a polygon of a pixel map, in square metres
    mask: str | None = None
    fast: bool = False
    stride: int = option(0, at_least=0)  # pixels; for tile models; 0: a tile's side
    turns: bool = False  # asked in every orientation that the bands allow
    scheduler: str = ""  # of a Dask cluster, see `dask_cluster`; empty: this process


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the class raster, and what else was asked for.

    Raises
    ------
    SourceError, ModelFileError, BandMismatchError, GridError, OutputError
        Before any work, each with a sentence.
    Cancelled
        If it was stopped; the blocks that were finished are kept, and the same command goes on from there.
    """
    for path in outputs_of(settings).values():
        check_output(path)
    if settings.scheduler:
        check_scheduler(settings.scheduler)
    result = finish_map(settings, prepare(settings, progress), progress)
    progress.update(1.0)
    return result


def prepare(settings: Settings, progress: Progress) -> BlockWork:
    """
    Check the model and the rasters, and part the work into blocks.

    Raises
    ------
    SourceError, ModelFileError, BandMismatchError, GridError, SettingsError
        Each with a sentence.
    """
    model = model_for(settings, progress)
    return work_of(settings, model, fit_bands(open_stack(settings.predictors), model, progress), progress)


def model_for(settings: Settings, progress: Progress) -> Classifier:
    """Read the model as it is to map: FAST, TURNS."""
    device, has_bfloat16 = best_device()
    if settings.fast and not has_bfloat16:
        where = "processor" if device.type == "cpu" else "graphics card"
        progress.warning(f"FAST has no effect here: this {where} does not have bfloat16.")
    model = load_classifier(settings.model, fast=settings.fast and has_bfloat16)
    if settings.turns:
        model = turned(model)
        if allowed_symmetries(model.bands) == NONE:
            progress.warning(
                "TURNS changes nothing with this model: one of its bands is lit or measured from one side, or is half a vector."
            )
    if not settings.scheduler:
        progress.message(model.runner.compute.sentence("Mapping"))
    return model


def work_of(settings: Settings, model: Classifier, stack: Stack, progress: Progress) -> BlockWork:
    """Return what is to be mapped of a stack with the model's bands, in blocks."""
    check_pixel_size(stack.grid, model, progress)
    area, mask = window_of_extent(settings.extent, stack.grid), None
    if settings.mask:
        mask = Mask(settings.mask, stack.grid)
        area = area.shared(mask.window)
        if not area.height or not area.width:
            raise NoOverlapError(
                "MASK and EXTENT do not overlap. Choose an extent on the mask, or leave one of them empty."
            )
    products = _products(settings, model)
    if model.per_pixel:
        return PixelBlocks(model, stack, area, products, mask)
    return TileBlocks(model, stack, area, products, settings.stride or model.tile_size_px, mask)


def finish_map(settings: Settings, work: BlockWork, progress: Progress) -> dict[str, Any]:
    """Work out the blocks that are not there yet, and write the maps; return what was written."""
    folder = WorkFolder(settings.output, facts_of(settings, work))
    try:
        with all_or_none(list(outputs_of(settings).values())), share_of_cores(work.lanes):
            blocks, failed = _finish_blocks(settings, work, folder, PartOfProgress(progress, 0.0, 0.85))
            counts = _write(settings, work, folder, blocks, PartOfProgress(progress, 0.85, 1.0))
    except OutputError:  # the disk is full, perhaps: nothing is left on it
        folder.remove()
        raise
    except GeoDLError as stop:
        raise type(stop)(f"{stop}{_what_is_kept(folder)}") from stop
    if failed:
        progress.warning(what_failed(failed, len(work.blocks), folder))
    else:
        folder.remove()
    if not any(counts.values()):
        progress.warning("The map is empty: the rasters have no pixel with a value in every band there.")
    return {name: getattr(settings, name) for name in OUTPUTS} | {
        "counts": counts,
        "failed_blocks": [list(block) for block in failed],
    }


def outputs_of(settings: Settings) -> dict[str, str]:
    """Return the paths of what is to be written, by name."""
    return {name: path for name in OUTPUTS if (path := getattr(settings, name))}


def _products(settings: Settings, model: Classifier) -> list[Product]:
    products: list[Product] = [ClassProduct(model.classes)]
    if settings.confidence or settings.polygons:
        products.append(ConfidenceProduct())
    if settings.entropy:
        products.append(EntropyProduct())
    if settings.probabilities:
        products.append(ProbabilitiesProduct(model.classes))
    if settings.applicability:
        if model.applicability is None:
            raise SettingsError(
                f"The model {model.name} holds no training points, so that APPLICABILITY cannot be mapped: it is of an earlier "
                "GeoDL or from elsewhere, was stopped while it trained, or had fewer than ten tiles to learn from. Leave "
                "APPLICABILITY empty, or train the model again."
            )
        products.append(ApplicabilityProduct(model.applicability.threshold))
    return products


def _finish_blocks(
    settings: Settings, work: BlockWork, folder: WorkFolder, progress: Progress
) -> tuple[Sequence[Block], Sequence[Block]]:
    """Work out the blocks that are not finished yet; return all that are, and those that failed on a cluster."""
    finished = folder.finished()
    left = [block for block in work.blocks if block not in finished]
    if len(left) < len(work.blocks):
        progress.message(f"Going on: {len(work.blocks) - len(left)} of {len(work.blocks)} blocks were finished before.")
    if not settings.scheduler or not left:
        work.model.runner.progress = progress
        work_through(work, left, folder.put, progress)
        return work.blocks, []
    failed = work_through_cluster(settings.scheduler, work, left, folder, progress)
    return [block for block in work.blocks if block not in failed], list(failed)


def _write(
    settings: Settings, work: BlockWork, folder: WorkFolder, blocks: Sequence[Block], progress: Progress
) -> dict[str, int]:
    """Write the maps; return the pixels, or tiles, of each class."""
    rasters = [(product, path) for product in work.products if (path := getattr(settings, product.name))]
    steps = len(rasters) + (1 if settings.polygons else 0)
    metadata = _metadata(settings, work.model)
    for number, (product, path) in enumerate(rasters):
        part = PartOfProgress(progress, number / steps, (number + 1) / steps)
        FinishedMap(work, folder, metadata, part).write_raster(product, path, blocks)
    last = FinishedMap(work, folder, metadata, PartOfProgress(progress, (steps - 1) / steps, 1.0))
    if settings.polygons and isinstance(work, TileBlocks):
        last.write_tile_polygons(settings.polygons, work, blocks)
    elif settings.polygons:
        last.write_pixel_polygons(settings.polygons, settings.output, settings.min_area, blocks)
    return last.counts([one.code for one in work.model.classes], blocks)


def facts_of(settings: Settings, work: BlockWork) -> dict[str, Any]:
    """Return all that the blocks depend on, by which their folder is named."""
    return {
        "format": 1,
        "model": work.model.file.sha256,
        "predictors": [fingerprint(path) for path in work.stack.paths],
        "manner": work.stack.manner,
        "mask": fingerprint(settings.mask) if settings.mask else None,
        "bands": [band.as_dict() for band in work.stack.bands],
        "grid": work.grid.as_dict(),
        "blocks": [*work.blocks[:2], len(work.blocks)],
        "device": work.model.runner.compute.device.type,
        "products": [product.name for product in work.products],
        "settings": {name: value for name, value in as_dict(settings).items() if name not in _NO_MATTER},
        "versions": {name: version for name, version in versions().items() if name in _VERSIONS},
    }


def _what_is_kept(folder: WorkFolder) -> str:
    if not folder.finished():
        folder.remove()
        return ""
    return (
        f" What was finished is kept in {folder.path}: the same command goes on from there. Delete it to start afresh."
    )


def _metadata(settings: Settings, model: Classifier) -> dict[str, Any]:
    """Return what each raster says of how it was made: names of files, not where they lie, so that it is the same anywhere."""
    shown = {name: value for name, value in as_dict(settings).items() if value and name not in _NO_MATTER}
    if settings.mask:
        shown["mask"] = Path(settings.mask.partition("|")[0]).name
    shown["predictors"] = [Path(path).name for path in settings.predictors]
    return {
        "GEODL_MODEL": model.name,
        "GEODL_MODEL_SHA256": model.file.sha256,
        "GEODL_PRECISION": "bfloat16" if model.fast else "float32",
        "GEODL_PREDICTORS": "; ".join(Path(path).name for path in settings.predictors),
        "GEODL_SETTINGS": json.dumps(shown),
    }
