"""What the caller asks for, as tests in the code: places that may not be there, and gradients that are set, not added to."""

from __future__ import annotations

from gradgen.ir.dtypes import bool_
from gradgen.loops.atoms import implies, presence
from gradgen.loops.procedure import Place
from gradgen.loops.statements import SAVED, Buffer, Expr, Present, SetFlag
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import Leaf, LoopNode
from gradgen.schedule.wanted import Places, is_optional, key_of, tests


class Wanted:
    """`tests` says of nests and of parts of nests which places they work for."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.tests: dict[LoopNode | Leaf, Places] = {}
        self.places_of: dict[Place, Buffer] = {}

    def find(self, plan: Plan, memory: Memory) -> None:
        """Decides what is tested for the places that want it."""
        self.tests = tests(plan.tree, plan.consumers, plan.contractions, plan.in_memory, plan.options.costs)
        for op in reversed(plan.ops):
            for e in op.effects:
                if is_optional(e.place):
                    self.places_of[key_of(e.place)] = memory.place(e.place, op.node)

    def present(self, place: Place, besides: Expr | None = None) -> Expr | None:
        """Whether a place is there, and `besides` holds; None where there is nothing to be tested."""
        there = self.any_present({key_of(place): None}) if is_optional(place) else None
        if there is None or besides is None:
            return there or besides
        return self.builder.apply("and_", (there, besides), bool_)

    def any_present(self, places: Places | None) -> Expr | None:
        """Whether any of these places is there; None where that is known: what stands inside of a test asks no more."""
        if places is None:
            return None
        b = self.builder
        asked = (frozenset(lit for p in places for clause in presence(self.places_of[p]) for lit in clause),)
        if implies(b.scope.around(), asked):
            return None
        result: Expr | None = None
        for place in places:
            target, key = self.places_of[place], ("present", place)
            found = b.root.values.get(key) or b.place(key, b.root, Present(bool_, target))
            b.hint(found, "wants_saved" if target.space == SAVED else f"wants_{target.name}")
            result = found if result is None else b.apply("or_", (result, found), bool_)
        return result

    def sets(self) -> Expr:
        """Gradients are to be set."""
        b = self.builder
        found = b.root.values.get(("set flag",))
        found = found or b.place(("set flag",), b.root, SetFlag(bool_))
        b.hint(found, "sets")
        return found


__all__ = ["Wanted"]
