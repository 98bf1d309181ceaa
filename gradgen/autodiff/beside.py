"""Cotangents that stand side by side: what one operation took from places of which it takes none twice.

PyTorch's backward of split, unbind, sort, topk or masked_select copies, where that of several slices, or of an index, adds
to zeros; the difference is the sign of -0.0.  Such an operation says `apart` in its body, with a number of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import sympy

from gradgen.autodiff.bodies import add
from gradgen.ir.functions import apart
from gradgen.ir.guards import EQ, GE, conjunction, in_range
from gradgen.ir.nodes import Compute, Constant, Node, Read
from gradgen.ir.packed import one_of
from gradgen.ir.symbols import Axis, axis, placeholder


def operation(node: Node | None) -> sympy.Expr | None:
    """The number of the operation that reads no element twice; None for others."""
    return node.body.args[1] if isinstance(node, Compute) and isinstance(node.body, apart) else None


def side_by_side(terms: Sequence[Node]) -> Node:
    """The sum of `terms`, bit for bit where they are seen to be ranges along one axis that do not overlap."""
    if len(terms) == 1:
        return terms[0]
    parts = _in_order([_part(t) for t in terms])
    if parts is None:
        total: Node | None = None
        for t in terms:
            total = add(total, t)
        assert total is not None
        return total
    shape, dtype, d = terms[0].shape, terms[0].dtype, parts[0].axis
    reads = [p.read for p in parts]
    zero = Constant(0, dtype)
    starts, ends = [p.start for p in parts], [p.end for p in parts]
    for end, start in zip([sympy.Integer(0), *ends], [*starts, sympy.sympify(shape[d])]):
        guard = conjunction(*in_range(axis(d) - end, start - end))  # nobody took these
        if guard is not None and end != start:
            reads.append(Read(zero, (), guard))
    return one_of(shape, reads, dtype)


@dataclass(frozen=True)
class _Part:
    """A read that counts where start <= its axis < end."""

    read: Read
    axis: int
    start: sympy.Expr
    end: sympy.Expr


def _part(term: Node) -> _Part | None:
    """None where `term` is no copy of something into a range."""
    if not isinstance(term, Compute) or term.reducer is not None or term.body != placeholder(0):
        return None
    (read,) = term.reads
    along = {s for c in read.guard for s in c.expr.free_symbols if isinstance(s, Axis)}
    if len(along) != 1 or read.fill != 0:
        return None
    variable = along.pop()
    d = int(variable.name[1:])
    start: sympy.Expr = sympy.Integer(0)
    end: sympy.Expr = sympy.sympify(term.shape[d])
    for c in read.guard:
        slope = c.expr.coeff(variable, 1)
        rest = sympy.expand(c.expr - slope * variable)
        if slope not in (1, -1) or rest.has(variable):
            return None
        if c.kind == EQ:
            start = -slope * rest
            end = start + 1
        elif c.kind == GE and slope == 1:
            start = -rest
        elif c.kind == GE:
            end = rest + 1
        else:
            return None
    return _Part(read, d, start, end)


def _in_order(parts: Sequence[_Part | None]) -> list[_Part] | None:
    """The parts from the first to the last, where none is missing and they are seen not to overlap."""
    found = [p for p in parts if p is not None]
    if len(found) < len(parts) or len({p.axis for p in found}) > 1:
        return None
    ordered = sorted(found, key=lambda p: _rank(p, found))
    return ordered if all((b.start - a.end).is_nonnegative for a, b in pairwise(ordered)) else None


def _rank(part: _Part, parts: Sequence[_Part]) -> int:
    if all(p.start.is_Integer for p in parts):
        return int(part.start)
    return sum(1 for p in parts if (part.start - p.start).is_nonnegative)
