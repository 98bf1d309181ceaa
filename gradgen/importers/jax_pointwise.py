"""JAX's primitives that work element by element."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gradgen.importers.jax_table import At, Tensor, entry, lib, refuse

_UNARY = {
    "neg": "neg", "sign": "sign", "floor": "floor", "ceil": "ceil", "is_finite": "isfinite", "exp": "exp", "exp2": "exp2",
    "log": "log", "expm1": "expm1", "log1p": "log1p", "tanh": "tanh", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "asin", "acos": "acos", "atan": "atan",
    "sinh": "sinh", "cosh": "cosh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
    "sqrt": "sqrt", "rsqrt": "rsqrt", "logistic": "sigmoid", "erf": "erf", "erfc": "erfc", "erf_inv": "erfinv",
    "lgamma": "lgamma", "digamma": "digamma", "square": "square", "bessel_i0e": "special.i0e",
    "bessel_i1e": "special.i1e",
}
_BINARY = {
    "atan2": "atan2", "max": "maximum", "min": "minimum", "rem": "fmod", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le",
    "gt": "gt", "ge": "ge", "shift_left": "bitwise_left_shift", "shift_right_arithmetic": "bitwise_right_shift",
}
_LOGICAL = {"and": ("logical_and", "bitwise_and"), "or": ("logical_or", "bitwise_or"), "xor": ("logical_xor", "bitwise_xor")}
_ARITHMETIC = {"add": operator.add, "add_any": operator.add, "sub": operator.sub, "mul": operator.mul}


def _named(name: str) -> Callable[..., Any]:
    return lambda at, *operands: lib(name)(*operands)


for _op, _name in (_UNARY | _BINARY).items():
    entry(_op)(_named(_name))


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """With a number where an operand is one that is known, so that it is part of the formula."""
    return lambda at, a, b: function(*at.run.numbers(a, b))


for _op, _function in _ARITHMETIC.items():
    entry(_op, raw=True)(_arithmetic(_function))


@entry("div", raw=True)
def _div(at: At, a: Any, b: Any) -> Tensor:
    """Integers are divided towards zero."""
    if at.kind().is_floating_point:
        x, y = at.run.numbers(a, b)
        return x / y
    return lib.div(at.run.tensor(a), at.run.tensor(b), rounding_mode="trunc")


def _logical(names: tuple[str, str]) -> Callable[..., Any]:
    return lambda at, a, b: lib(names[at.kind().category > 0])(a, b)


for _op, _names in _LOGICAL.items():
    entry(_op)(_logical(_names))


@entry("not")
def _not(at: At, x: Tensor) -> Tensor:
    return lib.bitwise_not(x) if at.kind().category else lib.logical_not(x)


@entry("copy", "copy_p", "device_put", "optimization_barrier", "reduce_precision", "pvary", "sharding_constraint",
       "layout_constraint")
def _same(at: At, *operands: Tensor) -> Any:
    if at.eqn.primitive.name == "reduce_precision" and (at.exponent_bits, at.mantissa_bits) not in ((8, 23), (11, 52)):
        raise refuse("reduce_precision")
    return operands if len(operands) > 1 else operands[0]


@entry("stop_gradient")
def _stop_gradient(at: At, x: Tensor) -> Tensor:
    return x.detach()


@entry("convert_element_type")
def _convert(at: At, x: Tensor) -> Tensor:
    return x.to(at.kind())


@entry("round")
def _round(at: At, x: Tensor) -> Tensor:
    if int(at.rounding_method) == 1:
        return lib.round(x)
    return lib.sign(x) * lib.floor(lib.abs(x) + 0.5)  # halves away from zero


@entry("cbrt")
def _cbrt(at: At, x: Tensor) -> Tensor:
    return lib.sign(x) * lib.abs(x) ** (1 / 3)


@entry("integer_pow")
def _integer_pow(at: At, x: Tensor) -> Tensor:
    return x**at.y


@entry("pow", raw=True)
def _pow(at: At, x: Any, y: Any) -> Tensor:
    base, exponent = at.run.numbers(x, y)
    return lib.pow(base, exponent)


@entry("abs")
def _abs(at: At, x: Tensor) -> Tensor:
    """The derivative at 0 is 1, unlike torch.abs'."""
    return lib.where(x >= 0, x, -x) if x.dtype.is_floating_point else lib.abs(x)


@entry("clamp")
def _clamp(at: At, low: Tensor, x: Tensor, high: Tensor) -> Tensor:
    """At a bound the derivative is the bound's, unlike torch.clamp's."""
    return lib.where(x <= low, low.expand(x.shape), lib.where(x >= high, high.expand(x.shape), x))


@entry("select_n")
def _select_n(at: At, which: Tensor, *cases: Tensor) -> Tensor:
    if not which.dtype.category:
        return lib.where(which, cases[1], cases[0])
    found = cases[0]
    for k, case in enumerate(cases[1:], 1):
        found = lib.where(which == k, case, found)
    return found


@entry("polygamma", raw=True)
def _polygamma(at: At, n: Any, x: Any) -> Tensor:
    order = at.run.number(n)
    if order is None or order != int(order):
        raise refuse("polygamma of an order that is not known")
    return lib.polygamma(int(order), at.run.tensor(x))
