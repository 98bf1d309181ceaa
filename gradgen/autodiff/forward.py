"""Forward mode: the Jacobian-vector product as a graph, the same partials with the arrow turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from gradgen.autodiff import kernel_rules, scattered
from gradgen.autodiff.bodies import add, compute, partial
from gradgen.autodiff.liveness import guarded, of_items, only_alive, repeated, settled
from gradgen.autodiff.products import product_partials
from gradgen.autodiff.recurrences import tangent_scan
from gradgen.autodiff.reverse import expanded
from gradgen.ir.functions import div, eq, retold, scaled, select
from gradgen.ir.graph import topological
from gradgen.ir.nodes import Compute, Kernel, Node, Read, Scan, Scatter, identity_read
from gradgen.ir.scalar_table import NoDerivative
from gradgen.ir.symbols import (
    COTANGENT,
    LIVENESS,
    OUTPUT,
    axes,
    is_nothing,
    placeholder,
    placeholder_place,
    reduce_axes,
)


def tangents(outputs: Sequence[Node], seeds: Mapping[Node, Node]) -> list[Node | None]:
    """For each output the node sum_x d output / d x * seeds[x]; None where it is a structural zero.

    `seeds` maps nodes (inputs, usually) to tangents of the same shape and dtype.
    """
    return [moved for moved, _ in tangents_alive(outputs, seeds, {})]


def tangents_alive(
    outputs: Sequence[Node], seeds: Mapping[Node, Node], lives: Mapping[Node, Node]
) -> list[tuple[Node | None, Node | None]]:
    """As `tangents`, with the liveness of each (see `liveness`): a seed that is 0 where `lives` is 0 counts for nothing,
    whatever it is multiplied with."""
    sweep = _Sweep(seeds, lives)
    for node in topological(outputs):
        if node in sweep.dot or not node.dtype.is_floating_point or not any(s in sweep.dot for s in node.sources):
            continue
        found = sweep.push(node)
        if found is not None:
            sweep.dot[node], sweep.live[node] = found
    return [(sweep.dot.get(n), sweep.live.get(n)) for n in outputs]


Moved = tuple[Node, Node | None]
"""A tangent and its liveness."""


class _Sweep:
    def __init__(self, seeds: Mapping[Node, Node], lives: Mapping[Node, Node]) -> None:
        self.dot: dict[Node, Node] = dict(seeds)
        self.live: dict[Node, Node | None] = dict(lives)

    def push(self, node: Node) -> Moved | None:
        match node:
            case Compute(reducer=None | "sum"):
                return self.compute(node)
            case Compute(reducer="max" | "min"):
                return self.extremum(node)
            case Compute(reducer="prod"):
                return self.product(node)
            case Scatter(mode="add" | "set"):
                return self.scatter(node)
            case Scatter():
                moved = self.compute(scattered.updates(node))
                found = scattered.tangent(node, self.dot, moved and moved[0])
                return None if found is None else (found, None)
            case Scan():
                return tangent_scan(node, self.dot, self.live, tangents_alive)
            case Kernel():
                return self.kernel(node)
        raise NoDerivative(f"gradgen has no forward-mode derivative of {node!r}")

    def linear(self, node: Compute | Scatter, pointwise: bool) -> tuple[sympy.Expr, list[Read], list[Read] | None] | None:
        """sum_k tangent_k * d body / d a_k with the reads it needs, and the reads of their livenesses (None: all alive)."""
        reads = list(node.reads)
        alive: list[Read] | None = []
        total: sympy.Expr = sympy.Integer(0)
        for k, read in enumerate(node.reads):
            rule = partial(node.body, k, pointwise) if read.source in self.dot else sympy.Integer(0)
            if rule == 0:
                continue
            term = scaled(COTANGENT, rule)
            mapping = {COTANGENT: placeholder(len(reads))}
            reads.append(Read(self.dot[read.source], read.index, read.guard, read.fill if is_nothing(read.fill) else 0))
            live = self.live.get(read.source)
            if live is None:
                alive = None
            else:
                if alive is not None:
                    alive.append(Read(live, read.index, read.guard, 0))
                term = guarded(term)
                if LIVENESS in term.free_symbols:
                    mapping[LIVENESS] = placeholder(len(reads))
                    reads.append(Read(live, read.index, read.guard, 0))
            total = total + term.xreplace(mapping)
        if total == 0:
            return None
        if OUTPUT in total.free_symbols:
            total = total.xreplace({OUTPUT: placeholder(len(reads))})
            reads.append(identity_read(node))
        return total, reads, alive

    def retold(self, node: Compute) -> Moved | None:
        """retold(x, y, z) moves as z does, and in reverse mode its tangent is that of y."""
        sources = [node.reads[placeholder_place(e)] if e.is_Symbol else None for e in node.body.args[1:]]
        of_history, moved = (r if r is not None and r.source in self.dot else None for r in sources)
        if of_history is None and moved is None:
            return None
        reads = [Read(self.dot[r.source], r.index) for r in (of_history, moved) if r is not None]
        history = placeholder(0) if of_history is not None else sympy.Integer(0)
        value = placeholder(len(reads) - 1) if moved is not None else sympy.Integer(0)
        live = self.live.get(moved.source) if moved is not None and of_history in (None, moved) else None
        return Compute(node.shape, retold(value, history, value), reads, node.dtype), live

    def compute(self, node: Compute) -> Moved | None:
        if isinstance(node.body, retold):
            return self.retold(node)
        found = self.linear(node, not node.reduce_shape)
        if found is None:
            return None
        body, reads, alive = found
        live = None if alive is None else _together(node, alive)
        return compute(node.shape, body, reads, node.dtype, node.reduce_shape, node.reducer), live

    def extremum(self, node: Compute) -> Moved | None:
        values = expanded(node)
        found = self.compute(values)
        if found is None:
            return None
        moved, live = found
        n, m = len(node.shape), len(node.reduce_shape)
        inner = (*axes(n), *reduce_axes(m))
        a0, a1, a2 = (placeholder(k) for k in range(3))
        reads = [Read(values, inner), identity_read(node)]
        hit = select(eq(a0, a1), 1, 0)
        count = Compute(node.shape, hit, reads, node.dtype, reduce_shape=node.reduce_shape, reducer="sum")
        total = Compute(node.shape, select(eq(a0, a1), a2, 0), [*reads, Read(moved, inner)], node.dtype,
                        reduce_shape=node.reduce_shape, reducer="sum")
        share = Compute(node.shape, div(a0, a1), [identity_read(total), identity_read(count)], node.dtype)
        return share, None if live is None else of_items(live, n)

    def product(self, node: Compute) -> Moved | None:
        """Through the gradient of the product, which is zero-aware."""
        values = expanded(node)
        found = self.compute(values)
        if found is None:
            return None
        moved, live = found
        n, m = len(node.shape), len(node.reduce_shape)
        others = product_partials(node, values)
        term: Node = Compute(values.shape, placeholder(0) * placeholder(1),
                             [identity_read(others), identity_read(moved)], node.dtype)
        if live is not None:
            term = only_alive(term, live)
        total = Compute(node.shape, placeholder(0), [Read(term, (*axes(n), *reduce_axes(m)))], node.dtype,
                        reduce_shape=node.reduce_shape, reducer="sum")
        return total, None if live is None else of_items(live, n)

    def scatter(self, node: Scatter) -> Moved | None:
        found = self.linear(node, False)
        base = self.dot.get(node.base) if node.base is not None else None
        if found is None and base is None:
            return None
        body, reads, alive = found or (sympy.Integer(0), list(node.reads), [])

        def into(start: Node | None, body: sympy.Expr, reads: Sequence[Read]) -> Scatter:
            return Scatter(node.shape, start, node.update_shape, node.index, body, reads, node.dtype, mode=node.mode,
                           guard=node.guard)

        live = None
        of_base = self.live.get(node.base) if base is not None and node.base is not None else None
        if alive is not None and (base is None or of_base is not None):
            first = len(node.reads)
            ones = sympy.Add(*(placeholder(first + k) for k in range(len(alive))))
            live = into(of_base, ones, [*node.reads, *alive])
        return into(base, body, reads), live

    def kernel(self, node: Kernel) -> Moved | None:
        """An item (a matrix) is alive where something of it is."""
        found = kernel_rules.push(node, self.dot, tangents)
        lives = [self.live.get(n) for n in node.operands if n in self.dot]
        if found is None or None in lives:
            return None if found is None else (found, None)
        total: Node | None = None
        for live in lives:
            assert live is not None
            total = add(total, of_items(live, node.operands[0].ndim - 2))
        assert total is not None
        return only_alive(found, total), repeated(total, found)


def _together(node: Compute, alive: Sequence[Read]) -> Node | None:
    """The liveness of a sum of terms with these."""
    first = alive[0]
    if len(alive) == 1 and not node.reduce_shape and not first.guard and first.index == axes(len(node.shape)):
        return first.source
    body = sympy.Add(*(placeholder(len(node.reads) + k) for k in range(len(alive))))
    return settled(compute(node.shape, body, [*node.reads, *alive], node.dtype, node.reduce_shape, node.reducer))
