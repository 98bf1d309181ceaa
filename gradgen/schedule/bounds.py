"""Indices that come from constant tables: whether they stay inside their tensor is known when code is generated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from gradgen.ir.guards import GE, Condition
from gradgen.ir.interpreter import holds, integer
from gradgen.ir.nodes import Constant
from gradgen.ir.symbols import Extent

if TYPE_CHECKING:
    from gradgen.schedule.inline import Check

MOST = 1 << 22
"""Indices that are tried; beyond that the emitted code tests them."""


def certainly_inside(
    check: Check, axes: Sequence[tuple[sympy.Symbol, Extent]], symbols: Sequence[sympy.Symbol]
) -> bool:
    """True where every index of the check is in range for all values of `axes`, its terms (their values are `symbols`)
    being elements of constants."""
    terms = [(getattr(t, "source", None), t) for t in check.terms]
    if any(not isinstance(source, Constant) or t.guard for source, t in terms):  # type: ignore[union-attr]
        return False
    if not all(isinstance(e, int) for _, e in axes) or not all(isinstance(e, int) for e in check.shape):
        return False
    used = {s for _, t in terms for e in t.index for s in e.free_symbols}  # type: ignore[union-attr]
    used |= {s for e in (*check.index, *(c.expr for c in check.guard)) for s in e.free_symbols}
    ranges = [(s, int(e)) for s, e in axes if s in used]  # type: ignore[arg-type]
    if math.prod(n for _, n in ranges) > MOST or not used <= {*(s for s, _ in ranges), *symbols}:
        return False
    grid = np.ogrid[tuple(slice(n) for _, n in ranges)] if ranges else []
    env: dict[sympy.Basic, Any] = {s: g for (s, _), g in zip(ranges, grid, strict=True)}
    for symbol, (source, term) in zip(symbols, terms, strict=False):
        index = tuple(integer(e, env) for e in term.index)  # type: ignore[union-attr]
        assert isinstance(source, Constant)
        env[symbol] = source.array[index].astype(np.int64)
    conditions = []
    for e, extent in zip(check.index, check.shape, strict=True):
        conditions += [Condition(GE, e), Condition(GE, sympy.Integer(extent) - 1 - e)]
    return bool(np.all(holds(tuple(conditions), env) | ~holds(check.guard, env)))
