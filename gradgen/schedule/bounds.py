"""Indices that come from constant tables and from argmax: whether they stay inside their tensor is known when code is
generated."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from gradgen.ir.evaluation import holds, integer
from gradgen.ir.guards import GE, Condition
from gradgen.ir.nodes import ARG_REDUCERS, Compute, Constant, Node
from gradgen.ir.symbols import Extent

if TYPE_CHECKING:
    from gradgen.schedule.inline import Check

MOST = 1 << 22
"""Indices that are tried; beyond that the emitted code tests them."""


def positions(node: Node) -> Extent | None:
    """How many positions there are, where the node's elements are such; what argmax and argmin give."""
    return node.reduce_shape[0] if isinstance(node, Compute) and node.reducer in ARG_REDUCERS else None


def certainly_inside(
    check: Check, axes: Sequence[tuple[sympy.Symbol, Extent]], symbols: Sequence[sympy.Symbol], given: Container[Node]
) -> bool:
    """True where every index of the check is in range for all values of `axes`, its terms (their values are `symbols`)
    being elements of constants, or of an argmax that is computed here and not `given`."""
    terms: dict[sympy.Symbol, tuple[Constant, Any]] = {}
    ranges = dict(axes)
    for symbol, term in zip(symbols, check.terms, strict=False):
        source = getattr(term, "source", None)
        below = positions(source) if isinstance(source, Node) and source not in given else None
        if getattr(term, "guard", True):
            return False
        if isinstance(source, Constant):
            terms[symbol] = source, term
        elif below is not None:
            ranges[symbol] = below
        else:
            return False
    tested = [(e, n) for e, n in zip(check.index, check.shape, strict=True) if e.has(*symbols)]
    used = {s for _, t in terms.values() for e in t.index for s in e.free_symbols}
    used |= {s for e in (*(e for e, _ in tested), *(c.expr for c in check.guard)) for s in e.free_symbols}
    sizes = {s: n for s, n in ranges.items() if s in used}
    if not used <= {*sizes, *terms} or not all(isinstance(n, int) for n in (*sizes.values(), *(n for _, n in tested))):
        return False
    numbers = [int(n) for n in sizes.values()]  # type: ignore[arg-type]
    if math.prod(numbers) > MOST:
        return False
    grid = np.ogrid[tuple(slice(n) for n in numbers)] if numbers else []
    env: dict[sympy.Basic, Any] = dict(zip(sizes, grid, strict=True))
    for symbol, (constant, term) in terms.items():
        index = tuple(integer(e, env) for e in term.index)
        env[symbol] = constant.array[index].astype(np.int64)
    conditions = []
    for e, extent in tested:
        conditions += [Condition(GE, e), Condition(GE, sympy.Integer(extent) - 1 - e)]
    return bool(np.all(holds(tuple(conditions), env) | ~holds(check.guard, env)))
