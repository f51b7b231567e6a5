"""
What a strange net does, found by trying it: which steps windows may begin at, how far it looks, what it gives.

How far a net looks is tried twice, and the larger answer taken. In the first trial its weights are made positive and its
activations let everything through, so that nothing cancels and nothing is too faint: one line is lit, and what lights up has
seen it. In the second it keeps its weights, and one line of random values is changed a lot: gates and normalisations that look
at the whole window show themselves there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ModelFileError
from ...rasters.optional_packages import needed_package

Array = npt.NDArray[Any]
Run = Callable[[Array], Array]

LONGEST_STRIDE = 64
_SIDES = (192, 384, 768)
_CHANGES = (30.0, -3000.0)
_SAME = 1e-4  # of the scores' spread
_PASSING = {
    *(
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Softplus",
        "Softsign",
    ),
    *(
        "Tanh",
        "Gelu",
        "Mish",
        "Swish",
        "Clip",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Abs",
        "Softmax",
        "LogSoftmax",
        "Pow",
    ),
    *("ThresholdedRelu", "Dropout"),
}
_SUMMED = {"Sub", "Mul", "Div", "Max", "Min", "Mean"}


def stride_of(run: Run, bands: int, window_px: int) -> int | None:
    """
    Return the smallest step by which a shifted input gives the same scores, shifted; None if there is none up to 64.

    Parameters
    ----------
    run : callable
        Takes (1, band, row, column) and returns (1, class, row, column).
    window_px : int
        Side of the only window that the net takes; 0 for any.
    """
    random = np.random.default_rng(0)
    steps = sorted(range(1, LONGEST_STRIDE + 1), key=lambda step: (step & (step - 1) != 0, step))
    for side in (window_px,) if window_px else _SIDES:
        field = _rough(random, bands, side + LONGEST_STRIDE)
        first = run(field[:, :, :side, :side])
        spread = float(first.std()) or 1.0
        for step in steps:
            middle = side // 2 // step * step
            reach = max(min(8, side // 4), 1)
            if side % step or middle + step + reach > side:
                continue
            moved = run(field[:, :, step : side + step, step : side + step])
            here = first[:, :, middle : middle + reach, middle : middle + reach]
            there = moved[:, :, middle - step : middle - step + reach, middle - step : middle - step + reach]
            if here.shape == there.shape and float(np.abs(here - there).max()) <= _SAME * spread:
                return step
    return None


def reach_of(run: Run, bands: int, stride: int, window_px: int, *, lit: bool) -> int | None:
    """
    Return how far beyond a pixel a net looks; None if it looks at all of a window of 768 pixels, or of its own size.

    Parameters
    ----------
    lit : bool
        Whether the net's weights are all positive: a line is lit on a dark ground; else a line of random values is changed.
    """
    for side in (window_px,) if window_px else _SIDES:
        length = side // stride * stride if not window_px else side
        farthest = 0
        for along in (2, 3):
            farthest = max(farthest, _farthest(run, bands, stride, length, along, lit, bool(window_px)))
        if farthest < length // 2 - stride:
            return farthest
    return None


def _farthest(run: Run, bands: int, stride: int, length: int, along: int, lit: bool, square: bool) -> int:
    random, middle, farthest = np.random.default_rng(1), length // 2 // stride * stride, 0
    across = length if square else max(64 // stride, 1) * stride
    shape = (1, bands, length, across) if along == 2 else (1, bands, across, length)
    ground = np.zeros(shape, np.float32) if lit else _rough(random, bands, max(shape))[:, :, : shape[2], : shape[3]]
    before = run(ground)
    for offset in range(stride):
        for change in (1.0,) if lit else _CHANGES:
            values = ground.copy()
            line = [slice(None)] * 4
            line[along] = slice(middle + offset, middle + offset + 1)
            values[tuple(line)] += np.float32(change)
            changed = (run(values) != before)[0].any(axis=0).any(axis=1 if along == 2 else 0)
            places = np.flatnonzero(changed)
            if places.size:
                farthest = max(farthest, int(places[-1]) - middle - offset, middle + offset - int(places[0]))
    return farthest


def gives_probabilities(scores: Array) -> bool:
    """Whether scores (sample, class, …) are probabilities: from 0 to 1, and of several classes adding up to 1."""
    if float(scores.min()) < 0 or float(scores.max()) > 1 + 1e-4:
        return False
    return scores.shape[1] == 1 or float(np.abs(scores.sum(axis=1) - 1).max()) < 1e-3


def all_positive(model: Any) -> bytes | None:
    """
    Return a net with the same layers, all of whose weights are positive and whose activations pass everything on.

    None if its layers are not of the kinds that are known here.
    """
    onnx = needed_package("onnx", "ONNX files", "onnx")
    copied = type(model)()
    copied.CopyFrom(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(copied)
    except Exception:  # a graph that cannot be typed is not rewritten
        return None
    values = [*inferred.graph.value_info, *inferred.graph.output]
    floats = {value.name for value in values if value.type.tensor_type.elem_type in (1, 10, 11)}
    graph = copied.graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    fresh: list[Any] = []

    def put(node: Any, place: int, array: Array) -> None:
        name = f"geodl_probe_{len(fresh)}"
        fresh.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        node.input[place] = name

    def fill(node: Any, place: int, number: float) -> None:
        array = constants.get(node.input[place]) if place < len(node.input) else None
        if array is not None and array.dtype.kind == "f":
            put(node, place, np.full_like(array, number))

    for node in graph.node:
        kind = node.op_type
        if kind in ("Conv", "ConvTranspose"):
            weights = constants.get(node.input[1])
            if weights is None:
                return None
            fill(node, 1, 1.0 / weights[0].size)
            fill(node, 2, 0.0)
        elif kind == "BatchNormalization":
            for place, number in ((1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)):
                fill(node, place, number)
        elif kind in ("MatMul", "Gemm"):
            for place, number in ((0, 1.0), (1, 1.0), (2, 0.0)):
                array = constants.get(node.input[place]) if place < len(node.input) else None
                if array is not None:
                    fill(node, place, number / max(array.shape[0], 1))
        elif not node.output or node.output[0] not in floats:
            continue
        elif kind in _PASSING:
            del node.input[1:], node.output[1:], node.attribute[:]
            node.op_type = "Identity"
        elif kind in ("Add", "Sum") or kind in _SUMMED:
            fixed = [place for place, name in enumerate(node.input) if name in constants]
            for place in fixed:
                fill(node, place, 1.0 if kind in ("Mul", "Div") else 0.0)
            if kind in _SUMMED and not (fixed and kind in ("Mul", "Div")):
                node.op_type = "Sum"
    graph.initializer.extend(fresh)
    return bytes(copied.SerializeToString())


def check_spatial(given: Array, side: int, name: str) -> None:
    """
    Raise a `ModelFileError` where a net for pixels does not give a score for each of them.

    Parameters
    ----------
    given : array (1, class, row, column)
    """
    if given.shape[2:] != (side, side):
        raise ModelFileError(
            f"{name} gives {given.shape[2]} × {given.shape[3]} scores for a window of {side} × {side} pixels. A net for pixels "
            "must give one for each: put an upsampling layer at its end."
        )


def _rough(random: np.random.Generator, bands: int, side: int) -> Array:
    """Return random values, a few of them large: nets that scale by themselves see enough of either."""
    values = random.normal(size=(1, bands, side, side))
    rough: Array = (values * np.where(random.random(values.shape) < 0.5, 1.0, 100.0)).astype(np.float32)
    return rough
