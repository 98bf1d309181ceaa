"""What the verifier knows where it stands, and the laws of memory: who may touch it when, which part, and what is there.

See verify.py, which walks through the statements.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.errors import GradgenError
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent
from gradgen.loops.atoms import ALWAYS, NEVER, Conjunction, atom_names, covered, formula, implies, presence, said
from gradgen.loops.describe import line
from gradgen.loops.draft import Draft
from gradgen.loops.extremes import (
    UNKNOWN,
    Poly,
    Stretch,
    exceeds,
    names_in,
    plus,
    point,
    poly,
    sign,
    substituted,
    symbols_of,
    times,
)
from gradgen.loops.overwriting import Access, Counter
from gradgen.loops.procedure import ACCUMULATE
from gradgen.loops.statements import ARGUMENT, CONSTANT, LOCAL, SAVED, Buffer, Expr, Index, Statement
from gradgen.loops.written import Written, interval


class LoopError(GradgenError):
    """Statements break a law: `rule` is its name, `name` what it is broken by."""

    def __init__(self, rule: str, what: str, name: str, s: Statement | None, procedure: str) -> None:
        where = f"{procedure}: {line(s)}" if s is not None else procedure
        super().__init__(f"{rule}: {name}: {what}", where=where,
                         hint="this is a defect of the pass that made the statement, not of its user")
        self.rule, self.name = rule, name


@dataclass(frozen=True, slots=True)
class Name:
    """What a name stands for: "let", "var", "sum" (a pairwise accumulator), "counter", "array", or "row"."""

    kind: str
    dtype: DType | None = None
    value: Expr | None = None
    rows: tuple[tuple[Buffer, Poly | None, Conjunction], ...] = ()  # of a row: memory, its start, when it is that


class Touched:
    """Names, conditions and loops around the statement that is looked at, and what was written before it."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.names: dict[str, Name] = {}
        self.beyond: frozenset[str] = frozenset()  # names around the function whose body is looked at
        self.fixed: frozenset[str] = frozenset()  # names around a function that is made of statements here
        self.path: Conjunction = ALWAYS
        self.counters: list[Counter] = []
        self.written = Written()
        self.now: Statement | None = None
        self.once = True  # nothing is cut into chunks, which add to a result in turn
        self.accesses: list[Access] = []  # in the order of the text
        self.failures: list[tuple[int, tuple[Counter, ...]]] = []  # before which access the function may end, in which loops
        self.overwritten = {o.onto for o in draft.procedure.outputs if o.onto is not None}

    def fail(self, rule: str, what: str, name: str) -> None:
        raise LoopError(rule, what, name, self.now, self.draft.procedure.name)

    def condition(self, e: Expr, truth: bool = True) -> Conjunction:
        return formula(e, truth, self.definition)

    def definition(self, name: str) -> Expr | None:
        found = self.names.get(name)
        return found.value if found is not None and found.kind == "let" else None

    # --- memory ---------------------------------------------------------------------------------------------------

    def at(self, e: Extent) -> Poly:
        """An index with integer locals that are known as what they are."""
        p = poly(e)
        for _ in range(4):
            known = [n for n in names_in(p) if self._number(n) is not None] if p else []
            for n in known:
                value = self._number(n)
                made = substituted(p, n, value) if value is not None else None
                p = p if made is None else made
            if not known:
                break
        return p

    def _number(self, name: str) -> Poly | None:
        value = self.definition(name)
        return poly(value.expr) if isinstance(value, Index) else None

    def behind(self, b: Buffer) -> tuple[tuple[Buffer, Poly | None, Conjunction], ...]:
        """The memory of a buffer or row, where it starts, and when it is that."""
        if b.space == LOCAL and self.names[b.name].kind == "row":
            return self.names[b.name].rows
        return ((b, {}, ALWAYS),)

    def whole(self, b: Buffer) -> Stretch:
        return interval({}, poly(b.size))

    def there(self, b: Buffer, path: Conjunction) -> None:
        optional = (b.place is not None and b.place.optional) or (b.space == SAVED and not b.given)
        if optional and not implies(path, presence(b)):
            self.fail("presence", f"may be NULL, and is touched where {said(path)}", b.name)

    def read(self, b: Buffer, where: Stretch, path: Conjunction | None = None, by_load: bool = False) -> None:
        path = self.path if path is None else path
        if exceeds(where.low, where.high):
            return
        for m, start, then in self.behind(b):
            here = path if not then else (*path, *then)
            given = m.given or m.space == CONSTANT or m.size == 0 or self.is_old(m)
            if not (by_load and m.given and b is m):  # a load of an optional value asks for itself
                self.there(m, here)
            at = UNKNOWN if start is None else where.shifted(start)
            self.accesses.append(Access(m, False, at, tuple(self.counters)))
            self.inside(m, at, here)
            seen = UNKNOWN if self.restricted(at, here) else at
            why = self.written.fault(m.name, here, lambda depth, at=seen: self.over(at, depth), given)  # type: ignore[misc]
            if why is not None:
                self.fail("assigned", why, m.name)

    def is_old(self, b: Buffer) -> bool:
        """A gradient that is added to has a value."""
        return b.space == ARGUMENT and any(
            o.place == b.place and o.mode == ACCUMULATE for o in self.draft.procedure.outputs)

    def write(self, b: Buffer, where: Stretch, count: Poly | None) -> None:
        for m, start, then in self.behind(b):
            here = self.path if not then else (*self.path, *then)
            if (m.given and m.place not in self.overwritten) or m.space == CONSTANT:
                self.fail("scope", "is given, and is written", m.name)
            self.there(m, here)
            at = UNKNOWN if start is None else where.shifted(start)
            self.accesses.append(Access(m, True, at, tuple(self.counters)))
            self.inside(m, at, here)
            self.written.write(m.name, here, at, count)

    def over(self, at: Stretch, depth: int) -> Stretch:
        """A stretch for all values of the counters inside of so many loops, and for what was seen of the outer ones."""
        at = Stretch(self.without_least(at.low, depth), self.without_least(at.high, depth, True))
        for c in reversed(self.counters[depth:]):
            at = at.over(c.name, c.low, c.high)
        return at

    def without_least(self, p: Poly | None, depth: int, greatest: bool = False) -> Poly | None:
        """The least or greatest value over what a minimum of a number and something else goes through: the last block of
        a loop in blocks.  Left as it is where the rest depends on the same counters."""
        atoms = {f for m in p or {} for f in m if isinstance(f, sympy.Min)}
        for f in atoms:
            others = {n for m in p or {} if f not in m for n in symbols_of(sympy.Mul(*m))}
            open_args = [self.at(a) for a in f.args if not a.is_Integer]
            if p is None or len(open_args) != 1 or others & (symbols_of(f) | names_in(open_args[0])):
                continue
            limit = min(int(a) for a in f.args if a.is_Integer)
            ends = self.over(point(open_args[0]), depth)
            up = sign({tuple(x for x in m if x is not f): k for m, k in p.items() if f in m}) == 1
            end = ends.high if up == greatest else ends.low
            if end is not None and set(end) <= {()}:
                rest = {m: k for m, k in p.items() if f not in m}
                by = {tuple(x for x in m if x is not f): k for m, k in p.items() if f in m}
                p = plus(rest, times(by, poly(min(limit, end.get((), 0)))))
        return p

    def inside(self, b: Buffer, at: Stretch, path: Conjunction) -> None:
        """No element outside of an array, where that is certain: guards that say more of a counter leave it open."""
        if NEVER[0] in path:
            return
        if self.quick(b, at) or self.restricted(at, path):
            return
        at = self.over(at, 0)
        if any(at_end is not None and any(n in self.names for n in names_in(at_end)) for at_end in (at.low, at.high)):
            return  # a number from data, or of a chunk
        size = poly(b.size) if b.shape else None
        if exceeds({}, at.low):
            self.fail("inside", f"element {_text(at.low)} is before its beginning", b.name)
        if size is not None and at.high is not None and exceeds(plus(at.high, {(): 1}), size):
            self.fail("inside", f"element {_text(at.high)} of {b.size}", b.name)

    def quick(self, b: Buffer, at: Stretch) -> bool:
        low, high = at.low, at.high
        return (low is not None and high is not None and isinstance(b.size, int) and set(low) <= {()} and set(high) <= {()}
                and low.get((), 0) >= 0 and high.get((), 0) < b.size)

    def restricted(self, at: Stretch, path: Conjunction) -> bool:
        """Conditions say more of what the index depends on than that its counters are in their loops."""
        known = {a for c in path for a, _ in c}
        names = {n for a in known for n in (names_in(self.at(a[2])) if a[0] == "integer" else atom_names(a))}
        return bool(names) and not names.isdisjoint(at.names())

    # --- results --------------------------------------------------------------------------------------------------

    def results(self) -> None:
        by_place = {b.place: b for b in self.draft.buffers if b.place is not None}
        for o in self.draft.procedure.outputs:
            if any(e == 0 for e in o.node.shape):
                continue
            b = by_place.get(o.found_at)
            name = o.place.name
            if b is None:
                self.fail("result", "no buffer has its place", name)
                continue
            optional = o.place.optional or o.place.space == SAVED
            path = presence(b) if optional else ALWAYS
            why = self.written.fault(b.name, path, lambda depth, b=b: self.whole(b))  # type: ignore[misc]
            if why is not None:
                self.fail("result", why, name)
            if o.mode == ACCUMULATE and self.once and not o.in_parts:
                self.added_once(b, path)

    def added_once(self, b: Buffer, path: Conjunction) -> None:
        """The elements that are stored in each case are no more than there are."""
        records = self.written.records[b.name]
        if any(r.count is None for r in records):
            return
        for r in records:
            total: Poly = {}
            for other in records:
                both = (*path, *r.path, *other.path)
                if implies((*path, *r.path), other.path) or not covered(both, [(frozenset(),)]):
                    total = plus(total, other.count or {})
            if exceeds(total, poly(b.size)):
                self.fail("result", f"{_text(total)} elements are stored, it has {b.size}", b.name)


def _text(p: Poly | None) -> str:
    if p is None:
        return "?"
    return str(sympy.Add(*(k * sympy.Mul(*m) for m, k in p.items())))


__all__ = ["Counter", "LoopError", "Name", "Touched"]
