"""Uniform to normal numbers, bit for bit as PyTorch's CPU kernels round them.

PyTorch turns blocks of 16 uniforms into 16 normals by the Box-Muller transform: pairs (u[j], u[j + 8]) become
r cos t and r sin t with r = sqrt(-2 log(1 - u[j])) and t = 2 pi u[j + 8]. What decides the last bit is which
elementary functions are used and where the compiler fused a multiplication and an addition:

- float64 uses the C library's log, sin and cos, as Python's `math` module does (NumPy's own vectorised versions differ
  in the last place).
- float32 uses single-precision polynomials, evaluated with fused multiply-add on every x86-64 processor that has it.
  They are those of logf and sinf/cosf in S. L. Moshier's Cephes Mathematical Library (single precision, 1989), with
  the three-part reduction by multiples of pi/4 found there.

The order of roundings was established by experiment against PyTorch 2.13 with AVX2 and AVX512; without AVX2 PyTorch
itself draws slightly other numbers (and says so nowhere).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

__all__ = ["box_muller", "fused_multiply_add", "map_libm"]

_F32 = np.float32

# Cephes logf: log(1 + x) = x - x^2/2 + x^3 P(x) on [sqrt(1/2) - 1, sqrt(2) - 1], and log 2 in two parts.
_LOG_P = [
    _F32(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
]  # fmt: skip
_LN2_LOW, _LN2_HIGH = _F32(-2.12194440e-4), _F32(0.693359375)
_SQRT_HALF = _F32(math.sqrt(0.5))
# Cephes sinf and cosf on [-pi/4, pi/4], and pi/4 in three parts.
_SIN_P = [_F32(c) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)]
_COS_P = [_F32(c) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)]
_QUARTER_PI = [_F32(c) for c in (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)]
_FOUR_OVER_PI = _F32(4 / math.pi)

_BLOCK = 1 << 13  # pairs per round: the temporaries of one round stay in the processor's second-level cache


def box_muller(uniforms: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normals from uniforms in [0, 1): an array of n x 16, float32 or float64, to one of the same shape and type."""
    pairs = uniforms.reshape(-1, 2, 8)
    out = np.empty_like(pairs)
    polar = _polar_float32 if uniforms.dtype == np.float32 else _polar_float64
    rows = _BLOCK // 8
    for start in range(0, len(pairs), rows):
        block = pairs[start : start + rows]
        for half, unscaled in enumerate(polar(block[:, 0], block[:, 1])):
            out[start : start + rows, half] = fused_multiply_add(unscaled, std, mean)
    return out.reshape(uniforms.shape)


def _polar_float64(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.sqrt(-2.0 * map_libm(math.log, 1.0 - first))
    angle = 2.0 * math.pi * second
    return radius * map_libm(math.cos, angle), radius * map_libm(math.sin, angle)


def map_libm(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """A function of `math`, elementwise. Python's are the C library's, and so are PyTorch's; NumPy's need not be."""
    results: Iterable[float] = map(function, values.reshape(-1).tolist())
    return np.fromiter(results, np.float64, values.size).reshape(values.shape)


def _polar_float32(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.sqrt(_F32(-2) * _log_float32(_F32(1) - first))
    sine, cosine = _sincos_float32(_F32(2 * math.pi) * second)
    return radius * cosine, radius * sine


def _log_float32(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive normal floats."""
    mantissa, binary_exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    exponent = (binary_exponent - small).astype(np.float32)
    x = mantissa - _F32(1) + np.where(small, mantissa, _F32(0))
    square = x * x
    y = _polynomial(_LOG_P, x) * x
    y = fused_multiply_add(y, square, exponent * _LN2_LOW)
    y = fused_multiply_add(square, _F32(-0.5), y)
    return fused_multiply_add(exponent, _LN2_HIGH, x + y)


def _sincos_float32(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of non-negative floats of moderate size (here: below 2 pi)."""
    octant = ((angle * _FOUR_OVER_PI).astype(np.int32) + 1) & ~1
    x = angle
    multiple = octant.astype(np.float32)
    for part in _QUARTER_PI:
        x = fused_multiply_add(multiple, -part, x)
    square = x * x
    even = fused_multiply_add(_polynomial(_COS_P, square) * square, square, _F32(-0.5) * square) + _F32(1)
    odd = fused_multiply_add(_polynomial(_SIN_P, square) * square, x, x)
    straight = (octant & 2) == 0
    sine, cosine = np.where(straight, odd, even), np.where(straight, even, odd)
    np.negative(sine, out=sine, where=(octant & 4) != 0)
    np.negative(cosine, out=cosine, where=((octant - 2) & 4) == 0)
    return sine, cosine


def _polynomial(coefficients: list[np.float32], x: np.ndarray) -> np.ndarray:
    """Horner's rule, highest power first, every step fused."""
    value: np.ndarray | np.float32 = coefficients[0]
    for coefficient in coefficients[1:]:
        value = fused_multiply_add(value, x, coefficient)
    return np.asarray(value)


# ---------------------------------------------------------------------------------------------- fused multiply-add


Operand = np.ndarray | np.floating[Any] | float


def fused_multiply_add(a: Operand, b: Operand, c: Operand) -> np.ndarray:
    """a b + c with one rounding, in float32 if an array among the arguments is, else in float64.

    Python numbers are first rounded to that type. NumPy has no such function; a product of two float32 is exact in
    float64, and for float64 the exact product and sum are carried as pairs. The last-but-one addition is rounded to
    odd, so that the final rounding comes out as if it were the only one: S. Boldo and G. Melquiond, "Emulation of a
    FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if any(getattr(operand, "dtype", None) == np.float32 for operand in (a, b, c)):
            x, y, z = (np.asarray(_F32(v) if isinstance(v, float) else v, np.float64) for v in (a, b, c))
            return _sum_to_float32(x * y, z)
        x, y, z = (np.asarray(v, np.float64) for v in (a, b, c))
        product, product_error = _exact_product(x, y)
        low, low_error = _exact_sum(z, product_error)
        high, high_error = _exact_sum(product, low)
        result = high + _sum_rounded_to_odd(high_error, low_error)
        # Splitting overflows near the ends of the range; there the plain expression is finite where it should be.
        return np.where(np.isfinite(result), result, x * y + z)


def _sum_to_float32(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b rounded once to float32. Rounding twice errs only on midpoints of float32, so look for those first."""
    total = np.atleast_1d(a + b)
    midpoint = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    if midpoint.any() or (np.abs(total) < 2.0**-126).any():  # below that, midpoints lie elsewhere
        return _sum_rounded_to_odd(a, b).astype(np.float32)
    return total.astype(np.float32).reshape(np.broadcast_shapes(a.shape, b.shape))


def _exact_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """fl(a + b) and its rounding error (Knuth's two-sum)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _exact_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """fl(a b) and its rounding error (Dekker's product with Veltkamp's splitting at 2^27 + 1)."""
    a_scaled, b_scaled = a * 134217729.0, b * 134217729.0
    a_high, b_high = a_scaled - (a_scaled - a), b_scaled - (b_scaled - b)
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _sum_rounded_to_odd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b rounded to odd: an inexact sum becomes the neighbour whose last mantissa bit is 1."""
    total, error = _exact_sum(a, b)
    bits = np.asarray(total, order="C").view(np.int64)
    change = np.where((error > 0) == (total > 0), 1, -1)
    change *= (np.abs(error) > 0) & (bits & 1 == 0)  # an infinite sum has error nan, and stays as it is
    return (bits + change).view(np.float64).reshape(np.shape(total))
