"""Two loops over one stretch of memory become one."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import programs, stages
from gradgen.loops.program import Program
from gradgen.loops.statements import (
    WORK,
    Apply,
    Buffer,
    CVar,
    Declare,
    Literal,
    Load,
    Loop,
    PairwiseAdd,
    Statement,
    Store,
    Variable,
)
from gradgen.options import Options
from gradgen.schedule.flatten import flatten

K, L = (CVar(name, integer=True, nonnegative=True) for name in "kl")
FROM, TO = (Buffer(name, gg.float32, (4096,), WORK) for name in ("from", "to"))


def rows(read: Any, write: Any, extent: int = 28, simd: bool = True) -> tuple[Statement, ...]:
    value = Apply(gg.float32, "mul", (Load(gg.float32, FROM, sympy.sympify(read)), Variable(gg.float32, "t")))
    inner = Loop(L, 0, extent, (Store(TO, sympy.sympify(write), value),), simd=simd)
    return (Loop(K, 0, 10, (inner,)),)


def stored(statements: tuple[Statement, ...]) -> dict[int, int]:
    """Which element goes where."""
    (loop,) = statements
    assert isinstance(loop, Loop)
    found = {}
    for k in range(int(loop.stop)):
        inner = loop.body[0]
        steps = range(int(inner.stop)) if isinstance(inner, Loop) else [0]
        store = inner.body[0] if isinstance(inner, Loop) else inner
        assert isinstance(store, Store) and isinstance(store.value, Apply)
        load = store.value.args[0]
        assert isinstance(load, Load)
        for j in steps:
            at = {loop.variable: k} | ({inner.variable: j} if isinstance(inner, Loop) else {})
            found[int(store.index.subs(at))] = int(load.index.subs(at))
    return found


ONE = [(28 * K + L, 28 * K + L + 5), (56 * K + 2 * L + 1, 28 * K + L), (7, 28 * K + L)]
APART = [(30 * K + L, 28 * K + L), (28 * K + L, 29 * K + L), (K, 28 * K + L), (L, 28 * K + L), (28 * K - L, 28 * K + L)]


@pytest.mark.parametrize(("read", "write"), ONE)
def test_one_stretch_is_one_loop(read: Any, write: Any) -> None:
    plain = rows(read, write)
    made = flatten(plain)
    assert isinstance(made[0], Loop) and made[0].stop == 280 and made[0].simd
    assert stored(made) == stored(plain)


@pytest.mark.parametrize(("read", "write"), APART)
def test_rows_apart_stay_two_loops(read: Any, write: Any) -> None:
    plain = rows(read, write)
    made = flatten(plain)
    assert isinstance(made[0], Loop) and made[0].stop == 10
    assert stored(made) == stored(plain)


def test_a_scalar_loop_is_left_alone() -> None:
    made = flatten(rows(28 * K + L, 28 * K + L, simd=False))
    assert isinstance(made[0], Loop) and made[0].stop == 10


@pytest.mark.parametrize(("extent", "one"), [(28, True), (200, False)])
def test_sums_of_rows_become_one_partial_sum_if_it_stays_short(extent: int, one: bool) -> None:
    part, total = Variable(gg.float32, "s"), Variable(gg.float32, "total")
    add = Store(TO, L + extent * K, Load(gg.float32, FROM, L + extent * K))
    inner = Loop(L, 0, extent, (add,), simd=True, reductions=(("+", "s"),))
    zero = Declare(part, Literal(gg.float32, sympy.S.Zero))
    nest = (Loop(K, 0, 10, (zero, inner, PairwiseAdd(total, part))),)
    made = flatten(nest)
    assert len(made) == (3 if one else 1)


def test_images_are_summed_as_a_whole() -> None:
    made = stages(gg.trace(lambda x: x.sum((2, 3)), x=gg.spec(4, 3, 28, 28)).graph, Options())
    (forward,) = programs(made)
    assert isinstance(forward, Program)
    assert any(isinstance(s, Loop) and s.simd and s.stop == 784 for s in forward.walk())
