"""Contractions: sums of products whose axes separate, to be computed by a matrix kernel.

`c[batch, m, n] = sum_k a[batch, m, k] b[batch, n, k]` with affine indices in any order: matmul and its transposes,
batched products, einsum's two-operand cases.  The classification looks at which axes each operand mentions; strides are
taken at emission, when the layout of buffers is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.ir.symbols import Axis, Extent, ReduceAxis
from gradgen.loops.procedure import ACCUMULATE
from gradgen.schedule.cost import VECTOR_BYTES, Costs
from gradgen.schedule.inline import MAP, REDUCE, BodyTerm, Op, ReadTerm

LEAST_ROW = 64  # multiplications of one row with a matrix that are worth a call, some 20 ns (as packing counts)


@dataclass(frozen=True, slots=True)
class Contraction:
    """The role of each axis of an op that is a contraction, and its two operands."""

    a: ReadTerm
    b: ReadTerm
    batch: tuple[sympy.Symbol, ...]
    m: tuple[sympy.Symbol, ...]
    n: tuple[sympy.Symbol, ...]
    k: tuple[sympy.Symbol, ...]


def contraction(op: Op, costs: Costs, rows: bool = False) -> Contraction | None:
    """How the op is a contraction, or None where it is not one or plain loops do better.

    With `rows` the product of one row with a matrix whose rows are whole vectors counts too.
    """
    operands = _operands(op, costs)
    if operands is None:
        return None
    a, b = operands
    in_a, in_b = _linear_axes(a), _linear_axes(b)
    if in_a is None or in_b is None:
        return None
    batch, m, n = [], [], []
    for s in op.output_axes:
        if op.extent_of(s) == 1:
            continue
        if s in in_a and s in in_b:
            batch.append(s)
        elif s in in_a:
            m.append(s)
        elif s in in_b:
            n.append(s)
        else:
            return None
    k = tuple(s for s in op.reduced_axes if op.extent_of(s) != 1)
    if any(s not in in_a or s not in in_b for s in k):
        return None
    found = Contraction(a, b, tuple(batch), tuple(m), tuple(n), k)
    worth = costs.worth_a_product(*(size(op, s) for s in (found.m, found.n, found.k)))
    return found if worth or (rows and _is_row(op, found)) else None


def _is_row(op: Op, c: Contraction) -> bool:
    """One row that is all there is, times a matrix read along its rows."""
    if c.batch or len(c.k) != 1 or bool(c.m) == bool(c.n):
        return False
    read, factor, columns = (c.a, c.b, c.m) if c.m else (c.b, c.a, c.n)
    width, terms = op.extent_of(columns[-1]), op.extent_of(c.k[0])
    if read.index != (*columns[:-1], c.k[0], columns[-1]) or factor.index[-1:] != c.k or not isinstance(width, int):
        return False
    return width % (VECTOR_BYTES // op.node.dtype.itemsize) == 0 and isinstance(terms, int) and width * terms >= LEAST_ROW


def _operands(op: Op, costs: Costs) -> tuple[ReadTerm, ReadTerm] | None:
    outer = costs.target.scalar and op.kind == MAP and _is_gradient(op)
    summed = op.kind == REDUCE and getattr(op.node, "reducer", None) == "sum"
    if not (outer or summed) or not op.node.dtype.is_floating_point:
        return None
    root = op.terms[op.root]
    if not isinstance(root, BodyTerm) or [s.op for s in root.recipe.steps] != ["arg", "arg", "mul"]:
        return None
    steps = root.recipe.steps
    chosen = [op.terms[root.args[steps[k].payload]] for k in steps[2].args]  # type: ignore[call-overload]
    a, b = chosen
    if not isinstance(a, ReadTerm) or not isinstance(b, ReadTerm) or a.guard or b.guard or a is b:
        return None
    if a.dtype is not op.node.dtype or b.dtype is not op.node.dtype:
        return None
    return a, b


def _linear_axes(read: ReadTerm) -> dict[sympy.Symbol, None] | None:
    """The axes that the index mentions, where every component is linear in them with constant coefficients."""
    found: dict[sympy.Symbol, None] = {}
    for e in read.index:
        if e.is_Symbol:
            if not isinstance(e, (Axis, ReduceAxis)):
                return None
            found[e] = None
            continue
        if e.is_Integer:
            continue
        symbols = sorted((s for s in e.free_symbols if isinstance(s, (Axis, ReduceAxis))), key=lambda s: s.name)
        if len(symbols) != len(e.free_symbols):
            return None
        for s in symbols:
            slope = sympy.expand(e).coeff(s, 1)
            if not slope.is_Integer or sympy.expand(e - slope * s).has(s):
                return None
            found[s] = None
    return found


def size(op: Op, symbols: tuple[sympy.Symbol, ...]) -> Extent:
    total: Extent = 1
    for s in symbols:
        total = total * op.extent_of(s)
    return total


def _is_gradient(op: Op) -> bool:
    """Its value goes to a gradient: whether that is set or added to is decided once, not for each element."""
    return len(op.effects) == 1 and op.effects[0].mode == ACCUMULATE
