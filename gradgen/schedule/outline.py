"""Outlining: nests that a module repeats become one function, called with other pointers and numbers.

A recurrence that the user wrote as a Python loop arrives here unrolled: the same few nests over and over, on other
buffers.  Printed once each, they would make compilers (whose time grows faster than a function's length) the slowest
stage by far.  Layers of one shape are such nests as well, and what forward, backward and value_and_grad have in common.
Short modules are left alone unless code is dear: they read better in one piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy

from gradgen.ir.dtypes import INDEX
from gradgen.ir.guards import Condition
from gradgen.ir.symbols import renamed
from gradgen.loops.draft import Draft
from gradgen.loops.statements import (
    LOCAL,
    NEST,
    Buffer,
    Call,
    Comment,
    CVar,
    Expr,
    Function,
    If,
    Literal,
    Loop,
    Operand,
    PairwiseAdd,
    Statement,
    Truth,
    Variable,
)
from gradgen.loops.walk import (
    ELSEWHERE,
    ROWS,
    STARTS,
    Role,
    blocks,
    expressions,
    mapped,
    statements_in,
    subexpressions,
    used,
)
from gradgen.schedule.cost import PC, Costs
from gradgen.schedule.numbers import Numbers, different, key_of
from gradgen.schedule.unroll import size

_R = Role
MANY_NESTS = 24  # top-level nests from which on a module is worth outlining
FEW = 3  # statements of a nest that are not worth a call


class _Unfit(Exception):
    """The nest does something that needs the whole function around it."""


@dataclass(frozen=True)
class _Found:
    call: Call
    key: tuple


class SharedNests:
    """The nests that several functions of a module, or one of them several times, have in common."""

    def __init__(self, drafts: Sequence[Draft], costs: Costs = PC) -> None:
        """Where code is dear any module is worth it."""
        self.found: dict[Statement, _Found] = {}
        self.count: Counter[tuple] = Counter()
        self.functions: dict[tuple, Function] = {}
        self.costs = costs
        nests = [s for d in drafts for s in _loops(d.statements)]
        if len(nests) < MANY_NESTS and not costs.size:
            return
        self.forms: dict[Statement, tuple] = {}
        self.often = Counter(form for s in nests for form in _forms(s, self.forms))
        while nests:  # those inside the nests that occur once are looked at next
            for s in nests:
                self.note(s)
            self.with_numbers([s for s in nests if s in self.found])
            nests = [inner for s in nests if not self.shared(s) for inner in _loops(s.body) if _is_nest(inner)]

    def note(self, s: Loop) -> None:
        if self.often[self.forms[s]] > 1 and sum(not isinstance(t, Comment) for t in statements_in((s,))) >= FEW:
            try:
                self.found[s] = _Canonical(self.costs.size).nest(s)
            except _Unfit:
                return
            self.count[self.found[s].key] += 1

    def with_numbers(self, nests: Sequence[Loop]) -> None:
        """Nests that differ in numbers alone are one where that pays, and are given the numbers."""
        kinds: dict[tuple, list[Loop]] = {}
        keys: dict[tuple, set[tuple]] = {}
        for s in nests:
            keys.setdefault(self.forms[s], set()).add(self.found[s].key)
        nests = [s for s in nests if len(keys[self.forms[s]]) > 1]
        numbers = {s: Numbers(self.found[s].call.function.body) for s in nests}
        for s in nests:
            function = self.found[s].call.function
            rest = (*(p.dtype.name for p in (*function.reads, *function.updates, *function.scratch)),
                    *(v.dtype.name for v in function.scalars), function.order, function.result and function.result.name)
            kinds.setdefault((numbers[s].key, rest), []).append(s)
        for key, alike in kinds.items():
            before = Counter(self.found[s].key for s in alike)
            given = different([numbers[s].values for s in alike])
            base = len(self.found[alike[0]].call.function.parameters)
            body = size(self.found[alike[0]].call.function.body)
            if len(before) < 2 or not self.costs.worth_one_function(body, list(before.values()), base, len(given)):
                continue
            for s in alike:
                self.count[self.found[s].key] -= 1
                self.found[s] = _Found(numbers[s].call(self.found[s].call, given), key)
                self.count[key] += 1

    def shared(self, s: Loop) -> bool:
        return s in self.found and self.count[self.found[s].key] > 1

    def outlined(self, draft: Draft) -> Draft:
        """The draft with calls in their place."""
        statements = self._block(draft.statements)
        return draft if statements is draft.statements else replace(draft, statements=statements)

    def _block(self, block: tuple[Statement, ...]) -> tuple[Statement, ...]:
        made = tuple(map(self._statement, block))
        return block if all(a is b for a, b in zip(made, block, strict=True)) else made

    def _statement(self, s: Statement) -> Statement:
        if not (isinstance(s, Loop) and self.shared(s)):
            return mapped(s, block=self._block)
        made = self.found[s]
        named = replace(made.call.function, name=f"gg_part_{len(self.functions) + 1}")
        return replace(made.call, function=self.functions.setdefault(made.key, named))


def _loops(statements: Iterable[Statement]) -> Iterator[Loop]:
    """The loops that are in no other loop, in order."""
    for s in statements:
        if isinstance(s, Loop):
            yield s
        elif isinstance(s, If):
            yield from _loops((*s.body, *s.otherwise))


def _is_nest(s: Loop) -> bool:
    """It has loops inside: a call of a single one would cost more than it saves."""
    return any(True for _ in _loops(s.body))


def _forms(s: Statement, forms: dict[Statement, tuple]) -> Iterator[tuple]:
    """The forms of a statement's loops, its own last: what nests that differ in more than names and numbers differ in."""
    inner: list[tuple] = []
    for block in blocks(s):
        for t in block:
            yield from _forms(t, forms)
            inner.append(forms[t])
    kinds = (Variable if type(e) is Literal else type(e) for e in subexpressions(expressions(s)))
    forms[s] = (type(s), *kinds, *inner)
    if isinstance(s, Loop):
        yield forms[s]


class _Canonical:
    """One nest with everything from outside under the names of parameters, numbered in order of appearance."""

    def __init__(self, calls: bool) -> None:
        """`calls`: kernels may be called inside, where what is known of their operands is lost."""
        self.calls = calls
        self.pointers: dict[tuple[object, int], tuple[Buffer, Buffer, int]] = {}  # -> parameter, buffer, offset
        self.written: dict[str, None] = {}
        self.scratch: dict[str, None] = {}
        self.scalars: dict[str, tuple[Variable, Expr | sympy.Symbol]] = {}
        self.locals: dict[str, str] = {}
        self.memory: dict[str, Buffer] = {}  # rows and arrays of the nest's own
        self.outputs: dict[str, Variable] = {}

    def nest(self, loop: Loop) -> _Found:
        body = self.statement(loop)
        if len(self.outputs) > 1:
            raise _Unfit
        result = next(iter(self.outputs.values()), None)
        scalars = tuple(v for v, _ in self.scalars.values())
        inner = Variable(result.dtype, self.scalars[result.name][0].name) if result is not None else None
        given = [(p, Operand(b, offset)) for p, b, offset in self.pointers.values()]
        roles = [1 if p.name not in self.written else 3 if p.name in self.scratch else 2 for p, _ in given]
        reads, updates, scratch = ([pair for pair, r in zip(given, roles) if r == role] for role in (1, 2, 3))
        key = (key_of(body), tuple((p.dtype.name, r) for (p, _), r in zip(given, roles)),
               tuple(v.dtype.name for v in scalars), None if inner is None else inner.name)
        function = Function(
            "", NEST, reads=tuple(p for p, _ in reads), updates=tuple(p for p, _ in updates),
            scratch=tuple(p for p, _ in scratch), scalars=scalars, body=(body,), result=inner,
            order=(*(p.name for p, _ in given), *(v.name for v in scalars)))
        call = Call(function, reads=tuple(o for _, o in reads), updates=tuple(o for _, o in updates),
                    scratch=tuple(o for _, o in scratch), scalars=tuple(e for _, e in self.scalars.values()), result=result)
        return _Found(call, key)

    # --- names ----------------------------------------------------------------------------------------------------

    def pointer(self, buffer: Buffer, index: sympy.Expr | int, write: bool) -> tuple[Buffer, sympy.Expr]:
        """Memory and the element in it: the nest's own, or a parameter that points to the constant part of the index."""
        if buffer.name in self.memory:
            return self.memory[buffer.name], self.index(index)
        if buffer.given and buffer.place is not None and buffer.place.optional:  # what NULL stands for, a load says
            raise _Unfit
        offset, rest = _split(sympy.sympify(index))
        key = (buffer.name if buffer.space == LOCAL else buffer, offset)
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
        if s.name in self.locals:
            return CVar(self.locals[s.name], integer=True, nonnegative=s.is_nonnegative)
        if s.name not in self.scalars:
            self.scalars[s.name] = (Variable(INDEX, f"x{len(self.scalars)}"), s)
        return CVar(self.scalars[s.name][0].name, integer=True, nonnegative=s.is_nonnegative)

    def index(self, value: Any) -> Any:
        """An integer expression, a guard, or a tuple of such."""
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, Condition):
            return Condition(value.kind, self.index(value.expr), self.index(value.modulus))
        if isinstance(value, tuple):
            return tuple(map(self.index, value))
        return renamed(value, {s: self.symbol(s) for s in sorted(value.free_symbols, key=lambda s: s.name)})

    def declare(self, value: Any, by: Any) -> Any:
        """A name that the nest binds by a statement: of a scalar, an accumulator, a row or an array."""
        name = value if isinstance(value, str) else value.name
        self.locals[name] = f"t{len(self.locals)}"
        if isinstance(value, Variable):
            return Variable(value.dtype, self.locals[name])
        if isinstance(value, Buffer):
            self.memory[name] = Buffer(self.locals[name], value.dtype, value.shape, LOCAL)
            return self.memory[name]
        self.memory[name] = Buffer(self.locals[name], by.buffer.dtype, (), LOCAL)
        return self.locals[name]

    def assigned(self, value: Any) -> Any:
        if isinstance(value, tuple):  # the reductions of a loop
            return tuple((op, self._known(name)) for op, name in value)
        if value is not None and value.name not in self.locals:
            self.outputs[value.name] = value
        return value if value is None else self.variable(value)

    def _known(self, name: str) -> str:
        found = self.locals.get(name) or (self.scalars[name][0].name if name in self.scalars else None)
        if found is None:
            raise _Unfit
        return found

    # --- statements -----------------------------------------------------------------------------------------------

    def statement(self, s: Statement) -> Statement:
        if (type(s) in ELSEWHERE and not self.may_call(s)) or (isinstance(s, Loop) and s.parallel):
            raise _Unfit
        if isinstance(s, PairwiseAdd) and s.accumulator.name not in self.locals:
            raise _Unfit
        if isinstance(s, Loop):
            self.locals.setdefault(s.variable.name, s.variable.name)
        made = self.changed(s, _R.VALUE, _R.INDEX, _R.READS, _R.WRITES, _R.UPDATES, _R.SCRATCH, _R.POINTS, _R.USES)
        made = self.changed(made, _R.BINDS, _R.BLOCK) if not isinstance(s, Loop) else self.changed(made, _R.BLOCK)
        return self.changed(made, _R.ASSIGNS)

    def may_call(self, s: Statement) -> bool:
        return self.calls and isinstance(s, Call) and s.function.kind != NEST

    def expr(self, e: Expr) -> Expr:
        if isinstance(e, Variable):
            return self.variable(e)
        if isinstance(e, Truth) and "guard" not in ROWS[type(e)]:  # what the function itself is asked
            raise _Unfit
        if any(name not in self.locals for name in used(e)):
            raise _Unfit
        return self.changed(e, _R.VALUE, _R.INDEX, _R.READS, _R.USES)

    def changed(self, p: Any, *roles: Role) -> Any:
        """The fields of these roles in their new names."""
        changes: dict[str, Any] = {}
        starts = STARTS.get(type(p), {})
        for field, role in ROWS[type(p)].items():
            value = getattr(p, field)
            if role not in roles or value is None or field in changes:
                continue
            if field in starts:
                write = role in (_R.WRITES, _R.UPDATES) or (role is _R.POINTS and not p.constant)
                changes[field], changes[starts[field]] = self.pointer(value, getattr(p, starts[field]), write)
            elif field not in starts.values():
                changes[field] = self.field(p, role, value)
        return replace(p, **changes) if changes else p

    def field(self, p: Any, role: Role, value: Any) -> Any:
        match role:
            case Role.VALUE:
                return tuple(map(self.expr, value)) if isinstance(value, tuple) else self.expr(value)
            case Role.BLOCK:
                return tuple(map(self.statement, value))
            case Role.INDEX:
                return self.index(value)
            case Role.BINDS:
                return self.declare(value, p)
            case Role.ASSIGNS:
                return self.assigned(value)
            case Role.USES:
                return self.variable(value)
        if isinstance(value, tuple):
            return tuple(None if v is None else self.field(p, role, v) for v in value)
        if isinstance(value, Operand):
            buffer, start = self.pointer(value.buffer, value.start, role is not Role.READS)
            if role is Role.SCRATCH:
                self.scratch[buffer.name] = None
            return Operand(buffer, start, self.index(value.strides))
        return self.pointer(value, 0, role is not Role.READS and not getattr(p, "constant", False))[0]


def _split(index: sympy.Expr) -> tuple[int, sympy.Expr]:
    """The constant part of an element number, which moves into the pointer, and the rest."""
    if index.is_Integer:
        return int(index), sympy.S.Zero
    if isinstance(index, sympy.Add) and index.args[0].is_Integer:
        return int(index.args[0]), sympy.Add(*index.args[1:])
    return 0, index


__all__ = ["MANY_NESTS", "SharedNests"]
