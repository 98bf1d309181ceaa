"""Arithmetic with broadcasting: add sub mul div, quotients and remainders, powers, maximum and minimum, clamp, lerp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from sympy import Rational

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ops.host import host_value
from gradgen.ops.registry import FLOAT, PROMOTE, Saves, pointwise
from gradgen.ops.samples import INF, NAN, edges, one, plain, sample, t
from gradgen.ops.table import METHODS, call, is_tensor, operator, public, require_tensor, unary

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Number = bool | int | float
ARITHMETIC = ("float32", "float64", "int32", "int64")

PAIRS = edges(
    (-INF, -2.5, -1.0, -0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 3.5, INF, INF, NAN, 1.0)
)
OTHERS = edges(
    (1.0, 2.0, -1.0, 0.0, 0.0, -2.0, 0.0, 2.0, -3.0, 0.5, INF, -1.0, 1.0, NAN)
)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or (is_tensor(value) and value.dtype is dtypes.bool_)


def _is_integral(value: Any) -> bool:
    if is_tensor(value):
        return not value.dtype.is_floating_point
    return isinstance(value, int)


# --- sums and differences ---------------------------------------------------------------------------------------------

_add = pointwise("add", lambda a, b: a + b, arity=2)
_add_scaled = pointwise("add_scaled", lambda a, b, s: a + b * s, arity=3, grad_name="AddBackward0")
_sub = pointwise("sub", lambda a, b: a - b, arity=2)
_sub_scaled = pointwise("sub_scaled", lambda a, b, s: a - b * s, arity=3, grad_name="SubBackward0")
_rsub = pointwise("rsub", lambda a, b: b - a, arity=2, grad_name="RsubBackward1")
_rsub_tensor = pointwise("rsub_tensor", lambda a, b: b - a, arity=2, grad_name="RsubBackward0")
_mul = pointwise("mul", lambda a, b: a * b, arity=2)
_neg = pointwise("neg", lambda a: -a)

BINARY = [
    sample(t(2, 3), t(2, 3, seed=1), dtypes=ARITHMETIC), one(t(4, 1, 3), t(2, 1, seed=1)), sample(PAIRS, OTHERS),
    one(t(), t(3, seed=1)), plain(t(0, 3), t(1, 3, seed=1)), sample(t(3), 2), sample(t(3), -0.5),
]


def _check_alpha(input: Any, other: Any, alpha: Number) -> None:
    if isinstance(alpha, float) and _is_integral(input) and _is_integral(other):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if isinstance(alpha, bool) and not (_is_bool(input) and _is_bool(other)):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")


@public("", method=True, inplace=True, samples=[*BINARY, one(t(2), t(2, seed=1), alpha=3)])
def add(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """input + alpha * other, broadcast."""
    if alpha == 1:
        return call(_add, input, other)
    _check_alpha(input, other, alpha)
    return call(_add_scaled, input, other, alpha)


@public("", method=True, inplace=True, aliases=["subtract"], samples=[*BINARY, one(t(2), t(2, seed=1), alpha=3)])
def sub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """input - alpha * other, broadcast."""
    _refuse_bool(input, other)
    if alpha == 1:
        return call(_sub, input, other)
    _check_alpha(input, other, alpha)
    return call(_sub_scaled, input, other, alpha)


def _refuse_bool(input: Any, other: Any) -> None:
    if _is_bool(input) and _is_bool(other):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. "
            "Use the `^` or `logical_xor()` operator instead."
        )
    if _is_bool(input) or _is_bool(other):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )


@public("", samples=[one(t(3), t(3, seed=1)), one(t(3), 2.0)])
def rsub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """other - alpha * input."""
    _refuse_bool(input, other)
    if alpha != 1:
        return sub(other, input, alpha=alpha)
    return call(_rsub_tensor if is_tensor(other) else _rsub, input, other)


@public("", method=True, inplace=True, aliases=["multiply"], samples=BINARY)
def mul(input: Tensor, other: Tensor | Number) -> Tensor:
    """input * other, broadcast."""
    return call(_mul, input, other)


@public(
    "", method=True, inplace=True, aliases=["negative"], samples=[sample(t(2, 3), dtypes=ARITHMETIC), sample(PAIRS)]
)
def neg(input: Tensor) -> Tensor:
    """-input."""
    require_tensor(input, "neg")
    if _is_bool(input):
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
            "use the "
            "`~` or `logical_not()` operator instead."
        )
    return call(_neg, input)


# --- quotients -------------------------------------------------------------------------------------------------------

_div = pointwise("div", fn.div, arity=2, rule=FLOAT, saves=Saves((0, 1), by=((0, 1),)))
_div_floor = pointwise("div_floor", fn.floor_div, arity=2, grad_name="DivBackward2")
_div_trunc = pointwise("div_trunc", fn.trunc_div, arity=2, grad_name="DivBackward2")
_floor_divide = pointwise("floor_divide", fn.floor_divide, arity=2, grad_name="NotImplemented")
_remainder = pointwise("remainder", fn.remainder, arity=2)
_remainder_tensor = pointwise("remainder_tensor", fn.remainder, arity=2, grad_name="RemainderBackward1")
_fmod = pointwise("fmod", fn.fmod, arity=2)
_fmod_tensor = pointwise("fmod_tensor", fn.fmod, arity=2, grad_name="FmodBackward1")

INTEGER_PAIRS = plain(edges((7, -7, 7, -7, 0, 3)), edges((2, 2, -2, -2, 5, 3)), dtypes=("int32", "int64"))
QUOTIENTS = [one(t(2, 3), t(2, 3, domain="positive", seed=1)), sample(PAIRS, OTHERS), one(t(3), 2), INTEGER_PAIRS]


@public("", method=True, inplace=True, aliases=["divide"],
        samples=[*QUOTIENTS, *(plain(t(3), t(3, seed=1), rounding_mode=m, dtypes=("float32", "float64"))
                              for m in ("floor", "trunc"))])
def div(input: Tensor, other: Tensor | Number, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "floor" or "trunc" rounds the quotient and keeps integers integers."""
    if rounding_mode is None:
        return call(_div, input, other)
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    _refuse_bools(f"div_{rounding_mode}_cpu", input, other)
    _refuse_zero(input, other)
    return call(_div_floor if rounding_mode == "floor" else _div_trunc, input, other)


def _refuse_bools(kernel: str, *operands: Any) -> None:
    """NotImplementedError in PyTorch's words where all operands are bools."""
    if all(_is_bool(x) for x in operands):
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def _refuse_zero(dividend: Any, divisor: Any) -> None:
    """RuntimeError where integers are divided by a 0 that is known now; in emitted C the quotient by 0 is 0."""
    if not _is_integral(dividend) or not _is_integral(divisor):
        return
    known = host_value(divisor) if is_tensor(divisor) else divisor
    if known is not None and np.any(np.equal(known, 0)):
        raise RuntimeError("ZeroDivisionError")


@public("", method=True, inplace=True, samples=[one(t(3), t(3, domain="positive", seed=1))])
def true_divide(input: Tensor, other: Tensor | Number) -> Tensor:
    """input / other."""
    return call(_div, input, other)


@public("", method=True, inplace=True, samples=[plain(t(3), t(3, seed=1)), plain(PAIRS, OTHERS), INTEGER_PAIRS])
def floor_divide(input: Tensor, other: Tensor | Number) -> Tensor:
    """floor(input / other), in the promoted type.  It has no derivative, as in PyTorch: div(rounding_mode="floor") has."""
    _refuse_bools("div_floor_cpu", input, other)
    _refuse_zero(input, other)
    return call(_floor_divide, input, other)


@public("", method=True, inplace=True, samples=[*QUOTIENTS, sample(t(4), 1.5), sample(t(4), -2)])
def remainder(input: Tensor, other: Tensor | Number) -> Tensor:
    """input - other * floor(input / other): the sign of the divisor."""
    _refuse_bools("remainder_cpu", input, other)
    _refuse_zero(input, other)
    return call(_remainder_tensor if is_tensor(other) else _remainder, input, other)


@public("", method=True, inplace=True, samples=[*QUOTIENTS, sample(t(4), 1.5), sample(t(4), -2)])
def fmod(input: Tensor, other: Tensor | Number) -> Tensor:
    """input - other * trunc(input / other): the sign of the dividend."""
    _refuse_bools("fmod_cpu", input, other)
    _refuse_zero(input, other)
    return call(_fmod_tensor if is_tensor(other) else _fmod, input, other)


reciprocal = unary("reciprocal", lambda x: fn.div(1, x), saves=Saves((), (0,)))
square_op = pointwise("square", lambda x: x**2, grad_name="PowBackward0")


@public("", method=True, inplace=True, samples=[sample(t(2, 3), dtypes=ARITHMETIC), sample(PAIRS)])
def square(input: Tensor) -> Tensor:
    """input * input."""
    require_tensor(input, "square")
    return pow(input, 2) if _is_bool(input) else call(square_op, input)


@public("", method=True, samples=[plain(t(2, 3))])
def positive(input: Tensor) -> Tensor:
    """The input itself."""
    if _is_bool(input):
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


# --- powers ----------------------------------------------------------------------------------------------------------

_pow = pointwise("pow", fn.pow_, arity=2, grad_name="PowBackward1", saves=Saves((0, 1), (0,)))
_pow_number = pointwise("pow_number", fn.pow_, arity=2, grad_name="PowBackward0")
_number_pow = pointwise("number_pow", fn.pow_, arity=2, grad_name="PowBackward2")


def _fixed_power(x: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    if exponent == Rational(1, 2):
        return fn.sqrt_(x)
    if exponent == Rational(-1, 2):
        return fn.rsqrt(x)
    return x**exponent


_pow_fixed = pointwise("pow_fixed", _fixed_power, grad_name="PowBackward0")
_SMALL_POWERS = range(-4, 9)

POWERS = [
    sample(t(2, 3, domain="positive"), t(2, 3, seed=1)), sample(PAIRS, OTHERS),
    one(t(4, 1, domain="positive"), t(3, seed=1)),
    *(sample(edges((-INF, -2.0, -0.0, 0.0, 0.5, 3.0, INF, NAN)), p) for p in (0, 1, 2, 3, -1, -2, 0.5, -0.5, 12)),
    sample(edges((-2.0, 0.0, 0.5, 3.0, INF, NAN)), 1.5),
    *(sample(p, edges((-2.0, -0.0, 0.0, 0.5, 3.0, INF, NAN))) for p in (2, 0, 0.5)),
    plain(edges((-2, 0, 1, 3)), 3, dtypes=("int32", "int64")), plain(edges((-2, 0, 1, 3)), 0.5, dtypes=("int64",)),
]


@public("", method=True, inplace=True, samples=POWERS)
def pow(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """input ** exponent.  Derivatives at 0: of x**0 nothing, of 0**p by p nothing where p >= 0."""
    if not is_tensor(input):
        if not is_tensor(exponent):
            raise TypeError("pow(): at least one argument must be a Tensor")
        return call(_number_pow, input, exponent)
    _refuse_bools("pow", input, exponent)
    if is_tensor(exponent):
        return call(_pow, input, exponent)
    if _is_bool(input) and isinstance(exponent, int):
        input = input.to(dtypes.int64)  # PyTorch's promotion of a bool tensor with an int
    if _is_integral(input) and isinstance(exponent, int) and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if exponent in _SMALL_POWERS and not (_is_integral(input) and isinstance(exponent, float)):
        return call(_pow_fixed, input, exponent=sympy.Integer(int(exponent)))
    if exponent in (0.5, -0.5) and not _is_integral(input):
        return call(_pow_fixed, input, exponent=Rational(1 if exponent > 0 else -1, 2))
    return call(_pow_number, input, exponent)


@public("", method=True, samples=[sample(t(3, domain="positive"), 2), plain(edges((1, 2)), 2, dtypes=("int64",))])
def float_power(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """pow in float64."""
    wide = [x.to(dtypes.float64) if is_tensor(x) else float(x) for x in (input, exponent)]
    return pow(*wide)


# --- extremes of two -------------------------------------------------------------------------------------------------

_maximum = pointwise("maximum", fn.maximum, arity=2)
_minimum = pointwise("minimum", fn.minimum, arity=2)
_fmax = pointwise("fmax", fn.fmax, arity=2)
_fmin = pointwise("fmin", fn.fmin, arity=2)
EXTREMES = [
    sample(t(2, 3), t(2, 3, seed=1), dtypes=ARITHMETIC), sample(PAIRS, OTHERS), one(t(4, 1), t(3, seed=1)),
]


@public("", method=True, samples=EXTREMES)
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of each pair, nan where either is; a tie shares the gradient in halves."""
    return call(_maximum, input, other)


@public("", method=True, samples=EXTREMES)
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of each pair, nan where either is; a tie shares the gradient in halves."""
    return call(_minimum, input, other)


@public("", method=True, samples=EXTREMES)
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of each pair, a nan loses; a tie gives the gradient to `input`."""
    return call(_fmax, input, other)


@public("", method=True, samples=EXTREMES)
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of each pair, a nan loses; a tie gives the gradient to `input`."""
    return call(_fmin, input, other)


# --- clamp -----------------------------------------------------------------------------------------------------------


_clamp_low = pointwise("clamp_low", lambda x, a: _clamp_expr(x, a, None), arity=2, grad_name="ClampBackward1")
_clamp_high = pointwise("clamp_high", lambda x, b: _clamp_expr(x, None, b), arity=2, grad_name="ClampBackward1")
_clamp_both = pointwise("clamp_both", lambda x, a, b: _clamp_expr(x, a, b), arity=3, grad_name="ClampBackward1")
_clamp_low_tensor = pointwise("clamp_low_tensor", lambda x, a: _clamp_expr(x, a, None), arity=2,
                              grad_name="ClampBackward0")
_clamp_high_tensor = pointwise("clamp_high_tensor", lambda x, b: _clamp_expr(x, None, b), arity=2,
                               grad_name="ClampBackward0")
_clamp_both_tensor = pointwise("clamp_both_tensor", lambda x, a, b: _clamp_expr(x, a, b), arity=3,
                               grad_name="ClampBackward0")
_clamp_min = pointwise("clamp_min", lambda x, a: _clamp_expr(x, a, None), arity=2)
_clamp_max = pointwise("clamp_max", lambda x, b: _clamp_expr(x, None, b), arity=2)


def _clamp_expr(x: sympy.Expr, low: sympy.Expr | None, high: sympy.Expr | None) -> sympy.Expr:
    """x within the bounds, both included; outside the bound (high beats low), or the nan that is neither."""
    inside = None
    y = fn.stop(x)
    if low is not None:
        inside = fn.ge(x, low)
        y = fn.select(fn.lt(x, low), low, fn.select(fn.isnan(low), fn.stop(low), y))
    if high is not None:
        above = fn.gt(x, high) if low is None else fn.or_(fn.gt(x, high), fn.lt(high, low))
        inside = fn.le(x, high) if inside is None else fn.and_(inside, fn.le(x, high))
        y = fn.select(above, high, fn.select(fn.isnan(high), fn.stop(high), y))
    return fn.select(inside, x, y)


CLAMPS = [
    sample(t(2, 3), -0.5, 0.5), sample(t(2, 3), min=-0.5), sample(t(2, 3), max=0.5),
    sample(edges((-INF, -2.0, -1.0, 0.0, 1.0, 2.0, INF, NAN)), -1.0, 1.0),
    sample(edges((-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)), 1.0, -1.0),
    sample(t(5), t(5, seed=1), t(5, seed=2)), sample(t(5), min=t(5, seed=1)), sample(t(5), max=t(5, seed=1)),
    sample(edges((0.0, 1.0, 1.0, 2.0, NAN, 0.0)), edges((0.0, 1.0, NAN, 3.0, 0.0, 2.0)),
           edges((1.0, 1.0, 2.0, 2.0, 1.0, 1.0))),
    plain(edges((-3, 0, 3)), -1, 1, dtypes=("int32", "int64")),
]


@public("", method=True, inplace=True, aliases=["clip"], samples=CLAMPS)
def clamp(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """min(max(input, min), max); bounds are numbers or tensors that broadcast.  The derivative at a bound is 1."""
    require_tensor(input, "clamp")
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    tensors = is_tensor(min) or is_tensor(max)
    if max is None:
        return call(_clamp_low_tensor if tensors else _clamp_low, input, min)
    if min is None:
        return call(_clamp_high_tensor if tensors else _clamp_high, input, max)
    return call(_clamp_both_tensor if tensors else _clamp_both, input, min, max)


@public("", method=True, inplace=True, samples=[sample(t(5), 0.0), one(t(5), t(5, seed=1))])
def clamp_min(input: Tensor, min: Tensor | Number) -> Tensor:
    """max(input, min)."""
    return maximum(input, min) if is_tensor(min) else call(_clamp_min, input, min)


@public("", method=True, inplace=True, samples=[sample(t(5), 0.0), one(t(5), t(5, seed=1))])
def clamp_max(input: Tensor, max: Tensor | Number) -> Tensor:
    """min(input, max)."""
    return minimum(input, max) if is_tensor(max) else call(_clamp_max, input, max)


# --- combinations ----------------------------------------------------------------------------------------------------


def _lerp_body(a: sympy.Expr, b: sympy.Expr, w: sympy.Expr) -> sympy.Expr:
    """From the nearer end, as torch: exact at both."""
    return fn.select(fn.lt(fn.abs_(w), Rational(1, 2)), a + w * (b - a), b - (b - a) * (1 - w))


_lerp = pointwise("lerp", _lerp_body, arity=3)
_lerp_tensor = pointwise("lerp_tensor", _lerp_body, arity=3, grad_name="LerpBackward1")
_addcmul = pointwise("addcmul", lambda x, a, b, v: x + v * a * b, arity=4)
_addcdiv = pointwise("addcdiv", lambda x, a, b, v: x + fn.div(v * a, b), arity=4, rule=PROMOTE)


@public("", method=True, inplace=True, samples=[one(t(3), t(3, seed=1), 0.3), one(t(3), t(3, seed=1), 0.8),
                                              one(t(2, 3), t(3, seed=1), t(2, 1, domain="unit", seed=2))])
def lerp(input: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """input + weight * (end - input)."""
    return call(_lerp_tensor if is_tensor(weight) else _lerp, input, end, weight)


@public("", method=True, inplace=True, samples=[one(t(3), t(2, 3, seed=1), t(3, seed=2)),
                                              one(t(3), t(3, seed=1), t(3, seed=2), value=-0.5)])
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return call(_addcmul, input, tensor1, tensor2, value)


@public("", method=True, inplace=True, samples=[one(t(3), t(2, 3, seed=1), t(3, domain="positive", seed=2)),
                                              one(t(3), t(3, seed=1), t(3, domain="positive", seed=2), value=-0.5)])
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    if _is_integral(tensor1) and _is_integral(tensor2):
        raise RuntimeError("Integer division with addcdiv is no longer supported; use a floating type.")
    return call(_addcdiv, input, tensor1, tensor2, value)


operator("__add__", lambda a, b: add(a, b))
operator("__radd__", lambda a, b: add(a, b))
operator("__sub__", lambda a, b: sub(a, b))
operator("__rsub__", lambda a, b: rsub(a, b))
operator("__mul__", lambda a, b: mul(a, b))
operator("__rmul__", lambda a, b: mul(a, b))
operator("__truediv__", lambda a, b: div(a, b))
operator("__rtruediv__", lambda a, b: mul(reciprocal(a), b))
operator("__floordiv__", lambda a, b: floor_divide(a, b))
operator("__rfloordiv__", lambda a, b: floor_divide(b, a))
operator("__mod__", lambda a, b: remainder(a, b))
operator("__rmod__", lambda a, b: remainder(b, a))
operator("__pow__", lambda a, b: pow(a, b))
operator("__rpow__", lambda a, b: pow(b, a))
operator("__neg__", lambda a: neg(a))
operator("__pos__", lambda a: positive(a))
METHODS["__neg__"], METHODS["__pos__"] = neg, positive
