"""Long sums are added up where their terms arise."""

from __future__ import annotations

from gradgen.ir import Compute, Input, Node, map_node, placeholder
from gradgen.ir.dtypes import float64
from gradgen.ir.functions import tanh
from gradgen.ir.graph import topological
from gradgen.schedule.ordering import LONG, sums_where_terms_arise

a0, a1 = placeholder(0), placeholder(1)


def chain(count: int) -> tuple[list[Node], list[Node], list[Node]]:
    """h_k = tanh(h_(k-1)); the last one and the sum of all h_k x: the order from the outputs, the h_k, the additions."""
    x = Input("x", (), float64)
    h: Node = x
    values: list[Node] = []
    total: Node | None = None
    sums: list[Node] = []
    for _ in range(count):
        h = Compute((), tanh(a0), [*map_node(a0, (h,), float64).reads], float64)
        values.append(h)
        term = map_node(a0 * a1, (h, x), float64)
        total = term if total is None else map_node(a0 + a1, (total, term), float64)
        sums.append(total)
    assert total is not None
    return topological([h, total]), values, sums


def test_additions_follow_their_terms() -> None:
    order, values, sums = chain(40)
    new = sums_where_terms_arise(order)
    place = {n: k for k, n in enumerate(new)}
    assert sorted(new, key=id) == sorted(order, key=id)
    assert all(place[s] < place[n] for n in new for s in n.sources)
    assert all(place[sums[k]] < place[values[k + 2]] for k in range(38))  # a chain of additions from the second on
    before = {n: k for k, n in enumerate(order)}
    assert before[sums[0]] > before[values[-1]]


def test_short_sums_stay() -> None:
    order, _, _ = chain(LONG)
    assert sums_where_terms_arise(order) == order
