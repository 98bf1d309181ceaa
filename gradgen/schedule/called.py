"""The final names of a function: the user's where the user has one, else a letter of the kind and a number.

Passes make names that differ everywhere; here each becomes the first one of its kind that is free where it stands, so that a
change in one nest renumbers nothing outside of it, and two nests may use the same names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import sympy

from gradgen.ir.nodes import Node
from gradgen.ir.symbols import free_symbols, renamed
from gradgen.loops.draft import Draft
from gradgen.loops.procedure import USERS
from gradgen.loops.reserved import taken_by_c
from gradgen.loops.statements import CONSTANT, LOCAL, SAVED, WORK, Buffer, CVar, Expr, Loop, Pointer, Statement
from gradgen.loops.walk import Rewriting, blocks, bound, statements_in

DIGITS = "0123456789"


def with_names(draft: Draft, reserved: Iterable[str]) -> Draft:
    """The draft with final names; `reserved` are those of parameters and dimensions."""
    found = _Names(draft.statements, [b for b in draft.buffers if b.space in (WORK, SAVED, CONSTANT)], reserved)
    change = _Renaming(found.names)
    return replace(
        draft, statements=change.block(draft.statements), buffers=tuple(map(change.buffer_, draft.buffers)),
        names=_standing(draft, found),
    )


def _standing(draft: Draft, found: _Names) -> dict[Node, str]:
    """What values of nodes are called, those that are there."""
    there: dict[Node, str] = {}
    for node, name in draft.names.items():
        user, mark, number = name.partition(USERS)
        if mark and not number:  # scalars
            if user in found.users:
                there[node] = user
        elif name in found.names or name in found.reserved:
            there[node] = found.names.get(name, name)
    return there


class _Names:
    """Old names of one function and what they become; `users` are the user's names among these."""

    def __init__(self, statements: tuple[Statement, ...], memory: list[Buffer], reserved: Iterable[str]) -> None:
        self.reserved = frozenset(reserved)
        self.names: dict[str, str] = {}
        self.users: set[str] = set()
        self.rows: set[str] = set()  # names that nothing else has in the whole function: a row's says what is behind it
        binding = Counter(n for s in statements_in(statements) for n in _bound(s))
        self.often = Counter(map(_stem, binding))
        self.theirs = {stem for name in (*binding, *(b.name for b in memory)) for stem, user in [_stem(name)] if user}
        visible = _Scope(set(self.reserved), {})
        for b in memory:
            if b.space == SAVED and USERS not in b.name:  # in all functions alike
                self.names[b.name] = b.name
                visible.names.add(b.name)
            else:
                self.give(b.name, visible, alone=True)
        for name, times in binding.items():
            if name in self.theirs or (times > 1 and _stem(name)[0] != name):  # in several places it stays one name
                self.give(name, visible)
                self.rows.add(self.names[name])
        self.block(statements, visible)

    def block(self, statements: Iterable[Statement], visible: _Scope) -> None:
        statements = tuple(statements)
        for s in statements:
            for name in bound(s):
                self.give(name, visible)
                if isinstance(s, Pointer):
                    self.rows.add(self.names[name])
        for s in statements:
            if not blocks(s):
                continue
            inside = visible.inner()
            if isinstance(s, Loop):
                self.give(s.variable.name, inside)
            for block in blocks(s):
                self.block(block, inside.inner())

    def give(self, old: str, visible: _Scope, alone: bool = False) -> None:
        if self.names.get(old) in self.rows:
            return
        stem, user = _stem(old)
        alone = alone or not user or self.often[stem, user] == 1
        first = visible.first.get((stem, user), 0)
        free = (
            (k, n) for k, n in _candidates(stem, user, alone, first)
            if n not in visible.names and n not in self.rows and not taken_by_c(n)
        )
        new = old
        if stem != old or old in self.theirs:  # a counter called as a value of the user's
            visible.first[stem, user], new = next(free)
        if user:
            self.users.add(stem)
        self.names[old] = new
        visible.names.add(new)


@dataclass(slots=True)
class _Scope:
    """The names that are taken, and the first number of each stem that may be free."""

    names: set[str]
    first: dict[tuple[str, bool], int]

    def inner(self) -> _Scope:
        return _Scope(set(self.names), dict(self.first))


def _bound(s: Statement) -> Iterator[str]:
    yield from bound(s)
    if isinstance(s, Loop):
        yield s.variable.name


def _stem(name: str) -> tuple[str, bool]:
    """The name without what made it differ from others, and whether it is the user's."""
    user, mark, _ = name.partition(USERS)
    if mark:
        return user, True
    return (name if name.startswith("gg_") else name.rstrip(f"{DIGITS}_") or name), False


def _candidates(stem: str, user: bool, alone: bool, first: int) -> Iterator[tuple[int, str]]:
    """`z`, or `z_0`, `z_1` of several; `lane`, `lane2`; `t1`, `t2`; with numbers from `first` on."""
    if alone and first == 0 and (user or len(stem) > 1):
        yield 0, stem
    for k in range(first, 1 << 30):
        yield k, f"{stem}_{k}" if user else f"{stem}{k + 1 + (len(stem) > 1)}"


class _Renaming(Rewriting):
    """Other names for locals, rows, counters and memory."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__(index=self.index_, buffer=self.buffer_, name=lambda n: names.get(n, n))
        self.names = names
        self.symbols: dict[sympy.Basic, sympy.Basic] = {}
        self.indices: dict[sympy.Expr, sympy.Expr] = {}
        self.made: dict[Buffer, Buffer] = {}
        self.exprs: dict[Expr, Expr] = {}  # what was one expression stays one

    def expr(self, e: Expr) -> Expr:
        made = self.exprs.get(e)
        if made is None:
            made = self.exprs[e] = super().expr(e)
        return made

    def statement(self, s: Statement) -> Statement:
        made = super().statement(s)
        if isinstance(made, Loop):
            variable = self.symbol(made.variable)
            if variable is not made.variable:
                made = replace(made, variable=variable)
        return made

    def buffer_(self, b: Buffer) -> Buffer:
        if b not in self.made:
            new = self.names.get(b.name, b.name) if b.space in (WORK, SAVED, CONSTANT, LOCAL) else b.name
            self.made[b] = b if new == b.name else replace(b, name=new)
        return self.made[b]

    def symbol(self, s: Any) -> Any:
        if s not in self.symbols:
            new = self.names.get(s.name, s.name) if isinstance(s, CVar) else s.name
            self.symbols[s] = s if new == s.name else CVar(new, **s.assumptions0)
        return self.symbols[s]

    def index_(self, e: Any) -> Any:
        if isinstance(e, int):
            return e
        if e not in self.indices:
            changes = {s: new for s in free_symbols(e) if (new := self.symbol(s)) is not s}
            self.indices[e] = renamed(e, changes) if changes else e
        return self.indices[e]


__all__ = ["with_names"]
