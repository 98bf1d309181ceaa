"""Terms: mathematics as people write it, between the graph and its printed forms (text, LaTeX, SymPy).

A term is a small immutable tree over elements of named tensors.  The constructors below apply what a reader would:
signs in front, numbers first, factors that do not depend on the index out of a sum.  That is real-number algebra, and
harmless: terms are read, never computed with.  Index expressions are SymPy integer expressions over letters and named
dimensions; a symbol that stands for a value read from another tensor is explained in `data`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sympy

from gradgen.ir.guards import EQ, Guard, conjunction
from gradgen.ir.symbols import Extent


class Letter(sympy.Symbol):
    """An index letter: i, j, n, ..."""

    __slots__ = ()


class Datum(sympy.Symbol):
    """In an index: the integer value of a term (`data` says which)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Index:
    """An integer expression over letters, dimensions and data."""

    expr: sympy.Expr
    data: tuple[tuple[Datum, Term], ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """Base of all terms."""


@dataclass(frozen=True, slots=True)
class Number(Term):
    """An exact number."""

    value: sympy.Expr


@dataclass(frozen=True, slots=True)
class Integral(Term):
    """An index expression used as a value: an axis position, an extent."""

    index: Index


@dataclass(frozen=True, slots=True)
class Element(Term):
    """`name[index]`; a scalar has no index."""

    name: str
    index: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True)
class Sum(Term):
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Product(Term):
    """`coefficient * factors / divisors`."""

    coefficient: sympy.Expr
    factors: tuple[Term, ...]
    divisors: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Power(Term):
    base: Term
    exponent: Term


@dataclass(frozen=True, slots=True)
class Apply(Term):
    """A function by its key in gradgen.ir.functions, or a kernel's name."""

    function: str
    args: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Choice(Term):
    """`then` where `condition` holds, else `otherwise`."""

    condition: Term
    then: Term
    otherwise: Term


@dataclass(frozen=True, slots=True)
class Condition(Term):
    """A guard as a truth value: its conditions over letters, with what data stands in them."""

    guard: Guard
    data: tuple[tuple[Datum, Term], ...] = ()


@dataclass(frozen=True, slots=True)
class Reduction(Term):
    """`kind` (sum, prod, max, ...) of the body over letters in their ranges."""

    kind: str
    letters: tuple[tuple[Letter, Extent], ...]
    body: Term


@dataclass(frozen=True, slots=True)
class Omitted(Term):
    """More than anybody wants to read."""


ZERO, ONE = Number(sympy.S.Zero), Number(sympy.S.One)
OMITTED = Omitted()


# --- constructors ----------------------------------------------------------------------------------------------------


def add(terms: Iterable[Term]) -> Term:
    """The sum: nested ones flattened, numbers together, negative terms after positive ones, reductions last."""
    flat: list[Term] = []
    number: sympy.Expr = sympy.S.Zero
    for t in terms:
        for part in t.terms if isinstance(t, Sum) else (t,):
            if isinstance(part, Number):
                number = number + part.value
            else:
                flat.append(part)
    if number != 0:
        flat.append(Number(number))
    if not flat:
        return ZERO
    flat.sort(key=lambda t: 2 * isinstance(bare(t), Reduction) + is_negative(t))
    return flat[0] if len(flat) == 1 else Sum(tuple(flat))


def multiply(factors: Iterable[Term], divisors: Iterable[Term] = ()) -> Term:
    """The quotient of two products, nested ones flattened, numbers in one coefficient."""
    coefficient: sympy.Expr = sympy.S.One
    above: list[Term] = []
    below: list[Term] = []
    for group, over, under, sign in ((factors, above, below, 1), (divisors, below, above, -1)):
        for t in group:
            if isinstance(t, Number) and (sign == 1 or t.value != 0):
                coefficient = coefficient * t.value**sign
            elif isinstance(t, Product) and (sign == 1 or t.coefficient != 0):
                coefficient = coefficient * t.coefficient**sign
                over.extend(t.factors)
                under.extend(t.divisors)
            else:
                over.append(t)
    if coefficient == 0 and not below:
        return ZERO
    if not above and not below:
        return Number(coefficient)
    if coefficient == 1 and len(above) == 1 and not below:
        return above[0]
    return Product(coefficient, tuple(_powers(above)), tuple(_powers(below)))


def _powers(factors: list[Term]) -> list[Term]:
    """Equal factors as one power, all in order of `_rank`."""
    count: dict[Term, int] = {}
    for f in factors:
        count[f] = count.get(f, 0) + 1
    merged = [power(f, Number(sympy.Integer(n))) for f, n in count.items()]
    return sorted(merged, key=_rank)


def _rank(term: Term) -> int:
    """Products are written with dimensions first, then scalars, elements, functions, brackets, reductions."""
    if isinstance(term, Integral):
        return 0
    if isinstance(term, Element):
        return 2 if term.index else 1
    if isinstance(term, Power):
        return max(_rank(term.base), 2) if isinstance(term.base, (Element, Integral)) else 3
    if isinstance(term, Sum):
        return 4
    if isinstance(term, Reduction):
        return 6
    return 5 if isinstance(term, (Choice, Condition)) else 3


def power(base: Term, exponent: Term) -> Term:
    """base to the exponent; a square root where the exponent is 1/2."""
    if isinstance(exponent, Number):
        n = exponent.value
        if n == 1:
            return base
        if n == sympy.Rational(1, 2):
            return Apply("sqrt", (base,))
        if n.is_Rational and n < 0:
            return multiply((), (power(base, Number(-n)),))
        if isinstance(base, Number) and base.value.is_positive and n.is_Rational:
            return Number(base.value**n)
        if isinstance(base, Power) and isinstance(base.exponent, Number) and n.is_Integer:
            return power(base.base, Number(base.exponent.value * n))
    return Power(base, exponent)


def choose(condition: Term, then: Term, otherwise: Term) -> Term:
    """`then` where the condition holds; a factor common to both sides is not looked for."""
    return then if then == otherwise else Choice(condition, then, otherwise)


def reduce(kind: str, letters: tuple[tuple[Letter, Extent], ...], body: Term) -> Term:
    """The reduction; constant factors come out of a sum, sums of sums are one."""
    if kind != "sum":
        return Reduction(kind, letters, body)
    if isinstance(body, Reduction) and body.kind == "sum":
        return Reduction("sum", (*letters, *body.letters), body.body)
    if isinstance(body, Choice):
        single = _single(letters, body)
        if single is not None:
            return single
    own = frozenset(s for s, _ in letters)
    if not isinstance(body, Product):
        if isinstance(body, Number) or not own & letters_of(body):
            return multiply([body, *(_extent(e) for _, e in letters)])
        return Reduction(kind, letters, body)
    outside = [f for f in body.factors if not own & letters_of(f)]
    below = [f for f in body.divisors if not own & letters_of(f)]
    inside = [f for f in body.factors if own & letters_of(f)]
    under = [f for f in body.divisors if own & letters_of(f)]
    inner = multiply(inside, under)
    inner = reduce(kind, letters, inner) if not isinstance(inner, Product) else Reduction(kind, letters, inner)
    return multiply([Number(body.coefficient), *outside, inner], below)


def _single(letters: tuple[tuple[Letter, Extent], ...], body: Choice) -> Term | None:
    """A sum in which a guard leaves one value of a letter: the summand there."""
    if not isinstance(body.condition, Condition) or body.otherwise != ZERO or body.condition.data:
        return None
    own = {s for s, _ in letters}
    at: dict[sympy.Expr, sympy.Expr] = {}
    for c in body.condition.guard:
        found = [s for s in c.expr.free_symbols if s in own]
        if c.kind == EQ and len(found) == 1 and (c.expr - found[0]).is_Integer:
            at.setdefault(found[0], found[0] - c.expr)
    if not at:
        return None
    rest = conjunction(*(c.substitute(at) for c in body.condition.guard))
    if rest is None:
        return ZERO
    inner = at_letters(body.then, at)
    if rest:
        inner = Choice(Condition(rest), inner, ZERO)
    left = tuple((s, e) for s, e in letters if s not in at)
    return reduce("sum", left, inner) if left else inner


def at_letters(term: Term, at: Mapping[sympy.Expr, sympy.Expr]) -> Term:
    """The term with letters replaced by numbers."""

    def index(i: Index) -> Index:
        return Index(substituted(i.expr, at), tuple((s, at_letters(t, at)) for s, t in i.data))

    match term:
        case Element(name, indices):
            return Element(name, tuple(map(index, indices)))
        case Integral(i):
            return Number(found.expr) if (found := index(i)).expr.is_Integer else Integral(found)
        case Sum(terms):
            return add(at_letters(t, at) for t in terms)
        case Product(coefficient, factors, divisors):
            above = [Number(coefficient), *(at_letters(t, at) for t in factors)]
            return multiply(above, [at_letters(t, at) for t in divisors])
        case Power(base, exponent):
            return Power(at_letters(base, at), at_letters(exponent, at))
        case Apply(function, args):
            return Apply(function, tuple(at_letters(t, at) for t in args))
        case Choice(condition, then, otherwise):
            return Choice(at_letters(condition, at), at_letters(then, at), at_letters(otherwise, at))
        case Condition(guard, data):
            moved = tuple(c.substitute(dict(at)) for c in guard)
            return Condition(moved, tuple((s, at_letters(t, at)) for s, t in data))
        case Reduction(kind, letters, body):
            return Reduction(kind, letters, at_letters(body, at))
    return term


def _extent(e: Extent) -> Term:
    return Number(sympy.Integer(e)) if isinstance(e, int) else Integral(Index(e))


def negate(term: Term) -> Term:
    return multiply([Number(sympy.S.NegativeOne), term])


def is_negative(term: Term) -> bool:
    """Written with a minus sign in front."""
    if isinstance(term, Number):
        return bool(term.value.is_negative)
    return isinstance(term, Product) and bool(term.coefficient.is_negative)


def bare(term: Term) -> Term:
    """The last factor of a product: a reduction there extends to the right as if it stood alone."""
    return term.factors[-1] if isinstance(term, Product) and term.factors else term


# --- looking at terms ------------------------------------------------------------------------------------------------


def children(term: Term) -> tuple[Term, ...]:
    """The terms directly inside, those in indices included."""
    match term:
        case Element(_, index):
            return tuple(t for i in index for _, t in i.data)
        case Integral(index):
            return tuple(t for _, t in index.data)
        case Sum(terms):
            return terms
        case Product(_, factors, divisors):
            return (*factors, *divisors)
        case Power(base, exponent):
            return (base, exponent)
        case Apply(_, args):
            return args
        case Choice(condition, then, otherwise):
            return (condition, then, otherwise)
        case Condition(_, data):
            return tuple(t for _, t in data)
        case Reduction(_, _, body):
            return (body,)
    return ()


def letters_of(term: Term) -> frozenset[Letter]:
    """The free index letters."""
    found: set[Letter] = set()
    bound: set[Letter] = set()
    stack = [term]
    while stack:
        t = stack.pop()
        stack.extend(children(t))
        exprs: list[sympy.Expr] = []
        if isinstance(t, Element):
            exprs = [i.expr for i in t.index]
        elif isinstance(t, Integral):
            exprs = [t.index.expr]
        elif isinstance(t, Condition):
            exprs = [c.expr for c in t.guard]
        elif isinstance(t, Reduction):
            bound.update(s for s, _ in t.letters)
        for e in exprs:
            found.update(s for s in e.free_symbols if isinstance(s, Letter))
    return frozenset(found - bound)


def substituted(expr: sympy.Expr, mapping: Mapping[sympy.Expr, sympy.Expr]) -> sympy.Expr:
    if expr.is_Integer:
        return expr
    if expr.is_Symbol:
        return mapping.get(expr, expr)
    return expr.xreplace(dict(mapping))
