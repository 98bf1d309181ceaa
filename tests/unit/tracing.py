"""A function of one tensor, eagerly and as a traced graph that the interpreter of graphs runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.ir.nodes import Constant
from gradgen.reference.interpreter import evaluate

X = np.array([0.5, -1.5, 2.0, 3.0])


def eager(function: Callable[..., Any], x: np.ndarray = X) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the function's result and its gradient."""
    leaf = gg.tensor(x, requires_grad=True)
    result = function(leaf).sum()
    (gradient,) = gg.autograd.grad(result, leaf, materialize_grads=True)
    return result.detach().numpy(), gradient.numpy()


def traced(function: Callable[..., Any], x: np.ndarray = X) -> tuple[np.ndarray, np.ndarray]:
    """The same from the traced graph, by the interpreter of graphs."""
    program = gg.trace(lambda x: function(x).sum(), x=gg.spec(*x.shape, dtype=gg.float64, requires_grad=True))
    (node,) = program.graph.inputs
    (gradient,) = gradients(program.graph.outputs, [Constant(1.0)], [node])
    value, found = evaluate([*program.graph.outputs, gradient], {node: x})
    return value, found


def assert_alike(function: Callable[..., Any], like: Callable[..., Any] | None = None) -> None:
    """The traced function gives what eager use of it, or of `like`, gives."""
    for mine, wanted in zip(traced(function), eager(like or function)):
        np.testing.assert_allclose(mine, wanted, rtol=1e-14)
