"""gg.from_onnx: ONNX's node tests against the page in docs, and what a model is beside its operators."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.ir.nodes import Input
from gradgen.reference.interpreter import evaluate, run

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper, parser  # noqa: E402

from gradgen.importers.onnx_table import ENTRIES  # noqa: E402

from . import onnx_nodes  # noqa: E402

RANDOM = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # onnx computes its expected values with some


def model(text: str, opset: int = 18, **arrays: Any) -> Any:
    """A model from ONNX's own notation for graphs; `arrays` are initialisers."""
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {textwrap.dedent(text)}')
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items())
    return made


def values(program: gg.TracedFunction, *arguments: np.ndarray) -> list[np.ndarray]:
    """The program's results, its parameters as they were in the model."""
    return evaluate(program.graph.outputs, given(program, *arguments))


def given(program: gg.TracedFunction, *arguments: np.ndarray) -> dict[Any, np.ndarray]:
    paths, rest = {c: path for path, c in program.names.items()}, iter(arguments)
    return {n: program.state[paths[n.name]] if n.name in paths else next(rest) for n in program.graph.inputs}


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


# --- the standard's tests -----------------------------------------------------------------------------------------------


def test_no_node_test_fails() -> None:
    assert not {n: o.why for n, o in onnx_nodes.outcomes().items() if o.kind == "failed"}


def test_the_page_of_operators_is_true() -> None:
    """Written by `python -m tests.importers.onnx_nodes`; another version of onnx has other tests."""
    if onnx.__version__ not in onnx_nodes.PAGE.read_text():
        pytest.skip(f"docs/onnx-operators.md was written with another onnx than {onnx.__version__}")
    assert onnx_nodes.page() == onnx_nodes.PAGE.read_text()


def test_the_tests_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradgen.importers import onnx_windows

    monkeypatch.setattr(onnx_windows, "_counts", lambda x, w, real, with_pads: np.float32(4))
    assert onnx_nodes.outcome(onnx_nodes.cases()["test_averagepool_2d_ceil"]).kind == "failed"


def test_parameters_are_the_schemas_names() -> None:
    """An entry is called by the names of ONNX's inputs and attributes: one that no version has would never be given."""
    history: dict[str, dict[int, Any]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            history.setdefault(schema.name, {})[schema.since_version] = schema
    for name, entries in ENTRIES.items():
        for one in entries:
            assert {one.first, one.last} <= set(history[name]), name
            covered = [s for v, s in history[name].items() if one.first <= v <= one.last]
            known = {n for s in covered for n in (*(i.name for i in s.inputs), *s.attributes)}
            given_elsewhere = {"at", "inputs", "function", *(("reduction",) if name == "Scatter" else ())}
            assert set(one.kinds) - known <= given_elsewhere, name
        for opset in range(13, 24):
            version = max((v for v in history[name] if v <= opset), default=None)
            assert version is None or any(e.first <= version <= e.last for e in entries), f"{name} of opset {opset}"


COMPILED = ["test_lstm_with_peepholes", "test_resize_downsample_scales_cubic", "test_maxpool_2d_ceil",
            "test_layer_normalization_2d_axis1", "test_scatternd_max"]


@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name: str, tmp_path: Path) -> None:
    case = onnx_nodes.cases()[name]
    inputs, outputs = case.data_sets[0]
    arrays = {i.name: a for i, a in zip(case.model.graph.input, inputs)}
    program, constants = onnx_nodes.imported(case.model, arrays)
    module = gg.build(program, name=name, out=tmp_path, forward_only=True)
    found = module.forward(*(a for n, a in arrays.items() if n not in constants))
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), outputs):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


# Where no test of the standard looks.


def test_a_slice_backwards_begins_inside() -> None:
    """A start before the first element is the first: NumPy would begin before it, and have none."""
    made = model("m (float[3] x) => (float[n] y) { y = Slice(x, first, last, axes, steps) }",
                 first=[-5], last=[-(2**31)], axes=[0], steps=[-2])
    x = normal(3)
    np.testing.assert_array_equal(values(gg.from_onnx(made), x)[0], x[:1])


def test_old_operators_keep_their_meaning() -> None:
    """Before opset 13 the axes from `axis` on are one: the converter of ONNX leaves Hardmax as it is."""
    x = normal(2, 3, 4)
    old = model("m (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Hardmax<axis = 1>(x) }", opset=11)
    (found,) = values(gg.from_onnx(old), x)
    expected = np.zeros((2, 12), np.float32)
    expected[[0, 1], x.reshape(2, 12).argmax(1)] = 1
    np.testing.assert_array_equal(found, expected.reshape(x.shape))
    converted = model("m (float[2, 3] x, float[3] b) => (float[2, 3] y) { y = Add<axis = 1, broadcast = 1>(x, b) }", opset=6)
    (found,) = values(gg.from_onnx(converted), x[:, 0, :3], x[0, 1, :3])
    np.testing.assert_array_equal(found, x[:, 0, :3] + x[0, 1, :3])


@pytest.mark.parametrize("op", ["ReduceLogSumExp", "ReduceL2", "ReduceMean"])
def test_integers_stay_integers(op: str) -> None:
    program = gg.from_onnx(model(f"m (int32[2, 3] x) => (int32[] y) {{ y = {op}<keepdims = 0>(x) }}"))
    assert program.graph.outputs[0].dtype == gg.int32


# --- parameters and gradients -------------------------------------------------------------------------------------------

MLP = """
m (float["batch", 3] x, int64["batch"] t) => (float[] loss)
{
    h = Gemm<transB = 1>(x, fc_weight, fc_bias)
    a = Relu(h)
    s = Mul(a, scale)
    c = Clip(s, low, high)
    y = MatMul(c, out_weight)
    loss = SoftmaxCrossEntropyLoss(y, t)
}
"""


def mlp() -> Any:
    return model(MLP, fc_weight=normal(4, 3), fc_bias=normal(4), out_weight=normal(4, 5), scale=np.float32(0.5),
                 low=np.float32(-3), high=np.array([3], np.float32))


def test_initialisers_are_parameters() -> None:
    program = gg.from_onnx(mlp())
    assert {n.name: n.requires_grad for n in program.graph.inputs} == {
        "x": False, "t": False, "fc_weight": True, "fc_bias": True, "out_weight": True}
    assert program.graph.inputs[0].shape[0].name == "batch"
    assert set(program.state) == {"fc_weight", "fc_bias", "out_weight"}


def test_gradients_are_torch_s() -> None:
    torch = pytest.importorskip("torch")
    program = gg.from_onnx(mlp(), dtype=gg.float64)
    x, t = RANDOM.normal(size=(6, 3)), RANDOM.integers(0, 5, 6)
    p = {k: torch.tensor(v, requires_grad=True) for k, v in program.state.items()}
    h = torch.relu(torch.tensor(x) @ p["fc_weight"].T + p["fc_bias"]) * 0.5
    loss = torch.nn.functional.cross_entropy(h.clamp(-3, 3) @ p["out_weight"], torch.tensor(t))
    loss.backward()
    wanted = [n for n in program.graph.inputs if n.requires_grad]
    cotangent = Input("cotangent", (), gg.float64)
    found = gradients(program.graph.outputs, [cotangent], wanted)
    ours = evaluate([*program.graph.outputs, *found], {**given(program, x, t), cotangent: np.array(1.0)})
    np.testing.assert_allclose(ours[0], loss.item(), rtol=1e-12)
    for node, value in zip(wanted, ours[1:]):
        np.testing.assert_allclose(value, p[node.name].grad.numpy(), rtol=1e-10, atol=1e-12)


def test_frozen_initialisers_have_no_gradient() -> None:
    program = gg.from_onnx(mlp(), frozen=["fc_weight"])
    assert [n.name for n in program.graph.inputs if n.requires_grad] == ["fc_bias", "out_weight"]
    with pytest.raises(GradgenError, match="no initialiser 'fc_wait'"):
        gg.from_onnx(mlp(), frozen=["fc_wait"])


NORM = """
m (float[4, 2, 3] x) => (float[4, 2, 3] y)
{
    n = BatchNormalization<momentum = 0.75>(x, gamma, beta, mean, var)
    y = Dropout(n, ratio)
}
"""


def test_train_has_states() -> None:
    def made() -> Any:
        return model(NORM, gamma=normal(2), beta=normal(2), mean=normal(2), var=normal(2) ** 2, ratio=np.float32(0))

    x = normal(4, 2, 3)
    plain = gg.from_onnx(made())
    assert not plain.graph.states and not [n for n in plain.graph.inputs if n.name in ("mean", "var") and n.requires_grad]
    program = gg.from_onnx(made(), train=True)
    assert [new for _, new in program.graph.states] == ["mean_next", "var_next"]
    y, mean, var = values(program, x)
    np.testing.assert_allclose(mean, 0.75 * program.state["mean"] + 0.25 * x.mean((0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var, 0.75 * program.state["var"] + 0.25 * x.var((0, 2)), rtol=1e-5, atol=1e-6)
    expected = (x - x.mean((0, 2), keepdims=True)) / np.sqrt(x.var((0, 2), keepdims=True) + 1e-5)
    column = [program.state[n][:, None] for n in ("gamma", "beta")]
    np.testing.assert_allclose(y, expected * column[0] + column[1], rtol=1e-4, atol=1e-5)


# --- what is known when a model is read ---------------------------------------------------------------------------------


def test_named_dimensions_go_through_shape_arithmetic() -> None:
    program = gg.from_onnx(model("""
        m (float["batch", "seq", 6] x) => (float[b, s, 2, 3] y, float[] z, int64[] n)
        {
            shape = Shape(x)
            zero = Constant<value_ints = [0]>()
            one = Constant<value_ints = [1]>()
            rest = Constant<value_ints = [2, 3]>()
            b = Gather(shape, zero)
            s = Gather(shape, one)
            wanted = Concat<axis = 0>(b, s, rest)
            y = Reshape(x, wanted)
            count = Mul(b, s)
            none = Squeeze(count, zero)
            f = CastLike(none, x)
            total = ReduceSum<keepdims = 0>(x)
            z = Div(total, f)
            n = Size(x)
        }"""))
    assert [str(e) for e in program.graph.outputs[0].shape] == ["batch", "seq", "2", "3"]
    x = normal(2, 5, 6)
    found = values(program, x)
    np.testing.assert_array_equal(found[0], x.reshape(2, 5, 2, 3))
    np.testing.assert_allclose(found[1], x.sum() / 10, rtol=1e-5)
    assert found[2] == 60


def test_dims_say_extents_and_names() -> None:
    def shape(**dims: Any) -> list[str]:
        made = model('m (float["batch", 6] x) => (float["batch", 6] y) { y = Relu(x) }')
        return [str(e) for e in gg.from_onnx(made, **dims).graph.inputs[0].shape]

    assert shape() == ["batch", "6"]
    assert shape(dims={"batch": 4}) == ["4", "6"]
    assert shape(dims={"batch": "N"}) == ["N", "6"]
    assert shape(dims={"batch": gg.dim("N", min=2)}) == ["N", "6"]
    assert shape(dims={"x": (2, 6)}) == ["2", "6"]


def test_inputs_that_have_to_be_known_are_asked_for() -> None:
    made = model("m (float[4, 6] x, int64[2] shape) => (float[a, b] y) { y = Reshape(x, shape) }")
    with pytest.raises(GradgenError, match=r"'shape' has to be known(?s:.)*constants=\{'shape': ...\}"):
        gg.from_onnx(made)
    program = gg.from_onnx(made, constants={"shape": [3, -1]})
    assert [n.name for n in program.graph.inputs] == ["x"] and program.graph.outputs[0].shape == (3, 8)
    with pytest.raises(GradgenError, match="no input 'shapes'"):
        gg.from_onnx(made, constants={"shapes": [3, -1]})


def test_names_that_c_has_not() -> None:
    made = model("m (float[2] a) => (float[2] b) { b = Add(a, w) }", w=normal(2))
    for value, new in ((made.graph.input[0], "input.1"), (made.graph.output[0], "double")):
        for node in made.graph.node:
            node.input[:] = [new if n == value.name else n for n in node.input]
            node.output[:] = [new if n == value.name else n for n in node.output]
        value.name = new
    program = gg.from_onnx(made)
    assert [n.name for n in program.graph.inputs] == ["input_1", "w"] and program.graph.output_names == ("double_tensor",)


# --- functions and control flow -----------------------------------------------------------------------------------------


def test_functions_of_the_model() -> None:
    made = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        m (float[3] x) => (float[3] y) { y = own.scaled<factor = 3.0>(x) }
        <domain: "own", opset_import: ["" : 18]>
        scaled<factor>(a) => (b) { f = Constant<value_float: float = @factor>() b = Mul(a, f) }""")
    x = normal(3)
    np.testing.assert_allclose(values(gg.from_onnx(made), x)[0], 3 * x, rtol=1e-6)


LOOP = """
m (float[3] x) => (float[3] y, float[k, 3] rows)
{
    rounds = Constant<value_int = %d>()
    go = Constant<value = bool {1}>()
    y, rows = Loop(rounds, go, x)<body = g (int64 i, bool c, float[3] a) => (bool d, float[3] b, float[3] row)
    {
        d = Identity(c)
        half = Constant<value_float = 0.5>()
        step = Cast<to = 1>(i)
        scaled = Mul(a, half)
        b = Add(scaled, step)
        row = Identity(b)
    }>
}
"""


@pytest.mark.parametrize("rounds", [3, 12])
def test_loops(rounds: int) -> None:
    """A few rounds are written out, many are a scan."""
    x = normal(3)
    program = gg.from_onnx(model(LOOP % rounds))
    state, rows = x, []
    for k in range(rounds):
        state = state * np.float32(0.5) + np.float32(k)
        rows.append(state)
    y, found = values(program, x)
    np.testing.assert_allclose(y, state, rtol=1e-6)
    np.testing.assert_allclose(found, np.stack(rows), rtol=1e-6)


IF = """
m (float[3] x, bool c) => (float[3] y)
{
    y = If(c)<then_branch = t () => (float[3] a) { a = Relu(x) }, else_branch = e () => (float[3] b) { b = Neg(x) }>
}
"""


def test_a_branch_that_is_known() -> None:
    x = normal(3)
    np.testing.assert_array_equal(values(gg.from_onnx(model(IF), constants={"c": False}), x)[0], -x)
    with pytest.raises(GradgenError, match=r"the condition of an If.*(?s:.)*constants=\{'c'"):
        gg.from_onnx(model(IF))


# --- errors -------------------------------------------------------------------------------------------------------------


def test_all_missing_operators_in_one_error() -> None:
    made = model("""
        m (float[3] x) => (float[3] y, int64[1, n] z, float16[3] h)
        { [first] z = NonZero(x) [second] u = com.own.Special(x) [third] y = Relu(u) [fourth] h = Cast<to = 10>(x) }""")
    made.opset_import.append(helper.make_opsetid("com.own", 1))
    with pytest.raises(UnsupportedOperationError) as caught:
        gg.from_onnx(made)
    text = str(caught.value)
    assert "NonZero: the shape of its result depends on values (first)" in text
    assert "Special of the domain 'com.own' (second)" in text and "Cast: values of type float16 (fourth)" in text
    assert "third" not in text


def test_errors_name_the_node() -> None:
    made = model("m (float[3] x, float[4] z) => (float[3] y) { [bad] y = Add(x, z) }")
    with pytest.raises(RuntimeError) as caught:
        gg.from_onnx(made)
    assert any("Add 'bad'" in n for n in caught.value.__notes__)


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08\x12"])
def test_what_is_no_model(data: bytes) -> None:
    with pytest.raises(GradgenError, match="no ONNX model"):
        gg.from_onnx(data)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(GradgenError, match="needs the package onnx"):
        gg.from_onnx(b"")


# --- files --------------------------------------------------------------------------------------------------------------


def external(folder: Path, location: str, **said: Any) -> Path:
    """A model whose weights lie at `location`."""
    made = model("m (float[3] x) => (float[3] y) { y = Mul(x, w) }")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **said}.items():
        tensor.external_data.add(key=key, value=str(value))
    made.graph.initializer.append(tensor)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_data_beside_the_model(tmp_path: Path) -> None:
    w, x = normal(3), normal(3)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"\0" * 8 + w.tobytes())
    path = external(tmp_path, "weights/w.bin", offset=8, length=12)
    np.testing.assert_allclose(values(gg.from_onnx(path), x)[0], w * x)
    with pytest.raises(GradgenError, match="beside the model"):
        gg.from_onnx(path.read_bytes())


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "link.bin", "a/../../w.bin", ""])
def test_data_outside_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(GradgenError, match="outside of the model's folder"):
        gg.from_onnx(external(tmp_path / "m", location))


@pytest.mark.parametrize("said", [{"offset": 4}, {"offset": -4}, {"length": 8}, {"offset": "x"}, {"length": 1 << 60}])
def test_data_that_do_not_fit(said: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    with pytest.raises(GradgenError, match=r"w\.bin"):
        gg.from_onnx(external(tmp_path, "w.bin", **said))


def test_sequences_inside_of_a_model() -> None:
    x = normal(3, 2)
    program = gg.from_onnx(model("""
        m (float[3, 2] x) => (float[2, 2] y, int64[] n)
        {
            parts = SplitToSequence<axis = 0, keepdims = 0>(x)
            one = Constant<value_int = 1>()
            fewer = SequenceErase(parts, one)
            y = ConcatFromSequence<axis = 0, new_axis = 1>(fewer)
            n = SequenceLength(fewer)
        }"""))
    y, n = run(program.graph, x)
    np.testing.assert_array_equal(y, x[[0, 2]])
    assert n == 2
