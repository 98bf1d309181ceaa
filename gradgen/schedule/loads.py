"""Loads in front of a choice: what both sides of a selection read is read in any case, and chosen afterwards.

A load that stands in one branch only makes compilers load under a mask.  That is slower where the memory is there anyway,
and gcc 12 at -O3 with AVX takes another lane's mask where such loads have to be permuted (its bug 114375): a loop over
rows of three around `x < 0 ? 0 : g[i]` came out wrong.  Elements of a tensor that a loop walks over are always there; what
may not be (a guarded read, a position that was looked up, memory that the caller may leave out) stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import sympy

from gradgen.loops.statements import (
    ARGUMENT,
    CONSTANT,
    SAVED,
    WORK,
    Apply,
    Array,
    Buffer,
    Expr,
    Let,
    Load,
    Loop,
    Statement,
    Truth,
    Variable,
)
from gradgen.loops.walk import VALUED, blocks, mapped, subexpressions


def unconditional(statements: Iterable[Statement], fresh: Callable[[str], str]) -> tuple[Statement, ...]:
    """The statements with such loads in locals of their own."""
    return _Loads(fresh).block(statements)


class _Loads:
    def __init__(self, fresh: Callable[[str], str]) -> None:
        self.fresh = fresh
        self.counters: set[sympy.Symbol] = set()
        self.arrays: set[Buffer] = set()  # on the stack
        self.before: list[Statement] = []
        self.known: dict[tuple[Buffer, sympy.Expr], Variable] = {}

    def block(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for s in statements:
            counter = {s.variable} if isinstance(s, Loop) else set()
            if isinstance(s, Array):
                self.arrays.add(s.buffer)
            self.counters |= counter
            self.before, self.known = [], {}
            made = mapped(s, expr=self.plain if self.counters and type(s) in VALUED else None, block=self.block)
            self.counters -= counter
            found += [made] if blocks(s) else [*self.before, made]
        return tuple(found)

    def plain(self, e: Expr) -> Expr:
        return self.expression(e, False)

    def expression(self, e: Expr, chosen: bool) -> Expr:
        """`chosen`: below a selection on values, whose branches read only what is there."""
        if isinstance(e, Load):
            return self.local(e) if chosen and self.is_there(e) else e
        if not isinstance(e, Apply):
            return e
        if e.op == "select":
            condition = self.expression(e.args[0], chosen)
            if any(isinstance(c, Truth) for c in subexpressions((e.args[0],))):
                return e if condition is e.args[0] else replace(e, args=(condition, *e.args[1:]))
            args = (condition, *(self.expression(a, True) for a in e.args[1:]))
        else:
            args = tuple(self.expression(a, chosen) for a in e.args)
        return e if all(a is b for a, b in zip(args, e.args)) else replace(e, args=args)

    def is_there(self, e: Load) -> bool:
        return not e.guard and self.is_whole(e.buffer) and sympy.sympify(e.index).free_symbols <= self.counters

    def is_whole(self, b: Buffer) -> bool:
        if b.space == ARGUMENT:
            return b.place is None or not b.place.optional
        return b.space in (WORK, CONSTANT) or (b.space == SAVED and b.given) or b in self.arrays

    def local(self, e: Load) -> Variable:
        key = (e.buffer, e.index)
        if key not in self.known:
            self.known[key] = Variable(e.dtype, self.fresh("t"))
            self.before.append(Let(self.known[key], e))
        return self.known[key]


__all__ = ["unconditional"]
