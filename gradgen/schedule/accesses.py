"""What one loop does to memory: every read and write with the stretch of elements that one iteration may touch.

An index is brought to the form S*p + rest, where p is the loop's counter and `rest` lies between two bounds that do not
mention p.  Iterations then work on disjoint memory where the stretches of one are shorter than S times the loop's step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy

from gradgen.ir.symbols import Extent
from gradgen.schedule.program import (
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
    If,
    Index,
    Let,
    Load,
    Loop,
    PairwiseAdd,
    PairwiseBegin,
    Pointer,
    Statement,
    Store,
)
from gradgen.schedule.rewrite import expressions, subexpressions

READ, WRITE = "read", "write"
COMMUTATIVE = ("add", "mul", "bitor", "bitand")
MOST_BOUNDS = 8  # upper bounds of one counter that are followed


class Unknown(Exception):
    """The loop does something whose effect on memory is not seen from its statements."""


@dataclass(frozen=True, eq=False)
class Window:
    """One iteration touches elements S*p + low ... S*p + high."""

    slope: sympy.Expr
    low: sympy.Expr
    high: sympy.Expr


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
                self.env[s.variable.name] = self.place(s.value.expr) if isinstance(s.value, Index) else None
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
            case If():
                self.block(s.body)
                self.block(s.otherwise)
            case Loop():
                self.inner(s)
            case Comment() | Declare() | Assign() | PairwiseBegin() | PairwiseAdd():
                pass
            case _:
                raise Unknown(type(s).__name__)

    def inner(self, loop: Loop) -> None:
        start, stop = self.place(loop.start), self.place(loop.stop)
        q = sympy.Dummy("q", integer=True, nonnegative=True)
        self.most[q] = [] if start is None or stop is None else [
            sympy.expand(e - start - 1) for e in upper(stop)
        ]
        self.env[loop.variable.name] = None if start is None else start + q
        self.block(loop.body)

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
                self.touch(e.buffer, READ, e.index)

    def touch(self, buffer: Buffer, kind: str, index: Extent, more: sympy.Expr = sympy.S.Zero) -> None:
        place = self.place(index)
        for row in self.resolve(buffer):
            window = None if place is None else self.window(row.start + place + more)
            self.found.append(Access(row.buffer, kind, window))

    def stretch(self, buffer: Buffer, kind: str, start: Extent, axes: tuple[tuple[Extent, Extent], ...]) -> None:
        """A block of memory: `axes` are its extents and strides."""
        more: sympy.Expr = sympy.S.Zero
        for extent, stride in axes:
            size, step = self.place(extent), self.place(stride)
            q = sympy.Dummy("q", integer=True, nonnegative=True)
            self.most[q] = [] if size is None else [sympy.expand(e - 1) for e in upper(size)]
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

    def window(self, at: sympy.Expr) -> Window | None:
        at = sympy.expand(at)
        if at is sympy.nan:
            return None
        slope = at.coeff(self.counter, 1)
        low = high = sympy.expand(at - slope * self.counter)
        if low.has(self.counter) or slope.has(*self.most):
            return None
        for q in sorted((s for s in low.free_symbols if s in self.most), key=lambda s: s.dummy_index):
            factor = at.coeff(q, 1)
            rest = sympy.expand(at - factor * q)
            bounds = [m for m in self.most[q] if not m.has(self.counter, *self.most)]
            if rest.has(q) or factor.has(*self.most) or not bounds:
                return None
            if factor.is_nonnegative:
                low, high = low.xreplace({q: sympy.S.Zero}), high.xreplace({q: smallest(bounds)})
            elif factor.is_nonpositive:
                low, high = low.xreplace({q: smallest(bounds)}), high.xreplace({q: sympy.S.Zero})
            else:
                return None
        return Window(slope, sympy.expand(low), sympy.expand(high))


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


def disjoint(windows: Iterable[Window | None], step: int) -> bool:
    """No two iterations of a loop with this step meet in these windows."""
    known: dict[tuple, Window] = {}
    for w in windows:
        if w is None:
            return False
        known[w.slope, w.low, w.high] = w
    slopes = {w.slope for w in known.values()}
    if len(slopes) != 1:
        return False
    slope = slopes.pop()
    if slope.is_zero or not (slope.is_nonnegative or slope.is_nonpositive):
        return False
    width = step * (slope if slope.is_nonnegative else -slope)
    pairs = [(a, b) for a in known.values() for b in known.values()]
    return all(certain(width - 1 - (a.high - b.low)) for a, b in pairs)


def certain(difference: sympy.Expr) -> bool:
    """The difference is never negative."""
    e = sympy.expand(difference)
    return bool(e.is_nonnegative)
