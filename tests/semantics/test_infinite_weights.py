"""An infinite weight reaches what it multiplies, and nothing else: what lies outside of a window is no factor.

PyTorch's transposed convolutions and gradients by the input never multiply padding; its convolutions do in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg

F = gg.nn.functional
INF = float("inf")
RNG = np.random.default_rng(3)

CASES: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...], tuple[int, ...]]] = {
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, padding=1), (2, 8, 10, 10), (8, 8, 3, 3)),
    "transposed, by phases": (lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1), (2, 8, 10, 10), (8, 8, 3, 3)),
    "transposed, even": (lambda x, w: F.conv_transpose1d(x, w, stride=2), (4, 16, 40), (16, 16, 4)),
    "transposed, few": (lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=1), (1, 2, 5), (2, 3, 3)),
    "padded": (lambda x, w: F.conv2d(x, w, padding=1), (2, 8, 12, 12), (32, 8, 3, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_where_an_infinite_weight_counts(name: str) -> None:
    f, shape, kernel = CASES[name]
    x, w = RNG.uniform(0.5, 1.5, shape).astype(np.float32), RNG.normal(size=kernel).astype(np.float32)
    at = (1, 0, *(0,) * (len(kernel) - 2))
    alone, without, infinite = np.zeros_like(w), w.copy(), w.copy()
    alone[at], without[at], infinite[at] = 1.0, 0.0, INF

    def value(weight: np.ndarray) -> np.ndarray:
        return f(gg.tensor(x), gg.tensor(weight)).numpy()  # type: ignore[no-any-return]

    reached = value(alone)
    expected = np.where(reached != 0, INF, value(without))
    assert 0 < np.isinf(expected).sum() < expected.size
    np.testing.assert_allclose(value(infinite), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_by_the_input(stride: int) -> None:
    w = RNG.normal(size=(16, 8, 3, 3)).astype(np.float32)
    alone, without, infinite = np.zeros_like(w), w.copy(), w.copy()
    at = (1, 0, 0, 0)
    alone[at], without[at], infinite[at] = 1.0, 0.0, INF

    def gradient(weight: np.ndarray) -> np.ndarray:
        x = gg.ones(2, 8, 13, 13, requires_grad=True)
        F.conv2d(x, gg.tensor(weight), stride=stride).sum().backward()
        return x.grad.numpy()  # type: ignore[no-any-return]

    expected = np.where(gradient(alone) != 0, INF, gradient(without))
    np.testing.assert_allclose(gradient(infinite), expected, rtol=1e-5, atol=1e-5)
