"""Windows as matrices: an operand of a product read through a window, a guard or a split index is laid out first.

A convolution is a sum of products whose axes separate into rows, columns and summed ones, but the strides of a window
overlap and its guard is no stride at all.  Written out once (image to columns, Chellapilla, Puri & Simard 2006) it is a
plain matrix for the kernel, and every element of it serves all rows.  The layout depends only on which axes the read
mentions, so that the forward pass and the gradient of the weights share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy

from gradgen.ir.graph import topological_until
from gradgen.ir.guards import Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.rewrite import with_sources
from gradgen.ir.symbols import Axis, Extent, Placeholder, ReduceAxis, axes, placeholder, reduce_axes
from gradgen.schedule.procedure import Procedure

Symbol = Axis | ReduceAxis
SMALLEST_PRODUCT = 1 << 14  # multiplications below which plain loops are as quick
LONG_SUM = 128  # terms for which one call of the kernel is long enough
LEAST_REUSE = 4  # how often each element that is laid out is used


def unfold(procedure: Procedure) -> tuple[Procedure, frozenset[Node]]:
    """The procedure with such operands laid out, and the nodes that must be memory."""
    given = set(procedure.given)
    laid: dict[Node, None] = {}
    new: dict[Node, Node] = {n: n for n in given}
    where = dict(procedure.where)
    for node in topological_until(tuple(o.node for o in procedure.outputs), given):
        if node in new:
            continue
        made = with_sources(node, new) if node.sources else node
        if isinstance(made, Compute):
            made = _product(made, laid)
        new[node] = made
        if node in where:
            for n in (made, *(s for s in made.sources if s in laid)):
                where.setdefault(n, where[node])
    if not laid and all(new[o.node] is o.node for o in procedure.outputs):
        return procedure, frozenset()
    outputs = tuple(replace(o, node=new[o.node]) for o in procedure.outputs)
    return replace(procedure, outputs=outputs, where=where), frozenset(laid)


def _product(node: Compute, laid: dict[Node, None]) -> Compute:
    if node.reducer != "sum" or node.body != placeholder(0) * placeholder(1) or len(node.reads) != 2:
        return node
    if not node.dtype.is_floating_point or any(r.dtype is not node.dtype for r in node.reads):
        return node
    first, second = node.reads
    pair = (_bare(first, second), _bare(second, first))
    extents = dict(zip((*axes(node.ndim), *reduce_axes(len(node.reduce_shape))), (*node.shape, *node.reduce_shape)))
    mentioned = [_symbols(r) for r in pair]
    if any(m is None for m in mentioned) or not any(_is_window(r) for r in pair) or not _separates(mentioned, extents):
        return node
    reads, order = list(pair), None
    for k, read in enumerate(pair):
        own, other = mentioned[k], mentioned[1 - k]
        assert own is not None and other is not None
        if _is_window(read):
            if not _pays(own, extents):
                return node
            order = _order(read, own, other, extents) if order is None else _like(order, own)
            reads[k] = _laid_out(read, order, extents, laid)
    assert order is not None
    for k, read in enumerate(pair):
        own = mentioned[k]
        assert own is not None
        summed = [s for s in order if isinstance(s, ReduceAxis)]
        if not _is_window(read) and not _neighbours(read, summed, extents) and _pays(own, extents):
            reads[k] = _laid_out(read, _like(order, own), extents, laid)
    return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer="sum")


def _like(order: list[Symbol], own: dict[Symbol, None]) -> list[Symbol]:
    """The axes of the other factor: its own first, then the summed ones in the order they have in this one."""
    summed = [s for s in order if isinstance(s, ReduceAxis) and s in own]
    return [*(s for s in own if s not in summed), *summed]


def _neighbours(read: Read, summed: list[Symbol], extents: Mapping[Symbol, Extent]) -> bool:
    """True where the source has the last of the summed axes next to each other and in this order, and enough of them for
    a long sum: the kernel takes them as one axis."""
    place = {s: k for k, e in enumerate(read.index) for s in summed if e == s}
    run: list[Symbol] = []
    for s in reversed(summed):
        if s not in place or (run and place[run[-1]] != place[s] + 1):
            break
        run.append(s)
    return len(run) == len(summed) or _count(run, extents) >= LONG_SUM


def _bare(read: Read, other: Read) -> Read:
    """Without a guard that the other factor has too: where it fails that one is 0, and the index alone stays inside."""
    if not read.guard or read.fill != 0 or other.fill != 0 or not set(read.guard) <= set(other.guard):
        return read
    plain = all(isinstance(e, (Axis, ReduceAxis)) or e.is_Integer for e in read.index)
    return Read(read.source, read.index) if plain else read


def _symbols(read: Read) -> dict[Symbol, None] | None:
    """The axes that the read mentions, None where its index depends on data."""
    found: dict[Symbol, None] = {}
    for e in (*read.index, *(c.expr for c in read.guard)):
        for s in sorted(e.free_symbols, key=lambda s: s.name):
            if isinstance(s, (Axis, ReduceAxis)):
                found[s] = None
            elif isinstance(s, Placeholder):
                return None
    return found


def _is_window(read: Read) -> bool:
    """A guard, an index of several axes, or a split one."""
    if read.guard:
        return True
    for e in read.index:
        if e.has(quotient, modulo):
            return True
        if sum(1 for s in e.free_symbols if isinstance(s, (Axis, ReduceAxis))) > 1:
            return True
    return False


def _separates(mentioned: list[dict[Symbol, None] | None], extents: Mapping[Symbol, Extent]) -> bool:
    """Every summed axis in both factors, every other one in one of them at least."""
    a, b = mentioned
    assert a is not None and b is not None
    for s, extent in extents.items():
        if isinstance(extent, int) and extent == 1:
            continue
        if isinstance(s, ReduceAxis) and not (s in a and s in b):
            return False
        if s not in a and s not in b:
            return False
    return True


def _count(symbols: list[Symbol], extents: Mapping[Symbol, Extent]) -> int:
    """Elements; a named dimension counts as many."""
    total = 1
    for s in symbols:
        extent = extents[s]
        total *= extent if isinstance(extent, int) else 64
    return total


def _pays(own: dict[Symbol, None], extents: Mapping[Symbol, Extent]) -> bool:
    reuse = _count([s for s in extents if s not in own], extents)
    return reuse >= LEAST_REUSE and _count(list(own), extents) * reuse >= SMALLEST_PRODUCT


def _laid_out(read: Read, order: list[Symbol], extents: Mapping[Symbol, Extent], laid: dict[Node, None]) -> Read:
    """A read of the operand written out with its axes in this order."""
    mapping: dict[sympy.Expr, sympy.Expr] = dict(zip(order, axes(len(order))))
    index = [e.xreplace(mapping) for e in read.index]
    guard: Guard = tuple(c.substitute(mapping) for c in read.guard)
    shape = tuple(extents[s] for s in order)
    matrix = Compute(shape, placeholder(0), [Read(read.source, index, guard, read.fill)], read.dtype)
    laid[matrix] = None
    return Read(matrix, order)


def _order(
    read: Read, own: dict[Symbol, None], other: dict[Symbol, None], extents: Mapping[Symbol, Extent]
) -> list[Symbol]:
    """The first axis of the source by itself, then the shared and the unshared axes; last the group that the fastest
    axis of the source belongs to, so that rows are copied and not columns."""
    order = _by_source(read, own)
    leading = order[:1] if _is_leading(read, order) else []
    rest = [s for s in order if s not in leading]
    shared = [s for s in rest if s in other]
    alone = [s for s in rest if s not in other]
    inner = [s for s in rest if read.index and s in read.index[-1].free_symbols]
    fastest = max(inner, key=lambda s: _size(extents[s])) if inner else None
    first, last = (alone, shared) if fastest in shared else (shared, alone)
    return [*leading, *first, *last]


def _is_leading(read: Read, order: list[Symbol]) -> bool:
    return bool(read.index) and bool(order) and read.index[0] == order[0]


def _by_source(read: Read, own: dict[Symbol, None]) -> list[Symbol]:
    """Axes in the order of the source's axes, within one of them by the kind of index they have there."""
    found: dict[Symbol, None] = {}
    for e in read.index:
        for s in sorted((s for s in e.free_symbols if s in own), key=lambda s: s.name):
            found[s] = None
    return [*found, *(s for s in own if s not in found)]


def _size(extent: Extent) -> int:
    return extent if isinstance(extent, int) else 1 << 20
