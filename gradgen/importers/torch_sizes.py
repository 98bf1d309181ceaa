"""Named sizes for torch's code: a torch.SymInt that is an expression over gradgen's dimensions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import sympy
import torch

from gradgen.errors import TraceError
from gradgen.ir.inequalities import proves
from gradgen.ir.symbols import Extent, as_extent
from gradgen.ops.requirements import assumed
from gradgen.record.user_lines import users_line


def _refuse(what: str, extent: Any) -> TraceError:
    return TraceError(
        f"{what} {extent}, a named size, of which no number is known while the model is traced", where=users_line(),
        hint="leave the size out of the dynamic ones, or state what holds of it: gg.dim(name, min=, max=, multiple=)",
    )


def _value(x: Any) -> Any:
    return x.expression if isinstance(x, (TracedSize, TracedRatio)) else x


def _arithmetic(function: Callable[..., Any], swap: bool = False) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (int, float, TracedSize, TracedRatio)):
            return NotImplemented
        a, b = (_value(other), _value(self)) if swap else (_value(self), _value(other))
        return size_of(function(sympy.sympify(a), sympy.sympify(b)))

    return method


def _order(sign: int, strict: int) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (int, TracedSize)):
            return NotImplemented
        excess = sympy.expand(sign * (_value(self) - _value(other)))
        if proves(assumed(), excess - strict):
            return True
        if proves(assumed(), -excess - 1 + strict):
            return False
        raise _refuse("a branch depends on", self)

    return method


def _equal(self: Any, other: Any) -> bool:
    if not isinstance(other, (int, TracedSize)):
        return False
    difference = sympy.expand(_value(self) - _value(other))
    if difference == 0:
        return True
    if proves(assumed(), difference - 1) or proves(assumed(), -difference - 1):
        return False
    raise _refuse("a branch depends on", self)


class _Number:
    """What a size and a quotient of sizes share."""

    expression: sympy.Expr

    def __repr__(self) -> str:
        return str(self.expression)

    __str__ = __repr__

    def __hash__(self) -> int:
        return hash(self.expression)

    def __bool__(self) -> bool:
        return not _equal(self, 0)

    def __float__(self) -> float:
        raise _refuse("Python asks for the value of", self)

    def __neg__(self) -> Any:
        return size_of(-self.expression)

    __add__, __radd__ = _arithmetic(operator.add), _arithmetic(operator.add, swap=True)
    __sub__, __rsub__ = _arithmetic(operator.sub), _arithmetic(operator.sub, swap=True)
    __mul__, __rmul__ = _arithmetic(operator.mul), _arithmetic(operator.mul, swap=True)
    __truediv__ = _arithmetic(lambda a, b: Ratio(a / b))
    __rtruediv__ = _arithmetic(lambda a, b: Ratio(a / b), swap=True)
    __pow__ = _arithmetic(operator.pow)
    __lt__, __le__, __gt__, __ge__ = _order(-1, 1), _order(-1, 0), _order(1, 1), _order(1, 0)

    def __eq__(self, other: object) -> bool:
        return _equal(self, other)

    def __ne__(self, other: object) -> bool:
        return not _equal(self, other)


class Ratio:
    """Marks what a true division gave."""

    def __init__(self, value: sympy.Expr) -> None:
        self.value = value


class TracedSize(_Number, torch.SymInt):
    """A size that is known when the C is called."""

    def __init__(self, expression: sympy.Expr) -> None:
        self.expression = expression
        self.node = None

    __floordiv__ = _arithmetic(lambda a, b: sympy.floor(a / b))
    __rfloordiv__ = _arithmetic(lambda a, b: sympy.floor(a / b), swap=True)
    __mod__ = _arithmetic(lambda a, b: a - b * sympy.floor(a / b))

    def __int__(self) -> int:
        raise _refuse("Python asks for the value of", self)

    __index__ = __int__


class TracedRatio(_Number, torch.SymFloat):
    """A quotient of sizes."""

    def __init__(self, expression: sympy.Expr) -> None:
        self.expression = expression
        self.node = None


def size_of(extent: Any) -> Any:
    """The extent for torch's code: an int, or a named size."""
    if isinstance(extent, Ratio):
        return float(extent.value) if extent.value.is_Rational else TracedRatio(extent.value)
    if isinstance(extent, sympy.Float):
        return float(extent)
    if not isinstance(extent, sympy.Expr) or extent.is_Integer:
        return int(extent)
    return TracedSize(extent) if extent.is_integer else TracedRatio(extent)


def extent_of(size: TracedSize | TracedRatio) -> Extent:
    """gradgen's extent for a named size."""
    return as_extent(size.expression) if isinstance(size, TracedSize) else size.expression
