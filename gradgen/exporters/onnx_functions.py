"""The scalar functions of bodies as ONNX operators: `FORMS[key](writer, arguments, their dtype)` names the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradgen.ir.dtypes import DType, bool_

if TYPE_CHECKING:
    from gradgen.exporters.onnx_writer import Writer

Form = Callable[["Writer", Sequence[str], DType], str]

_PLAIN = {
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal", "and_": "And", "or_": "Or",
    "xor": "Xor", "not_": "Not", "isnan": "IsNaN", "isinf": "IsInf", "select": "Where", "maximum": "Max", "minimum": "Min",
    "div": "Div", "pow": "Pow", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh", "asin": "Asin", "acos": "Acos", "atan": "Atan", "asinh": "Asinh",
    "acosh": "Acosh", "atanh": "Atanh", "sigmoid": "Sigmoid", "softplus": "Softplus", "erf": "Erf", "abs": "Abs",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "bit_and": "BitwiseAnd", "bit_or": "BitwiseOr",
    "bit_xor": "BitwiseXor",
}
_OF_TRUTH = {
    "eq": "Equal", "ne": "Xor", "maximum": "Or", "minimum": "And", "bit_and": "And", "bit_or": "Or", "bit_xor": "Xor",
}
"""Of truth values."""


def _plain(op: str) -> Form:
    return lambda w, args, kind: w.op(op, *args)


FORMS: dict[str, Form] = {key: _plain(op) for key, op in _PLAIN.items()}


def form(key: str) -> Callable[[Form], Form]:
    def enter(function: Form) -> Form:
        FORMS[key] = function
        return function

    return enter


def form_of(key: str, kind: DType) -> Form | None:
    """None where ONNX has no words for a function."""
    if kind is bool_ and key in _OF_TRUTH:
        return _plain(_OF_TRUTH[key])
    return FORMS.get(key)


@form("ne")
def _ne(w: Writer, args: Sequence[str], kind: DType) -> str:
    return w.op("Not", w.op("Equal", *args))


@form("isfinite")
def _isfinite(w: Writer, args: Sequence[str], kind: DType) -> str:
    return w.op("Not", w.op("Or", w.op("IsInf", *args), w.op("IsNaN", *args)))


def _one_of(op: str) -> Form:
    """The larger or smaller of two, of which a nan is none."""
    def call(w: Writer, args: Sequence[str], kind: DType) -> str:
        if not kind.is_floating_point:
            return w.op(op, *args)
        a, b = args
        return w.op("Where", w.op("IsNaN", a), b, w.op("Where", w.op("IsNaN", b), a, w.op(op, a, b)))

    return call


FORMS |= {"fmax": _one_of("Max"), "fmin": _one_of("Min")}


# --- division ------------------------------------------------------------------------------------------------------------


@form("trunc")
def _trunc(w: Writer, args: Sequence[str], kind: DType) -> str:
    (x,) = args
    return w.op("Where", w.op("Less", x, w.constant(0, kind)), w.op("Ceil", x), w.op("Floor", x))


@form("trunc_div")
def _trunc_div(w: Writer, args: Sequence[str], kind: DType) -> str:
    quotient = w.op("Div", *args)
    return _trunc(w, [quotient], kind) if kind.is_floating_point else quotient


@form("floor_div")
def _floor_div(w: Writer, args: Sequence[str], kind: DType) -> str:
    """(a - a mod b) / b: ONNX divides integers towards zero, and a quotient of fractions may be rounded up to a whole one."""
    a, b = args
    exact = w.op("Div", w.op("Sub", a, _remainder(w, args, kind)), b)
    if not kind.is_floating_point:
        return exact
    return w.op("Where", w.op("Equal", b, w.constant(0, kind)), w.op("Div", a, b), w.op("Round", exact))


@form("remainder")
def _remainder(w: Writer, args: Sequence[str], kind: DType) -> str:
    """Of fractions Mod is C's fmod, with the sign of the dividend."""
    if not kind.is_floating_point:
        return w.op("Mod", *args)
    rest = w.op("Mod", *args, fmod=1)
    zero = w.constant(0, kind)
    other = w.op("Xor", w.op("Less", rest, zero), w.op("Less", args[1], zero))
    wrong = w.op("And", w.op("Not", w.op("Equal", rest, zero)), other)
    return w.op("Where", wrong, w.op("Add", rest, args[1]), rest)


@form("fmod")
def _fmod(w: Writer, args: Sequence[str], kind: DType) -> str:
    return w.op("Mod", *args, fmod=1)


# --- powers, logarithms ----------------------------------------------------------------------------------------------


def _log_by(base: float) -> Form:
    return lambda w, args, kind: w.op("Mul", w.op("Log", *args), w.constant(1 / math.log(base), kind))


FORMS |= {"log2": _log_by(2), "log10": _log_by(10)}


@form("exp2")
def _exp2(w: Writer, args: Sequence[str], kind: DType) -> str:
    return w.op("Pow", w.constant(2, kind), *args)


@form("rsqrt")
def _rsqrt(w: Writer, args: Sequence[str], kind: DType) -> str:
    return w.op("Reciprocal", w.op("Sqrt", *args))


@form("expm1")
def _expm1(w: Writer, args: Sequence[str], kind: DType) -> str:
    """2 t / (1 - t) with t = tanh(x/2) where exp(x) - 1 would cancel."""
    (x,) = args
    one = w.constant(1, kind)
    t = w.op("Tanh", w.op("Mul", x, w.constant(0.5, kind)))
    near = w.op("Div", w.op("Add", t, t), w.op("Sub", one, t))
    small = w.op("Less", w.op("Abs", x), w.constant(0.5, kind))
    return w.op("Where", small, near, w.op("Sub", w.op("Exp", x), one))


@form("log1p")
def _log1p(w: Writer, args: Sequence[str], kind: DType) -> str:
    """log(u) x / (u - 1) with u = 1 + x, rounded (Goldberg, What Every Computer Scientist Should Know, theorem 4)."""
    (x,) = args
    one = w.constant(1, kind)
    u = w.op("Add", x, one)
    far = w.op("Or", w.op("Equal", u, one), w.op("IsInf", u, detect_negative=0))
    found = w.op("Div", w.op("Mul", w.op("Log", u), x), w.op("Sub", u, one))
    return w.op("Where", far, x, found)


@form("logsigmoid")
def _logsigmoid(w: Writer, args: Sequence[str], kind: DType) -> str:
    return w.op("Neg", w.op("Softplus", w.op("Neg", *args)))


@form("erfc")
def _erfc(w: Writer, args: Sequence[str], kind: DType) -> str:
    """By Erf: exact to a rounding of 1, not of its own small values."""
    return w.op("Sub", w.constant(1, kind), w.op("Erf", *args))


@form("sign")
def _sign(w: Writer, args: Sequence[str], kind: DType) -> str:
    """0 of nan."""
    (x,) = args
    zero = w.constant(0, kind)
    return w.op("Sub", w.cast(w.op("Less", zero, x), bool_, kind), w.cast(w.op("Less", x, zero), bool_, kind))


@form("atan2")
def _atan2(w: Writer, args: Sequence[str], kind: DType) -> str:
    """The angle of the smaller by the larger, turned into its octant; the sign of zeros is not seen."""
    y, x = args
    zero = w.constant(0, kind)
    ax, ay = w.op("Abs", x), w.op("Abs", y)
    steep = w.op("Greater", ay, ax)
    large, small = w.op("Max", ax, ay), w.op("Min", ax, ay)
    safe = w.op("Where", w.op("Equal", large, zero), w.constant(1, kind), large)
    ratio = w.op("Where", w.op("Equal", large, small), w.op("Sign", large), w.op("Div", small, safe))
    angle = w.op("Atan", ratio)
    angle = w.op("Where", steep, w.op("Sub", w.constant(np.pi / 2, kind), angle), angle)
    angle = w.op("Where", w.op("Less", x, zero), w.op("Sub", w.constant(np.pi, kind), angle), angle)
    angle = w.op("Where", w.op("Less", y, zero), w.op("Neg", angle), angle)
    return w.op("Where", w.op("IsNaN", w.op("Add", ax, ay)), w.op("Add", ax, ay), angle)
