"""Names in emitted C: the user's where there is one, numbers per kind and nest, and comments that name what is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.pipeline import generate
from gradgen.options import Options

FUNCTION = re.compile(r"^gradgen_status called_(?:forward|backward|value_and_grad)\([^;{]*\)\n\{\n.*?^\}", re.M | re.S)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
GREEK = {"sum", "max", "min", "exp", "if", "softplus", "sigmoid", "and", "or", "not", "log", "sqrt", "tanh", "prod"}


def emitted(function: Callable[..., gg.Tensor], **specs: object) -> str:
    program = gg.trace(function, **specs)
    return generate(program.graph, "called", Options())["called.c"]


def layer(x: gg.Tensor, w: gg.Tensor, b: gg.Tensor) -> gg.Tensor:
    logits = x @ w + b
    hidden = gg.tanh(logits)
    total = (hidden * hidden).sum()
    return total


def norm(x: gg.Tensor, w: gg.Tensor) -> gg.Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / (centred * centred).mean(1, keepdim=True).sqrt()
    return (scaled * w).sum()


def keywords(x: gg.Tensor) -> gg.Tensor:
    double = x * 2
    short = double.exp()
    work = short + double
    y1 = (work * short).cumsum(0)
    return (y1 * short).sum()


W, B = gg.spec(3, 2, requires_grad=True), gg.spec(2, requires_grad=True)
CASES = {
    "few": (layer, {"x": gg.spec("N", 3), "w": W, "b": B}),
    "many": (layer, {"x": gg.spec("N", 40), "w": gg.spec(40, 50, requires_grad=True), "b": gg.spec(50, requires_grad=True)}),
    "norm": (norm, {"x": gg.spec("N", 70, requires_grad=True), "w": gg.spec(70, requires_grad=True)}),
    "keywords": (keywords, {"x": gg.spec("N", requires_grad=True)}),
}


@pytest.mark.parametrize("name", CASES)
def test_formulas_name_what_stands_in_the_function(name: str) -> None:
    function, specs = CASES[name]
    found = 0
    for text in FUNCTION.findall(emitted(function, **specs)):
        code = COMMENT.sub(" ", text)
        words = set(re.findall(r"[A-Za-z]\w*", code))
        for comment in COMMENT.findall(text):
            for line in comment.strip("/* ").split("\n"):
                left, equals, right = line.strip("* /").partition(" = " if " = " in line else " += ")
                if not equals or "]" in left.partition("[")[0]:
                    continue
                tensors = {left.partition("[")[0], *re.findall(r"\b([A-Za-z]\w*)\[", right)}
                missing = {t for t in tensors - GREEK if t not in words and f"{t}_0" not in words}
                assert not missing, (line, missing)
                found += 1
    assert found or name == "keywords"


def test_values_have_the_names_of_the_users_variables() -> None:
    text = emitted(layer, **CASES["few"][1])
    for name in ("hidden", "grad_logits"):
        assert re.search(rf"\bfloat {name}(_0)? = ", COMMENT.sub("", text)), name
    assert "/* test_called.py" in text and "hidden[i,j] = tanh(b[j] + sum_k x[i,k] w[k,j])" in text
    assert not re.search(r"\w__\w", text)


def test_words_of_c_are_no_names() -> None:
    text = emitted(keywords, **CASES["keywords"][1])
    assert not re.search(r"(float|double) (double|short|work|y1)\b", text)


def test_one_name_in_several_loops_stays_one() -> None:
    """Lanes read a table of positions in each of their loops: two tables once got the same name in one of them."""
    def picked(x: gg.Tensor, i: gg.Tensor, j: gg.Tensor) -> gg.Tensor:
        return (x[i].exp() * x[j].sin()).sum()

    specs = {"x": gg.spec(50, requires_grad=True), "i": gg.spec("N", dtype=gg.int64), "j": gg.spec("N", dtype=gg.int64)}
    text = emitted(picked, **specs)
    for block in re.findall(r"\{\n((?:[^{}]*;\n)+)", COMMENT.sub("", text)):
        declared = re.findall(r"^ *const \w+ (\w+) = ", block, re.M)
        assert len(declared) == len(set(declared)), block


def test_a_change_in_one_nest_renumbers_no_other() -> None:
    def plain(x: gg.Tensor, y: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        return gg.tanh(x * x + 1) * x, (gg.sigmoid(y) * y + y).exp()

    def changed(x: gg.Tensor, y: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        return gg.tanh(x * x + 1) * gg.sin(x * 3) * x.exp() * x, (gg.sigmoid(y) * y + y).exp()

    specs = {"x": gg.spec("N", 70), "y": gg.spec("M", 30)}
    nests = [re.search(r"test_called\.py[^*]*sigmoid.*?^    \}$", emitted(f, **specs), re.M | re.S) for f in (plain, changed)]
    first, second = (nest[0].partition("\n")[2] for nest in nests if nest is not None)
    assert first == second and "gg_exp_f32" in first


def counters(x: gg.Tensor, w: gg.Tensor) -> gg.Tensor:
    i = x.mean((0, 2), keepdim=True)
    k = (x - i) * gg.sigmoid(i)
    j = gg.softmax(k.reshape(-1, 4) @ w, 1)
    lane = j.cumsum(0) * j
    t1 = lane.sum(1)
    v1 = t1 * t1
    return (v1 * t1).sum() + i.square().sum()


def test_values_called_as_counters_are(tmp_path: Path) -> None:
    x = gg.linspace(-1.0, 1.0, 36).reshape(3, 3, 4).requires_grad_()
    w = gg.linspace(-1.0, 2.0, 20).reshape(4, 5).requires_grad_()
    program = gg.trace(counters, x=gg.spec("N", 3, 4, requires_grad=True), w=gg.spec(4, 5, requires_grad=True))
    built = gg.build(program, name="counted", out=tmp_path)
    value, grads = built.value_and_grad(x.detach().numpy(), w.detach().numpy())
    expected = counters(x, w)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(grads.x, x.grad.numpy(), rtol=1e-4, atol=1e-6)  # float32 sums in another order
    np.testing.assert_allclose(grads.w, w.grad.numpy(), rtol=1e-4, atol=1e-6)
