"""Index expressions and guards as Python text: exact integers, with C's quotients checked for what the C relies on."""

from __future__ import annotations

from functools import lru_cache

import sympy

from gradgen.errors import GradgenError
from gradgen.ir.guards import EQ, GE, Condition, Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.symbols import Extent


def local(name: str) -> str:
    """The Python variable of a C variable."""
    return f"v_{name}"


@lru_cache(maxsize=200_000)
def index_python(expr: Extent) -> str:
    """The text of an integer expression."""
    return _text(sympy.sympify(expr))


def _text(expr: sympy.Basic) -> str:
    if expr.is_Integer:
        return str(int(expr)) if expr >= 0 else f"({int(expr)})"
    if expr.is_Symbol:
        return local(expr.name)
    if isinstance(expr, sympy.Add):
        return "(" + " + ".join(_text(a) for a in expr.args) + ")"
    if isinstance(expr, sympy.Mul):
        return "(" + " * ".join(_text(a) for a in expr.args) + ")"
    if isinstance(expr, sympy.Pow) and expr.exp.is_Integer and expr.exp > 0:
        return f"{_text(expr.base)} ** {int(expr.exp)}"
    if isinstance(expr, sympy.floor):
        return _quotient(*sympy.together(expr.args[0]).as_numer_denom())
    if isinstance(expr, sympy.ceiling):
        return f"(-{_quotient(*sympy.together(-expr.args[0]).as_numer_denom())})"
    if isinstance(expr, quotient):
        return _quotient(*expr.args)
    if isinstance(expr, (sympy.Mod, modulo)):
        return _call("modulo", *expr.args)
    if isinstance(expr, (sympy.Min, sympy.Max)):
        return f"{'min' if isinstance(expr, sympy.Min) else 'max'}({', '.join(_text(a) for a in expr.args)})"
    raise GradgenError(f"an index expression contains {type(expr).__name__}", where=str(expr))


def _quotient(a: sympy.Expr, b: sympy.Expr) -> str:
    return _call("quotient", a, b)


def _call(name: str, a: sympy.Expr, b: sympy.Expr) -> str:
    """A function that checks, where SymPy says that neither is negative, that this is so: the C then divides plainly."""
    plain = a.is_nonnegative and b.is_positive
    return f"{'plain_' if plain else ''}{name}({_text(a)}, {_text(b)})"


def quotient_of(a: int, b: int) -> int:
    """As the C's gg_floor_quotient."""
    return 0 if b <= 0 else a // b


def modulus_of(a: int, b: int) -> int:
    """As the C's gg_floor_modulus."""
    return 0 if b <= 0 else a % b


def plain_quotient(a: int, b: int) -> int:
    if a < 0 or b <= 0:
        raise GradgenError(f"{a} / {b} in an index expression, where neither should be negative")
    return a // b


def plain_modulus(a: int, b: int) -> int:
    if a < 0 or b <= 0:
        raise GradgenError(f"{a} % {b} in an index expression, where neither should be negative")
    return a % b


NAMES = {"quotient": quotient_of, "modulo": modulus_of, "plain_quotient": plain_quotient, "plain_modulo": plain_modulus}
"""What the text refers to."""


def guard_python(guard: Guard) -> str:
    """The text of a conjunction."""
    return " and ".join(_condition(c) for c in guard) if guard else "True"


@lru_cache(maxsize=65536)
def _condition(c: Condition) -> str:
    if c.kind == GE:
        return f"{index_python(c.expr)} >= 0"
    if c.kind == EQ:
        return f"{index_python(c.expr)} == 0"
    return f"modulo({index_python(c.expr)}, {index_python(c.modulus)}) == 0"
