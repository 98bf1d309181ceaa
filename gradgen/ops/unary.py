"""Functions of one tensor, element by element: each one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy import pi

from gradgen.ir import functions as fn
from gradgen.ops.registry import FLOAT, PROMOTE, pointwise
from gradgen.ops.samples import INF, NAN, edges, one, sample, t
from gradgen.ops.shapes import exact
from gradgen.ops.table import METHODS, call, is_tensor, public, require_tensor, unary

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

INTEGERS_TOO = ("float32", "float64", "int32", "int64")

# --- exponentials and logarithms -------------------------------------------------------------------------------------

exp = unary("exp", fn.exp)
exp2 = unary("exp2", fn.exp2, namespaces=("", "special"))
expm1 = unary("expm1", fn.expm1, namespaces=("", "special"))
log = unary("log", fn.log, domain="positive")
log2 = unary("log2", fn.log2, domain="positive")
log10 = unary("log10", fn.log10, domain="positive")
log1p = unary("log1p", fn.log1p, grad_name="Log1PBackward0", domain="positive", namespaces=("", "special"))
sqrt = unary("sqrt", fn.sqrt_, domain="positive")
rsqrt = unary("rsqrt", fn.rsqrt, domain="positive")

# --- trigonometric and hyperbolic ------------------------------------------------------------------------------------

sin = unary("sin", fn.sin)
cos = unary("cos", fn.cos)
tan = unary("tan", fn.tan)
asin = unary("asin", fn.asin, domain="small", aliases=["arcsin"])
acos = unary("acos", fn.acos, domain="small", aliases=["arccos"])
atan = unary("atan", fn.atan, aliases=["arctan"])
sinh = unary("sinh", fn.sinh)
cosh = unary("cosh", fn.cosh)
tanh = unary("tanh", fn.tanh)
asinh = unary("asinh", fn.asinh, aliases=["arcsinh"])
acosh = unary("acosh", fn.acosh, domain="large", aliases=["arccosh"])
atanh = unary("atanh", fn.atanh, domain="small", aliases=["arctanh"])
deg2rad = unary("deg2rad", lambda x: x * (pi / 180), grad_name="Deg2RadBackward0")
rad2deg = unary("rad2deg", lambda x: x * (180 / pi), grad_name="Rad2DegBackward0")

# --- sign and rounding -----------------------------------------------------------------------------------------------

abs = unary("abs", fn.abs_, rule=PROMOTE, aliases=["absolute"], dtypes=INTEGERS_TOO)
sign = unary("sign", fn.sign, rule=PROMOTE, dtypes=INTEGERS_TOO)
sgn = unary("sgn", fn.sign, rule=PROMOTE, dtypes=INTEGERS_TOO)
floor = unary("floor", fn.floor, rule=PROMOTE, dtypes=INTEGERS_TOO)
ceil = unary("ceil", fn.ceil, rule=PROMOTE, dtypes=INTEGERS_TOO)
trunc = unary("trunc", fn.trunc, rule=PROMOTE, dtypes=INTEGERS_TOO, aliases=["fix"])
frac = unary("frac", lambda x: x - fn.trunc(x), rule=PROMOTE)
_round = pointwise("round", fn.round_)
_round_decimals = pointwise(
    "round_decimals",
    lambda x, decimals: fn.div(fn.round_(x * 10**decimals), 10**decimals)
    if decimals > 0 else fn.round_(fn.div(x, 10**-decimals)) * 10**-decimals,
    grad_name="RoundBackward1",
)


@public("", "special", method=True, inplace=True, samples=[
    sample(edges((-INF, -2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 1e9, NAN)), dtypes=INTEGERS_TOO[:2]),
    sample(t(4), decimals=1), sample(edges((1234.0, -1250.0)), decimals=-2),
])
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to even; `decimals` places."""
    require_tensor(input, "round")
    if decimals == 0:
        return call(_round, input)
    return call(_round_decimals, input, decimals=sympy.Integer(decimals))


METHODS["__abs__"] = abs

# --- special ---------------------------------------------------------------------------------------------------------

sigmoid = unary("sigmoid", fn.sigmoid, namespaces=("", "nn.functional"))
public("special", samples=[one(t(3))], name="expit")(sigmoid)
METHODS.pop("expit", None)
erf = unary("erf", fn.erf, namespaces=("", "special"))
erfc = unary("erfc", fn.erfc, namespaces=("", "special"))
lgamma = unary("lgamma", fn.lgamma, domain="positive")
public("special", samples=[one(t(3, domain="positive"))], name="gammaln")(lgamma)
sinc = unary("sinc", lambda x: fn.select(fn.eq(x, 0), 1, fn.div(fn.sin(pi * x), pi * x)), namespaces=("", "special"))
ndtr = unary("ndtr", fn.normal_cdf, namespaces=("special",), method=False, inplace=False, grad_name="MulBackward1")
entr = unary("entr", fn.entr, domain="positive", namespaces=("special",), method=False, inplace=False,
             grad_name="SpecialEntrBackward0")
digamma = unary("digamma", fn.digamma, domain="positive", namespaces=("",))
public("special", samples=[one(t(3, domain="positive"))], name="psi")(digamma)

_logit = pointwise("logit", fn.logit, rule=FLOAT)
_logit_eps = pointwise("logit_eps", lambda x, eps: fn.logit(_clamped(x, eps)), rule=FLOAT, grad_name="LogitBackward0")


def _clamped(x: Any, eps: Any) -> Any:
    """Between eps and 1 - eps; no derivative outside."""
    low, high = fn.lt(x, eps), fn.gt(x, 1 - eps)
    return fn.select(low, eps, fn.select(high, 1 - eps, x))


@public("", "special", method=True, inplace=True, samples=[
    sample(t(4, domain="unit")), sample(edges((-0.5, 0.0, 0.5, 1.0, 1.5, NAN))), one(t(4, domain="unit"), 0.2),
    one(t(4, domain="unit"), eps=0.2),
])
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x clamped to [eps, 1 - eps] where eps is given."""
    require_tensor(input, "logit")
    return call(_logit, input) if eps is None else call(_logit_eps, input, eps=exact(eps))


def _nan_to_num(x: Any, nan: Any, high: Any, low: Any) -> Any:
    return fn.select(fn.isnan(x), nan, fn.select(fn.eq(x, sympy.oo), high, fn.select(fn.eq(x, -sympy.oo), low, x)))


_nan_to_num_op = pointwise("nan_to_num", _nan_to_num, arity=4)


@public("", method=True, inplace=True, samples=[
    sample(edges((-INF, -1.0, 0.0, INF, NAN))), sample(edges((-INF, 1.0, INF, NAN)), 1.0, 2.0, 3.0),
])
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """nan by `nan` (0), infinities by `posinf`, `neginf` (the largest and least finite numbers of the dtype)."""
    require_tensor(input, "nan_to_num")
    if not input.dtype.is_floating_point:
        return input
    largest = (2.0 - 2.0**-23) * 2.0**127 if input.dtype.name == "float32" else (2.0 - 2.0**-52) * 2.0**1023
    high = largest if posinf is None else float(posinf)
    low = -largest if neginf is None else float(neginf)
    return call(_nan_to_num_op, input, 0.0 if nan is None else float(nan), high, low)


# --- two arguments, still special ------------------------------------------------------------------------------------

_atan2 = pointwise("atan2", fn.atan2, arity=2, rule=FLOAT)
_hypot = pointwise("hypot", fn.hypot, arity=2)
_copysign = pointwise("copysign", fn.copysign, arity=2, rule=FLOAT)
_copysign_number = pointwise("copysign_number", fn.copysign, arity=2, rule=FLOAT, grad_name="CopysignBackward1")
_xlogy = pointwise("xlogy", fn.xlogy, arity=2, rule=FLOAT)
_xlogy_self = pointwise("xlogy_self", fn.xlogy, arity=2, rule=FLOAT, grad_name="XlogyBackward1")
_xlogy_other = pointwise("xlogy_other", fn.xlogy, arity=2, rule=FLOAT, grad_name="XlogyBackward2")
_xlog1py = pointwise("xlog1py", fn.xlog1py, arity=2, rule=FLOAT, grad_name="SpecialXlog1PyBackward0")
_logaddexp = pointwise("logaddexp", fn.logaddexp, arity=2)
_logaddexp2 = pointwise("logaddexp2", fn.logaddexp2, arity=2, grad_name="Logaddexp2Backward0")
_heaviside = pointwise(
    "heaviside",
    lambda x, v: fn.select(fn.eq(x, 0), v, fn.select(fn.lt(x, 0), 0, fn.select(fn.gt(x, 0), 1, 0))),
    arity=2,
    grad_name="NotImplemented",
)

TWO = edges((-INF, -2.0, -1.0, -0.0, 0.0, 0.0, 0.0, 1.0, 2.0, INF, INF, NAN, 1.0, -INF, 0.0, -0.0))
TWO_OTHERS = edges((1.0, 2.0, -1.0, 0.0, 0.0, -2.0, 2.0, 0.0, -3.0, INF, -1.0, 1.0, NAN, -INF, INF, -1.0))
BINARY = [sample(t(2, 3), t(2, 3, seed=1)), sample(TWO, TWO_OTHERS), one(t(4, 1), t(3, seed=1))]


@public("", method=True, inplace=True, aliases=["arctan2"], samples=BINARY)
def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of (other, input) in radians; both derivatives are 0 at the origin."""
    return call(_atan2, input, other)


@public("", method=True, inplace=True, samples=BINARY)
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input**2 + other**2) without overflow; the derivative at the origin is nan."""
    return call(_hypot, input, other)


@public("", method=True, inplace=True, samples=[*BINARY, one(t(3), -1.0)])
def copysign(input: Tensor, other: Tensor | float) -> Tensor:
    """The magnitude of `input` with the sign of `other`."""
    return call(_copysign if is_tensor(other) else _copysign_number, input, other)


POSITIVE_BINARY = [sample(t(2, 3), t(2, 3, domain="positive", seed=1)), sample(TWO, TWO_OTHERS)]


@public(
    "",
    "special",
    method=True,
    inplace=True,
    samples=[*POSITIVE_BINARY, one(t(3), 2.0), one(2.0, t(3, domain="positive"))],
)
def xlogy(input: Tensor | float, other: Tensor | float) -> Tensor:
    """input * log(other), 0 where input is 0 (and other is not nan)."""
    if not is_tensor(input):
        return call(_xlogy_self, input, other)
    return call(_xlogy if is_tensor(other) else _xlogy_other, input, other)


@public("special", samples=POSITIVE_BINARY)
def xlog1py(input: Tensor | float, other: Tensor | float) -> Tensor:
    """input * log1p(other), 0 where input is 0 (and other is not nan)."""
    return call(_xlog1py, input, other)


@public("", method=True, samples=BINARY)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other))."""
    return call(_logaddexp, input, other)


@public("", method=True, samples=BINARY)
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2**input + 2**other)."""
    return call(_logaddexp2, input, other)


@public(
    "",
    method=True,
    inplace=True,
    samples=[sample(edges((-1.0, 0.0, 2.0)), edges((0.5, 0.5, 0.5)), differentiable=False)],
)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, `values` at 0."""
    return call(_heaviside, input, values)


