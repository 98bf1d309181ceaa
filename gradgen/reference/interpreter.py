"""Reference interpreter: a Graph evaluated by NumPy, straight from the definition of each node kind.

It is the oracle for everything that has no PyTorch counterpart, so it shares no code with the scheduler: node by node, each
as `gradgen.ir.evaluation` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradgen.errors import GradgenError
from gradgen.ir.evaluation import (
    Body,
    Env,
    Rounding,
    bind_dims,
    compute_value,
    environment,
    extent_value,
    holds,
    integer,
)
from gradgen.ir.graph import Graph, topological
from gradgen.ir.kernels import reference, same_call
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Scan, Scatter


def _scatter(
    node: Scatter, values: Mapping[Node, np.ndarray], dims: Env, rounding: Rounding | None = None
) -> np.ndarray:
    shape = tuple(extent_value(e, dims) for e in node.shape)
    update = tuple(extent_value(e, dims) for e in node.update_shape)
    result = np.zeros(shape, node.dtype.numpy) if node.base is None else values[node.base].astype(node.dtype.numpy)
    env, types = environment(node, update, (), values, dims)
    inside = np.broadcast_to(holds(node.guard, env), update)
    index = [np.broadcast_to(integer(e, env), update) for e in node.index]
    body = np.broadcast_to(Body(env, types, node.dtype, rounding).value(node.body, node.dtype), update)
    combine = {"add": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}
    for where in np.ndindex(*update):
        if not inside[where]:
            continue
        at = tuple(int(i[where]) for i in index)
        if any(k < 0 or k >= n for k, n in zip(at, shape, strict=True)):
            raise IndexError(f"scatter index {at} outside {shape}")
        with np.errstate(all="ignore"):
            result[at] = body[where] if node.mode == "set" else combine[node.mode](result[at], body[where])
    return result


def _scan(
    node: Scan, values: Mapping[Node, np.ndarray], dims: Env, rounding: Rounding | None = None
) -> list[np.ndarray]:
    """The results of all outputs of the recurrence."""
    length = extent_value(node.length, dims)
    step: Graph = node.step
    carry = [values[n] for n in node.init]
    stacked = [
        np.zeros((length, *(extent_value(e, dims) for e in o.shape)), o.dtype.numpy)
        for o in step.outputs[len(node.init):]
    ]
    head = len(node.init) + len(node.sequences) + len(node.constants)
    for t in reversed(range(length)) if node.reverse else range(length):
        counter = [np.asarray(t, np.int64)] if len(step.inputs) > head else []
        arguments = [*carry, *(values[n][t] for n in node.sequences), *counter, *(values[n] for n in node.constants)]
        done = evaluate(step.outputs, dict(zip(step.inputs, arguments, strict=True)), dims, rounding)
        carry = done[: len(carry)]
        for rows, row in zip(stacked, done[len(carry):], strict=True):
            rows[t] = row
    return [*carry, *stacked]


def evaluate(
    outputs: Sequence[Node], given: Mapping[Node, Any], dims: Env | None = None, rounding: Rounding | None = None
) -> list[np.ndarray]:
    """The values of `outputs`, where `given` nodes (inputs, or any others) have theirs already."""
    values: dict[Node, np.ndarray] = {n: np.asarray(v, n.dtype.numpy) for n, v in given.items()}
    if dims is None:
        dims = bind_dims([(n.shape, values[n].shape) for n in given])
    calls: dict[tuple, Sequence[np.ndarray]] = {}  # of kernels and recurrences with several outputs
    for node in topological(outputs):
        if node in values:
            continue
        match node:
            case Constant():
                values[node] = node.array
            case Compute():
                if all(s in values for s in node.sources):
                    values[node] = compute_value(node, values, dims, rounding)
            case Scatter():
                if all(s in values for s in node.sources):
                    values[node] = _scatter(node, values, dims, rounding)
            case Scan():
                if node.call not in calls:
                    calls[node.call] = _scan(node, values, dims, rounding)
                values[node] = calls[node.call][node.output]
            case Input():
                continue  # needed only below a given node, or reported just below
            case Kernel():
                if all(s in values for s in node.sources):
                    key = same_call(node)
                    if key not in calls:
                        operands = [values[n] for n in node.operands]
                        if rounding is not None:  # what an algorithm that is backward stable may make of them
                            operands = [rounding("kernel", v) if v.dtype.kind == "f" else v for v in operands]
                        calls[key] = reference(node, operands)
                    values[node] = calls[key][node.output]
    missing = [n for n in outputs if n not in values]
    if missing:
        raise GradgenError(f"no value for {missing[0]!r}: an input is missing")
    return [values[n] for n in outputs]


def run(graph: Graph, *arguments: Any, **named: Any) -> list[np.ndarray]:
    """The outputs of a graph for its inputs, by position or name."""
    given: dict[Node, Any] = dict(zip(graph.inputs, arguments, strict=False))
    given |= {n: named[n.name] for n in graph.inputs if n.name in named}
    return evaluate(graph.outputs, given)
