"""LaTeX and dot views: well formed, and drawn where Graphviz is installed."""

from __future__ import annotations

import re
import shutil

import pytest
import sympy

from gradgen.autodiff import differentiate
from gradgen.errors import GradgenError
from gradgen.ir import dtypes
from gradgen.ir.functions import abs_, div, floor, gt, maximum, select, softplus, sqrt_
from gradgen.ir.graph import Graph, Location
from gradgen.ir.guards import in_range
from gradgen.ir.nodes import Compute, Input, Node, Read, identity_read
from gradgen.ir.symbols import axes, dim, placeholder, reduce_axes
from gradgen.notation.dot import dot, svg
from gradgen.notation.latex import latex

F32 = dtypes.float32
a0, a1 = placeholder(0), placeholder(1)
i0, i1 = axes(2)
r0, r1 = reduce_axes(2)
N = dim("N")


def graph() -> Graph:
    x, w = Input("x", (N, 5), F32), Input("w_in", (5, 3), F32, True)
    z = Compute((N, 3), a0 * a1, [Read(x, (i0, r0)), Read(w, (r0, i1))], F32, reduce_shape=(5,), reducer="sum")
    e = Compute((N, 3), softplus(a0) - a0 / 3, [identity_read(z)], F32)
    total = Compute((), a0, [Read(e, (r0, r1))], F32, reduce_shape=(N, 3), reducer="sum")
    loss = Compute((), div(a0, 3 * N), [Read(total, ())], F32)
    return Graph((x, w), (loss,), ("loss",), {z: Location("model.py", 3, "matmul"), loss: Location("model.py", 4, "mean")})


def test_latex_of_forward_and_gradient() -> None:
    g = graph()
    text = latex(differentiate(g, [g.inputs[1]]))
    assert text.startswith("\\begin{align*}\n") and text.endswith("\n\\end{align*}")
    assert r"\sum_{i=0}^{4} x_{n,i} \, \mathrm{w\_in}_{i,j}" in text
    assert r"\frac{1}{3 N}" in text and r"\mathrel{+}=" in text and r"\mathrm{grad\_w\_in}_{i,j}" in text


def balanced(text: str) -> bool:
    return text.count("{") == text.count("}") and text.count(r"\left") == text.count(r"\right")


def one(node: Node, *inputs: Input) -> str:
    return latex(Graph(inputs, (node,), ("y",)))


def test_latex_is_balanced_for_every_form() -> None:
    x = Input("x", (6,), F32)
    for body in (
        sqrt_(a0), maximum(a0, 2), abs_(a0), select(gt(a0, 0), a0, -a0), floor(a0) ** 2,
        div(a0 + 1, a0 - 1), -(a0**3) / 7, sympy.sqrt(2) * a0,
    ):
        assert balanced(one(Compute((6,), body, [identity_read(x)], F32), x)), body
    padded = Compute((8,), a0, [Read(x, (i0 - 1,), in_range(i0 - 1, 6))], F32)
    text = one(padded, x)
    assert balanced(text) and r"\le" in text
    for reducer in ("max", "argmax", "prod", "any"):
        reduced = Compute((), a0, [Read(x, (r0,))], F32, reduce_shape=(6,), reducer=reducer)
        assert balanced(one(reduced, x))


def test_dot_has_rooms_clusters_and_lines_of_the_user() -> None:
    g = graph()
    text = dot(differentiate(g, [g.inputs[1]]))
    assert text.startswith("digraph gradgen {") and text.endswith("}\n")
    assert "subgraph cluster_forward" in text and "subgraph cluster_backward" in text
    assert r"matmul\nfloat32 [N, 3]\nmodel.py:3" in text and "loss = mean" in text and "grad_w_in" in text
    rooms = set(re.findall(r"^ +(n\d+) \[", text, re.M))
    for source, target in re.findall(r"(n\d+) -> (n\d+)", text):
        assert {source, target} <= rooms
    assert text == dot(differentiate(graph(), [g.inputs[1]]))


def test_large_graphs_are_drawn_in_part() -> None:
    x = Input("x", (), F32)
    node: Node = x
    for _ in range(3000):
        node = Compute((), a0 * a0 + 1, [Read(node, ())], F32)
    text = dot(Graph((x,), (node,), ("y",)), limit=50)
    assert "2,951 more nodes" in text and text.count("label=") < 60


def test_names_with_quotes_cannot_break_the_text() -> None:
    x = Input("x", (), F32)
    y = Compute((), a0 + 1, [Read(x, ())], F32)
    text = dot(Graph((x,), (y,), ("y",), {y: Location('a"b\\.py', 1, 'do"it')}))
    assert r"do\"it" in text and r"a\"b\\.py:1" in text


def test_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("dot"):
        assert "<svg" in svg(dot(graph()))
        with pytest.raises(GradgenError, match="dot failed"):
            svg("digraph {")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GradgenError, match="not installed"):
        svg("digraph {}")
