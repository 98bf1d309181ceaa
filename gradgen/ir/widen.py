"""A graph in a wider arithmetic: float32 as float64, what finite differences and error reports compare with, or all as
NumPy's long double, what the values recorded in a self-test come from."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from gradgen.ir.dtypes import REFERENCE, DType
from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Scan, Scatter
from gradgen.ir.rewrite import with_sources

LONG = DType("longdouble", "long double", "", np.dtype(np.longdouble), 2, np.finfo(np.longdouble).nmant + 1)
"""For the interpreter alone: no tensor has it."""


def wide(dtype: DType, to: DType) -> DType:
    return to if dtype.is_floating_point and (dtype.digits < to.digits or to is LONG) else dtype


def widened(outputs: Iterable[Node], to: DType = REFERENCE) -> dict[Node, Node]:
    """Every node below `outputs` mapped to its twin in which float32 is float64; with LONG, float64 too is long."""
    new: dict[Node, Node] = {}
    for node in topological(outputs):
        match node:
            case Input():
                new[node] = Input(node.name, node.shape, wide(node.dtype, to), node.requires_grad)
            case Constant():
                new[node] = Constant(np.asarray(node.array), wide(node.dtype, REFERENCE))  # exact, whatever it meets
            case _:
                new[node] = _retyped(node, new, to)
    return new


def _retyped(node: Node, new: dict[Node, Node], to: DType) -> Node:
    made = with_sources(node, new)
    match made:
        case Compute():
            return Compute(made.shape, made.body, made.reads, wide(node.dtype, to),
                           reduce_shape=made.reduce_shape, reducer=made.reducer)
        case Scatter():
            return Scatter(made.shape, made.base, made.update_shape, made.index, made.body, made.reads,
                           wide(node.dtype, to), mode=made.mode, guard=made.guard)
        case Scan():
            return Scan(widened_graph(made.step, to), made.init, made.sequences, made.constants, made.length, made.output,
                        made.reverse)
        case Kernel():
            return Kernel(made.name, made.operands, made.attributes, made.shape,  # type: ignore[attr-defined]
                          wide(node.dtype, to), made.output)  # type: ignore[attr-defined]
    raise TypeError(f"unknown node kind {type(node).__name__}")


@lru_cache(maxsize=256)
def widened_graph(graph: Graph, to: DType = REFERENCE) -> Graph:
    """The graph over float64 inputs, names kept.  Recurrences that share a step share its twin."""
    new = widened([*graph.outputs, *graph.inputs], to)
    inputs = tuple(n for n in (new[i] for i in graph.inputs) if isinstance(n, Input))
    return Graph(inputs, tuple(new[n] for n in graph.outputs), graph.output_names)
