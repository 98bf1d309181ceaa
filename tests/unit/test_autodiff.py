"""Reverse mode on bare graphs, evaluated by the reference interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from gradgen.autodiff import gradients
from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scan, map_node
from gradgen.ir.symbols import placeholder, reduce_axis
from gradgen.reference.interpreter import evaluate

A0, A1 = placeholder(0), placeholder(1)


def _vector(n: int) -> Input:
    return Input("x", (n,), dtypes.float64, True)


def _product(x: Input) -> Compute:
    return Compute((), A0, [Read(x, (reduce_axis(0),))], x.dtype, reduce_shape=x.shape, reducer="prod")


def _hessian(y: Node, x: Input, value: np.ndarray) -> np.ndarray:
    first = gradients([y], [Constant(1.0, dtypes.float64)], [x])[0]
    assert first is not None
    rows = []
    for k in range(value.size):
        row = gradients([first], [Constant(np.eye(value.size)[k], dtypes.float64)], [x])[0]
        rows.append(np.zeros(value.size) if row is None else evaluate([row], {x: value})[0])
    return np.array(rows)


@pytest.mark.parametrize("value", [(2.0, 3.0, 4.0), (2.0, 0.0, 4.0), (0.0, 0.0, 4.0), (0.0, 0.0, 0.0)])
def test_product_hessian_is_right_at_zeros(value: tuple[float, ...]) -> None:
    x = np.array(value)
    expected = np.array([[0.0 if i == j else np.prod([x[k] for k in range(3) if k not in (i, j)]) for j in range(3)]
                         for i in range(3)])
    node = _vector(3)
    assert np.allclose(_hessian(_product(node), node, x), expected)


def test_a_branch_not_taken_is_not_multiplied() -> None:
    """Both branches mention x; exp overflows where it is not taken."""
    x = _vector(2)
    body = fn.select(fn.le(A0, 0), fn.exp(A0), A0 * 2)
    y = map_node(body, (x,), x.dtype)
    found = gradients([y], [Constant(np.ones(2), dtypes.float64)], [x])[0]
    assert found is not None
    assert np.array_equal(evaluate([found], {x: np.array([np.inf, -np.inf])})[0], [2.0, 0.0])


def test_scaled_joins_one_condition() -> None:
    """Terms of a sum on one condition become one selection, others stay a sum."""
    c, d = fn.lt(A0, 0), fn.gt(A1, 0)
    joined = fn.scaled(A1, fn.select(c, 1, 0) * A0 + fn.select(c, 0, 1) * 3)
    assert joined == fn.select(c, A0 * A1, 3 * A1)
    apart = fn.scaled(A1, fn.select(c, A0, 0) + fn.select(d, 5, 0))
    assert apart == fn.select(c, A0 * A1, 0) + fn.select(d, 5 * A1, 0)


def test_scaled_keeps_quotients_inside() -> None:
    c = fn.eq(A0, 0)
    assert fn.scaled(A1, fn.div(fn.select(c, 0, 1), A0)) == fn.select(c, 0, fn.div(A1, A0))
    assert fn.scaled(A1, fn.select(c, 0, 1) * fn.div(1, A0)) == fn.select(c, 0, fn.div(A1, A0))


def test_second_derivative_through_a_recurrence() -> None:
    """The backward step has inputs of its own; those of the backward step's backward step must be others."""
    n = 4
    x = _vector(n)
    carry, item = Input("carry", (), dtypes.float64), Input("item", (), dtypes.float64)
    new = map_node(A0 * A1, (carry, item), dtypes.float64)
    start = Constant(1.0, dtypes.float64)
    y = Scan(Graph((carry, item), (new,), ("carry",)), [start], [x], [], n, 0)
    value = np.array([2.0, 3.0, 5.0, 7.0])
    expected = np.array([[0.0 if i == j else value.prod() / value[i] / value[j] for j in range(n)] for i in range(n)])
    assert np.allclose(_hessian(y, x, value), expected)
