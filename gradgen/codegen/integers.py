"""Index expressions and guards as C: int64_t arithmetic over counters and dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import sympy

from gradgen.errors import CodegenError
from gradgen.ir.guards import EQ, GE, Condition, Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.symbols import Extent

_SUM, _PRODUCT, _ATOM = 1, 2, 3

@lru_cache(maxsize=200_000)
def index_text(expr: sympy.Basic | int) -> str:
    """C text of an integer expression, without outer parentheses."""
    return _print(sympy.sympify(expr))[0]


def operand_text(expr: sympy.Basic | int) -> str:
    """The same, in parentheses where it is not an atom."""
    return _at_least(_print(sympy.sympify(expr)), _ATOM)


def _at_least(item: tuple[str, int], level: int) -> str:
    text, own = item
    return text if own >= level else f"({text})"


def _print(expr: sympy.Basic) -> tuple[str, int]:
    if expr.is_Integer:
        n = int(expr)
        text = str(n) if abs(n) < 2**31 else f"INT64_C({n})"
        return text, _ATOM if n >= 0 else _SUM
    if expr.is_Symbol:
        return expr.name, _ATOM
    if isinstance(expr, (sympy.Add, sympy.Mul)):
        denominator = _denominator(expr)
        if denominator != 1:  # an extent that conditions on the dimensions make whole, such as N/4
            return f"{_at_least(_print(sympy.expand(expr * denominator)), _ATOM)} / {denominator}", _PRODUCT
        return (_sum(expr), _SUM) if expr.is_Add else _product(expr)
    if isinstance(expr, sympy.Pow) and expr.exp.is_Integer and expr.exp > 0:
        return " * ".join([_at_least(_print(expr.base), _ATOM)] * int(expr.exp)), _PRODUCT
    if isinstance(expr, sympy.floor):
        return _quotient(expr.args[0])
    if isinstance(expr, sympy.ceiling):
        text, _ = _quotient(-expr.args[0])
        return f"-({text})", _SUM
    if isinstance(expr, quotient):
        a, b = expr.args
        if a.is_nonnegative and b.is_positive:
            return f"{_at_least(_print(a), _ATOM)} / {_at_least(_print(b), _ATOM)}", _PRODUCT
        return f"gg_floor_quotient({index_text(a)}, {index_text(b)})", _ATOM
    if isinstance(expr, (sympy.Mod, modulo)):
        a, b = expr.args
        if a.is_nonnegative and b.is_positive:
            return f"{_at_least(_print(a), _ATOM)} % {_at_least(_print(b), _ATOM)}", _PRODUCT
        return f"gg_floor_modulus({index_text(a)}, {index_text(b)})", _ATOM
    if isinstance(expr, (sympy.Min, sympy.Max)):
        name = "gg_least" if isinstance(expr, sympy.Min) else "gg_greatest"
        args = sorted(expr.args, key=sympy.default_sort_key)
        text = index_text(args[0])
        for a in args[1:]:
            text = f"{name}({text}, {index_text(a)})"
        return text, _ATOM
    raise CodegenError(f"an index expression contains {type(expr).__name__}", where=str(expr))


def _denominator(expr: sympy.Expr) -> int:
    """Of the numbers in front of the terms."""
    return math.lcm(*(int(t.as_coeff_Mul()[0].q) for t in sympy.Add.make_args(expr)))


def sum_text(expr: sympy.Add, rank: Callable[[sympy.Basic], int]) -> str:
    """The text of a sum whose terms stand in the order of their ranks, as far as signs allow."""
    return _sum(expr, rank) if _denominator(expr) == 1 else index_text(expr)


def _sum(expr: sympy.Add, rank: Callable[[sympy.Basic], int] = lambda t: 0) -> str:
    terms = [t for t in expr.args if not t.is_Integer] + [t for t in expr.args if t.is_Integer]
    behind = {t: bool(t.is_Integer or _negative(t)) for t in terms}
    terms.sort(key=lambda t: (behind[t], 0 if behind[t] else rank(t)))  # stable: positive terms first
    text = _at_least(_print(terms[0]), _SUM)
    for t in terms[1:]:
        if _negative(t):
            text += f" - {_at_least(_print(-t), _PRODUCT)}"
        else:
            text += f" + {_at_least(_print(t), _PRODUCT)}"
    return text


def _negative(term: sympy.Basic) -> bool:
    if term.is_Integer:
        return bool(term < 0)
    return isinstance(term, sympy.Mul) and bool(term.args[0].is_Integer) and bool(term.args[0] < 0)


def _product(expr: sympy.Mul) -> tuple[str, int]:
    numbers = [a for a in expr.args if a.is_Number]
    if numbers and numbers[0] == -1:
        return f"-{_at_least(_print(sympy.Mul(*[a for a in expr.args if a is not numbers[0]])), _ATOM)}", _SUM
    factors = [a for a in expr.args if not a.is_Number] + numbers
    return " * ".join(_at_least(_print(a), _ATOM) for a in factors), _PRODUCT


def _quotient(expr: sympy.Expr) -> tuple[str, int]:
    numerator, denominator = sympy.together(expr).as_numer_denom()
    if numerator.is_nonnegative and denominator.is_positive and denominator.is_Integer:
        return f"{_at_least(_print(numerator), _ATOM)} / {_at_least(_print(denominator), _ATOM)}", _PRODUCT
    return f"gg_floor_quotient({index_text(numerator)}, {index_text(denominator)})", _ATOM


def guard_text(guard: Guard) -> str:
    """C text of a conjunction, without outer parentheses."""
    return " && ".join(_condition(c) for c in guard) if guard else "1"


@lru_cache(maxsize=65536)
def _condition(c: Condition) -> str:
    expr = sympy.expand(c.expr)
    if c.kind == GE:
        return _comparison(expr, ">=", "<=")
    if c.kind == EQ:
        return _comparison(expr, "==", "==")
    return f"gg_floor_modulus({index_text(expr)}, {index_text(c.modulus)}) == 0"


def _comparison(expr: sympy.Expr, op: str, flipped: str) -> str:
    """`expr op 0` with negative terms moved to the other side."""
    terms = sympy.Add.make_args(expr)
    left = sympy.Add(*[t for t in terms if not _negative(t)])
    right = sympy.Add(*[-t for t in terms if _negative(t)])
    if left.is_Integer and not right.is_Integer:
        return f"{index_text(right)} {flipped} {index_text(left)}"
    return f"{index_text(left)} {op} {index_text(right)}"


def extent_text(extent: Extent) -> str:
    """C text of an extent (int64_t)."""
    return index_text(extent)
