"""Guards that the axes' extents decide are dropped, and axes of extent 1 leave reductions.

A convolution's gradient asks 0 <= k - n < 28 where n has the one value 0 and k < 28: always true.  What is left is a plain
contraction, which the scheduler knows.
"""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.ir.guards import GE, Condition, Guard, conjunction
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.plain_indices import Ranges, ranges
from gradgen.ir.symbols import reduce_axis

_PLAIN_REDUCERS = ("sum", "prod", "max", "min")


def plain_guards(node: Node) -> Node:
    """Conditions that hold for all axes in range are dropped from the reads' guards."""
    if not isinstance(node, Compute) or not any(read.guard for read in node.reads):
        return node
    known = ranges(node.shape, node.reduce_shape)
    reads = [_plain_read(read, known) if read.guard else read for read in node.reads]
    if all(a is b for a, b in zip(reads, node.reads)):
        return node
    return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer)


def _plain_read(read: Read, known: Ranges) -> Read:
    guard = decided(read.guard, known)
    return read if guard is None or guard == read.guard else Read(read.source, read.index, guard, read.fill)


@lru_cache(maxsize=16384)
def decided(guard: Guard, known: Ranges) -> Guard | None:
    """The conditions that are not always true; None where one can never hold."""
    unit: dict[sympy.Expr, sympy.Expr] = {s: sympy.Integer(0) for s, e in known if isinstance(e, int) and e == 1}
    left = conjunction(*(c.substitute(unit) if unit else c for c in guard))
    return None if left is None else tuple(c for c in left if not _always(c, known))


def _always(condition: Condition, known: Ranges) -> bool:
    """True where `expr >= 0` at every point of the box of axes; an empty box asks nothing."""
    if condition.kind != GE:
        return False
    extents = dict(known)
    least: sympy.Expr = sympy.Integer(0)
    for term in sympy.Add.make_args(sympy.expand(condition.expr)):
        symbols = [s for s in term.free_symbols if s in extents]
        if not symbols:
            least = least + term
            continue
        coefficient = term / symbols[0]
        if len(symbols) > 1 or not coefficient.is_Integer:
            return False
        if coefficient < 0:
            least = least + coefficient * (sympy.sympify(extents[symbols[0]]) - 1)
    return bool(sympy.expand(least).is_nonnegative)


def drop_unit_axes(node: Node) -> Node:
    """Reduced axes of extent 1 are index 0, as long as another reduced axis is left to keep the reduction's zero."""
    if not isinstance(node, Compute) or node.reducer not in _PLAIN_REDUCERS or len(node.reduce_shape) < 2:
        return node
    long = [k for k, e in enumerate(node.reduce_shape) if not (isinstance(e, int) and e == 1)] or [0]
    if len(long) == len(node.reduce_shape):
        return node
    mapping: dict[sympy.Expr, sympy.Expr] = {reduce_axis(k): sympy.Integer(0) for k in range(len(node.reduce_shape))}
    mapping.update({reduce_axis(k): reduce_axis(new) for new, k in enumerate(long)})
    reads = [
        Read(r.source, [e.xreplace(mapping) for e in r.index], tuple(c.substitute(mapping) for c in r.guard), r.fill)
        for r in node.reads
    ]
    return Compute(node.shape, node.body.xreplace(mapping), reads, node.dtype,
                   reduce_shape=[node.reduce_shape[k] for k in long], reducer=node.reducer)
