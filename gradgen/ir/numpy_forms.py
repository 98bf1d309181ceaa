"""NumPy meanings of scalar functions that NumPy has not, or has with another meaning at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def select(c: Any, x: Any, y: Any) -> Any:
    return np.where(np.asarray(c, dtype=bool), x, y)


def quiet(form: Callable[..., Any]) -> Callable[..., Any]:
    """Without warnings; of two integers 0 where the second is 0, as C has it."""

    def apply(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            args = tuple(map(np.asarray, args))
            if len(args) < 2 or args[1].dtype.kind not in "iu" or args[0].dtype.kind not in "iu":
                return form(*args)
            return np.where(args[1] == 0, 0, form(args[0], np.where(args[1] == 0, 1, args[1])))

    return apply


def trunc_div(a: Any, b: Any) -> Any:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return a // b + ((a % b != 0) & ((a < 0) != (b < 0)))
    return np.trunc(a / b)


def pow(a: Any, b: Any) -> Any:
    """Of integers with a negative exponent: 1 and -1 keep their powers, everything else is 0."""
    with np.errstate(all="ignore"):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype.kind not in "iu" or b.dtype.kind not in "iu":
            return np.power(a, b)
        odd = np.where(b % 2 == 0, 1, a)
        return np.where(b >= 0, np.power(a, np.maximum(b, 0)), np.where((a == 1) | (a == -1), odd, 0))


def shift_left(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    width = 8 * a.dtype.itemsize
    return np.where((b < 0) | (b >= width), 0, np.left_shift(a, np.clip(b, 0, width - 1)))


def shift_right(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    last = 8 * a.dtype.itemsize - 1
    return np.right_shift(a, np.where((b < 0) | (b > last), last, b))


def vectorised(function: Callable[[float], float]) -> Callable[..., Any]:
    """A function of one number, over arrays; nan of nan."""

    def apply(x: Any) -> Any:
        x = np.asarray(x)
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(float)
        return np.array([function(float(v)) if v == v else math.nan for v in x.ravel()], dtype=kind).reshape(x.shape)

    return apply


def sigmoid(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def softplus(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        return (np.maximum(x, x.dtype.type(0)) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


def digamma(v: float) -> float:
    import mpmath

    try:
        return float(mpmath.digamma(v))
    except (ValueError, ZeroDivisionError):
        return math.copysign(math.inf, -v) if v == 0 else math.nan


def lgamma(v: float) -> float:
    try:
        return math.lgamma(v)
    except (ValueError, OverflowError):
        return math.inf


def sign(x: Any) -> Any:
    """0 for nan, as torch.sign."""
    x = np.asarray(x)
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)
