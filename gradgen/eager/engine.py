"""The engine of eager use: evaluates pending records by code compiled for the structure of their graph.

A structure (operations, attributes, shapes) is looked up in memory first; a new one is lowered to nodes and handed to the
compiler, which knows the code from disk or builds it.  Values of leaves, Python numbers among them, are run-time
arguments: the second pass of a training loop compiles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy.tensor.tensor  # noqa: F401  SymPy imports it at the first sum: 0.1 s that the first look should not pay

from gradgen.compiler import runner as compiled
from gradgen.errors import TraceError
from gradgen.record import pullbacks
from gradgen.record.lowering import Walk, lower, walk
from gradgen.record.records import Record

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
    plan = walk(pending)
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


def _build(plan: Walk, pending: Sequence[Record], structure: str) -> compiled.Runner:
    nodes, where = lower(plan.order, plan.leaves)
    return compiled.runner([nodes[r] for r in pending], [nodes[r] for r in plan.leaves], where, structure)


pullbacks.notes.recalled, pullbacks.notes.note = compiled.recalled, compiled.note
