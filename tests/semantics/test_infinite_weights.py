"""An infinite weight reaches what it multiplies, and nothing else: what lies outside of a window is no factor.

PyTorch's transposed convolutions and gradients by the input never multiply padding, nor do its convolutions by oneDNN, in
float32; convolutions do in float64.  A 0 that is there is a factor like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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
    "depthwise": (lambda x, w: F.conv2d(x, w, padding=1, groups=4), (2, 4, 9, 12), (4, 1, 3, 3)),
    "depthwise, strided": (lambda x, w: F.conv2d(x, w, padding=1, stride=2, groups=4), (2, 4, 9, 9), (4, 1, 3, 3)),
    "depthwise, a vector": (lambda x, w: F.conv1d(x, w, padding=2, groups=4), (2, 4, 30), (4, 1, 5)),
    "depthwise, a short window": (lambda x, w: F.conv1d(x, w, padding=1, groups=4), (2, 4, 30), (4, 1, 3)),
    "depthwise, a volume": (lambda x, w: F.conv3d(x, w, padding=1, groups=4), (1, 4, 5, 6, 5), (4, 1, 3, 3, 3)),
    "depthwise, transposed": (lambda x, w: F.conv_transpose2d(x, w, padding=1, groups=4), (2, 4, 8, 8), (4, 1, 3, 3)),
    "one channel": (lambda x, w: F.conv2d(x, w, padding=2), (2, 1, 12, 12), (1, 1, 5, 5)),
}


@pytest.mark.parametrize("bad", [INF, float("nan")])
@pytest.mark.parametrize("name", CASES)
def test_where_an_infinite_weight_counts(name: str, bad: float) -> None:
    f, shape, kernel = CASES[name]
    x, w = RNG.uniform(0.5, 1.5, shape).astype(np.float32), RNG.normal(size=kernel).astype(np.float32)
    at = (min(1, len(w) - 1), 0, *(0,) * (len(kernel) - 2))
    alone, without, infinite = np.zeros_like(w), w.copy(), w.copy()
    alone[at], without[at], infinite[at] = 1.0, 0.0, bad

    def value(weight: np.ndarray) -> np.ndarray:
        return f(gg.tensor(x), gg.tensor(weight)).numpy()  # type: ignore[no-any-return]

    reached = value(alone)
    expected = np.where(reached != 0, bad, value(without))
    assert 0 < np.isfinite(expected).sum() < expected.size
    np.testing.assert_allclose(value(infinite), expected, rtol=1e-5, atol=1e-5)


def test_padding_of_depthwise_float64() -> None:
    """PyTorch multiplies it there: nan at borders."""
    x, w = np.ones((1, 2, 6, 6)), np.ones((2, 1, 3, 3))
    w[1, 0, 0, 0] = INF
    y = F.conv2d(gg.tensor(x), gg.tensor(w), padding=1, groups=2).numpy()
    assert np.isfinite(y[0, 0]).all() and np.isinf(y[0, 1, 1:, 1:]).all()
    assert np.isnan(y[0, 1, 0]).all() and np.isnan(y[0, 1, :, 0]).all()


@pytest.mark.parametrize("size", [False, True])
def test_nests_that_stand_twice(size: bool, tmp_path: Path) -> None:
    """Small code has the guarded one only; both are right for finite weights and others."""
    program = gg.trace(lambda x, w: F.conv2d(x, w, padding=1, groups=2), x=gg.spec(1, 2, 9, 9), w=gg.spec(2, 1, 3, 3))
    module = gg.build(program, out=tmp_path, **({"optimise": "size"} if size else {}))
    x, w = np.ones((1, 2, 9, 9), np.float32), np.ones((2, 1, 3, 3), np.float32)
    assert module.forward(x, w)[0, 1, 0, 0] == 4 and module.forward(x, w)[0, 1, 4, 4] == 9
    w[1, 0, 0, 0] = INF
    y = np.asarray(module.forward(x, w))
    assert np.isfinite(y[0, 0]).all() and np.isinf(y[0, 1, 1:, 1:]).all() and np.isfinite(y[0, 1, 0]).all()


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


def test_nests_beside_those_of_gradients(tmp_path: Path) -> None:
    """value_and_grad has the sum over windows and the gradient of the weights, which go over the same elements."""
    def weighted(x: gg.Tensor, w: gg.Tensor, g: gg.Tensor) -> gg.Tensor:
        return (F.conv2d(x, w, padding=1, groups=3) * g).sum()

    shape, window = (2, 3, 1, 9), (3, 1, 3, 3)  # of a single row: the window's first lies outside everywhere
    specs = gg.spec(*shape, requires_grad=True), gg.spec(*window, requires_grad=True), gg.spec(*shape)
    module = gg.build(gg.trace(weighted, x=specs[0], w=specs[1], g=specs[2]), name="beside", out=tmp_path)
    x, w, g = (RNG.normal(size=s).astype(np.float32) for s in (shape, window, shape))
    w[:, :, 0] = 0
    expected, gradients = module.value_and_grad(x, w, g)
    w[:, :, 0] = INF
    value, found = module.value_and_grad(x, w, g)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(found.w, gradients.w, rtol=1e-6)
    np.testing.assert_allclose(found.x, gradients.x, rtol=1e-6)


ZEROS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "tril": (lambda x: gg.tril(x), np.tril),
    "triu": (lambda x: gg.triu(x, 2), lambda x: np.triu(x, 2)),
    "pad": (lambda x: F.pad(x, (1, 1)), lambda x: np.pad(x, ((0, 0), (1, 1)))),
    "cat": (lambda x: gg.cat([x, gg.zeros(len(x), 3, dtype=x.dtype)], 1), lambda x: np.pad(x, ((0, 0), (0, 3)))),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ZEROS)
def test_zeros_that_are_there(name: str, dtype: str) -> None:
    """0 times infinity is nan, in products with few rows and in those for the matrix kernel."""
    ours, by_hand = ZEROS[name]
    for rows, columns in ((2, 3), (40, 24)):
        x = np.ones((rows, rows), dtype)
        w = np.ones((by_hand(x).shape[1], columns), dtype)
        w[-1, 0] = w[0, 1] = INF
        with np.errstate(invalid="ignore"):
            expected = by_hand(x) @ w
        assert np.isnan(expected).any()
        np.testing.assert_array_equal((ours(gg.tensor(x)) @ gg.tensor(w)).numpy(), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape, kernel", [((2, 3, 8, 8), (4, 3, 3, 3)), ((4, 8, 14, 14), (16, 8, 3, 3))])
def test_padding_in_float64(shape: tuple[int, ...], kernel: tuple[int, ...], stride: int) -> None:
    """It is 0, and multiplied, by weights and, for their gradient, by cotangents; never for the gradient by the input."""
    def run(x: np.ndarray, w: np.ndarray, padding: int, infinite: bool) -> list[np.ndarray]:
        image, weight = gg.tensor(x, requires_grad=True), gg.tensor(w, requires_grad=True)
        y = F.conv2d(image, weight, padding=padding, stride=stride)
        g = np.ones(tuple(y.shape))
        g[0, 0, 0, 0] = INF if infinite else 1.0
        y.backward(gg.tensor(g))
        return [y.detach().numpy(), weight.grad.numpy(), image.grad.numpy()]

    x, w = np.ones(shape), np.ones(kernel)
    finite, infinite = w.copy(), w.copy()
    infinite[0, 0, 0, 0] = INF
    outside = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for weights, cotangent in ((infinite, False), (finite, True)):
        found, expected = run(x, weights, 1, cotangent), run(outside, weights, 0, cotangent)
        assert np.isnan(expected[0]).any() or np.isnan(expected[1]).any()
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
        assert not np.isnan(found[2]).any()
