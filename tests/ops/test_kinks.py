"""docs/kinks.md, row by row: by the interpreter, and against PyTorch where it is installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradgen.autodiff import gradients
from gradgen.ir import dtypes
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.ops import table
from gradgen.ops.symbolic import Symbolic
from gradgen.reference.interpreter import evaluate

from .kinks import KINKS, PAGE, Kink, page
from .symbolic import symbolic_operations


def _namespace() -> Any:
    functions = table.FUNCTIONS
    return SimpleNamespace(
        **functions[""], nn=SimpleNamespace(functional=SimpleNamespace(**functions["nn.functional"])),
        special=SimpleNamespace(**functions["special"]),
    )


@pytest.mark.parametrize("kink", KINKS, ids=lambda k: k.text)
def test_gradient_at_the_kink(kink: Kink) -> None:
    arrays = [np.asarray(v, np.float64) for v in kink.inputs]
    nodes = [Input(f"x{k}", a.shape, dtypes.float64, True) for k, a in enumerate(arrays)]
    with symbolic_operations():
        output = kink.call(_namespace(), *(Symbolic(n) for n in nodes)).node
    given: dict[Node, np.ndarray] = dict(zip(nodes, arrays))
    found = gradients([output], [Constant(np.ones(output.shape), dtypes.float64)], nodes)
    for node, gradient, expected in zip(nodes, found, kink.gradients):
        value = np.zeros(node.shape) if gradient is None else evaluate([gradient], given)[0]
        assert np.allclose(value, np.asarray(expected, np.float64), rtol=1e-12, equal_nan=True), value


@pytest.mark.parametrize("kink", [k for k in KINKS if k.like_torch], ids=lambda k: k.text)
def test_pytorch_says_the_same(kink: Kink) -> None:
    torch = pytest.importorskip("torch")
    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in kink.inputs]
    kink.call(torch, *inputs).sum().backward()
    for x, expected in zip(inputs, kink.gradients):
        value = np.zeros(tuple(x.shape)) if x.grad is None else x.grad.numpy()
        assert np.allclose(value, np.asarray(expected, np.float64), rtol=1e-12, equal_nan=True), value


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.ops.kinks"
