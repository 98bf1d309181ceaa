"""Running totals: where the sum of a gradient grows from strip to strip.

A gradient is added to once per element, with the completed sum, so that calls add up as PyTorch's do.  Where there is one
strip, or the gradient is set, the sum may grow in the gradient itself; memory of its own for it is needed only where there
are more strips than one, and then for calls that add.  On a machine whose memory is scarce, every part of the sum goes
straight to the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.ir.guards import GE, Condition
from gradgen.ir.minima import greatest, least
from gradgen.ir.symbols import as_extent
from gradgen.loops.procedure import ACCUMULATE, Procedure
from gradgen.loops.statements import LOCAL, Buffer, Expr, Pointer
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.emit_wanted import Wanted
from gradgen.schedule.inline import Op
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import LoopNode, StripNode


@dataclass(frozen=True, slots=True)
class Running:
    """The sum of `op` grows in `buffer`: the gradient, or the memory `own`.

    Nothing is touched where the gradient is not there.  `clear`: the sum begins with 0.  `apart`: it grows in `own`, and is
    added to the gradient at the end; both None where it never does.
    """

    buffer: Buffer
    own: Buffer | None
    clear: Expr
    apart: Expr | None
    first: LoopNode | None = None  # the loop over parts, where a sum that is set begins with its first part instead of 0


def with_parts(procedure: Procedure) -> Procedure:
    """The procedure with gradients that may be added to part by part."""
    outputs = tuple(replace(o, in_parts=True) if o.mode == ACCUMULATE else o for o in procedure.outputs)
    return replace(procedure, outputs=outputs)


def running_total(
    plan: Plan, b: Builder, memory: Memory, wanted: Wanted, op: Op, loop: LoopNode | None
) -> Running | None:
    """How the sum of an op over a loop grows; None where it is not one gradient alone that wants it, or needs it whole."""
    if plan.nested or plan.consumers[op] or len(op.effects) != 1 or plan.options.threads > 1:
        return None
    effect = op.effects[0]
    if effect.mode != ACCUMULATE or plan.kept_axes(op) != op.output_axes:
        return None
    target = memory.place(effect.place, op.node)
    if effect.in_parts:
        alone = plan.sums_over(op) == [loop]  # no other loop goes over parts of the sum
        first = loop if op in plan.contractions and not plan.options.size and alone else None
        return Running(target, None, wanted.sets(), None, first)
    if not isinstance(loop, StripNode) or isinstance(loop.extent, int):
        return None
    several = as_extent(least(1, greatest(0, loop.extent - loop.size)))
    own = memory.more("v", op.node.dtype, (several, *op.shape))
    one = b.holds((Condition(GE, loop.size - loop.extent),), bool_)
    whole = b.apply("or_", (one, wanted.sets()), bool_)
    adds = b.apply("and_", (one, b.apply("not_", (wanted.sets(),), bool_)), bool_)
    name = b.fresh("total")
    b.emit(Pointer(name, target, sympy.S.Zero, wanted.present(effect.place, whole), own))
    buffer = Buffer(name, op.node.dtype, (), LOCAL)
    memory.layouts[buffer] = op.shape
    return Running(buffer, own, b.apply("not_", (adds,), bool_), b.apply("not_", (whole,), bool_))


__all__ = ["Running", "running_total", "with_parts"]
