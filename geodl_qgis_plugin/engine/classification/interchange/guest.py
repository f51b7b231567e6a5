"""
A net that was trained elsewhere, as one of GeoDL's own: ONNX Runtime computes it, and maps are made of it like any other's.

Values come in physical units with NaN for nodata, as to every net here. Each band's offset and scale and the layout that the
net wants are applied before it runs; what it gives, logits or probabilities, becomes logits, (batch, class, row, column).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...errors import ModelFileError
from ...rasters.optional_packages import needed_package
from ..networks import EACH_PIXEL
from .graphs import checked_graph

BANDS_FIRST, BANDS_LAST = "bands first", "bands last"
LOGITS, PROBABILITIES = "logits", "probabilities"
Array = npt.NDArray[Any]
_PIXELS_AT_ONCE = 65_536
_LEAST = 1e-37  # of a probability, before its logarithm


@dataclass(frozen=True)
class Manner:
    """
    How a guest takes values and gives classes.

    Attributes
    ----------
    task : str
        ``each pixel`` or ``each tile``.
    layout : str
        ``bands first`` (batch, band, row, column) or ``bands last`` (batch, row, column, band); of a flat input, how a tile
        is unrolled.
    flat : bool
        The input is a table: a row a pixel or tile, a column a value.
    gives : str
        ``logits`` or ``probabilities``.
    batch : int
        How many windows it takes at once; 0 for any number.
    window_px : int
        Side of the only window that it takes; 0 for any size.
    halo_px, stride : int
        How far beyond a pixel it looks, and at which steps windows may begin.
    kind : str
        numpy's name of the type it takes.
    """

    task: str
    layout: str = BANDS_FIRST
    flat: bool = False
    gives: str = LOGITS
    batch: int = 0
    window_px: int = 0
    halo_px: int = 0
    stride: int = 1
    kind: str = "float32"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manner:
        """Read what `as_dict` wrote."""
        return cls(**values)


class Guest(nn.Module):
    """
    A net whose forward pass is ONNX Runtime's.

    Parameters
    ----------
    data : bytes
        ONNX with one input and one output; checked again here, for a model file may come from anywhere.
    offset, scale : sequences of float
        The net sees (value − offset) / scale of each band.
    fill : sequence of float
        What it sees where there is no data, in each band's own units; NaN for one that masks nodata itself.
    """

    # Of a window: ONNX Runtime is quickest where not much more than a layer fits the processor's cache.
    bytes_px = 300.0
    processor_only = True  # which providers of ONNX Runtime there are depends on its package
    offset: Tensor
    scale: Tensor
    fill: Tensor

    def __init__(
        self,
        data: bytes,
        classes: int,
        manner: Manner,
        offset: Sequence[float],
        scale: Sequence[float],
        fill: Sequence[float],
    ) -> None:
        super().__init__()
        checked_graph(data, "The model's ONNX file")
        self.manner, self.classes = manner, classes
        self.stride = manner.stride
        self.halo_px = manner.halo_px
        self.tile_size_px = None if manner.task == EACH_PIXEL else manner.stride
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float32))
        self._data, self._lock = data, threading.Lock()
        self._session, self._threads = session_of(data), torch.get_num_threads()
        self._input = self._session.get_inputs()[0].name

    def __deepcopy__(self, memo: dict[int, Any]) -> Guest:
        """Return itself: nothing in it changes, and ONNX Runtime's session cannot be copied."""
        return self

    @torch.no_grad()
    def forward(self, values: Tensor, derived: Tensor | None = None) -> Tensor:
        """Return logits; ``derived`` is what GeoDL's own nets may be given, and is not used."""
        array = self._scaled(values.cpu()).numpy()
        if self.manner.task != EACH_PIXEL:
            return self._logits(self._tiles(array))
        if self.manner.flat:
            return self._logits(self._pixels(array))
        if self.manner.window_px:
            return self._logits(in_windows(self._windows, array, self._empty.numpy(), self.classes, self.manner))
        return self._logits(self._windows(array))

    def _scaled(self, values: Tensor) -> Tensor:
        """Return what the net sees of values, and of where there are none."""
        shape = (1, -1, 1, 1)
        scaled = (values - self.offset.view(shape)).div_(self.scale.view(shape))
        for band, empty in enumerate(self._empty.tolist()):
            scaled[:, band].nan_to_num_(nan=empty, posinf=empty, neginf=empty)
        return scaled

    @property
    def _empty(self) -> Tensor:
        return (self.fill - self.offset) / self.scale

    def _logits(self, given: Array) -> Tensor:
        """Turn (batch, class, row, column) into logits; one channel for two classes says how sure the second is."""
        scores = torch.from_numpy(np.ascontiguousarray(given, np.float32))
        if self.manner.gives == PROBABILITIES:
            if scores.shape[1] == 1:
                scores = torch.cat([1 - scores, scores], dim=1)
            return scores.clamp_min(_LEAST).log()
        return torch.cat([torch.zeros_like(scores), scores], dim=1) if scores.shape[1] == 1 else scores

    def _pixels(self, values: npt.NDArray[np.float32]) -> Array:
        batch, bands, height, width = values.shape
        rows = np.ascontiguousarray(values.transpose(0, 2, 3, 1).reshape(-1, bands))
        step = self.manner.batch or _PIXELS_AT_ONCE
        scores: Array = np.concatenate([self._run(rows[i : i + step]) for i in range(0, len(rows), step)])
        return scores.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)

    def _tiles(self, values: npt.NDArray[np.float32]) -> Array:
        """Return the scores of whole tiles, (batch, class, 1, 1)."""
        tiles = self._laid(values)
        if self.manner.flat:
            tiles = tiles.reshape(len(tiles), -1)
        step = self.manner.batch or len(tiles)
        scores: Array = np.concatenate([self._run(tiles[i : i + step]) for i in range(0, len(tiles), step)])
        return scores.reshape(len(values), -1)[:, :, None, None]

    def _windows(self, values: npt.NDArray[np.float32]) -> Array:
        """Return the scores of each pixel of windows that the net takes as they are."""
        laid = self._laid(values)
        step = self.manner.batch or len(laid)
        scores: Array = np.concatenate([self._run(laid[i : i + step]) for i in range(0, len(laid), step)])
        if scores.ndim == 3:
            scores = scores[:, None] if self.manner.layout == BANDS_FIRST else scores[..., None]
        return scores if self.manner.layout == BANDS_FIRST else scores.transpose(0, 3, 1, 2)

    def _laid(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return values if self.manner.layout == BANDS_FIRST else values.transpose(0, 2, 3, 1)

    def _run(self, array: npt.NDArray[np.float32]) -> Any:
        """Run it, filling up a batch whose size is fixed."""
        missing = self.manner.batch - len(array) if self.manner.batch else 0
        if missing > 0:
            array = np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
        kind = np.dtype(self.manner.kind)
        if kind.kind in "ui":
            limits = np.iinfo(kind)
            array = np.clip(np.rint(array), limits.min, limits.max)
        (scores,) = self._own_session().run(None, {self._input: np.ascontiguousarray(array, kind)})
        return np.asarray(scores[: len(scores) - missing] if missing > 0 else scores)

    def _own_session(self) -> Any:
        """Return a session with as many threads as torch has now: where maps are made each of two lanes has half of them."""
        with self._lock:
            if self._threads != torch.get_num_threads():
                self._session, self._threads = session_of(self._data), torch.get_num_threads()
            return self._session


def session_of(data: bytes) -> Any:
    """
    Return ONNX Runtime's session, with as many threads as torch has.

    Raises
    ------
    ModelFileError
        If ONNX Runtime does not take the graph.
    """
    runtime = needed_package("onnxruntime", "ONNX files", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see `environment.tune_threads`
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base but this
        line = str(error).strip().splitlines()[0][:200]
        raise ModelFileError(f"ONNX Runtime does not take the net ({line}). Export it with other operators.") from error


def in_windows(
    run: Any, values: npt.NDArray[np.float32], empty: npt.NDArray[np.float32], classes: int, manner: Manner
) -> Array:
    """
    Return the scores of each pixel by a net that takes windows of one size, each used without its halo.

    Beyond the edge lies ``empty``, a number a band: a pixel's class then depends on what lies around it alone, and not on where
    windows begin.
    """
    batch, bands, height, width = values.shape
    size, stride = manner.window_px, manner.stride
    halo = -(-manner.halo_px // stride) * stride
    core = (size - 2 * halo) // stride * stride
    if core < 1:
        raise ModelFileError(
            f"The net takes windows of {size} pixels but looks {manner.halo_px} pixels around each: nothing of a "
            "window is left."
        )
    result: Array | None = None
    for row, column in _origins(height, width, core):
        window = np.broadcast_to(empty.reshape(1, bands, 1, 1), (batch, bands, size, size)).copy()
        top, left = max(row - halo, 0), max(column - halo, 0)
        bottom, right = min(row - halo + size, height), min(column - halo + size, width)
        inside = (slice(top - row + halo, bottom - row + halo), slice(left - column + halo, right - column + halo))
        window[(slice(None), slice(None), inside[0], inside[1])] = values[:, :, top:bottom, left:right]
        scores = run(window)
        if result is None:
            result = np.empty((batch, scores.shape[1], height, width), scores.dtype)
        rows, columns = min(core, height - row), min(core, width - column)
        result[:, :, row : row + rows, column : column + columns] = scores[
            :, :, halo : halo + rows, halo : halo + columns
        ]
    return result if result is not None else np.empty((batch, classes, height, width), np.float32)


def _origins(height: int, width: int, core: int) -> Iterator[tuple[int, int]]:
    for row in range(0, height, core):
        for column in range(0, width, core):
            yield row, column
