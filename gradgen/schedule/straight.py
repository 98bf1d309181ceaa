"""Straight-line code: a loop whose body holds only short loops gets them written out, with small arrays as names.

A function of a few numbers that is mapped over many (an observation of a camera, a pair of bodies, a joint of a batch of
arms) arrives as a loop around loops of 2, 3 or 11 steps over small arrays.  Written out, guards on their counters are
numbers, equal values of different steps are computed once, and no element goes through memory (`schedule/values.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain

from gradgen.loops.statements import (
    WORK,
    Assign,
    Buffer,
    Fill,
    If,
    Load,
    Loop,
    Pointer,
    Statement,
    Store,
)
from gradgen.loops.walk import ELEMENTWISE, blocks, conditions, expressions, statements_in, subexpressions, touched
from gradgen.schedule.cost import PC, Costs
from gradgen.schedule.lanes import in_lanes
from gradgen.schedule.unroll import size
from gradgen.schedule.values import NotAlone, Unfit, Values

SHORT = 8  # steps of a loop that is written out
SMALL, LONGEST = 128, 64  # a longer one, of so many expressions in all and steps
MOST = 2500  # expressions of a body that is written out
VECTOR = 4  # steps from which on a loop marked for vectorisation may be one
WORTH = 24  # expressions for each sum in memory that a loop over neighbours would update as a vector
NAMES = 64  # elements of an array that become names

_SIMPLE = ELEMENTWISE | {Fill, Pointer}


def straighten(statements: tuple[Statement, ...], fresh: Callable[[str], str], costs: Costs = PC) -> tuple[Statement, ...]:
    """The statements with such bodies written out; `fresh` makes names."""
    everywhere = Counter(chain.from_iterable(map(touched, statements)))
    return without_waste(Straight(everywhere, fresh, costs).block(statements))


class Straight:
    """The pass; `everywhere` says how often each buffer is mentioned."""

    def __init__(self, everywhere: Counter[Buffer], fresh: Callable[[str], str], costs: Costs) -> None:
        self.everywhere, self.fresh, self.costs = everywhere, fresh, costs

    def block(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for s in statements:
            if isinstance(s, If):
                found.append(replace(s, body=self.block(s.body), otherwise=self.block(s.otherwise)))
            elif isinstance(s, Loop):
                found.append(self.loop(s))
            else:
                found.append(s)
        return tuple(found)

    def loop(self, s: Loop) -> Loop:
        if s.parallel or s.simd:
            return s
        if fits(s) and self.pays(s):
            body = self.written(s)
            if body is not None and not self.costs.worth_writing_out(size(s.body), size(body)):
                body = None
            if body is not None and (self.is_calculation(s) or in_lanes(replace(s, body=body), self.fresh, self.costs)):
                return replace(s, body=body)
        return replace(s, body=self.block(s.body))

    def written(self, s: Loop) -> tuple[Statement, ...] | None:
        alone = self.alone(s)
        while True:
            try:
                values = Values(s.body, alone, self.fresh)
                values.run(s.body)
            except NotAlone as found:
                alone = [b for b in alone if b is not found.buffer]
                if any(isinstance(t, Store) and t.buffer is found.buffer and _is_update(t) for t in statements_in(s.body)):
                    return None  # sums of a few numbers in memory, one after the other
            except Unfit:
                return None
            else:
                return values.finish()

    def pays(self, s: Loop) -> bool:
        """Memory becomes names, guards are decided or sums are of a few terms, and no vector loop over memory that stays is
        taken apart."""
        alone = set(self.alone(s))
        inner = _loops(s)
        if not alone and not any(_decides(t) or _is_short_sum(t) for t in inner):
            return False
        stays = [
            (loop, t) for loop in inner for t in statements_in(loop.body)
            if isinstance(t, Store) and t.buffer not in alone
        ]  # fmt: skip
        return not any(_is_vector(loop) for loop, _ in stays)

    def is_calculation(self, s: Loop) -> bool:
        """More than sums in memory: rows of those are better left to loops, unless several items make a vector."""
        updates = _updates(s.body, set(self.alone(s)))
        return not updates or (written_size(s.body) or 0) >= WORTH * updates

    def alone(self, s: Loop) -> list[Buffer]:
        """Arrays of WORK that nothing outside the loop looks at, small enough for names."""
        inside: Counter[Buffer] = Counter()
        found: dict[Buffer, None] = {}
        for b in touched(s):
            inside[b] += 1
            if b.space == WORK and isinstance(b.size, int) and b.size <= NAMES:
                found[b] = None
        rows = {b for t in statements_in(s.body) if isinstance(t, Pointer) for b in (t.buffer, t.otherwise)}
        return [b for b in found if inside[b] == self.everywhere[b] and b not in rows]


def fits(loop: Loop) -> bool:
    """The body holds a short loop at least, only such, and not too much of it."""
    inside = list(statements_in(loop.body))
    if not all(type(s) in _SIMPLE for s in inside) or not _loops(loop) or _is_short(loop, 0):
        return False
    return written_size(loop.body) is not None


def _loops(loop: Loop) -> list[Loop]:
    return [s for s in statements_in(loop.body) if isinstance(s, Loop)]


def _decides(loop: Loop) -> bool:
    """Its counter stands in guards of what is more than a copy."""
    for s in statements_in(loop.body):
        if isinstance(s, Store) and isinstance(s.value, Load):
            continue
        if any(loop.variable in c.expr.free_symbols for c in conditions(expressions(s))):
            return True
    return False


def _is_short_sum(loop: Loop) -> bool:
    """A reduction that is shorter than a vector."""
    return int(loop.stop) - int(loop.start) <= VECTOR and any(isinstance(s, Assign) for s in loop.body)


def _updates(body: Iterable[Statement], alone: set[Buffer]) -> int:
    """Sums in memory that stays, once loops are written out."""
    found = 0
    for s in body:
        steps = int(s.stop) - int(s.start) if isinstance(s, Loop) else 1
        found += steps * sum(_updates(inner, alone) for inner in blocks(s))
        found += isinstance(s, Store) and s.buffer not in alone and _is_update(s)
    return found


def _is_update(s: Store) -> bool:
    """Adds to memory: rows of such statements are vectors of neighbours, single ones go through memory one by one."""
    return any(isinstance(e, Load) and e.buffer is s.buffer for e in subexpressions(expressions(s)))


def _is_vector(loop: Loop) -> bool:
    """Longer than what is written out in any case, or a loop that is marked for vectors and fills one."""
    steps = int(loop.stop) - int(loop.start)
    return steps > SHORT or (loop.simd and steps >= VECTOR and not loop.reductions and not _decides(loop))


def written_size(body: Iterable[Statement]) -> int | None:
    """Expressions of statements with their loops written out; None for too many, or a loop that is not short."""
    total = 0
    for s in body:
        if isinstance(s, Loop):
            inner = written_size(s.body)
            if inner is None or not _is_short(s, inner):
                return None
            total += inner * (int(s.stop) - int(s.start))
        elif isinstance(s, If):
            inner = written_size((*s.body, *s.otherwise))
            if inner is None:
                return None
            total += inner + 1
        else:
            total += 1 + sum(1 for _ in subexpressions(expressions(s)))
    return total if total <= MOST else None


def _is_short(loop: Loop, size: int) -> bool:
    if not isinstance(loop.start, int) or not isinstance(loop.stop, int) or loop.step != 1:
        return False
    steps = loop.stop - loop.start
    return steps <= SHORT or (steps <= LONGEST and 0 < steps * size <= SMALL)


def without_waste(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Without fills of memory that nothing else mentions."""
    seen = Counter(chain.from_iterable(map(touched, statements)))
    return tuple(s for s in statements if not (isinstance(s, Fill) and s.buffer.space == WORK and seen[s.buffer] == 1))


__all__ = ["straighten"]
