"""Emission of contractions as calls of the matrix kernel."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.ir.guards import EQ, Condition
from gradgen.ir.symbols import Extent, as_extent, free_symbols
from gradgen.loops.procedure import ACCUMULATE, Output
from gradgen.loops.statements import Buffer, Contract, Expr, Operand
from gradgen.schedule.contraction import Contraction
from gradgen.schedule.cost import KERNEL_TERMS
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan, Symbols
from gradgen.schedule.emit_position import Env, Position
from gradgen.schedule.emit_reductions import Reductions
from gradgen.schedule.emit_results import Results
from gradgen.schedule.emit_wanted import Wanted
from gradgen.schedule.inline import Op, ReadTerm, substitute
from gradgen.schedule.reductions import exceeds
from gradgen.schedule.scope import Builder
from gradgen.schedule.unfold import marks_absent

FEW_ROWS = 24  # an operand that serves so few is not looked through for infinities (1/50 of the time at 48, a quarter at 4)


@dataclass(eq=False)
class Products:
    """Matrix products."""

    plan: Plan
    builder: Builder
    position: Position
    memory: Memory
    wanted: Wanted
    results: Results
    reductions: Reductions

    def contract(self, op: Op, c: Contraction) -> None:
        """The product goes to memory, or straight to the only place that wants it."""
        b, memory = self.builder, self.memory
        if op in self.reductions.split:
            with b.under(self.reductions.to_be_there(op)):
                sets = self.sets_first(op)
                if sets is not None:
                    with b.under(sets):
                        self.product(op, c, *memory.buffers[op], False)
                with b.under(None if sets is None else b.apply("not_", (sets,), bool_)):
                    self.product(op, c, *memory.buffers[op], True)
            return
        if self.plan.consumers[op] or len(op.effects) != 1:
            target, kept = memory.own(op)
            self.product(op, c, target, kept, False)
            self.results.finished(op, target, kept)
            return
        effect = op.effects[0]
        place = memory.place(effect.place, op.node)
        with b.under(self.wanted.present(effect.place)):
            with b.under(self.wanted.sets() if effect.mode == ACCUMULATE else None):
                self.product(op, c, place, op.output_axes, False)
            if effect.mode == ACCUMULATE:
                with b.under(b.apply("not_", (self.wanted.sets(),), bool_)):
                    self.add(op, c, effect, place)

    def add(self, op: Op, c: Contraction, effect: Output, place: Buffer) -> None:
        """The product is added to a gradient."""
        if effect.in_parts or self.single_pass(op, c):
            self.product(op, c, place, op.output_axes, True)
        else:  # the sum is completed before it is added
            kept = self.plan.kept_axes(op)
            target, kept = self.memory.buffers[op] = (self.memory.work(op, kept), kept)
            self.product(op, c, target, kept, False)
            self.results.copy_out(op, effect, target, kept)

    def sets_first(self, op: Op) -> Expr | None:
        """Where a gradient is set, the first part of its sum is written, not added to zeros: whether this is that part.
        None where parts are added in any case."""
        running = self.reductions.running.get(op)
        if running is None or running.first is None:
            return None
        b = self.builder
        at = self.position
        counter = at.open_strips.get(running.first, at.counters.get(running.first))  # type: ignore[call-overload]
        here = b.holds((Condition(EQ, counter),), bool_)
        return b.apply("and_", (self.wanted.sets(), here), bool_)

    def single_pass(self, op: Op, c: Contraction) -> bool:
        """The kernel adds each sum to the result once: all terms fit in its registers' block, on one merged axis."""
        terms: Extent = 1
        for s in c.k:
            terms = terms * op.extent_of(s)
        return len(c.k) <= 1 and not exceeds(terms, KERNEL_TERMS)

    def product(self, op: Op, c: Contraction, target: Buffer, kept: Symbols, accumulate: bool) -> None:
        """Calls of the matrix kernel: neighbouring axes are merged where all strides allow, others are looped over."""
        b = self.builder
        env = self.position.env(op)
        looped_over = dict.fromkeys(env)
        for s in op.loop_axes:
            if s not in env:
                env[s] = self.position.shifted(op, s)
        at = self.memory.at(op, target, tuple(env[s] for s in op.output_axes), kept)
        views = [self.view(c.a, env), self.view(c.b, env), (target, at)]
        chosen: dict[str, tuple[Extent, sympy.Symbol]] = {}
        looped: list[sympy.Symbol] = []
        for role, symbols in (("m", c.m), ("n", c.n), ("k", c.k)):
            if not symbols:  # a single row: no operand mentions its number
                chosen[role] = (1, sympy.Dummy())
                continue
            extent, last, rest = self.merged(op, [s for s in symbols if s not in looped_over], views)
            chosen[role] = (extent, last)
            looped += rest
        over_k = [s for s in looped if s in c.k]
        if over_k and not accumulate:
            zero = b.literal(sympy.S.Zero, op.node.dtype)
            self.reductions.fill(op, target, kept, tuple(s for s in kept if s in (*c.m, *c.n) and s not in looped_over), zero)
        bound = {s: b.open_loop(self.position.span(op, s)) for s in [*(s for s in looped if s not in c.k), *over_k]}
        views = [(buffer, sympy.sympify(at).xreplace(bound)) for buffer, at in views]
        operands = []
        for (buffer, at), roles_of in zip(views, ("mk", "kn", "mn"), strict=True):
            spread = sympy.expand(at)
            strides = tuple(as_extent(_slope(spread, chosen[r][1])) for r in roles_of)
            operands.append(Operand(buffer, self.start(at, op), strides))  # type: ignore[arg-type]
        m, n, k = (chosen[r][0] for r in "mnk")
        limits = tuple(self.position.limit(e) for e in (m, n, k))
        adds = accumulate or bool(over_k)
        sides = (("a", c.a, m), ("b", c.b, n))
        absent = "".join(name for name, read, reuse in sides if marks_absent(read.source) and exceeds(reuse, FEW_ROWS))
        x, y, z = operands
        b.emit(Contract(op.node.dtype, m, n, k, x, y, z, adds, limits, absent))  # type: ignore[arg-type]
        for _ in bound:
            b.close()

    def view(self, read: ReadTerm, env: Env) -> tuple[Buffer, sympy.Expr]:
        """The memory of an operand and its element number; axes that are not looped over stay symbols."""
        index = tuple(substitute(e, env) for e in read.index)
        buffer = self.memory.source(read.source)
        return buffer, self.memory.element(read.source, buffer, index)

    def start(self, at: sympy.Expr, op: Op) -> Extent:
        return as_extent(sympy.sympify(at).xreplace(dict.fromkeys(op.loop_axes, sympy.S.Zero)))

    def merged(
        self, op: Op, symbols: list[sympy.Symbol], views: list[tuple[Buffer, sympy.Expr]]
    ) -> tuple[Extent, sympy.Symbol, list[sympy.Symbol]]:
        """One axis out of several neighbouring ones: its extent, the symbol whose stride it has, and the axes left."""
        extent, last = self.position.span(op, symbols[-1]), symbols[-1]
        left = symbols[:-1]
        while left:
            s = left[-1]
            for _, at in views:
                spread = sympy.expand(at)
                outer, inner = _slope(spread, s), _slope(spread, last)
                if sympy.expand(outer - inner * extent) != 0:
                    return extent, last, left
            extent = as_extent(extent * self.position.span(op, s))
            left = left[:-1]
        return extent, last, left


def _slope(spread: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """What a symbol is multiplied by in a sum."""
    return spread.coeff(symbol, 1) if symbol in free_symbols(spread) else sympy.S.Zero


__all__ = ["Products"]
