"""Derivatives of scatters that take the maximum, minimum or product of what arrives at a place.

Both are weights by which tangents are added up (forward) and cotangents spread (reverse): for extremes an equal share of
every element that is the result, for products the product of the other factors (see `products`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy

from gradgen.autodiff.products import scattered_partials
from gradgen.ir.functions import div, eq, select
from gradgen.ir.nodes import Compute, Node, Read, Scatter, identity_read
from gradgen.ir.symbols import placeholder


def updates(node: Scatter) -> Compute:
    """What is written, one value per place of the update."""
    return Compute(node.update_shape, node.body, node.reads, node.dtype)


class Weights:
    """d node / d base and d node / d update, element by element."""

    def __init__(self, node: Scatter) -> None:
        assert node.base is not None
        self.node, self.base, self.values = node, node.base, updates(node)
        make: Callable[[], tuple[Node, Node]] = self._extreme if node.mode in ("max", "min") else self._product
        self.of_base, self.of_update = make()

    def at_update(self, body: sympy.Expr, *targets: Node) -> Compute:
        """`body` over the update: its value is the first of the placeholders behind the reads, then the targets at its
        place."""
        n, first = self.node, len(self.node.reads)
        reads = [*n.reads, identity_read(self.values), *(Read(t, n.index, n.guard, 0) for t in targets)]
        moved = {placeholder(k): placeholder(first + k) for k in range(len(targets) + 1)}
        return Compute(n.update_shape, body.xreplace(moved), reads, n.dtype)

    def at_base(self, body: sympy.Expr, *targets: Node) -> Compute:
        """`body` over the result: the base's element is a0, then the targets."""
        return Compute(self.node.shape, body, [identity_read(x) for x in (self.base, *targets)], self.node.dtype)

    def gathered(self, body: sympy.Expr, mode: str) -> Scatter:
        """The `mode` of `body(element)` over the base's element and all that arrives at a place."""
        base = Compute(self.node.shape, body, [identity_read(self.base)], self.node.dtype)
        return spread(self.node, base, self.at_update(body), mode)

    def _extreme(self) -> tuple[Node, Node]:
        a0, a1, a2 = (placeholder(k) for k in range(3))
        hit = select(eq(a0, a1), 1, 0)
        count = spread(self.node, self.at_base(hit, self.node), self.at_update(hit, self.node), "add")
        share = select(eq(a0, a1), div(1, a2), 0)
        return self.at_base(share, self.node, count), self.at_update(share, self.node, count)

    def _product(self) -> tuple[Node, Node]:
        return scattered_partials(self.node, self.values, self.gathered)


def spread(node: Scatter, base: Node | None, values: Node, mode: str) -> Scatter:
    """`values`, one per place of the update, combined into `base` where `node` writes them."""
    reads = [*node.reads, identity_read(values)]
    return Scatter(node.shape, base, node.update_shape, node.index, placeholder(len(node.reads)), reads, node.dtype,
                   mode=mode, guard=node.guard)


def cotangents(node: Scatter, cotangent: Node) -> tuple[Node, Compute, Node]:
    """The cotangent of the base; the updates, and theirs."""
    w = Weights(node)
    product = placeholder(0) * placeholder(1)
    of_base = Compute(node.shape, product, [identity_read(w.of_base), identity_read(cotangent)], node.dtype)
    reads = [*node.reads, identity_read(w.of_update), Read(cotangent, node.index, node.guard, 0)]
    first = len(node.reads)
    of_update = Compute(node.update_shape, placeholder(first) * placeholder(first + 1), reads, node.dtype)
    return of_base, w.values, of_update


def lives(node: Scatter, live: Node) -> tuple[Node, Node]:
    """The liveness of the base and of the updates: of extremes, that of the elements which are the result."""
    w = Weights(node)
    one = placeholder(0) if node.mode == "prod" else select(eq(placeholder(1), 0), 0, placeholder(0))
    of_base = Compute(node.shape, one, [identity_read(live), identity_read(w.of_base)], node.dtype)
    moved = {placeholder(k): placeholder(len(node.reads) + k) for k in (0, 1)}
    reads = [*node.reads, Read(live, node.index, node.guard, 0), identity_read(w.of_update)]
    return of_base, Compute(node.update_shape, one.xreplace(moved), reads, node.dtype)


def tangent(node: Scatter, dot: Mapping[Node, Node], moved: Node | None) -> Node | None:
    """The tangent of the result, where `moved` is that of the updates."""
    w = Weights(node)
    product = placeholder(0) * placeholder(1)
    base = None
    if node.base is not None and node.base in dot:
        base = Compute(node.shape, product, [identity_read(w.of_base), identity_read(dot[node.base])], node.dtype)
    if moved is None:
        return base
    both = [identity_read(w.of_update), identity_read(moved)]
    return spread(node, base, Compute(node.update_shape, product, both, node.dtype), "add")
