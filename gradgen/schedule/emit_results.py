"""Emission of results: memory for readers, outputs and gradients, rows of optional ones, and what is not wanted."""

from __future__ import annotations

from dataclasses import replace

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.nodes import Compute, Scatter
from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import ACCUMULATE, USERS, Output
from gradgen.loops.statements import (
    ARGUMENT,
    LOCAL,
    WORK,
    Apply,
    Buffer,
    Comment,
    Expr,
    Fill,
    Literal,
    Pointer,
    Said,
    Statement,
    Store,
)
from gradgen.loops.walk import renamed
from gradgen.schedule.emit_reads import Reads
from gradgen.schedule.inline import MAP, SCATTER, Op
from gradgen.schedule.reductions import exceeds
from gradgen.schedule.tree import Leaf, LoopNode, leaves
from gradgen.schedule.wanted import Places, is_optional, key_of, tests

SHORT_ROW = 8  # elements up to which a test for each costs no more than finding the row
MOST_FORMULAS = 120  # ops of a procedure that still gets formulas in its comments


class Results(Reads):
    """Results to memory and outputs."""

    def result(self, op: Op, value: Expr) -> None:
        """A completed element: to memory if a reader needs it there, and to its outputs."""
        b = self.builder
        if op.node in self.called:
            b.hint(value, self.called[op.node])
        env = self.env(op)
        kept = self.kept_axes(op)
        stored: Buffer | None = None
        if (kept and self.consumers[op]) or self.needs_memory(op):
            if op not in self.buffers:
                self.buffers[op] = self.own_buffer(op)
            stored, kept = self.buffers[op]
            b.emit(Store(stored, self.linear(stored, self.local(op, stored, self.whole_index(op), kept)), value))
            self.forwarded[op] = (b.scope, tuple(env[s] for s in op.output_axes), value)
        if not kept or not self.consumers[op]:
            self.values[op] = value
        for e in op.effects:
            target = self.place_buffer(e.place, op.node)
            if target is stored:
                continue
            at = self.linear(target, tuple(env[s] for s in op.output_axes))
            if (e.mode == ACCUMULATE or is_optional(e.place)) and self.store_row(e, target, at, value):
                continue
            condition = self.presence(e.place, target)
            if condition is not None:
                b.open_if(condition)
            self.store_effect(e, target, at, value)
            if condition is not None:
                b.close()

    def store_effect(self, effect: Output, target: Buffer, index: sympy.Expr, value: Expr) -> None:
        b = self.builder
        if effect.mode == ACCUMULATE:
            total = b.apply("add", (self.raw_load(target, index), value), target.dtype)
            value = b.apply("select", (self.set_flag(), value, total), target.dtype)
        b.emit(Store(target, index, value))

    def copy_out(self, op: Op, effect: Output, buffer: Buffer, kept: tuple[sympy.Symbol, ...]) -> None:
        """A completed array result goes to where it is wanted."""
        b = self.builder
        target = self.place_buffer(effect.place, op.node)
        env = self.env(op)
        condition = self.presence(effect.place, target)
        if condition is not None:
            b.open_if(condition)
        opened = 0
        index: list[sympy.Expr] = []
        bound = self.bound_outside(op) if op.kind != SCATTER else {}
        for s, extent in zip(op.output_axes or op.axes[: len(op.shape)], op.shape, strict=True):
            if s in bound and s in env:
                index.append(env[s])
            else:
                strip = self.strip_of(op, s)
                counter = b.open_loop(self.span(op, s) if op.kind != SCATTER else extent)
                index.append(counter if strip is None or op.kind == SCATTER else self.open_strips[strip] + counter)
                opened += 1
        inner = tuple(index) if op.kind == SCATTER else self.local(op, buffer, tuple(index), kept)
        value = b.load(buffer, self.linear(buffer, inner), (), sympy.S.Zero, False)
        self.store_effect(effect, target, self.linear(target, tuple(index)), value)
        for _ in range(opened):
            b.close()
        if condition is not None:
            b.close()

    def finished(self, op: Op, buffer: Buffer) -> None:
        """The op's whole value is in `buffer`: its outputs get it from there."""
        self.buffers[op] = (buffer, op.output_axes)
        for e in op.effects:
            if self.place_buffer(e.place, op.node) is not buffer:
                self.copy_out(op, e, buffer, op.output_axes)

    def in_memory(self, op: Op) -> bool:
        """Readers outside the op's nest find its result in a buffer, not in a local."""
        return op.kind == SCATTER or bool(self.kept_axes(op))

    def find_tests(self) -> None:
        """Decides what is tested for the places that want it."""
        self.tests = tests(self.tree, self.consumers, self.contractions, self.in_memory, self.options.costs)
        for op in reversed(self.ops):
            for e in op.effects:
                if is_optional(e.place):
                    self.places_of[key_of(e.place)] = self.place_buffer(e.place, op.node)

    def any_present(self, needs: Places | None, assume: bool = True) -> Expr | None:
        """Whether any of these places is there; `assume`: inside, the only one is not tested again."""
        if needs is None:
            return None
        b = self.builder
        conditions = [self.presence(p, self.places_of[p]) for p in needs]
        if len(needs) == 1 and assume:
            self.assumed = next(iter(needs))
        result: Expr | None = None
        for c in conditions:
            assert c is not None
            result = c if result is None else b.apply("or_", (result, c), bool_)
        return result

    def needs_row(self, op: Op, node: LoopNode) -> bool:
        return op.kind == MAP and any(e.mode == ACCUMULATE or is_optional(e.place) for e in op.effects)

    def store_row(self, effect: Output, target: Buffer, at: sympy.Expr, value: Expr) -> bool:
        """In a vector loop, a store without a condition: through a pointer to the row that is wanted, or to memory that
        nobody reads; the old gradient likewise comes from the row or from zeros.  False where that is not possible."""
        row, b = self.row, self.builder
        if row is None or exceeds(row.size, self.options.costs.row) or not exceeds(row.size, SHORT_ROW):
            return False
        slope = sympy.expand(at).coeff(row.counter, 1)
        start = at.xreplace({row.counter: row.start})
        if slope != 1 or sympy.expand(at - row.counter + row.start - start) != 0 or start.has(row.counter):
            return False
        assert b.scope.parent is not None
        condition = self.presence(effect.place, target)
        name = target.name
        index: sympy.Expr = at
        if condition is not None:
            name = b.fresh("row")
            sink = self.waste("sink", target.dtype, row.size)
            b.scope.parent.items.append(Pointer(name, target, start, condition, sink))
            index = row.counter - row.start
        if effect.mode == ACCUMULATE:
            keep = b.apply("not_", (self.set_flag(),), bool_)
            if condition is not None:
                keep = b.apply("and_", (condition, keep), bool_)
            old = b.fresh("row")
            zeros = self.waste("nothing", target.dtype, row.size)
            b.scope.parent.items.append(Pointer(old, target, start, keep, zeros, True))
            before = self.raw_load(Buffer(old, target.dtype, (), LOCAL), row.counter - row.start)
            value = b.apply("add", (before, value), target.dtype)
        b.emit(Store(Buffer(name, target.dtype, (), LOCAL) if condition is not None else target, index, value))
        return True

    def waste(self, what: str, dtype: DType, size: Extent) -> Buffer:
        """A row of WORK to write unwanted values to, or one of negative zeros (-0 + x is x, whatever x is)."""
        key = (what, dtype)
        if key not in self.wasted:
            self.wasted[key] = Buffer(self.builder.fresh(what), dtype, (0,), WORK)
        buffer = self.wasted[key]
        self.widths[buffer] = max(self.widths.get(buffer, 0), size)  # type: ignore[type-var]
        return buffer

    def fill_nothing(self) -> None:
        """Before everything else: the zeros that stand for gradients that are set."""
        b = self.builder
        for (what, dtype), buffer in [*self.wasted.items(), *self.inner_waste]:
            if what == "nothing":
                zero = Apply(dtype, "neg", (Literal(dtype, sympy.S.Zero),))
                b.root.items.insert(0, Fill(buffer, 0, self.widths[buffer], zero))

    def finish(self) -> tuple[tuple[Statement, ...], tuple[Buffer, ...]]:
        """All statements and buffers, wasted rows as long as the longest that was asked for."""
        sized = {b: replace(b, shape=(size,)) for b, size in self.widths.items()}
        found = [*self.places.values(), *self.constants.values(), *(b for b, _ in self.buffers.values()),
                 *self.wasted.values(), *self.extra]
        statements = self.builder.finish()
        if sized:
            statements = renamed(statements, sized, {})
        return statements, tuple(dict.fromkeys(sized.get(b, b) for b in found))

    def comment(self, node: LoopNode | Leaf) -> Comment | None:
        """The user's lines behind a nest that has just been built, and what it computes."""
        lines: dict[str, dict[str, None]] = {}
        values: list[Said] = []
        for op in leaves([node]):
            for member in reversed(op.members):
                where = self.procedure.where.get(member)
                if where is not None:
                    lines.setdefault(f"{where.file}:{where.line}", {})[where.operation] = None
            self.name_result(op)
            if len(self.ops) <= MOST_FORMULAS and isinstance(op.node, (Compute, Scatter)):
                letters = tuple((s, str(e)) for s, e in self.env(op).items() if e.is_Symbol)
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
        if op.effects and op.effects[0].place.space == ARGUMENT and not self.nested:
            self.names[op.node] = op.effects[0].place.name
        elif op in self.buffers:
            self.names[op.node] = self.buffers[op][0].name
        elif op in self.accumulators and self.accumulators[op].position is None:
            self.names[op.node] = self.accumulators[op].total.name
        for member in op.members:
            if member in self.called:  # scalars, if it is not in memory
                self.names.setdefault(member, f"{self.called[member]}{USERS}")
