"""How a strange net is run over rasters: worked out from its ports and from trials, or refused with a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import ModelFileError, SettingsError
from ...messages import Progress
from ..networks import EACH_PIXEL, EACH_TILE
from ..prediction import padded, probabilities_of, readings, up_to_multiple
from .graphs import Port
from .guest import BANDS_FIRST, BANDS_LAST, LOGITS, PROBABILITIES, Guest, Manner
from .trials import all_positive, check_spatial, gives_probabilities, reach_of, stride_of

Array = npt.NDArray[Any]
_SIDE_PX = 64  # of the first trial's window, where any is taken
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Try:
    """What is known of a net before it is tried; None is to be found out."""

    name: str
    port: Port
    bands: int
    classes: int
    task: str | None = None
    layout: str | None = None
    gives: str | None = None
    tile_px: int = 0
    halo_px: int | None = None
    stride: int | None = None


def manner_of(session: Any, graph: Any, asked: Try, progress: Progress) -> Manner:
    """
    Return how the net takes values and gives classes.

    Raises
    ------
    ModelFileError, SettingsError
        If its input or output does not fit the bands and classes, or a map could not be made of windows of it.
    """
    if not asked.port.shape:
        raise ModelFileError(f"{asked.name} does not tell the shape of its input. Export it with one.")
    if len(asked.port.shape) == 2:
        return _of_table(session, asked)
    if len(asked.port.shape) != 4:
        raise ModelFileError(
            f"{asked.name} takes arrays with {len(asked.port.shape)} sides, but windows (batch, band, row, column) or tables "
            "(sample, value) are needed."
        )
    manner, _ = _of_windows(session, asked)
    if manner.task == EACH_TILE:
        return manner
    if manner.batch > 1:
        progress.message(f"{asked.name} takes {manner.batch} windows at once; a single one is sent that often.")
    return _with_reach(session, graph, asked, manner, progress)


def _of_table(session: Any, asked: Try) -> Manner:
    """Return the manner of a net that takes a row of values a pixel or a tile."""
    batch, values = asked.port.shape
    tile = 1
    if values is None and asked.task == EACH_TILE:
        tile = _needed_tile(asked)
    elif values is not None and values != asked.bands:
        tile = round((values / asked.bands) ** 0.5)
        if tile * tile * asked.bands != values:
            raise SettingsError(
                f"{asked.name} takes {values} values, but BANDS names {asked.bands}. A net for pixels takes a value a band, "
                "one for square tiles a value a band and pixel."
            )
    task = EACH_PIXEL if tile == 1 else EACH_TILE
    if asked.task not in (None, task):
        raise SettingsError(f"TASK is {asked.task}, but {asked.name} takes {values} values: it classifies {task}.")
    manner = Manner(
        task, asked.layout or BANDS_FIRST, flat=True, batch=batch or 0, stride=tile, kind=asked.port.kind or "float32"
    )
    rows = np.random.default_rng(0).normal(size=(manner.batch or 64, asked.bands * tile * tile))
    scores = _scores(session, rows, manner)
    if scores.ndim != 2:
        raise ModelFileError(
            f"{asked.name} gives an array with {scores.ndim} sides for a table; (sample, class) is needed."
        )
    return replace(manner, gives=_gives(scores, asked))


def _of_windows(session: Any, asked: Try) -> tuple[Manner, Array]:
    """Return the manner of a net that takes windows, its reach not yet known, and what it gave in the first trial."""
    shape = asked.port.shape
    layout = asked.layout or _layout(asked)
    rows, columns = shape[2:] if layout == BANDS_FIRST else shape[1:3]
    found = shape[1] if layout == BANDS_FIRST else shape[3]
    if found not in (None, asked.bands):
        raise SettingsError(
            f"{asked.name} takes {found} bands, but BANDS names {asked.bands}. Name the bands it takes."
        )
    if rows is not None and columns is not None and rows != columns:
        raise ModelFileError(
            f"{asked.name} takes windows of {rows} × {columns} pixels; square ones are needed. Export it with free sides."
        )
    side = rows or columns or 0
    if side and asked.tile_px not in (0, side):
        raise SettingsError(
            f"TILE_SIZE is {asked.tile_px}, but {asked.name} takes windows of {side} pixels. Leave it at 0."
        )
    manner = Manner(EACH_PIXEL, layout, batch=shape[0] or 0, window_px=side, kind=asked.port.kind or "float32")
    tried = side or asked.tile_px or _SIDE_PX
    values = np.random.default_rng(0).normal(size=(1, asked.bands, tried, tried))
    scores = _scores(session, values if layout == BANDS_FIRST else values.transpose(0, 2, 3, 1), manner)
    single = scores.ndim == 2 or (scores.ndim == 4 and scores.size == scores.shape[0] * max(scores.shape[1:]))
    task = EACH_TILE if single and tried > 1 else EACH_PIXEL
    if asked.task not in (None, task):
        what = "one class for a whole window" if task == EACH_TILE else "a class for each pixel"
        raise SettingsError(f"TASK is {asked.task}, but {asked.name} gives {what}. Leave TASK at automatic.")
    if task == EACH_TILE:
        size = side or _needed_tile(asked)
        scores = scores.reshape(len(scores), -1)
        return replace(manner, task=task, window_px=0, stride=size, gives=_gives(scores, asked)), scores
    if scores.ndim == 3:
        scores = scores[:, None]
    elif scores.ndim != 4:
        raise ModelFileError(
            f"{asked.name} gives an array with {scores.ndim} sides; (batch, class, row, column) is needed."
        )
    elif layout == BANDS_LAST:
        scores = scores.transpose(0, 3, 1, 2)
    check_spatial(scores, tried, asked.name)
    return replace(manner, gives=_gives(scores, asked)), scores


def _with_reach(session: Any, graph: Any, asked: Try, manner: Manner, progress: Progress) -> Manner:
    """Return the manner with the stride and the halo, found by trying, and make sure that windows give one map."""
    plain = replace(manner, gives=LOGITS)

    def runner(data: bytes) -> Any:
        guest = Guest(data, asked.classes, plain, *_unscaled(asked.bands))
        return guest._windows

    run = runner(graph.SerializeToString())
    progress.update(0.2, "Finding at which steps windows may begin")
    stride = asked.stride or stride_of(run, asked.bands, manner.window_px)
    if stride is None:
        raise ModelFileError(_whole_window(asked, manner))
    progress.update(0.4, "Finding how far the net looks")
    halo = asked.halo_px
    if halo is None:
        halo = reach_of(run, asked.bands, stride, manner.window_px, lit=False)
        positive = all_positive(graph)
        if halo is not None and positive is not None:
            try:
                farther = reach_of(runner(positive), asked.bands, stride, manner.window_px, lit=True)
            except (ModelFileError, RuntimeError, ValueError):
                farther = halo  # its layers do not fit together any more: the other trial stands alone
            halo = None if farther is None else max(halo, farther)
        if halo is None:
            raise ModelFileError(_whole_window(asked, manner))
    found = replace(manner, halo_px=halo, stride=stride)
    if manner.window_px and manner.window_px < 2 * up_to_multiple(halo, stride) + stride:
        raise ModelFileError(_whole_window(asked, manner))
    difference = _difference(graph.SerializeToString(), asked, found)
    if difference > _TOLERANCE and asked.halo_px is None and asked.stride is None:
        raise ModelFileError(
            f"Two maps of {asked.name}, made of other windows, differ by {difference:.2g} in probability: what it says of a "
            "pixel depends on where its window begins. Export it with convolutions, poolings and upsamplings "
            "by whole numbers only."
        )
    if difference > _TOLERANCE:
        progress.warning(
            f"With HALO {halo} and STRIDE {stride}, maps made of other windows differ by {difference:.2g} in probability."
        )
    return found


def _difference(data: bytes, asked: Try, manner: Manner) -> float:
    """Return by how much the probabilities in one pass and in windows differ, at most."""
    guest = Guest(data, asked.classes, manner, *_unscaled(asked.bands))
    stride, halo = manner.stride, up_to_multiple(manner.halo_px, manner.stride)
    side = up_to_multiple(2 * halo + 4 * stride + 5, stride)
    random = np.random.default_rng(3)
    values = random.normal(size=(asked.bands, side, side)).astype(np.float32)
    with torch.inference_mode():
        whole = torch.softmax(guest(torch.from_numpy(values)[None]), 1)[0].numpy()
    largest = 0.0
    for reading in list(readings(side, side, up_to_multiple(max(side // 2, 1), stride), halo, stride)):
        inside = reading.outer.grown(0, side, side)
        rows, columns = inside.slices
        window = padded(values[:, rows, columns], inside, reading.outer)
        part = probabilities_of(guest, np.ascontiguousarray(window), reading)
        rows, columns = reading.core.slices
        largest = max(largest, float(np.abs(part - whole[:, rows, columns]).max()))
    return largest


def _whole_window(asked: Try, manner: Manner) -> str:
    size = f" of {manner.window_px} pixels" if manner.window_px else ""
    text = f"What {asked.name} says of a pixel depends on the whole window{size} (global pooling, attention, a normalisation, "
    text += "or convolutions that reach as far), so a map made of windows would not be that of one pass. "
    if manner.window_px:
        return text + "Export it with free rows and columns, or for larger windows; HALO takes it as it is, with seams."
    return text + "Train it without such layers; HALO and STRIDE take it as it is, with seams."


def _layout(asked: Try) -> str:
    """Return where the bands stand: the side that has their number, else the one that is known while the others are free."""
    _, first, _, last = asked.port.shape
    if (first == asked.bands) == (last == asked.bands):
        return BANDS_LAST if first is None and last is not None else BANDS_FIRST
    return BANDS_FIRST if first == asked.bands else BANDS_LAST


def _needed_tile(asked: Try) -> int:
    if not asked.tile_px:
        raise SettingsError(
            f"TILE_SIZE is missing: {asked.name} classifies tiles of any size. Give the one it was trained on."
        )
    return asked.tile_px


def _gives(scores: Array, asked: Try) -> str:
    """Return ``logits`` or ``probabilities`` of scores (sample, class, …), and make sure that they are of the classes."""
    count = scores.shape[1]
    if count != asked.classes and not (count == 1 and asked.classes == 2):
        raise SettingsError(
            f"{asked.name} gives {count} scores, but CLASSES names {asked.classes}. Name as many classes as it "
            "has, in their order."
        )
    return asked.gives or (PROBABILITIES if gives_probabilities(scores) else LOGITS)


def _scores(session: Any, values: Array, manner: Manner) -> Array:
    kind = np.dtype(manner.kind)
    array = np.clip(np.rint(np.abs(values) * 60), 0, 255) if kind.kind in "ui" else values
    if manner.batch:
        array = np.resize(array, (manner.batch, *array.shape[1:]))
    try:
        (scores,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(array, kind)})
    except Exception as error:  # its errors share no base but this
        line = str(error).strip().splitlines()[0][:200]
        sides = " × ".join(str(side) for side in array.shape)
        raise ModelFileError(
            f"The net cannot be run on {sides} values ({line}). Check BANDS, LAYOUT and TILE_SIZE."
        ) from error
    return np.asarray(scores)


def _unscaled(bands: int) -> tuple[list[float], list[float], list[float]]:
    return [0.0] * bands, [1.0] * bands, [0.0] * bands
