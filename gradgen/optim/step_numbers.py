"""Numbers of an update: Python's in eager use, tensors without axes in a recorded training step.

The rate, the number of steps and what follows from them are one or the other; these functions take both.  What cancels is
written so that float32 keeps its digits: there is no wider type on the machine that a step is emitted for.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.ops.comparison import where
from gradgen.ops.promotion import defaults


def rounded(value: Any) -> Any:
    """As torch keeps it: a scalar tensor of the default dtype."""
    return value.to(defaults.dtype).to(value.dtype) if isinstance(value, Tensor) else float(defaults.dtype.numpy.type(value))


def power(base: float, exponent: Any) -> Any:
    """base ** exponent for a constant base above 0."""
    return (exponent * math.log(base)).exp() if isinstance(exponent, Tensor) and base > 0 else base**exponent


def complement(base: Any, exponent: Any) -> Any:
    """1 - base ** exponent, which is small while the exponent is."""
    if isinstance(base, Tensor):  # a schedule sets it
        return -(exponent * base.log()).expm1()
    if isinstance(exponent, Tensor) and base > 0:
        return -(exponent * math.log(base)).expm1()
    return 1 - base**exponent


def rectified_length(beta: float, step: Any) -> Any:
    """RAdam's length of the moving average (Liu et al., 2020): 2 / (1 - beta) - 1 - 2 step beta**step / (1 - beta**step).

    While step (1 - beta) is small, the two cancel: with a = -log(beta) and h(x) = x coth(x) - 1 it is
    step + c - 2 h(step a / 2) / a, where c = coth(a / 2) - 2 / a, and h is the first
    terms of its series, right to 1e-13 below 1/4.
    """
    longest = 2 / (1 - beta) - 1
    if not isinstance(step, Tensor) or beta <= 0:
        return longest - 2 * step * power(beta, step) / complement(beta, step)
    a = -math.log(beta)
    x = step * (a / 2)
    square = x * x
    series = square * (1 / 3 + square * (-1 / 45 + square * (2 / 945 + square * (-1 / 4725 + square * (2 / 93555)))))
    constant = a / 6 - a**3 / 360 if a < 1e-2 else 1 / math.tanh(a / 2) - 2 / a
    near = x < 0.25
    return where(near, step + constant - series * (2 / a), longest - 2 * step / where(near, 1.0, 2 * x).expm1())


def root(value: Any) -> Any:
    return value.sqrt() if isinstance(value, Tensor) else value**0.5


def larger(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        a, b = (a, b) if isinstance(a, Tensor) else (b, a)
        return a.maximum(b) if isinstance(b, Tensor) else a.clamp(min=b)  # type: ignore[attr-defined]
    return max(a, b)


def smaller(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        a, b = (a, b) if isinstance(a, Tensor) else (b, a)
        return a.minimum(b) if isinstance(b, Tensor) else a.clamp(max=b)  # type: ignore[attr-defined]
    return min(a, b)


def chosen(condition: Any, a: Any, b: Any, like: Any = None) -> Any:
    """a where the condition holds, else b; two numbers have the dtype of the tensor `like`."""
    if not isinstance(condition, Tensor):
        return a if condition else b
    if isinstance(like, Tensor) and not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = like * 0 + a
    return where(condition, a, b)


def cosine(x: Any) -> Any:
    return x.cos() if isinstance(x, Tensor) else math.cos(x)


def whole(x: Any) -> Any:
    """The largest integer below or at x."""
    return x.floor() if isinstance(x, Tensor) else math.floor(x)


def passed(milestones: Sequence[int], epoch: Any) -> Any:
    """How many of the milestones, in ascending order, lie at or before the epoch."""
    if not isinstance(epoch, Tensor):
        return bisect_right(milestones, epoch)
    return sum(((epoch >= m).to(epoch.dtype) for m in milestones), start=epoch * 0)


def used(option: Any) -> bool:
    """Whether an option is there at all: not 0, or what a schedule sets."""
    return isinstance(option, Tensor) or bool(option)


def add_scaled(p: Any, x: Any, factor: Any) -> None:
    """p += factor x."""
    if isinstance(factor, Tensor):
        p.add_(x * factor)
    else:
        p.add_(x, alpha=factor)


def add_ratio(p: Any, x: Any, y: Any, factor: Any) -> None:
    """p += factor x / y."""
    if isinstance(factor, Tensor):
        p.add_(x / y * factor)
    else:
        p.addcdiv_(x, y, value=factor)


__all__ = ["add_ratio", "add_scaled", "chosen", "complement", "cosine", "larger", "passed", "power", "rectified_length",
           "root", "rounded", "smaller", "used", "whole"]
