"""Emission of results: memory for readers, outputs and gradients, and rows of optional ones."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.loops.procedure import ACCUMULATE, Output
from gradgen.loops.statements import LOCAL, Buffer, Expr, Pointer, Store
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan, Symbols
from gradgen.schedule.emit_position import Position
from gradgen.schedule.emit_wanted import Wanted
from gradgen.schedule.inline import MAP, SCATTER, Op
from gradgen.schedule.reductions import exceeds
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import LoopNode
from gradgen.schedule.wanted import is_optional

SHORT_ROW = 8  # elements up to which a test for each costs no more than finding the row


@dataclass(eq=False)
class Results:
    """Results to memory and outputs."""

    plan: Plan
    builder: Builder
    position: Position
    memory: Memory
    wanted: Wanted

    def result(self, op: Op, value: Expr) -> None:
        """A completed element: to memory if a reader needs it there, and to its outputs."""
        b, memory = self.builder, self.memory
        if op.node in self.plan.called:
            b.hint(value, self.plan.called[op.node])
        env = self.position.env(op)
        kept = self.plan.kept_axes(op)
        stored: Buffer | None = None
        if (kept and self.plan.consumers[op]) or self.plan.needs_memory(op):
            if op not in memory.buffers:
                memory.buffers[op] = memory.own(op)
            stored, kept = memory.buffers[op]
            b.emit(Store(stored, memory.at(op, stored, self.position.whole_index(op), kept), value))
            memory.forwarded[op] = (b.scope, tuple(env[s] for s in op.output_axes), value)
        if not kept or not self.plan.consumers[op]:
            memory.values[op] = value
        for e in op.effects:
            target = memory.place(e.place, op.node)
            if target is stored:
                continue
            at = memory.linear(target, tuple(env[s] for s in op.output_axes))
            if (e.mode == ACCUMULATE or is_optional(e.place)) and self.store_row(e, target, at, value):
                continue
            with b.under(self.wanted.present(e.place)):
                self.store(e, target, at, value)

    def store(self, effect: Output, target: Buffer, index: sympy.Expr, value: Expr) -> None:
        b = self.builder
        if effect.mode == ACCUMULATE:
            total = b.apply("add", (self.memory.load(target, index), value), target.dtype)
            value = b.apply("select", (self.wanted.sets(), value, total), target.dtype)
        b.emit(Store(target, index, value))

    def copy_out(self, op: Op, effect: Output, buffer: Buffer, kept: Symbols) -> None:
        """A completed array result goes to where it is wanted."""
        b, memory, position = self.builder, self.memory, self.position
        target = memory.place(effect.place, op.node)
        env = position.env(op)
        scattered = op.kind == SCATTER
        bound = {} if scattered else self.plan.bound_outside(op)
        with b.under(self.wanted.present(effect.place)):
            opened = 0
            index: list[sympy.Expr] = []
            for s, extent in zip(op.output_axes or op.axes[: len(op.shape)], op.shape, strict=True):
                if s in bound and s in env:
                    index.append(env[s])
                else:
                    counter = b.open_loop(extent if scattered else position.span(op, s))
                    index.append(counter if scattered else position.shifted(op, s, counter))
                    opened += 1
            value = b.load(buffer, memory.at(op, buffer, tuple(index), kept), (), sympy.S.Zero, False)
            self.store(effect, target, memory.linear(target, tuple(index)), value)
            for _ in range(opened):
                b.close()

    def finished(self, op: Op, buffer: Buffer, kept: Symbols | None = None) -> None:
        """The op's value is in `buffer`, with all axes or those that are kept: its outputs get it from there."""
        kept = op.output_axes if kept is None else kept
        self.memory.buffers[op] = (buffer, kept)
        for e in op.effects:
            if self.memory.place(e.place, op.node) is not buffer:
                self.copy_out(op, e, buffer, kept)

    def needs_row(self, op: Op, node: LoopNode) -> bool:
        return op.kind == MAP and any(e.mode == ACCUMULATE or is_optional(e.place) for e in op.effects)

    def store_row(self, effect: Output, target: Buffer, at: sympy.Expr, value: Expr) -> bool:
        """In a vector loop, a store without a condition: through a pointer to the row that is wanted, or to memory that
        nobody reads; the old gradient likewise comes from the row or from zeros.  False where that is not possible."""
        row, b, memory = self.position.row, self.builder, self.memory
        if row is None or b.scope.variable is not row.counter:  # the test around a part of the loop is none of its row
            return False
        if exceeds(row.size, self.plan.options.costs.row) or not exceeds(row.size, SHORT_ROW):
            return False
        slope = sympy.expand(at).coeff(row.counter, 1)
        start = at.xreplace({row.counter: row.start})
        if slope != 1 or sympy.expand(at - row.counter + row.start - start) != 0 or start.has(row.counter):
            return False
        assert b.scope.parent is not None
        condition = self.wanted.present(effect.place)
        name = target.name
        index: sympy.Expr = at
        if condition is not None:
            name = b.fresh("row")
            sink = memory.waste("sink", target.dtype, row.size)
            b.scope.parent.items.append(Pointer(name, target, start, condition, sink))
            index = row.counter - row.start
        if effect.mode == ACCUMULATE:
            keep = b.apply("not_", (self.wanted.sets(),), bool_)
            if condition is not None:
                keep = b.apply("and_", (condition, keep), bool_)
            old = b.fresh("row")
            zeros = memory.waste("nothing", target.dtype, row.size)
            b.scope.parent.items.append(Pointer(old, target, start, keep, zeros, True))
            before = memory.load(Buffer(old, target.dtype, (), LOCAL), row.counter - row.start)
            value = b.apply("add", (before, value), target.dtype)
        b.emit(Store(Buffer(name, target.dtype, (), LOCAL) if condition is not None else target, index, value))
        return True


__all__ = ["Results"]
