"""Proofs of linear inequalities between integers: whether facts `e >= 0` leave no way for a goal to be below 0.

What is no sum of integers times symbols (a product, a floor, a quotient) is an unknown of its own, with the inequalities that
define it beside it; Min and Max are told apart by cases.  The question is then put to rational linear algebra: the facts and
`goal <= -1` contradict each other where some combination of them with weights of 0 or more is a positive number <= 0
(Farkas' lemma; Schrijver, Theory of Linear and Integer Programming, 7.3).  A proof is a proof; where none is found, there may
still be one over the integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import sympy

from gradgen.ir.indexing import modulo, quotient

Row = Mapping[sympy.Expr, int]
"""sum of coefficient * unknown >= 0; the unknown `1` carries the constant."""

ONE = sympy.Integer(1)
MOST_CASES = 64
"""Ways of resolving the Min and Max of one question; beyond that it is not answered."""


def proves(facts: Iterable[sympy.Expr], goal: sympy.Expr) -> bool:
    """True where every integer point at which all facts are >= 0 has goal >= 0."""
    goal, facts = sympy.expand(goal), tuple(facts)
    if goal in facts:
        return True
    if goal.is_number:
        return bool(goal >= 0) or contradictory(facts)
    scale = math.lcm(*(int(t.as_coeff_Mul()[0].q) for t in sympy.Add.make_args(goal)))
    return _refuted(frozenset(map(sympy.sympify, facts)), sympy.expand(-scale * goal - 1))


def contradictory(facts: Iterable[sympy.Expr]) -> bool:
    """True where no integer point makes all facts >= 0."""
    return _refuted(frozenset(map(sympy.sympify, facts)), sympy.Integer(0))


@lru_cache(maxsize=16384)
def _refuted(facts: frozenset[sympy.Expr], denied: sympy.Expr) -> bool:
    """True where `denied >= 0` contradicts the facts."""
    multiples = _multiples(facts)
    plain = [sympy.expand(f.xreplace(multiples)) for f in sorted(facts, key=str)]
    cases = _without_extrema(plain, sympy.expand(denied.xreplace(multiples)))
    return cases is not None and all(_contradiction(*case) for case in cases)


def _multiples(facts: frozenset[sympy.Expr]) -> dict[sympy.Expr, sympy.Expr]:
    """n -> m*k for every symbol n of which the facts say that it is m*quotient(n, m): rational algebra knows steps then."""
    found: dict[sympy.Expr, sympy.Expr] = {}
    for fact in sorted(facts, key=str):
        for q in fact.atoms(quotient):
            n, m = q.args
            if n.is_Symbol and m.is_Integer and n not in found and fact == n - m * q and -fact in facts:
                found[n] = m * sympy.Symbol(f"{n}/{m}", integer=True, nonnegative=n.is_nonnegative)
    return found


# --- Min and Max -------------------------------------------------------------------------------------------------------


def _without_extrema(
    facts: list[sympy.Expr], denied: sympy.Expr
) -> list[tuple[list[sympy.Expr], sympy.Expr]] | None:
    """The question once for each argument that a Min or Max may be; None where these are too many."""
    done: list[tuple[list[sympy.Expr], sympy.Expr]] = []
    open_ = [(facts, denied)]
    while open_:
        facts, denied = open_.pop()
        found = _innermost([denied, *facts])
        if found is None:
            done.append((facts, denied))
            continue
        sign = 1 if isinstance(found, sympy.Max) else -1
        for chosen in found.args:
            at = {found: chosen}
            own = [sympy.expand(sign * (chosen - other)) for other in found.args if other is not chosen]
            open_.append(([*(sympy.expand(f.xreplace(at)) for f in facts), *own], sympy.expand(denied.xreplace(at))))
        if len(open_) + len(done) > MOST_CASES:
            return None
    return done


def _innermost(exprs: Sequence[sympy.Expr]) -> sympy.Expr | None:
    for e in exprs:
        for found in sorted(e.atoms(sympy.Max, sympy.Min), key=str):
            if not any(a.has(sympy.Max, sympy.Min) for a in found.args):
                return found
    return None


# --- rows --------------------------------------------------------------------------------------------------------------


def _contradiction(facts: Sequence[sympy.Expr], denied: sympy.Expr) -> bool:
    exprs = [*facts, denied, *_definitions([*facts, denied])]
    rows = [_row(e) for e in exprs]
    if _infeasible(rows):
        return True
    products = {m for r in rows for m in r if m.is_Mul or m.is_Pow}
    if not products:
        return False
    factors = sorted(_cofactors(products) | _divisors(exprs), key=str)
    rounded = [sympy.Add(*(c * unknown for unknown, c in r.items())) for r in rows]
    more = [_row(sympy.expand(e * factor)) for factor in factors for e in rounded]
    known = [r for r in more if all(m in products for m in r if m.is_Mul or m.is_Pow)]
    return _infeasible([*rows, *known]) or (len(known) < len(more) and _infeasible([*rows, *more]))


def _cofactors(products: Iterable[sympy.Expr]) -> set[sympy.Expr]:
    """What a fact may be multiplied by so that products that occur come out: factors known to be 0 or more."""
    found: set[sympy.Expr] = set()
    for product in products:
        factors = [b for b, n in (f.as_base_exp() for f in sympy.Mul.make_args(product)) for _ in range(int(n))]
        found |= {c for c in (sympy.Mul(*factors[:k], *factors[k + 1:]) for k in range(len(factors)))
                  if c != 1 and c.is_nonnegative}
    return found


def _divisors(exprs: Sequence[sympy.Expr]) -> set[sympy.Expr]:
    """The sums that are divided by: positive wherever there is an element."""
    return {a.args[1] for e in exprs for a in e.atoms(quotient, modulo) if a.args[1].is_Add}


def _definitions(exprs: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """What holds of the floors, quotients and remainders in `exprs`, whatever their arguments are."""
    tops = {s: int(c) for c, s in map(_upper_bound, exprs) if s is not None}
    found: dict[sympy.Expr, None] = {}
    stack: list[sympy.Expr] = list(exprs)
    seen: set[sympy.Expr] = set()
    while stack:
        for atom in sorted(stack.pop().atoms(sympy.floor, sympy.ceiling, quotient, modulo, sympy.Mod), key=str):
            if atom not in seen:
                seen.add(atom)
                made = [sympy.expand(e) for e in _of_division(atom)]
                top = _greatest(atom, tops)
                made += [top - atom] if top is not None else _cuts(atom, exprs)
                found.update(dict.fromkeys(made))
                stack += made
    return list(found)


def _of_division(atom: sympy.Expr) -> list[sympy.Expr]:
    """With e = m*q + r: the bounds of r = e - m*q, and the sign of q; m is positive wherever there is an element."""
    if isinstance(atom, (sympy.floor, sympy.ceiling)):
        e, m = sympy.fraction(sympy.together(atom.args[0]))
        rest = e - m * atom if isinstance(atom, sympy.floor) else m * atom - e
        return [rest, m - 1 - rest, *([atom] if e.is_nonnegative else [])]
    e, m = atom.args
    if isinstance(atom, quotient):
        rest = e - m * atom
        return [rest, m - 1 - rest, *([atom] if e.is_nonnegative else [])]
    whole = quotient(e, m)
    rest = e - m * whole
    return [atom, m - 1 - atom, rest - atom, atom - rest]


def _cuts(atom: sympy.Expr, facts: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """quotient(e, m) <= floor(u/m) for every fact u - e >= 0 where that is no new unknown."""
    if not isinstance(atom, quotient):
        return []
    e, m = atom.args
    found = []
    for fact in facts:
        u = sympy.expand(fact + e)
        if not u.free_symbols & e.free_symbols:
            top = sympy.floor(u / m) if m.is_Integer else _whole(sympy.expand(u + 1), m) - 1
            if not top.has(sympy.floor, sympy.nan):
                found.append(top - atom)
    return found


def _whole(e: sympy.Expr, m: sympy.Expr) -> sympy.Expr:
    """e/m where every term of e is a multiple of the symbol m; nan elsewhere."""
    terms = [t / m for t in sympy.Add.make_args(e)]
    return sympy.Add(*terms) if m.is_Symbol and all(sympy.denom(t) == 1 for t in terms) else sympy.nan


def _upper_bound(fact: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr | None]:
    """Number and symbol of a fact `number - symbol >= 0`; the symbol None for any other."""
    constant, rest = fact.as_coeff_Add()
    return constant, -rest if (-rest).is_Symbol and constant.is_Integer else None


def _greatest(e: sympy.Expr, tops: Mapping[sympy.Expr, int]) -> int | None:
    """The largest value where numbers alone decide it; what division by whole numbers cuts off is beyond rational proofs."""
    if e.is_Integer:
        return int(e)
    if e in tops:
        return tops[e]
    if isinstance(e, quotient) and e.args[1].is_Integer:
        above = _greatest(e.args[0], tops)
        return None if above is None else above // int(e.args[1])
    if isinstance(e, modulo) and e.args[1].is_Integer:
        above = _greatest(e.args[0], tops) if e.args[0].is_nonnegative else None
        below = int(e.args[1]) - 1
        return below if above is None else min(above, below)
    if e.is_Add or e.is_Mul:
        parts = [_greatest(a, tops) for a in e.args]
        if any(p is None for p in parts) or (e.is_Mul and not all(a.is_nonnegative for a in e.args)):
            return None
        return math.prod(parts) if e.is_Mul else sum(parts)  # type: ignore[type-var, arg-type]
    return None


@lru_cache(maxsize=65536)
def _row(expr: sympy.Expr) -> Row:
    """`expr >= 0` over its unknowns, with whole coefficients as small as they go; the constant rounded down."""
    terms: dict[sympy.Expr, sympy.Rational] = {}
    for term in sympy.Add.make_args(expr):
        coefficient, rest = term.as_coeff_Mul()
        terms[rest] = terms.get(rest, sympy.Integer(0)) + coefficient
    scale = math.lcm(*(int(c.q) for c in terms.values()))
    whole = {unknown: int(c * scale) for unknown, c in terms.items() if c != 0}
    shared = math.gcd(*(c for unknown, c in whole.items() if unknown != ONE))
    if shared > 1:
        whole = {unknown: c // shared for unknown, c in whole.items()}
    return whole


def _infeasible(rows: Sequence[Row]) -> bool:
    """True where no rational point satisfies all rows, those of unknowns known to be >= 0 added.

    Looks for weights y >= 0 of the rows with no positive coefficient left of any unknown (none at all of one that may be
    negative), and a negative constant.  y = 0 is where the search starts, so that the simplex method needs one phase;
    Bland's rule keeps it from going round.
    """
    unknowns = sorted({u for r in rows for u in r if u != ONE}, key=str)
    table: list[list[int]] = []
    for u in unknowns:
        line = [r.get(u, 0) for r in rows]
        table.append(line)
        if not u.is_nonnegative:
            table.append([-c for c in line])
    return _improves(table, [-r.get(ONE, 0) for r in rows])


def _improves(table: list[list[int]], gain: list[int]) -> bool:
    """True where `gain * y` is positive for some y >= 0 with `table * y <= 0`."""
    count = len(gain)
    rows = [[*line, *(int(k == slack) for slack in range(len(table)))] for k, line in enumerate(table)]
    gain = [*gain, *([0] * len(table))]
    basis = [count + k for k in range(len(table))]
    while True:
        entering = next((k for k, g in enumerate(gain) if g > 0), None)
        if entering is None:
            return False
        candidates = [k for k, line in enumerate(rows) if line[entering] > 0]
        if not candidates:
            return True
        leaving = min(candidates, key=lambda k: basis[k])
        pivot = rows[leaving]
        basis[leaving] = entering
        for k, line in enumerate(rows):
            if k != leaving and line[entering]:
                rows[k] = _cleared(line, pivot, entering)
        gain = _cleared(gain, pivot, entering)


def _cleared(line: list[int], pivot: list[int], column: int) -> list[int]:
    """`line` without its entry in `column`, times a positive number."""
    a, b = pivot[column], line[column]
    new = [a * x - b * y for x, y in zip(line, pivot)]
    shared = math.gcd(*new)
    return [x // shared for x in new] if shared > 1 else new
