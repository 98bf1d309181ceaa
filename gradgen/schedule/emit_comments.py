"""The comments above nests, and what the C calls the values that they speak of."""

from __future__ import annotations

from dataclasses import dataclass

from gradgen.ir.nodes import Compute, Node, Scatter
from gradgen.loops.procedure import ACCUMULATE, USERS
from gradgen.loops.statements import ARGUMENT, Comment, Said
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.emit_position import Position
from gradgen.schedule.emit_reductions import Reductions
from gradgen.schedule.inline import Op
from gradgen.schedule.tree import Leaf, LoopNode, leaves

MOST_FORMULAS = 120  # ops of a procedure that still gets formulas in its comments


@dataclass(eq=False)
class Comments:
    """`names` are those of values in the C."""

    plan: Plan
    position: Position
    memory: Memory
    reductions: Reductions
    names: dict[Node, str]
    last_lines: tuple[str, ...] = ()

    def comment(self, node: LoopNode | Leaf) -> Comment | None:
        """The user's lines behind a nest that has just been built, and what it computes."""
        lines: dict[str, dict[str, None]] = {}
        values: list[Said] = []
        for op in leaves([node]):
            for member in reversed(op.members):
                where = self.plan.procedure.where.get(member)
                if where is not None:
                    lines.setdefault(f"{where.file}:{where.line}", {})[where.operation] = None
            self.name_result(op)
            if len(self.plan.ops) <= MOST_FORMULAS and isinstance(op.node, (Compute, Scatter)):
                letters = tuple((s, str(e)) for s, e in self.position.env(op).items() if e.is_Symbol)
                sign = "+=" if op.effects and all(e.mode == ACCUMULATE for e in op.effects) else "="
                values.append(Said(op.node, sign, letters))
        found = tuple(f"{line} {', '.join(operations)}" for line, operations in lines.items())
        if found == self.last_lines:
            found = ()
        elif found:
            self.last_lines = found
        return Comment(found, tuple(values)) if found or values else None

    def name_result(self, op: Op) -> None:
        """What the C calls the value of an op, if it has a name."""
        total = self.reductions.accumulators.get(op)
        if op.effects and op.effects[0].place.space == ARGUMENT and not self.plan.nested:
            self.names[op.node] = op.effects[0].place.name
        elif op in self.memory.buffers:
            self.names[op.node] = self.memory.buffers[op][0].name
        elif total is not None and total.position is None:
            self.names[op.node] = total.total.name
        for member in op.members:
            if member in self.plan.called:  # scalars, if it is not in memory
                self.names.setdefault(member, f"{self.plan.called[member]}{USERS}")


__all__ = ["Comments"]
