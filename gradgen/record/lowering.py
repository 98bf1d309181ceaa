"""From records to nodes: what wanted values depend on, sources first, and the graph of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradgen.ir.graph import Location
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.ops.registry import untracked
from gradgen.record.records import Record


@dataclass(frozen=True, slots=True)
class Walk:
    """What one evaluation walks: `order` sources first, `leaves` the ones among them that are read."""

    order: list[Record]
    leaves: list[Record]
    key: tuple[Any, ...]  # the structure: equal keys run the same code


def walk(pending: Sequence[Record]) -> Walk:
    """From what is wanted to what is known."""
    number: dict[Record, int] = {}
    order: list[Record] = []
    leaves: list[Record] = []
    parts: list[Any] = []
    stack = list(reversed(pending))
    while stack:
        record = stack[-1]
        if record in number:
            stack.pop()
            continue
        op = record.op
        if op is None or record.value is not None:
            leaves.append(record)
            parts.append((record.spec, record.symbol is not None))
        else:
            missing = [s for s in record.inputs if s not in number]
            if missing:
                missing.reverse()
                stack += missing
                continue
            parts.append((op.name, record.attributes, record.output, *[number[s] for s in record.inputs]))
        stack.pop()
        number[record] = len(order)
        order.append(record)
    parts.append(tuple([number[r] for r in pending]))
    return Walk(order, leaves, tuple(parts))


def plan_of(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The records that `records` depend on, sources first, and the leaves among them, for a trace."""
    plan = walk([*dict.fromkeys(records)])
    return plan.order, plan.leaves


def lower(
    order: Sequence[Record], leaves: Sequence[Record], *, constants: bool = False, numbers: set[Record] | None = None
) -> tuple[dict[Record, Node], dict[Node, Location]]:
    """IR nodes for records given sources first.

    A leaf becomes the Input `x<k>`, or its own symbol; with `constants` a leaf that has a value, or one in `numbers`, is
    a Constant.
    """
    nodes: dict[Record, Node] = {}
    where: dict[Node, Location] = {}
    calls: dict[tuple[Any, ...], Any] = {}
    for k, record in enumerate(leaves):
        if record.symbol is not None:
            nodes[record] = record.symbol
        elif constants or (numbers and record in numbers):
            nodes[record] = Constant(record.value, record.dtype)
        else:
            nodes[record] = Input(f"x{k}", record.shape, record.dtype, record.requires_grad)
    for record in order:
        if record in nodes:
            continue
        nodes[record] = _lower_one(record, nodes, calls)
        if record.location is not None:
            _locate(nodes[record], record.location, where)
    return nodes, where


def _locate(node: Node, location: Location, where: dict[Node, Location]) -> None:
    """The user's line for every node that this operation added; its variable for the value itself."""
    if node in where or isinstance(node, Input):
        return
    where[node] = location
    inner = replace(location, variable="")
    stack = list(node.sources)
    while stack:
        n = stack.pop()
        if n in where or isinstance(n, Input):
            continue
        where[n] = inner
        stack.extend(n.sources)


def _lower_one(record: Record, nodes: dict[Record, Node], calls: dict[tuple[Any, ...], Any]) -> Node:
    assert record.op is not None
    operands = tuple(nodes[s] for s in record.inputs)
    call = (record.op.name, operands, record.attributes)
    found = calls.get(call)
    if found is None:
        found = calls[call] = record.op.lower(*operands, **dict(record.attributes))
    node: Node = found[record.output] if isinstance(found, tuple) else found
    if not record.requires_grad and node.dtype.is_floating_point and any(s.requires_grad for s in record.inputs):
        node = untracked(node)
    return node
