"""Assignment by a mask whose values a trace does not know: eager values and gradients, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import TraceError
from tests.unit.tracing import assert_alike, traced


def number(x: Any) -> Any:
    y = x * 1
    y[y > 1] = 1.0
    return y * x


def of_itself(x: Any) -> Any:
    y = x * 1
    m = y > 0
    y[m] = 0.2 * y[m]
    return y * x


def mask_said_twice(x: Any) -> Any:
    y = x * 1
    y[y > 0] = 0.2 * y[y > 0].exp()
    return y * x


def rows(x: Any) -> Any:
    y = x.view(2, 2) * 1
    m = y.sum(1) > 1
    y[m] = y.sum(0) * 1.0
    y[m] *= 3
    return y * y


def behind_a_slice(x: Any) -> Any:
    y = x.view(2, 1, 2) * x.view(1, 2, 2)
    m = y[0] > 0
    y[:, m] = y[:, m] ** 2
    y[:, 0, y[0, 0] > 1] = 5.0
    return y * y


def extent_one(x: Any) -> Any:
    y = x.view(2, 2) * 1
    y[y > 0] = y.sum()
    y[y > 10] = gg.tensor([2.0], dtype=gg.float64)
    return y * y


def fewer_axes(x: Any) -> Any:
    y = x.view(2, 1, 2) * gg.ones(2, 3, 2, dtype=gg.float64)
    m = y[:, :, 0] > 0
    z = y[m]
    z = z * (y[0, 0] * 1)
    z += 1
    y[m] = z
    return y * y


def unseen(x: Any) -> Any:
    y = x * 1
    with gg.no_grad():
        y[y > 1] = 1.0
    y.data[y < 0] = -1.0
    return y * y


def through_a_view(x: Any) -> Any:
    y = x * 1
    z = y[1:]
    z[z > 0] = z[z > 0] ** 2
    return y * x


def put(x: Any) -> Any:
    y = x * 1
    y.index_put_((y > 1,), gg.tensor(3.0, dtype=gg.float64))
    return y * x


def one_flag(x: Any) -> Any:
    y = x * 1
    y[(x > 0).any()] = 2 * x
    return y * x


PROGRAMS = [number, of_itself, mask_said_twice, rows, behind_a_slice, extent_one, fewer_axes, unseen, through_a_view, put,
            one_flag]


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_like_eager(function: Callable[..., Any]) -> None:
    assert_alike(function)


def _assigned(x: Any, value: Callable[[Any], Any]) -> Any:
    y = x * 1
    y[y > 1] = value(y)
    return y


def _assigned_rows(x: Any, value: Any) -> Any:
    y = x * 1
    y[y.sum(1) > 1] = value
    return y


@pytest.mark.parametrize("function, text", [
    (lambda x: x[x > 1].sum(), "the result of sum"),
    (lambda x: x[x > 1], "of what a mask selects"),
    (lambda x: x[x > 1] * x, "an operand of mul"),
    (lambda x: x * x[x > 1].shape[0], "the shape"),
    (lambda x: x[x > 1][0], "a view of what a mask selects"),
    (lambda x: _assigned(x, lambda y: y[y > 0]), "assigned where another does"),
    (lambda x: _assigned(x, lambda y: gg.ones(4, dtype=gg.float64)), "as many elements as a mask selects"),
])
def test_what_needs_the_number_of_elements_is_refused(function: Callable[..., Any], text: str) -> None:
    with pytest.raises(TraceError, match=text):
        traced(function)


def test_shapes_that_do_not_fit_raise_pytorchs_errors() -> None:
    with pytest.raises(IndexError, match="The shape of the mask"):
        traced(lambda x: x[(x > 1).view(2, 2).any(1)])
    with pytest.raises(RuntimeError, match="shape mismatch"):
        gg.trace(lambda x, v: _assigned_rows(x, v), gg.spec(2, 2), gg.spec(3))


def test_in_c_over_open_extents(tmp_path: Path) -> None:
    def program(x: Any, w: Any) -> Any:
        y = x * w
        m = y > 0
        y[m] = 0.2 * y[m]
        y[y > 1] = 1.0
        y[y.sum(1) > 0.5] *= w
        return (y * y).sum()

    traced = gg.trace(program, x=gg.spec("N", 3, dtype=gg.float64), w=gg.spec(3, dtype=gg.float64, requires_grad=True))
    module = gg.build(traced, name="masked", out=tmp_path)
    x = np.linspace(-2, 7, 15).reshape(5, 3)
    leaf = gg.tensor(np.array([0.5, 2.0, 1.5]), requires_grad=True)
    loss, gradients = module.value_and_grad(x, leaf.detach().numpy())
    expected = program(gg.tensor(x), leaf)
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradients.w, leaf.grad.numpy(), rtol=1e-13)
