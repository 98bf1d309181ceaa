"""Peeling: an innermost loop whose guards compare its counter with numbers becomes one loop for each stretch on which
they are decided, so that no element is tested.

A window laid out as a matrix is copied row by row; its border is zeros and what is between is a plain copy.  Where the
guard compares the counter with that of a short loop further out (the position in the window), that loop is written out
first.  What the guards say about other counters is tested once in front of the loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.ir.guards import GE, Condition, Guard
from gradgen.loops.statements import Comment, CVar, Expr, Holds, If, Literal, Load, Loop, Statement, Store
from gradgen.loops.walk import conditions, expressions, mapped, statements_in, writes
from gradgen.schedule.unroll import BodyCopy, size

LEAST = 4  # steps from which on a loop is worth peeling
SHORT = 8  # steps of an outer loop that may be written out for it
STRETCHES = 4  # loops that one may become
MOST = 120  # expressions in a nest that is written out


def peel(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements with such loops peeled."""
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            found.append(replace(s, body=peel(s.body), otherwise=peel(s.otherwise)))
        elif isinstance(s, Loop):
            found.extend(_outer(s) if _fixed(s) else [replace(s, body=peel(s.body))])
        else:
            found.append(s)
    return tuple(found)


def _fixed(loop: Loop) -> bool:
    return isinstance(loop.start, int) and isinstance(loop.stop, int) and loop.step == 1


def _outer(loop: Loop) -> list[Statement]:
    """Written out where that decides guards of an innermost loop inside it, else with its body peeled."""
    inner = _innermost(loop)
    if inner is None:
        alone = _distributed(loop)
        return [replace(loop, body=peel(loop.body))] if alone is None else list(peel(alone))
    if inner is loop:
        return _stretches(loop)
    steps = int(loop.stop) - int(loop.start)
    together = {inner.variable, loop.variable}
    if 0 < steps <= SHORT and any(c.expr.free_symbols == together for c in _conditions(inner)):
        written: list[Statement] = []
        for k in range(int(loop.start), int(loop.stop)):
            written += BodyCopy(loop.variable, k, set()).block(loop.body)
        peeled = peel(written)
        if size(peeled) <= MOST:
            return list(peeled)
    return [replace(loop, body=peel(loop.body))]


def _innermost(loop: Loop) -> Loop | None:
    """The last of loops that hold nothing else, if it only copies."""
    while True:
        body = _bare(loop)
        if len(body) != 1:
            return None
        if isinstance(body[0], Loop):
            loop = body[0]
            continue
        return loop if _copied(body[0]) is not None and _fixed(loop) and int(loop.stop) - int(loop.start) >= LEAST else None


def _distributed(loop: Loop) -> list[Statement] | None:
    """Guarded copies that share a nest, each in a nest of its own, where none reads what another writes."""
    around = [loop]
    while True:
        body = _bare(around[-1])
        if len(body) != 1 or not isinstance(body[0], Loop):
            break
        around.append(body[0])
    loads = [e for e in map(_copied, body) if e is not None]
    if len(loads) < 2 or len(loads) < len(body) or not any(e.guard for e in loads):
        return None
    targets = {b.name for s in body for b in writes(s)}
    if len(targets) < len(body) or any(e.buffer.name in targets for e in loads):
        return None
    found: list[Statement] = []
    for s in body:
        nest: Statement = s
        for outer in reversed(around):
            nest = replace(outer, body=(nest,))
        found.append(nest)
    return found


def _bare(loop: Loop) -> list[Statement]:
    return [s for s in loop.body if not isinstance(s, Comment)]


def _copied(s: Statement) -> Load | None:
    """What a statement copies an element from."""
    return s.value if isinstance(s, Store) and isinstance(s.value, Load) else None


def _conditions(loop: Loop) -> list[Condition]:
    """The inequalities that mention the counter."""
    found = (c for s in statements_in(loop.body) for c in conditions(expressions(s)))
    return list(dict.fromkeys(c for c in found if c.kind == GE and loop.variable in c.expr.free_symbols))


def _stretches(loop: Loop) -> list[Statement]:
    counter, start, stop = loop.variable, int(loop.start), int(loop.stop)
    ends = {start, stop}
    for c in _conditions(loop):
        if c.expr.free_symbols == {counter}:
            slope = sympy.expand(c.expr).coeff(counter, 1)
            rest = sympy.expand(c.expr - slope * counter)
            if not (slope.is_Integer and rest.is_Integer and slope != 0):
                return [loop]
            at = -(int(rest) // int(slope)) if slope > 0 else int(rest) // -int(slope) + 1  # where it changes
            ends |= {min(max(at, start), stop)}
    bounds = sorted(ends)
    if len(bounds) - 1 > STRETCHES:
        return [loop]
    found: list[Statement] = []
    for first, last in pairwise(bounds):
        body = _Stretch(counter, first, last - 1).block(loop.body)
        if body:
            found.append(replace(loop, start=first, stop=last, body=tuple(body)))
    return _tested(loop, found)


def _tested(loop: Loop, found: list[Statement]) -> list[Statement]:
    """Behind one test of what the guards say about outer counters."""
    guards = {c: None for s in statements_in(found) if (e := _copied(s)) is not None for c in e.guard}
    if any(loop.variable in c.expr.free_symbols for c in guards):
        return found
    if not guards:
        return found
    inside = [mapped(s, block=lambda body: tuple(map(_plain, body))) for s in found]
    outside = mapped(loop, block=lambda body: tuple(mapped(s, expr=_filled) for s in body if not isinstance(s, Comment)))
    return [If(Holds(bool_, tuple(guards)), tuple(inside), (outside,))]


def _plain(s: Statement) -> Statement:
    return mapped(s, expr=lambda e: replace(e, guard=(), fill=sympy.S.Zero) if isinstance(e, Load) else e)


def _filled(e: Expr) -> Expr:
    """What a read gives where its guard does not hold."""
    return Literal(e.dtype, e.fill) if isinstance(e, Load) else e


class _Stretch(BodyCopy):
    """The body of a loop with the inequalities decided that a stretch of its counter decides."""

    def __init__(self, counter: CVar, first: int, last: int) -> None:
        super().__init__(counter, first, set())
        self.counter, self.first, self.last = counter, first, last
        self.index = {}

    def guard(self, guard: Guard) -> Guard | None:
        kept: list[Condition] = []
        for c in guard:
            if c.kind == GE and c.expr.free_symbols == {self.counter}:
                ends = [c.expr.xreplace({self.counter: sympy.Integer(k)}) for k in (self.first, self.last)]
                if all(e.is_negative for e in ends):
                    return None
                if all(e.is_nonnegative for e in ends):
                    continue
            kept.append(c)
        return tuple(kept)


__all__ = ["peel"]
