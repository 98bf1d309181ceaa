"""The greatest value of a size over the named dimensions, as far as conditions bound those."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import sympy

from gradgen.ir.assumptions import Requirement
from gradgen.ir.guards import EQ, GE
from gradgen.ir.symbols import Extent

Interval = tuple[float, float]


def limits(requirements: Iterable[Requirement]) -> dict[str, Interval]:
    """Least and greatest value of each dimension that conditions on it alone bound: `N >= 3`, `N <= 64`, `N == 5`."""
    found: dict[str, Interval] = {}
    for r in requirements:
        symbols = sorted(r.condition.expr.free_symbols, key=str)
        if len(symbols) != 1 or r.condition.kind not in (GE, EQ):
            continue
        (n,) = symbols
        expr = sympy.expand(r.condition.expr)
        factor, rest = expr.coeff(n), expr.subs(n, 0)
        if not (factor.is_number and factor != 0 and sympy.expand(expr - factor * n - rest) == 0):
            continue
        low, high = found.get(n.name, (0, math.inf))
        bound = -rest / factor
        if factor > 0 or r.condition.kind == EQ:
            low = max(low, int(sympy.ceiling(bound)))
        if factor < 0 or r.condition.kind == EQ:
            high = min(high, int(sympy.floor(bound)))
        found[n.name] = low, high
    return found


def greatest(extent: Extent, known: Mapping[str, Interval]) -> int | None:
    """No value of the size is above this one, by interval arithmetic; None where nothing bounds it."""
    if isinstance(extent, int):
        return extent
    high = _interval(extent, known)[1]
    return None if math.isinf(high) or math.isnan(high) else math.floor(high)


def _interval(e: sympy.Expr, known: Mapping[str, Interval]) -> Interval:
    if e.is_Integer:
        return int(e), int(e)
    if e.is_Rational:
        return e.p / e.q, e.p / e.q
    if e.is_Symbol:
        return known.get(e.name, (0, math.inf))
    parts = [_interval(a, known) for a in e.args]
    if e.is_Add:
        return sum(low for low, _ in parts), sum(high for _, high in parts)
    if e.is_Mul:
        product = parts[0]
        for other in parts[1:]:
            corners = [_times(a, b) for a in product for b in other]
            product = min(corners), max(corners)
        return product
    if isinstance(e, (sympy.floor, sympy.ceiling)):
        whole = math.floor if isinstance(e, sympy.floor) else math.ceil
        low, high = (x if math.isinf(x) else whole(x) for x in parts[0])
        return low, high
    if isinstance(e, (sympy.Max, sympy.Min)):
        pick = max if isinstance(e, sympy.Max) else min
        return pick(low for low, _ in parts), pick(high for _, high in parts)
    if e.is_Pow and e.args[1].is_Integer and e.args[1] > 0 and parts[0][0] >= 0:
        power = int(e.args[1])
        return parts[0][0] ** power, parts[0][1] ** power
    if isinstance(e, sympy.Mod) and parts[1][0] > 0:
        return 0, parts[1][1] - 1
    return -math.inf, math.inf


def _times(a: float, b: float) -> float:
    return 0 if a == 0 or b == 0 else a * b
