"""Emission of what an op reads and computes at one point: terms to scalars, guards, and checks of indices from data."""

from __future__ import annotations

import sympy

from gradgen.errors import ScheduleError
from gradgen.ir.dtypes import bool_, int64
from gradgen.ir.guards import GE, Condition
from gradgen.ir.nodes import Constant, Node
from gradgen.ir.symbols import Extent, same_extent
from gradgen.loops.procedure import USERS
from gradgen.loops.statements import ARGUMENT, WORK, Buffer, Expr, Fail, Store
from gradgen.schedule.emit_base import Base, linear_index
from gradgen.schedule.inline import (
    SCATTER,
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
from gradgen.schedule.wanted import Places


class Reads(Base):
    """Terms to scalars."""

    def terms(self, op: Op) -> Expr:
        """Creates the scalars of the op's terms for the current counters; the value of its root."""
        env = dict(self.env(op))
        values = self.evaluate(op.terms[: op.root + 1], env, index_terms(op))
        self.term_symbols = {op: {s: e for s, e in env.items() if s.name.startswith("term ")}}
        return values[op.root]

    def evaluate(self, terms: list[Term], env: dict[sympy.Symbol, sympy.Expr], wanted: dict[int, None]) -> list[Expr]:
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

    def body(self, term: BodyTerm, args: list[Expr], env: dict[sympy.Symbol, sympy.Expr]) -> Expr:
        b = self.builder
        done: list[Expr] = []
        for s in term.recipe.steps:
            if s.op == "arg":
                done.append(args[s.payload])  # type: ignore[call-overload]
            elif s.op == "literal":
                done.append(b.literal(s.payload, s.dtype))  # type: ignore[arg-type]
            elif s.op == "index":
                inner = substitute(s.payload, term.where) if term.where else s.payload  # type: ignore[arg-type]
                done.append(b.index(sympy.sympify(substitute(inner, env)), int64))  # type: ignore[arg-type]
            else:
                done.append(b.apply(s.op, tuple(done[a] for a in s.args), s.dtype))
        if term.node in self.called:
            b.hint(done[-1], self.called[term.node])
        return done[-1]

    def guarded(self, term: SelectTerm, value: Expr, env: dict[sympy.Symbol, sympy.Expr]) -> Expr:
        b = self.builder
        guard = tuple(c.substitute(env) for c in term.guard)
        return b.apply("select", (b.holds(guard, bool_), value, b.literal(term.fill, term.dtype)), term.dtype)

    def read(self, term: ReadTerm, env: dict[sympy.Symbol, sympy.Expr]) -> Expr:
        b = self.builder
        if term.source in self.given_values:
            return self.given_values[term.source]
        index = tuple(substitute(e, env) for e in term.index)
        guard = tuple(c.substitute(env) for c in term.guard)
        op = self.op_of.get(term.source)
        if op is not None and op in self.values:
            value = self.values[op]
            if not guard:
                return value
            return b.apply("select", (b.holds(guard, bool_), value, b.literal(term.fill, term.dtype)), term.dtype)
        if op is not None and op in self.forwarded and not guard:  # just computed, in this iteration
            scope, at, value = self.forwarded[op]
            if at == index and any(scope is s for s in b.scope.chain()):
                return value
        buffer = self.source_buffer(term.source)
        hoist = all(self.inside(i, e) for i, e in zip(index, term.source.shape, strict=True))
        at = self.element(term.source, buffer, index)
        found = b.load(buffer, at, guard, term.fill if guard else sympy.S.Zero, hoist)
        user, _, _ = buffer.name.partition(USERS)
        if buffer.place is not None and not self.nested and (buffer.space == ARGUMENT or user != buffer.name):
            b.hint(found, user)
        return found

    def element(self, node: Node, buffer: Buffer, index: tuple[sympy.Expr, ...]) -> sympy.Expr:
        """The number of an element of a value in the memory that has it."""
        op = self.op_of.get(node)
        if op is None:  # what a step is given may lie in memory without its axes of extent 1
            return linear_index(node.shape, index)
        if op.kind != SCATTER:
            index = self.local(op, buffer, index, self.buffers[op][1])
        return self.linear(buffer, index)

    def source_buffer(self, node: Node) -> Buffer:
        if node in self.procedure.given:
            return self.place_buffer(self.procedure.given[node], node)
        if isinstance(node, Constant):
            return self.constant_buffer(node)
        op = self.op_of[node]
        if op not in self.buffers:
            raise ScheduleError("a value is read before it is computed", where=repr(node))
        return self.buffers[op][0]

    def whole_buffer(self, node: Node) -> Buffer:
        """Memory that holds all of a value; for an optional argument a copy that is there."""
        b = self.builder
        buffer = self.source_buffer(node)
        place = self.procedure.given.get(node)
        if place is None or not place.optional:
            return buffer
        copy = Buffer(b.fresh("v"), node.dtype, node.shape, WORK)
        self.extra.append(copy)
        at = b.open_loop(buffer.size)
        b.emit(Store(copy, at, b.load(buffer, at, (), sympy.S.Zero, False)))
        b.close()
        return copy

    def inside(self, index: sympy.Expr, extent: Extent) -> bool:
        """The index is in range wherever its symbols have values."""
        if index.is_Integer:
            return isinstance(extent, int) and 0 <= int(index) < extent
        known = self.builder.known.get(index)
        if known is not None:
            return same_extent(known, extent)
        entry = self.builder.symbols.get(index)
        return entry is not None and entry[1] is not None and same_extent(entry[1], extent)

    def full_env(self, op: Op) -> dict[sympy.Symbol, sympy.Expr]:
        return {**self.env(op), **self.term_symbols[op]}

    def check_indices(self) -> None:
        """Before anything is written: every index that comes from given data is inside its tensor."""
        for op in self.paths:
            for check in op.checks:
                if check.early:
                    self.check(op, check)

    def check(self, op: Op, check: Check, needs: Places | None = None) -> None:
        """`needs`: the places of which one is there where the test is made; None: it is made in any case."""
        made = self.checked.setdefault(check.key, [])
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
        env = {**op.fixed, **{s: b.open_loop(op.extent_of(s)) for s in axes}}
        self.evaluate(list(check.terms), env, dict.fromkeys(range(len(check.terms))))
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
