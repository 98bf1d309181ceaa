"""gradgen.check finds wrong gradients, accepts right ones, and says what it could not compare."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import sympy

import gradgen as gg
import gradgen.nn.functional as F
from gradgen import checking
from gradgen.checking import check
from gradgen.checking.inputs import dimensions, index_bounds, sample
from gradgen.checking.twin import NoTwin, as_torch
from gradgen.errors import GradgenError, ShapeError
from gradgen.importers.from_sympy import from_sympy
from gradgen.ir.widen import widened_graph

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")


def model(x, w, b):
    return gg.tanh(x @ w + b).sum(dim=1)


def spec(*shape, **more):
    return gg.spec(*shape, **more)


@pytest.mark.parametrize("dtype", [gg.float32, gg.float64])
def test_right_gradients_pass(dtype) -> None:
    program = gg.trace(model, spec("N", 4, dtype=dtype), spec(4, 3, dtype=dtype, requires_grad=True),
                       spec(3, dtype=dtype, requires_grad=True))
    report = check(program, dims={"N": 2}, torch=False)
    assert report and report.passed, report
    assert [r.name for r in report.rows] == ["output", "grad_w", "grad_b"]
    assert report.rows[0].shape == (2,) and report.dims == {"N": 2}
    limit = 1e-4 if dtype is gg.float32 else 1e-9
    assert all(r.reference.relative < limit for r in report.rows)
    assert "grad_w" in str(report) and "ok" in str(report)


WRONG = {
    "a factor": ("gradients", "w", lambda v: v * np.float32(1.01)),
    "nan": ("gradients", "w", lambda v: np.where(v == v.max(), np.float32(np.nan), v)),
    "a factor in value_and_grad": ("gradients", "w (value_and_grad)", lambda v: v * 1.01),
    "nan in value_and_grad": ("gradients", "w (value_and_grad)", lambda v: v * np.nan),
    "another shape": ("gradients", "w", lambda v: v.T),
    "an output": ("outputs", "output", lambda v: v + np.float32(0.01)),
    "an output of value_and_grad": ("outputs", "output (value_and_grad)", lambda v: v + np.float32(0.01)),
    "an infinite output": ("outputs", "output", lambda v: v + np.float32(np.inf)),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_result_fails(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, name, change = WRONG[what]
    original = checking._run_module

    def wrong(*args):
        found = original(*args)
        getattr(found, kind)[name] = change(getattr(found, kind)[name])
        return found

    monkeypatch.setattr(checking, "_run_module", wrong)
    program = gg.trace(model, spec(3, 4), spec(4, 3, requires_grad=True), spec(3, requires_grad=True))
    report = check(program, torch=False)
    assert not report and not report.passed
    assert [r.passed for r in report.rows] == [kind == "gradients", kind == "outputs", True]
    assert "FAILED" in str(report)


def test_a_branch_that_is_not_taken_may_be_infinite() -> None:
    program = gg.trace(lambda x: gg.where(x > 0, x.sqrt(), 0 * x).sum(), spec(8, requires_grad=True), name="half")
    assert check(program, torch=False)  # at positive numbers
    assert check(program, torch=False, nan_safe=True)


def test_many_elements_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = checking._slope
    monkeypatch.setattr(checking, "_slope", lambda *a: calls.append(1) or original(*a))
    program = gg.trace(lambda w: (w * w).sum(), spec(20, 30, dtype=gg.float64, requires_grad=True), name="squares")
    assert check(program, samples=5, torch=False).passed
    assert len(calls) == 7


def test_detached_values_are_held() -> None:
    program = gg.trace(lambda x: (x * x.detach()).sum(), spec(3, requires_grad=True), name="held")
    assert check(program, torch=False).passed


def test_indices_stay_inside_what_they_index() -> None:
    def pick(w, t):
        return gg.log_softmax(w, dim=1)[gg.arange(5), t].sum()

    program = gg.trace(pick, spec(5, 3, requires_grad=True), spec(5, dtype=gg.int64))
    point = sample(program.graph, {}, np.random.default_rng(0))
    assert point["t"].max() < 3
    assert set(index_bounds(program.graph, {}).values()) == {3}
    assert check(program, torch=False).passed


def test_functions_that_need_positive_values() -> None:
    program = gg.trace(lambda x: gg.log(x).sum(), spec(4, requires_grad=True), name="logs")
    assert check(program, torch=False).passed
    never = gg.trace(lambda x: gg.log(-gg.abs(x) - 1).sum(), spec(4, requires_grad=True), name="never")
    with pytest.raises(GradgenError, match="no random point"):
        check(never, torch=False)


def test_several_outputs_and_forward_only() -> None:
    def pair(x, y):
        return x * y, gg.exp(x).sum()

    program = gg.trace(pair, spec(3, requires_grad=True), spec(3, requires_grad=True))
    assert check(program, torch=False).passed
    report = check(program, torch=False, forward_only=True)
    assert report.passed and all(r.kind == "output" for r in report.rows)


def test_values_of_the_users_choice() -> None:
    program = gg.trace(lambda x: gg.relu(x).sum(), spec(2, requires_grad=True), name="ramp")
    report = check(program, values={"x": [-1.0, 2.0]}, torch=False)
    assert report.passed and report.rows[0].greatest == 2.0
    with pytest.raises(GradgenError, match="no input 'y'"):
        check(program, values={"y": 1.0})


def test_programs_from_sympy_have_no_twin() -> None:
    x = sympy.Symbol("x")
    report = check(from_sympy(sympy.sin(x) * x, [x], name="wave"))
    assert report.passed
    assert report.notes == () or "not compared with PyTorch" in report.notes[0]


def test_dimensions() -> None:
    program = gg.trace(lambda x, y: x.sum() + y.sum(), spec("N", "M", requires_grad=True), spec("M"), name="dims")
    sizes = {str(k): v for k, v in dimensions(program.graph, {"N": 9}).items()}
    assert sizes["N"] == 9 and sizes["M"] not in (9, 1)
    with pytest.raises(ShapeError, match="no dimension 'K'"):
        dimensions(program.graph, {"K": 1})


def test_widening_keeps_names_and_structure() -> None:
    program = gg.trace(model, spec(2, 4), spec(4, 3, requires_grad=True), spec(3))
    wide = widened_graph(program.graph)
    assert [n.name for n in wide.inputs] == ["x", "w", "b"] and len(wide.nodes) == len(program.graph.nodes)
    assert all(n.dtype is gg.float64 for n in wide.nodes)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def scaled(z, factor):
    return F.softplus(z) * factor


def with_helpers(x, w):
    return gg.nn.functional.mse_loss(scaled(x @ w, 2.0), gg.zeros(3, 2))


def test_the_same_function_runs_under_torch() -> None:
    pytest.importorskip("torch")
    program = gg.trace(with_helpers, spec(3, 4), spec(4, 2, requires_grad=True))
    report = check(program, torch=True)
    assert report.passed, report
    assert all(r.torch is not None and r.torch.relative < 1e-5 for r in report.rows)


def test_closures_and_defaults_are_translated() -> None:
    torch = pytest.importorskip("torch")
    offset = 3.0

    def inner(z, *, scale=2.0):
        return gg.exp(z) * scale + offset

    twin = as_torch(lambda z: inner(z))
    found = twin(torch.zeros(2))
    assert isinstance(found, torch.Tensor) and found.tolist() == [5.0, 5.0]
    with pytest.raises(NoTwin):
        as_torch(np.sin)


def test_torch_only_where_possible() -> None:
    pytest.importorskip("torch")

    def odd(x):
        if not isinstance(x, gg.Tensor):
            raise ValueError("only gradgen's tensors")
        return x.sum()

    program = gg.trace(odd, spec(3, requires_grad=True))
    # the twin's gg is torch, so isinstance holds there: both run
    assert check(program).passed


def test_kinks_within_a_step() -> None:
    """A step from this point leads over the kinks of relu and to other elements of the maximum."""

    def function(x):  # type: ignore[no-untyped-def]
        return gg.relu(x - 1.0).sum() + gg.amax(x * gg.tensor([1.0, 2.0], dtype=gg.float64)) + abs(x[0] - 1.0001)

    traced = gg.trace(function, x=gg.spec(2, dtype=gg.float64, requires_grad=True))
    report = gg.check(traced, values={"x": np.array([1.0003, 0.50012])})
    assert report.passed, str(report)
