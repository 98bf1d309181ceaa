"""Graphs as ordinary SymPy: Indexed, Sum, Product, Piecewise, Max, with shared values as definitions of their own.

What comes back is for reading and for further algebra.  SymPy rewrites on construction, so it is the same mathematics
over the real numbers, not the same floating-point program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import sympy
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom, BooleanFunction

from gradgen.errors import UnsupportedOperationError
from gradgen.ir.canonical import compute
from gradgen.ir.functions import instead, local, retold, select
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Input, Node, Scatter
from gradgen.ir.rewrite import rewrite
from gradgen.ir.scalar_table import ScalarFunction, no_counterpart, record_of
from gradgen.ir.symbols import Dim, Extent
from gradgen.notation.definitions import Definition, definitions, names_in
from gradgen.notation.formula import links_of, wanted_of
from gradgen.notation.naming import walk
from gradgen.notation.terms import (
    Apply,
    Choice,
    Condition,
    Datum,
    Element,
    Index,
    Integral,
    Letter,
    Number,
    Power,
    Product,
    Reduction,
    Sum,
    Term,
)

EXPANDED = 256
"""Elements up to which reductions that SymPy has no index form for (max, any, argmax) are written out."""

Pair = tuple[sympy.Expr, sympy.Basic]


class SympyView(NamedTuple):
    """Pairs (left, right), sources first: left is a Symbol or an Indexed whose base carries the shape.

    An output that other definitions mention stands in both lists.
    """

    definitions: list[Pair]
    outputs: list[Pair]


def _value(node: Node) -> Node:
    """What the value is made of, without what only derivatives are."""
    if not isinstance(node, Compute) or not node.body.has(instead, local, retold):
        return node
    body = node.body.replace(lambda e: isinstance(e, (instead, local, retold)), lambda e: e.args[0])
    return compute(node.shape, body, node.reads, node.dtype, node.reduce_shape, node.reducer or "sum")


def to_sympy(program: Any) -> SympyView:
    """The definitions and outputs of a Graph (or of a Joint, gradients as grad_<name>).

    Raises UnsupportedOperationError for what SymPy cannot say: kernels, scans, rounding, reductions other than sums and
    products over named dimensions.
    """
    wanted = wanted_of(program)
    links = links_of(program)
    new = rewrite([*(w.node for w in wanted), *(n for pair in links for n in pair)], _value)
    wanted = [replace(w, node=new[w.node]) for w in wanted]
    found, _ = definitions(wanted, links=[(new[a], new[b]) for a, b in links], split=False)
    view = _View(walk([w.node for w in wanted]))
    mentioned = {name for d in found for name in names_in(d)}
    shared: list[Pair] = []
    outputs: list[Pair] = []
    for group in _groups(found):
        pair = view.define(group)
        if group[0].wanted:
            outputs.append(pair)
        if not group[0].wanted or group[0].name in mentioned:
            shared.append(pair)
    return SympyView(shared, outputs)


def _groups(found: Sequence[Definition]) -> list[list[Definition]]:
    """A base and its update are one definition."""
    groups: list[list[Definition]] = []
    for d in found:
        if groups and d.over and groups[-1][0].name == d.name:
            groups[-1].append(d)
        else:
            groups.append([d])
    return groups


class _View:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.bases: dict[str, sympy.IndexedBase] = {}
        for node in nodes:
            if isinstance(node, Input):
                self.declare(node.name, node.shape)

    def declare(self, name: str, shape: Sequence[Extent]) -> None:
        if shape:
            self.bases[name] = sympy.IndexedBase(name, shape=tuple(map(self.extent, shape)))

    def extent(self, e: Extent) -> sympy.Expr:
        return self.integer(sympy.sympify(e), ())

    def define(self, group: Sequence[Definition]) -> Pair:
        first = group[0]
        node = first.node
        assert node is not None
        self.declare(first.name, node.shape)
        if group[-1].over:
            return self.update(group, node)
        right = self.term(first.term)
        return self.element(first.name, first.index), right

    def update(self, group: Sequence[Definition], node: Any) -> Pair:
        """base + sum over all updates of what lands at the element."""
        d = group[-1]
        if not isinstance(node, Scatter) or node.mode != "add":
            raise UnsupportedOperationError(f"SymPy has no form for a scatter that is not a sum ({d.name})")
        fresh = [Index(s) for s in self.fresh(node.ndim, [s for s, _ in d.over])]
        at = group[0].index if len(group) > 1 else fresh
        hits = [sympy.Eq(self.index(a), self.index(i)) for a, i in zip(at, d.index)]
        hits += [self.truth_of(d.guard)] if d.guard is not None else []
        summand = sympy.Piecewise((self.term(d.term), sympy.And(*hits)), (0, True))
        total = sympy.Sum(summand, *[(self.letter(s), 0, self.extent(e) - 1) for s, e in d.over])
        base = self.term(group[0].term) if len(group) > 1 else sympy.Integer(0)
        return self.element(d.name, at), base + total

    def fresh(self, count: int, used: Sequence[Letter]) -> list[Letter]:
        taken = {s.name for s in used}
        names = (f"{c}{k or ''}" for k in itertools.count() for c in "ijklmnpqrs")
        free = (n for n in names if n not in taken)
        return [Letter(n, integer=True, nonnegative=True) for n in itertools.islice(free, count)]

    # --- integers ----------------------------------------------------------------------------------------------------

    def letter(self, s: Letter) -> sympy.Symbol:
        return sympy.Symbol(s.name, integer=True, nonnegative=True)

    def index(self, index: Index) -> sympy.Expr:
        return self.integer(index.expr, index.data)

    def integer(self, expr: sympy.Expr, data: Sequence[tuple[Datum, Term]]) -> sympy.Expr:
        mapping: dict[sympy.Basic, sympy.Basic] = {s: self.term(t) for s, t in data}
        for s in expr.free_symbols:
            if isinstance(s, (Letter, Dim)):
                mapping[s] = sympy.Symbol(s.name, integer=True, nonnegative=True)
        found = expr.xreplace(mapping)
        found = found.replace(quotient, lambda e, m: sympy.floor(e / m)).replace(modulo, sympy.Mod)
        for f in sorted({type(f) for f in found.atoms(ScalarFunction)} - {select}, key=lambda f: f.key):
            found = found.replace(f, f.record.sympy)
        return found.replace(select, lambda c, x, y: sympy.Piecewise((x, self.boolean(c)), (y, True)))

    # --- terms -------------------------------------------------------------------------------------------------------

    def element(self, name: str, index: Sequence[Index]) -> sympy.Expr:
        if not index:
            return sympy.Symbol(name, real=True)
        if name not in self.bases:  # random numbers: a symbol for each element, whose value nobody knows
            self.bases[name] = sympy.IndexedBase(name)
        return self.bases[name][tuple(self.index(i) for i in index)]

    def term(self, term: Term) -> sympy.Basic:
        match term:
            case Number(value):
                return value
            case Integral(index):
                return self.index(index)
            case Element(name, index):
                return self.element(name, index)
            case Sum(terms):
                return sympy.Add(*map(self.value, terms))
            case Product(coefficient, factors, divisors):
                below = sympy.Mul(*map(self.value, divisors))
                return coefficient * sympy.Mul(*map(self.value, factors)) / below
            case Power(base, exponent):
                return sympy.Pow(self.value(base), self.value(exponent))
            case Apply(function, args):
                return self.apply(function, args)
            case Choice(condition, then, otherwise):
                return sympy.Piecewise((self.value(then), self.truth_of(condition)), (self.value(otherwise), True))
            case Condition():
                return self.truth_of(term)
            case Reduction():
                return self.reduction(term)
        raise UnsupportedOperationError("an expression is too long to be given back as SymPy")

    def value(self, term: Term) -> sympy.Expr:
        """As a number: a truth value is 1 or 0."""
        found = self.term(term)
        return sympy.Piecewise((1, found), (0, True)) if isinstance(found, _TRUTH) else found

    def boolean(self, found: sympy.Basic) -> sympy.Basic:
        return found if isinstance(found, _TRUTH) else sympy.Ne(found, 0)

    def truth_of(self, term: Term) -> sympy.Basic:
        if isinstance(term, Condition):
            return sympy.And(*(self.integer_condition(c, term.data) for c in term.guard))
        return self.boolean(self.term(term))

    def integer_condition(self, condition: Any, data: Sequence[tuple[Datum, Term]]) -> sympy.Basic:
        expr = self.integer(condition.expr, data)
        modulus = self.extent(condition.modulus) if condition.kind == "mod" else condition.modulus
        return type(condition)(condition.kind, expr, modulus).to_sympy()

    def apply(self, key: str, args: Sequence[Term]) -> sympy.Basic:
        if key == "list":
            return sympy.Tuple(*map(self.value, args))
        record = record_of(key)
        if record is None or record.sympy is no_counterpart:
            raise UnsupportedOperationError(f"SymPy has no counterpart of {key}()")
        return record.sympy(*map(self.truth_of if record.logical else self.value, args))

    def reduction(self, term: Reduction) -> sympy.Basic:
        limits = [(self.letter(s), 0, self.extent(e) - 1) for s, e in term.letters]
        if term.kind in ("sum", "prod"):
            form = sympy.Sum if term.kind == "sum" else sympy.Product
            return form(self.value(term.body), *limits)
        body = self.term(term.body)
        sizes = [e for _, e in term.letters]
        if not all(isinstance(e, int) for e in sizes) or sympy.prod(sizes) > EXPANDED:
            raise UnsupportedOperationError(f"SymPy has no index form of {term.kind} over {sizes}")
        places = itertools.product(*(range(int(e)) for e in sizes))
        items = [body.xreplace({s: sympy.Integer(k) for (s, _, _), k in zip(limits, at)}) for at in places]
        return _REDUCTIONS[term.kind](items, self.boolean)


_TRUTH = (Relational, BooleanFunction, BooleanAtom)  # a Symbol is a Boolean, too


def _arg(items: list[sympy.Basic], better: Callable[..., sympy.Basic]) -> sympy.Basic:
    """The first position whose item is not beaten by any."""
    return sympy.Piecewise(*((k, sympy.And(*(better(x, y) for y in items if y is not x))) for k, x in enumerate(items)))


_REDUCTIONS: dict[str, Callable[[list[sympy.Basic], Callable[..., sympy.Basic]], sympy.Basic]] = {
    "max": lambda items, truth: sympy.Max(*items),
    "min": lambda items, truth: sympy.Min(*items),
    "any": lambda items, truth: sympy.Or(*map(truth, items)),
    "all": lambda items, truth: sympy.And(*map(truth, items)),
    "argmax": lambda items, truth: _arg(items, sympy.Ge),
    "argmin": lambda items, truth: _arg(items, sympy.Le),
    "argpeak": lambda items, truth: _arg(items, sympy.Ge),
}
