"""ONNX's If, Loop and Scan, and sequences.

A Scan is gg.scan; a Loop whose number of rounds is known is written out, or a gg.scan where there are many.  An If takes
the branch that its condition, known at import, says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradgen.eager.creation import arange
from gradgen.eager.tensor import Tensor
from gradgen.importers.onnx_graph import Missing, NotKnown, Scope
from gradgen.importers.onnx_table import At, Int, Known, Tensors, Value, entry, lib, refuse
from gradgen.trace.scan import scan

UNROLLED = 8
"""A loop of so many rounds is written out; a scan has the code of one round, and keeps the carry of every round."""


def _inside(at: At, graph: Any, inputs: list[Any]) -> list[Any]:
    scope = Scope(at.scope.opsets, at.scope, at.scope.attributes, dict(zip((i.name for i in graph.input), inputs)))
    return at.run.graph(graph, scope)


@entry("If", 1, 25)
def _if(cond: Value, then_branch: Any, else_branch: Any, at: At) -> Any:
    if isinstance(cond, Tensor):
        roots = at.run.roots(cond)
        if roots:
            raise NotKnown("the condition of an If", roots)
        raise refuse("a condition that depends on values")
    return tuple(_inside(at, then_branch if bool(np.reshape(cond, -1)[0]) else else_branch, []))


@entry("Loop", 1, 25)
def _loop(M: Known, cond: Value, v_initial: Value, body: Any, at: At) -> Any:
    if cond is not None and not bool(at.known(cond, "the condition of a Loop").reshape(-1)[0]):
        M = np.zeros(1, np.int64)
    carried = list(v_initial)
    rounds = None if M is None else M.reshape(-1).tolist()[0]
    if not isinstance(rounds, int) or (rounds > UNROLLED and _keeps(body)):
        return _scanned(at, body, rounds, carried)
    rows: list[list[Any]] = []
    for k in range(rounds):
        go, *found = _inside(at, body, [np.array(k, np.int64), np.array(True), *carried])
        carried, now = found[: len(carried)], found[len(carried):]
        rows.append(now)
        if isinstance(go, Missing):
            break
        if not bool(at.known(go, "the condition of a Loop").reshape(-1)[0]):
            break
    count = len(body.output) - 1 - len(carried)
    if not rows and count:
        raise refuse("a loop of no rounds with results of every round")
    return (*carried, *(lib.stack([at.tensor(row[k]) for row in rows], 0) for k in range(count)))


def _keeps(body: Any) -> bool:
    """Whether a loop's condition is passed on as it is, so that all rounds are run."""
    condition = body.output[0].name
    if condition == body.input[1].name:
        return True
    makers = {n.output[0]: n for n in body.node if n.output}
    maker = makers.get(condition)
    if maker is not None and maker.op_type == "Identity":
        return maker.input[0] == body.input[1].name
    return condition in {i.name for i in body.initializer} or (maker is not None and maker.op_type == "Constant")


def _scanned(at: At, body: Any, rounds: Any, carried: list[Any]) -> tuple[Any, ...]:
    if rounds is None or not _keeps(body) or any(isinstance(v, list) for v in carried):
        raise refuse("a number of rounds that depends on values")
    first = tuple(at.tensor(v) for v in carried)

    def step(carry: Any, k: Tensor) -> Any:
        _, *found = _inside(at, body, [k, np.array(True), *carry])
        tensors = tuple(at.tensor(v) for v in found)
        return tensors[: len(first)], tensors[len(first):]

    last, every = scan(step, first, arange(rounds))
    return (*last, *every)


@entry("Scan", 9, 25)
def _scan(
    initial_state_and_scan_inputs: Tensors, body: Any, num_scan_inputs: int, scan_input_axes: Any,
    scan_input_directions: Any, scan_output_axes: Any, scan_output_directions: Any, at: At
) -> tuple[Any, ...]:
    given = list(initial_state_and_scan_inputs)
    states, rows = given[:-num_scan_inputs], given[len(given) - num_scan_inputs:]
    axes, ways = scan_input_axes or [0] * len(rows), scan_input_directions or [0] * len(rows)
    rows = [lib.movedim(x, a, 0) for x, a in zip(rows, axes)]
    rows = [lib.flip(x, (0,)) if back else x for x, back in zip(rows, ways)]

    def step(carry: Any, slices: Any) -> Any:
        found = [at.tensor(v) for v in _inside(at, body, [*carry, *slices])]
        return tuple(found[: len(states)]), tuple(found[len(states):])

    last, every = scan(step, tuple(states), tuple(rows))
    axes, ways = scan_output_axes or [0] * len(every), scan_output_directions or [0] * len(every)
    every = tuple(lib.flip(y, (0,)) if back else y for y, back in zip(every, ways))
    return (*last, *(lib.movedim(y, 0, a) for y, a in zip(every, axes)))


# --- optional values ----------------------------------------------------------------------------------------------------


@entry("Optional", 15, 28, ignored="type")
def _optional(input: Value) -> Any:
    return (input,)


@entry("OptionalHasElement", 15, 28)
def _has(input: Value) -> Known:
    return np.array(input is not None)


@entry("OptionalGetElement", 15, 28)
def _get(input: Value) -> Any:
    return (input,)


# --- sequences ----------------------------------------------------------------------------------------------------------


@entry("SequenceConstruct", 11)
def _construct(inputs: Value) -> Any:
    return (list(inputs),)


@entry("SequenceEmpty", 11, ignored="dtype")
def _empty() -> Any:
    return ([],)


@entry("SequenceAt", 11)
def _at(input_sequence: Value, position: Int) -> Any:
    return input_sequence[position]


@entry("SequenceLength", 11)
def _length(input_sequence: Value) -> Any:
    return np.array(len(input_sequence), np.int64)


@entry("SequenceInsert", 11)
def _insert(input_sequence: Value, tensor: Value, position: Int) -> Any:
    found = list(input_sequence)
    found.insert(len(found) if position is None else position, tensor)
    return (found,)


@entry("SequenceErase", 11)
def _erase(input_sequence: Value, position: Int) -> Any:
    found = list(input_sequence)
    del found[-1 if position is None else position]
    return (found,)


@entry("ConcatFromSequence", 11)
def _concat(input_sequence: Value, axis: int, new_axis: int, at: At) -> Any:
    parts = [at.tensor(v) for v in input_sequence]
    return lib.stack(parts, axis) if new_axis else lib.cat(parts, axis)


@entry("SplitToSequence", 11, 24)
def _split(input: Value, split: Known, axis: int, keepdims: int, at: At) -> Any:
    x = at.tensor(input)
    n = x.shape[axis]
    if split is None:
        parts = [lib.narrow(x, axis, k, 1) for k in range(n)]
        return ([p if keepdims else lib.squeeze(p, axis) for p in parts],)
    if split.ndim == 0:
        return (list(lib.split(x, split.item(), axis)),)
    return (list(lib.split(x, split.tolist(), axis)),)
