"""A transformer's layer written in steps schedules as one of composite operations does: the same products in the kernel."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from benchmarks.cases.attention import IN_STEPS, WEIGHTS, Attention, composite, layer, layer_shapes, linear_in_steps
from benchmarks.peers import bound
from gradgen.compiler.pipeline import stages
from gradgen.options import Options
from gradgen.schedule.allowed import ScheduleOptions
from gradgen.schedule.emit_plan import planned
from gradgen.schedule.inline import is_product
from gradgen.schedule.preparation import prepared


def products(attention: Attention, linear: Any, n: Any) -> Counter:
    """The multiplications of every product of value_and_grad, and whether it is a call of the matrix kernel."""
    shapes = layer_shapes(n, 32, 64)
    specs = {name: gg.spec(*shape, requires_grad=name in WEIGHTS) for name, shape in shapes.items()}
    made = stages(gg.trace(bound(layer(attention, linear), gg, list(shapes)), **specs).graph, Options())
    options = ScheduleOptions()
    plan = planned(prepared(next(p for p in made.procedures if p.name == "value_and_grad"), options), options)
    return Counter((str(math.prod(op.extents)), op in plan.contractions) for op in plan.ops if is_product(op.node))


@cache
def of_composite(n: Any) -> Counter:
    return products(composite, None, n)


@pytest.mark.parametrize("name", IN_STEPS)
@pytest.mark.parametrize("n", [2, "N"])
def test_the_same_products(n: Any, name: str) -> None:
    assert products(IN_STEPS[name], linear_in_steps, n) == of_composite(n)


def test_heads_of_many_columns(tmp_path: Path) -> None:
    """The products of heads are added up in strips of columns: each strip is cleared, and nothing beside it."""
    heads, width, out, rows = 3, 8, 800, 5

    def project(x: gg.Tensor, w: gg.Tensor) -> gg.Tensor:
        return gg.einsum("hrk,ohk->ro", x, w)

    rng = np.random.default_rng(0)
    x = rng.standard_normal((heads, rows, width)).astype(np.float32)
    w = rng.standard_normal((out, heads, width)).astype(np.float32)
    built = gg.build(gg.trace(project, x=gg.spec(*x.shape), w=gg.spec(*w.shape)), name="heads", out=tmp_path)
    expected = np.einsum("hrk,ohk->ro", x.astype(np.float64), w)
    assert np.abs(built.forward(x, w) - expected).max() < 1e-5 * np.abs(expected).max()
