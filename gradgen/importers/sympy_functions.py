"""What SymPy's functions are in gradgen: one row each."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy.codegen import cfunctions as cf
from sympy.core.relational import Relational
from sympy.functions.special.tensor_functions import KroneckerDelta
from sympy.logic.boolalg import And, Implies, Not, Or, Xor

from gradgen.errors import UnsupportedOperationError
from gradgen.ir import functions as fn
from gradgen.ir import special_functions as special
from gradgen.ir.scalar_table import REGISTRY


def _acot(x: sympy.Expr) -> sympy.Expr:
    """SymPy's: odd, pi/2 at 0."""
    half_turn = fn.select(fn.lt(x, 0), -sympy.pi / 2, sympy.pi / 2)
    return fn.select(fn.le(fn.abs_(x), 1), half_turn - fn.atan(x), fn.atan(fn.div(1, x)))


def _gamma_sign(x: sympy.Expr) -> sympy.Expr:
    return fn.select(fn.gt(x, 0), 1, 1 - 2 * fn.remainder(fn.floor(x), 2))


def _beta(x: sympy.Expr, y: sympy.Expr) -> sympy.Expr:
    size = fn.exp(fn.lgamma(x) + fn.lgamma(y) - fn.lgamma(x + y))
    return _gamma_sign(x) * _gamma_sign(y) * _gamma_sign(x + y) * size


def _binomial(n: sympy.Expr, k: sympy.Expr) -> sympy.Expr:
    """From logarithms of gammas; whole where n and k are, as far as that is within rounding."""
    size = fn.exp(fn.lgamma(n + 1) - fn.lgamma(k + 1) - fn.lgamma(n - k + 1))
    found = _gamma_sign(n + 1) * _gamma_sign(k + 1) * _gamma_sign(n - k + 1) * size
    whole = fn.and_(fn.eq(n, fn.floor(n)), fn.and_(fn.eq(k, fn.floor(k)), fn.lt(size, 10**6)))
    return fn.select(whole, fn.round_(found), found)


_SAME: dict[type, Callable[..., sympy.Expr]] = {
    f.record.sympy: f for f in REGISTRY.values() if isinstance(f.record.sympy, type)
}
"""The classes of SymPy that records name."""

FOLDED = {kind: _SAME[kind] for kind in (sympy.Max, sympy.Min, And, Or, Xor)}
"""Functions of any number of arguments, applied two at a time."""

CONDITIONS: dict[type, Callable[..., sympy.Expr]] = {
    **{kind: f for kind, f in _SAME.items() if issubclass(kind, (Relational, Not))},
    Implies: lambda a, b: fn.or_(fn.not_(a), b), KroneckerDelta: lambda a, b: fn.select(fn.eq(a, b), 1, 0),
}

FUNCTIONS: dict[type, Callable[..., sympy.Expr]] = {
    **{kind: f for kind, f in _SAME.items() if kind not in FOLDED and kind not in CONDITIONS},
    sympy.cot: lambda x: fn.div(fn.cos(x), fn.sin(x)),
    sympy.sec: lambda x: fn.div(1, fn.cos(x)),
    sympy.csc: lambda x: fn.div(1, fn.sin(x)),
    sympy.acot: _acot,
    sympy.asec: lambda x: fn.acos(fn.div(1, x)),
    sympy.acsc: lambda x: fn.asin(fn.div(1, x)),
    sympy.sech: lambda x: fn.div(1, fn.cosh(x)),
    sympy.csch: lambda x: fn.div(1, fn.sinh(x)),
    sympy.coth: lambda x: fn.div(1, fn.tanh(x)),
    sympy.asech: lambda x: fn.acosh(fn.div(1, x)),
    sympy.acsch: lambda x: fn.asinh(fn.div(1, x)),
    sympy.acoth: lambda x: fn.atanh(fn.div(1, x)),
    sympy.sinc: lambda x: fn.select(fn.eq(x, 0), 1, fn.div(fn.sin(x), x)),
    sympy.frac: lambda x: x - fn.floor(x),
    sympy.factorial: lambda x: special.gamma(x + 1),
    sympy.beta: lambda x, y=None: _beta(x, x if y is None else y),
    sympy.binomial: _binomial,
    sympy.harmonic: lambda n: fn.digamma(n + 1) + sympy.EulerGamma,
    sympy.erf2: lambda x, y: fn.erf(y) - fn.erf(x),
    sympy.Heaviside: lambda x, h: fn.select(fn.eq(x, 0), h, fn.select(fn.gt(x, 0), 1, 0)),
    sympy.DiracDelta: lambda x, k=0: sympy.Integer(0),
    sympy.re: lambda x: x, sympy.conjugate: lambda x: x, sympy.im: lambda x: sympy.Integer(0),
    sympy.UnevaluatedExpr: lambda x: x,
    sympy.ITE: fn.select,
    cf.log1p: fn.log1p, cf.expm1: fn.expm1, cf.exp2: fn.exp2, cf.log2: fn.log2, cf.log10: fn.log10, cf.hypot: fn.hypot,
    cf.Sqrt: fn.sqrt_, cf.fma: lambda a, b, c: a * b + c,
}
"""SymPy class -> scalar function.  Heaviside's second argument is its value at 0 (SymPy's default: 1/2).  DiracDelta, which
SymPy gives as the derivative of sign and Heaviside, is 0 everywhere, as gradgen's own derivatives of these are."""

WITH_ORDER: dict[type, tuple[Callable[[int], bool], str, Callable[[int, sympy.Expr], sympy.Expr]]] = {
    sympy.polygamma: (lambda n: n >= 0, "0, 1, 2, ...", special.polygamma),
    sympy.besseli: (lambda n: abs(n) < 2, "0 and 1", lambda n, x: special.i1(x) if n else special.i0(x)),
}
"""Functions whose first argument is a number: which it may be, that in words, and the function."""

HANDLED = (*FUNCTIONS, *CONDITIONS, *FOLDED, *WITH_ORDER)


def with_order(e: sympy.Function, x: sympy.Expr) -> sympy.Expr:
    """The function of a fixed order, of `x`."""
    admits, words, rule = WITH_ORDER[type(e)]
    n = e.args[0]
    if not n.is_Integer or not admits(int(n)):
        raise UnsupportedOperationError(f"SymPy's {type(e).__name__} of order {n}", where=str(e)[:80],
                                        hint=f"orders are numbers here: {words}")
    return rule(int(n), x)


def assumptions(symbol: sympy.Basic) -> str:
    """What a symbol was declared to be, `positive=True`, in words for a message."""
    declared = getattr(symbol, "assumptions0", {})
    original = getattr(symbol, "_assumptions_orig", None) or {k: v for k, v in declared.items() if k != "commutative"}
    return ", ".join(f"{k}={v}" for k, v in sorted(original.items()) if k != "commutative") or "without assumptions"
