"""Minima and maxima of extents and positions, as SymPy gives them, without its search for a proof where none can be.

`sympy.Min(i + 256, N)` takes milliseconds: SymPy compares, then factors the difference and compares again.  Sums of
symbols that may be any number from 0 on are compared exactly here; all the rest is SymPy's, asked once.
"""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.ir.symbols import Extent

_FREE = sympy.Symbol("free", integer=True, nonnegative=True).assumptions0


def least(*extents: Extent) -> sympy.Expr:
    """sympy.Min of these."""
    return _found(sympy.Min, extents)


def greatest(*extents: Extent) -> sympy.Expr:
    """sympy.Max of these."""
    return _found(sympy.Max, extents)


@lru_cache(maxsize=8192)
def _found(kind: type[sympy.Expr], extents: tuple[Extent, ...]) -> sympy.Expr:
    if len(extents) != 2:
        return kind(*extents)
    a, b = _linear(extents[0]), _linear(extents[1])
    if a is None or b is None:
        return kind(*extents)
    apart = [a.get(s, 0) - b.get(s, 0) for s in a.keys() | b.keys()]
    if all(k >= 0 for k in apart):
        return sympy.sympify(extents[kind is sympy.Min])
    if all(k <= 0 for k in apart):
        return sympy.sympify(extents[kind is sympy.Max])
    return kind(*extents, evaluate=False)  # with all symbols 0 or one of them large, now this is larger, now that


def _linear(e: Extent) -> dict[sympy.Expr, int] | None:
    """Multiples of free symbols, the number under 1; None for what is no sum of these."""
    found: dict[sympy.Expr, int] = {}
    for term in sympy.Add.make_args(sympy.sympify(e)):
        factor, rest = term.as_coeff_Mul()
        if not factor.is_Integer or (rest is not sympy.S.One and not (rest.is_Symbol and rest.assumptions0 == _FREE)):
            return None
        found[rest] = found.get(rest, 0) + int(factor)
    return found


__all__ = ["greatest", "least"]
