"""The passes and their order.

none   what was written, but for interning
safe   the same result for every input, inf, nan and signed zero included, up to rounding
fast   real-number algebra
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy

from gradgen.ir.canonical import compute
from gradgen.ir.functions import apart, extent, instead, local, retold, stop, written_out
from gradgen.ir.graph import Graph, Location
from gradgen.ir.nodes import Compute, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.plain_indices import ranges, simplify_index
from gradgen.ir.rewrite import rewrite
from gradgen.ir.symbols import placeholder
from gradgen.passes import Pass, fold
from gradgen.simplify.constants import fold_constants, inline_constants
from gradgen.simplify.decided import drop_unit_axes, plain_guards
from gradgen.simplify.deltas import collapse_deltas
from gradgen.simplify.distribution import distribute_scans
from gradgen.simplify.factors import factor_reductions
from gradgen.simplify.one_hot import collapse_one_hot
from gradgen.simplify.read_through import inline_views
from gradgen.simplify.roundings import compute_wider
from gradgen.simplify.steps import merge_scans, simplify_step
from gradgen.simplify.tables import inline_tables
from gradgen.target import NATIVE, Target

VALUE_OF = {"given": 0, "pseudo_inverse": 1}
"""Kernels whose value is that of an operand."""

_OF_DERIVATIVES = (stop, apart, instead, local, retold)


def drop_stops(node: Node) -> Node:
    """stop(x), apart(x, k), instead(x, y), local(x, y), retold(x, y, z) and kernels with a given derivative matter to
    derivatives only: afterwards they are x, and nobody reads the others."""
    if isinstance(node, Kernel) and node.name in VALUE_OF:
        return node.operands[VALUE_OF[node.name]]
    if not isinstance(node, (Compute, Scatter)) or not node.body.has(*_OF_DERIVATIVES):
        return node
    body = node.body.replace(lambda e: isinstance(e, _OF_DERIVATIVES), lambda e: e.args[0])
    if isinstance(node, Compute):
        return compute(node.shape, body, node.reads, node.dtype, node.reduce_shape, node.reducer or "sum")
    return _with_body(node, body)


def drop_extents(node: Node) -> Node:
    """extent(n) is n, once nobody asks which numbers are sizes."""
    if not isinstance(node, (Compute, Scatter)) or not node.body.has(extent):
        return node
    return _with_body(node, node.body.replace(lambda e: isinstance(e, extent), lambda e: e.args[0]))


@lru_cache(maxsize=8192)
def _written_out(body: sympy.Expr) -> sympy.Expr:
    return written_out(body)


def write_out(node: Node) -> Node:
    """Functions that have a derivative of their own but no kernel become what they are made of."""
    if not isinstance(node, (Compute, Scatter)):
        return node
    body = _written_out(node.body)
    return node if body is node.body else _with_body(node, body)


def _with_body(node: Compute | Scatter, body: sympy.Expr) -> Node:
    if isinstance(node, Compute):
        return Compute(node.shape, body, node.reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer)
    return Scatter(node.shape, node.base, node.update_shape, node.index, body, node.reads, node.dtype,
                   mode=node.mode, guard=node.guard)


def plain_indices(node: Node) -> Node:
    """Quotients and modulos that ranges decide are resolved."""
    if not isinstance(node, Compute):
        return node
    known = ranges(node.shape, node.reduce_shape)
    reads = []
    for read in node.reads:
        index = tuple(e if not e.args and e.is_Integer else simplify_index(e, known) for e in read.index)
        reads.append(read if index == read.index else Read(read.source, index, read.guard, read.fill))
    if all(a is b for a, b in zip(reads, node.reads)):
        return node
    return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=node.reduce_shape, reducer=node.reducer)


def drop_identity(node: Node) -> Node:
    """A Compute that copies a tensor of its own shape and dtype is that tensor."""
    if isinstance(node, Compute) and node.reducer is None and node.body == placeholder(0) and len(node.reads) == 1:
        read = node.reads[0]
        source = read.source
        if (not read.guard and source.dtype is node.dtype and source.shape == node.shape
                and read.index == tuple(s for s, _ in ranges(node.shape))):
            return source
    return node


PASSES: dict[str, Pass[Node]] = {
    one.name: one
    for one in (
        Pass("drop_stops", "what only derivatives ask for is gone", "none", drop_stops),
        Pass("drop_extents", "a size is a number like others", "none", drop_extents),
        Pass("write_out", "functions without a kernel are what they are made of", "none", write_out),
        Pass("inline_views", "a view is read where it is, not copied", "safe", inline_views),
        Pass("collapse_deltas", "a sum over a unit matrix picks one term", "safe", collapse_deltas),
        Pass("drop_unit_axes", "an axis of one position is no loop", "safe", drop_unit_axes),
        Pass("plain_indices", "quotients and modulos that ranges decide are resolved", "safe", plain_indices),
        Pass("plain_guards", "conditions that ranges decide are not tested", "safe", plain_guards),
        Pass("collapse_one_hot", "a sum over a one-hot row picks one term", "safe", collapse_one_hot),
        Pass("inline_tables", "an array that a formula gives is not stored", "safe", inline_tables),
        Pass("inline_constants", "a number is part of the formula that reads it", "safe", inline_constants),
        Pass("fold_constants", "what depends on constants alone is computed now", "safe", fold_constants),
        Pass("drop_identity", "a copy of a tensor is that tensor", "safe", drop_identity),
        Pass("factor_reductions", "a common factor stands outside of its sum", "fast", factor_reductions),
        Pass("compute_wider", "what is stored in few bits is computed in more", "none", compute_wider),
    )
}
"""Applied to a node in this order, once its sources are done."""


@dataclass(frozen=True)
class Whole:
    """What became of every node above some outputs; user lines of new nodes go to `lines`."""

    wanted: Sequence[Node]
    became: Mapping[Node, Node]
    lines: dict[Node, Location]
    target: Target = NATIVE

    @property
    def outputs(self) -> list[Node]:
        return [self.became[n] for n in self.wanted]

    def then(self, moved: Mapping[Node, Node]) -> Whole:
        return replace(self, became={old: moved.get(new, new) for old, new in self.became.items()})


GRAPH_PASSES: dict[str, Pass[Whole]] = {
    one.name: one
    for one in (
        Pass("merge_scans", "recurrences over the same operands are one", "safe",
             lambda whole: whole.then(merge_scans(whole.outputs))),
        Pass("distribute_scans", "what depends on no carry is computed for all steps at once", "safe",
             lambda whole: whole.then(distribute_scans(whole.outputs, whole.lines, whole.target))),
    )
}
"""Applied to the whole graph behind those, where it has recurrences."""

_STRICTEST_FIRST = ("none", "safe", "fast")
_LEVEL_OF = {name: p.level for name, p in PASSES.items()} | {name: p.level for name, p in GRAPH_PASSES.items()}
LEVELS: dict[str, tuple[str, ...]] = {
    level: tuple(name for name, needs in _LEVEL_OF.items() if needs in _STRICTEST_FIRST[: k + 1])
    for k, level in enumerate(_STRICTEST_FIRST)
}
LEVELS["eager"] = tuple(name for name in LEVELS["safe"] if name != "drop_extents")  # sizes are about to become arguments


def simplify(
    outputs: Sequence[Node],
    *,
    level: str = "safe",
    keep: Sequence[Node] = (),
    where: Mapping[Node, Location] | None = None,
    found: dict[Node, Location] | None = None,
    target: Target = NATIVE,
) -> dict[Node, Node]:
    """Maps every node above `keep` to its simplified form; user lines in `where` follow into `found`.

    `target` says how much memory values of all steps of a recurrence may take."""
    passes = [PASSES[name] for name in LEVELS[level] if name in PASSES]
    steps: dict[str, Graph] = {}

    def inner(step_outputs: Sequence[Node]) -> Mapping[Node, Node]:
        return simplify(step_outputs, level=level, target=target)

    new = rewrite(outputs, lambda node: simplify_step(fold(passes, node), inner, steps), keep)
    lines = dict(where or {})
    if any(isinstance(n, Scan) for n in new.values()):
        whole = [GRAPH_PASSES[name] for name in LEVELS[level] if name in GRAPH_PASSES]
        new = dict(fold(whole, Whole(outputs, new, lines, target)).became)
    if where is not None and found is not None:
        for old, simple in new.items():
            if old in where:
                found.setdefault(simple, where[old])
        for node in (n for n in lines if n not in where):
            found.setdefault(node, lines[node])
    return new
