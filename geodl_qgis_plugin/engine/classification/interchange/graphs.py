"""
ONNX graphs from elsewhere: what is let in, and which of their outputs holds the classes.

A graph is data, but its file may point to other files, and its operators may stand for libraries. So it is parsed from bytes,
must hold all of its weights, and may use the operators of ONNX and ONNX-ML alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelFileError
from ...files import check_source
from ...rasters.optional_packages import needed_package

LARGEST_BYTES = 2**31 - 2**20
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_OLDEST_OPSET = 7  # of ONNX Runtime's promise
_PURPOSE = "ONNX files"
_INPUT_TYPES = {1: "float32", 11: "float64", 10: "float16", 2: "uint8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"}
_FLOATS = (1, 10, 11)

Side = int | None


@dataclass(frozen=True)
class Port:
    """An input or output: its name, numpy's name of its type, and its sides, None for those that are free."""

    name: str
    kind: str
    shape: tuple[Side, ...]


def read_graph(path: str | Path, what: str = "The ONNX file") -> Any:
    """
    Read and check a file.

    Raises
    ------
    SourceError, ModelFileError
        If it is missing, too large, no ONNX, or holds what is not let in.
    """
    path = check_source(path, what)
    if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        raise ModelFileError(f"{path.name} is no file of 2 GB at most. Give an ONNX file that holds its own weights.")
    return checked_graph(path.read_bytes(), path.name)


def checked_graph(data: bytes, name: str) -> Any:
    """
    Return the graph that bytes hold, as `onnx` has it.

    Raises
    ------
    ModelFileError
        If the bytes are no ONNX, point to other files, use operators that are not ONNX's own or are later than this ONNX
        Runtime knows.
    """
    onnx = needed_package("onnx", _PURPOSE, "onnx")
    if len(data) > LARGEST_BYTES:
        raise ModelFileError(f"{name} takes {len(data):,} bytes; 2 GB is the most. Give a smaller net.")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own errors, of which each version has others
        raise ModelFileError(f"{name} is no ONNX file, or was cut short. Export it again, or copy it again.") from error
    if not model.graph.node:
        raise ModelFileError(f"{name} is no ONNX file, or one without a net. Export it again.")
    _check_opsets(onnx, model, name)
    _check_operators(model, name)
    for tensor in _tensors(model):
        if onnx.external_data_helper.uses_external_data(tensor):
            raise ModelFileError(
                f"{name} keeps weights in other files ({tensor.name}), which are not opened. Put it into one piece, in "
                "Python: onnx.save(onnx.load('net.onnx'), 'whole.onnx')."
            )
    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelFileError(f"{name} is no valid ONNX file ({line[:200]}). Export it again.") from error
    return model


def only_input(model: Any, name: str) -> Port:
    """
    Return the one input that is no weight.

    Raises
    ------
    ModelFileError
        If there are several, or it takes no numbers.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelFileError(f"{name} has {len(inputs)} inputs ({names}), but a net with one input is needed.")
    port = _port(inputs[0])
    if port is None or not port.kind:
        raise ModelFileError(f"{name} takes no array of numbers. Export a net that takes the bands' values.")
    return port


def with_one_output(model: Any, name: str, wanted: str = "") -> tuple[Any, Port]:
    """
    Return a copy of a graph that gives only the scores of its classes, and that output.

    scikit-learn's classifiers give labels first and then probabilities, often as a table for each sample (ZipMap): the
    array that goes into the table is taken.

    Parameters
    ----------
    wanted : str
        Name of the output; if empty, the only one that gives floating-point numbers.

    Raises
    ------
    ModelFileError
        If no output is one, or none has that name.
    """
    onnx = needed_package("onnx", _PURPOSE, "onnx")
    copied = type(model)()
    copied.CopyFrom(model)
    graph = copied.graph
    tables = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ZipMap"}
    names = [value.name for value in graph.output]
    if wanted and wanted not in names:
        raise ModelFileError(f"{name} has no output {wanted!r}; it has {', '.join(names)}.")
    scores = {
        value.name: onnx.helper.make_tensor_value_info(tables[value.name], 1, ["sample", "class"])
        if value.name in tables
        else value
        for value in graph.output
        if value.name in tables or value.type.tensor_type.elem_type in _FLOATS
    }
    if wanted:
        scores = {one: value for one, value in scores.items() if one == wanted}
    if not scores:
        raise ModelFileError(
            f"{name} gives no scores of classes there, only {', '.join(names)}. Export a classifier that gives probabilities."
        )
    if len(scores) > 1:
        raise ModelFileError(
            f"{name} gives several arrays ({', '.join(scores)}). Name the one with the classes' scores as OUTPUT_NAME."
        )
    chosen = onnx.ValueInfoProto()
    chosen.CopyFrom(next(iter(scores.values())))
    del graph.output[:]
    graph.output.append(chosen)
    kept = [node for node in graph.node if node.op_type != "ZipMap"]
    del graph.node[:]
    graph.node.extend(kept)
    port = _port(chosen)
    return copied, port or Port(chosen.name, "float32", ())


def _port(value: Any) -> Port | None:
    if not value.type.HasField("tensor_type"):
        return None
    kind = value.type.tensor_type
    shape = tuple(side.dim_value or None for side in kind.shape.dim) if kind.HasField("shape") else ()
    return Port(value.name, _INPUT_TYPES.get(kind.elem_type, ""), shape)


def _check_opsets(onnx: Any, model: Any, name: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and not _OLDEST_OPSET <= opset.version <= newest:
            raise ModelFileError(
                f"{name} is written in version {opset.version} of ONNX's operators, but {_OLDEST_OPSET} to {newest} are known "
                f"here. Export it with opset {min(newest, 17)}."
            )


def _check_operators(model: Any, name: str) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    strange = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in _nodes(model)
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in own
        }
    )
    if strange:
        raise ModelFileError(
            f"{name} uses operators that are not ONNX's own ({', '.join(strange[:5])}). Export it with standard operators only."
        )


def _nodes(model: Any) -> Iterator[Any]:
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting.extend(graph.node)


def _tensors(model: Any) -> Iterator[Any]:
    graphs = [model.graph]
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield sparse.values
                yield sparse.indices
            graphs += [attribute.g, *attribute.graphs]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
