"""Scalar operations with C's semantics: integers wrap and never trap, conversions from floating types saturate to the least
integer, and floating functions are the NumPy forms of the table in `ir/functions.py`.

Integers are Python's, truth values bool, floating values NumPy scalars of their type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from gradgen.errors import GradgenError
from gradgen.ir.dtypes import DType, bool_, int32
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
        return kind if source.is_floating_point or source is bool_ else lambda a: kind(np.int64(a))
    bits = bits_of(target)
    if not source.is_floating_point:
        return lambda a: wrapped(int(a), bits)
    low = -(1 << (bits - 1))
    return lambda a: int(a) if low <= a < -low else low


def _truncated(a: int, b: int) -> int:
    """a / b towards 0."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _power(a: int, b: int) -> int:
    if b < 0:
        return 1 if a == 1 else (1 if b % 2 == 0 else -1) if a == -1 else 0
    return pow(a, b)


def _integers(bits: int) -> dict[str, Operation]:
    return {
        "add": lambda a, b: wrapped(a + b, bits),
        "sub": lambda a, b: wrapped(a - b, bits),
        "mul": lambda a, b: wrapped(a * b, bits),
        "neg": lambda a: wrapped(-a, bits),
        "abs": lambda a: wrapped(abs(a), bits),
        "sign": lambda a: (a > 0) - (a < 0),
        "maximum": max, "minimum": min, "fmax": max, "fmin": min,
        "trunc_div": lambda a, b: 0 if b == 0 else wrapped(_truncated(a, b), bits),
        "floor_div": lambda a, b: 0 if b == 0 else wrapped(a // b, bits),
        "remainder": lambda a, b: 0 if b == 0 else a % b,
        "fmod": lambda a, b: 0 if b == 0 else a - b * _truncated(a, b),
        "pow": lambda a, b: wrapped(_power(a, b), bits),
        "bit_and": lambda a, b: a & b, "bit_or": lambda a, b: a | b, "bit_xor": lambda a, b: a ^ b,
        "shift_left": lambda a, b: 0 if b < 0 or b >= bits else wrapped(a << b, bits),
        "shift_right": lambda a, b: a >> (bits - 1 if b < 0 or b > bits - 1 else b),
    }


_INTEGER = {32: _integers(32), 64: _integers(64)}


def function(op: str, dtype: DType, argument: DType) -> Operation:
    """The operation `op` with a result of `dtype` on arguments of type `argument`."""
    if op == "by_halves":
        return by_halves
    found = record_of(op)
    if found is not None and found.result == BOOL:
        return lambda *args: bool(found.numpy(*args))
    if not dtype.is_floating_point:
        integers = _INTEGER[32 if dtype is int32 else 64]
        if op in integers:
            return integers[op]
        if found is not None and found.expansion is None:
            whole = dtype.numpy.type
            return lambda *args: int(found.numpy(*map(whole, args)))
    elif found is not None and found.expansion is None:
        kind = dtype.numpy.type
        return lambda *args: kind(found.numpy(*args))
    raise GradgenError(f"the interpreter of loops does not know {op!r} of {argument.name} as {dtype.name}")


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
