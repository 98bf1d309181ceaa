"""Extents as text: C, C that saturates instead of overflowing, and Python.

An extent is an int or an integer-valued SymPy expression over `Dim`s: sums, products, powers, exact quotients, floor,
ceiling, Min, Max and Mod.  Terms come out in SymPy's own sorted order, so the text does not depend on hash seeds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import CodeType

import sympy

from gradgen.errors import CodegenError
from gradgen.ir.symbols import Dim, Extent

Shape = tuple[Extent, ...]


def elements(shape: Shape) -> Extent:
    """The number of elements of a tensor of `shape`."""
    product: Extent = 1
    for extent in shape:
        product = product * extent
    return product


def dims_of(extents: Iterable[Extent]) -> frozenset[str]:
    """The names of the dimensions that occur."""
    return frozenset(str(s) for e in extents if not isinstance(e, int) for s in e.free_symbols)


def constant(extent: Extent) -> int | None:
    """The value of an extent without dimensions, else None."""
    if isinstance(extent, int):
        return extent
    return int(extent) if extent.is_Integer else None


def shape_text(shape: Shape) -> str:
    """`[N, 5]`, for people."""
    return "[" + ", ".join(to_python(e) for e in shape) + "]"


def to_c(extent: Extent, names: Mapping[str, str] | None = None) -> str:
    """C text over int64_t; `names` gives other text for dimensions (default: their own names)."""
    return _strip(_C(names).print(extent)) if names else _plain_c(extent)


@lru_cache(maxsize=4096)
def _plain_c(extent: Extent) -> str:
    """Header, source, manifest and package say the same sizes."""
    return _strip(_C({}).print(extent))


def as_size(text: str) -> str:
    """C text of a size as size_t: a number is one as it stands."""
    return text if text.isdigit() else f"(size_t)({text})"


@lru_cache(maxsize=4096)
def to_saturating_c(extent: Extent, prefix: str) -> str:
    """C text that calls `<prefix>_add`, `_mul`, `_div`, `_max` and `_min`, which stay at INT64_MAX once they reach it."""
    return _strip(_Saturating(prefix).print(extent))


_SATURATING = {
    "mul": (
        "/* a * b of sizes; INT64_MAX where that would overflow, or -INT64_MAX. */",
        "    const int64_t most = b == 0 ? INT64_MAX : INT64_MAX / (b < 0 ? -b : b);",
        "    return a <= most && a >= -most ? a * b : (a < 0) == (b < 0) ? INT64_MAX : -INT64_MAX;",
    ),
    "add": (
        "/* a + b of sizes; INT64_MAX where that would overflow, or where a or b did. */",
        "    if (a == INT64_MAX || b == INT64_MAX || (b > 0 && a > INT64_MAX - b)) {",
        "        return INT64_MAX;",
        "    }",
        "    return b < 0 && a < -INT64_MAX - b ? -INT64_MAX : a + b;",
    ),
    "div": (
        "/* a / b of sizes, rounded down; INT64_MAX where a overflowed. */",
        "    return a == INT64_MAX || b <= 0 ? INT64_MAX : a / b - (a % b < 0);",
    ),
    "max": ("/* The larger size. */", "    return a > b ? a : b;"),
    "min": ("/* The smaller size. */", "    return a < b ? a : b;"),
}


def saturating_helpers(text: str, prefix: str) -> list[str]:
    """The C functions that texts of `to_saturating_c` call."""
    found = []
    for name, (comment, *lines) in _SATURATING.items():
        if f"{prefix}_{name}(" in text:
            head = f"static int64_t {prefix}_{name}(int64_t a, int64_t b)"
            found.append("\n".join([comment, head, "{", *lines, "}"]))
    return found


@lru_cache(maxsize=4096)
def to_python(extent: Extent) -> str:
    """Python text with exact integer arithmetic."""
    return _strip(_Python({}).print(extent))


def evaluate(extent: Extent, values: Mapping[str, int]) -> int:
    """The value of an extent for given dimensions."""
    if isinstance(extent, int):
        return extent
    return int(eval(_code(extent), {"__builtins__": {}, "max": max, "min": min}, dict(values)))


@lru_cache(maxsize=4096)
def _code(extent: sympy.Expr) -> CodeType:
    """Extents are asked for at many dimensions: the self-test's, the planner's."""
    return compile(to_python(extent), "<extent>", "eval")


@lru_cache(maxsize=4096)
def _quotient(e: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr, bool]:
    """Numerator and denominator, and whether the numerator is certainly 0 or more."""
    numerator, denominator = sympy.fraction(sympy.together(e))
    return numerator, denominator, bool(numerator.is_nonnegative)


class _C:
    """One method per kind of expression; compound results come in parentheses."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def print(self, extent: Extent) -> str:
        if isinstance(extent, int):
            return self.integer(extent)
        if extent.is_Integer:
            return self.integer(int(extent))
        if isinstance(extent, Dim):
            return self.names.get(extent.name, extent.name)
        if extent.is_Add:
            return self.sum(list(extent.as_ordered_terms()))
        if extent.is_Mul or extent.is_Pow:
            return self.product(extent)
        printers: dict[type, Callable[[sympy.Expr], str]] = {
            sympy.floor: self.floor,
            sympy.ceiling: self.ceiling,
            sympy.Max: lambda e: self.extremum(">", e),
            sympy.Min: lambda e: self.extremum("<", e),
            sympy.Mod: lambda e: f"({self.print(e.args[0])} % {self.print(e.args[1])})",
        }
        for kind, printer in printers.items():
            if isinstance(extent, kind):
                return printer(extent)
        raise CodegenError(
            f"an extent cannot be written as C: {extent}",
            hint="extents may use + - * // % min and max of named dimensions and integers",
        )

    def integer(self, value: int) -> str:
        if not -(2**63) < value < 2**63:
            raise CodegenError(f"an extent does not fit 64 bits: {value}")
        return str(value) if abs(value) < 2**31 else f"INT64_C({value})"

    def sum(self, terms: list[sympy.Expr]) -> str:
        text = self.term(terms[0])
        for term in terms[1:]:
            negative = term.could_extract_minus_sign()
            text += f" - {self.term(-term)}" if negative else f" + {self.term(term)}"
        return f"({text})"

    def term(self, term: sympy.Expr) -> str:
        """A summand: products bind tighter than sums."""
        return _strip(self.print(term)) if term.is_Mul or term.is_Pow else self.print(term)

    def product(self, extent: sympy.Expr) -> str:
        numerator, denominator = sympy.fraction(extent)
        if denominator != 1:
            return self.quotient(numerator, denominator)
        factors = []
        for factor in extent.as_ordered_factors():
            base, exponent = factor.as_base_exp()
            if not (exponent.is_Integer and exponent > 0):
                raise CodegenError(f"an extent cannot be written as C: {extent}")
            factors += [self.print(base)] * int(exponent)
        return self.multiply(factors)

    def multiply(self, factors: list[str]) -> str:
        return f"({' * '.join(factors)})" if len(factors) > 1 else factors[0]

    def quotient(self, numerator: sympy.Expr, denominator: sympy.Expr) -> str:
        return f"({self.print(numerator)} / {self.print(denominator)})"

    def floor(self, extent: sympy.Expr) -> str:
        numerator, denominator, not_negative = _quotient(extent.args[0])
        if not_negative:
            return self.quotient(numerator, denominator)
        n, d = self.print(numerator), self.print(denominator)  # C truncates towards 0
        return f"({n} >= 0 ? {n} / {d} : -(({d} - 1 - {n}) / {d}))"

    def ceiling(self, extent: sympy.Expr) -> str:
        numerator, denominator, _ = _quotient(extent.args[0])
        return self.floor(sympy.floor((numerator + denominator - 1) / denominator, evaluate=False))

    def extremum(self, sign: str, extent: sympy.Expr) -> str:
        arguments = sorted((_strip(self.print(a)) for a in extent.args), key=lambda t: (len(t), t))
        while len(arguments) > 1:  # by halves: a macro writes its arguments twice
            pairs = zip(arguments[::2], arguments[1::2])
            rest = arguments[-1:] if len(arguments) % 2 else []
            arguments = [self.either("MAX" if sign == ">" else "MIN", a, b) for a, b in pairs] + rest
        return arguments[0]

    def either(self, name: str, a: str, b: str) -> str:
        return f"GRADGEN_{name}({a}, {b})"  # of gradgen_abi.h


class _Saturating(_C):
    """Overflow becomes INT64_MAX and stays there."""

    def __init__(self, prefix: str) -> None:
        super().__init__({})
        self.prefix = prefix

    def integer(self, value: int) -> str:
        return super().integer(value) if value < 2**63 - 1 else "INT64_MAX"

    def sum(self, terms: list[sympy.Expr]) -> str:
        below = [-t for t in terms if t.could_extract_minus_sign()]
        above = [t for t in terms if not t.could_extract_minus_sign()]
        text = self.total(above) if above else "0"
        if not below:
            return text
        taken = _strip(self.total(below))
        return f"{self.prefix}_add({_strip(text)}, -{taken if _is_atom(taken) else f'({taken})'})"

    def total(self, terms: list[sympy.Expr]) -> str:
        text = self.print(terms[0])
        for term in terms[1:]:
            text = f"{self.prefix}_add({_strip(text)}, {_strip(self.print(term))})"
        return text

    def multiply(self, factors: list[str]) -> str:
        text = factors[0]
        for factor in factors[1:]:
            text = f"{self.prefix}_mul({_strip(text)}, {_strip(factor)})"
        return text

    def either(self, name: str, a: str, b: str) -> str:
        return f"{self.prefix}_{name.lower()}({a}, {b})"

    def quotient(self, numerator: sympy.Expr, denominator: sympy.Expr) -> str:
        return f"{self.prefix}_div({_strip(self.print(numerator))}, {_strip(self.print(denominator))})"

    def floor(self, extent: sympy.Expr) -> str:
        return self.quotient(*_quotient(extent.args[0])[:2])


def _is_atom(text: str) -> bool:
    return text.replace("_", "").isalnum() or (text.endswith(")") and text.startswith(("GRADGEN_", "INT64_C(")))


class _Python(_C):
    def integer(self, value: int) -> str:
        return str(value)

    def quotient(self, numerator: sympy.Expr, denominator: sympy.Expr) -> str:
        return f"({self.print(numerator)} // {self.print(denominator)})"

    def floor(self, extent: sympy.Expr) -> str:
        return self.quotient(*_quotient(extent.args[0])[:2])

    def extremum(self, sign: str, extent: sympy.Expr) -> str:
        arguments = sorted((_strip(self.print(a)) for a in extent.args), key=lambda t: (len(t), t))
        return f"{'max' if sign == '>' else 'min'}({', '.join(arguments)})"


def _strip(text: str) -> str:
    """Without the outermost parentheses, if one pair encloses everything."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1]


def is_monotone(extent: Extent) -> bool:
    """True where growing a dimension cannot make the extent smaller, as far as its form shows."""
    if isinstance(extent, int):
        return True
    if extent.is_Symbol or extent.is_Rational:
        return True
    if isinstance(extent, (sympy.floor, sympy.ceiling, sympy.Min, sympy.Max)):
        return all(is_monotone(a) for a in extent.args)
    terms = sympy.Add.make_args(sympy.expand(extent))
    return all(t.is_Number or (not t.could_extract_minus_sign() and all(map(_grows, sympy.Mul.make_args(t)))) for t in terms)


def _grows(factor: sympy.Expr) -> bool:
    """A factor that is 0 or more and does not fall when a dimension grows."""
    base, exponent = factor.as_base_exp()
    if factor.is_Number:
        return bool(factor >= 0)
    return bool(exponent.is_Integer and exponent > 0 and base.is_nonnegative and not base.is_Add and is_monotone(base))


def comfortable_limit(extents: Iterable[Extent], limit: int = 2**31 - 1) -> int:
    """The largest power of two L such that no extent exceeds `limit` while no dimension exceeds L; 0 if unknown."""
    extents = list(dict.fromkeys(e for e in extents if not isinstance(e, int)))
    if not extents or not all(is_monotone(e) for e in extents):
        return 0
    names = dims_of(extents)
    too_large = bisect_left(range(1, 31), True, key=lambda power: any(
        evaluate(e, dict.fromkeys(names, 2**power)) > limit for e in extents))
    return 2**too_large if too_large else 0
