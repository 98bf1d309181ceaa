"""Targets with odd numbers: the C for any of them computes what the graph says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from compiled import Compiled, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import procedure, values
from test_schedule_fuzz import close

from gradgen.ir import dtypes
from gradgen.ir.nodes import Compute, Input, Node, Read
from gradgen.ir.symbols import axes, dim, placeholder, reduce_axes
from gradgen.schedule import Output, Place, Procedure, ScheduleOptions
from gradgen.target import KNOWN, Target

A, B = placeholder(0), placeholder(1)
I0, I1 = axes(2)
(R0,) = reduce_axes(1)
RNG = np.random.default_rng(7)

FLOATS = st.sampled_from([(), ("float32",), ("float32", "float64")])
TARGETS = st.builds(
    Target, name=st.just("odd"), vector_bytes=st.sampled_from([0, 1, 4, 8, 16, 32, 64, 128, 512]),
    registers=st.integers(0, 40), near_bytes=st.integers(0, 1 << 16),
    cache_bytes=st.integers(0, 1 << 20), call_cost=st.integers(0, 100), branch_cost=st.integers(0, 100), hardware=FLOATS,
    fma=FLOATS, index_bits=st.sampled_from([16, 32, 64]), alignment=st.sampled_from([8, 16, 32, 64]),
    threads=st.booleans(), mathematics=st.sampled_from(["inline", "libm"]),
)  # fmt: skip


def check(p: Procedure, options: ScheduleOptions, seed: int, sizes: tuple[int, ...]) -> None:
    made = Compiled(p, options)
    for n in sizes:
        v = values(p, seed, n)
        want = expected(p, v)
        dtype = {o.place.name: o.node.dtype for o in p.outputs}
        mode = {o.place.name: o.mode for o in p.outputs}
        optional = tuple(o.place.name for o in p.outputs if o.place.optional)
        old = {k: np.full(w.shape, 0.5, w.dtype) for k, w in want.items() if mode[k] == "accumulate"}
        for set_grad, unwanted in ((False, ()), (True, ()), (False, optional[:1])):
            status, got = made.run(v, set_grad=set_grad, unwanted=unwanted, old=old, no_saved=bool(unwanted))
            assert status == 0
            for name, result in got.items():
                more = old[name] if mode[name] == "accumulate" and not set_grad else 0
                close(result, want[name] + more if mode[name] == "accumulate" else want[name], dtype[name].name, made)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(target=TARGETS, size=st.booleans(), seed=st.integers(0, 10**6), nodes=st.integers(2, 14), symbolic=st.booleans())
def test_random_graphs_for_random_targets(target: Target, size: bool, seed: int, nodes: int, symbolic: bool) -> None:
    sizes = (3, 0, 70, 700) if symbolic else (3,)
    check(procedure(seed, nodes, symbolic), ScheduleOptions(target=target, size=size), seed, sizes)


def product(a: Node, b: Node, shape: tuple, k: object, transposed: str) -> Compute:
    left = (R0, I0) if "a" in transposed else (I0, R0)
    right = (I1, R0) if "b" in transposed else (R0, I1)
    return Compute(shape, A * B, [Read(a, left), Read(b, right)], a.dtype, reduce_shape=(k,), reducer="sum")


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m0", "wasm", "odd"])
@pytest.mark.parametrize("size", [False, True])
@pytest.mark.parametrize("m, n, k", [(1, 64, 64), (64, 1, 10), (7, 13, 5), (9, 10, 300), ("N", 5, 6), (5, "N", 700),
                                     (5, 1000, 700), (4, 6, "N"), (3, 3, 1)])
def test_matrix_products(name: str, size: bool, m: object, n: object, k: object) -> None:
    target = KNOWN.get(name) or Target("odd", vector_bytes=0, registers=13, hardware="float64")
    for dtype, transposed in ((dtypes.float32, ""), (dtypes.float32, "a"), (dtypes.float64, "b")):
        m_, n_, k_ = (dim(e) if isinstance(e, str) else e for e in (m, n, k))
        a = Input("a", (k_, m_) if "a" in transposed else (m_, k_), dtype)
        b = Input("b", (n_, k_) if "b" in transposed else (k_, n_), dtype)
        c = product(a, b, (m_, n_), k_, transposed)
        p = Procedure("run", (Output(c, Place("c", optional=True), "accumulate"),), {a: Place("a"), b: Place("b")})
        check(p, ScheduleOptions(target=target, size=size), 3, (1, 0, 2, 11, 600) if "N" in (m, n, k) else (1,))


def test_long_sums_of_small_machines() -> None:
    """What docs/math-accuracy.md says of three levels: about 64 + 64 + n/4096 roundings."""
    x = Input("x", (dim("N"),), dtypes.float32)
    total = Compute((), A, [Read(x, (R0,))], dtypes.float32, reduce_shape=(dim("N"),), reducer="sum")
    p = Procedure("run", (Output(total, Place("s")),), {x: Place("x")})
    made = Compiled(p, ScheduleOptions(target=KNOWN["cortex-m4"]))
    for n in (1_000_003, 64, 65, 4097, 0):
        v = RNG.random(n).astype(np.float32)
        np.testing.assert_allclose(made.run({"x": v})[1]["s"], v.sum(dtype=float), rtol=1e-5)


def test_every_field_changes_the_text() -> None:
    base = Target("mine")
    other = {"vector_bytes": 0, "hardware": (), "fma": (), "threads": False, "mathematics": "libm", "name": "yours",
             "index_bits": 32, "alignment": 8}
    for f in dataclasses.fields(Target):
        new = other[f.name] if f.name in other else getattr(base, f.name) + 1
        changed = dataclasses.replace(base, **{f.name: new})
        assert changed.text() != base.text()
