"""Loads in front of a choice: no load under a mask where the memory is there anyway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.pipeline import programs, stages
from gradgen.loops.statements import Apply, Holds, Load, Present, SetFlag
from gradgen.loops.walk import expressions, subexpressions
from gradgen.options import Options


def rows_of_three(x: Any, g: Any) -> Any:
    return (gg.where(x < 0, 0.0, g.reshape(3, 3, 2, 3).sum(2)) ** 2).sum()


def two_places(x: Any, g: Any) -> Any:
    return (gg.where(x < 0, 0.0, gg.where(x > 1, g[:, :4], g[:, 4:])) ** 2).sum()


def backwards(x: Any, g: Any) -> Any:
    return (gg.where(x < 0, 0.0, g.flip(1)) ** 2).sum()


def shifted(x: Any, g: Any) -> Any:
    """A guarded read: the element before the first is not there."""
    return (gg.where(x < 0, 0.0, gg.nn.functional.pad(g, (1, 0))[:, :-1]) ** 2).sum()


CASES: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "rows of three": (rows_of_three, (3, 3, 3), (3, 18)), "two places": (two_places, (18, 4), (18, 8)),
    "backwards": (backwards, (18, 4), (18, 4)), "shifted": (shifted, (18, 40), (18, 40)),
}  # fmt: skip


def traced(name: str) -> Any:
    function, x, g = CASES[name]
    return gg.trace(function, x=gg.spec(*x, dtype=gg.float64), g=gg.spec(*g, dtype=gg.float64, requires_grad=True))


def chosen(program: Any) -> list[Load]:
    """Loads that are read for one outcome of a choice on values only."""
    found = []
    for s in program.walk():
        for e in subexpressions(expressions(s)):
            if isinstance(e, Apply) and e.op == "select":
                tests = subexpressions((e.args[0],))
                if not any(isinstance(c, (Holds, Present, SetFlag)) for c in tests):
                    found += [b for b in subexpressions(e.args[1:]) if isinstance(b, Load)]
    return found


@pytest.mark.parametrize("name", CASES)
def test_what_is_there_is_read_before(name: str) -> None:
    for program in programs(stages(traced(name).graph, Options())):
        for load in chosen(program):
            assert load.guard or (load.buffer.place is not None and load.buffer.place.optional)


@pytest.mark.parametrize("name", CASES)
def test_values(name: str, tmp_path: Path) -> None:
    """As compiled for this machine; hand-written C of these shapes is wrong with gcc 12 and AVX."""
    function, *shapes = CASES[name]
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=s) for s in shapes)
    module = gg.build(traced(name), name="chosen", out=tmp_path)
    given = gg.from_numpy(g.copy()).requires_grad_()
    expected = function(gg.from_numpy(x), given)
    expected.backward()
    value, (gradient,) = module.value_and_grad(x, g)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-13)
