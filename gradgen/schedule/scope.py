"""Scopes: nested loop bodies under construction, with value numbering.

Every scalar is created once per scope in which its operands live, and lives in the outermost scope that has all of
them: loop-invariant values are hoisted and common subexpressions shared by construction, over all nodes of a nest.
When a function is complete, values used once are folded into their user's expression and dead ones vanish.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sympy

from gradgen.errors import ScheduleError
from gradgen.ir.dtypes import DType
from gradgen.ir.guards import Guard
from gradgen.ir.symbols import Dim, Extent
from gradgen.loops.atoms import implies
from gradgen.loops.procedure import USERS
from gradgen.loops.statements import (
    Apply,
    Assign,
    Buffer,
    CVar,
    Declare,
    Expr,
    Holds,
    Index,
    Let,
    Literal,
    Load,
    Statement,
    Variable,
)
from gradgen.loops.walk import bound, pointed, used, writes
from gradgen.schedule.numbering import Numbering, Scope


class Builder(Numbering):
    """Builds one function body.  `home` of an expression is the scope it is computed in."""

    def __init__(self, reserved: Iterable[str]) -> None:
        super().__init__(self.unused)
        self.reserved = set(reserved)
        self.symbols: dict[sympy.Symbol, tuple[Scope, Extent | None]] = {}
        self.known: dict[sympy.Expr, Extent] = {}  # sums of counters that stay in a range
        self.accumulating: dict[Expr, Scope] = {}  # variables that an open loop assigns: where they are declared
        self.assigned: dict[Expr, None] = {}
        self.writers: dict[Buffer, dict[Scope, None]] = {}  # of buffers: the scopes that write them
        self.bound: dict[str, Scope] = {}  # where a row or a local is declared
        self.hints: dict[Expr, str] = {}
        self.counter = 0

    # --- names and scopes -----------------------------------------------------------------------------------------

    def unused(self, prefix: str) -> str:
        """An unused C name: the prefix and a number, in program order."""
        while True:
            name = f"{prefix}{self.counter}"
            self.counter += 1
            if name not in self.reserved:
                return name

    def counter_name(self, depth: int) -> str:
        name = "ijklmn"[depth] if depth < 6 else f"i{depth}"
        while name in self.reserved:
            name += "_"
        return name

    def loops(self) -> int:
        return sum(1 for s in self.scope.chain() if s.variable is not None)

    def open_loop(self, stop: Extent, start: Extent = 0, step: int = 1, extent: Extent | None = None) -> CVar:
        """Enters a loop and returns its counter; `extent` is the range the counter is known to stay in."""
        variable = CVar(self.counter_name(self.loops()), integer=True, nonnegative=True)
        scope = Scope(self.scope, variable, start, stop, step, depth=self.scope.depth + 1)
        self.scope = scope  # joins its parent when it is closed: what is hoisted meanwhile comes before it
        self.symbols[variable] = (scope, stop if extent is None else extent)
        return variable

    def open_if(self, condition: Expr) -> None:
        self.scope = Scope(self.scope, condition=condition, depth=self.scope.depth + 1)

    @contextmanager
    def under(self, condition: Expr | None) -> Iterator[None]:
        """What is made inside runs where the condition holds; None: always."""
        if condition is not None:
            self.open_if(condition)
        yield
        if condition is not None:
            self.close()

    def close(self) -> Scope:
        done = self.scope
        assert done.parent is not None
        done.parent.items.append(done)
        self.scope = done.parent
        for variable in [v for v in self.assigned if self.accumulating.get(v) is done.parent]:
            del self.accumulating[variable], self.assigned[variable]
        return done

    # --- values ---------------------------------------------------------------------------------------------------

    def scope_of_index(self, expr: sympy.Expr) -> Scope:
        """The outermost scope in which all symbols of an index expression have values."""
        found = self.root
        for s in expr.free_symbols:
            if isinstance(s, Dim):
                continue
            entry = self.symbols.get(s)
            if entry is None:
                raise ScheduleError(f"index expression {expr} mentions {s}, which no loop binds")
            if entry[0].depth > found.depth:
                found = entry[0]
        return found

    def scope_of_guard(self, guard: Guard) -> Scope:
        found = self.root
        for c in guard:
            here = self.scope_of_index(c.expr)
            if here.depth > found.depth:
                found = here
        return found

    def hint(self, value: Expr, user: str) -> None:
        """The value is what a variable of the user's holds."""
        if not isinstance(value, self.inline):
            self.hints.setdefault(value, f"{user}{USERS}")

    def name(self, e: Expr) -> str:
        return self.fresh(self.hints.get(e, "t"))

    def place(self, key: tuple, home: Scope, expr: Expr) -> Expr:
        self.home[expr] = home
        return self.placed(key, home, expr)

    def literal(self, value: sympy.Basic, dtype: DType) -> Expr:
        key = ("literal", value, dtype)
        return self.root.values.get(key) or self.place(key, self.root, Literal(dtype, value))

    def index(self, expr: sympy.Expr, dtype: DType) -> Expr:
        home = self.scope_of_index(expr)
        key = ("index", expr)
        return home.values.get(key) or self.place(key, home, Index(dtype, expr))

    def variable(self, variable: Variable) -> Variable:
        """Registers a declared local as living in the current scope."""
        self.home[variable] = self.scope
        return variable

    def apply(self, op: str, args: tuple[Expr, ...], dtype: DType) -> Expr:
        if dtype.wider and op not in ("select", "cast"):
            wide = tuple(self.apply("cast", (a,), dtype.wider) for a in args)
            return self.apply("cast", (self.apply(op, wide, dtype.wider),), dtype)
        home = self.root
        for a in args:
            scope = self.home[a]
            if scope.depth > home.depth:
                home = scope
            if self.accumulating.get(a, self.scope) is not self.scope:
                home = self.scope  # another value each time round
        key = (op, dtype, *args)
        return home.values.get(key) or self.place(key, home, Apply(dtype, op, args))

    def load(self, buffer: Buffer, index: sympy.Expr, guard: Guard, fill: sympy.Expr, hoist: bool) -> Expr:
        """`hoist`: the index is inside the buffer wherever its symbols have values, even in a loop of no steps."""
        home = self.scope
        if hoist:
            home = self.scope_of_index(index)
            for inner in (self.scope_of_guard(guard), self.written(buffer)):
                home = inner if inner.depth > home.depth else home
        key = ("load", buffer, index, guard, fill)
        for scope in self.scope.chain():  # a pinned load serves the scopes inside its own
            if scope.depth < home.depth:
                break
            if key in scope.values:
                return scope.values[key]
        return self.place(key, home, Load(buffer.dtype, buffer, index, guard, fill))

    def holds(self, guard: Guard, dtype: DType) -> Expr:
        home = self.scope_of_guard(guard)
        key = ("holds", guard)
        return home.values.get(key) or self.place(key, home, Holds(dtype, guard))

    def symbol_for(self, expr: Expr) -> sympy.Expr:
        """An index symbol that stands for an integer scalar: the value gets a name of its own."""
        if isinstance(expr, Index):
            return expr.expr
        if isinstance(expr, Literal):
            return sympy.sympify(expr.value)
        if expr not in self.pinned:
            symbol = self.pin(expr, next(used(expr), None) or self.fresh("n"))
            self.symbols[symbol] = (self.home[expr], None)
        return self.pinned[expr]

    def named_index(self, variable: Variable, value: sympy.Expr) -> CVar:
        """A local of the current scope for an index expression."""
        symbol = CVar(variable.name, integer=True, nonnegative=True)
        self.emit(Let(variable, Index(variable.dtype, value)))
        self.symbols[symbol] = (self.scope, None)
        return symbol

    def written(self, buffer: Buffer) -> Scope:
        """The outermost scope in which the buffer has the value that is read now: a loop that fills it anew each time
        round holds its readers too, whatever their index mentions."""
        found = self.bound.get(buffer.name, self.root)
        here = set(self.scope.chain())
        for writer in self.writers.get(buffer, ()):
            common = next(s for s in writer.chain() if s in here)
            needs = tuple(c for s in writer.chain() if s not in here for c in s.known)
            if needs:  # it has that value in certain cases only
                common = next((s for s in self.outside_in() if implies(s.around(), needs)), self.scope)
            found = common if common.depth > found.depth else found
        return found

    def outside_in(self) -> Iterable[Scope]:
        """The open scopes from the outermost on."""
        return reversed(list(self.scope.chain()))

    def emit(self, statement: Statement) -> None:
        self.scope.items.append(statement)
        if isinstance(statement, Declare):
            self.accumulating[statement.variable] = self.scope
        elif isinstance(statement, Assign):
            self.assigned[statement.variable] = None
        self.bound.update(dict.fromkeys(bound(statement), self.scope))
        for target in (*writes(statement), *pointed(statement)):  # what is stored through a pointer, from here on
            self.will_write(target)

    def will_write(self, buffer: Buffer) -> None:
        """The current scope writes the buffer, now or further down: what reads it there is not hoisted out."""
        self.writers.setdefault(buffer, {})[self.scope] = None


__all__ = ["Builder"]
