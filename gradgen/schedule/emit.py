"""From the loop tree to statements: accumulators, stores, and each op's terms as scalars in the right scope."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.errors import ScheduleError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType, bool_, int64
from gradgen.ir.formula import node_formula
from gradgen.ir.guards import GE, Condition
from gradgen.ir.nodes import Compute, Constant, Node, Scatter
from gradgen.ir.symbols import Extent, as_extent, same_extent
from gradgen.schedule.contraction import Contraction
from gradgen.schedule.fusion import whole_sources
from gradgen.schedule.inline import (
    ARG,
    KERNEL,
    MAP,
    REDUCE,
    SCAN,
    SCATTER,
    BodyTerm,
    Check,
    Op,
    ReadTerm,
    SelectTerm,
    Term,
    index_terms,
    substitute,
    term_numbers,
    term_symbol,
)
from gradgen.schedule.options import ScheduleOptions
from gradgen.schedule.procedure import ACCUMULATE, Output, Place, Procedure
from gradgen.schedule.program import (
    ARGUMENT,
    CONSTANT,
    LOCAL,
    SAVED,
    WORK,
    Apply,
    Assign,
    Buffer,
    Comment,
    Contract,
    Copy,
    CVar,
    Declare,
    Expr,
    Fail,
    Fill,
    Literal,
    Load,
    Operand,
    PairwiseAdd,
    PairwiseBegin,
    PairwiseTotal,
    Pointer,
    Present,
    SetFlag,
    Store,
    Variable,
)
from gradgen.schedule.reductions import (
    BLOCK,
    CLAUSE,
    COMBINE,
    FEW,
    UNCUT,
    Accumulator,
    additions,
    exceeds,
    initial,
    is_float_sum,
    reducer_of,
    vectorisable,
)
from gradgen.schedule.scans import emit_scan
from gradgen.schedule.scope import Builder, Scope
from gradgen.schedule.tree import Leaf, LoopNode, StripNode, Tree, leaves, paths

KERNEL_TERMS = 256  # terms of a sum that the matrix kernel completes before it touches the result
ROW = 1024  # elements that a row of wasted memory may have
SHORT_ROW = 8
MOST_FORMULAS = 120  # ops of a procedure that still gets formulas in its comments
MOST_LINES = 5  # of formulas per nest
MOST_CONDITIONS = 3  # optional places that one nest is tested for


@dataclass(frozen=True, slots=True)
class Row:
    """The stretch that a vector loop covers: its counter runs from `start` over at most `size` elements."""

    counter: CVar
    start: sympy.Expr
    size: Extent


class Emitter:
    """Walks a loop tree once; `values` are results held in locals, `buffers` those in memory with the axes they keep."""

    def __init__(
        self, procedure: Procedure, ops: list[Op], tree: Tree, reserved: list[str],
        contractions: dict[Op, Contraction], options: ScheduleOptions, builder: Builder | None = None,
    ) -> None:
        self.procedure = procedure
        self.tree = tree
        self.contractions = contractions or {}
        self.simd, self.pairwise = options.has("simd"), options.has("pairwise")
        self.paths = paths(tree)
        self.op_of: dict[Node, Op] = {
            op.node: op for op in ops if op.node not in procedure.given and not isinstance(op.node, Constant)
        }
        self.consumers: dict[Op, list[Op]] = {op: [] for op in ops}
        for op in ops:
            for source in self.sources(op):
                found = self.op_of.get(source)
                if found is not None and found is not op:
                    self.consumers[found].append(op)
        self.fixed = {op: op.fixed for op in ops}
        self.builder = builder or Builder(reserved)
        self.nested = builder is not None
        self.options, self.ops = options, ops
        self.places: dict[Place, Buffer] = {}
        self.constants: dict[Node, Buffer] = {}
        self.places_of: dict[Place, Buffer] = {}
        self.needs = self.find_needs(ops)
        self.buffers: dict[Op, tuple[Buffer, tuple[sympy.Symbol, ...]]] = {}
        self.values: dict[Op, Expr] = {}
        self.accumulators: dict[Op, Accumulator] = {}
        self.counters: dict[LoopNode, CVar] = {}
        self.assumed: Place | None = None  # the place that the nest being built was tested for
        self.row: Row | None = None  # of the vector loop being built
        self.forwarded: dict[Op, tuple[Scope, tuple[sympy.Expr, ...], Expr]] = {}
        self.inner_waste: list[tuple[tuple[str, DType], Buffer]] = []
        self.names: dict[Node, str] = {n: place.name for n, place in procedure.given.items()}
        self.last_lines: list[str] = []
        self.extra: list[Buffer] = []  # WORK that belongs to no op
        self.given_values: dict[Node, Expr] = {}
        self.split: dict[Op, None] = {}  # contractions whose summed axis is cut into strips
        self.open_strips: dict[StripNode, CVar] = {}
        self.strip_rows: dict[StripNode, CVar] = {}
        self.strip_buffers: dict[Buffer, dict[sympy.Symbol, StripNode]] = {}
        self.strip_local: dict[Op, dict[sympy.Symbol, StripNode]] = {}
        self.wasted: dict[tuple[str, DType], Buffer] = {}
        self.checked: dict[tuple, None] = {}
        self.term_symbols: dict[Op, dict[sympy.Symbol, sympy.Expr]] = {}

    def sources(self, op: Op) -> list[Node]:
        return [*(t.source for t in op.reads), *whole_sources(op)]

    # --- memory ---------------------------------------------------------------------------------------------------

    def place_buffer(self, place: Place, node: Node) -> Buffer:
        if place not in self.places:
            space = SAVED if place.space == "saved" else ARGUMENT
            given = node in self.procedure.given and self.procedure.given[node] == place
            self.places[place] = Buffer(place.name, node.dtype, node.shape, space, place, given=given)
        return self.places[place]

    def work_buffer(self, op: Op, axes: tuple[sympy.Symbol, ...]) -> Buffer:
        name = self.builder.fresh("v")
        if op.kind == SCATTER:
            return Buffer(name, op.node.dtype, op.shape, WORK)
        strips = self.strip_local.get(op, {})
        shape = tuple(strips[s].size if s in strips else op.extent_of(s) for s in axes)
        made = Buffer(name, op.node.dtype, shape, WORK)
        self.strip_buffers[made] = strips
        return made

    def constant_buffer(self, node: Constant) -> Buffer:
        if node not in self.constants:
            name = self.builder.fresh("table")
            self.constants[node] = Buffer(name, node.dtype, node.shape, CONSTANT, values=node.array)
        return self.constants[node]

    def kept_axes(self, op: Op) -> tuple[sympy.Symbol, ...]:
        """The output axes that the op's memory needs: those not bound by loops shared with every reader."""
        if op.kind == SCATTER:
            return ()
        shared = self.paths[op]
        for k, loop in enumerate(shared):  # a reduction is complete outside its first reduced loop only
            if loop.binding.get(op) in op.reduced_axes:
                shared = shared[:k]
                break
        for c in self.consumers[op]:
            other = self.paths[c]
            k = 0
            while k < len(shared) and k < len(other) and shared[k] is other[k]:
                k += 1
            shared = shared[:k]
        bound = {loop.binding[op]: None for loop in shared if op in loop.binding and not isinstance(loop, StripNode)}
        bound |= self.fixed[op]
        strips = {loop.binding[op]: loop for loop in shared if isinstance(loop, StripNode) and op in loop.binding}
        self.strip_local[op] = {s: loop for s, loop in strips.items() if s not in bound}
        return tuple(s for s in op.output_axes if s not in bound)

    def own_buffer(self, op: Op) -> tuple[Buffer, tuple[sympy.Symbol, ...]]:
        """Memory for the op's result and the axes it has: an output that is certainly there, else WORK."""
        kept = self.kept_axes(op)
        if op.kind == SCATTER:
            kept = op.axes[: len(op.shape)]
        whole = op.kind == SCATTER or not self.strip_local.get(op) and all(s in kept or s in self.fixed[op] for s in op.output_axes)
        for e in op.effects:
            if whole and e.mode != ACCUMULATE and not e.place.optional and e.place.space == ARGUMENT:
                return self.place_buffer(e.place, op.node), op.output_axes
        return self.work_buffer(op, kept), kept

    # --- the walk -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        self.check_indices()
        for node in self.tree:
            if isinstance(node, Leaf) and node.op in self.buffers:
                continue  # an output of a recurrence that has run
            items = self.builder.scope.items
            start = len(items)
            self.nest(node)
            items[start:start] = [Comment(t) for t in self.comments(node)]
        if not self.nested:
            self.fill_nothing()

    def nest(self, node: LoopNode | Leaf) -> None:
        """One top-level nest, under a test of whether anybody wants it."""
        for op in leaves([node]):
            for check in op.checks:
                if not check.early:
                    self.check(op, check)
        condition = self.wanted(node)
        if condition is not None:
            self.builder.open_if(condition)
        self.visit(node)
        self.assumed = None
        if condition is not None:
            self.builder.close()

    def comments(self, node: LoopNode | Leaf) -> list[str]:
        """The user's lines behind a nest that has just been built, and what it computes in the names of the C."""
        lines: dict[str, None] = {}
        formulas: list[str] = []
        for op in leaves([node]):
            for member in op.members:
                where = self.procedure.where.get(member)
                if where is not None:
                    lines[str(where)] = None
            self.name_result(op)
            if op.node in self.names and len(self.ops) <= MOST_FORMULAS and isinstance(op.node, (Compute, Scatter)):
                letters = {s: str(e) for s, e in self.env(op).items() if e.is_Symbol}
                sign = "+=" if op.effects and all(e.mode == ACCUMULATE for e in op.effects) else "="
                formulas.append(node_formula(op.node, self.names, sign=sign, letters=letters))
        found = [", ".join(lines)] if lines else []
        if found == self.last_lines:
            found = []
        elif lines:
            self.last_lines = found
        return [*found, *formulas[:MOST_LINES]]

    def name_result(self, op: Op) -> None:
        """What the C calls the value of an op, if it has a name."""
        if op.effects and op.effects[0].place.space == ARGUMENT and not self.nested:
            self.names[op.node] = op.effects[0].place.name
        elif op in self.buffers:
            self.names[op.node] = self.buffers[op][0].name
        elif op in self.accumulators and self.accumulators[op].position is None:
            self.names[op.node] = self.accumulators[op].total.name

    def adopt(self, inside: Emitter, memory: dict[Place, Buffer]) -> None:
        """Takes over the buffers of a step that was emitted in this procedure."""
        self.extra += [b for b, _ in inside.buffers.values()] + inside.extra
        for node, buffer in inside.constants.items():
            self.constants.setdefault(node, buffer)
            self.extra.append(buffer)
        self.extra += inside.wasted.values()
        self.inner_waste += inside.wasted.items()
        self.inner_waste += inside.inner_waste

    def whole_buffer(self, node: Node) -> Buffer:
        """Memory that holds all of a value; for an optional argument a copy that is there."""
        b = self.builder
        buffer = self.source_buffer(node)
        place = self.procedure.given.get(node)
        if place is None or not place.optional:
            return buffer
        copy = Buffer(b.fresh("v"), node.dtype, node.shape, WORK)
        self.extra.append(copy)
        at = b.open_loop(buffer.size)
        b.emit(Store(copy, at, b.load(buffer, at, (), sympy.S.Zero, False)))
        b.close()
        return copy

    def finished(self, op: Op, buffer: Buffer) -> None:
        """The op's whole value is in `buffer`: its outputs get it from there."""
        self.buffers[op] = (buffer, op.output_axes)
        for e in op.effects:
            if self.place_buffer(e.place, op.node) is not buffer:
                self.copy_out(op, e, buffer, op.output_axes)

    def needs_memory(self, op: Op) -> bool:
        """A reader wants the value as a whole, whatever its shape."""
        return any(op.node in whole_sources(c) for c in self.consumers[op])

    def wanted(self, node: LoopNode | Leaf) -> Expr | None:
        """What must be present for a nest to be worth running; None where it always is."""
        inside = dict.fromkeys(leaves([node]))
        needs: dict[Place, None] = {}
        for op in inside:
            found = self.needs[op]
            if found is None or any(c not in inside and not self.in_memory(op) for c in self.consumers[op]):
                return None
            needs |= found
        if isinstance(node, Leaf) and node.op in self.contractions and not self.consumers[node.op]:
            return None  # it tests by itself
        b = self.builder
        conditions = [self.presence(p, self.places_of[p]) for p in needs]
        if len(needs) == 1:
            self.assumed = next(iter(needs))
        result: Expr | None = None
        for c in conditions:
            assert c is not None
            result = c if result is None else b.apply("or_", (result, c), bool_)
        return result

    def in_memory(self, op: Op) -> bool:
        """Readers outside the op's nest find its result in a buffer, not in a local."""
        return op.kind == SCATTER or bool(self.kept_axes(op))

    def find_needs(self, ops: list[Op]) -> dict[Op, dict[Place, None] | None]:
        """For each op the optional places that it works for; None: it is always needed (or for too many to test)."""
        found: dict[Op, dict[Place, None] | None] = {}
        for op in reversed(ops):
            needs: dict[Place, None] | None = None if op.kind in (SCAN, KERNEL) else {}
            for e in op.effects if needs is not None else ():
                if not self.is_optional(e.place):
                    needs = None
                    break
                needs[e.place] = None  # type: ignore[index]
                self.places_of[e.place] = self.place_buffer(e.place, op.node)
            for c in self.consumers[op]:
                more = found[c]
                needs = None if needs is None or more is None else needs | more
            found[op] = needs if needs is not None and len(needs) <= MOST_CONDITIONS else None
        return found

    def comment(self, node: LoopNode | Leaf) -> None:
        seen: dict[str, None] = {}
        for op in leaves([node]):
            for member in op.members:
                where = self.procedure.where.get(member)
                if where is not None:
                    seen[str(where)] = None
        for text in list(seen)[:6]:
            self.builder.emit(Comment(text))

    def visit(self, node: LoopNode | Leaf) -> None:
        if isinstance(node, Leaf):
            self.leaf(node.op)
            return
        starting = [op for op, s in node.binding.items() if s in op.reduced_axes and self.is_outermost(op, node)]
        for op in starting:
            self.begin(op)
        if isinstance(node, StripNode):
            self.strips(node, starting)
        elif self.simd and vectorisable(node, self.contractions) and not any(self.carried(op, node) for op in node.binding):
            self.vector_loop(node)
        else:
            self.counters[node] = self.builder.open_loop(self.steps(node))
            self.enter(node)
            for child in node.children:
                self.visit(child)
            self.builder.close()
        for op in starting:
            self.end(op)

    def strips(self, node: StripNode, starting: list[Op]) -> None:
        """Everything inside runs for one strip of rows after the other; sums into arrays are added up strip by strip."""
        b = self.builder
        first = b.open_loop(node.extent, step=node.size)
        self.open_strips[node] = first
        if not isinstance(node.extent, int) or node.extent % node.size:
            rows = Variable(int64, b.fresh("rows"))
            self.strip_rows[node] = b.named_index(rows, sympy.Min(node.size, node.extent - first))
        totals: dict[Op, Buffer] = {}
        for op in starting:
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
            at = b.open_loop(partial.size)
            b.scope.simd = self.simd
            value = b.apply("add", (self.raw_load(total, at), self.raw_load(partial, at)), op.node.dtype)
            b.emit(Store(total, at, value))
            b.close()
            self.buffers[op] = (total, kept)
        del self.open_strips[node]
        b.close()

    def strip_of(self, op: Op, symbol: sympy.Symbol) -> StripNode | None:
        """The open strip loop over this axis of the op."""
        for node in self.open_strips:
            if node.binding.get(op) is symbol:
                return node
        return None

    def enclosing_strip(self, node: LoopNode) -> StripNode | None:
        for op, symbol in node.binding.items():
            return self.strip_of(op, symbol)
        return None

    def steps(self, node: LoopNode) -> Extent:
        """How often a loop runs: inside a strip, over its rows."""
        strip = self.enclosing_strip(node)
        return node.extent if strip is None else self.rows(strip)

    def rows(self, strip: StripNode) -> Extent:
        return self.strip_rows.get(strip, strip.size)

    def enter(self, node: LoopNode) -> None:
        """Tells the builder what range the position along the whole axis is in."""
        strip = self.enclosing_strip(node)
        if strip is not None:
            self.builder.known[self.open_strips[strip] + self.counters[node]] = node.extent

    def carried(self, op: Op, node: LoopNode) -> bool:
        """The op adds into the same memory at every iteration."""
        return op.kind == REDUCE and op not in self.accumulators and node.binding[op] in op.reduced_axes

    def vector_loop(self, node: LoopNode) -> None:
        """An innermost loop; where it sums, block by block, each block's sum going to its total at the end."""
        b = self.builder
        reducing = [op for op, s in node.binding.items() if op in self.accumulators and s in op.reduced_axes]
        sums = [op for op in reducing if is_float_sum(op)]
        strip = self.enclosing_strip(node)
        most = node.extent if strip is None else strip.size
        rows = exceeds(most, ROW) and any(self.needs_row(op, node) for op in node.binding)
        blocked = (bool(sums) and exceeds(most, UNCUT)) or rows
        start: Extent = 0
        stop = self.steps(node)
        if blocked:
            start = b.open_loop(stop, step=BLOCK)
            stop = sympy.Min(start + BLOCK, stop)
        for op in sums:
            if blocked or self.accumulators[op].pairwise:
                partial = b.variable(Variable(op.node.dtype, b.fresh("s")))
                b.emit(Declare(partial, b.literal(sympy.S.Zero, op.node.dtype)))
                self.accumulators[op].partial = partial
        self.counters[node] = b.open_loop(stop, start, extent=most)
        self.enter(node)
        b.scope.simd = True
        self.row = Row(self.counters[node], sympy.sympify(start), BLOCK if blocked else most)
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

    def needs_row(self, op: Op, node: LoopNode) -> bool:
        return op.kind == MAP and any(e.mode == ACCUMULATE or self.is_optional(e.place) for e in op.effects)

    def is_optional(self, place: Place) -> bool:
        return place.optional or place.space != ARGUMENT

    def store_row(self, effect: Output, target: Buffer, at: sympy.Expr, value: Expr) -> bool:
        """In a vector loop, a store without a condition: through a pointer to the row that is wanted, or to memory that
        nobody reads; the old gradient likewise comes from the row or from zeros.  False where that is not possible."""
        row, b = self.row, self.builder
        if row is None or exceeds(row.size, ROW) or not exceeds(row.size, SHORT_ROW):
            return False
        slope = sympy.expand(at).coeff(row.counter, 1)
        start = at.xreplace({row.counter: row.start})
        if slope != 1 or sympy.expand(at - row.counter + row.start - start) != 0 or start.has(row.counter):
            return False
        assert b.scope.parent is not None
        condition = self.presence(effect.place, target)
        name = target.name
        index: sympy.Expr = at
        if condition is not None:
            name = b.fresh("row")
            b.scope.parent.items.append(Pointer(name, target, start, condition, self.waste("sink", target.dtype, row.size)))
            index = row.counter - row.start
        if effect.mode == ACCUMULATE:
            keep = b.apply("not_", (self.set_flag(),), bool_)
            if condition is not None:
                keep = b.apply("and_", (condition, keep), bool_)
            old = b.fresh("row")
            zeros = self.waste("nothing", target.dtype, row.size)
            b.scope.parent.items.append(Pointer(old, target, start, keep, zeros, True))
            before = self.raw_load(Buffer(old, target.dtype, (), LOCAL), row.counter - row.start)
            value = b.apply("add", (before, value), target.dtype)
        b.emit(Store(Buffer(name, target.dtype, (), LOCAL) if condition is not None else target, index, value))
        return True

    def waste(self, what: str, dtype: DType, size: Extent) -> Buffer:
        """A row of WORK to write unwanted values to, or one of negative zeros (-0 + x is x, whatever x is)."""
        key = (what, dtype)
        if key not in self.wasted:
            self.wasted[key] = Buffer(self.builder.fresh(what), dtype, (0,), WORK)
        buffer = self.wasted[key]
        buffer.shape = (max(buffer.shape[0], size),)  # type: ignore[type-var]
        return buffer

    def fill_nothing(self) -> None:
        """Before everything else: the zeros that stand for gradients that are set."""
        b = self.builder
        for (what, dtype), buffer in [*self.wasted.items(), *self.inner_waste]:
            if what == "nothing":
                zero = Apply(dtype, "neg", (Literal(dtype, sympy.S.Zero),))
                b.root.items.insert(0, Fill(buffer, 0, buffer.size, zero))

    def add_up(self, state: Accumulator, value: Expr) -> None:
        b = self.builder
        if state.pairwise:
            b.emit(PairwiseAdd(state.total, value))
        else:
            b.emit(Assign(state.total, b.apply("add", (state.total, value), state.total.dtype)))

    def is_outermost(self, op: Op, node: LoopNode) -> bool:
        for loop in self.paths[op]:
            if op in loop.binding and loop.binding[op] in op.reduced_axes:
                return loop is node
        return False

    def env(self, op: Op) -> dict[sympy.Symbol, sympy.Expr]:
        found: dict[sympy.Symbol, sympy.Expr] = dict(self.fixed[op])
        for loop in self.paths[op]:
            if op in loop.binding and loop in self.counters:
                symbol = loop.binding[op]
                strip = self.strip_of(op, symbol)
                found[symbol] = self.counters[loop] if strip is None else self.open_strips[strip] + self.counters[loop]
        return found

    def local(
        self, op: Op, buffer: Buffer, index: tuple[sympy.Expr, ...], kept: tuple[sympy.Symbol, ...]
    ) -> tuple[sympy.Expr, ...]:
        """Of a whole index into the op's value the components that its memory has, inside a strip counted from there."""
        found = []
        strips = self.strip_buffers.get(buffer, {})
        for i, s in zip(index, op.output_axes, strict=True):
            if s in kept:
                found.append(i - self.open_strips[strips[s]] if s in strips else i)
        return tuple(found)

    def whole_index(self, op: Op) -> tuple[sympy.Expr, ...]:
        """Where the current counters stand in the op's value; axes that nothing binds stay symbols."""
        env = self.env(op)
        return tuple(env[s] if s in env else self.shifted(op, s) for s in op.output_axes)

    def shifted(self, op: Op, symbol: sympy.Symbol) -> sympy.Expr:
        strip = self.strip_of(op, symbol)
        return symbol if strip is None else self.open_strips[strip] + symbol

    # --- reductions -----------------------------------------------------------------------------------------------

    def bound_outside(self, op: Op) -> dict[sympy.Symbol, None]:
        """The output axes bound before the first reduced axis."""
        found: dict[sympy.Symbol, None] = dict.fromkeys(self.fixed[op])
        for loop in self.paths[op]:
            if op in loop.binding:
                if loop.binding[op] in op.reduced_axes:
                    break
                if not isinstance(loop, StripNode):
                    found[loop.binding[op]] = None
        return found

    def begin(self, op: Op) -> None:
        node = op.node
        b = self.builder
        if op in self.contractions:  # summed strip by strip
            buffer, kept = self.buffers[op] = self.own_buffer(op)
            zero = b.literal(sympy.S.Zero, node.dtype)
            self.fill(op, buffer, kept, tuple(s for s in op.output_axes if s in kept), zero)
            self.split[op] = None
            return
        if op.kind == SCATTER:
            assert isinstance(node, Scatter)
            buffer, _ = self.buffers[op] = self.own_buffer(op)
            if node.base is None:
                b.emit(Fill(buffer, 0, buffer.size, b.literal(sympy.S.Zero, node.dtype)))
            else:
                b.emit(Copy(buffer, 0, self.source_buffer(node.base), 0, buffer.size))
            return
        assert isinstance(node, Compute) and node.reducer is not None
        bound = self.bound_outside(op)
        open_axes = tuple(s for s in op.output_axes if s not in bound)
        kind = self.value_type(op)
        start = b.literal(initial(node.reducer, kind), kind)
        if not open_axes:
            self.declare(op, kind, start)
            return
        if op.kind == ARG:
            raise ScheduleError("argmax over an outer axis reached the emitter without its output axes bound")
        buffer, kept = self.buffers[op] = self.own_buffer(op)
        self.fill(op, buffer, kept, open_axes, start)

    def fill(
        self, op: Op, buffer: Buffer, kept: tuple[sympy.Symbol, ...], open_axes: tuple[sympy.Symbol, ...], value: Expr
    ) -> None:
        """`value` everywhere along `open_axes`, at the current position of the others."""
        b = self.builder
        if kept[len(kept) - len(open_axes) :] == open_axes:
            index = [e.xreplace(dict.fromkeys(open_axes, sympy.S.Zero)) for e in self.whole_index(op)]
            count: Extent = 1
            for s in open_axes:
                count = count * self.span(op, s)
            b.emit(Fill(buffer, self.linear(buffer, self.local(op, buffer, tuple(index), kept)), count, value))
            return
        counters = {s: b.open_loop(self.span(op, s)) for s in open_axes}
        index = [e.xreplace(counters) for e in self.whole_index(op)]
        b.emit(Store(buffer, self.linear(buffer, self.local(op, buffer, tuple(index), kept)), value))
        for _ in counters:
            b.close()

    def span(self, op: Op, symbol: sympy.Symbol) -> Extent:
        """The extent of an axis inside the open strips."""
        strip = self.strip_of(op, symbol)
        return op.extent_of(symbol) if strip is None else self.rows(strip)

    def declare(self, op: Op, kind: DType, start: Expr) -> None:
        """The accumulator of a reduction whose output axes are all bound."""
        b = self.builder
        state = Accumulator(b.variable(Variable(kind, b.fresh("s"))))
        self.accumulators[op] = state
        few = not exceeds(additions(op, self.paths[op], self.contractions), FEW)
        state.pairwise = self.pairwise and is_float_sum(op) and not few
        b.emit(PairwiseBegin(state.total) if state.pairwise else Declare(state.total, start))
        if op.kind == ARG:
            state.position = b.variable(Variable(int64, b.fresh("s")))
            b.emit(Declare(state.position, b.literal(sympy.S.Zero, int64)))
        elif reducer_of(op) in ("max", "min") and kind.is_floating_point:
            state.nan = b.variable(Variable(bool_, b.fresh("s")))
            b.emit(Declare(state.nan, b.literal(sympy.S.Zero, bool_)))

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
            self.result(op, self.total(self.accumulators[op]))
            return
        self.split.pop(op, None)
        buffer, kept = self.buffers[op]
        for e in op.effects:
            target = self.place_buffer(e.place, op.node)
            if target is not buffer:
                self.copy_out(op, e, buffer, kept)

    def copy_out(self, op: Op, effect: Output, buffer: Buffer, kept: tuple[sympy.Symbol, ...]) -> None:
        """A completed array result goes to where it is wanted."""
        b = self.builder
        target = self.place_buffer(effect.place, op.node)
        env = self.env(op)
        condition = self.presence(effect.place, target)
        if condition is not None:
            b.open_if(condition)
        opened = 0
        index: list[sympy.Expr] = []
        bound = self.bound_outside(op) if op.kind != SCATTER else {}
        for s, extent in zip(op.output_axes or op.axes[: len(op.shape)], op.shape, strict=True):
            if s in bound and s in env:
                index.append(env[s])
            else:
                strip = self.strip_of(op, s)
                counter = b.open_loop(self.span(op, s) if op.kind != SCATTER else extent)
                index.append(counter if strip is None or op.kind == SCATTER else self.open_strips[strip] + counter)
                opened += 1
        inner = tuple(index) if op.kind == SCATTER else self.local(op, buffer, tuple(index), kept)
        value = b.load(buffer, self.linear(buffer, inner), (), sympy.S.Zero, False)
        self.store_effect(effect, target, self.linear(target, tuple(index)), value)
        for _ in range(opened):
            b.close()
        if condition is not None:
            b.close()

    # --- leaves ---------------------------------------------------------------------------------------------------

    def value_type(self, op: Op) -> DType:
        term = op.terms[op.root]
        return term.dtype if op.kind == ARG else op.node.dtype

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

    def result(self, op: Op, value: Expr) -> None:
        """A completed element: to memory if a reader needs it there, and to its outputs."""
        b = self.builder
        env = self.env(op)
        kept = self.kept_axes(op)
        stored: Buffer | None = None
        if (kept and self.consumers[op]) or self.needs_memory(op):
            if op not in self.buffers:
                self.buffers[op] = self.own_buffer(op)
            stored, kept = self.buffers[op]
            b.emit(Store(stored, self.linear(stored, self.local(op, stored, self.whole_index(op), kept)), value))
            self.forwarded[op] = (b.scope, tuple(env[s] for s in op.output_axes), value)
        if not kept or not self.consumers[op]:
            self.values[op] = value
        for e in op.effects:
            target = self.place_buffer(e.place, op.node)
            if target is stored:
                continue
            at = self.linear(target, tuple(env[s] for s in op.output_axes))
            if (e.mode == ACCUMULATE or self.is_optional(e.place)) and self.store_row(e, target, at, value):
                continue
            condition = self.presence(e.place, target)
            if condition is not None:
                b.open_if(condition)
            self.store_effect(e, target, at, value)
            if condition is not None:
                b.close()

    def presence(self, place: Place, target: Buffer) -> Expr | None:
        if (not place.optional and place.space == ARGUMENT) or place == self.assumed:
            return None
        key = ("present", target.name)
        b = self.builder
        found = b.root.values.get(key)
        return found or b.place(key, b.root, Present(bool_, target))

    def store_effect(self, effect: Output, target: Buffer, index: sympy.Expr, value: Expr) -> None:
        b = self.builder
        if effect.mode == ACCUMULATE:
            total = b.apply("add", (self.raw_load(target, index), value), target.dtype)
            value = b.apply("select", (self.set_flag(), value, total), target.dtype)
        b.emit(Store(target, index, value))

    def set_flag(self) -> Expr:
        b = self.builder
        found = b.root.values.get(("set flag",))
        return found or b.place(("set flag",), b.root, SetFlag(bool_))

    def raw_load(self, buffer: Buffer, index: sympy.Expr) -> Expr:
        """A load of memory that this nest also writes: never remembered."""
        b = self.builder
        return b.place(("raw", id(buffer), index, len(b.keep)), b.scope, Load(buffer.dtype, buffer, index))

    def reduce(self, op: Op, value: Expr) -> None:
        b = self.builder
        how = reducer_of(op)
        state = self.accumulators.get(op)
        if state is None:
            buffer, kept = self.buffers[op]
            at = self.linear(buffer, self.local(op, buffer, self.whole_index(op), kept))
            b.emit(Store(buffer, at, self.combine(how, self.raw_load(buffer, at), value)))
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
        better = b.apply("gt" if reducer_of(op) == "argmax" else "lt", (value, best), bool_)
        if value.dtype.is_floating_point:  # the first nan
            first = b.apply(
                "and_", (b.apply("isnan", (value,), bool_), b.apply("not_", (b.apply("isnan", (best,), bool_),), bool_)),
                bool_,
            )
            better = b.apply("or_", (better, first), bool_)
        position = b.index(self.env(op)[op.reduced_axes[0]], int64)
        new_where = b.apply("select", (better, position, where), int64)
        new_best = b.apply("select", (better, value, best), value.dtype)
        b.emit(Assign(where, new_where))
        b.emit(Assign(best, new_best))

    def scatter(self, op: Op, value: Expr) -> None:
        node = op.node
        assert isinstance(node, Scatter)
        b = self.builder
        buffer, _ = self.buffers[op]
        env = self.full_env(op)
        guard = tuple(c.substitute(env) for c in op.guard)
        if guard:
            b.open_if(b.holds(guard, bool_))
        index = tuple(substitute(e, env) for e in op.index)
        at = self.linear(buffer, index)
        if node.mode != "set":
            value = self.combine("sum" if node.mode == "add" else node.mode, self.raw_load(buffer, at), value)
        b.emit(Store(buffer, at, value))
        if guard:
            b.close()

    # --- contractions ---------------------------------------------------------------------------------------------

    def contract(self, op: Op, c: Contraction) -> None:
        """The product goes to memory, or straight to the only place that wants it."""
        b = self.builder
        if op in self.split:
            self.product(op, c, *self.buffers[op], True)
            return
        if self.consumers[op] or len(op.effects) != 1:
            target, kept = self.buffers[op] = self.own_buffer(op)
            self.product(op, c, target, kept, False)
            for e in op.effects:
                place = self.place_buffer(e.place, op.node)
                if place is not target:
                    self.copy_out(op, e, target, kept)
            return
        effect = op.effects[0]
        place = self.place_buffer(effect.place, op.node)
        condition = self.presence(effect.place, place)
        if condition is not None:
            b.open_if(condition)
        if effect.mode == ACCUMULATE:
            b.open_if(self.set_flag())
            self.product(op, c, place, op.output_axes, False)
            b.close()
            b.open_if(b.apply("not_", (self.set_flag(),), bool_))
            if self.single_pass(op, c):
                self.product(op, c, place, op.output_axes, True)
            else:  # the sum is completed before it is added
                kept = self.kept_axes(op)
                target, kept = self.buffers[op] = (self.work_buffer(op, kept), kept)
                self.product(op, c, target, kept, False)
                self.copy_out(op, effect, target, kept)
            b.close()
        else:
            self.product(op, c, place, op.output_axes, False)
        if condition is not None:
            b.close()

    def single_pass(self, op: Op, c: Contraction) -> bool:
        """The kernel adds each sum to the result once: all terms fit in its registers' block, on one merged axis."""
        terms: Extent = 1
        for s in c.k:
            terms = terms * op.extent_of(s)
        return len(c.k) == 1 and not exceeds(terms, KERNEL_TERMS)

    def product(
        self, op: Op, c: Contraction, target: Buffer, kept: tuple[sympy.Symbol, ...], accumulate: bool
    ) -> None:
        """Calls of the matrix kernel: neighbouring axes are merged where all strides allow, others are looped over."""
        b = self.builder
        env = self.env(op)
        for s in op.loop_axes:
            if s not in env:
                env[s] = self.shifted(op, s)
        at = self.linear(target, self.local(op, target, tuple(env[s] for s in op.output_axes), kept))
        views = [self.view(c.a, env), self.view(c.b, env), (target, at)]
        chosen: dict[str, tuple[Extent, sympy.Symbol]] = {}
        looped: list[sympy.Symbol] = []
        for role, symbols in (("m", c.m), ("n", c.n), ("k", c.k)):
            extent, last, rest = self.merged(op, list(symbols), views)
            chosen[role] = (extent, last)
            looped += rest
        over_k = [s for s in looped if s in c.k]
        if over_k and not accumulate:
            zero = b.literal(sympy.S.Zero, op.node.dtype)
            self.fill(op, target, kept, tuple(s for s in kept if s in c.m or s in c.n), zero)
        bound = {s: b.open_loop(self.span(op, s)) for s in [*(s for s in looped if s not in c.k), *over_k]}
        views = [(buffer, sympy.sympify(at).xreplace(bound)) for buffer, at in views]
        operands = []
        for (buffer, at), roles_of in zip(views, ("mk", "kn", "mn"), strict=True):
            strides = tuple(as_extent(sympy.expand(at).coeff(chosen[r][1], 1)) for r in roles_of)
            operands.append(Operand(buffer, self.start(at, op), strides))  # type: ignore[arg-type]
        m, n, k = (chosen[r][0] for r in "mnk")
        limits = tuple(self.limit(e) for e in (m, n, k))
        adds = accumulate or bool(over_k)
        b.emit(Contract(op.node.dtype, m, n, k, operands[0], operands[1], operands[2], adds, limits))  # type: ignore[arg-type]
        for _ in bound:
            b.close()

    def view(self, read: ReadTerm, env: dict[sympy.Symbol, sympy.Expr]) -> tuple[Buffer, sympy.Expr]:
        """The memory of an operand and its element number; axes that are not looped over stay symbols."""
        index = tuple(substitute(e, env) for e in read.index)
        buffer = self.source_buffer(read.source)
        op = self.op_of.get(read.source)
        if op is not None and op.kind != SCATTER:
            index = self.local(op, buffer, index, self.buffers[op][1])
        return buffer, self.linear(buffer, index)

    def limit(self, extent: Extent) -> Extent:
        """The most that an extent inside a strip can be."""
        if isinstance(extent, int) or not self.open_strips:
            return extent
        rows = {self.strip_rows[s]: sympy.Integer(s.size) for s in self.open_strips if s in self.strip_rows}
        return as_extent(extent.xreplace(rows))

    def start(self, at: sympy.Expr, op: Op) -> Extent:
        return as_extent(sympy.sympify(at).xreplace(dict.fromkeys(op.loop_axes, sympy.S.Zero)))

    def merged(
        self, op: Op, symbols: list[sympy.Symbol], views: list[tuple[Buffer, sympy.Expr]]
    ) -> tuple[Extent, sympy.Symbol, list[sympy.Symbol]]:
        """One axis out of several neighbouring ones: its extent, the symbol whose stride it has, and the axes left."""
        extent, last = self.span(op, symbols[-1]), symbols[-1]
        left = symbols[:-1]
        while left:
            s = left[-1]
            for _, at in views:
                outer, inner = sympy.expand(at).coeff(s, 1), sympy.expand(at).coeff(last, 1)
                if sympy.expand(outer - inner * extent) != 0:
                    return extent, last, left
            extent = as_extent(extent * self.span(op, s))
            left = left[:-1]
        return extent, last, left

    # --- terms ----------------------------------------------------------------------------------------------------

    def full_env(self, op: Op) -> dict[sympy.Symbol, sympy.Expr]:
        return {**self.env(op), **self.term_symbols[op]}

    def terms(self, op: Op) -> Expr:
        """Creates the scalars of the op's terms for the current counters; the value of its root."""
        env = dict(self.env(op))
        values = self.evaluate(op.terms[: op.root + 1], env, index_terms(op))
        self.term_symbols = {op: {s: e for s, e in env.items() if s.name.startswith("term ")}}
        return values[op.root]

    def evaluate(self, terms: list[Term], env: dict[sympy.Symbol, sympy.Expr], wanted: dict[int, None]) -> list[Expr]:
        """Values of terms; `wanted` ones get a symbol in `env`, for index expressions."""
        values: list[Expr] = []
        for k, term in enumerate(terms):
            if isinstance(term, ReadTerm):
                values.append(self.read(term, env))
            elif isinstance(term, BodyTerm):
                values.append(self.body(term, [values[a] for a in term.args], env))
            else:
                values.append(self.guarded(term, values[term.value], env))
            if k in wanted and not values[-1].dtype.is_floating_point:
                env[term_symbol(k)] = self.builder.symbol_for(values[-1])
        return values

    def body(self, term: BodyTerm, args: list[Expr], env: dict[sympy.Symbol, sympy.Expr]) -> Expr:
        b = self.builder
        done: list[Expr] = []
        for s in term.recipe.steps:
            if s.op == "arg":
                done.append(args[s.payload])  # type: ignore[call-overload]
            elif s.op == "literal":
                done.append(b.literal(s.payload, s.dtype))  # type: ignore[arg-type]
            elif s.op == "index":
                inner = substitute(s.payload, term.where) if term.where else s.payload  # type: ignore[arg-type]
                done.append(b.index(sympy.sympify(substitute(inner, env)), int64))  # type: ignore[arg-type]
            else:
                done.append(b.apply(s.op, tuple(done[a] for a in s.args), s.dtype))
        return done[-1]

    def guarded(self, term: SelectTerm, value: Expr, env: dict[sympy.Symbol, sympy.Expr]) -> Expr:
        b = self.builder
        guard = tuple(c.substitute(env) for c in term.guard)
        return b.apply("select", (b.holds(guard, bool_), value, b.literal(term.fill, term.dtype)), term.dtype)

    def read(self, term: ReadTerm, env: dict[sympy.Symbol, sympy.Expr]) -> Expr:
        b = self.builder
        if term.source in self.given_values:
            return self.given_values[term.source]
        index = tuple(substitute(e, env) for e in term.index)
        guard = tuple(c.substitute(env) for c in term.guard)
        op = self.op_of.get(term.source)
        if op is not None and op in self.values:
            value = self.values[op]
            if not guard:
                return value
            return b.apply("select", (b.holds(guard, bool_), value, b.literal(term.fill, term.dtype)), term.dtype)
        if op is not None and op in self.forwarded and not guard:  # just computed, in this iteration
            scope, at, value = self.forwarded[op]
            if at == index and any(scope is s for s in b.scope.chain()):
                return value
        buffer = self.source_buffer(term.source)
        hoist = all(self.inside(i, e) for i, e in zip(index, term.source.shape, strict=True))
        if op is not None and op.kind != SCATTER:
            index = self.local(op, buffer, index, self.buffers[op][1])
        return b.load(buffer, self.linear(buffer, index), guard, term.fill if guard else sympy.S.Zero, hoist)

    def source_buffer(self, node: Node) -> Buffer:
        if node in self.procedure.given:
            return self.place_buffer(self.procedure.given[node], node)
        if isinstance(node, Constant):
            return self.constant_buffer(node)
        op = self.op_of[node]
        if op not in self.buffers:
            raise ScheduleError("a value is read before it is computed", where=repr(node))
        return self.buffers[op][0]

    def inside(self, index: sympy.Expr, extent: Extent) -> bool:
        """The index is in range wherever its symbols have values."""
        if index.is_Integer:
            return isinstance(extent, int) and 0 <= int(index) < extent
        known = self.builder.known.get(index)
        if known is not None:
            return same_extent(known, extent)
        entry = self.builder.symbols.get(index)
        return entry is not None and entry[1] is not None and same_extent(entry[1], extent)

    def linear(self, buffer: Buffer, index: tuple[sympy.Expr, ...]) -> sympy.Expr:
        return linear_index(buffer.shape, index)

    # --- data-dependent indices -------------------------------------------------------------------------------------

    def check_indices(self) -> None:
        """Before anything is written: every index that comes from given data is inside its tensor."""
        for op in self.paths:
            for check in op.checks:
                if check.early:
                    self.check(op, check)

    def check(self, op: Op, check: Check) -> None:
        if check.key in self.checked:
            return
        self.checked[check.key] = None
        b = self.builder
        conditions: list[Condition] = []
        for e, extent in zip(check.index, check.shape, strict=True):
            if term_numbers([e]):
                conditions += [Condition(GE, e), Condition(GE, sympy.sympify(extent) - 1 - e)]
        used = {s for c in (*conditions, *check.guard) for s in c.expr.free_symbols}
        axes = [s for s in op.loop_axes if s in used or any(_mentions(t, s) for t in check.terms)]
        env = {**op.fixed, **{s: b.open_loop(op.extent_of(s)) for s in axes}}
        self.evaluate(list(check.terms), env, dict.fromkeys(range(len(check.terms))))
        bad = b.apply("not_", (b.holds(tuple(c.substitute(env) for c in conditions), bool_),), bool_)
        if check.guard:
            bad = b.apply("and_", (b.holds(tuple(c.substitute(env) for c in check.guard), bool_), bad), bool_)
        b.open_if(bad)
        b.emit(Fail("GRADGEN_ERR_INDEX"))
        b.close()
        for _ in axes:
            b.close()


def _mentions(term: object, symbol: sympy.Symbol) -> bool:
    if isinstance(term, ReadTerm):
        return any(e.has(symbol) for e in term.index) or any(c.expr.has(symbol) for c in term.guard)
    if isinstance(term, SelectTerm):
        return any(c.expr.has(symbol) for c in term.guard)
    assert isinstance(term, BodyTerm)
    for s in term.recipe.steps:
        if s.op == "index" and substitute(s.payload, term.where).has(symbol):  # type: ignore[arg-type]
            return True
    return False


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
        found = sympy.expand(total) if not total.is_Symbol else total
        if len(_linear) > 100_000:
            _linear.clear()
        _linear[key] = found
    return found


__all__ = ["Emitter", "dtypes", "linear_index"]
