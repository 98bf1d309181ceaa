"""Proofs about indices, what programs ask of their dimensions, and who says so where."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.codegen.demands import fitting
from gradgen.compiler.pipeline import stages
from gradgen.errors import ShapeError
from gradgen.ir import dtypes
from gradgen.ir.assumptions import Requirement, condition_text, facts_of, follows, in_order, plain, without_implied
from gradgen.ir.graph import Graph
from gradgen.ir.guards import EQ, GE, MOD, Condition, in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.inequalities import contradictory, proves
from gradgen.ir.nodes import Compute, Constant, Input, Read, Scan, Scatter
from gradgen.ir.reach import ReachError, check_reach, with_conditions
from gradgen.ir.symbols import axis, dim, placeholder, reduce_axis
from gradgen.options import Options

N, M = dim("N"), dim("M")
I0, J, R = axis(0), axis(1), reduce_axis(0)
F = gg.nn.functional
A0 = placeholder(0)


# --- proofs ------------------------------------------------------------------------------------------------------------

TRUE: list[tuple[list[Any], Any]] = [
    ([], N), ([N - 3], N - 2), ([N - 1 - I0], N - 1 - I0), ([N - 3 - I0], N - 1 - (I0 + 2)),
    ([2 * N - 7], N - 4),  # over integers
    ([sympy.floor((N - 3) / 2) - I0, 2 - R], N - 1 - 2 * I0 - R),  # a window
    ([N * M - 1 - I0], M - 1 - quotient(I0, N)), ([N * M - 1 - I0], N - 1 - modulo(I0, N)),
    ([N * M - 1 - I0, 47 - J], 3 * M - 1 - 3 * quotient(I0, N) - quotient(J, 16)),
    ([4 * N - 1 - I0, 47 - J], 11 - 3 * quotient(I0, N) - quotient(J, 16)),
    ([N - 1 - I0, M - 1 - J], N * M - 1 - (I0 * M + J)),
    ([(N - 2) * (M - 2) - 1 - I0, 17 - J, M - 3], N - 1 - quotient(I0, M - 2) - quotient(modulo(J, 9), 3)),
    ([sympy.Max(0, N - 2) - 1 - I0], N - 1 - (I0 + 2)), ([sympy.Min(3, N) - 1 - I0], N - 1 - I0),
    ([N - 3], sympy.Min(3, N) - 3), ([], 3 - sympy.Min(3, N)),
    ([N / 4 - 1 - I0, 3 - J], N - 1 - (4 * I0 + J)), ([N - 1 - I0], N / 4 - quotient(I0, 4)),
    ([N - 1 - I0, N - 4 * quotient(N, 4), 4 * quotient(N, 4) - N], N / 4 - 1 - quotient(I0, 4)),
    ([7 - I0], 2 - quotient(I0, 3)), ([N - M, M - N], N - M), ([M - N, N - M - 1], sympy.Integer(-1)),
]
FALSE: list[tuple[list[Any], Any]] = [
    ([], N - 1), ([N - 3], N - 4), ([N - 1 - I0], N - 2 - I0), ([N - 3 - I0], N - 1 - (I0 + 3)),
    ([sympy.floor((N - 3) / 2) - I0, 3 - R], N - 1 - 2 * I0 - R), ([N * M - 1 - I0], M - 2 - quotient(I0, N)),
    ([N * M - I0, N - 1], M - 1 - quotient(I0, N)),
    ([sympy.Max(0, N - 2) - I0], N - 1 - (I0 + 2)), ([N - 2], sympy.Min(3, N) - 3),
    ([N - 1 - I0], N / 4 - 1 - quotient(I0, 4)),
]


@pytest.mark.parametrize("facts, goal", TRUE)
def test_what_holds_is_proved(facts: list[Any], goal: Any) -> None:
    assert proves(facts, goal)
    assert _counterexample(facts, goal) is None


@pytest.mark.parametrize("facts, goal", FALSE)
def test_what_does_not_hold_is_not(facts: list[Any], goal: Any) -> None:
    assert not proves(facts, goal)
    assert _counterexample(facts, goal) is not None


def _counterexample(facts: list[Any], goal: Any) -> dict[Any, int] | None:
    """A small point at which every fact is 0 or more and the goal is not."""
    symbols = sorted(set().union(*(sympy.sympify(e).free_symbols for e in [*facts, goal])), key=str)
    for point in itertools.product(range(9 if len(symbols) < 4 else 6), repeat=len(symbols)):
        at = dict(zip(symbols, map(sympy.Integer, point)))
        if all(sympy.sympify(f).subs(at) >= 0 for f in facts) and not sympy.sympify(goal).subs(at) >= 0:
            return {s: int(v) for s, v in at.items()}
    return None


def test_random_questions_are_never_proved_wrongly() -> None:
    """Soundness by trying all small points; and not by never proving anything."""
    rng = np.random.default_rng(7)
    proved = 0
    for _ in range(150):
        def expression() -> Any:
            terms = [int(rng.integers(-3, 4)) * s for s in (N, I0, sympy.floor((N - 1) / 2), modulo(I0, sympy.Integer(3)))]
            return sum(t for t in terms if rng.random() < 0.6) + int(rng.integers(-4, 5))

        facts, goal = [N - 1 - I0, *(sympy.sympify(expression()) for _ in range(2))], sympy.sympify(expression())
        if proves(facts, goal):
            proved += 1
            assert _counterexample(facts, goal) is None, (facts, goal)
    assert proved > 20


def test_contradictions() -> None:
    assert contradictory([N - 3, 2 - N])
    assert not contradictory([N - 3, 3 - N])


# --- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition, text", [
    (Condition(GE, N - 3), "N >= 3"), (Condition(GE, 5 - N), "N <= 5"), (Condition(GE, 2 * N - 5), "N >= 3"),
    (Condition(GE, N - M + 1), "N + 1 >= M"), (Condition(EQ, N - M - 1), "N == M + 1"), (Condition(MOD, N, 4), "N % 4 == 0"),
    (Condition(MOD, N + 1, 4), "(N + 1) % 4 == 0"), (plain(Condition(GE, sympy.floor((N - 3) / 2))), "N >= 3"),
])
def test_words_of_conditions(condition: Condition, text: str) -> None:
    assert condition_text(condition) == text


def _needs(*conditions: Condition) -> list[Requirement]:
    return [Requirement(c, "RuntimeError", ("",)) for c in conditions]


def test_implied_conditions_are_dropped() -> None:
    three, five, four = Condition(GE, N - 3), Condition(GE, N - 5), Condition(MOD, N, 4)
    assert [str(r) for r in in_order(_needs(three, five, three))] == ["N >= 3", "N >= 5"]
    assert [str(r) for r in without_implied(_needs(three, five, four))] == ["N >= 5", "N % 4 == 0"]
    assert follows(Condition(MOD, N, 2), facts_of(_needs(four)))
    assert follows(Condition(GE, N - 4), facts_of(_needs(three, four)))  # a multiple of 4 from 3 on
    assert not follows(Condition(MOD, N, 8), facts_of(_needs(four)))


ASKED: dict[str, tuple[Callable[..., Any], list[Any], list[str]]] = {
    "select": (lambda x: x[2], [("N",)], ["N >= 3"]),
    "from the end": (lambda x: x[-3], [("N",)], ["N >= 3"]),
    "second axis": (lambda x: x[:, 2], [(4, "N")], ["N >= 3"]),
    "narrow": (lambda x: x.narrow(0, 1, 3), [("N",)], ["N >= 1", "N >= 4"]),
    "windows": (lambda x: x.unfold(0, 3, 2), [("N",)], ["N >= 3"]),
    "pool": (lambda x: F.max_pool1d(x, 4), [(1, 2, "N")], ["N >= 1", "N >= 4"]),
    "convolution": (lambda x, w: F.conv1d(x, w, padding=1), [(1, 2, "N"), (3, 2, 5)], ["N >= 3"]),
    "open window": (lambda x, w: F.conv1d(x, w), [(1, 2, "N"), (3, 2, "K")], ["K >= 1", "N >= K"]),
    "two axes": (lambda x: F.unfold(x, 3), [(1, 2, "H", "W")], ["H >= 1", "W >= 1", "H >= 3", "W >= 3"]),
    "clamped": (lambda x: x[2:5].sum() + x[-4:].sum() + x[::3].sum(), [("N",)], []),
    "differences": (lambda x: x[1:] - x[:-1], [("N",)], []),
    "moved": (lambda x: x.roll(2) + x.flip(0), [("N",)], []),
    "extreme": (lambda x: x.amax(0), [("N", "M")], ["N >= 1"]),
    "derived": (lambda x: x[1:][3], [("N",)], ["N >= 5"]),
    "written": (lambda x, y: x.select_scatter(y, 0, 2), [("N", 3), (3,)], ["N >= 3"]),
    "reshaped": (lambda x: x.reshape(-1)[7], [("N", "M")], ["N*M >= 8"]),
}


def _specs(shapes: list[Any], gradient: bool = False) -> list[Any]:
    return [gg.spec(*s, dtype=gg.float64, requires_grad=gradient) for s in shapes]


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked(name: str) -> None:
    function, shapes, expected = ASKED[name]
    asked = [str(r) for r in gg.trace(function, *_specs(shapes)).graph.conditions]
    assert [a.replace("M*N", "N*M") for a in asked] == expected


@pytest.mark.parametrize("name", ASKED)
def test_gradients_need_no_more(name: str) -> None:
    """stages() proves every read of forward, backward and value_and_grad under the conditions of forward."""
    function, shapes, _ = ASKED[name]
    made = stages(gg.trace(lambda *x: function(*x).pow(2).sum(), *_specs(shapes, gradient=True)).graph, Options())
    assert all(p.conditions == made.graph.conditions for p in made.procedures)


@pytest.mark.parametrize("name", [n for n, (_, _, asked) in ASKED.items() if asked])
def test_a_dropped_condition_is_noticed(name: str) -> None:
    """What the front end does not ask, the proofs find: each condition that memory needs comes back."""
    function, shapes, _ = ASKED[name]
    graph = gg.trace(function, *_specs(shapes)).graph
    bare = replace(graph, conditions=())
    found = facts_of(with_conditions(bare).conditions)
    if name in ("extreme", "pool", "open window", "two axes", "convolution", "written"):
        return  # nothing is read outside of anything: there is no window, or no element
    assert found, "the proofs ask for nothing"
    with pytest.raises(ReachError):
        check_reach(graph.outputs, ())


def test_the_users_line_is_named() -> None:
    program = gg.trace(lambda x: x[2] * x[5], gg.spec("N"))
    first, second = program.graph.conditions
    assert str(first.where).startswith("test_dimension_conditions.py:") and str(first.where).endswith(" x[2]")
    assert str(second.where).endswith(" x[5]")
    assert (first.error, first.message) == ("IndexError", ("index 2 is out of bounds for dimension 0 with size ", N, ""))


# --- nodes by hand -----------------------------------------------------------------------------------------------------


def _graph(node: Any, *inputs: Input) -> Graph:
    return Graph(inputs, (node,), ("y",))


X = Input("x", (N,), dtypes.float64)


def test_a_read_becomes_a_condition_at_its_worst_corner() -> None:
    node = Compute((4,), A0, [Read(X, [3 * I0 + 2])], dtypes.float64)
    assert [str(r) for r in with_conditions(_graph(node, X)).conditions] == ["N >= 12"]


def test_guards_are_counted_on() -> None:
    inside = Compute((N + 5,), A0, [Read(X, [I0 - 2], in_range(I0 - 2, N))], dtypes.float64)
    assert with_conditions(_graph(inside, X)).conditions == ()
    half = Compute((N + 5,), A0, [Read(X, [I0 - 2], in_range(I0 - 2, N)[:1])], dtypes.float64)
    with pytest.raises(ReachError, match="a read of a Compute"):
        with_conditions(_graph(half, X))


def test_writes_are_proved_too() -> None:
    node = Scatter((N,), X, (3,), [2 * I0], sympy.Integer(0), [], dtypes.float64, mode="set")
    assert [str(r) for r in with_conditions(_graph(node, X)).conditions] == ["N >= 5"]


def test_steps_of_a_scan_are_proved_where_there_is_a_step() -> None:
    carry, row = Input("c", (), dtypes.float64), Input("row", (M,), dtypes.float64)
    second = Compute((), A0, [Read(row, [sympy.Integer(1)])], dtypes.float64)
    step = Graph((carry, row), (second,), ("c",))
    rows = Input("rows", (N, M), dtypes.float64)
    scan = Scan(step, [Constant(0.0, dtypes.float64)], [rows], (), N, 0)
    assert [str(r) for r in with_conditions(_graph(scan, rows)).conditions] == ["M >= 2"]


def test_extents_are_not_negative() -> None:
    node = Compute((N - 2,), sympy.Integer(0), [], dtypes.float64)
    assert [str(r) for r in with_conditions(_graph(node, X)).conditions] == ["N >= 2"]


def test_indices_from_data_are_left_to_run_time() -> None:
    index = Input("k", (3,), dtypes.int64)
    node = Compute((3,), placeholder(1), [Read(index, [I0]), Read(X, [A0])], dtypes.float64)
    assert with_conditions(_graph(node, index, X)).conditions == ()


def test_what_no_dimension_allows_is_an_error() -> None:
    node = Compute((N,), A0, [Read(X, [I0 + 1])], dtypes.float64)
    with pytest.raises(ReachError, match="not proved"):
        with_conditions(_graph(node, X))


def test_a_gradient_that_needs_more_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the derivatives is not one that cannot fail."""
    program = gg.trace(lambda x: x[2].pow(2), gg.spec("N", requires_grad=True))
    monkeypatch.setattr("gradgen.compiler.pipeline.with_conditions", lambda graph: replace(graph, conditions=()))
    with pytest.raises(ReachError):
        stages(program.graph, Options())


# --- gg.dim ------------------------------------------------------------------------------------------------------------


def _trace(function: Callable[..., Any], *shapes: tuple[Any, ...]) -> Any:
    return gg.trace(function, *_specs(list(shapes)))


def test_statements_are_conditions() -> None:
    program = _trace(lambda x, y: x.sum() + y.sum(), (gg.dim("N", min=3, max=64, multiple=4), 2), ("N",))
    assert [str(r) for r in program.graph.conditions] == ["N >= 3", "N <= 64", "N % 4 == 0"]
    assert {r.error for r in program.graph.conditions} == {"ValueError"}


def test_statements_decide_clamped_slices() -> None:
    program = _trace(lambda x, w: x[:3] + w, (gg.dim("N", min=3),), (3,))
    assert program.graph.outputs[0].shape == (3,)
    with pytest.raises(RuntimeError, match=r"gg\.dim"):
        _trace(lambda x, w: x[:3] + w, ("N",), (3,))
    with pytest.raises(RuntimeError):
        _trace(lambda x, w: x[:4] + w, (gg.dim("N", min=3),), (4,))


@pytest.mark.parametrize("function, shape", [
    (lambda x: x.reshape(-1, 4), (N / 4, 4)), (lambda x: x.view(4, -1), (4, N / 4)),
    (lambda x: x.unflatten(0, (-1, 2)), (N / 2, 2)),
    (lambda x: gg.stack(x.chunk(4)), (4, N / 4)), (lambda x: gg.stack(gg.tensor_split(x, 2)), (2, N / 2)),
])
def test_statements_decide_reshapes_and_parts(function: Callable[..., Any], shape: tuple[Any, ...]) -> None:
    program = _trace(function, (gg.dim("N", multiple=4),))
    assert program.graph.outputs[0].shape == shape
    with pytest.raises(RuntimeError, match=r"gg\.dim"):
        _trace(function, ("N",))


EIGHT = gg.dim("N", min=7, max=11, multiple=4)
FEW = gg.dim("N", min=5, max=8)


@pytest.mark.parametrize("stated, function, shapes", [
    (FEW, lambda x: x.split(4), [(4,), (N - 4,)]), (EIGHT, lambda x: x.split(3), [(3,), (3,), (2,)]),
    (gg.dim("N", min=5, max=6), lambda x: x.chunk(2), [(3,), (N - 3,)]), (EIGHT, lambda x: x.chunk(5), [(2,)] * 4),
    (FEW, lambda x: x.tensor_split((1, -3)), [(1,), (N - 4,), (3,)]),
    (EIGHT, lambda x: x.tensor_split(3), [(3,), (3,), (2,)]),
    (EIGHT, lambda x: x.split([5, 3]), [(5,), (3,)]), (EIGHT, lambda x: x.unbind(), [()] * 8), (EIGHT, tuple, [()] * 8),
    (EIGHT, lambda x: [x.reshape(2, 4)], [(2, 4)]), (EIGHT, lambda x: [x.view(4, 2)], [(4, 2)]),
    (EIGHT, lambda x: [x.unflatten(0, (2, 2, 2))], [(2, 2, 2)]),
    (gg.dim("N", min=3, max=3), lambda x: [x.reshape(-1, 3)], [(N / 3, 3)]),
])
def test_bounds_decide_how_many_parts_there_are(stated: Any, function: Callable[..., Any], shapes: list[Any]) -> None:
    program = _trace(lambda x: tuple(function(x)), (stated,))
    assert [o.shape for o in program.graph.outputs] == shapes
    with pytest.raises((RuntimeError, gg.GradgenError)):
        _trace(lambda x: tuple(function(x)), (gg.dim("N", min=3, max=12),))


def test_parts_of_every_size_that_is_stated(tmp_path: Any) -> None:
    def function(x: Any) -> Any:
        a, b = x.split(4)
        c, d, e = x.tensor_split((1, -3))
        return a.sin().sum() + (b * 3).exp().sum() + (c.sum() * d).sum() * (e * e).sum()

    program = gg.trace(function, x=gg.spec(FEW, dtype=gg.float64, requires_grad=True), outputs=["loss"])
    module = gg.build(program, name="parts", out=tmp_path)
    for n in (5, 6, 7, 8):
        x = gg.tensor(np.linspace(-1, 1, n), requires_grad=True)
        loss = function(x)
        loss.backward()
        found, (grad,) = module.value_and_grad(x.detach().numpy())
        assert np.allclose([found], [loss.item()], rtol=1e-13)  # some ten roundings
        assert np.allclose(grad, x.grad.numpy(), rtol=1e-13)
    for n in (4, 9):
        with pytest.raises(ValueError, match="was stated by"):
            module.value_and_grad(np.zeros(n))


def test_one_name_one_statement() -> None:
    with pytest.raises(ShapeError, match="contradict"):
        _trace(lambda x, y: x.sum() + y.sum(), (gg.dim("N", min=3),), (gg.dim("N", min=4),))
    _trace(lambda x, y: x.sum() + y.sum(), (gg.dim("N", min=3),), (gg.dim("N", multiple=4),))
    with pytest.raises(ShapeError, match="no size"):
        gg.dim("N", min=5, max=7, multiple=4)
    with pytest.raises(ShapeError, match="min is an int"):
        gg.dim("N", min=-1)


def test_what_a_statement_makes_impossible_is_refused_at_once() -> None:
    with pytest.raises(IndexError, match="index 4 is out of bounds for dimension 0 with size N"):
        _trace(lambda x: x[4], (gg.dim("N", max=4),))


# --- sizes to test with ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditions, dims", [
    ([Condition(GE, N - 100)], ("N",)), ([Condition(MOD, N, 1000)], ("N",)), ([Condition(GE, 1 - N)], ("N",)),
    ([Condition(GE, N - M - 2), Condition(GE, 4 - N)], ("N", "M")), ([Condition(EQ, N - 2 * M)], ("M", "N")),
])
def test_sizes_that_fit_are_found(conditions: list[Condition], dims: tuple[str, ...]) -> None:
    found = fitting(dims, _needs(*conditions), dict.fromkeys(dims, 3))
    at = {dim(d): sympy.Integer(n) for d, n in found.items()}
    for c in conditions:
        value = c.expr.xreplace(at)
        assert value >= 0 if c.kind == GE else value == 0 if c.kind == EQ else value % c.modulus == 0


# --- who says so -------------------------------------------------------------------------------------------------------


def _files(tmp_path: Any) -> dict[str, str]:
    program = gg.trace(lambda x: x[2].pow(2), x=gg.spec("N", requires_grad=True), name="third")
    folder = gg.emit(program, "third", out=tmp_path)
    return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


def test_every_document_says_the_conditions(tmp_path: Any) -> None:
    files = _files(tmp_path)
    header = files["third.h"]
    assert "GRADGEN_ERR_DIM" in header and "N >= 3   test_dimension_conditions.py:" in header
    assert "if (N < 3) {" in files["third.c"]
    (entry,) = json.loads(files["third.json"])["conditions"]
    assert entry["text"] == "N >= 3" and entry["error"] == "IndexError" and entry["where"].endswith("x[2]")
    assert entry["message"] == ["index 2 is out of bounds for dimension 0 with size ", "N", ""]
    assert "such that `N >= 3`" in files["README.md"]
    assert 'third_conditions[] = {\n    {"N >= 3", "test_dimension_conditions.py:' in files["third.c"]


def test_show_says_the_conditions() -> None:
    program = gg.trace(lambda x: x[2].pow(2), gg.spec("N", requires_grad=True))
    assert gg.show(program).splitlines()[-1].startswith("needs N >= 3   test_dimension_conditions.py:")
    assert "needs N >= 3" in gg.show(program, "cost")


