"""Random numbers of traces: the generator, the distributions, who draws which number, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.runner import runner
from gradgen.errors import InvalidNameError, TraceError
from gradgen.ir import dtypes
from gradgen.ir.draws import STATE
from gradgen.ir.functions import philox_high, philox_low
from gradgen.ir.nodes import Input, map_node
from gradgen.ir.philox import philox
from gradgen.ir.symbols import placeholder
from gradgen.reference.interpreter import run

F = gg.nn.functional
COUNT = 40_000
VECTORS = [
    ((0x00000000, 0x00000000, 0x00000000, 0x00000000), (0x00000000, 0x00000000),
     (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF),
     (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip
"""Counter, key and result of the reference implementation's known answers for ten rounds."""


def _pairs(words: tuple[int, ...]) -> list[int]:
    """Words of 32 bits as int64, low words first."""
    return [int(np.uint64(high << 32 | low).astype(np.int64)) for low, high in zip(words[::2], words[1::2])]


def test_known_answers() -> None:
    for counter, key, wanted in VECTORS:
        low, high = _pairs(counter)
        assert [int(x) for x in philox(_pairs(key)[0], high, low)] == _pairs(wanted)


def test_known_answers_in_c() -> None:
    names = [Input(name, (len(VECTORS),), dtypes.int64) for name in ("key", "high", "low")]
    bodies = [f(*map(placeholder, range(3))) for f in (philox_low, philox_high)]
    keys = [_pairs(key)[0] for _, key, _ in VECTORS]
    counters = [_pairs(counter) for counter, _, _ in VECTORS]
    arrays = [np.array(a, np.int64) for a in (keys, [c[1] for c in counters], [c[0] for c in counters])]
    found = runner([map_node(body, names, dtypes.int64) for body in bodies], names, {}, "")(arrays)
    np.testing.assert_array_equal(np.stack(found, 1), [_pairs(wanted) for _, _, wanted in VECTORS])


# --- distributions ------------------------------------------------------------------------------------------------------


def _distributions(kind: Any) -> dict[str, Any]:
    def empty() -> Any:
        return gg.empty(COUNT, dtype=kind)

    return {
        "uniform": gg.rand(COUNT, dtype=kind), "normal": gg.randn(COUNT, dtype=kind),
        "between": empty().uniform_(-2, 5), "moved": gg.normal(2.0, 3.0, (COUNT,), dtype=kind),
        "exponential": empty().exponential_(2.0), "log_normal": empty().log_normal_(0.5, 0.25),
        "cauchy": empty().cauchy_(1.0, 2.0), "geometric": empty().geometric_(0.3), "bernoulli": empty().bernoulli_(0.3),
        "integers": gg.randint(-3, 4, (COUNT,)), "like": gg.randint_like(empty(), 10),
        "by_tensor": gg.bernoulli(gg.full((COUNT,), 0.25, dtype=kind)), "permutation": gg.randperm(1000),
        "weighted": gg.multinomial(gg.tensor([0.1, 0.2, 0.7], dtype=kind), COUNT // 8, True),
        "race": gg.multinomial(gg.tensor([[0.2, 0.0, 0.8]] * 500, dtype=kind), 2),
        "whole": gg.empty(COUNT, dtype=gg.int64).random_(),
    }  # fmt: skip


@pytest.fixture(scope="module", params=["float32", "float64"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """One call of a compiled module, and what the interpreter says of it."""
    kind = dtypes.dtype(request.param)

    def everything(x):
        return {**_distributions(kind), "rest": x * 1}

    program = gg.trace(everything, x=gg.spec(1))
    folder = tmp_path_factory.mktemp("drawn") / f"draws_{request.param}"
    module = gg.build(program, out=folder)
    x = np.zeros(1, np.float32)
    names = program.graph.output_names
    return module.forward(x, seed=11, step=2)._asdict(), dict(zip(names, run(program.graph, x, np.array([11, 2]))))


def test_the_interpreter_draws_the_same(drawn: tuple[Any, Any]) -> None:
    found, wanted = drawn
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        if value.dtype.kind == "f" and name not in ("uniform", "bernoulli", "by_tensor", "geometric"):
            # the same bits, through logarithm, cosine and tangent (near its pole: by the error of the angle)
            rounding = np.finfo(value.dtype).eps
            limit = 64 * rounding * (1 + np.abs(value)) ** (2 if name == "cauchy" else 1)
            assert np.all(np.abs(found[name] - value) <= limit), name
        else:
            np.testing.assert_array_equal(found[name], value, name)


def _distance(values: np.ndarray, distribution: Callable[[float], float]) -> float:
    """Kolmogorov's and Smirnov's distance times the root of the count: above 1.95 once in 1,000 times."""
    order = np.sort(values.astype(np.float64))
    wanted = np.array([distribution(v) for v in order])
    n = len(order)
    return float(max(np.max(np.arange(1, n + 1) / n - wanted), np.max(wanted - np.arange(n) / n)) * math.sqrt(n))


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


DISTRIBUTIONS: dict[str, Callable[[float], float]] = {
    "uniform": lambda x: x,
    "normal": _normal,
    "between": lambda x: (x + 2) / 7,
    "moved": lambda x: _normal((x - 2) / 3),
    "exponential": lambda x: -math.expm1(-2 * x),
    "log_normal": lambda x: _normal((math.log(x) - 0.5) / 0.25),
    "cauchy": lambda x: 0.5 + math.atan((x - 1) / 2) / math.pi,
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_continuous_distributions(drawn: tuple[Any, Any], name: str) -> None:
    assert _distance(drawn[0][name], DISTRIBUTIONS[name]) < 1.95  # the seed is fixed: this passes or it does not


def test_ranges(drawn: tuple[Any, Any]) -> None:
    found = drawn[0]
    assert found["uniform"].min() >= 0 and found["uniform"].max() < 1
    assert found["between"].min() >= -2 and found["between"].max() < 5
    assert found["exponential"].min() > 0 and np.isfinite(found["exponential"]).all()
    assert np.abs(found["normal"]).max() > 3.8 and abs(np.corrcoef(found["normal"], found["uniform"])[0, 1]) < 0.02


def test_discrete_distributions(drawn: tuple[Any, Any]) -> None:
    found = drawn[0]

    def near(share: float, wanted: float, count: int = COUNT) -> bool:
        return abs(share - wanted) < 3.3 * math.sqrt(wanted * (1 - wanted) / count)  # once in 1,000 times

    assert near(found["bernoulli"].mean(), 0.3) and near(found["by_tensor"].mean(), 0.25)
    assert set(np.unique(found["bernoulli"])) == {0, 1}
    for k in range(7):
        assert near((found["integers"] == k - 3).mean(), 1 / 7)
    for k in range(10):
        assert near((found["like"] == k).mean(), 0.1)
    for k in range(1, 5):
        assert near((found["geometric"] == k).mean(), 0.3 * 0.7 ** (k - 1))
    np.testing.assert_array_equal(np.sort(found["permutation"]), np.arange(1000))
    assert abs(np.corrcoef(found["permutation"], np.arange(1000))[0, 1]) < 0.1
    for k, share in enumerate((0.1, 0.2, 0.7)):
        assert near((found["weighted"] == k).mean(), share, COUNT // 8)
    assert set(np.unique(np.sort(found["race"], 1))) == {0, 2}  # the weight 0 is never taken
    assert near((found["race"][:, 0] == 2).mean(), 0.8, 500)
    assert found["whole"].min() >= 0 and found["whole"].max() > 2**62


# --- who draws what -----------------------------------------------------------------------------------------------------


def _values(program: Any, *arrays: Any, seed: int = 1, step: int = 0) -> list[np.ndarray]:
    return run(program.graph, *arrays, np.array([seed, step]))


def dropped(x):
    y = F.dropout(x, 0.4)
    return y


def test_backward_draws_the_numbers_of_forward_and_keeps_nothing(tmp_path: Path) -> None:
    def noise(x, w):
        hidden = F.dropout(x, 0.4) * w + w * gg.randn_like(x)
        return hidden

    program = gg.trace(noise, x=gg.spec("N", 3, requires_grad=True), w=gg.spec("N", 3, requires_grad=True))
    module = gg.build(program, out=tmp_path / "noise")
    assert module.saved_bytes(1000) == 64  # the header
    x, w = np.full((50, 3), 2, np.float32), np.full((50, 3), 3, np.float32)
    model = module.Module(x=x, w=w, seed=5)
    results = []
    for step in range(3):
        y = model.forward()
        ones = np.ones_like(x)
        model.zero_grad()
        model.backward(ones)
        assert (model.seed, model.step) == (5, step + 1)
        mask = model.grad.x / 3
        np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.6], rtol=1e-6)
        np.testing.assert_allclose(y, x * mask * w + w * (model.grad.w - x * mask), rtol=2e-5, atol=1e-5)
        value, (by_x, _) = module.value_and_grad(x, w, seed=5, step=step, gradient=ones)
        np.testing.assert_allclose(value, y, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(by_x, model.grad.x)
        results.append(y)
    assert not np.array_equal(results[0], results[1])
    np.testing.assert_array_equal(module.forward(x, w, seed=5, step=1), results[1])
    assert not np.array_equal(module.forward(x, w, seed=6, step=1), results[1])
    again = module.Module(x=x, w=w, seed=5, step=2)
    np.testing.assert_array_equal(again.forward(), results[2])


def test_numbers_do_not_depend_on_threads_strips_or_what_else_is_computed(tmp_path: Path) -> None:
    n = 70_001

    def one(x):
        return {"u": gg.rand(n), "v": gg.randint(0, 1000, (n,)), "rest": x * 2}

    def other(x, w):
        u = gg.rand_like(x)
        v = gg.randint(0, 1000, (x.shape[0],))
        return {"loss": (u * w + v).exp().mean(), "u": u, "v": v}

    x = np.ones(n, np.float32)
    wanted = _values(gg.trace(one, gg.spec(n)), x, seed=3, step=4)
    program = gg.trace(other, gg.spec("N"), gg.spec("N", requires_grad=True))
    for threads in (0, 2):
        module = gg.build(program, out=tmp_path / f"other{threads}", threads=threads)
        found = module.forward(x, x, seed=3, step=4)
        np.testing.assert_array_equal(found.u, wanted[0])
        np.testing.assert_array_equal(found.v, wanted[1])


def test_draws_of_a_function_differ() -> None:
    def three(x):
        return gg.rand(50), gg.rand(50), gg.rand_like(x)

    found = _values(gg.trace(three, gg.spec(50)), np.zeros(50, np.float32))
    assert len(np.unique(np.stack(found))) > 140


def test_every_step_of_a_scan_draws_others() -> None:
    def walk(x):
        def step(position, width):
            noise = gg.randn_like(position)
            return position + F.dropout(noise * width, 0.5), noise

        last, noise = gg.scan(step, x[0], x)
        return {"last": last.sum(), "noise": noise}

    program = gg.trace(walk, gg.spec("T", 4, requires_grad=True))
    noise = _values(program, np.ones((30, 4), np.float32))[1]
    assert len(np.unique(noise)) == 120
    assert gg.check(program, torch=False).passed
    eager = gg.scan(lambda c, x: (c, gg.rand(2)), gg.ones(1), gg.ones(5, 1))[1]
    assert len(np.unique(eager.numpy())) == 10


def test_transforms_see_one_evaluation() -> None:
    x = gg.ones(40)
    for transform in (gg.func.jacrev, gg.func.jacfwd):
        found = np.asarray(transform(lambda t: F.dropout(t, 0.5))(x))
        assert np.count_nonzero(found - np.diag(np.diag(found))) == 0
        assert set(np.unique(np.diag(found))) == {0, 2}
    value, pull = gg.func.vjp(lambda t: F.dropout(t, 0.5), x)
    np.testing.assert_array_equal(np.asarray(pull(x)[0]), np.asarray(value))
    value, moved = gg.func.jvp(lambda t: F.dropout(t, 0.5), (x,), (x,))
    np.testing.assert_array_equal(np.asarray(moved), np.asarray(value))
    (gradient, loss) = gg.func.grad_and_value(lambda t: (F.dropout(t, 0.5) ** 2).sum())(x)
    assert float(gradient.sum()) == float(2 * loss)
    hessian = np.asarray(gg.func.hessian(lambda t: (F.dropout(t, 0.5) ** 3).sum())(gg.ones(8)))
    assert set(np.unique(np.diag(hessian))) <= {0, 48}


def test_vmap_draws_as_it_is_told() -> None:
    rows = gg.zeros(6, 3)
    same = np.asarray(gg.func.vmap(lambda t: t + gg.rand(3), randomness="same")(rows))
    assert np.all(same == same[0])
    different = np.asarray(gg.func.vmap(lambda t: t + gg.rand(3), randomness="different")(rows))
    assert len(np.unique(different)) == 18
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        gg.func.vmap(lambda t: t + gg.rand(3))(rows)
    with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
        gg.func.vmap(lambda t: t, randomness="some")


@pytest.mark.parametrize("make", [
    lambda: gg.jit(lambda x: x + gg.rand_like(x)),
    lambda: gg.func.grad(lambda x: (F.dropout(x, 0.5) * gg.randn(30)).sum()),
])
def test_calls_differ_and_a_seed_brings_them_back(make: Callable[[], Any]) -> None:
    function, x = make(), gg.ones(30)
    gg.manual_seed(4)
    first, second = np.asarray(function(x)), np.asarray(function(x))
    assert not np.array_equal(first, second)
    gg.manual_seed(4)
    np.testing.assert_array_equal(np.asarray(function(x)), first)


def test_a_jitted_dropout_has_its_mask_in_the_gradient() -> None:
    x = gg.ones(64, requires_grad=True)
    y = gg.jit(lambda t: F.dropout(t, 0.5))(x)
    y.sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), np.asarray(y.detach()))


def test_a_jitted_function_inside_a_trace_draws_for_each_call() -> None:
    noise = gg.jit(lambda x: gg.rand_like(x))

    def two(x):
        return noise(x), noise(x), gg.rand_like(x)

    found = _values(gg.trace(two, gg.spec(20)), np.zeros(20, np.float32))
    assert len(np.unique(np.stack(found))) == 60


def test_a_trace_leaves_the_generator_alone() -> None:
    before = np.asarray(gg.get_rng_state())
    gg.trace(dropped, gg.spec(5))
    np.testing.assert_array_equal(before, np.asarray(gg.get_rng_state()))
    gg.rand(1)  # outside of traces random tensors have values at once
    assert not np.array_equal(before, np.asarray(gg.get_rng_state()))


def test_a_program_without_draws_takes_no_seed() -> None:
    program = gg.trace(lambda x: F.dropout(x, 0.5, training=False) * 2, gg.spec(3))
    assert STATE not in program.graph.inputs
    program = gg.trace(lambda x: F.dropout(x, 0.0), gg.spec(3))
    assert STATE not in program.graph.inputs


def test_formulas_say_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    gg.trace(dropped, gg.spec("N", requires_grad=True)).show()
    shown = capsys.readouterr().out
    assert "uniform0[n] < 0.6" in shown and "philox" not in shown
    assert str(gg.trace(dropped, gg.spec(2)).to_sympy().outputs[0][1]).count("uniform0[i]") == 1


# --- layers -------------------------------------------------------------------------------------------------------------


def _kept(y: np.ndarray) -> float:
    return float(np.count_nonzero(y) / y.size)


def test_dropouts() -> None:
    def family(x):
        return {
            "plain": F.dropout(x, 0.3), "one": F.dropout1d(x, 0.3), "alpha": F.alpha_dropout(x, 0.3, True),
            "feature": F.feature_alpha_dropout(x, 0.3, True), "none": F.dropout(x, 1.0), "layer": gg.nn.Dropout(0.3)(x),
        }

    x = np.ones((60, 50, 4), np.float32)
    program = gg.trace(family, gg.spec("N", 50, 4))
    found = dict(zip(program.graph.output_names, _values(program, x)))
    for name in ("plain", "one", "layer"):
        assert abs(_kept(found[name]) - 0.7) < 0.03, name
        np.testing.assert_allclose(np.unique(found[name]), [0, 1 / 0.7], rtol=1e-6)
    assert np.all(found["none"] == 0)
    channels = found["one"].reshape(3000, 4)
    assert np.all(channels == channels[:, :1])  # whole channels
    for name in ("alpha", "feature"):
        assert len(np.unique(found[name])) == 2 and abs((found[name] > 0).mean() - 0.7) < 0.03
    assert np.all(found["feature"] == found["feature"][..., :1])


def test_rrelu_and_gumbel_softmax() -> None:
    def both(x):
        return F.rrelu(x, 0.2, 0.4, training=True), F.gumbel_softmax(x, hard=True)

    x = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    leaky, picked = _values(gg.trace(both, gg.spec(2000, 3)), x)
    np.testing.assert_array_equal(leaky[x > 0], x[x > 0])
    slopes = leaky[x < 0] / x[x < 0]
    assert slopes.min() >= 0.2 - 1e-6 and slopes.max() <= 0.4 + 1e-6 and abs(slopes.mean() - 0.3) < 0.005
    shares = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    assert np.abs(picked.mean(0) - shares.mean(0)).max() < 0.04


def test_normal_has_no_derivative_by_mean_and_std() -> None:
    """As PyTorch's: torch.normal(mean, std).sum().backward() gives zeros."""
    gradients = gg.func.grad(lambda m, s: (gg.normal(m, s) + 2 * m + s).sum(), (0, 1))(gg.ones(4), gg.ones(4))
    np.testing.assert_array_equal(np.asarray(gradients[0]), np.full(4, 2))
    np.testing.assert_array_equal(np.asarray(gradients[1]), np.ones(4))

    def shapes(mean, std):
        return gg.normal(mean, std), gg.normal(mean, 2.0), gg.normal(1.0, std), mean.clone().normal_()

    found = _values(gg.trace(shapes, gg.spec(3, 1), gg.spec(4)), np.full((3, 1), 100, np.float32), np.zeros(4, np.float32))
    assert [v.shape for v in found] == [(3, 4), (3, 1), (4,), (3, 1)]
    np.testing.assert_array_equal(found[0], np.full((3, 4), 100))
    np.testing.assert_array_equal(found[2], np.ones(4))


def test_filling_in_place_stops_the_derivative() -> None:
    def filled(x):
        y = x * 3
        y.uniform_()
        return (y * x).sum()

    program = gg.trace(filled, gg.spec(6, requires_grad=True))
    assert gg.check(program, torch=False).passed


def test_layers_with_dropout_inside(tmp_path: Path) -> None:
    rnn = gg.nn.LSTM(3, 4, num_layers=2, dropout=0.5).requires_grad_(False)
    attention = gg.nn.MultiheadAttention(4, 2, dropout=0.3).requires_grad_(False)

    def model(x):
        y, _ = rnn(x)
        z, _ = attention(y, y, y, need_weights=False)
        return F.scaled_dot_product_attention(z, z, y, dropout_p=0.2).sum()

    program = gg.trace(model, x=gg.spec(3, 2, 3, requires_grad=True))
    assert gg.check(program, torch=False).passed


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_generators_and_seeds_of_python_have_no_place_in_a_trace() -> None:
    generator = gg.Generator()
    with pytest.raises(TraceError, match="generator= has no meaning while a function is traced"):
        gg.trace(lambda x: x + gg.rand(3, generator=generator), gg.spec(3))
    with pytest.raises(TraceError, match="generator= has no meaning"):
        gg.trace(lambda x: gg.empty(3).normal_(generator=generator) + x, gg.spec(3))

    def seeded(x):
        gg.manual_seed(0)
        return x + gg.rand(3)

    with pytest.raises(TraceError, match=r"manual_seed\(\) has no effect while a function is traced"):
        gg.trace(seeded, gg.spec(3))
    first = np.asarray(gg.func.grad(lambda x: seeded(x).prod())(gg.ones(3)))  # called once: as in PyTorch
    np.testing.assert_array_equal(np.asarray(gg.func.grad(lambda x: seeded(x).prod())(gg.ones(3))), first)


def test_bounds_are_checked_as_in_eager_use() -> None:
    for message, draw in {
        "p to be in": lambda: gg.empty(2).bernoulli_(1.5),
        "expects to return": lambda: gg.empty(2).uniform_(3, 2),
        "std >= 0.0": lambda: gg.empty(2).normal_(0, -1),
        "lambda > 0.0": lambda: gg.empty(2).exponential_(0),
        "to be less than": lambda: gg.randint(3, 3, (2,)),
        "between 0 and 1": lambda: F.dropout(gg.ones(2), 2.0),
    }.items():
        with pytest.raises((RuntimeError, ValueError), match=message):
            gg.trace(lambda x, draw=draw: x + draw(), x=gg.spec(2))


def test_an_argument_may_not_be_named_as_the_seed() -> None:
    def named(seed):
        y = seed + gg.rand_like(seed)
        return y

    with pytest.raises(InvalidNameError, match="'seed'"):
        gg.trace(named, gg.spec(3))
