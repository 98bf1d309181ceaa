"""The loop tree: which ops run inside which loops.  Passes build it, the emitter walks it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import sympy

from gradgen.ir.symbols import Extent
from gradgen.schedule.inline import Op


@dataclass(eq=False)
class LoopNode:
    """One loop; `binding` says which axis of each op inside it the counter is."""

    extent: Extent
    binding: dict[Op, sympy.Symbol]
    children: list[LoopNode | Leaf] = field(default_factory=list)


@dataclass(eq=False)
class StripNode(LoopNode):
    """A loop over strips of `size` steps of an axis that the ops inside still loop over, or contract as a whole."""

    size: int = 256


@dataclass(eq=False)
class Leaf:
    """The point at which an op's value is computed (or a whole op that is one call)."""

    op: Op


Tree = list[LoopNode | Leaf]


def separate(ops: list[Op]) -> Tree:
    """Every op in a nest of its own, axes in order: the plain schedule."""
    tree: Tree = []
    for op in ops:
        node: LoopNode | Leaf = Leaf(op)
        for symbol in reversed(op.loop_axes):
            node = LoopNode(op.extent_of(symbol), {op: symbol}, [node])
        tree.append(node)
    return tree


def paths(tree: Tree) -> dict[Op, tuple[LoopNode, ...]]:
    """The loops around each op, outermost first."""
    found: dict[Op, tuple[LoopNode, ...]] = {}
    stack: list[tuple[LoopNode | Leaf, tuple[LoopNode, ...]]] = [(n, ()) for n in reversed(tree)]
    while stack:
        node, path = stack.pop()
        if isinstance(node, Leaf):
            found[node.op] = path
        else:
            stack.extend((c, (*path, node)) for c in reversed(node.children))
    return found


def steps_of(node: LoopNode | Leaf) -> float:
    """How often the body of a subtree runs at most; infinity where an extent is not known."""
    if isinstance(node, Leaf):
        return 1
    own = node.extent if isinstance(node.extent, int) else math.inf
    return own * max((steps_of(c) for c in node.children), default=1)


def leaves(tree: Tree) -> Iterator[Op]:
    """The ops in the order they run."""
    stack = list(reversed(tree))
    while stack:
        node = stack.pop()
        if isinstance(node, Leaf):
            yield node.op
        else:
            stack.extend(reversed(node.children))
