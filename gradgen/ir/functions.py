"""Scalar functions that bodies are made of: name, derivative, NumPy meaning, one table entry each.

They are SymPy functions without automatic evaluation: `log(exp(x))` stays as written, since SymPy's rewrites are wrong
for inf, nan and signed zeros.  `sympy.diff` and the chain rule work on them through `fdiff`; the derivatives are the
ones PyTorch uses, kinks included, written in the function's own value wherever that is the stable form
(`s*(1 - s)`, `1 - t**2`), so that a saved output serves the backward pass.

Comparisons and logical functions have derivative 0.  Nothing here is ever a Python float: exact SymPy numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import sympy
from sympy import Expr, Integer, Rational, pi, sqrt

from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.philox import philox

FLOAT, SAME, BOOL = "float", "same", "bool"
"""What a function returns: a floating value, the promoted type of its value arguments, or a truth value."""


class NoDerivative(ValueError):
    """A scalar function was differentiated that has no rule; callers add the user's line."""


class ScalarFunction(sympy.Function):
    """Base of every entry.  `key` names the C kernel, `result` the typing rule, `numpy` the reference meaning."""

    key: ClassVar[str]
    result: ClassVar[str]
    numpy: ClassVar[Callable[..., Any]]
    partials: ClassVar[tuple[Callable[..., Any] | int | None, ...]]
    to_sympy: ClassVar[Callable[..., Any] | None]
    expansion: ClassVar[Callable[..., Any] | None]
    is_extended_real = True
    is_commutative = True

    @classmethod
    def eval(cls, *args: Expr) -> None:
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        rule = self.partials[argindex - 1]
        if rule is None:
            raise NoDerivative(f"gradgen has no derivative of {self.key}() by argument {argindex}")
        return sympy.sympify(rule(*self.args, self) if callable(rule) else rule)


ScalarType = type[ScalarFunction]
REGISTRY: dict[str, ScalarType] = {}


def define(
    key: str,
    partials: tuple[Callable[..., Any] | int | None, ...],
    reference: Callable[..., Any],
    *,
    result: str = FLOAT,
    to_sympy: Callable[..., Any] | None = None,
    expansion: Callable[..., Any] | None = None,
) -> type[ScalarFunction]:
    """Adds one scalar function.

    `partials[k](*args, value)` is the derivative by argument k, an expression in the arguments and the function's own
    value; a plain 0 says it is zero everywhere, None that there is no rule.  `to_sympy(*args)` gives ordinary SymPy
    back (default: same-named).
    `expansion(*args)` writes the value in other functions: such an entry has a derivative of its own but no C kernel,
    and is replaced by `written_out` after differentiation.
    """
    cls = type(
        key,
        (ScalarFunction,),
        {
            "key": key,
            "result": result,
            "numpy": staticmethod(reference),
            "partials": partials,
            "to_sympy": staticmethod(to_sympy) if to_sympy else None,
            "expansion": staticmethod(expansion) if expansion else None,
            "nargs": len(partials),
            "__module__": __name__,
        },
    )
    REGISTRY[key] = cls
    return cls


# --- truth values ---------------------------------------------------------------------------------------------------

lt: ScalarType = define("lt", (0, 0), np.less, result=BOOL, to_sympy=sympy.StrictLessThan)
le: ScalarType = define("le", (0, 0), np.less_equal, result=BOOL, to_sympy=sympy.LessThan)
gt: ScalarType = define("gt", (0, 0), np.greater, result=BOOL, to_sympy=sympy.StrictGreaterThan)
ge: ScalarType = define("ge", (0, 0), np.greater_equal, result=BOOL, to_sympy=sympy.GreaterThan)
eq: ScalarType = define("eq", (0, 0), np.equal, result=BOOL, to_sympy=sympy.Eq)
ne: ScalarType = define("ne", (0, 0), np.not_equal, result=BOOL, to_sympy=sympy.Ne)
and_: ScalarType = define("and_", (0, 0), np.logical_and, result=BOOL)
or_: ScalarType = define("or_", (0, 0), np.logical_or, result=BOOL)
xor: ScalarType = define("xor", (0, 0), np.logical_xor, result=BOOL)
not_: ScalarType = define("not_", (0,), np.logical_not, result=BOOL)
isnan: ScalarType = define("isnan", (0,), np.isnan, result=BOOL)
isinf: ScalarType = define("isinf", (0,), np.isinf, result=BOOL)
isfinite: ScalarType = define("isfinite", (0,), np.isfinite, result=BOOL)


# --- identity to the eye of the machine, not of the derivative -------------------------------------------------------

stop: ScalarType = define("stop", (0,), lambda x: x, result=SAME, to_sympy=lambda x: x)  # detach
extent: ScalarType = define(
    "extent", (0,), lambda n: n, result=SAME, to_sympy=lambda n: n
)  # a size, not a number of mathematics
apart: ScalarType = define(
    "apart", (1, 0), lambda x, k: x, result=SAME, to_sympy=lambda x, k: x
)  # x, where operation k reads no element twice: cotangents are put in their places, not added up (autodiff.beside)
instead: ScalarType = define(
    "instead", (0, 1), lambda x, y: x, result=SAME, to_sympy=lambda x, y: x
)  # the value of x, the derivative of y: another form of x, or what autograd's tape says of it
local: ScalarType = define(
    "local", (0, 1), lambda x, y: x, result=SAME, to_sympy=lambda x, y: x
)  # as `instead`, for the transform of gg.func whose function it stands in; to what is around that it is x
retold: ScalarType = define(
    "retold", (0, 1, 0), lambda x, y, z: x, result=SAME, to_sympy=lambda x, y, z: x
)  # the value of x, the derivative of y in reverse mode and of z in forward mode: under no_grad retold(x, 0, x)


# --- selection: a branch not taken contributes nothing, it is never multiplied by 0 -----------------------------------


def _np_select(c: Any, x: Any, y: Any) -> Any:
    return np.where(np.asarray(c, dtype=bool), x, y)


select: ScalarType = define(
    "select",
    (0, lambda c, x, y, f: select(c, 1, 0), lambda c, x, y, f: select(c, 0, 1)),
    _np_select,
    result=SAME,
    to_sympy=lambda c, x, y: sympy.Piecewise((x, c if isinstance(c, sympy.logic.boolalg.Boolean) else sympy.Ne(c, 0)),
                                             (y, True)),
)

_HALF = Rational(1, 2)
maximum: ScalarType = define(
    "maximum",  # a tie is shared: torch.maximum's backward
    (lambda a, b, f: select(lt(a, b), 0, select(eq(a, b), _HALF, 1)),
     lambda a, b, f: select(lt(b, a), 0, select(eq(a, b), _HALF, 1))),
    np.maximum, result=SAME, to_sympy=sympy.Max,
)
minimum: ScalarType = define(
    "minimum",
    (lambda a, b, f: select(gt(a, b), 0, select(eq(a, b), _HALF, 1)),
     lambda a, b, f: select(gt(b, a), 0, select(eq(a, b), _HALF, 1))),
    np.minimum, result=SAME, to_sympy=sympy.Min,
)
fmax: ScalarType = define(
    "fmax",  # a nan loses; a tie goes to the first
    (lambda a, b, f: select(or_(ge(a, b), isnan(b)), 1, 0), lambda a, b, f: select(or_(ge(a, b), isnan(b)), 0, 1)),
    np.fmax, result=SAME, to_sympy=sympy.Max,
)
fmin: ScalarType = define(
    "fmin",
    (lambda a, b, f: select(or_(le(a, b), isnan(b)), 1, 0), lambda a, b, f: select(or_(le(a, b), isnan(b)), 0, 1)),
    np.fmin, result=SAME, to_sympy=sympy.Min,
)


# --- arithmetic that SymPy would rewrite ------------------------------------------------------------------------------


def _np_div(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.true_divide(a, b)


def _np_floor_div(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.floor_divide(a, b)


def _np_trunc_div(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind in "iu" and b.dtype.kind in "iu":
            return np.where(b == 0, 0, np.sign(a) * np.sign(b) * (np.abs(a) // np.where(b == 0, 1, np.abs(b))))
        return np.trunc(a / b)


def _np_shift_left(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    width = 8 * a.dtype.itemsize
    return np.where((b < 0) | (b >= width), 0, np.left_shift(a, np.clip(b, 0, width - 1)))


def _np_shift_right(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    last = 8 * a.dtype.itemsize - 1
    return np.right_shift(a, np.where((b < 0) | (b > last), last, b))


def _np_remainder(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.remainder(a, b)


def _np_pow(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.power(a, b)


div: ScalarType = define(
    "div",  # (a/b)/b rather than a/b**2: b**2 may underflow
    (lambda a, b, f: div(1, b), lambda a, b, f: -div(f, b)),
    _np_div, to_sympy=lambda a, b: a / b,
)
floor_div: ScalarType = define(
    "floor_div", (0, 0), _np_floor_div, result=SAME, to_sympy=lambda a, b: sympy.floor(a / b)
)
floor_divide: ScalarType = define(  # torch.floor_divide: PyTorch refuses to differentiate it, unlike div's rounding modes
    "floor_divide", (None, None), _np_floor_div, result=SAME, to_sympy=lambda a, b: sympy.floor(a / b),
    expansion=lambda a, b: floor_div(a, b),
)
trunc_div: ScalarType = define("trunc_div", (0, 0), _np_trunc_div, result=SAME)
remainder: ScalarType = define(
    "remainder", (1, lambda a, b, f: -floor_div(a, b)), _np_remainder, result=SAME, to_sympy=sympy.Mod
)
bit_and: ScalarType = define("bit_and", (0, 0), np.bitwise_and, result=SAME)
bit_or: ScalarType = define("bit_or", (0, 0), np.bitwise_or, result=SAME)
bit_xor: ScalarType = define("bit_xor", (0, 0), np.bitwise_xor, result=SAME)
shift_left: ScalarType = define("shift_left", (0, 0), _np_shift_left, result=SAME)
shift_right: ScalarType = define("shift_right", (0, 0), _np_shift_right, result=SAME)
philox_low: ScalarType = define("philox_low", (0, 0, 0), lambda *words: philox(*words)[0], result=SAME)
philox_high: ScalarType = define("philox_high", (0, 0, 0), lambda *words: philox(*words)[1], result=SAME)
fmod: ScalarType = define("fmod", (1, lambda a, b, f: -trunc_div(a, b)), np.fmod, result=SAME)
pow_: ScalarType = define(
    "pow",  # 0 where the exponent is 0; d/dp is 0 at x = 0, p >= 0: torch's pow_backward_self / _exponent
    (lambda x, p, f: select(eq(p, 0), 0, p * pow_(x, p - 1)),
     lambda x, p, f: select(and_(eq(x, 0), ge(p, 0)), 0, f * log(x))),
    _np_pow, result=SAME, to_sympy=lambda x, p: x**p,
)


# --- one argument -----------------------------------------------------------------------------------------------------


def _vectorised(function: Callable[[float], float]) -> Callable[..., Any]:
    def apply(x: Any) -> Any:
        x = np.asarray(x)
        kind = x.dtype if x.dtype.kind == "f" else np.dtype("float64")
        return np.array([function(float(v)) for v in x.ravel()], dtype=kind).reshape(x.shape)

    return apply


def _np_sigmoid(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def _np_softplus(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        return (np.maximum(x, x.dtype.type(0)) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


def _np_erfcx_free(function: Callable[[float], float]) -> Callable[..., Any]:
    return _vectorised(lambda v: function(v) if v == v else math.nan)


def _np_digamma(v: float) -> float:
    import mpmath

    try:
        return float(mpmath.digamma(v))
    except (ValueError, ZeroDivisionError):
        return math.copysign(math.inf, -v) if v == 0 else math.nan


def _np_lgamma(v: float) -> float:
    try:
        return math.lgamma(v)
    except (ValueError, OverflowError):
        return math.inf


def _np_sign(x: Any) -> Any:
    """0 for nan, as torch.sign."""
    x = np.asarray(x)
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)


_SQRT2 = sqrt(2)
exp: ScalarType = define("exp", (lambda x, f: f,), np.exp, to_sympy=sympy.exp)
exp2: ScalarType = define("exp2", (lambda x, f: f * sympy.log(2),), np.exp2, to_sympy=lambda x: 2**x)
expm1: ScalarType = define("expm1", (lambda x, f: f + 1,), np.expm1, to_sympy=lambda x: sympy.exp(x) - 1)
log: ScalarType = define("log", (lambda x, f: div(1, x),), np.log, to_sympy=sympy.log)
log2: ScalarType = define(
    "log2", (lambda x, f: div(1, x * sympy.log(2)),), np.log2, to_sympy=lambda x: sympy.log(x) / sympy.log(2)
)
log10: ScalarType = define(
    "log10", (lambda x, f: div(1, x * sympy.log(10)),), np.log10, to_sympy=lambda x: sympy.log(x) / sympy.log(10)
)
log1p: ScalarType = define("log1p", (lambda x, f: div(1, x + 1),), np.log1p, to_sympy=lambda x: sympy.log(1 + x))
sqrt_: ScalarType = define("sqrt", (lambda x, f: div(1, 2 * f),), np.sqrt, to_sympy=sympy.sqrt)
rsqrt: ScalarType = define(
    "rsqrt", (lambda x, f: -_HALF * f**3,), lambda x: _np_div(1, np.sqrt(x)), to_sympy=lambda x: x**-_HALF
)
sin: ScalarType = define("sin", (lambda x, f: cos(x),), np.sin, to_sympy=sympy.sin)
cos: ScalarType = define("cos", (lambda x, f: -sin(x),), np.cos, to_sympy=sympy.cos)
tan: ScalarType = define("tan", (lambda x, f: 1 + f**2,), np.tan, to_sympy=sympy.tan)
sinh: ScalarType = define("sinh", (lambda x, f: cosh(x),), np.sinh, to_sympy=sympy.sinh)
cosh: ScalarType = define("cosh", (lambda x, f: sinh(x),), np.cosh, to_sympy=sympy.cosh)
tanh: ScalarType = define("tanh", (lambda x, f: 1 - f**2,), np.tanh, to_sympy=sympy.tanh)
asin: ScalarType = define("asin", (lambda x, f: rsqrt(1 - x**2),), np.arcsin, to_sympy=sympy.asin)
acos: ScalarType = define("acos", (lambda x, f: -rsqrt(1 - x**2),), np.arccos, to_sympy=sympy.acos)
atan: ScalarType = define("atan", (lambda x, f: div(1, x**2 + 1),), np.arctan, to_sympy=sympy.atan)
asinh: ScalarType = define("asinh", (lambda x, f: rsqrt(x**2 + 1),), np.arcsinh, to_sympy=sympy.asinh)
acosh: ScalarType = define("acosh", (lambda x, f: rsqrt(x - 1) * rsqrt(x + 1),), np.arccosh, to_sympy=sympy.acosh)
atanh: ScalarType = define("atanh", (lambda x, f: div(1, 1 - x**2),), np.arctanh, to_sympy=sympy.atanh)
sigmoid: ScalarType = define(
    "sigmoid", (lambda x, f: f * (1 - f),), _np_sigmoid, to_sympy=lambda x: 1 / (1 + sympy.exp(-x))
)
softplus: ScalarType = define(
    "softplus", (lambda x, f: sigmoid(x),), _np_softplus, to_sympy=lambda x: sympy.log(1 + sympy.exp(x))
)
logsigmoid: ScalarType = define(
    "logsigmoid", (lambda x, f: sigmoid(-x),), lambda x: -_np_softplus(-np.asarray(x)),
    to_sympy=lambda x: -sympy.log(1 + sympy.exp(-x)),
)
erf: ScalarType = define(
    "erf", (lambda x, f: 2 / sqrt(pi) * exp(-(x**2)),), _np_erfcx_free(math.erf), to_sympy=sympy.erf
)
erfc: ScalarType = define(
    "erfc", (lambda x, f: -2 / sqrt(pi) * exp(-(x**2)),), _np_erfcx_free(math.erfc), to_sympy=sympy.erfc
)
lgamma: ScalarType = define("lgamma", (lambda x, f: digamma(x),), _vectorised(_np_lgamma), to_sympy=sympy.loggamma)
digamma: ScalarType = define("digamma", (lambda x, f: trigamma(x),), _vectorised(_np_digamma), to_sympy=sympy.digamma)

abs_: ScalarType = define("abs", (lambda x, f: sign(x),), np.abs, result=SAME, to_sympy=sympy.Abs)
sign: ScalarType = define("sign", (0,), _np_sign, result=SAME, to_sympy=sympy.sign)
floor: ScalarType = define("floor", (0,), np.floor, result=SAME, to_sympy=sympy.floor)
ceil: ScalarType = define("ceil", (0,), np.ceil, result=SAME, to_sympy=sympy.ceiling)
trunc: ScalarType = define("trunc", (0,), np.trunc, result=SAME)
round_: ScalarType = define("round", (0,), np.round, result=SAME)  # half to even, as torch.round
atan2: ScalarType = define(
    "atan2",  # (0, 0): torch masks the division, both derivatives are 0
    (lambda y, x, f: select(eq(x**2 + y**2, 0), 0, div(x, x**2 + y**2)),
     lambda y, x, f: select(eq(x**2 + y**2, 0), 0, -div(y, x**2 + y**2))),
    np.arctan2, to_sympy=sympy.atan2,
)


# --- functions with a derivative of their own and a value made of others ---------------------------------------------


def by_expansion(key: str, partials: tuple, expansion: Callable[..., Any], to_sympy: Callable[..., Any] | None = None,
                  result: str = FLOAT) -> type[ScalarFunction]:
    """An entry whose NumPy meaning comes from its expansion too."""
    cls = define(
        key, partials, lambda *args: _evaluate(cls, args), result=result, to_sympy=to_sympy, expansion=expansion
    )
    return cls


def _evaluate(cls: type[ScalarFunction], args: tuple[Any, ...]) -> Any:
    symbols = [sympy.Symbol(f"_{k}", real=True) for k in range(len(args))]
    values = dict(zip(symbols, np.broadcast_arrays(*[np.asarray(a) for a in args])))
    return _value(cls.expansion(*symbols), values)  # type: ignore[misc]


def _value(expr: sympy.Expr, values: dict[sympy.Symbol, Any]) -> Any:
    if expr in values:
        return values[expr]
    kind = next(iter(values.values())).dtype.type
    if expr.is_number and not expr.has(ScalarFunction):
        return kind(float(expr))
    parts = [_value(a, values) for a in expr.args]
    with np.errstate(all="ignore"):
        if isinstance(expr, ScalarFunction):
            return type(expr).numpy(*parts)
        if isinstance(expr, sympy.Pow):
            return parts[0] ** int(expr.exp)
        total = parts[0]
        for p in parts[1:]:
            total = total + p if isinstance(expr, sympy.Add) else total * p
        return total


def signbit(x: Expr) -> Expr:
    """Whether the sign is set, that of -0.0 too: 1/x tells it from 0."""
    return select(eq(x, 0), lt(div(1, x), 0), lt(x, 0))


copysign: ScalarType = by_expansion(
    "copysign",  # torch: grad * (result / self), nothing at 0
    (lambda a, b, f: select(eq(a, 0), 0, select(eq(f, a), 1, -1)), 0),
    lambda a, b: select(signbit(b), -abs_(a), abs_(a)),
)


def _hypot_value(a: Expr, b: Expr) -> Expr:
    large, small = maximum(abs_(a), abs_(b)), minimum(abs_(a), abs_(b))
    ratio = div(small, large)
    value = select(eq(large, 0), 0, large * sqrt_(1 + ratio * ratio))
    return select(or_(isinf(a), isinf(b)), sympy.oo, value)


hypot: ScalarType = by_expansion(
    "hypot", (lambda a, b, f: div(a, f), lambda a, b, f: div(b, f)), _hypot_value,
    to_sympy=lambda a, b: sympy.sqrt(a**2 + b**2),
)
xlogy: ScalarType = by_expansion(
    "xlogy",  # torch: log(y) by x except where x is 0 and y is not positive; x / y by y
    (lambda x, y, f: select(and_(eq(x, 0), le(y, 0)), 0, log(y)), lambda x, y, f: div(x, y)),
    lambda x, y: select(isnan(y), y, select(eq(x, 0), 0, x * log(y))), to_sympy=lambda x, y: x * sympy.log(y),
)
xlog1py: ScalarType = by_expansion(
    "xlog1py",
    (lambda x, y, f: select(and_(eq(x, 0), le(y, -1)), 0, log1p(y)), lambda x, y, f: div(x, y + 1)),
    lambda x, y: select(isnan(y), y, select(eq(x, 0), 0, x * log1p(y))), to_sympy=lambda x, y: x * sympy.log(1 + y),
)
logit: ScalarType = by_expansion(
    "logit", (lambda x, f: select(or_(lt(x, 0), gt(x, 1)), sympy.nan, div(1, x * (1 - x))),),
    lambda x: log(div(x, 1 - x)), to_sympy=lambda x: sympy.log(x / (1 - x)),
)


def _logaddexp_value(a: Expr, b: Expr) -> Expr:
    return select(and_(isinf(a), eq(a, b)), a, maximum(a, b) + log1p(exp(-abs_(a - b))))


def _logaddexp2_value(a: Expr, b: Expr) -> Expr:
    tail = log1p(exp2(-abs_(a - b))) / sympy.log(2)
    return select(and_(isinf(a), eq(a, b)), a, maximum(a, b) + tail)


logaddexp: ScalarType = by_expansion(
    "logaddexp", (lambda a, b, f: sigmoid(a - b), lambda a, b, f: sigmoid(b - a)), _logaddexp_value,
    to_sympy=lambda a, b: sympy.log(sympy.exp(a) + sympy.exp(b)),
)
logaddexp2: ScalarType = by_expansion(
    "logaddexp2",
    (lambda a, b, f: sigmoid((a - b) * sympy.log(2)), lambda a, b, f: sigmoid((b - a) * sympy.log(2))),
    _logaddexp2_value,
    to_sympy=lambda a, b: sympy.log(2**a + 2**b) / sympy.log(2),
)


_BCE_FLOOR = Rational(*float(np.float32(1e-12)).as_integer_ratio())  # a float literal in PyTorch's source
bce: ScalarType = by_expansion(
    "bce",  # torch clamps the logarithms at -100 and, in the derivative, p (1 - p) at 1e-12
    (lambda p, y, f: div(p - y, maximum(p * (1 - p), _BCE_FLOOR)), lambda p, y, f: log(1 - p) - log(p)),
    lambda p, y: (y - 1) * select(lt(log1p(-p), -100), -100, log1p(-p)) - y * select(lt(log(p), -100), -100, log(p)),
    to_sympy=lambda p, y: -y * sympy.log(p) - (1 - y) * sympy.log(1 - p),
)


def _trigamma_value(x: Expr) -> Expr:
    """Recurrence up to 10 or more, then the asymptotic series (Abramowitz & Stegun 6.4.12); reflection (6.4.7)
    below 1/2."""
    low = lt(x, _HALF)
    z = select(low, 1 - x, x)
    head: Expr = Integer(0)
    for k in range(10):
        head = head + div(1, (z + k) ** 2)
    w = div(1, z + 10)
    series = sum((Rational(*c) * w ** (2 * k + 3) for k, c in enumerate(_BERNOULLI)), w + _HALF * w**2)
    value = head + series
    return select(low, div(pi**2, sin(pi * x) ** 2) - value, value)


_BERNOULLI = ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6))
_X = sympy.Symbol("_x", real=True)
tetragamma: ScalarType = by_expansion(
    "tetragamma", (lambda x, f: sympy.diff(_trigamma_value(_X), _X, 2).xreplace({_X: x}),),
    lambda x: sympy.diff(_trigamma_value(_X), _X).xreplace({_X: x}),
    to_sympy=lambda x: sympy.polygamma(2, x),
)
trigamma: ScalarType = by_expansion(
    "trigamma", (lambda x, f: tetragamma(x),), _trigamma_value, to_sympy=sympy.trigamma
)
entr: ScalarType = by_expansion(
    "entr",
    (lambda x, f: select(gt(x, 0), -log(x) - 1, select(eq(x, 0), sympy.oo, sympy.nan)),),
    lambda x: select(isnan(x), x, select(gt(x, 0), -x * log(x), select(eq(x, 0), 0, -sympy.oo))),
    to_sympy=lambda x: -x * sympy.log(x),
)
expm1_: ScalarType = by_expansion(
    "expm1_",
    (lambda x, f: exp(x),),
    lambda x: expm1(x),
    to_sympy=lambda x: sympy.exp(x) - 1,  # no cancellation in exp(x)
)


def written_out(body: Expr) -> Expr:
    """`body` with every function that has no kernel of its own written out."""
    while True:
        found = [f for f in body.atoms(ScalarFunction) if f.expansion is not None]
        if not found:
            return body
        inner = [f for f in found if not any(g is not f and f.has(g) for g in found)]
        body = body.xreplace({f: sympy.sympify(f.expansion(*f.args)) for f in inner})


def index_body(index: Expr) -> Expr:
    """An index expression as a value: quotients and modulos by their scalar functions."""
    found = index.replace(quotient, floor_div)
    return found.replace(modulo, remainder)


# --- composites written once -----------------------------------------------------------------------------------------


def normal_cdf(x: Expr) -> Expr:
    """Standard normal distribution function, by erfc: no cancellation in the lower tail."""
    return _HALF * erfc(-x / _SQRT2)


def normal_pdf(x: Expr) -> Expr:
    return exp(-_HALF * x**2) / sqrt(2 * pi)


def scaled(g: Expr, partial: Expr) -> Expr:
    """`g * partial` with selections outermost and zeros and ones structural: a branch not taken is not multiplied.

    g may be inf or nan, and so may the partial of a branch that is not taken: `select(c, g*p, 0)` is 0 where c is
    false,
    `g * select(c, p, 0)` would be nan.  Terms of a sum that hang on the same condition become one selection.
    """
    partial = sympy.sympify(partial)
    if partial.is_zero or g.is_zero:
        return Integer(0)
    if partial == 1:
        return g
    condition = _condition(partial)
    if condition is not None:
        if isinstance(partial, sympy.Add):
            common = [t for t in partial.args if condition in _conditions(t)]
            rest = [t for t in partial.args if condition not in _conditions(t)]
            if rest:
                return scaled(g, sympy.Add(*common)) + scaled(g, sympy.Add(*rest))
        return select(
            condition, scaled(g, _chosen(partial, condition, 1)), scaled(g, _chosen(partial, condition, 2))
        )
    if isinstance(partial, div):
        return div(scaled(g, partial.args[0]), partial.args[1])
    if isinstance(partial, sympy.Mul):
        for factor in partial.args:
            if isinstance(factor, div):
                return scaled(scaled(g, sympy.Mul(*[f for f in partial.args if f is not factor])), factor)
    return g * partial


def _conditions(expr: Expr) -> list[Expr]:
    """The conditions of selections that `expr` is a sum, product or quotient of, in order."""
    if isinstance(expr, select):
        return [expr.args[0]]
    if isinstance(expr, div):
        return _conditions(expr.args[0])
    if isinstance(expr, (sympy.Add, sympy.Mul)):
        return [c for a in expr.args for c in _conditions(a)]
    return []


def _condition(expr: Expr) -> Expr | None:
    """The condition that most selections hang on (of equally many the first)."""
    found = _conditions(expr)
    return max(found, key=found.count) if found else None


def _chosen(expr: Expr, condition: Expr, branch: int) -> Expr:
    """`expr` where the condition holds (branch 1) or does not (branch 2)."""
    if isinstance(expr, select):
        return expr.args[branch] if expr.args[0] == condition else expr
    if isinstance(expr, div):
        numerator = _chosen(expr.args[0], condition, branch)
        return Integer(0) if numerator.is_zero else div(numerator, expr.args[1])
    if isinstance(expr, (sympy.Add, sympy.Mul)):
        return expr.func(*[_chosen(a, condition, branch) for a in expr.args])
    return expr
