"""
Write a classifier as ONNX, the job ``exportonnx``: physical values in, probabilities out, the first layer included.

The file carries the metadata that Deepness reads. Before it is written, ONNX Runtime and PyTorch are given the same values,
with holes, and must say the same.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...errors import ModelFileError, SettingsError
from ...files import check_output, whole_file
from ...messages import Progress
from ...rasters.optional_packages import needed_package
from ...settings import option
from ..classifier import Classifier, load_classifier
from ..fitting_bands import pixel_m
from ..networks.trees import Trees
from ..prediction import up_to_multiple
from .deepness import metadata

OPSET = 17
TOLERANCE = 1e-4
_TILE_PX = 512
_PACKAGES = ("onnx", "onnxruntime")
_LARGEST_BYTES = 2**31 - 2**20  # protobuf's limit, and room for the graph


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    model: str
    output: str
    tile_size: int = option(0, at_least=0, at_most=8192)  # pixels; 0: as the model needs
    any_size: bool = False


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the ONNX file.

    Raises
    ------
    ModelFileError
        If the model is no classifier, or its net cannot be written as ONNX, or ONNX Runtime says something else than PyTorch.
    SettingsError
        If the tile is too small for the net.
    """
    check_output(settings.output)
    onnx, runtime = (needed_package(name, "ONNX files", "onnx") for name in _PACKAGES)
    model = load_classifier(settings.model)
    if model.architecture.name == "onnx":
        raise ModelFileError(
            f"{model.file.path.name} was made from an ONNX file. Use that file; it was not changed by importing it."
        )
    if any(isinstance(module, Trees) for module in model.net.modules()):
        raise ModelFileError(
            f"{model.file.path.name} is a forest, or has one in it, and decision trees are not written as ONNX. Map with it in "
            "QGIS (Classify raster), or train a net."
        )
    size = None if settings.any_size else _tile_size(settings.tile_size, model)
    overlap = 0 if size is None or not model.per_pixel else overlap_percent(size, model.halo_px, _stride(model))
    progress.update(0.1, "Writing the net as ONNX")
    # Maps are made by a net that works in strips and so is of one size; both must say the same.
    data = exported(load_classifier(settings.model, plain=True).net, model, size)
    graph = onnx.load_from_string(data)
    resolution = pixel_m(model.grid)
    texts = metadata(
        model.bands,
        model.classes,
        tile_size_px=size,
        overlap_percent=overlap,
        pixel_m=None if model.grid.in_degrees else resolution,
        model=model.name,
        sha256=model.file.sha256,
    )
    onnx.helper.set_model_props(graph, texts)
    graph.producer_name = "GeoDL"
    graph.doc_string = f"{model.name}: physical values in, NaN for nodata; probabilities of classes out."
    data = graph.SerializeToString(deterministic=True)
    onnx.checker.check_model(data, full_check=True)
    progress.update(0.5, "Comparing ONNX Runtime with PyTorch")
    difference = largest_difference(runtime, data, model, size)
    if not difference <= TOLERANCE:
        raise ModelFileError(
            f"ONNX Runtime's probabilities differ from PyTorch's by {difference:.2g}; at most {TOLERANCE} is let through. "
            "Nothing was written. Please report it, with the model's report."
        )
    with whole_file(settings.output) as part:
        part.write_bytes(data)
    if model.grid.in_degrees:
        progress.warning(
            "The model was trained on pixels in degrees, which Deepness cannot take: no pixel size was written. Type one in "
            "there, for rasters in metres."
        )
    progress.message(_summary(model, size, overlap, difference, Path(settings.output)))
    progress.update(1.0)
    return {"output": settings.output, "difference": difference, "tile_size": size, "tiles_overlap": overlap}


def exported(net: nn.Module, model: Classifier, size: int | None) -> bytes:
    """
    Return a net as ONNX.

    Parameters
    ----------
    size : int, optional
        Side of the only window that the file will take; any number and size of windows if None.

    Raises
    ------
    ModelFileError
        If the net has an operator that ONNX does not have, or is too large.
    """
    weights = sum(value.numel() * value.element_size() for value in net.state_dict().values())
    if weights > _LARGEST_BYTES:
        raise ModelFileError(f"The net's weights take {weights:,} bytes; an ONNX file in one piece takes 2 GB at most.")
    side = size or _any_side(model)
    values = torch.zeros(1, len(model.bands), side, side)
    whole = _Exported(net, size if size and not model.per_pixel else None).eval()
    options: dict[str, Any] = {"opset_version": OPSET, "input_names": ["values"], "output_names": ["probabilities"]}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # its successor needs one more package and knows no fmax
    if size is None:
        axes = {0: "batch", 2: "rows", 3: "columns"}
        rows = {0: "batch", 2: "mapped_rows", 3: "mapped_columns"}
        options["dynamic_axes"] = {"values": axes, "probabilities": axes if model.per_pixel else rows}
    written = io.BytesIO()
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        warnings.simplefilter("ignore")  # on shapes, which are meant to be fixed
        _register_fmax()
        try:
            torch.onnx.export(whole, (values,), written, **options)  # type: ignore[arg-type]
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"The net {model.architecture.name!r} cannot be written as ONNX ({str(error).splitlines()[0][:200]}). Train "
                "one of another architecture."
            ) from error
    return written.getvalue()


def largest_difference(runtime: Any, data: bytes, model: Classifier, size: int | None) -> float:
    """Return by how much the probabilities of ONNX Runtime and of PyTorch differ, at most, for values like the training's."""
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    side = _any_side(model)
    shapes = [(1, size, size)] if size else [(1, side, side), (2, side + 8 * _stride(model), side)]
    largest = 0.0
    for batch, rows, columns in shapes:
        values = _like_training(model, random, (batch, len(model.bands), rows, columns))
        (theirs,) = session.run(None, {"values": values})
        with torch.inference_mode():
            ours = torch.softmax(model.net(torch.from_numpy(values)).float(), 1).numpy()
        largest = max(largest, float(np.abs(theirs - ours).max()))
    return largest


def overlap_percent(size: int, halo_px: int, stride: int) -> int:
    """
    Return by how much tiles must overlap, in percent of their side, so that nothing at their margins is used.

    Deepness uses each tile up to the middle of the overlap. The smallest fitting percentage at which tiles begin at multiples
    of the net's stride is taken, else the smallest fitting one.
    """
    least = -(-200 * halo_px // size)
    fitting = [percent for percent in range(least, 91) if (size * (100 - percent)) % (100 * stride) == 0]
    return min(fitting[0] if fitting else least, 99)


class _Exported(nn.Module):
    """What is written: the net and the softmax; a tile net's classes are laid over the whole tile if ``side`` is given."""

    def __init__(self, net: nn.Module, side: int | None) -> None:
        super().__init__()
        self.net, self.side = net, side

    def forward(self, values: Tensor) -> Tensor:
        """Return probabilities, (batch, class, row, column)."""
        probabilities = torch.softmax(self.net(values), 1)
        return probabilities if self.side is None else probabilities.expand(-1, -1, self.side, self.side).contiguous()


def _register_fmax() -> None:
    """Tell the exporter of the extremes that pass over NaN, which ONNX has under no name."""

    def passing_over(operator: str) -> Any:
        def symbolic(graph: Any, one: Any, other: Any) -> Any:
            both = graph.op("Where", graph.op("IsNaN", other), one, graph.op(operator, one, other))
            return graph.op("Where", graph.op("IsNaN", one), other, both)

        return symbolic

    for name, operator in (("aten::fmax", "Max"), ("aten::fmin", "Min")):
        torch.onnx.register_custom_op_symbolic(  # type: ignore[attr-defined]
            name, passing_over(operator), OPSET
        )


def _tile_size(wanted: int, model: Classifier) -> int:
    """Return the side of the exported tile: at least four halos, so that half of it may overlap."""
    if not model.per_pixel:
        if wanted not in (0, model.tile_size_px):
            raise SettingsError(
                f"TILE_SIZE is {wanted}, but this model classifies tiles of {model.tile_size_px} pixels. Leave TILE_SIZE at 0."
            )
        return model.tile_size_px
    stride = _stride(model)
    if not wanted:
        return up_to_multiple(max(_TILE_PX, 4 * model.halo_px), stride)
    if wanted % stride or wanted <= 2 * model.halo_px:
        least = up_to_multiple(2 * model.halo_px + stride, stride)
        raise SettingsError(
            f"TILE_SIZE is {wanted}, but this net needs a multiple of {stride} that is {least} or more: it looks "
            f"{model.halo_px} pixels around each pixel."
        )
    return wanted


def _stride(model: Classifier) -> int:
    return int(model.net.stride)  # type: ignore[arg-type]


def _any_side(model: Classifier) -> int:
    return up_to_multiple(64, _stride(model)) if model.per_pixel else model.tile_size_px


def _like_training(
    model: Classifier, random: np.random.Generator, shape: tuple[int, int, int, int]
) -> npt.NDArray[np.float32]:
    """Return random values of the spread that the model was trained on, with a hole in each band."""
    scaling = model.file.part("classifier").get("scaling") or {}
    bands = shape[1]
    offset = np.array(scaling.get("offset", [0.0] * bands)).reshape(1, bands, 1, 1)
    scale = np.array(scaling.get("scale", [1.0] * bands)).reshape(1, bands, 1, 1)
    values: npt.NDArray[np.float32] = (offset + scale * random.normal(size=shape)).astype(np.float32)
    for band in range(bands):
        row, column = random.integers(0, shape[2] - 6), random.integers(0, shape[3] - 6)
        values[:, band, row : row + 6, column : column + 6] = np.nan
    return values


def _summary(model: Classifier, size: int | None, overlap: int, difference: float, path: Path) -> str:
    window = "windows of any size" if size is None else f"windows of {size} × {size} pixels"
    text = f"{path.name} takes {window} of {len(model.bands)} bands in their own units, NaN where there is no data. "
    if size is not None and model.per_pixel:
        text += f"Neighbouring windows must overlap by {overlap} %, which the file tells Deepness. "
    return text + f"ONNX Runtime's probabilities differ from PyTorch's by {difference:.1e} at most."
