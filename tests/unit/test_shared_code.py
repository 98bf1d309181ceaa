"""Eager code that shapes share reads inside its tensors at every one of them: positions are arguments as extents are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.ir.generalise import Generalised, generalise
from gradgen.ir.graph import topological
from gradgen.ir.inequalities import proves
from gradgen.ir.reach import obligations
from gradgen.reference.interpreter import evaluate
from gradgen.simplify import simplify

F = gg.nn.functional

BORDERS: dict[str, list[tuple[Callable[..., Any], list[tuple[int, ...]]]]] = {
    "last": [(lambda x: x[4] * 2, [(5,)]), (lambda x: x[6] * 2, [(7,)]), (lambda x: x[4] * 2, [(9,)])],
    "from the end": [(lambda x: x[-5] * 2, [(5,)]), (lambda x: x[-7] * 2, [(7,)])],
    "narrow": [(lambda x: x.narrow(0, 3, 4).exp(), [(7,)]), (lambda x: x.narrow(0, 5, 6).exp(), [(11,)])],
    "column": [(lambda x: x[:, 3].sum(), [(6, 4)]), (lambda x: x[:, 6].sum(), [(5, 7)])],
    "window": [(lambda x, w: F.conv1d(x, w), [(1, 1, 5), (1, 1, 5)]), (lambda x, w: F.conv1d(x, w), [(1, 1, 8), (1, 1, 8)])],
    "inner window": [(lambda x, w: F.conv1d(x, w), [(1, 1, 6), (1, 1, 4)]),
                     (lambda x, w: F.conv1d(x, w), [(1, 1, 9), (1, 1, 7)])],
    "pool": [(lambda x: F.max_pool1d(x, 4), [(1, 1, 4)]), (lambda x: F.max_pool1d(x, 7), [(1, 1, 7)])],
    "reshape": [(lambda x: x.reshape(3, 5)[2, 4] + 1, [(15,)]), (lambda x: x.reshape(4, 7)[3, 6] + 1, [(28,)])],
}


def _lifted(function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> tuple[list[Any], Generalised]:
    graph = gg.trace(function, *(gg.spec(*s, dtype=gg.float64) for s in shapes), check=False).graph
    plain = simplify(graph.outputs, level="eager", keep=graph.inputs)  # as the runner does
    found = generalise([plain[n] for n in graph.outputs], graph.inputs)
    assert found is not None
    return [found.nodes[plain[n]] for n in graph.outputs], found


@pytest.mark.parametrize("name", BORDERS)
def test_lifted_graphs_stay_inside(name: str) -> None:
    for function, shapes in BORDERS[name]:
        outputs, lifted = _lifted(function, shapes)
        facts = [e for value, d in lifted.numbers.items() for e in (d - value, value - d)]
        asked = list(obligations(topological(outputs)))
        assert all(proves((*facts, *o.assumed), o.goal) for o in asked), name


def test_shapes_of_one_structure_share_code() -> None:
    """What the test above is about: equal nodes, other values."""
    (first,), a = _lifted(*BORDERS["last"][0])
    (second,), b = _lifted(*BORDERS["last"][1])
    assert first is second and a.values == (5, 4) and b.values == (7, 6)


def test_a_position_beyond_the_extent_would_be_noticed() -> None:
    (output,), lifted = _lifted(*BORDERS["last"][0])
    wrong = [e for value, d in zip((5, 5), lifted.numbers.values()) for e in (d - value, sympy.Integer(value) - d)]
    assert not all(proves((*wrong, *o.assumed), o.goal) for o in obligations(topological([output])))


@pytest.mark.parametrize("name", ["last", "narrow", "reshape"])
def test_values_at_the_border(name: str) -> None:
    for function, shapes in BORDERS[name]:
        arrays = [np.arange(1.0, 1.0 + int(np.prod(s))).reshape(s) for s in shapes]
        (found,) = [function(*map(gg.tensor, arrays))]
        graph = gg.trace(function, *(gg.spec(*s, dtype=gg.float64) for s in shapes), check=False).graph
        (expected,) = evaluate(graph.outputs, dict(zip(graph.inputs, arrays)))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
