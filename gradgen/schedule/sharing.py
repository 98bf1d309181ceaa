"""Expensive functions that several nodes apply to the same values become nodes of their own.

The sum of a softmax and its gradient both contain exp(x - max); a loss and its derivative both contain sigmoid(z).
Bodies are written node by node, so the common function is invisible to both until it has a node: then fusion decides
whether it is a local, a row in cache, or memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import sympy

from gradgen.ir.graph import topological_until
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.rewrite import with_sources
from gradgen.ir.scalar_table import FUNCTION, ScalarFunction
from gradgen.ir.symbols import Placeholder, axes, axis, free_symbols, placeholder, reduce_axis
from gradgen.loops.procedure import Procedure

Use = tuple[Compute, sympy.Expr, tuple[sympy.Expr, ...]]  # who, what, and at which index it would read it


def share_functions(procedure: Procedure) -> Procedure:
    """The procedure with a node for every expensive function that two or more nodes apply to the same values."""
    order = topological_until(tuple(o.node for o in procedure.outputs), set(procedure.given))
    order = [n for n in order if n not in procedure.given]
    uses: dict[Compute, list[Use]] = {}
    for node in order:
        if isinstance(node, Compute):
            for expr in _expensive_parts(node.body):
                made = _own_node(node, expr)
                if made is not None:
                    uses.setdefault(made[0], []).append((node, expr, made[1]))
    changes: dict[Node, list[tuple[Compute, sympy.Expr, tuple[sympy.Expr, ...]]]] = {}
    for shared, found in uses.items():
        if len({n for n, _, _ in found}) > 1:
            for node, expr, index in found:
                if node is not shared:
                    changes.setdefault(node, []).append((shared, expr, index))
    for node in order:  # a read that nobody mentions is a dependence that is none
        if isinstance(node, Compute) and len(_mentioned(node.body, node.reads)) < len(node.reads):
            changes.setdefault(node, [])
    if not changes:
        return procedure
    new: dict[Node, Node] = {n: n for n in procedure.given}
    where = dict(procedure.where)
    for node in order:
        if isinstance(node, (Input, Constant)):
            new[node] = node
            continue
        made_new = with_sources(node, new)
        if node in changes:
            parts: list[tuple[Node, sympy.Expr, tuple[sympy.Expr, ...]]] = []
            for shared, expr, index in changes[node]:
                parts.append((with_sources(shared, new), expr, index))
                if node in procedure.where:
                    where.setdefault(parts[-1][0], procedure.where[node])
            assert isinstance(made_new, Compute)
            made_new = _rewritten(made_new, parts)
        new[node] = made_new
        if node in procedure.where:
            where.setdefault(made_new, procedure.where[node])
    outputs = tuple(replace(o, node=new[o.node]) for o in procedure.outputs)
    return replace(procedure, outputs=outputs, where=where)


@lru_cache(maxsize=1 << 12)
def _expensive_parts(body: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """The outermost expensive functions in a body."""
    found: dict[sympy.Expr, None] = {}
    stack: list[sympy.Basic] = [body]
    while stack:
        e = stack.pop()
        if isinstance(e, ScalarFunction) and e.record.cost == FUNCTION:
            found[e] = None  # type: ignore[index]
        else:
            stack.extend(e.args)
    return tuple(found)


def _own_node(node: Compute, expr: sympy.Expr) -> tuple[Compute, tuple[sympy.Expr, ...]] | None:
    """The node that computes `expr` alone, and the index at which `node` would read it."""
    symbols = sorted((s for s in expr.free_symbols if isinstance(s, Placeholder)), key=lambda s: int(s.name[1:]))
    if not symbols or any(not isinstance(s, Placeholder) for s in expr.free_symbols):
        return None
    reads = [node.reads[int(s.name[1:])] for s in symbols]
    if any(r.guard or any(e.has(Placeholder) for e in r.index) for r in reads):
        return None
    kinds = [r.dtype.compute for r in reads if r.dtype.is_floating_point]
    if not kinds or any(k is not kinds[0] for k in kinds):
        return None
    renamed = expr.xreplace({s: placeholder(k) for k, s in enumerate(symbols)})
    if len(reads) == 1:
        source = reads[0].source
        own = Compute(source.shape, renamed, [Read(source, axes(source.ndim))], kinds[0])
        return own, reads[0].index
    if node.dtype is not kinds[0]:
        return None
    own_axes = (*axes(len(node.shape)), *(reduce_axis(k) for k in range(len(node.reduce_shape))))
    extents = dict(zip(own_axes, (*node.shape, *node.reduce_shape)))
    kept = [s for s in own_axes if extents[s] != 1]  # an axis of extent 1 is at 0, whoever has it
    moved: dict[sympy.Basic, sympy.Expr] = {s: sympy.S.Zero for s in own_axes}
    moved |= {s: axis(k) for k, s in enumerate(kept)}
    again = [Read(r.source, [e.xreplace(moved) for e in r.index]) for r in reads]
    return Compute([extents[s] for s in kept], renamed, again, kinds[0]), tuple(kept)


def _mentioned(body: sympy.Expr, reads: Sequence[Read]) -> list[int]:
    """The reads that the body needs, or an index or guard of one that it needs."""
    used = set(free_symbols(body))
    for k in reversed(range(len(reads))):  # an index may mention earlier reads only
        if placeholder(k) in used:
            for e in (*reads[k].index, *(c.expr for c in reads[k].guard)):
                used |= free_symbols(e)
    return [k for k in range(len(reads)) if placeholder(k) in used]


def _rewritten(node: Compute, parts: list[tuple[Node, sympy.Expr, tuple[sympy.Expr, ...]]]) -> Compute:
    """The node with the shared functions read; reads that nobody mentions any more are dropped."""
    reads = list(node.reads)
    mapping: dict[sympy.Basic, sympy.Expr] = {}
    for shared, expr, index in parts:
        mapping[expr] = placeholder(len(reads))
        reads.append(Read(shared, index))
    body = node.body.xreplace(mapping)
    kept = _mentioned(body, reads)
    moved = {placeholder(k): placeholder(n) for n, k in enumerate(kept)}
    renumbered = []
    for k in kept:
        r = reads[k]
        index = tuple(e.xreplace(moved) for e in r.index)
        renumbered.append(Read(r.source, index, tuple(c.substitute(dict(moved)) for c in r.guard), r.fill))
    return Compute(node.shape, body.xreplace(moved), renumbered, node.dtype, reduce_shape=node.reduce_shape,
                   reducer=node.reducer)
