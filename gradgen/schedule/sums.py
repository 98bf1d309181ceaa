"""Locals that a loop only adds to, or keeps the extreme of: each chunk of the loop can have its own."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.loops.statements import (
    Apply,
    Assign,
    Expr,
    Loop,
    PairwiseAdd,
    Variable,
)
from gradgen.loops.walk import bound, expressions, statements_in, subexpressions, used
from gradgen.schedule.accesses import COMMUTATIVE, Unknown
from gradgen.schedule.reductions import extreme


@dataclass(frozen=True)
class Sum:
    """A local that the loop adds to: the operation, or "max" and "min"; `pairwise` where it is an accumulator."""

    variable: Variable
    op: str
    pairwise: bool = False


def identity(op: str, dtype: DType) -> sympy.Expr:
    """What leaves the other operand as it is."""
    if op in ("max", "min"):
        return extreme(dtype, op == "min")
    return sympy.Integer(1 if op in ("mul", "bitand") else 0)


def combined(x: Sum, part: Expr) -> Expr:
    dtype = x.variable.dtype
    if x.op in ("max", "min"):
        better = Apply(bool_, "gt" if x.op == "max" else "lt", (part, x.variable))
        return Apply(dtype, "select", (better, part, x.variable))
    return Apply(dtype, x.op, (x.variable, part))


def sums_of(loop: Loop) -> list[Sum]:
    """The locals from outside that the loop changes, each by one operation and nothing else; Unknown where not so."""
    inside = list(statements_in(loop.body))
    own = {name for s in inside for name in bound(s)}
    found: dict[str, Sum] = {}
    allowed: dict[str, int] = {}
    for s in inside:
        if isinstance(s, PairwiseAdd) and s.accumulator.name not in own:
            note_sum(found, Sum(s.accumulator, "add", True))
        elif isinstance(s, Assign) and s.variable.name not in own:
            op, uses = operation(s)
            note_sum(found, Sum(s.variable, op))
            allowed[s.variable.name] = allowed.get(s.variable.name, 0) + uses
    for e in subexpressions(e for s in inside for e in expressions(s)):
        for name in used(e):
            if name in found and found[name].pairwise:
                raise Unknown(f"{name} is read while it is summed")
            if name in found:
                allowed[name] = allowed.get(name, 0) - 1
    if any(allowed.values()):
        raise Unknown("a sum is read while it is summed")
    return list(found.values())


def note_sum(found: dict[str, Sum], new: Sum) -> None:
    old = found.setdefault(new.variable.name, new)
    if (old.op, old.pairwise) != (new.op, new.pairwise):
        raise Unknown(f"{new.variable.name} is changed in several ways")


def operation(s: Assign) -> tuple[str, int]:
    """The operation by which a local changes, and how often the expression mentions it."""
    e, name = s.value, s.variable.name

    def is_old(x: Expr) -> bool:
        return isinstance(x, Variable) and x.name == name

    if isinstance(e, Apply) and e.op in COMMUTATIVE and len(e.args) == 2 and is_old(e.args[0]):
        return e.op, 1
    if isinstance(e, Apply) and e.op == "select" and is_old(e.args[2]):
        test = e.args[0]
        if isinstance(test, Apply) and test.op in ("gt", "lt") and is_old(test.args[1]) and not is_old(e.args[1]):
            return "max" if test.op == "gt" else "min", 2
    raise Unknown(f"{name} goes from one iteration to the next")
