"""Loop fusion: ops over a common axis share its loop, level by level from the outside in.

At each level the ops, in dependence order, are dealt into groups.  An op may join the loop of a group when everything
it reads from the group is finished at the same iteration: the producer's looped axis is one of its output axes, and
the reader indexes it by its own looped axis alone.  So row reductions and row maps end up in one loop over rows, a loss
and its whole gradient in one pass, and a reduction over the looped axis closes the loop for its readers.
(The classical formulation: Kennedy & McKinley, Maximizing Loop Parallelism and Improving Data Locality via Loop Fusion
and Distribution, LCPC 1993; here greedy, since a program has thousands of nodes.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

import sympy

from gradgen.ir.nodes import Node
from gradgen.ir.scalar_table import is_costly
from gradgen.ir.symbols import NEGATIVE_ZERO, Extent, same_extent
from gradgen.loops.procedure import Procedure
from gradgen.schedule.allowed import ScheduleOptions
from gradgen.schedule.contraction import Contraction, contraction
from gradgen.schedule.inline import ARG, KERNEL, MAP, REDUCE, SCAN, SCATTER, BodyTerm, Op, ReadTerm
from gradgen.schedule.reductions import is_float_sum
from gradgen.schedule.tree import Leaf, LoopNode, StripNode, Tree, separate
from gradgen.schedule.unfold import overlaps

MANY = 64  # what a named dimension counts as
LEAST, LEAST_PRODUCT = 4, 1 << 15  # extents and multiplications of a product that is worth a call of its own
WINDOW = 12  # how many groups back an op may look for company: keeps the pass linear


@dataclass(eq=False)
class Group:
    """Ops that run together: in a loop of `extent`, or (extent None) a single op without loops here."""

    extent: Extent | None
    binding: dict[Op, sympy.Symbol] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    strips: bool = False  # the loop goes over strips of its axis
    depth: int = 0  # the most loops that an op here has, matrix products apart


class Fusion:
    """Builds the loop tree of a procedure's ops."""

    def __init__(self, ops: list[Op], options: ScheduleOptions, procedure: Procedure, rows: bool = False) -> None:
        """`rows`: products of one row with a packed matrix are for the kernel too."""
        self.ops, self.options = ops, options
        self.strip = options.costs.strip
        self.maybe_absent = {n: None for n, place in procedure.given.items() if place.optional}
        self.op_of: dict[Node, Op] = {}
        for op in ops:
            self.op_of.setdefault(op.node, op)
        self.contractions: dict[Op, Contraction] = {}
        if options.has("contraction"):
            for op in ops:
                found = contraction(op, options.costs, rows)
                if found is not None and not {found.a.source, found.b.source} & self.maybe_absent.keys():
                    self.contractions[op] = found
        self.looped = {op: self.loopable(op) for op in self.contractions}
        self.readers: dict[Op, list[Op]] = {op: [] for op in ops}
        self.reads: dict[Op, list[tuple[Op, tuple[sympy.Expr, ...]]]] = {op: self.op_reads(op) for op in ops}
        self.note_readers()

    def note_readers(self) -> None:
        for op, found in self.reads.items():
            for p, _ in found:
                self.readers[p].append(op)

    def op_reads(self, op: Op) -> list[tuple[Op, tuple[sympy.Expr, ...]]]:
        """The ops this one reads, with the index; an empty index where it needs the whole value."""
        found = []
        for t in op.reads:
            p = self.op_of.get(t.source)
            if p is not None and p is not op:
                found.append((p, t.index))
        for source in whole_sources(op):
            p = self.op_of.get(source)
            if p is not None and p is not op:
                found.append((p, ()))
        return found

    def tree(self) -> Tree:
        if not self.options.has("fusion"):
            return self.apart()
        return self.level(self.ops, {op: self.loop_order(op) for op in self.ops}, self.options.has("strips"))

    def apart(self) -> Tree:
        """Every op on its own."""
        tree: Tree = []
        for op in self.ops:
            node: LoopNode | Leaf = Leaf(op)
            for symbol in reversed(self.loop_order(op)):
                node = LoopNode(op.extent_of(symbol), {op: symbol}, [node])
            tree.append(node)
        return tree

    def loop_order(self, op: Op) -> tuple[sympy.Symbol, ...]:
        """The axes to loop over, outermost first: in the order of the reads, so that strides shrink inwards."""
        if op.kind in (SCAN, KERNEL):
            return ()
        if op in self.contractions:
            return self.contractions[op].batch
        if op.kind != REDUCE or not self.options.has("order"):
            return op.loop_axes
        reads = [mentioned(t, op) for t in op.reads]
        order: list[sympy.Symbol] = []
        for read in sorted(reads, key=lambda r: -len(r)):  # stable: the widest first
            for k, s in enumerate(read):
                if s not in order:
                    after = [order.index(t) for t in read[k + 1 :] if t in order]
                    order.insert(min(after, default=len(order)), s)
        unread = [s for s in op.loop_axes if s not in order]
        return (*(s for s in unread if s in op.output_axes), *order, *(s for s in unread if s in op.reduced_axes))

    # --- one level ------------------------------------------------------------------------------------------------

    def level(self, ops: list[Op], remaining: dict[Op, tuple[sympy.Symbol, ...]], outermost: bool = False) -> Tree:
        groups: list[Group] = []
        before: dict[int, list[Op]] = {}  # scalars, as early as what they read allows
        at: dict[Op, int] = {}
        for op in ops:
            producers = [(p, index) for p, index in self.reads[op] if p in at]
            low = 0
            after = max((at[p] + 1 for p, _ in producers), default=0)
            for p, index in producers:
                joins = at[p] >= 0 and self.aligned(op, p, index, groups[at[p]])
                low = max(low, at[p] + (0 if joins else 1))
            axes = remaining[op]
            if op.kind == MAP and not axes and op not in self.contractions:  # no loop to join: behind all that it reads
                before.setdefault(after, []).append(op)
                at[op] = after - 1
                continue
            if op in self.contractions and not axes:
                axes = (*(self.strip_axes(op) if outermost else ()), *self.looped[op])
            elif op in self.contractions and outermost:
                loops = (*self.looped[op], *axes)
                axes = (*loops, *(s for s in self.strip_axes(op) if s not in loops))
            where = self.find(op, groups, max(low, len(groups) - WINDOW), axes, producers, at)
            if where is not None and self.better_early(op, groups[where], [p for p, _ in producers if at[p] == where]):
                before.setdefault(after, []).append(op)
                del groups[where].binding[op]
                at[op] = after - 1
                continue
            if where is None and self.prepares(op):
                before.setdefault(after, []).append(op)
                at[op] = after - 1
                continue
            if where is None:
                where = len(groups)
                axes = axes[:1] if not self.starts_none(op, axes[:1]) else remaining[op]
                groups.append(Group(op.extent_of(axes[0]) if axes else None))
                if axes:
                    groups[-1].binding[op] = axes[0]
            groups[where].ops.append(op)
            if op not in self.contractions:
                groups[where].depth = max(groups[where].depth, len(op.loop_axes))
            at[op] = where
            if outermost and self.wants_strips(op, groups[where]):
                groups[where].strips = True
        tree: Tree = []
        for k in range(len(groups) + 1):
            tree += [self.alone(op, remaining[op]) for op in before.get(k, ())]
            if k < len(groups):
                tree.append(self.node(groups[k], remaining))
        return tree

    def alone(self, op: Op, axes: tuple[sympy.Symbol, ...]) -> LoopNode | Leaf:
        """The op in loops of its own."""
        node: LoopNode | Leaf = Leaf(op)
        for symbol in reversed(axes):
            node = LoopNode(op.extent_of(symbol), {op: symbol}, [node])
        return node

    def better_early(self, op: Op, group: Group, producers: list[Op]) -> bool:
        """A short reduction to a number, such as a count, runs before the deep loops that may be waiting for it."""
        if op.kind != REDUCE or len(op.loop_axes) != 1 or any(e != 1 for e in op.shape) or producers:
            return False
        return any(len(o.loop_axes) > 1 for o in group.ops)

    def prepares(self, op: Op) -> bool:
        """An array that only contractions read, and none of them in a loop over an axis of it: it is made as early as
        can be, so that they join the loop of their other operand."""
        readers = dict.fromkeys(self.readers[op])
        if op.kind != MAP or op.effects or not readers or not all(r in self.contractions for r in readers):
            return False
        return not any(i in self.joinable(r) for r in readers for p, index in self.reads[r] if p is op for i in index)

    def joinable(self, op: Op) -> tuple[sympy.Symbol, ...]:
        return (*self.contractions[op].batch, *self.looped[op], *self.strip_axes(op))

    def starts_none(self, op: Op, axes: tuple[sympy.Symbol, ...]) -> bool:
        """A contraction starts no strips over its summed axis, and no loop for the sake of an operand that is made
        elsewhere: it joins those of others."""
        return op in self.contractions and any(s in op.reduced_axes or s in self.looped[op] for s in axes)

    def loopable(self, op: Op) -> tuple[sympy.Symbol, ...]:
        """Axes that a contraction may loop over together with what makes a large operand, which then never leaves the
        cache: the product that is left at each step is still worth a call."""
        c = self.contractions[op]
        found: dict[sympy.Symbol, None] = {}
        shared = self.options.costs.shared_bytes
        for read in (c.a, c.b):
            s = read.index[0] if read.index else None
            if read.source not in self.op_of or count(read.source.shape) * read.source.dtype.itemsize <= shared:
                continue
            for role in (c.m, c.n, c.k):
                if s not in role:
                    continue
                left = [count(op.extent_of(t) for t in r if t is not s) for r in (c.m, c.n, c.k)]
                if min(left) >= LEAST and prod(left) >= LEAST_PRODUCT:
                    found[s] = None
        return tuple(found)

    def strip_axes(self, op: Op) -> tuple[sympy.Symbol, ...]:
        """The long axes of a contraction, over which it can run strip by strip."""
        if op not in self.contractions:
            return ()
        return tuple(s for s in op.loop_axes if self.is_long(op.extent_of(s)))

    def is_long(self, extent: Extent) -> bool:
        """Worth cutting into strips."""
        return not isinstance(extent, int) or extent >= 3 * self.strip

    def wants_strips(self, op: Op, group: Group) -> bool:
        """A contraction works on strips; a long sum into an array does so to be a sum of partial sums."""
        if group.extent is None or not self.is_long(group.extent):
            return False
        symbol = group.binding[op]
        if op in self.contractions:
            return symbol not in (*self.contractions[op].batch, *self.looped[op])
        return is_float_sum(op) and symbol in op.reduced_axes and bool(op.output_axes)

    def node(self, group: Group, remaining: dict[Op, tuple[sympy.Symbol, ...]]) -> LoopNode | Leaf:
        if group.extent is None:
            return Leaf(group.ops[0])
        if group.strips:
            return StripNode(group.extent, group.binding, self.level(group.ops, remaining), self.strip)
        inner = {op: tuple(s for s in remaining[op] if s is not group.binding[op]) for op in group.ops}
        self.looped.update({op: () for op in group.ops if op in self.looped})  # one such loop is enough
        return LoopNode(group.extent, group.binding, self.level(group.ops, inner))

    def aligned(self, op: Op, producer: Op, index: tuple[sympy.Expr, ...], group: Group) -> bool:
        """Each iteration of the group's loop finishes what `op` reads of `producer` at that iteration."""
        symbol = group.binding.get(producer)
        if symbol is None or producer.kind == SCATTER or symbol not in producer.output_axes or not index:
            return False
        if any(not c.early for c in op.checks):
            return False
        return index[producer.output_axes.index(symbol)] in op.loop_axes

    def find(
        self, op: Op, groups: list[Group], low: int, axes: tuple[sympy.Symbol, ...],
        producers: list[tuple[Op, tuple[sympy.Expr, ...]]], at: dict[Op, int],
    ) -> int | None:
        """The first group from `low` on whose loop the op can join; records the axis it brings."""
        if not axes:
            return None
        for k in range(low, len(groups)):
            group = groups[k]
            if group.extent is None:
                continue
            symbol = self.joining_axis(op, group, axes, [(p, i) for p, i in producers if at[p] == k])
            if symbol is not None:
                group.binding[op] = symbol
                return k
        return None

    def joining_axis(
        self, op: Op, group: Group, axes: tuple[sympy.Symbol, ...], producers: list[tuple[Op, tuple[sympy.Expr, ...]]]
    ) -> sympy.Symbol | None:
        assert group.extent is not None
        if self.better_apart(op, group, axes):
            return None
        if not producers and any(finite_weights(o) is not None for o in (op, *group.ops)):
            return None  # a nest of one sum can stand twice, with guards and without
        found: dict[sympy.Symbol, None] = {}
        for p, index in producers:
            if not self.aligned(op, p, index, group):
                return None
            found[index[p.output_axes.index(group.binding[p])]] = None
        if len(found) > 1:
            return None
        candidates = list(found) if found else self.preferred(op, group, axes)
        if op in self.contractions and not found:  # no operand is made here that it should meet in the cache
            candidates = [s for s in candidates if s not in self.looped[op]]
        for symbol in candidates:
            if len(axes) > 1 and symbol is axes[-1] and op not in self.contractions:
                continue  # the axis of unit stride stays innermost
            if symbol in axes and same_extent(op.extent_of(symbol), group.extent) and self.allowed(op, symbol, axes):
                return symbol
        return None

    def better_apart(self, op: Op, group: Group, axes: tuple[sympy.Symbol, ...]) -> bool:
        """An expensive function beside inner loops would run one value at a time; in a loop of its own it is a vector.

        Only where that costs a short row of memory, and nothing in the group's inner loops waits for the value.
        """
        extent = op.extent_of(axes[-1])
        if op.kind != MAP or len(axes) != 1 or not isinstance(extent, int) or not self.options.costs.apart(extent):
            return False
        if not any(isinstance(t, BodyTerm) and any(is_costly(s.op) for s in t.recipe.steps) for t in op.terms):
            return False
        return group.depth > len(op.loop_axes) and not any(len(r.loop_axes) > len(op.loop_axes) for r in self.readers[op])

    def preferred(self, op: Op, group: Group, axes: tuple[sympy.Symbol, ...]) -> list[sympy.Symbol]:
        """Without a producer in the group: the axis by which both read a common tensor, else the outermost."""
        mine = {t.source: t.index for t in op.reads}
        found: dict[sympy.Symbol, None] = {}
        for other in group.ops[-4:]:
            for t in other.reads:
                index = mine.get(t.source)
                if index is None:
                    continue
                for a, b in zip(index, t.index, strict=True):
                    if b is group.binding[other] and a.is_Symbol:
                        found[a] = None
        return [*found, axes[0]]

    def allowed(self, op: Op, symbol: sympy.Symbol, axes: tuple[sympy.Symbol, ...]) -> bool:
        """An argmax keeps its state in locals: all output axes are looped over before the reduced one."""
        if op.kind == ARG and symbol in op.reduced_axes:
            return not any(s in op.output_axes for s in axes)
        if op in self.contractions:
            return symbol in axes
        return True


def finite_weights(op: Op) -> ReadTerm | None:
    """What a sum of products reads under a guard only because it may not be finite: `unfold` marks it."""
    if op.kind != REDUCE or len(op.terms) != 3:
        return None
    return next((t for t in op.reads if t.guard and t.fill is NEGATIVE_ZERO), None)


def count(extents: Iterable[Extent]) -> int:
    """Elements; a named dimension counts as many."""
    return prod(e if isinstance(e, int) else MANY for e in extents)


def mentioned(read: ReadTerm, op: Op) -> list[sympy.Symbol]:
    """The op's axes in the order in which the index has them; of those of a window the longest is the last."""
    found: list[sympy.Symbol] = []
    for e in read.index:
        own = sorted((s for s in e.free_symbols if s in op.loop_axes), key=op.loop_axes.index)
        if len(own) > 1 and overlaps(e, {s: op.extent_of(s) for s in own}):
            own.sort(key=lambda s: count((op.extent_of(s),)))
        for s in own:
            if s not in found:
                found.append(s)
    return found


def whole_sources(op: Op) -> list[Node]:
    """Operands that must be complete and in memory before the op runs."""
    node = op.node
    if op.kind == SCATTER:
        base = getattr(node, "base", None)
        return [base] if base is not None else []
    return list(node.sources) if op.kind in (SCAN, KERNEL) else []


__all__ = ["Fusion", "separate", "whole_sources"]
