"""The reference interpreter against NumPy written by hand, and the verifier against graphs that break one rule each."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as F
from gradgen.ir.graph import Graph
from gradgen.ir.guards import in_range
from gradgen.ir.nodes import Compute, Constant, Input, Read, Scan, Scatter, identity_read
from gradgen.ir.symbols import axis, dim, placeholder, reduce_axis
from gradgen.ir.verify import GraphError, problems, verify
from gradgen.reference.interpreter import evaluate, run

A, B = placeholder(0), placeholder(1)
I0, I1, R0 = axis(0), axis(1), reduce_axis(0)
F32, F64, I64 = dtypes.float32, dtypes.float64, dtypes.int64
RNG = np.random.default_rng(0)


def test_matmul_and_symbolic_dims() -> None:
    x, w = Input("x", (dim("N"), 4), F64), Input("w", (4, 2), F64)
    product = Compute((dim("N"), 2), A * B, [Read(x, (I0, R0)), Read(w, (R0, I1))], F64, reduce_shape=(4,),
                      reducer="sum")
    xv, wv = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
    np.testing.assert_allclose(run(Graph((x, w), (product,), ("y",)), xv, wv)[0], xv @ wv, rtol=1e-14)


def test_guarded_read_pads_with_its_fill() -> None:
    x = Input("x", (3,), F64)
    padded = Compute((5,), A, [Read(x, (I0 - 1,), in_range(I0 - 1, 3), sympy.Rational(1, 2))], F64)
    np.testing.assert_array_equal(evaluate([padded], {x: [1, 2, 3]})[0], [0.5, 1, 2, 3, 0.5])


def test_types_of_arithmetic() -> None:
    whole = Input("n", (3,), I64)
    value = evaluate([Compute((3,), A / 2, [identity_read(whole)], F32)], {whole: [1, 2, 3]})[0]
    assert value.dtype == np.float32 and value.tolist() == [0.5, 1.0, 1.5]
    truth = evaluate([Compute((3,), F.gt(A, 1), [identity_read(whole)], dtypes.bool_)], {whole: [1, 2, 3]})[0]
    assert truth.tolist() == [False, True, True]
    one = Constant(np.float32(0.1))
    third = evaluate([Compute((), A * sympy.sqrt(2) / 2, [Read(one, ())], F32)], {})[0]
    assert third == np.float32(0.1) * np.float32(np.sqrt(0.5))  # one literal, one rounding


def test_argmax_takes_the_first_and_nan_wins() -> None:
    x = Input("x", (2, 3), F64)
    best = Compute((2,), A, [Read(x, (I0, R0))], I64, reduce_shape=(3,), reducer="argmax")
    assert evaluate([best], {x: [[1, 5, 5], [1, np.nan, 9]]})[0].tolist() == [1, 1]


def test_scatter_modes_and_gather() -> None:
    x, where = Input("x", (3,), F64), Input("where", (3,), I64)
    reads = [Read(where, (I0,)), Read(x, (I0,))]
    added = Scatter((2,), None, (3,), (A,), B, reads, F64, mode="add")
    picked = Compute((3,), B, [Read(where, (I0,)), Read(x, (A,))], F64)
    given = {x: [1.0, 2.0, 4.0], where: [1, 0, 1]}
    assert evaluate([added], given)[0].tolist() == [2.0, 5.0]
    assert evaluate([picked], given)[0].tolist() == [2.0, 1.0, 2.0]
    with pytest.raises(IndexError):
        evaluate([picked], {x: [1.0, 2.0, 4.0], where: [1, 3, 1]})


def test_scan_runs_backwards_too() -> None:
    carry, row = Input("c", (), F64), Input("r", (), F64)
    step = Graph((carry, row), (Compute((), A * 2 + B, [Read(carry, ()), Read(row, ())], F64), carry), ("c", "before"))
    x, start = Input("x", (3,), F64), Input("s", (), F64)
    for reverse, final, before in ((False, 11.0, [0.0, 1.0, 4.0]), (True, 17.0, [8.0, 3.0, 0.0])):
        outputs = [Scan(step, [start], [x], [], 3, k, reverse) for k in (0, 1)]
        got = evaluate(outputs, {x: [1.0, 2.0, 3.0], start: 0.0})
        assert got[0] == final and got[1].tolist() == before


def _broken() -> list[tuple[str, object]]:
    x, n = Input("x", (3,), F64), Input("n", (3,), I64)
    return [
        ("index", Compute((3,), A, [Read(x, (I1,))], F64)),
        ("index", Compute((3,), A, [Read(x, (I0, I0))], F64)),
        ("index", Compute((3,), A, [Read(x, (B,)), identity_read(n)], F64)),  # B is read later
        ("body", Compute((3,), A + B, [identity_read(x)], F64)),
        ("body", Compute((3,), sympy.gamma(A), [identity_read(x)], F64)),
        ("exact", Compute((3,), A * sympy.Float(0.1), [identity_read(x)], F64)),
        ("reducer", Compute((), A, [Read(x, (R0,))], F64, reduce_shape=(3,), reducer="median")),
        ("argmax", Compute((), A, [Read(x, (R0,))], F64, reduce_shape=(3,), reducer="argmax")),
        ("extent", Compute((-1,), sympy.Integer(0), [], F64)),
        ("base", Scatter((2,), x, (3,), (I0,), A, [identity_read(x)], F64, mode="add")),
        ("mode", Scatter((3,), x, (3,), (I0,), A, [identity_read(x)], F64, mode="xor")),
    ]


@pytest.mark.parametrize("rule, node", _broken())
def test_verifier_names_the_rule(rule: str, node: object) -> None:
    assert rule in [name for name, _ in problems(node)]  # type: ignore[arg-type]


def test_verifier_wants_inputs_listed_and_named_apart() -> None:
    x, y = Input("x", (3,), F64), Input("x", (2,), F64)
    total = Compute((), A + B, [Read(x, (0,)), Read(y, (0,))], F64)
    with pytest.raises(GraphError, match="input-name"):
        verify(Graph((x, y), (total,), ("t",)))
    with pytest.raises(GraphError, match="input-listed"):
        verify(Graph((), (x,), ("t",)))
    verify(Graph((x,), (x,), ("t",)))
