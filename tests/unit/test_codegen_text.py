"""Literals, integer expressions and operators as C text: exact, typed, with no parenthesis too few."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest
import sympy

from gradgen.codegen.expressions import ExpressionPrinter
from gradgen.codegen.extents import to_c, to_saturating_c
from gradgen.codegen.integers import guard_text, index_text
from gradgen.codegen.literals import literal
from gradgen.codegen.printer import StatementPrinter
from gradgen.ir import dtypes
from gradgen.ir.guards import GE, MOD, Condition
from gradgen.ir.symbols import dim
from gradgen.loops.statements import Apply, Assign, CVar, Declare, Layout, Let, Literal, Loop, Statement, Variable
from gradgen.schedule.scalars import recipe

F32, F64, I32, I64 = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64
RNG = np.random.default_rng(1)
II, JJ = CVar("i", integer=True, nonnegative=True), CVar("j", integer=True, nonnegative=True)
N = dim("N")


def _bits(text: str, kind: str) -> bytes:
    return struct.pack(f"<{kind}", float(text.rstrip("f")))


def test_float_literals_round_trip_to_the_bit() -> None:
    for bits in RNG.integers(0, 2**31, size=300, dtype=np.uint32):
        x = bits.view(np.float32)
        if np.isfinite(x):
            exact = sympy.Rational(*float(x).as_integer_ratio())
            assert np.float32(literal(exact, F32).rstrip("f")) == x
            assert float(literal(exact, F64)) == float(x)


def test_irrational_numbers_are_rounded_once() -> None:
    assert literal(sympy.sqrt(2) / 2, F64) == repr(float(np.sqrt(0.5)))
    assert literal(sympy.log(2), F32) == "0.6931472f"
    assert literal(sympy.Rational(1, 3), F64) == "0.3333333333333333"
    # Halfway between two float32 but for the 60th digit: rounding by way of float64 would go wrong.
    close = sympy.Rational(2**24 + 1, 2**24) + sympy.Rational(1, 10**30)
    assert np.float32(literal(close, F32).rstrip("f")) == np.float32(1 + 2**-23)


@pytest.mark.parametrize("value, dtype, text", [
    (sympy.oo, F32, "INFINITY"), (-sympy.oo, F64, "-(double)INFINITY"), (sympy.nan, F32, "NAN"),
    (sympy.Integer(2), F32, "2.0f"), (sympy.Integer(0), F64, "0.0"), (sympy.Integer(7), I32, "7"),
    (sympy.Integer(-(2**31)), I32, "(-2147483647 - 1)"), (sympy.Integer(2**40), I64, "INT64_C(1099511627776)"),
    (sympy.Integer(-(2**63)), I64, "(-INT64_C(9223372036854775807) - 1)"), (sympy.Rational(1, 10**10), F32, "1.0e-10f"),
])
def test_special_literals(value: sympy.Basic, dtype: dtypes.DType, text: str) -> None:
    assert literal(value, dtype) == text


@pytest.mark.parametrize("expr, text", [
    (II * 4 + JJ, "i * 4 + j"), (N - 1 - II, "N - i - 1"), (sympy.floor(II / 4), "i / 4"), (sympy.Mod(II, 4), "i % 4"),
    (sympy.floor((II - 3) / 4), "gg_floor_quotient(i - 3, 4)"), ((N + 1) * II, "(N + 1) * i"),
    (sympy.Min(N, II + 512), "gg_least(N, i + 512)"), (-II, "-i"),
])
def test_index_text(expr: sympy.Expr, text: str) -> None:
    assert index_text(expr) == text


def test_guards_are_comparisons_without_negations() -> None:
    assert guard_text((Condition(GE, II - 1), Condition(GE, N - II))) == "i >= 1 && N >= i"
    assert guard_text((Condition(MOD, II - 1, 2),)) == "gg_floor_modulus(i - 1, 2) == 0"


def test_the_right_operand_keeps_its_parentheses() -> None:
    a, b, c = (Variable(F32, name) for name in "abc")
    inner = Apply(F32, "sub", (b, c))
    printer = ExpressionPrinter()
    assert printer.text(Apply(F32, "sub", (a, inner))) == "a - (b - c)"
    assert printer.text(Apply(F32, "div", (a, Apply(F32, "mul", (b, c))))) == "a / (b * c)"
    assert printer.text(Apply(F32, "neg", (Apply(F32, "neg", (a,)),))) == "-(-a)"
    assert printer.text(Apply(F32, "sub", (a, Literal(F32, sympy.Integer(-1))))) == "a - -1.0f"


def test_integer_arithmetic_goes_through_functions_that_wrap() -> None:
    a, b = Variable(I64, "a"), Variable(I64, "b")
    printer = ExpressionPrinter()
    assert printer.text(Apply(I64, "add", (a, b))) == "gg_add_i64(a, b)"
    assert "gg_add_i64" in printer.helpers


def _lines(*statements: Statement) -> list[str]:
    printer = StatementPrinter("run", Layout())
    printer.sequence(statements)
    return [line.strip() for line in printer.out]


def _of(op: str, x: Variable) -> Apply:
    return Apply(x.dtype, op, (x,))


X, Y, Z = (Variable(F64, name) for name in ("t1", "t2", "t3"))
ONE = Literal(F64, sympy.S.One)


def test_sine_and_cosine_of_one_variable_are_computed_together() -> None:
    product = Apply(F64, "mul", (_of("cos", X), ONE))
    assert _lines(Let(X, ONE), Let(Y, _of("sin", X)), Let(Z, product)) == [
        "const double t1 = 1.0;", "double gg_sin_t1, gg_cos_t1;", "gg_sincos_scalar_f64(t1, &gg_sin_t1, &gg_cos_t1);",
        "const double t2 = gg_sin_t1;", "const double t3 = gg_cos_t1 * 1.0;",
    ]
    assert _lines(Let(X, ONE), Let(Y, _of("sin", X)))[1:] == ["const double t2 = gg_sin_scalar_f64(t1);"]


def test_a_variable_that_changes_keeps_its_two_calls() -> None:
    lines = _lines(Declare(X, ONE), Let(Y, _of("sin", X)), Assign(X, Y), Let(Z, _of("cos", X)))
    assert lines[1:] == ["const double t2 = gg_sin_scalar_f64(t1);", "t1 = t2;", "const double t3 = gg_cos_scalar_f64(t1);"]


def test_vector_loops_call_the_branch_free_forms() -> None:
    i = Variable(I64, "i")
    body = (Let(Y, _of("sin", X)), Let(Z, _of("cos", X)))
    lines = _lines(Let(X, ONE), Loop(i, sympy.S.Zero, sympy.Integer(9), body, simd=True), Let(Y, _of("exp", X)))
    assert lines[3:5] == ["const double t2 = gg_sin_f64(t1);", "const double t3 = gg_cos_f64(t1);"]
    assert lines[-1] == "const double t2 = gg_exp_scalar_f64(t1);"


def test_recipes_are_typed_and_shared() -> None:
    from gradgen.ir.symbols import placeholder

    a, b = placeholder(0), placeholder(1)
    made = recipe(a**3 + b / 2, ((a, F32), (b, I64)), F32)
    assert [s.op for s in made.steps].count("mul") == 3  # a*a, a*a*a and b*0.5: never pow, never a division
    assert all(s.dtype is F32 for s in made.steps if s.op in ("mul", "add"))
    assert recipe(a**3 + b / 2, ((a, F32), (b, I64)), F32) is made


def test_the_largest_of_many_sizes_is_as_long_as_they_are() -> None:
    """Nested macros write their arguments twice: eleven maxima of scratch sizes took gcc minutes."""
    sizes = [sympy.Max(dim(f"d{k}"), 8) * (k + 3) + sympy.Min(dim(f"d{k}"), 100) for k in range(32)]
    text = to_saturating_c(sympy.Max(*sizes), "m")
    assert "GRADGEN_" not in text and len(text) < 32 * 80
    depth = deepest = 0
    for piece in re.findall(r"GRADGEN_MAX\(|\(|\)", to_c(sympy.Max(*(dim(f"d{k}") for k in range(32))))):
        depth += 1 if piece != ")" else -1
        deepest = max(deepest, depth)
    assert deepest <= 6  # by halves
