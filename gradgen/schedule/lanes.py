"""Lanes: a loop over independent items, each of them straight-line code, computes a vector of items at a time.

The items' numbers lie next to each other in memory and not beside those of the next item, and some are picked by an index:
compilers find no vectors in such a loop.  A block of items is therefore done in three loops: the first fetches what the
block reads into small arrays by lane (the last block fetches its last item again and again), the second is arithmetic on
whole lanes, marked for vectorisation, and the third puts the results where they go, in the old order.  What all items add to
one number is summed by lane, and the lanes' sums are added at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import sympy

from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.guards import GE, Condition, Guard
from gradgen.ir.minima import least
from gradgen.ir.scalar_table import is_costly, record_of
from gradgen.loops.procedure import USERS
from gradgen.loops.statements import (
    ARGUMENT,
    HALVED,
    LOCAL,
    Apply,
    Array,
    Assign,
    Buffer,
    Comment,
    CVar,
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
    Present,
    SetFlag,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import (
    VALUED,
    assigned,
    bound,
    expressions,
    index_symbols,
    mentioned,
    statements_in,
    subexpressions,
    used,
    writes,
)
from gradgen.schedule.cost import FUNCTION_COST, PC, Costs

MOST = 128  # values that are kept by lane
STRETCH = 64  # blocks whose sums by lane are added up before they meet others pairwise
WORTH = 2  # additions for each value that goes through memory


class Unfit(Exception):
    """The items are not independent, or not straight-line code."""


def lanes(statements: tuple[Statement, ...], fresh: Callable[[str], str], costs: Costs = PC) -> tuple[Statement, ...]:
    """The statements with such loops in blocks."""
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            found.append(replace(s, body=lanes(s.body, fresh, costs), otherwise=lanes(s.otherwise, fresh, costs)))
        elif isinstance(s, Loop):
            found += _loop(s, fresh, costs)
        else:
            found.append(s)
    return tuple(found)


def in_lanes(s: Loop, fresh: Callable[[str], str], costs: Costs) -> bool:
    """Whether such a loop is one over independent items of straight-line code, with enough of both."""
    if any(isinstance(t, Loop) for t in statements_in(s.body)) or s.simd or s.step != 1 or s.parallel:
        return False
    try:
        Blocks(s, fresh, costs).loops()
    except Unfit:
        return False
    return True


def _loop(s: Loop, fresh: Callable[[str], str], costs: Costs) -> list[Statement]:
    if any(isinstance(t, Loop) for t in s.body) or s.simd or s.step != 1 or s.parallel:
        return [replace(s, body=lanes(s.body, fresh, costs))]
    try:
        return Blocks(s, fresh, costs).loops()
    except Unfit:
        return [s]


@dataclass
class Group:
    """Results under one condition: their statements, and what they touch."""

    condition: Expr | None
    body: list[Statement] = field(default_factory=list)
    buffers: set[Buffer] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class Sum:
    """`target` adds the sum over all items of `value`, of which each lane has its part in `lanes`."""

    target: Store | Assign | PairwiseAdd
    lanes: Buffer
    value: Expr


class Blocks:
    """One loop; `count` lanes."""

    def __init__(self, loop: Loop, fresh: Callable[[str], str], costs: Costs) -> None:
        self.source, self.fresh = loop, fresh
        inside = list(statements_in(loop.body))
        self.written = {b for s in inside for b in writes(s)}
        self.varying = {loop.variable.name, *(name for s in inside for name in bound(s))}
        self.assigned = {name for s in inside for name in assigned(s)}
        self.check(loop.body)
        size = max((s.variable.dtype.itemsize for s in inside if isinstance(s, Let) and _is_float(s.variable.dtype)),
                   default=0)
        if not size:
            raise Unfit("no arithmetic")
        self.count = costs.lane_count(size)
        if self.count == 1:
            raise Unfit("no vectors")
        self.base = loop.variable
        self.lane = CVar(fresh("lane"), integer=True, nonnegative=True)
        self.item = CVar(fresh("item"), integer=True, nonnegative=True)
        self.arrays: list[Buffer] = []
        self.by_lane: dict[tuple, Buffer] = {}  # leaves and results that are kept by lane
        self.fetch: list[Statement] = []
        self.work: list[Statement] = []
        self.groups: list[Group] = []
        self.sums: list[Sum] = []
        targets = (s for s in inside if type(s) in VALUED and not isinstance(s, Let))
        self.targets = Counter(map(_target, targets))  # type: ignore[arg-type]
        self.reads = _reads(inside)
        self.whole: dict[str, Let] = {}  # integers, which the last loop computes again
        self.late: dict[str, tuple[Let, int]] = {}  # what reads memory that the loop writes, and the stores before it
        self.now: set[str] = set()  # names of the third loop
        self.stores = 0
        self.conditions: dict[tuple[str | Expr, ...], Expr] = {}
        self.computed: dict[str, DType] = {}

    def check(self, body: Sequence[Statement]) -> None:
        for s in body:
            if isinstance(s, If):
                if s.otherwise or self.varies(s.condition):
                    raise Unfit("a condition on items")
                self.check(s.body)
            elif not isinstance(s, (Let, Store, Comment, Assign, PairwiseAdd)):
                raise Unfit(type(s).__name__)
        for s in statements_in(body):  # a sum's own assignment may read it, nothing else
            reads = {name for e in subexpressions(expressions(s)) for name in used(e)}
            if not reads.isdisjoint(self.assigned - set(assigned(s))):
                raise Unfit("a value from the item before")

    # --- the three loops ------------------------------------------------------------------------------------------

    def loops(self) -> list[Statement]:
        """What goes before it, the loop over blocks, and what goes after it."""
        for s in self.source.body:
            if isinstance(s, Let):
                self.let(s)
            elif isinstance(s, If):
                self.results(s.condition, s.body)
            elif not isinstance(s, Comment):
                self.results(None, (s,))
        if not self.pays():
            raise Unfit("little arithmetic")
        start, stop, n = self.source.start, self.source.stop, self.count
        known = isinstance(start, int) and isinstance(stop, int)
        exact = known and (stop - start) % n == 0  # type: ignore[operator]
        if known and stop - start < 2 * n:  # type: ignore[operator]
            raise Unfit("few items")
        rest = n if exact else least(n, sympy.sympify(stop) - self.base)
        here = self.base + self.lane
        which = here if exact else least(here, sympy.sympify(stop) - 1)
        last = CVar(self.fresh("rest"), integer=True, nonnegative=True)
        fetch = _used((Let(Variable(INDEX, self.item.name), Index(INDEX, which)), *self.fetch))
        sums = self.added(None if exact else last)
        body: list[Statement] = [Array(b) for b in self.arrays]
        body.append(Loop(self.lane, 0, n, fetch))
        if exact:
            body.append(Loop(self.lane, 0, n, (*self.work, *sums), simd=True))
        else:
            body.append(Let(Variable(INDEX, last.name), Index(INDEX, rest)))
            body.append(Loop(self.lane, 0, n, tuple(self.work), simd=True))
            body += [Loop(self.lane, 0, n, tuple(sums), simd=True)] if sums else []
        for g in self.groups:
            parts = [Loop(self.lane, 0, n if exact else last, self.last(b)) for b in _by_target(g.body)]
            body += parts if g.condition is None else [If(g.condition, tuple(parts))] if parts else []
        arrays = [Array(s.lanes) for s in self.sums]
        return [*arrays, *self.stretches(replace(self.source, body=tuple(body), step=n)), *self.after()]

    def stretches(self, blocks: Loop) -> list[Statement]:
        """Sums by lane start at zero; those that are added up pairwise start anew every so many blocks."""
        pairwise = [s for s in self.sums if isinstance(s.target, PairwiseAdd)]
        begin = [Fill(s.lanes, 0, self.count, Literal(s.lanes.dtype, sympy.S.Zero)) for s in self.sums]
        if not pairwise:
            return [*begin, blocks]
        adds = [PairwiseAdd(s.target.accumulator, self.total(s.lanes)) for s in pairwise
                if isinstance(s.target, PairwiseAdd)]
        again = [f for f, s in zip(begin, self.sums, strict=True) if isinstance(s.target, PairwiseAdd)]
        once = [f for f in begin if f not in again]
        long = STRETCH * self.count
        if isinstance(blocks.start, int) and isinstance(blocks.stop, int) and blocks.stop - blocks.start <= long:
            return [*begin, blocks, *adds]
        first = CVar(self.fresh("first"), integer=True, nonnegative=True)
        stop = least(first + long, sympy.sympify(blocks.stop))
        inner = replace(blocks, start=first, stop=stop)
        return [*once, Loop(first, blocks.start, blocks.stop, (*again, inner, *adds), step=long)]

    # --- sums -----------------------------------------------------------------------------------------------------

    def is_sum(self, s: Store | Assign | PairwiseAdd) -> Expr | None:
        """What each item adds to one number, where nothing else in the loop looks at it."""
        if not _is_float(s.value.dtype):
            return None
        if isinstance(s, PairwiseAdd):
            return None if self.is_now(s.value) else s.value
        value = s.value
        if isinstance(value, Variable) and value.name in self.late:
            value = self.late[value.name][0].value
        if not isinstance(value, Apply) or value.op != "add":
            return None
        for mine, other in (value.args, value.args[::-1]):
            if isinstance(mine, Variable) and mine.name in self.late:
                mine = self.late[mine.name][0].value
            if self.is_now(other) or self.targets[_target(s)] > 1:
                continue
            if isinstance(s, Assign) and isinstance(mine, Variable) and mine.name == s.variable.name:
                return other
            if isinstance(s, Store) and isinstance(mine, Load) and self.is_one_number(s, mine):
                return other
        return None

    def is_one_number(self, s: Store, old: Load) -> bool:
        """Every item adds to the same element, and no other statement reads it."""
        here = (s.buffer, s.index)
        same = (old.buffer, old.index) == here and not old.guard
        others = [at for key, at in (*(k for k in self.targets if len(k) == 2), *self.reads) if key == here[0]]
        apart = all((at - s.index).is_Integer for at in others)
        return same and apart and not self.mentions(s.index) and self.reads[here] == 1

    def mentions(self, e: sympy.Expr) -> bool:
        return any(v.name in self.varying for v in e.free_symbols)

    def add(self, s: Store | Assign | PairwiseAdd, value: Expr) -> None:
        for e in subexpressions((s.value,)):  # the old sum was read by a local of its own
            if isinstance(e, Variable):
                self.late.pop(e.name, None)
        lanes = Buffer(self.fresh(_by_lane(value)), value.dtype, (self.count,), LOCAL)
        self.sums.append(Sum(s, lanes, self.by_lanes(value)))

    def added(self, last: CVar | None) -> list[Statement]:
        """Each lane's own sum, in the second loop; lanes behind the last item add nothing.

        The choice between a term and nothing is in a loop of its own: compilers would move what computes the term into
        its branch, and with control flow inside the loop is no vector loop.
        """
        found: list[Statement] = []
        for s in self.sums:
            value = s.value
            if last is not None:
                value = self.kept(("term", s), value.dtype, value, self.work)
                there = Holds(bool_, (Condition(GE, last - 1 - self.lane),))
                value = Apply(value.dtype, "select", (there, value, Literal(value.dtype, sympy.S.Zero)))
            value = Apply(value.dtype, "add", (Load(value.dtype, s.lanes, self.lane), value))
            found.append(Store(s.lanes, self.lane, value))
        return found

    def total(self, lanes: Buffer) -> Expr:
        """The sum of all lanes, by halves."""
        terms: list[Expr] = [Load(lanes.dtype, lanes, sympy.Integer(k)) for k in range(self.count)]
        if self.count in HALVED:
            return Apply(lanes.dtype, "by_halves", tuple(terms))
        while len(terms) > 1:
            half = len(terms) // 2
            terms = [Apply(lanes.dtype, "add", (a, b)) for a, b in zip(terms[:half], terms[half:], strict=True)]
        return terms[0]

    def after(self) -> list[Statement]:
        """The numbers that the lanes' sums are added to."""
        found: list[Statement] = []
        for s in self.sums:
            t, total = s.target, self.total(s.lanes)
            if isinstance(t, Assign):
                found.append(Assign(t.variable, Apply(total.dtype, "add", (t.variable, total))))
            elif isinstance(t, Store):
                old = Load(total.dtype, t.buffer, t.index)
                found.append(Store(t.buffer, t.index, Apply(total.dtype, "add", (old, total))))
        return found

    def pays(self) -> bool:
        cost = 0
        for e in subexpressions(x for s in self.work for x in expressions(s)):
            if isinstance(e, Apply):
                record = record_of(e.op)
                costly = is_costly(e.op) and e.dtype is not bool_
                cost += FUNCTION_COST if costly else record.cost if record is not None else 1
        return len(self.arrays) <= MOST and cost >= WORTH * (len(self.arrays) + 1)

    def last(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        """The statements of a group, after the integers that they need."""
        item = Let(Variable(INDEX, self.item.name), Index(INDEX, self.base + self.lane))
        return _used((item, *self.whole.values(), *body))

    # --- statements -----------------------------------------------------------------------------------------------

    def let(self, s: Let) -> None:
        if self.is_now(s.value):
            self.late[s.variable.name] = (s, self.stores)
            self.now.add(s.variable.name)
            return
        if _is_float(s.variable.dtype) or self.is_computed(s.value):
            if not _is_float(s.variable.dtype) and s.variable.dtype is not bool_:
                raise Unfit("an index that is computed")
            self.work.append(Let(s.variable, self.by_lanes(s.value)))
            self.computed[s.variable.name] = s.variable.dtype
            return
        made = Let(s.variable, self.fetched(s.value))
        self.whole[s.variable.name] = made
        self.fetch.append(made)

    def is_computed(self, e: Expr) -> bool:
        return any(isinstance(p, Variable) and p.name in self.computed for p in subexpressions((e,))) or any(
            _is_float(p.dtype) for p in subexpressions((e,))
        )

    def results(self, condition: Expr | None, body: Iterable[Statement]) -> None:
        group = Group(condition)
        for s in body:
            if isinstance(s, If):
                self.results(self.both(condition, s.condition), s.body)
                continue
            if isinstance(s, Let):
                self.let(s)
            if isinstance(s, (Let, Comment)):
                continue
            assert isinstance(s, (Store, Assign, PairwiseAdd))
            value = self.is_sum(s) if condition is None else None
            if value is not None:
                self.add(s, value)
                continue
            waiting = self.reads_of(s.value)
            self.only_its_own(s, waiting)
            group.body += waiting
            self.stores += isinstance(s, Store)
            made = replace(s, value=self.finished(s.value))
            if isinstance(made, Store):
                made = replace(made, index=self.moved(made.index))
                group.buffers.add(made.buffer)
            else:
                group.names.add(made.variable.name if isinstance(made, Assign) else made.accumulator.name)
            group.body.append(made)
        if not group.body:
            return
        same = next((g for g in self.groups if _alike(g.condition, condition)), None)
        for g in self.groups:
            if g is not same and (g.buffers & group.buffers or g.names & group.names):
                raise Unfit("results under several conditions in one place")
        if same is None:
            self.groups.append(group)
        else:
            same.body += group.body
            same.buffers |= group.buffers
            same.names |= group.names

    def only_its_own(self, s: Store | Assign | PairwiseAdd, waiting: Iterable[Statement]) -> None:
        """A result reads no memory that another one writes: results go to memory in loops of their own."""
        for t in (*waiting, s):
            for e in subexpressions(expressions(t)):
                own = isinstance(s, Store) and isinstance(e, Load) and e.buffer is s.buffer
                if isinstance(e, Load) and e.buffer in self.written and not own:
                    raise Unfit("a result that reads another one")

    def both(self, outer: Expr | None, inner: Expr) -> Expr:
        """A condition inside another: the same expression for the same two."""
        if outer is None:
            return inner
        key = tuple(e.name if isinstance(e, Variable) else e for e in (outer, inner))
        return self.conditions.setdefault(key, Apply(bool_, "and_", (outer, inner)))

    def reads_of(self, e: Expr) -> list[Statement]:
        """The reads of memory that the loop writes which a result was waiting for."""
        found: list[Statement] = []
        for name in dict.fromkeys(p.name for p in subexpressions((e,)) if isinstance(p, Variable)):
            if name in self.now:
                let, before = self.late.pop(name, (None, 0))
                if let is None or before != self.stores:
                    raise Unfit("memory that is read and written")
                found = [*self.reads_of(let.value), Let(let.variable, self.finished(let.value)), *found]
        return found

    # --- expressions ----------------------------------------------------------------------------------------------

    def varies(self, e: Expr) -> bool:
        for p in subexpressions((e,)):
            if isinstance(p, Variable) and p.name in self.varying:
                return True
            if isinstance(p, Load) and p.buffer in self.written:
                return True
            if any(v.name in self.varying for v in index_symbols(p)):
                return True
        return False

    def moved(self, e: sympy.Expr) -> sympy.Expr:
        return e if e.is_Integer else e.xreplace({self.base: self.item})

    def fetched(self, e: Expr) -> Expr:
        """An expression of the first loop: the counter is the item."""
        match e:
            case Load():
                return replace(e, index=self.moved(e.index), guard=self.guard(e.guard))
            case Index():
                return replace(e, expr=self.moved(e.expr))
            case Holds():
                return replace(e, guard=self.guard(e.guard))
            case Apply():
                return replace(e, args=tuple(self.fetched(a) for a in e.args))
        return e

    def guard(self, guard: Guard) -> Guard:
        return tuple(c.substitute({self.base: self.item}) for c in guard)

    def by_lanes(self, e: Expr) -> Expr:
        """An expression of the second loop: what it reads is there by lane."""
        if isinstance(e, Apply):
            return replace(e, args=tuple(self.by_lanes(a) for a in e.args))
        if isinstance(e, Variable):
            if e.name in self.whole:
                return self.kept(("name", e.name), e.dtype, e, self.fetch)
            return e
        if not self.varies(e):
            return e
        if isinstance(e, Load) and e.buffer in self.written:
            raise Unfit("memory that is read and written")
        made = self.fetched(e)
        if isinstance(made, Load):
            key: tuple = ("load", made.buffer, made.index, made.guard, made.fill)
        elif isinstance(made, Index):
            key = ("index", made.expr)
        elif isinstance(made, Holds):
            key = ("holds", made.guard)
        else:
            raise Unfit(type(made).__name__)
        return self.kept(key, made.dtype, made, self.fetch)

    def kept(self, key: tuple, dtype: DType, value: Expr, where: list[Statement]) -> Expr:
        """The value by lane, stored in the loop that has it."""
        if key not in self.by_lane:
            buffer = Buffer(self.fresh(_by_lane(value)), dtype, (self.count,), LOCAL)
            self.by_lane[key] = buffer
            self.arrays.append(buffer)
            where.append(Store(buffer, self.lane, value))
        return Load(dtype, self.by_lane[key], self.lane)

    def finished(self, e: Expr) -> Expr:
        """An expression of the third loop: results of the second by lane, memory that the loop writes as it is now."""
        if isinstance(e, (Literal, Present, SetFlag)):
            return e
        if isinstance(e, Variable):
            if e.name in self.computed:
                return self.kept(("name", e.name), e.dtype, e, self.work)
            return e
        if self.is_now(e):
            if isinstance(e, Apply):
                return replace(e, args=tuple(self.finished(a) for a in e.args))
            return self.fetched(e)
        if not self.varies(e):
            return e
        if isinstance(e, Apply):
            return self.kept(("value", e), e.dtype, self.by_lanes(e), self.work)
        return self.by_lanes(e)

    def is_now(self, e: Expr) -> bool:
        """What depends on memory or sums that the loop changes."""
        return any(
            (isinstance(p, Load) and p.buffer in self.written)
            or (isinstance(p, Variable) and (p.name in self.assigned or p.name in self.now))
            for p in subexpressions((e,))
        )


def _by_target(body: Sequence[Statement]) -> list[list[Statement]]:
    """Results in loops of their own for each array, in order, and what is no array together."""
    found: dict[Buffer | None, list[Statement]] = {}
    pending: list[Statement] = []
    for s in body:
        if isinstance(s, Let):
            pending.append(s)
            continue
        found.setdefault(s.buffer if isinstance(s, Store) else None, []).extend([*pending, s])
        pending = []
    return list(found.values())


def _used(block: Sequence[Statement]) -> tuple[Statement, ...]:
    """Without the locals that nothing mentions."""
    names: set[str] = set()
    found: list[Statement] = []
    for s in reversed(block):
        if not isinstance(s, Let) or s.variable.name in names:
            names |= mentioned((s,))
            found.append(s)
    return tuple(reversed(found))


def _target(s: Store | Assign | PairwiseAdd) -> tuple:
    """What a statement changes."""
    if isinstance(s, Store):
        return s.buffer, s.index
    return ((s.variable if isinstance(s, Assign) else s.accumulator).name,)


def _reads(inside: Sequence[Statement]) -> Counter[tuple]:
    """How often elements are read."""
    loads = (e for s in inside for e in subexpressions(expressions(s)) if isinstance(e, Load))
    return Counter((e.buffer, e.index) for e in loads)


def _is_float(dtype: DType) -> bool:
    return dtype.is_floating_point


def _alike(a: Expr | None, b: Expr | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (isinstance(a, Variable) and isinstance(b, Variable) and a.name == b.name)



def _by_lane(value: Expr) -> str:
    """The beginning of the name of an array that holds a value by lane."""
    source = value.name if isinstance(value, Variable) else value.buffer.name if isinstance(value, Load) else ""
    user, mark, _ = source.partition(USERS)
    users = bool(mark) or (isinstance(value, Load) and value.buffer.space == ARGUMENT)
    return f"{user}_lanes{USERS}" if users else "a"


__all__ = ["lanes"]
