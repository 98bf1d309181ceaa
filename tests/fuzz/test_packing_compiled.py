"""Matrices that a recurrence multiplies by, packed before the loop: compiled, against the interpreter."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from compiled import STRICT, Compiled, compiler, expected

from gradgen.codegen.gemm import kernel_texts
from gradgen.ir import dtypes
from gradgen.ir import functions as F
from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Compute, Input, Node, Read, Scan, identity_read
from gradgen.ir.symbols import axes, placeholder, reduce_axes
from gradgen.schedule import Output, Place, Procedure, ScheduleOptions
from gradgen.schedule.allowed import PASSES
from gradgen.schedule.matrix_kernel import GemmRequest, chosen
from gradgen.schedule.packing import pack_invariants

A, B = placeholder(0), placeholder(1)
I0, I1 = axes(2)
(R0,) = reduce_axes(1)
F32, F64 = dtypes.float32, dtypes.float64
RNG = np.random.default_rng(3)
STEPS = 9


def procedure(n: int, k: int, turned: bool, rows: int = 0, dtype: dtypes.DType = F64) -> Procedure:
    """h' = tanh(U (W h) + x), W of n x k in either order of its axes."""
    shape = (rows, k) if rows else (k,)
    h, x = Input("h", shape, dtype), Input("x", shape, dtype)
    w = Input("w", (n, k) if turned else (k, n), dtype)
    u = Input("u", (k, n), dtype)
    out, last = ((rows, n), I1) if rows else ((n,), I0)
    first: tuple = (I0,) if rows else ()
    wide = Compute(out, A * B, [Read(w, (last, R0) if turned else (R0, last)), Read(h, (*first, R0))], dtype,
                   reduce_shape=(k,), reducer="sum")
    back = Compute(shape, A * B, [Read(wide, (*first, R0)), Read(u, (last, R0))], dtype, reduce_shape=(n,), reducer="sum")
    new = Compute(shape, F.tanh(A + B), [identity_read(back), identity_read(x)], dtype)
    step = Graph((h, x, w, u), (new, wide), ("h", "wide"))
    shapes = {"H": shape, "X": (STEPS, *shape), "W": w.shape, "U": u.shape}
    given = [Input(name, s, dtype) for name, s in shapes.items()]
    last_h, stacked = (Scan(step, given[:1], given[1:2], given[2:], STEPS, number) for number in (0, 1))
    outputs = (Output(last_h, Place("out")), Output(stacked, Place("stacked")))
    return Procedure("run", outputs, {n: Place(n.name) for n in given})


def values(p: Procedure) -> dict[str, np.ndarray]:
    return {place.name: (RNG.normal(size=n.shape) / 6).astype(n.dtype.numpy) for n, place in p.given.items()}


def rows_in(code: Compiled) -> int:
    return code.code.body.count("gg_row_f")


@pytest.mark.parametrize(("n", "k"), [(56, 14), (14, 56), (13, 7), (8, 8), (128, 70), (500, 61), (520, 64)])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_products_with_a_vector(n: int, k: int, turned: bool, dtype: dtypes.DType) -> None:
    p = procedure(n, k, turned, dtype=dtype)
    code, given = Compiled(p), values(p)
    assert rows_in(code) == 2 * (n * k >= 64)
    tolerance = 2e-4 if dtype is F32 else 1e-11  # sums of up to 520 terms in another order, through 9 steps
    for name, value in expected(p, given).items():
        np.testing.assert_allclose(code.run(given)[1][name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("turned", [False, True])
def test_products_with_several_rows(turned: bool) -> None:
    p = procedure(50, 24, turned, rows=5)
    code, given = Compiled(p), values(p)
    assert any(isinstance(n, Scan) and n.step.inputs[-1].name.startswith("packed") for n in nodes(pack_invariants(p)))
    for name, value in expected(p, given).items():
        np.testing.assert_allclose(code.run(given)[1][name], value, rtol=1e-11, atol=1e-11)


def nodes(p: Procedure) -> list[Node]:
    return topological([o.node for o in p.outputs])


def test_the_switch() -> None:
    p = procedure(56, 14, True)
    without = Compiled(p, ScheduleOptions(passes=tuple(n for n in PASSES if n != "packing")))
    assert not rows_in(without)
    given = values(p)
    np.testing.assert_allclose(without.run(given)[1]["out"], Compiled(p).run(given)[1]["out"], rtol=1e-11)


@pytest.mark.parametrize("more", [["-DGRADGEN_NO_VECTOR_EXT"], ["-mno-avx", "-O1"], ["-march=native", "-O3"]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernel_for_every_vector(tmp_path, more: list[str], dtype: str) -> None:
    """Against plain loops, for all numbers of vectors and terms up to some, set and added to, warnings being errors."""
    t = {"float32": "float", "float64": "double"}[dtype]
    lanes = 64 // np.dtype(dtype).itemsize
    names, texts = [], {}
    for add in (False, True):
        kernel = chosen(GemmRequest(dtypes.dtype(dtype), 1, lanes, None, add, (None, 1), (lanes, 1), (None, 1)))
        names.append(kernel.name)
        texts |= kernel_texts(kernel)
    source = "\n".join(["#include <stddef.h>", "#include <string.h>", "#define GRADGEN_RESTRICT", *texts.values()])
    source += f"""
    static {t} x[40], b[40 * 600], c[600], d[600];
    int main(void)
    {{
        ptrdiff_t n, k, i, j;
        for (i = 0; i < 40; ++i) x[i] = ({t})(i % 7 - 3);
        for (i = 0; i < 40 * 600; ++i) b[i] = ({t})(i % 11 - 5);
        for (n = {lanes}; n <= 17 * {lanes}; n += {lanes})
            for (k = 0; k < 40; ++k) {{
                for (j = 0; j < n; ++j) c[j] = d[j] = 1;
                {names[1]}(1, n, k, x, 0, 1, b, n, 1, c, 0, 1, NULL);
                for (j = 0; j < n; ++j) for (i = 0; i < k; ++i) d[j] += x[i] * b[i * n + j];
                for (j = 0; j < n; ++j) if (c[j] != d[j]) return 1;
                {names[0]}(1, n, k, x, 0, 1, b, n, 1, c, 0, 1, NULL);
                for (j = 0; j < n; ++j) if (c[j] != d[j] - 1) return 2;
            }}
        return 0;
    }}"""
    (tmp_path / "row.c").write_text(source)
    command = [compiler(), *STRICT, *more, "row.c", "-o", "row"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "row"]).returncode == 0
