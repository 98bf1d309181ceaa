"""Value numbering: every scalar once in a scope that can have it; and blocks written out of numbered values.

What is used once goes into its user's expression, what is shared gets a name, what nobody uses vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import sympy

from gradgen.ir.symbols import Extent
from gradgen.loops.atoms import Conjunction, formula
from gradgen.loops.statements import (
    Apply,
    Comment,
    CVar,
    Expr,
    If,
    Index,
    Let,
    Literal,
    Loop,
    Statement,
    Variable,
)
from gradgen.loops.walk import expressions, index_symbols, mapped, statements_in

MAX_DEPTH = 10  # of an expression that is written in one place: beyond it a name reads better


@dataclass(eq=False)
class Scope:
    """One block of statements; `variable` is its loop counter, `items` what it holds so far."""

    parent: Scope | None = None
    variable: CVar | None = None
    start: Extent = 0
    stop: Extent = 0
    step: int = 1
    condition: Expr | None = None
    simd: bool = False
    reductions: list[tuple[str, Variable]] = field(default_factory=list)
    items: list[object] = field(default_factory=list)  # Statement | Scope | Placed
    values: dict[tuple, Expr] = field(default_factory=dict)
    depth: int = 0

    @cached_property
    def known(self) -> Conjunction:
        """What holds inside by its own condition."""
        return () if self.condition is None else formula(self.condition, True, lambda name: None)

    def around(self) -> Conjunction:
        """What holds inside."""
        return tuple(c for s in self.chain() for c in s.known)

    def chain(self) -> Iterable[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@dataclass(eq=False, slots=True)
class Placed:
    """A scalar at the place where it can first be computed."""

    expr: Expr


class Numbering:
    """Scopes under construction; `key` of a value says when two of them are one."""

    inline: tuple[type[Expr], ...] = (Literal, Index, Variable)  # what has no place of its own

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self.fresh = fresh
        self.root = self.scope = Scope()
        self.home: dict[Expr, Scope] = {}  # where a value must be computed, if not where it is used
        self.pinned: dict[Expr, CVar] = {}  # values that indices name
        self.by_symbol: dict[sympy.Symbol, Expr] = {}

    def placed(self, key: tuple, home: Scope, expr: Expr) -> Expr:
        """A value that `home` did not have."""
        home.values[key] = expr
        if not isinstance(expr, self.inline):
            home.items.append(Placed(expr))
        return expr

    def pin(self, expr: Expr, name: str) -> CVar:
        """The symbol that stands for an integer scalar in indices."""
        symbol = self.pinned[expr] = CVar(name, integer=True)
        self.by_symbol[symbol] = expr
        return symbol

    # --- what is written out --------------------------------------------------------------------------------------

    def must_be_named(self, e: Expr, uses: int) -> bool:
        """Whether a value that is used once may not move to its user."""
        return False

    def is_never_named(self, e: Expr) -> bool:
        """Whether a shared value is written again at every use."""
        return False

    def name(self, e: Expr) -> str:
        return self.fresh("t")

    def finish(self) -> tuple[Statement, ...]:
        return _Writer(self).block(self.root)


class _Writer:
    """Counts uses, then writes every block out."""

    def __init__(self, numbering: Numbering) -> None:
        self.numbering = numbering
        self.uses: dict[Expr, int] = {}
        self.foreign: set[Expr] = set()  # used from another scope than their own
        self.named: dict[Expr, Variable] = {}
        self.text: dict[Expr, tuple[Expr, int]] = {}
        self.count(numbering.root)

    def count(self, root: Scope) -> None:
        stack: list[tuple[Expr, Scope | None]] = []
        scopes = [root]
        while scopes:
            scope = scopes.pop()
            if scope.condition is not None:
                stack.append((scope.condition, scope.parent))
            for item in scope.items:
                if isinstance(item, Scope):
                    scopes.append(item)
                elif isinstance(item, Statement):
                    for s in statements_in((item,)):
                        stack.extend((e, scope) for e in expressions(s))
                        stack.extend(self.in_indices(s))
        home = self.numbering.home
        while stack:
            expr, user = stack.pop()
            self.uses[expr] = self.uses.get(expr, 0) + 1
            own = home.get(expr)
            if own is not None and own is not user:
                self.foreign.add(expr)
            if self.uses[expr] == 1:
                stack.extend((a, own or user) for a in expressions(expr))
                stack.extend(self.in_indices(expr))

    def in_indices(self, p: Statement | Expr) -> Iterable[tuple[Expr, Scope | None]]:
        """The values that stand in the indices of a statement or expression."""
        for s in index_symbols(p):
            expr = self.numbering.by_symbol.get(s)
            if expr is not None:
                yield expr, self.numbering.home.get(expr)

    def block(self, scope: Scope) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for item in scope.items:
            if isinstance(item, Placed):
                self.value(item.expr, out)
            elif isinstance(item, Scope):
                self.nested(item, out)
            else:
                assert isinstance(item, Statement)
                out.append(self.statement(item))
        return tuple(out)

    def statement(self, s: Statement) -> Statement:
        return mapped(s, expr=self.reference, block=lambda block: tuple(map(self.statement, block)))

    def nested(self, scope: Scope, out: list[Statement]) -> None:
        body = self.block(scope)
        if all(isinstance(s, Comment) for s in body):
            return
        if scope.condition is not None:
            out.append(If(self.reference(scope.condition), body))
        else:
            assert scope.variable is not None
            reductions = tuple((op, v.name) for op, v in scope.reductions)
            out.append(Loop(scope.variable, scope.start, scope.stop, body, scope.step, scope.simd, reductions))

    def value(self, e: Expr, out: list[Statement]) -> None:
        if e not in self.uses:
            return
        tree, depth = self.tree(e)
        symbol = self.numbering.pinned.get(e)
        if symbol is None:
            once = self.uses[e] == 1 and e not in self.foreign and depth <= MAX_DEPTH
            if once and not self.numbering.must_be_named(e, self.uses[e]):
                self.text[e] = (tree, depth)
                return
            if self.numbering.is_never_named(e):
                return
        self.named[e] = Variable(e.dtype, symbol.name if symbol is not None else self.numbering.name(e))
        out.append(Let(self.named[e], tree))

    def tree(self, e: Expr) -> tuple[Expr, int]:
        """The expression with named operands replaced by their names; operands are always done already."""
        if not isinstance(e, Apply):
            return e, 0
        depth = max((self.text[a][1] + 1 for a in e.args if a in self.text), default=0)
        return mapped(e, expr=self.reference), depth

    def reference(self, e: Expr) -> Expr:
        if e in self.named:
            return self.named[e]
        return self.text[e][0] if e in self.text else e


__all__ = ["Numbering", "Placed", "Scope"]
