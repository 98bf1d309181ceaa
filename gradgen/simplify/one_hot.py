"""Sums over a one-hot row: sum_r (x if label == r else 0) is x where the label is in range.

The gradient of a cross-entropy is such a row, times factors, summed over the classes.  As with deltas in guards, the zeros
beside the one entry are structure, not values: what multiplies or divides them does not make them nan.
"""

from __future__ import annotations

import sympy

from gradgen.ir.functions import and_, div, eq, ge, lt, select
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import ReduceAxis, axes, placeholder, reduce_axis

_DEPTH = 4
"""How many pointwise nodes between the sum and the row are looked through."""


def collapse_one_hot(node: Node) -> Node:
    """A sum over the axis of a one-hot row becomes its one term, where no tensor is indexed by that axis."""
    if not isinstance(node, Compute) or node.reducer != "sum":
        return node
    body, reads = node.body, list(node.reads)
    for _ in range(_DEPTH):
        core = _core(body)
        if _is_one_hot(core):
            return _one_term(node, body, reads, core) or node
        k = _position(core, reads)
        if k is None:
            return node
        inner = _inlined(reads, k, node)
        if inner is None:
            return node
        body = body.xreplace({placeholder(k): inner})
    return node


def _core(body: sympy.Expr) -> sympy.Expr:
    """What the body vanishes with: through quotients and products, the one-hot choice or the last placeholder."""
    while True:
        if isinstance(body, div):
            body = body.args[0]
        elif isinstance(body, sympy.Mul):
            factors = sympy.Mul.make_args(body)
            hot = [f for f in factors if _is_one_hot(f)] or [f for f in factors if isinstance(f, div) or f.is_Symbol]
            if len(hot) != 1:
                return body
            body = hot[0]
        else:
            return body


def _is_one_hot(e: sympy.Expr) -> bool:
    return isinstance(e, select) and e.args[2] == 0 and _label(e) is not None


def _label(e: sympy.Expr) -> tuple[sympy.Symbol, ReduceAxis] | None:
    """(label, reduced axis) of select(eq(label, axis), x, 0)."""
    if not isinstance(e.args[0], eq):
        return None
    for label, axis in (e.args[0].args, e.args[0].args[::-1]):
        if isinstance(axis, ReduceAxis) and label.is_Symbol and not isinstance(label, ReduceAxis) and label not in axes(8):
            return label, axis
    return None


def _position(core: sympy.Expr, reads: list[Read]) -> int | None:
    return next((k for k in range(len(reads)) if core == placeholder(k)), None)


def _inlined(reads: list[Read], k: int, node: Compute) -> sympy.Expr | None:
    """The body of the pointwise node that read k reads, over further reads, which are appended."""
    read, source = reads[k], reads[k].source
    if read.guard or not isinstance(source, Compute) or source.reducer is not None or source.dtype is not node.dtype:
        return None
    own = {placeholder(j) for j in range(len(source.reads))}
    if any(own & e.free_symbols for r in source.reads for e in (*r.index, *(c.expr for c in r.guard))):
        return None
    mapping: dict[sympy.Expr, sympy.Expr] = dict(zip(axes(source.ndim), read.index))
    names = {placeholder(j): placeholder(len(reads) + j) for j in range(len(source.reads))}
    for r in source.reads:
        index = [e.xreplace(mapping) for e in r.index]
        reads.append(Read(r.source, index, tuple(c.substitute(mapping) for c in r.guard), r.fill))
    return source.body.xreplace({**mapping, **names})


def _one_term(node: Compute, body: sympy.Expr, reads: list[Read], core: sympy.Expr) -> Node | None:
    """The body at the label, 0 for a label out of range."""
    found = _label(core)
    assert found is not None
    label, axis = found
    used = {k: r for k, r in enumerate(reads) if placeholder(k) in body.free_symbols}
    indexed = [e for r in used.values() for e in (*r.index, *(c.expr for c in r.guard))]
    names = {placeholder(k) for k in range(len(reads))}
    if any(axis in e.free_symbols or names & e.free_symbols for e in indexed):
        return None
    position = int(axis.name[1:])
    extent = node.reduce_shape[position]
    mapping: dict[sympy.Expr, sympy.Expr] = {
        reduce_axis(r): reduce_axis(r - 1) for r in range(position + 1, len(node.reduce_shape))
    }
    value = body.xreplace({core: core.args[1]}).xreplace({axis: label, **mapping})
    body = select(and_(ge(label, 0), lt(label, extent)), value, 0)
    order = {placeholder(k): placeholder(new) for new, k in enumerate(used)}
    kept = [Read(r.source, [e.xreplace(mapping) for e in r.index], tuple(c.substitute(mapping) for c in r.guard), r.fill)
            for r in used.values()]
    rest = (*node.reduce_shape[:position], *node.reduce_shape[position + 1 :])
    return Compute(node.shape, body.xreplace(order), kept, node.dtype, reduce_shape=rest, reducer="sum" if rest else None)
