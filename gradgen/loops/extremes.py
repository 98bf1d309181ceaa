"""The least and greatest value of an index over the loops around it, exactly, where it is a polynomial that is linear in
each counter.

Polynomials are dictionaries from monomials to integers, since the verifier asks for thousands of them and SymPy's own
arithmetic is a hundred times slower.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from gradgen.ir.symbols import Dim, Extent

Monomial = tuple[sympy.Expr, ...]  # its factors, sorted by name; what is no symbol (a modulo, a minimum) is a factor too
Poly = dict[Monomial, int]

_polys: dict[sympy.Expr, Poly] = {}
_symbols: dict[sympy.Expr, frozenset[str]] = {}
_locals: dict[sympy.Expr, frozenset[str]] = {}
_texts: dict[sympy.Expr, str] = {}
_CACHED = 100_000


def symbols_of(e: sympy.Expr) -> frozenset[str]:
    """The names in an expression."""
    found = _symbols.get(e)
    if found is None:
        if len(_symbols) > _CACHED:
            _symbols.clear()
        found = _symbols[e] = frozenset(s.name for s in e.free_symbols)
    return found


def locals_of(e: sympy.Expr) -> frozenset[str]:
    """The names in an expression that are no dimensions."""
    found = _locals.get(e)
    if found is None:
        if len(_locals) > _CACHED:
            _locals.clear()
        found = _locals[e] = frozenset(s.name for s in e.free_symbols if not isinstance(s, Dim))
    return found


def poly(e: Extent) -> Poly:
    """An integer expression as a polynomial."""
    if isinstance(e, int):
        return {(): e} if e else {}
    found = _polys.get(e)
    if found is None:
        if len(_polys) > _CACHED:
            _polys.clear()
        found = _polys[e] = _polynomial(e)
    return found


def _polynomial(e: sympy.Expr) -> Poly:
    if e.is_Integer:
        return {(): int(e)} if e != 0 else {}
    if e.is_Add:
        total: Poly = {}
        for a in e.args:
            total = plus(total, poly(a))
        return total
    if e.is_Mul and not any(a.is_Rational and not a.is_Integer for a in e.args):
        product: Poly = {(): 1}
        for a in e.args:
            product = times(product, poly(a))
        return product
    if e.is_Pow and e.args[1].is_Integer and 0 < int(e.args[1]) <= 8:
        product = {(): 1}
        for _ in range(int(e.args[1])):
            product = times(product, poly(e.args[0]))
        return product
    return {(e,): 1}


def plus(a: Poly, b: Poly, factor: int = 1) -> Poly:
    """a + factor*b."""
    total = dict(a)
    for m, k in b.items():
        k = total.get(m, 0) + factor * k
        if k:
            total[m] = k
        else:
            total.pop(m, None)
    return total


def times(a: Poly, b: Poly) -> Poly:
    total: Poly = {}
    for m, k in a.items():
        for n, j in b.items():
            key = m if not n else n if not m else tuple(sorted((*m, *n), key=_text))
            total[key] = total.get(key, 0) + k * j
    return {m: k for m, k in total.items() if k}


def _text(f: sympy.Expr) -> str:
    found = _texts.get(f)
    if found is None:
        if len(_texts) > _CACHED:
            _texts.clear()
        found = _texts[f] = str(f)
    return found


def mentions(p: Poly, name: str) -> bool:
    return any(name in symbols_of(f) for m in p for f in m)


def names_in(p: Poly) -> set[str]:
    return {n for m in p for f in m for n in symbols_of(f)}


def sign(p: Poly) -> int | None:
    """1 where the polynomial is at least 0 for all values of its symbols, -1 where it is below 0; None: it depends."""
    if all(k >= 0 for k in p.values()):
        low, others = True, all(_not_negative(f) for m in p for f in m)
        return 1 if low and others else None
    if all(k <= 0 for k in p.values()) and p.get((), 0) < 0 and all(_not_negative(f) for m in p for f in m):
        return -1
    return None


def _not_negative(f: sympy.Expr) -> bool:
    return bool(f.is_nonnegative)


def is_positive(e: Extent) -> bool:
    """Whether a size is 1 or more whatever its dimensions are; SymPy is asked where its form does not say so."""
    return e > 0 if isinstance(e, int) else sign(plus(poly(e), {(): 1}, -1)) == 1 or bool(e.is_positive)


def substituted(p: Poly, name: str, value: Poly) -> Poly | None:
    """The polynomial with another one for a symbol; None where it is not linear in it."""
    rest: Poly = {}
    factor: Poly = {}
    for m, k in p.items():
        inside = [f for f in m if name in symbols_of(f)]
        if not inside:
            rest[m] = k
        elif len(inside) == 1 and inside[0].is_Symbol:
            factor[tuple(f for f in m if f is not inside[0])] = k
        else:
            return None
    return plus(rest, times(factor, value)) if factor else rest


def slope(p: Poly, name: str) -> Poly | None:
    """What a symbol is multiplied by."""
    found: Poly = {}
    for m, k in p.items():
        inside = [f for f in m if name in symbols_of(f)]
        if len(inside) > 1 or (inside and not inside[0].is_Symbol):
            return None
        if inside:
            found[tuple(f for f in m if f is not inside[0])] = k
    return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `low` to `high`, both reached if anything is; None where that is not known."""

    low: Poly | None
    high: Poly | None

    def over(self, name: str, low: Poly | None, high: Poly | None) -> Stretch:
        """The stretch for all values of a symbol from `low` to `high`."""
        return Stretch(_extreme(self.low, name, low, high, False), _extreme(self.high, name, low, high, True))

    def shifted(self, by: Poly) -> Stretch:
        return Stretch(None if self.low is None else plus(self.low, by), None if self.high is None else plus(self.high, by))

    def names(self) -> set[str]:
        return {n for p in (self.low, self.high) if p is not None for n in names_in(p)}


UNKNOWN = Stretch(None, None)


def point(at: Poly) -> Stretch:
    return Stretch(at, at)


def _extreme(p: Poly | None, name: str, low: Poly | None, high: Poly | None, greatest: bool) -> Poly | None:
    if p is None or not mentions(p, name):
        return p
    by = slope(p, name)
    which = None if by is None else sign(by)
    if which is None and by is not None and sign({m: -k for m, k in by.items()}) == 1:
        which = -1
    if which is None:
        return None
    end = high if (which == 1) == greatest else low
    return None if end is None else substituted(p, name, end)


def exceeds(a: Poly | None, b: Poly | None) -> bool:
    """a > b for certain."""
    return a is not None and b is not None and sign(plus(b, a, -1)) == -1


def reaches(a: Poly | None, b: Poly | None) -> bool | None:
    """a >= b: for certain, certainly not, or it is not known."""
    if a is None or b is None:
        return None
    found = sign(plus(a, b, -1))
    return None if found is None else found == 1
