"""Recurrences on a few numbers: their loop touches no memory but the rows it reads and stacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.pipeline import programs, stages
from gradgen.loops.statements import WORK, Copy, Loop, Pointer, Store
from gradgen.options import Options
from gradgen.schedule import PASSES, Program, ScheduleOptions, schedule


def spring(y, p, h):
    """Damped oscillation by the midpoint rule, both states and a running product of the first."""

    def step(carry, dt):
        y, grown = carry
        slope = gg.stack([y[1], -p[0] * gg.sin(y[0]) - p[1] * y[1]])
        middle = y + 0.5 * dt * slope
        y = y + dt * gg.stack([middle[1], -p[0] * gg.sin(middle[0]) - p[1] * middle[1]])
        return (y, grown * (1 + dt * y[0])), y

    (y, grown), path = gg.scan(step, (y, gg.ones((), dtype=gg.float64)), h)
    return (y * y).sum() + grown + (path * path).mean()


SPECS: dict[str, Any] = {
    "y": gg.spec(2, dtype=gg.float64, requires_grad=True), "p": gg.spec(2, dtype=gg.float64, requires_grad=True),
    "h": gg.spec(50, dtype=gg.float64, requires_grad=True),
}  # fmt: skip


def recurrences(p: Program) -> list[Loop]:
    """The loops that take rows of what they scan."""
    return [s for s in p.walk() if isinstance(s, Loop) and any(isinstance(t, Pointer) for t in s.body)]


def test_carries_live_in_locals() -> None:
    made = stages(gg.trace(spring, **SPECS).graph, Options())
    scheduled = programs(made)
    assert all(recurrences(p) for p in scheduled)
    for p in scheduled:
        for loop in recurrences(p):
            inside = list(Program("", (), loop.body).walk())
            assert not any(isinstance(s, (Loop, Copy)) for s in inside)
            assert not any(isinstance(s, Store) and s.buffer.space == WORK and s.index.is_Integer for s in inside)


def test_without_the_pass_they_live_in_memory() -> None:
    made = stages(gg.trace(spring, **SPECS).graph, Options())
    options = ScheduleOptions(passes=tuple(p for p in PASSES if p != "registers"))
    assert any(isinstance(s, Copy) for p in made.procedures for loop in recurrences(schedule(p, options))
               for s in Program("", (), loop.body).walk())


def test_values_and_gradients_are_those_of_the_plain_loop(tmp_path) -> None:
    rng = np.random.default_rng(0)
    y, p, h = rng.normal(size=2), np.array([9.8, 0.2]), rng.uniform(0.01, 0.02, 50)
    module = gg.build(gg.trace(spring, **SPECS), name="spring", out=tmp_path)
    value, gradients = module.value_and_grad(y, p, h)
    given = [gg.tensor(a, requires_grad=True) for a in (y, p, h)]
    state, grown, total = given[0], gg.ones((), dtype=gg.float64), gg.zeros((), dtype=gg.float64)
    for k in range(50):
        dt = given[2][k]

        def slope(s):
            return gg.stack([s[1], -given[1][0] * gg.sin(s[0]) - given[1][1] * s[1]])

        state = state + dt * slope(state + 0.5 * dt * slope(state))
        grown = grown * (1 + dt * state[0])
        total = total + (state * state).sum()
    loss = (state * state).sum() + grown + total / 100
    loss.backward()
    assert float(value) == pytest.approx(float(loss), rel=1e-12)
    for found, expected in zip(gradients, given, strict=True):  # 50 steps of about 20 roundings each
        np.testing.assert_allclose(found, np.asarray(expected.grad), rtol=1e-11, atol=1e-13)
