"""Forward mode: the Jacobian-vector product as a graph, the same partials with the arrow turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from gradgen.autodiff import kernels, scattered
from gradgen.autodiff.products import product_partials
from gradgen.autodiff.reverse import expanded
from gradgen.autodiff.scan import tangent_scan
from gradgen.autodiff.terms import compute, partial
from gradgen.ir.functions import NoDerivative, div, eq, scaled, select
from gradgen.ir.graph import topological
from gradgen.ir.nodes import Compute, Kernel, Node, Read, Scan, Scatter, identity_read
from gradgen.ir.symbols import OUTPUT, axes, is_nothing, placeholder, reduce_axes


def tangents(outputs: Sequence[Node], seeds: Mapping[Node, Node]) -> list[Node | None]:
    """For each output the node sum_x d output / d x * seeds[x]; None where it is a structural zero.

    `seeds` maps nodes (inputs, usually) to tangents of the same shape and dtype.
    """
    dot: dict[Node, Node] = dict(seeds)
    for node in topological(outputs):
        if node in dot or not node.dtype.is_floating_point or not any(s in dot for s in node.sources):
            continue
        found = _push(node, dot)
        if found is not None:
            dot[node] = found
    return [dot.get(n) for n in outputs]


def _push(node: Node, dot: Mapping[Node, Node]) -> Node | None:
    match node:
        case Compute(reducer=None | "sum"):
            return _compute(node, dot)
        case Compute(reducer="max" | "min"):
            return _extremum(node, dot)
        case Compute(reducer="prod"):
            return _product(node, dot)
        case Scatter(mode="add" | "set"):
            return _scatter(node, dot)
        case Scatter():
            return scattered.tangent(node, dot, _compute(scattered.updates(node), dot))
        case Scan():
            return tangent_scan(node, dot)
        case Kernel():
            return kernels.push(node, dot)
    raise NoDerivative(f"gradgen has no forward-mode derivative of {node!r}")


def _linear(node: Compute | Scatter, dot: Mapping[Node, Node], pointwise: bool) -> tuple[sympy.Expr, list[Read]] | None:
    """sum_k tangent_k * d body / d a_k with the reads it needs."""
    reads = list(node.reads)
    total: sympy.Expr = sympy.Integer(0)
    for k, read in enumerate(node.reads):
        if read.source in dot:
            rule = partial(node.body, k, pointwise)
            if rule == 0:
                continue
            total = total + scaled(placeholder(len(reads)), rule)
            reads.append(Read(dot[read.source], read.index, read.guard, read.fill if is_nothing(read.fill) else 0))
    if total == 0:
        return None
    if OUTPUT in total.free_symbols:
        total = total.xreplace({OUTPUT: placeholder(len(reads))})
        reads.append(identity_read(node))
    return total, reads


def _compute(node: Compute, dot: Mapping[Node, Node]) -> Node | None:
    found = _linear(node, dot, not node.reduce_shape)
    if found is None:
        return None
    return compute(node.shape, *found, node.dtype, node.reduce_shape, node.reducer)


def _extremum(node: Compute, dot: Mapping[Node, Node]) -> Node | None:
    values = expanded(node)
    moved = _compute(values, dot)
    if moved is None:
        return None
    n, m = len(node.shape), len(node.reduce_shape)
    inner = (*axes(n), *reduce_axes(m))
    a0, a1, a2 = (placeholder(k) for k in range(3))
    reads = [Read(values, inner), identity_read(node)]
    count = Compute(node.shape, select(eq(a0, a1), 1, 0), reads, node.dtype, reduce_shape=node.reduce_shape, reducer="sum")
    total = Compute(node.shape, select(eq(a0, a1), a2, 0), [*reads, Read(moved, inner)], node.dtype,
                    reduce_shape=node.reduce_shape, reducer="sum")
    return Compute(node.shape, div(a0, a1), [identity_read(total), identity_read(count)], node.dtype)


def _product(node: Compute, dot: Mapping[Node, Node]) -> Node | None:
    """Through the gradient of the product, which is zero-aware."""
    values = expanded(node)
    moved = _compute(values, dot)
    if moved is None:
        return None
    n, m = len(node.shape), len(node.reduce_shape)
    inner = (*axes(n), *reduce_axes(m))
    others = product_partials(node, values)
    return Compute(
        node.shape, placeholder(0) * placeholder(1), [Read(others, inner), Read(moved, inner)], node.dtype,
        reduce_shape=node.reduce_shape, reducer="sum",
    )


def _scatter(node: Scatter, dot: Mapping[Node, Node]) -> Node | None:
    found = _linear(node, dot, False)
    base = dot.get(node.base) if node.base is not None else None
    if found is None and base is None:
        return None
    body, reads = found or (sympy.Integer(0), list(node.reads))
    return Scatter(
        node.shape, base, node.update_shape, node.index, body, reads, node.dtype, mode=node.mode, guard=node.guard
    )
