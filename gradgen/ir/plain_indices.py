"""Index expressions made plain by what is known of their ranges: quotient(4*i + j, 4) is i where j < 4."""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.symbols import Extent, axes, reduce_axes

Ranges = tuple[tuple[sympy.Symbol, Extent], ...]


def ranges(shape: tuple[Extent, ...], reduce_shape: tuple[Extent, ...] = ()) -> Ranges:
    """Each axis with its extent."""
    return (*zip(axes(len(shape)), shape), *zip(reduce_axes(len(reduce_shape)), reduce_shape))


@lru_cache(maxsize=16384)
def simplify_index(expr: sympy.Expr, known: Ranges) -> sympy.Expr:
    """`expr` with quotients and modulos resolved where the ranges of the axes decide them."""
    if not expr.args or not expr.has(quotient, modulo):
        return _unit_axes(expr, known)
    args = [simplify_index(a, known) for a in expr.args]
    if isinstance(expr, quotient):
        return _split(args[0], args[1], known)[0]
    if isinstance(expr, modulo):
        return _split(args[0], args[1], known)[1]
    return expr.func(*args)


def _unit_axes(expr: sympy.Expr, known: Ranges) -> sympy.Expr:
    """An axis of extent 1 is 0."""
    unit = {s: sympy.Integer(0) for s, extent in known if extent == 1 and isinstance(extent, int)}
    return expr.xreplace(unit) if unit else expr


def _split(e: sympy.Expr, m: sympy.Expr, known: Ranges) -> tuple[sympy.Expr, sympy.Expr]:
    """floor(e/m) and e - m*floor(e/m): the terms of e divisible by m come out where the rest stays within [0, m)."""
    if isinstance(e, modulo) and e.args[1] == m:
        return sympy.Integer(0), e
    whole: list[sympy.Expr] = []
    rest: list[sympy.Expr] = []
    for term in sympy.Add.make_args(sympy.expand(e)):
        ratio = term / m
        (whole if sympy.denom(ratio) == 1 and ratio.is_integer else rest).append(ratio if ratio.is_integer else term)
    remainder = sympy.Add(*rest)
    if _within(remainder, m, known):
        return sympy.Add(*whole), remainder
    if whole:
        return sympy.Add(*whole) + quotient(remainder, m), modulo(remainder, m)
    return quotient(e, m), modulo(e, m)


def _within(e: sympy.Expr, m: sympy.Expr, known: Ranges) -> bool:
    """True where 0 <= e < m for every axis in range (extents positive; an empty range asks nothing)."""
    extents = dict(known)
    top: sympy.Expr = sympy.Integer(0)
    for term in sympy.Add.make_args(e):
        symbols = [s for s in term.free_symbols if s in extents]
        if not symbols:
            if not term.is_nonnegative:
                return False
            top = top + term
            continue
        if len(symbols) > 1 or (coefficient := term / symbols[0]).has(symbols[0]) or not coefficient.is_nonnegative:
            bound = _atom_bound(term, extents)
            if bound is None:
                return False
            top = top + bound
            continue
        top = top + coefficient * (sympy.sympify(extents[symbols[0]]) - 1)
    gap = sympy.expand(m - top - 1)
    return bool(gap.is_nonnegative) or gap == 0


def _atom_bound(term: sympy.Expr, extents: dict[sympy.Symbol, Extent]) -> sympy.Expr | None:
    """The largest value of c*modulo(.., m) or c*quotient(axis, m) with c >= 0 and known extents, else None."""
    coefficient, atom = term.as_coeff_Mul()
    if not coefficient.is_nonnegative:
        return None
    if isinstance(atom, modulo):
        return coefficient * (atom.args[1] - 1)
    if isinstance(atom, quotient) and atom.args[0] in extents and atom.args[1].is_Integer:
        extent = extents[atom.args[0]]
        if isinstance(extent, int):
            return coefficient * ((max(extent, 1) - 1) // int(atom.args[1]))
    return None
