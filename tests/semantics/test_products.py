"""Derivatives of products at several zeros, to the fourth order, against the polynomials that they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg

PLACES = [0, 1, 0, 0, 1, 0]


def by_place(first: list[Any], factors: Any) -> Any:
    """2 a + 3 b of the products of what arrives at places 0 and 1."""
    found = [first[p] * sympy.prod([f for f, q in zip(factors, PLACES) if q == p]) for p in (0, 1)]
    return 2 * found[0] + 3 * found[1]


def scattered(x: Any, base: Any, **options: Any) -> Any:
    factors = x[x.numel() - 6 :]
    found = base.scatter_reduce(0, gg.tensor(PLACES), factors, "prod", **options)
    return found * gg.tensor([2.0, 3.0], dtype=gg.float64)


def in_matrix(x: Any) -> Any:
    """Along the second axis of a matrix, at its first and last row."""
    index = gg.tensor([PLACES, PLACES])
    both = gg.stack([x, x.flip(0)])
    weights = gg.tensor([[2.0, 3.0], [0.5, 0.0]], dtype=gg.float64)
    return gg.ones(2, 2, dtype=gg.float64).scatter_reduce(1, index, both, "prod") * weights


CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], list[float]]] = {
    "three zeros": (lambda x: x.prod(), sympy.prod, [0.0, 0.0, 0.0]),
    "three of five": (lambda x: x.prod(), sympy.prod, [0.0, 2.0, 0.0, -0.0, 0.5]),
    "no zero": (lambda x: x.prod(), sympy.prod, [-1.0, 2.0, 3.0, 0.5]),
    "along an axis": (lambda x: x.reshape(4, 2).prod(0), lambda x: sympy.prod(x[::2]) + sympy.prod(x[1::2]),
                      [0.0, 1.0, 0.0, 0.0, 0.0, 3.0, 2.0, 0.0]),
    "of two axes": (lambda x: (x * x + x).reshape(1, 2, 2).prod(), lambda x: sympy.prod(v * v + v for v in x),
                    [0.0, -1.0, 0.0, 2.0]),
    "cumprod": (lambda x: x.cumprod(0) * gg.tensor([1.0, 2.0, 3.0, 4.0], dtype=gg.float64),
                lambda x: sum((k + 1) * sympy.prod(x[: k + 1]) for k in range(4)), [0.0, 0.0, 0.0, 2.0]),
    "scatter_reduce": (lambda x: scattered(x, x[:2]), lambda x: by_place(x[:2], x[2:]),
                       [0.0, 2.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.5]),
    "scatter_reduce without self": (lambda x: scattered(x, gg.ones(2, dtype=gg.float64), include_self=False),
                                    lambda x: by_place([1, 1], x), [0.0, 0.0, 0.0, 0.0, 1.0, 3.0]),
    "scatter_reduce in a matrix": (
        in_matrix, lambda x: by_place([1, 1], x) + sympy.prod(v for v, p in zip(x[::-1], PLACES) if p == 0) / 2,
        [0.0, 0.0, 0.0, 2.0, 1.0, 3.0]),
    "powers": (lambda x: x[0] ** 3 * x[1] ** 2 + x**4, lambda x: x[0] ** 3 * x[1] ** 2 * 2 + x[0] ** 4 + x[1] ** 4,
               [0.0, -0.0]),
    "powers of tensors": (lambda x: x ** gg.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=gg.float64),
                          lambda x: sum(v**k for k, v in enumerate(x)), [0.0, 0.0, -0.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_order_is_that_of_the_polynomial(name: str) -> None:
    """Gradients of the derivative along some direction, four times."""
    ours, theirs, values = CASES[name]
    x = gg.tensor(values, dtype=gg.float64, requires_grad=True)
    symbols = sympy.symbols(f"x:{len(values)}")
    y, exact = ours(x).sum(), sympy.sympify(theirs(symbols))
    at = dict(zip(symbols, map(sympy.Rational, values)))
    for order in range(4):
        (g,) = gg.autograd.grad(y, x, create_graph=True)
        slopes = [sympy.diff(exact, s) for s in symbols]
        np.testing.assert_allclose(g.detach().numpy(), [float(s.subs(at)) for s in slopes], rtol=1e-12, atol=1e-12,
                                   err_msg=f"order {order + 1}")
        weights = [sympy.Rational(3 + k + order, 7) for k in range(len(values))]
        exact = sum(w * s for w, s in zip(weights, slopes))
        y = (g * gg.tensor([float(w) for w in weights], dtype=gg.float64)).sum()


def test_the_first_derivative_needs_no_recurrence() -> None:
    program = gg.trace(lambda x: x.prod(), x=gg.spec(7, requires_grad=True))
    from gradgen.compiler.pipeline import stages
    from gradgen.ir.graph import topological
    from gradgen.ir.nodes import Scan
    from gradgen.options import Options

    made = stages(program.graph, Options())
    assert not any(isinstance(n, Scan) for p in made.procedures for n in topological([o.node for o in p.outputs]))
