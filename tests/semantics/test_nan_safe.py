"""nan_safe=True: a branch not taken makes no derivative nan, at any order; what is taken is what PyTorch gives.

The truth of the random programs is the same program with every operand replaced where its branch is not taken (the "double
where"), differentiated without the option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.autodiff.compressed import sparse_hessian
from gradgen.autodiff.forward import tangents
from gradgen.autodiff.jacobian import hessian, jacobian
from gradgen.autodiff.reverse import gradients
from gradgen.ir.nodes import Constant, Node
from gradgen.reference.interpreter import evaluate

INF, NAN = float("inf"), float("nan")


def traced(f: Callable[..., Any], values: Mapping[str, Any]) -> tuple[Node, list[Any], dict[Any, np.ndarray]]:
    scope: dict[str, Any] = {"f": f}
    names = ", ".join(values)
    exec(f"def program({names}):\n    return {{'result': f({names})}}\n", scope)
    specs = {k: gg.spec(*np.shape(v), dtype=gg.float64, requires_grad=True) for k, v in values.items()}
    graph = gg.trace(scope["program"], **specs).graph
    return graph.outputs[0], list(graph.inputs), {n: np.asarray(values[n.name], np.float64) for n in graph.inputs}


def derivatives(f: Callable[..., Any], nan_safe: bool, **values: Any) -> list[np.ndarray]:
    """Gradients of the sum, the Hessian times 0.7, forward over reverse and reverse over reverse, and the tangent."""
    result, inputs, env = traced(f, values)

    def run(found: list[Node | None]) -> list[np.ndarray]:
        present = [n for n in found if n is not None]
        with np.errstate(all="ignore"):
            computed = iter(evaluate(present, env))
        return [np.zeros(()) if n is None else next(computed) for n in found]

    first = gradients([result], [Constant(np.ones(result.shape))], inputs, nan_safe=nan_safe)
    reached = [g for g in first if g is not None]
    along = {n: Constant(np.full(n.shape, 0.7)) for n in inputs}
    forward = tangents(reached, along)
    reverse = gradients(reached, [Constant(np.full(g.shape, 0.7)) for g in reached], inputs, nan_safe=nan_safe)
    return run([*first, *forward, *reverse, *tangents([result], along)])


def assigned(x: Any) -> Any:
    y = x.log()
    y[0] = 1.0
    return y * y


def scanned(x: Any) -> Any:
    """Steps whose not-taken branch overflows, or divides by zero."""
    def step(c: Any, v: Any) -> Any:
        c = gg.where(v <= 0, c + v, c * (1 / v).exp().sqrt())
        return c, gg.where(v > 0, c * v.log(), c)

    last, rows = gg.scan(step, gg.tensor(1.0, dtype=gg.float64), x)
    return rows.sum() + last


CASES: dict[str, tuple[Callable[..., Any], dict[str, Any], list[Any]]] = {
    "entropy": (lambda p: gg.where(p > 0, p * p.log(), 0.0), {"p": [0.0, 0.5, 1.0]}, [[0.0, np.log(0.5) + 1, 1.0]]),
    "elu by hand": (lambda a: gg.where(a <= 0, a.exp(), 1 + a), {"a": [1000.0, 0.0, -1.0]}, [[1.0, 1.0, np.exp(-1.0)]]),
    "sigmoid by hand": (lambda x: gg.where(x >= 0, 1 / (1 + (-x).exp()), x.exp() / (1 + x.exp())),
                        {"x": [-1000.0, 1000.0, 0.0]}, [[0.0, 0.0, 0.25]]),
    "softplus by hand": (lambda x: gg.where(x > 30, x, (1 + x.exp()).log()), {"x": [-1000.0, 1000.0, 0.0]},
                         [[0.0, 1.0, 0.5]]),
    "quotient": (lambda a, b: gg.where(a != 0, b * (1 / a), 0.0), {"a": [0.0, 2.0], "b": [3.0, 1.0]},
                 [[0.0, -0.25], [0.0, 0.5]]),
    "masked_fill": (lambda x: (1 / x).masked_fill(x == 0, 5.0), {"x": [0.0, 2.0]}, [[0.0, -0.25]]),
    "assignment": (assigned, {"x": [0.0, 1.0, np.e]}, [[0.0, 0.0, 2 / np.e]]),
    "relu": (lambda x: x.log().relu(), {"x": [0.0, 0.5, 4.0]}, [[0.0, 0.0, 0.25]]),
    "clamp": (lambda x: x.log().clamp(-1.0, 1.0), {"x": [0.0, 2.0, 50.0]}, [[0.0, 0.5, 0.0]]),
    "nan_to_num": (lambda x: gg.nan_to_num(2 * x.sqrt()), {"x": [-1.0, 4.0]}, [[0.0, 0.5]]),
    "amax": (lambda x: x.log().amax(0), {"x": [[0.0, 1.0], [4.0, 0.0]]}, [[[0.0, 1.0], [0.25, 0.0]]]),
    "max": (lambda x: x.log().max(0)[0], {"x": [[0.0, 1.0], [4.0, 0.0]]}, [[[0.0, 1.0], [0.25, 0.0]]]),
    "slice": (lambda x: x.sqrt()[1:], {"x": [0.0, 1.0]}, [[0.0, 0.5]]),
    "index": (lambda x: x.sqrt()[gg.tensor([1, 1])], {"x": [0.0, 1.0]}, [[0.0, 1.0]]),
    "scatter": (lambda x: (1 / x).scatter(0, gg.tensor([0]), 5.0), {"x": [0.0, 2.0]}, [[0.0, -0.25]]),
    "rows of nan": (lambda x, w: gg.where(x.isnan().any(1, keepdim=True), 0.0, x @ w),
                    {"x": [[1.0, NAN], [1.0, 2.0]], "w": [[1.0], [3.0]]},
                    [[[0.0, 0.0], [1.0, 3.0]], [[1.0], [2.0]]]),
    "norm": (lambda x: gg.where((x * x).sum(1) > 0, (x * x).sum(1).sqrt(), 0.0), {"x": [[0.0, 0.0], [3.0, 4.0]]},
             [[[0.0, 0.0], [0.6, 0.8]]]),
    "inverse": (lambda x: gg.where(gg.tensor([True, False])[:, None, None], gg.linalg.inv(x), 0.0),
                {"x": [[[2.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]]]},
                [[[[-0.25, -0.5], [-0.5, -1.0]], [[0.0, 0.0], [0.0, 0.0]]]]),
    "cumprod": (lambda x: gg.where(gg.tensor([True, False]), (1 / x).cumprod(0), 0.0), {"x": [2.0, 0.0]}, [[-0.25, 0.0]]),
}
"""Name -> function, inputs, gradients of the sum."""


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    f, values, expected = CASES[name]
    found = derivatives(f, True, **values)
    for gradient, wanted in zip(found, expected):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-12, atol=1e-15)
    n = len(expected)
    assert all(np.isfinite(a).all() for a in found), found
    for forward, reverse in zip(found[n : 2 * n], found[2 * n : 3 * n]):
        np.testing.assert_allclose(forward, reverse, rtol=1e-12, atol=1e-15)


def test_third_derivatives() -> None:
    result, inputs, env = traced(lambda p: gg.where(p > 0, p * p.log(), 0.0).sum(), {"p": [0.0, 0.5]})
    node: Node | None = result
    for expected in ([0.0, np.log(0.5) + 1], [0.0, 2.0], [0.0, -4.0], [0.0, 16.0]):
        assert node is not None
        (node,) = gradients([node], [Constant(np.ones(node.shape))], inputs, nan_safe=True)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(evaluate([node], env)[0], expected)


def test_dense_second_derivatives() -> None:
    result, inputs, env = traced(lambda p: gg.where(p > 0, p * p.log(), 0.0).sum(), {"p": [0.0, 0.5]})
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(evaluate([hessian(result, inputs, nan_safe=True)[0][0]], env)[0], [[0.0, 0.0], [0.0, 2.0]])
    result, inputs, env = traced(lambda p: gg.where(p > 0, p * p.log(), 0.0), {"p": [0.0, 0.5]})
    for mode in ("forward", "reverse"):
        with np.errstate(all="ignore"):
            (found,) = evaluate(jacobian(result, inputs, mode, nan_safe=True), env)
        np.testing.assert_allclose(found, [[0.0, 0.0], [0.0, np.log(0.5) + 1]])


def test_what_no_condition_selects_is_untouched() -> None:
    """An adjoint that happens to be 0 is no mask: its derivative counts, and 0 * inf is nan as in PyTorch."""
    gradient, forward, reverse, _ = derivatives(lambda x: (x.exp() - 1) ** 2, True, x=[0.0])
    assert (gradient[0], forward[0], reverse[0]) == (0.0, 1.4, 1.4)
    assert np.isnan(derivatives(lambda x: x.sqrt() ** 2, True, x=[0.0])[0][0])
    assert derivatives(lambda x: x.sqrt(), True, x=[0.0])[0][0] == INF


def test_the_default_is_pytorch() -> None:
    f, values, _ = CASES["entropy"]
    assert np.isnan(derivatives(f, False, **values)[0][0])


# --- random programs ------------------------------------------------------------------------------------------------------

SINGULAR: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda u: u > 0.1, lambda u: u.log()), (lambda u: u > 0.1, lambda u: u.sqrt()),
    (lambda u: u.abs() > 0.1, lambda u: 1 / u),
    (lambda u: u < 5, lambda u: (200 * u).exp().log() / 50), (lambda u: u.abs() < 0.9, lambda u: u.asin()),
    (lambda u: u > -0.9, lambda u: u.log1p()), (lambda u: u > 0.1, lambda u: u**0.3 * u.log()),
    (lambda u: u > 0.1, lambda u: (u.log() * u.sqrt()).tanh() / u), (lambda u: u.abs() > 0.1, lambda u: (u * u).rsqrt()),
]
"""Where a function is taken, and the function."""
SMOOTH: list[Callable[[Any], Any]] = [
    lambda u: u * u, lambda u: u.sin(), lambda u: 0.5 * u + 0.2, lambda u: u * u.tanh(), lambda u: u.cumsum(0) * 0.3,
    lambda u: u @ gg.tensor([[0.2, 1.0, -0.5], [0.3, -0.1, 0.7], [1.0, 0.4, 0.1]], dtype=gg.float64),
    lambda u: u - u.mean(1, keepdim=True), lambda u: gg.cat([u[1:], u[:1] * 2], 0), lambda u: u.t() * 0.9,
    lambda u: u.softmax(1) - 0.3, lambda u: u.amax(0) + u,
]


def program(seed: int, doubled: bool) -> Callable[[Any], Any]:
    """Selections of singular functions of each other; `doubled`: operands are replaced where they are not taken."""
    def run(x: Any) -> Any:
        rng = np.random.default_rng(seed)
        values = [x]
        for _ in range(4):
            u = values[rng.integers(len(values))]
            taken, function = SINGULAR[rng.integers(len(SINGULAR))]
            smooth = SMOOTH[rng.integers(len(SMOOTH))]
            condition = taken(u)
            operand = gg.where(condition, u, 0.5) if doubled else u
            kind = rng.integers(3)
            if kind == 0:
                made = gg.where(condition, function(operand), smooth(u))
            elif kind == 1:
                made = smooth(function(operand).masked_fill(~condition, 0.25))
            else:
                made = smooth(gg.where(~condition, u, function(operand) * values[rng.integers(len(values))]))
            values.append(made)
        return values[-1] + values[rng.integers(len(values))]

    return run


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    x = np.random.default_rng(1000 + seed).choice([0.0, -0.0, 0.3, -0.4, 1.5, -2.0, 6.0, 0.05], (3, 3))
    exact, found = derivatives(program(seed, True), False, x=x), derivatives(program(seed, False), True, x=x)
    assert all(np.isfinite(a).all() for a in exact)
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max(initial=1.0))


# --- scans and C ------------------------------------------------------------------------------------------------------------


def test_inside_a_scan() -> None:
    """c becomes c + v, or c exp(1/(2v)) where v is positive: at v = 0 the branch not taken has no value at all."""
    found = derivatives(scanned, True, x=[-1.0, 0.0, 1.0])
    assert all(np.isfinite(a).all() for a in found)
    h = np.exp(0.5)  # c: 0, 0, 0; rows: 0, 0, 0 log 1; last: 0
    np.testing.assert_allclose(found[0], [1 + 1 + h, 1 + h, 0.0])


def test_in_c(tmp_path: Path) -> None:
    """Gradient and Hessian by the emitted functions; rows that hold nan."""
    def safe_branches(p: Any, x: Any) -> Any:
        rows = gg.where(x.isnan().any(1, keepdim=True), 0.0, x * p).sum()
        return gg.where(p > 0, p * p.log(), 0.0).sum() + rows

    program = gg.trace(
        safe_branches, p=gg.spec(3, dtype=gg.float64, requires_grad=True), x=gg.spec("N", 3, dtype=gg.float64))
    module = gg.build(program, out=tmp_path, name="safe_branches", nan_safe=True, derivatives="hessian")
    p, x = np.array([0.0, 0.5, 1.0]), np.array([[1.0, NAN, INF], [1.0, 2.0, 3.0]])
    _, gradient = module.value_and_grad(p, x)
    np.testing.assert_allclose(gradient.p, [1.0, np.log(0.5) + 1 + 2, 1 + 3])
    np.testing.assert_allclose(module.hessian(p, x).p.p, np.diag([0.0, 2.0, 1.0]))


def test_piecewise() -> None:
    u = sympy.Symbol("u", real=True)
    formula = sympy.Piecewise((u * sympy.log(u), u > 0), (u**2, True))
    program = gg.from_sympy({"r": formula}, [u], name="p", requires_grad=["u"])
    node: Node | None = program.graph.outputs[0]
    env = {program.graph.inputs[0]: np.asarray(0.0, program.graph.inputs[0].dtype.numpy)}
    for expected in (0.0, 2.0, 0.0):
        assert node is not None
        (node,) = gradients([node], [Constant(1, node.dtype)], program.graph.inputs, nan_safe=True)
        with np.errstate(all="ignore"):
            assert node is None or evaluate([node], env)[0] == expected


def test_sparse_second_derivatives() -> None:
    result, inputs, env = traced(lambda p: gg.where(p > 0, p * p.log(), 0.0).sum(), {"p": [0.0, 0.5]})
    block = sparse_hessian(result, inputs, nan_safe=True)[0][0]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(evaluate([block.values], env)[0], [0.0, 2.0])
