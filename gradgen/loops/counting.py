"""How much a block of statements does, as a formula over the named dimensions.

Loops in strips count as the whole that their strips make up, loops whose bounds depend on other counters by the mean of
these.  Of two branches the one that does more counts, and what runs only where something is wanted counts as run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy

from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.extremes import Poly, names_in, plus, poly, reaches, symbols_of, times
from gradgen.loops.statements import (
    Apart,
    Apply,
    Call,
    Contract,
    Copy,
    Fill,
    If,
    Index,
    Let,
    Load,
    Loop,
    Statement,
    Store,
)
from gradgen.loops.walk import expressions, subexpressions

MULTIPLYING = ("mul", "div")


@dataclass(frozen=True, slots=True)
class Count:
    """Multiplications of floating-point numbers (with the addition that mostly goes with one), and bytes read and written
    in memory; what kernels do is not counted."""

    multiply_adds: Extent = 0
    moved: Extent = 0


def counted(statements: Iterable[Statement]) -> Count:
    """What statements do."""
    done = _Counting().block(statements)
    return Count(*(as_extent(as_expression(d)) for d in done))


NOTHING: tuple[Poly, Poly] = ({}, {})


class _Counting:
    def __init__(self) -> None:
        self.known: dict[str, Poly] = {}  # counters by their mean, named indices by what they are
        self.strips: set[str] = set()  # counters of loops in strips

    def block(self, statements: Iterable[Statement]) -> tuple[Poly, Poly]:
        multiplied: Poly = {}
        moved: Poly = {}
        own = [0, 0]
        for s in statements:
            if isinstance(s, Let) and isinstance(s.value, Index):
                self.known[s.variable.name] = self.value(s.value.expr)
            for e in subexpressions(expressions(s)):
                if isinstance(e, Load):
                    own[1] += e.buffer.dtype.itemsize
                elif isinstance(e, Apply) and e.op in MULTIPLYING and e.dtype.is_floating_point:
                    own[0] += 1
            more = self.statement(s)
            multiplied = plus(multiplied, more[0]) if more[0] else multiplied
            moved = plus(moved, more[1]) if more[1] else moved
        return plus(multiplied, poly(own[0])), plus(moved, poly(own[1]))

    def statement(self, s: Statement) -> tuple[Poly, Poly]:
        match s:
            case Store():
                return {}, poly(s.buffer.dtype.itemsize)
            case Fill():
                return {}, times(self.value(s.count), poly(s.buffer.dtype.itemsize))
            case Copy():
                return {}, times(self.value(s.count), poly(2 * s.target.dtype.itemsize))
            case Contract():
                m, n, k = (self.value(e) for e in (s.m, s.n, s.k))
                moved = plus(plus(times(m, k), times(k, n)), times(m, n))
                return times(times(m, n), k), times(moved, poly(s.dtype.itemsize))
            case If():
                yes, no = self.block(s.body), self.block(s.otherwise)
                return _more(yes[0], no[0]), _more(yes[1], no[1])
            case Loop():
                return self.loop(s)
            case Apart():
                return self.block(s.body)
            case Call():
                return self.call(s)
        return NOTHING

    def call(self, s: Call) -> tuple[Poly, Poly]:
        inside = _Counting()
        for v, given in zip(s.function.scalars, s.scalars, strict=True):
            if isinstance(given, (Index, sympy.Symbol)):
                inside.known[v.name] = self.value(given.expr if isinstance(given, Index) else given)
        return inside.block(s.function.body)

    def loop(self, s: Loop) -> tuple[Poly, Poly]:
        name, start, length = s.variable.name, self.value(s.start), self.length(s)
        before = self.known.pop(name, None)
        if s.step > 1:
            self.strips.add(name)
            numbers = set(length) <= {()}
            steps = poly(-(-int(length.get((), 0)) // s.step)) if numbers else _shared(length, s.step)
        else:
            steps = length
            self.known[name] = plus(start, _shared(length, 2))
        inside = self.block(s.body)
        self.strips.discard(name)
        self.known.pop(name, None)
        if before is not None:
            self.known[name] = before
        return times(steps, inside[0]), times(steps, inside[1])

    def length(self, s: Loop) -> Poly:
        start = self.value(s.start)
        if not isinstance(s.stop, sympy.Min):
            return plus(self.value(s.stop), start, -1)
        ends = [plus(self.value(a), start, -1) for a in s.stop.args]
        numbers = [e.get((), 0) for e in ends if set(e) <= {()}]
        if numbers and any(names_in(e) & self.strips for e in ends):
            return poly(min(numbers))
        return self.value(s.stop) if not start else plus(self.value(s.stop), start, -1)

    def value(self, e: Extent) -> Poly:
        """An extent without counters; the rows of a strip are as many as a whole one has."""
        found: Poly = {}
        for m, k in poly(e).items():
            term: Poly = {(): k}
            for f in m:
                term = times(term, self.factor(f))
            found = plus(found, term)
        return found

    def factor(self, f: sympy.Expr) -> Poly:
        names = symbols_of(f)
        if f.is_Symbol:
            return self.known.get(f.name, {(f,): 1})
        if isinstance(f, sympy.Min) and names & self.strips:
            numbers = [int(a) for a in f.args if a.is_Integer]
            if numbers:
                return poly(min(numbers))
        known = {s: as_expression(self.known[s.name]) for s in f.free_symbols if s.name in self.known}
        return poly(f.xreplace(known)) if known else {(f,): 1}


def as_expression(p: Mapping[tuple[sympy.Expr, ...], Any]) -> sympy.Expr:
    """A polynomial as SymPy has it."""
    return sympy.Add(*(sympy.Rational(k) * sympy.Mul(*m) for m, k in p.items()))


def _shared(p: Poly, by: int) -> Poly:
    return {m: Fraction(k, by) for m, k in p.items()}  # type: ignore[misc]


def _more(a: Poly, b: Poly) -> Poly:
    return b if reaches(b, a) else a


__all__ = ["Count", "counted"]
