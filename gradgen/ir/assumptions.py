"""What a program asks of its named dimensions: `N >= 3`, `N % 4 == 0`, `N >= M + 1`.

`Graph.conditions` holds them, in the order of the program: what operations ask, in the words in which eager use refuses, and
what the proofs of `reach` found beyond that.  Whoever reasons about a program's indices may assume them (`facts_of`): every
emitted function checks them before anything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy

from gradgen.ir.graph import Location
from gradgen.ir.guards import EQ, GE, MOD, NE, Condition, Guard
from gradgen.ir.indexing import quotient
from gradgen.ir.inequalities import contradictory, proves
from gradgen.ir.symbols import Placeholder

Facts = tuple[sympy.Expr, ...]
"""Expressions that are 0 or more."""

MOST_TRIED = 64
"""How far a bound `N >= k` is looked for that says the same as what was found."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """`condition` on named dimensions, and what eager use raises where it does not hold.

    `error` names one of Python's exceptions.  `message` is text and expressions over the dimensions by turns, text first:
    ("index 2 is out of bounds for dimension 0 with size ", N, "").
    """

    condition: Condition
    error: str
    message: tuple[str | sympy.Expr, ...]
    where: Location | None = None

    def __str__(self) -> str:
        return condition_text(self.condition)


# --- words -------------------------------------------------------------------------------------------------------------


def condition_text(condition: Condition) -> str:
    """`N >= 3`: what would be subtracted stands on the other side."""
    if condition.kind == MOD:
        e = sympy.expand(condition.expr)
        return f"{f'({e})' if e.is_Add else e} % {condition.modulus} == 0"
    left, sign, right = comparison(condition)
    return f"{left} {sign} {right}"


def comparison(condition: Condition) -> tuple[sympy.Expr, str, sympy.Expr]:
    """left, ">=", "<=", "==" or "!=", right; neither side has a minus in front of a dimension.  A remainder is a Mod."""
    e = sympy.expand(condition.expr)
    if condition.kind == MOD:
        return sympy.Mod(e, sympy.sympify(condition.modulus), evaluate=False), "==", sympy.Integer(0)
    e = whole(e, rounded=condition.kind == GE)
    terms = sympy.Add.make_args(e)
    plus = sympy.Add(*(t for t in terms if not t.could_extract_minus_sign()))
    minus = sympy.Add(*(-t for t in terms if t.could_extract_minus_sign()))
    sign = {GE: ">=", EQ: "==", NE: "!="}[condition.kind]
    if plus.is_number and not minus.is_number:
        return minus, "<=" if sign == ">=" else sign, plus
    return plus, sign, minus


def whole(e: sympy.Expr, *, rounded: bool) -> sympy.Expr:
    """The sum `e` with whole coefficients that have no common factor; the constant term of e >= 0 rounded down."""
    constant, rest = sympy.expand(e).as_coeff_Add()
    coefficients = [t.as_coeff_Mul()[0] for t in sympy.Add.make_args(rest)]
    if rest == 0:
        return e
    scale = sympy.Integer(math.lcm(*(int(c.q) for c in coefficients)))
    scale = scale / math.gcd(*(int(c * scale) for c in coefficients))
    constant = constant * scale
    if rounded:
        return sympy.expand(rest * scale) + sympy.floor(constant)
    return sympy.expand((rest * scale + constant) * constant.q)  # 2 N != 1


def plain(condition: Condition) -> Condition:
    """N >= k in place of an inequality of N alone that says the same in other words."""
    e = condition.expr
    symbols = e.free_symbols
    if condition.kind != GE or len(symbols) != 1 or not e.atoms(sympy.Function, sympy.Max, sympy.Min):
        return condition
    (n,) = symbols
    least = next((k for k in range(MOST_TRIED) if e.xreplace({n: sympy.Integer(k)}) >= 0), None)
    if least is not None and proves((n - least,), e) and proves((e,), n - least):
        return Condition(GE, n - least)
    return condition


# --- what follows from what --------------------------------------------------------------------------------------------


def guard_facts(guard: Guard) -> Facts:
    """What holds where the guard does, as far as it does not depend on data."""
    found: list[sympy.Expr] = []
    for c in guard:
        if c.kind == NE or any(isinstance(s, Placeholder) for s in c.expr.free_symbols):
            continue
        e = sympy.sympify(c.expr)
        if c.kind == GE:
            found.append(e)
        elif c.kind == EQ:
            found += [e, -e]
        else:
            multiple = c.modulus * quotient(e, sympy.sympify(c.modulus))
            found += [e - multiple, multiple - e]
    return tuple(found)


def facts_of(requirements: Iterable[Requirement]) -> Facts:
    """What the conditions say of the dimensions."""
    return guard_facts(tuple(r.condition for r in requirements))


def follows(condition: Condition, facts: Facts) -> bool:
    """True where the condition holds for all dimensions of which the facts hold."""
    if condition.kind == NE:
        return any(proves(facts, sign * condition.expr - 1) for sign in (1, -1))
    return all(proves(facts, e) for e in guard_facts((condition,)))


def impossible(condition: Condition, facts: Facts) -> bool:
    """True where no dimensions of which the facts hold satisfy the condition."""
    if condition.kind == NE:
        return follows(Condition(EQ, condition.expr), facts)
    return contradictory((*facts, *guard_facts((condition,))))


def in_order(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Those that do not follow from the ones before them: what eager use could stumble over first."""
    kept: list[Requirement] = []
    for r in requirements:
        if not follows(r.condition, facts_of(kept)) and r.condition not in [k.condition for k in kept]:
            kept.append(r)
    return tuple(kept)


def without_implied(requirements: Sequence[Requirement]) -> tuple[Requirement, ...]:
    """Those that do not follow from the others together."""
    kept = list(requirements)
    for r in requirements:
        others = [k for k in kept if k is not r]
        if follows(r.condition, facts_of(others)):
            kept = others
    return tuple(kept)
