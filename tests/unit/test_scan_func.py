"""scan and the function transforms, eagerly and inside a trace, against unrolled loops and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import ShapeError, TraceError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4))
X = RNG.normal(size=4)
V = RNG.normal(size=4)


def t(value: np.ndarray, grad: bool = False) -> gg.Tensor:
    return gg.tensor(value, requires_grad=grad)


def layer(x: gg.Tensor) -> gg.Tensor:
    return gg.tanh(t(A) @ x)


def energy(x: gg.Tensor) -> gg.Tensor:
    return (layer(x) ** 2).sum()


def numeric_gradient(f, x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """Central differences; h balances 1e-16/h against h**2."""
    result = np.zeros((*np.shape(f(x)), *x.shape))
    for k in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[k] = h
        result[(..., *k)] = (f(x + step) - f(x - step)) / (2 * h)
    return result


def value(f):
    return lambda x: np.asarray(f(t(x)))


CLOSE = {"rtol": 1e-6, "atol": 1e-7}  # central differences with h = 1e-6 are good to about 1e-9 of values near 1


def test_grad_and_jacobians() -> None:
    np.testing.assert_allclose(gg.func.grad(energy)(t(X)), numeric_gradient(value(energy), X), **CLOSE)
    expected = numeric_gradient(value(layer), X)
    np.testing.assert_allclose(gg.func.jacrev(layer)(t(X)), expected, **CLOSE)
    np.testing.assert_allclose(gg.func.jacfwd(layer)(t(X)), expected, **CLOSE)


def test_hessian_and_products_with_it() -> None:
    expected = numeric_gradient(value(gg.func.grad(energy)), X)
    np.testing.assert_allclose(gg.func.hessian(energy)(t(X)), expected, **CLOSE)
    np.testing.assert_allclose(gg.func.hvp(energy, (t(X),), (t(V),))[1][0], expected @ V, **CLOSE)


def test_jvp_and_vjp_agree() -> None:
    out, moved = gg.func.jvp(layer, (t(X),), (t(V),))
    np.testing.assert_allclose(moved, numeric_gradient(value(layer), X) @ V, **CLOSE)
    same, pull = gg.func.vjp(layer, t(X))
    np.testing.assert_array_equal(out, same)
    (pulled,) = pull(gg.ones_like(out))
    np.testing.assert_allclose((pulled * t(V)).sum().item(), moved.sum().item(), rtol=1e-12)


def test_vmap_of_a_gradient() -> None:
    batch = RNG.normal(size=(5, 4))
    rows = np.stack([np.asarray(gg.func.grad(energy)(t(b))) for b in batch])
    np.testing.assert_allclose(gg.func.vmap(gg.func.grad(energy))(t(batch)), rows, rtol=1e-12)
    columns = gg.func.vmap(layer, in_dims=1, out_dims=1)(t(batch.T.copy()))
    np.testing.assert_allclose(columns, np.tanh(A @ batch.T), rtol=1e-12)


def test_transforms_nest_and_carry_history() -> None:
    x = t(X, grad=True)
    gg.func.grad(energy)(x).sum().backward()
    expected = numeric_gradient(lambda z: np.asarray(gg.func.grad(energy)(t(z))).sum(), X)
    np.testing.assert_allclose(x.grad, expected, **CLOSE)


def test_a_transform_needs_a_scalar() -> None:
    with pytest.raises(RuntimeError, match="scalar"):
        gg.func.grad(layer)(t(X))


def recurrence(xs: gg.Tensor, w: gg.Tensor, h: gg.Tensor, loop: bool) -> gg.Tensor:
    def step(h: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        new = gg.tanh(h * w + x)
        return new, new * x

    if not loop:
        h, ys = gg.scan(step, h, xs)
        return h.sum() + (ys**2).sum()
    total = 0
    for k in range(xs.shape[0]):
        h, y = step(h, xs[k])
        total = total + (y**2).sum()
    return h.sum() + total


def test_scan_is_the_loop_and_so_are_its_gradients() -> None:
    values = [RNG.normal(size=(6, 4)), RNG.normal(size=4), RNG.normal(size=4)]
    results = []
    for loop in (True, False):
        args = [t(v, grad=True) for v in values]
        loss = recurrence(*args, loop=loop)
        loss.backward()
        results.append([loss.item(), *(a.grad for a in args)])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_scan_runs_backwards_and_without_sequences() -> None:
    def step(h: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        return h * 0.5 + x, h

    xs = np.arange(5.0)
    last, before = gg.scan(step, gg.zeros((), dtype=gg.float64), t(xs), reverse=True)
    h, expected = 0.0, np.zeros(5)
    for k in reversed(range(5)):
        expected[k] = h
        h = h * 0.5 + xs[k]
    assert last.item() == pytest.approx(h)
    np.testing.assert_allclose(before, expected)
    doubled, none = gg.scan(lambda h, _: (h * 2, None), gg.ones(3), length=4)
    assert none is None
    np.testing.assert_array_equal(doubled, [16.0] * 3)


def test_a_scan_in_a_scan_may_use_what_the_outer_one_carries() -> None:
    xs, w = t(RNG.normal(size=(3, 2, 4))), t(RNG.normal(size=4), grad=True)

    def outer(h: gg.Tensor, rows: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        g, ys = gg.scan(lambda g, x: (gg.tanh(g * w + x + h), g * h), h, rows)
        return g, ys.sum(0)

    h, ys = gg.scan(outer, t(X), xs)
    loss = h.sum() + (ys**2).sum()
    loss.backward()
    v = t(np.asarray(w.detach()), grad=True)
    h, total = t(X), 0
    for i in range(3):
        g, y = h, 0
        for j in range(2):
            g, y = gg.tanh(g * v + xs[i, j] + h), y + g * h
        h, total = g, total + (y**2).sum()
    expected = h.sum() + total
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-12)
    np.testing.assert_allclose(w.grad, v.grad, rtol=1e-10)


def test_a_gradient_in_a_gradient_may_use_the_outer_argument() -> None:
    inner = lambda x: gg.func.grad(lambda y: (x * y * y).sum())(x).sum()  # noqa: E731
    np.testing.assert_allclose(gg.func.grad(inner)(t(X)), 4 * X, rtol=1e-12)


def test_scan_of_no_steps() -> None:
    last, ys = gg.scan(lambda h, x: (h + x, h), gg.ones(2), gg.zeros(0, 2))
    np.testing.assert_array_equal(last, [1.0, 1.0])
    assert tuple(ys.shape) == (0, 2)


def test_scan_says_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match="different lengths"):
        gg.scan(lambda h, x: (h, None), gg.zeros(1), (gg.zeros(3), gg.zeros(4)))
    with pytest.raises(ShapeError, match="carry 0"):
        gg.scan(lambda h, x: (gg.zeros(2), None), gg.zeros(1), gg.zeros(3))
    with pytest.raises(TraceError, match=r"\(carry, y\)"):
        gg.scan(lambda h, x: h, gg.zeros(1), gg.zeros(3))


def test_scan_in_an_emitted_module(tmp_path) -> None:
    def loss(xs, w, h):
        return recurrence(xs, w, h, loop=False)

    f64 = {"dtype": gg.float64}
    program = gg.trace(
        loss, xs=gg.spec("T", 4, **f64), w=gg.spec(4, requires_grad=True, **f64), h=gg.spec(4, requires_grad=True, **f64)
    )
    module = gg.build(program, name="recurrence", out=tmp_path / "out")
    for steps in (0, 1, 7):
        xs, w, h = RNG.normal(size=(steps, 4)), RNG.normal(size=4), RNG.normal(size=4)
        got, grads = module.value_and_grad(xs, w, h)
        tw, th = t(w, grad=True), t(h, grad=True)
        expected = recurrence(t(xs), tw, th, loop=True)
        expected.backward()
        np.testing.assert_allclose(got, expected.item(), rtol=1e-10)
        np.testing.assert_allclose(grads.w, tw.grad if steps else np.zeros(4), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(grads.h, th.grad, rtol=1e-9, atol=1e-12)


def test_jacobian_in_an_emitted_module(tmp_path) -> None:
    def function(x, a):
        jac = gg.func.jacrev(lambda z: gg.tanh(a @ z))(x)
        return jac

    f64 = {"dtype": gg.float64}
    program = gg.trace(function, x=gg.spec(4, **f64), a=gg.spec(3, 4, **f64))
    module = gg.build(program, name="jacobian_of_layer", out=tmp_path / "out")
    np.testing.assert_allclose(module.forward(X, A), numeric_gradient(value(layer), X), **CLOSE)


def test_tangents_and_hessians_through_a_scan() -> None:
    xs, w, h, dw = RNG.normal(size=(5, 4)), RNG.normal(size=4), RNG.normal(size=4), RNG.normal(size=4)

    def run(w: gg.Tensor) -> gg.Tensor:
        last, ys = gg.scan(lambda h, x: (gg.tanh(h * w + x), h * x), t(h), t(xs))
        return gg.cat([last.unsqueeze(0), ys])

    def loss(w: gg.Tensor) -> gg.Tensor:
        return (run(w) ** 2).sum()

    _, moved = gg.func.jvp(run, (t(w),), (t(dw),))
    np.testing.assert_allclose(moved, numeric_gradient(value(run), w) @ dw, **CLOSE)
    expected = numeric_gradient(value(gg.func.grad(loss)), w)
    np.testing.assert_allclose(gg.func.hessian(loss)(t(w)), expected, rtol=1e-6, atol=1e-6)


def test_a_long_scan_of_scans_keeps_one_carry_a_segment() -> None:
    from gradgen.compiler.pipeline import programs, stages
    from gradgen.options import Options

    steps, segments, wide = 250_000, 50, 64

    def loss(xs: gg.Tensor, w: gg.Tensor, h: gg.Tensor) -> gg.Tensor:
        def step(h: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, None]:
            return gg.tanh(w @ h + x), None

        return (gg.scan(lambda h, part: (gg.scan(step, h, part)[0], None), h, xs)[0] ** 2).sum()

    program = gg.trace(loss, gg.spec(segments, steps // segments, wide, dtype=gg.float64),
                       gg.spec(wide, wide, dtype=gg.float64, requires_grad=True), gg.spec(wide, dtype=gg.float64))
    one = steps // segments * wide * 8  # bytes of a value of all steps of a segment
    for scheduled in programs(stages(program.graph, Options())):
        assert scheduled.layout.work < 5 * one + segments * wide * wide * 8


@pytest.mark.parametrize("steps, extent", [(2, 1), (1, 1), (3, 3)])
def test_what_an_inner_recurrence_stacks_is_read_behind_it(steps: int, extent: int) -> None:
    """A row of its results at a fixed place (all of them where the extent is 1) is new in every outer step."""
    def body(c: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        _, rows = gg.scan(lambda d, y: (d + y, gg.sin(d * y)), c[0], x)
        return c * rows[0] + x.cumsum(0)[-1], rows * x.cumprod(0).logcumsumexp(0)

    rng = np.random.default_rng(5)
    x, c = rng.normal(size=(steps, extent)) + 2, rng.normal(size=extent)

    def unrolled(x: gg.Tensor, c: gg.Tensor) -> gg.Tensor:
        total = gg.zeros((), dtype=gg.float64)
        for row in x:
            d, rows = c[0], []
            for y in row:
                rows.append(gg.sin(d * y))
                d = d + y
            product, sums = gg.ones((), dtype=gg.float64), []
            for y in row:
                product = product * y
                sums.append(product)
            tail = gg.stack([gg.logsumexp(gg.stack(sums[: k + 1]), 0) for k in range(extent)])
            total = total + (gg.stack(rows) * tail).sum()
            c = c * rows[0] + row.sum()
        return total + c.sum()

    def looped(x: gg.Tensor, c: gg.Tensor) -> gg.Tensor:
        last, rows = gg.scan(body, c, x)
        return rows.sum() + last.sum()

    found = []
    for function in (looped, unrolled):
        a, b = t(x, True), t(c, True)
        result = function(a, b)
        result.backward()
        found.append([np.asarray(v.detach()) for v in (result, a.grad, b.grad)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
