"""What one emission is given, and what follows from that alone: where ops run, who reads them, which axes they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy

from gradgen.ir.graph import topological
from gradgen.ir.nodes import Constant, Node
from gradgen.loops.procedure import USERS, Procedure
from gradgen.loops.reserved import is_identifier
from gradgen.schedule.allowed import ScheduleOptions
from gradgen.schedule.contraction import Contraction
from gradgen.schedule.fusion import Fusion, whole_sources
from gradgen.schedule.inline import SCATTER, Inliner, Op
from gradgen.schedule.tree import LoopNode, StripNode, Tree, paths

Symbols = tuple[sympy.Symbol, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """`nested`: the step of a recurrence, emitted into the procedure that has the recurrence."""

    procedure: Procedure
    ops: list[Op]
    tree: Tree
    contractions: Mapping[Op, Contraction]
    options: ScheduleOptions
    nested: bool = False

    @cached_property
    def simd(self) -> bool:
        return self.options.has("simd")

    @cached_property
    def pairwise(self) -> bool:
        return self.options.has("pairwise")

    @cached_property
    def paths(self) -> dict[Op, tuple[LoopNode, ...]]:
        return paths(self.tree)

    @cached_property
    def op_of(self) -> dict[Node, Op]:
        given = self.procedure.given
        return {op.node: op for op in self.ops if op.node not in given and not isinstance(op.node, Constant)}

    @cached_property
    def consumers(self) -> dict[Op, list[Op]]:
        found: dict[Op, list[Op]] = {op: [] for op in self.ops}
        for op in self.ops:
            for source in (*(t.source for t in op.reads), *whole_sources(op)):
                made = self.op_of.get(source)
                if made is not None and made is not op:
                    found[made].append(op)
        return found

    @cached_property
    def called(self) -> dict[Node, str]:
        """The variables of the user's function that hold values: of the nodes that a line makes, the last."""
        last: dict[tuple[str, int, str], Node] = {}
        where = self.procedure.where
        if any(place.variable for place in where.values()):
            for node in topological([o.node for o in self.procedure.outputs]):
                place = where.get(node)
                if place is not None and place.variable and is_identifier(place.variable) and USERS not in place.variable:
                    last[place.file, place.line, place.variable] = node
        return {node: variable for (_, _, variable), node in last.items() if not isinstance(node, Constant)}

    # --- axes -----------------------------------------------------------------------------------------------------

    @cached_property
    def _kept(self) -> dict[Op, tuple[Symbols, dict[sympy.Symbol, StripNode]]]:
        return {op: self._keeps(op) for op in self.paths}

    def kept_axes(self, op: Op) -> Symbols:
        """The output axes that the op's memory needs: those not bound by loops shared with every reader."""
        return self._kept[op][0]

    def strips_of(self, op: Op) -> dict[sympy.Symbol, StripNode]:
        """Of those, the ones that the memory has for one strip only."""
        return self._kept[op][1]

    def _keeps(self, op: Op) -> tuple[Symbols, dict[sympy.Symbol, StripNode]]:
        if op.kind == SCATTER:
            return (), {}
        shared = self.paths[op]
        for k, loop in enumerate(shared):  # a reduction is complete outside its first reduced loop only
            if loop.binding.get(op) in op.reduced_axes:
                shared = shared[:k]
                break
        for c in self.consumers[op]:
            other = self.paths[c]
            k = 0
            while k < len(shared) and k < len(other) and shared[k] is other[k]:
                k += 1
            shared = shared[:k]
        bound = {loop.binding[op]: None for loop in shared if op in loop.binding and not isinstance(loop, StripNode)}
        bound |= dict.fromkeys(op.fixed)
        strips = {loop.binding[op]: loop for loop in shared if isinstance(loop, StripNode) and op in loop.binding}
        kept = tuple(s for s in op.output_axes if s not in bound)
        return kept, {s: loop for s, loop in strips.items() if s not in bound}

    def needs_memory(self, op: Op) -> bool:
        """A reader wants the value as a whole, whatever its shape."""
        return any(op.node in whole_sources(c) for c in self.consumers[op])

    def in_memory(self, op: Op) -> bool:
        """Readers outside the op's nest find its result in a buffer, not in a local."""
        return op.kind == SCATTER or bool(self.kept_axes(op))

    def bound_outside(self, op: Op) -> dict[sympy.Symbol, None]:
        """The output axes bound before the first reduced axis."""
        found: dict[sympy.Symbol, None] = dict.fromkeys(op.fixed)
        for loop in self.paths[op]:
            if op in loop.binding:
                if loop.binding[op] in op.reduced_axes:
                    break
                if not isinstance(loop, StripNode):
                    found[loop.binding[op]] = None
        return found

    def sums_over(self, op: Op) -> list[LoopNode]:
        """The loops over axes that an op reduces, the outermost first."""
        return [loop for loop in self.paths[op] if loop.binding.get(op) in op.reduced_axes]

    def starting(self, node: LoopNode) -> list[Op]:
        """The ops that begin to sum with a loop."""
        return [op for op, s in node.binding.items() if s in op.reduced_axes and self.sums_over(op)[0] is node]


def planned(procedure: Procedure, options: ScheduleOptions, nested: bool = False) -> Plan:
    """The ops and loops of a procedure that is prepared."""
    ops = Inliner(procedure, options).ops()
    fusion = Fusion(ops, options, procedure, rows=nested and options.has("packing"))
    return Plan(procedure, ops, fusion.tree(), fusion.contractions, options, nested)


__all__ = ["Plan", "Symbols", "planned"]
