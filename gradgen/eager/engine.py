"""The engine of eager use: evaluates pending records by code compiled for the structure of their graph.

A structure (operations, attributes, shapes) is looked up in memory first; a new one is lowered to nodes and handed to the
compiler, which knows the code from disk or builds it.  Values of leaves, Python numbers among them, are run-time
arguments: the second pass of a training loop compiles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy.tensor.tensor  # noqa: F401  SymPy imports it at the first sum: 0.1 s that the first look should not pay

from gradgen.compiler import runner as compiled
from gradgen.errors import TraceError
from gradgen.ir.graph import Location
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.ops.registry import stopped
from gradgen.record.records import Record


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one evaluation walks: `order` sources first, `leaves` the ones among them that are read."""

    order: list[Record]
    leaves: list[Record]
    key: tuple[Any, ...]  # the structure: equal keys run the same code


_runners: dict[tuple[Any, ...], compiled.Runner] = {}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was run: code for the values of `leaves`, giving those of `pending`."""

    runner: compiled.Runner
    leaves: list[Record]
    pending: list[Record]


def evaluate(records: Sequence[Record]) -> Evaluation | None:
    """Settles every record: `.value` becomes a C-contiguous array of its shape and dtype.

    Raises TraceError where a value depends on an input of a trace, which has none.
    """
    pending = [r for r in dict.fromkeys(records) if r.value is None]
    if not pending:
        return None
    plan = _plan(pending)
    runner = _runners.get(plan.key)
    if runner is None:
        for record in plan.leaves:
            if record.value is None:
                raise TraceError(
                    "a tensor's value was asked for while tracing; inputs of a trace have shapes and dtypes only",
                    hint="use where() or masked operations instead of Python's if; return tensors to see them later",
                )
        text = repr(plan.key)
        structure = "" if " at 0x" in text else text  # an attribute without a lasting text is not kept on disk
        runner = compiled.remembered(structure) if structure else None
        runner = _runners[plan.key] = runner or _build(plan, pending, structure)
    results = runner([r.value for r in plan.leaves])  # type: ignore[misc]
    for record, value in zip(pending, results):
        record.value = value
    return Evaluation(runner, plan.leaves, pending)


def _plan(pending: Sequence[Record]) -> _Plan:
    """Walks from what is wanted to what is known."""
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
    return _Plan(order, leaves, tuple(parts))


def _build(plan: _Plan, pending: Sequence[Record], structure: str) -> compiled.Runner:
    nodes, where = lower(plan.order, plan.leaves)
    return compiled.runner([nodes[r] for r in pending], [nodes[r] for r in plan.leaves], where, structure)


def plan_of(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The records that `records` depend on, sources first, and the leaves among them, for a trace."""
    plan = _plan([*dict.fromkeys(records)])
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
        node = stopped(node)
    return node
