"""Outlining: nests that a long program repeats become one function, called with other pointers and numbers.

A recurrence that the user wrote as a Python loop arrives here unrolled: the same few nests over and over, on other
buffers.  Printed once each, they would make compilers (whose time grows faster than a function's length) the slowest
stage by far.  Short programs are left alone: they read better in one piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import sympy

from gradgen.ir.dtypes import DType
from gradgen.ir.guards import Condition
from gradgen.loops.statements import (
    LOCAL,
    Apply,
    Assign,
    Buffer,
    Call,
    Comment,
    Copy,
    CVar,
    Declare,
    Expr,
    Fill,
    Holds,
    If,
    Index,
    Let,
    Literal,
    Load,
    Loop,
    Part,
    Statement,
    Store,
    Variable,
)

MANY_NESTS = 24  # top-level nests from which on a program is worth outlining


class _Unfit(Exception):
    """The nest does something that needs the whole function around it."""


@dataclass(frozen=True)
class _Found:
    part: Part
    call: Call


def outline(statements: tuple[Statement, ...], name: str) -> tuple[tuple[Statement, ...], tuple[Part, ...]]:
    """The statements with repeated nests replaced by calls, and the functions called."""
    nests = list(_nests(statements))
    if len(nests) < MANY_NESTS:
        return statements, ()
    found: dict[Statement, _Found] = {}
    count: dict[tuple, int] = {}
    keys: dict[Statement, tuple] = {}
    for s in nests:
        try:
            made = _Canonical().nest(s)
        except _Unfit:
            continue
        keys[s] = made.part.key
        found[s] = made
        count[made.part.key] = count.get(made.part.key, 0) + 1
    parts: dict[tuple, Part] = {}

    def replaced(block: tuple[Statement, ...]) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for s in block:
            key = keys.get(s)
            if isinstance(s, If):
                out.append(If(s.condition, replaced(s.body), replaced(s.otherwise)))
            elif key is None or count[key] < 2:
                out.append(s)
            else:
                if key not in parts:
                    parts[key] = replace(found[s].part, name=f"{name}_part_{len(parts) + 1}")
                out.append(replace(found[s].call, part=parts[key]))
        return tuple(out)

    return replaced(statements), tuple(parts.values())


def _nests(statements: tuple[Statement, ...]) -> Iterable[Loop]:
    """The loops that are in no other loop, in order."""
    for s in statements:
        if isinstance(s, Loop):
            yield s
        elif isinstance(s, If):
            yield from _nests((*s.body, *s.otherwise))


class _Canonical:
    """One nest with everything from outside under the names of parameters, numbered in order of appearance."""

    def __init__(self) -> None:
        self.pointers: dict[tuple[Buffer, int], tuple[Buffer, Buffer, int]] = {}  # -> parameter, buffer, offset
        self.written: dict[str, None] = {}
        self.scalars: dict[str, tuple[Variable, Expr | sympy.Symbol]] = {}
        self.locals: dict[str, str] = {}
        self.outputs: dict[str, Variable] = {}

    def nest(self, loop: Loop) -> _Found:
        body = self.statement(loop)
        if len(self.outputs) > 1:
            raise _Unfit
        result = next(iter(self.outputs.values()), None)
        pointers = tuple((p, p.name in self.written) for p, _, _ in self.pointers.values())
        scalars = tuple(v for v, _ in self.scalars.values())
        inner = Variable(result.dtype, self.scalars[result.name][0].name) if result is not None else None
        key = (_key(body), tuple((p.dtype.name, w) for p, w in pointers), tuple(v.dtype.name for v in scalars),
               None if inner is None else inner.name)
        part = Part("", pointers, scalars, (body,), inner, key)
        call = Call(part, tuple((b, offset) for _, b, offset in self.pointers.values()),
                    tuple(e for _, e in self.scalars.values()), result)
        return _Found(part, call)

    # --- names ----------------------------------------------------------------------------------------------------

    def pointer(self, buffer: Buffer, index: sympy.Expr, write: bool = False) -> tuple[Buffer, sympy.Expr]:
        if buffer.place is not None and buffer.place.optional:
            raise _Unfit
        offset, rest = _split(index)
        key = (buffer, offset)
        if key not in self.pointers:
            parameter = Buffer(f"p{len(self.pointers)}", buffer.dtype, (), LOCAL)
            self.pointers[key] = (parameter, buffer, offset)
        parameter = self.pointers[key][0]
        if write:
            self.written[parameter.name] = None
        return parameter, self.index(rest)

    def variable(self, v: Variable) -> Variable:
        if v.name in self.locals:
            return Variable(v.dtype, self.locals[v.name])
        if v.name not in self.scalars:
            self.scalars[v.name] = (Variable(v.dtype, f"x{len(self.scalars)}"), v)
        return self.scalars[v.name][0]

    def symbol(self, s: sympy.Symbol) -> sympy.Symbol:
        from gradgen.ir.dtypes import int64

        if s.name in self.locals:
            return CVar(self.locals[s.name], integer=True, nonnegative=s.is_nonnegative)
        if s.name not in self.scalars:
            self.scalars[s.name] = (Variable(int64, f"x{len(self.scalars)}"), s)
        return CVar(self.scalars[s.name][0].name, integer=True, nonnegative=s.is_nonnegative)

    def index(self, expr: sympy.Expr | int) -> sympy.Expr:
        expr = sympy.sympify(expr)
        if expr.is_Integer:
            return expr
        symbols = sorted(expr.free_symbols, key=lambda s: s.name)
        return expr.xreplace({s: self.symbol(s) for s in symbols})

    def declare(self, name: str) -> str:
        self.locals[name] = f"t{len(self.locals)}"
        return self.locals[name]

    # --- statements -----------------------------------------------------------------------------------------------

    def statement(self, s: Statement) -> Statement:
        match s:
            case Comment():
                return s
            case Let() | Declare():
                value = self.expr(s.value)
                return type(s)(Variable(s.variable.dtype, self.declare(s.variable.name)), value)
            case Assign():
                value = self.expr(s.value)
                if s.variable.name not in self.locals:
                    self.outputs[s.variable.name] = s.variable
                return Assign(self.variable(s.variable), value)
            case Store():
                value = self.expr(s.value)
                buffer, at = self.pointer(s.buffer, s.index, True)
                return Store(buffer, at, value)
            case Fill():
                buffer, at = self.pointer(s.buffer, sympy.sympify(s.start), True)
                return Fill(buffer, at, self.index(s.count), self.expr(s.value))
            case Copy():
                target, at = self.pointer(s.target, sympy.sympify(s.target_start), True)
                source, start = self.pointer(s.source, sympy.sympify(s.source_start))
                return Copy(target, at, source, start, self.index(s.count))
            case Loop():
                return self.loop(s)
            case If():
                return If(self.expr(s.condition), self.block(s.body), self.block(s.otherwise))
        raise _Unfit

    def block(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        return tuple(self.statement(s) for s in statements)

    def loop(self, s: Loop) -> Loop:
        start, stop = self.index(s.start), self.index(s.stop)
        outer = self.locals.get(s.variable.name)
        self.locals[s.variable.name] = s.variable.name
        reductions = []
        body = self.block(s.body)
        for op, name in s.reductions:
            known = self.locals.get(name) or (self.scalars[name][0].name if name in self.scalars else None)
            if known is None:
                raise _Unfit
            reductions.append((op, known))
        if outer is None:
            del self.locals[s.variable.name]
        return Loop(s.variable, start, stop, body, s.step, s.simd, tuple(reductions))

    def expr(self, e: Expr) -> Expr:
        match e:
            case Literal():
                return e
            case Variable():
                return self.variable(e)
            case Index():
                return Index(e.dtype, self.index(e.expr))
            case Load():
                buffer, at = self.pointer(e.buffer, e.index)
                return Load(e.dtype, buffer, at, self.guard(e.guard), e.fill)
            case Holds():
                return Holds(e.dtype, self.guard(e.guard))
            case Apply():
                return Apply(e.dtype, e.op, tuple(self.expr(a) for a in e.args))
        raise _Unfit

    def guard(self, guard: tuple[Condition, ...]) -> tuple[Condition, ...]:
        return tuple(Condition(c.kind, self.index(c.expr), c.modulus) for c in guard)


def _split(index: sympy.Expr) -> tuple[int, sympy.Expr]:
    """The constant part of an element number, which moves into the pointer, and the rest."""
    if index.is_Integer:
        return int(index), sympy.S.Zero
    if isinstance(index, sympy.Add) and index.args[0].is_Integer:
        return int(index.args[0]), sympy.Add(*index.args[1:])
    return 0, index


def _key(s: object) -> object:
    """Equal for statements and expressions that print alike."""
    match s:
        case tuple():
            return tuple(_key(x) for x in s)
        case Buffer():
            return s.name
        case DType():
            return s.name
        case Comment():
            return ()
        case Statement() | Expr():
            fields = type(s).__dataclass_fields__  # type: ignore[attr-defined]
            return (type(s).__name__, *(_key(getattr(s, f)) for f in fields))
    return s


__all__ = ["MANY_NESTS", "outline"]
