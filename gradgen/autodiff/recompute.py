"""What is kept of a computation for its derivative, and what is computed again.

A value is computed again where that needs nothing else to be kept, or something smaller, and costs no more than loading it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import sympy

from gradgen.ir.functions import philox_high, philox_low
from gradgen.ir.indexing import product
from gradgen.ir.nodes import Compute, Constant, Input, Node
from gradgen.ir.scalar_table import ScalarFunction
from gradgen.ir.symbols import Extent

NOMINAL_DIM = 1024
"""What a named dimension counts as where sizes are compared at generation time."""

RECOMPUTE_COST = 24
"""Scalar operations per element (a transcendental counts 8) beyond which a value is loaded rather than computed again.
About what one float32 load from memory costs a vectorised loop."""


def nominal_bytes(node: Node) -> int:
    """Bytes of the value, a named dimension counting as NOMINAL_DIM."""
    return nominal(product(node.shape)) * node.dtype.itemsize


def nominal(extent: Extent) -> int:
    """The extent, a named dimension counting as NOMINAL_DIM."""
    if isinstance(extent, int):
        return extent
    return int(extent.xreplace({s: sympy.Integer(NOMINAL_DIM) for s in extent.free_symbols}))


def body_cost(body: sympy.Expr) -> int:
    """Scalar operations of one evaluation, a transcendental function counting 8."""
    cost = 0
    for part in sympy.preorder_traversal(body):
        if isinstance(part, ScalarFunction):
            cost += part.record.cost
        elif part.args:
            cost += len(part.args) - 1
    return cost


def kept_values(
    forward: Iterable[Node], wanted: Collection[Node], limit: int = RECOMPUTE_COST, costly: Collection[Node] = (),
    free: Collection[Node] = ()
) -> tuple[Node, ...]:
    """Of the nodes `forward`, sources first, those to keep so that the `wanted` ones can be had again.

    Inputs and constants are there anyway, but for the inputs `costly`, which are kept like other values, and so are the
    nodes `free`.  `limit` counts scalar operations per element.
    """
    forward = tuple(forward)
    saved: dict[Node, None] = {}
    plan = _Recompute(saved, limit, costly, free)
    for node in forward:
        for source in node.sources:
            plan.users.setdefault(source, []).append(node)
    for node in forward:
        given = (isinstance(node, (Input, Constant)) and node not in costly) or node in free
        if node in wanted and not given and not plan.free(node):
            for kept in plan.cheapest(node):
                saved[kept] = None
                plan.forget_above(kept)
    return tuple(n for n in forward if n in saved)


class _Recompute:
    """What a value costs to compute again from inputs and saved values."""

    def __init__(
        self, saved: Mapping[Node, None], limit: int, costly: Collection[Node], free: Collection[Node]
    ) -> None:
        self.saved, self.limit, self.costly, self.given = saved, limit, costly, free
        self.memo: dict[Node, tuple[int, frozenset[Node]]] = {}
        self.users: dict[Node, list[Node]] = {}
        self.drawn: set[Node] = set()

    def forget_above(self, kept: Node) -> None:
        """What was found out about values that depend on this one, which is kept from now on."""
        stack = [kept]
        while stack:
            n = stack.pop()
            if self.memo.pop(n, None) is not None:
                stack.extend(self.users.get(n, ()))

    def free(self, node: Node) -> bool:
        """True where nothing more needs to be saved for it and computing it again is cheap."""
        cost, frontier = self.look(node)
        return not frontier and cost <= self.limit

    def cheapest(self, node: Node) -> tuple[Node, ...]:
        """The node itself, or fewer bytes from which it can be had cheaply."""
        cost, frontier = self.look(node)
        others = sum(nominal_bytes(n) for n in frontier)
        if frontier and cost <= self.limit and others < nominal_bytes(node):
            return tuple(sorted(frontier, key=repr)) if len(frontier) == 1 else (node,)
        return (node,)

    def is_drawn(self, node: Compute) -> bool:
        """A random number, or what follows from such numbers alone; its sources were looked at."""
        if node.body.has(philox_low, philox_high):
            found = True
        else:
            found = bool(node.sources) and all(s in self.drawn for s in node.sources)
        if found:
            self.drawn.add(node)
        return found

    def look(self, node: Node) -> tuple[int, frozenset[Node]]:
        """(scalar operations per element, values that would have to be saved) for computing `node` again."""
        stack: list[tuple[Node, bool]] = [(node, False)]
        while stack:
            n, expanded = stack.pop()
            if n in self.memo:
                continue
            if n in self.costly and n not in self.saved:
                self.memo[n] = (0, frozenset([n]))
            elif isinstance(n, (Input, Constant)) or n in self.saved or n in self.given:
                self.memo[n] = (0, frozenset())
            elif not isinstance(n, Compute) or n.reducer is not None:
                self.memo[n] = (self.limit, frozenset([n]))
            elif not expanded:
                stack.append((n, True))
                stack.extend((s, False) for s in n.sources)
            else:
                cost = body_cost(n.body) + sum(self.memo[s][0] for s in n.sources)
                frontier = frozenset().union(*(self.memo[s][1] for s in n.sources))
                if self.is_drawn(n):  # the same numbers come again: nothing is kept for them, whatever they cost
                    self.memo[n] = (0, frontier)
                elif cost > self.limit or len(frontier) > 4:
                    self.memo[n] = (self.limit + 1, frozenset([n]))
                else:
                    self.memo[n] = (cost, frontier)
        return self.memo[node]
