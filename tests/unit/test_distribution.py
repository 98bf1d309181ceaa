"""Loop distribution of recurrences: the same values by other loops, and which loops."""

from __future__ import annotations

import numpy as np
import pytest

import gradgen as gg
from gradgen.compiler.pipeline import stages
from gradgen.ir import Compute, Constant, Input, Node, Read, axes, placeholder, reduce_axes
from gradgen.ir.dtypes import float64, int64
from gradgen.ir.functions import sigmoid, tanh
from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Scan, map_node
from gradgen.options import Options
from gradgen.reference.interpreter import evaluate
from gradgen.simplify.dependence import components
from gradgen.simplify.distribution import distribute_scans
from gradgen.simplify.steps import merge_scans

i0, i1 = axes(2)
(r0,) = reduce_axes(1)
a0, a1 = placeholder(0), placeholder(1)
STEPS, WIDE = 12, 8


def matvec(w: Node, x: Node) -> Compute:
    return Compute((w.shape[0],), a0 * a1, [Read(w, (i0, r0)), Read(x, (r0,))], float64, reduce_shape=(w.shape[1],),
                   reducer="sum")


def outer(x: Node, y: Node) -> Compute:
    return Compute((x.shape[0], y.shape[0]), a0 * a1, [Read(x, (i0,)), Read(y, (i1,))], float64)


def plus(x: Node, y: Node) -> Node:
    return map_node(a0 + a1, (x, y), float64)


def scans(nodes: list[Node]) -> list[Scan]:
    """One for each recurrence."""
    return list({n.call: n for n in topological(nodes) if isinstance(n, Scan)}.values())


def same(nodes: list[Node]) -> list[Node]:
    """The distributed nodes, whose values were compared with those of `nodes`."""
    moved = distribute_scans(nodes)
    new = [moved[n] for n in nodes]
    rng = np.random.default_rng(0)
    given = {n: rng.normal(size=n.shape) / 3 for n in topological([*nodes, *new]) if isinstance(n, Input)}
    for a, b in zip(evaluate(new, given), evaluate(nodes, given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)  # sums of a dozen numbers near 1 in another order
    return new


h, g, x = Input("h", (WIDE,), float64), Input("g", (WIDE,), float64), Input("x", (WIDE,), float64)
w, u, acc = Input("w", (WIDE, WIDE), float64), Input("u", (WIDE, WIDE), float64), Input("acc", (WIDE, WIDE), float64)
H, G, ACC = Input("H", (WIDE,), float64), Input("G", (WIDE,), float64), Input("ACC", (WIDE, WIDE), float64)
X, W, U = Input("X", (STEPS, WIDE), float64), Input("W", (WIDE, WIDE), float64), Input("U", (WIDE, WIDE), float64)


def recurrence(step: Graph, wanted: list[int], reverse: bool = False) -> list[Node]:
    inits = {h: H, g: G, acc: ACC}
    carries = [n for n in step.inputs if n in inits]
    init = [inits[n] for n in carries]
    constants = [{w: W, u: U}[n] for n in step.inputs if n in (w, u)]
    return [Scan(step, init, [X], constants, STEPS, k, reverse) for k in wanted]


def graph(inputs: list[Input], outputs: list[Node]) -> Graph:
    return Graph(tuple(inputs), tuple(outputs), tuple(f"o{k}" for k in range(len(outputs))))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_product_with_the_sequence_runs_before_the_loop(reverse: bool) -> None:
    new = map_node(tanh(a0 + a1), (matvec(w, x), matvec(u, h)), float64)
    made = same(recurrence(graph([h, x, w, u], [new, new]), [0, 1], reverse))
    (loop,) = scans(made)
    assert sum(isinstance(n, Compute) and n.reducer == "sum" for n in loop.step.nodes) == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_what_no_carry_needs_runs_after_the_loop(reverse: bool) -> None:
    new = map_node(tanh(a0 + a1), (h, x), float64)
    (made,) = same(recurrence(graph([h, x, w], [new, matvec(w, map_node(sigmoid(a0), (new,), float64))]), [1], reverse))
    assert isinstance(made, Compute)
    (loop,) = scans([made])
    assert not any(isinstance(n, Compute) and n.reducer == "sum" for n in loop.step.nodes)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_sum_of_outer_products_is_one_product(reverse: bool) -> None:
    new = map_node(tanh(a0 + a1), (h, x), float64)
    total = plus(plus(outer(new, x), acc), outer(h, h))
    made = same(recurrence(graph([h, acc, x], [new, total]), [0, 1], reverse))
    (loop,) = scans(made)
    assert len(loop.init) == 1
    products = [n for n in topological(made) if isinstance(n, Compute) and n.reduce_shape == (STEPS,)]
    assert len(products) == 2


def test_a_sum_that_the_step_reads_stays() -> None:
    total = plus(acc, outer(h, x))
    new = map_node(tanh(a0 + a1), (h, matvec(total, x)), float64)
    (loop,) = scans(same(recurrence(graph([h, acc, x], [new, total]), [0, 1])))
    assert len(loop.init) == 2


def test_two_cycles_with_a_product_between_have_a_loop_each() -> None:
    first = map_node(tanh(a0 + a1), (h, x), float64)
    second = map_node(tanh(a0 + a1), (g, matvec(w, first)), float64)
    made = same(recurrence(graph([h, g, x, w], [first, second]), [0, 1]))
    assert len(scans(made)) == 2
    light = map_node(tanh(a0 + a1), (g, first), float64)
    assert len(scans(same(recurrence(graph([h, g, x], [first, light]), [0, 1])))) == 1


def test_carries_that_nothing_needs_are_dropped() -> None:
    first, second = map_node(tanh(a0 + a1), (h, x), float64), map_node(tanh(a0 + a1), (g, h), float64)
    (made,) = same(recurrence(graph([h, g, x], [first, second]), [0]))
    assert isinstance(made, Scan)
    assert len(made.init) == 1
    assert made.sequences == (X,)


def test_without_a_cycle_there_is_no_loop() -> None:
    number = Input("number", (), int64)
    value = Compute((WIDE,), a0 + a1, [Read(matvec(w, x), (i0,)), Read(number, ())], float64)
    step = graph([h, x, number, w], [x, value])  # the carry is the last slice
    made = same([Scan(step, [H], [X], [W], STEPS, 1, True)])
    assert not scans(made)


def test_equal_names_inside_and_outside_are_told_apart() -> None:
    inner = map_node(tanh(a0 + a1), (h, matvec(w, x)), float64)
    step = graph([h, x, w], [inner])
    turned = map_node(sigmoid(a0), (w,), float64)  # the outer graph has an input that the step has too
    same([Scan(step, [h], [X], [turned], STEPS, 0)])


def test_invariants_leave() -> None:
    table = Constant(np.arange(64.0).reshape(8, 8) / 64)
    fixed = matvec(table, map_node(tanh(a0 + a1), (matvec(w, matvec(u, Constant(np.ones(8)))),) * 2, float64))
    new = map_node(tanh(a0 + a1), (h, map_node(a0 * a1, (x, fixed), float64)), float64)
    made = same(recurrence(graph([h, x, w, u], [new]), [0]))
    assert not any(isinstance(n, Compute) and n.reducer for n in scans(made)[0].step.nodes)


def test_components_come_in_order() -> None:
    found = components([0b0100, 0b0010, 0b0001, 0b0111])
    assert [sorted(c) for c in found] == [[0, 2], [1], [3]]


def random_step(rng: np.random.Generator) -> Graph:
    pool: list[Node] = [h, g, x]
    for _ in range(rng.integers(3, 10)):
        a, b = (pool[k] for k in rng.integers(0, len(pool), 2))
        made = (map_node(tanh(a0 + a1), (a, b), float64), matvec(w, a), plus(a, b), matvec(u, b),
                map_node(sigmoid(a0) * a1, (a, b), float64))
        pool.append(made[rng.integers(0, 5)])
    pick = [pool[k] for k in rng.integers(0, len(pool), 5)]
    total = plus(acc, outer(pick[2], pick[3]))
    return graph([h, g, acc, x, w, u], [map_node(tanh(a0), (pick[0],), float64), map_node(tanh(a0), (pick[1],), float64),
                                        total, pick[4], pool[-1]])


@pytest.mark.parametrize("seed", range(40))
def test_random_recurrences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes = recurrence(random_step(rng), sorted(rng.choice(5, rng.integers(1, 6), replace=False)), bool(seed % 2))
    same(nodes)


def test_merged_recurrences_stack_what_any_of_them_stacks() -> None:
    new = map_node(tanh(a0 + a1), (h, x), float64)
    one = Scan(graph([h, x], [new, h]), [H], [X], [], STEPS, 1)
    two = Scan(graph([h, x], [new, matvec(outer(h, h), x), x]), [H], [X], [], STEPS, 1)
    moved = merge_scans([one, two])
    assert len(scans([moved[one], moved[two]])) == 1
    rng = np.random.default_rng(0)
    given = {H: rng.normal(size=WIDE), X: rng.normal(size=(STEPS, WIDE))}
    for a, b in zip(evaluate([moved[one], moved[two]], given), evaluate([one, two], given)):
        np.testing.assert_array_equal(a, b)


def test_the_gradient_of_weights_is_one_product() -> None:
    def loss(xs, weights, start):
        def step(state, row):
            state = gg.tanh(weights @ state + row)
            return state, state

        return (gg.scan(step, start, xs)[1] ** 2).sum()

    program = gg.trace(loss, gg.spec(50, 16, dtype=gg.float64), gg.spec(16, 16, dtype=gg.float64, requires_grad=True),
                       gg.spec(16, dtype=gg.float64))
    joint = stages(program.graph, Options()).joint
    assert joint is not None
    (gradient,) = joint.gradients
    assert isinstance(gradient, Compute)
    assert gradient.reduce_shape == (50,)
    assert all(n.shape != (16, 16) for s in scans([gradient]) for n in s.step.outputs)
