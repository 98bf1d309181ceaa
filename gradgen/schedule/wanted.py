"""Which nests, and which parts of nests, run only where somebody wants what they make.

An output, a gradient or SAVED may be absent.  What works for absent places alone is not computed; but whatever runs finds
what it reads: a producer is tested for all the places for which its readers *run*, which are more than those that they
work for where a reader shares its nest with others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradgen.loops.procedure import ARGUMENT, SAVED, Place
from gradgen.schedule.contraction import Contraction
from gradgen.schedule.cost import Costs
from gradgen.schedule.inline import KERNEL, SCAN, Op
from gradgen.schedule.tree import Leaf, LoopNode, Tree, leaves, paths, steps_of

MOST_CONDITIONS = 3  # optional places that one op is tested for

Places = dict[Place, None]
Need = Places | None
"""Where something runs: where any of these places is there; None: always."""

_SAVED = Place("saved", SAVED, True)


def key_of(place: Place) -> Place:
    """Slots of SAVED are there together."""
    return _SAVED if place.space == SAVED else place


def is_optional(place: Place) -> bool:
    return place.optional or place.space != ARGUMENT


def tests(
    tree: Tree, consumers: Mapping[Op, list[Op]], contractions: Mapping[Op, Contraction], in_memory: Callable[[Op], bool],
    costs: Costs,
) -> dict[LoopNode | Leaf, Places]:
    """For the subtrees that are to be tested, the places of which one must be there."""
    return _Tests(tree, consumers, contractions, in_memory, costs).found


class _Tests:
    def __init__(
        self, tree: Tree, consumers: Mapping[Op, list[Op]], contractions: Mapping[Op, Contraction],
        in_memory: Callable[[Op], bool], costs: Costs,
    ) -> None:
        self.consumers, self.contractions, self.in_memory, self.costs = consumers, contractions, in_memory, costs
        self.found: dict[LoopNode | Leaf, Places] = {}
        self.runs: dict[Op, Need] = {}
        self.checked: dict[Op, Need] = {}  # where an op's indices are tested, which reads what they come from
        self.split = {  # products that are summed strip by strip
            op for op, path in paths(tree).items()
            if op in contractions and any(loop.binding.get(op) in op.reduced_axes for loop in path)
        }
        self.everything = dict.fromkeys(
            key_of(e.place) for op in leaves(tree) for e in op.effects if is_optional(e.place))
        for node in reversed(tree):
            self.nest(node)

    def nest(self, node: LoopNode | Leaf) -> None:
        needs = self.needs_of(node)
        if isinstance(node, Leaf) and node.op in self.contractions and not self.consumers[node.op]:
            needs = None  # always, or it tests by itself
        if needs:
            self.found[node] = needs
        for op in leaves([node]):
            self.checked[op] = needs
        self.inside(node, needs)

    def inside(self, node: LoopNode | Leaf, around: Need) -> None:
        """`around` is where the subtree runs."""
        if isinstance(node, Leaf):
            self.runs[node.op] = around
            if self.tests_itself(node.op) and is_optional(node.op.effects[0].place):
                self.runs[node.op] = {key_of(node.op.effects[0].place): None}
            return
        for child in reversed(node.children):
            self.inside(child, self.child(child, around))

    def child(self, node: LoopNode | Leaf, around: Need) -> Need:
        """Where a product or loops in loops run that are part of a nest which others want as well."""
        large = isinstance(node, Leaf) and node.op in self.contractions
        large = large or (isinstance(node, LoopNode) and self.costs.worth_a_test(steps_of(node)))
        needs = self.needs_of(node) if large else None
        if needs is None or (around is not None and needs.keys() >= around.keys()):
            return around
        if isinstance(node, Leaf) and not self.consumers[node.op] and node.op not in self.split:
            return around  # it tests by itself
        self.found[node] = needs
        return needs

    def tests_itself(self, op: Op) -> bool:
        """A product that goes straight to the only place that wants it."""
        alone = op in self.contractions and not self.consumers[op] and len(op.effects) == 1
        return alone and op not in self.split

    def needs_of(self, node: LoopNode | Leaf) -> Need:
        """The optional places that a subtree works for; None where it always works or leaves something in a local, and
        where it works for all there are: nobody calls a function for nothing."""
        inside = dict.fromkeys(leaves([node]))
        known: dict[Op, Need] = {}
        for op in reversed(inside):
            known[op] = self.needs(op, known)
        needs: Places = {}
        for op in inside:
            found = known[op]
            if found is None or any(c not in inside and not self.in_memory(op) for c in self.consumers[op]):
                return None
            needs |= found
        return None if needs.keys() >= self.everything.keys() else needs

    def needs(self, op: Op, known: Mapping[Op, Need]) -> Need:
        """What an op works for: its own places, and those for which its readers run; `known` are readers beside it."""
        if op.kind in (SCAN, KERNEL):
            return None
        needs: Places = {}
        for e in op.effects:
            if not is_optional(e.place):
                return None
            needs[key_of(e.place)] = None
        for c in self.consumers[op]:
            for more in [known[c]] if c in known else [self.runs[c], *([self.checked[c]] if c.checks else [])]:
                if more is None:
                    return None
                needs |= more
        return needs if len(needs) <= MOST_CONDITIONS else None


__all__ = ["Places", "is_optional", "key_of", "tests"]
