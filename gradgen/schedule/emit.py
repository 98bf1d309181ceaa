"""From the loop tree to statements: the walk over loops, strips and leaves."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from gradgen.ir.dtypes import INDEX
from gradgen.ir.minima import least
from gradgen.ir.nodes import Node
from gradgen.ir.symbols import Extent
from gradgen.loops.draft import Draft
from gradgen.loops.procedure import Place, Procedure
from gradgen.loops.statements import Buffer, Declare, Expr, Fill, Variable
from gradgen.schedule.emit_comments import Comments
from gradgen.schedule.emit_finite import Finite
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan, planned
from gradgen.schedule.emit_position import Position, Row
from gradgen.schedule.emit_products import Products
from gradgen.schedule.emit_reads import Checks, Reads
from gradgen.schedule.emit_reductions import Reductions
from gradgen.schedule.emit_results import Results
from gradgen.schedule.emit_wanted import Wanted
from gradgen.schedule.inline import ARG, KERNEL, MAP, REDUCE, SCAN, SCATTER, Op
from gradgen.schedule.kernel_calls import emit_kernel
from gradgen.schedule.preparation import prepared
from gradgen.schedule.reductions import CLAUSE, exceeds, is_float_sum, reducer_of, vectorisable
from gradgen.schedule.scans import emit_scan
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import Leaf, LoopNode, StripNode, leaves


class Emitter:
    """Walks the loop tree of a plan once; the parts it is made of know what they are given here and nothing else."""

    def __init__(self, plan: Plan, builder: Builder) -> None:
        self.plan, self.builder = plan, builder
        self.position = Position(plan.paths)
        self.memory = Memory(plan, builder, self.position)
        self.wanted = Wanted(builder)
        self.reads = Reads(plan, builder, self.memory)
        self.checks = Checks(builder, self.reads)
        self.results = Results(plan, builder, self.position, self.memory, self.wanted)
        self.reductions = Reductions(plan, builder, self.position, self.memory, self.wanted, self.results)
        self.products = Products(plan, builder, self.position, self.memory, self.wanted, self.results, self.reductions)
        self.finite = Finite(plan, builder, self.position, self.memory, self.reads)
        given = {node: place.name for node, place in plan.procedure.given.items()}
        self.comments = Comments(plan, self.position, self.memory, self.reductions, given)

    def run(self) -> None:
        self.wanted.find(self.plan, self.memory)
        for op in self.plan.paths:
            for check in op.checks:  # before anything is written: every index that comes from given data is inside its tensor
                if check.early:
                    self.checks.check(op, check)
        for node in self.plan.tree:
            if isinstance(node, Leaf) and node.op in self.memory.buffers:
                continue  # an output of a recurrence or a kernel that has run
            items = self.builder.scope.items
            start = len(items)
            self.nest(node)
            comment = self.comments.comment(node)
            items[start:start] = [] if comment is None else [comment]

    def step(self, procedure: Procedure, places: Mapping[Place, Buffer], given: Mapping[Node, Expr]) -> None:
        """The step of a recurrence, emitted where the builder stands."""
        inside = Emitter(planned(prepared(procedure, self.plan.options), self.plan.options, nested=True), self.builder)
        inside.memory.places.update(places)
        inside.memory.given.update(given)
        inside.run()
        self.memory.adopt(inside.memory)
        for node, name in inside.comments.names.items():
            self.comments.names.setdefault(node, name)

    def nest(self, node: LoopNode | Leaf) -> None:
        """One top-level nest, under a test of whether anybody wants it."""
        needs = self.wanted.tests.get(node)
        with self.builder.under(self.wanted.any_present(needs)):
            for op in leaves([node]):
                for check in op.checks:
                    if not check.early:
                        self.checks.check(op, check, needs)
            self.run_subtree(node)

    def visit(self, node: LoopNode | Leaf) -> None:
        """A part of a nest, under a test where less is wanted of it than of the nest."""
        with self.builder.under(self.wanted.any_present(self.wanted.tests.get(node))):
            self.run_subtree(node)

    def run_subtree(self, node: LoopNode | Leaf) -> None:
        if isinstance(node, Leaf):
            self.leaf(node.op)
            return
        sums = self.reductions
        starting = self.plan.starting(node)
        for op in starting:
            sums.begin(op, node)
        local = [op for op in node.binding if op not in starting and sums.sums_here(op, node)]
        for op in local:
            sums.begin_local(op, node)
        if isinstance(node, StripNode):
            self.strips(node, starting)
        else:
            self.finite.either(node, self.loop)
        for op in local:
            sums.end_local(op)
        for op in starting:
            sums.end(op)

    def loop(self, node: LoopNode) -> None:
        if self.is_vector(node):
            return self.vector_loop(node)
        self.position.counters[node] = self.builder.open_loop(self.position.steps(node))
        self.enter(node)
        for child in node.children:
            self.visit(child)
        self.builder.close()

    def is_vector(self, node: LoopNode) -> bool:
        """The loop is innermost and its iterations are independent, reductions into locals aside."""
        if not self.plan.simd or not vectorisable(node, self.plan.contractions):
            return False
        return not any(self.reductions.carried(op, node) for op in node.binding)

    def strips(self, node: StripNode, starting: list[Op]) -> None:
        """Everything inside runs strip by strip; sums into arrays are added up strip by strip too."""
        b, memory, sums = self.builder, self.memory, self.reductions
        first = b.open_loop(node.extent, step=node.size)
        self.position.open_strips[node] = first
        if not isinstance(node.extent, int) or node.extent % node.size:
            rows = Variable(INDEX, b.fresh("rows"))
            self.position.strip_rows[node] = b.named_index(rows, least(node.size, node.extent - first))
        totals: dict[Op, Buffer] = {}
        for op in starting:
            if op in sums.running and sums.running[op].own is None:
                continue
            if op in memory.buffers and is_float_sum(op) and op not in self.plan.contractions:
                totals[op], kept = memory.buffers[op]
                partial, _ = memory.buffers[op] = (memory.work(op, kept), kept)
                memory.extra.append(partial)
                b.emit(Fill(partial, 0, partial.size, b.literal(sympy.S.Zero, op.node.dtype)))
        for child in node.children:
            self.visit(child)
        for op, total in totals.items():
            partial, kept = memory.buffers[op]
            memory.buffers[op] = (total, kept)
            with b.under(sums.to_be_there(op)):
                sums.add_all(total, partial, partial.size)
        del self.position.open_strips[node]
        b.close()

    def enter(self, node: LoopNode) -> None:
        """Tells the builder what range the position along the whole axis is in."""
        strip = self.position.enclosing_strip(node)
        if strip is not None:
            self.builder.known[self.position.open_strips[strip] + self.position.counters[node]] = node.extent

    def vector_loop(self, node: LoopNode) -> None:
        """An innermost loop; where it sums, block by block, each block's sum going to its total at the end."""
        b, position, costs = self.builder, self.position, self.plan.options.costs
        totals = self.reductions.accumulators
        reducing = [op for op, s in node.binding.items() if op in totals and s in op.reduced_axes]
        sums = [op for op in reducing if is_float_sum(op)]
        strip = position.enclosing_strip(node)
        most = node.extent if strip is None else strip.size
        block = costs.block
        rows = exceeds(most, costs.row) and any(self.results.needs_row(op, node) for op in node.binding)
        blocked = (bool(sums) and exceeds(most, costs.uncut)) or rows
        start: Extent = 0
        stop = position.steps(node)
        if blocked:
            start = b.open_loop(stop, step=block)
            stop = least(start + block, stop)
        for op in sums:
            if blocked or totals[op].pairwise or totals[op].apart:
                partial = b.variable(Variable(op.node.dtype, b.fresh("s")))
                b.emit(Declare(partial, b.literal(sympy.S.Zero, op.node.dtype)))
                totals[op].partial = partial
        position.counters[node] = b.open_loop(stop, start, extent=most)
        self.enter(node)
        b.scope.simd = True
        position.row = Row(position.counters[node], sympy.sympify(start), block if blocked else most)
        for op in reducing:
            state = totals[op]
            b.scope.reductions.append((CLAUSE[reducer_of(op)], state.partial or state.total))
            if state.nan is not None:
                b.scope.reductions.append(("|", state.nan))
        for child in node.children:
            self.visit(child)
        position.row = None
        b.close()
        for op in sums:
            state = totals[op]
            if state.partial is not None:
                value, state.partial = state.partial, None
                self.reductions.add_up(state, value)
        if blocked:
            b.close()

    def leaf(self, op: Op) -> None:
        without_loop = op.kind in (REDUCE, ARG, SCATTER) and not any(s in op.reduced_axes for s in op.loop_axes)
        if without_loop and op not in self.plan.contractions:
            self.reductions.begin(op)
        self.compute(op)
        if without_loop and op not in self.plan.contractions:
            self.reductions.end(op)

    def compute(self, op: Op) -> None:
        if op.kind == SCAN:
            emit_scan(self.plan, self.builder, self.memory, self.results, op, self.step)
            return
        if op.kind == KERNEL:
            emit_kernel(self.plan, self.builder, self.memory, self.results, op)
            return
        if op in self.plan.contractions:
            self.products.contract(op, self.plan.contractions[op])
            return
        env = self.position.env(op)
        value = self.reads.value(op, env)
        if op.kind == MAP:
            self.results.result(op, value)
        elif op.kind == SCATTER:
            self.reductions.scatter(op, value, env)
        elif op.kind == ARG:
            self.reductions.arg(op, value)
        else:
            self.reductions.reduce(op, value)


def emitted(plan: Plan, asked: Procedure, reserved: list[str]) -> Draft:
    """The statements of a plan, and what they are over; `asked` is its procedure before it was prepared."""
    emitter = Emitter(plan, Builder(reserved))
    emitter.run()
    root = emitter.builder.root
    root.items[:0] = reversed(list(emitter.memory.zeros()))
    statements, buffers = emitter.memory.finish()
    return Draft(asked, emitter.builder.fresh, buffers, statements, names=emitter.comments.names)


__all__ = ["emitted"]
