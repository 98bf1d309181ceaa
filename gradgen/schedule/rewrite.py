"""Statements with other buffers and variables in them, and a walk over the expressions that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import sympy

from gradgen.errors import ScheduleError
from gradgen.loops.statements import (
    Apply,
    Array,
    Assign,
    Buffer,
    Comment,
    Contract,
    Copy,
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
    Operand,
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

FREE_OF_BOTH = (Literal, Index, Holds, Present, SetFlag)


def expressions(s: Statement) -> tuple[Expr, ...]:
    """The expressions that a statement itself holds, those of inner statements aside."""
    match s:
        case Let() | Declare() | Assign() | PairwiseAdd() | Store() | Fill():
            return (s.value,)
        case If():
            return (s.condition,)
        case Pointer():
            return () if s.condition is None else (s.condition,)
    return ()


def subexpressions(roots: Iterable[Expr]) -> Iterator[Expr]:
    """Every expression in these, as often as it occurs."""
    stack = list(roots)
    while stack:
        e = stack.pop()
        yield e
        if isinstance(e, Apply):
            stack.extend(e.args)


def index_symbols(expr: Expr) -> Iterator[sympy.Symbol]:
    """Counters and integer locals in the index and the guard of one expression, its operands aside."""
    if isinstance(expr, Load):
        yield from expr.index.free_symbols
        for c in expr.guard:
            yield from c.expr.free_symbols
    elif isinstance(expr, Index):
        yield from expr.expr.free_symbols
    elif isinstance(expr, Holds):
        for c in expr.guard:
            yield from c.expr.free_symbols


def statements_in(block: Iterable[Statement]) -> Iterator[Statement]:
    """These statements and all inside them, in order."""
    stack = list(reversed(tuple(block)))
    while stack:
        s = stack.pop()
        yield s
        if isinstance(s, Loop):
            stack.extend(reversed(s.body))
        elif isinstance(s, If):
            stack.extend(reversed((*s.body, *s.otherwise)))


class Renaming:
    """Other buffers (by identity) and other variables (by name) in statements; counters and indices stay."""

    def __init__(self, buffers: Mapping[Buffer, Buffer], variables: Mapping[str, str]) -> None:
        self.buffers, self.variables = buffers, variables

    def block(self, block: Iterable[Statement]) -> tuple[Statement, ...]:
        return tuple(self.statement(s) for s in block)

    def buffer(self, b: Buffer) -> Buffer:
        return self.buffers.get(b, b)

    def variable(self, v: Variable) -> Variable:
        return Variable(v.dtype, self.variables[v.name]) if v.name in self.variables else v

    def operand(self, o: Operand) -> Operand:
        return replace(o, buffer=self.buffer(o.buffer))

    def expr(self, e: Expr) -> Expr:
        match e:
            case Load():
                return replace(e, buffer=self.buffer(e.buffer))
            case Variable():
                return self.variable(e)
            case Apply():
                return Apply(e.dtype, e.op, tuple(self.expr(a) for a in e.args))
            case PairwiseTotal():
                return PairwiseTotal(e.dtype, self.variable(e.accumulator))
        if isinstance(e, FREE_OF_BOTH):
            return e
        raise ScheduleError(f"cannot rename in {type(e).__name__}")

    def statement(self, s: Statement) -> Statement:
        match s:
            case Let() | Declare() | Assign():
                return replace(s, variable=self.variable(s.variable), value=self.expr(s.value))
            case PairwiseBegin():
                return replace(s, accumulator=self.variable(s.accumulator))
            case PairwiseAdd():
                return replace(s, accumulator=self.variable(s.accumulator), value=self.expr(s.value))
            case Store() | Fill():
                return replace(s, buffer=self.buffer(s.buffer), value=self.expr(s.value))
            case Copy():
                return replace(s, target=self.buffer(s.target), source=self.buffer(s.source))
            case Contract():
                return replace(s, a=self.operand(s.a), b=self.operand(s.b), c=self.operand(s.c))
            case Pointer():
                condition = None if s.condition is None else self.expr(s.condition)
                other = None if s.otherwise is None else self.buffer(s.otherwise)
                return replace(s, buffer=self.buffer(s.buffer), condition=condition, otherwise=other)
            case Array():
                return Array(self.buffer(s.buffer))
            case Loop():
                sums = tuple((op, self.variables.get(name, name)) for op, name in s.reductions)
                return replace(s, body=self.block(s.body), reductions=sums)
            case If():
                return If(self.expr(s.condition), self.block(s.body), self.block(s.otherwise))
            case Comment():
                return s
        raise ScheduleError(f"cannot rename in {type(s).__name__}")
