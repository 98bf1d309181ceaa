"""The products of a scheduled program: calls of the matrix kernel."""

from __future__ import annotations

from collections.abc import Iterable

from gradgen.loops.statements import PRODUCT, Call, Index, Statement
from gradgen.loops.walk import statements_in


def products(statements: Iterable[Statement]) -> list[Call]:
    return [s for s in statements_in(statements) if isinstance(s, Call) and s.function.kind == PRODUCT]


def given(product: Call, *names: str) -> tuple[object, ...]:
    """The numbers that a product is given, by the names that its function has for them."""
    pairs = zip(product.function.scalars, product.scalars, strict=True)
    found = {v.name: e.expr for v, e in pairs if isinstance(e, Index)}
    return tuple(found[f"gg_{name}"] for name in names)
