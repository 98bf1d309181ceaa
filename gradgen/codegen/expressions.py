"""Typed expressions as C text: one function per kind of expression, dispatched on its class."""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from gradgen.codegen.c_types import C_TYPES, FLOATS
from gradgen.codegen.fragments import Helper, defined, filled, find, helper
from gradgen.codegen.integers import guard_text, index_text, sum_text
from gradgen.codegen.literals import literal
from gradgen.errors import CodegenError
from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.guards import Guard
from gradgen.ir.scalar_table import operator_of, record_of
from gradgen.ir.symbols import Extent
from gradgen.loops.dispatch import by_kind
from gradgen.loops.statements import (
    Apply,
    Expr,
    Holds,
    Index,
    Literal,
    Load,
    PairwiseTotal,
    Present,
    SetFlag,
    Variable,
)
from gradgen.target import NATIVE, Target

# C precedence: higher binds tighter.
TERNARY, OR, AND, EQUALITY, RELATION, SUM, PRODUCT, UNARY, ATOM = 1, 2, 3, 4, 5, 6, 7, 8, 9

WIDE_HELPERS = ("gg_floor_quotient", "gg_floor_modulus")
INDEX_HELPERS = (*WIDE_HELPERS, "gg_least", "gg_greatest", *(f"{name}_wide" for name in WIDE_HELPERS))

_LEVELS = {
    "+": (SUM, SUM, PRODUCT), "-": (SUM, SUM, PRODUCT), "*": (PRODUCT, PRODUCT, UNARY), "/": (PRODUCT, PRODUCT, UNARY),
    "==": (EQUALITY, SUM, SUM), "!=": (EQUALITY, SUM, SUM), "&&": (AND, EQUALITY, EQUALITY), "||": (OR, EQUALITY, EQUALITY),
    "|": (TERNARY, SUM, SUM), "&": (TERNARY, SUM, SUM),
}
"""Of a sign, and what its operands must hold together by: on the right more, as parentheses there are an order."""

Text = tuple[str, int]


class ExpressionPrinter:
    """Prints expressions and collects the helpers they need, in order of first use."""

    def __init__(self, target: Target = NATIVE, size: bool = False) -> None:
        self.target = target
        self.plain = size or (target.scalar and bool(target.hardware))  # one form of a function does for all
        self.libm = target.mathematics == "libm"
        self.counter = "int64_t" if target.index_bits == 64 else "ptrdiff_t"  # the type of counters and dimensions
        self.wide: set[str] = set()  # of locals that may stand in an index: those of 64 bits where counters are narrower
        self.helpers: dict[str, Helper] = {}  # the functions that are called
        self.calls: dict[tuple[str, str], Helper] = {}  # functions called out of line
        self.out_of_line: frozenset[tuple[str, str]] = frozenset()
        self.vector = False  # inside a vector loop, where everything is inlined
        # the loops around, by their counters, 1 the outermost.  In an index the outer ones stand first: where an inner one
        # stands before them, GCC 12 with AVX counts addresses in vector loops wrongly, at -O1 to -O3 (clang, and GCC without
        # -fopenmp-simd, do not)
        self.loops: dict[str, int] = {}
        self.known: dict[tuple[str, str], str] = {}  # (function, argument) whose value a variable of the C holds

    def text(self, expr: Expr) -> str:
        """The expression, without outer parentheses."""
        return self.visit(expr)[0]

    def at_least(self, expr: Expr, level: int) -> str:
        text, own = self.visit(expr)
        return text if own >= level else f"({text})"

    def note_helpers(self, text: str) -> str:
        """Remembers the integer helpers that a printed index mentions."""
        if "gg_" in text:
            for name in INDEX_HELPERS:
                if name not in self.helpers and f"{name}(" in text:
                    self.helpers[name] = filled(name, counter=self.counter)
        return text

    def index(self, expr: object) -> str:
        e = sympy.sympify(expr)
        found = [s for s in e.free_symbols if s.name in self.wide] if self.wide else []
        e = casts(e, found, self.counter) if found else e
        if self.loops and e.is_Add:
            return self.note_helpers(sum_text(e, self.depth))
        return self.note_helpers(index_text(e))

    def depth(self, term: sympy.Basic) -> int:
        """Of the innermost loop that changes it; 0 for what none does."""
        return max((self.loops.get(s.name, 0) for s in term.free_symbols), default=0)

    def guard(self, guard: Guard) -> str:
        """A conjunction; positions read from data are tested as they are, before anything is made narrower."""
        text = guard_text(guard)
        if self.wide and any(s.name in self.wide for c in guard for s in c.expr.free_symbols):
            for name in WIDE_HELPERS:
                text = text.replace(f"{name}(", f"{name}_wide(")
        return self.note_helpers(text)

    def size_of(self, count: Extent, dtype: DType) -> str:
        """The bytes of so many elements."""
        text = self.index(count)
        if text.isdigit():
            return f"sizeof({dtype.ctype})" if text == "1" else f"{text} * sizeof({dtype.ctype})"
        return f"(size_t){text if text.isidentifier() else f'({text})'} * sizeof({dtype.ctype})"

    @by_kind
    def visit(self, expr: Expr) -> Text:
        raise CodegenError(f"no C form for {type(expr).__name__}")

    @visit.register
    def _literal(self, expr: Literal) -> Text:
        text = literal(expr.value, expr.dtype)
        return text, UNARY if text.startswith(("-", "(")) else ATOM

    @visit.register
    def _index(self, expr: Index) -> Text:
        whole = expr.expr if expr.expr.is_Symbol or self.counter == "int64_t" else as_int64(expr.expr)
        text = self.index(whole)
        if expr.expr.is_Integer:
            return text, ATOM if text.isdigit() else UNARY
        return text, ATOM if expr.expr.is_Symbol else SUM

    @visit.register
    def _variable(self, expr: Variable) -> Text:
        return expr.name, ATOM

    @visit.register
    def _load(self, expr: Load) -> Text:
        element = f"{expr.buffer.name}[{self.index(expr.index)}]"
        place = expr.buffer.place
        missing = place.default if place is not None and place.optional and expr.buffer.given else None
        if not expr.guard and missing is None:
            return element, ATOM
        if missing is not None:
            element = f"{expr.buffer.name} != NULL ? {element} : {literal_of(missing, expr.dtype)}"
            if not expr.guard:
                return element, TERNARY
            element = f"({element})"
        condition = self.guard(expr.guard)
        return f"({condition}) ? {element} : {literal(expr.fill, expr.dtype)}", TERNARY

    @visit.register
    def _holds(self, expr: Holds) -> Text:
        return self.guard(expr.guard), AND if len(expr.guard) > 1 else EQUALITY

    @visit.register
    def _pairwise_total(self, expr: PairwiseTotal) -> Text:
        return f"{self.pairwise(expr.dtype, '_total')}(&{expr.accumulator.name})", ATOM

    def pairwise(self, dtype: DType, what: str = "") -> str:
        """The type of a pairwise accumulator, or of one that a small machine has, or one of its functions."""
        name = f"gg_{'cascade' if self.target.scalar else 'pairwise'}_{dtype.suffix}{what}"
        self.helper(name)
        return name

    @visit.register
    def _present(self, expr: Present) -> Text:
        name = "saved" if expr.buffer.space == "saved" else expr.buffer.name
        return f"{name} != NULL", EQUALITY

    @visit.register
    def _set_flag(self, expr: SetFlag) -> Text:
        return "(flags & GRADGEN_SET_GRAD) != 0u", EQUALITY

    @visit.register
    def _apply(self, expr: Apply) -> Text:
        op, args = expr.op, expr.args
        if op == "cast":
            return self.cast(args[0], expr.dtype)
        if op == "select":
            return (f"{self.at_least(args[0], OR)} ? {self.at_least(args[1], OR)} : {self.at_least(args[2], TERNARY)}",
                    TERNARY)
        sign = operator_of(op)
        if sign and (expr.dtype is bool_ or expr.dtype.is_floating_point):
            level, left, right = _LEVELS.get(sign, (RELATION, SUM, SUM))
            return f"{self.at_least(args[0], left)} {sign} {self.at_least(args[1], right)}", level
        if op == "not_":
            return f"!{self.at_least(args[0], ATOM)}", UNARY
        if op == "neg" and expr.dtype.is_floating_point:
            return f"-{self.at_least(args[0], ATOM)}", UNARY
        return self.call(op, expr)

    def cast(self, arg: Expr, dtype: DType) -> Text:
        if dtype is bool_:
            return f"{self.at_least(arg, SUM)} != {literal_of(0, arg.dtype)}", EQUALITY
        if arg.dtype.is_floating_point and not dtype.is_floating_point:
            name = f"gg_to_{dtype.suffix}_{arg.dtype.suffix}"
            self.helper(name)
            return f"{name}({self.text(arg)})", ATOM
        return f"({dtype.ctype}){self.at_least(arg, UNARY)}", UNARY

    def call(self, op: str, expr: Apply) -> Text:
        suffix = expr.args[0].dtype.suffix if expr.dtype is bool_ else expr.dtype.suffix
        if op == "by_halves":
            name, first = f"gg_sum_of_{len(expr.args)}_{suffix}", expr.args[0]
            assert isinstance(first, Load)
            self.helper(name)
            return f"{name}({first.buffer.name})", ATOM
        args = ", ".join(self.text(a) for a in expr.args)
        if (op, args) in self.known:
            return self.known[op, args], ATOM
        record = record_of(op)
        library = op if record and record.libm and self.libm and not self.vector else ""
        if suffix in FLOATS and record and (record.instruction or library):
            return f"{record.instruction or library}{C_TYPES[suffix]['f']}({args})", ATOM
        name = f"gg_{op}_{suffix}"
        if not self.vector and not self.plain and defined(f"gg_{op}_scalar_{suffix}"):
            name = f"gg_{op}_scalar_{suffix}"
        found = find(name)
        if found is None:
            raise CodegenError(f"no C computes {op!r} for {expr.dtype.name}",
                               hint=f"add templates/kernels/math/{op}.h, as docs/adding-an-operation.md says")
        if (op, suffix) in self.out_of_line and not self.vector and found[0].file.startswith("math/"):
            return f"{self.called(op, suffix, name, expr)}({args})", ATOM
        self.helper(name)
        return f"{name}({args})", ATOM

    def called(self, op: str, suffix: str, inlined: str, expr: Apply) -> str:
        """A function of its own around an inline one: many calls in straight-line code share one copy."""
        name = f"{inlined}_call"
        if (op, suffix) not in self.calls:
            result = "int" if expr.dtype is bool_ else expr.dtype.ctype
            letters = [chr(ord("a") + k) for k in range(len(expr.args))]
            parameters = ", ".join(f"{a.dtype.ctype} {x}" for a, x in zip(expr.args, letters, strict=True))
            text = f"GG_NOINLINE {result} {name}({parameters})\n{{\n    return {inlined}({', '.join(letters)});\n}}"
            self.calls[op, suffix] = Helper(text, (name,), ("GG_NOINLINE", inlined))
        return name

    def sincos(self, argument: Variable) -> list[str]:
        """C that computes sine and cosine of a variable together; until `forget`, both are known by its name."""
        suffix, name = argument.dtype.suffix, argument.name
        called = inlined = f"gg_sincos_scalar_{suffix}"
        ctype = argument.dtype.ctype
        if ("sin", suffix) in self.out_of_line:
            called = f"{inlined}_call"
            text = f"GG_NOINLINE void {called}({ctype} a, {ctype} *b, {ctype} *c)\n{{\n    {inlined}(a, b, c);\n}}"
            self.calls["sincos", suffix] = Helper(text, (called,), ("GG_NOINLINE", inlined))
        else:
            self.helper(inlined)
        sine, cosine = f"gg_sin_{name}", f"gg_cos_{name}"
        self.known["sin", name], self.known["cos", name] = sine, cosine
        return [f"{ctype} {sine}, {cosine};", f"{called}({name}, &{sine}, &{cosine});"]

    def forget(self, argument: Variable) -> None:
        """The variables of `sincos` go out of scope."""
        del self.known["sin", argument.name], self.known["cos", argument.name]

    def helper(self, name: str) -> None:
        self.helpers.setdefault(name, helper(name))


def casts(expr: sympy.Expr, symbols: Iterable[sympy.Symbol], ctype: str) -> sympy.Expr:
    """The expression with variables that are converted where they stand."""
    return expr.xreplace({
        s: sympy.Symbol(f"({ctype}){s.name}", integer=True, nonnegative=s.is_nonnegative) for s in symbols
    })


def as_int64(expr: sympy.Expr) -> sympy.Expr:
    """A value of int64 that is a polynomial of counters and dimensions, in arithmetic of 64 bits."""
    return casts(expr, expr.free_symbols, "int64_t") if expr.is_polynomial() else expr


def fits_counter(expr: sympy.Expr) -> bool:
    """No part of it exceeds what it is made of: sums, differences, Min and Max of counters and dimensions."""
    if expr.is_Symbol:
        return True
    if expr.is_Mul:
        return len(expr.args) == 2 and expr.args[0] == -1 and expr.args[1].is_Symbol
    whole = isinstance(expr, (sympy.Min, sympy.Max)) or (expr.is_Add and len(expr.args) == 2)
    return whole and all(a.is_Integer or fits_counter(a) for a in expr.args)


def literal_of(number: int, dtype: DType) -> str:
    from sympy import Integer

    return literal(Integer(number), dtype)
