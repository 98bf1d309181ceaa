"""outputs=, gradients= and dtype=: what a module offers, chosen when it is built, and words for what there is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import generate
from gradgen.errors import DTypeError, GradgenError
from gradgen.options import Options
from gradgen.record.traced import TracedFunction
from gradgen.reference.interpreter import evaluate
from gradgen.trace.choice import chosen, prepared


def classify(x: Any, t: Any, w: Any, b: Any) -> tuple[Any, Any]:
    logits = x @ w + b
    loss = gg.nn.functional.cross_entropy(logits, t)
    return loss, logits


@pytest.fixture
def program() -> TracedFunction:
    return gg.trace(classify, x=gg.spec("N", 4), t=gg.spec("N", dtype=gg.int64), w=gg.spec(4, 3, requires_grad=True),
                    b=gg.spec(3, requires_grad=True))


def arguments(program: TracedFunction) -> list[tuple[str, str, bool]]:
    return [(n.name, n.dtype.name, n.requires_grad) for n in program.graph.inputs]


def test_without_a_choice_it_is_the_same_program(program: TracedFunction) -> None:
    assert chosen(program) is program


def test_an_output_left_out_takes_its_arguments_with_it(program: TracedFunction) -> None:
    found = chosen(program, outputs="logits")
    assert found.graph.output_names == ("logits",)
    assert arguments(found) == [("x", "float32", False), ("w", "float32", True), ("b", "float32", True)]


def test_outputs_keep_the_program_s_order(program: TracedFunction) -> None:
    assert chosen(program, outputs=["logits", "loss"]).graph.output_names == ("loss", "logits")


def test_gradients_may_be_more_or_fewer_than_the_specs_say(program: TracedFunction) -> None:
    wanted = {n for n, _, grad in arguments(chosen(program, gradients=["x", "b"])) if grad}
    assert wanted == {"x", "b"}
    assert not any(grad for _, _, grad in arguments(chosen(program, gradients=())))


def test_a_gradient_chosen_later_stops_where_the_function_detaches() -> None:
    program = gg.trace(lambda x: (x.detach() * x).sum(), x=gg.spec(3))
    found = chosen(program, gradients="x")
    source = generate(found.graph, "held", Options())["held.c"]
    assert "grad_x" in source
    value = np.array([1.0, 2.0, 3.0], np.float32)
    from gradgen.autodiff import differentiate

    node = found.graph.inputs[0]
    joint = differentiate(found.graph, [node])
    assert joint.gradients[0] is not None
    got = evaluate([joint.gradients[0]], {node: value, joint.seeds[0][1]: np.float32(1)})[0]
    np.testing.assert_array_equal(got, value)  # x, not 2x


def test_dtype_is_that_of_all_floating_arguments(program: TracedFunction) -> None:
    found = chosen(program, dtype="float64")
    assert [d for _, d, _ in arguments(found)] == ["float64", "int64", "float64", "float64"]
    assert {n.dtype.name for n in found.graph.outputs} == {"float64"}
    text = generate(found.graph, "wide", Options())["wide.c"]
    assert "float *" not in text.replace("const float *const", "")


def test_numbers_in_the_function_are_exact_in_the_chosen_dtype() -> None:
    program = gg.trace(lambda x: x * 0.1, x=gg.spec(2))
    found = chosen(program, dtype=gg.float64)
    (value,) = evaluate(found.graph.outputs, {found.graph.inputs[0]: np.array([1.0, 3.0])})
    np.testing.assert_array_equal(value, np.array([1.0, 3.0]) * 0.1)


def test_programs_from_sympy_are_chosen_from_too() -> None:
    a, b = sympy.symbols("a b")
    program = gg.from_sympy({"p": a * b, "q": sympy.sin(a)}, [a, b])
    found = chosen(program, outputs=["q"], dtype=gg.float32)
    assert arguments(found) == [("a", "float32", True)]
    both = chosen(program, gradients=["b"])
    assert arguments(both) == [("a", "float64", False), ("b", "float64", True)]


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"outputs": ["losses"]}, GradgenError, "it has loss, logits"),
    ({"outputs": []}, GradgenError, "classify has loss, logits"),
    ({"gradients": ["v"]}, GradgenError, "floating-point arguments are x, w, b"),
    ({"gradients": "t"}, GradgenError, "'t' is int64 and has none"),
    ({"gradients": ["w"], "forward_only": True}, GradgenError, "drop gradients= or forward_only="),
    ({"dtype": "int64"}, DTypeError, "it is one of float32, float64"),
    ({"dtype": "float31"}, DTypeError, "it is one of float32, float64"),
]


@pytest.mark.parametrize(("options", "kind", "words"), MISTAKES)
def test_mistakes_name_what_there_is(
    program: TracedFunction, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as raised:
        prepared(program, options)
    assert words in str(raised.value)


def test_a_gradient_that_the_kept_output_does_not_have() -> None:
    program = gg.trace(lambda a, b: {"p": a * 2, "q": b * 3}, a=gg.spec(2), b=gg.spec(2))
    with pytest.raises(GradgenError, match="p cannot be differentiated with respect to 'b'") as raised:
        chosen(program, outputs="p", gradients="b")
    assert "possible are a" in str(raised.value)


def test_unknown_options_name_all(program: TracedFunction, tmp_path: Any) -> None:
    with pytest.raises(GradgenError, match="outputs, gradients, dtype, simplify"):
        gg.emit(program, out=tmp_path, colour="blue")


@pytest.mark.parametrize("view", ["formulas", "c", "program"])
def test_views_take_the_choice_too(program: TracedFunction, view: str) -> None:
    show: Callable[..., str] = gg.show
    text = show(program, view, outputs="logits", gradients="w")
    assert "grad_w" in text and "grad_b" not in text and "loss" not in text


