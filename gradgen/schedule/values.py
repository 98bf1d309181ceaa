"""Value numbering of straight-line code: every scalar once, short loops written out, small arrays as names.

Statements are run symbolically.  A loop of a few iterations runs with its counter a number, so guards on it are decided;
an element that was stored is remembered and not loaded again; equal operations on equal values are one value.  What a
decided guard leaves out is no number 0 but absent: a sum goes on without an absent term, and a constant that is absent (a
unit seed) takes the product that it is a factor of with it.  A value under a guard is a value: 0 times it stays nan where
it is infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.guards import Guard, conjunction
from gradgen.ir.symbols import is_nothing
from gradgen.loops.procedure import USERS
from gradgen.loops.statements import (
    LOCAL,
    Apply,
    Assign,
    Buffer,
    Comment,
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
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Present,
    SetFlag,
    Statement,
    Store,
    Truth,
    Variable,
)
from gradgen.loops.walk import expressions, index_symbols, parts_in, reads, statements_in, subexpressions, used, writes
from gradgen.schedule.numbering import Numbering, Scope

FEW = 64  # elements of a fill that is written out
ABSENT, NOTHING = "absent", "nothing"  # a term that is not there; a constant factor that is not there


class Unfit(Exception):
    """The statements do something that is not followed here."""


class NotAlone(Exception):
    """An array is not written before it is read, element by element: it stays memory."""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer.name)
        self.buffer = buffer


class Values(Numbering):
    """Runs statements; `alone` are arrays whose elements become names."""

    inline = (Literal,)

    def __init__(self, body: Sequence[Statement], alone: Iterable[Buffer], fresh: Callable[[str], str]) -> None:
        super().__init__(fresh)
        self.alone = set(alone)
        inside = list(statements_in(body))
        self.own = {s.variable.name for s in inside if isinstance(s, (Let, Declare))}
        self.outer = _outer(inside, self.own)
        self.carried = {name for name in self.outer if not _only_added(name, inside)}
        self.written = {b for s in inside for b in writes(s)}
        if self.outer & {v.name for p in parts_in(body) for v in index_symbols(p)}:
            raise Unfit("an index that changes from one step to the next")
        self.env: dict[str, Expr] = {}
        self.index: dict[sympy.Basic, sympy.Basic] = {}
        self.rows: dict[str, Pointer] = {}
        self.elements: dict[tuple[Buffer, sympy.Expr], Expr] = {}
        self.version: dict[Buffer, int] = {}
        self.marks: dict[Expr, str] = {}
        self.hints: dict[Expr, str] = {}
        self.decided: set[Expr] = set()  # literals that a guard became
        self.loaded: dict[Expr, int] = {}  # the stores to its buffer before a load
        self.updated: set[Expr] = set()  # loads that the next store to their buffer adds to
        self.looping = 0
        self.names: set[str] = set()  # hints that were taken

    # --- statements -----------------------------------------------------------------------------------------------

    def run(self, body: Iterable[Statement]) -> None:
        for s in body:
            self.statement(s)

    def emit(self, s: Statement) -> None:
        self.scope.items.append(s)

    def statement(self, s: Statement) -> None:
        match s:
            case Let() | Declare():
                self.bind(s.variable, self.value(s.value))
            case Assign():
                self.assign(s)
            case Store():
                self.store(s)
            case Comment():
                self.emit(s)
            case PairwiseBegin():
                if self.looping:
                    raise Unfit("an accumulator for each of several steps")
                self.emit(s)
            case PairwiseAdd():
                value = self.value(s.value)
                if value not in self.marks:
                    self.emit(PairwiseAdd(s.accumulator, value))
            case Fill():
                self.fill(s)
            case If():
                self.branch(s)
            case Loop():
                self.loop(s)
            case Pointer():
                self.rows[s.name] = replace(
                    s, start=self.integer(s.start), condition=None if s.condition is None else self.value(s.condition)
                )
            case _:
                raise Unfit(type(s).__name__)

    def bind(self, variable: Variable, value: Expr) -> None:
        self.env[variable.name] = value
        self.hints.setdefault(value, variable.name)
        if variable.dtype.is_floating_point or variable.dtype is bool_:
            return
        symbol = CVar(variable.name, integer=True)
        found: sympy.Basic
        if isinstance(value, Index):
            found = value.expr
        elif isinstance(value, Literal):
            found = sympy.sympify(value.value)
        else:
            found = self.pinned[value] if value in self.pinned else self.pin(value, self.fresh("n"))
        self.index[symbol] = found
        self.index[CVar(variable.name, integer=True, nonnegative=True)] = found

    def assign(self, s: Assign) -> None:
        value = self.value(s.value)
        name = s.variable.name
        if name in self.outer:
            if self.scope is not self.root and name in self.carried:
                raise Unfit("an assignment under a condition")
            if self.env.get(name) is not value and not self.is_itself(s.variable, value):
                self.emit(Assign(s.variable, value))
                if name in self.carried:
                    self.bind(s.variable, value)
            return
        if self.scope is not self.root:
            raise Unfit("an assignment under a condition")
        self.bind(s.variable, value)

    def is_itself(self, variable: Variable, value: Expr) -> bool:
        return isinstance(value, Variable) and value.name == variable.name

    def store(self, s: Store) -> None:
        value, index, buffer = self.value(s.value), self.integer(s.index), s.buffer
        row = self.rows.get(buffer.name) if buffer.space == LOCAL else None
        condition: Expr | None = None
        while row is not None:
            index, buffer, condition = self.onto(row, index, condition)
            row = self.rows.get(buffer.name) if buffer.space == LOCAL else None
        if buffer in self.alone:
            if not index.is_Integer or condition is not None or self.scope is not self.root:
                raise NotAlone(buffer)
            self.elements[buffer, index] = value
            return
        self.updates(buffer, index, value)
        self.changed(buffer, index, None if condition is not None or self.scope is not self.root else value)
        if condition is None:
            self.emit(Store(buffer, index, value))
        else:
            self.emit(If(condition, (Store(buffer, index, value),)))

    def updates(self, buffer: Buffer, index: sympy.Expr, value: Expr) -> None:
        """`b[at] = b[at] + x` stays one statement: nothing was stored in between."""
        near = [value]
        for _ in range(2):
            near += [a for e in near if isinstance(e, Apply) for a in e.args]
        for e in near:
            old = isinstance(e, Load) and e.buffer is buffer and e.index == index
            if old and self.loaded.get(e) == self.version.get(buffer, 0):
                self.updated.add(e)

    def onto(self, row: Pointer, index: sympy.Expr, condition: Expr | None) -> tuple[sympy.Expr, Buffer, Expr | None]:
        """An element of a row as one of what it points at."""
        if row.condition is not None:
            condition = row.condition if condition is None else self.apply("and_", (condition, row.condition), bool_)
        return sympy.expand(index + row.start), row.buffer, condition

    def changed(self, buffer: Buffer, index: sympy.Expr, value: Expr | None) -> None:
        self.version[buffer] = self.version.get(buffer, 0) + 1
        for b, at in [k for k in self.elements if k[0] is buffer]:
            apart = sympy.expand(at - index)
            if not (apart.is_Integer and apart != 0):
                del self.elements[b, at]
        if value is not None and value.dtype is buffer.dtype:
            self.elements[buffer, index] = value

    def fill(self, s: Fill) -> None:
        if not isinstance(s.count, int) or s.count > FEW:
            raise Unfit("a long fill")
        for k in range(s.count):
            self.store(Store(s.buffer, sympy.sympify(s.start) + k, s.value))

    def branch(self, s: If) -> None:
        condition = self.value(s.condition)
        if isinstance(condition, Literal):
            self.run(s.body if condition.value != 0 else s.otherwise)
            return
        if s.otherwise:
            raise Unfit("two branches")
        outer, before = self.scope, dict(self.env)
        inner = self.scope = Scope(outer, condition=condition, depth=outer.depth + 1)
        self.run(s.body)
        self.scope, self.env = outer, before
        if inner.items:
            outer.items.append(inner)

    def loop(self, s: Loop) -> None:
        start, stop = (sympy.sympify(e if isinstance(e, int) else self.integer(e)) for e in (s.start, s.stop))
        if not (start.is_Integer and stop.is_Integer):
            raise Unfit("a loop of unknown length")
        self.looping += 1
        for k in range(int(start), int(stop), s.step):
            self.index[s.variable] = sympy.Integer(k)
            for inner in s.body:
                if k == int(start) or not isinstance(inner, Comment):
                    self.statement(inner)
        self.index.pop(s.variable, None)
        self.looping -= 1

    # --- what is written out --------------------------------------------------------------------------------------

    def must_be_named(self, e: Expr, uses: int) -> bool:
        """What another statement may change before the value is used."""
        if any(b in self.written for b in reads(e)):
            return not (e in self.updated and uses == 1)
        return isinstance(e, PairwiseTotal) or any(name in self.carried for name in used(e))

    def is_never_named(self, e: Expr) -> bool:
        return isinstance(e, (Index, Truth)) or (isinstance(e, Variable) and e.name not in self.carried)

    def name(self, e: Expr) -> str:
        hint = self.hints.get(e)
        if hint is not None and hint in self.own and hint not in self.names:
            self.names.add(hint)
            return hint
        user, mark, _ = (hint or "").partition(USERS)
        return self.fresh(f"{user}{mark}" if mark else "t")

    # --- values ---------------------------------------------------------------------------------------------------

    def integer(self, e: sympy.Expr | int) -> sympy.Expr:
        e = sympy.sympify(e)
        if e.is_Integer or not any(s in self.index for s in e.free_symbols):
            return e
        return sympy.expand(e.xreplace(self.index))

    def guard(self, guard: Guard) -> Guard | None:
        if not guard:
            return guard
        return conjunction(*(c.substitute(dict(self.index)) for c in guard))  # type: ignore[arg-type]

    def value(self, e: Expr) -> Expr:
        """The canonical value of an expression, post-order without recursion."""
        memo: dict[Expr, Expr] = {}
        stack: list[tuple[Expr, bool]] = [(e, False)]
        while stack:
            part, ready = stack.pop()
            if part in memo:
                continue
            if isinstance(part, Apply) and not ready:
                stack.append((part, True))
                stack.extend((a, False) for a in reversed(part.args))
                continue
            if isinstance(part, Apply):
                memo[part] = self.applied(part, tuple(memo[a] for a in part.args))
            else:
                memo[part] = self.leaf(part)
        return memo[e]

    def leaf(self, e: Expr) -> Expr:
        match e:
            case Literal():
                return self.place(("literal", e.dtype, e.value), e)
            case Variable():
                return self.variable(e)
            case Index():
                at = self.integer(e.expr)
                return self.place(("index", e.dtype, at), Index(e.dtype, at))
            case Load():
                return self.load(e)
            case Holds():
                guard = self.guard(e.guard)
                if guard is None or not guard:
                    found = self.absent(Literal(e.dtype, sympy.Integer(int(guard is not None))), None)
                    self.decided.add(found)
                    return found
                return self.place(("holds", guard), Holds(e.dtype, guard))
            case Present():
                return self.place(("present", e.buffer), e)
            case SetFlag():
                return self.place(("set flag",), e)
            case PairwiseTotal():
                return self.place(("total", object()), e)  # another sum each time
        raise Unfit(type(e).__name__)

    def variable(self, e: Variable) -> Expr:
        if e.name in self.env:
            return self.env[e.name]
        if e.name in self.outer and e.name not in self.carried:
            return Variable(e.dtype, e.name)  # another value after each assignment
        found = self.place(("variable", e.name), e)
        if e.name in self.carried:
            self.env[e.name] = found
        return found

    def load(self, e: Load) -> Expr:
        guard = self.guard(e.guard)
        if guard is None:
            return self.absent(Literal(e.dtype, e.fill), ABSENT if is_nothing(e.fill) else None)
        index, buffer = self.integer(e.index), e.buffer
        row = self.rows.get(buffer.name) if buffer.space == LOCAL else None
        while row is not None:
            if row.condition is not None:
                return self.old(row, index, e)
            index, buffer = sympy.expand(index + row.start), row.buffer
            row = self.rows.get(buffer.name) if buffer.space == LOCAL else None
        if buffer in self.alone:
            if guard or (buffer, index) not in self.elements:
                raise NotAlone(buffer)
            return self.elements[buffer, index]
        if not guard and (buffer, index) in self.elements:
            return self.elements[buffer, index]
        key: tuple = ("load", buffer, index, guard, e.fill, self.version.get(buffer, 0))
        found = self.place(key, Load(e.dtype, buffer, index, guard, e.fill))
        self.loaded[found] = key[-1]
        return found

    def old(self, row: Pointer, index: sympy.Expr, e: Load) -> Expr:
        """The gradient that is added to, or the zero that stands for it; only looked at where it is there."""
        otherwise = row.otherwise
        if not row.constant or row.condition is None or otherwise is None:
            raise Unfit("a row that is read and written")
        zero = Apply(e.dtype, "neg", (Literal(e.dtype, sympy.S.Zero),))
        inner = Load(e.dtype, row.buffer, sympy.expand(index + row.start))
        key = ("old", row.condition, row.buffer, inner.index, self.version.get(row.buffer, 0))
        return self.place(key, Apply(e.dtype, "select", (row.condition, inner, zero)))

    def absent(self, e: Literal, mark: str | None) -> Expr:
        """A fresh literal, since the number itself may be a number elsewhere."""
        if mark is not None:
            self.marks[e] = mark
        return e

    def place(self, key: tuple, expr: Expr) -> Expr:
        for scope in self.scope.chain():
            if key in scope.values:
                return scope.values[key]
        return self.placed(key, self.scope, expr)

    def apply(self, op: str, args: tuple[Expr, ...], dtype: DType) -> Expr:
        operands = frozenset(args) if op in ("add", "mul") else args  # the same bits either way
        return self.place((op, dtype, operands), Apply(dtype, op, args))

    def applied(self, e: Apply, args: tuple[Expr, ...]) -> Expr:
        marks = [self.marks.get(a) for a in args]
        if e.op == "select" and isinstance(args[0], Literal):
            return self.chosen(e, args)
        if e.op == "cast" and marks[0] is not None:
            return self.absent(Literal(e.dtype, sympy.S.Zero), marks[0])
        if not e.dtype.is_floating_point:
            return self.apply(e.op, args, e.dtype)
        if any(marks):
            found = self.without(e, args, marks)
            if found is not None:
                return found
        if e.op in ("mul", "div") and _is_number(args[1], 1):
            return args[0]
        if e.op == "mul" and _is_number(args[0], 1):
            return args[1]
        if e.op == "add" and _is_number(args[0], 0) and _adds_to_zero(args[1]):
            return args[1]
        return self.apply(e.op, args, e.dtype)

    def chosen(self, e: Apply, args: tuple[Expr, ...]) -> Expr:
        condition = args[0]
        assert isinstance(condition, Literal)
        kept, other = (args[1], args[2]) if condition.value != 0 else (args[2], args[1])
        if isinstance(kept, Literal) and is_nothing(kept.value) and condition in self.decided:
            constant = isinstance(other, Literal)
            return self.absent(Literal(kept.dtype, kept.value), NOTHING if constant else ABSENT)
        return kept

    def without(self, e: Apply, args: tuple[Expr, ...], marks: list[str | None]) -> Expr | None:
        """An operation some of whose operands are not there."""
        if e.op == "add":
            there = [a for a, m in zip(args, marks, strict=True) if m is None]
            return there[0] if there else args[0 if marks[0] == ABSENT else 1]
        if e.op == "sub":
            if marks[1] is not None:
                return args[0]
            return self.apply("neg", (args[1],), e.dtype)
        if e.op == "neg":
            return args[0]
        if (e.op == "mul" and NOTHING in marks) or (e.op == "div" and marks[0] == NOTHING):
            return self.absent(Literal(e.dtype, sympy.S.Zero), NOTHING)
        return None


def _is_number(e: Expr, number: int) -> bool:
    return isinstance(e, Literal) and e.value == number


def _adds_to_zero(e: Expr) -> bool:
    return isinstance(e, Apply) and e.op == "add" and _is_number(e.args[0], 0)


def _outer(inside: Iterable[Statement], own: set[str]) -> set[str]:
    """Variables from outside that are assigned inside."""
    return {s.variable.name for s in inside if isinstance(s, Assign) and s.variable.name not in own}


def _only_added(name: str, inside: Sequence[Statement]) -> bool:
    """Read only where it is assigned: the order in which other values are computed does not matter to it."""
    for s in inside:
        reads = sum(isinstance(e, Variable) and e.name == name for e in subexpressions(expressions(s)))
        mine = isinstance(s, Assign) and s.variable.name == name
        if (reads and not mine) or reads > 1:
            return False
    return True


__all__ = ["NotAlone", "Unfit", "Values"]
