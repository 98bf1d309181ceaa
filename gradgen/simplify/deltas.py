"""Sums over a delta: where a guard fixes a reduced axis, the sum has one term.

sum_r x[r] * (1 if r == i else 0) is x[i].  Jacobians are full of these: a unit seed is a constant read under a guard.
Only such deltas count: they are structure, not values, so that 0 * inf is 0 here, while a padded tensor's zeros are values.
"""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.ir.canonical import is_polynomial
from gradgen.ir.guards import EQ, Condition, conjunction, in_range
from gradgen.ir.nodes import Compute, Constant, Node, Read
from gradgen.ir.symbols import Axis, Extent, ReduceAxis, axes, placeholder, reduce_axis, same_extent


def collapse_deltas(node: Node) -> Node:
    """Reduced axes that an equality in a guard determines are replaced by what they equal."""
    if isinstance(node, Compute) and node.reducer == "sum":
        node = spread_deltas(node)
    while isinstance(node, Compute) and node.reducer == "sum":
        found = _solvable(node)
        if found is None:
            return node
        node = _without(node, *found)
    return node


def _solvable(node: Compute) -> tuple[int, Condition, ReduceAxis, sympy.Expr] | None:
    for k, read in enumerate(node.reads):
        if not is_delta(read) or not vanishes_with(node.body, k):
            continue
        for condition in read.guard:
            if condition.kind == EQ:
                solved = _solve(condition.expr)
                if solved is not None and _safe(node, read, *solved):
                    return k, condition, *solved
    return None


def is_delta(read: Read) -> bool:
    """A constant under a guard that holds an equality, zero elsewhere."""
    return (
        bool(read.guard) and read.fill == 0 and isinstance(read.source, Constant)
        and any(c.kind == EQ for c in read.guard)
    )


def spread_deltas(node: Node) -> Node:
    """What reads a product with a delta as factor meets the delta itself."""
    if not isinstance(node, Compute):
        return node
    reads = list(node.reads)
    body = node.body
    for k, read in enumerate(node.reads):
        delta = _delta_of(read.source)
        if delta is None or read.guard or not vanishes_with(node.body, k):
            continue
        mapping = dict(zip(axes(read.source.ndim), read.index))
        guard = conjunction(*(c.substitute(mapping) for c in delta.guard))
        if guard:
            body = body * placeholder(len(reads))
            reads.append(Read(Constant(1, node.dtype), (), guard, 0))
    if len(reads) == len(node.reads):
        return node
    return Compute(node.shape, body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer)


def _delta_of(source: Node) -> Read | None:
    """The delta that makes the source zero where it does not hold."""
    if isinstance(source, Compute) and source.reducer is None:
        for k, read in enumerate(source.reads):
            if is_delta(read) and vanishes_with(source.body, k):
                return read
    return None


def _safe(node: Compute, read: Read, symbol: ReduceAxis, value: sympy.Expr) -> bool:
    """Where conditions remain, the body must be 0 outside them whatever the other reads' fill makes of it."""
    extent = node.reduce_shape[int(symbol.name[1:])]
    return (len(read.guard) == 1 and _always_within(value, extent, node)) or is_polynomial(node.body)


@lru_cache(maxsize=4096)
def vanishes_with(body: sympy.Expr, k: int) -> bool:
    """True where the body is 0 whenever placeholder k is: a product with it as a factor."""
    return placeholder(k) in sympy.Mul.make_args(body)


@lru_cache(maxsize=4096)
def _solve(expr: sympy.Expr) -> tuple[ReduceAxis, sympy.Expr] | None:
    for symbol in sorted((s for s in expr.free_symbols if isinstance(s, ReduceAxis)), key=lambda s: s.name):
        coefficient = sympy.expand(expr).coeff(symbol)
        if coefficient in (1, -1):
            rest = sympy.expand(expr - coefficient * symbol)
            if symbol not in rest.free_symbols:
                return symbol, -rest * coefficient
    return None


def _always_within(value: sympy.Expr, extent: Extent, node: Compute) -> bool:
    """True where `value` is an axis that runs over just this extent."""
    if isinstance(value, Axis):
        return same_extent(node.shape[int(value.name[1:])], extent)
    if isinstance(value, ReduceAxis):
        return same_extent(node.reduce_shape[int(value.name[1:])], extent)
    return value.is_Integer and isinstance(extent, int) and 0 <= int(value) < extent


def _without(node: Compute, k: int, used: Condition, solved: ReduceAxis, value: sympy.Expr) -> Node:
    position = int(solved.name[1:])
    extent: Extent = node.reduce_shape[position]
    mapping: dict[sympy.Expr, sympy.Expr] = {solved: value}
    for r in range(position + 1, len(node.reduce_shape)):
        mapping[reduce_axis(r)] = reduce_axis(r - 1)
    value = value.xreplace({s: e for s, e in mapping.items() if s is not solved})
    mapping[solved] = value
    reduce_shape = (*node.reduce_shape[:position], *node.reduce_shape[position + 1 :])
    extra = [c.substitute(mapping) for c in node.reads[k].guard if c is not used]
    if not _always_within(value, extent, node):
        extra += in_range(value, extent)
    guard = conjunction(*extra)
    if guard is None:
        return Compute(node.shape, sympy.Integer(0), [], node.dtype)
    reads = []
    for position_of, read in enumerate(node.reads):
        index = [e.xreplace(mapping) for e in read.index]
        if position_of == k:
            reads.append(Read(read.source, index, guard, 0))
            continue
        own = tuple(c.substitute(mapping) for c in read.guard)
        if own and read.fill != 0:
            reads.append(Read(read.source, index, own, read.fill))
        else:
            reads.append(Read(read.source, index, tuple(dict.fromkeys((*own, *guard))), 0))
    return Compute(node.shape, node.body.xreplace(mapping), reads, node.dtype, reduce_shape=reduce_shape,
                   reducer="sum" if reduce_shape else None)
