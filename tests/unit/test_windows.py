"""Convolutions in the Program: windows are laid out piece by piece, by copies without tests, beside their products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import programs, stages
from gradgen.ir.guards import Condition
from gradgen.ir.symbols import NEGATIVE_ZERO
from gradgen.loops.statements import (
    WORK,
    Buffer,
    Copy,
    CVar,
    If,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    Statement,
    Store,
)
from gradgen.loops.walk import expressions, subexpressions
from gradgen.options import Options
from gradgen.schedule import PASSES, Program, ScheduleOptions, schedule
from gradgen.schedule.peel import peel
from tests.products import products


def convolution(images: int) -> Program:
    """value_and_grad of a padded 3x3 convolution, weighted and summed."""

    def f(x, w, b, v):
        return (gg.nn.functional.conv2d(x, w, b, padding=1) * v).sum()

    specs: dict[str, Any] = {
        "x": gg.spec(images, 16, 28, 28, requires_grad=True), "w": gg.spec(32, 16, 3, 3, requires_grad=True),
        "b": gg.spec(32, requires_grad=True), "v": gg.spec(images, 32, 28, 28),
    }  # fmt: skip
    made = stages(gg.trace(f, **specs).graph, Options())
    return next(p for p in programs(made) if p.name == "value_and_grad")


def inside(loop: Loop, kind: type) -> list[Statement]:
    return [s for s in Program("", (), (loop,)).walk() if isinstance(s, kind)]


def test_windows_and_products_of_one_image_share_a_loop_and_memory_does_not_grow() -> None:
    p = convolution(32)
    shared = [s for s in p.walk() if isinstance(s, Loop) and s.stop == 32 and len(products((s,))) >= 3]
    assert len(shared) == 1
    laid = [b for b in p.buffers if b.space == WORK and b.shape[1:] == (3, 3, 28, 28)]
    assert sorted(b.shape[0] for b in laid) == [16, 32]
    assert p.layout.work == convolution(64).layout.work


def test_bias_gradient_sums_in_a_local() -> None:
    shared = next(s for s in convolution(32).walk() if isinstance(s, Loop) and s.stop == 32 and products((s,)))
    sums = [s for s in inside(shared, Loop) if any(op == "+" for op, _ in s.reductions)]  # type: ignore[attr-defined]
    assert [len(s.reductions) for s in sums] == [2]  # type: ignore[attr-defined]
    assert len(inside(shared, PairwiseAdd)) == 2  # the loss and the bias: 28 rows are more than one chain may add


def test_a_product_whose_gradient_is_not_wanted_is_skipped_inside_the_shared_loop() -> None:
    shared = next(s for s in convolution(32).walk() if isinstance(s, Loop) and s.stop == 32 and products((s,)))
    tested = [s for s in shared.body if isinstance(s, If)]
    assert not products(s for s in shared.body if not isinstance(s, If))
    assert sum(bool(products((s,))) for s in tested) == 3


def pool(x: Any) -> Any:
    return gg.nn.functional.avg_pool2d(x, 3, 1, 1)


def depthwise(x: Any, w: Any) -> Any:
    return gg.nn.functional.conv2d(x, w, padding=1, groups=8)


@pytest.mark.parametrize("f", [pool, depthwise])
def test_loops_over_windows_read_a_copy_with_a_border(f: Any) -> None:
    specs = {"x": gg.spec(2, 8, 20, 20, requires_grad=True)}
    if f is depthwise:
        specs["w"] = gg.spec(8, 1, 3, 3, requires_grad=True)
    for p in programs(stages(gg.trace(f, **specs).graph, Options())):
        found = [e for s in p.walk() for e in loads(s)]
        guarded = [e for e in found if e.guard]
        assert all(e.fill is NEGATIVE_ZERO for e in guarded), "only weights, in the nest for those that are not finite"
        assert all(any(f.buffer is e.buffer and not f.guard for f in found) for e in guarded), "there is another nest"
        assert not any(isinstance(s, Loop) and s.simd and s.stop == 3 for s in p.walk()), "the window is not innermost"


def loads(s: Statement) -> list[Load]:
    return [e for root in expressions(s) for e in subexpressions((root,)) if isinstance(e, Load)]


def test_windows_are_copied_without_a_test_per_element() -> None:
    assert not any(isinstance(s, Store) and isinstance(s.value, Load) and s.value.guard for s in convolution(32).walk())


def copy(start: int, stop: int, *guard: tuple[int, int]) -> tuple[Statement, ...]:
    """`to[n] = from[n]` under guards `slope * n + rest >= 0`, elsewhere 7."""
    n = CVar("n", integer=True, nonnegative=True)
    source, target = (Buffer(name, gg.float32, (64,), WORK) for name in ("from", "to"))
    conditions = tuple(Condition("ge", a * n + b) for a, b in guard)

    value = Load(gg.float32, source, n, conditions, sympy.Integer(7))
    return (Loop(n, start, stop, (Store(target, n, value),), simd=True),)


def run(statements: tuple[Statement, ...]) -> dict[int, float]:
    """What is stored where by loops over plain and guarded copies: the element's own number, or the fill."""
    found: dict[int, float] = {}
    for s in statements:
        assert isinstance(s, Loop)
        for k in range(int(s.start), int(s.stop)):
            for store in s.body:
                assert isinstance(store, Store)
                at = int(store.index.subs(s.variable, k))
                assert at not in found
                value = store.value
                if isinstance(value, Literal):
                    found[at] = float(value.value)
                    continue
                assert isinstance(value, Load)
                held = all(int(c.expr.subs(s.variable, k)) >= 0 for c in value.guard)
                found[at] = float(value.index.subs(s.variable, k)) if held else float(value.fill)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_peeled_loops_store_the_same_elements(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guards = [(int(rng.choice([-3, -2, -1, 1, 2, 3])), int(rng.integers(-40, 60))) for _ in range(rng.integers(1, 3))]
    start = int(rng.integers(0, 4))
    plain = copy(start, start + int(rng.integers(4, 30)), *guards)
    peeled = peel(plain)
    assert run(peeled) == run(plain)
    assert not any(isinstance(s.value, Load) and s.value.guard for loop in peeled for s in loop.body)  # type: ignore


def test_without_the_pass_guards_stay() -> None:
    made = stages(gg.trace(lambda x: gg.nn.functional.pad(x, (1, 1)), x=gg.spec(3, 30)).graph, Options())
    passes = tuple(p for p in PASSES if p != "peel")
    kept = schedule(made.procedures[0], ScheduleOptions(passes=passes))
    gone = schedule(made.procedures[0])
    assert any(isinstance(s, Store) and isinstance(s.value, Load) and s.value.guard for s in kept.walk())
    assert not any(isinstance(s, Store) and isinstance(s.value, Load) and s.value.guard for s in gone.walk())


def test_a_convolution_inside_of_a_recurrence_is_a_product() -> None:
    def f(w: Any, x: Any, h: Any) -> Any:
        return gg.scan(lambda h, row: (gg.tanh(gg.nn.functional.conv2d(row, w, padding=1) + h), 0.0 * h.sum()), h, x)[0].sum()

    w = gg.spec(8, 3, 3, 3, requires_grad=True)
    traced = gg.trace(f, w=w, x=gg.spec(5, 4, 3, 16, 16), h=gg.spec(4, 8, 16, 16))
    for p in programs(stages(traced.graph, Options())):
        loops = [s for s in p.statements if isinstance(s, Loop) and any(isinstance(t, Copy) for t in s.body)]
        assert loops and all(products((s,)) for s in loops), p.describe()
