"""Straight-line code from numbered values: what one user has goes into that user's expression, the rest gets a name."""

from __future__ import annotations

from collections.abc import Iterable

from gradgen.loops.procedure import USERS
from gradgen.loops.statements import (
    Apply,
    Comment,
    Expr,
    If,
    Index,
    Let,
    Literal,
    Load,
    PairwiseTotal,
    Present,
    SetFlag,
    Statement,
    Variable,
)
from gradgen.loops.walk import expressions, index_symbols, mapped, statements_in
from gradgen.schedule.scope import MAX_DEPTH
from gradgen.schedule.values import Block, Value, Values


class Writer:
    """Writes blocks out: single uses folded into their users, shared values named, dead ones left out."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.uses: dict[Expr, int] = {}
        self.named: dict[Expr, Variable] = {}
        self.text: dict[Expr, tuple[Expr, int]] = {}
        self.names: set[str] = set()
        self.count(values.root)

    def count(self, root: Block) -> None:
        blocks, stack = [root], []
        while blocks:
            block = blocks.pop()
            if block.condition is not None:
                stack.append(block.condition)
            for item in block.items:
                if isinstance(item, Block):
                    blocks.append(item)
                elif not isinstance(item, Value):
                    for s in statements_in((item,)):
                        stack.extend((*expressions(s), *self.symbols(s)))
        while stack:
            e = stack.pop()
            self.uses[e] = self.uses.get(e, 0) + 1
            if self.uses[e] == 1:
                stack.extend((*expressions(e), *self.symbols(e)))

    def symbols(self, p: Statement | Expr) -> Iterable[Expr]:
        """The values that stand in the indices of a statement or expression."""
        for s in index_symbols(p):
            if s in self.values.by_symbol:
                yield self.values.by_symbol[s]

    def block(self, block: Block) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for item in block.items:
            if isinstance(item, Value):
                self.value(item.expr, out)
            elif isinstance(item, Block):
                assert item.condition is not None
                body = self.block(item)
                if any(not isinstance(s, Comment) for s in body):
                    out.append(If(self.reference(item.condition), body))
            else:
                out.append(self.statement(item))
        return tuple(out)

    def statement(self, s: Statement) -> Statement:
        return mapped(s, expr=self.reference, block=lambda block: tuple(map(self.statement, block)))

    def value(self, e: Expr, out: list[Statement]) -> None:
        if e not in self.uses:
            return
        tree, depth = self.tree(e)
        symbol = self.values.pinned.get(e)
        if symbol is None and not self.must_be_named(e) and self.uses[e] == 1 and depth <= MAX_DEPTH:
            self.text[e] = (tree, depth)
            return
        if symbol is None and isinstance(e, (Literal, Index, Present, SetFlag)):
            return
        if isinstance(e, Variable) and e.name not in self.values.carried:
            return
        name = symbol.name if symbol is not None else self.name(e)
        self.named[e] = Variable(e.dtype, name)
        out.append(Let(self.named[e], tree))

    def must_be_named(self, e: Expr) -> bool:
        """What another statement may change before the value is used."""
        if isinstance(e, Load):
            once = e in self.values.updated and self.uses[e] == 1
            return e.buffer in self.values.written and not once
        return (isinstance(e, Variable) and e.name in self.values.carried) or isinstance(e, PairwiseTotal)

    def name(self, e: Expr) -> str:
        hint = self.values.hints.get(e)
        if hint is not None and hint in self.values.own and hint not in self.names:
            self.names.add(hint)
            return hint
        user, mark, _ = (hint or "").partition(USERS)
        return self.values.fresh(f"{user}{mark}" if mark else "t")

    def tree(self, e: Expr) -> tuple[Expr, int]:
        if not isinstance(e, Apply):
            return e, 0
        depth = 0
        for a in e.args:
            if a in self.text:
                depth = max(depth, self.text[a][1] + 1)
        return Apply(e.dtype, e.op, tuple(self.reference(a) for a in e.args)), depth

    def reference(self, e: Expr) -> Expr:
        if e in self.named:
            return self.named[e]
        if e in self.text:
            return self.text[e][0]
        return e


__all__ = ["Writer"]
