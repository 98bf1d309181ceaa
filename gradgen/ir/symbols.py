"""The four kinds of symbol that may stand in a body or an index, each its own class so that names never collide.

A user may call a dimension "i0" or an argument "a1": the class, not the name, tells what a symbol is.
All of them are interned by SymPy, so `is` and `==` agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TypeAlias

import sympy

Extent: TypeAlias = int | sympy.Expr


class Placeholder(sympy.Symbol):
    """`a0, a1, ...` in a body: the value of the read at that position."""

    __slots__ = ()


class Axis(sympy.Symbol):
    """`i0, i1, ...`: an output axis by position (of a Scatter: an axis of the update)."""

    __slots__ = ()


class ReduceAxis(sympy.Symbol):
    """`r0, r1, ...`: a reduced axis by position."""

    __slots__ = ()


class Dim(sympy.Symbol):
    """A named dimension, known at run time only: an argument of the emitted functions."""

    __slots__ = ()


class NegativeZero(sympy.AtomicExpr):
    """-0.0, no number of SymPy's: the fill of guarded reads of which a sum takes one, as x + -0.0 is x for every x."""

    __slots__ = ()
    is_number = True
    is_commutative = True

    def __float__(self) -> float:
        return -0.0

    def __int__(self) -> int:
        return 0

    def _sympystr(self, printer: object) -> str:
        return "-0.0"


NEGATIVE_ZERO = NegativeZero()


def is_nothing(fill: sympy.Expr) -> bool:
    """What a sum goes on without."""
    return fill is NEGATIVE_ZERO or fill == 0


def shown_fill(fill: sympy.Expr) -> sympy.Expr:
    return sympy.S.Zero if fill is NEGATIVE_ZERO else fill


@cache
def placeholder(k: int) -> Placeholder:
    return Placeholder(f"a{k}", real=True)


def placeholder_place(symbol: Placeholder) -> int:
    """Which read the placeholder stands for."""
    return int(symbol.name[1:])


@cache
def axis(k: int) -> Axis:
    return Axis(f"i{k}", integer=True, nonnegative=True)


@cache
def reduce_axis(k: int) -> ReduceAxis:
    return ReduceAxis(f"r{k}", integer=True, nonnegative=True)


@cache
def dim(name: str) -> Dim:
    """The named dimension `name`; it may be 0 at run time."""
    return Dim(name, integer=True, nonnegative=True)


OUTPUT = Placeholder("y", real=True)
"""In a partial derivative: the value of the node itself, so that exp' needs no second exp."""

COTANGENT = Placeholder("g", real=True)
"""In an adjoint or tangent body under construction: the incoming derivative."""


LIVENESS = Placeholder("l", real=True)
"""Beside COTANGENT with nan_safe: 0 where the cotangent is zero because a condition selected it away."""


@cache
def axes(n: int) -> tuple[Axis, ...]:
    return tuple(axis(k) for k in range(n))


@cache
def reduce_axes(n: int) -> tuple[ReduceAxis, ...]:
    return tuple(reduce_axis(k) for k in range(n))


@lru_cache(maxsize=1 << 17)
def free_symbols(e: sympy.Expr) -> frozenset[sympy.Symbol]:
    """The symbols in an expression; SymPy's own property goes through it at every call."""
    return frozenset(e.free_symbols)


def as_extent(value: object) -> Extent:
    """An int where the extent is known, else a SymPy expression over `Dim`s."""
    if isinstance(value, int):
        return value
    if isinstance(value, sympy.Expr):
        return int(value) if value.is_Integer else value
    return int(value)  # type: ignore[call-overload]


def renamed(e: sympy.Expr, names: Mapping[sympy.Basic, sympy.Basic]) -> sympy.Expr:
    """The expression with other symbols, no two of them one: unlike `xreplace` it compares no arguments of Min and Max anew,
    which takes milliseconds for each."""
    if e in names:
        return names[e]
    arguments = [renamed(a, names) for a in e.args]
    if all(a is b for a, b in zip(arguments, e.args)):
        return e
    return e.func(*arguments, evaluate=False) if isinstance(e, sympy.Max | sympy.Min) else e.func(*arguments)


def same_extent(a: Extent, b: Extent) -> bool:
    """True where the two extents are equal for every value of the named dimensions."""
    if a is b or a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    return sympy.expand(sympy.sympify(a) - b) == 0
