"""Chunks of parallel loops as functions: what the body of one needs from the procedure around it.

A chunk is a function of its own, which compilers may neither inline nor specialise: so it is the same machine code, and
gives the same bits, whether OpenMP calls it or a plain loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sympy

from gradgen.ir.dtypes import DType, bool_, int64
from gradgen.ir.guards import Guard
from gradgen.loops.statements import (
    ARGUMENT,
    CONSTANT,
    SAVED,
    Array,
    Assign,
    Buffer,
    Contract,
    Copy,
    Declare,
    Expr,
    Fill,
    Holds,
    Index,
    Let,
    Load,
    Loop,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Present,
    SetFlag,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import expressions, statements_in, subexpressions


@dataclass
class Needs:
    """The parameters of a chunk's function, in order of appearance: name -> C declaration."""

    pointers: dict[str, Buffer] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    scalars: dict[str, DType] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    products: bool = False
    saved: bool = False
    flags: bool = False

    def parameters(self) -> list[tuple[str, str]]:
        """Names and declarations."""
        found = [(name, f"{local_type(dtype)} {name}") for name, dtype in self.scalars.items()]
        for name, b in self.pointers.items():
            const = "" if name in self.written else "const "
            alone = "GRADGEN_RESTRICT " if b.space == ARGUMENT else ""
            found.append((name, f"{const}{b.dtype.ctype} *{alone}{name}"))
        if self.saved:
            found.append(("saved", "const void *saved"))
        if self.flags:
            found.append(("flags", "uint32_t flags"))
        if self.products:
            found.append(("gg_scratch", "void *gg_scratch"))
            found.append(("gg_scratch_bytes", "size_t gg_scratch_bytes"))
        return found


def local_type(dtype: DType) -> str:
    """Locals of type bool are int: the type of a comparison in C."""
    return "int" if dtype is bool_ else dtype.ctype


def needs(loop: Loop) -> Needs:
    """What the body of a loop over chunks refers to, the counter included."""
    found = Needs()
    for s in statements_in(loop.body):
        declare(s, found)
    found.scalars[loop.variable.name] = int64
    for s in statements_in(loop.body):
        statement(s, found)
    return found


def declare(s: Statement, found: Needs) -> None:
    match s:
        case Let() | Declare():
            found.own.add(s.variable.name)
        case PairwiseBegin():
            found.own.add(s.accumulator.name)
        case Pointer():
            found.own.add(s.name)
        case Array():
            found.own.add(s.buffer.name)
        case Loop():
            found.own.add(s.variable.name)


def statement(s: Statement, found: Needs) -> None:
    for e in subexpressions(expressions(s)):
        expression(e, found)
    match s:
        case Assign():
            scalar(s.variable, found)
        case PairwiseAdd():
            scalar(s.accumulator, found)
        case Store():
            pointer(s.buffer, found, True)
            index((s.index,), found)
        case Fill():
            pointer(s.buffer, found, True)
            index((s.start, s.count), found)
        case Copy():
            pointer(s.target, found, True)
            pointer(s.source, found, False)
            index((s.target_start, s.source_start, s.count), found)
        case Pointer():
            pointer(s.buffer, found, not s.constant)
            if s.otherwise is not None:
                pointer(s.otherwise, found, not s.constant)
            index((s.start,), found)
        case Loop():
            index((s.start, s.stop), found)
        case Contract():
            found.products = True
            for o in (s.a, s.b, s.c):
                pointer(o.buffer, found, o is s.c)
                index((o.start, *o.strides), found)
            index((s.m, s.n, s.k), found)


def expression(e: Expr, found: Needs) -> None:
    match e:
        case Load():
            pointer(e.buffer, found, False)
            index((e.index,), found)
            guard(e.guard, found)
        case Index():
            index((e.expr,), found)
        case Holds():
            guard(e.guard, found)
        case Variable():
            scalar(e, found)
        case PairwiseTotal():
            scalar(e.accumulator, found)
        case Present():
            if e.buffer.space == SAVED:
                found.saved = True
            else:
                pointer(e.buffer, found, False)
        case SetFlag():
            found.flags = True


def guard(conditions: Guard, found: Needs) -> None:
    index((c.expr for c in conditions), found)


def index(extents: Iterable[object], found: Needs) -> None:
    for e in extents:
        for s in sorted(sympy.sympify(e).free_symbols, key=lambda s: s.name):
            if s.name not in found.own:
                found.scalars.setdefault(s.name, int64)


def scalar(v: Variable, found: Needs) -> None:
    if v.name not in found.own:
        found.scalars.setdefault(v.name, v.dtype)


def pointer(b: Buffer, found: Needs, written: bool) -> None:
    if b.name in found.own:
        return
    found.pointers.setdefault(b.name, b)
    if written and b.space != CONSTANT:
        found.written.add(b.name)


__all__ = ["Needs", "local_type", "needs"]
