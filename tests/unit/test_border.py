"""What crosses the border of a trace, and what autograd's tape says of the tensors inside: a traced function means what eager
use means, or refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.errors import TraceError
from gradgen.ir.nodes import Constant
from gradgen.reference.interpreter import evaluate
from tests.unit.tracing import X, assert_alike


def data_read(x: Any) -> Any:
    return x.data * x


def data_write(x: Any) -> Any:
    y = x * 2
    y.data.clamp_(-1, 1)
    return y * y


def data_write_through_a_view(x: Any) -> Any:
    y = x * 2
    y.data[1:3].mul_(3)
    return y.exp() * x


def detach_write(x: Any) -> Any:
    y = x * 2
    y.detach().mul_(3)
    return y * y


def detached_in_place(x: Any) -> Any:
    y = x * 2
    y.detach_()
    return y * x


def no_grad_write(x: Any) -> Any:
    y = x * 1
    with gg.no_grad():
        y += 1
    return y**2 + x


def no_grad_item(x: Any) -> Any:
    y = x * 1
    with gg.no_grad():
        y[1] = 7.0
        y[2:] *= x[:2]
    return y**2 + x


def no_grad_view_before(x: Any) -> Any:
    y = x * 1
    v = y[1:]
    with gg.no_grad():
        y.mul_(3)
    return v * v + y.sum()


def view_write_after_data(x: Any) -> Any:
    y = x * 1
    y.data.add_(2)
    y[1:3] *= x[:2]
    return y * y


def two_histories_of_one_storage(x: Any) -> Any:
    y = x * 1
    d = y.detach()
    d.mul_(x)
    return y * d


def large_beside_small(x: Any) -> Any:
    y = x * 1e8
    with gg.no_grad():
        y.copy_(x * 1.3)
    return y * y


def cut_in_the_middle(x: Any) -> Any:
    y = x * 3
    x.requires_grad_(False)
    z = y * x
    x.requires_grad_()
    return z


def modes(x: Any) -> Any:
    gg.set_grad_enabled(False)
    y = x * x
    gg.set_grad_enabled(True)
    with gg.inference_mode():
        z = (x * 2).sum()
    return y * x * float(z.shape == ())


def inner_gradient(x: Any) -> Any:
    y = x * 1
    with gg.no_grad():
        y.mul_(2)
    (g,) = gg.autograd.grad((y**3).sum(), y, create_graph=True)
    return g * x


def inner_leaf(x: Any) -> Any:
    t = (x * 2).detach().requires_grad_()
    (g,) = gg.autograd.grad((t**3).sum(), t)
    return g * x + t * x


def scanned(x: Any) -> Any:
    def step(c: Any, s: Any) -> Any:
        y = c * s
        with gg.no_grad():
            y.clamp_(-1, 1)
        return y, c.data * s

    c, ys = gg.scan(step, x, gg.stack([x, x + 1, x * 2]))
    return c * ys.sum(0)


def looped(x: Any) -> Any:
    """`scanned`, step by step."""
    c, ys = x, []
    for s in (x, x + 1, x * 2):
        y = c * s
        with gg.no_grad():
            y.clamp_(-1, 1)
        c, old = y, c.data * s
        ys.append(old)
    return c * gg.stack(ys).sum(0)


PROGRAMS = [
    data_read, data_write, data_write_through_a_view, detach_write, detached_in_place, no_grad_write, no_grad_item,
    no_grad_view_before, view_write_after_data, two_histories_of_one_storage, large_beside_small, cut_in_the_middle, modes,
    inner_gradient, inner_leaf, scanned,
]


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_a_trace_means_what_the_tape_means(function: Callable[..., Any]) -> None:
    assert_alike(function, looped if function is scanned else None)


def test_a_graft_keeps_every_bit() -> None:
    def written(x: Any, other: Any) -> Any:
        y = x * 1
        with gg.no_grad():
            y.copy_(other)
        return y

    new = np.array([1.3, np.inf, -0.0, np.nan])
    program = gg.trace(written, gg.spec(4, dtype=gg.float64, requires_grad=True), gg.spec(4, dtype=gg.float64))
    x, n = program.graph.inputs
    seed = Constant(np.array([1.0, 2.0, 3.0, 4.0]))
    found = gradients(program.graph.outputs, [seed], [x, n])
    value, gradient = evaluate([program.graph.outputs[0], found[0]], {x: np.full(4, 1e8), n: new})
    assert value.tobytes() == new.tobytes()
    assert gradient.tolist() == [1, 2, 3, 4]
    assert found[1] is None


def test_second_derivatives_and_transforms_see_the_graft() -> None:
    def cubed(x: Any) -> Any:
        y = x * 1
        y.data.mul_(2)
        return (y**3).sum()

    x = gg.tensor(X)
    np.testing.assert_allclose(gg.func.grad(cubed)(x).numpy(), 12 * X**2)  # 3 (2x)^2, by the old y
    np.testing.assert_allclose(gg.func.jvp(cubed, (x,), (gg.ones_like(x),))[1].item(), (12 * X**2).sum())
    # 3 y^2 at y = 2x; to the outer of the two transforms that is 12 x^2, .data matters to the inner one only
    np.testing.assert_allclose(gg.func.hessian(cubed)(x).numpy(), np.diag(24 * X))
    with gg.no_grad():
        np.testing.assert_allclose(gg.func.grad(lambda x: (x**2).sum())(x).numpy(), 2 * X)


class Net(gg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = gg.nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.fc1(x).sum()


WEIGHT = gg.tensor(X, requires_grad=True)


def test_what_requires_grad_and_is_no_argument_is_named() -> None:
    spec = gg.spec(4, dtype=gg.float32)
    tensors = {"deep": [gg.tensor([1.0], requires_grad=True)]}
    for function, name in [
        (lambda x: x * WEIGHT, "WEIGHT"),
        (lambda x: x * tensors["deep"][0], "tensors['deep'][0]"), (lambda x: x * WEIGHT.view(2, 2).view(4), "WEIGHT"),
    ]:
        with pytest.raises(TraceError, match="requires grad and is no argument") as error:
            gg.trace(function, x=spec)
        assert str(error.value).startswith(f"{name} ")
        assert "where:" in str(error.value)


def test_constants_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    table = gg.tensor([1.0, 2.0])
    program = gg.trace(lambda x: x * table * WEIGHT.detach()[:2], x=gg.spec(2))
    program.show()
    shown = capsys.readouterr().out
    assert "constant table: float32[2], as it was when traced" in shown
    assert "constant WEIGHT: float64[2]" in shown
    with gg.no_grad():
        assert gg.trace(lambda x: x * WEIGHT, x=gg.spec(4)).constants.keys() == {"WEIGHT"}


def test_what_is_outside_stays_as_it_is() -> None:
    table = gg.tensor([1.0, 2.0])

    def changing(x: Any) -> Any:
        table.add_(1)
        return x * table

    def accumulating(x: Any) -> Any:
        (x * WEIGHT.detach().requires_grad_()).sum().backward()
        (x * WEIGHT).sum().backward()
        return x

    with pytest.raises(TraceError, match="WEIGHT requires grad"):
        gg.trace(accumulating, x=gg.spec(4))
    assert gg.trace(changing, x=gg.spec(2)).graph.states == (("table", "table_next"),)
    with pytest.raises(TraceError, match="table is changed in place"):
        gg.func.grad(lambda x: changing(x).sum())(gg.tensor([1.0, 2.0]))
    assert table.tolist() == [1.0, 2.0]
    assert WEIGHT.grad is None
    assert (table * 2).tolist() == [2.0, 4.0]


def prehooked(x: Any) -> Any:
    y = x * 2
    if y.grad_fn is not None:
        y.grad_fn.register_prehook(lambda gradients: (gradients[0] * 2,))
    return y


def saved_and_changed(x: Any) -> Any:
    y = x * 2
    z = y * y
    with gg.no_grad():
        y.add_(1)
    return z


def saved_and_changed_unseen(x: Any) -> Any:
    y = x * 2
    z = y * y
    y.data.add_(1)
    return z


def freed(x: Any) -> Any:
    y = x * 2
    z = (y * y).sum()
    gg.autograd.grad(z, y)
    return z


def changes_its_argument(x: Any) -> Any:
    with gg.no_grad():
        x += 1
    return x


@pytest.mark.parametrize("function, error, text", [
    (prehooked, TraceError, "a hook is registered on MulBackward0"),
    (saved_and_changed, RuntimeError, "modified by an inplace operation"),
    (saved_and_changed_unseen, TraceError, "MulBackward0 saved for backward was changed"),
    (freed, RuntimeError, "backward through the graph a second time"),
    (changes_its_argument, TraceError, "the argument x is changed in place"),
])
def test_what_backward_would_do_otherwise_is_refused(
    function: Callable[..., Any], error: type[Exception], text: str
) -> None:
    for run in (lambda: gg.trace(function, x=gg.spec(2, requires_grad=True)),
                lambda: gg.jit(function)(gg.ones(2, requires_grad=True))):
        with pytest.raises(error, match=text):
            run()
    if function not in (freed, changes_its_argument):  # without a gradient there is nothing to lose
        assert gg.jit(function)(gg.ones(2)).shape == (2,)


def test_eager_backward_reads_what_saved_tensors_hold_now() -> None:
    """As PyTorch does after a write through `.data`, which counts no version."""
    x = gg.tensor([3.0, 4.0], requires_grad=True)
    y = (x * x).sum()
    x.data.mul_(10)
    y.backward()
    assert x.grad.tolist() == [60.0, 80.0]
    h = x * 1
    y = h.exp().sum() + (h * h).sum()
    h.data[0] = 5.0
    (gradient,) = gg.autograd.grad(y, h)
    np.testing.assert_allclose(gradient.numpy(), [np.exp(30.0) + 10, np.exp(40.0) + 80], rtol=1e-6)


@pytest.mark.parametrize("operation", [gg.relu, lambda x: x ** gg.tensor([2.0, 3.0]), gg.exp])
def test_a_result_that_numpy_looked_at_still_has_a_gradient(operation: Any) -> None:
    """Handing out the array is no write; a write through .data is one, where the derivative reads another value."""
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    y = operation(x)
    assert y.detach().numpy().shape == (2,)
    y.sum().backward()
    assert x.grad is not None
