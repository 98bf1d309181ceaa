"""Stretches: an innermost loop whose counter is only taken apart by a stride becomes two loops, without a division inside.

The columns of `unfold`, and what `fold` gives back, count all windows by one axis and read rows and columns of an image.
What a guard says about the row is then tested once for all of its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.ir.indexing import modulo, quotient
from gradgen.loops.statements import Comment, CVar, Expr, Holds, If, Literal, Load, Loop, Statement, Store
from gradgen.loops.walk import Rewriting, indices, parts_in, substituted

LEAST = 8  # steps of the inner loop below which a division is no worse


def in_stretches(statements: Iterable[Statement], fresh: Callable[[str], str]) -> tuple[Statement, ...]:
    """The statements with such loops made two."""
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            s = replace(s, body=in_stretches(s.body, fresh), otherwise=in_stretches(s.otherwise, fresh))
        elif isinstance(s, Loop):
            stride = _stride(s)
            s = replace(s, body=in_stretches(s.body, fresh)) if stride is None else _apart(s, stride, fresh)
        found.append(s)
    return tuple(found)


def _stride(loop: Loop) -> int | None:
    """By what the counter is taken apart everywhere in a body that only stores, None where it is by several or by none."""
    if not (loop.start == 0 and isinstance(loop.stop, int) and loop.step == 1) or loop.parallel or loop.reductions:
        return None
    if not all(isinstance(s, (Store, Comment)) for s in loop.body):
        return None
    strides: set[sympy.Expr] = set()
    for part in parts_in(loop.body):
        for e in indices(part):
            for atom in () if isinstance(e, int) else _divisions(e):
                if atom.has(loop.variable):
                    strides.add(atom.args[1] if atom.args[0] == loop.variable else sympy.S.Zero)
    if len(strides) != 1:
        return None
    (stride,) = strides
    return int(stride) if stride.is_Integer and stride >= LEAST and loop.stop % int(stride) == 0 else None


@lru_cache(maxsize=1 << 14)
def _divisions(e: sympy.Expr) -> frozenset[sympy.Expr]:
    return frozenset(e.atoms(quotient, modulo))


def _apart(loop: Loop, stride: int, fresh: Callable[[str], str]) -> Loop:
    outer, inner = (CVar(fresh("i"), integer=True, nonnegative=True) for _ in range(2))
    digits = {quotient(loop.variable, sympy.Integer(stride)): outer, modulo(loop.variable, sympy.Integer(stride)): inner,
              loop.variable: stride * outer + inner}
    row = replace(loop, variable=inner, stop=stride, body=substituted(loop.body, digits))
    return replace(loop, variable=outer, stop=int(loop.stop) // stride, body=_tested(row), simd=False)


def _tested(row: Loop) -> tuple[Statement, ...]:
    """The row, what its only guarded element is tested for outside of it tested before it."""
    guarded = {e for e in parts_in(row.body) if isinstance(e, Load) and e.guard}
    outside = {tuple(c for c in e.guard if row.variable not in c.expr.free_symbols) for e in guarded}
    (tests,) = outside if len(outside) == 1 else ((),)
    if not tests:
        return (row,)

    def inside(e: Expr) -> Expr:
        return replace(e, guard=tuple(c for c in e.guard if c not in tests)) if e in guarded else e

    def missing(e: Expr) -> Expr:
        return Literal(e.dtype, e.fill) if e in guarded else e

    return (If(Holds(bool_, tests), Rewriting(leaf=inside).block((row,)), Rewriting(leaf=missing).block((row,))),)


__all__ = ["in_stretches"]
