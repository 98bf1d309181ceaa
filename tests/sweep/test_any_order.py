"""Results do not depend on the order of passes: over statements, and over nodes.  The verifiers look at every step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gradgen import schedule as scheduling
from gradgen.autodiff import differentiate
from gradgen.ir.graph import topological
from gradgen.ir.nodes import Input
from gradgen.ir.symbols import dim
from gradgen.loops.procedure import Place, Procedure
from gradgen.reference.interpreter import evaluate
from gradgen.schedule import ScheduleOptions
from gradgen.simplify import levels, simplify
from tests.sweep import calls, generated
from tests.sweep.after_passes import Report, check, check_procedures
from tests.sweep.programs import CASES

STATEMENTS = [
    "convolution", "borders", "recurrent_network", "two_layers", "mixture", "gather_and_scatter", "attention",
    "a_table_that_one_of_two_wants", "many_rotations", "scan_with_cumsum_inside",
]  # fmt: skip
"""Programs in which many passes find something to do."""

GRAPHS = ["convolution", "borders", "triangles", "recurrent_network", "classifier", "products", "statistics"]


def shuffled(seed: int, right: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The passes over statements in another order, those that need addresses last."""

    def passes(*given: Any) -> Iterator[Any]:
        found = list(right(*given))
        free = next(k for k, one in enumerate(found) if one.name == "kernels")
        first = found[:free]
        random.Random(seed).shuffle(first)
        yield from (*first, *found[free:])

    return passes


@pytest.mark.parametrize("seed, name", enumerate(STATEMENTS), ids=str)
def test_passes_over_statements(seed: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "statement_passes", shuffled(seed, scheduling.statement_passes))
    report = Report()
    check(CASES[name].program, report, 3)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


def test_random_procedures_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    report, right = Report(), scheduling.statement_passes
    for seed in range(300, 312):
        monkeypatch.setattr(scheduling, "statement_passes", shuffled(seed, right))
        program, procedure = generated.plain(seed)
        check_procedures(program, (procedure,), ScheduleOptions(threads=seed % 3), report, 3)
    assert report.runs and not report.wrong, "\n".join(report.wrong)


@pytest.mark.parametrize("level", ["safe", "fast"])
@pytest.mark.parametrize("name", GRAPHS)
def test_passes_over_nodes(name: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = CASES[name].program
    graph = program.graph
    wanted = tuple(n for n in graph.inputs if n.requires_grad)
    gradients = differentiate(graph, wanted).gradients if wanted else ()
    nodes = [*graph.outputs, *(g for g in gradients if g is not None)]
    inputs = [n for n in topological(nodes) if isinstance(n, Input)]
    dims = next(d for d in calls.assignments(program.dims(), (5, 3)) if program.fits(d))
    values = calls.values_of(program, Procedure("run", (), {n: Place(n.name) for n in inputs}), dims)
    given, sizes = {n: values[n.name] for n in inputs}, {dim(d): n for d, n in dims.items()}
    want = evaluate(nodes, given, sizes)
    for seed in range(3):
        order = list(levels.LEVELS[level])
        random.Random(seed).shuffle(order)
        monkeypatch.setitem(levels.LEVELS, level, tuple(order))
        made = simplify(nodes, level=level)
        got = evaluate([made[n] for n in nodes], given, sizes)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == b.dtype and np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True), order
