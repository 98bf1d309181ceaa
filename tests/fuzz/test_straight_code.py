"""Small functions mapped over many items: straight-line code with the same values, wanted or not, set or added to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from compiled import Compiled, arguments, expected

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.ir import dtypes
from gradgen.loops.statements import (
    ARGUMENT,
    WORK,
    Apply,
    Assign,
    Buffer,
    CVar,
    Declare,
    If,
    Index,
    Let,
    Literal,
    Load,
    Loop,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import expressions, subexpressions
from gradgen.options import Options
from gradgen.schedule import PASSES, Procedure, Program, ScheduleOptions, schedule
from gradgen.schedule.lanes import lanes
from gradgen.schedule.straight import straighten

N = 37  # no multiple of a vector


def project(c, x):
    """A pinhole camera that turns about an axis: divisions by few numbers, packed results."""
    angle = gg.sqrt(c[0] * c[0] + c[1] * c[1] + 1)
    u, v = c[0] / angle, c[1] / angle
    depth = x[2] + u * x[0] + v * x[1] + 10
    return gg.stack([x[0] / depth * c[2], (x[1] + gg.sin(angle)) / depth * c[2]])


def reprojection(camera, point, which):
    def one(c, x):
        error = project(c, x)
        by_camera, by_point = gg.func.jacrev(project, argnums=(0, 1))(c, x)
        return error, by_camera, by_point

    return gg.func.vmap(one)(camera[which], point)


def reprojection_loss(camera, point, which):
    return (gg.func.vmap(project)(camera[which], point) ** 2).sum()


def rotation(q, x):
    """Vectors turned by quaternions."""
    w, a, b, c = q[:, 0], q[:, 1], q[:, 2], q[:, 3]
    n = w * w + a * a + b * b + c * c
    rows = [
        [1 - 2 * (b * b + c * c) / n, 2 * (a * b - c * w) / n, 2 * (a * c + b * w) / n],
        [2 * (a * b + c * w) / n, 1 - 2 * (a * a + c * c) / n, 2 * (b * c - a * w) / n],
        [2 * (a * c - b * w) / n, 2 * (b * c + a * w) / n, 1 - 2 * (a * a + b * b) / n],
    ]
    return (gg.stack([gg.stack(r, 1) for r in rows], 1) * x[:, None, :]).sum(2)


def rotation_loss(q, x):
    return (rotation(q, x) ** 4).mean()


def pooled(x, w, b, v):
    """An index that is found by steps, and what is read at it."""
    f = gg.nn.functional
    h = f.max_pool2d(f.relu(f.conv2d(x, w, b)), 2)
    return (f.conv2d(h, v) ** 2).sum()


def attraction(x):
    """Potential of bodies in pairs, softened."""
    d = x[:, None, :] - x[None, :, :]
    return (1 / gg.sqrt((d * d).sum(2) + 0.01)).sum()


def many(*shape: Any, grad: bool = False, dtype: Any = gg.float64) -> Any:
    return gg.spec(*shape, dtype=dtype, requires_grad=grad)


PROGRAMS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "reprojection": (reprojection, {"camera": many(4, 3), "point": many(N, 3), "which": many(N, dtype=gg.int64)}),
    "reprojection loss": (reprojection_loss, {"camera": many(4, 3, grad=True), "point": many(N, 3, grad=True),
                                              "which": many(N, dtype=gg.int64)}),
    "rotation": (rotation, {"q": many(N, 4), "x": many(N, 3)}),
    "rotation of open many": (rotation, {"q": many("N", 4), "x": many("N", 3)}),
    "rotation loss": (rotation_loss, {"q": many(N, 4, grad=True), "x": many(N, 3, grad=True)}),
    "rotation loss in float32": (rotation_loss, {"q": many(N, 4, grad=True, dtype=gg.float32),
                                                 "x": many(N, 3, grad=True, dtype=gg.float32)}),
    "pooled": (pooled, {"x": many(2, 3, 12, 12), "w": many(4, 3, 3, 3, grad=True), "b": many(4, grad=True),
                        "v": many(2, 4, 3, 3, grad=True)}),
    "attraction": (attraction, {"x": many(N, 3, grad=True)}),
}


def procedures(name: str) -> tuple[Procedure, ...]:
    function, specs = PROGRAMS[name]
    return stages(gg.trace(function, **specs).graph, Options()).procedures


def without(*names: str) -> ScheduleOptions:
    return ScheduleOptions(passes=tuple(p for p in PASSES if p not in names))


def given(procedure: Procedure, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for name, node, is_given in arguments(procedure):
        if is_given:
            shape = tuple(e if isinstance(e, int) else N for e in node.shape)
            found[name] = rng.integers(-4, 4, shape) if node.dtype.name == "int64" else rng.normal(size=shape)
    return {k: v.astype("float32") if "float32" in str(procedure.given) and v.dtype == float else v for k, v in found.items()}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("options", [None, without("straight"), without("lanes")], ids=["all passes", "loops", "scalars"])
def test_values(name: str, options: ScheduleOptions | None) -> None:
    rng = np.random.default_rng(3)
    for procedure in procedures(name):
        if any(p.space == "saved" for p in procedure.given.values()):
            continue  # backward: its given values come from forward
        values = given(procedure, rng)
        want = expected(procedure, values)
        code = Compiled(procedure, options)
        single = any(v.dtype == np.float32 for v in want.values())
        close = {"rtol": 3e-5, "atol": 1e-5} if single else {"rtol": 1e-11, "atol": 1e-12}  # some hundred roundings
        unwanted = next((n for n, node, is_given in arguments(procedure) if not is_given), "")
        old = {k: rng.normal(size=v.shape).astype(v.dtype) for k, v in want.items()}
        for set_grad, left in ((True, ()), (False, ()), (True, (unwanted,))):
            status, got = code.run(values, set_grad=set_grad, unwanted=left, old=old)
            assert status == 0
            assert not set(left) & set(got)
            for o in procedure.outputs:
                if o.place.name in got:
                    before: Any = old[o.place.name] if o.mode == "accumulate" and not set_grad else 0
                    np.testing.assert_allclose(got[o.place.name], want[o.place.name] + before, **close)


def inside(p: Program) -> list[Statement]:
    return list(p.walk())


def test_no_short_loops_and_no_memory_for_single_items() -> None:
    (procedure,) = procedures("reprojection")
    program = schedule(procedure)
    for s in inside(program):
        if isinstance(s, Loop):
            assert s.stop != 2 and s.stop != 3
    assert not [b for b in program.buffers if b.space == WORK]
    plain = schedule(procedure, without("straight", "unroll"))  # both write such loops out
    assert any(isinstance(s, Loop) and s.stop == 2 for s in inside(plain))


def test_items_in_vectors() -> None:
    """Three loops: what is fetched, arithmetic on whole vectors, results; without the pass one loop of scalars."""
    for name, lane_count in (("reprojection", 8), ("rotation loss in float32", 16)):
        procedure = procedures(name)[-1]
        blocks = [s for s in inside(schedule(procedure)) if isinstance(s, Loop) and s.step == lane_count]
        assert blocks
        for block in blocks:
            arithmetic = [s for s in block.body if isinstance(s, Loop) and s.simd]
            # sums choose between a term and nothing in a loop of their own
            assert len(arithmetic) in (1, 2) and all(a.stop == lane_count for a in arithmetic)
            for s in (s for a in arithmetic for s in a.body):
                assert not any(isinstance(e, Load) and e.buffer.space == ARGUMENT for e in subexpressions(expressions(s)))
        plain = schedule(procedure, without("lanes"))
        assert not any(isinstance(s, Loop) and s.step == lane_count for s in inside(plain))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64])
def test_any_number_of_items(count: int) -> None:
    (procedure,) = procedures("rotation of open many")
    assert any(isinstance(s, Loop) and s.step == 8 for s in inside(schedule(procedure)))
    rng = np.random.default_rng(count)
    values = {"q": rng.normal(size=(count, 4)), "x": rng.normal(size=(count, 3))}
    status, got = Compiled(procedure).run(values)
    assert status == 0
    for name, want in expected(procedure, values).items():
        np.testing.assert_allclose(got[name], want, rtol=1e-12, atol=1e-13)


def test_results_that_several_items_add_to_stay_in_order() -> None:
    """Items that are picked twice: their gradients meet."""
    procedure = procedures("reprojection loss")[-1]
    rng = np.random.default_rng(0)
    values = given(procedure, rng) | {"which": np.zeros(N, np.int64)}
    want = expected(procedure, values)
    _, got = Compiled(procedure).run(values, set_grad=True)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-11, atol=1e-12)


def test_unit_seeds_take_their_products_with_them() -> None:
    (procedure,) = procedures("reprojection")
    for s in inside(schedule(procedure)):
        for e in subexpressions(expressions(s)):
            if isinstance(e, Apply) and e.op in ("mul", "add", "div") and e.dtype.is_floating_point:
                assert not any(isinstance(a, Literal) and a.value == 0 for a in e.args)


def test_a_masked_value_is_a_factor() -> None:
    """0 * inf is nan where the 0 is a padded value and not a seed."""
    def f(x, w):
        padded = gg.cat([x, gg.zeros(x.shape[0], 1, dtype=gg.float64)], 1)
        return padded * w[:, None] * gg.exp(w)[:, None]

    graph = gg.trace(f, x=many(N, 2), w=many(N)).graph
    (procedure,) = stages(graph, Options()).procedures
    values = {"x": np.ones((N, 2)), "w": np.full(N, np.inf)}
    _, got = Compiled(procedure).run(values)
    assert np.isnan(next(iter(got.values()))[:, 2]).all()


def test_an_index_that_is_assigned_is_the_last_one() -> None:
    """k = 0; for m < 3: k = x[i, m] > 0 ? m : k; out[i] = x[i, k]."""
    x, out = Buffer("x", dtypes.float64, (N, 3), ARGUMENT), Buffer("out", dtypes.float64, (N,), ARGUMENT)
    i, m, at = CVar("i", integer=True), CVar("m", integer=True), CVar("k", integer=True)
    k, zero = Variable(dtypes.int64, "k"), Literal(dtypes.int64, sympy.Integer(0))
    positive = Apply(dtypes.bool_, "gt", (Load(dtypes.float64, x, 3 * i + m), Literal(dtypes.float64, sympy.Integer(0))))
    step = Assign(k, Apply(dtypes.int64, "select", (positive, Index(dtypes.int64, m), k)))
    body = (Declare(k, zero), Loop(m, 0, 3, (step,)), Store(out, i, Load(dtypes.float64, x, 3 * i + at)))
    names = iter(f"u{n}" for n in range(100))
    (loop,) = straighten((Loop(i, 0, N, body),), lambda prefix: prefix + next(names))
    assert isinstance(loop, Loop) and not any(isinstance(s, Loop) for s in loop.body)
    store = loop.body[-1]
    assert isinstance(store, Store) and isinstance(store.value, Load)
    (symbol,) = store.value.index.free_symbols - {i}
    (let,) = [s for s in loop.body if isinstance(s, Let) and s.variable.name == symbol.name]
    assert isinstance(let.value, Apply) and let.value.op == "select"
    last = let.value.args[1]
    assert isinstance(last, Index) and last.expr == 2


def test_results_under_a_condition_in_a_condition() -> None:
    """if (a) { t = ...; if (b) out[2i] = t; if (b) out[2i + 1] = sin t }: one loop of arithmetic, one of results."""
    x, out = Buffer("x", dtypes.float64, (N, 3), ARGUMENT), Buffer("out", dtypes.float64, (N, 2), ARGUMENT)
    i, t = CVar("i", integer=True), Variable(dtypes.float64, "t")
    a, b = Variable(dtypes.bool_, "a"), Variable(dtypes.bool_, "b")
    sine = Apply(dtypes.float64, "sin", (Load(dtypes.float64, x, 3 * i),))
    stores = [If(b, (Store(out, 2 * i + k, Apply(dtypes.float64, "exp", (t,)) if k else t),)) for k in range(2)]
    names = iter(f"u{n}" for n in range(100))
    made = lanes((Loop(i, 0, N, (If(a, (Let(t, sine), *stores)),)),), lambda prefix: prefix + next(names))
    (block,) = made
    assert isinstance(block, Loop) and block.step == 8
    (results,) = [s for s in block.body if isinstance(s, If)]
    assert isinstance(results.condition, Apply) and results.condition.op == "and_" and len(results.body) == 1
