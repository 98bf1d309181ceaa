"""Transforms in traces: the graph gives what PyTorch's eager transform gives, and is a program that reverse mode reads."""

import runpy

import numpy as np
import pytest
from harness import CASES, recorded

import gradgen as gg
from gradgen.ir.functions import local, retold
from gradgen.ir.nodes import Compute
from gradgen.reference.interpreter import evaluate

CASE = runpy.run_path(str(CASES / "forward_mode.py"))


@pytest.mark.parametrize("transform", list(CASE["transforms"](gg)))
def test_traced_transforms_give_what_pytorch_gives(transform):
    spec = gg.spec(3, dtype=gg.float64, requires_grad=True)
    graph = gg.trace(lambda x: CASE["results"](gg, transform, x), spec, check=False).graph
    assert not any(isinstance(n, Compute) and n.body.has(local, retold) for n in graph.nodes)
    (found,) = evaluate(graph.outputs, {graph.inputs[0]: np.array([0.3, 0.6, 1.2])})
    (line,) = recorded("forward_mode")[transform.replace(" ", "_")]
    assert np.allclose(found, [float(v) for v in line.split()], rtol=1e-8)  # nine digits are recorded


def test_a_program_holds_what_no_grad_computed():
    """The derivatives of a program are reverse mode's, whatever mode finds them: no_grad is constant to its Hessian."""
    from gradgen.autodiff import gradients
    from gradgen.ir.nodes import Constant

    def function(x):
        with gg.no_grad():
            y = x * x
        y2 = x * 2
        with gg.no_grad():
            y2.mul_(x)
        return (y * x + y2 * x).sum()

    graph = gg.trace(function, gg.spec(3, dtype=gg.float64, requires_grad=True)).graph
    assert not any(isinstance(n, Compute) and n.body.has(local, retold) for n in graph.nodes)
    (slope,) = gradients(graph.outputs, [Constant(1.0)], [graph.inputs[0]])
    x = np.array([0.3, 0.6, 1.2])
    (found,) = evaluate([slope], {graph.inputs[0]: x})
    assert np.allclose(found, x * x + 2 * x + 2 * x * x, rtol=1e-14)
