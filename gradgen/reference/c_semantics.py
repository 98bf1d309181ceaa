"""Scalar operations with C's semantics: integers wrap and never trap, conversions from floating types saturate to the least
integer, and floating functions are the NumPy forms of the table in `ir/functions.py`.

Integers are Python's, truth values bool, floating values NumPy scalars of their type.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from gradgen.errors import GradgenError
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.scalar_table import BOOL, record_of

Operation = Callable[..., Any]


def wrapped(value: int, bits: int) -> int:
    """Two's complement."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half


def bits_of(dtype: DType) -> int:
    return 8 * dtype.itemsize


def number(value: sympy.Basic, dtype: DType) -> Any:
    """An exact number in the given type."""
    if not dtype.is_floating_point:
        return bool(value) if dtype is bool_ else int(value)  # type: ignore[call-overload]
    if value is sympy.nan:
        return dtype.numpy.type(np.nan)
    with np.errstate(all="ignore"):
        return dtype.numpy.type(str(sympy.N(value, 40)) if value.is_finite else float(value))  # type: ignore[arg-type]


def cast(source: DType, target: DType) -> Operation:
    """The conversion between two types."""
    kind = target.numpy.type
    if target is bool_:
        return lambda a: bool(a != 0)
    if target.is_floating_point:  # an integer is rounded once
        return kind if source.is_floating_point or source is bool_ else lambda a: kind(INDEX.numpy.type(a))
    bits = bits_of(target)
    if not source.is_floating_point:
        return lambda a: wrapped(int(a), bits)
    low = -(1 << (bits - 1))
    return lambda a: int(a) if low <= a < -low else low


_INTEGERS: dict[str, Operation] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg, "abs": abs,
}
"""Of any size; the others are those of the table."""


def function(op: str, dtype: DType, argument: DType) -> Operation:
    """The operation `op` with a result of `dtype` on arguments of type `argument`."""
    if op == "by_halves":
        return by_halves
    found, kind = record_of(op), dtype.numpy.type
    if op in _INTEGERS and not dtype.is_floating_point:
        own, bits = _INTEGERS[op], bits_of(dtype)
        return lambda *args: wrapped(own(*args), bits)
    if found is None or found.expansion is not None:
        raise GradgenError(f"the interpreter of loops does not know {op!r} of {argument.name} as {dtype.name}")
    if found.result == BOOL:
        return lambda *args: bool(found.numpy(*args))
    if dtype.is_floating_point:
        return lambda *args: kind(found.numpy(*args))
    return lambda *args: int(found.numpy(*map(kind, args)))


def by_halves(*terms: Any) -> Any:
    """The sum of the terms, one half added to the other until one is left."""
    while len(terms) > 1:
        half = len(terms) // 2
        terms = tuple(a + b for a, b in zip(terms[:half], terms[half:], strict=True))
    return terms[0]


class Pairwise:
    """A sum in which sums of equally many terms meet, as in a tournament."""

    def __init__(self, dtype: DType) -> None:
        self.zero = dtype.numpy.type(0)
        self.count = 0
        self.level: dict[int, Any] = {}

    def add(self, value: Any) -> None:
        k, count = 0, self.count
        while count & 1:
            value = value + self.level.pop(k)
            k, count = k + 1, count >> 1
        self.level[k] = value
        self.count += 1

    def total(self) -> Any:
        total = self.zero
        for k in sorted(self.level):
            total = total + self.level[k]
        return total


__all__ = ["Pairwise", "bits_of", "cast", "function", "number", "wrapped"]
