"""Threads: outer loops in a fixed number of chunks, which may run side by side.

A loop is cut where each of its iterations works on elements of its own, on memory that only the loop uses (every chunk
then has its own copy), or adds to a sum (every chunk then has a sum of its own, and these are added in order).  A matrix
product of its own is cut by rows or columns of its result.  The chunks depend on the number asked for alone, not on how
many threads run them: with the same number, results have the same bits on any machine, with and without OpenMP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import sympy

from gradgen.ir.dtypes import DType, bool_, int64
from gradgen.ir.symbols import Extent, as_extent
from gradgen.schedule.accesses import COMMUTATIVE, READ, Access, Accesses, Row, Unknown, disjoint
from gradgen.schedule.cost import nanoseconds, number, steps
from gradgen.schedule.memory import aligned, pointer_targets, touched
from gradgen.schedule.program import (
    WORK,
    Apply,
    Assign,
    Buffer,
    Call,
    Contract,
    Copy,
    CVar,
    Declare,
    Expr,
    Fail,
    Fill,
    If,
    Index,
    KernelCall,
    Let,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Statement,
    Store,
    Variable,
)
from gradgen.schedule.reductions import extreme
from gradgen.schedule.rewrite import Renaming, expressions, statements_in, subexpressions

WORTH = 50_000.0  # nanoseconds from which on work is cut: starting and joining threads takes some thousand
COMBINING = 0.3  # clearing and adding up an array of a chunk may take so much of the chunk's own time ...
ADDED = 0.5  # ... at so many nanoseconds an element
TILE = {"m": 12, "n": 32}  # of the matrix kernel: chunks are whole tiles
LINE = 64  # bytes: what two threads write must not share a line of the cache


@dataclass(frozen=True)
class Sum:
    """A local that the loop adds to: the operation, or "max" and "min"; `pairwise` where it is an accumulator."""

    variable: Variable
    op: str
    pairwise: bool = False


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


class Threads:
    """The pass; `made` are the buffers that it adds, `notes` says what was cut."""

    def __init__(self, count: int, fresh: Callable[[str], str]) -> None:
        self.count, self.fresh = count, fresh
        self.made: list[Buffer] = []
        self.gone: list[Buffer] = []
        self.notes: list[str] = []
        self.rows: dict[str, tuple[Row, ...]] = {}
        self.users: dict[Buffer, set[int]] = {}
        self.read: set[str] = set()

    def run(self, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The statements with what is worth it cut into chunks."""
        self.users = users(statements)
        self.read = read_names(statements)
        return self.block(statements)

    def block(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for s in statements:
            if isinstance(s, Pointer):
                self.note_row(s)
            if isinstance(s, If):
                out.append(If(s.condition, self.block(s.body), self.block(s.otherwise)))
            elif isinstance(s, Loop):
                out += self.loop(s)
            elif isinstance(s, Contract):
                out += self.product(s)
            else:
                out.append(s)
        return tuple(out)

    def note_row(self, s: Pointer) -> None:
        ends = [(s.buffer, sympy.sympify(s.start))] + ([(s.otherwise, sympy.S.Zero)] if s.otherwise is not None else [])
        self.rows[s.name] = tuple(
            Row(r.buffer, r.start + start) for b, start in ends for r in self.rows.get(b.name, (Row(b, sympy.S.Zero),))
        )

    # --- loops ----------------------------------------------------------------------------------------------------

    def loop(self, s: Loop) -> list[Statement]:
        time = nanoseconds((s,))
        if time < WORTH or steps(s) < 2:
            return [s]
        try:
            plan = self.plan(s, time)
        except Unknown as reason:
            self.notes.append(f"threads: loop {s.variable} stays whole: {reason}")
            return [s]
        return self.cut(s, plan, time)

    def plan(self, s: Loop, time: float) -> Plan:
        if any(isinstance(x, (Fail, Call, KernelCall)) for x in statements_in(s.body)):
            raise Unknown("it may leave the function, or calls another")
        plan = Plan(sums=sums_of(s))
        by_buffer: dict[Buffer, list[Access]] = {}
        for a in Accesses(s, self.rows).found:
            by_buffer.setdefault(a.buffer, []).append(a)
        for buffer, found in by_buffer.items():
            kinds = {a.kind for a in found}
            if kinds == {READ} or disjoint((a.window for a in found), s.step):
                continue
            if buffer.space == WORK and (len(self.users[buffer]) == 1 or buffer.name not in self.read):
                plan.private.append(buffer)
            elif len(kinds) == 1 and kinds <= {"add"} and buffer.space == WORK:
                plan.arrays[buffer] = "add"
            else:
                raise Unknown(f"iterations share {buffer.name}")
        return plan

    def cut(self, s: Loop, plan: Plan, time: float) -> list[Statement]:
        length = as_extent(sympy.sympify(s.stop) - s.start)
        total = length if s.step == 1 else ceiling(length, s.step)
        each = time / max(1, steps(s))
        adding = sum(number(b.size, {}) for b in plan.arrays) * ADDED
        chunks = self.chunks(total, each, least=max(WORTH / 2, adding / COMBINING))
        if chunks.used == 1:
            self.notes.append(f"threads: loop {s.variable} stays whole: two chunks would not be worth it")
            return [s]
        c = CVar(self.fresh("chunk"), integer=True, nonnegative=True)
        first, last = self.index_name("first"), self.index_name("last")
        begin = sympy.sympify(s.start) + c * chunks.per * s.step
        body: list[Statement] = [
            Let(Variable(int64, first.name), Index(int64, begin)),
            Let(Variable(int64, last.name), Index(int64, sympy.Min(s.stop, first + sympy.sympify(chunks.per) * s.step))),
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
        renamed = Renaming(buffers, names)
        body.append(replace(s, start=first, stop=last, body=renamed.block(s.body), reductions=tuple(
            (op, names.get(name, name)) for op, name in s.reductions)))
        body += ends
        self.note(f"loop {s.variable}", plan)
        outer = Loop(c, 0, chunks.used, tuple(body), parallel=chunks.count, several=chunks.several)
        return [*chunks.lets, outer, *after]

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
        size = sympy.Max(tiles, ceiling(total, n * tile)) * tile
        lets = (
            Let(Variable(int64, per.name), Index(int64, size)),
            Let(Variable(int64, used.name), Index(int64, ceiling(total, per))),
        )
        return Chunks(n, per, used, lets, used)

    def note(self, what: str, plan: Plan) -> None:
        more = [f"own {', '.join(b.name for b in plan.private)}"] if plan.private else []
        partial = [*(b.name for b in plan.arrays), *(x.variable.name for x in plan.sums)]
        more += [f"partial sums of {', '.join(partial)}"] if partial else []
        self.notes.append(f"threads: {what} in {self.count} chunks" + (f" ({'; '.join(more)})" if more else ""))

    # --- memory of the chunks -------------------------------------------------------------------------------------

    def copies(self, b: Buffer, count: int) -> tuple[Buffer, Extent]:
        """Memory for several copies of a buffer, and how many elements they are apart."""
        bytes_ = aligned(as_extent(sympy.sympify(b.size) * b.dtype.itemsize))
        stride = bytes_ // b.dtype.itemsize if isinstance(bytes_, int) else as_extent(bytes_ / b.dtype.itemsize)
        made = Buffer(self.fresh("parts"), b.dtype, (count, stride), WORK)
        self.made.append(made)
        return made, stride

    def private(self, b: Buffer, c: CVar, body: list[Statement]) -> Buffer:
        made, stride = self.copies(b, self.count)
        own = Buffer(self.fresh("own"), b.dtype, b.shape, "local")
        body.append(Pointer(own.name, made, c * stride, None, None))
        if len(self.users[b]) == 1:
            self.gone.append(b)
        return own

    def partial_array(
        self, b: Buffer, c: CVar, chunks: Chunks, body: list[Statement], after: list[Statement]
    ) -> Buffer:
        """The first chunk adds to the array itself, the others to zeros of their own; these are added in order."""
        made, stride = self.copies(b, self.count - 1)
        own = Buffer(self.fresh("own"), b.dtype, b.shape, "local")
        later = Apply(bool_, "gt", (Index(int64, c), Literal(int64, sympy.S.Zero)))
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
        self.made.append(made)
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

    # --- products -------------------------------------------------------------------------------------------------

    def product(self, s: Contract) -> list[Statement]:
        """A matrix product outside of loops, by rows or columns of its result."""
        time = nanoseconds((s,))
        if time < WORTH:
            return [s]
        sizes = {"m": number(s.m, {}), "n": number(s.n, {})}
        axis = "m" if sizes["m"] >= sizes["n"] or sizes["m"] >= 8 * TILE["m"] * self.count else "n"
        total = s.m if axis == "m" else s.n
        chunks = self.chunks(total, time / sizes[axis], TILE[axis])
        if chunks.used == 1:
            return [s]
        c = CVar(self.fresh("chunk"), integer=True, nonnegative=True)
        first = self.index_name("first")
        body: list[Statement] = [Let(Variable(int64, first.name), Index(int64, c * chunks.per))]
        size: Extent = chunks.per
        if not isinstance(total, int) or total % int(chunks.per) != 0:  # type: ignore[call-overload]
            named = self.index_name("size")
            rest = sympy.Min(chunks.per, sympy.sympify(total) - first)
            body.append(Let(Variable(int64, named.name), Index(int64, rest)))
            size = named
        most = chunks.per if isinstance(chunks.per, int) else total
        if axis == "m":
            moved = replace(s, m=size, a=shifted(s.a, first, 0), c=shifted(s.c, first, 0),
                            limits=(most, *s.limits[1:]))
        else:
            moved = replace(s, n=size, b=shifted(s.b, first, 1), c=shifted(s.c, first, 1),
                            limits=(s.limits[0], most, s.limits[2]))
        body.append(moved)
        self.note(f"product into {s.c.buffer.name}", Plan())
        outer = Loop(c, 0, chunks.used, tuple(body), parallel=chunks.count, several=chunks.several)
        return [*chunks.lets, outer]


def shifted(operand, first: CVar, axis: int):  # type: ignore[no-untyped-def]
    start = as_extent(sympy.sympify(operand.start) + first * operand.strides[axis])
    return replace(operand, start=start)


def ceiling(length: Extent, step: Extent) -> Extent:
    """The quotient, rounded up; of what is known now or at run time."""
    if isinstance(length, int) and isinstance(step, int):
        return -(-length // step)
    from gradgen.ir.indexing import quotient

    return quotient(sympy.sympify(length) + step - 1, step)


def identity(op: str, dtype: DType) -> sympy.Expr:
    """What leaves the other operand as it is."""
    if op in ("max", "min"):
        return extreme(dtype, op == "min")
    return sympy.Integer(1 if op in ("mul", "bitand") else 0)


def combined(x: Sum, part: Expr) -> Expr:
    dtype = x.variable.dtype
    if x.op in ("max", "min"):
        better = Apply(bool_, "gt" if x.op == "max" else "lt", (part, x.variable))
        return Apply(dtype, "select", (better, part, x.variable))
    return Apply(dtype, x.op, (x.variable, part))


def sums_of(loop: Loop) -> list[Sum]:
    """The locals from outside that the loop changes, each by one operation and nothing else; Unknown where not so."""
    inside = list(statements_in(loop.body))
    own = {s.variable.name for s in inside if isinstance(s, (Let, Declare))}
    own |= {s.accumulator.name for s in inside if isinstance(s, PairwiseBegin)}
    found: dict[str, Sum] = {}
    allowed: dict[str, int] = {}
    for s in inside:
        if isinstance(s, PairwiseAdd) and s.accumulator.name not in own:
            note_sum(found, Sum(s.accumulator, "add", True))
        elif isinstance(s, Assign) and s.variable.name not in own:
            op, uses = operation(s)
            note_sum(found, Sum(s.variable, op))
            allowed[s.variable.name] = allowed.get(s.variable.name, 0) + uses
    for e in subexpressions(e for s in inside for e in expressions(s)):
        if isinstance(e, PairwiseTotal) and e.accumulator.name in found:
            raise Unknown(f"{e.accumulator.name} is read while it is summed")
        if isinstance(e, Variable) and e.name in found:
            allowed[e.name] = allowed.get(e.name, 0) - 1
    if any(allowed.values()):
        raise Unknown("a sum is read while it is summed")
    return list(found.values())


def note_sum(found: dict[str, Sum], new: Sum) -> None:
    old = found.setdefault(new.variable.name, new)
    if (old.op, old.pairwise) != (new.op, new.pairwise):
        raise Unknown(f"{new.variable.name} is changed in several ways")


def operation(s: Assign) -> tuple[str, int]:
    """The operation by which a local changes, and how often the expression mentions it."""
    e, name = s.value, s.variable.name

    def is_old(x: Expr) -> bool:
        return isinstance(x, Variable) and x.name == name

    if isinstance(e, Apply) and e.op in COMMUTATIVE and len(e.args) == 2 and is_old(e.args[0]):
        return e.op, 1
    if isinstance(e, Apply) and e.op == "select" and is_old(e.args[2]):
        test = e.args[0]
        if isinstance(test, Apply) and test.op in ("gt", "lt") and is_old(test.args[1]) and not is_old(e.args[1]):
            return "max" if test.op == "gt" else "min", 2
    raise Unknown(f"{name} goes from one iteration to the next")


def users(statements: Iterable[Statement]) -> dict[Buffer, set[int]]:
    """The top-level statements (conditions aside) that touch each buffer, through row pointers too."""
    statements = tuple(statements)
    pointers = pointer_targets(statements)
    found: dict[Buffer, set[int]] = {}

    def walk(block: Iterable[Statement]) -> None:
        for s in block:
            if isinstance(s, If):
                walk((*s.body, *s.otherwise))
                continue
            for named in touched(s):
                for b in pointers.get(named.name, (named,)):
                    found.setdefault(b, set()).add(id(s))

    walk(statements)
    return found


def read_names(statements: Iterable[Statement]) -> set[str]:
    """The names of buffers and rows that are ever read; what is behind a row that is read counts as well."""
    statements = tuple(statements)
    found: set[str] = set()
    for s in statements_in(statements):
        found |= {e.buffer.name for e in subexpressions(expressions(s)) if isinstance(e, Load)}
        match s:
            case Contract():
                found |= {s.a.buffer.name, s.b.buffer.name, s.c.buffer.name}
            case Copy():
                found.add(s.source.name)
            case KernelCall():
                found |= {b.name for b in (*s.operands, *s.results, *s.workspace)}
            case Call():
                found |= {b.name for b, _ in s.pointers}
    targets = pointer_targets(statements)
    return found | {b.name for name in found for b in targets.get(name, ())}


def run_in_threads(
    statements: tuple[Statement, ...], buffers: list[Buffer], count: int, fresh: Callable[[str], str]
) -> tuple[tuple[Statement, ...], list[Buffer], tuple[str, ...]]:
    """The statements in chunks, the buffers that they use now, and notes on what was cut."""
    made = Threads(count, fresh)
    out = made.run(statements)
    gone = set(made.gone)
    return out, [*(b for b in buffers if b not in gone), *made.made], tuple(made.notes)
