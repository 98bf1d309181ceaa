"""What an exported graph does with sizes, which may be expressions over named dimensions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import sympy

from gradgen.errors import GradgenError
from gradgen.ir.inequalities import proves
from gradgen.ops.requirements import assumed


def _integer(x: Any) -> Any:
    """int() of a quotient of sizes, none of which is negative."""
    return int(x) if not isinstance(x, sympy.Expr) else x if x.is_integer else sympy.floor(x)


def _order(sign: int, strict: int, word: str) -> Callable[[Any, Any], bool]:
    def compared(a: Any, b: Any) -> bool:
        excess = sympy.expand(sign * (sympy.sympify(a) - sympy.sympify(b))) - strict
        if proves(assumed(), excess):
            return True
        if proves(assumed(), -excess - 1):
            return False
        raise _open(a, word, b)

    return compared


def _equal(a: Any, b: Any) -> bool:
    difference = sympy.expand(sympy.sympify(a) - sympy.sympify(b))
    if difference == 0:
        return True
    if proves(assumed(), difference - 1) or proves(assumed(), -difference - 1):
        return False
    raise _open(a, "==", b)


def _open(a: Any, word: str, b: Any) -> GradgenError:
    return GradgenError(f"a size depends on whether {a} {word} {b}, which is not known while the model is read",
                        hint="bounds decide it: torch.export.Dim(name, min=, max=), or leave that size fixed")


def _largest(*sizes: Any) -> Any:
    return sympy.Max(*sizes) if any(isinstance(s, sympy.Expr) for s in sizes) else max(sizes)


def _smallest(*sizes: Any) -> Any:
    return sympy.Min(*sizes) if any(isinstance(s, sympy.Expr) for s in sizes) else min(sizes)


SIZES: dict[str, Callable[..., Any]] = {
    "sym_sum": sum, "sym_max": _largest, "sym_min": _smallest, "sym_int": _integer, "sym_float": lambda x: x,
    "floor": lambda x: sympy.floor(x), "ceil": lambda x: sympy.ceiling(x), "trunc": _integer,
    "sym_not": operator.not_, "and_": lambda a, b: a and b, "or_": lambda a, b: a or b,
    "ge": _order(1, 0, ">="), "gt": _order(1, 1, ">"), "le": _order(-1, 0, "<="), "lt": _order(-1, 1, "<"),
    "eq": _equal, "ne": lambda a, b: not _equal(a, b), "sym_ite": lambda which, a, b: a if which else b,
}
"""By the function's name."""

__all__ = ["SIZES"]
