"""Dense Jacobians and Hessians, and products with them, as graphs.

A Jacobian row is a vector-Jacobian product with a unit seed; all rows at once are the batched product, the seed a delta.
Sums over deltas collapse in `simplify`, so that what is structurally diagonal costs what its diagonal costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from gradgen.autodiff.forward import tangents
from gradgen.autodiff.reverse import gradients
from gradgen.ir.batch import batched, repeated
from gradgen.ir.dtypes import DType
from gradgen.ir.guards import EQ, Condition
from gradgen.ir.indexing import linearise, product, reshape_index
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.symbols import Extent, axes, placeholder


def unit_seeds(shape: Sequence[Extent], dtype: DType) -> Node:
    """[size, *shape]: slice k is 1 at the k-th element (row-major) and 0 elsewhere."""
    size = product(tuple(shape))
    index = axes(len(shape) + 1)
    offset = linearise(index[1:], shape)
    one = Read(Constant(1, dtype), (), (Condition(EQ, sympy.expand(offset - index[0])),), 0)
    return Compute((size, *shape), placeholder(0), [one], dtype)


def reshaped(node: Node, shape: tuple[Extent, ...]) -> Node:
    """The node in another shape of as many elements."""
    index = reshape_index(axes(len(shape)), shape, node.shape)
    return Compute(shape, placeholder(0), [Read(node, index)], node.dtype)


def jacobian(output: Node, wrt: Sequence[Node], mode: str = "reverse") -> list[Node]:
    """For each of `wrt` the array [*output.shape, *wrt.shape] of d output / d wrt; a structural zero is zeros.

    `mode` "reverse" takes one product per element of the output, "forward" one per element of the argument.
    """
    return _forward(output, wrt) if mode == "forward" else _reverse(output, wrt)


def _reverse(output: Node, wrt: Sequence[Node]) -> list[Node]:
    seed = Input("__seed", output.shape, output.dtype)
    found = gradients([output], [seed], wrt)
    size = product(output.shape)
    rows = batched([g for g in found if g is not None], {seed: unit_seeds(output.shape, output.dtype)}, size)
    return [_shaped(rows.get(g) if g is not None else None, output, w, size) for g, w in zip(found, wrt)]


def _shaped(rows: Node | None, output: Node, wrt: Node, size: Extent) -> Node:
    if rows is None:
        rows = repeated(Compute(wrt.shape, sympy.Integer(0), [], wrt.dtype), size)
    return reshaped(rows, (*output.shape, *wrt.shape))


def _forward(output: Node, wrt: Sequence[Node]) -> list[Node]:
    result: list[Node] = []
    for w in wrt:
        seed = Input("__seed", w.shape, w.dtype)
        found = tangents([output], {w: seed})[0]
        size = product(w.shape)
        zero = Compute((size, *output.shape), sympy.Integer(0), [], output.dtype)
        columns = zero if found is None else batched([found], {seed: unit_seeds(w.shape, w.dtype)}, size)[found]
        n, m = len(output.shape), len(w.shape)
        offset = linearise(axes(n + m)[n:], w.shape)
        read = Read(columns, (offset, *axes(n + m)[:n]))
        result.append(Compute((*output.shape, *w.shape), placeholder(0), [read], output.dtype))
    return result


def hessian(output: Node, wrt: Sequence[Node]) -> list[list[Node]]:
    """Second derivatives of a scalar: entry [a][b] is the array [*a.shape, *b.shape]; forward over reverse."""
    one = Constant(1, output.dtype)
    first = gradients([output], [one], wrt)
    rows = []
    for g, a in zip(first, wrt):
        zeros = Compute(a.shape, sympy.Integer(0), [], a.dtype)
        rows.append(_forward(g if g is not None else zeros, wrt))
    return rows


def hvp(output: Node, wrt: Sequence[Node], directions: Mapping[Node, Node]) -> list[Node | None]:
    """The product of a scalar's Hessian with `directions`: forward over reverse, the cost of a few gradients."""
    first = gradients([output], [Constant(1, output.dtype)], wrt)
    moved = tangents([g for g in first if g is not None], directions)
    rest = iter(moved)
    return [next(rest) if g is not None else None for g in first]
