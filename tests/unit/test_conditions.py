"""What is tested once is not tested again: neighbours under one condition stand in one test, and nothing inside asks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sympy

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.ir.dtypes import bool_, float64, int64
from gradgen.loops.atoms import Conjunction, formula, implies
from gradgen.loops.procedure import Place
from gradgen.loops.statements import (
    ARGUMENT,
    WORK,
    Apply,
    Assign,
    Buffer,
    Comment,
    CVar,
    Declare,
    Expr,
    If,
    Let,
    Literal,
    Load,
    Loop,
    Present,
    Statement,
    Store,
    Variable,
)
from gradgen.loops.walk import alike, blocks, statements_in
from gradgen.options import Options
from gradgen.schedule import ScheduleOptions, schedule
from gradgen.schedule.conditions import merge_conditions
from gradgen.schedule.memory import in_order
from gradgen.target import target_of

i = CVar("i", integer=True, nonnegative=True)
Y, V = Buffer("y", float64, (6,), ARGUMENT, Place("y", optional=True)), Buffer("v", float64, (6,), WORK)
ONE = Literal(float64, sympy.S.One)
there = Present(bool_, Y)
flag = Variable(bool_, "flag")


def store(index: Any, b: Buffer = Y) -> Store:
    return Store(b, index, ONE)


def test_neighbours_in_a_loop_are_one_and_so_are_those_inside() -> None:
    a, b = Present(bool_, Y), Present(bool_, V)
    first, second = If(a, (If(b, (store(0),)),)), If(a, (If(b, (store(1),)),))
    (loop,) = merge_conditions((Loop(i, 0, 6, (first, Comment(("x.py:1 add",)), second)),))
    (outer,) = loop.body  # type: ignore[attr-defined]
    (inner,) = outer.body
    assert [type(s) for s in inner.body] == [Store, Comment, Store]


def test_what_changes_the_condition_ends_its_test() -> None:
    declared = Declare(flag, Literal(bool_, sympy.S.One))
    clears, asks = If(flag, (Assign(flag, Literal(bool_, sympy.S.Zero)),)), If(flag, (store(0),))
    assert len(merge_conditions((declared, clears, asks))) == 3
    assert len(merge_conditions((declared, asks, clears))) == 2


def test_what_stands_under_a_condition_stands_in_order_unless_the_condition_reads() -> None:
    reads = If(Apply(bool_, "lt", (Load(float64, V, i), ONE)), (store(0),))
    here = (Let(Variable(int64, "n"), Literal(int64, sympy.S.Zero)), If(there, (store(0), store(1)), (store(2),)), reads)
    assert [s for s, _ in in_order(here, {})] == [here[0], *here[1].body, *here[1].otherwise, reads]  # type: ignore[union-attr]


def again(block: tuple[Statement, ...], known: Conjunction, values: dict[str, Expr]) -> Iterator[str]:
    """Tests that ask what the tests around them, or the one before, have asked."""
    for s in statements_in(block):
        if isinstance(s, Let):
            values[s.variable.name] = s.value
    for before, s in zip((None, *block), block):
        if isinstance(s, If):
            asked = formula(s.condition, True, values.get)
            if isinstance(before, If) and not before.otherwise and alike(before.condition, s.condition):
                yield f"in a row: {s.condition}"
            if implies(known, asked):
                yield f"known already: {s.condition}"
            yield from again(s.body, (*known, *asked), values)
            yield from again(s.otherwise, known, values)
        else:
            for inner in blocks(s):
                yield from again(inner, known, values)


def spec(*shape: Any) -> Any:
    return gg.spec(*shape, requires_grad=True)


def borders(x: Any) -> Any:
    return gg.cat([x, x.flip(0), x[:2] * 3]), gg.nn.functional.pad(x, (1, 2), value=-1.0)


def normalised(x: Any, w: Any) -> Any:
    return gg.nn.functional.batch_norm(x, None, None, w, None, True)


def layers(x: Any, w: Any, v: Any, t: Any) -> Any:
    scores = (x @ w).relu() @ v
    return scores, gg.nn.functional.cross_entropy(scores, t)


NETWORK = {"x": spec("N", 64), "w": spec(64, 64), "v": spec(64, 10), "t": gg.spec("N", dtype=gg.int64)}


@pytest.mark.parametrize("machine", ["native", "cortex-m4"])
@pytest.mark.parametrize("function, specs", [(borders, {"x": spec(5, "M")}), (normalised, {"x": spec(8, 3, 9), "w": spec(3)}),
                                             (layers, NETWORK)], ids=["borders", "normalised", "layers"])
def test_no_procedure_asks_twice(function: Any, specs: Any, machine: str) -> None:
    found: list[str] = []
    for p in stages(gg.trace(function, **specs).graph, Options(target=machine)).procedures:
        program = schedule(p, ScheduleOptions(target=target_of(machine), size=machine == "cortex-m4"))
        for block in (program.statements, *(f.body for f in program.nests)):
            found += again(block, (), {})
    assert not found, found
