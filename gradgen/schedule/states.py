"""States in place: what a state becomes may be written where the state is.

A function reads the old value until it ends, in an order that its loops decide.  So the new one is computed in WORK and
copied when all else is done.  (That backward needs no state is the compiler's part.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gradgen.ir.dtypes import bool_
from gradgen.loops.procedure import Procedure
from gradgen.loops.statements import WORK, Buffer, Copy, Expr, If, Present, Statement
from gradgen.loops.walk import Rewriting


def copied_last(
    procedure: Procedure, statements: tuple[Statement, ...], buffers: tuple[Buffer, ...], fresh: Callable[[str], str]
) -> tuple[tuple[Statement, ...], tuple[Buffer, ...]]:
    """The statements with memory in WORK for such values, and copies of them at the end."""
    places = {o.place for o in procedure.outputs if o.last}
    kept = {b: Buffer(fresh("next"), b.dtype, b.shape, WORK) for b in buffers if b.place in places}
    if not kept:
        return statements, buffers
    own = {new: old for old, new in kept.items()}

    def asked(e: Expr) -> Expr:
        return replace(e, buffer=own.get(e.buffer, e.buffer)) if isinstance(e, Present) else e

    made = list(Rewriting(leaf=asked, buffer=lambda b: kept.get(b, b)).block(statements))
    for old, new in kept.items():
        copy: Statement = Copy(old, 0, new, 0, old.size)
        optional = old.place is not None and old.place.optional
        made.append(If(Present(bool_, old), (copy,)) if optional else copy)
    return tuple(made), (*buffers, *kept.values())


__all__ = ["copied_last"]
