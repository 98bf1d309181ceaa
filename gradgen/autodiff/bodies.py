"""Scalar derivatives of bodies, memoised: a program has dozens of distinct bodies, not thousands."""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.ir.canonical import compact, compute, is_polynomial, placeholders_in
from gradgen.ir.functions import scaled
from gradgen.ir.nodes import Node, map_node
from gradgen.ir.symbols import COTANGENT, OUTPUT, placeholder

__all__ = ["add", "adjoint_body", "compact", "compute", "is_polynomial", "partial", "placeholders_in"]


@lru_cache(maxsize=16384)
def partial(body: sympy.Expr, k: int, pointwise: bool) -> sympy.Expr:
    """d body / d a_k; in a pointwise node the node's own value stands as OUTPUT wherever the body recurs."""
    found = sympy.diff(body, placeholder(k))
    if pointwise and body.args:
        found = found.xreplace({body: OUTPUT})
    return found


@lru_cache(maxsize=16384)
def adjoint_body(body: sympy.Expr, k: int, pointwise: bool) -> sympy.Expr:
    """COTANGENT times the partial, selections outermost."""
    return scaled(COTANGENT, partial(body, k, pointwise))


def add(a: Node | None, b: Node) -> Node:
    """a + b, or b where a is a structural zero."""
    if a is None:
        return b
    return map_node(placeholder(0) + placeholder(1), (a, b), b.dtype)

