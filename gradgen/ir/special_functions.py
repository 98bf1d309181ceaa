"""Special functions written in others: scaled complementary error function, modified Bessel functions, polygamma.

Polynomials are interpolants at Chebyshev nodes, computed for this file in 40 digits; relative errors are below 2^-54.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Integer, Rational, bernoulli, factorial, log, nan, oo, pi, sqrt

from gradgen.ir import functions as fn
from gradgen.ir.functions import by_expansion
from gradgen.ir.scalar_table import KINK, ScalarType

_HALF = Rational(1, 2)
# (1 + 2a) erfcx(a), a = 15/4 (1 + t)/(1 - t): the variable of Shepherd & Laframboise, Mathematics of Computation 36, 1981
_ERFCX = (
    1.2375126308378275, -0.14024059858554697, 0.003585415485463775, 0.08227673849014516, -0.10880393014171785,
    0.09230432116037876, -0.058693398590212366, 0.028362277418940665, -0.009746579552504244, 0.0017556258530017257,
    0.0002937136342850081, -0.0002901540809795271, 5.1649211390702855e-05, 2.2384240314224437e-05,
    -1.1444412439171722e-05, -9.735619015182663e-07, 1.752057970166318e-06, -5.721597255990987e-08,
    -2.591069687796658e-07, 2.3261913276696566e-08, 3.8965452548985966e-08, -3.743568033634583e-09,
    -5.28428697963142e-09, 3.110310719839165e-10, 4.434959070009628e-10,
)
# e^-a I0(a) and e^-a I1(a)/a for a = 4 (t + 1) <= 8; then both times sqrt(a) for a = 16/(t + 1): the intervals of Clenshaw,
# Chebyshev Series for Mathematical Functions, 1962
_I0_SMALL = (
    0.2070019212239867, -0.11300432688620549, 0.09451562853995128, -0.08904344136075996, 0.08734341617550408,
    -0.08496338091614662, 0.07927522590772465, -0.0695411956175599, 0.056777032011258714, -0.042985949450159,
    0.030177912103403717, -0.019682654727688778, 0.011960077419599882, -0.006792399673325518, 0.003617128473590754,
    -0.0018118875472634746, 0.0008563093357265103, -0.0003829000571102176, 0.000162417920911048,
    -6.55126191178084e-05, 2.5183380992816474e-05, -9.245958887727196e-06, 3.2498437105714717e-06,
    -1.0942193555307138e-06, 3.5213153112364e-07, -1.0960760697381337e-07, 3.396796972424401e-08,
    -9.749390380703055e-09, 2.188263125031253e-09, -6.06296219224003e-10, 3.043004558931688e-10,
    -7.470124308225188e-11,
)
_I1_SMALL = (
    0.044687709875608835, -0.06112433802966629, 0.06805759990951162, -0.0684826062058255, 0.06376740371340574,
    -0.055280039227050236, 0.04467457262129802, -0.03367135551995052, 0.02368601695706069, -0.015571309256417825,
    0.009583962156944402, -0.005534567762007116, 0.0030057623821240515, -0.0015388749547793816, 0.0007445125009128511,
    -0.00034117478062035245, 0.00014842078455454727, -6.142640521535543e-05, 2.423471871395591e-05,
    -9.132074358863496e-06, 3.2924355468944774e-06, -1.1377300236842814e-06, 3.775207046443834e-07,
    -1.2037821195533036e-07, 3.6836128409817914e-08, -1.0908822573192138e-08, 3.1982297265542376e-09,
    -8.787840300538333e-10, 1.9654216751903217e-10, -5.190294158149172e-11, 2.350708556034099e-11,
    -5.569735366905358e-12,
)
_I0_LARGE = (
    0.4021765094450081, 0.0033605519836677235, 0.00013621607439187193, 1.1143033802583682e-05, 1.4838475863096976e-06,
    2.9735956581528157e-07, 8.872154618944625e-08, 3.932926571091252e-08, 2.155681110989874e-08,
    7.532386417555123e-09, -6.805980075129678e-09, -1.331979859201994e-08, -5.162517880939013e-09,
    7.323310735122893e-09, 6.789790403895736e-09, -3.11851456121224e-09, -4.8482509221176966e-09,
    1.0924527246468664e-09, 2.3981927228949238e-09, -2.748111637276033e-10, -7.473844621887592e-10,
    3.525321019700796e-11, 1.0881994785468934e-10,
)
_I1_LARGE = (
    0.38939845902587233, -0.009749577193235609, -0.000219235763833829, -1.503854721127423e-05,
    -1.8349101539664522e-06, -3.483853071371078e-07, -1.0001220638799958e-07, -4.31323156237458e-08,
    -2.3382691353601083e-08, -8.407326839577817e-09, 6.795073490187386e-09, 1.3952625102162603e-08,
    5.722677527454156e-09, -7.432535335623792e-09, -7.222524178953976e-09, 3.0717395650769477e-09,
    5.094016301574338e-09, -1.0476127785270019e-09, -2.5062162405593894e-09, 2.582169443152386e-10,
    7.79067217908059e-10, -3.2677656089803323e-11, -1.13288885034257e-10,
)


def _polynomial(coefficients: tuple[float, ...], t: Expr) -> Expr:
    """By Horner's rule, the constant term first in the table."""
    value: Expr = Integer(0)
    for c in reversed(coefficients):
        value = Rational(*c.as_integer_ratio()) + t * value
    return value


def _erfcx_value(x: Expr) -> Expr:
    a = fn.abs_(x)
    t = 1 - fn.div(Rational(15, 2), a + Rational(15, 4))
    right = fn.div(_polynomial(_ERFCX, t), 1 + 2 * a)
    return fn.select(fn.lt(x, 0), 2 * fn.exp(x * x) - right, right)


erfcx = by_expansion(
    "erfcx", (lambda x, f: 2 * x * f - 2 / sqrt(pi),), _erfcx_value,
    lambda x: sympy.exp(x**2) * sympy.erfc(x), nonnegative=True,
)
log_ndtr = by_expansion(
    "log_ndtr",
    (lambda x, f: fn.select(fn.eq(x, -oo), nan, fn.div(sqrt(2 / pi), erfcx(-x / sqrt(2)))),),  # nan: PyTorch's
    lambda x: fn.select(
        fn.lt(x, -1), fn.log(_HALF * erfcx(-x / sqrt(2))) - _HALF * x * x, fn.log1p(-_HALF * fn.erfc(x / sqrt(2)))
    ),
    lambda x: sympy.log(sympy.erfc(-x / sqrt(2)) / 2),
)


def _bessel(a: Expr, small: tuple[float, ...], large: tuple[float, ...], near: Expr) -> Expr:
    """`near` times the first polynomial up to 8, the second over sqrt(a) beyond."""
    beyond = fn.div(_polynomial(large, fn.div(16, a) - 1), fn.sqrt_(a))
    return fn.select(fn.le(a, 8), near * _polynomial(small, a / 4 - 1), beyond)


def _odd(x: Expr, value: Expr) -> Expr:
    return fn.select(fn.lt(x, 0), -value, value)


def _is_some(x: Expr) -> Expr:
    """Neither 0 nor nan, where PyTorch's derivative of i1 is 1/2."""
    return fn.gt(fn.abs_(x), 0)


def _i1e_value(x: Expr) -> Expr:
    return _odd(x, _bessel(fn.abs_(x), _I1_SMALL, _I1_LARGE, fn.abs_(x)))


i1e = by_expansion(
    "i1e",
    (lambda x, f: fn.select(_is_some(x), i0e(x) - f * (fn.sign(x) + fn.div(1, x)), _HALF),),
    _i1e_value, lambda x: sympy.exp(-sympy.Abs(x)) * sympy.besseli(1, x),
)
i0e: ScalarType = by_expansion(
    "i0e",
    (lambda x, f: i1e(x) - fn.sign(x) * f,),
    lambda x: _bessel(fn.abs_(x), _I0_SMALL, _I0_LARGE, Integer(1)),
    lambda x: sympy.exp(-sympy.Abs(x)) * sympy.besseli(0, x), nonnegative=True, continuity=KINK,
)
i1 = by_expansion(
    "i1",
    (lambda x, f: fn.select(_is_some(x), i0(x) - fn.div(f, x), _HALF),),
    lambda x: fn.exp(fn.abs_(x)) * _i1e_value(x), lambda x: sympy.besseli(1, x),
)
i0: ScalarType = by_expansion(
    "i0",
    (lambda x, f: i1(x),),
    lambda x: fn.exp(fn.abs_(x)) * _bessel(fn.abs_(x), _I0_SMALL, _I0_LARGE, Integer(1)),
    lambda x: sympy.besseli(0, x), nonnegative=True,
)


def _erfinv_value(y: Expr) -> Expr:
    """Two steps of Halley's method (third order) from Winitzki's closed form, which is right to 0.2 %.

    Near 0 the equation is erf(x) = y; beyond 1/2 it is erfc(x) = 1 - |y|, where erf has no digits left.
    """
    a = fn.abs_(y)
    tail = fn.gt(a, _HALF)
    rest = 1 - a
    log_ = fn.select(tail, fn.log(rest * (1 + a)), fn.log1p(-a * a))
    shape = Rational(147, 1000)
    t = Rational(4331, 1000) + log_ * _HALF  # 2 / (0.147 pi) = 4.3308
    root = fn.sqrt_(t * t - log_ / shape)
    x = fn.sqrt_(fn.select(fn.gt(t, 0), fn.div(-log_ / shape, root + t), root - t))
    for _ in range(2):
        miss = fn.select(tail, rest - fn.erfc(x), fn.erf(x) - a)
        newton = miss * fn.exp(x * x) * (sqrt(pi) / 2)
        x = x - fn.div(newton, 1 + x * newton)
    inside = fn.select(fn.eq(a, 1), oo, x)
    return fn.select(fn.le(a, 1), fn.select(fn.eq(y, 0), y, _odd(y, inside)), nan)


erfinv = by_expansion(
    "erfinv", (lambda y, f: sqrt(pi) / 2 * fn.exp(f * f),), _erfinv_value, sympy.erfinv
)


def _gamma_value(x: Expr) -> Expr:
    """From the logarithm; the sign alternates between the poles, and (n - 1)! is made whole up to 18!."""
    whole = fn.eq(x, fn.floor(x))
    size = fn.exp(fn.lgamma(x))
    found = fn.select(fn.and_(whole, fn.le(x, 19)), fn.round_(size), size)
    below = fn.select(whole, nan, found * (1 - 2 * fn.remainder(fn.floor(x), 2)))
    return fn.select(fn.gt(x, 0), found, below)


gamma = by_expansion("gamma", (lambda x, f: f * fn.digamma(x),), _gamma_value, sympy.gamma)


def polygamma(n: int, x: Expr) -> Expr:
    """The n-th derivative of digamma.  From the second on: (-1)^(n+1) n! zeta(n + 1, x) for x > 0, by ten terms of the sum
    and the Euler-Maclaurin formula for the rest (Abramowitz & Stegun 6.4.10, 23.1.30); by reflection (6.4.7) below 1/2."""
    if n < 2:
        return fn.trigamma(x) if n else fn.digamma(x)
    low = fn.lt(x, _HALF)
    value = _polygamma_above(n, fn.select(low, 1 - x, x))
    c = sympy.Dummy("c")
    slope: Expr = c
    for _ in range(n):  # d/dx of a polynomial in c = cot(pi x), over pi
        slope = sympy.expand(-(1 + c * c) * slope.diff(c))
    rest = pi * (x - fn.round_(x))
    reflected = -(pi ** (n + 1)) * sympy.horner(slope).xreplace({c: fn.div(fn.cos(rest), fn.sin(rest))}) + (-1) ** n * value
    return fn.select(fn.eq(x, oo), nan, fn.select(low, reflected, value))  # nan: PyTorch's


def _polygamma_above(n: int, x: Expr) -> Expr:
    s, z = n + 1, x + 10
    w = fn.div(1, z)
    total: Expr = w ** (s - 1) / (s - 1) + _HALF * w**s
    for k in range(10):
        total = total + fn.div(1, (x + k) ** s)
    rising: Expr = Integer(s)
    for k in range(1, 9):
        total = total + bernoulli(2 * k) / factorial(2 * k) * rising * w ** (s + 2 * k - 1)
        rising = rising * (s + 2 * k - 1) * (s + 2 * k)
    return (-1) ** (n + 1) * factorial(n) * total


def multigammaln(p: int, x: Expr) -> Expr:
    """The logarithm of the multivariate gamma function of dimension p (Abramowitz & Stegun have it for p = 1)."""
    value: Expr = Rational(p * (p - 1), 4) * log(pi)
    for j in range(p):
        value = value + fn.lgamma(x - Rational(j, 2))
    return value
