"""From the loop tree to statements: the walk over loops, strips and leaves."""

from __future__ import annotations

import sympy

from gradgen.ir.dtypes import int64
from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import Place
from gradgen.loops.statements import Buffer, Declare, Fill, Store, Variable
from gradgen.schedule.emit_base import Row
from gradgen.schedule.emit_finite import Finite
from gradgen.schedule.inline import ARG, KERNEL, MAP, REDUCE, SCAN, SCATTER, Op
from gradgen.schedule.kernel_calls import emit_kernel
from gradgen.schedule.reductions import CLAUSE, exceeds, is_float_sum, reducer_of, vectorisable
from gradgen.schedule.scans import emit_scan
from gradgen.schedule.tree import Leaf, LoopNode, StripNode, leaves


class Emitter(Finite):
    """Walks a loop tree once."""

    def run(self) -> None:
        self.find_tests()
        self.check_indices()
        for node in self.tree:
            if isinstance(node, Leaf) and node.op in self.buffers:
                continue  # an output of a recurrence or a kernel that has run
            items = self.builder.scope.items
            start = len(items)
            self.nest(node)
            comment = self.comment(node)
            items[start:start] = [] if comment is None else [comment]
        if not self.nested:
            self.fill_nothing()

    def nest(self, node: LoopNode | Leaf) -> None:
        """One top-level nest, under a test of whether anybody wants it."""
        needs = self.tests.get(node)
        condition = self.any_present(needs)
        if condition is not None:
            self.builder.open_if(condition)
        for op in leaves([node]):
            for check in op.checks:
                if not check.early:
                    self.check(op, check, needs)
        self.run_subtree(node)
        self.assumed = None
        if condition is not None:
            self.builder.close()

    def adopt(self, inside: Emitter, memory: dict[Place, Buffer]) -> None:
        """Takes over the buffers of a step that was emitted in this procedure."""
        self.extra += [b for b, _ in inside.buffers.values()] + inside.extra
        for node, buffer in inside.constants.items():
            self.constants.setdefault(node, buffer)
            self.extra.append(buffer)
        self.extra += inside.wasted.values()
        self.inner_waste += inside.wasted.items()
        self.inner_waste += inside.inner_waste
        for called, name in inside.names.items():
            self.names.setdefault(called, name)
        self.widths |= inside.widths

    def visit(self, node: LoopNode | Leaf) -> None:
        """A part of a nest, under a test where less is wanted of it than of the nest."""
        condition = self.any_present(self.tests.get(node), False)
        if condition is None:
            return self.run_subtree(node)
        self.builder.open_if(condition)
        self.run_subtree(node)
        self.builder.close()

    def run_subtree(self, node: LoopNode | Leaf) -> None:
        if isinstance(node, Leaf):
            self.leaf(node.op)
            return
        starting = [op for op, s in node.binding.items() if s in op.reduced_axes and self.is_outermost(op, node)]
        for op in starting:
            self.begin(op, node)
        local = [op for op in node.binding if op not in starting and self.sums_here(op, node)]
        for op in local:
            self.begin_local(op, node)
        if isinstance(node, StripNode):
            self.strips(node, starting)
        else:
            self.either(node, starting, self.loop)
        for op in local:
            self.end_local(op)
        for op in starting:
            self.end(op)

    def loop(self, node: LoopNode) -> None:
        if self.is_vector(node):
            return self.vector_loop(node)
        self.counters[node] = self.builder.open_loop(self.steps(node))
        self.enter(node)
        for child in node.children:
            self.visit(child)
        self.builder.close()

    def is_vector(self, node: LoopNode) -> bool:
        """The loop is innermost and its iterations are independent, reductions into locals aside."""
        if not self.simd or not vectorisable(node, self.contractions):
            return False
        return not any(self.carried(op, node) for op in node.binding)

    def strips(self, node: StripNode, starting: list[Op]) -> None:
        """Everything inside runs strip by strip; sums into arrays are added up strip by strip too."""
        b = self.builder
        first = b.open_loop(node.extent, step=node.size)
        self.open_strips[node] = first
        if not isinstance(node.extent, int) or node.extent % node.size:
            rows = Variable(int64, b.fresh("rows"))
            self.strip_rows[node] = b.named_index(rows, sympy.Min(node.size, node.extent - first))
        totals: dict[Op, Buffer] = {}
        for op in starting:
            if op in self.running and self.running[op].own is None:
                continue
            if op in self.buffers and is_float_sum(op) and op not in self.contractions:
                totals[op], kept = self.buffers[op]
                self.buffers[op] = (self.work_buffer(op, kept), kept)
                self.extra.append(self.buffers[op][0])
                partial = self.buffers[op][0]
                b.emit(Fill(partial, 0, partial.size, b.literal(sympy.S.Zero, op.node.dtype)))
        for child in node.children:
            self.visit(child)
        for op, total in totals.items():
            partial, kept = self.buffers[op]
            self.buffers[op] = (total, kept)
            tested = self.open_present(op)
            at = b.open_loop(partial.size)
            b.scope.simd = self.simd
            value = b.apply("add", (self.raw_load(total, at), self.raw_load(partial, at)), op.node.dtype)
            b.emit(Store(total, at, value))
            b.close()
            if tested:
                b.close()
        del self.open_strips[node]
        b.close()

    def enter(self, node: LoopNode) -> None:
        """Tells the builder what range the position along the whole axis is in."""
        strip = self.enclosing_strip(node)
        if strip is not None:
            self.builder.known[self.open_strips[strip] + self.counters[node]] = node.extent

    def vector_loop(self, node: LoopNode) -> None:
        """An innermost loop; where it sums, block by block, each block's sum going to its total at the end."""
        b = self.builder
        reducing = [op for op, s in node.binding.items() if op in self.accumulators and s in op.reduced_axes]
        sums = [op for op in reducing if is_float_sum(op)]
        strip = self.enclosing_strip(node)
        most = node.extent if strip is None else strip.size
        block = self.options.costs.block
        rows = exceeds(most, self.options.costs.row) and any(self.needs_row(op, node) for op in node.binding)
        blocked = (bool(sums) and exceeds(most, self.options.costs.uncut)) or rows
        start: Extent = 0
        stop = self.steps(node)
        if blocked:
            start = b.open_loop(stop, step=block)
            stop = sympy.Min(start + block, stop)
        for op in sums:
            if blocked or self.accumulators[op].pairwise or self.accumulators[op].apart:
                partial = b.variable(Variable(op.node.dtype, b.fresh("s")))
                b.emit(Declare(partial, b.literal(sympy.S.Zero, op.node.dtype)))
                self.accumulators[op].partial = partial
        self.counters[node] = b.open_loop(stop, start, extent=most)
        self.enter(node)
        b.scope.simd = True
        self.row = Row(self.counters[node], sympy.sympify(start), block if blocked else most)
        for op in reducing:
            state = self.accumulators[op]
            b.scope.reductions.append((CLAUSE[reducer_of(op)], state.partial or state.total))
            if state.nan is not None:
                b.scope.reductions.append(("|", state.nan))
        for child in node.children:
            self.visit(child)
        self.row = None
        b.close()
        for op in sums:
            state = self.accumulators[op]
            if state.partial is not None:
                value, state.partial = state.partial, None
                self.add_up(state, value)
        if blocked:
            b.close()

    def leaf(self, op: Op) -> None:
        without_loop = op.kind in (REDUCE, ARG, SCATTER) and not any(s in op.reduced_axes for s in op.loop_axes)
        if without_loop and op not in self.contractions:
            self.begin(op)
        self.compute(op)
        if without_loop and op not in self.contractions:
            self.end(op)

    def compute(self, op: Op) -> None:
        if op.kind == SCAN:
            emit_scan(self, op, self.ops)
            return
        if op.kind == KERNEL:
            emit_kernel(self, op, self.ops)
            return
        if op in self.contractions:
            self.contract(op, self.contractions[op])
            return
        value = self.terms(op)
        if op.kind == MAP:
            self.result(op, value)
        elif op.kind == SCATTER:
            self.scatter(op, value)
        elif op.kind == ARG:
            self.arg(op, value)
        else:
            self.reduce(op, value)
