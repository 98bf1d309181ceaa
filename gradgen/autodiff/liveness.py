"""nan_safe: where an adjoint is zero because a condition selected it away, nothing upstream can make it nan.

Beside an adjoint goes its liveness, an array of the same shape that is 0 where every way from the outputs to the element
leads through a branch not taken, and positive elsewhere; None where all of it is alive.  It is carried by the same rule as
the adjoint, with every partial that is not structurally zero replaced by 1, and a partial that depends on data is
multiplied where the liveness is not 0 alone.  An adjoint that happens to be 0 is alive: 0 * inf is nan there, as
everywhere, and its derivative is not lost.
"""

from __future__ import annotations

import math
from functools import lru_cache

import sympy

from gradgen.ir.evaluation import of_constants
from gradgen.ir.functions import div, ne, select
from gradgen.ir.nodes import Compute, Constant, Node, Read, map_node
from gradgen.ir.symbols import COTANGENT, LIVENESS, Dim, Placeholder, axes, axis, placeholder, reduce_axis

A0 = placeholder(0)
MOST = 1 << 16
"""Elements of which it is looked up, when code is generated, whether all are alive."""


@lru_cache(maxsize=16384)
def support(body: sympy.Expr) -> sympy.Expr:
    """LIVENESS where the adjoint body is not structurally zero, 0 elsewhere: its selections without what they choose."""
    if body.is_zero:
        return sympy.Integer(0)
    if isinstance(body, select):
        condition, *branches = body.args
        taken, other = (support(b) for b in branches)
        return taken if taken == other else select(condition, taken, other)
    if isinstance(body, div):
        return support(body.args[0])
    if isinstance(body, sympy.Mul):
        found = [s for s in map(support, body.args) if s != LIVENESS]
        return found[0] if found else LIVENESS
    if isinstance(body, sympy.Add):
        found = list(dict.fromkeys(support(a) for a in body.args))
        return LIVENESS if LIVENESS in found else sympy.Add(*found)
    return LIVENESS


@lru_cache(maxsize=16384)
def guarded(body: sympy.Expr) -> sympy.Expr:
    """`body` where the liveness is not 0, else 0; as it is where its partial is a number."""
    factors = body.xreplace({COTANGENT: sympy.Integer(1)})
    data = any(isinstance(s, Placeholder) for s in factors.free_symbols)
    return select(ne(LIVENESS, 0), body, 0) if data else body


def one(like: Node) -> Node:
    """What stands for the liveness where all is alive."""
    return Constant(1, like.dtype)


def full(like: Node) -> Node:
    """The liveness of what is all alive, as an array."""
    return Compute(like.shape, sympy.Integer(1), [], like.dtype)


def merged(a: Node | None, b: Node | None) -> Node | None:
    """Of a sum of two adjoints."""
    return None if a is None or b is None else map_node(A0 + placeholder(1), (a, b), b.dtype)


def settled(term: Node) -> Node | None:
    """None where all of `term` is alive; sums over what an axis does not depend on are taken once, and repeated."""
    if not isinstance(term, Compute):
        return term
    used: set[sympy.Basic] = set(term.body.free_symbols)
    for r in term.reads:
        used |= {s for e in (*r.index, *(c.expr for c in r.guard)) for s in e.free_symbols}
    if not any(isinstance(s, Placeholder) for s in term.body.free_symbols) and not term.body.is_zero:
        return None
    if all(isinstance(r.source, Constant) and not r.guard for r in term.reads) and isinstance(term.body, Placeholder):
        return None
    if _known_alive(term):
        return None
    kept = [d for d in range(term.ndim) if axis(d) in used]
    summed = [k for k in range(len(term.reduce_shape)) if reduce_axis(k) in used]
    if (len(kept) == term.ndim or not term.reduce_shape) and len(summed) == len(term.reduce_shape):
        return term
    mapping: dict[sympy.Basic, sympy.Expr] = {axis(d): axis(k) for k, d in enumerate(kept)}
    mapping |= {reduce_axis(d): reduce_axis(k) for k, d in enumerate(summed)}
    reads = [Read(r.source, [e.xreplace(mapping) for e in r.index], tuple(c.substitute(mapping) for c in r.guard), r.fill)
             for r in term.reads]
    small = Compute([term.shape[d] for d in kept], term.body.xreplace(mapping), reads, term.dtype,
                    reduce_shape=[term.reduce_shape[k] for k in summed], reducer=term.reducer if summed else None)
    return Compute(term.shape, A0, [Read(small, [axis(d) for d in kept])], term.dtype)


def _known_alive(term: Compute) -> bool:
    """Windows that reach every element: known where all extents are numbers, and not too many."""
    extents = (*term.shape, *term.reduce_shape)
    if not all(isinstance(s, Constant) for s in term.sources) or not all(isinstance(e, int) for e in extents):
        return False
    if math.prod(extents) > MOST or any(isinstance(s, Dim) for r in term.reads for c in r.guard for s in c.expr.free_symbols):
        return False
    return bool((of_constants(term) > 0).all())


def of_items(live: Node, lead: int) -> Node:
    """One number for each item of the first `lead` axes: positive where something of the item is alive."""
    m = live.ndim - lead
    if not m:
        return live
    read = Read(live, (*axes(lead), *(reduce_axis(k) for k in range(m))))
    return Compute(live.shape[:lead], A0, [read], live.dtype, reduce_shape=live.shape[lead:], reducer="sum")


def only_alive(term: Node, live: Node) -> Node:
    """`term` where its liveness, over its own or its first axes, is not 0; else 0."""
    body = select(ne(placeholder(1), 0), A0, 0)
    return Compute(term.shape, body, [Read(term, axes(term.ndim)), Read(live, axes(live.ndim))], term.dtype)


def repeated(items: Node, like: Node) -> Node:
    """The liveness of items for all of their elements."""
    return Compute(like.shape, A0, [Read(items, axes(items.ndim))], items.dtype)


