"""Derivatives of the singular value decomposition A = U S V^T of m >= n rows (Townsend, "Differentiating the singular value
decomposition", 2016).  With F_ij = 1 / (s_j^2 - s_i^2) off the diagonal and D = U^T A' V:
s' = diag D, U' = U (F o (D S + S D^T)) + (I - U U^T) A' V S^-1, V' = V (F o (S D + D^T S)).
Singular values that are equal or 0 have no derivative of their vectors: the result is infinite or nan there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy

from gradgen.autodiff.kernels_det import product
from gradgen.autodiff.matrices import (
    A0,
    A1,
    A2,
    mapped,
    negative,
    total_of,
    turned,
)
from gradgen.ir.functions import div, eq, select
from gradgen.ir.kernels import call
from gradgen.ir.nodes import Compute, Kernel, Node, Read
from gradgen.ir.symbols import axes, axis, placeholder

Terms = list[tuple[int, Node]]


def _parts(node: Kernel) -> tuple[Node, Node, Node]:
    u, s, v = call("svd", *node.operands)
    return u, s, v


def _columns(a: Node, s: Node, body: sympy.Expr) -> Node:
    """`body` of the elements of `a` and the singular value of their column."""
    i = axes(a.ndim)
    return Compute(a.shape, body, [Read(a, i), Read(s, (*i[:-2], i[-1]))], a.dtype)


def _rows(a: Node, s: Node) -> Node:
    """S A."""
    i = axes(a.ndim)
    return Compute(a.shape, A0 * A1, [Read(a, i), Read(s, (*i[:-2], i[-2]))], a.dtype)


def _between(a: Node, s: Node) -> Node:
    """F o A."""
    i = axes(a.ndim)
    row, column = axis(a.ndim - 2), axis(a.ndim - 1)
    gap = (A2 - A1) * (A2 + A1)
    reads = [Read(a, i), Read(s, (*i[:-2], row)), Read(s, (*i[:-2], column))]
    return Compute(a.shape, select(eq(row, column), 0, div(A0, gap)), reads, a.dtype)


def _outside(u: Node, x: Node) -> Node:
    """(I - U U^T) X."""
    found = total_of(x, negative(product(u, product(u, x, left=True))))
    assert found is not None
    return found


def _skew(a: Node) -> Node:
    return mapped(A0 - A1, a, turned(a))


def _u_reverse(node: Kernel, g: Node) -> Terms:
    """A' = U (F o (U^T U' - U'^T U)) S V^T + (I - U U^T) U' S^-1 V^T."""
    u, s, v = _parts(node)
    inner = _columns(_between(_skew(product(u, g, left=True)), s), s, A0 * A1)
    total = total_of(product(u, inner), _outside(u, _columns(g, s, div(A0, A1))))
    assert total is not None
    return [(0, product(total, v, right=True))]


def _s_reverse(node: Kernel, g: Node) -> Terms:
    """A' = U diag(s') V^T."""
    u, _, v = _parts(node)
    return [(0, product(_columns(u, g, A0 * A1), v, right=True))]


def _v_reverse(node: Kernel, g: Node) -> Terms:
    """A' = U S (F o (V^T V' - V'^T V)) V^T."""
    u, s, v = _parts(node)
    inner = _rows(_between(_skew(product(v, g, left=True)), s), s)
    return [(0, product(product(u, inner), v, right=True))]


def _moved(u: Node, dot: Node, v: Node) -> Node:
    return product(product(u, dot, left=True), v)


def _u_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    u, s, v = _parts(node)
    d = _moved(u, dot[0], v)
    inner = _between(mapped(placeholder(0) + placeholder(1), _columns(d, s, A0 * A1), _rows(turned(d), s)), s)
    return total_of(product(u, inner), _columns(_outside(u, product(dot[0], v)), s, div(A0, A1)))


def _s_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    u, _, v = _parts(node)
    i = axes(node.ndim)
    return Compute(node.shape, A0, [Read(_moved(u, dot[0], v), (*i, i[-1]))], node.dtype)


def _v_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    u, s, v = _parts(node)
    d = _moved(u, dot[0], v)
    inner = mapped(placeholder(0) + placeholder(1), _rows(d, s), _columns(turned(d), s, A0 * A1))
    return product(v, _between(inner, s))


RULES: dict[tuple[str, int], tuple[Callable[[Kernel, Node], Terms], Callable[[Kernel, Mapping[int, Node]], Node | None]]] = {
    ("svd", 0): (_u_reverse, _u_forward),
    ("svd", 1): (_s_reverse, _s_forward),
    ("svd", 2): (_v_reverse, _v_forward),
}
