"""Derivatives of determinants and pseudo-inverses to the third order and more, at singular matrices too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.autodiff.forward import tangents
from gradgen.autodiff.reverse import gradients
from gradgen.ir.nodes import Compute, Constant, Node, identity_read
from gradgen.ir.symbols import placeholder
from gradgen.reference.interpreter import evaluate

RNG = np.random.default_rng(7)


def low_rank(n: int, rank: int) -> np.ndarray:
    return np.round(RNG.normal(size=(n, rank)), 2) @ np.round(RNG.normal(size=(rank, n)), 2)


def weights(shape: Sequence[int], order: int) -> np.ndarray:
    return np.cos(1.0 + order + np.arange(float(np.prod(shape)))).reshape(tuple(shape))


def orders(f: Callable[[Any], Any], value: np.ndarray, count: int) -> list[np.ndarray]:
    """The gradient of a weighted sum, the gradient of that one's weighted sum, and so on; the last also by forward mode."""
    program = gg.trace(f, x=gg.spec(*value.shape, dtype=gg.float64, requires_grad=True))
    node: Node = program.graph.outputs[0]
    (x,) = program.graph.inputs
    found: list[Node] = []
    for order in range(count):
        (g,) = gradients([node], [Constant(weights(node.shape, order))], [x])
        assert g is not None
        found.append(g)
        node = g
    (along,) = tangents([found[-2]], {x: Constant(weights(value.shape, 9))})
    assert along is not None
    both = [Compute(g.shape, placeholder(0), [identity_read(g)], g.dtype) for g in found]
    with np.errstate(all="ignore"):
        *values, forward = evaluate([*both, along], {x: value})
    # second derivatives commute: <W, D g[V]> = <V, the gradient of <W, g>>
    one, other = (weights(value.shape, count - 1) * forward).sum(), (weights(value.shape, 9) * values[-1]).sum()
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    return values


MATRICES = {
    "2, rank 1": np.array([[1.0, 2.0], [2.0, 4.0]]), "2, rank 0": np.zeros((2, 2)),
    "3, rank 1": low_rank(3, 1), "3, rank 2": low_rank(3, 2), "3": low_rank(3, 3), "4, rank 0": np.zeros((4, 4)),
    "4, rank 2": low_rank(4, 2), "4": low_rank(4, 4), "4, repeated": np.diag([-1.0, 1.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_determinants_are_polynomials(name: str) -> None:
    value = MATRICES[name]
    n = len(value)
    symbols = sympy.symbols(f"x:{n * n}")
    formula = sympy.Matrix(n, n, symbols).det(method="berkowitz")
    at = dict(zip(symbols, value.ravel().tolist()))
    formula = formula * sympy.Float(float(weights((), 0)))
    found = orders(lambda x: gg.linalg.det(x), value, min(n, 3))
    for order, gradient in enumerate(found):
        slopes = [sympy.diff(formula, s) for s in symbols]
        exact = np.array([float(s.subs(at)) for s in slopes]).reshape(n, n)
        np.testing.assert_allclose(gradient, exact, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(value).max() ** n))
        formula = sum(w * s for w, s in zip(weights((n, n), order + 1).ravel().tolist(), slopes))


def test_determinants_of_a_batch() -> None:
    value = np.stack([low_rank(4, 4), low_rank(4, 2), np.zeros((4, 4))])
    together = orders(lambda x: gg.linalg.det(x), value, 3)[0]
    alone = [orders(lambda x: gg.linalg.det(x), v, 2)[0] / weights((), 0) for v in value]
    np.testing.assert_allclose(together, np.stack(alone) * weights((3,), 0)[:, None, None], rtol=1e-11, atol=1e-13)


def test_hessian_in_eager_use() -> None:
    """The pullback reads the LU factors, whose own derivative has none at a pivot of 0: nothing flows through them."""
    x = gg.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=gg.float64, requires_grad=True)
    (g,) = gg.autograd.grad(gg.linalg.det(x), x, create_graph=True)
    rows = [gg.autograd.grad(g[i, j], x, retain_graph=True)[0].numpy() for i in range(2) for j in range(2)]
    np.testing.assert_array_equal(np.reshape(rows, (4, 4)), [[0, 0, 0, 1], [0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]])


TALL, WIDE = RNG.normal(size=(4, 3)), RNG.normal(size=(2, 4))
LEFT, RIGHT = RNG.normal(size=(4, 2)), RNG.normal(size=(2, 3))
SIDE = RNG.normal(size=(4, 2))


def by_normal_equations(x: Any) -> Any:
    return gg.linalg.solve(x.mT @ x, x.mT)


INVERSES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], np.ndarray]] = {
    "tall": (gg.linalg.pinv, by_normal_equations, TALL),
    "wide": (gg.linalg.pinv, lambda x: by_normal_equations(x.mT).mT, WIDE),
    "repeated": (gg.linalg.pinv, gg.linalg.inv, np.eye(3)),
    "low rank": (lambda x: gg.linalg.pinv(x @ gg.tensor(RIGHT)),
                 lambda x: gg.linalg.pinv(gg.tensor(RIGHT)) @ by_normal_equations(x), LEFT),
    "hermitian": (lambda x: gg.linalg.pinv(x @ x.mT + gg.eye(4, dtype=gg.float64), hermitian=True),
                  lambda x: gg.linalg.inv(x @ x.mT + gg.eye(4, dtype=gg.float64)), LEFT),
    "lstsq": (lambda x: gg.linalg.lstsq(x, gg.tensor(SIDE)).solution,
              lambda x: by_normal_equations(x) @ gg.tensor(SIDE), TALL),
}


@pytest.mark.parametrize("name", INVERSES)
def test_third_derivatives(name: str) -> None:
    ours, other, value = INVERSES[name]
    for found, exact in zip(orders(lambda x: ours(x), value, 3), orders(lambda x: other(x), value, 3), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-8 * np.abs(exact).max())
