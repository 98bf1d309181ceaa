"""Sizes of which one is the greatest whatever the named dimensions are, and where that is open, a maximum of few terms.

A height is a polynomial over the dimensions, with minima of them as factors.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.extremes import Poly, plus, poly, reaches, times

ENDS = 4  # heights of which one may be the greatest, beyond which it is not worth saying


def highest(heights: Iterable[Poly]) -> list[Poly]:
    """Heights without those that another one reaches whatever the dimensions are; at least the ground."""
    kept: list[Poly] = []
    for h in heights:
        if not any(reaches(k, h) for k in kept):
            kept = [*(k for k in kept if not reaches(h, k)), h]
    return kept or [{}]


def greatest_of(extents: Iterable[Extent]) -> Extent:
    """The greatest of several sizes, said in few terms: what all have in common once, and only what may be the greatest."""
    return as_maximum(highest(h for e in extents for h in _heights(as_extent(e))))


def _heights(extent: Extent) -> list[Poly]:
    """The polynomials of which an extent is the greatest."""
    if isinstance(extent, int):
        return [poly(extent)]
    found: list[Poly] = [{}]
    for term in sympy.Add.make_args(extent):
        count, rest = term.as_coeff_Mul()
        if isinstance(rest, sympy.Max) and count > 0 and len(found) <= ENDS:
            one = [times(poly(count), h) for a in rest.args for h in _heights(as_extent(a))]
        else:
            one = [poly(term)]
        found = [plus(a, b) for a in found for b in one]
    return found


def as_maximum(heights: list[Poly]) -> Extent:
    if len(heights) == 1:
        return as_extent(_sum(heights[0]))
    common = {m: min(h.get(m, 0) for h in heights) for m in heights[0]}
    rest = [_sum(plus(h, common, -1)) for h in heights]
    return as_extent(_sum(common) + sympy.Max(*rest, evaluate=False))  # `highest` has compared them


def _sum(p: Poly) -> sympy.Expr:
    return sympy.Add(*(k * sympy.Mul(*m) for m, k in p.items()))


__all__ = ["ENDS", "as_maximum", "greatest_of", "highest"]
