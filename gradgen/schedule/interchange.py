"""Loops inside a serial loop, cut at the same places through all of its iterations.

A recurrence over a batch is a serial loop whose body goes over the batch, once or several times.  Each part of the batch can
go through the recurrence by itself where no iteration touches what belongs to another part: the loop over parts, which
was inside, comes to stand outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sympy

from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.statements import (
    Contract,
    If,
    Loop,
    Operand,
    Statement,
)
from gradgen.loops.walk import HARMLESS, STRETCHES, assigned, blocks, bound, mapped, statements_in
from gradgen.schedule.accesses import Unknown


def extents(loop: Loop) -> list[Extent]:
    """The extents of the loops right inside, those of most statements first."""
    found: dict[Extent, int] = {}
    for s in _bare(loop.body):
        if isinstance(s, Loop) and s.start == 0 and s.step == 1 and not s.parallel:
            found[s.stop] = found.get(s.stop, 0) + 1
        elif isinstance(s, Contract):
            for e in {s.m, s.n}:
                found[e] = found.get(e, 0) + 1
    return sorted(found, key=lambda e: -found[e])


def part(loop: Loop, extent: Extent, first: sympy.Expr, last: sympy.Expr) -> Loop:
    """The loop with all loops of this extent inside it, products of as many rows and blocks of as many elements going
    from `first` to `last` only.  Raises Unknown where a sum over all parts is needed before the next statement."""
    around = {name for s in _bare(loop.body) for name in bound(s)}
    return replace(loop, body=_block(loop.body, as_extent(extent), first, last, around))


def _bare(block: Iterable[Statement]) -> Iterable[Statement]:
    """The statements of a block and those under conditions in it."""
    for s in block:
        if isinstance(s, If):
            yield from _bare((*s.body, *s.otherwise))
        else:
            yield s


def _block(
    block: Iterable[Statement], extent: Extent, first: sympy.Expr, last: sympy.Expr, around: set[str]
) -> tuple[Statement, ...]:
    return tuple(_statement(s, extent, first, last, around) for s in block)


def _statement(s: Statement, extent: Extent, first: sympy.Expr, last: sympy.Expr, around: set[str]) -> Statement:
    size = as_extent(last - first)
    if isinstance(s, Loop):
        if s.start == 0 and s.step == 1 and s.stop == extent and not s.parallel:
            for name in (n for x in statements_in(s.body) for n in assigned(x)):
                if name in around:
                    raise Unknown(f"{name} is a sum over all parts")
            return replace(s, start=first, stop=last)
    elif isinstance(s, Contract):
        if s.m == extent:
            return replace(s, m=size, a=shifted(s.a, first, 0), c=shifted(s.c, first, 0))
        if s.n == extent:
            return replace(s, n=size, b=shifted(s.b, first, 1), c=shifted(s.c, first, 1))
    elif blocks(s):
        return mapped(s, block=lambda inner: _block(inner, extent, first, last, around))
    elif type(s) in STRETCHES:
        many: Any = s
        row = _row(many.count, extent)
        if row is not None:
            starts = {f: _plus(getattr(s, f), first * row) for f in STRETCHES[type(s)]}
            return replace(many, count=as_extent(size * row), **starts)
    elif type(s) in HARMLESS:
        return s
    raise Unknown(f"a {type(s).__name__} belongs to all parts")


def _row(count: Extent, extent: Extent) -> sympy.Expr | None:
    """How many elements belong to one of so many rows; None where they are not rows of one length."""
    row = sympy.sympify(count) / extent
    return row if row.is_integer else None


def shifted(operand: Operand, first: sympy.Expr, axis: int) -> Operand:
    """The operand from row or column `first` on."""
    return replace(operand, start=_plus(operand.start, first * operand.strides[axis]))


def _plus(start: Extent, more: sympy.Expr) -> Extent:
    return as_extent(sympy.sympify(start) + more)
