"""threads=n: which loops of a Program are cut into chunks, what their chunks get for themselves, and what stays whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gradgen as gg
from gradgen.build.standalone import wants_threads
from gradgen.compiler.pipeline import programs, stages
from gradgen.loops.program import Program
from gradgen.loops.statements import WORK, Apart, Fail, Index, Let, Loop, PairwiseAdd, Pointer, Store
from gradgen.loops.walk import statements_in
from gradgen.options import Options
from gradgen.schedule.accesses import upper
from tests.products import given, products


def scheduled(traced: gg.TracedFunction, threads: int, which: str = "value_and_grad") -> Program:  # type: ignore[name-defined]
    made = stages(traced.graph, Options(threads=threads))
    return next(p for p in programs(made) if p.name == which)


def parallel(p: Program) -> list[Loop]:
    """The loops over chunks, a chunk's statements in the place of its function."""
    return [replace(s, body=tuple(x for t in s.body for x in (t.body if isinstance(t, Apart) else (t,))))
            for s in p.walk() if isinstance(s, Loop) and s.parallel]


def wave(n: int | str) -> gg.TracedFunction:  # type: ignore[name-defined]
    return gg.trace(lambda x: (gg.sin(x) * gg.exp(x)).sum(), x=gg.spec(n, requires_grad=True))


def normalised(rows: int | str) -> gg.TracedFunction:  # type: ignore[name-defined]
    def f(x, g, v):  # type: ignore[no-untyped-def]
        return (gg.nn.functional.gelu(gg.nn.functional.layer_norm(x, (768,), g)) * v).sum()

    return gg.trace(f, x=gg.spec(rows, 768, requires_grad=True), g=gg.spec(768, requires_grad=True), v=gg.spec(rows, 768))


def test_without_threads_nothing_is_parallel() -> None:
    assert not parallel(scheduled(wave(1_000_000), 0)) and not parallel(scheduled(wave(1_000_000), 1))


def test_short_loops_stay_whole() -> None:
    assert not parallel(scheduled(wave(1000), 4))


def test_a_sum_gets_one_part_per_chunk_on_lines_of_its_own() -> None:
    p = scheduled(wave(1_000_000), 3)
    (loop,) = parallel(p)
    assert (loop.parallel, loop.start, loop.stop, loop.several) == (3, 0, 3, None)
    assert any(b.shape == (3, 16) for b in p.buffers if b.space == WORK), "64 bytes apart"
    (after,) = [s for s in p.walk() if isinstance(s, Loop) and any(isinstance(x, PairwiseAdd) for x in s.body)
                and s.stop == 3]
    assert after.start == 0, "added in order"


def test_a_named_dimension_decides_when_the_function_runs() -> None:
    (loop,) = parallel(scheduled(wave("N"), 2))
    assert loop.several is not None and loop.stop is loop.several


def test_rows_have_their_own_temporaries_and_gradients() -> None:
    p = scheduled(normalised(4096), 2)
    loop = parallel(p)[0]
    rows = [s for s in loop.body if isinstance(s, Pointer)]
    assert any(r.condition is None for r in rows), "a row of memory that only the loop uses: one for each chunk"
    assert any(r.condition is not None for r in rows), "the gradient of g: the first chunk adds to it, others to a part"
    assert int(p.layout.work) > int(scheduled(normalised(4096), 0).layout.work)  # type: ignore[call-overload]
    assert any("partial sums of" in note and "own" in note for note in p.notes)


def test_a_product_is_cut_in_whole_tiles() -> None:
    traced = gg.trace(lambda a, b: a @ b, a=gg.spec(600, 512), b=gg.spec(512, 500))
    (loop,) = parallel(scheduled(traced, 2, "forward"))
    (product,) = products(loop.body)
    assert loop.stop == 2 and given(product, "m", "n", "k") == (300, 500, 512)


def test_a_recurrence_stays_whole() -> None:
    def f(x, w):  # type: ignore[no-untyped-def]
        return gg.scan(lambda c, r: (gg.tanh(c.flip(0) * w + r), None), x[0], x)[0].sum()

    traced = gg.trace(f, x=gg.spec(3000, 64, requires_grad=True), w=gg.spec(64, requires_grad=True))
    p = scheduled(traced, 2, "forward")
    assert not parallel(p) and any("stays whole" in note for note in p.notes)


def test_a_loop_that_may_leave_the_function_stays_whole() -> None:
    traced = gg.trace(lambda x, i: gg.exp(x[i]), x=gg.spec(50), i=gg.spec(1_000_000, dtype=gg.int64))
    p = scheduled(traced, 2, "forward")
    assert all(not isinstance(s, Fail) for loop in parallel(p) for s in statements_in(loop.body))
    assert any(isinstance(s, Store) for loop in parallel(p) for s in statements_in(loop.body))


def test_scatter_with_indices_from_data_gets_partial_sums() -> None:
    def f(x, i):  # type: ignore[no-untyped-def]
        return (gg.exp(x)[i] * gg.sin(x)[i]).sum()

    traced = gg.trace(f, x=gg.spec(50, requires_grad=True), i=gg.spec(1_000_000, dtype=gg.int64))
    p = scheduled(traced, 2)
    cut = [x for loop in parallel(p) for x in statements_in(loop.body)]
    assert any(isinstance(s, Pointer) and s.condition is not None for s in cut)


def test_upper_bounds_of_minima() -> None:
    import sympy

    n, i = sympy.symbols("n i", integer=True, nonnegative=True)
    assert set(upper(sympy.Min(n, i + 512) - i)) == {n - i, sympy.Integer(512)}
    assert upper(n - sympy.Min(n, i)) == [], "less a minimum is not bounded by one of its arguments"


def test_bundles_ask_for_openmp_only_with_threads(tmp_path: Path) -> None:
    for threads in (0, 2):
        folder = gg.emit(wave(1_000_000), f"wave{threads}", out=tmp_path, threads=threads)
        cmake, c = ((folder / file).read_text() for file in ("CMakeLists.txt", f"wave{threads}.c"))
        manifest = json.loads((folder / f"wave{threads}.json").read_text())
        assert wants_threads(manifest) == ("OpenMP" in cmake) == ("GRADGEN_PARALLEL_FOR" in c) == (threads > 0)


def notes(traced: gg.TracedFunction, which: str, threads: int = 2) -> str:  # type: ignore[name-defined]
    return "\n".join(scheduled(traced, threads, which).notes)


def test_elements_of_a_row_are_digits_of_an_index() -> None:
    """The outer loop of a batch of products whose results lie side by side in rows: i is neither the first nor last digit."""
    traced = gg.trace(lambda x, w: gg.einsum("kij,nj->nki", w, x), x=gg.spec(2000, 32), w=gg.spec(12, 32, 32))
    p = scheduled(traced, 2, "forward")
    assert parallel(p) and not any("stays whole" in note for note in p.notes), p.notes


def test_gradients_that_are_added_up_where_the_caller_wants_them() -> None:
    """GRADGEN_SET_GRAD: the products of a batch go straight into the caller's memory, from the second chunk on into parts."""

    def f(x, w, v):  # type: ignore[no-untyped-def]
        return (gg.einsum("bij,jk->bik", x, w) * v).sum()

    x, w, v = gg.spec(64, 100, 40), gg.spec(40, 40, requires_grad=True), gg.spec(64, 100, 40)
    assert "stays whole" not in notes(gg.trace(f, x=x, w=w, v=v), "value_and_grad")


def test_max_pooling_is_cut_and_its_positions_are_not_tested() -> None:
    """An argmax gives positions in its window: no index is out of range, and no two images meet."""

    def f(x):  # type: ignore[no-untyped-def]
        return (gg.nn.functional.max_pool2d(gg.sin(x), 2) ** 2).sum()

    p = scheduled(gg.trace(f, x=gg.spec(64, 3, 28, 28, requires_grad=True)), 2)
    assert not any(isinstance(s, Fail) for s in p.walk())
    assert parallel(p) and not any("stays whole" in note for note in p.notes), p.notes


def test_positions_that_come_from_the_caller_are_tested() -> None:
    def f(x):  # type: ignore[no-untyped-def]
        return (gg.nn.functional.max_pool2d(gg.sin(x), 2) ** 2).sum()

    p = scheduled(gg.trace(f, x=gg.spec(64, 3, 28, 28, requires_grad=True)), 2, "backward")
    assert any(isinstance(s, Fail) for s in p.walk()), "SAVED is the caller's memory"


def test_inside_of_a_recurrence_products_are_cut() -> None:
    def f(x, w, c):  # type: ignore[no-untyped-def]
        return gg.scan(lambda c, r: (gg.tanh(w @ (c @ w) + r), None), c, x)[0]

    traced = gg.trace(f, x=gg.spec(10, 256, 256), w=gg.spec(256, 256), c=gg.spec(256, 256))
    p = scheduled(traced, 2, "forward")
    (time,) = [s for s in p.walk() if isinstance(s, Loop) and s.stop == 10 and not s.parallel]
    assert [s for s in statements_in(time.body) if isinstance(s, Loop) and s.parallel]


def test_a_short_outer_loop_gives_way_to_those_inside() -> None:
    """Three products on two threads would take as long as four: half of the rows of each."""
    traced = gg.trace(lambda a, b: a @ b, a=gg.spec(3, 256, 200), b=gg.spec(3, 200, 240))
    p = scheduled(traced, 2, "forward")
    (loop,) = parallel(p)
    assert isinstance(loop.body[-1], Loop) and loop.body[-1].stop == 3


def test_a_product_with_a_small_result_is_cut_along_its_sum() -> None:
    traced = gg.trace(lambda a, b: a.T @ b, a=gg.spec(100_000, 6), b=gg.spec(100_000, 10))
    p = scheduled(traced, 3, "forward")
    (loop,) = parallel(p)
    parts = products(loop.body)
    sizes = {s.variable.name: str(s.value.expr) for s in loop.body if isinstance(s, Let) and isinstance(s.value, Index)}
    assert len(parts) == 2 and all("33344" in sizes[str(*given(s, "k"))] for s in parts), "whole tiles"
    assert any("along k" in note for note in p.notes)


def test_a_large_block_is_filled_in_pieces() -> None:
    def f(x):  # type: ignore[no-untyped-def]
        return gg.nn.functional.pad(x, (1000, 3_000_000))

    p = scheduled(gg.trace(f, x=gg.spec(10)), 2, "forward")
    assert parallel(p)


def test_a_recurrence_over_columns_runs_in_parts() -> None:
    """cumsum down the rows: each part of the columns goes through all rows by itself, in one region."""
    p = scheduled(gg.trace(lambda x: gg.cumsum(x, 0), x=gg.spec(400, 1000)), 2, "forward")
    cut = [x for x in parallel(p) for s in x.body if isinstance(s, Loop) and s.stop == 400]
    assert cut and not any("stays whole: two" in note for note in p.notes)


def test_a_recurrence_over_a_batch_runs_in_parts() -> None:
    """Products by rows and whatever goes over rows; nothing of one row is needed by another."""

    def f(x, w, c):  # type: ignore[no-untyped-def]
        return gg.scan(lambda c, r: (gg.tanh(c @ w + r), None), c, x)[0]

    p = scheduled(gg.trace(f, x=gg.spec(10, 256, 64), w=gg.spec(64, 64), c=gg.spec(256, 64)), 2, "forward")
    assert any(isinstance(s, Loop) and s.stop == 10 for x in parallel(p) for s in x.body)


def test_a_recurrence_that_mixes_its_batch_does_not() -> None:
    """The mean over the batch is needed at every step."""

    def f(x, c):  # type: ignore[no-untyped-def]
        return gg.scan(lambda c, r: (gg.tanh(c - c.mean(0) + r), None), c, x)[0]

    p = scheduled(gg.trace(f, x=gg.spec(10, 2560, 64), c=gg.spec(2560, 64)), 2, "forward")
    assert not any(isinstance(s, Loop) and s.stop == 10 for x in parallel(p) for s in statements_in(x.body))


def test_the_greatest_of_each_column_is_found_by_columns() -> None:
    p = scheduled(gg.trace(lambda x: gg.exp(x).amax(0), x=gg.spec(1000, 1000)), 2, "forward")
    assert parallel(p) and all(s.stop != 1000 for s in parallel(p))


def test_guarded_reads_of_a_batch() -> None:
    """A padded window of what the same iteration wrote: the guard keeps it inside its image."""

    def f(x, k, v):  # type: ignore[no-untyped-def]
        y = gg.nn.functional.conv2d(x, k, padding=1)
        return ((y - y.mean((0, 2, 3), keepdim=True)) ** 2 * v).sum()

    x, k, v = gg.spec(16, 16, 28, 28, requires_grad=True), gg.spec(16, 16, 3, 3, requires_grad=True), gg.spec(16, 16, 28, 28)
    assert "stays whole: iterations" not in notes(gg.trace(f, x=x, k=k, v=v), "value_and_grad")


def test_a_transposed_operand_is_read_in_strips() -> None:
    p = scheduled(gg.trace(lambda x, y: gg.sin(x.T) + y, x=gg.spec(1500, 1500), y=gg.spec(1500, 1500)), 2, "forward")
    assert parallel(p) and not any("whole" in note for note in p.notes)
