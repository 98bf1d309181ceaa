"""Derivatives of products: the product of the other factors, in two forms that have the same value.

The quick form divides, and tells apart how many factors are 0; its own derivative is wrong where several are.  The exact
form multiplies what stands before a factor by what stands behind it: a polynomial, right at zeros in every order, and by
recurrences still linear in the number of factors.  `instead` takes the value of the one and the derivative of the other:
the exact form is computed only by who differentiates again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy

from gradgen.ir.dtypes import INDEX
from gradgen.ir.functions import div, eq, index_body, instead, ne, select
from gradgen.ir.graph import Graph
from gradgen.ir.indexing import delinearise, linearise, product
from gradgen.ir.kernels import call
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scan, Scatter, identity_read, map_node
from gradgen.ir.symbols import axes, axis, placeholder, reduce_axes

A0, A1, A2, A3 = (placeholder(k) for k in range(4))

QUICK = select(eq(A0, 0), select(eq(A2, 1), A3, 0), div(A1, A0))
"""The product of the others of factor a0: a1 is that of all, a2 how many are 0, a3 the product of those that are not."""


def product_partials(node: Compute, values: Compute) -> Node:
    """d prod / d x_k of a reduction over `values` [*axes, *reduce axes]: the product of the others."""
    n, m = len(node.shape), len(node.reduce_shape)
    inner = [Read(values, (*axes(n), *reduce_axes(m)))]

    def over(body: sympy.Expr, reducer: str) -> Compute:
        return Compute(node.shape, body, inner, node.dtype, reducer=reducer, reduce_shape=node.reduce_shape)

    zeros, rest = over(select(eq(A0, 0), 1, 0), "sum"), over(select(eq(A0, 0), 1, A0), "prod")
    outer = [Read(s, axes(n)) for s in (node, zeros, rest)]
    quick = Compute(values.shape, QUICK, [identity_read(values), *outer], node.dtype)
    count = product(node.reduce_shape)
    where = (*(axis(1 + k) for k in range(n)), *delinearise(axis(0), node.reduce_shape))
    factors = Compute((count, *node.shape), A0, [Read(values, where)], node.dtype)
    place = (linearise(axes(n + m)[n:], node.reduce_shape), *axes(n))
    exact = Compute(values.shape, A0 * A1, [Read(s, place) for s in before_and_behind(factors)], node.dtype)
    return map_node(instead(A0, A1), (quick, exact), node.dtype)


def before_and_behind(factors: Node, first: Node | None = None) -> tuple[Node, Node]:
    """[n, ...]: for each factor the product of those before it, and of those behind it.

    `first` [n, ...] is not 0 where a product of its own begins; the others of one are those of its run.
    """
    shape = factors.shape[1:]
    carry, factor, begins = (Input(name, shape, kind) for name, kind in (
        ("carry", factors.dtype), ("factor", factors.dtype), ("begins", INDEX)))
    ones = Compute(shape, sympy.Integer(1), [], factors.dtype)

    def scan(step: Graph, sequences: Sequence[Node], reverse: bool) -> Node:
        return Scan(step, [ones], sequences, [], factors.shape[0], 1, reverse)

    through = map_node(A0 * A1, (carry, factor), factors.dtype)
    if first is None:
        step = Graph((carry, factor), (through, carry), ("carry", "others"))
        return scan(step, [factors], False), scan(step, [factors], True)
    own = map_node(select(ne(A0, 0), 1, A1), (begins, carry), factors.dtype)
    ahead = Graph((carry, factor, begins), (map_node(A0 * A1, (own, factor), factors.dtype), own), ("carry", "others"))
    handed = map_node(select(ne(A0, 0), 1, A1), (begins, through), factors.dtype)
    back = Graph((carry, factor, begins), (handed, carry), ("carry", "others"))
    return scan(ahead, [factors, first], False), scan(back, [factors, first], True)


def scattered_partials(node: Scatter, values: Compute, gathered: Callable[[sympy.Expr, str], Scatter]) -> tuple[Node, Node]:
    """d node / d base and d node / d update of a Scatter that multiplies `values`: at each place the product of the others.

    `gathered(body, mode)` combines `body` of the base's element and of all that arrives at a place.
    """
    zeros, rest = gathered(select(eq(A0, 0), 1, 0), "add"), gathered(select(eq(A0, 0), 1, A0), "prod")
    targets = (node, zeros, rest)
    assert node.base is not None
    arriving = Scatter(node.shape, Compute(node.shape, sympy.Integer(1), [], node.dtype), node.update_shape, node.index,
                       node.body, node.reads, node.dtype, mode="prod", guard=node.guard)
    of_base = Compute(node.shape, instead(QUICK, placeholder(4)),
                      [identity_read(s) for s in (node.base, *targets, arriving)], node.dtype)
    first = len(node.reads)
    reads = [*node.reads, identity_read(values), *(Read(t, node.index, node.guard, 0) for t in targets),
             identity_read(_exact_of_updates(node, values))]
    moved = {placeholder(k): placeholder(first + k) for k in range(5)}
    body = instead(QUICK, placeholder(4)).xreplace(moved)
    return of_base, Compute(node.update_shape, body, reads, node.dtype)


def _exact_of_updates(node: Scatter, values: Compute) -> Node:
    """The base's element times the other updates of the same place: those in order of places are runs of one product."""
    count = product(node.update_shape)
    here = delinearise(axis(0), node.update_shape)
    unravel = dict(zip(axes(len(here)), here))
    moved = [Read(r.source, [e.xreplace(unravel) for e in r.index], tuple(c.substitute(unravel) for c in r.guard), r.fill)
             for r in node.reads]
    guard = tuple(c.substitute(unravel) for c in node.guard)
    index = tuple(e.xreplace(unravel) for e in node.index)
    place = Compute((count,), index_body(linearise(index, node.shape)), moved, INDEX)
    if guard:  # what lands nowhere is the last run
        size = Compute((count,), sympy.sympify(product(node.shape)), [], INDEX)
        place = Compute((count,), select(ne(A0, 0), A1, A2), [
            Read(Constant(1, INDEX), (), guard), identity_read(place), identity_read(size)], INDEX)
    order = call("argsort", place, descending=False)[0]
    sorted_places = Compute((count,), A1, [identity_read(order), Read(place, (A0,))], INDEX)
    i = axis(0)
    begins = Compute((count,), select(eq(i, 0), 1, select(ne(A0, A1), 1, 0)), [
        identity_read(sorted_places), Read(sorted_places, (sympy.Max(i - 1, 0),))], INDEX)
    flat = Compute((count,), A0, [Read(values, here)], node.dtype)
    factors = Compute((count,), A1, [identity_read(order), Read(flat, (A0,))], node.dtype)
    before, behind = before_and_behind(factors, begins)
    others = Scatter((count,), None, (count,), (A0,), A1 * A2, [
        identity_read(s) for s in (order, before, behind)], node.dtype, mode="add")
    here_again = linearise(axes(len(node.update_shape)), node.update_shape)
    assert node.base is not None
    first = len(node.reads)
    reads = [*node.reads, Read(others, (here_again,)), Read(node.base, node.index, node.guard, 1)]
    return Compute(node.update_shape, placeholder(first) * placeholder(first + 1), reads, node.dtype)
