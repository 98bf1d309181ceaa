"""autograd.Function in traces: the user's backward is the derivative, in every transform and in C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autograd.function import once_differentiable
from gradgen.errors import DerivativeError, TraceError
from tests.unit.tracing import X, assert_alike, traced

Function = gg.autograd.Function


class Cube(Function):
    """A factor that is no tensor; half of the true derivative by default."""

    @staticmethod
    def forward(ctx: Any, x: Any, k: float = 1.5) -> Any:
        ctx.save_for_backward(x)
        ctx.k = k
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * ctx.k * x**2, None


class Exp(Function):
    """Saves its result."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0]


class SquareExp(Function):
    """Saves its result, which is a view of what forward made."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp().reshape(2, 2)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return (g * ctx.saved_tensors[0]).reshape(-1)


class Clip(Function):
    """Not linear in its cotangent."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g.clamp(-1, 1)


class Several(Function):
    """Three results, one of them without gradient; a gradient to be summed over rows; needs_input_grad."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, c: Any) -> Any:
        assert ctx.needs_input_grad == (True, True, False)
        ctx.save_for_backward(x, w, None)
        i = (x > 0).to(gg.int64)
        ctx.mark_non_differentiable(i)
        return x * w, (x + w).sum(), i

    @staticmethod
    def backward(ctx: Any, a: Any, b: Any, _: Any) -> Any:
        x, w, nothing = ctx.saved_tensors
        assert nothing is None
        return a * w * 2 + b * b, a * x + b, None


class Dirty(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 5


class SetUp(Function):
    @staticmethod
    def forward(x: Any) -> Any:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 7 * ctx.saved_tensors[0]


class Once(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return g * 7 * ctx.saved_tensors[0]


class Half(Function):
    """No gradient for its second operand."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x * y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g, None


def several(x: Any) -> Any:
    p, q, i = Several.apply(x.view(2, 2), x[:2] * 1, gg.ones(2, dtype=gg.float64))
    return p * q * i


def dirty(x: Any) -> Any:
    y = x * 1
    Dirty.apply(y)
    return y * x


def dirty_view(x: Any) -> Any:
    y = x * 1
    Dirty.apply(y[1:3])
    return y * y


def second_order(function: Any) -> Callable[[Any], Any]:
    def program(x: Any) -> Any:
        y = function.apply(x)
        (g,) = gg.autograd.grad((y * y).sum(), x, create_graph=True)
        return g * x

    return program


def under_no_grad(x: Any) -> Any:
    with gg.no_grad():
        y = Cube.apply(x)
    return y * x


PROGRAMS = {
    "saved": lambda x: Cube.apply(x) * x, "number": lambda x: Cube.apply(x, 3.5), "result": lambda x: Exp.apply(x * 2) * x,
    "clip": lambda x: Clip.apply(x * 3) * x * 5, "several": several, "dirty": dirty, "dirty_view": dirty_view,
    "set_up": lambda x: SetUp.apply(x).sin(), "once": lambda x: Once.apply(x), "none": lambda x: Half.apply(x, x * x),
    "second": second_order(Cube), "second_result": second_order(Exp), "no_grad": under_no_grad,
    "second_view": second_order(SquareExp),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_eager(name: str) -> None:
    assert_alike(PROGRAMS[name])


def test_transforms() -> None:
    x = gg.tensor(X)
    hessian = gg.func.jacrev(gg.func.grad(lambda x: Cube.apply(x).sum()))(x)
    np.testing.assert_allclose(hessian.numpy(), np.diag(3 * X))
    with pytest.raises(DerivativeError, match="once_differentiable"):
        gg.func.jacrev(gg.func.grad(lambda x: Once.apply(x).sum()))(x)
    with pytest.raises(DerivativeError, match="no forward-mode derivative"):
        gg.func.jvp(Cube.apply, (x,), (x,))
    np.testing.assert_allclose(gg.vmap(Cube.apply)(x.view(2, 2)).numpy(), (X**3).reshape(2, 2))
    leaf = gg.tensor(X, requires_grad=True)
    gg.jit(lambda x: Cube.apply(x) * 2)(leaf).sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), 3 * X**2)


def test_in_a_scan() -> None:
    assert_alike(lambda x: gg.scan(lambda c, t: (Cube.apply(c) * t, c), x / 4, gg.stack([x, x + 1]))[0],
                 lambda x: Cube.apply(Cube.apply(x / 4) * x) * (x + 1))


def test_refusals() -> None:
    class Sparse(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

    with pytest.raises(TraceError, match="which gradients are None"):
        traced(lambda x: Sparse.apply(x)[0])

    class Wrong(Cube):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g[:2]

    with pytest.raises(RuntimeError, match="returned an invalid gradient at index 0"):
        traced(lambda x: Wrong.apply(x))


def test_in_c(tmp_path: Path) -> None:
    def program(x: Any, w: Any) -> Any:
        return (Clip.apply(x * w) * Exp.apply(w)).sum()

    traced = gg.trace(program, x=gg.spec("N", 3, dtype=gg.float64), w=gg.spec(3, dtype=gg.float64, requires_grad=True))
    module = gg.build(traced, name="clipped", out=tmp_path)
    x = np.linspace(-2, 7, 15).reshape(5, 3)
    leaf = gg.tensor(np.array([0.5, -2.0, 1.5]), requires_grad=True)
    loss, gradients = module.value_and_grad(x, leaf.detach().numpy())
    expected = program(gg.tensor(x), leaf)
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradients.w, leaf.grad.numpy(), rtol=1e-13)
