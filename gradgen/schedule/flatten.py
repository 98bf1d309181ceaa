"""Flattening: two loops that go through memory in one stretch become one loop.

The rows of an image are short for a vector loop, and each would be a sum of its own.  Where every index mentions the two
counters as `E i + j` alone, j running over E values, one counter over both does: longer vectors, fewer partial sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy

from gradgen.ir.dtypes import INDEX
from gradgen.loops.statements import Apply, Comment, CVar, Declare, Literal, Loop, PairwiseAdd, Statement
from gradgen.loops.walk import (
    ELEMENTWISE,
    PORTABLE,
    VALUED,
    Rewriting,
    assigned,
    bound,
    conditions,
    expressions,
    mapped,
    subexpressions,
    used,
)
from gradgen.schedule.cost import PC, Costs


def flatten(statements: Iterable[Statement], costs: Costs = PC) -> tuple[Statement, ...]:
    """The statements with such loops made one, innermost first."""
    found: list[Statement] = []
    for s in statements:
        made = mapped(s, block=lambda block: flatten(block, costs))
        found += (_merged(made, costs) if isinstance(made, Loop) else None) or [made]
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
    names = {name for s in before for name in bound(s)}
    total = int(outer.stop) * int(inner.stop)
    if not all(_adds(s, names) for s in after) or (inner.reductions and total > costs.uncut):
        return None
    try:
        body_of_both = _together(inner.body, outer.variable, inner.variable, int(inner.stop))
    except _Unfit:
        return None
    return [*before, replace(inner, stop=total, body=body_of_both), *after]


def _counts(loop: Loop) -> bool:
    return loop.start == 0 and isinstance(loop.stop, int) and loop.step == 1


def _begins(s: Statement) -> bool:
    return isinstance(s, Declare) and isinstance(s.value, Literal)


def _adds(s: Statement, names: set[str]) -> bool:
    """A partial sum goes to its total."""
    inside = list(subexpressions(expressions(s)))
    terms = [name for e in inside for name in used(e)]
    total = [] if isinstance(s, PairwiseAdd) else list(assigned(s))
    added = all(isinstance(e, Apply) and e.op == "add" for e in inside if not any(True for _ in used(e)))
    others = [name for name in terms if name not in total]
    return any(assigned(s)) and added and len(others) == 1 and others[0] in names and len(terms) == len(total) + 1


class _Unfit(Exception):
    """The inner body is not one over one counter."""


def _together(body: Sequence[Statement], outer: CVar, inner: CVar, extent: int) -> tuple[Statement, ...]:
    """The inner body over one counter, where every index has the two as one."""
    both = {outer, inner}

    def index(e: sympy.Expr) -> sympy.Expr:
        if not both & sympy.sympify(e).free_symbols:
            return e
        e = sympy.expand(e)
        slope = e.coeff(inner, 1)
        rest = sympy.expand(e - slope * (extent * outer + inner))
        if both & (rest.free_symbols | slope.free_symbols):
            raise _Unfit
        return rest + slope * inner

    for s in body:
        if not isinstance(s, Comment) and type(s) not in ELEMENTWISE & VALUED & PORTABLE:
            raise _Unfit
        if any(True for _ in conditions(expressions(s))) or getattr(getattr(s, "variable", None), "dtype", None) is INDEX:
            raise _Unfit
    return Rewriting(index=index).block(body)


__all__ = ["flatten"]
