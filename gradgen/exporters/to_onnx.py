"""Programs as ONNX models: the forward graph, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.exporters.onnx_nodes import Lowering, dims_of, value_info
from gradgen.exporters.onnx_writer import Writer, package
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import INDEX
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Input, Node
from gradgen.ir.symbols import Dim
from gradgen.record.traced import TracedFunction

__all__ = ["to_onnx"]

OPSET = 18
"""The first whose ScatterElements has minima and maxima."""
MOST = 2**31 - 2**20
"""Bytes of a protobuf message, and room for all but weights: larger ones go into a file beside the model."""


def to_onnx(program: TracedFunction, path: str | Path | None = None, values: Mapping[str, Any] | None = None) -> Any:
    """The forward graph of a program as an ONNX model, an `onnx.ModelProto`; needs the package `onnx`.

    Inputs, outputs and open dimensions have the names that they have in the program.  Parameters and buffers
    (`program.names`) are initialisers by their paths in the model ("layers.0.weight"), with the values of `program.state`.
    Every operation of the graph becomes ONNX operators of opset 18, with the user's line as documentation; sums of products
    are MatMul, Einsum or Conv, loops are Scan.

    Args:
        program: what `gg.trace`, `gg.from_onnx` and their like return.  Its gradients are not part of the model.
        path: where the model is written, if anywhere; with more than 2 GB of weights those lie beside it.
        values: initialisers by path, or by the name of an argument: trained weights (`module.state_dict()`).  What is not
            among them is as in `program.state`.

    Raises UnsupportedOperationError, naming all operations that ONNX has no words for and the user's lines: random numbers,
    factorisations of matrices, some special functions; GradgenError for values that do not fit.
    """
    onnx = package()
    graph = program.graph
    weights = _weights(program, values or {})
    tensors: dict[Node, str] = {}
    writer = Writer()
    paths = {c: path for path, c in program.names.items()}
    for node in graph.inputs:
        if node is not STATE:
            tensors[node] = writer.name(paths.get(node.name, node.name))
    writer.dims = dims_of([n for n in graph.inputs if n in tensors], tensors)
    extra = _unknown_dims(graph, writer)
    for node, array in weights.items():
        writer.initialisers.append(onnx.numpy_helper.from_array(array, tensors[node]))
    names = [writer.name(n) for n in graph.output_names]
    missing: dict[str, None] = {}
    Lowering(writer, tensors, graph.where, missing).run(graph.outputs)
    if missing:
        raise UnsupportedOperationError(
            f"{program.name} has operations that ONNX has no words for:\n  " + "\n  ".join(missing))
    for node, name in zip(graph.outputs, names):
        writer.nodes.append(onnx.helper.make_node("Identity", [tensors[node]], [name], name=name))
    nodes, initialisers = _used(writer, names)
    inputs = [value_info(tensors[n], n) for n in graph.inputs if n in tensors and n not in weights]
    made = onnx.helper.make_graph(nodes, program.name, [*inputs, *extra], [
        value_info(name, n) for name, n in zip(names, graph.outputs)], initialisers)
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opsets, producer_name="gradgen",
                                   ir_version=onnx.helper.find_min_ir_version_for(opsets))
    if path is not None:
        _write(model, Path(path), sum(a.nbytes for a in weights.values()))
    return model


def _used(writer: Writer, outputs: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """The nodes and initialisers that outputs depend on."""
    wanted, nodes = set(outputs), []
    for node in reversed(writer.nodes):
        if any(name in wanted for name in node.output):
            nodes.append(node)
            wanted |= set(_mentioned(node))
    return nodes[::-1], [i for i in writer.initialisers if i.name in wanted]


def _mentioned(node: Any) -> Iterator[str]:
    """The names of a node's inputs, those in graphs inside of it too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():
            yield from _mentioned(inner)


def _weights(program: TracedFunction, values: Mapping[str, Any]) -> dict[Node, np.ndarray]:
    """The arrays of the inputs that are initialisers."""
    own = {path: n for n in program.graph.inputs for path, c in program.names.items() if c == n.name}
    first = {**{path: program.aliases.get(path, path) for path in program.aliases}, **{p: p for p in own}}
    plain = {n.name: n for n in program.graph.inputs if n is not STATE}
    found = {n: np.asarray(program.state[path]) for path, n in own.items()}
    for name, value in values.items():
        node = own.get(first.get(name, "")) or plain.get(name)
        if node is None:
            if name in program.state:  # of a model, but not of this program
                continue
            raise GradgenError(f"{program.name} has no parameter and no argument {name!r}",
                               hint=f"it has {', '.join(list({**own, **plain})[:20])}")
        found[node] = _fitting(name, node, np.asarray(value))
    return found


def _fitting(name: str, node: Input, value: np.ndarray) -> np.ndarray:
    known = [e if isinstance(e, int) else None for e in node.shape]
    if len(known) != value.ndim or any(e is not None and e != n for e, n in zip(known, value.shape)):
        raise GradgenError(f"the value of {name!r} has shape {list(value.shape)}, the program {list(node.shape)}")
    if not np.can_cast(value.dtype, node.dtype.numpy, "same_kind"):
        raise GradgenError(f"the value of {name!r} is {value.dtype.name}, the program's {node.dtype.name}")
    return value.astype(node.dtype.numpy)


def _unknown_dims(graph: Graph, writer: Writer) -> list[Any]:
    """Inputs for dimensions that no other input has, as the C functions take them too."""
    used = {s for n in graph.nodes for e in n.shape if not isinstance(e, int) for s in e.free_symbols if isinstance(s, Dim)}
    found = []
    for symbol in sorted(used - set(writer.dims), key=str):
        node = Input(symbol.name, (), INDEX)
        writer.dims[symbol] = writer.name(symbol.name), None
        found.append(value_info(symbol.name, node))
    return found


def _write(model: Any, path: Path, size: int) -> None:
    onnx = package()
    try:
        onnx.save(model, str(path), save_as_external_data=size > MOST, location=f"{path.name}.data")
    except OSError as error:
        raise GradgenError(f"the model cannot be written: {error}", where=str(path)) from None
