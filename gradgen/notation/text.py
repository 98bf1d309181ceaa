"""Terms as plain text: `z[n,j] = b[j] + sum_i x[n,i] w[i,j]`.

A reduction extends as far to the right as its brackets allow and therefore stands last; a truth value in square
brackets is 1 where it holds and 0 elsewhere (Iverson's bracket), and what it multiplies is not looked at where it is
0.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import sympy

from gradgen.ir.guards import EQ, GE
from gradgen.ir.guards import Condition as GuardCondition
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.scalar_table import ScalarFunction, record_of
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

OR, AND, COMPARE, ADD, OPEN, MUL, POWER, ATOM = range(8)
"""How tightly a text holds together; OPEN is a reduction, closed off by the end of the text only."""

Text = tuple[str, int]

_LEVELS = {" and ": AND, " or ": OR, " xor ": OR, " mod ": MUL, " & ": MUL, " | ": ADD, " ^ ": ADD, " << ": MUL, " >> ": MUL}
"""Of signs; the others compare."""


def text(term: Term) -> str:
    """The term on one line."""
    return _text(term)[0]


def index_text(index: Index) -> str:
    return integer_text(index.expr, {s: text(t) for s, t in index.data})


def _within(term: Term, level: int) -> str:
    found, own = _text(term)
    return found if own >= level else f"({found})"


def _text(term: Term) -> Text:
    match term:
        case Number(value):
            return number_text(value)
        case Integral(index):
            found = index_text(index)
            return found, ATOM if found.isidentifier() or found.isdigit() else MUL if _is_product(index.expr) else ADD
        case Element(name, index):
            return (f"{name}[{','.join(map(index_text, index))}]" if index else name), ATOM
        case Sum(terms):
            return _sum(terms), ADD
        case Product():
            return _product(term)
        case Power(base, exponent):
            return f"{_within(base, ATOM)}^{_within(exponent, ATOM)}", POWER
        case Apply():
            return _apply(term)
        case Choice():
            return _choice(term)
        case Condition(guard, data):
            return guard_text(guard, {s: text(t) for s, t in data}), AND
        case Reduction(kind, letters, body):
            return _reduction(kind, tuple(s for s, _ in letters), body)
    return "...", ATOM


def _sum(terms: tuple[Term, ...]) -> str:
    parts: list[str] = []
    for k, t in enumerate(terms):
        minus = is_negative(t)
        shown = negate(t) if minus else t
        last = k == len(terms) - 1
        found, level = _text(shown)
        if level < ADD or (minus and level == ADD) or (not last and isinstance(bare(shown), Reduction)):
            found = f"({found})"
        if not parts:
            parts.append(f"-{found}" if minus else found)
        else:
            parts.append(f"{'-' if minus else '+'} {found}")
    return " ".join(parts)


def _product(term: Product) -> Text:
    coefficient = term.coefficient
    sign = "-" if coefficient.is_negative else ""
    above_number, below_number = _fraction(abs(coefficient) if sign else coefficient)
    scalars = [f for f in term.factors if _is_scalar(f)]
    others = [f for f in term.factors if not _is_scalar(f)]
    below = [below_number] if below_number else []
    below += [_within(d, MUL if len(term.divisors) > 1 or below_number else POWER) for d in term.divisors]
    plain = all(_is_scalar(d) for d in term.divisors)
    leading = bool(below) and plain and (bool(scalars) or (bool(others) and isinstance(bare(term), Reduction)))
    head = ([above_number] if above_number else []) + _factors(scalars, not others or (bool(below) and leading))
    denominator = _joined(below)
    if len(below) > 1 or (below and " " in denominator and not denominator.startswith("(")):
        denominator = f"({denominator})"
    tail = _factors(others, not below or leading)
    if not below:
        found = _joined(head + tail)
    elif leading:
        found = _joined([f"{_joined(head) or '1'}/{denominator}", *tail])
    else:
        found = f"{_joined(head + tail) or '1'}/{denominator}"
    if sign:
        return sign + found, ADD
    return found, OPEN if isinstance(bare(term), Reduction) and (leading or not below) else MUL


def _factors(factors: list[Term], open_end: bool) -> list[str]:
    found = []
    for k, f in enumerate(factors):
        level = OPEN if open_end and k == len(factors) - 1 else MUL
        found.append(_within(f, level))
    return found


def _joined(factors: list[str]) -> str:
    """Factors side by side: a number touches the dimension behind it (3N), everything else is set apart."""
    found = ""
    for f in factors:
        touches = found.isdigit() and f.isidentifier() and len(f) == 1 and f.isupper()
        found += f if not found or touches else f" {f}"
    return found


def _is_scalar(term: Term) -> bool:
    if isinstance(term, Power):
        return _is_scalar(term.base) and isinstance(term.exponent, Number)
    return isinstance(term, Integral) or (isinstance(term, Element) and not term.index)


def _fraction(value: sympy.Expr) -> tuple[str, str]:
    """The texts above and below the stroke; an empty one is 1."""
    if is_short(value):
        return "" if value.p == 1 else str(value.p), "" if value.q == 1 else str(value.q)
    found, level = number_text(value)
    return found if level >= MUL else f"({found})", ""


def number_text(value: sympy.Expr) -> Text:
    """An exact number; one that came from a float as the shortest decimal that gives that float back."""
    if is_short(value):
        return str(value), ADD if value.p < 0 else ATOM if value.is_Integer else MUL
    if value.is_Rational:
        return decimal_text(value), ATOM if value > 0 else ADD
    if value is sympy.nan or value.is_infinite:
        return {"oo": "inf", "-oo": "-inf"}.get(str(value), "nan"), ATOM if value != -sympy.oo else ADD
    found = str(value).replace("**", "^").replace("*", " ")
    if len(found) > _LONGEST_NUMBER:
        found = str(sympy.N(value, 17))
    return found, ATOM if found.isalnum() or _is_call(found) else ADD


_LONGEST_NUMBER = 60
_SMALLEST, _LARGEST = sympy.Rational(5e-324), sympy.Rational(sys.float_info.max)
_LARGEST_INTEGER = 2**63
"""No integer of a program is larger: a whole number beyond came from a float of up to 309 digits."""


def is_short(value: sympy.Expr) -> bool:
    """Whether the number is written as it is: a fraction of small numbers, an integer of an integer type."""
    return bool(value.is_Rational) and abs(value.p) <= _LARGEST_INTEGER and value.q <= 10000


def _is_call(found: str) -> bool:
    head, _, tail = found.partition("(")
    return head.isidentifier() and tail.endswith(")") and tail.count("(") == tail.count(")") - 1


def decimal_text(value: sympy.Rational) -> str:
    """The shortest decimal that reads back as the number in float32, if it is one of those, or in float64."""
    import numpy as np

    if not _SMALLEST <= abs(value) <= _LARGEST:  # a product of constants that no float holds
        return str(sympy.N(value, 17))
    with np.errstate(all="ignore"):
        single = np.float32(float(value))
    if np.isfinite(single) and sympy.Rational(float(single)) == value:
        return str(single).removesuffix(".0")
    return repr(float(value)).removesuffix(".0")


def _apply(term: Apply) -> Text:
    key, args = term.function, term.args
    if key == "list":
        return f"({', '.join(map(text, args))})", ATOM
    form = _form(key)
    if form.startswith(" "):
        level = _LEVELS.get(form, COMPARE)
        return f"{_within(args[0], level + 1)}{form}{_within(args[1], level + 1)}", level
    if form.endswith(" "):
        return f"{form}{_within(args[0], ATOM)}", COMPARE
    if "%s" in form:
        return form % tuple(_within(a, POWER if len(args) > 1 else OR) for a in args), ATOM
    return f"{form}({', '.join(map(text, args))})", ATOM


def _form(key: str) -> str:
    """What the record says, or the key as a name."""
    record = record_of(key)
    return (record and record.text) or key.rstrip("_")


def _choice(term: Choice) -> Text:
    condition = text(term.condition)
    if term.otherwise == Number(sympy.S.Zero):
        if term.then == Number(sympy.S.One):
            return f"[{condition}]", ATOM
        return f"[{condition}] {_within(term.then, OPEN)}", OPEN if isinstance(bare(term.then), Reduction) else MUL
    return f"if({condition}, {text(term.then)}, {text(term.otherwise)})", ATOM


def _reduction(kind: str, letters: tuple[Letter, ...], body: Term) -> Text:
    names = [s.name for s in letters]
    joined = "".join(names) if all(len(n) == 1 for n in names) else "_".join(names)
    found, level = _text(body)
    if level < ADD:
        found = f"[{found}]"
    return f"{kind}_{joined} {found}", OPEN


# --- integers and guards ---------------------------------------------------------------------------------------------


def _is_product(expr: sympy.Expr) -> bool:
    return isinstance(expr, (sympy.Mul, sympy.Pow))


def integer_text(expr: sympy.Expr, data: Mapping[sympy.Symbol, str] | None = None) -> str:
    """An integer expression, without spaces: `2i+1`, `3N`, `floor(i/4)`, `i mod 4`."""
    data = data or {}

    def visit(e: sympy.Expr, inside: bool) -> str:
        if isinstance(e, Datum):
            return data.get(e, e.name)
        if isinstance(e, sympy.Add):
            found = _integer_sum(e, visit)
            return f"({found})" if inside else found
        if isinstance(e, sympy.Mul):
            return _integer_product(e, visit)
        if isinstance(e, sympy.Pow):
            return f"{visit(e.base, True)}^{visit(e.exp, True)}"
        if isinstance(e, (quotient, sympy.floor)):
            a, b = e.args if isinstance(e, quotient) else sympy.fraction(sympy.together(e.args[0]))
            return f"floor({visit(a, True)}/{visit(b, True)})"
        if isinstance(e, (modulo, sympy.Mod)):
            found = f"{visit(e.args[0], True)} mod {visit(e.args[1], True)}"
            return f"({found})" if inside else found
        if isinstance(e, (ScalarFunction, sympy.Function)):
            form = _form(e.key) if isinstance(e, ScalarFunction) else type(e).__name__.lower()
            if form.startswith(" "):
                found = f"{visit(e.args[0], True)}{form}{visit(e.args[1], True)}"
                return f"({found})" if inside else found
            if "%s" in form:
                return form % tuple(visit(a, len(e.args) > 1) for a in e.args)
            return f"{form}({', '.join(visit(a, False) for a in e.args)})"
        return str(e)

    return visit(expr, False)


def _integer_sum(e: sympy.Add, visit: Callable[[sympy.Expr, bool], str]) -> str:
    """Letters first, the number last."""
    parts: list[str] = []
    terms = sorted(e.args, key=lambda t: (t.is_number, bool(t.could_extract_minus_sign()), sympy.default_sort_key(t)))
    for t in terms:
        minus = t.could_extract_minus_sign()
        found = visit(-t if minus else t, True)
        parts.append(("-" if minus else "+" if parts else "") + found)
    return "".join(parts)


def _integer_product(e: sympy.Mul, visit: Callable[[sympy.Expr, bool], str]) -> str:
    number, rest = e.as_coeff_mul()
    factors = sorted(rest, key=lambda f: (isinstance(f, Letter), sympy.default_sort_key(f)))
    found = " ".join(visit(f, True) for f in factors)
    if number == 1:
        return found
    if number == -1:
        return f"-{found}"
    if number.is_Integer:
        return f"{number}{found}" if found[0].isalpha() and not found.startswith("floor") else f"{number} {found}"
    return f"{number.p}{found}/{number.q}" if number.p != 1 else f"{found}/{number.q}"


def guard_text(guard: tuple[GuardCondition, ...], data: Mapping[sympy.Symbol, str] | None = None) -> str:
    """`0 <= i-1 < N and j = k`: pairs of bounds on one expression are written as one."""
    lower: dict[sympy.Expr, str] = {}
    parts: list[str | tuple[sympy.Expr, str]] = []
    for c in guard:
        if c.kind == EQ:
            left, right = _sides(c.expr)
            parts.append(f"{integer_text(left, data)} = {integer_text(right, data)}")
        elif c.kind == GE:
            parts.append((c.expr, ""))
            lower[c.expr] = ""
        else:
            parts.append(f"{integer_text(c.expr, data)} mod {integer_text(sympy.sympify(c.modulus), data)} = 0")
    return " and ".join(_bounds(parts, data)) or "true"


def _bounds(parts: list[str | tuple[sympy.Expr, str]], data: Mapping[sympy.Symbol, str] | None) -> list[str]:
    found: list[str] = []
    used: set[int] = set()
    for k, part in enumerate(parts):
        if k in used:
            continue
        if isinstance(part, str):
            found.append(part)
            continue
        expr = part[0]
        partner = None
        for m in range(k + 1, len(parts)):
            other = parts[m]
            if m not in used and not isinstance(other, str) and not _variables(expr + other[0]) and _variables(expr):
                partner = m
                break
        if partner is None:
            found.append(_inequality(expr, data))
            continue
        used.add(partner)
        second = parts[partner][0]
        assert isinstance(second, sympy.Expr)
        low, high = (expr, second) if _leading_sign(expr) >= 0 else (second, expr)
        bound = integer_text(low + high + 1, data)
        found.append(f"0 <= {integer_text(low, data)} < {bound}")
    return found


def _variables(expr: sympy.Expr) -> set[sympy.Symbol]:
    return {s for s in expr.free_symbols if isinstance(s, (Letter, Datum))}


def _leading_sign(expr: sympy.Expr) -> int:
    terms = [t for t in sympy.Add.make_args(expr) if _variables(t)]
    first = min(terms, key=sympy.default_sort_key, default=expr)
    return -1 if first.could_extract_minus_sign() else 1


def _sides(expr: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """expr = left - right, with a letter on the left and no minus signs where possible."""
    left = [t for t in sympy.Add.make_args(expr) if not t.could_extract_minus_sign()]
    right = [-t for t in sympy.Add.make_args(expr) if t.could_extract_minus_sign()]
    a, b = sympy.Add(*left), sympy.Add(*right)
    return (b, a) if not _variables(a) and _variables(b) else (a, b)


def _inequality(expr: sympy.Expr, data: Mapping[sympy.Symbol, str] | None) -> str:
    """expr >= 0, as `i >= 3`, `i < N`, `i <= j`."""
    left, right = _sides(expr)
    flipped = expr != left - right
    if flipped:  # 0 <= right - left
        bound, shift = right.as_coeff_Add()[0], left.as_coeff_Add()[0]
        if bound != 0 or shift != 0:
            return f"{integer_text(left - shift, data)} < {integer_text(right - shift + 1, data)}"
        return f"{integer_text(left, data)} <= {integer_text(right, data)}"
    return f"{integer_text(left, data)} >= {integer_text(right, data)}"
