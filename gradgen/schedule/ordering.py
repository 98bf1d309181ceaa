"""The order of values: long sums are added up where their terms arise.

The gradient of a parameter that an unrolled loop uses a thousand times is a chain of a thousand additions, which the
walk from the outputs meets last of all: every term would be kept until then.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradgen.ir.nodes import Compute, Node
from gradgen.ir.symbols import axes, placeholder

LONG = 16  # additions from which on a chain is worth it


def sums_where_terms_arise(order: Sequence[Node]) -> list[Node]:
    """The nodes, sources first as before, with the additions of long chains as early as their terms allow."""
    inside = set(order)
    users: dict[Node, int] = {}
    for n in order:
        for s in n.sources:
            users[s] = users.get(s, 0) + 1
    length: dict[Node, int] = {}
    for n in order:
        if _is_addition(n):
            length[n] = 1 + max((length.get(s, 0) for s in n.sources if users[s] == 1), default=0)
    early: set[Node] = set()
    for n in reversed(order):
        if n in early or length.get(n, 0) >= LONG:
            early.add(n)
            early.update(s for s in n.sources if s in inside and users[s] == 1 and _is_pointwise(s))
    if not early:
        return list(order)
    key: dict[Node, int] = {}
    for k, n in enumerate(order):
        key[n] = k if n not in early else max((key[s] for s in n.sources if s in key), default=k)
    place = {n: k for k, n in enumerate(order)}
    return sorted(order, key=lambda n: (key[n], n in early, place[n]))


def _is_pointwise(node: Node) -> bool:
    return isinstance(node, Compute) and node.reducer is None


_ADDITION = placeholder(0) + placeholder(1)  # the body of x + y


def _is_addition(node: Node) -> bool:
    if not isinstance(node, Compute) or node.reducer is not None or node.body != _ADDITION:
        return False
    return all(not r.guard and r.index == axes(node.ndim) for r in node.reads)


__all__ = ["sums_where_terms_arise"]
