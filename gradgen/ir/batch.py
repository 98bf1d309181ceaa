"""Batching: a graph for one example becomes a graph for many, every dependent node with one axis more in front.

The index form is closed under it: axis k becomes axis k + 1, reads of batched nodes get the batch axis as their first
index, reads of others stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

import sympy

from gradgen.ir.graph import Graph, topological_until
from gradgen.ir.kernels import Pullback, given
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.symbols import Extent, axes, axis, placeholder


@cache
def _shift(n: int) -> dict[sympy.Expr, sympy.Expr]:
    return {axis(k): axis(k + 1) for k in range(n)}


@lru_cache(maxsize=16384)
def _moved(expr: sympy.Expr, n: int) -> sympy.Expr:
    return expr.xreplace(_shift(n))


def batched(outputs: Iterable[Node], batch: Mapping[Node, Node], size: Extent) -> dict[Node, Node]:
    """Maps every node above `batch` to its batched form; nodes that do not depend on a batched one are left out.

    `batch` maps nodes to nodes of shape (size, *shape).
    """
    new: dict[Node, Node] = dict(batch)
    for node in topological_until(tuple(outputs), set(batch)):
        if node in new or not any(s in new for s in node.sources):
            continue
        match node:
            case Compute():
                n = node.ndim
                new[node] = Compute(
                    (size, *node.shape), _moved(node.body, n), _reads(node.reads, new, n), node.dtype,
                    reduce_shape=node.reduce_shape, reducer=node.reducer,
                )
            case Scatter():
                new[node] = _scatter(node, new, size)
            case Scan():
                new[node] = _scan(node, new, size)
            case Kernel(name="given"):
                value = new[node.operands[0]] if node.operands[0] in new else repeated(node.operands[0], size)
                new[node] = given(value, [new[n] for n in node.operands if n in new],
                                  Pullback(None, why="an autograd.Function under vmap has no derivative"))
            case Kernel():  # kernels run along all leading axes
                operands = [new[n] if n in new else repeated(n, size) for n in node.operands]
                new[node] = Kernel(node.name, operands, node.attributes, (size, *node.shape), node.dtype, node.output)
            case Input() | Constant():
                raise ValueError(f"{node!r} has no batched form")
    return new


def _reads(reads: Iterable[Read], new: Mapping[Node, Node], n: int) -> list[Read]:
    result = []
    for read in reads:
        index = [_moved(e, n) for e in read.index]
        guard = tuple(c.substitute(_shift(n)) for c in read.guard)
        if read.source in new:
            result.append(Read(new[read.source], (axis(0), *index), guard, read.fill))
        else:
            result.append(Read(read.source, index, guard, read.fill))
    return result


def _scatter(node: Scatter, new: Mapping[Node, Node], size: Extent) -> Scatter:
    n = len(node.update_shape)
    base = node.base
    if base is not None:
        base = new[base] if base in new else repeated(base, size)
    return Scatter(
        (size, *node.shape), base, (size, *node.update_shape), (axis(0), *(_moved(e, n) for e in node.index)),
        _moved(node.body, n), _reads(node.reads, new, n), node.dtype, mode=node.mode,
        guard=tuple(c.substitute(_shift(n)) for c in node.guard),
    )


def repeated(node: Node, size: Extent) -> Node:
    """The node `size` times along a new first axis."""
    return Compute((size, *node.shape), placeholder(0), [Read(node, axes(node.ndim + 1)[1:])], node.dtype)


def moved_axis(node: Node, start: int, end: int) -> Node:
    """The node with axis `start` at position `end`, the others in order."""
    if start == end:
        return node
    order = [k for k in range(node.ndim) if k != start]
    order.insert(end, start)
    i = axes(node.ndim)
    index = [i[order.index(k)] for k in range(node.ndim)]
    return Compute([node.shape[k] for k in order], placeholder(0), [Read(node, index)], node.dtype)


def swapped(node: Node) -> Node:
    """The first two axes exchanged."""
    shape = (node.shape[1], node.shape[0], *node.shape[2:])
    i = axes(node.ndim)
    return Compute(shape, placeholder(0), [Read(node, (i[1], i[0], *i[2:]))], node.dtype)


def _scan(node: Scan, new: Mapping[Node, Node], size: Extent) -> Node:
    """All carries and all batched sequences and constants get the axis; sequences keep their length in front."""
    carries, sequences = len(node.init), len(node.sequences)
    inputs = node.step.inputs
    first_constant = len(inputs) - len(node.constants)
    mapping: dict[Node, Node] = {}
    for k, inner in enumerate(inputs):
        outer = (node.sequences[k - carries] if carries <= k < carries + sequences
                 else node.constants[k - first_constant] if k >= first_constant else None)
        if k < carries or (outer is not None and outer in new):
            mapping[inner] = Input(f"{inner.name}_b", (size, *inner.shape), inner.dtype, inner.requires_grad)
    made = batched(node.step.outputs, mapping, size)
    outs = tuple(made[o] if o in made else repeated(o, size) for o in node.step.outputs)
    step = Graph(tuple(mapping.get(i, i) for i in inputs), outs, node.step.output_names, node.step.where)  # type: ignore[misc]
    init = [new[n] if n in new else repeated(n, size) for n in node.init]
    rows = [swapped(new[n]) if n in new else n for n in node.sequences]
    constants = [new.get(n, n) for n in node.constants]
    result = Scan(step, init, rows, constants, node.length, node.output, node.reverse)
    return result if node.output < carries else swapped(result)
