"""The engine of eager use: evaluates pending records by code compiled for the structure of their graph.

A structure (operations, attributes, shapes, what is known already) is looked up in memory first; a new one is lowered to
a Procedure and handed to the compiler, which knows the module from disk or builds it.  Values of leaves, Python
numbers among them, are run-time arguments: the second pass of a training loop compiles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradgen import compiler
from gradgen.errors import TraceError
from gradgen.frontend.record import Record
from gradgen.ir.functions import stop
from gradgen.ir.graph import Location
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.symbols import axes, placeholder

GRADIENT = "gradient"
"""Name of the operation whose lowering differentiates its operands' graphs (see gradgen.frontend.autograd)."""


@dataclass(frozen=True)
class _Plan:
    """What one evaluation walks: `order` sources first; `leaves` are read, `known` are read and looked through."""

    order: tuple[Record, ...]
    leaves: tuple[Record, ...]
    known: tuple[Record, ...]


_runners: dict[tuple, compiler.Runner] = {}


def evaluate(records: Sequence[Record]) -> None:
    """Sets `.value` of every record: a C-contiguous array of its shape and dtype.

    Raises TraceError where a value depends on an input of a trace, which has none.
    """
    pending = [r for r in dict.fromkeys(records) if r.value is None]
    if not pending:
        return
    plan = _plan(pending)
    key = _key(plan, pending)
    runner = _runners.get(key)
    if runner is None:
        runner = _runners[key] = _build(plan, pending)
    results = runner([r.value for r in (*plan.leaves, *plan.known)])  # type: ignore[misc]
    for record, value in zip(pending, results):
        record.value = value


def _plan(pending: Sequence[Record], symbolic: bool = False) -> _Plan:
    """Walks from what is wanted to what is known.

    Below a gradient the history of its operands is walked even where values are known: it is differentiated.
    """
    through: dict[Record, bool] = {}
    stack: list[tuple[Record, bool, bool]] = [(r, False, False) for r in reversed(pending)]
    order: dict[Record, None] = {}
    while stack:
        record, look_through, expanded = stack.pop()
        if expanded:
            order.setdefault(record)
            continue
        if through.get(record, False) >= look_through and record in through:
            continue
        through[record] = look_through or through.get(record, False)
        stack.append((record, look_through, True))
        if record.op is None or (record.value is not None and not (look_through and record.requires_grad)):
            continue
        below = record.op.name == GRADIENT
        for source in reversed(record.inputs):
            stack.append((source, below or (look_through and source.requires_grad), False))
    return _classify(_sorted(order, through), through, symbolic)


def _sorted(order: dict[Record, None], through: dict[Record, bool]) -> list[Record]:
    """Sources first also where a record was reached a second time, looking through."""
    result: list[Record] = []
    done: set[Record] = set()
    for start in order:
        stack = [(start, False)]
        while stack:
            record, expanded = stack.pop()
            if record in done:
                continue
            if expanded:
                done.add(record)
                result.append(record)
                continue
            stack.append((record, True))
            if not _is_leaf(record, through):
                stack.extend((s, False) for s in reversed(record.inputs))
    return result


def _is_leaf(record: Record, through: dict[Record, bool]) -> bool:
    return record.op is None or (record.value is not None and not (through.get(record) and record.requires_grad))


def _classify(order: list[Record], through: dict[Record, bool], symbolic: bool) -> _Plan:
    leaves = tuple(r for r in order if _is_leaf(r, through))
    for record in leaves:
        if record.symbol is not None and not symbolic:
            raise TraceError(
                "a tensor's value was asked for while tracing; inputs of a trace have shapes and dtypes only",
                hint="use where() or masked operations instead of Python's if, and return tensors to look at them later",
            )
    known = tuple(r for r in order if not _is_leaf(r, through) and r.value is not None)
    return _Plan(tuple(order), leaves, known)


def _key(plan: _Plan, pending: Sequence[Record]) -> tuple:
    """The structure as a hashable value: equal keys run the same code."""
    number: dict[Record, int] = {}
    parts: list[Any] = []
    leaves = set(plan.leaves)
    for record in plan.order:
        number[record] = len(number)
        if record in leaves:
            parts.append((record.shape, record.dtype.name))
        else:
            op = record.op
            parts.append((
                op.name if op else "", record.attributes, record.output, tuple([number[s] for s in record.inputs]),
                record.value is not None, record.requires_grad,
            ))
    return (*parts, tuple([number[r] for r in pending]))


def _build(plan: _Plan, pending: Sequence[Record]) -> compiler.Runner:
    nodes, where = lower(plan.order, plan.leaves)
    given = [nodes[r] for r in (*plan.leaves, *plan.known)]
    return compiler.runner([nodes[r] for r in pending], given, where)


def plan_of(records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The records that `records` depend on, sources first, and the leaves among them, for a trace."""
    plan = _plan([*dict.fromkeys(records)], symbolic=True)
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
    calls: dict[tuple, Any] = {}
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


def _lower_one(record: Record, nodes: dict[Record, Node], calls: dict[tuple, Any]) -> Node:
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


def stopped(node: Node) -> Node:
    """The value without its derivative: what no_grad and detach leave."""
    return Compute(node.shape, stop(placeholder(0)), [Read(node, axes(node.ndim))], node.dtype)
