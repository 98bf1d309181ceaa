"""The public functions run over bare graph nodes: no Tensor, no engine, no compiler.

Operations are called by name, on nodes.  So a public function becomes a graph, which the reference interpreter evaluates
and autodiff differentiates.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradgen.autodiff import gradients
from gradgen.ir import dtypes
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.ops import by_name, table
from gradgen.ops.symbolic import Nodes
from gradgen.ops.tensors import using
from gradgen.reference.interpreter import evaluate

from .cases import Case, cotangent

symbolic_operations = partial(using, Nodes())


def function(path: str) -> Any:
    namespace, _, name = path.rpartition(".")
    return table.FUNCTIONS[namespace][name]


def flat(results: Any) -> list[Any]:
    """Tensors of a result in order, other values left out."""
    if isinstance(results, (tuple, list)):
        return [x for r in results for x in flat(r)]
    return [results] if hasattr(results, "dtype") else []


class Outcome:
    """Values, first and second derivatives of one case; a missing derivative is None."""

    def __init__(self, values: list[np.ndarray], first: list[Any], second: list[Any]) -> None:
        self.values, self.first, self.second = values, first, second


def run(case: Case, order: int = 2) -> Outcome:
    """Our value and derivatives, by the interpreter."""
    given: dict[Node, np.ndarray] = {}
    wrt: list[Node] = []

    def tensor(array: np.ndarray, wants: bool) -> Node:
        node = Input(f"x{len(given)}", array.shape, dtypes.dtype(array.dtype), wants)
        given[node] = array
        if wants:
            wrt.append(node)
        return node

    outputs = flat(by_name.call(case.path, *case.arguments(tensor)))
    values = evaluate(outputs, given)
    if not wrt or not case.sample.differentiable:
        return Outcome(values, [], [])
    smooth = [(k, n) for k, n in enumerate(outputs) if n.dtype.is_floating_point]
    seeds = [Constant(cotangent(n.shape, n.dtype.name, k), n.dtype) for k, n in smooth]
    found = gradients([n for _, n in smooth], seeds, wrt)
    second: list[Any] = []
    if order > 1:
        present = [(k, g) for k, g in enumerate(found) if g is not None]
        directions = [Constant(cotangent(g.shape, g.dtype.name, 7 + k), g.dtype) for k, g in present]
        second = gradients([g for _, g in present], directions, wrt)
    wanted = [g for g in (*found, *second) if g is not None]
    numbers = dict(zip(wanted, evaluate(wanted, given)))
    return Outcome(values, [g and numbers[g] for g in found], [g and numbers[g] for g in second])


def value_at(case: Case, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs with the differentiated arguments replaced, for finite differences."""
    given: dict[Node, np.ndarray] = {}
    left = iter(arrays)

    def tensor(array: np.ndarray, wants: bool) -> Node:
        node = Input(f"x{len(given)}", array.shape, dtypes.dtype(array.dtype), wants)
        given[node] = next(left) if wants else array
        return node

    outputs = [n for n in flat(by_name.call(case.path, *case.arguments(tensor))) if n.dtype.is_floating_point]
    return evaluate(outputs, given)
