"""Procedure: one function to be emitted, before any decision about loops or memory.

It names the nodes whose values are wanted, where each goes, and the nodes whose values are already somewhere (the
inputs; in a backward pass also what forward saved).  The scheduler never walks past a given node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradgen.ir.assumptions import Requirement
from gradgen.ir.graph import Location
from gradgen.ir.nodes import Node

STORE, ACCUMULATE = "store", "accumulate"
ARGUMENT, SAVED = "argument", "saved"
USERS = "__"
"""Behind the name of a user's variable in a generated one, until the last pass makes the final names."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lives at run time, always dense and row-major.

    space "argument": the C parameter `name` (a typed pointer, also for 0-d values).
    space "saved":    a slot of the SAVED block; `name` identifies the slot, forward and backward agree on it.
    `optional`: the pointer may be NULL (an output or gradient nobody wants; a cotangent that then means 1, or 0).
    `default`: for an optional given value, the number a NULL pointer stands for.
    """

    name: str
    space: str = ARGUMENT
    optional: bool = False
    default: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """`place` (=) node, or for mode "accumulate": place += node, but place = node where GRADGEN_SET_GRAD is in `flags`.

    Accumulation adds the completed value once per element, so that partial sums never go through the destination; with
    `in_parts` they may, which takes no memory for the value.  `last`: the place may hold a given value, and gets this one
    when nothing else is left to do.  `onto` is the place of a given value that this one takes the place of.
    """

    node: Node
    place: Place
    mode: str = STORE
    in_parts: bool = False
    last: bool = False
    onto: Place | None = None

    @property
    def found_at(self) -> Place:
        """Where the value is in the end."""
        return self.onto or self.place


@dataclass(frozen=True, eq=False)
class Procedure:
    """`name` is "forward", "backward", "value_and_grad", "run", ...; `where` gives user lines for comments; `laid` are
    nodes that some pass wants in memory as they are.

    `conditions` hold of the named dimensions while it runs: they were checked on entry, and every read and write of its nodes
    is proved under them (`gradgen.ir.assumptions.facts_of` gives them as inequalities)."""

    name: str
    outputs: tuple[Output, ...]
    given: Mapping[Node, Place]
    where: Mapping[Node, Location] = field(default_factory=dict)
    laid: frozenset[Node] = frozenset()
    conditions: tuple[Requirement, ...] = ()
