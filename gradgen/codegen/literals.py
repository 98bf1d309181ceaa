"""Exact numbers as C literals: correctly rounded once, in the type of the arithmetic, round-tripping to the bit."""

from __future__ import annotations

from functools import lru_cache

import mpmath
import numpy as np
import sympy

from gradgen.errors import CodegenError
from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.symbols import NEGATIVE_ZERO

_GUARD_BITS = 200


@lru_cache(maxsize=65536)
def literal(value: sympy.Basic, dtype: DType) -> str:
    """The C text of an exact number in the given type, e.g. ``0.1f``, ``-INFINITY``, ``INT64_C(7)``."""
    if not dtype.is_floating_point:
        return _integer(int(value), dtype)  # type: ignore[call-overload]
    if value is NEGATIVE_ZERO:
        return floating(dtype.numpy.type(-0.0), dtype)
    if value is sympy.nan:
        return _of_float("NAN", dtype)
    if value in (sympy.oo, -sympy.oo):
        text = _of_float("INFINITY", dtype)
        return text if value is sympy.oo else f"-{text}"
    return floating(_rounded(value, dtype), dtype)


def floating(number: np.floating, dtype: DType) -> str:
    """The shortest decimal text that reads back as `number`."""
    if np.isnan(number):
        return literal(sympy.nan, dtype)
    if np.isinf(number):
        return literal(sympy.oo if number > 0 else -sympy.oo, dtype)
    write = np.format_float_scientific if _extreme(number) else np.format_float_positional
    text = write(number, unique=True, trim="0")
    return f"{text}{dtype.letter}" if dtype.wider is None else f"({dtype.ctype}){text}{dtype.wider.letter}"


def _of_float(macro: str, dtype: DType) -> str:
    """A macro of <math.h> that is a float."""
    return macro if dtype.ctype == "float" else f"({dtype.ctype}){macro}"


def _extreme(number: np.floating) -> bool:
    size = abs(float(number))
    return size != 0 and not 1e-4 <= size < 1e7


def _integer(number: int, dtype: DType) -> str:
    if dtype is bool_:
        return "1" if number else "0"
    if abs(number) < 2**31:
        return str(number)
    if dtype.itemsize < 8:
        return f"({number + 1} - 1)"  # the least of 32 bits
    return f"(-INT64_C({2**63 - 1}) - 1)" if number == -(2**63) else f"INT64_C({number})"


def _rounded(value: sympy.Basic, dtype: DType) -> np.floating:
    """Nearest, ties to even; the exact value is evaluated far beyond the type's precision first."""
    bits = dtype.digits
    if value.is_Rational:
        exact = mpmath.mpf(0)
        with mpmath.workprec(max(int(value.p).bit_length(), bits)):  # type: ignore[attr-defined]
            above = mpmath.mpf(int(value.p))  # type: ignore[attr-defined]
        with mpmath.workprec(max(int(value.q).bit_length(), bits)):  # type: ignore[attr-defined]
            below = mpmath.mpf(int(value.q))  # type: ignore[attr-defined]
        with mpmath.workprec(bits):
            exact = mpmath.fdiv(above, below)
    else:
        number = sympy.N(value, 60)
        if not number.is_Float:
            raise CodegenError(f"{value} is not a real number", hint="only real constants can be printed")
        with mpmath.workprec(bits):
            exact = +mpmath.mpf(number._mpf_)
    with np.errstate(over="ignore"):
        return dtype.numpy.type(float(exact))
