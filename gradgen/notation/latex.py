r"""Graphs as LaTeX: an `align*` environment with one line per definition.

    z_{n,j} &= b_{j} + \sum_{i=0}^{4} x_{n,i} w_{i,j} \\
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy.printing.latex import latex as sympy_latex

from gradgen.ir.guards import EQ, GE, Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Node
from gradgen.ir.scalar_table import record_of
from gradgen.ir.symbols import Extent
from gradgen.notation.definitions import Definition, definitions
from gradgen.notation.formula import links_of, wanted_of
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
    bare,
    is_negative,
    negate,
)
from gradgen.notation.text import decimal_text, is_short

LOGIC, ADD, OPEN, MUL, POWER, ATOM = range(6)
Text = tuple[str, int]

_SIGNS = {"=": "&=", "+=": r"&\mathrel{+}=", "*=": r"&\mathrel{\times}="}
_REDUCERS = {
    "sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min", "any": r"\bigvee", "all": r"\bigwedge",
}


def latex(program: Any, names: Mapping[Node, str] | None = None, *, limit: int | None = None) -> str:
    """A Graph, or a Joint of forward and gradients, as an `align*` environment; arguments as for `formulas`."""
    found, omitted = definitions(wanted_of(program), names, limit=limit, links=links_of(program))
    lines = [line for d in found for line in _definition(d)]
    if omitted:
        lines.append(rf"&\;\;\vdots \quad \text{{and {omitted:,} more lines}}")
    body = " \\\\\n".join(f"  {line}" for line in lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _definition(d: Definition) -> list[str]:
    left = _element(d.name, d.index)
    sign = _SIGNS.get(d.sign) or rf"&\stackrel{{{d.sign[:-1]}}}{{=}}"
    line = f"{left} {sign} {_text(d.term)[0]}"
    if d.guard is not None:
        line += rf" \quad \text{{if }} {_text(d.guard)[0]}"
    if d.over:
        line += r" \quad \forall\, " + r",\; ".join(rf"{s.name} < {_integer(sympy.sympify(e), {})}" for s, e in d.over)
    if d.note:
        line += rf" \quad \text{{{d.note}}}"
    return [line, *(rf"& \qquad {inner.replace('&', '', 1)}" for e in d.details for inner in _definition(e))]


def _name(name: str) -> str:
    """z, z_1, \\mathrm{loss}, \\mathrm{grad\\_w}."""
    head = name.rstrip("0123456789")
    digits = name[len(head):]
    if len(head) == 1:
        return f"{head}_{{{digits}}}" if digits else head
    return rf"\mathrm{{{name}}}".replace("_", r"\_")


def _element(name: str, index: Sequence[Index]) -> str:
    if not index:
        return _name(name)
    shown = ",".join(_index(i) for i in index)
    base = _name(name)
    return f"{{{base}}}_{{{shown}}}" if "_{" in base else f"{base}_{{{shown}}}"


def _index(index: Index) -> str:
    return _integer(index.expr, {s: _text(t)[0] for s, t in index.data})


def _integer(expr: sympy.Expr, data: Mapping[sympy.Symbol, str]) -> str:
    """An integer expression; floor and mod are written as such."""
    names = {s: data[s] for s in expr.free_symbols if isinstance(s, Datum) and s in data}
    plain = {s: sympy.Symbol(s.name) for s in expr.free_symbols if isinstance(s, Letter)}
    shown = expr.xreplace(plain).replace(quotient, lambda e, m: sympy.floor(e / m, evaluate=False))
    shown = shown.replace(modulo, lambda e, m: sympy.Mod(e, m, evaluate=False))
    return str(sympy_latex(shown, symbol_names=names))


def _within(term: Term, level: int) -> str:
    found, own = _text(term)
    return found if own >= level else rf"\left({found}\right)"


def _text(term: Term) -> Text:
    match term:
        case Number(value):
            return _number(value)
        case Integral(index):
            return _index(index), ATOM if index.expr.is_Symbol else ADD if isinstance(index.expr, sympy.Add) else MUL
        case Element(name, index):
            return _element(name, index), ATOM
        case Sum(terms):
            return _sum(terms), ADD
        case Product():
            return _product(term)
        case Power(base, exponent):
            shown, own = _text(base)
            shown = rf"\left({shown}\right)" if own < ATOM else f"{{{shown}}}" if "_" in shown else shown
            return f"{shown}^{{{_text(exponent)[0]}}}", POWER
        case Apply():
            return _apply(term)
        case Choice():
            return _choice(term)
        case Condition(guard, data):
            return _guard(guard, {s: _text(t)[0] for s, t in data}), LOGIC
        case Reduction(kind, letters, body):
            return _reduction(kind, letters, body)
    return r"\ldots", ATOM


def _number(value: sympy.Expr) -> Text:
    if value.is_Rational and not is_short(value):
        mantissa, _, exponent = decimal_text(value).partition("e")
        if not exponent:
            return mantissa, ATOM if value > 0 else ADD
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}", MUL if value > 0 else ADD
    return str(sympy_latex(value)), ADD if value.is_negative else ATOM if value.is_Integer or value.is_Symbol else MUL


def _sum(terms: tuple[Term, ...]) -> str:
    found = ""
    for k, t in enumerate(terms):
        minus = is_negative(t)
        shown, level = _text(negate(t) if minus else t)
        if level < ADD or (minus and level == ADD) or (k < len(terms) - 1 and isinstance(bare(t), Reduction)):
            shown = rf"\left({shown}\right)"
        found += (f"-{shown}" if minus else shown) if not found else f" {'-' if minus else '+'} {shown}"
    return found


def _product(term: Product) -> Text:
    coefficient = term.coefficient
    sign = "-" if coefficient.is_negative else ""
    coefficient = abs(coefficient) if sign else coefficient
    p, q = (coefficient.p, coefficient.q) if is_short(coefficient) else (coefficient, 1)
    below = ([] if q == 1 else [str(q)]) + [_within(d, MUL) for d in term.divisors]
    number = [] if p == 1 else [_number(sympy.sympify(p))[0]]
    if not below:
        return sign + r" \, ".join(number + _factors(term.factors)), OPEN if isinstance(bare(term), Reduction) else MUL
    scalars = [f for f in term.factors if isinstance(f, Integral) or (isinstance(f, Element) and not f.index)]
    rest = [f for f in term.factors if f not in scalars]
    leading = bool(rest) and isinstance(rest[-1], (Reduction, Sum))
    above = number + _factors(scalars if leading else [*scalars, *rest])
    upper, lower = r" \, ".join(above) or "1", r" \, ".join(below)
    fraction = rf"\frac{{{upper}}}{{{lower}}}"
    tail = _factors(rest) if leading else []
    return sign + r" \, ".join([fraction, *tail]), OPEN if leading and isinstance(rest[-1], Reduction) else MUL


def _factors(factors: Sequence[Term]) -> list[str]:
    last = len(factors) - 1
    return [_within(f, OPEN if k == last else MUL) for k, f in enumerate(factors)]


def _apply(term: Apply) -> Text:
    record, args = record_of(term.function), term.args
    form = (record and record.latex) or _name_of(term.function)
    if form.startswith(" "):
        return f"{_within(args[0], ADD)}{form}{_within(args[1], ADD)}", LOGIC
    if form.endswith(" "):
        return f"{form}{_within(args[0], ATOM)}", LOGIC
    if "%s" in form:
        return form % tuple(_text(a)[0] for a in args), ATOM
    return rf"{form}\left({', '.join(_text(a)[0] for a in args)}\right)", ATOM


def _name_of(key: str) -> str:
    return _REDUCERS.get(key) or rf"\operatorname{{{key.rstrip('_')}}}".replace("_", r"\_")


def _choice(term: Choice) -> Text:
    condition = _text(term.condition)[0]
    if term.otherwise == Number(sympy.S.Zero):
        if term.then == Number(sympy.S.One):
            return rf"\left[{condition}\right]", ATOM
        return rf"\left[{condition}\right] {_within(term.then, MUL)}", MUL
    rows = rf"{_text(term.then)[0]} & \text{{if }} {condition} \\ {_text(term.otherwise)[0]} & \text{{otherwise}}"
    return rf"\begin{{cases}} {rows} \end{{cases}}", ATOM


def _reduction(kind: str, letters: Sequence[tuple[Letter, Extent]], body: Term) -> Text:
    found, level = _text(body)
    if level <= ADD:
        found = rf"\left({found}\right)"
    if kind in ("sum", "prod"):
        signs = [rf"{_REDUCERS[kind]}_{{{s.name}=0}}^{{{_integer(sympy.sympify(e) - 1, {})}}}" for s, e in letters]
        return f"{' '.join(signs)} {found}", OPEN
    return rf"{_name_of(kind)}_{{{','.join(s.name for s, _ in letters)}}} {found}", OPEN


def _guard(guard: Guard, data: Mapping[sympy.Symbol, str]) -> str:
    parts = []
    for c in guard:
        low = sympy.Add(*(-t for t in sympy.Add.make_args(c.expr) if t.could_extract_minus_sign()))
        high = sympy.Add(*(t for t in sympy.Add.make_args(c.expr) if not t.could_extract_minus_sign()))
        if c.kind == GE:
            parts.append(rf"{_integer(low, data)} \le {_integer(high, data)}")
        elif c.kind == EQ:
            parts.append(f"{_integer(high, data)} = {_integer(low, data)}")
        else:
            parts.append(rf"{_integer(c.expr, data)} \bmod {_integer(sympy.sympify(c.modulus), data)} = 0")
    return r" \land ".join(parts)
