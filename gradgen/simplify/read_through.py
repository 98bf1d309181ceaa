"""Reads through views: a Compute that only moves elements is read around, index maps composed."""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.ir.guards import conjunction
from gradgen.ir.nodes import Compute, Node, Read, Scatter
from gradgen.ir.plain_indices import Ranges, ranges, simplify_index
from gradgen.ir.symbols import axes, placeholder


def is_view(node: Node) -> bool:
    """A Compute without arithmetic: one read, moved."""
    return (
        isinstance(node, Compute)
        and node.reducer is None
        and len(node.reads) == 1
        and node.body == placeholder(0)
        and node.reads[0].source.dtype is node.dtype
    )


@lru_cache(maxsize=16384)
def _composed(outer: tuple[sympy.Expr, ...], inner: tuple[sympy.Expr, ...], known: Ranges) -> tuple[sympy.Expr, ...]:
    mapping = dict(zip(axes(len(outer)), outer))
    return tuple(simplify_index(e.xreplace(mapping), known) for e in inner)


def through(read: Read, known: Ranges) -> Read:
    """The read with views between it and the value it wants taken out, as far as guards allow."""
    while is_view(read.source):
        view = read.source
        assert isinstance(view, Compute)
        inner = view.reads[0]
        guard = read.guard
        if inner.guard:
            if read.guard and read.fill != inner.fill:
                return read
            mapping = dict(zip(axes(view.ndim), read.index))
            joined = conjunction(*read.guard, *(c.substitute(mapping) for c in inner.guard))
            if joined is None or any(s.name.startswith("a") and not s.is_integer
                                     for c in joined for s in c.expr.free_symbols):
                return read
            guard = joined
        fill = read.fill if read.guard else inner.fill
        read = Read(inner.source, _composed(read.index, inner.index, known), guard, fill)
    return read


def inline_views(node: Node) -> Node:
    """Consumers read what a view reads."""
    if isinstance(node, Compute):
        known = ranges(node.shape, node.reduce_shape)
        reads = [through(r, known) for r in node.reads]
        if all(a is b for a, b in zip(reads, node.reads)):
            return node
        return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer)
    if isinstance(node, Scatter):
        known = ranges(node.update_shape)
        reads = [through(r, known) for r in node.reads]
        if all(a is b for a, b in zip(reads, node.reads)):
            return node
        return Scatter(node.shape, node.base, node.update_shape, node.index, node.body, reads, node.dtype,
                       mode=node.mode, guard=node.guard)
    return node
