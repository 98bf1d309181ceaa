"""What all parts of emission share: the builder, where values live, and where the counters stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.graph import topological
from gradgen.ir.indexing import recombined
from gradgen.ir.nodes import Constant, Node
from gradgen.ir.symbols import Extent, as_extent
from gradgen.loops.procedure import ACCUMULATE, USERS, Place, Procedure
from gradgen.loops.reserved import is_identifier
from gradgen.loops.statements import ARGUMENT, CONSTANT, SAVED, WORK, Buffer, CVar, Expr, Load, Present, SetFlag
from gradgen.schedule.allowed import ScheduleOptions
from gradgen.schedule.bounds import positions
from gradgen.schedule.contraction import Contraction
from gradgen.schedule.fusion import whole_sources
from gradgen.schedule.inline import KERNEL, SCAN, SCATTER, Op
from gradgen.schedule.numbering import Scope
from gradgen.schedule.reductions import Accumulator
from gradgen.schedule.running import Running
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import Leaf, LoopNode, StripNode, Tree, paths
from gradgen.schedule.wanted import Places, is_optional, key_of


def spoken(procedure: Procedure) -> dict[Node, str]:
    """The variables of the user's function that hold values: of the nodes that a line makes, the last."""
    last: dict[tuple[str, int, str], Node] = {}
    if any(place.variable for place in procedure.where.values()):
        for node in topological([o.node for o in procedure.outputs]):
            place = procedure.where.get(node)
            if place is not None and place.variable and is_identifier(place.variable) and USERS not in place.variable:
                last[place.file, place.line, place.variable] = node
    return {node: variable for (_, _, variable), node in last.items() if not isinstance(node, Constant)}


@dataclass(frozen=True, slots=True)
class Row:
    """The stretch that a vector loop covers: its counter runs from `start` over at most `size` elements."""

    counter: CVar
    start: sympy.Expr
    size: Extent


class Base:
    """State of one emission; `values` are results held in locals, `buffers` those in memory with the axes they keep."""

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
        self.tests: dict[LoopNode | Leaf, Places] = {}
        self.buffers: dict[Op, tuple[Buffer, tuple[sympy.Symbol, ...]]] = {}
        self.values: dict[Op, Expr] = {}
        self.accumulators: dict[Op, Accumulator] = {}
        self.counters: dict[LoopNode, CVar] = {}
        self.assumed: Place | None = None  # the place that the nest being built was tested for
        self.row: Row | None = None  # of the vector loop being built
        self.forwarded: dict[Op, tuple[Scope, tuple[sympy.Expr, ...], Expr]] = {}
        self.inner_waste: list[tuple[tuple[str, DType], Buffer]] = []
        self.names: dict[Node, str] = {n: place.name for n, place in procedure.given.items()}
        self.called = spoken(procedure)
        self.last_lines: tuple[str, ...] = ()
        self.extra: list[Buffer] = []  # WORK that belongs to no op
        self.given_values: dict[Node, Expr] = {}
        self.tested: set[Op] = set()  # nests that stand behind a test for finite weights
        self.split: dict[Op, None] = {}  # contractions whose summed axis is cut into strips
        self.running: dict[Op, Running] = {}  # sums that grow from strip to strip in a gradient
        self.open_strips: dict[StripNode, CVar] = {}
        self.strip_rows: dict[StripNode, CVar] = {}
        self.strip_buffers: dict[Buffer, dict[sympy.Symbol, StripNode]] = {}
        self.strip_local: dict[Op, dict[sympy.Symbol, StripNode]] = {}
        self.layouts: dict[Buffer, tuple[Extent, ...]] = {}  # the extents that indices go by, where the shape says less
        self.wasted: dict[tuple[str, DType], Buffer] = {}
        self.widths: dict[Buffer, Extent] = {}  # elements of wasted rows
        self.checked: dict[tuple, list[Places | None]] = {}  # checks, and where they were made
        self.term_symbols: dict[Op, dict[sympy.Symbol, sympy.Expr]] = {}

    def fresh(self, op: Op, prefix: str) -> str:
        """A name for memory or a local that holds the op's result: after the user's, if there is one."""
        result = next((e.place.name for e in op.effects if e.place.space == ARGUMENT), None)
        user = self.called.get(op.node, result if not self.nested else None)
        return self.builder.fresh(prefix if user is None else f"{user}{USERS}")

    def sources(self, op: Op) -> list[Node]:
        return [*(t.source for t in op.reads), *whole_sources(op)]

    def place_buffer(self, place: Place, node: Node) -> Buffer:
        if place not in self.places:
            space = SAVED if place.space == "saved" else ARGUMENT
            given = node in self.procedure.given and self.procedure.given[node] == place
            self.places[place] = Buffer(place.name, node.dtype, node.shape, space, place, given=given, below=positions(node))
        return self.places[place]

    def work_buffer(self, op: Op, axes: tuple[sympy.Symbol, ...]) -> Buffer:
        name = self.fresh(op, "v")
        if op.kind == SCATTER:
            return Buffer(name, op.node.dtype, op.shape, WORK)
        strips = self.strip_local.get(op, {})
        shape = tuple(most_rows(strips[s]) if s in strips else op.extent_of(s) for s in axes)
        made = Buffer(name, op.node.dtype, shape, WORK, below=positions(op.node))
        self.strip_buffers[made] = strips
        if any(not isinstance(most_rows(strip), int) for strip in strips.values()):
            self.layouts[made] = tuple(self.rows(strips[s]) if s in strips else op.extent_of(s) for s in axes)
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
        if op.kind in (SCATTER, SCAN, KERNEL):  # written as a whole, axes of extent 1 included
            kept = op.axes[: len(op.shape)]
        everywhere = not self.strip_local.get(op) and all(s in kept or s in self.fixed[op] for s in op.output_axes)
        whole = op.kind == SCATTER or everywhere
        for e in op.effects:
            if whole and e.mode != ACCUMULATE and not e.place.optional and e.place.space == ARGUMENT:
                return self.place_buffer(e.place, op.node), op.output_axes
        return self.work_buffer(op, kept), kept

    def needs_memory(self, op: Op) -> bool:
        """A reader wants the value as a whole, whatever its shape."""
        return any(op.node in whole_sources(c) for c in self.consumers[op])

    def strip_of(self, op: Op, symbol: sympy.Symbol) -> StripNode | None:
        """The open strip loop over this axis of the op."""
        for node in self.open_strips:
            if node.binding.get(op) is symbol:
                return node
        return None

    def rows(self, strip: StripNode) -> Extent:
        return self.strip_rows.get(strip, strip.size)

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
        """The components of a whole index that the op's memory has; inside a strip they count from its start."""
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

    def span(self, op: Op, symbol: sympy.Symbol) -> Extent:
        """The extent of an axis inside the open strips."""
        strip = self.strip_of(op, symbol)
        return op.extent_of(symbol) if strip is None else self.rows(strip)

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

    def is_outermost(self, op: Op, node: LoopNode) -> bool:
        for loop in self.paths[op]:
            if op in loop.binding and loop.binding[op] in op.reduced_axes:
                return loop is node
        return False

    def presence(self, place: Place, target: Buffer) -> Expr | None:
        if not is_optional(place) or key_of(place) == self.assumed:
            return None
        key = ("present", key_of(place))
        b = self.builder
        found = b.root.values.get(key)
        found = found or b.place(key, b.root, Present(bool_, target))
        b.hint(found, "wants_saved" if target.space == SAVED else f"wants_{target.name}")
        return found

    def set_flag(self) -> Expr:
        b = self.builder
        found = b.root.values.get(("set flag",))
        found = found or b.place(("set flag",), b.root, SetFlag(bool_))
        b.hint(found, "sets")
        return found

    def raw_load(self, buffer: Buffer, index: sympy.Expr) -> Expr:
        """A load of memory that this nest also writes: never remembered."""
        b = self.builder
        return b.place(("raw", len(b.home)), b.scope, Load(buffer.dtype, buffer, index))

    def linear(self, buffer: Buffer, index: tuple[sympy.Expr, ...]) -> sympy.Expr:
        return linear_index(self.layouts.get(buffer, buffer.shape), index)


def most_rows(strip: StripNode) -> Extent:
    """The rows of the longest strip."""
    return strip.size if isinstance(strip.extent, int) else _least(strip.size, strip.extent)


@cache
def _least(size: int, extent: sympy.Expr) -> Extent:
    return as_extent(sympy.Min(size, extent))


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
