"""Emission of reductions and scatters: accumulators, how they begin and end, and one step of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy

from gradgen.errors import ScheduleError
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.guards import EQ, Condition
from gradgen.ir.nodes import Compute, Scatter
from gradgen.ir.symbols import Extent
from gradgen.loops.statements import (
    LOCAL,
    Assign,
    Buffer,
    Copy,
    Declare,
    Expr,
    Fill,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Store,
    Variable,
)
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan, Symbols
from gradgen.schedule.emit_position import Env, Position
from gradgen.schedule.emit_results import Results
from gradgen.schedule.emit_wanted import Wanted
from gradgen.schedule.inline import ARG, REDUCE, SCATTER, Op, substitute
from gradgen.schedule.reductions import (
    COMBINE,
    FEW,
    Accumulator,
    additions,
    exceeds,
    initial,
    is_float_sum,
    many_terms,
    reducer_of,
)
from gradgen.schedule.running import Running, running_total
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import LoopNode


@dataclass(eq=False)
class Reductions:
    """`accumulators` are sums in locals, `split` contractions whose summed axis is cut into strips, `running` sums that grow
    from strip to strip in a gradient."""

    plan: Plan
    builder: Builder
    position: Position
    memory: Memory
    wanted: Wanted
    results: Results
    accumulators: dict[Op, Accumulator] = field(default_factory=dict)
    split: dict[Op, None] = field(default_factory=dict)
    running: dict[Op, Running] = field(default_factory=dict)

    def value_type(self, op: Op) -> DType:
        term = op.terms[op.root]
        return term.dtype if op.kind == ARG else op.node.dtype

    def begin(self, op: Op, loop: LoopNode | None = None) -> None:
        """`loop`: the outermost of those that sum."""
        node = op.node
        b = self.builder
        if op in self.plan.contractions:  # summed strip by strip
            self.split[op] = None
            if self.begin_running(op, loop):
                return
            buffer, kept = self.memory.buffers[op] = self.memory.own(op)
            zero = b.literal(sympy.S.Zero, node.dtype)
            self.fill(op, buffer, kept, tuple(s for s in op.output_axes if s in kept), zero)
            return
        if op.kind == SCATTER:
            assert isinstance(node, Scatter)
            if node.base is None and node.mode == "add" and node.dtype.is_floating_point and self.begin_running(op, loop):
                return
            buffer, _ = self.memory.buffers[op] = self.memory.own(op)
            if node.base is None:
                b.emit(Fill(buffer, 0, buffer.size, b.literal(sympy.S.Zero, node.dtype)))
            else:
                b.emit(Copy(buffer, 0, self.memory.whole(node.base), 0, buffer.size))
            return
        assert isinstance(node, Compute) and node.reducer is not None
        bound = self.plan.bound_outside(op)
        open_axes = tuple(s for s in op.output_axes if s not in bound)
        kind = self.value_type(op)
        start = b.literal(initial(node.reducer, kind), kind)
        if not open_axes:
            self.declare(op, kind, start)
            return
        if op.kind == ARG:
            raise ScheduleError("argmax over an outer axis reached the emitter without its output axes bound")
        if is_float_sum(op) and open_axes == op.output_axes and self.begin_running(op, loop):
            return
        buffer, kept = self.memory.buffers[op] = self.memory.own(op)
        self.fill(op, buffer, kept, open_axes, start)

    def begin_running(self, op: Op, loop: LoopNode | None) -> bool:
        """The sum grows in the gradient where that can be."""
        running = running_total(self.plan, self.builder, self.memory, self.wanted, op, loop)
        if running is None:
            return False
        b = self.builder
        self.running[op] = running
        self.memory.buffers[op] = running.buffer, op.output_axes
        size = Buffer("", op.node.dtype, op.shape, LOCAL).size
        clear = running.clear
        if running.first is not None:  # it is the first part that clears, if there is one
            if isinstance(running.first.extent, int) and running.first.extent > 0:
                return True
            clear = b.apply("and_", (clear, b.holds((Condition(EQ, running.first.extent),), bool_)), bool_)
        with b.under(self.wanted.present(op.effects[0].place, clear)):
            b.emit(Fill(running.buffer, 0, size, b.literal(sympy.S.Zero, op.node.dtype)))
        return True

    def end_running(self, op: Op, running: Running) -> None:
        """What grew in memory of its own is added to the gradient."""
        if running.own is None or running.apart is None:
            return
        b = self.builder
        target = self.memory.place(op.effects[0].place, op.node)
        with b.under(self.wanted.present(op.effects[0].place, running.apart)):
            self.add_all(target, running.own, target.size)

    def add_all(self, target: Buffer, source: Buffer, size: Extent) -> None:
        """`target += source`, element by element."""
        b, load = self.builder, self.memory.load
        at = b.open_loop(size)
        b.scope.simd = self.plan.simd
        b.emit(Store(target, at, b.apply("add", (load(target, at), load(source, at)), target.dtype)))
        b.close()

    def fill(self, op: Op, buffer: Buffer, kept: Symbols, open_axes: Symbols, value: Expr) -> None:
        """`value` everywhere along `open_axes`, at the current position of the others."""
        b = self.builder
        strips = self.memory.strips.get(buffer, {})  # a strip of an inner axis of the whole result is no stretch of memory
        rows = all(s in strips or self.position.strip_of(op, s) is None for s in open_axes[1:])
        if rows and kept[len(kept) - len(open_axes) :] == open_axes:
            index = [e.xreplace(dict.fromkeys(open_axes, sympy.S.Zero)) for e in self.position.whole_index(op)]
            count: Extent = 1
            for s in open_axes:
                count = count * self.position.span(op, s)
            b.emit(Fill(buffer, self.memory.at(op, buffer, tuple(index), kept), count, value))
            return
        counters = {s: b.open_loop(self.position.span(op, s)) for s in open_axes}
        index = [e.xreplace(counters) for e in self.position.whole_index(op)]
        b.emit(Store(buffer, self.memory.at(op, buffer, tuple(index), kept), value))
        for _ in counters:
            b.close()

    def declare(self, op: Op, kind: DType, start: Expr, path: tuple[LoopNode, ...] | None = None) -> None:
        """The accumulator of a reduction whose output axes are all bound, over the loops of `path`."""
        b = self.builder
        state = Accumulator(b.variable(Variable(kind, self.memory.fresh(op, "s"))))
        self.accumulators[op] = state
        loops = path or self.plan.paths[op]
        few = not exceeds(additions(op, loops, self.plan.contractions, self.plan.options.costs), FEW)
        state.pairwise = self.plan.pairwise and is_float_sum(op) and not few
        state.apart = self.plan.pairwise and is_float_sum(op) and many_terms(op, loops, self.plan.options.costs)
        b.emit(PairwiseBegin(state.total) if state.pairwise else Declare(state.total, start))
        if op.kind == ARG:
            state.position = b.variable(Variable(INDEX, b.fresh("s")))
            b.emit(Declare(state.position, b.literal(sympy.S.Zero, INDEX)))
        elif reducer_of(op) in ("max", "min") and kind.is_floating_point:
            state.nan = b.variable(Variable(bool_, b.fresh("s")))
            b.emit(Declare(state.nan, b.literal(sympy.S.Zero, bool_)))

    def sums_here(self, op: Op, node: LoopNode) -> bool:
        """The loop is the outermost of those that sum one element of a sum in memory: a local does that part of it."""
        if op in self.accumulators or op in self.plan.contractions or op not in self.memory.buffers or not is_float_sum(op):
            return False
        bound = self.position.env(op)
        return node.binding[op] in op.reduced_axes and all(s in bound for s in op.output_axes)

    def begin_local(self, op: Op, node: LoopNode) -> None:
        kind = self.value_type(op)
        path = self.plan.paths[op]
        self.declare(op, kind, self.builder.literal(sympy.S.Zero, kind), path[path.index(node) :])

    def end_local(self, op: Op) -> None:
        self.add_to_memory(op, self.total(self.accumulators.pop(op)))

    def add_to_memory(self, op: Op, value: Expr) -> None:
        b = self.builder
        buffer, kept = self.memory.buffers[op]
        at = self.memory.at(op, buffer, self.position.whole_index(op), kept)
        with b.under(self.to_be_there(op)):
            b.emit(Store(buffer, at, self.combine(reducer_of(op), self.memory.load(buffer, at), value)))

    def to_be_there(self, op: Op) -> Expr | None:
        """Whether the gradient in which an op's sum grows is there; None where that is known, or it grows elsewhere."""
        running = self.running.get(op)
        if running is None or self.memory.buffers[op][0] is not running.buffer:
            return None
        return self.wanted.present(op.effects[0].place)

    def total(self, state: Accumulator) -> Expr:
        """The finished value of a reduction."""
        b = self.builder
        if state.position is not None:
            return state.position
        if state.pairwise:
            return b.place(("total", state.total.name), b.scope, PairwiseTotal(state.total.dtype, state.total))
        if state.nan is not None:
            nan = b.literal(sympy.nan, state.total.dtype)
            return b.apply("select", (state.nan, nan, state.total), state.total.dtype)
        return state.total

    def end(self, op: Op) -> None:
        if op in self.accumulators:
            self.results.result(op, self.total(self.accumulators[op]))
            return
        self.split.pop(op, None)
        if op in self.running:
            self.end_running(op, self.running.pop(op))
            return
        self.results.finished(op, *self.memory.buffers[op])

    def add_up(self, state: Accumulator, value: Expr) -> None:
        b = self.builder
        if state.pairwise:
            b.emit(PairwiseAdd(state.total, value))
        else:
            b.emit(Assign(state.total, b.apply("add", (state.total, value), state.total.dtype)))

    def reduce(self, op: Op, value: Expr) -> None:
        b = self.builder
        how = reducer_of(op)
        state = self.accumulators.get(op)
        if state is None:
            self.add_to_memory(op, value)
        elif state.nan is not None:
            better = b.apply("gt" if how == "max" else "lt", (value, state.total), bool_)
            b.emit(Assign(state.total, b.apply("select", (better, value, state.total), value.dtype)))
            b.emit(Assign(state.nan, b.apply("bitor", (state.nan, b.apply("isnan", (value,), bool_)), bool_)))
        elif state.partial is None and is_float_sum(op):
            self.add_up(state, value)
        else:
            total = state.partial or state.total
            b.emit(Assign(total, self.combine(how, total, value)))

    def combine(self, how: str, total: Expr, value: Expr) -> Expr:
        b = self.builder
        dtype = total.dtype
        if how in ("max", "min"):
            better = b.apply("gt" if how == "max" else "lt", (value, total), bool_)
            if dtype.is_floating_point:  # a nan wins and stays
                better = b.apply("or_", (better, b.apply("isnan", (value,), bool_)), bool_)
            return b.apply("select", (better, value, total), dtype)
        return b.apply(COMBINE[how], (total, value), dtype)

    def arg(self, op: Op, value: Expr) -> None:
        b = self.builder
        state = self.accumulators[op]
        best, where = state.total, state.position
        assert where is not None
        better = b.apply("lt" if reducer_of(op) == "argmin" else "gt", (value, best), bool_)
        if value.dtype.is_floating_point:
            nan = b.apply("isnan", (value,), bool_)
            if reducer_of(op) != "argpeak":  # the first nan
                nan = b.apply("and_", (nan, b.apply("not_", (b.apply("isnan", (best,), bool_),), bool_)), bool_)
            better = b.apply("or_", (better, nan), bool_)
        position = b.index(self.position.env(op)[op.reduced_axes[0]], INDEX)
        new_where = b.apply("select", (better, position, where), INDEX)
        new_best = b.apply("select", (better, value, best), value.dtype)
        b.emit(Assign(where, new_where))
        b.emit(Assign(best, new_best))

    def scatter(self, op: Op, value: Expr, env: Env) -> None:
        node = op.node
        assert isinstance(node, Scatter)
        b = self.builder
        buffer, _ = self.memory.buffers[op]
        guard = tuple(c.substitute(env) for c in op.guard)
        with b.under(b.holds(guard, bool_) if guard else None):
            at = self.memory.linear(buffer, tuple(substitute(e, env) for e in op.index))
            with b.under(self.to_be_there(op)):
                if node.mode != "set":
                    value = self.combine("sum" if node.mode == "add" else node.mode, self.memory.load(buffer, at), value)
                b.emit(Store(buffer, at, value))

    def carried(self, op: Op, node: LoopNode) -> bool:
        """The op adds into the same memory at every iteration."""
        return op.kind == REDUCE and op not in self.accumulators and node.binding[op] in op.reduced_axes


__all__ = ["Reductions"]
