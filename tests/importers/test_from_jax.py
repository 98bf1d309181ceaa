"""gg.from_jax: values and gradients are those of jax and jax.grad, in float64."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.errors import GradgenError, TraceError, UnsupportedOperationError
from gradgen.importers.jax_running import ENTRIES
from gradgen.ir.nodes import Constant, Input
from gradgen.reference.interpreter import evaluate, run

jax = pytest.importorskip("jax")
jnp, lax = jax.numpy, jax.lax
RANDOM = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def wide() -> Any:
    with jax.enable_x64(True):
        yield


def n(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def whole(below: int, *shape: int) -> np.ndarray:
    return RANDOM.integers(0, below, shape)


def leaves(value: Any) -> list[Any]:
    return jax.tree_util.tree_leaves(value)  # type: ignore[no-any-return]


def agrees(function: Callable[..., Any], *arrays: np.ndarray, opened: bool = False) -> gg.TracedFunction:
    """Compares values and gradients; the program is of sizes with names where `opened`."""
    shapes = [["N" if opened and d == 0 else e for d, e in enumerate(a.shape)] for a in arrays]
    program = gg.from_jax(function, *(
        gg.spec(*s, dtype=a.dtype.name, requires_grad=a.dtype.kind == "f") for s, a in zip(shapes, arrays)))
    expected = [np.asarray(v) for v in leaves(jax.jit(function)(*map(jnp.asarray, arrays)))]
    given = dict(zip(program.graph.inputs, arrays))
    for ours, theirs in zip(evaluate(program.graph.outputs, given), expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    smooth = [o for o in program.graph.outputs if o.dtype.is_floating_point]
    wanted = [k for k, node in enumerate(program.graph.inputs) if node.requires_grad]
    if not smooth or not wanted:
        return program
    directions = [np.asarray(RANDOM.normal(size=v.shape)) for v in expected if v.dtype.kind == "f"]

    def loss(*some: Any) -> Any:
        full = list(map(jnp.asarray, arrays))
        for k, v in zip(wanted, some):
            full[k] = v
        found = [v for v in leaves(function(*full)) if v.dtype.kind == "f"]
        return sum((v * d).sum() for v, d in zip(found, directions))

    theirs = jax.jit(jax.grad(loss, tuple(range(len(wanted)))))(*(jnp.asarray(arrays[k]) for k in wanted))
    cotangents = [Input(f"cotangent{k}", o.shape, o.dtype) for k, o in enumerate(smooth)]
    found = gradients(smooth, cotangents, [program.graph.inputs[k] for k in wanted])
    values = evaluate(found, {**given, **dict(zip(cotangents, directions))})
    for ours, other in zip(values, theirs):
        np.testing.assert_allclose(ours, np.asarray(other), rtol=1e-9, atol=1e-11)
    return program


# --- primitives ---------------------------------------------------------------------------------------------------------

SMOOTH = ["exp", "exp2", "log1p", "expm1", "tanh", "sin", "cos", "tan", "sinh", "cosh", "arcsinh", "abs", "square", "cbrt",
          "arctan", "negative"]
STEPS = ["floor", "ceil", "sign", "round", "trunc"]
ACTIVATIONS = ["relu", "gelu", "silu", "softplus", "sigmoid", "elu", "leaky_relu", "softmax", "log_softmax", "selu",
               "hard_tanh", "relu6", "logsumexp", "standardize", "celu"]


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_of_numbers(name: str) -> None:
    agrees(getattr(jnp, name), np.abs(n(3, 4)) if name == "log1p" else n(3, 4))


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    agrees(lambda x: getattr(jnp, name)(x) + x, 3 * n(3, 4))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    agrees(getattr(jax.nn, name), n(3, 4))


def test_kinks_are_jax_s() -> None:
    """relu has derivative 0 at 0, maximum shares, clip gives the bound its own."""
    x = np.array([0.0, 1.0, -1.0, 0.5])
    agrees(lambda x: (jax.nn.relu(x), jnp.maximum(x, 0), jnp.clip(x, 0, 1), jnp.abs(x), jnp.sqrt(jnp.abs(x) + 1)), x)
    ties = np.array([1.0, 1.0, 0.0])
    agrees(lambda x: (x.max(), jnp.sort(x), lax.reduce_window(x, -jnp.inf, lax.max, (2,), (1,), "VALID")), ties)
    agrees(lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0), x)


CASES: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "binary": (lambda a, b: (a + b, a - b, a * b, a / b, a**2, jnp.power(jnp.abs(a), b), jnp.maximum(a, b), jnp.arctan2(a, b),
                             jnp.where(a > b, a, b), a % 2.0, jnp.fmod(a, b), 2.0 - a, 1.0 / b), [n(3, 4), n(3, 4)]),
    "products": (lambda a, b: (a @ b, jnp.einsum("ij,jk->ki", a, b), jnp.dot(a[0], b[:, 0]), jnp.tensordot(a, b, 1),
                               jnp.outer(a[0], b[0])), [n(3, 4), n(4, 5)]),
    "batches": (lambda a, b: (jnp.matmul(a, b), jnp.einsum("bhij,bhjk->bihk", a, b), jax.vmap(jnp.vdot)(a[0], a[1])),
                [n(2, 3, 4, 5), n(2, 3, 5, 4)]),
    "reductions": (lambda x: (x.sum(), x.mean(0), x.max(1), x.min(0), x.prod(1), x.var(), x.std(1), jnp.any(x > 0, 1),
                              jnp.all(x > 0), x.argmax(1), x.argmin(0)), [n(3, 4)]),
    "cumulative": (lambda x: (jnp.cumsum(x, 1), jnp.cumprod(x, 0), lax.cummax(x, 1), lax.cumlogsumexp(x, 0),
                              lax.cumsum(x, 0, reverse=True)), [n(3, 4)]),
    "sorting": (lambda x: (jnp.sort(x, 1), jnp.argsort(x, 0), *lax.top_k(x, 2), jnp.median(x, 0),
                           jnp.lexsort((x[0] > 0, x[1]))), [n(3, 5)]),
    "moving": (lambda x: (x.reshape(4, 3), x.T, x[:, None], x[::-1], x[1:, ::2], jnp.concatenate([x, x], 1), x.flatten(),
                          jnp.stack([x, x], 1), jnp.roll(x, 1, 0), jnp.tile(x, (2, 1)), jnp.repeat(x, 2, 0),
                          jnp.split(x, 2, 1)[1]), [n(3, 4)]),
    "padding": (lambda x: (jnp.pad(x, 1), jnp.pad(x, ((0, 1), (2, 0)), constant_values=3.0), jnp.pad(x, 1, mode="reflect"),
                           lax.pad(x, 2.0, ((1, -1, 2), (-2, 3, 1)))), [n(3, 4)]),
    "gathers": (lambda x, k: (x[k], jnp.take(x, k, axis=1), jnp.take_along_axis(x, k[:3], 0), x[k, k], x[1], x[:, k],
                              x[k, 1:3], jax.vmap(lambda v, j: v[j])(x, k[:, 0])), [n(4, 4), whole(4, 4, 4)]),
    "places outside": (lambda x, k: (jnp.take(x, k, axis=0, mode="clip"), jnp.take(x, k, axis=0, mode="fill", fill_value=7.)),
                       [n(4, 3), np.array([0, -9, 9, 2])]),
    "writes": (lambda x, k, v: (x.at[k].set(v), x.at[k].add(v), x.at[0].mul(v[0]), x.at[k, k].max(v[:, 0]), x.at[k].min(v),
                                x.at[1:3].set(v[:2]), x.at[:, 1].add(v[0, 0])), [n(4, 4), np.array([0, 2, 3]), n(3, 4)]),
    "writes outside": (lambda x, k, v: (x.at[k].add(v), x.at[k].set(v, mode="drop")),
                       [n(4, 4), np.array([0, 3, 9]), n(3, 4)]),
    "dynamic slices": (lambda x, k: (lax.dynamic_slice(x, (k, 0), (2, 3)), lax.dynamic_update_slice(x, x[:2, :2] * 2, (k, 1)),
                                     lax.dynamic_index_in_dim(x, k, 1)), [n(4, 4), np.array(3)]),
    "convolutions": (lambda x, w: (
        lax.conv_general_dilated(x, w, (1, 1), "SAME"), lax.conv_general_dilated(x, w, (2, 1), "VALID", rhs_dilation=(1, 2)),
        lax.conv_general_dilated(x, w, (1, 2), ((3, -1), (0, 2))),
        lax.conv_transpose(x, jnp.transpose(w, (2, 3, 1, 0)), (2, 2), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW"))),
        [n(2, 3, 7, 6), n(4, 3, 3, 2)]),
    "channels last": (lambda x, w: lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2),
        [n(2, 5, 6, 4), n(3, 3, 2, 6)]),
    "one and three axes": (lambda x, w, y, v: (
        lax.conv_general_dilated(x, w, (2,), "SAME"), lax.conv_general_dilated(y, v, (1, 1, 1), "VALID")),
        [n(2, 3, 7), n(4, 3, 3), n(1, 2, 4, 5, 3), n(3, 2, 2, 2, 1)]),
    "windows": (lambda x: (
        lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2), (1, 2, 2), "SAME"),
        lax.reduce_window(x, 0.0, lax.add, (1, 2, 2), (1, 1, 1), "VALID"),
        lax.reduce_window(x, jnp.inf, lax.min, (1, 2, 1), (1, 2, 1), "VALID"),
        lax.reduce_window(x, 0.0, lax.add, (1, 2, 1), (1, 2, 1), "VALID", window_dilation=(1, 2, 1))), [n(2, 5, 5)]),
    "integers": (lambda k: (k // 2, k % 3, k * 2 + 1, k << 1, k & 3, ~k, jnp.bincount(k, length=6), jax.nn.one_hot(k, 6),
                            k > 2), [whole(5, 6)]),
    "matrices": (lambda x: (jnp.triu(x), jnp.tril(x, -1), jnp.diag(x), jnp.trace(x), jnp.diag(x[0]), jnp.kron(x, x),
                            jnp.convolve(x[0], x[1]), jnp.linalg.norm(x), jnp.cross(x[0], x[1])), [n(3, 3)]),
    "factors": (lambda x: (jnp.linalg.cholesky(x @ x.T + jnp.eye(3)), jnp.linalg.eigvalsh(x + x.T),
                           jnp.linalg.svd(x, compute_uv=False), jnp.abs(jnp.linalg.qr(x)[1]),
                           jax.scipy.linalg.solve_triangular(x + 5 * jnp.eye(3), x, lower=True)), [n(3, 3)]),
    "special": (lambda x: (jax.scipy.special.erf(x), jax.scipy.special.gammaln(jnp.abs(x) + 1), jax.scipy.special.expit(x),
                           jax.scipy.special.digamma(jnp.abs(x) + 1), jax.scipy.stats.norm.logpdf(x)), [n(3)]),
    "resizing": (lambda x: jax.image.resize(x, (6, 6), "bilinear"), [n(3, 4)]),
    "numbers drawn": (lambda x: x * jax.random.normal(jax.random.PRNGKey(0), (3,)), [n(3)]),
}


@pytest.mark.parametrize("name", CASES)
def test_primitives(name: str) -> None:
    function, arrays = CASES[name]
    agrees(function, *arrays)


LOOPS: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "fori": (lambda x: lax.fori_loop(0, 5, lambda k, c: c * 0.5 + k * x, x), [n(3)]),
    "scan": (lambda x, w: lax.scan(lambda h, v: (jnp.tanh(h @ w + v), {"h": h, "s": h.sum()}), jnp.zeros(3), x),
             [n(5, 3), n(3, 3)]),
    "backwards": (lambda x, w: lax.scan(lambda h, v: (jnp.tanh(h @ w + v), h.sum()), jnp.zeros(3), x, reverse=True),
                  [n(5, 3), n(3, 3)]),
    "map": (lambda x: lax.map(lambda v: v**2, x), [n(5, 3)]),
    "cond": (lambda x, k: lax.cond(k > 0, lambda a: a + 1, lambda a: a * 2, x), [n(3), np.array(1)]),
    "known branch": (lambda x: lax.cond(x.shape[0] > 2, lambda a: a + 1, lambda a: a * 2, x), [n(3)]),
    "switch": (lambda x, k: lax.switch(k, [lambda a: a + 1, lambda a: a * 2, jnp.sin], x), [n(3), np.array(2)]),
    "in a scan": (lambda x: lax.scan(lambda c, v: (lax.fori_loop(0, 3, lambda k, a: a * v, c), lax.cond(
        c > 0, jnp.sin, jnp.cos, c)), 1.0, x), [n(4)]),
    "checkpoint": (lambda x: jax.checkpoint(lambda v: jnp.sin(jnp.exp(v)))(x), [n(3)]),
    "gradient inside": (lambda x: jax.grad(lambda v: (jnp.sin(v) * v).sum())(x), [n(4)]),
    "hessian inside": (lambda x: jax.hessian(lambda v: (jnp.sin(v) * v).sum() ** 2)(x), [n(3)]),
}


@pytest.mark.parametrize("name", LOOPS)
def test_control(name: str) -> None:
    function, arrays = LOOPS[name]
    agrees(function, *arrays)


def test_loops_that_can_be_counted() -> None:
    """jax.grad refuses them: gradgen's gradient against that of the loop written out."""
    def loop(x: Any) -> Any:
        def body(state: Any) -> Any:
            k, step, c = state
            return k + step, step, c * 0.5 + k * x

        return lax.while_loop(lambda s: s[0] < 7, body, (1, 2, x))[2]

    def written(x: Any) -> Any:
        c = x
        for k in (1, 3, 5):
            c = c * 0.5 + k * x
        return c

    program = gg.from_jax(loop, gg.spec(3, dtype=gg.float64, requires_grad=True))
    x = n(3)
    np.testing.assert_allclose(run(program.graph, x)[0], written(x), rtol=1e-12)
    (g,) = gradients(program.graph.outputs, [Input("g", (3,), gg.float64)], program.graph.inputs)
    given = {program.graph.inputs[0]: x, Input("g", (3,), gg.float64): np.ones(3)}
    np.testing.assert_allclose(evaluate([g], given)[0], written(np.ones(3)), rtol=1e-12)
    with pytest.raises(UnsupportedOperationError, match="while whose number of rounds is not known"):
        gg.from_jax(lambda x: lax.while_loop(lambda c: c.sum() < 7, lambda c: c * 2, x), gg.spec(3))


def test_own_derivatives() -> None:
    @jax.custom_vjp
    def clipped(x: Any) -> Any:
        return x * 1.0

    clipped.defvjp(lambda x: (x * 1.0, x), lambda saved, g: (jnp.clip(g, -0.1, 0.1) * saved,))

    @jax.custom_jvp
    def odd(x: Any, k: Any) -> Any:
        return x * k

    @odd.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return odd(*primals), tangents[0] * primals[1] * 2 + tangents[1]

    agrees(lambda x: jnp.sin(clipped(x)), n(4))
    agrees(lambda x, y: odd(x, y) ** 2, n(4), n(4))
    agrees(lambda x: lax.scan(lambda c, v: (odd(c, v), clipped(c)), 1.0, x), n(4))
    agrees(lambda x: jax.grad(lambda v: odd(v, v))(x), np.asarray(0.7))


MATRIX = n(3, 3) + 3 * np.eye(3)
SYSTEMS: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "vector": (jnp.linalg.solve, [MATRIX, n(3)]),
    "columns": (jnp.linalg.solve, [MATRIX, n(3, 2)]),
    "batch": (jnp.linalg.solve, [np.stack([MATRIX, MATRIX.T]), n(2, 3, 2)]),
    "inverse": (lambda a: (jnp.linalg.inv(a), jnp.linalg.det(a), jnp.linalg.slogdet(a)[1]), [MATRIX[[1, 0, 2]]]),
    "definite": (lambda a, b: jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(a @ a.T), True), b), [MATRIX, n(3)]),
    "second derivative": (lambda a, b: jax.grad(lambda a: jnp.linalg.solve(a, b).sum() ** 2)(a), [MATRIX, n(3)]),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_linear_systems(name: str) -> None:
    function, arrays = SYSTEMS[name]
    agrees(function, *arrays)


def test_derivatives_of_a_solution() -> None:
    """gradgen's second derivative is right; a third one, which it does not follow, is an error."""
    program = gg.from_jax(lambda a, b: jnp.linalg.solve(a, b).sum(), gg.spec(3, 3, dtype=gg.float64, requires_grad=True),
                          gg.spec(3, dtype=gg.float64))
    a, b = program.graph.inputs
    one = Constant(1.0, gg.float64)
    first = gradients(program.graph.outputs, [one], [a])[0]
    direction = Constant(n(3, 3))
    second = gradients([first], [direction], [a])[0]
    right = n(3)
    theirs = jax.jvp(jax.grad(lambda a: jnp.linalg.solve(a, right).sum()), (MATRIX,), (np.asarray(direction.array),))[1]
    np.testing.assert_allclose(evaluate([second], {a: MATRIX, b: right})[0], theirs, rtol=1e-8, atol=1e-10)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradients([second], [direction], [a])


def test_every_entry_is_a_primitive() -> None:
    """Of this version of JAX or of an older one; an entry by a wrong name would never be used."""
    older = {
        "pjit", "core_call", "core_closed_call", "closed_call", "remat", "remat2", "checkpoint", "custom_vjp_call_jaxpr",
        "copy_p", "device_put", "expand_dims", "scatter_add", "scatter_mul", "scatter_min", "scatter_max", "stack", "tile",
        "pvary", "add_any", "optimization_barrier", "layout_constraint", "sharding_constraint", "bessel_i0e", "square",
        "split", "dim_as_value", "lu_pivots_to_permutation", "custom_linear_solve",
    }
    from jax.extend.core import primitives

    known = {getattr(v, "name", None) for v in (*vars(primitives).values(), *vars(lax).values())}
    assert set(ENTRIES) - older - known == set()


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTRIES, "exp", ENTRIES["sin"])
    with pytest.raises(AssertionError):
        agrees(jnp.exp, n(3))


# --- models -------------------------------------------------------------------------------------------------------------


def mlp(params: Any, x: Any, t: Any) -> Any:
    for layer in params[:-1]:
        x = jax.nn.gelu(x @ layer["w"] + layer["b"])
    logits = jax.nn.log_softmax(x @ params[-1]["w"] + params[-1]["b"])
    return {"loss": -jnp.take_along_axis(logits, t[:, None], 1).mean(), "logits": logits}


def layers(*sizes: int) -> list[dict[str, np.ndarray]]:
    return [{"w": n(a, b), "b": n(b)} for a, b in itertools.pairwise(sizes)]


def test_parameters_are_inputs_by_their_paths() -> None:
    params, x, t = layers(3, 5, 4), n(6, 3), whole(4, 6)
    program = gg.from_jax(mlp, params, gg.spec("N", 3, dtype=gg.float64), gg.spec("N", dtype=gg.int64))
    assert program.names["params.0.w"] == "params_0_w" and program.graph.output_names == ("logits", "loss")
    trained = [i.name for i in program.graph.inputs if i.requires_grad]
    assert trained == ["params_0_b", "params_0_w", "params_1_b", "params_1_w"]
    np.testing.assert_array_equal(program.state["params.1.b"], params[1]["b"])
    paths = {c: path for path, c in program.names.items()}
    given = {i: program.state[paths[i.name]] if i.name in paths else {"x": x, "t": t}[i.name] for i in program.graph.inputs}
    wanted = [i for i in program.graph.inputs if i.requires_grad]
    g = Input("g", (), gg.float64)
    loss = program.graph.outputs[1]
    theirs = jax.grad(lambda p: mlp(p, x, t)["loss"])(jax.tree_util.tree_map(jnp.asarray, params))
    for value, other in zip(evaluate(gradients([loss], [g], wanted), {**given, g: np.ones(())}), leaves(theirs)):
        np.testing.assert_allclose(value, np.asarray(other), rtol=1e-9, atol=1e-12)


def test_a_convolution_network() -> None:
    def f(x: Any, w1: Any, w2: Any, v: Any) -> Any:
        h = jax.nn.relu(lax.conv_general_dilated(x, w1, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
        h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        h = jax.nn.relu(lax.conv_general_dilated(h, w2, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
        return jax.nn.logsumexp(h.mean((1, 2)) @ v, axis=1)

    agrees(f, n(2, 8, 8, 3), n(3, 3, 3, 4), n(3, 3, 4, 5), n(5, 3))


def test_attention() -> None:
    def f(x: Any, wq: Any, wk: Any, wv: Any) -> Any:
        q, k, v = (jnp.einsum("btd,dhe->bhte", x, w) for w in (wq, wk, wv))
        scores = jnp.einsum("bhte,bhse->bhts", q, k) / jnp.sqrt(q.shape[-1])
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
        return jnp.einsum("bhts,bhse->bthe", jax.nn.softmax(scores), v)

    agrees(f, n(2, 5, 6), n(6, 2, 3), n(6, 2, 3), n(6, 2, 3))


def test_a_recurrent_network() -> None:
    def f(x: Any, w: Any, u: Any, b: Any) -> Any:
        def step(state: Any, v: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(v @ w + h @ u + b, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], u.shape[0]))
        (h, _), rows = lax.scan(step, (zeros, zeros), x)
        return h, rows.mean(0)

    agrees(f, n(4, 2, 3), n(3, 20), n(5, 20), n(20))


def test_compiled(tmp_path: Path) -> None:
    def loss(x: Any, w: Any) -> Any:
        return (jax.nn.relu(x @ w) ** 2).mean()

    program = gg.from_jax(loss, gg.spec("N", 4), gg.spec(4, 3, requires_grad=True), name="jax_loss")
    module = gg.build(program, name="jax_loss", out=tmp_path)
    x, w = n(5, 4).astype(np.float32), n(4, 3).astype(np.float32)
    value, grads = module.value_and_grad(x, w)
    np.testing.assert_allclose(value, loss(x, w), rtol=1e-5)
    np.testing.assert_allclose(grads.w, jax.grad(loss, 1)(x, w), rtol=1e-4, atol=1e-6)


# --- sizes, names, lines ------------------------------------------------------------------------------------------------


def test_dimensions_with_names() -> None:
    def f(x: Any) -> Any:
        return (jax.nn.softmax(x.reshape(-1, 2)), x.mean(0), jnp.concatenate([x, x]), jnp.arange(x.shape[0]) * x[:, 0], x[1:],
                x.sum() / x.shape[0], x[::2], jax.nn.relu(x), jnp.cumsum(x, 0))

    program = agrees(f, n(4, 2), opened=True)
    assert [str(o.shape[0]) for o in program.graph.outputs[:3]] == ["N", "2", "2*N"]


def test_a_scan_over_a_dimension_with_a_name() -> None:
    agrees(lambda x: lax.scan(lambda c, v: (c * 0.5 + v, c), jnp.zeros(2), x), n(4, 2), opened=True)


def test_32_bits_are_jax_s_default() -> None:
    with jax.enable_x64(False):
        program = gg.from_jax(lambda x, k: (x[k] * 2, jnp.arange(3)), gg.spec(5), gg.spec(2, dtype=gg.int64))
    assert [i.dtype for i in program.graph.inputs] == [gg.float32, gg.int64]
    assert [o.dtype for o in program.graph.outputs] == [gg.float32, gg.int32]


def test_what_is_no_array_is_given_as_it_is() -> None:
    program = gg.from_jax(lambda x, power, *, scale: x**power * scale, gg.spec(3), 3, scale=gg.spec())
    assert [i.name for i in program.graph.inputs] == ["x", "scale"]
    x = n(3).astype(np.float32)
    np.testing.assert_allclose(run(program.graph, x, np.float32(2))[0], x**3 * 2, rtol=1e-6)
    with pytest.raises(TraceError, match=r"missing a required argument(?s:.)*one gg\.spec"):
        gg.from_jax(lambda x, y: x, gg.spec(3))


def test_all_that_is_missing_in_one_error() -> None:
    def f(x: Any) -> Any:
        first = jnp.fft.fft(x)
        second = lax.nextafter(x, x + 1)
        return jnp.abs(first) + second + lax.igamma(x, x)

    with pytest.raises(UnsupportedOperationError) as caught:
        gg.from_jax(f, gg.spec(4, dtype=gg.float64))
    text = str(caught.value)
    for word in ("complex128", "nextafter", "igamma", f"{Path(__file__).name}:"):
        assert word in text


def test_lines_are_the_users() -> None:
    program = gg.from_jax(lambda x: jnp.sin(x) * 2, gg.spec(3))
    assert {w.file for w in program.graph.where.values()} == {Path(__file__).name}


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(GradgenError, match="needs the package jax"):
        gg.from_jax(lambda x: x, gg.spec(3))
