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


TWICE = np.diag([1.0, 1.0, 2.0])
ROTATED = 3.0 * np.eye(4)[[1, 0, 3, 2]][:, :3]  # orthonormal columns: one singular value, three times


def of_values(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda t, x: f(t, t.linalg.eigvalsh(x)).sum()


REPEATED: dict[str, tuple[Callable[[Any, Any], Any], np.ndarray, np.ndarray]] = {
    "squares": (of_values(lambda t, w: w**2), TWICE, 2 * TWICE),
    "log of the determinant": (of_values(lambda t, w: t.log(w)), TWICE, np.diag([1.0, 1.0, 0.5])),
    "logsumexp": (lambda t, x: t.logsumexp(t.linalg.eigvalsh(x), 0), 2 * np.eye(3), np.eye(3) / 3),
    "of a batch": (of_values(lambda t, w: t.exp(w)), np.stack([np.eye(3), TWICE]),
                   np.stack([np.diag(np.exp(np.diag(m))) for m in (np.eye(3), TWICE)])),
    "discriminant": (lambda t, x: ((w := t.linalg.eigvalsh(x))[:, None] - w).pow(2).sum(), np.eye(3), np.zeros((3, 3))),
    "sum of singular values": (lambda t, x: t.linalg.svdvals(x).sum(), ROTATED, ROTATED / 3),
    "nuclear norm": (lambda t, x: t.linalg.matrix_norm(x, "nuc"), ROTATED, ROTATED / 3),
    "squared singular values": (lambda t, x: t.linalg.svdvals(x).pow(2).sum(), ROTATED, 2 * ROTATED),
    "pseudo-inverse": (lambda t, x: t.linalg.pinv(x).pow(2).sum(), ROTATED, -2 * ROTATED / 81),
    "spectral norm": (lambda t, x: t.linalg.matrix_norm(x, 2), ROTATED, ROTATED / 9),  # shared, as ties of amax are
}
"""What depends on eigenvalues or singular values alone, a matrix in which they repeat, and the gradient there."""

VECTORS: dict[str, tuple[Callable[[Any, Any], Any], np.ndarray]] = {
    "eigenvectors": (lambda t, x: t.linalg.eigh(x)[1].sum(), TWICE),
    "a function of the matrix": (lambda t, x: ((wv := t.linalg.eigh(x))[1] * t.exp(wv[0]) @ wv[1].mT).sum(), TWICE),
    "singular vectors": (lambda t, x: t.linalg.svd(x, full_matrices=False)[0].sum(), ROTATED),
    "polar factor": (lambda t, x: ((usv := t.linalg.svd(x, full_matrices=False))[0] @ usv[2]).sum(), ROTATED),
}


def first_and_second(f: Callable[[Any, Any], Any], value: np.ndarray) -> list[np.ndarray]:
    program = gg.trace(lambda x: f(gg, x), x=gg.spec(*value.shape, dtype=gg.float64, requires_grad=True))
    (first,) = gradients(program.graph.outputs, [Constant(np.ones(()))], program.graph.inputs)
    assert first is not None
    (second,) = gradients([first], [Constant(weights(value.shape, 1))], program.graph.inputs)
    with np.errstate(all="ignore"):
        return evaluate([first, *([second] if second is not None else [])], {program.graph.inputs[0]: value})


@pytest.mark.parametrize("name", REPEATED)
def test_gradients_where_values_repeat(name: str) -> None:
    f, value, expected = REPEATED[name]
    np.testing.assert_allclose(first_and_second(f, value)[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_have_no_derivative_where_values_repeat(name: str) -> None:
    """As in PyTorch, whose formulas divide by the differences too."""
    f, value = VECTORS[name]
    assert not np.isfinite(first_and_second(f, value)[0]).all()


@pytest.mark.parametrize("name", [*REPEATED, *VECTORS])
def test_finite_where_pytorch_is(name: str) -> None:
    """First and second derivatives are finite, and equal, where PyTorch's are."""
    torch = pytest.importorskip("torch")
    f, value = (REPEATED | VECTORS)[name][:2]
    x = torch.tensor(value, requires_grad=True)
    (first,) = torch.autograd.grad(f(torch, x), x, create_graph=True)
    found = [first.detach().numpy()]
    if first.requires_grad:
        (second,) = torch.autograd.grad((first * torch.tensor(weights(value.shape, 1))).sum(), x, allow_unused=True)
        found += [] if second is None else [second.numpy()]
    for ours, expected in zip(first_and_second(f, value), found, strict=False):
        assert np.isfinite(ours).all() or not np.isfinite(expected).all()
        if np.isfinite(expected).all():
            np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-10)
