"""The scalar functions that bodies are made of, a record each: derivative, NumPy and SymPy meaning, facts, notation, C.

They are SymPy functions without automatic evaluation: `log(exp(x))` stays as written, since SymPy's rewrites are wrong
for inf, nan and signed zeros.  `sympy.diff` and the chain rule work on them through `fdiff`; the derivatives are the
ones PyTorch uses, kinks included, written in the function's own value wherever that is the stable form
(`s*(1 - s)`, `1 - t**2`), so that a saved output serves the backward pass.

Comparisons and logical functions have derivative 0.  Nothing here is ever a Python float: exact SymPy numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, Rational, pi, sqrt

from gradgen.ir import numpy_forms as form
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.philox import philox
from gradgen.ir.scalar_table import (
    BOOL,
    CHEAP,
    DIVISION,
    JUMP,
    KINK,
    SAME,
    ScalarFunction,
    ScalarType,
    define,
    no_counterpart,
)

# --- truth values ---------------------------------------------------------------------------------------------------


def _truth(key: str, numpy: Callable[..., Any], sympy: Callable[..., Any], arity: int = 2, **facts: Any) -> ScalarType:
    return define(key, (0,) * arity, numpy, sympy, result=BOOL, exact=True, cost=CHEAP, continuity=JUMP, nonnegative=True,
                  **facts)


lt = _truth("lt", np.less, sympy.StrictLessThan, operator="<", text=" < ", latex=" < ")
le = _truth("le", np.less_equal, sympy.LessThan, operator="<=", text=" <= ", latex=r" \le ")
gt = _truth("gt", np.greater, sympy.StrictGreaterThan, operator=">", text=" > ", latex=" > ")
ge = _truth("ge", np.greater_equal, sympy.GreaterThan, operator=">=", text=" >= ", latex=r" \ge ")
eq = _truth("eq", np.equal, sympy.Eq, operator="==", text=" = ", latex=" = ")
ne = _truth("ne", np.not_equal, sympy.Ne, operator="!=", text=" != ", latex=r" \ne ")
and_ = _truth("and_", np.logical_and, sympy.And, logical=True, operator="&&", text=" and ", latex=r" \land ")
or_ = _truth("or_", np.logical_or, sympy.Or, logical=True, operator="||", text=" or ", latex=r" \lor ")
xor = _truth("xor", np.logical_xor, sympy.Xor, logical=True, operator="!=", text=" xor ", latex=r" \oplus ")
not_ = _truth("not_", np.logical_not, sympy.Not, 1, logical=True, operator="!", text="not ", latex=r"\lnot ")
isnan = _truth("isnan", np.isnan, lambda x: sympy.false, 1, whole=0)  # no real number is
isinf = _truth("isinf", np.isinf, lambda x: sympy.false, 1, whole=0)
isfinite = _truth("isfinite", np.isfinite, lambda x: sympy.true, 1, whole=1)


# --- identity to the eye of the machine, not of the derivative -------------------------------------------------------


def _first(x: Any, *others: Any) -> Any:
    return x


def _same(key: str, *partials: int) -> ScalarType:
    return define(key, partials, _first, _first, result=SAME, identity=True, exact=True, cost=CHEAP)


stop = _same("stop", 0)  # detach
extent = _same("extent", 0)  # a size, not a number of mathematics
apart = _same("apart", 1, 0)
"""x, where operation k reads no element twice: cotangents are put in their places, not added up (autodiff.beside)."""
instead = _same("instead", 0, 1)
"""The value of x, the derivative of y: another form of x, or what autograd's tape says of it."""
local = _same("local", 0, 1)
"""As `instead`, for the transform of gg.func whose function it stands in; to what is around that it is x."""
retold = _same("retold", 0, 1, 0)
"""The value of x, the derivative of y in reverse mode and of z in forward mode: under no_grad retold(x, 0, x)."""


# --- selection: a branch not taken contributes nothing, it is never multiplied by 0 -----------------------------------

select: ScalarType = define(
    "select",
    (0, lambda c, x, y, f: select(c, 1, 0), lambda c, x, y, f: select(c, 0, 1)),
    form.select,
    lambda c, x, y: sympy.Piecewise((x, c if isinstance(c, sympy.logic.boolalg.Boolean) else sympy.Ne(c, 0)), (y, True)),
    result=SAME, exact=True, cost=CHEAP, continuity=KINK, operator="?", text="if",
)

_HALF = Rational(1, 2)


def _choice(key: str, partials: tuple, numpy: Callable[..., Any], sympy: Callable[..., Any], **facts: Any) -> ScalarType:
    return define(key, partials, numpy, sympy, result=SAME, exact=True, cost=CHEAP, continuity=KINK, **facts)


maximum = _choice(
    "maximum",  # a tie is shared: torch.maximum's backward
    (lambda a, b, f: select(lt(a, b), 0, select(eq(a, b), _HALF, 1)),
     lambda a, b, f: select(lt(b, a), 0, select(eq(a, b), _HALF, 1))),
    np.maximum, sympy.Max, text="max", latex=r"\max",
)
minimum = _choice(
    "minimum",
    (lambda a, b, f: select(gt(a, b), 0, select(eq(a, b), _HALF, 1)),
     lambda a, b, f: select(gt(b, a), 0, select(eq(a, b), _HALF, 1))),
    np.minimum, sympy.Min, text="min", latex=r"\min",
)
fmax = _choice(
    "fmax",  # a nan loses; a tie goes to the first
    (lambda a, b, f: select(or_(ge(a, b), isnan(b)), 1, 0), lambda a, b, f: select(or_(ge(a, b), isnan(b)), 0, 1)),
    np.fmax, lambda a, b: sympy.Max(a, b), instruction="fmax",
)
fmin = _choice(
    "fmin",
    (lambda a, b, f: select(or_(le(a, b), isnan(b)), 1, 0), lambda a, b, f: select(or_(le(a, b), isnan(b)), 0, 1)),
    np.fmin, lambda a, b: sympy.Min(a, b), instruction="fmin",
)


# --- arithmetic that SymPy would rewrite ------------------------------------------------------------------------------


def _truncated(x: Expr) -> Expr:
    return sympy.Piecewise((sympy.floor(x), x >= 0), (sympy.ceiling(x), True))


def _quotient(a: Expr, b: Expr) -> Expr:
    return sympy.floor(a / b)


def _bits(key: str, numpy: Callable[..., Any], text: str, latex: str) -> ScalarType:
    return define(key, (0, 0), numpy, no_counterpart, result=SAME, continuity=JUMP, text=text, latex=latex)


div: ScalarType = define(
    "div",  # (a/b)/b rather than a/b**2: b**2 may underflow
    (lambda a, b, f: div(1, b), lambda a, b, f: -div(f, b)),
    form.quiet(np.true_divide), lambda a, b: a / b, cost=DIVISION, operator="/",
)
_FLOOR = {"text": "floor(%s/%s)", "latex": r"\left\lfloor \frac{%s}{%s} \right\rfloor"}
floor_div = define("floor_div", (0, 0), form.quiet(np.floor_divide), _quotient, result=SAME, continuity=JUMP, **_FLOOR)
floor_divide = define(  # torch.floor_divide: PyTorch refuses to differentiate it, unlike div's rounding modes
    "floor_divide", (None, None), form.quiet(np.floor_divide), _quotient, result=SAME, continuity=JUMP,
    expansion=lambda a, b: floor_div(a, b), **_FLOOR,
)
trunc_div = define(
    "trunc_div", (0, 0), form.quiet(form.trunc_div), lambda a, b: _truncated(a / b), result=SAME, continuity=JUMP
)
remainder = define(
    "remainder", (1, lambda a, b, f: -floor_div(a, b)), form.quiet(np.remainder), sympy.Mod, result=SAME, continuity=JUMP,
    text=" mod ", latex=r" \bmod ",
)
bit_and = _bits("bit_and", np.bitwise_and, " & ", r" \mathbin{\&} ")
bit_or = _bits("bit_or", np.bitwise_or, " | ", r" \mathbin{|} ")
bit_xor = _bits("bit_xor", np.bitwise_xor, " ^ ", r" \mathbin{\hat{}} ")
shift_left = _bits("shift_left", form.shift_left, " << ", r" \ll ")
shift_right = _bits("shift_right", form.shift_right, " >> ", r" \gg ")
philox_low = define(
    "philox_low", (0, 0, 0), lambda *words: philox(*words)[0], no_counterpart, result=SAME, continuity=JUMP
)
philox_high = define(
    "philox_high", (0, 0, 0), lambda *words: philox(*words)[1], no_counterpart, result=SAME, continuity=JUMP
)
fmod = define(
    "fmod", (1, lambda a, b, f: -trunc_div(a, b)), form.quiet(np.fmod), lambda a, b: a - b * _truncated(a / b), result=SAME,
    continuity=JUMP, libm=True,
)
pow_: ScalarType = define(
    "pow",  # 0 where the exponent is 0; d/dp is 0 at x = 0, p >= 0: torch's pow_backward_self / _exponent
    (lambda x, p, f: select(eq(p, 0), 0, p * pow_(x, p - 1)),
     lambda x, p, f: select(and_(eq(x, 0), ge(p, 0)), 0, f * log(x))),
    form.pow, lambda x, p: x**p, result=SAME, libm=True,
)


# --- one argument -----------------------------------------------------------------------------------------------------

_SQRT2 = sqrt(2)
exp = define("exp", (lambda x, f: f,), np.exp, sympy.exp, nonnegative=True, libm=True, latex=r"\exp")
exp2 = define("exp2", (lambda x, f: f * sympy.log(2),), np.exp2, lambda x: 2**x, nonnegative=True)
expm1 = define("expm1", (lambda x, f: f + 1,), np.expm1, lambda x: sympy.exp(x) - 1)
log: ScalarType = define("log", (lambda x, f: div(1, x),), np.log, sympy.log, libm=True, latex=r"\log")
log2 = define("log2", (lambda x, f: div(1, x * sympy.log(2)),), np.log2, lambda x: sympy.log(x) / sympy.log(2))
log10 = define(
    "log10", (lambda x, f: div(1, x * sympy.log(10)),), np.log10, lambda x: sympy.log(x) / sympy.log(10), libm=True
)
log1p = define("log1p", (lambda x, f: div(1, x + 1),), np.log1p, lambda x: sympy.log(1 + x))
sqrt_ = define(
    "sqrt", (lambda x, f: div(1, 2 * f),), np.sqrt, sympy.sqrt, cost=DIVISION, nonnegative=True, libm=True, latex=r"\sqrt{%s}"
)
rsqrt = define(
    "rsqrt", (lambda x, f: -_HALF * f**3,), form.quiet(lambda x: 1 / np.sqrt(x)), lambda x: x**-_HALF
)
sin = define("sin", (lambda x, f: cos(x),), np.sin, sympy.sin, libm=True, latex=r"\sin")
cos: ScalarType = define("cos", (lambda x, f: -sin(x),), np.cos, sympy.cos, libm=True, latex=r"\cos")
tan = define("tan", (lambda x, f: 1 + f**2,), np.tan, sympy.tan, libm=True, latex=r"\tan")
sinh = define("sinh", (lambda x, f: cosh(x),), np.sinh, sympy.sinh, libm=True, latex=r"\sinh")
cosh: ScalarType = define("cosh", (lambda x, f: sinh(x),), np.cosh, sympy.cosh, nonnegative=True, libm=True, latex=r"\cosh")
tanh = define("tanh", (lambda x, f: 1 - f**2,), np.tanh, sympy.tanh, libm=True, latex=r"\tanh")
asin = define("asin", (lambda x, f: rsqrt(1 - x**2),), np.arcsin, sympy.asin, libm=True, latex=r"\arcsin")
acos = define("acos", (lambda x, f: -rsqrt(1 - x**2),), np.arccos, sympy.acos, nonnegative=True, libm=True, latex=r"\arccos")
atan = define("atan", (lambda x, f: div(1, x**2 + 1),), np.arctan, sympy.atan, libm=True, latex=r"\arctan")
asinh = define("asinh", (lambda x, f: rsqrt(x**2 + 1),), np.arcsinh, sympy.asinh)
acosh = define("acosh", (lambda x, f: rsqrt(x - 1) * rsqrt(x + 1),), np.arccosh, sympy.acosh, nonnegative=True)
atanh = define("atanh", (lambda x, f: div(1, 1 - x**2),), np.arctanh, sympy.atanh)
sigmoid = define(
    "sigmoid", (lambda x, f: f * (1 - f),), form.sigmoid, lambda x: 1 / (1 + sympy.exp(-x)), nonnegative=True, latex=r"\sigma"
)
softplus = define(
    "softplus", (lambda x, f: sigmoid(x),), form.softplus, lambda x: sympy.log(1 + sympy.exp(x)), nonnegative=True
)
logsigmoid = define(
    "logsigmoid", (lambda x, f: sigmoid(-x),), lambda x: -form.softplus(-np.asarray(x)),
    lambda x: -sympy.log(1 + sympy.exp(-x)),
)
erf = define("erf", (lambda x, f: 2 / sqrt(pi) * exp(-(x**2)),), form.vectorised(math.erf), sympy.erf)
erfc = define("erfc", (lambda x, f: -2 / sqrt(pi) * exp(-(x**2)),), form.vectorised(math.erfc), sympy.erfc, nonnegative=True)
lgamma = define("lgamma", (lambda x, f: digamma(x),), form.vectorised(form.lgamma), sympy.loggamma, latex=r"\ln\Gamma")
digamma: ScalarType = define(
    "digamma", (lambda x, f: trigamma(x),), form.vectorised(form.digamma), sympy.digamma, latex=r"\psi"
)


def _rounding(key: str, numpy: Callable[..., Any], sympy: Callable[..., Any], **facts: Any) -> ScalarType:
    return define(
        key, (0,), numpy, sympy, result=SAME, exact=True, whole=SAME, cost=CHEAP, continuity=JUMP, **facts
    )


def _to_even(x: Expr) -> Expr:
    quarter = (2 * x - 1) / 4
    return sympy.floor(x + _HALF) + sympy.ceiling(quarter) - sympy.floor(quarter) - 1


abs_ = define(
    "abs", (lambda x, f: sign(x),), np.abs, sympy.Abs, result=SAME, exact=True, cost=CHEAP, continuity=KINK, nonnegative=True,
    instruction="fabs", text="|%s|", latex=r"\left|%s\right|",
)
sign: ScalarType = define("sign", (0,), form.sign, sympy.sign, result=SAME, exact=True, cost=CHEAP, continuity=JUMP)
floor = _rounding("floor", np.floor, sympy.floor, libm=True, latex=r"\left\lfloor %s \right\rfloor")
ceil = _rounding("ceil", np.ceil, sympy.ceiling, libm=True, latex=r"\left\lceil %s \right\rceil")
trunc = _rounding("trunc", np.trunc, _truncated, libm=True)
round_ = _rounding("round", np.round, _to_even, instruction="nearbyint")  # half to even, as torch.round
atan2 = define(
    "atan2",  # (0, 0): torch masks the division, both derivatives are 0
    (lambda y, x, f: select(eq(x**2 + y**2, 0), 0, div(x, x**2 + y**2)),
     lambda y, x, f: select(eq(x**2 + y**2, 0), 0, -div(y, x**2 + y**2))),
    np.arctan2, sympy.atan2, continuity=JUMP, libm=True,
)


# --- functions with a derivative of their own and a value made of others ---------------------------------------------


def by_expansion(
    key: str, partials: tuple, expansion: Callable[..., Any], sympy: Callable[..., Any], **facts: Any
) -> ScalarType:
    """An entry whose NumPy meaning comes from its expansion too."""
    return define(key, partials, lambda *args: _evaluate(expansion, args), sympy, expansion=expansion, **facts)


def _evaluate(expansion: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    symbols = [sympy.Symbol(f"_{k}", real=True) for k in range(len(args))]
    values = dict(zip(symbols, np.broadcast_arrays(*[np.asarray(a) for a in args])))
    return _value(expansion(*symbols), values)


def _value(expr: sympy.Expr, values: dict[sympy.Symbol, Any]) -> Any:
    if expr in values:
        return values[expr]
    kind = next(iter(values.values())).dtype.type
    if expr.is_number and not expr.has(ScalarFunction):
        return kind(float(expr))
    parts = [_value(a, values) for a in expr.args]
    with np.errstate(all="ignore"):
        if isinstance(expr, ScalarFunction):
            return expr.record.numpy(*parts)
        if isinstance(expr, sympy.Pow):
            return parts[0] ** int(expr.exp)
        total = parts[0]
        for p in parts[1:]:
            total = total + p if isinstance(expr, sympy.Add) else total * p
        return total


def signbit(x: Expr) -> Expr:
    """Whether the sign is set, that of -0.0 too: 1/x tells it from 0."""
    return select(eq(x, 0), lt(div(1, x), 0), lt(x, 0))


copysign = by_expansion(
    "copysign",  # torch: grad * (result / self), nothing at 0
    (lambda a, b, f: select(eq(a, 0), 0, select(eq(f, a), 1, -1)), 0),
    lambda a, b: select(signbit(b), -abs_(a), abs_(a)), lambda a, b: sympy.Abs(a) * (1 - 2 * sympy.Heaviside(-b, 0)),
    exact=True, continuity=JUMP,
)


def _hypot_value(a: Expr, b: Expr) -> Expr:
    large, small = maximum(abs_(a), abs_(b)), minimum(abs_(a), abs_(b))
    ratio = div(small, large)
    value = select(eq(large, 0), 0, large * sqrt_(1 + ratio * ratio))
    return select(or_(isinf(a), isinf(b)), sympy.oo, value)


hypot = by_expansion(
    "hypot", (lambda a, b, f: div(a, f), lambda a, b, f: div(b, f)), _hypot_value,
    sympy=lambda a, b: sympy.sqrt(a**2 + b**2), continuity=KINK, nonnegative=True,
)
xlogy = by_expansion(
    "xlogy",  # torch: log(y) by x except where x is 0 and y is not positive; x / y by y
    (lambda x, y, f: select(and_(eq(x, 0), le(y, 0)), 0, log(y)), lambda x, y, f: div(x, y)),
    lambda x, y: select(isnan(y), y, select(eq(x, 0), 0, x * log(y))), sympy=lambda x, y: x * sympy.log(y),
)
xlog1py = by_expansion(
    "xlog1py",
    (lambda x, y, f: select(and_(eq(x, 0), le(y, -1)), 0, log1p(y)), lambda x, y, f: div(x, y + 1)),
    lambda x, y: select(isnan(y), y, select(eq(x, 0), 0, x * log1p(y))), sympy=lambda x, y: x * sympy.log(1 + y),
)
logit = by_expansion(
    "logit", (lambda x, f: select(or_(lt(x, 0), gt(x, 1)), sympy.nan, div(1, x * (1 - x))),),
    lambda x: log(div(x, 1 - x)), sympy=lambda x: sympy.log(x / (1 - x)),
)


def _logaddexp_value(a: Expr, b: Expr) -> Expr:
    return select(and_(isinf(a), eq(a, b)), a, maximum(a, b) + log1p(exp(-abs_(a - b))))


def _logaddexp2_value(a: Expr, b: Expr) -> Expr:
    tail = log1p(exp2(-abs_(a - b))) / sympy.log(2)
    return select(and_(isinf(a), eq(a, b)), a, maximum(a, b) + tail)


logaddexp = by_expansion(
    "logaddexp", (lambda a, b, f: sigmoid(a - b), lambda a, b, f: sigmoid(b - a)), _logaddexp_value,
    sympy=lambda a, b: sympy.log(sympy.exp(a) + sympy.exp(b)),
)
logaddexp2 = by_expansion(
    "logaddexp2",
    (lambda a, b, f: sigmoid((a - b) * sympy.log(2)), lambda a, b, f: sigmoid((b - a) * sympy.log(2))),
    _logaddexp2_value,
    sympy=lambda a, b: sympy.log(2**a + 2**b) / sympy.log(2),
)


_BCE_FLOOR = Rational(*float(np.float32(1e-12)).as_integer_ratio())  # a float literal in PyTorch's source
bce = by_expansion(  # smooth as far as float32 goes: e^-100 is subnormal
    "bce",  # torch clamps the logarithms at -100 and, in the derivative, p (1 - p) at 1e-12
    (lambda p, y, f: div(p - y, maximum(p * (1 - p), _BCE_FLOOR)), lambda p, y, f: log(1 - p) - log(p)),
    lambda p, y: (y - 1) * select(lt(log1p(-p), -100), -100, log1p(-p)) - y * select(lt(log(p), -100), -100, log(p)),
    sympy=lambda p, y: -y * sympy.log(p) - (1 - y) * sympy.log(1 - p),
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
tetragamma = by_expansion(
    "tetragamma", (lambda x, f: sympy.diff(_trigamma_value(_X), _X, 2).xreplace({_X: x}),),
    lambda x: sympy.diff(_trigamma_value(_X), _X).xreplace({_X: x}),
    sympy=lambda x: sympy.polygamma(2, x),
)
trigamma: ScalarType = by_expansion(
    "trigamma", (lambda x, f: tetragamma(x),), _trigamma_value, sympy=sympy.trigamma
)
entr = by_expansion(
    "entr",
    (lambda x, f: select(gt(x, 0), -log(x) - 1, select(eq(x, 0), sympy.oo, sympy.nan)),),
    lambda x: select(isnan(x), x, select(gt(x, 0), -x * log(x), select(eq(x, 0), 0, -sympy.oo))),
    sympy=lambda x: -x * sympy.log(x),
)
expm1_ = by_expansion(
    "expm1_",
    (lambda x, f: exp(x),),
    lambda x: expm1(x),
    sympy=lambda x: sympy.exp(x) - 1,  # no cancellation in exp(x)
)


def written_out(body: Expr) -> Expr:
    """`body` with every function that has no kernel of its own written out."""
    while True:
        found = [f for f in body.atoms(ScalarFunction) if f.record.expansion is not None]
        if not found:
            return body
        inner = [f for f in found if not any(g is not f and f.has(g) for g in found)]
        body = body.xreplace({f: sympy.sympify(f.record.expansion(*f.args)) for f in inner})


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
