"""Common factors out of reductions: sum_r c[i] * x[i, r] is c[i] * sum_r x[i, r].

Real-number algebra (level fast): with c inf or nan, or on overflow of the sum, the results differ.
"""

from __future__ import annotations

import sympy

from gradgen.ir.canonical import compute
from gradgen.ir.functions import div
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ir.symbols import ReduceAxis, placeholder


def factor_reductions(node: Node) -> Node:
    """Factors that do not depend on the reduce axes are applied once, after the sum."""
    if not isinstance(node, Compute) or node.reducer != "sum":
        return node
    fixed = {k for k, r in enumerate(node.reads) if not _varies(r)}
    body = node.body
    denominator: sympy.Expr | None = None
    if isinstance(body, div) and _constant(body.args[1], fixed):
        body, denominator = body.args
    outside = [f for f in sympy.Mul.make_args(body) if _constant(f, fixed)]
    inside = [f for f in sympy.Mul.make_args(body) if not _constant(f, fixed)]
    if not inside or (not outside and denominator is None):
        return node
    outer = sympy.Mul(placeholder(len(node.reads)), *outside)
    if denominator is not None:
        outer = div(outer, denominator)
    total = compute(node.shape, sympy.Mul(*inside), node.reads, node.dtype, node.reduce_shape, "sum")
    return compute(node.shape, outer, [*node.reads, identity_read(total)], node.dtype)


def _varies(read: Read) -> bool:
    return any(isinstance(s, ReduceAxis) for e in read.index for s in e.free_symbols) or bool(read.guard)


def _constant(e: sympy.Expr, fixed: set[int]) -> bool:
    return all(any(s == placeholder(k) for k in fixed) for s in e.free_symbols)
