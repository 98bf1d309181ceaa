"""Formulas as plain text: what a reader of the C header sees."""

from __future__ import annotations

import sys

import numpy as np
import sympy

from gradgen.autodiff import differentiate
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.functions import div, exp, gt, maximum, select, sigmoid, sin, softplus
from gradgen.ir.graph import Graph
from gradgen.ir.guards import EQ, MOD, Condition, in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scatter, identity_read
from gradgen.ir.packed import pack
from gradgen.ir.symbols import axes, dim, placeholder, reduce_axes
from gradgen.notation.formula import argument_formulas, formulas, node_formula
from gradgen.notation.latex import latex
from gradgen.notation.text import number_text

F32, F64, I64 = dtypes.float32, dtypes.float64, dtypes.int64
a0, a1, a2 = (placeholder(k) for k in range(3))
i0, i1 = axes(2)
r0, r1 = reduce_axes(2)
N = dim("N")


def one(node: Node, *inputs: Input, name: str = "y") -> list[str]:
    return formulas(Graph(inputs, (node,), (name,)))


def matmul(x: Node, w: Node, dtype: DType = F32) -> Compute:
    reads = [Read(x, (i0, r0)), Read(w, (r0, i1))]
    return Compute((x.shape[0], w.shape[1]), a0 * a1, reads, dtype, reduce_shape=(x.shape[1],), reducer="sum")


def bce() -> tuple[Graph, Node]:
    """The model of the C contract."""
    x, y = Input("x", (N, 5), F32), Input("y", (N, 3), F32)
    w, b = Input("w", (5, 3), F32, True), Input("b", (3,), F32, True)
    z = Compute((N, 3), a0 + a1, [identity_read(matmul(x, w)), Read(b, (i1,))], F32)
    e = Compute((N, 3), softplus(a0) - a0 * a1, [identity_read(z), identity_read(y)], F32)
    total = Compute((), a0, [Read(e, (r0, r1))], F32, reduce_shape=(N, 3), reducer="sum")
    loss = Compute((), div(a0, 3 * N), [Read(total, ())], F32)
    return Graph((x, y, w, b), (loss,), ("loss",)), z


def test_model_of_the_contract() -> None:
    graph, z = bce()
    joint = differentiate(graph, [n for n in graph.inputs if n.requires_grad])
    assert formulas(joint, {z: "z"}) == [
        "z[n,j]       = b[j] + sum_i x[n,i] w[i,j]",
        "loss         = 1/(3N) sum_nj softplus(z[n,j]) - z[n,j] y[n,j]",
        "grad_w[i,j] += grad_loss/(3N) sum_n x[n,i] (sigmoid(z[n,j]) - y[n,j])",
        "grad_b[j]   += grad_loss/(3N) sum_n sigmoid(z[n,j]) - y[n,j]",
    ]


def test_argument_formulas_belong_to_arguments() -> None:
    graph, z = bce()
    joint = differentiate(graph, [n for n in graph.inputs if n.requires_grad])
    found = argument_formulas(joint, {z: "z"})
    assert found == {
        "loss": "loss = 1/(3N) sum_nj softplus(z[n,j]) - z[n,j] y[n,j]\n  where z[n,j] = b[j] + sum_i x[n,i] w[i,j]",
        "grad_w": "grad_w[i,j] += grad_loss/(3N) sum_n x[n,i] (sigmoid(z[n,j]) - y[n,j])",
        "grad_b": "grad_b[j] += grad_loss/(3N) sum_n sigmoid(z[n,j]) - y[n,j]",
    }
    assert list(argument_formulas(graph)) == ["loss"]


def test_intermediate_names_avoid_the_users() -> None:
    x = Input("t1", (3,), F32)
    total = Compute((), exp(a0), [Read(x, (r0,))], F32, reduce_shape=(3,), reducer="sum")
    peak = Compute((), a0, [Read(x, (r0,))], F32, reduce_shape=(3,), reducer="max")
    y = Compute((), a0 * a1 + a0, [Read(total, ()), Read(peak, ())], F32)
    assert one(y, x) == ["t2 = sum_i exp(t1[i])", "y  = t2 + t2 max_i t1[i]"]


def test_one_letter_never_stands_for_two_axes() -> None:
    x = Input("x", (4, 3), F32)
    gram = Compute((4, 4), a0 * a1, [Read(x, (i0, r0)), Read(x, (i1, r0))], F32, reduce_shape=(3,), reducer="sum")
    assert one(gram, x) == ["y[i,j] = sum_k x[i,k] x[j,k]"]


def test_letters_are_not_names_of_tensors() -> None:
    i, j = Input("i", (3, 2), F32), Input("j", (2,), F32)
    y = Compute((3, 2), a0 + a1, [identity_read(i), Read(j, (i1,))], F32)
    assert one(y, i, j) == ["y[k,l] = i[k,l] + j[l]"]


def test_guards() -> None:
    x, w = Input("x", (N,), F32), Input("w", (3,), F32)
    padded = Compute((N + 2,), a0, [Read(x, (i0 - 1,), in_range(i0 - 1, N))], F32)
    assert one(padded, x) == ["y[i] = [0 <= i-1 < N] x[i-1]"]
    left = Read(x, (i0,), (Condition("ge", N - 1 - i0),))
    right = Read(w, (i0 - N,), (Condition("ge", i0 - N),))
    cat = Compute((N + 3,), a0 + a1, [left, right], F32)
    assert one(cat, x, w) == ["y[n] = [n < N] x[n] + [n >= N] w[n-N]"]
    filled = Compute((5,), a0, [Read(w, (i0,), (Condition("ge", 2 - i0),), -1)], F32)
    assert one(filled, w) == ["y[i] = if(i < 3, w[i], -1)"]
    spread = Compute((6,), a0, [Read(w, (quotient(i0, sympy.Integer(2)),), (Condition(MOD, i0, 2),))], F32)
    assert one(spread, w) == ["y[i] = [i mod 2 = 0] w[floor(i/2)]"]
    diagonal = Compute((3, 3), a0, [Read(w, (i0,), (Condition(EQ, i0 - i1),))], F32)
    assert one(diagonal, w) == ["y[i,j] = [i = j] w[i]"]


def test_index_arithmetic() -> None:
    x = Input("x", (12,), F32)
    y = Compute((3, 2), a0, [Read(x, (4 * i0 + 2 * i1 + 1,))], F32)
    assert one(y, x) == ["y[i,j] = x[4i+2j+1]"]
    flipped = Compute((12,), a0, [Read(x, (11 - i0,))], F32)
    assert one(flipped, x) == ["y[i] = x[-i+11]"]
    wrapped = Compute((24,), a0, [Read(x, (modulo(i0, sympy.Integer(12)),))], F32)
    assert one(wrapped, x) == ["y[i] = x[i mod 12]"]


def test_data_dependent_reads_and_updates() -> None:
    w, idx, g = Input("w", (10, 4), F32), Input("idx", (N,), I64), Input("g", (N, 4), F32)
    picked = Compute((N, 4), a1, [Read(idx, (i0,)), Read(w, (a0, i1))], F32)
    assert one(picked, w, idx) == ["y[n,i] = w[idx[n],i]"]
    update = Scatter((10, 4), None, (N, 4), (a0, i1), a1, [Read(idx, (i0,)), Read(g, (i0, i1))], F32, mode="add")
    assert one(update, idx, g) == ["y[idx[n],i] += g[n,i]  for n < N, i < 4"]
    put = Scatter((10, 4), w, (N, 4), (a0, i1), a1, [Read(idx, (i0,)), Read(g, (i0, i1))], F32, mode="set")
    assert one(put, w, idx, g) == ["y[i,j]      = w[i,j]", "y[idx[n],j] = g[n,j]  for n < N, j < 4"]


def test_gradient_of_an_embedding_is_an_update() -> None:
    w, idx = Input("w", (10, 4), F32, True), Input("idx", (N,), I64)
    picked = Compute((N, 4), a1, [Read(idx, (i0,)), Read(w, (a0, i1))], F32)
    joint = differentiate(Graph((w, idx), (picked,), ("y",)), [w])
    assert formulas(joint) == ["y[n,j]            = w[idx[n],j]", "grad_w[idx[n],j] += grad_y[n,j]  for n < N, j < 4"]


def test_reducers_and_scalar_functions() -> None:
    x = Input("x", (N, 3), F32)
    top = Compute((N,), a0, [Read(x, (i0, r0))], F32, reduce_shape=(3,), reducer="max")
    e = Compute((N, 3), exp(a0 - a1), [identity_read(x), Read(top, (i0,))], F32)
    total = Compute((N,), a0, [Read(e, (i0, r0))], F32, reduce_shape=(3,), reducer="sum")
    soft = Compute((N, 3), div(a0, a1), [identity_read(e), Read(total, (i0,))], F32)
    assert one(soft, x) == [
        "t1[n,i] = exp(x[n,i] - max_j x[n,j])",
        "y[n,i]  = t1[n,i]/(sum_j t1[n,j])",
    ]
    arg = Compute((N,), a0, [Read(x, (i0, r0))], I64, reduce_shape=(3,), reducer="argmax")
    assert one(arg, x) == ["y[n] = argmax_i x[n,i]"]
    relu = Compute((N, 3), select(gt(a0, 0), a0, 0), [identity_read(x)], F32)
    assert one(relu, x) == ["y[n,i] = [x[n,i] > 0] x[n,i]"]
    other = Compute((N, 3), maximum(abs_sum(a0), -a0 / 2) ** 2, [identity_read(x)], F32)
    assert one(other, x) == ["y[n,i] = max(x[n,i] + 1/10, -x[n,i]/2)^2"]


def abs_sum(x: sympy.Expr) -> sympy.Expr:
    return x + sympy.Rational(1, 10)


def test_numbers() -> None:
    x = Input("x", (3,), F32)
    exact = sympy.Rational(0.1)
    y = Compute((3,), exact * a0 + sympy.sqrt(2), [identity_read(x)], F64)
    assert one(y, x) == ["y[i] = 0.1 x[i] + sqrt(2)"]
    half = Constant(0.5, F32)
    y = Compute((3,), a0 * a1, [identity_read(x), Read(half, ())], F32)
    assert one(y, x) == ["y[i] = x[i]/2"]
    table = Constant([1.0, 2.5, -3.0], F32)
    y = Compute((3,), a0 * a1, [identity_read(x), identity_read(table)], F32)
    assert one(y, x) == ["t1[i] = (1, 5/2, -3)", "y[i]  = x[i] t1[i]"]


def test_large_and_small_numbers_are_decimals() -> None:
    """A float64 constant is a whole number of up to 309 digits; integers of the integer types stay whole."""
    for value, shown in [
        (1e200, "1e+200"), (-1e200, "-1e+200"), (sys.float_info.max, "1.7976931348623157e+308"), (5e-324, "5e-324"),
        (2.0**70 / 3, str(2.0**70 / 3)), (float(np.finfo(np.float32).max), "3.4028235e+38"), (2**63 - 1, str(2**63 - 1)),
        (2**53 + 1, str(2**53 + 1)), (sympy.Integer(10) ** 400, "1.0000000000000000e+400"),
    ]:
        found = number_text(sympy.Rational(value))[0]
        assert found == shown
    body = sympy.Rational(1e200) * a0
    x = Input("x", (4,), F64)
    y = Compute((4,), body, [identity_read(x)], F64)
    assert one(y, x) == ["y[i] = 1e+200 x[i]"]
    assert r"1 \cdot 10^{200}" in latex(Graph((x,), (y,), ("y",)))


def test_kernels_are_calls() -> None:
    x = Input("x", (3, 3), F64)
    factor = Kernel("cholesky", [x], (), (3, 3), F64)
    y = Compute((3,), a0, [Read(factor, (i0, i0))], F64)
    assert one(y, x) == ["t1[i,j] = cholesky(x)", "y[i]    = t1[i,i]"]


def test_alias_of_an_input_and_of_another_output() -> None:
    x = Input("x", (3,), F32, True)
    y = Compute((3,), sin(a0), [identity_read(x)], F32)
    found = formulas(Graph((x,), (y, y, x), ("y", "again", "same")))
    assert found == ["y[i]     = sin(x[i])", "again[i] = y[i]", "same[i]  = x[i]"]


def test_a_gradient_that_others_use_is_not_read_from_the_accumulator() -> None:
    p = Input("p", (), F64, True)
    q = Compute((), sin(a0) * a0, [Read(p, ())], F64)
    r = Compute((), exp(a0) * sin(a0), [Read(q, ())], F64)
    joint = differentiate(Graph((p,), (r,), ("r",)), [p])
    right = [line.split("=", 1)[1] for line in formulas(joint)]
    assert all("grad_p" not in text for text in right)


def chain(length: int) -> Graph:
    x, y = Input("x", (), F64, True), Input("y", (), F64)
    node: Node = x
    for k in range(length):
        node = Compute((), sin(a0) * a1 + (a1 if k % 3 else a0), [Read(node, ()), Read(y, ())], F64)
    return Graph((x, y), (node,), ("out",))


def test_long_graphs_have_short_lines_and_a_cap() -> None:
    graph = chain(10_000)
    found = formulas(graph)
    assert len(found) > 1000 and max(map(len, found)) < 160
    capped = formulas(graph, limit=10)
    assert len(capped) == 10
    assert capped[-1] == f"... and {len(found) - 9:,} more lines"
    assert capped[-2] == " ".join(found[-1].split())


def test_deep_views_do_not_nest() -> None:
    x = Input("x", (2, 2), F32)
    node: Node = x
    for _ in range(5000):
        node = Compute((2, 2), a0, [Read(node, (i1, i0))], F32)
    assert max(map(len, one(node, x))) < 40


def test_text_is_a_function_of_the_structure() -> None:
    assert formulas(chain(50)) == formulas(chain(50))


def test_node_formula_of_one_nest() -> None:
    graph, z = bce()
    x, y, w, b = graph.inputs
    loss = graph.outputs[0]
    names = {x: "x", y: "y", w: "w", b: "b", z: "s0"}
    assert node_formula(z, names) == "s0[n,j] = b[j] + sum_i x[n,i] w[i,j]"
    assert node_formula(loss, names, name="loss") == "loss = 1/(3N) sum_ni softplus(s0[n,i]) - s0[n,i] y[n,i]"
    assert node_formula(z, names, letters={i0: "p", i1: "q", r0: "t"}) == "s0[p,q] = b[q] + sum_i x[p,i] w[i,q]"
    deep = chain(300)
    line = node_formula(deep.outputs[0], {n: n.name for n in deep.inputs}, name="out")
    assert line.startswith("out = ") and "..." in line and len(line) < 160


def test_joint_of_a_sigmoid_stays_readable() -> None:
    x = Input("x", (N,), F32, True)
    y = Compute((N,), sigmoid(a0), [identity_read(x)], F32)
    joint = differentiate(Graph((x,), (y,), ("y",)), [x])
    assert formulas(joint) == ["y[n]       = sigmoid(x[n])", "grad_x[n] += grad_y[n] y[n] (1 - y[n])"]


def test_packed_tensors_are_written_element_by_element() -> None:
    q = Input("q", (2,), F64, True)
    cells = [Compute((), a0, [Read(q, (k,))], F64) for k in range(2)]
    entries = [Compute((), sin(a0) * a1, [Read(cells[r], ()), Read(cells[c], ())], F64) for r, c in ((0, 1), (1, 1))]
    m = pack([entries[0], None, entries[1], None], (2, 2), F64)
    assert one(m, q) == ["y[0,0] = q[1] sin(q[0])", "y[1,0] = q[1] sin(q[1])", "y[i,j] = 0  elsewhere"]
    joint = differentiate(Graph((q,), (m,), ("M",)), [q])
    lines = formulas(joint)
    assert "grad_q[0]" in lines[-2] and "grad_q[1]" in lines[-1]
    assert "grad_M[0,0]" in " ".join(lines) and "sum" not in " ".join(lines)


def test_comments_show_a_few_elements_of_a_large_packing() -> None:
    q = Input("q", (30,), F64)
    cells = [Compute((), exp(a0), [Read(q, (k,))], F64) for k in range(30)]
    found = argument_formulas(Graph((q,), (pack(cells, (30,), F64),), ("y",)))["y"].splitlines()
    assert found[0] == "y[0] = exp(q[0])" and found[-1] == "y[i] = ...  and 22 more elements" and len(found) == 9
