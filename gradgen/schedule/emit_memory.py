"""Where values are while statements are made: in locals, in memory of their own, in what the caller gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy

from gradgen.errors import ScheduleError
from gradgen.ir.dtypes import DType
from gradgen.ir.indexing import recombined
from gradgen.ir.nodes import Constant, Node
from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import ACCUMULATE, USERS, Place
from gradgen.loops.statements import (
    ARGUMENT,
    CONSTANT,
    SAVED,
    WORK,
    Apply,
    Buffer,
    Expr,
    Fill,
    Literal,
    Load,
    Statement,
    Store,
)
from gradgen.loops.walk import renamed
from gradgen.schedule.bounds import positions
from gradgen.schedule.emit_plan import Plan, Symbols
from gradgen.schedule.emit_position import Position, most_rows
from gradgen.schedule.inline import KERNEL, SCAN, SCATTER, Op
from gradgen.schedule.numbering import Scope
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import StripNode


class Memory:
    """`values` are results held in locals, `buffers` those in memory with the axes they keep, `given` values from outside.

    `extra` is WORK that belongs to no op; `wasted` rows of WORK that nobody reads or that are nothing but zeros.
    """

    def __init__(self, plan: Plan, builder: Builder, position: Position) -> None:
        self.plan, self.builder, self.position = plan, builder, position
        self.values: dict[Op, Expr] = {}
        self.buffers: dict[Op, tuple[Buffer, Symbols]] = {}
        self.given: dict[Node, Expr] = {}
        self.forwarded: dict[Op, tuple[Scope, tuple[sympy.Expr, ...], Expr]] = {}
        self.places: dict[Place, Buffer] = {}
        self.constants: dict[Node, Buffer] = {}
        self.extra: list[Buffer] = []
        self.layouts: dict[Buffer, tuple[Extent, ...]] = {}  # the extents that indices go by, where the shape says less
        self.strips: dict[Buffer, dict[sympy.Symbol, StripNode]] = {}  # axes that a buffer has for one strip
        self.wasted: dict[tuple[str, DType], Buffer] = {}
        self.inner_waste: list[tuple[tuple[str, DType], Buffer]] = []
        self.widths: dict[Buffer, Extent] = {}  # elements of wasted rows

    # --- new memory -----------------------------------------------------------------------------------------------

    def fresh(self, op: Op, prefix: str) -> str:
        """A name for memory or a local that holds the op's result: after the user's, if there is one."""
        result = next((e.place.name for e in op.effects if e.place.space == ARGUMENT), None)
        user = self.plan.called.get(op.node, result if not self.plan.nested else None)
        return self.builder.fresh(prefix if user is None else f"{user}{USERS}")

    def place(self, place: Place, node: Node) -> Buffer:
        if place not in self.places:
            space = SAVED if place.space == "saved" else ARGUMENT
            given = self.plan.procedure.given.get(node) == place
            self.places[place] = Buffer(place.name, node.dtype, node.shape, space, place, given=given, below=positions(node))
        return self.places[place]

    def work(self, op: Op, kept: Symbols) -> Buffer:
        name = self.fresh(op, "v")
        if op.kind == SCATTER:
            return Buffer(name, op.node.dtype, op.shape, WORK)
        strips = self.plan.strips_of(op)
        shape = tuple(most_rows(strips[s]) if s in strips else op.extent_of(s) for s in kept)
        made = Buffer(name, op.node.dtype, shape, WORK, below=positions(op.node))
        self.strips[made] = strips
        if any(not isinstance(most_rows(strip), int) for strip in strips.values()):
            rows = self.position.rows
            self.layouts[made] = tuple(rows(strips[s]) if s in strips else op.extent_of(s) for s in kept)
        return made

    def more(self, prefix: str, dtype: DType, shape: tuple[Extent, ...]) -> Buffer:
        """WORK that belongs to no op."""
        made = Buffer(self.builder.fresh(prefix), dtype, shape, WORK)
        self.extra.append(made)
        return made

    def own(self, op: Op) -> tuple[Buffer, Symbols]:
        """Memory for the op's result and the axes it has: an output that is certainly there, else WORK."""
        kept = self.plan.kept_axes(op)
        if op.kind in (SCATTER, SCAN, KERNEL):  # written as a whole, axes of extent 1 included
            kept = op.axes[: len(op.shape)]
        everywhere = not self.plan.strips_of(op) and all(s in kept or s in op.fixed for s in op.output_axes)
        whole = op.kind == SCATTER or everywhere
        for e in op.effects:
            if whole and e.mode != ACCUMULATE and not e.place.optional and e.place.space == ARGUMENT:
                return self.place(e.place, op.node), op.output_axes
        return self.work(op, kept), kept

    def waste(self, what: str, dtype: DType, size: Extent) -> Buffer:
        """A row of WORK to write unwanted values to, or one of negative zeros (-0 + x is x, whatever x is)."""
        key = (what, dtype)
        if key not in self.wasted:
            self.wasted[key] = Buffer(self.builder.fresh(what), dtype, (0,), WORK)
        buffer = self.wasted[key]
        self.widths[buffer] = max(self.widths.get(buffer, 0), size)  # type: ignore[type-var]
        return buffer

    # --- what is read ---------------------------------------------------------------------------------------------

    def source(self, node: Node) -> Buffer:
        if node in self.plan.procedure.given:
            return self.place(self.plan.procedure.given[node], node)
        if isinstance(node, Constant):
            if node not in self.constants:
                name = self.builder.fresh("table")
                self.constants[node] = Buffer(name, node.dtype, node.shape, CONSTANT, values=node.array)
            return self.constants[node]
        op = self.plan.op_of[node]
        if op not in self.buffers:
            raise ScheduleError("a value is read before it is computed", where=repr(node))
        return self.buffers[op][0]

    def whole(self, node: Node) -> Buffer:
        """Memory that holds all of a value; for an optional argument a copy that is there."""
        b = self.builder
        buffer = self.source(node)
        place = self.plan.procedure.given.get(node)
        if place is None or not place.optional:
            return buffer
        copy = self.more("v", node.dtype, node.shape)
        at = b.open_loop(buffer.size)
        b.emit(Store(copy, at, b.load(buffer, at, (), sympy.S.Zero, False)))
        b.close()
        return copy

    def element(self, node: Node, buffer: Buffer, index: tuple[sympy.Expr, ...]) -> sympy.Expr:
        """The number of an element of a value in the memory that has it."""
        op = self.plan.op_of.get(node)
        if op is None:  # what a step is given may lie in memory without its axes of extent 1
            return linear_index(node.shape, index)
        return self.at(op, buffer, index, self.buffers[op][1])

    def at(self, op: Op, buffer: Buffer, index: tuple[sympy.Expr, ...], kept: Symbols) -> sympy.Expr:
        """The number of an element, by a whole index; memory for a strip counts from its start."""
        if op.kind != SCATTER:
            strips, starts = self.strips.get(buffer, {}), self.position.open_strips
            index = tuple(i - starts[strips[s]] if s in strips else i
                          for i, s in zip(index, op.output_axes, strict=True) if s in kept)
        return self.linear(buffer, index)

    def linear(self, buffer: Buffer, index: tuple[sympy.Expr, ...]) -> sympy.Expr:
        return linear_index(self.layouts.get(buffer, buffer.shape), index)

    def load(self, buffer: Buffer, index: sympy.Expr) -> Expr:
        """A load of memory that this nest also writes: never remembered."""
        b = self.builder
        return b.place(("raw", len(b.home)), b.scope, Load(buffer.dtype, buffer, index))

    # --- at the end -----------------------------------------------------------------------------------------------

    def adopt(self, inside: Memory) -> None:
        """Takes over the buffers of a step that was emitted in this procedure."""
        self.extra += [b for b, _ in inside.buffers.values()] + inside.extra
        for node, buffer in inside.constants.items():
            self.constants.setdefault(node, buffer)
            self.extra.append(buffer)
        self.extra += inside.wasted.values()
        self.inner_waste += [*inside.wasted.items(), *inside.inner_waste]
        self.widths |= inside.widths

    def zeros(self) -> Iterator[Statement]:
        """What comes before everything else: the rows that stand for gradients that are set."""
        for (what, dtype), buffer in [*self.wasted.items(), *self.inner_waste]:
            if what == "nothing":
                yield Fill(buffer, 0, self.widths[buffer], Apply(dtype, "neg", (Literal(dtype, sympy.S.Zero),)))

    def finish(self) -> tuple[tuple[Statement, ...], tuple[Buffer, ...]]:
        """All statements and buffers, wasted rows as long as the longest that was asked for."""
        sized = {b: replace(b, shape=(size,)) for b, size in self.widths.items()}
        found = [*self.places.values(), *self.constants.values(), *(b for b, _ in self.buffers.values()),
                 *self.wasted.values(), *self.extra]
        statements = self.builder.finish()
        if sized:
            statements = renamed(statements, sized, {})
        return statements, tuple(dict.fromkeys(sized.get(b, b) for b in found))


_linear: dict[tuple, sympy.Expr] = {}


def linear_index(shape: tuple[Extent, ...], index: tuple[sympy.Expr, ...]) -> sympy.Expr:
    """The row-major element number."""
    key = (shape, index)
    found = _linear.get(key)
    if found is None:
        total: sympy.Expr = sympy.S.Zero
        stride: Extent = 1
        for i, e in zip(reversed(index), reversed(shape), strict=True):
            total = total + i * stride
            stride = stride * e
        found = recombined(sympy.expand(total)) if not total.is_Symbol else total
        if len(_linear) > 100_000:
            _linear.clear()
        _linear[key] = found
    return found


__all__ = ["Memory", "linear_index"]
