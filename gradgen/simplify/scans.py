"""Recurrences: the step graph is simplified too, and recurrences that differ only in how many results they keep are one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Node, Scan
from gradgen.ir.rewrite import rewrite

Simplify = Callable[[Sequence[Node]], Mapping[Node, Node]]


def simplify_step(node: Node, inner: Simplify, memo: dict[str, Graph]) -> Node:
    """A Scan over the simplified step."""
    if not isinstance(node, Scan):
        return node
    step = memo.get(node.step.key)
    if step is None:
        new = inner(node.step.outputs)
        step = memo[node.step.key] = replace(node.step, outputs=tuple(new[n] for n in node.step.outputs))
    if step.outputs == node.step.outputs:
        return node
    return Scan(step, node.init, node.sequences, node.constants, node.length, node.output, node.reverse)


def merge_scans(outputs: Sequence[Node]) -> dict[Node, Node]:
    """Maps Scans to ones that compute the same and more, where the graph holds such; the rest follows."""
    widest: dict[tuple, Graph] = {}
    for node in topological(outputs):
        if isinstance(node, Scan):
            known = widest.get(_operands(node))
            if known is None or _extends(node.step, known):
                widest[_operands(node)] = node.step

    def rule(node: Node) -> Node:
        if not isinstance(node, Scan):
            return node
        step = widest.get(_operands(node))
        if step is None or step.key == node.step.key or not _extends(step, node.step):
            return node
        return Scan(step, node.init, node.sequences, node.constants, node.length, node.output, node.reverse)

    return rewrite(outputs, rule) if widest else {n: n for n in topological(outputs)}


def _operands(node: Scan) -> tuple:
    return (node.init, node.sequences, node.constants, node.length, node.reverse, node.step.inputs)


def _extends(wide: Graph, narrow: Graph) -> bool:
    return wide.inputs == narrow.inputs and wide.outputs[: len(narrow.outputs)] == narrow.outputs
