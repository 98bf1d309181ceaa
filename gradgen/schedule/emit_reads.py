"""Emission of what an op reads and computes at one point: terms to scalars, and checks of indices from data."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy

from gradgen.ir.dtypes import INDEX, bool_
from gradgen.ir.guards import GE, Condition
from gradgen.ir.symbols import Extent, same_extent
from gradgen.loops.procedure import USERS
from gradgen.loops.statements import ARGUMENT, Expr, Fail
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.emit_position import Env
from gradgen.schedule.inline import (
    BodyTerm,
    Check,
    Op,
    ReadTerm,
    SelectTerm,
    Term,
    index_terms,
    substitute,
    term_numbers,
    term_symbol,
)
from gradgen.schedule.scope import Builder
from gradgen.schedule.wanted import Places


@dataclass(eq=False)
class Reads:
    """Terms to scalars.  `instead` are terms to be taken for those of an op."""

    plan: Plan
    builder: Builder
    memory: Memory
    instead: dict[Op, list[Term]] = field(default_factory=dict)

    def value(self, op: Op, env: Env) -> Expr:
        """Creates the scalars of the op's terms at this position; the value of its root.  `env` gets indices from data."""
        return self.evaluate(self.instead.get(op, op.terms)[: op.root + 1], env, index_terms(op))[op.root]

    def evaluate(self, terms: list[Term], env: Env, wanted: dict[int, None]) -> list[Expr]:
        """Values of terms; `wanted` ones get a symbol in `env`, for index expressions."""
        values: list[Expr] = []
        for k, term in enumerate(terms):
            if isinstance(term, ReadTerm):
                values.append(self.read(term, env))
            elif isinstance(term, BodyTerm):
                values.append(self.body(term, [values[a] for a in term.args], env))
            else:
                values.append(self.guarded(term, values[term.value], env))
            if k in wanted and not values[-1].dtype.is_floating_point:
                env[term_symbol(k)] = self.builder.symbol_for(values[-1])
        return values

    def body(self, term: BodyTerm, args: list[Expr], env: Env) -> Expr:
        b = self.builder
        done: list[Expr] = []
        for s in term.recipe.steps:
            if s.op == "arg":
                done.append(args[s.payload])  # type: ignore[call-overload]
            elif s.op == "literal":
                done.append(b.literal(s.payload, s.dtype))  # type: ignore[arg-type]
            elif s.op == "index":
                inner = substitute(s.payload, term.where) if term.where else s.payload  # type: ignore[arg-type]
                done.append(b.index(sympy.sympify(substitute(inner, env)), INDEX))  # type: ignore[arg-type]
            else:
                done.append(b.apply(s.op, tuple(done[a] for a in s.args), s.dtype))
        if term.node in self.plan.called:
            b.hint(done[-1], self.plan.called[term.node])
        return done[-1]

    def guarded(self, term: ReadTerm | SelectTerm, value: Expr, env: Env) -> Expr:
        b = self.builder
        guard = tuple(c.substitute(env) for c in term.guard)
        return b.apply("select", (b.holds(guard, bool_), value, b.literal(term.fill, term.dtype)), term.dtype)

    def read(self, term: ReadTerm, env: Env) -> Expr:
        b, memory = self.builder, self.memory
        if term.source in memory.given:
            return memory.given[term.source]
        op = self.plan.op_of.get(term.source)
        if op is not None and op in memory.values:
            value = memory.values[op]
            return self.guarded(term, value, env) if term.guard else value
        index = tuple(substitute(e, env) for e in term.index)
        guard = tuple(c.substitute(env) for c in term.guard)
        if op is not None and op in memory.forwarded and not guard:  # just computed, in this iteration
            scope, at, value = memory.forwarded[op]
            if at == index and any(scope is s for s in b.scope.chain()):
                return value
        buffer = memory.source(term.source)
        hoist = all(self.inside(i, e) for i, e in zip(index, term.source.shape, strict=True))
        at_element = memory.element(term.source, buffer, index)
        found = b.load(buffer, at_element, guard, term.fill if guard else sympy.S.Zero, hoist)
        user, _, _ = buffer.name.partition(USERS)
        if buffer.place is not None and not self.plan.nested and (buffer.space == ARGUMENT or user != buffer.name):
            b.hint(found, user)
        return found

    def inside(self, index: sympy.Expr, extent: Extent) -> bool:
        """The index is in range wherever its symbols have values."""
        if index.is_Integer:
            return isinstance(extent, int) and 0 <= int(index) < extent
        known = self.builder.known.get(index)
        if known is not None:
            return same_extent(known, extent)
        entry = self.builder.symbols.get(index)
        return entry is not None and entry[1] is not None and same_extent(entry[1], extent)


@dataclass(eq=False)
class Checks:
    """Tests of indices that come from data; `made` are those that stand somewhere, and what has to be there for them."""

    builder: Builder
    reads: Reads
    made: dict[tuple, list[Places | None]] = field(default_factory=dict)

    def check(self, op: Op, check: Check, needs: Places | None = None) -> None:
        """`needs`: the places of which one is there where the test is made; None: it is made in any case."""
        made = self.made.setdefault(check.key, [])
        if any(m is None or (needs is not None and m.keys() >= needs.keys()) for m in made):
            return
        made.append(needs)
        b = self.builder
        conditions: list[Condition] = []
        for e, extent in zip(check.index, check.shape, strict=True):
            if term_numbers([e]):
                conditions += [Condition(GE, e), Condition(GE, sympy.sympify(extent) - 1 - e)]
        used = {s for c in (*conditions, *check.guard) for s in c.expr.free_symbols}
        axes = [s for s in op.loop_axes if s in used or any(_mentions(t, s) for t in check.terms)]
        env: Env = {**op.fixed, **{s: b.open_loop(op.extent_of(s)) for s in axes}}
        self.reads.evaluate(list(check.terms), env, dict.fromkeys(range(len(check.terms))))
        bad = b.apply("not_", (b.holds(tuple(c.substitute(env) for c in conditions), bool_),), bool_)
        if check.guard:
            bad = b.apply("and_", (b.holds(tuple(c.substitute(env) for c in check.guard), bool_), bad), bool_)
        b.open_if(bad)
        b.emit(Fail("GRADGEN_ERR_INDEX"))
        b.close()
        for _ in axes:
            b.close()


def _mentions(term: object, symbol: sympy.Symbol) -> bool:
    if isinstance(term, ReadTerm):
        return any(e.has(symbol) for e in term.index) or any(c.expr.has(symbol) for c in term.guard)
    if isinstance(term, SelectTerm):
        return any(c.expr.has(symbol) for c in term.guard)
    assert isinstance(term, BodyTerm)
    indices = [s.payload for s in term.recipe.steps if s.op == "index"]
    return any(substitute(e, term.where).has(symbol) for e in indices)  # type: ignore[arg-type]


__all__ = ["Checks", "Reads"]
