"""Matrices as the last two axes of a node: what rules of kernels are made of."""

from __future__ import annotations

import sympy

from gradgen.ir.functions import eq, select
from gradgen.ir.guards import GE, Condition
from gradgen.ir.nodes import Compute, Node, Read, identity_read
from gradgen.ir.symbols import axes, axis, placeholder

A0, A1, A2 = (placeholder(k) for k in range(3))


def turned(a: Node) -> Node:
    i = axes(a.ndim)
    shape = (*a.shape[:-2], a.shape[-1], a.shape[-2])
    return Compute(shape, A0, [Read(a, (*i[:-2], i[-1], i[-2]))], a.dtype)


def mapped(body: sympy.Expr, *operands: Node) -> Node:
    """Element by element; an operand without matrix axes counts for all of its matrix."""
    shape = max((n.shape for n in operands), key=len)
    return Compute(shape, body, [Read(n, axes(n.ndim)) for n in operands], operands[0].dtype)


def negative(a: Node) -> Node:
    return mapped(-A0, a)


def total_of(*terms: Node | None) -> Node | None:
    found = [t for t in terms if t is not None]
    return mapped(sympy.Add(*(placeholder(k) for k in range(len(found)))), *found) if found else None


def triangle(a: Node, upper: bool, strict: bool = False) -> Node:
    """One triangle, zeros elsewhere."""
    i, j = axis(a.ndim - 2), axis(a.ndim - 1)
    inside = (j - i if upper else i - j) - (1 if strict else 0)
    return Compute(a.shape, A0, [Read(a, axes(a.ndim), (Condition(GE, inside),))], a.dtype)


def diagonal_of(a: Node, scalar: Node) -> Node:
    """scalar * I for every matrix of a."""
    i, j = axis(a.ndim - 2), axis(a.ndim - 1)
    on = (Condition(GE, i - j), Condition(GE, j - i))
    return Compute(a.shape, A0, [Read(scalar, axes(a.ndim - 2), on)], a.dtype)


def on_diagonal(a: Node, body: sympy.Expr) -> Node:
    """`body` of the elements on the diagonal, the others as they are."""
    i, j = axis(a.ndim - 2), axis(a.ndim - 1)
    return Compute(a.shape, select(eq(i, j), body, A0), [identity_read(a)], a.dtype)


def unit_lower(packed: Node) -> Node:
    return on_diagonal(triangle(packed, False), sympy.Integer(1))
