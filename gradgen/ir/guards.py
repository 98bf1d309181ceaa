"""Guards: conjunctions of integer conditions on the axes, under which a read is inside its tensor.

A guard is a tuple of `Condition`s; the empty tuple always holds.  They are kept affine wherever the source is, so that
the scheduler can split loops at them instead of testing inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy

from gradgen.ir.indexing import is_multiple
from gradgen.ir.symbols import Extent

GE, EQ, MOD, NE = "ge", "eq", "mod", "ne"


@dataclass(frozen=True, slots=True)
class Condition:
    """`expr >= 0`, `expr == 0`, or `expr % modulus == 0` (Python's %), for an integer expression of axes and Dims.

    `expr != 0` is a condition on dimensions only, never part of a guard.
    """

    kind: str
    expr: sympy.Expr
    modulus: Extent = 0

    def substitute(self, mapping: dict[sympy.Expr, sympy.Expr]) -> Condition:
        return Condition(self.kind, self.expr.xreplace(mapping), self.modulus)

    def to_sympy(self) -> sympy.Basic:
        if self.kind == GE:
            return sympy.Ge(self.expr, 0)
        if self.kind == EQ:
            return sympy.Eq(self.expr, 0)
        return sympy.Eq(sympy.Mod(self.expr, self.modulus), 0)


Guard = tuple[Condition, ...]
ALWAYS: Guard = ()


def _trivial(c: Condition) -> bool | None:
    """True or False where the condition is decided without knowing the axes, else None."""
    e = sympy.sympify(c.expr)
    if c.kind == GE:
        return _not_negative(e)
    if c.kind == EQ:
        return e.is_zero
    if e.is_Integer and isinstance(c.modulus, int):
        return int(e) % c.modulus == 0
    return True if is_multiple(e, sympy.sympify(c.modulus)) else None


@lru_cache(maxsize=1 << 14)
def _not_negative(e: sympy.Expr) -> bool | None:
    """SymPy finds it anew for every object."""
    return e.is_nonnegative


def conjunction(*conditions: Condition) -> Guard | None:
    """The guard of all `conditions`, decided ones dropped; None where one of them can never hold."""
    kept: dict[Condition, None] = {}
    for c in conditions:
        decided = _trivial(c)
        if decided is False:
            return None
        if decided is None:
            kept[c] = None
    return tuple(kept)


def in_range(expr: sympy.Expr, extent: Extent) -> tuple[Condition, Condition]:
    """`0 <= expr < extent`."""
    expr = sympy.sympify(expr)
    return Condition(GE, expr), Condition(GE, sympy.sympify(extent) - 1 - expr)
