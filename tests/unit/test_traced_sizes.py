"""Named sizes in formulas, and what a trace refuses because its result would be silently another."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import TraceError
from gradgen.reference.interpreter import evaluate

X = np.arange(1.0, 13.0).reshape(4, 3)
FORMULAS: list[Callable[[Any], Any]] = [
    lambda x: x.sum() / x.shape[0], lambda x: x.shape[0] * x, lambda x: x.shape[0] / x, lambda x: 1 - x.shape[0] - x,
    lambda x: x * x.shape[0] ** 0.5, lambda x: x * x.shape[0] ** -0.5, lambda x: x ** x.shape[0],
    lambda x: x / (x.shape[0] - 1),
    lambda x: x.sum() / (x.shape[0] * x.shape[1]), lambda x: x * (x.shape[0] / 2), lambda x: x - x.shape[0] // 3,
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(FORMULAS)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_named_size_is_the_number_it_will_be(k: int, dtype: str) -> None:
    traced = gg.trace(FORMULAS[k], x=gg.spec("N", 3, dtype=getattr(gg, dtype)))
    x = X.astype(dtype)
    (found,) = evaluate(traced.graph.outputs, {traced.graph.inputs[0]: x})
    expected = FORMULAS[k](x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol={"float32": 1e-6, "float64": 1e-14}[dtype])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 2.5, -0.1])
def test_a_tensor_of_one_number_and_a_named_size(value: float) -> None:
    traced = gg.trace(lambda x: gg.full((x.shape[0], 2), value, dtype=gg.float64), x=gg.spec("N"))
    (found,) = evaluate(traced.graph.outputs, {traced.graph.inputs[0]: np.zeros(3, np.float32)})
    np.testing.assert_array_equal(found, np.full((3, 2), value))


def test_sizes_of_integer_tensors_promote_as_numbers_do() -> None:
    traced = gg.trace(lambda k: (k * k.shape[0], k / k.shape[0]), k=gg.spec("N", dtype=gg.int32))
    assert [o.dtype for o in traced.graph.outputs] == [gg.int32, gg.float32]


@pytest.mark.parametrize("function", [
    lambda x: x * math.sqrt(x.shape[0]), lambda x: sum(x[i] for i in range(x.shape[0])),
    lambda x: x if x.shape[0] > 2 else -x,
    lambda x: x[x.shape[0] - 1], lambda x: x[: x.shape[0] // 2],
])  # fmt: skip
def test_where_a_number_is_needed_the_line_is_named(function: Callable[[Any], Any]) -> None:
    with pytest.raises(TraceError, match=re.escape(__file__)):
        gg.trace(function, x=gg.spec("N", 3))


class Tripled(gg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 3


def hooked(x: Any) -> Any:
    x.register_hook(lambda g: g * 3)
    return x * 1


def test_python_that_a_trace_would_lose() -> None:
    """It was traced as if the gradient were that of the operations: silently another one."""
    with pytest.raises(TraceError):
        gg.trace(lambda x: (hooked(x) + x).sum(), x=gg.spec(3, requires_grad=True))
    assert gg.func.grad(lambda x: (Tripled.apply(x) + x).sum())(gg.ones(2)).tolist() == [4.0, 4.0]


@pytest.mark.parametrize("made", [
    lambda n: gg.arange(n), lambda n: gg.zeros(n, 2).sum(), lambda n: gg.ones(()) / n, lambda n: gg.ones(3).expand(n, 3)])
def test_what_has_a_named_size_has_no_value(made: Callable[[Any], Any]) -> None:
    """No argument of the function is in these tensors, and yet nobody can look at them before the size is known."""
    def looking(x: Any) -> Any:
        return x * made(x.shape[0]).sum().item()

    with pytest.raises(TraceError, match="has none while the function is traced"):
        gg.trace(looking, x=gg.spec("N"))


def test_indices_of_a_named_number_are_not_looked_at() -> None:
    """embedding checks indices that are known; these are known but for how many there are."""
    table = np.arange(6.0).reshape(3, 2)
    traced = gg.trace(lambda x, w: gg.nn.functional.embedding(gg.tensor([2]).expand(x.shape[0]), w) + x,
                      x=gg.spec("N", 2, dtype=gg.float64), w=gg.spec(3, 2, dtype=gg.float64))
    (found,) = evaluate(traced.graph.outputs, dict(zip(traced.graph.inputs, (np.zeros((4, 2)), table))))
    np.testing.assert_array_equal(found, np.tile(table[2], (4, 1)))
