"""Every pass: what it does to a graph, and that values stay the same."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from gradgen.autodiff.jacobian import unit_seeds
from gradgen.ir import Compute, Condition, Constant, Input, Node, Read, axes, dim, map_node, placeholder, reduce_axes
from gradgen.ir.dtypes import float32, float64, int64
from gradgen.ir.functions import div, eq, exp, hypot, pow_, select, sin, stop
from gradgen.ir.graph import topological
from gradgen.ir.guards import GE
from gradgen.ir.indexing import modulo, quotient, reshape_index
from gradgen.ir.plain_indices import ranges, simplify_index
from gradgen.reference.interpreter import evaluate
from gradgen.simplify import LEVELS, simplify
from gradgen.simplify.levels import GRAPH_PASSES, PASSES

i0, i1, i2 = axes(3)
r0, r1, r2 = reduce_axes(3)
a0, a1, a2 = (placeholder(k) for k in range(3))
x = Input("x", (4, 6), float64)
v = Input("v", (6,), float64)


def simple(node: Node, level: str = "safe") -> Node:
    return simplify([node], level=level)[node]


def check_same(node: Node, level: str = "safe") -> Node:
    """The simplified node, whose value was compared with the original's on random inputs."""
    new = simple(node, level)
    rng = np.random.default_rng(0)
    given = {n: rng.normal(size=n.shape).astype(n.dtype.name) for n in topological([node]) if isinstance(n, Input)}
    np.testing.assert_allclose(evaluate([new], given)[0], evaluate([node], given)[0], rtol=1e-12)
    return new


def kinds(node: Node) -> int:
    return sum(isinstance(n, Compute) for n in topological([node]))


def test_views_are_read_around() -> None:
    flipped = Compute((6, 4), a0, [Read(x, (i1, 5 - i0))], float64)
    twice = Compute((3, 4), exp(a0), [Read(flipped, (2 * i0, i1))], float64)
    new = check_same(twice)
    assert kinds(new) == 1
    assert new.reads[0].index == (i1, 5 - 2 * i0)


def test_guards_of_views_go_along() -> None:
    inside = (Condition(GE, i0 - 1), Condition(GE, 4 - i0))
    padded = Compute((6,), a0, [Read(v, (i0 - 1,), inside, 0)], float64)
    new = check_same(Compute((3,), sin(a0), [Read(padded, (2 * i0,))], float64))
    assert kinds(new) == 1
    assert new.reads[0].guard == (Condition(GE, 2 * i0 - 1),)  # 2*i0 <= 4 holds for all three


def test_guards_that_the_extents_decide_are_dropped() -> None:
    inside = (Condition(GE, i0 - r0), Condition(GE, 3 - i0 + r0), Condition(GE, 2 - i0))
    node = Compute((4,), a0, [Read(v, (i0,), inside, 0)], float64, reduce_shape=(1,), reducer="sum")
    new = check_same(node)
    assert new.reads[0].guard == (Condition(GE, 2 - i0),)


def test_reduced_axes_of_extent_one_are_dropped_while_one_is_left() -> None:
    node = Compute((), a0, [Read(x, (r1, r2))], float64, reduce_shape=(1, 3, 4), reducer="sum")
    new = check_same(node)
    assert new.reduce_shape == (3, 4)
    one = Compute((), a0, [Read(v, (r0 + r1,))], float64, reduce_shape=(1, 1), reducer="sum")
    assert check_same(one).reduce_shape == (1,)


def test_a_guarded_view_with_another_fill_stays() -> None:
    padded = Compute((6,), a0, [Read(v, (i0,), (Condition(GE, 3 - i0),), 7)], float64)
    inside = (Condition(GE, 5 - i0),)
    outer = Compute((8,), exp(a0), [Read(padded, (i0,), inside, 0)], float64)
    assert kinds(check_same(outer)) == 2


def test_reshape_there_and_back_is_nothing() -> None:
    flat = Compute((24,), a0, [Read(x, reshape_index((i0,), (24,), (4, 6)))], float64)
    back = Compute((4, 6), a0, [Read(flat, reshape_index((i0, i1), (4, 6), (24,)))], float64)
    assert check_same(back) is x


@pytest.mark.parametrize(
    "expression, expected",
    [
        (quotient(6 * i0 + i1, sympy.Integer(6)), i0),
        (modulo(6 * i0 + i1, sympy.Integer(6)), i1),
        (quotient(12 * i0 + i1, sympy.Integer(6)), 2 * i0),
        (modulo(i1 + 3, sympy.Integer(6)), modulo(i1 + 3, sympy.Integer(6))),
        (quotient(i0, sympy.Integer(4)), sympy.Integer(0)),
    ],
)
def test_ranges_decide_quotients(expression: sympy.Expr, expected: sympy.Expr) -> None:
    assert simplify_index(expression, ranges((4, 6))) == expected


def test_ranges_of_named_dimensions() -> None:
    n = dim("N")
    assert simplify_index(quotient(n * i0 + i1, n), ranges((4, n))) == i0


def test_constants_move_into_bodies_and_fold() -> None:
    two, three = Constant(2.0, float64), Constant(3.0, float64)
    product = Compute((), a0 * a1, [Read(two, ()), Read(three, ())], float64)
    new = check_same(Compute((6,), a0 * a1, [Read(v, (i0,)), Read(product, ())], float64))
    assert new.body == 6 * a0
    assert len(new.reads) == 1


def test_zero_is_not_folded() -> None:
    zero = Constant(0.0, float64)
    node = Compute((6,), a0 * a1, [Read(v, (i0,)), Read(zero, ())], float64)
    new = simple(node)
    with np.errstate(invalid="ignore"):
        result = evaluate([new], {v: np.array([np.inf, np.nan, 1, 2, -1, 0.0])})[0]
    assert np.isnan(result[:2]).all()


def test_strength_reduction() -> None:
    power = Compute((6,), pow_(a0, a1), [Read(v, (i0,)), Read(Constant(3.0, float64), ())], float64)
    assert check_same(power).body == a0**3
    quarter = Compute((6,), div(a0, a1), [Read(v, (i0,)), Read(Constant(4.0, float64), ())], float64)
    assert check_same(quarter).body == a0 / 4


def test_stops_go_after_differentiation() -> None:
    assert simple(Compute((6,), stop(exp(a0)), [Read(v, (i0,))], float64), "none").body == exp(a0)


def test_functions_without_kernel_are_written_out() -> None:
    node = map_node(hypot(a0, a1), (v, Input("w", (6,), float64)), float64)
    assert not check_same(node).body.has(hypot)


def test_copies_vanish() -> None:
    copy = Compute((4, 6), a0, [Read(x, (i0, i1))], float64)
    assert simple(copy) is x
    cast = Compute((4, 6), a0, [Read(x, (i0, i1))], float32)
    assert simple(cast) is cast


def test_sums_over_deltas_have_one_term() -> None:
    seeds = unit_seeds((4,), float64)
    node = Compute((4, 6), a0 * a1, [Read(seeds, (i0, r0)), Read(x, (r0, i1))], float64, reduce_shape=(4,), reducer="sum")
    assert check_same(node) is x or check_same(node).reducer is None


def test_a_padded_tensor_is_no_delta() -> None:
    padded = Read(v, (i0,), (Condition("eq", r0 - i0),), 0)
    node = Compute((6,), a0 * a1, [padded, Read(v, (r0,))], float64, reduce_shape=(6,), reducer="sum")
    assert check_same(node).reducer == "sum"


def test_factors_leave_sums_only_when_asked() -> None:
    c = Input("c", (4,), float64)
    node = Compute((4,), a0 * a1, [Read(c, (i0,)), Read(x, (i0, r0))], float64, reduce_shape=(6,), reducer="sum")
    assert simple(node) is node
    assert check_same(node, "fast").reducer is None


def test_levels_name_passes() -> None:
    assert {name for level in LEVELS.values() for name in level} <= {*PASSES, *GRAPH_PASSES}


def test_sums_over_a_one_hot_row_have_one_term() -> None:
    label = Input("label", (4,), int64)
    row = Compute((4, 6), select(eq(a0, i1), a1, 0), [Read(label, (i0,)), Read(Input("s", (4,), float64), (i0,))], float64)
    scaled = Compute((4, 6), div(-a0, a1), [Read(row, (i0, i1)), Read(Input("d", (4,), float64), (i0,))], float64)
    total = Compute((4, 1), a0, [Read(scaled, (i0, r0))], float64, reduce_shape=(6,), reducer="sum")
    new = check_same(total)
    assert kinds(new) == 1
    assert new.reducer is None
    given = {n: np.array([0, 5, 6, -1]) if n is label else np.arange(1.0, 5.0) for n in topological([total])
             if isinstance(n, Input)}
    np.testing.assert_array_equal(evaluate([new], given)[0], [[-1.0], [-1.0], [0.0], [0.0]])


def test_a_one_hot_row_times_a_tensor_along_it_stays_a_sum() -> None:
    label = Input("label", (4,), int64)
    body = select(eq(a0, r0), 1, 0) * a1
    node = Compute((4,), body, [Read(label, (i0,)), Read(x, (i0, r0))], float64, reduce_shape=(6,), reducer="sum")
    assert check_same(node).reducer == "sum"
