"""
A net on the device that maps are made on: as many windows at once as memory bears, and fewer when it runs out.

CUDA is used where PyTorch finds it, then Apple's GPU, then the processor, as in training. float32 stays float32: NVIDIA's TF32,
which has ten bits, is turned off, since maps from windows are to be those of one pass. FAST allows bfloat16.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import GeoDLError
from ..messages import Progress, SilentProgress
from ..rasters.grid import Window
from .appetite import bytes_per_pixel
from .devices import Compute, best_device, free_bytes, is_out_of_memory
from .networks.core import Core, Part, logits_of_core
from .prediction import Reading, up_to_multiple

Values = npt.NDArray[np.float32]
_MOST_AT_ONCE = 16
_SHARE_OF_FREE = 0.5
_STRIP_ROWS = 16


class PixelWindow(NamedTuple):
    """A window to map: where it is read and written, and its values (band, row, column)."""

    reading: Reading
    values: Values


class NoRoom(Exception):
    """Memory does not hold what was to be worked out at once."""


class NetRunner:
    """
    Runs a net.

    Parameters
    ----------
    net : module
        On the processor; what goes to another device is a copy.
    fast : bool
        Whether bfloat16 is allowed.

    Attributes
    ----------
    at_once : int
        Windows of one size that are given to the net together; halved when memory runs out.
    lanes : int
        Threads that run the net at once: two where a processor has cores for both.
    progress : Progress
        Who is told when memory runs out.
    """

    def __init__(self, net: nn.Module, fast: bool, compute: Compute | None = None) -> None:
        self._given, self._fast = net, fast
        self.compute = compute or compute_for_maps(net, fast)
        self.net = on_device(net, self.compute.device)
        self.progress: Progress = SilentProgress()
        self.at_once = 1
        self.lanes = 2 if self.compute.device.type == "cpu" and torch.get_num_threads() > 1 else 1

    def expect(self, bands: int, window_px: int) -> None:
        """Let as many windows of so many pixels be taken at once as half of a GPU's free memory holds; one on a processor."""
        free = None if self.compute.device.type == "cpu" else free_bytes(self.compute)
        if free:
            each = bytes_per_pixel(self._given, bands) * window_px
            self.at_once = int(min(max(_SHARE_OF_FREE * free / each, 1), _MOST_AT_ONCE))

    @torch.inference_mode()
    def logits(self, values: Values, *, smaller: bool = False) -> Tensor:
        """
        Return logits (batch, class, row, column), float32, of (batch, band, row, column); both in the main memory.

        The batch is parted when memory runs out.

        Raises
        ------
        NoRoom
            If memory does not even hold one, and the caller could make it ``smaller``.
        GeoDLError
            If it could not.
        """
        parts: list[Tensor] = []
        some = len(values)
        while (start := sum(map(len, parts))) < len(values):
            trouble = ""
            try:
                parts.append(self._run(values[start : start + some]).cpu())
            except (RuntimeError, MemoryError) as error:
                trouble = _trouble(error)
            if trouble and some > 1:
                some = -(-some // 2)
                self.compute.forget()
            elif trouble and smaller:
                raise NoRoom(trouble)
            elif trouble:
                self._leave_device(trouble)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    @torch.inference_mode()
    def probabilities(self, windows: Sequence[PixelWindow], halo_px: int) -> list[Values]:
        """
        Return the probabilities (class, row, column) in the core of each window.

        Windows of one size are taken together. When memory runs out fewer are, down to one, which then is parted: with halos
        of their own the parts give the same map.
        """
        results: list[Values] = []
        left = list(windows)
        while left:
            some = _alike(left, self.at_once)
            trouble = ""
            try:
                found = self._cores(some)
            except (RuntimeError, MemoryError) as error:
                trouble = _trouble(error)
            # outside of the handler, so that nothing holds on to what was worked out
            if not trouble:
                results += found
                del left[: len(some)]
                continue
            self.compute.forget()
            if len(some) > 1:
                self.at_once = len(some) // 2
                self.progress.message(f"Memory ran out ({trouble}). Windows are now mapped {self.at_once} at a time.")
                continue
            halves = _halves(some[0], halo_px, int(self.net.stride))  # type: ignore[arg-type]
            if not halves:
                self._leave_device(trouble)
                continue
            self.progress.message(f"Memory ran out ({trouble}). A window is mapped in two parts.")
            along = 1 if halves[0].reading.core.width == some[0].reading.core.width else 2
            results.append(np.concatenate(self.probabilities(halves, halo_px), axis=along))
            del left[0]
        return results

    def _cores(self, windows: Sequence[PixelWindow]) -> list[Values]:
        values = windows[0].values[None] if len(windows) == 1 else np.stack([window.values for window in windows])
        cores = [Part.of_core(reading.core.from_origin(reading.outer).slices) for reading, _ in windows]
        all_of_them = functools.reduce(Part.joined, cores)
        whole = Part(0, values.shape[2], 0, values.shape[3])
        results = []
        for logits, core in zip(self._run(values, all_of_them.within(whole)), cores):
            rows, columns = core.within(all_of_them)
            results.append(_softmax(logits[:, rows, columns]).numpy())
        return results

    def _run(self, values: Values, core: Core | None = None) -> Tensor:
        """Return logits of windows, or of their core."""
        given = torch.from_numpy(values).to(self.compute.device)
        if self.compute.device.type == "cpu":
            return self._logits_of(given, core)
        with self.compute.precision():
            logits = self._logits_of(given, core)
        return logits.float()

    def _logits_of(self, given: Tensor, core: Core | None) -> Tensor:
        logits: Tensor = self.net(given) if core is None else logits_of_core(self.net, given, core)
        return logits

    def _leave_device(self, trouble: str) -> None:
        """Go on with the processor, which mostly has more memory."""
        if self.compute.device.type == "cpu":
            raise GeoDLError(
                f"There is not even memory for the smallest window ({trouble}). Close other programs, or map with a model of "
                "smaller WIDTHS."
            )
        self.progress.warning(
            f"The graphics card has no memory for the smallest window ({trouble}). The processor goes on."
        )
        self.compute = Compute(torch.device("cpu"), self.compute.low)
        self.net, self.at_once = self._given, 1


@contextlib.contextmanager
def share_of_cores(lanes: int) -> Iterator[None]:
    """Let what is worked out use one lane's share of the cores and no more."""
    cores = torch.get_num_threads()
    torch.set_num_threads(max(cores // lanes, 1))
    try:
        yield
    finally:
        torch.set_num_threads(cores)


def compute_for_maps(net: nn.Module, fast: bool) -> Compute:
    """Return the best device for a net, and bfloat16 if it is allowed and there."""
    if not _has_movable(net):
        return Compute(torch.device("cpu"))
    device, has_low = best_device()
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return Compute(device, torch.bfloat16 if fast and has_low else None)


def on_device(net: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a net on a device, but for parts that only processors run; on the processor the net itself."""
    if device.type == "cpu":
        return net
    copied = copy.deepcopy(net)
    for module in _movable(copied):
        module._apply(lambda tensor: tensor.to(device), recurse=False)
    return copied


def _movable(net: nn.Module) -> list[nn.Module]:
    """Return a net and its parts, without those that are forests, ONNX Runtime's or other such, and their parts."""
    if getattr(net, "processor_only", False):
        return []
    return [net] + [module for child in net.children() for module in _movable(child)]


def _has_movable(net: nn.Module) -> bool:
    return any(True for module in _movable(net) for _ in module.parameters(recurse=False))


def _softmax(logits: Tensor) -> Tensor:
    """Return probabilities (class, row, column) in the main memory; a processor makes them strip by strip, without copies."""
    if logits.device.type != "cpu":
        return torch.softmax(logits.float(), dim=0).cpu()
    result = torch.empty(logits.shape)
    for top in range(0, logits.shape[1], _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        result[:, strip] = torch.softmax(logits[:, strip].float(), dim=0)
    return result


def _alike(windows: Sequence[PixelWindow], most: int) -> Sequence[PixelWindow]:
    """Return the first windows, as long as they are of one size."""
    shape, count = windows[0].values.shape, 1
    while count < min(most, len(windows)) and windows[count].values.shape == shape:
        count += 1
    return windows[:count]


def _halves(window: PixelWindow, halo_px: int, stride: int) -> list[PixelWindow]:
    """Return two windows whose cores make up that of the one given; none where they would be no smaller."""
    (outer, core), values = window
    tall = core.height >= core.width
    start, length = (core.row, core.height) if tall else (core.column, core.width)
    middle = up_to_multiple(start + length // 2, stride)
    if not start < middle < start + length:
        return []
    parts = []
    for first, last in ((start, middle), (middle, start + length)):
        part = (
            Window(first, core.column, last - first, core.width)
            if tall
            else Window(core.row, first, core.height, last - first)
        )
        read = _aligned(part, stride, up_to_multiple(halo_px, stride)).shared(outer)
        rows, columns = read.from_origin(outer).slices
        parts.append(PixelWindow(Reading(read, part), np.ascontiguousarray(values[:, rows, columns])))
    if any(part.values.size >= values.size for part in parts):
        return []
    return parts


def _aligned(core: Window, stride: int, halo: int) -> Window:
    row, column = core.row // stride * stride - halo, core.column // stride * stride - halo
    bottom = up_to_multiple(core.row + core.height, stride) + halo
    right = up_to_multiple(core.column + core.width, stride) + halo
    return Window(row, column, bottom - row, right - column)


def _trouble(error: BaseException) -> str:
    """Return what an error says of memory; any other is raised again."""
    if not is_out_of_memory(error):
        raise error
    return str(error).partition("\n")[0][:200] or type(error).__name__
