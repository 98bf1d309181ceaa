"""gg.to_onnx: models run by onnxruntime give what gradgen's interpreter gives."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.exporters import onnx_functions, to_onnx
from gradgen.ir.scalar_table import REGISTRY
from gradgen.reference.interpreter import run as interpreted
from tests.models.cases import CASES

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from . import onnx_runs  # noqa: E402
from .onnx_runs import compare, results  # noqa: E402

F = gg.nn.functional
RANDOM = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore")  # numbers outside of a function's domain are among the samples


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(dtype)


def ops(model: Any) -> Counter[str]:
    return Counter(n.op_type for n in model.graph.node if n.op_type != "Identity")


# --- everything ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(onnx_runs.samples()))
def test_operations(path: str) -> None:
    made = onnx_runs.traced(onnx_runs.samples()[path])
    if made is None:
        pytest.skip("no program")
    try:
        compare(*made)
    except UnsupportedOperationError:
        assert f"| {path} |" in onnx_runs.PAGE.read_text()


def test_the_page_is_true() -> None:
    assert onnx_runs.page() == onnx_runs.PAGE.read_text()


@pytest.mark.parametrize("name", sorted(set(CASES) - {"double"}))  # that one takes derivatives eagerly
def test_models(name: str) -> None:
    function, arrays, _ = CASES[name]()
    specs = [gg.spec(*a.shape, dtype=a.dtype.name) for a in arrays]
    compare(gg.trace(lambda *a: function(gg, *a), *specs, check=False), arrays)


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(onnx_functions.FORMS, "exp", onnx_functions.FORMS["sin"])
    with pytest.raises(AssertionError):
        compare(gg.trace(lambda x: gg.exp(x), gg.spec("N")), [normal(3)])


def test_scalar_functions_are_known_or_refused() -> None:
    """A function of the table is written out, an operator, or one of these."""
    refused = {"lgamma", "digamma", "shift_left", "shift_right", "philox_low", "philox_high"}
    for key, function in REGISTRY.items():
        if function.record.expansion is None and not function.record.identity:
            assert (key in onnx_functions.FORMS) == (key not in refused), key


# --- what becomes what --------------------------------------------------------------------------------------------------


def conv(x: Any, w: Any, b: Any) -> Any:
    return F.relu(F.conv2d(x, w, b, stride=2, padding=1))


@pytest.mark.parametrize("size", [(6, 6), (7, 9), (1, 1)])
def test_convolutions(size: tuple[int, int]) -> None:
    program = gg.trace(conv, gg.spec("N", 3, "H", "W"), gg.spec(4, 3, 3, 3), gg.spec(4))
    model = compare(program, [normal(2, 3, *size), normal(4, 3, 3, 3), normal(4)])
    assert ops(model)["Conv"] == ops(model)["Relu"] == 1 and not {"Gather", "Einsum", "Pad"} & {*ops(model)}


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_in_groups(groups: int) -> None:
    kernel = (8, 4 // groups, 3, 2)
    program = gg.trace(lambda x, w: F.conv2d(x, w, groups=groups, dilation=2), gg.spec("N", 4, 9, 8), gg.spec(*kernel))
    assert ops(compare(program, [normal(2, 4, 9, 8), normal(*kernel)]))["Conv"] == 1


def test_convolutions_whose_windows_are_mostly_outside() -> None:
    program = gg.trace(lambda x, w: F.conv2d(x, w, padding=3, groups=4), gg.spec("N", 4, 5, 8), gg.spec(4, 1, 7, 7))
    assert ops(compare(program, [normal(2, 4, 5, 8), normal(4, 1, 7, 7)])) == {"Conv": 1}


SPREADS: list[dict[str, int]] = [
    {"stride": 2, "padding": 1}, {"stride": 3, "output_padding": 1}, {"padding": 1}, {"dilation": 2},
]


@pytest.mark.parametrize("options", SPREADS)
def test_transposed_convolutions(options: dict[str, int]) -> None:
    program = gg.trace(lambda x, w: F.conv_transpose2d(x, w, **options), gg.spec("N", 4, "H", 5), gg.spec(4, 3, 3, 2))
    found = ops(compare(program, [normal(2, 4, 6, 5), normal(4, 3, 3, 2)]))
    assert found["ConvTranspose"] == 1 and not {"Gather", "Einsum"} & {*found}


def test_what_is_repeated_is_not_spread() -> None:
    """Read at i / 2 whatever i is: no transposed convolution."""
    def f(x: Any, w: Any) -> Any:
        wide = F.interpolate(x, scale_factor=2, mode="nearest").flip(2)
        return F.conv1d(wide, w.flip(2))

    compare(gg.trace(f, gg.spec("N", 2, 5), gg.spec(3, 2, 3)), [normal(2, 2, 5), normal(3, 2, 3)])


def test_convolutions_of_other_ranks() -> None:
    for f, x, w in (
        (F.conv1d, (2, 3, 9), (4, 3, 3)), (F.conv3d, (2, 3, 5, 6, 5), (4, 3, 3, 2, 1)), (F.conv2d, (3, 7, 7), (4, 3, 3, 3)),
    ):
        model = compare(gg.trace(lambda x, w, f=f: f(x, w), gg.spec(*x), gg.spec(*w)), [normal(*x), normal(*w)])
        assert ops(model)["Conv"] == 1


def test_pools() -> None:
    def f(x: Any) -> Any:
        return F.max_pool2d(x, 3, 2, padding=1), F.avg_pool2d(x, 2), F.max_pool1d(x.sum(1), 2)

    model = compare(gg.trace(f, gg.spec("N", 3, 8, 9)), [normal(2, 3, 8, 9)])
    assert ops(model)["MaxPool"] == 2 and ops(model)["AveragePool"] == 1 and not {"ArgMax", "Gather"} & {*ops(model)}


def test_a_value_beside_the_maximum() -> None:
    """Not the maximum: the place has been moved."""
    def f(x: Any) -> Any:
        return x.gather(1, (x.argmax(1, keepdim=True) + 1) % 4), x.max(1).values

    model = compare(gg.trace(f, gg.spec("N", 4)), [normal(5, 4)])
    assert ops(model)["ReduceMax"] == 1 and ops(model)["ArgMax"] == 1


def test_products() -> None:
    def f(x: Any, w: Any, q: Any) -> Any:
        return x @ w.T, q @ q.transpose(-1, -2), gg.einsum("bti,bsi,i->bts", q, q, x[0])

    program = gg.trace(f, gg.spec("N", 4), gg.spec(5, 4), gg.spec("B", "T", 4))
    model = compare(program, [normal(2, 4), normal(5, 4), normal(3, 6, 4)])
    assert ops(model)["MatMul"] == 2


def test_parts() -> None:
    def f(x: Any, y: Any, i: Any) -> Any:
        joined = gg.cat([x, y, x], 1)
        return joined, gg.stack([x, x], 1), x.reshape(-1, 6), x[:, 1:-1:2].flip(0), y[i], gg.take_along_dim(x, i % 4, 1)

    arrays = [normal(3, 4), normal(3, 2), RANDOM.integers(0, 3, (3, 2))]
    model = compare(gg.trace(f, gg.spec(3, 4), gg.spec(3, "M"), gg.spec(3, 2, dtype=gg.int64)), arrays)
    assert ops(model)["Concat"] == 2 and ops(model)["GatherElements"] == 1


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding(mode: str) -> None:
    compare(gg.trace(lambda x: F.pad(x, (2, 1), mode=mode), gg.spec("N", 3, 4)), [normal(2, 3, 4)])


def test_writes() -> None:
    def f(x: Any, i: Any, v: Any) -> Any:
        x = x * 1
        x[1:3, ::2] = 7.0
        x[i] = v
        most = x.scatter_reduce(0, i[:, None].expand(-1, 4), v, "amax")
        return x, x.index_add(0, i, v), most, gg.zeros(6).index_add(0, i, v[:, 0])

    arrays = [normal(5, 4), np.array([0, 4, 2]), normal(3, 4)]
    compare(gg.trace(f, gg.spec(5, 4), gg.spec(3, dtype=gg.int64), gg.spec(3, 4)), arrays)


@pytest.mark.parametrize("reverse", [False, True])
def test_scans(reverse: bool) -> None:
    """Two carries, the counter of steps, a constant, an open dimension that the step uses, a scan in a scan."""
    def f(x: Any, w: Any) -> Any:
        def step(c: Any, v: Any) -> Any:
            h, total = c
            inner, _ = gg.scan(lambda a, b: (a * 0.5 + b, None), h.sum(), v)
            h = gg.tanh(h @ w + v)
            return (h, total + inner), (h, gg.arange(v.shape[0]) * 1.0 + total)

        (h, total), (rows, more) = gg.scan(step, (x[0] * 0, x.sum()), x, reverse=reverse)
        return h, total, rows, more

    compare(gg.trace(f, gg.spec("T", "K"), gg.spec("K", "K")), [normal(6, 3), normal(3, 3)])


def test_a_scan_without_sequences() -> None:
    """Its length is a dimension that no input has: an input of its own, as in C."""
    program = gg.trace(lambda x: gg.scan(lambda c, _: (c * 0.5, c), x, length="steps"), gg.spec(3))
    model = gg.to_onnx(program)
    x = normal(3)
    last, rows = results(model, {"x": x, "steps": np.array(4)})
    np.testing.assert_allclose(last, x / 16)
    assert rows.shape == (4, 3)


# --- names, sizes, lines ------------------------------------------------------------------------------------------------


def net() -> Any:
    gg.manual_seed(0)
    return gg.nn.Sequential(gg.nn.Linear(4, 5), gg.nn.BatchNorm1d(5), gg.nn.ReLU(), gg.nn.Linear(5, 3)).eval()


def test_parameters_are_initialisers(tmp_path: Path) -> None:
    program = gg.trace(net(), gg.spec("batch", 4))
    model = compare(program, [normal(3, 4)], path=tmp_path / "net.onnx")
    names = {i.name for i in model.graph.initializer}
    assert {"0.weight", "0.bias", "1.weight", "1.running_mean", "3.weight", "3.bias"} <= names
    (x,) = model.graph.input
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == ["batch", 4]
    assert (tmp_path / "net.onnx").read_bytes() == model.SerializeToString()


def test_trained_weights() -> None:
    program = gg.trace(net(), gg.spec("N", 4))
    weights = {path: value + 1 for path, value in program.state.items()}
    x = normal(2, 4)
    (found,) = results(gg.to_onnx(program, values=weights), {"input": x})
    paths = {c: path for path, c in program.names.items()}
    given = [weights[paths[n.name]] if n.name in paths else x for n in program.graph.inputs]
    np.testing.assert_allclose(found, interpreted(program.graph, *given)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(GradgenError, match=r"no argument '0\.wait'"):
        gg.to_onnx(program, values={"0.wait": 1})
    with pytest.raises(GradgenError, match=r"'0\.weight' has shape \[3\], the program \[5, 4\]"):
        gg.to_onnx(program, values={"0.weight": np.zeros(3, np.float32)})


def test_arguments_may_be_initialisers() -> None:
    program = gg.trace(lambda x, w: x @ w, gg.spec("N", 4), gg.spec(4, 2))
    x, w = normal(3, 4), normal(4, 2)
    model = gg.to_onnx(program, values={"w": w})
    assert [i.name for i in model.graph.input] == ["x"]
    np.testing.assert_allclose(results(model, {"x": x})[0], x @ w, rtol=1e-5, atol=1e-6)


def test_weights_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_onnx, "MOST", 10)
    program = gg.trace(lambda x, w: x @ w, gg.spec("N", 40), gg.spec(40, 20))
    w, x = normal(40, 20), normal(3, 40)
    gg.to_onnx(program, tmp_path / "m.onnx", values={"w": w})
    assert (tmp_path / "m.onnx.data").stat().st_size >= w.nbytes
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ w, rtol=1e-5, atol=1e-5)
    with pytest.raises(GradgenError, match="cannot be written"):
        gg.to_onnx(program, tmp_path / "nowhere" / "m.onnx")


def test_there_and_back() -> None:
    """In float64 too: what is written is read again, gradients included."""
    def f(x: Any, w: Any) -> Any:
        return F.log_softmax(F.gelu(x @ w), 1).sum(0)

    x, w = normal(3, 4, dtype=np.float64), normal(4, 5, dtype=np.float64)
    program = gg.trace(f, gg.spec("N", 4, dtype=gg.float64), gg.spec(4, 5, dtype=gg.float64))
    again = gg.from_onnx(gg.to_onnx(program, values={"w": w}))
    assert [(n.name, str(n.shape[0])) for n in again.graph.inputs] == [("x", "N"), ("w", "4")]
    assert again.graph.inputs[1].requires_grad
    np.testing.assert_allclose(interpreted(again.graph, x, w), interpreted(program.graph, x, w), rtol=1e-12)


def test_nodes_say_the_users_line() -> None:
    model = gg.to_onnx(gg.trace(conv, gg.spec("N", 3, 8, 8), gg.spec(4, 3, 3, 3), gg.spec(4)))
    (node,) = [n for n in model.graph.node if n.op_type == "Conv"]
    assert node.doc_string.startswith("test_to_onnx.py:") and node.name.startswith("conv2d")


def test_all_that_is_missing_in_one_error() -> None:
    def f(x: Any) -> Any:
        inner, _ = gg.scan(lambda c, v: (c + gg.digamma(v), None), x[0] * 0, x)
        return gg.linalg.inv(x) + gg.lgamma(x) + inner + gg.rand(3, 3)

    with pytest.raises(UnsupportedOperationError) as caught:
        gg.to_onnx(gg.trace(f, gg.spec(3, 3)))
    text = str(caught.value)
    for word in ("kernel lu", "lgamma()", "digamma()", "random numbers", "test_to_onnx.py:"):
        assert word in text
    assert len(text.splitlines()) < 8, text


def test_a_determinant_needs_no_factors() -> None:
    a = normal(2, 3, 3)
    compare(gg.trace(lambda a: gg.linalg.det(a), gg.spec("N", 3, 3)), [a])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(GradgenError, match="needs the package onnx"):
        gg.to_onnx(gg.trace(lambda x: x + 1, gg.spec(3)))
