"""Recurrences in registers: arrays of a few elements that a sequential loop works on become locals of the function.

A step of an integrator or of a filter on a state of two numbers is scalar code.  In the loop of a recurrence, loops over
a few elements are written out; arrays whose elements are then all addressed by number are read before the loop into
locals, one for each element, and written back after it, if anybody else looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import sympy

from gradgen.loops.statements import (
    WORK,
    Assign,
    Buffer,
    Copy,
    CVar,
    Declare,
    Expr,
    Literal,
    Load,
    Loop,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import ELEMENTWISE, blocks, buffers, expressions, statements_in, subexpressions, touched, writes
from gradgen.schedule.unroll import BodyCopy, size

FEW = 4  # elements of a state that lives in registers
MOST = 4000  # expressions of a step that is written out
LOCALS = 64  # elements that may become locals in one loop


def in_registers(statements: tuple[Statement, ...], fresh: Callable[[str], str]) -> tuple[Statement, ...]:
    """The statements with such arrays as locals; `fresh` makes names."""
    found: list[Statement] = []
    for i, s in enumerate(statements):
        if isinstance(s, Loop) and _is_recurrence(s):
            found.extend(_recurrence(s, (*statements[:i], *statements[i + 1 :]), fresh))
        else:
            found.append(s)
    return tuple(found)


def _is_recurrence(loop: Loop) -> bool:
    """New carries become old ones at the end of each step."""
    return any(_is_small_copy(s) for s in loop.body)


def _is_small_copy(s: Statement) -> bool:
    if not isinstance(s, Copy) or not all(isinstance(e, int) for e in (s.count, s.target_start, s.source_start)):
        return False
    return s.target.space == WORK and s.count <= FEW  # type: ignore[operator]


def _recurrence(loop: Loop, others: tuple[Statement, ...], fresh: Callable[[str], str]) -> list[Statement]:
    body = tuple(_written_out(loop.body))
    if size(body) > MOST:
        return [loop]
    chosen = _promotable(replace(loop, body=body))
    elsewhere = {b for s in others for b in touched(s)}
    before: list[Statement] = []
    after: list[Statement] = []
    names: dict[tuple[Buffer, int], Variable] = {}
    for b in chosen:
        for k in range(int(b.size)):  # type: ignore[arg-type]
            v = names[b, k] = Variable(b.dtype, fresh("r"))
            outside = b in elsewhere
            start: Expr = Load(b.dtype, b, sympy.Integer(k)) if outside else Literal(b.dtype, sympy.S.Zero)
            before.append(Declare(v, start))
            after += [Store(b, sympy.Integer(k), v)] if outside else []
    step = tuple(_Registers(names, _assigned(loop)).block(body))
    return [*before, replace(loop, body=step), *after]


def _written_out(body: Iterable[Statement]) -> Iterable[Statement]:
    for s in body:
        if not isinstance(s, Loop) or not _is_few(s):
            yield s
            continue
        for k in range(int(s.start), int(s.stop)):
            yield from BodyCopy(s.variable, k, _assigned(s)).block(s.body)


def _is_few(loop: Loop) -> bool:
    if not isinstance(loop.start, int) or not isinstance(loop.stop, int) or loop.step != 1:
        return False
    simple = all(type(s) in ELEMENTWISE and not isinstance(s, Loop) for s in statements_in(loop.body))
    return simple and loop.stop - loop.start <= FEW


def _assigned(loop: Loop) -> set[str]:
    return {s.variable.name for s in statements_in(loop.body) if isinstance(s, (Declare, Assign))}


def _promotable(loop: Loop) -> list[Buffer]:
    """Small arrays of WORK whose elements the loop addresses by number, and writes outside of loops inside it."""
    found: dict[Buffer, None] = {}
    barred: set[Buffer] = set()
    for s in statements_in(loop.body):
        numbered = _numbered(s)
        if not numbered and not blocks(s):
            barred |= {b for b in touched(s) if not _is_read_only(s, b)} | {*writes(s)}
        for part in subexpressions(expressions(s)):
            if isinstance(part, Load):
                numbered.append(part.buffer)
                if not part.index.is_Integer or part.guard:
                    barred.add(part.buffer)
        if isinstance(s, Loop):
            barred |= {b for t in statements_in(s.body) for b in buffers(t)}
        found.update(dict.fromkeys(numbered))
    small = [b for b in found if b not in barred and b.space == WORK and _is_small(b)]
    return small if sum(int(b.size) for b in small) <= LOCALS else []  # type: ignore[arg-type]


def _numbered(s: Statement) -> list[Buffer]:
    """The memory whose elements a statement itself addresses by number."""
    if isinstance(s, Store):
        return [s.buffer] if s.index.is_Integer else []
    return [*buffers(s)] if _is_small_copy(s) else []


def _is_small(b: Buffer) -> bool:
    return isinstance(b.size, int) and 0 < b.size <= FEW


def _is_read_only(s: Statement, b: Buffer) -> bool:
    """The statement has the buffer in an expression only."""
    return any(isinstance(p, Load) and p.buffer is b for p in subexpressions(expressions(s)))


class _Registers(BodyCopy):
    """Statements with elements of arrays replaced by locals."""

    def __init__(self, names: dict[tuple[Buffer, int], Variable], assigned: set[str]) -> None:
        super().__init__(CVar("", integer=True), 0, assigned | {v.name for v in names.values()})
        self.elements, self.index = names, {}

    def local(self, v: Variable) -> Variable:
        self.changing.add(v.name)  # no local stands for another: elements change
        return v

    def statement(self, s: Statement) -> list[Statement]:
        if isinstance(s, Store):
            target = self.element(s.buffer, s.index)
            return super().statement(s) if target is None else [Assign(target, self.expression(s.value))]
        if isinstance(s, Copy) and isinstance(s.count, int):
            return self.copy(s)
        return super().statement(s)

    def copy(self, s: Copy) -> list[Statement]:
        ends = [(self.element(s.target, int(s.target_start) + k), self.element(s.source, int(s.source_start) + k))
                for k in range(int(s.count))]  # type: ignore[arg-type]
        if not any(e is not None for pair in ends for e in pair):
            return [s]
        found: list[Statement] = []
        for k, (target, source) in enumerate(ends):
            at = sympy.Integer(int(s.source_start) + k)  # type: ignore[arg-type]
            value: Expr = source or Load(s.source.dtype, s.source, at)
            to = sympy.Integer(int(s.target_start) + k)  # type: ignore[arg-type]
            found.append(Store(s.target, to, value) if target is None else Assign(target, value))
        return found

    def element(self, buffer: Buffer, index: sympy.Expr | int) -> Variable | None:
        return self.elements.get((buffer, int(index))) if sympy.sympify(index).is_Integer else None

    def rebuilt(self, e: Expr) -> Expr:
        if isinstance(e, Load) and not e.guard:
            found = self.element(e.buffer, e.index)
            if found is not None:
                return found
        return super().rebuilt(e)


__all__ = ["in_registers"]
