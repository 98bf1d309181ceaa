"""The laws of statements, checked: after every pass in tests, and when debugging.

scope       names are bound where they are used, once; what changes was declared so; counters hide nothing
dtype       a local, an element and its value, and the operands of arithmetic have one type
presence    memory that may be NULL is touched only where it is there
assigned    memory is read only where it was written: in every case of its conditions, and as far as ranges decide
inside      an index is inside its array, as far as ranges and guards decide
result      every result is written where it is wanted, gradients are added to once
memory      what lives at the same time lies at different places, inside its block
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.symbols import Extent
from gradgen.loops import walk
from gradgen.loops.alive import overlaps
from gradgen.loops.atoms import (
    ALWAYS,
    NEVER,
    Conjunction,
    holding,
)
from gradgen.loops.draft import Draft
from gradgen.loops.extremes import (
    UNKNOWN,
    Poly,
    Stretch,
    exceeds,
    locals_of,
    names_in,
    plus,
    point,
    poly,
    sign,
    times,
)
from gradgen.loops.statements import (
    LOCAL,
    Apart,
    Apply,
    Array,
    Assign,
    Buffer,
    Call,
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
    Load,
    Loop,
    Operand,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Present,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.touching import Counter, LoopError, Name, Touched
from gradgen.loops.written import interval

SAME = ("by_halves", "add", "sub", "mul", "div", "neg", "max", "min")
COMPARED = ("lt", "le", "gt", "ge", "eq", "ne")
LOGICAL = ("and_", "or_", "not_")


def verify(draft: Draft, before: Draft | None = None) -> None:
    """LoopError for the first statement that breaks a law; `before` is a draft that was verified."""
    if before is None or not walk.same(before.statements, draft.statements):
        Verifier(draft).run()
    if draft.layout is not None:
        for one, other in overlaps(draft, draft.layout):
            what = f"lives at the same time as {other} and at the same place" if other else "reaches beyond its block"
            raise LoopError("memory", what, one, None, draft.procedure.name)


Around = tuple[Any, Expr, bool] | None
"""The choices around an expression, from the innermost on: what is around, the test, and how it came out."""


class Verifier(Touched):
    def run(self) -> None:
        self.touch()
        self.now = None
        self.results()

    def touch(self) -> None:
        """Looks at all statements, whatever becomes of results."""
        self.buffers()
        self.block(self.draft.statements)

    def buffers(self) -> None:
        seen: set[str] = set()
        for b in self.draft.buffers:
            if b.name in seen:
                self.fail("scope", "two buffers have this name", b.name)
            seen.add(b.name)
        self.known = set(self.draft.buffers)

    # --- statements -----------------------------------------------------------------------------------------------

    def block(self, block: Iterable[Statement]) -> None:
        outer = self.names
        self.names = dict(outer)
        for s in block:
            self.now = s
            self.statement(s)
        self.names = outer

    def statement(self, s: Statement) -> None:
        self.scope(s)
        for e in walk.expressions(s):
            self.expression(e)
        match s:
            case Let() | Declare():
                self.same(s.variable.name, s.variable.dtype, s.value.dtype)
                kind = "let" if isinstance(s, Let) else "var"
                self.bind(s.variable.name, Name(kind, s.variable.dtype, s.value if kind == "let" else None))
            case Assign():
                self.changes(s.variable.name, "var")
                self.same(s.variable.name, s.variable.dtype, s.value.dtype)
            case PairwiseBegin():
                self.bind(s.accumulator.name, Name("sum", s.accumulator.dtype))
            case PairwiseAdd():
                self.changes(s.accumulator.name, "sum")
                self.same(s.accumulator.name, s.accumulator.dtype, s.value.dtype)
            case Array():
                self.bind(s.buffer.name, Name("array", s.buffer.dtype))
                self.written.records.pop(s.buffer.name, None)
            case Pointer():
                self.pointer(s)
            case Store():
                self.same(s.buffer.name, s.buffer.dtype, s.value.dtype)
                self.write(s.buffer, point(self.at(s.index)), {(): 1})
            case Fill():
                self.same(s.buffer.name, s.buffer.dtype, s.value.dtype)
                self.write(s.buffer, interval(self.at(s.start), self.at(s.count)), self.at(s.count))
            case Copy():
                self.same(s.target.name, s.target.dtype, s.source.dtype)
                self.read(s.source, interval(self.at(s.source_start), self.at(s.count)))
                self.write(s.target, interval(self.at(s.target_start), self.at(s.count)), self.at(s.count))
            case Fail():
                self.failures.append((len(self.accesses), tuple(self.counters)))
            case Contract():
                self.product(s)
            case Call():
                self.call(s)
            case If():
                self.branch(s)
            case Apart():
                self.apart(s)
            case Loop():
                self.loop(s)

    def bind(self, name: str, what: Name) -> None:
        if name in self.names and name not in self.beyond:
            self.fail("scope", "hides another of this name", name)
        self.names[name] = what
        self.fixed -= {name}

    def changes(self, name: str, kind: str) -> None:
        if name in self.fixed:
            self.fail("scope", "changes outside of its function", name)
        if name not in self.names or self.names[name].kind != kind:
            self.fail("scope", "changes but was not declared so" if name in self.names else "is not there", name)

    def same(self, name: str, a: DType, b: DType) -> None:
        if a is not b:
            self.fail("dtype", f"is {a.name}, and is given {b.name}", name)

    def apart(self, s: Apart) -> None:
        """What is around is passed by value: names may be used again, and nothing of it changes."""
        outer, beyond, fixed = self.names, self.beyond, self.fixed
        self.beyond, self.fixed = frozenset(outer), frozenset(outer)
        self.block(s.body)
        self.names, self.beyond, self.fixed = outer, beyond, fixed

    def branch(self, s: If) -> None:
        outer = self.path
        self.path = (*outer, *self.condition(s.condition))
        self.block(s.body)
        if s.otherwise:
            self.path = (*outer, *self.condition(s.condition, False))
            self.block(s.otherwise)
        self.path = outer

    def loop(self, s: Loop) -> None:
        name = s.variable.name
        for _, total in s.reductions:
            self.changes(total, "var")
        self.bind(name, Name("counter"))
        start, stop = self.at(s.start), self.at(s.stop)
        last = plus(stop, {(): 1}, -1)
        steps: Poly | None = plus(stop, start, -1)
        if s.step != 1:
            ends = [p.get((), 0) for p in (start, stop) if not names_in(p)]
            last_known = len(ends) == 2
            count = max(0, -(-(ends[1] - ends[0]) // s.step)) if last_known else 0
            steps = poly(count) if last_known else None
            last = poly(ends[0] + (count - 1) * s.step) if last_known else last
        high = last if s.step == 1 or steps is not None else None
        if s.parallel:
            self.once = False
        self.counters.append(Counter(name, start, high, steps, start, stop, s.step, bool(s.parallel)))
        self.written.enter()
        outer = self.path
        if exceeds(start, last):
            self.path = (*outer, *NEVER)  # it has no iterations
        inside = {n for t in walk.statements_in(s.body) for n in walk.bound(t)}
        self.block(s.body)
        self.counters.pop()
        self.path, self.now = outer, s
        self.written.leave({name, *inside}, name, start, high, steps)
        del self.names[name]

    def pointer(self, s: Pointer) -> None:
        rows: list[tuple[Buffer, Poly | None, Conjunction]] = []
        when = ALWAYS if s.condition is None else self.condition(s.condition)
        for b, start, then in self.behind(s.buffer):
            self.there(b, (*self.path, *then, *when))
            rows.append((b, None if start is None else plus(start, self.at(s.start)), (*then, *when)))
        if s.condition is not None and s.otherwise is not None:
            self.same(s.name, s.buffer.dtype, s.otherwise.dtype)
            never = self.condition(s.condition, False)
            rows += [(b, start, (*then, *never)) for b, start, then in self.behind(s.otherwise)]
        self.bind(s.name, Name("row", s.buffer.dtype, rows=tuple(rows)))

    def product(self, s: Contract) -> None:
        for o in (s.a, s.b, s.c):
            self.same(o.buffer.name, o.buffer.dtype, s.dtype)
        self.read(s.a.buffer, self.area(s.a, s.m, s.k))
        self.read(s.b.buffer, self.area(s.b, s.k, s.n))
        result = self.area(s.c, s.m, s.n)
        if s.accumulate:
            self.read(s.c.buffer, result)
        count = None if s.accumulate else times(self.at(s.m), self.at(s.n))  # a sum may be made in several products
        self.write(s.c.buffer, result, count)

    def area(self, o: Operand, *extents: Extent) -> Stretch:
        low = high = self.at(o.start)
        for extent, stride in zip(extents, o.strides, strict=True):
            by = self.at(stride)
            if sign(by) != 1:
                return UNKNOWN
            high = plus(high, times(by, plus(self.at(extent), {(): 1}, -1)))
        return Stretch(low, high)

    def call(self, s: Call) -> None:
        """The body of the function, with its parameters as names for what it is given."""
        f = s.function
        if not f.body:  # a named kernel: whole tensors
            for o in s.reads:
                self.read(o.buffer, self.whole(o.buffer))
            for o in (*s.writes, *s.updates, *(o for o in s.scratch if o is not None)):
                self.write(o.buffer, self.whole(o.buffer), poly(o.buffer.size))
            return
        outer, now, beyond = self.names, s, self.beyond
        self.names, self.beyond = dict(outer), frozenset(outer)  # which C does not see there
        own = {name for t in walk.statements_in(f.body) for name in walk.bound(t)}
        constant = {b.name for b in f.reads}
        for t in walk.statements_in(f.body):
            for b in walk.writes(t):
                if b.name in constant:
                    self.fail("scope", "is written through a pointer to const", b.name)
        for b, given in zip(f.pointers, s.pointers, strict=True):
            if given is None:
                continue
            at = self.at(given.start)
            behind = self.behind(given.buffer)
            rows = tuple((m, None if start is None else plus(start, at), then) for m, start, then in behind)
            self.names[b.name] = Name("row", b.dtype, rows=rows)
            self.same(b.name, b.dtype, given.buffer.dtype)
        if s.result is not None:
            self.changes(s.result.name, "var")
        for v, given_scalar in zip(f.scalars, s.scalars, strict=True):
            value = given_scalar if isinstance(given_scalar, Expr) else Index(v.dtype, given_scalar)
            self.same(v.name, v.dtype, value.dtype)
            kind = "var" if f.result is not None and v.name == f.result.name else "let"
            value = self.without_locals(value)
            mentioned = {n for e in walk.subexpressions([value]) for n in (*walk.used(e), *map(str, walk.index_symbols(e)))}
            self.names[v.name] = Name(kind, v.dtype, value if kind == "let" and not mentioned & own else None)
        self.block(f.body)
        self.names, self.now, self.beyond = outer, now, beyond

    def without_locals(self, e: Expr) -> Expr:
        """An expression with what constant locals stand for in their place, as far as a few steps lead."""
        for _ in range(4):
            made = walk.Rewriting(leaf=lambda x: (self.definition(x.name) if isinstance(x, Variable) else None) or x).expr(e)
            if made is e:
                break
            e = made
        return e

    # --- expressions ----------------------------------------------------------------------------------------------

    def scope(self, p: Statement | Expr) -> None:
        """Names that are used are there."""
        if type(p) in walk.NAMELESS:
            return
        for name in walk.used(p):
            if name not in self.names:
                self.fail("scope", "is not there", name)
        for e in walk.indices(p):
            if not isinstance(e, int) and not locals_of(e) <= self.names.keys():
                self.fail("scope", f"is not there, in the index {e}", min(locals_of(e) - self.names.keys()))
        for b in walk.buffers(p):
            if b.space == LOCAL and (b.name not in self.names or self.names[b.name].kind not in ("row", "array")):
                self.fail("scope", "no row or array of this name is there", b.name)
            elif b.space != LOCAL and b not in self.known:
                self.fail("scope", "is no buffer of the procedure", b.name)

    def expression(self, root: Expr) -> None:
        """Types, and what is read under the conditions of selections around it."""
        stack: list[tuple[Expr, Around]] = [(root, None)]
        while stack:
            e, around = stack.pop()
            self.scope(e)
            match e:
                case Apply():
                    self.operation(e)
                    if e.op == "select":
                        test, yes, no = e.args
                        stack += [(test, around), (yes, (around, test, True)), (no, (around, test, False))]
                    elif e.op in ("and_", "or_"):
                        for a in e.args:
                            stack.append((a, around))
                            around = around, a, e.op == "and_"
                    else:
                        stack.extend((a, around) for a in e.args)
                case Load():
                    self.same(e.buffer.name, e.buffer.dtype, e.dtype)
                    self.load(e, around)
                case Variable():
                    found = self.names[e.name].dtype
                    self.same(e.name, e.dtype if found is None else found, e.dtype)
                case PairwiseTotal():
                    if self.names[e.accumulator.name].kind != "sum":
                        self.fail("scope", "is no accumulator", e.accumulator.name)
                case Index():
                    if e.dtype.is_floating_point:
                        self.fail("dtype", f"an index of type {e.dtype.name}", str(e.expr))
                case Present() | Holds():
                    self.same("a test", e.dtype, bool_)

    def operation(self, e: Apply) -> None:
        kinds = [a.dtype for a in e.args]
        if e.op in SAME:
            kinds.append(e.dtype)
        elif e.op == "select":
            kinds[0] = kinds[1]
            kinds.append(e.dtype)
        elif e.op in LOGICAL:
            kinds = [e.dtype, bool_]
        elif e.op not in COMPARED:
            return
        for k in kinds[1:]:
            self.same(e.op, kinds[0], k)

    def load(self, e: Load, around: Around) -> None:
        path = holding(e.guard)
        while around is not None:
            around, test, truth = around
            path = (*self.condition(test, truth), *path)
        path = (*self.path, *path) if path else self.path
        self.read(e.buffer, point(self.at(e.index)), path, True)


__all__ = ["LoopError", "Verifier", "verify"]
