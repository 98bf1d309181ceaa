"""The numbers of a nest, apart from what it does: extents, strides and constants that another nest may have otherwise.

Two nests that differ in numbers alone are one function that is given them.  Each coefficient of an integer expression is a
number of its own; sizes of arrays, steps of loops and what stands in minima, quotients and remainders stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import sympy

from gradgen.ir.dtypes import INDEX, DType
from gradgen.loops.extremes import poly
from gradgen.loops.statements import Buffer, Call, Comment, CVar, Expr, Index, Literal, Operand, Statement, Variable
from gradgen.loops.walk import Rewriting, conditions, expressions, statements_in

Value = tuple[DType, sympy.Basic]
MARK = "gg_number"  # of the symbols that stand for numbers


@cache
def _symbol(name: str) -> CVar:
    return CVar(name, integer=True)


class Numbers:
    """`body` with symbols for its numbers, in order; `values` are the numbers, `key` is equal where all else is."""

    def __init__(self, body: tuple[Statement, ...]) -> None:
        self.values: list[Value] = []
        self.plain: set[str] = set()  # those that are an int, not an expression
        self.body = Rewriting(leaf=self._literal, index=self._index).block(body)
        found = (c.modulus for s in statements_in(self.body) for c in conditions(expressions(s)))
        moduli = [int(m.name.removeprefix(MARK)) for m in found if isinstance(m, CVar)]
        self.key = (key_of(self.body), tuple(self.values[at] for at in moduli))

    def _next(self, dtype: DType, value: sympy.Basic) -> str:
        self.values.append((dtype, value))
        return f"{MARK}{len(self.values) - 1}"

    def _literal(self, e: Expr) -> Expr:
        if isinstance(e, Literal) and e.dtype.is_floating_point:
            return Variable(e.dtype, self._next(e.dtype, e.value))
        return e

    def _index(self, e: Any) -> Any:
        """A sum of products of numbers and what is no number."""
        terms = poly(e)
        if not terms or any(not isinstance(k, int) for k in terms.values()):
            return e
        if isinstance(e, int):
            made = _symbol(self._next(INDEX, sympy.Integer(e)))
            self.plain.add(made.name)
            return made
        ordered = sorted(terms.items(), key=lambda term: str(term[0])) if len(terms) > 1 else terms.items()
        return sympy.Add(*(sympy.Mul(_symbol(self._next(INDEX, sympy.Integer(k))), *m) for m, k in ordered))

    def call(self, old: Call, given: Sequence[tuple[int, ...]]) -> Call:
        """The call with numbers as arguments: those of each of these groups are one."""
        f = old.function
        names = {at: f"x{len(f.scalars) + k}" for k, group in enumerate(given) for at in group}
        first = [group[0] for group in given]
        more = tuple(Variable(self.values[at][0], names[at]) for at in first)
        function = replace(f, scalars=(*f.scalars, *more), body=self._with(names), order=(*f.order, *(v.name for v in more)))
        return replace(old, function=function, scalars=(*old.scalars, *(self._argument(at) for at in first)))

    def _argument(self, at: int) -> Expr:
        dtype, value = self.values[at]
        return Literal(dtype, value) if dtype.is_floating_point else Index(dtype, value)  # type: ignore[arg-type]

    def _with(self, names: dict[int, str]) -> tuple[Statement, ...]:
        """The body with parameters for the numbers that have a name, and the others as they are."""
        symbols: dict[sympy.Basic, sympy.Basic] = {}
        values: dict[str, Expr] = {}
        for at, (dtype, value) in enumerate(self.values):
            if dtype.is_floating_point:
                values[f"{MARK}{at}"] = Variable(dtype, names[at]) if at in names else Literal(dtype, value)
            else:
                new = CVar(names[at], integer=True) if at in names else value
                symbols[_symbol(f"{MARK}{at}")] = new

        def leaf(e: Expr) -> Expr:
            return values.get(e.name, e) if isinstance(e, Variable) else e

        def index(e: Any) -> Any:
            if isinstance(e, int):
                return e
            made = e.xreplace(symbols)
            return int(made) if made.is_Integer and e.is_Symbol and e.name in self.plain else made

        return Rewriting(leaf=leaf, index=index).block(self.body)


def different(values: Sequence[Sequence[Value]]) -> list[tuple[int, ...]]:
    """The positions at which some have another number, those that are alike in all together."""
    groups: dict[tuple[Value, ...], list[int]] = {}
    for at, column in enumerate(zip(*values, strict=True)):
        if any(v != column[0] for v in column):
            groups.setdefault(column, []).append(at)
    return [tuple(group) for group in groups.values()]


def key_of(s: object) -> object:
    """Equal for statements and expressions that print alike."""
    match s:
        case tuple():
            return tuple(map(key_of, s))
        case Buffer():
            return (s.name, s.shape)
        case DType():
            return s.name
        case Comment():
            return ()
        case Operand():
            return (key_of(s.buffer), s.start, s.strides)
        case Statement() | Expr():
            fields = type(s).__dataclass_fields__  # type: ignore[attr-defined]
            return (type(s).__name__, *(key_of(getattr(s, f)) for f in fields))
    return s


__all__ = ["Numbers", "different", "key_of"]
