"""Every access of every program here is proved to be inside its memory for all sizes; faults at open sizes are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import Stages, schedule_options, stages
from gradgen.ir.dtypes import int64
from gradgen.loops.draft import Draft
from gradgen.loops.proofs import unproved
from gradgen.loops.statements import CVar, Index, Let, Statement, Variable
from gradgen.options import Options
from gradgen.passes import observed, unobserved
from gradgen.schedule import saved_layout, schedule, threads
from tests.sweep import generated
from tests.sweep.programs import CASES

lanes = sys.modules["gradgen.schedule.lanes"]  # the package has a function of this name
WHOLE = [n for n in CASES if not n.startswith(("golden_", "cum", "logcumsumexp"))]


def open_accesses(made: Stages) -> list[str]:
    """What is unproved behind the last pass that makes statements."""
    found: list[str] = []

    def look(one: Any, before: Any, after: Any) -> None:
        if one.name == "kernels" and isinstance(after, Draft):
            found.extend(unproved(after))

    layout = saved_layout(made.procedures)
    with unobserved(), observed(look):
        for p in made.procedures:
            schedule(p, schedule_options(made.options), layout)
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_programs(name: str) -> None:
    found = open_accesses(CASES[name].program.stages)
    assert not found, "\n".join(found)


def test_random_gradients() -> None:
    found = [line for seed in range(400, 420) for line in open_accesses(generated.differentiable(seed).stages)]
    assert not found, "\n".join(found)


def pendulum(x: Any) -> Any:
    for _ in range(4):
        x = x + 0.1 * gg.stack([x[:, 1], -x[:, 0].sin()], 1)
    return (x * x).sum(1).exp()


def network(x: Any, w: Any, v: Any) -> Any:
    return ((x @ w).tanh() @ v).exp().sum()


def spec(*shape: Any) -> Any:
    return gg.spec(*shape, dtype=gg.float64, requires_grad=True)


def first(a: Any, *rest: Any) -> Any:
    """A minimum that is its first argument: blocks that are all of one length."""
    return sympy.sympify(a)


def whole_last_blocks(patch: pytest.MonkeyPatch) -> None:
    """The lanes of the last block went on behind the last item."""
    patch.setattr(lanes, "least", first)


def whole_last_strips(patch: pytest.MonkeyPatch) -> None:
    """The last strip was as long as the others."""
    patch.setattr(sys.modules["gradgen.schedule.emit"], "least", first)


def pieces_of_one_length(patch: pytest.MonkeyPatch) -> None:
    """The last of several chunks was as long as the others."""

    def piece(self: Any, total: Any, chunks: Any, c: CVar, body: list[Statement]) -> Any:
        first = self.index_name("first")
        body.append(Let(Variable(int64, first.name), Index(int64, c * chunks.per)))
        return first, chunks.per

    patch.setattr(threads.Threads, "piece", piece)


def conditions_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What the dimensions must satisfy was not told."""
    patch.setattr("gradgen.loops.proofs.facts_of", lambda conditions: ())


FAULTS: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[..., Any], dict[str, Any], dict[str, Any]]] = [
    (whole_last_blocks, pendulum, {"x": spec("N", 2)}, {}),
    (whole_last_strips, network, {"x": spec("N", 20), "w": spec(20, 70), "v": spec(70, 9)}, {}),
    (pieces_of_one_length, lambda x, w: x @ w, {"x": spec(6000, 2000), "w": spec(2000, "N")}, {"threads": 2}),
]


@pytest.mark.parametrize("fault, function, specs, options", FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_fault_at_open_sizes_has_no_proof(
    fault: Callable[[pytest.MonkeyPatch], None], function: Callable[..., Any], specs: dict[str, Any], options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = stages(gg.trace(function, **specs).graph, Options(**options))
    assert not open_accesses(made)
    fault(monkeypatch)
    assert open_accesses(made)


def test_conditions_on_dimensions_are_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """x[3] of an open axis is inside because N >= 4 was checked on entry."""
    made = stages(gg.trace(lambda x: x[3] * x[-2], x=spec("N", 5)).graph, Options())
    assert not open_accesses(made)
    conditions_forgotten(monkeypatch)
    assert open_accesses(made)
