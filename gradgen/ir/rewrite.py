"""Rebuilding graphs: the same nodes over new sources.  Iterative; untouched nodes stay identical."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gradgen.ir.graph import topological_until
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter

Rule = Callable[[Node], Node]


def with_sources(node: Node, new: Mapping[Node, Node]) -> Node:
    """`node` reading `new[s]` wherever it read s; shapes and dtypes must agree."""
    if all(new[s] is s for s in node.sources):
        return node
    match node:
        case Compute():
            return Compute(node.shape, node.body, _reads(node.reads, new), node.dtype,
                           reduce_shape=node.reduce_shape, reducer=node.reducer)
        case Scatter():
            base = None if node.base is None else new[node.base]
            return Scatter(node.shape, base, node.update_shape, node.index, node.body, _reads(node.reads, new),
                           node.dtype, mode=node.mode, guard=node.guard)
        case Scan():
            return Scan(node.step, [new[n] for n in node.init], [new[n] for n in node.sequences],
                        [new[n] for n in node.constants], node.length, node.output, node.reverse)
        case Kernel():
            return Kernel(node.name, [new[n] for n in node.operands], node.attributes, node.shape, node.dtype,
                          node.output)
    raise TypeError(f"{node!r} has no sources")


def _reads(reads: Iterable[Read], new: Mapping[Node, Node]) -> list[Read]:
    return [r if new[r.source] is r.source else Read(new[r.source], r.index, r.guard, r.fill) for r in reads]


def rewrite(outputs: Iterable[Node], rule: Rule, keep: Iterable[Node] = ()) -> dict[Node, Node]:
    """Applies `rule` to every node once its sources are rewritten; the result maps old nodes to new ones.

    Nodes in `keep` are left as they are, and nothing below them is visited for their sake.
    """
    kept = set(keep)
    new: dict[Node, Node] = {n: n for n in kept}
    for node in topological_until(tuple(outputs), kept):
        if node in new:
            continue
        new[node] = node if isinstance(node, (Input, Constant)) else rule(with_sources(node, new))
    return new


def substitute(outputs: Iterable[Node], replacement: Mapping[Node, Node]) -> tuple[Node, ...]:
    """`outputs` over other operands: every key of `replacement` becomes its value."""
    outputs = tuple(outputs)
    new: dict[Node, Node] = dict(replacement)
    for node in topological_until(outputs, set(replacement)):
        if node not in new:
            new[node] = node if isinstance(node, (Input, Constant)) else with_sources(node, new)
    return tuple(new[n] for n in outputs)
