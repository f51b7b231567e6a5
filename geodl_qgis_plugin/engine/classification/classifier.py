"""Classifiers as model files: what the file says of one, and one read back, ready to map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from osgeo import osr
from torch import nn

from ..bands import Band
from ..classes import LandClass
from ..environment import versions
from ..errors import ModelFileError
from ..model_file import TRAINING_POINTS, ModelFile, read_model, stac_item
from ..rasters.grid import Grid
from ..training_data.tile_set import TileSet
from .applicability import Applicability
from .calibration import Calibrated, temperature_of
from .metrics import Accuracy
from .net_runner import NetRunner
from .networks import EACH_PIXEL, GUEST, Architecture
from .prediction import ready_for_maps
from .trained import Trained


@dataclass(frozen=True)
class Classifier:
    """
    A trained classifier.

    Attributes
    ----------
    net : module
        Ready for maps: calibrated logits out, see `networks`.
    halo_px : int
        How far beyond a pixel a pixel net sees.
    pixel_size : (float, float)
        Of the training grid, in units of its CRS.
    applicability : Applicability or None
        What the model knows of its training points; older files hold none.
    """

    name: str
    architecture: Architecture
    net: nn.Module
    bands: list[Band]
    classes: list[LandClass]
    halo_px: int
    tile_size_px: int
    grid: Grid
    file: ModelFile
    applicability: Applicability | None = None
    fast: bool = False

    @property
    def per_pixel(self) -> bool:
        """Whether pixels get a class each, and not tiles."""
        return self.architecture.task == EACH_PIXEL

    @cached_property
    def runner(self) -> NetRunner:
        """What runs the net on the best device that is there; all maps made with this classifier share it."""
        return NetRunner(self.net, self.fast)


def load_classifier(path: str | Path, *, fast: bool = False, plain: bool = False) -> Classifier:
    """
    Read a classifier from a model file.

    ``plain`` leaves its net as it was trained, not laid out for maps; ``fast`` lets its convolutions compute in bfloat16, see
    `ready_for_maps`.

    Raises
    ------
    ModelFileError
        If the file is no classifier, was altered, or is of a later version.
    """
    file = read_model(path)
    part = file.part("classifier")
    try:
        architecture = Architecture.from_dict(part["architecture"])
        net = _guest(architecture, file) if architecture.name == GUEST else architecture.build()
        net.load_state_dict(
            {
                name: torch.from_numpy(array.copy())
                for name, array in file.weights.items()
                if not name.startswith(TRAINING_POINTS)
            }
        )
        calibrated = Calibrated(net, temperature_of(part))
        area = part.get("applicability")
        return Classifier(
            name=str(file.item["id"]),
            architecture=architecture,
            net=calibrated.eval() if plain else ready_for_maps(calibrated, fast=fast),
            bands=[Band.from_dict(band) for band in part["bands"]],
            classes=[LandClass.from_dict(one) for one in part["classes"]],
            halo_px=int(part["halo_px"]),
            tile_size_px=int(part["tile_size_px"]),
            grid=Grid.from_dict(part["grid"]),
            file=file,
            applicability=Applicability.from_model(area, file.weights) if area else None,
            fast=fast,
        )
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{file.path.name} does not hold a whole classifier ({type(error).__name__}: {error}). "
            "Get the file again from its maker."
        ) from error


def _guest(architecture: Architecture, file: ModelFile) -> nn.Module:
    """Return a net from elsewhere, which ONNX Runtime runs."""
    from .interchange.guest import Guest, Manner  # noqa: PLC0415 - needs packages that few models need

    if file.onnx is None:
        raise KeyError("model.onnx")
    empty = [1.0] * architecture.bands  # the weights of the file take their place
    return Guest(file.onnx, architecture.classes, Manner.from_dict(architecture.numbers), empty, empty, empty)


def classifier_item(
    name: str,
    tile_set: TileSet,
    architecture: Architecture,
    trained: Trained,
    accuracy: Accuracy,
    forest: Accuracy | None,
    settings: Mapping[str, Any],
    trust: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the STAC item of a classifier; ``trust`` is that of `appraisal.Appraisal`."""
    bands, classes = tile_set.bands, tile_set.classes
    own = {
        "architecture": architecture.as_dict(),
        "bands": [band.as_dict() for band in bands],
        "scaling": tile_set.scaling.as_dict(),
        "classes": [one.as_dict() for one in classes],
        "grid": tile_set.grid.as_dict(),
        "halo_px": trained.halo_px,
        "tile_size_px": tile_set.tile_size_px,
        "split": tile_set.summary(),
        "sources": tile_set.facts["sources"],
        "tile_set_sha256": tile_set.checksum(),
        "accuracy": accuracy.as_dict(),
        "forest": forest.as_dict() if forest else None,
        "training": {
            "history": [asdict(check) for check in trained.history],
            "best_epoch": trained.best.epoch,
            "ended": trained.ended,
            "tried": [asdict(trial) for trial in trained.tried],
        },
        **trust,
        "settings": dict(settings),
        "versions": versions(),
    }
    size = tile_set.tile_size_px
    whole = architecture.task == EACH_PIXEL
    properties = {
        "datetime": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "title": name,
        "mlm:name": name,
        "mlm:architecture": architecture.name,
        "mlm:tasks": ["semantic-segmentation" if whole else "classification"],
        "mlm:framework": "scikit-learn" if architecture.is_forest else "pytorch",
        "mlm:framework_version": versions()["scikit-learn" if architecture.is_forest else "PyTorch"].partition("+")[0],
        "mlm:total_parameters": sum(array.numel() for array in trained.net.state_dict().values()),
        "mlm:input": [
            {
                "name": "predictors",
                "bands": [{"name": band.name} for band in bands],
                "input": {
                    "shape": [-1, len(bands), size, size],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                "value_scaling": [
                    {"type": "z-score", "mean": float(mean), "stddev": float(spread)}
                    for mean, spread in zip(tile_set.scaling.offset, tile_set.scaling.scale)
                ],
            }
        ],
        "mlm:output": [
            {
                "name": "classes",
                "tasks": ["semantic-segmentation" if whole else "classification"],
                "result": {
                    "shape": [-1, len(classes), size, size] if whole else [-1, len(classes)],
                    "dim_order": ["batch", "class", "height", "width"] if whole else ["batch", "class"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    {"value": one.code, "name": one.name, "color_hint": one.colour.lstrip("#")} for one in classes
                ],
            }
        ],
        "geodl:kind": "classifier",
        "geodl:classifier": own,
    }
    return stac_item(name, footprint(tile_set.grid), properties)


def footprint(grid: Grid) -> dict[str, Any]:
    """Return a grid's outline as a GeoJSON polygon in longitude and latitude."""
    degrees = osr.SpatialReference()
    degrees.ImportFromEPSG(4326)
    degrees.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    to_degrees = osr.CoordinateTransformation(grid.spatial_reference, degrees)
    rows = np.array([0, 0, grid.height, grid.height, 0])
    columns = np.array([0, grid.width, grid.width, 0, 0])
    eastings, northings = grid.coordinates(rows, columns)
    ring = [
        [round(n, 7) for n in to_degrees.TransformPoint(float(e), float(n))[:2]] for e, n in zip(eastings, northings)
    ]
    return {"type": "Polygon", "coordinates": [ring]}
