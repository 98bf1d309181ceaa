"""Windows as matrices: an operand of a product read through a window, a guard or a split index is laid out first.

A convolution is a sum of products whose axes separate into rows, columns and summed ones, but the strides of a window
overlap and its guard is no stride at all.  Written out once (image to columns, Chellapilla, Puri & Simard 2006) it is a
plain matrix for the kernel, and every element of it serves all rows.  The layout depends only on which axes the read
mentions, so that the forward pass and the gradient of the weights share it.  Where there is no such product (depthwise
convolutions) the loops read a copy with a border instead of testing a guard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from gradgen.ir.dtypes import REFERENCE
from gradgen.ir.graph import topological_until
from gradgen.ir.guards import GE, Condition, Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.rewrite import with_sources
from gradgen.ir.symbols import (
    NEGATIVE_ZERO,
    Axis,
    Extent,
    Placeholder,
    ReduceAxis,
    axes,
    axis,
    placeholder,
    reduce_axes,
)
from gradgen.loops.procedure import Procedure

Symbol = Axis | ReduceAxis
SMALLEST_PRODUCT = 1 << 14  # multiplications below which plain loops are as quick
LONG_SUM = 128  # terms for which one call of the kernel is long enough
FEW_WEIGHTS = 64  # terms of a window, from which on nobody looks whether they are finite
LEAST_REUSE = 4  # how often each element that is laid out is used


def unfold(procedure: Procedure) -> Procedure:
    """The procedure with such operands laid out: nodes that must be memory."""
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
        return procedure
    outputs = tuple(replace(o, node=new[o.node]) for o in procedure.outputs)
    return replace(procedure, outputs=outputs, where=where, laid=frozenset(laid))


def _product(node: Compute, laid: dict[Node, None]) -> Compute:
    if not node.reduce_shape or not node.dtype.is_floating_point or any(r.dtype is not node.dtype for r in node.reads):
        return node
    extents = dict(zip((*axes(node.ndim), *reduce_axes(len(node.reduce_shape))), (*node.shape, *node.reduce_shape)))
    if node.reducer != "sum" or node.body != placeholder(0) * placeholder(1) or len(node.reads) != 2:
        return _over_borders(node, node.reads, extents, laid)
    first, second = node.reads
    pair = (_bare(first, second), _bare(second, first))
    mentioned = [m for r in pair if (m := mentioned_axes(r)) is not None]
    windows = [k for k, r in enumerate(pair) if _is_window(r, extents)]
    if len(mentioned) < 2 or not windows:
        return node
    if not (_separates(mentioned, extents) and all(_pays(mentioned[k], extents) for k in windows)):
        marked = [_marked(read, bare, extents) for read, bare in zip(node.reads, pair)]
        return _over_borders(node, marked, extents, laid)
    reads = list(pair)
    nothing = [_absent_together(r, o) or _is_border(r, extents) for r, o in ((first, second), (second, first))]
    order: list[Symbol] = []
    for k in sorted(windows, key=lambda k: -_count(list(mentioned[k]), extents)):  # the larger decides
        own, other = mentioned[k], mentioned[1 - k]
        order = _like(order, own) if order else _order(pair[k], own, other, extents)
        reads[k] = _laid_out(pair[k], order, extents, laid, nothing[k])
    for k, read in enumerate(pair):
        summed = [s for s in order if isinstance(s, ReduceAxis)]
        if k not in windows and not _neighbours(read, summed, extents) and _pays(mentioned[k], extents):
            reads[k] = _laid_out(read, _like(order, mentioned[k]), extents, laid, nothing[k])
    return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer="sum")


def _over_borders(
    node: Compute, given: Sequence[Read], extents: Mapping[Symbol, Extent], laid: dict[Node, None]
) -> Compute:
    """Plain loops over copies with a border, where each element is used often enough: no guard inside them."""
    total = _count(list(extents), extents)
    reads = list(given)
    for k, read in enumerate(given):
        padded = _with_border(read, extents) if read.guard else None
        if padded is None or total < LEAST_REUSE * _count_of(padded.source.shape):
            continue
        laid[padded.source] = None
        reads[k] = padded
    if reads == list(node.reads):
        return node
    return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer)


def _with_border(read: Read, extents: Mapping[Symbol, Extent]) -> Read | None:
    """A read of a copy that has the fill value all around, as far as the index goes; None where guards say more."""
    index: list[sympy.Expr] = list(read.index)
    inner: list[sympy.Expr] = list(axes(len(read.index)))
    shape, guard = list(read.source.shape), []
    for c in read.guard:
        along = next(((d, f) for d, e in enumerate(read.index) if (f := _along(c.expr, e)) is not None), None)
        if along is None or c.kind != GE:
            return None
        at, (slope, rest) = along
        bounds = _range(read.index[at], extents)
        if bounds is None:
            return None
        low, high = bounds
        index[at], shape[at] = sympy.expand(read.index[at] - low), high - low + 1
        inner[at] = axis(at) + low
        guard.append(Condition(GE, sympy.expand(slope * inner[at] + rest)))
    copy = Compute(shape, placeholder(0), [Read(read.source, inner, tuple(guard), read.fill)], read.dtype)
    return Read(copy, index)


def _along(expr: sympy.Expr, e: sympy.Expr) -> tuple[int, sympy.Expr] | None:
    """Slope (1 or -1) and constant where the condition says something about this component of the index alone."""
    if not e.free_symbols:
        return None
    for slope in (1, -1):
        rest = sympy.expand(expr - slope * e)
        if rest.is_Integer:
            return slope, rest
    return None


def _range(e: sympy.Expr, extents: Mapping[Symbol, Extent]) -> tuple[int, int] | None:
    """The least and the largest value of an affine index."""
    low = high = 0
    for s, c in sympy.expand(e).as_coefficients_dict().items():
        extent = 2 if s == 1 else extents.get(s)
        if not isinstance(extent, int) or not c.is_Integer:
            return None
        span = int(c) * (extent - 1)
        low, high = low + (span if s == 1 else min(span, 0)), high + (span if s == 1 else max(span, 0))
    return low, high


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
    if not _absent_together(read, other):
        return read
    plain = all(isinstance(e, (Axis, ReduceAxis)) or e.is_Integer for e in read.index)
    return Read(read.source, read.index) if plain else read


def _absent_together(read: Read, other: Read) -> bool:
    """Where the read's guard fails the other factor is not there either: no term, rather than 0 times whatever that is."""
    return bool(read.guard) and read.fill == 0 and other.fill == 0 and set(read.guard) <= set(other.guard)


def _is_border(read: Read, extents: Mapping[Symbol, Extent]) -> bool:
    """What lies outside of a convolution's window: PyTorch multiplies it in the widest type alone."""
    windows = [e for e in read.index if not e.has(quotient, modulo) and overlaps(e, extents)]
    return read.dtype.digits < REFERENCE.digits and bool(read.guard) and read.fill == 0 and bool(windows)


def _marked(read: Read, bare: Read, extents: Mapping[Symbol, Extent]) -> Read:
    """A window's weights with their guard, -0 outside, which the emitter leaves out where they are finite; what is as large
    as an image is not looked through for that."""
    sizes = [extents[s] for s in mentioned_axes(read) or () if isinstance(s, ReduceAxis)]
    terms = math.prod(n for n in sizes if isinstance(n, int))
    return bare if bare is read or terms > FEW_WEIGHTS else Read(read.source, read.index, read.guard, NEGATIVE_ZERO)


def mentioned_axes(read: Read) -> dict[Symbol, None] | None:
    """The axes that the read mentions, None where its index depends on data."""
    found: dict[Symbol, None] = {}
    for e in (*read.index, *(c.expr for c in read.guard)):
        for s in sorted(e.free_symbols, key=lambda s: s.name):
            if isinstance(s, (Axis, ReduceAxis)):
                found[s] = None
            elif isinstance(s, Placeholder):
                return None
    return found


def _is_window(read: Read, extents: Mapping[Symbol, Extent]) -> bool:
    """A guard, a split index, or one of several axes that is the same for different values of them."""
    return bool(read.guard) or any(e.has(quotient, modulo) or overlaps(e, extents) for e in read.index)


def overlaps(e: sympy.Expr, extents: Mapping[sympy.Symbol, Extent]) -> bool:
    """True unless the terms of the index are digits of one number."""
    if e.is_Symbol or e.is_Integer:
        return False
    terms = {s: c for s, c in sympy.expand(e).as_coefficients_dict().items() if s != 1}
    if len(terms) < 2:
        return False
    if not all(s in extents and c.is_Integer and c > 0 for s, c in terms.items()):
        return True
    reach: Extent = 1
    for s, c in sorted(terms.items(), key=lambda t: int(t[1])):
        if not isinstance(reach, int) or int(c) < reach:
            return True
        extent = extents[s]  # type: ignore[index]
        reach = int(c) * extent if isinstance(extent, int) else extent
    return False


def _separates(mentioned: list[dict[Symbol, None]], extents: Mapping[Symbol, Extent]) -> bool:
    """Every summed axis in both factors, every other one in one of them at least."""
    a, b = mentioned
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


def _count_of(shape: tuple[Extent, ...]) -> int:
    return _count(list(shape_axes := axes(len(shape))), dict(zip(shape_axes, shape)))


def _pays(own: dict[Symbol, None], extents: Mapping[Symbol, Extent]) -> bool:
    reuse = _count([s for s in extents if s not in own], extents)
    return reuse >= LEAST_REUSE and _count(list(own), extents) * reuse >= SMALLEST_PRODUCT


def _laid_out(
    read: Read, order: list[Symbol], extents: Mapping[Symbol, Extent], laid: dict[Node, None], nothing: bool
) -> Read:
    """A read of the operand written out with its axes in this order; -0 where its guard fails, if that is `nothing`."""
    mapping: dict[sympy.Expr, sympy.Expr] = dict(zip(order, axes(len(order))))
    index = [e.xreplace(mapping) for e in read.index]
    guard: Guard = tuple(c.substitute(mapping) for c in read.guard)
    shape = tuple(extents[s] for s in order)
    fill = NEGATIVE_ZERO if guard and nothing else read.fill
    matrix = Compute(shape, placeholder(0), [Read(read.source, index, guard, fill)], read.dtype)
    laid[matrix] = None
    return Read(matrix, order)


def marks_absent(node: Node) -> bool:
    """A matrix of windows, with -0 for what lies outside of them."""
    return isinstance(node, Compute) and len(node.reads) == 1 and node.reads[0].fill is NEGATIVE_ZERO


def _order(
    read: Read, own: dict[Symbol, None], other: dict[Symbol, None], extents: Mapping[Symbol, Extent]
) -> list[Symbol]:
    """The first axis of the source by itself, then the shared and the unshared axes; last the group that the fastest
    axis of the source belongs to, so that rows are copied and not columns."""
    order = _by_source(read, own)
    leading = order[:1] if _is_leading(read, order) else []
    rest = [s for s in order if s not in leading]
    both = [s for s in rest if s in other and isinstance(s, Axis)]  # one product for each of these
    rest = [s for s in rest if s not in both]
    shared = [s for s in rest if s in other]
    alone = [s for s in rest if s not in other]
    inner = [s for s in rest if read.index and s in read.index[-1].free_symbols]
    fastest = max(inner, key=lambda s: _size(extents[s])) if inner else None
    first, last = (alone, shared) if fastest in shared else (shared, alone)
    return [*leading, *both, *first, *last]


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
