"""
Make a model of an ONNX file from elsewhere, the job ``importonnx``: Keras, TensorFlow, PyTorch, scikit-learn.

What the file cannot tell is given once: classes, bands, scaling, pixel size. What can be found out is found out by trying the
net: its layout, whether it gives logits or probabilities, how far it looks, which steps its windows may begin at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from osgeo import osr

from ...bands import Band
from ...classes import LandClass, distinct_colours
from ...environment import versions
from ...errors import ModelFileError, SettingsError
from ...files import check_output
from ...messages import Progress
from ...model_file import stac_item, write_model
from ...rasters.grid import Grid
from ...settings import as_dict, option
from ..networks import EACH_PIXEL, EACH_TILE, GUEST, Architecture
from .deepness import Told
from .graphs import Port, only_input, read_graph, with_one_output
from .guest import BANDS_FIRST, BANDS_LAST, LOGITS, PROBABILITIES, Guest, Manner, session_of
from .net_trials import Try, manner_of

AUTOMATIC = "automatic"


@dataclass(frozen=True)
class Settings:
    """Settings of the job; the names are those of the algorithm's parameters in lower case."""

    onnx: str
    output: str
    classes: str = ""
    bands: str = ""
    offset: str = ""
    scale: str = ""
    nodata: str = ""
    pixel_size: float = option(0.0, at_least=0.0)
    task: str = option(AUTOMATIC, choices=(AUTOMATIC, EACH_PIXEL, EACH_TILE))
    layout: str = option(AUTOMATIC, choices=(AUTOMATIC, BANDS_FIRST, BANDS_LAST))
    gives: str = option(AUTOMATIC, choices=(AUTOMATIC, LOGITS, PROBABILITIES))
    tile_size: int = option(0, at_least=0)
    halo: int = option(-1, at_least=-1)
    stride: int = option(0, at_least=0)
    output_name: str = ""


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """
    Write the model file.

    Raises
    ------
    ModelFileError
        If the file is no ONNX that is let in, or its net cannot be run over rasters.
    SettingsError
        If classes, bands or numbers do not fit the net.
    """
    check_output(settings.output)
    name = Path(settings.onnx).name
    graph = read_graph(settings.onnx)
    port = only_input(graph, name)
    graph, _ = with_one_output(graph, name, settings.output_name)
    told = Told({entry.key: entry.value for entry in graph.metadata_props})
    bands = _bands(settings, told, port, name)
    classes = _classes(settings, told, name)
    offset, scale = _scaling(settings, told, len(bands))
    fill = _numbers("NODATA", settings.nodata, len(bands)) or (
        [float("nan")] * len(bands) if told.masks_nodata else offset
    )
    pixel_m = settings.pixel_size or told.pixel_m
    if not pixel_m:
        raise SettingsError("PIXEL_SIZE is missing, and the file does not tell it. Give the pixels' side in metres.")
    data = graph.SerializeToString(deterministic=True)
    progress.update(0.1, "Trying the net")
    asked = Try(
        name=name,
        port=port,
        bands=len(bands),
        classes=len(classes),
        task=None if settings.task == AUTOMATIC else settings.task,
        layout=None if settings.layout == AUTOMATIC else settings.layout,
        gives=None if settings.gives == AUTOMATIC else settings.gives,
        tile_px=settings.tile_size,
        halo_px=None if settings.halo < 0 else settings.halo,
        stride=settings.stride or None,
    )
    manner = manner_of(session_of(data), graph, asked, progress)
    guest = Guest(data, len(classes), manner, offset, scale, fill)
    _check_values(guest, len(bands), name)
    parameters = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    item = _item(settings, manner, bands, classes, pixel_m, guest, parameters)
    weights = {key: tensor.numpy() for key, tensor in guest.state_dict().items()}
    write_model(settings.output, item, weights, onnx=data)
    progress.message(_summary(name, manner, bands, classes))
    progress.update(1.0)
    return {
        "output": settings.output,
        "task": manner.task,
        "layout": manner.layout,
        "gives": manner.gives,
        "halo": manner.halo_px,
        "stride": manner.stride,
    }


def _bands(settings: Settings, told: Told, port: Port, name: str) -> list[Band]:
    """Return the bands that are named: texts such as ``slope [degree]``, parted by commas or semicolons."""
    if not settings.bands:
        if told.bands:
            return list(told.bands)
        sides = " × ".join("?" if side is None else str(side) for side in port.shape)
        raise SettingsError(
            f"BANDS is missing, and {name} does not tell them. Name the bands that the net takes (its input is {sides}), in "
            "their order, such as: dem [m], slope [degree]."
        )
    bands = []
    for text in _parted(settings.bands):
        parts = re.fullmatch(r"(.*?)\s*(?:\[(.*)\])?", text)
        if parts is None or not parts[1]:
            raise SettingsError(f"BANDS has {text!r}, which is no name. Write them such as: dem [m], slope [degree].")
        bands.append(Band(parts[1], parts[2] or ""))
    return bands


def _classes(settings: Settings, told: Told, name: str) -> list[LandClass]:
    """Return the classes that are named: ``water``, ``3=water`` or ``3=water=#0000ff``, in the order of the net's scores."""
    if not settings.classes:
        if told.classes:
            return list(told.classes)
        if told.class_names is None:
            raise SettingsError(
                f"CLASSES is missing, and {name} does not tell them. Name the classes in the order of the net's scores, such "
                "as: water, forest, rock."
            )
        texts = [one.replace("=", "-") for one in told.class_names]
    else:
        texts = _parted(settings.classes)
    found: list[LandClass] = []
    for number, (text, colour) in enumerate(zip(texts, distinct_colours(len(texts))), start=1):
        parts = [part.strip() for part in text.split("=")]
        parts = parts if len(parts) > 1 else [str(number), parts[0]]
        if (
            len(parts) > 3
            or not parts[0].isdecimal()
            or not 1 <= int(parts[0]) <= 65535
            or not parts[1]
            or (len(parts) == 3 and not re.fullmatch(r"#[0-9a-fA-F]{6}", parts[2]))
        ):
            raise SettingsError(
                f"CLASSES has {text!r}. Write a name, or a code from 1 to 65535 and a name and a colour if you like: "
                "3=water=#0000ff."
            )
        found.append(LandClass(int(parts[0]), parts[1], parts[2] if len(parts) == 3 else colour))
    if len({one.code for one in found}) < len(found):
        raise SettingsError("CLASSES has a code twice. Give each class a code of its own.")
    if len(found) < 2:
        raise SettingsError("CLASSES has one class, but a map needs two or more. Name what else there is, too.")
    return found


def _scaling(settings: Settings, told: Told, bands: int) -> tuple[list[float], list[float]]:
    offset, scale = told.scaling(bands) or ([0.0] * bands, [1.0] * bands)
    offset = _numbers("OFFSET", settings.offset, bands) or offset
    scale = _numbers("SCALE", settings.scale, bands) or scale
    if not all(number and np.isfinite(number) for number in scale):
        raise SettingsError("SCALE has a 0, by which nothing can be divided. Give 1 for a band that is not scaled.")
    return offset, scale


def _numbers(name: str, text: str, bands: int) -> list[float] | None:
    """Return a number a band; one number counts for all."""
    if not text.strip():
        return None
    try:
        numbers = [float(part) for part in re.split(r"[;,\s]+", text.strip()) if part]
    except ValueError as error:
        raise SettingsError(f"{name} is {text!r}, but must be numbers with a point, parted by commas.") from error
    if len(numbers) not in (1, bands):
        raise SettingsError(f"{name} has {len(numbers)} numbers for {bands} bands. Give one for each, or one for all.")
    return numbers * (bands if len(numbers) == 1 else 1)


def _parted(text: str) -> list[str]:
    return [part.strip() for part in text.split(";" if ";" in text else ",") if part.strip()]


@torch.inference_mode()
def _check_values(guest: Guest, bands: int, name: str) -> None:
    """Make sure that the net gives numbers, where there are values and where there are none."""
    manner = guest.manner
    side = manner.stride if manner.task == EACH_TILE else max(manner.window_px, 2 * manner.stride)
    values: npt.NDArray[np.float32] = np.random.default_rng(2).normal(size=(1, bands, side, side)).astype(np.float32)
    values = values * guest.scale.numpy()[:, None, None] + guest.offset.numpy()[:, None, None]
    values[:, :, : side // 2 + 1] = np.nan
    logits = guest(torch.from_numpy(values))
    if not torch.isfinite(logits).all():
        raise ModelFileError(
            f"{name} gives no numbers where there is no data. Give a NODATA value that it can take, in the bands' own units."
        )


def _item(
    settings: Settings,
    manner: Manner,
    bands: Sequence[Band],
    classes: Sequence[LandClass],
    pixel_m: float,
    guest: Guest,
    parameters: int,
) -> dict[str, Any]:
    reference = osr.SpatialReference()
    reference.SetLocalCS("unknown, in metres")
    reference.SetLinearUnits("metre", 1.0)
    grid = Grid(reference.ExportToWkt(), (0.0, pixel_m, 0.0, 0.0, 0.0, -pixel_m), 1, 1)
    architecture = Architecture(GUEST, len(bands), len(classes), [], numbers=manner.as_dict())
    name = Path(settings.output).stem
    own = {
        "architecture": architecture.as_dict(),
        "bands": [band.as_dict() for band in bands],
        "scaling": {"offset": guest.offset.tolist(), "scale": guest.scale.tolist()},
        "classes": [one.as_dict() for one in classes],
        "grid": grid.as_dict(),
        "halo_px": manner.halo_px,
        "tile_size_px": manner.stride if manner.task == EACH_TILE else manner.window_px,
        "settings": as_dict(settings) | {"onnx": Path(settings.onnx).name, "output": Path(settings.output).name},
        "versions": versions(),
    }
    properties = {
        "datetime": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "title": name,
        "mlm:name": name,
        "mlm:architecture": GUEST,
        "mlm:tasks": ["semantic-segmentation" if manner.task == EACH_PIXEL else "classification"],
        "mlm:framework": "onnx",
        "mlm:total_parameters": parameters,
        "geodl:kind": "classifier",
        "geodl:classifier": own,
    }
    return stac_item(name, None, properties)


def _summary(name: str, manner: Manner, bands: Sequence[Band], classes: Sequence[LandClass]) -> str:
    kind = "a table of values" if manner.flat else "windows"
    if manner.window_px:
        kind += f" of {manner.window_px} pixels"
    kind += "" if manner.flat else f", {manner.layout}"
    text = f"{name} classifies {manner.task} into {len(classes)} classes from {len(bands)} bands. It takes {kind}, and gives "
    text += f"{manner.gives}."
    if manner.task == EACH_PIXEL:
        return (
            text
            + f" It looks {manner.halo_px} pixels around each pixel; windows begin at multiples of {manner.stride}."
        )
    return text + f" Its tiles have {manner.stride} pixels a side."
