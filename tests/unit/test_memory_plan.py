"""Addresses in WORK: what one statement touches lies apart, and inside the block, at every size of the dimensions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import pytest
import sympy

import gradgen as gg
import gradgen.nn.functional as F
from gradgen.compiler.pipeline import programs, stages
from gradgen.loops.program import Program
from gradgen.loops.statements import WORK, Buffer, If, Loop
from gradgen.loops.walk import statements_in, touched
from gradgen.options import Options
from gradgen.schedule.memory import ENDS, lifetimes


def weight(*shape: Any) -> Any:
    return gg.spec(*shape, requires_grad=True)


def network(x: Any, a: Any, b: Any, t: Any) -> Any:
    return F.cross_entropy((x @ a).tanh().softmax(1) @ b, t)


def images(x: Any, w: Any, v: Any) -> Any:
    h = F.max_pool2d(F.relu(F.conv2d(x, w, padding=1)), 2)
    return F.conv2d(h, v).square().mean() + h.cumsum(0).sum()


def attention(x: Any, q: Any, k: Any) -> Any:
    a = ((x @ q) @ (x @ k).T).softmax(1)
    return (a @ x).std() + a.amax(0).sum()


WEIGHTS = {"a": weight(20, 30), "b": weight(30, 7)}
MODELS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "network of fixed size": (network, {"x": gg.spec(6, 20), **WEIGHTS, "t": gg.spec(6, dtype=gg.int64)}),
    "network": (network, {"x": gg.spec("N", 20), **WEIGHTS, "t": gg.spec("N", dtype=gg.int64)}),
    "images": (images, {"x": gg.spec(3, 2, 8, 8), "w": weight(4, 2, 3, 3), "v": weight(5, 4, 2, 2)}),
    "attention of fixed size": (attention, {"x": weight(9, 8), "q": weight(8, 8), "k": weight(8, 8)}),
    "attention": (attention, {"x": weight("N", 8), "q": weight(8, 8), "k": weight(8, 8)}),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_statement_touches_lies_apart(name: str) -> None:
    function, specs = MODELS[name]
    pairs = 0
    for program in programs(stages(gg.trace(function, name="model", **specs).graph, Options())):
        for n in (1, 2, 7, 300):
            for s in statements_in(program.statements):
                if isinstance(s, (Loop, If)):
                    continue
                places = {b: _range(program, b, n) for b in touched(s) if b.space == WORK and b.place is None}
                assert all(first >= 0 and last <= _number(program.layout.work, n) for first, last in places.values())
                ordered = sorted(places.values())
                for (_, last), (first, _) in pairwise(ordered):
                    assert last <= first, f"{s} touches two arrays at one place: {places}"
                    pairs += 1
    assert pairs


@pytest.mark.parametrize("ends", [ENDS, 0])
@pytest.mark.parametrize("name", MODELS)
def test_what_lives_at_one_time_lies_apart(name: str, ends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At heights, and (0) in slots, which are used again where they are large enough."""
    monkeypatch.setattr("gradgen.schedule.memory.ENDS", ends)
    function, specs = MODELS[name]
    for program in programs(stages(gg.trace(function, name="model", **specs).graph, Options())):
        life = {b: found for b, found in lifetimes(program.statements).items() if b.space == WORK and b.place is None}
        for n in (1, 2, 7, 300):
            places = {b: _range(program, b, n) for b in life}
            for a, b in combinations(life, 2):
                if life[a][0] <= life[b][1] and life[b][0] <= life[a][1]:
                    assert places[a][1] <= places[b][0] or places[b][1] <= places[a][0], f"{a.name} and {b.name}: {places}"


def _range(program: Program, buffer: Buffer, n: int) -> tuple[int, int]:
    first = _number(program.layout.offsets[buffer], n)
    return first, first + _number(buffer.size, n) * buffer.dtype.itemsize


def _number(extent: Any, n: int) -> int:
    e = sympy.sympify(extent)
    return int(e.subs({s: n for s in e.free_symbols}))
