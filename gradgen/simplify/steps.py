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
    """Recurrences over the same operands with the same new carries become one that stacks what any of them stacks.

    Merging makes operands of later ones equal: it is repeated until nothing changes.
    """
    new = {n: n for n in topological(outputs)}
    while True:
        moved = _merged_once([new[n] for n in outputs])
        if all(a is b for a, b in moved.items()):
            return new
        new = {old: moved.get(n, n) for old, n in new.items()}


def _merged_once(outputs: Sequence[Node]) -> dict[Node, Node]:
    widest: dict[tuple, tuple[Graph, dict[Node, int]]] = {}
    for node in topological(outputs):
        if not isinstance(node, Scan):
            continue
        known = widest.get(_operands(node))
        if known is None:
            widest[_operands(node)] = (node.step, _stacked(node.step, len(node.init)))
        elif any(o not in known[1] for o in node.step.outputs[len(node.init) :]):
            step = _wider(known[0], [o for o in node.step.outputs[len(node.init) :] if o not in known[1]])
            widest[_operands(node)] = (step, _stacked(step, len(node.init)))

    def rule(node: Node) -> Node:
        if not isinstance(node, Scan):
            return node
        found = widest.get(_operands(node))
        if found is None or found[0].key == node.step.key:
            return node
        step, place = found
        output = node.output if node.output < len(node.init) else place.get(node.step.outputs[node.output], -1)
        if output < 0:
            return node
        return Scan(step, node.init, node.sequences, node.constants, node.length, output, node.reverse)

    return rewrite(outputs, rule) if widest else {n: n for n in topological(outputs)}


def _stacked(step: Graph, carries: int) -> dict[Node, int]:
    """The positions of the values that a step stacks."""
    return {n: k for k, n in reversed([*enumerate(step.outputs)]) if k >= carries}


def _wider(step: Graph, more: Sequence[Node]) -> Graph:
    """The step with these outputs too."""
    more = list(dict.fromkeys(more))
    names = (*step.output_names, *(f"more{len(step.outputs) + k}" for k in range(len(more))))
    return Graph(step.inputs, (*step.outputs, *more), names, step.where)


def _operands(node: Scan) -> tuple:
    carries = node.step.outputs[: len(node.init)]
    return (node.init, node.sequences, node.constants, node.length, node.reverse, node.step.inputs, carries)
