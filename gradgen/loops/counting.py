"""How much a block of statements does, as a formula over the named dimensions.

Loops in strips count as the whole that their strips make up, loops whose bounds depend on other counters by the mean of
these.  Of two branches the one that does more counts, and what runs only where something is wanted counts as run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy

from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.statements import Apply, Contract, Copy, Fill, If, Index, Let, Load, Loop, Statement, Store
from gradgen.loops.walk import blocks, expressions, subexpressions

MULTIPLYING = ("mul", "div")


@dataclass(frozen=True, slots=True)
class Count:
    """Multiplications of floating-point numbers (with the addition that mostly goes with one), and bytes read and written
    in memory; what kernels do is not counted."""

    multiply_adds: Extent = 0
    moved: Extent = 0


def counted(statements: Iterable[Statement]) -> Count:
    """What statements do."""
    return _Counting({}).block(statements)


class _Counting:
    def __init__(self, known: dict[sympy.Basic, sympy.Expr]) -> None:
        self.known = known  # counters by their mean, named indices by what they are
        self.strips: dict[sympy.Basic, int] = {}

    def block(self, statements: Iterable[Statement]) -> Count:
        done: list[sympy.Expr] = [sympy.S.Zero, sympy.S.Zero]
        own = [0, 0]
        for s in statements:
            if isinstance(s, Let) and isinstance(s.value, Index):
                self.known[_symbol(s.variable.name)] = self.value(s.value.expr)
            for e in subexpressions(expressions(s)):
                if isinstance(e, Load):
                    own[1] += e.buffer.dtype.itemsize
                elif isinstance(e, Apply) and e.op in MULTIPLYING and e.dtype.is_floating_point:
                    own[0] += 1
            for k, more in enumerate(self.statement(s)):
                done[k] = done[k] + more
        return Count(*(as_extent(sympy.expand(d + o)) for d, o in zip(done, own, strict=True)))

    def statement(self, s: Statement) -> tuple[sympy.Expr | int, sympy.Expr | int]:
        match s:
            case Store():
                return 0, s.buffer.dtype.itemsize
            case Fill():
                return 0, self.value(s.count) * s.buffer.dtype.itemsize
            case Copy():
                return 0, self.value(s.count) * s.target.dtype.itemsize * 2
            case Contract():
                m, n, k = (self.value(e) for e in (s.m, s.n, s.k))
                return m * n * k, (m * k + k * n + m * n) * s.dtype.itemsize
            case If():
                yes, no = self.block(s.body), self.block(s.otherwise)
                return _more(yes.multiply_adds, no.multiply_adds), _more(yes.moved, no.moved)
            case Loop():
                return self.loop(s)
        assert not blocks(s)
        return 0, 0

    def loop(self, s: Loop) -> tuple[sympy.Expr, sympy.Expr]:
        start = self.value(s.start)
        length = self.value(self.length(s))
        counter = _symbol(s.variable.name)
        before, strip = self.known.get(counter), self.strips.get(counter)
        if s.step > 1:
            self.strips[counter] = s.step
            steps = sympy.ceiling(length / s.step) if length.is_Integer else length / s.step
            self.known.pop(counter, None)
        else:
            steps = length
            self.known[counter] = start + sympy.floor(length / 2) if length.is_Integer else start + length / 2
        inside = self.block(s.body)
        self.known.pop(counter, None)
        if before is not None:
            self.known[counter] = before
        if strip is None:
            self.strips.pop(counter, None)
        else:
            self.strips[counter] = strip
        return steps * inside.multiply_adds, steps * inside.moved

    def length(self, s: Loop) -> sympy.Expr:
        stop = sympy.sympify(s.stop)
        if isinstance(stop, sympy.Min):
            return sympy.Min(*(a - s.start for a in stop.args))
        return stop - s.start

    def value(self, e: Extent) -> sympy.Expr:
        """An extent without counters; the rows of a strip are as many as a whole one has."""
        e = sympy.sympify(e)
        for _ in range(4):
            named = {s: self.known[_symbol(s.name)] for s in e.free_symbols if _symbol(s.name) in self.known}
            if not named:
                break
            e = e.xreplace(named)
        for least in e.atoms(sympy.Min):
            inside = {s.name for s in least.free_symbols}
            if any(c.name in inside for c in self.strips):
                e = e.xreplace({least: sympy.Min(*(a for a in least.args if a.is_Integer))})
        return e


def _symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, integer=True)


def _more(a: Extent, b: Extent) -> sympy.Expr:
    a, b = sympy.sympify(a), sympy.sympify(b)
    return b if (b - a).is_nonnegative else a


__all__ = ["Count", "counted"]
