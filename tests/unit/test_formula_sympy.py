"""Graphs given back as SymPy, checked by evaluating SymPy's own expressions against the reference interpreter."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
import gradgen.nn.functional as F
from gradgen.autodiff import differentiate
from gradgen.errors import UnsupportedOperationError
from gradgen.ir import dtypes
from gradgen.ir.functions import and_, div, exp, gt, lt, maximum, select, sigmoid, softplus
from gradgen.ir.graph import Graph
from gradgen.ir.guards import in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Input, Kernel, Node, Read, identity_read
from gradgen.ir.symbols import axes, dim, placeholder, reduce_axes
from gradgen.ir.widen import widened_graph
from gradgen.notation.sympy_view import SympyView, to_sympy
from gradgen.reference.interpreter import evaluate

F64, I64 = dtypes.float64, dtypes.int64
a0, a1 = placeholder(0), placeholder(1)
i0, i1 = axes(2)
r0, r1 = reduce_axes(2)
N = dim("N")
SIZES = {"N": 4}


def numbers(view: SympyView, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every definition evaluated by SymPy alone, element by element."""
    dims = {sympy.Symbol(n, integer=True, nonnegative=True): v for n, v in SIZES.items()}
    values = dict(given)
    for left, right in (*view.definitions, *view.outputs):
        letters = left.indices if isinstance(left, sympy.Indexed) else ()
        shape = [int(e.subs(dims)) for e in left.shape] if letters else []
        found = np.zeros(shape)
        whole = True
        for at in itertools.product(*map(range, shape)):
            one = right.subs({**dims, **{s: v for s, v in zip(letters, at) if s.is_Symbol}}).doit()
            while one.has(sympy.Indexed) or one.free_symbols:
                known = {e: element(values, e) for e in one.atoms(sympy.Indexed, sympy.Symbol) if is_known(e, values)}
                assert known, one
                one = one.xreplace(known).doit()
            found[at] = float(bool(one)) if one in (sympy.true, sympy.false) else float(one)
            whole = whole and bool(one.is_Integer)
        found = found.astype(np.int64) if whole else found
        values[str(left.base.label) if letters else left.name] = found
    return values


def is_known(e: sympy.Expr, values: dict[str, np.ndarray]) -> bool:
    if isinstance(e, sympy.Indexed):
        return all(i.is_Integer for i in e.indices)
    return e.name in values and values[e.name].ndim == 0


def element(values: dict[str, np.ndarray], e: sympy.Expr) -> sympy.Expr:
    array = values[str(e.base.label)] if isinstance(e, sympy.Indexed) else values[e.name]
    value = array[tuple(int(i) for i in e.indices)] if isinstance(e, sympy.Indexed) else array[()]
    return sympy.Integer(int(value)) if array.dtype.kind == "i" else sympy.Float(float(value), 17)


def agree(node: Node, *inputs: Input, gradient: bool = True) -> SympyView:
    """Outputs and gradients of SymPy's form equal the interpreter's to rounding."""
    rng = np.random.default_rng(0)
    given = {}
    for n in inputs:
        shape = tuple(e if isinstance(e, int) else SIZES[str(e)] for e in n.shape)
        given[n.name] = rng.integers(0, 3, shape) if n.dtype is I64 else rng.normal(size=shape)
    graph = Graph(inputs, (node,), ("y",))
    view = to_sympy(graph)
    exact = evaluate([node], {n: given[n.name] for n in inputs})[0]
    np.testing.assert_allclose(numbers(view, given)["y"], exact, rtol=1e-12, atol=1e-14)
    parameters = [n for n in inputs if n.requires_grad]
    if gradient and parameters:
        joint = differentiate(graph, parameters)
        seed = joint.seeds[0][1]
        given["grad_y"] = rng.normal(size=exact.shape)
        wanted = evaluate([g for g in joint.gradients if g is not None],
                          {**{n: given[n.name] for n in inputs}, seed: given["grad_y"]})
        found = numbers(to_sympy(joint), given)
        for p, w in zip(parameters, wanted):
            np.testing.assert_allclose(found[f"grad_{p.name}"], w, rtol=1e-12, atol=1e-14)
    return view


def test_matmul_and_bias() -> None:
    x, w, b = Input("x", (N, 3), F64), Input("w", (3, 2), F64, True), Input("b", (2,), F64, True)
    z = Compute((N, 2), a0 * a1, [Read(x, (i0, r0)), Read(w, (r0, i1))], F64, reduce_shape=(3,), reducer="sum")
    y = Compute((N, 2), a0 + a1, [identity_read(z), Read(b, (i1,))], F64)
    (_, right), = agree(y, x, w, b).outputs
    assert right.has(sympy.Sum) and right.has(sympy.Indexed)


def test_loss_with_a_shared_value() -> None:
    x, t = Input("x", (N,), F64, True), Input("t", (N,), F64)
    z = Compute((N,), a0 * exp(a0) + softplus(a0) * sigmoid(a0), [identity_read(x)], F64)
    e = Compute((N,), (a0 - a1) ** 2 * a0, [identity_read(z), identity_read(t)], F64)
    total = Compute((), a0, [Read(e, (r0,))], F64, reduce_shape=(N,), reducer="sum")
    y = Compute((), div(a0, N), [Read(total, ())], F64)
    assert agree(y, x, t).definitions


def test_guards_shifts_and_reshapes() -> None:
    x = Input("x", (6,), F64, True)
    agree(Compute((8,), a0, [Read(x, (i0 - 1,), in_range(i0 - 1, 6))], F64), x)
    agree(Compute((3,), a0, [Read(x, (2 * i0 + 1,))], F64), x)
    m = Input("m", (2, 3), F64, True)
    three = sympy.Integer(3)
    agree(Compute((6,), a0, [Read(m, (quotient(i0, three), modulo(i0, three)))], F64), m, gradient=False)


def test_reductions_that_are_written_out() -> None:
    x = Input("x", (2, 3), F64)
    for reducer in ("max", "min", "prod"):
        agree(Compute((2,), a0, [Read(x, (i0, r0))], F64, reduce_shape=(3,), reducer=reducer), x)
    for reducer in ("argmax", "argmin"):
        agree(Compute((2,), a0, [Read(x, (i0, r0))], I64, reduce_shape=(3,), reducer=reducer), x)
    agree(Compute((2,), gt(a0, 1), [Read(x, (i0, r0))], dtypes.bool_, reduce_shape=(3,), reducer="any"), x)
    long = Input("long", (N,), F64)
    with pytest.raises(UnsupportedOperationError, match="max over"):
        to_sympy(Graph((long,), (Compute((), a0, [Read(long, (r0,))], F64, reduce_shape=(N,), reducer="max"),), ("y",)))


def test_selections() -> None:
    x, z = Input("x", (5,), F64, True), Input("z", (5,), F64, True)
    body = select(and_(gt(a0, 0), lt(a0, a1)), a0 * 2, maximum(a0, a1) ** 2)
    agree(Compute((5,), body, [identity_read(x), identity_read(z)], F64), x, z)


def test_gather_and_its_update() -> None:
    w, idx = Input("w", (3, 2), F64, True), Input("idx", (N,), I64)
    agree(Compute((N, 2), a1 * a1, [Read(idx, (i0,)), Read(w, (a0, i1))], F64), w, idx)


def test_what_sympy_cannot_say() -> None:
    x = Input("x", (3, 3), F64)
    factor = Kernel("cholesky", [x], (), (3, 3), F64)
    with pytest.raises(UnsupportedOperationError, match="cholesky"):
        to_sympy(Graph((x,), (factor,), ("y",)))


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "softmax": (lambda x: gg.softmax(x, dim=-1), {"x": gg.spec(2, 3, requires_grad=True)}),
    "cross_entropy": (lambda x, w, t: F.cross_entropy(x @ w, t), {
        "x": gg.spec("N", 3), "w": gg.spec(3, 2, requires_grad=True), "t": gg.spec("N", dtype=gg.int64)}),
    "layer_norm": (lambda x, g: F.layer_norm(x, (3,), g), {
        "x": gg.spec(2, 3, requires_grad=True), "g": gg.spec(3, requires_grad=True)}),
    "cat_flip": (lambda x, y: gg.cat([x, y.flip(0)], dim=0) ** 2, {
        "x": gg.spec(2, 3, requires_grad=True), "y": gg.spec(3, 3, requires_grad=True)}),
    "slices": (lambda x: (x[1:, ::2] * x[:-1, 1::2]).sum(), {"x": gg.spec(3, 4, requires_grad=True)}),
    "reshape": (lambda x: gg.tanh(x.reshape(3, 4).T.flatten()), {"x": gg.spec(2, 6, requires_grad=True)}),
    "extrema": (lambda x: x.max(dim=1)[0] + x.amin(dim=1), {"x": gg.spec(2, 3, requires_grad=True)}),
    "product": (lambda x: x.prod(dim=0), {"x": gg.spec(2, 3, requires_grad=True)}),
    "embedding": (lambda w, t: F.embedding(t, w).mean(0), {
        "w": gg.spec(3, 2, requires_grad=True), "t": gg.spec("N", dtype=gg.int64)}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_traced_functions_become(name: str) -> None:
    """Forward and gradients of ordinary programs, by SymPy's arithmetic alone."""
    function, specs = CASES[name]
    graph = widened_graph(gg.trace(function, name=name, **specs).graph)
    joint = differentiate(graph, [n for n in graph.inputs if n.requires_grad])
    rng = np.random.default_rng(1)
    given = {}
    nodes = [*graph.inputs, *(s for _, s in joint.seeds)]
    for node in nodes:
        shape = [SIZES.get(str(e), e) for e in node.shape]
        given[node.name] = rng.integers(0, 2, shape) if node.dtype is I64 else rng.normal(size=shape)
    wanted = dict(zip(graph.output_names, graph.outputs))
    wanted |= {f"grad_{p.name}": g for p, g in zip(joint.parameters, joint.gradients) if g is not None}
    exact = evaluate(list(wanted.values()), {n: given[n.name] for n in nodes})
    found = numbers(to_sympy(joint), given)
    for key, value in zip(wanted, exact):
        np.testing.assert_allclose(found[key], value, rtol=1e-11, atol=1e-13, err_msg=key)
