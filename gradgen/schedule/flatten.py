"""Flattening: two loops that go through memory in one stretch become one loop.

The rows of an image are short for a vector loop, and each would be a sum of its own.  Where every index mentions the two
counters as `E i + j` alone, j running over E values, one counter over both does: longer vectors, fewer partial sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy

from gradgen.ir.dtypes import INDEX
from gradgen.loops.statements import (
    Apply,
    Assign,
    Comment,
    CVar,
    Declare,
    Expr,
    If,
    Index,
    Let,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    Present,
    SetFlag,
    Statement,
    Store,
    Variable,
)
from gradgen.schedule.cost import PC, Costs


def flatten(statements: Iterable[Statement], costs: Costs = PC) -> tuple[Statement, ...]:
    """The statements with such loops made one, innermost first."""
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            found.append(replace(s, body=flatten(s.body, costs), otherwise=flatten(s.otherwise, costs)))
        elif isinstance(s, Loop):
            inner = replace(s, body=flatten(s.body, costs))
            found += _merged(inner, costs) or [inner]
        else:
            found.append(s)
    return tuple(found)


def _merged(outer: Loop, costs: Costs) -> list[Statement] | None:
    """One loop in the place of two, between what is declared before the inner one and what is added up after it."""
    body = [s for s in outer.body if not isinstance(s, Comment)]
    at = [k for k, s in enumerate(body) if isinstance(s, Loop)]
    if len(at) != 1 or not _counts(outer) or outer.parallel:
        return None
    before, inner, after = body[: at[0]], body[at[0]], body[at[0] + 1 :]
    assert isinstance(inner, Loop)
    if not (_counts(inner) and inner.simd) or not all(map(_begins, before)):
        return None
    names = {s.variable.name for s in before if isinstance(s, Declare)}
    total = int(outer.stop) * int(inner.stop)
    if not all(_adds(s, names) for s in after) or (inner.reductions and total > costs.uncut):
        return None
    together = _Together(outer.variable, inner.variable, int(inner.stop))
    made = together.block(inner.body)
    return None if made is None else [*before, replace(inner, stop=total, body=tuple(made)), *after]


def _counts(loop: Loop) -> bool:
    return loop.start == 0 and isinstance(loop.stop, int) and loop.step == 1


def _begins(s: Statement) -> bool:
    return isinstance(s, Declare) and isinstance(s.value, Literal)


def _adds(s: Statement, names: set[str]) -> bool:
    """A partial sum goes to its total."""
    if isinstance(s, PairwiseAdd):
        return isinstance(s.value, Variable) and s.value.name in names
    if not (isinstance(s, Assign) and isinstance(s.value, Apply) and s.value.op == "add"):
        return False
    terms = {e.name for e in s.value.args if isinstance(e, Variable)}
    return len(terms) == 2 and s.variable.name in terms and bool(terms & names)


class _Together:
    """The inner body over one counter; None where an index has the two in another way."""

    def __init__(self, outer: CVar, inner: CVar, extent: int) -> None:
        self.outer, self.inner, self.extent = outer, inner, extent

    def block(self, body: Sequence[Statement]) -> list[Statement] | None:
        found: list[Statement] = []
        for s in body:
            made = self.statement(s)
            if made is None:
                return None
            found.append(made)
        return found

    def statement(self, s: Statement) -> Statement | None:
        if isinstance(s, Comment):
            return s
        if not isinstance(s, (Let, Declare, Assign, Store)):
            return None
        value = self.expr(s.value)
        if value is None:
            return None
        if isinstance(s, Store):
            index = self.index(s.index)
            return None if index is None else replace(s, index=index, value=value)
        return None if s.variable.dtype is INDEX else replace(s, value=value)

    def expr(self, e: Expr) -> Expr | None:
        if isinstance(e, (Literal, Variable, Present, SetFlag)):
            return e
        if isinstance(e, Load):
            index = None if e.guard else self.index(e.index)
            return None if index is None else replace(e, index=index)
        if isinstance(e, Apply):
            args = [self.expr(a) for a in e.args]
            return None if any(a is None for a in args) else replace(e, args=tuple(a for a in args if a is not None))
        if isinstance(e, Index):
            expr = self.index(e.expr)
            return None if expr is None else replace(e, expr=expr)
        return None

    def index(self, e: sympy.Expr) -> sympy.Expr | None:
        both = {self.outer, self.inner}
        if not both & sympy.sympify(e).free_symbols:
            return e
        e = sympy.expand(e)
        slope = e.coeff(self.inner, 1)
        rest = sympy.expand(e - slope * (self.extent * self.outer + self.inner))
        return None if both & (rest.free_symbols | slope.free_symbols) else rest + slope * self.inner


__all__ = ["flatten"]
