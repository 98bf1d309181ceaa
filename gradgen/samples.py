"""One small call of a module with the values it should give, computed when the module is generated.

`selftest.c` holds them, so that the machine on which a bundle ends up compares with what the graph means, and not only
with itself.  The reference interpreter computes them in double precision; they are rounded to what the self-test
compares, so that the bundle's bytes do not depend on the last digits of this machine's mathematics library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradgen.autodiff import Joint
from gradgen.codegen.extents import elements, evaluate
from gradgen.codegen.interface import Argument, Interface
from gradgen.codegen.programs import MOST_RECORDED, TEST_DIM, TEST_SEEDS, Samples, dim_values
from gradgen.errors import GradgenError
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import DType, float32
from gradgen.ir.graph import Graph, topological
from gradgen.ir.interpreter import evaluate as interpret
from gradgen.ir.nodes import Compute, Kernel, Node, Scan, Scatter
from gradgen.ir.widen import widened

MOST_NODES = 80
MOST_OPERATIONS = 1 << 15
"""Beyond this many nodes or evaluations of bodies a module goes without: the interpreter would slow the build down."""

LEAST_OPERATIONS = 8
"""What a look at a node counts at least: in a recurrence of scalars the interpreter's own steps take the time."""

DIGITS = {"float32": 6, "float64": 11}
"""Recorded digits, of the largest element of a tensor: two more than the self-test compares."""

AGREEMENT = 2e-5
"""How far, of the largest element, float32 may be from the double precision value: a fifth of what the self-test allows."""


def recorded_call(graph: Graph, joint: Joint | None, interface: Interface) -> Samples | None:
    """Inputs, outputs, incoming gradients and gradients of one call; None where that would be too much."""
    dims = dim_values(interface, TEST_DIM)
    gradients = [g for g in joint.gradients if g is not None] if joint else []
    if _too_much([*graph.outputs, *gradients], interface, dims):
        return None
    inputs = {a.name: a for a in interface.inputs}
    for modulus in (3, 2, 1):  # integers are indices somewhere: large ones may be out of range
        values = {n: _made_up(a, k, dims, modulus) for k, (n, a) in enumerate(inputs.items())}
        try:
            return _call(graph, joint, interface, dims, values)
        except IndexError:
            continue
        except (GradgenError, ArithmeticError):
            return None
    return None


def _too_much(outputs: Sequence[Node], interface: Interface, dims: Mapping[str, int]) -> bool:
    listed = [*interface.inputs, *interface.outputs, *interface.parameters, *interface.differentiable_outputs]
    if sum(evaluate(elements(a.shape), dims) for a in listed) > MOST_RECORDED:
        return True
    nodes = topological(outputs)
    if len(nodes) > MOST_NODES or any(_ambiguous(n) for n in nodes):
        return True
    return _evaluations(nodes, dims, {}) > MOST_OPERATIONS


def _ambiguous(node: Node) -> bool:
    """Eigenvectors: either sign is right, and another implementation has another."""
    return isinstance(node, Kernel) and node.name == "eigh" and node.output == 1


def _evaluations(nodes: Sequence[Node], dims: Mapping[str, int], steps: dict[Graph, int]) -> int:
    """How many bodies are evaluated; `steps` remembers what one step of a recurrence takes."""
    total = 0
    for node in nodes:
        match node:
            case Compute():
                found = evaluate(elements((*node.shape, *node.reduce_shape)), dims)
            case Scatter():
                found = evaluate(elements(node.update_shape), dims)
            case Kernel():  # at most cubic in the extent of a matrix
                found = 4 * evaluate(elements((*node.shape, *node.operands[0].shape[-1:])), dims)
            case Scan():
                if node.step not in steps:
                    steps[node.step] = _evaluations(node.step.nodes, dims, steps)
                found = evaluate(elements((node.length,)), dims) * steps[node.step]
            case _:
                continue
        total += max(found, LEAST_OPERATIONS)
    return total


def _made_up(argument: Argument, position: int, dims: Mapping[str, int], modulus: int) -> np.ndarray:
    """Numbers between 1/8 and 7/8, where most functions are smooth: multiples of 1/4096, exact in every dtype."""
    shape = tuple(evaluate(e, dims) for e in argument.shape)
    # multiplicative hashing (Knuth, TAOCP 6.4): distinct, and in no order
    hashed = (np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(97 * position + 1)) * np.uint64(2654435761)
    level = (hashed >> np.uint64(20)) % np.uint64(3072)
    values: np.ndarray
    if argument.dtype.is_floating_point:
        values = level.astype(np.float64) / 4096 + 0.125
    else:
        values = level % np.uint64(modulus if argument.dtype.category else 2)
    return values.reshape(shape).astype(argument.dtype.numpy)


def _call(
    graph: Graph, joint: Joint | None, interface: Interface, dims: Mapping[str, int], values: Mapping[str, np.ndarray]
) -> Samples:
    seeds = dict(joint.seeds) if joint else {}
    cotangents = {a.name: _seed(a, k, dims, len(seeds) == 1) for k, a in enumerate(interface.differentiable_outputs)}
    parameters = {n.name: g for n, g in zip(joint.parameters, joint.gradients) if g is not None} if joint else {}
    wanted = [*graph.outputs, *parameters.values()]
    own: dict[Node, Any] = {n: np.array(TEST_SEEDS) if n is STATE else values[n.name] for n in graph.inputs}
    own |= {seed: cotangents[name] for name, seed in seeds.items()}
    wide = widened([*wanted, *own])
    with np.errstate(all="ignore"):
        exact = interpret([wide[n] for n in wanted], {wide[n]: v for n, v in own.items()})
        rough = interpret(wanted, own) if any(n.dtype is float32 for n in wanted) else exact
    found = [_recordable(e, r, n.dtype) for e, r, n in zip(exact, rough, wanted, strict=True)]
    count = len(graph.outputs)
    gradients = dict(zip(parameters, found[count:], strict=True))
    for a in interface.parameters:  # structural zeros
        gradients.setdefault(a.name, np.zeros([evaluate(e, dims) for e in a.shape], a.dtype.numpy))
    outputs = dict(zip(graph.output_names, found[:count], strict=True))
    return Samples(dict(dims), dict(values), _present(outputs), cotangents, _present(gradients))


def _present(found: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    return {name: value for name, value in found.items() if value is not None}


def _seed(argument: Argument, position: int, dims: Mapping[str, int], alone: bool) -> np.ndarray:
    if alone and not argument.shape:
        return np.ones((), argument.dtype.numpy)
    return _made_up(argument, position + 50, dims, 1) + argument.dtype.numpy.type(0.5)


def _recordable(exact: np.ndarray, rough: np.ndarray, dtype: DType) -> np.ndarray | None:
    """The values with as many digits as count, seen from their largest; what is no number stays.

    None where there is nothing to compare with: computed in the dtype itself the values are different ones (saturated,
    cancelled, on the other side of a kink), or they leave its range.
    """
    if not dtype.is_floating_point:
        return exact if np.array_equal(exact, rough) else None
    finite = np.abs(exact[np.isfinite(exact)])
    largest = float(finite.max()) if finite.size else 0.0
    if not np.allclose(rough, exact, rtol=0.0, atol=AGREEMENT * largest, equal_nan=True):
        return None
    if largest == 0.0:
        return exact.astype(dtype.numpy)
    if not np.finfo(dtype.numpy).tiny < largest < np.finfo(dtype.numpy).max / 16:
        return None
    decimals = max(DIGITS[dtype.name] - 1 - math.floor(math.log10(largest)), 0)
    rounded = [float(f"{v:.{decimals}f}") if np.isfinite(v) else v for v in exact.ravel().tolist()]
    return (np.array(rounded) + 0.0).reshape(exact.shape).astype(dtype.numpy)
