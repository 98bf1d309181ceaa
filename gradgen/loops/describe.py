"""A Program as an indented listing: loops, locals and stores, without the C around them."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from gradgen.ir.scalar_table import operator_of
from gradgen.loops.statements import (
    Apart,
    Apply,
    Array,
    Assign,
    Call,
    Comment,
    Contract,
    Copy,
    Declare,
    Expr,
    Fail,
    Fill,
    Holds,
    If,
    Index,
    Let,
    Literal,
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
from gradgen.loops.walk import blocks

if TYPE_CHECKING:
    from gradgen.loops.program import Program


def describe(program: Program) -> str:
    """Buffers with their places first, then the statements, then what the passes decided."""
    lines = [f"{program.name}: work {program.layout.work} bytes, saved {program.layout.saved} bytes"]
    for b in program.buffers:
        at = f" +{program.layout.offsets[b]}" if b in program.layout.offsets else ""
        lines.append(f"  {b.name}: {b.dtype.name}[{', '.join(map(str, b.shape))}] {b.space}{at}")
    stack: list[tuple[Statement, int]] = [(s, 1) for s in reversed(program.statements)]
    while stack:
        s, depth = stack.pop()
        lines.append("  " * depth + line(s))
        stack.extend((inner, depth + 1) for block in reversed(blocks(s)) for inner in reversed(block))
    lines += [f"  {note}" for note in program.notes]
    return "\n".join(lines)


@singledispatch
def line(s: Statement) -> str:
    """One statement without what is inside it."""
    return type(s).__name__


@line.register
def _(s: Comment) -> str:
    return f"# {', '.join(s.lines)}"


@line.register(Let)
@line.register(Declare)
@line.register(Assign)
def _(s: Let | Declare | Assign) -> str:
    word = {Let: "let ", Declare: "var ", Assign: ""}[type(s)]
    return f"{word}{s.variable.name} = {text(s.value)}"


@line.register
def _(s: Array) -> str:
    return f"array {s.buffer.name}[{s.buffer.size}]"


@line.register
def _(s: Store) -> str:
    return f"{s.buffer.name}[{s.index}] = {text(s.value)}"


@line.register
def _(s: Loop) -> str:
    how = (f"parallel {s.parallel} " if s.parallel else "") + ("simd " if s.simd else "")
    how += " ".join(f"{op}:{name}" for op, name in s.reductions)
    step = f" step {s.step}" if s.step != 1 else ""
    return f"for {s.variable} in {s.start}..{s.stop}{step}{' ' + how.strip() if how.strip() else ''}:"


@line.register
def _(s: Apart) -> str:
    return f"{s.kind}:"


@line.register
def _(s: If) -> str:
    return f"if {text(s.condition)}:"


@line.register
def _(s: Fill) -> str:
    return f"fill {s.buffer.name}[{s.start} +{s.count}] = {text(s.value)}"


@line.register
def _(s: Copy) -> str:
    return f"copy {s.target.name}[{s.target_start} +{s.count}] = {s.source.name}[{s.source_start}]"


@line.register
def _(s: Pointer) -> str:
    if s.condition is None or s.otherwise is None:
        return f"row {s.name} = {s.buffer.name} + {s.start}"
    return f"row {s.name} = {s.buffer.name} + {s.start} if {text(s.condition)} else {s.otherwise.name}"


@line.register
def _(s: Contract) -> str:
    sign = "+=" if s.accumulate else "="
    return f"product {s.c.buffer.name} {sign} {s.a.buffer.name} {s.b.buffer.name} ({s.m} x {s.n} x {s.k})"


@line.register
def _(s: PairwiseBegin) -> str:
    return f"pairwise {s.accumulator.name}"


@line.register
def _(s: PairwiseAdd) -> str:
    return f"{s.accumulator.name} += {text(s.value)}"


@line.register
def _(s: Call) -> str:
    pointers = [f"{o.buffer.name}+{o.start}" if o.start != 0 else o.buffer.name for o in s.pointers if o is not None]
    scalars = [text(e) if isinstance(e, Expr) else str(e) for e in s.scalars]
    result = f"{s.result.name} = " if s.result is not None else ""
    return f"{result}{s.function.name}({', '.join([*pointers, *scalars])})"


@line.register
def _(s: Fail) -> str:
    return f"fail {s.status}"


def text(e: Expr) -> str:
    """An expression, fully parenthesised."""
    match e:
        case Literal():
            return str(e.value)
        case Index():
            return str(e.expr)
        case Variable():
            return e.name
        case Load():
            return f"{e.buffer.name}[{e.index}{f' | {e.fill}' if e.guard else ''}]"
        case Holds():
            return "holds(" + ", ".join(f"{c.kind} {c.expr}" for c in e.guard) + ")"
        case Present():
            return f"wanted({e.buffer.name})"
        case SetFlag():
            return "set"
        case PairwiseTotal():
            return f"total({e.accumulator.name})"
        case Apply():
            args = [text(a) for a in e.args]
            sign = operator_of(e.op)
            if sign:
                return f"({args[0]} {sign} {args[1]})"
            if e.op == "cast":
                return f"{e.dtype.name}({args[0]})"
            return f"{e.op}({', '.join(args)})"
    return type(e).__name__
