"""Emission of windows over a border: two nests, the one without a guard where all weights are finite.

What lies outside of a window is 0, and 0 times a finite weight adds nothing, so that the weight needs no test; an infinite
one, or nan, would make nan of a term that is not there.  `unfold` marks such weights: guarded like the window, -0 outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.loops.statements import Assign, Declare, Expr, Variable
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.emit_position import Position
from gradgen.schedule.emit_reads import Reads
from gradgen.schedule.fusion import finite_weights
from gradgen.schedule.inline import Op, ReadTerm, Term
from gradgen.schedule.scope import Builder
from gradgen.schedule.tree import Leaf, LoopNode, leaves


@dataclass(eq=False)
class Finite:
    """Nests that stand twice."""

    plan: Plan
    builder: Builder
    position: Position
    memory: Memory
    reads: Reads

    def either(self, node: LoopNode, emit: Callable[[LoopNode], None]) -> None:
        """The outermost loop over the terms of sums: once; or without guards behind a test for finite weights, and with
        them behind the opposite, where the nest is that of one sum alone.  Small code has guards only."""
        if self.plan.options.size:
            return emit(node)
        starting, inside = self.plan.starting(node), list(leaves([node]))
        weights = self.weights(inside[0]) if len(inside) == 1 else None
        if weights is not None and self.stands_alone(inside[0], starting):
            return self.both(node, inside[0], weights, emit)
        for op in starting:
            weights = self.weights(op)
            if weights is not None:
                self.reads.instead[op] = _bare(op, weights)
        emit(node)

    def stands_alone(self, op: Op, starting: list[Op]) -> bool:
        """Its sums grow in memory from here on, or the nest goes over elements and sums each in a local."""
        if op in starting:
            return op in self.memory.buffers
        bound = self.plan.bound_outside(op)
        return all(s in bound for s in op.output_axes) and bool(self.plan.kept_axes(op) or not self.plan.consumers[op])

    def both(self, node: LoopNode, op: Op, weights: ReadTerm, emit: Callable[[LoopNode], None]) -> None:
        b, loops = self.builder, _loops(node)
        finite = self.all_finite(op, weights, loops)
        for condition, terms in ((finite, _bare(op, weights)), (b.apply("not_", (finite,), bool_), op.terms)):
            self.reads.instead[op] = terms
            for n in loops:  # the second nest has counters of its own
                self.position.counters.pop(n, None)
            with b.under(condition):
                emit(node)

    def weights(self, op: Op) -> ReadTerm | None:
        """The weights in a sum of products with what is 0 where they are not there."""
        return None if op in self.plan.contractions or op in self.reads.instead else finite_weights(op)

    def all_finite(self, op: Op, weights: ReadTerm, loops: list[LoopNode]) -> Expr:
        """Whether the weights that the loops go through are: 0 times each adds up to 0, and to nan otherwise."""
        b, kind = self.builder, weights.dtype
        zero = b.literal(sympy.S.Zero, kind)
        total = b.variable(Variable(kind, b.fresh("s")))
        b.emit(Declare(total, zero))
        env = self.position.env(op)
        own = [n for n in loops if any(e.has(n.binding[op]) for e in weights.index)]
        for n in own:
            env[n.binding[op]] = b.open_loop(self.position.steps(n))
        product = b.apply("mul", (zero, self.reads.read(replace(weights, guard=(), fill=sympy.S.Zero), env)), kind)
        b.emit(Assign(total, b.apply("add", (total, product), kind)))
        for _ in own:
            b.close()
        return b.apply("eq", (total, zero), bool_)


def _bare(op: Op, weights: ReadTerm) -> list[Term]:
    return [replace(t, guard=(), fill=sympy.S.Zero) if t is weights else t for t in op.terms]  # type: ignore[type-var]


def _loops(node: LoopNode | Leaf) -> list[LoopNode]:
    """The loops of a nest with one leaf."""
    found: list[LoopNode] = []
    while isinstance(node, LoopNode):
        found.append(node)
        (node,) = node.children
    return found


__all__ = ["Finite"]
