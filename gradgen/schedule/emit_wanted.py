"""What the caller asks for, as tests in the code: places that may not be there, and gradients that are set, not added to."""

from __future__ import annotations

from gradgen.ir.dtypes import bool_
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
        self.assumed: Place | None = None  # the place that the nest being built was tested for

    def find(self, plan: Plan, memory: Memory) -> None:
        """Decides what is tested for the places that want it."""
        self.tests = tests(plan.tree, plan.consumers, plan.contractions, plan.in_memory, plan.options.costs)
        for op in reversed(plan.ops):
            for e in op.effects:
                if is_optional(e.place):
                    self.places_of[key_of(e.place)] = memory.place(e.place, op.node)

    def present(self, place: Place, target: Buffer) -> Expr | None:
        """Whether a place is there; None where it certainly is."""
        if not is_optional(place) or key_of(place) == self.assumed:
            return None
        key = ("present", key_of(place))
        b = self.builder
        found = b.root.values.get(key)
        found = found or b.place(key, b.root, Present(bool_, target))
        b.hint(found, "wants_saved" if target.space == SAVED else f"wants_{target.name}")
        return found

    def any_present(self, needs: Places | None, assume: bool = True) -> Expr | None:
        """Whether any of these places is there; `assume`: inside, the only one is not tested again."""
        if needs is None:
            return None
        b = self.builder
        conditions = [self.present(p, self.places_of[p]) for p in needs]
        if len(needs) == 1 and assume:
            self.assumed = next(iter(needs))
        result: Expr | None = None
        for c in conditions:
            assert c is not None
            result = c if result is None else b.apply("or_", (result, c), bool_)
        return result

    def sets(self) -> Expr:
        """Gradients are to be set."""
        b = self.builder
        found = b.root.values.get(("set flag",))
        found = found or b.place(("set flag",), b.root, SetFlag(bool_))
        b.hint(found, "sets")
        return found


__all__ = ["Wanted"]
