"""Threads: outer loops in a fixed number of chunks, which may run side by side.

A loop is cut where each of its iterations works on elements of its own, on memory that only the loop uses (every chunk
then has its own copy), or adds to a sum (every chunk then has a sum of its own, and these are added in order).  Where that
is not so, or the loop is too short for all threads, those inside it are looked at.  A matrix product of its own is cut by
rows or columns of its result, or by its sums; a block that is filled or copied into pieces.  The chunks depend on the number
asked for alone, not on how many threads run them: with the same number, results have the same bits on any machine, with and
without OpenMP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import sympy

from gradgen.ir.dtypes import INDEX, bool_
from gradgen.ir.minima import greatest, least
from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.statements import (
    ARGUMENT,
    WORK,
    Apply,
    Assign,
    Buffer,
    Contract,
    Copy,
    CVar,
    Declare,
    Fill,
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
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import ELSEWHERE, behind, bound, pointer_targets, read_names, renamed, statements_in, touched
from gradgen.schedule.accesses import READ, Access, Accesses, Row, Unknown, disjoint, smallest, upper
from gradgen.schedule.cost import nanoseconds, number, steps
from gradgen.schedule.interchange import extents, part, shifted
from gradgen.schedule.memory import aligned
from gradgen.schedule.sums import Sum, combined, identity, sums_of

WORTH = 30_000.0  # nanoseconds from which on work is cut ...
REGION = 4_000.0  # ... since starting and joining threads takes so long, those that wait awake
COMBINING = 0.3  # clearing and adding up an array of a chunk may take so much of the chunk's own time ...
ADDED = 0.5  # ... at so many nanoseconds an element
BALANCED = 0.9  # the part of the time that threads are busy from which on nothing better is looked for
TILE = {"m": 12, "n": 32, "k": 32}  # of the matrix kernel: chunks are whole tiles
LINE = 64  # bytes: what two threads write must not share a line of the cache


def users(statements: Iterable[Statement], rows: Mapping[str, tuple[Buffer, ...]]) -> dict[Buffer, set[Statement]]:
    """Which of these statements (conditions aside) touch each buffer, through row pointers too; `rows` are those from
    before."""
    statements = tuple(statements)
    pointers = {**rows, **pointer_targets(statements)}
    found: dict[Buffer, set[Statement]] = {}

    def look(block: Iterable[Statement]) -> None:
        for s in block:
            if isinstance(s, If):
                look((*s.body, *s.otherwise))
                continue
            for b in behind(touched(s), pointers):
                found.setdefault(b, set()).add(s)

    look(statements)
    return found


@dataclass
class Plan:
    """What is needed to run a loop in chunks."""

    private: list[Buffer] = field(default_factory=list)
    arrays: dict[Buffer, str] = field(default_factory=dict)  # -> the operation
    sums: list[Sum] = field(default_factory=list)


@dataclass(frozen=True)
class Chunks:
    """How an axis is cut: `count` chunks of `per` steps, of which `used` are not empty."""

    count: int
    per: Extent
    used: Extent
    lets: tuple[Statement, ...]
    several: CVar | None  # a number of chunks that is known at run time

    def busy(self, total: Extent) -> float:
        """The part of the time in which the threads have work."""
        if isinstance(total, int) and isinstance(self.per, int):
            return total / (self.count * self.per)
        return 1.0


@dataclass
class Record:
    """What has been decided so far: memory made and no longer used, notes, and the nanoseconds saved."""

    made: list[Buffer] = field(default_factory=list)
    gone: list[Buffer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    saved: float = 0.0

    def copy(self) -> Record:
        return Record([*self.made], [*self.gone], [*self.notes], self.saved)


class Threads:
    """The pass; `record.made` are the buffers that it adds, `record.notes` says what was cut."""

    def __init__(self, count: int, fresh: Callable[[str], str]) -> None:
        self.count, self.fresh = count, fresh
        self.record = Record()
        self.rows: dict[str, tuple[Row, ...]] = {}
        self.users: dict[Buffer, set[Statement]] = {}
        self.read: set[str] = set()
        self.known: dict[str, int] = {}  # what counters and named indices around are taken to be
        self.times = 1  # how often what is looked at runs

    def run(self, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The statements with what is worth it cut into chunks."""
        self.users = users(statements, {})
        self.read = read_names(statements)
        return self.block(statements)

    def block(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for s in statements:
            match s:
                case If():
                    out.append(If(s.condition, self.block(s.body), self.block(s.otherwise)))
                    continue
                case Loop():
                    out += self.loop(s)
                    continue
                case Contract():
                    out += self.product(s)
                    continue
                case Fill() | Copy():
                    out += self.memory(s)
                    continue
                case Pointer():
                    self.note_row(s)
                case Let() if isinstance(s.value, Index):
                    self.known[s.variable.name] = number(s.value.expr, self.known)
            out.append(s)
        return tuple(out)

    def note_row(self, s: Pointer) -> None:
        ends = [(s.buffer, sympy.sympify(s.start))] + ([(s.otherwise, sympy.S.Zero)] if s.otherwise is not None else [])
        self.rows[s.name] = tuple(
            Row(r.buffer, r.start + start) for b, start in ends for r in self.rows.get(b.name, (Row(b, sympy.S.Zero),))
        )

    def note_cut(self, what: str, time: float, busy: float, plan: Plan | None = None) -> None:
        """Notes that something was cut: `busy` is the part of the time in which the threads have work."""
        plan = plan or Plan()
        self.record.saved += self.times * (time - time / (self.count * busy) - REGION)
        more = [f"own {', '.join(b.name for b in plan.private)}"] if plan.private else []
        partial = [*(b.name for b in plan.arrays), *(x.variable.name for x in plan.sums)]
        more += [f"partial sums of {', '.join(partial)}"] if partial else []
        self.record.notes.append(
            f"threads: {what} in {self.count} chunks" + (f" ({'; '.join(more)})" if more else ""))

    # --- loops ----------------------------------------------------------------------------------------------------

    def loop(self, s: Loop) -> list[Statement]:
        """The loop in chunks, or with loops inside it in chunks: what promises more."""
        time = nanoseconds((s,), self.known)
        if not time or time < WORTH:
            return [s]
        before = self.record
        self.record = before.copy()
        outside, busy = self.whole(s, time)
        if busy >= BALANCED or s.simd:
            return outside
        best = outside, self.record
        for way in (self.inside, self.across):
            self.record = before.copy()
            found = way(s, time)
            if self.record.saved > best[1].saved:
                best = found, self.record
        out, self.record = best
        return out

    def whole(self, s: Loop, time: float) -> tuple[list[Statement], float]:
        """The loop in chunks where that can be, and the part of the time in which threads have work then."""
        if steps(s, self.known) < 2:
            return [s], 0.0
        try:
            plan = self.plan(s)
        except Unknown as reason:
            self.record.notes.append(f"threads: loop {s.variable} stays whole: {reason}")
            return [s], 0.0
        return self.cut(s, plan, time, lambda first, last: replace(s, start=first, stop=last))

    def users_inside(self, s: Loop) -> dict[Buffer, set[Statement]]:
        """Which statements of the body touch each buffer; one more where others than the loop do."""
        within = users(s.body, {name: tuple(r.buffer for r in found) for name, found in self.rows.items()})
        shared = {b for b, found in self.users.items() if len(found) > 1}
        return {b: found | {s} if b in shared else found for b, found in within.items()}

    def inside(self, s: Loop, time: float) -> list[Statement]:
        """The loop with those inside it in chunks."""
        outer = self.users, self.known, self.times
        self.users = self.users_inside(s)
        self.known = {**self.known, s.variable.name: number(s.start, self.known)}
        self.times *= max(1, steps(s, outer[1]))
        body = self.block(s.body)
        self.users, self.known, self.times = outer
        return [replace(s, body=body)]

    def across(self, s: Loop, time: float) -> list[Statement]:
        """The whole of the loop for a part of the loops inside it: a recurrence for a part of the batch."""
        outer = self.users
        self.users = self.users_inside(s)  # memory of one's own is for what one statement of the body uses
        out: list[Statement] = [s]
        for extent in extents(s):
            p = self.index_name("part")
            try:
                nest = Loop(p, 0, extent, (part(s, extent, p, p + 1),))
                plan = self.plan(nest)
            except Unknown:
                continue
            vectors = any(isinstance(x, Loop) and x.simd and x.stop == extent for x in statements_in(s.body))
            tile = LINE // 4 if vectors else 1  # whole lines and vectors
            out, busy = self.cut(nest, plan, time, partial(part, s, extent), tile)
            if busy:
                break
        self.users = outer
        return out

    def plan(self, s: Loop) -> Plan:
        inner = list(statements_in(s.body))
        if any(type(x) in ELSEWHERE and not isinstance(x, Contract) for x in inner):
            raise Unknown("it may leave the function, or calls another")
        plan = Plan(sums=sums_of(s))
        by_buffer: dict[Buffer, list[Access]] = {}
        for a in Accesses(s, self.rows).found:
            by_buffer.setdefault(a.buffer, []).append(a)
        lasts = [sympy.expand(e - s.start - 1) for e in upper(sympy.sympify(s.stop))]
        last = smallest(lasts) if lasts else None
        own = {name for x in inner for name in bound(x)}
        around = [b.name for b in touched(s) if b.name in self.rows and b.name not in own]
        through = {r.buffer for name in around for r in self.rows[name]}
        for buffer, found in by_buffer.items():
            kinds = {a.kind for a in found}
            if kinds == {READ} or disjoint((a.window for a in found), s.step, last):
                continue
            if buffer in through:
                raise Unknown(f"iterations share {buffer.name} through a row")
            if buffer.space == WORK and (len(self.users[buffer]) == 1 or buffer.name not in self.read):
                plan.private.append(buffer)
            elif kinds == {"add"} and buffer.space in (WORK, ARGUMENT):
                plan.arrays[buffer] = "add"
            else:
                raise Unknown(f"iterations share {buffer.name}")
        return plan

    def cut(
        self, s: Loop, plan: Plan, time: float, piece: Callable[[CVar, CVar], Loop], tile: int = 1
    ) -> tuple[list[Statement], float]:
        """Chunks of a loop, of which `piece` makes the part from one step to another."""
        length = as_extent(sympy.sympify(s.stop) - s.start)
        total = length if s.step == 1 else ceiling(length, s.step)
        each = time / max(1, steps(s, self.known))
        adding = sum(number(b.size, {}) for b in plan.arrays) * ADDED
        chunks = self.chunks(total, each, tile, max(WORTH / 2, adding / COMBINING))
        if chunks.used == 1:
            self.record.notes.append(f"threads: loop {s.variable} stays whole: two chunks would not be worth it")
            return [s], 0.0
        c = CVar(self.fresh("chunk"), integer=True, nonnegative=True)
        first, last = self.index_name("first"), self.index_name("last")
        begin = sympy.sympify(s.start) + c * chunks.per * s.step
        body: list[Statement] = [
            Let(Variable(INDEX, first.name), Index(INDEX, begin)),
            Let(Variable(INDEX, last.name), Index(INDEX, least(s.stop, first + sympy.sympify(chunks.per) * s.step))),
        ]
        buffers: dict[Buffer, Buffer] = {}
        after: list[Statement] = []
        for b in plan.private:
            buffers[b] = self.private(b, c, body)
        for b in plan.arrays:
            buffers[b] = self.partial_array(b, c, chunks, body, after)
        names = {x.variable.name: self.fresh("s") for x in plan.sums}
        ends: list[Statement] = []
        for x in plan.sums:
            self.partial_sum(x, names[x.variable.name], c, chunks, body, ends, after)
        body += renamed((piece(first, last),), buffers, names)
        body += ends
        busy = chunks.busy(total) * time / (time + self.count * adding)
        self.note_cut(f"loop {s.variable}", time, busy, plan)
        outer = Loop(c, 0, chunks.used, tuple(body), parallel=chunks.count, several=chunks.several)
        return [*chunks.lets, outer, *after], busy

    def index_name(self, prefix: str) -> CVar:
        return CVar(self.fresh(prefix), integer=True, nonnegative=True)

    def chunks(self, total: Extent, each: float, tile: int = 1, least: float = WORTH / 2) -> Chunks:
        """`total` steps of `each` nanoseconds, cut; a chunk takes at least so many nanoseconds."""
        n = self.count
        tiles = max(1, math.ceil(least / max(each, 1e-3) / tile))
        if isinstance(total, int):
            per = max(tiles, -(-total // (n * tile))) * tile
            return Chunks(n, per, -(-total // per), (), None)
        per = CVar(self.fresh("per"), integer=True, positive=True)
        used = CVar(self.fresh("chunks"), integer=True, nonnegative=True)
        size = greatest(tiles, ceiling(total, n * tile)) * tile
        lets = (
            Let(Variable(INDEX, per.name), Index(INDEX, size)),
            Let(Variable(INDEX, used.name), Index(INDEX, ceiling(total, per))),
        )
        return Chunks(n, per, used, lets, used)

    # --- memory of the chunks -------------------------------------------------------------------------------------

    def copies(self, b: Buffer, count: int) -> tuple[Buffer, Extent]:
        """Memory for several copies of a buffer, and how many elements they are apart."""
        bytes_ = aligned(as_extent(sympy.sympify(b.size) * b.dtype.itemsize))
        stride = bytes_ // b.dtype.itemsize if isinstance(bytes_, int) else as_extent(bytes_ / b.dtype.itemsize)
        made = Buffer(self.fresh("parts"), b.dtype, (count, stride), WORK)
        self.record.made.append(made)
        return made, stride

    def private(self, b: Buffer, c: CVar, body: list[Statement]) -> Buffer:
        made, stride = self.copies(b, self.count)
        own = Buffer(self.fresh("own"), b.dtype, b.shape, "local")
        body.append(Pointer(own.name, made, c * stride, None, None))
        if len(self.users[b]) == 1:
            self.record.gone.append(b)
        return own

    def partial_array(
        self, b: Buffer, c: CVar, chunks: Chunks, body: list[Statement], after: list[Statement]
    ) -> Buffer:
        """The first chunk adds to the array itself, the others to zeros of their own; these are added in order."""
        made, stride = self.copies(b, self.count - 1)
        own = Buffer(self.fresh("own"), b.dtype, b.shape, "local")
        later = Apply(bool_, "gt", (Index(INDEX, c), Literal(INDEX, sympy.S.Zero)))
        zero = Literal(b.dtype, sympy.S.Zero)
        body.append(Pointer(own.name, made, (c - 1) * stride, later, b))
        body.append(If(later, (Fill(own, 0, b.size, zero),)))
        which, element = self.index_name("chunk"), self.index_name("at")
        value = Apply(b.dtype, "add", (
            Load(b.dtype, b, element), Load(b.dtype, made, (which - 1) * stride + element)))
        inner = Loop(element, 0, b.size, (Store(b, element, value),), simd=True)
        after.append(Loop(which, 1, chunks.used, (inner,)))
        return own

    def partial_sum(
        self, x: Sum, name: str, c: CVar, chunks: Chunks, body: list[Statement], ends: list[Statement],
        after: list[Statement],
    ) -> None:
        dtype = x.variable.dtype
        apart = LINE // dtype.itemsize
        made = Buffer(self.fresh("parts"), dtype, (self.count, apart), WORK)
        self.record.made.append(made)
        own = Variable(dtype, name)
        which = self.index_name("chunk")
        part = Load(dtype, made, which * apart)
        if x.pairwise:
            body.append(PairwiseBegin(own))
            ends.append(Store(made, c * apart, PairwiseTotal(dtype, own)))
            after.append(Loop(which, 0, chunks.used, (PairwiseAdd(x.variable, part),)))
            return
        body.append(Declare(own, Literal(dtype, identity(x.op, dtype))))
        ends.append(Store(made, c * apart, own))
        after.append(Loop(which, 0, chunks.used, (Assign(x.variable, combined(x, part)),)))

    # --- products and blocks of memory ----------------------------------------------------------------------------

    def product(self, s: Contract) -> list[Statement]:
        """A matrix product by rows or columns of its result; by its sums where that is too small."""
        time = nanoseconds((s,), self.known)
        if not time or time < WORTH:
            return [s]
        extents = {"m": s.m, "n": s.n, "k": s.k}
        sizes = {axis: max(1, number(e, self.known)) for axis, e in extents.items()}
        adding = sizes["m"] * sizes["n"] * ADDED
        choices: dict[str, Chunks] = {}
        for axis, tile in TILE.items():
            least = max(WORTH / 2, adding / COMBINING) if axis == "k" else WORTH / 2
            choices[axis] = self.chunks(extents[axis], time / sizes[axis], tile, least)
        wide = sizes["m"] < sizes["n"] and sizes["m"] < 8 * TILE["m"] * self.count
        order = ["n", "m", "k"] if wide else ["m", "n", "k"]
        busy = {axis: choices[axis].busy(extents[axis]) for axis in order}
        busy["k"] *= time / (time + self.count * adding)
        good = [axis for axis in order if busy[axis] >= BALANCED and choices[axis].used != 1]
        axis = good[0] if good else max(order, key=lambda a: busy[a])
        chunks = choices[axis]
        if chunks.used == 1:
            return [s]
        self.note_cut(f"product into {s.c.buffer.name} along {axis}", time, busy[axis])
        c = CVar(self.fresh("chunk"), integer=True, nonnegative=True)
        body: list[Statement] = []
        first, size = self.piece(extents[axis], chunks, c, body)
        most = chunks.per if isinstance(chunks.per, int) else s.limits["mnk".index(axis)]
        after: list[Statement] = []
        if axis == "m":
            body.append(replace(s, m=size, a=shifted(s.a, first, 0), c=shifted(s.c, first, 0),
                                limits=(most, *s.limits[1:])))
        elif axis == "n":
            body.append(replace(s, n=size, b=shifted(s.b, first, 1), c=shifted(s.c, first, 1),
                                limits=(s.limits[0], most, s.limits[2])))
        else:
            part = replace(s, k=size, a=shifted(s.a, first, 1), b=shifted(s.b, first, 0), limits=(*s.limits[:2], most))
            body.append(self.partial_product(part, c, chunks, after))
        outer = Loop(c, 0, chunks.used, tuple(body), parallel=chunks.count, several=chunks.several)
        return [*chunks.lets, outer, *after]

    def piece(self, total: Extent, chunks: Chunks, c: CVar, body: list[Statement]) -> tuple[CVar, Extent]:
        """Where chunk c of `total` begins and how long it is."""
        first = self.index_name("first")
        body.append(Let(Variable(INDEX, first.name), Index(INDEX, c * chunks.per)))
        if isinstance(total, int) and isinstance(chunks.per, int) and total % chunks.per == 0:
            return first, chunks.per
        size = self.index_name("size")
        body.append(Let(Variable(INDEX, size.name), Index(INDEX, least(chunks.per, sympy.sympify(total) - first))))
        return first, size

    def partial_product(self, s: Contract, c: CVar, chunks: Chunks, after: list[Statement]) -> Statement:
        """The first chunk computes into the result, the others into memory of their own, which is added in order."""
        dtype, (down, right) = s.dtype, s.c.strides
        by_columns = down == 1 and right != 1  # so is the result, and so are its parts
        strides: tuple[Extent, Extent] = (1, s.m) if by_columns else (s.n, 1)
        whole = Buffer(s.c.buffer.name, dtype, (s.limits[0], s.limits[1]), WORK)
        made, stride = self.copies(whole, self.count - 1)
        own = Operand(made, as_extent((c - 1) * stride), strides)
        later = Apply(bool_, "gt", (Index(INDEX, c), Literal(INDEX, sympy.S.Zero)))
        which, i, j = (self.index_name(x) for x in ("chunk", "row", "column"))
        at = sympy.sympify(s.c.start) + i * down + j * right
        part = (which - 1) * stride + i * strides[0] + j * strides[1]
        added = Store(s.c.buffer, at, Apply(dtype, "add", (Load(dtype, s.c.buffer, at), Load(dtype, made, part))))
        (x, x_end), (y, y_end) = ((j, s.n), (i, s.m)) if by_columns else ((i, s.m), (j, s.n))
        rows = Loop(x, 0, x_end, (Loop(y, 0, y_end, (added,), simd=True),))
        after.append(Loop(which, 1, chunks.used, (rows,)))
        return If(later, (replace(s, c=own, accumulate=False),), (s,))

    def memory(self, s: Fill | Copy) -> list[Statement]:
        """A block that is filled or copied, in pieces."""
        time = nanoseconds((s,), self.known)
        if not time or time < WORTH:
            return [s]
        size = (s.buffer if isinstance(s, Fill) else s.target).dtype.itemsize
        chunks = self.chunks(s.count, time / max(1, number(s.count, self.known)), max(1, LINE // size))
        if chunks.used == 1:
            return [s]
        self.note_cut("a fill" if isinstance(s, Fill) else "a copy", time, chunks.busy(s.count))
        c = CVar(self.fresh("chunk"), integer=True, nonnegative=True)
        body: list[Statement] = []
        first, count = self.piece(s.count, chunks, c, body)
        if isinstance(s, Fill):
            body.append(replace(s, start=as_extent(sympy.sympify(s.start) + first), count=count))
        else:
            body.append(replace(s, target_start=as_extent(sympy.sympify(s.target_start) + first),
                                source_start=as_extent(sympy.sympify(s.source_start) + first), count=count))
        outer = Loop(c, 0, chunks.used, tuple(body), parallel=chunks.count, several=chunks.several)
        return [*chunks.lets, outer]


def ceiling(length: Extent, step: Extent) -> Extent:
    """The quotient, rounded up; of what is known now or at run time."""
    if isinstance(length, int) and isinstance(step, int):
        return -(-length // step)
    from gradgen.ir.indexing import quotient

    return quotient(sympy.sympify(length) + step - 1, step)


def run_in_threads(
    statements: tuple[Statement, ...], buffers: list[Buffer], count: int, fresh: Callable[[str], str]
) -> tuple[tuple[Statement, ...], list[Buffer], tuple[str, ...]]:
    """The statements in chunks, the buffers that they use now, and notes on what was cut."""
    made = Threads(count, fresh)
    out = made.run(statements)
    gone = set(made.record.gone)
    return out, [*(b for b in buffers if b not in gone), *made.record.made], tuple(made.record.notes)
