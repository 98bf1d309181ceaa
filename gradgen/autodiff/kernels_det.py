"""Derivatives of the determinant, which is a polynomial: every one exists, of singular matrices too.

The quick form of the first is the adjugate by LU factors; its own derivative divides by pivots.  The exact form is the
determinant of U^T (A' - A) V + S around A' = A, where A = U S V^T is held fixed: by Bird's algorithm ("A simple
division-free algorithm for computing determinants", Information Processing Letters 111, 2011), whose sums on a diagonal
matrix of singular values have no minus, so nothing cancels.  It is differentiated like any other graph, to any order, and
computed only for derivatives of derivatives.  n matrix products instead of one: O(n^4).
"""

from __future__ import annotations

import sympy

from gradgen.ir.functions import lt, select, stop
from gradgen.ir.graph import Graph
from gradgen.ir.guards import EQ, GE, Condition
from gradgen.ir.kernels import call
from gradgen.ir.nodes import Compute, Input, Node, Read, Scan, identity_read, map_node
from gradgen.ir.symbols import axes, axis, placeholder, reduce_axis

A0, A1, A2 = (placeholder(k) for k in range(3))
DIRECT = 3
"""Rows up to which the polynomial of the elements themselves is taken: no larger than its own rounding."""


def polynomial(a: Node) -> Node:
    """det(a) of [..., n, n], written so that derivatives of every order are right."""
    n = a.shape[-1]
    if isinstance(n, int) and n <= DIRECT:
        return _bird(a)
    fixed = map_node(stop(A0), (a,), a.dtype)
    u, s, v = call("svd", fixed)
    both = product(u, v, right=True)
    packed, rows, exchanges = call("lu", both)
    side = call("det", both, packed, rows, exchanges)[0]
    moved = product(product(u, map_node(A0 - A1, (a, fixed), a.dtype), left=True), v)
    i = axes(a.ndim)
    near = Compute(a.shape, A0 + A1, [
        identity_read(moved), Read(s, i[:-1], (Condition(EQ, i[-1] - i[-2]),))], a.dtype)
    return map_node(select(lt(A0, 0), -A1, A1), (side, _bird(near)), a.dtype)


def product(a: Node, b: Node, *, left: bool = False, right: bool = False) -> Node:
    """A B; `left`, `right`: with that one transposed."""
    lead = axes(a.ndim - 2)
    i, j, r = axis(a.ndim - 2), axis(a.ndim - 1), reduce_axis(0)
    rows, inner = (a.shape[-1], a.shape[-2]) if left else (a.shape[-2], a.shape[-1])
    columns = b.shape[-2] if right else b.shape[-1]
    reads = [Read(a, (*lead, *((r, i) if left else (i, r)))), Read(b, (*lead, *((j, r) if right else (r, j))))]
    return Compute((*a.shape[:-2], rows, columns), A0 * A1, reads, a.dtype, reduce_shape=(inner,), reducer="sum")


def _bird(a: Node) -> Node:
    """F' = G A and G' = what is above the diagonal of -F', on it the sums of what follows on F's: det is the last F[0, 0]."""
    n, i = a.shape[-1], axes(a.ndim)
    one = Compute(a.shape, sympy.Integer(1), [], a.dtype)
    identity = Compute(a.shape, A0, [Read(one, i, (Condition(EQ, i[-1] - i[-2]),))], a.dtype)
    found = _bird_steps(a, identity)
    lead, r = axes(a.ndim - 2), reduce_axis(0)
    first = Read(found, (*lead, r, r), (Condition(EQ, r),))
    return Compute(a.shape[:-2], A0, [first], a.dtype, reduce_shape=(n,), reducer="sum")


def _bird_steps(a: Node, identity: Node) -> Node:
    """The last F."""
    n = a.shape[-1]
    if isinstance(n, int) and n <= DIRECT:
        found, g = identity, identity
        for _ in range(n):
            found, g = _bird_step(g, a)
        return found
    f, g, own = (Input(name, a.shape, a.dtype) for name in ("f", "g", "own"))
    step = Graph((f, g, own), _bird_step(g, own), ("f", "g"))
    return Scan(step, [identity, identity], [], [a], n, 0)


def _bird_step(g: Node, a: Node) -> tuple[Node, Node]:
    found = product(g, a)
    i, n = axes(a.ndim), a.shape[-1]
    r = reduce_axis(0)
    follows = Read(found, (*i[:-2], r, r), (Condition(GE, r - i[-2] - 1),))
    tail = Compute(a.shape[:-1], A0, [follows], a.dtype, reduce_shape=(n,), reducer="sum")
    reads = [Read(found, i, (Condition(GE, i[-1] - i[-2] - 1),)), Read(tail, i[:-1], (Condition(EQ, i[-1] - i[-2]),))]
    return found, Compute(a.shape, A1 - A0, reads, a.dtype)
