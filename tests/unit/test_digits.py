"""Axes that are read by quotient and remainder are split; values stay what they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.ir.graph import topological_until
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Node
from gradgen.loops.procedure import Procedure
from gradgen.options import Options
from gradgen.reference.interpreter import evaluate
from gradgen.schedule import PASSES, ScheduleOptions, schedule
from gradgen.schedule.digits import split_digits
from tests.products import given
from tests.products import products as called_products

# transposed, channels in and out, side, kernel, options
CONVOLUTIONS: list[tuple[bool, int, int, int, int, dict[str, int]]] = [
    (False, 3, 4, 9, 3, {"stride": 2, "padding": 1}),
    (False, 3, 4, 10, 3, {"stride": 2, "padding": 1}),
    (False, 2, 3, 11, 7, {"stride": 2, "padding": 3}),
    (False, 2, 2, 12, 5, {"stride": 3, "padding": 2}),
    (False, 2, 2, 12, 4, {"stride": 4}),
    (False, 2, 2, 13, 3, {"stride": 2, "padding": 2, "dilation": 2}),
    (False, 2, 2, 13, 3, {"stride": 2, "padding": 3, "dilation": 3}),
    (False, 2, 2, 8, 1, {"stride": 2}),
    (False, 6, 4, 7, 3, {"padding": 1, "groups": 2}),
    (False, 4, 8, 8, 3, {"stride": 2, "padding": 1, "groups": 4}),
    (False, 4, 4, 8, 3, {"stride": 2, "padding": 1, "groups": 4}),
    (True, 3, 4, 5, 2, {"stride": 2}),
    (True, 3, 4, 5, 4, {"stride": 2, "padding": 1}),
    (True, 2, 3, 5, 3, {"stride": 2, "padding": 1, "output_padding": 1}),
    (True, 2, 2, 4, 3, {"stride": 3, "output_padding": 2}),
    (True, 2, 2, 4, 3, {"stride": 2, "dilation": 2, "padding": 1}),
    (True, 2, 2, 4, 3, {"stride": 2, "dilation": 3, "padding": 1}),
    (True, 4, 2, 5, 3, {"stride": 2, "padding": 1, "groups": 2}),
]


def procedures(case: tuple[bool, int, int, int, int, dict[str, int]], rank: int = 1) -> tuple[Procedure, ...]:
    transposed, channels, out, side, kernel, options = case
    groups = options.get("groups", 1)
    weight = (channels, out // groups) if transposed else (out, channels // groups)
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"

    def f(x, w):
        return (getattr(gg.nn.functional, name)(x, w, **options) ** 2).sum()

    specs: dict[str, Any] = {
        "x": gg.spec(2, channels, *[side] * rank, requires_grad=True),
        "w": gg.spec(*weight, *[kernel] * rank, requires_grad=True),
    }
    return stages(gg.trace(f, **specs).graph, Options()).procedures


def values(p: Procedure) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    given: dict[Node, np.ndarray] = {n: rng.normal(size=n.shape).astype("float32") for n in p.given}
    return [np.asarray(v) for v in evaluate([o.node for o in p.outputs], given)]


def products(p: Procedure) -> list[Compute]:
    nodes = topological_until(tuple(o.node for o in p.outputs), set(p.given))
    return [n for n in nodes if n not in p.given and isinstance(n, Compute) and n.reducer == "sum" and len(n.reads) == 2]


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_same_values(case: tuple[bool, int, int, int, int, dict[str, int]], rank: int) -> None:
    for p in procedures(case, rank):
        if p.name != "value_and_grad":
            continue
        split = split_digits(p)
        for one, other in zip(values(p), values(split), strict=True):
            # sums of at most a few hundred float32 products in another order
            np.testing.assert_allclose(other, one, rtol=2e-4, atol=2e-4 * float(np.abs(one).max()))


@pytest.mark.parametrize("case", [CONVOLUTIONS[k] for k in (0, 2, 4, 8, 11, 12, 17)], ids=str)
def test_products_read_by_multiples(case: tuple[bool, int, int, int, int, dict[str, int]]) -> None:
    for p in procedures(case, 2):
        for node in products(split_digits(p)):
            for r in node.reads:
                exprs = [*r.index, *(c.expr for c in r.guard)]
                assert not any(e.has(quotient, modulo) for e in exprs), str(r.index)
                assert all(c.kind == "ge" for c in r.guard)


def test_a_strided_gradient_multiplies_by_every_second_weight_only() -> None:
    made = stages_of_stride()
    default = next(schedule(p) for p in made if p.name == "value_and_grad")
    passes = tuple(p for p in PASSES if p != "digits")
    without = next(schedule(p, ScheduleOptions(passes=passes)) for p in made if p.name == "value_and_grad")

    def work(program: Any) -> int:
        return max(math.prod(map(int, given(s, "m", "n", "k"))) for s in called_products(program.statements))  # type: ignore[call-overload]

    assert work(default) * 2 < work(without)


def stages_of_stride() -> tuple[Procedure, ...]:
    return procedures((False, 32, 32, 24, 4, {"stride": 2, "padding": 1}), 2)
