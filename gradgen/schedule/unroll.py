"""Unrolling: loops whose guards single out iterations become straight-line code, one store an element.

A tensor packed from scalars is a sum of reads, each guarded by `i = 2 and j = 0`; in a loop every element would look at
every read.  Written out, each copy keeps the one read whose guard holds there.  A loop is written out where its length
is known and small, guards compare its counter with numbers, and deciding them leaves about as much code as there was;
what does not depend on such guards keeps its (vectorised) loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import sympy

from gradgen.ir.guards import EQ, Guard, conjunction
from gradgen.ir.symbols import is_nothing
from gradgen.loops import walk
from gradgen.loops.statements import (
    Apply,
    Assign,
    Buffer,
    Comment,
    CVar,
    Declare,
    Expr,
    Holds,
    If,
    Let,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    PairwiseBegin,
    Statement,
    Store,
    Variable,
)

LONGEST = 64
"""Iterations up to which a loop may be written out."""

GROWTH, SLACK = 2, 32
"""Written out, a loop may have this many times its expressions, and this many more."""

def unroll(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements with such loops written out, inner loops first."""
    statements = tuple(statements)
    changing = {s.variable.name for s in walk.statements_in(statements) if isinstance(s, (Declare, Assign))}
    return _unrolled(statements, changing)


def _unrolled(statements: Iterable[Statement], changing: set[str]) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            body, otherwise = _unrolled(s.body, changing), _unrolled(s.otherwise, changing)
            same = body == s.body and otherwise == s.otherwise
            found.append(s if same else replace(s, body=body, otherwise=otherwise))
        elif isinstance(s, Loop):
            body = _unrolled(s.body, changing)
            found.extend(_loop(s if body == s.body else replace(s, body=body), changing))
        else:
            found.append(s)
    return tuple(found)


def _loop(loop: Loop, changing: set[str]) -> list[Statement]:
    if not _candidate(loop):
        return [loop]
    rest, picked = _distributed(loop)
    written: list[Statement] = []
    budget = GROWTH * size(picked) + SLACK
    for k in range(int(loop.start), int(loop.stop), loop.step):
        copy = BodyCopy(loop.variable, k, changing)
        written += copy.block(picked)
        if size(written) > budget:
            return [loop]
    return ([] if rest is None else [rest]) + _needed(written)


def _needed(written: Sequence[Statement]) -> list[Statement]:
    """Without the locals that were for guards which are decided."""
    names: set[str] = set()
    found: list[Statement] = []
    for s in reversed(written):
        if not isinstance(s, Let) or s.variable.name in names:
            names |= _Uses.of([s]).reads
            found.append(s)
    return found[::-1]


def _candidate(loop: Loop) -> bool:
    if not isinstance(loop.start, int) or not isinstance(loop.stop, int):
        return False
    if not 0 < loop.stop - loop.start <= LONGEST * loop.step:
        return False
    inside = list(walk.statements_in(loop.body))
    return all(type(s) in walk.ELEMENTWISE for s in inside) and any(_picks(s, loop.variable) for s in inside)


# --- what depends on the guards --------------------------------------------------------------------------------------


def _distributed(loop: Loop) -> tuple[Loop | None, tuple[Statement, ...]]:
    """The loop without what guards on its counter decide, and that, with the values it needs."""
    body = list(loop.body)
    picked = {k for k, s in enumerate(body) if any(_picks(t, loop.variable) for t in walk.statements_in([s]))}
    uses = [_Uses.of([s]) for s in body]
    for k in range(len(body)):  # what reads a picked value is picked, in order
        if any(uses[k].reads & uses[p].defines for p in picked if p < k):
            picked.add(k)
    others = [k for k in range(len(body)) if k not in picked]
    effects = [k for k in others if not isinstance(body[k], (Let, Comment))]
    if not effects:
        return None, loop.body
    kept, wanted = _closure(body, uses, effects), _closure(body, uses, sorted(picked))
    if any(uses[a].conflicts(uses[b]) for a in kept for b in wanted):  # also what a Let reads from memory
        return None, loop.body
    if _lacks(uses, kept) or _lacks(uses, wanted):
        return None, loop.body
    rest = replace(loop, body=tuple(body[k] for k in kept), reductions=_reductions(loop, [uses[k] for k in kept]))
    return rest, tuple(body[k] for k in wanted)


def _lacks(uses: Sequence[_Uses], part: Sequence[int]) -> bool:
    """Whether a part of the body reads what the rest computes other than by a Let: a sum over an inner loop."""
    reads = {name for k in part for name in uses[k].reads}
    return any((u.defines | u.assigns) & reads for k, u in enumerate(uses) if k not in part)


def _closure(body: Sequence[Statement], uses: Sequence[_Uses], wanted: Sequence[int]) -> list[int]:
    """`wanted` and the Lets they need, in order."""
    chosen = set(wanted)
    for k in range(len(body) - 1, -1, -1):
        if isinstance(body[k], Let) and k not in chosen and any(uses[k].defines & uses[c].reads for c in chosen):
            chosen.add(k)
    return sorted(chosen)


def _reductions(loop: Loop, uses: Sequence[_Uses]) -> tuple[tuple[str, str], ...]:
    assigned = {name for u in uses for name in u.assigns}
    return tuple((op, name) for op, name in loop.reductions if name in assigned)


@dataclass(frozen=True, slots=True)
class _Uses:
    """Names and buffers that statements read, define (locals of their own) and change."""

    reads: frozenset[str]
    defines: frozenset[str]
    assigns: frozenset[str]
    loads: frozenset[Buffer]
    stores: frozenset[Buffer]

    @staticmethod
    def of(statements: Iterable[Statement]) -> _Uses:
        reads: set[str] = set()
        defines: set[str] = set()
        assigns: set[str] = set()
        loads: set[Buffer] = set()
        stores: set[Buffer] = set()
        statements = tuple(statements)
        for s in walk.statements_in(statements):
            (assigns if isinstance(s, PairwiseBegin) else defines).update(walk.bound(s))
            assigns.update(walk.assigned(s))
            stores.update(walk.writes(s))
        for p in walk.parts_in(statements):
            reads.update(walk.used(p))
            reads.update(v.name for v in walk.index_symbols(p) if isinstance(v, CVar))
            loads.update(walk.reads(p))
        return _Uses(frozenset(reads), frozenset(defines), frozenset(assigns), frozenset(loads), frozenset(stores))

    def conflicts(self, other: _Uses) -> bool:
        """Whether the two may not change places."""
        for a, b in ((self, other), (other, self)):
            if a.assigns & (b.reads | b.assigns) or a.stores & (b.loads | b.stores):
                return True
        return False


def _picks(s: Statement, counter: CVar) -> bool:
    """A guard compares the counter with a number."""
    return any(c.kind == EQ and c.expr.free_symbols == {counter} for c in walk.conditions(walk.expressions(s)))


def size(statements: Iterable[Statement]) -> int:
    """Expressions in the statements."""
    return sum(1 + len(set(walk.subexpressions(walk.expressions(s)))) for s in walk.statements_in(statements))


def _in_indices(value: Literal | Variable) -> sympy.Basic:
    """What stands for a local of this value where indices are computed with it."""
    return CVar(value.name, integer=True) if isinstance(value, Variable) else sympy.sympify(value.value)


# --- one copy --------------------------------------------------------------------------------------------------------


class BodyCopy:
    """The body of a loop at one value of its counter: guards decided, locals renamed, what is absent left out.

    An element whose guard does not hold and whose fill is 0 is absent: a sum goes on without it.
    """

    def __init__(self, counter: CVar, value: int, changing: set[str]) -> None:
        self.value, self.changing = value, changing
        self.index: dict[sympy.Basic, sympy.Basic] = {counter: sympy.Integer(value)}
        self.names: dict[str, str] = {}
        self.known: dict[str, Literal | Variable] = {}
        self.memo: dict[Expr, Expr] = {}
        self.absent: set[Expr] = set()

    def block(self, statements: Iterable[Statement]) -> list[Statement]:
        found: list[Statement] = []
        for s in statements:
            found.extend(self.statement(s))
        return found

    def statement(self, s: Statement) -> list[Statement]:
        match s:
            case Let():
                value = self.expression(s.value)
                plain = isinstance(value, Variable) and value.name not in self.changing
                if isinstance(value, Literal) or (plain and isinstance(value, Variable)):
                    self.known[s.variable.name] = value
                    self.index[CVar(s.variable.name, integer=True)] = _in_indices(value)
                    return []
                return [Let(self.local(s.variable), value)]
            case Declare():
                value = self.expression(s.value)
                return [Declare(self.local(s.variable), value)]
            case Assign():
                value = self.expression(s.value)
                target = self.variable(s.variable)
                same = isinstance(value, Variable) and value.name == target.name
                return [] if same or value in self.absent else [Assign(target, value)]
            case PairwiseBegin():
                return [PairwiseBegin(self.local(s.accumulator))]
            case PairwiseAdd():
                value = self.expression(s.value)
                return [] if value in self.absent else [PairwiseAdd(self.variable(s.accumulator), value)]
            case Store():
                return [Store(s.buffer, self.integer(s.index), self.expression(s.value))]
            case If():
                return self.branch(s)
            case Loop():
                return [self.loop(s)]
        return [s] if not isinstance(s, Comment) or self.value == 0 else []

    def branch(self, s: If) -> list[Statement]:
        condition = self.expression(s.condition)
        if isinstance(condition, Literal):
            return self.block(s.body if condition.value != 0 else s.otherwise)
        body, otherwise = tuple(self.block(s.body)), tuple(self.block(s.otherwise))
        return [If(condition, body, otherwise)] if body or otherwise else []

    def loop(self, s: Loop) -> Loop:
        start, stop = (e if isinstance(e, int) else self.integer(e) for e in (s.start, s.stop))
        reductions = tuple((op, self.names.get(n, n)) for op, n in s.reductions)
        return replace(s, start=start, stop=stop, body=tuple(self.block(s.body)), reductions=reductions)

    def local(self, v: Variable) -> Variable:
        name = f"{v.name}_{self.value}"
        self.names[v.name] = name
        if v.name in self.changing:
            self.changing.add(name)
        self.index[CVar(v.name, integer=True)] = CVar(name, integer=True)
        return Variable(v.dtype, name)

    def variable(self, v: Variable) -> Variable:
        return Variable(v.dtype, self.names[v.name]) if v.name in self.names else v

    def integer(self, e: sympy.Expr) -> sympy.Expr:
        return e if e.is_Integer else e.xreplace(self.index)

    def guard(self, guard: Guard) -> Guard | None:
        return conjunction(*(c.substitute(dict(self.index)) for c in guard))

    def missing(self, e: Expr) -> Expr:
        """The value as one that is not there."""
        self.absent.add(e)
        return e

    def expression(self, e: Expr) -> Expr:
        """Post-order without recursion: bodies may be deep."""
        stack: list[tuple[Expr, bool]] = [(e, False)]
        while stack:
            part, ready = stack.pop()
            if part in self.memo:
                continue
            if isinstance(part, Apply) and not ready:
                stack.append((part, True))
                stack.extend((a, False) for a in part.args)
                continue
            if isinstance(part, Apply):
                self.memo[part] = self.applied(part, tuple(self.memo[a] for a in part.args))
            else:
                self.memo[part] = self.rebuilt(part)
        return self.memo[e]

    def rebuilt(self, e: Expr) -> Expr:
        if isinstance(e, Variable) and e.name in self.known:
            return self.known[e.name]
        if "guard" not in walk.ROWS[type(e)]:
            return walk.mapped(e, index=self.integer, name=lambda n: self.names.get(n, n))
        guard = self.guard(e.guard)  # type: ignore[attr-defined]
        if isinstance(e, Load):
            if guard is None:
                made = Literal(e.dtype, e.fill)
                return self.missing(made) if is_nothing(e.fill) else made
            return Load(e.dtype, e.buffer, self.integer(e.index), guard, e.fill)
        return Holds(e.dtype, guard) if guard else Literal(e.dtype, sympy.Integer(int(guard is not None)))

    def applied(self, e: Apply, args: tuple[Expr, ...]) -> Expr:
        if e.op == "select" and isinstance(args[0], Literal):
            chosen = args[1] if args[0].value != 0 else args[2]
            zero = chosen is args[2] and isinstance(chosen, Literal) and is_nothing(chosen.value)
            return self.missing(chosen) if zero else chosen
        if e.op in ("and_", "or_"):
            return self.logical(e, args)
        if e.op == "not_" and isinstance(args[0], Literal):
            return Literal(e.dtype, sympy.Integer(int(args[0].value == 0)))
        if e.op == "add" and e.args:
            there = [a for a in args if a not in self.absent]
            if len(there) < len(args):
                return there[0] if there else args[0]
        if args == e.args:
            return e
        return Apply(e.dtype, e.op, args)

    def logical(self, e: Apply, args: tuple[Expr, ...]) -> Expr:
        """and_, or_ of what is decided and what is not: the test of an index behind a guard that fails is none."""
        decisive = 0 if e.op == "and_" else 1
        open_ = [a for a in args if not isinstance(a, Literal)]
        if any(isinstance(a, Literal) and (a.value != 0) == bool(decisive) for a in args):
            return Literal(e.dtype, sympy.Integer(decisive))
        if not open_:
            return Literal(e.dtype, sympy.Integer(1 - decisive))
        if len(open_) == 1 and open_[0].dtype is e.dtype:
            return open_[0]
        return e if args == e.args else Apply(e.dtype, e.op, args)
