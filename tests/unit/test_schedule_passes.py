"""What each pass of the scheduler does to a Program: seen in its loops, locals and buffers, never on a clock."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as F
from gradgen.ir.limits import greatest
from gradgen.ir.nodes import Compute, Input, Node, Read, Scatter, identity_read
from gradgen.ir.symbols import Extent, axis, dim, placeholder, reduce_axis
from gradgen.loops.statements import (
    WORK,
    Apply,
    Comment,
    Copy,
    Expr,
    Fail,
    Let,
    Load,
    Loop,
    PairwiseAdd,
    Pointer,
    Statement,
    Store,
)
from gradgen.schedule import NO_PASSES, PASSES, Output, Place, Procedure, Program, ScheduleOptions, schedule
from gradgen.schedule.memory import saved_layout
from tests.products import given, products

A, B = placeholder(0), placeholder(1)
I0, I1, R0 = axis(0), axis(1), reduce_axis(0)
F32, I64 = dtypes.float32, dtypes.int64
N = dim("N")


def without(*names: str) -> ScheduleOptions:
    return ScheduleOptions(passes=tuple(p for p in PASSES if p not in names))


def procedure(inputs: list[Input], *outputs: Node, mode: str = "store", optional: bool = False) -> Procedure:
    made = tuple(Output(n, Place(f"out{k}", optional=optional), mode) for k, n in enumerate(outputs))
    return Procedure("run", made, {n: Place(n.name) for n in inputs})


def loops(p: Program) -> list[Loop]:
    return [s for s in p.walk() if isinstance(s, Loop)]


def work(p: Program) -> list[object]:
    return [b for b in p.buffers if b.space == WORK]


def functions(p: Program) -> list[str]:
    found: list[str] = []
    for s in p.walk():
        stack: list[Expr] = [s.value] if isinstance(s, (Let, Store, PairwiseAdd)) else []
        value = getattr(s, "value", None)
        if isinstance(value, Expr) and not stack:
            stack = [value]
        while stack:
            e = stack.pop()
            if isinstance(e, Apply):
                found.append(e.op)
                stack.extend(e.args)
    return found


def tanh_then_square(shape: tuple[Extent, ...]) -> tuple[Input, Node, Node]:
    x = Input("x", shape, F32)
    t = Compute(shape, F.tanh(A), [identity_read(x)], F32)
    return x, t, Compute(shape, A * A, [identity_read(t)], F32)


def softmax(rows: Extent, columns: int) -> tuple[Input, Node]:
    x = Input("x", (rows, columns), F32)
    top = Compute((rows,), A, [Read(x, (I0, R0))], F32, reduce_shape=(columns,), reducer="max")
    total = Compute((rows,), F.exp(A - B), [Read(x, (I0, R0)), Read(top, (I0,))], F32, reduce_shape=(columns,),
                    reducer="sum")
    return x, Compute((rows, columns), F.div(F.exp(A - B), placeholder(2)),
                      [identity_read(x), Read(top, (I0,)), Read(total, (I0,))], F32)


def matmul(x: Node, w: Node) -> Compute:
    return Compute((x.shape[0], w.shape[1]), A * B, [Read(x, (I0, R0)), Read(w, (R0, I1))], F32,
                   reduce_shape=(x.shape[1],), reducer="sum")


def test_inline_a_value_with_one_reader_needs_no_loop() -> None:
    x, _, y = tanh_then_square((7,))
    assert len(loops(schedule(procedure([x], y)))) == 1
    assert not work(schedule(procedure([x], y)))
    assert len(loops(schedule(procedure([x], y), NO_PASSES))) == 2
    assert len(work(schedule(procedure([x], y), NO_PASSES))) == 1


def test_fusion_a_shared_value_is_a_local_of_the_common_loop() -> None:
    x, t, y = tanh_then_square((7,))
    z = Compute((7,), A + 1, [identity_read(t)], F32)
    p = schedule(procedure([x], y, z))
    assert len(loops(p)) == 1 and not work(p)
    assert functions(p).count("tanh") == 1
    assert len(loops(schedule(procedure([x], y, z), without("fusion")))) == 3


def test_fusion_a_loss_and_its_map_are_one_pass() -> None:
    x, _, y = tanh_then_square((7,))
    loss = Compute((), A, [Read(y, (R0,))], F32, reduce_shape=(7,), reducer="sum")
    assert len(loops(schedule(procedure([x], y, loss)))) == 1


def test_row_fusion_keeps_one_row_of_temporaries() -> None:
    x, y = softmax(N, 100)
    p = schedule(procedure([x], y))
    outer = [s for s in p.statements if isinstance(s, Loop)]
    assert len(outer) == 1 and len(loops(p)) == 4
    assert [b.shape for b in work(p)] == [(100,)]  # type: ignore[attr-defined]
    assert functions(p).count("exp") == 1  # shared by the sum and the quotient


def test_sharing_can_be_switched_off() -> None:
    x, y = softmax(4, 100)
    assert functions(schedule(procedure([x], y), without("sharing"))).count("exp") == 2


def test_contraction_calls_the_matrix_kernel_and_small_ones_stay_loops() -> None:
    x, w = Input("x", (32, 64), F32), Input("w", (64, 10), F32)
    p = schedule(procedure([x, w], matmul(x, w)))
    assert [s for s in p.statements if not isinstance(s, Comment)] == products(p.statements) != []
    assert not products(schedule(procedure([x, w], matmul(x, w)), NO_PASSES).statements)
    a, b = Input("a", (2, 3), F32), Input("b", (3, 2), F32)
    assert not products(schedule(procedure([a, b], matmul(a, b))).statements)


def test_contraction_of_transposes_needs_no_copy() -> None:
    x, w = Input("x", (64, 32), F32), Input("w", (10, 64), F32)
    turned = Compute((32, 10), A * B, [Read(x, (R0, I0)), Read(w, (I1, R0))], F32, reduce_shape=(64,), reducer="sum")
    (product,) = products(schedule(procedure([x, w], turned)).statements)
    assert given(product, "as_m", "as_k") == (1, 32) and given(product, "bs_k", "bs_n") == (1, 64)


def test_order_the_unit_stride_is_innermost() -> None:
    x = Input("x", (50, 60), F32)
    columns = Compute((60,), A, [Read(x, (R0, I0))], F32, reduce_shape=(50,), reducer="sum")
    outer, inner = loops(schedule(procedure([x], columns)))[:2]
    assert (outer.stop, inner.stop) == (50, 60) and inner.simd
    outer = loops(schedule(procedure([x], columns), without("order")))[0]
    assert outer.stop == 60


def test_a_sum_over_a_few_rows_is_no_long_chain() -> None:
    """Each row has a partial sum of its own, however few the rows are."""
    x = Input("x", (6, 800), F32)
    total = Compute((), A, [Read(x, (R0, reduce_axis(1)))], F32, reduce_shape=(6, 800), reducer="sum")
    rows, terms = loops(schedule(procedure([x], total)))
    assert terms.simd and terms.reductions == (("+", rows.body[0].variable.name),)  # type: ignore[attr-defined]


def test_long_sums_go_block_by_block_and_pairwise() -> None:
    x = Input("x", (100_000,), F32)
    total = Compute((), A, [Read(x, (R0,))], F32, reduce_shape=(100_000,), reducer="sum")
    p = schedule(procedure([x], total))
    blocks, terms = loops(p)
    assert blocks.step == 512 and terms.simd and terms.reductions[0][0] == "+"
    assert any(isinstance(s, PairwiseAdd) for s in p.walk())
    assert not any(isinstance(s, PairwiseAdd) for s in schedule(procedure([x], total), without("pairwise")).walk())


def test_strips_memory_does_not_grow_with_the_batch() -> None:
    x, w, v = Input("x", (N, 64), F32), Input("w", (64, 32), F32), Input("v", (32, 8), F32)
    hidden = Compute((N, 32), F.tanh(A), [identity_read(matmul(x, w))], F32)
    y = matmul(hidden, v)
    weights = Compute((64, 32), A * B, [Read(x, (R0, I0)), Read(hidden, (R0, I1))], F32, reduce_shape=(N,),
                      reducer="sum")
    packed = 32 * 128  # the matrix kernel's, where it is called
    assert greatest(schedule(procedure([x, w, v], y, weights)).layout.work, {}) == 256 * 128 + packed
    assert greatest(schedule(procedure([x, w, v], y, weights), without("strips")).layout.work, {}) is None


def test_reuse_buffers_that_never_meet_share_memory() -> None:
    x = Input("x", (100,), F32)
    y: Node = x
    for _ in range(6):  # a reversal between steps keeps them from fusing
        t = Compute((100,), F.tanh(A), [Read(y, (99 - I0,))], F32)
        y = Compute((100,), A + B, [identity_read(t), Read(t, (99 - I0,))], F32)
    p, q = schedule(procedure([x], y)), schedule(procedure([x], y), without("reuse"))
    assert isinstance(p.layout.work, int) and isinstance(q.layout.work, int)
    assert p.layout.work <= 2 * 448 < q.layout.work


def test_optional_rows_are_written_without_a_branch_inside_the_loop() -> None:
    x, _, y = tanh_then_square((1000,))
    p = schedule(procedure([x], y, mode="accumulate", optional=True))
    assert any(isinstance(s, Pointer) for s in p.walk())
    inner = [s for s in loops(p) if s.simd]
    assert len(inner) == 1 and all(isinstance(s, (Let, Store)) for s in inner[0].body)


def test_indices_from_data_are_checked_before_anything_is_written() -> None:
    table, where = Input("table", (10, 4), F32), Input("where", (N,), I64)
    picked = Compute((N, 4), B, [Read(where, (I0,)), Read(table, (A, I1))], F32)
    kinds: list[type[Statement]] = [type(s) for s in schedule(procedure([table, where], picked)).walk()]
    assert Fail in kinds and kinds.index(Fail) < kinds.index(Store)


def test_scatter_starts_from_a_copy_of_its_base() -> None:
    base, x, where = Input("base", (5,), F32), Input("x", (N,), F32), Input("where", (N,), I64)
    added = Scatter((5,), base, (N,), (A,), B, [Read(where, (I0,)), identity_read(x)], F32, mode="add")
    assert any(isinstance(s, Copy) for s in schedule(procedure([base, x, where], added)).walk())


def test_saved_slots_have_one_layout_for_both_directions() -> None:
    x, t, y = tanh_then_square((N,))
    u = Compute((N,), F.exp(A), [identity_read(x)], F32)
    slots = (Place("s0", "saved"), Place("s1", "saved"))
    forward = Procedure("forward", (Output(y, Place("out")), Output(t, slots[0]), Output(u, slots[1])), {x: Place("x")})
    back = Compute((N,), A * 2, [identity_read(u)], F32)
    backward = Procedure("backward", (Output(back, Place("grad")),), {x: Place("x"), u: slots[1]})
    layout = saved_layout([forward, backward])
    assert layout.offsets["s0"] == 64
    places = [{b.name: at for b, at in schedule(p, None, layout).layout.offsets.items() if b.space == "saved"}
              for p in (forward, backward)]
    assert places[1]["s1"] == places[0]["s1"] == layout.offsets["s1"]


def test_a_constant_load_is_not_hoisted_out_of_an_empty_loop() -> None:
    x = Input("x", (N,), F32)
    first = Compute((N,), A + B, [identity_read(x), Read(x, (0,))], F32)
    for s in schedule(procedure([x], first)).statements:
        assert not (isinstance(s, Let) and isinstance(s.value, Load))  # x[0] does not exist where N is 0


def test_every_pass_can_be_switched_off_alone() -> None:
    x, y = softmax(N, 100)
    for name in PASSES:
        assert schedule(procedure([x], y), without(name)).statements
    with pytest.raises(KeyError):
        ScheduleOptions().has("magic")


def test_ten_times_the_operations_cost_about_ten_times_the_statements() -> None:
    counts = []
    for steps in (50, 500):
        x = Input("x", (), F32)
        y: Node = x
        for _ in range(steps):
            y = Compute((), A * B + sympy.Rational(1, 3), [Read(y, ()), Read(y, ())], F32)
        counts.append(sum(1 for _ in schedule(procedure([x], y)).walk()))
    assert counts[1] <= 11 * counts[0]


_HASHED = """
import sys
sys.path[:0] = {path!r}
from random_graphs import procedure
from gradgen.codegen.kernels_body import c_procedure
from gradgen.schedule import schedule
for seed in range(6):
    code = c_procedure(schedule(procedure(seed, 12, seed % 2 == 0)))
    print(code.body, *code.helpers.values())
"""


def test_the_same_bytes_under_every_hash_seed() -> None:
    here = os.path.dirname(__file__)
    path = [os.path.join(here, "..", "fuzz"), os.path.join(here, "..", "..")]
    texts = set()
    for seed in ("0", "1", "2"):
        done = subprocess.run([sys.executable, "-c", _HASHED.format(path=path)], capture_output=True, text=True,
                              env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        texts.add(done.stdout)
    assert len(texts) == 1 and len(texts.pop()) > 1000


