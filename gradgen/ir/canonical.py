"""Canonical form of Computes: unused reads dropped, placeholders numbered by position."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sympy

from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Read, Shape
from gradgen.ir.symbols import Placeholder, placeholder


@lru_cache(maxsize=16384)
def _numbering(
    body: sympy.Expr, needed: tuple[Placeholder, ...], count: int
) -> tuple[sympy.Expr, tuple[int, ...], dict[sympy.Expr, sympy.Expr]]:
    used = body.free_symbols | set(needed)
    kept = tuple(k for k in range(count) if placeholder(k) in used)
    mapping = {placeholder(k): placeholder(new) for new, k in enumerate(kept) if k != new}
    return (body.xreplace(mapping) if mapping else body), kept, mapping


def placeholders_in(index: Sequence[sympy.Expr]) -> tuple[Placeholder, ...]:
    found: dict[Placeholder, None] = {}
    for e in index:
        if e.args or isinstance(e, Placeholder):
            for s in sorted(e.free_symbols, key=lambda s: s.name):
                if isinstance(s, Placeholder):
                    found[s] = None
    return tuple(found)


def compact(body: sympy.Expr, reads: Sequence[Read]) -> tuple[sympy.Expr, list[Read]]:
    """`body` and `reads` without the reads that neither the body nor a used index mentions."""
    needed: dict[Placeholder, None] = {}
    used = body.free_symbols
    for k in range(len(reads) - 1, -1, -1):
        if placeholder(k) in used or placeholder(k) in needed:
            for p in placeholders_in(reads[k].index):
                needed[p] = None
    body, kept, mapping = _numbering(body, tuple(sorted(needed, key=lambda p: int(p.name[1:]))), len(reads))
    if not mapping:
        return body, [reads[k] for k in kept]
    result = []
    for k in kept:
        read = reads[k]
        if placeholders_in(read.index):
            read = Read(read.source, [e.xreplace(mapping) for e in read.index], read.guard, read.fill)
        result.append(read)
    return body, result


def compute(
    shape: Shape,
    body: sympy.Expr,
    reads: Sequence[Read],
    dtype: DType,
    reduce_shape: Shape = (),
    reducer: str | None = None,
) -> Compute:
    """A Compute in canonical form."""
    body, kept = compact(sympy.sympify(body), reads)
    return Compute(shape, body, kept, dtype, reduce_shape=reduce_shape, reducer=reducer if reduce_shape else None)


@lru_cache(maxsize=4096)
def is_polynomial(body: sympy.Expr) -> bool:
    """Only sums and products of placeholders and numbers: 0 wherever the cotangent is 0 and operands are finite."""
    if isinstance(body, Placeholder) or body.is_Number:
        return True
    if isinstance(body, (sympy.Add, sympy.Mul)):
        return all(is_polynomial(a) for a in body.args)
    return isinstance(body, sympy.Pow) and body.exp.is_Integer and body.exp > 0 and is_polynomial(body.base)
