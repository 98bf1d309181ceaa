"""Compiled procedures that random graphs do not reach: recurrences, long sums, unrolled programs, unwanted outputs."""

from __future__ import annotations

import numpy as np
import pytest
from compiled import Compiled, expected

from gradgen.ir import dtypes
from gradgen.ir import functions as F
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scan, identity_read
from gradgen.ir.symbols import axis, dim, placeholder, reduce_axes, reduce_axis
from gradgen.schedule import Output, Place, Procedure, ScheduleOptions
from gradgen.schedule.allowed import PASSES

A, B, C = (placeholder(k) for k in range(3))
I0, I1, R0 = axis(0), axis(1), reduce_axis(0)
F32, F64 = dtypes.float32, dtypes.float64
RNG = np.random.default_rng(5)
T = dim("T")


def matvec(w: Node, x: Node) -> Compute:
    return Compute((w.shape[0],), A * B, [Read(w, (I0, R0)), Read(x, (R0,))], w.dtype, reduce_shape=(w.shape[1],),
                   reducer="sum")


def step(n: int) -> Graph:
    """h' = tanh(W h + x) + t/1000; total' = total + h' (updated in place); stacked: h before, h'^2."""
    h, total, x = Input("h", (n,), F64), Input("total", (n, n), F64), Input("x", (n,), F64)
    t, w = Input("t", (), dtypes.int64), Input("w", (n, n), F64)
    new = Compute((n,), F.tanh(A + B) + C / 1000, [identity_read(matvec(w, h)), identity_read(x), Read(t, ())], F64)
    more = Compute((n, n), A + B * C, [identity_read(total), Read(new, (I0,)), Read(x, (I1,))], F64)
    square = Compute((n,), A * A, [identity_read(new)], F64)
    return Graph((h, total, x, t, w), (new, more, h, square), ("h", "total", "before", "square"))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("options", [None, ScheduleOptions(passes=())])
def test_recurrence(reverse: bool, options: ScheduleOptions | None) -> None:
    n = 5
    h0, x, w = Input("h0", (n,), F64), Input("x", (T, n), F64), Input("w", (n, n), F64)
    zero = Compute((n, n), placeholder(0) * 0, [identity_read(w)], F64)
    scans = [Scan(step(n), [h0, zero], [x], [w], T, k, reverse) for k in range(4)]
    outputs = tuple(Output(s, Place(f"out{k}", optional=True)) for k, s in enumerate(scans))
    p = Procedure("run", outputs, {node: Place(node.name) for node in (h0, x, w)})
    code = Compiled(p, options)
    for length in (7, 1, 0):
        v = {"h0": RNG.normal(size=n), "x": RNG.normal(size=(length, n)), "w": RNG.normal(size=(n, n))}
        want = expected(p, v)
        status, got = code.run(v)
        assert status == 0
        for name, value in got.items():
            np.testing.assert_allclose(value, want[name], rtol=1e-12, atol=1e-12, err_msg=code.code.body)


def test_long_sums_are_as_accurate_as_pairwise_ones() -> None:
    x, m = Input("x", (1_000_003,), F32), Input("m", (20_011, 7), F32)
    total = Compute((), A, [Read(x, (R0,))], F32, reduce_shape=(1_000_003,), reducer="sum")
    columns = Compute((7,), A, [Read(m, (R0, I0))], F32, reduce_shape=(20_011,), reducer="sum")
    whole = Compute((), A, [Read(m, reduce_axes(2))], F32, reduce_shape=(20_011, 7), reducer="sum")
    p = Procedure("run", tuple(Output(s, Place(f"out{k}")) for k, s in enumerate((total, columns, whole))),
                  {x: Place("x"), m: Place("m")})
    v = {"x": RNG.random(1_000_003).astype(np.float32), "m": RNG.random((20_011, 7)).astype(np.float32)}
    status, got = Compiled(p).run(v)
    assert status == 0
    # A chain of n terms of one sign errs by up to n/2 ulp (here 6e-2); blocks of 512 in 16 lanes and pairs by about 40.
    for name, exact in (("out0", v["x"].sum(dtype=float)), ("out1", v["m"].sum(0, dtype=float)),
                        ("out2", v["m"].sum(dtype=float))):
        np.testing.assert_allclose(got[name], exact, rtol=2e-6)


def test_an_unrolled_recurrence_calls_one_function() -> None:
    w, x = Input("w", (6, 6), F64), Input("x", (6,), F64)
    h: Node = x
    for _ in range(40):
        h = Compute((6,), F.tanh(A) + B, [identity_read(matvec(w, h)), identity_read(x)], F64)
    p = Procedure("run", (Output(h, Place("out")),), {w: Place("w"), x: Place("x")})
    short, long = Compiled(p), Compiled(p, ScheduleOptions(passes=tuple(n for n in PASSES if n != "outline")))
    assert short.program.nests and len(short.code.body) < len(long.code.body) / 2
    v = {"w": RNG.normal(size=(6, 6)), "x": RNG.normal(size=6)}
    np.testing.assert_allclose(short.run(v)[1]["out"], expected(p, v)["out"], rtol=1e-9)
    np.testing.assert_array_equal(short.run(v)[1]["out"], long.run(v)[1]["out"])


def test_a_repeated_nest_may_read_a_table() -> None:
    w, x = Input("w", (6, 6), F64), Input("x", (6,), F64)
    table: Node = Constant(RNG.normal(size=6))
    h: Node = x
    for _ in range(40):
        h = Compute((6,), F.tanh(A) + B, [identity_read(matvec(w, h)), identity_read(table)], F64)
    p = Procedure("run", (Output(h, Place("out")),), {w: Place("w"), x: Place("x")})
    code = Compiled(p)
    assert code.program.nests
    v = {"w": RNG.normal(size=(6, 6)), "x": RNG.normal(size=6)}
    np.testing.assert_allclose(code.run(v)[1]["out"], expected(p, v)["out"], rtol=1e-9)


def test_an_expensive_function_beside_inner_loops_runs_in_a_vector_loop() -> None:
    w, x = Input("w", (60, 9), F32), Input("x", (9,), F32)
    y = Compute((60,), F.sigmoid(A), [identity_read(matvec(w, x))], F32)
    z = Compute((30,), A * B, [Read(y, (I0,)), Read(y, (I0 + 30,))], F32)
    p = Procedure("run", (Output(z, Place("out")),), {w: Place("w"), x: Place("x")})
    code = Compiled(p)
    lines = code.code.body.split("\n")
    where = next(k for k, line in enumerate(lines) if "gg_sigmoid_f32(" in line and "*" not in line.split("=")[0])
    assert any("GRADGEN_SIMD" in line for line in lines[max(0, where - 3) : where]), code.code.body
    v = {"w": RNG.normal(size=(60, 9)).astype(np.float32), "x": RNG.normal(size=9).astype(np.float32)}
    np.testing.assert_allclose(code.run(v)[1]["out"], expected(p, v)["out"], rtol=1e-5)


def test_bad_indices_write_nothing() -> None:
    table, where = Input("table", (10, 4), F32), Input("where", (T,), dtypes.int64)
    picked = Compute((T, 4), B, [Read(where, (I0,)), Read(table, (A, I1))], F32)
    p = Procedure("run", (Output(picked, Place("out")),), {table: Place("table"), where: Place("where")})
    code = Compiled(p)
    for bad in (10, -1, 2**62):
        v = {"table": np.ones((10, 4)), "where": np.array([0, 9, bad])}
        status, got = code.run(v)
        assert status == 9 and (got["out"] == 77).all()


def test_missing_gradients_cost_nothing_and_change_nothing() -> None:
    x = Input("x", (3000,), F32)
    t = Compute((3000,), F.tanh(A), [identity_read(x)], F32)
    total = Compute((), A, [Read(t, (R0,))], F32, reduce_shape=(3000,), reducer="sum")
    slope = Compute((3000,), 1 - A**2, [identity_read(t)], F32)
    outputs = (Output(total, Place("loss", optional=True)), Output(slope, Place("grad", optional=True), "accumulate"))
    p = Procedure("run", outputs, {x: Place("x")})
    code = Compiled(p)
    v = {"x": RNG.normal(size=3000).astype(np.float32)}
    want = expected(p, v)
    nan = {"grad": np.full(3000, np.nan, np.float32)}
    for unwanted in ((), ("grad",), ("loss",), ("grad", "loss")):
        status, got = code.run(v, set_grad=True, old=nan, unwanted=unwanted)
        assert status == 0
        for name, value in got.items():  # a set gradient does not remember the nan that was there
            np.testing.assert_allclose(value, want[name], rtol=1e-5, atol=1e-6)
    _, got = code.run(v, old=nan)
    assert np.isnan(got["grad"]).all()  # an added one does
    negative = np.full(3000, 50, np.float32)  # tanh' underflows to 0 at 50: 0 set over anything is +0, never lost
    assert not np.signbit(code.run({"x": negative}, set_grad=True, old=nan)[1]["grad"]).any()
