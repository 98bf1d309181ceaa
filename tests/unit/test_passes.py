"""Passes in a fold: everybody who wants to may look at every step, and the verifiers do."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.compiler.verification import check
from gradgen.ir import Compute, Input, Node, map_node, placeholder
from gradgen.ir.dtypes import float64
from gradgen.ir.functions import sin
from gradgen.ir.verify import GraphError
from gradgen.loops.draft import Draft
from gradgen.loops.procedure import Procedure
from gradgen.loops.statements import WORK
from gradgen.options import Options
from gradgen.passes import Pass, fold, observed, unobserved
from gradgen.schedule import NO_PASSES, Output, Place, ScheduleOptions, schedule
from gradgen.simplify import levels, simplify

PLUS: Pass[int] = Pass("plus", "one more", "none", lambda k: k + 1)
TWICE: Pass[int] = Pass("twice", "two times as much", "fast", lambda k: 2 * k)
x = Input("x", (4, 6), float64)


def steps(procedure: Procedure, options: ScheduleOptions | None = None) -> list[tuple[str, Any]]:
    seen: list[tuple[str, Any]] = []
    with observed(lambda one, before, after: seen.append((one.name, after))):
        program = schedule(procedure, options)
    last = seen[-1][1]
    assert (program.statements, program.buffers, program.layout) == (last.statements, last.buffers, last.layout)
    return seen


def test_a_fold_shows_every_step() -> None:
    seen: list[tuple[str, int, int]] = []
    with observed(lambda one, before, after: seen.append((one.name, before, after))):
        assert fold([PLUS, TWICE, PLUS], 1) == 5
    assert seen == [("plus", 1, 2), ("twice", 2, 4), ("plus", 4, 5)]
    assert fold([PLUS], 1) == 2
    assert len(seen) == 3


def test_observers_may_be_sent_out() -> None:
    with observed(lambda one, before, after: 1 / 0), unobserved():
        seen: list[int] = []
        with observed(lambda one, before, after: seen.append(after)):
            assert fold([PLUS], 1) == 2
        assert fold([PLUS], 2) == 3
        assert seen == [2]


def test_observers_leave_in_any_case() -> None:
    with pytest.raises(ZeroDivisionError), observed(lambda one, before, after: 1 / 0):
        fold([PLUS], 1)
    assert fold([PLUS], 1) == 2


def test_every_step_of_scheduling_is_seen() -> None:
    traced = gg.trace(lambda w: w.cumsum(0).exp().sum(), w=gg.spec("N", 3, requires_grad=True))
    for procedure in stages(traced.graph, Options()).procedures:
        seen = steps(procedure)
        inside = [name for name, state in seen if isinstance(state, Procedure) and state.name == "step"]
        assert inside and inside == ["packing", "sharing", "pairs", "digits", "unfold"] * (len(inside) // 5)
        names = [name for name, state in seen if not (isinstance(state, Procedure) and state.name == "step")]
        assert names == [
            "packing", "sharing", "pairs", "digits", "unfold",
            "emit", "stretches", "straight", "unroll", "registers", "peel", "conditions", "reciprocals",
            "lanes", "flatten", "loads", "states", "merge", "kernels", "outline", "names", "functions", "memory",
        ]  # fmt: skip
        drafts = [state for _, state in seen if isinstance(state, Draft)]
        assert all(d.procedure is procedure for d in drafts)
        assert [d.layout is None for d in drafts] == [True] * (len(drafts) - 1) + [False]
        assert {b for b in drafts[-4].buffers if b.space == WORK} <= set(drafts[0].buffers)
    names = [name for name, _ in steps(procedure, NO_PASSES)]
    assert names == ["emit", "conditions", "states", "kernels", "names", "functions", "memory"]
    assert "threads" in [name for name, _ in steps(procedure, ScheduleOptions(threads=2))]


def broken(node: Node) -> Node:
    return Compute(node.shape, placeholder(3), node.reads, node.dtype) if isinstance(node, Compute) else node


def test_a_graph_that_a_pass_breaks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(levels.PASSES, "inline_views", Pass("inline_views", "broken on purpose", "safe", broken))
    with pytest.raises(GraphError, match="body: the body mentions a3") as error:
        simplify([map_node(sin(placeholder(0)), [x], float64)])
    assert "inline_views" in error.value.__notes__[0]


def test_a_procedure_that_a_pass_breaks_is_named() -> None:
    p = Procedure("run", (Output(map_node(sin(placeholder(0)), [x], float64), Place("y")),), {x: Place("x")})
    bad = Procedure("run", tuple(Output(broken(o.node), o.place) for o in p.outputs), p.given)
    with pytest.raises(GraphError) as error, observed(check):
        fold([Pass("break", "on purpose", "none", lambda _: bad)], p)
    assert "'break'" in error.value.__notes__[0]


def test_a_constant_may_be_the_logarithm_of_a_number() -> None:
    x = Input("x", (3,), float64)
    with observed(check):
        simplify([map_node(sin(placeholder(0)) / sympy.log(2), [x], float64)])
