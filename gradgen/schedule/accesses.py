"""What one loop does to memory: every read and write with the stretch of elements that one iteration may touch.

An index is brought to the form S*p + sum f*q + rest, where p is the loop's counter, the q are counters inside with known
upper bounds, and `rest` mentions neither.  Iterations work on disjoint memory where the near terms, those with f < S, span
less than S times the loop's step, and all others are multiples of a number that S*p and the near terms together do not
reach: the digits of a number in mixed radix, of which p is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy

from gradgen.ir.guards import GE, Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.symbols import Extent
from gradgen.loops.statements import (
    LOCAL,
    Apply,
    Assign,
    Buffer,
    Comment,
    Contract,
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
    PairwiseAdd,
    PairwiseBegin,
    Pointer,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import expressions, statements_in, subexpressions

READ, WRITE = "read", "write"
COMMUTATIVE = ("add", "mul", "bitor", "bitand")
MOST_BOUNDS = 8  # upper bounds of one counter that are followed


class Unknown(Exception):
    """The loop does something whose effect on memory is not seen from its statements."""


@dataclass(frozen=True)
class Window:
    """One iteration touches elements S*p + base + sum f*q, for counters q from 0 to `most`; the terms are pairs (f, most),
    no f negative."""

    slope: sympy.Expr
    base: sympy.Expr
    terms: tuple[tuple[sympy.Expr, sympy.Expr], ...]

    def top(self) -> sympy.Expr:
        """The greatest element of iteration 0."""
        return sympy.expand(self.base + self.span())

    def span(self) -> sympy.Expr:
        """How far its elements are apart."""
        return sympy.expand(sum((f * most for f, most in self.terms), sympy.S.Zero))


@dataclass(frozen=True, eq=False)
class Access:
    """`kind` is READ, WRITE, or the operation with which a value is put on top of what is there; window None: anywhere."""

    buffer: Buffer
    kind: str
    window: Window | None


@dataclass(frozen=True)
class Row:
    """What a row pointer may point at: a buffer, from an element on."""

    buffer: Buffer
    start: sympy.Expr


class Accesses:
    """Collects the accesses of the body of `loop`; `rows` are the row pointers declared before it."""

    def __init__(self, loop: Loop, rows: dict[str, tuple[Row, ...]]) -> None:
        self.counter = sympy.Dummy("p", integer=True, nonnegative=True)
        self.env: dict[str, sympy.Expr | None] = {loop.variable.name: self.counter}
        self.most: dict[sympy.Symbol, list[sympy.Expr]] = {}  # upper bounds of the counters inside
        self.rows = dict(rows)
        self.found: list[Access] = []
        self.greatest: dict[str, int | None] = {}  # of integer locals that are assigned, none of them negative
        self.open: set[str] = set()  # those that the loops around change from one iteration to the next
        self.facts: Guard = ()  # conditions that hold where the walk is
        self.carry(loop)
        self.block(loop.body)

    # --- statements -----------------------------------------------------------------------------------------------

    def block(self, statements: Iterable[Statement]) -> None:
        for s in statements:
            self.statement(s)

    def statement(self, s: Statement) -> None:
        updated = self.update(s) if isinstance(s, Store) else None
        if updated is not None and isinstance(s, Store):
            op, value = updated
            self.reads((value,))
            self.touch(s.buffer, op, s.index)
            return
        self.reads(expressions(s))
        match s:
            case Let():
                self.env[s.variable.name] = self.value(s.value)
                if not s.variable.dtype.is_floating_point:
                    self.greatest[s.variable.name] = self.most_of(s.value)
            case Store():
                self.touch(s.buffer, WRITE, s.index)
            case Fill():
                self.stretch(s.buffer, WRITE, s.start, ((s.count, 1),))
            case Copy():
                self.stretch(s.source, READ, s.source_start, ((s.count, 1),))
                self.stretch(s.target, WRITE, s.target_start, ((s.count, 1),))
            case Contract():
                for o, extents in ((s.a, (s.m, s.k)), (s.b, (s.k, s.n))):
                    self.stretch(o.buffer, READ, o.start, tuple(zip(extents, o.strides, strict=True)))
                area = tuple(zip((s.m, s.n), s.c.strides, strict=True))
                self.stretch(s.c.buffer, "add" if s.accumulate else WRITE, s.c.start, area)
            case Pointer():
                self.rows[s.name] = self.targets(s)
            case Declare() | Assign():
                self.assigned(s)
            case If():
                before, self.facts = self.facts, (*self.facts, *holding(s.condition))
                self.block(s.body)
                self.facts = before
                self.block(s.otherwise)
            case Loop():
                self.inner(s)
            case Comment() | PairwiseBegin() | PairwiseAdd():
                pass
            case _:
                raise Unknown(type(s).__name__)

    def value(self, e: Expr) -> sympy.Expr | None:
        """An integer local: an index expression, or what lies between 0 and a known number."""
        if isinstance(e, Index):
            return self.place(e.expr)
        most = self.most_of(e)
        return None if most is None else self.counter_to([sympy.Integer(most)])

    def most_of(self, e: Expr, own: str = "") -> int | None:
        """What an integer value, never negative, does not exceed; None where that is not known.  `own` is the local that
        it is assigned to."""
        match e:
            case Literal() if e.value.is_Integer and e.value >= 0:
                return int(e.value)
            case Load() if isinstance(e.buffer.below, int) and not e.guard:
                return e.buffer.below - 1
            case Variable() if e.name == own or e.name not in self.open:
                return self.greatest.get(e.name)
            case Index():
                at = self.place(e.expr)
                window = None if at is None else self.window(at)
                if window is not None and window.slope.is_zero and certain(window.base) and window.top().is_Integer:
                    return int(window.top())
            case Apply() if e.op == "select":
                both = [self.most_of(a, own) for a in e.args[1:]]
                return None if None in both else max(m for m in both if m is not None)
        return None

    def assigned(self, s: Declare | Assign) -> None:
        """An integer local gets a value.  Inside a loop that changes it, it may have any of them: it is known afterwards."""
        name = s.variable.name
        if s.variable.dtype.is_floating_point:
            return
        most = self.most_of(s.value, name)
        if isinstance(s, Assign):
            old = self.greatest.get(name)
            most = None if most is None or old is None else max(most, old)
        self.greatest[name] = most
        if name not in self.open:
            self.settle(name)

    def settle(self, name: str) -> None:
        most = self.greatest.get(name)
        self.env[name] = None if most is None else self.counter_to([sympy.Integer(most)])

    def carry(self, loop: Loop) -> set[str]:
        """The locals that the loop changes from one iteration to the next; nothing is known of them inside."""
        inside = list(statements_in(loop.body))
        names = {s.variable.name for s in inside if isinstance(s, Assign)}
        names -= {s.variable.name for s in inside if isinstance(s, Declare)} | self.open
        self.open |= names
        self.env.update(dict.fromkeys(names))
        return names

    def inner(self, loop: Loop) -> None:
        start, stop = self.place(loop.start), self.place(loop.stop)
        self.env[loop.variable.name] = None
        if start is not None:
            tops = [] if stop is None else [sympy.expand(e - 1) for e in upper(stop)]
            if start.has(*self.most) and not start.has(self.counter) and start.is_nonnegative:
                start = sympy.S.Zero  # from anywhere up to the end: that of the last strip
            self.env[loop.variable.name] = start + self.counter_to([sympy.expand(e - start) for e in tops])
        carried = self.carry(loop)
        self.block(loop.body)
        self.open -= carried
        for name in sorted(carried):
            self.settle(name)

    def update(self, s: Store) -> tuple[str, Expr] | None:
        """`b[at] = b[at] op value`: the operation and the value."""
        e = s.value
        if not isinstance(e, Apply) or e.op not in COMMUTATIVE or len(e.args) != 2:
            return None
        old, value = e.args
        same = isinstance(old, Load) and old.buffer is s.buffer and not old.guard and old.index == s.index
        return (e.op, value) if same else None

    def targets(self, s: Pointer) -> tuple[Row, ...]:
        start = self.place(s.start)
        if start is None:
            raise Unknown("a row at an unknown place")
        found = [Row(r.buffer, r.start + start) for r in self.resolve(s.buffer)]
        if s.condition is not None and s.otherwise is not None:
            found += self.resolve(s.otherwise)
        return tuple(found)

    # --- memory ---------------------------------------------------------------------------------------------------

    def resolve(self, buffer: Buffer) -> tuple[Row, ...]:
        if buffer.name in self.rows:
            return self.rows[buffer.name]
        if buffer.space == LOCAL:
            raise Unknown(f"a row {buffer.name} from elsewhere")
        return (Row(buffer, sympy.S.Zero),)

    def reads(self, roots: Iterable[Expr]) -> None:
        for e in subexpressions(roots):
            if isinstance(e, Load):
                self.touch(e.buffer, READ, e.index, guard=e.guard)

    def touch(
        self, buffer: Buffer, kind: str, index: Extent, more: sympy.Expr = sympy.S.Zero, guard: Guard = ()
    ) -> None:
        place = self.place(index)
        for row in self.resolve(buffer):
            window = None if place is None else self.narrow(row.start + place + more, (*self.facts, *guard))
            self.found.append(Access(row.buffer, kind, window))

    def narrow(self, at: sympy.Expr, facts: Guard) -> Window | None:
        """The window of an index where conditions hold: what they keep between 0 and a bound is a counter, in whose terms
        the index may reach less far."""
        window = self.window(at)
        for e, most in self.between(facts):
            r = self.counter_to([most])
            for q in sorted(e.free_symbols & at.free_symbols & self.most.keys(), key=lambda s: -s.dummy_index):
                factor = e.coeff(q, 1)
                if factor not in (1, -1):
                    continue
                other = sympy.expand(at.xreplace({q: factor * (r - (e - factor * q))}))
                found = self.window(other)
                if found is not None and (window is None or certain(window.span() - found.span() - 1)):
                    at, window = other, found
                    break
        return window

    def between(self, facts: Guard) -> list[tuple[sympy.Expr, sympy.Expr]]:
        """Expressions of the counters inside that conditions keep from 0 to a bound, with the bound."""
        placed = [self.place(c.expr) for c in facts if c.kind == GE]
        known = [sympy.expand(e) for e in placed if e is not None and not e.has(self.counter, modulo, quotient)]
        found: list[tuple[sympy.Expr, sympy.Expr]] = []
        for k, e in enumerate(known):
            for other in known[k + 1 :]:
                most = sympy.expand(e + other)
                if e.has(*self.most) and not most.has(*self.most):
                    found.append((e, most))
                    break
        return found

    def stretch(self, buffer: Buffer, kind: str, start: Extent, axes: tuple[tuple[Extent, Extent], ...]) -> None:
        """A block of memory: `axes` are its extents and strides."""
        more: sympy.Expr = sympy.S.Zero
        for extent, stride in axes:
            size, step = self.place(extent), self.place(stride)
            q = self.counter_to([] if size is None else [sympy.expand(e - 1) for e in upper(size)])
            more = sympy.nan if step is None else more + step * q
        self.touch(buffer, kind, start, more)

    def place(self, index: Extent) -> sympy.Expr | None:
        """An index in terms of p, counters with bounds, and what no iteration changes; None where it is none of them."""
        e = sympy.sympify(index)
        known: dict[sympy.Basic, sympy.Expr] = {}
        for s in e.free_symbols:
            if isinstance(s, CVar) and s.name in self.env:
                value = self.env[s.name]
                if value is None:
                    return None
                known[s] = value
        return e.xreplace(known)

    def counter_to(self, bounds: list[sympy.Expr]) -> sympy.Symbol:
        """A new counter from 0 to the least of some bounds."""
        q = sympy.Dummy("q", integer=True, nonnegative=True)
        self.most[q] = bounds
        return q

    def flat(self, e: sympy.Expr) -> sympy.Expr:
        """Remainders and quotients of counters as counters of their own."""
        found = sorted((f for f in e.atoms(modulo, quotient) if f.has(self.counter, *self.most)), key=str)
        inner = [f for f in found if not f.args[0].has(modulo, quotient)]
        if not inner:
            return e
        made: dict[sympy.Basic, sympy.Expr] = {}
        for f in inner:
            over, by = f.args
            if by.has(self.counter, *self.most):
                return sympy.nan
            bounds = [by - 1]
            if isinstance(f, quotient):
                window = self.window(over)
                top = None if window is None or not window.slope.is_zero or not certain(window.base) else window.top()
                if top is None or not (top.is_Integer and by.is_Integer):
                    return sympy.nan
                bounds = [top // by]
            made[f] = self.counter_to(bounds)
        return self.flat(sympy.expand(e.xreplace(made)))

    def window(self, at: sympy.Expr) -> Window | None:
        at = self.flat(sympy.expand(at))
        if at is sympy.nan:
            return None
        slope = at.coeff(self.counter, 1)
        base = sympy.expand(at - slope * self.counter)
        if base.has(self.counter) or slope.has(*self.most):
            return None
        terms: list[tuple[sympy.Expr, sympy.Expr]] = []
        for q in sorted((s for s in base.free_symbols if s in self.most), key=lambda s: s.dummy_index):
            factor = base.coeff(q, 1)
            base = sympy.expand(base - factor * q)
            bounds = [m for m in self.most[q] if not m.has(self.counter, *self.most)]
            if base.has(q) or factor.has(*self.most) or not bounds:
                return None
            if factor.is_nonpositive:  # counted from the other end
                base = sympy.expand(base + factor * smallest(bounds))
                factor = -factor
            elif not factor.is_nonnegative:
                return None
            terms.append((factor, smallest(bounds)))
        return Window(slope, base, tuple(terms))


def holding(condition: Expr) -> Guard:
    """The guards among what a condition says."""
    if isinstance(condition, Holds):
        return condition.guard
    if isinstance(condition, Apply) and condition.op == "and_":
        return tuple(c for a in condition.args for c in holding(a))
    return ()


def upper(e: sympy.Expr) -> list[sympy.Expr]:
    """Expressions that `e` does not exceed: one argument of each minimum in it."""
    found, done = [sympy.expand(e)], list[sympy.Expr]()
    while found and len(done) < MOST_BOUNDS:
        f = found.pop()
        least = next(iter(sorted(f.atoms(sympy.Min), key=str)), None)
        if least is None:
            done.append(f)
            continue
        rest = sympy.expand(f - least)
        if not rest.has(least):  # the minimum is added once, as it is
            found += [sympy.expand(rest + a) for a in least.args]
    return done


def smallest(bounds: list[sympy.Expr]) -> sympy.Expr:
    """A number where there is one: all are bounds."""
    numbers = [b for b in bounds if b.is_Integer]
    return min(numbers) if numbers else bounds[0]


def disjoint(windows: Iterable[Window | None], step: int, last: sympy.Expr | None) -> bool:
    """No two iterations of a loop with this step meet in these windows; `last` is the difference of its counter from
    first to last."""
    known: list[Window] = []
    for w in dict.fromkeys(windows):
        if w is None:
            return False
        known.append(w)
    slopes = {w.slope for w in known}
    slope = slopes.pop()
    if slopes or slope.is_zero or not (slope.is_nonnegative or slope.is_nonpositive):
        return False
    slope = slope if slope.is_nonnegative else -slope
    far = {f for w in known for f, most in w.terms if not most.is_zero and certain(f - slope * step)}
    radix = sympy.gcd_list(sorted(far, key=str)) if far else None
    near = [stretch(w, far, radix) for w in known]
    spans = [sympy.expand(b_high - a_low) for a_low, _ in near for _, b_high in near]
    if not all(certain(slope * step - 1 - span) for span in spans):
        return False
    return radix is None or (last is not None and all(certain(radix - 1 - slope * last - span) for span in spans))


def stretch(w: Window, far: set[sympy.Expr], radix: sympy.Expr | None) -> tuple[sympy.Expr, sympy.Expr]:
    """Least and greatest element of the near terms, up to multiples of the radix."""
    base = w.base
    if radix is not None and radix.is_Integer:
        whole, rest = base.as_coeff_Add()
        base = rest + whole % radix
    return base, base + sum((f * most for f, most in w.terms if f not in far), sympy.S.Zero)


def certain(difference: sympy.Expr) -> bool:
    """The difference is never negative."""
    e = sympy.expand(difference)
    return bool(e.is_nonnegative)
