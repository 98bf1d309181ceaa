"""Small programs, one per thing that an emitted bundle can contain.  Their bundles are in tests/golden/small_bundles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradgen as gg

Program = tuple[Callable[[], Any], dict[str, Any]]


def pointwise() -> Any:
    def pointwise(x, a):
        y = gg.sigmoid(a * x) + gg.exp(-x * x) / 3
        return y

    return gg.trace(pointwise, x=gg.spec("N", requires_grad=True), a=gg.spec(requires_grad=True))


def reduction() -> Any:
    def reduction(x):
        centred = x - x.mean(dim=1, keepdim=True)
        spread = (centred * centred).mean(dim=1).sqrt()
        largest = x.amax(dim=1)
        return spread, largest

    return gg.trace(reduction, x=gg.spec("N", "M", dtype=gg.float64, requires_grad=True))


def matmul() -> Any:
    def matmul(a, b):
        c = gg.tanh(a @ b)
        return c

    return gg.trace(matmul, a=gg.spec("N", 8, requires_grad=True), b=gg.spec(8, 4, requires_grad=True))


def softmax_regression() -> Any:
    def softmax_regression(x, t, w):
        loss = gg.nn.functional.cross_entropy(x @ w, t)
        return loss

    return gg.trace(
        softmax_regression, x=gg.spec("N", 6), t=gg.spec("N", dtype=gg.int64), w=gg.spec(6, 3, requires_grad=True))


def lookup() -> Any:
    """Reads through an index; its gradient is a scatter."""
    def lookup(table, rows):
        total = (table[rows] ** 3).sum()
        return total

    return gg.trace(lookup, table=gg.spec(10, 3, requires_grad=True), rows=gg.spec("K", dtype=gg.int64))


def guards() -> Any:
    """Concatenation and slices: reads with conditions."""
    def guards(x, y):
        joined = gg.cat([x[1:], y, x[:2] * 2])
        smooth = joined[1:] - joined[:-1]
        return smooth

    return gg.trace(guards, x=gg.spec(6, requires_grad=True), y=gg.spec(3, requires_grad=True))


def integers() -> Any:
    """No floating point at all."""
    def integers(x, k):
        best = x.argmax(dim=1)
        remainder = (k // 3) * 5 + k % 4
        small = k < 7
        return best, remainder, small

    return gg.trace(integers, x=gg.spec("N", 5, dtype=gg.int32), k=gg.spec("N", dtype=gg.int64))


def branches() -> Any:
    def branches(x):
        y = gg.where(x > 0, gg.sqrt(x), gg.relu(x + 1))
        return y

    return gg.trace(branches, x=gg.spec("N", requires_grad=True))


def constants() -> Any:
    """Tables of numbers in the function, used forward and backward."""
    def constants(x):
        weight = gg.tensor([0.5, 1.25, -2.0, 3.0])
        y = (x * weight + gg.arange(4)).sin()
        return y

    return gg.trace(constants, x=gg.spec("N", 4, requires_grad=True))


def random_numbers() -> Any:
    """Draws, in the functions' parameters and in both passes."""
    def random_numbers(x, w):
        hidden = gg.nn.functional.dropout(gg.tanh(x @ w), 0.25)
        noisy = hidden + 0.1 * gg.randn_like(hidden)
        return noisy

    return gg.trace(random_numbers, x=gg.spec("N", 4), w=gg.spec(4, 3, requires_grad=True))


PROGRAMS: dict[str, Program] = {
    "pointwise": (pointwise, {}),
    "reduction": (reduction, {}),
    "matmul": (matmul, {}),
    "softmax_regression": (softmax_regression, {}),
    "lookup": (lookup, {}),
    "guards": (guards, {}),
    "integers": (integers, {}),
    "constants": (constants, {}),
    "random_numbers": (random_numbers, {}),
    "branches_safe": (branches, {"nan_safe": True}),
    "forward_only": (matmul, {"forward_only": True}),
    "one_file": (pointwise, {"single_file": True}),
}
"""Name -> program factory and options."""
