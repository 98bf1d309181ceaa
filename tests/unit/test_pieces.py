"""Long procedures are cut into functions of bounded length and compute the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.pipeline import generate, programs, stages
from gradgen.loops.statements import Apart, Comment
from gradgen.loops.walk import statements_in
from gradgen.options import Options
from gradgen.schedule import pieces

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")
F64 = gg.float64


def recurrence(x: Any, p: Any, steps: int = 12) -> Any:
    for _ in range(steps):
        x = gg.sin(p * x) + 0.5 * x
    return x


def branches(a: Any, b: Any) -> Any:
    """Loops, sums of many terms, guards, several outputs: statements that move and some that do not."""
    h = gg.tanh(a @ b)
    row = h.sum(0)
    top = gg.where(row > 0, gg.cos(row), gg.sin(row) * gg.cos(row))
    worst = h.amax()
    return {"worst": worst, "mean": (top * h[2]).mean(), "firsts": h[:, 0] * worst}


def scalars(x: Any) -> Any:
    """Straight-line code with comparisons (bool) and powers."""
    total = x[0]
    for k in range(1, 6):
        total = gg.where(total > x[k], total * x[k], total + gg.exp(-(x[k] ** 2)))
    return total * gg.cos(total) + gg.sin(total)


CASES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "recurrence": (recurrence, {"x": gg.spec(dtype=F64, requires_grad=True), "p": gg.spec(dtype=F64, requires_grad=True)}),
    "branches": (branches, {"a": gg.spec("N", 3, dtype=F64, requires_grad=True),
                            "b": gg.spec(3, 5, dtype=F64, requires_grad=True)}),
    "scalars": (scalars, {"x": gg.spec(6, dtype=F64, requires_grad=True)}),
}


def small(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """Cuts everything, into pieces of few statements."""
    monkeypatch.setattr(pieces, "LONG", 2)
    monkeypatch.setattr(pieces, "LENGTH", length)
    monkeypatch.setattr(pieces, "SHORT", 1)


@needs_compiler
@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_pieces_compute_the_same(name: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    function, specs = CASES[name]
    program = gg.trace(function, **specs)
    small(monkeypatch, length)
    assert "_piece2(" in generate(program.graph, name, Options())[f"{name}.c"]
    assert gg.check(program, dims={"N": 4} if name == "branches" else None, torch=False)


@needs_compiler
def test_the_eager_mode_s_code_is_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 2)
    x = gg.tensor([0.3, 1.7, -0.2], dtype=F64)
    y = gg.sin(x[0] * 1.25) + gg.cos(x[1]) * x[2] - gg.sin(x[1])
    value = np.sin(0.3 * 1.25) + np.cos(1.7) * -0.2 - np.sin(1.7)
    np.testing.assert_allclose(y.item(), value, rtol=1e-15)


def test_functions_of_long_programs_are_bounded() -> None:
    function, specs = CASES["recurrence"]
    program = gg.trace(lambda x, p: function(x, p, 800), **specs)
    text = generate(program.graph, "lengthy", Options())["lengthy.c"]
    functions = re.findall(r"^\{$(.*?)^\}$", text, re.M | re.S)
    # a statement may come with a comment, the load or store of a live value, and the pointer of its slot in SAVED
    assert len(functions) > 10 and max(body.count("\n") for body in functions) < 6 * pieces.LENGTH


def test_sine_and_cosine_stay_together() -> None:
    """The cosine of what forward took the sine of is needed at the other end of the program."""
    function, specs = CASES["recurrence"]
    program = gg.trace(lambda x, p: function(x, p, 800), **specs)
    text = generate(program.graph, "lengthy", Options())["lengthy.c"]
    functions = re.findall(r"^GG_NOINLINE void gg_value_and_grad_piece\d+\([^)]*\)\n\{$(.*?)^\}$", text, re.M | re.S)
    both = "\n".join(functions)
    assert both.count("gg_sincos_scalar_f64_call(t") == 800
    assert both.count("gg_cos_scalar_f64_call(t") == 0


def test_short_procedures_stay_whole() -> None:
    function, specs = CASES["recurrence"]
    made = stages(gg.trace(function, **specs).graph, Options())
    for program in programs(made):
        assert not any(isinstance(s, Apart) for s in program.walk())


def test_pieces_follow_each_other_and_hold_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    function, specs = CASES["branches"]
    graph = gg.trace(function, **specs).graph
    whole = programs(stages(graph, Options()))
    small(monkeypatch, 3)
    for program, before in zip(programs(stages(graph, Options())), whole, strict=True):
        kept = [s for s in statements_in(program.statements) if not isinstance(s, (Apart, Comment))]
        own = {type(s).__name__ for s in before.statements if not isinstance(s, Comment)}
        assert own <= {type(s).__name__ for s in kept}
        live = [b for b in program.buffers if b.name.startswith("gg_live")]
        assert all(program.layout.offsets[b] is not None for b in live)
