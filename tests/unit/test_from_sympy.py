"""Ordinary SymPy in: against SymPy's own numbers, its own Jacobians, and its mechanics."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import sympy as sp
from sympy.codegen.cfunctions import expm1, hypot, log1p
from sympy.matrices.expressions.dotproduct import DotProduct
from sympy.physics.mechanics import dynamicsymbols
from sympy.physics.mechanics.models import n_link_pendulum_on_cart

from gradgen.autodiff import differentiate
from gradgen.errors import GradgenError, InvalidNameError, ShapeError, TraceError, UnsupportedOperationError
from gradgen.importers.from_sympy import from_sympy
from gradgen.ir import dtypes
from gradgen.record.traced import TracedFunction
from gradgen.reference.interpreter import evaluate, run

x, y, z = sp.symbols("x y z")
i, j, k = sp.symbols("i j k", integer=True)
n, m = sp.symbols("n m", integer=True)
AT = {x: 0.7, y: -1.3, z: 2.1}


def value(program: TracedFunction, *arguments: Any) -> np.ndarray:
    return run(program.graph, *arguments)[0]


def agree(expr: Any, rtol: float = 1e-14) -> TracedFunction:
    """The program's number is SymPy's own, evaluated with 30 digits."""
    program = from_sympy(expr, [x, y, z])
    exact = float(sp.N(expr.subs({s: sp.Float(v, 40) for s, v in AT.items()}), 30))
    assert float(value(program, *AT.values())) == pytest.approx(exact, rel=rtol, abs=1e-16)
    return program


@pytest.mark.parametrize(
    "expr",
    [
        x * y / z - 3 * y + sp.Rational(1, 3), x**2 + y**-3, sp.sqrt(z) + z**sp.Rational(-1, 2), z**sp.Rational(2, 3),
        z**x, sp.exp(-x * x), 2**x, sp.log(z), sp.sin(x) * sp.cos(y) - sp.tan(z), sp.asin(x) + sp.acos(x) + sp.atan(y),
        sp.sinh(x) + sp.cosh(y) + sp.tanh(z), sp.asinh(y) + sp.acosh(z) + sp.atanh(x), sp.atan2(x, y), sp.Abs(y),
        sp.sign(y) * z, sp.floor(z) + sp.ceiling(z), sp.Max(x, y, z) - sp.Min(x, y, z), sp.erf(x) + sp.erfc(z),
        sp.loggamma(z), sp.digamma(z), sp.Heaviside(x) - sp.Heaviside(y), sp.Heaviside(x - x + 0 * y), sp.Mod(z, x),
        sp.cot(x) + sp.sec(y) + sp.csc(z), sp.sinc(x),
        sp.sech(x) + sp.csch(y) + sp.coth(z), sp.acot(x) - sp.acot(y) * sp.acot(z),
        sp.asec(z) + sp.acsc(z), sp.asech(x) + sp.acsch(y) + sp.acoth(z), sp.frac(y) + sp.frac(z), sp.gamma(z) * sp.gamma(y),
        sp.factorial(z), sp.beta(x, z), sp.binomial(z, x), sp.harmonic(z), sp.erfinv(x), sp.erf2(x, y), sp.polygamma(1, z),
        sp.polygamma(2, z), sp.besseli(0, y), sp.besseli(1, y), sp.besseli(0, x).diff(x), sp.gamma(z).diff(z),
        sp.log(z, 2), log1p(x) + expm1(y) + hypot(x, z), sp.pi * x + sp.E, sp.Float("0.1") * x,
        sp.Piecewise((x, x > y), (y, True)), sp.Piecewise((x, y > 0), (z, y < -1), (0, True)),
        sp.Piecewise((1, sp.And(x > 0, y > 0)), (2, sp.Or(x < 0, sp.Not(z > 0))), (3, True)),
        sp.ITE(x > y, x > 0, y > 0),
        sp.sqrt(2) * x + sp.sqrt(sp.pi), -(x + y) * (x - y), sum((x + q) ** 2 for q in range(20)),
        sp.Mul(*[x + q * y for q in range(1, 20)]), (x + y + z) ** 17,
    ],
    ids=str,
)
def test_functions_and_arithmetic(expr: sp.Expr) -> None:
    if isinstance(expr, sp.logic.boolalg.Boolean):
        assert float(value(from_sympy(expr, [x, y, z]), *AT.values())) == float(bool(expr.subs(AT)))
        return
    agree(sp.sympify(expr), 1e-13)


def test_heaviside_at_zero_is_sympys() -> None:
    assert value(from_sympy(sp.Heaviside(x), [x]), 0.0) == 0.5
    assert value(from_sympy(sp.Heaviside(x, 1), [x]), 0.0) == 1.0


def test_derivatives_of_steps_and_of_symbols_that_might_be_complex() -> None:
    steps = sp.sign(x).diff(x) + sp.Heaviside(y).diff(y) + sp.sign(sp.Symbol("x", real=True)).diff()
    program = from_sympy(sp.sympify(steps).subs(sp.Symbol("x", real=True), x) + z, [x, y, z])
    assert value(program, 0.0, 0.0, 2.0) == 2.0
    assert value(from_sympy(sp.Abs(y).diff(y) * z, [y, z]), -1.3, 2.0) == -2.0
    assert value(from_sympy(sp.UnevaluatedExpr(x + y) * 2, [x, y]), 1.0, 2.0) == 6.0


def test_piecewise_without_a_case_is_nan() -> None:
    assert np.isnan(value(from_sympy(sp.Piecewise((x, x > 0)), [x]), -1.0))


def test_constants_are_rounded_once() -> None:
    assert value(from_sympy(sp.Rational(1, 3), [x], requires_grad=False), 0.0) == 1 / 3
    assert value(from_sympy(sp.sqrt(2) * sp.pi, [x], requires_grad=False), 0.0) == float(sp.N(sp.sqrt(2) * sp.pi, 40))


def test_matrices_lists_and_arrays() -> None:
    matrix = sp.Matrix([[x, y], [x * y, 0], [1, x + y]])
    program = from_sympy({"M": matrix, "v": [x, y**2], "a": sp.Array([[[x], [y]]])}, {"p": sp.Matrix([[x], [y]])})
    shapes = [node.shape for node in program.graph.outputs]
    assert shapes == [(3, 2), (2,), (1, 2, 1)] and program.graph.inputs[0].shape == (2, 1)
    found = run(program.graph, np.array([[2.0], [3.0]]))
    np.testing.assert_array_equal(found[0], [[2, 3], [6, 0], [1, 5]])
    np.testing.assert_array_equal(found[1], [2, 9])
    np.testing.assert_array_equal(found[2], [[[2], [3]]])


def test_names_of_arguments_and_outputs() -> None:
    q = dynamicsymbols("q")
    program = from_sympy([q + q.diff(), sp.Eq(sp.Symbol("energy"), q**2)], [q, q.diff()])
    assert [a.name for a in program.graph.inputs] == ["q", "q_d"]
    assert program.graph.output_names == ("output0", "energy")
    assert from_sympy(x, [x]).graph.output_names == ("output",)
    assert not from_sympy(x, [x], requires_grad=False).graph.inputs[0].requires_grad
    assert from_sympy(x * y, [x, y], requires_grad="y").graph.inputs[1].requires_grad


def test_single_precision() -> None:
    program = from_sympy(sp.sin(x) / 3, [x], dtype="float32")
    assert {node.dtype for node in program.graph.nodes} == {dtypes.float32}


# --- index notation --------------------------------------------------------------------------------------------------

A = sp.IndexedBase("A", shape=(n, 3))
X = sp.IndexedBase("X", shape=(3,))
Y = sp.IndexedBase("Y", shape=(n,))
RNG = np.random.default_rng(0)
AV, XV = RNG.normal(size=(4, 3)), RNG.normal(size=3)


def test_sums_become_reductions() -> None:
    product = sp.Eq(Y[i], sp.Sum(A[i, j] * X[j], (j, 0, 2)))
    program = from_sympy([product, sp.Sum(A[i, j] ** 2 * i, (j, 0, 2), (i, 0, n - 1))], [A, X])
    assert program.graph.output_names == ("Y", "output1")
    reductions = [node for node in program.graph.nodes if getattr(node, "reducer", None)]
    assert len(program.graph.nodes) <= 6 and len(reductions) == 2
    found = run(program.graph, AV, XV)
    np.testing.assert_allclose(found[0], AV @ XV, rtol=1e-14)
    np.testing.assert_allclose(found[1], (AV**2 * np.arange(4)[:, None]).sum(), rtol=1e-14)


def test_index_order_and_broadcast() -> None:
    outer = from_sympy(sp.Eq(sp.IndexedBase("T")[j, i], A[i, j] * X[j] + sp.sin(X[j])), [A, X])
    np.testing.assert_allclose(value(outer, AV, XV), (AV * XV + np.sin(XV)).T, rtol=1e-15)
    by_name = from_sympy(A[i, j] * X[j], [A, X])
    np.testing.assert_allclose(value(by_name, AV, XV), AV * XV, rtol=1e-15)


def test_products_shifts_and_two_ranges_of_one_letter() -> None:
    program = from_sympy(sp.Product(X[j], (j, 0, 2)) + sp.Sum(X[j + 1] - X[j], (j, 0, 1)), [X])
    np.testing.assert_allclose(value(program, XV), XV.prod() + XV[2] - XV[0], rtol=1e-13)
    nested = from_sympy(sp.Sum(sp.Sum(A[i, j], (j, 0, 2)) ** 2, (i, 1, n - 1)), [A])
    np.testing.assert_allclose(value(nested, AV), (AV.sum(1)[1:] ** 2).sum(), rtol=1e-14)


def test_idx_carries_its_range() -> None:
    row = sp.Idx("row", (1, 2))
    np.testing.assert_allclose(value(from_sympy(X[row] ** 2, [X]), XV), XV[1:] ** 2, rtol=1e-15)


def test_integer_tensors_index_others() -> None:
    pick = sp.IndexedBase("pick", shape=(m,), integer=True)
    program = from_sympy(sp.Sum(A[pick[k], 1], (k, 0, m - 1)), [A, pick])
    assert program.graph.inputs[1].dtype is dtypes.int64
    np.testing.assert_allclose(value(program, AV, np.array([3, 0, 3])), AV[[3, 0, 3], 1].sum(), rtol=1e-14)


def test_gradient_of_an_indexed_sum() -> None:
    program = from_sympy(sp.Sum(sp.Sum(A[i, j] * X[j], (j, 0, 2)) ** 2, (i, 0, n - 1)), [A, X])
    joint = differentiate(program.graph, program.graph.inputs)
    given = {**dict(zip(program.graph.inputs, (AV, XV))), joint.seeds[0][1]: np.array(1.0)}
    found = evaluate(joint.gradients, given)
    r = AV @ XV
    np.testing.assert_allclose(found[0], 2 * np.outer(r, XV), rtol=1e-13)
    np.testing.assert_allclose(found[1], 2 * AV.T @ r, rtol=1e-13)


# --- integers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expr, at, exact", [
    (n / 2 + x, (3, 1.0), 2.5), (n**8 * x, (1000, 1.0), 1e24), (n * m * x, (2**40, 1.0, 2**40), 2.0**80),
    (1 / n + 0 * x, (4, 1.0), 0.25),
    ((-1) ** n * x, (3, 2.0), -2.0), (2**n + x, (70, 0.0), 2.0**70), (sp.floor(n / 2) * x, (-3, 1.0), -2.0),
    (sp.Mod(n, 3) * x, (-4, 1.0), 2.0), (sp.factorial(n) * x, (5, 1.0), 120.0), (sp.binomial(n, 2) * x, (7, 1.0), 21.0),
    (sp.Piecewise((x, n > m), (2 * x, True)), (2**53 + 1, 1.0, 2**53), 1.0), (sp.sqrt(n) * x, (4, 1.0), 2.0),
    (sp.Max(n, m) / 4 * x, (3, 1.0, 5), 1.25),
], ids=str)
def test_integer_symbols_are_mathematical_integers(expr: sp.Expr, at: tuple, exact: float) -> None:
    program = from_sympy(expr, [n, x, m])
    assert float(value(program, at[0], at[1], at[2] if len(at) > 2 else 1)) == exact


def test_an_integer_alone_stays_one() -> None:
    pick = sp.IndexedBase("pick", shape=(3,), integer=True)
    assert from_sympy([n, sp.Eq(sp.IndexedBase("o")[i], pick[i])], [n, pick]).graph.outputs[0].dtype is dtypes.int64


# --- limits ----------------------------------------------------------------------------------------------------------

U = sp.IndexedBase("U", shape=(4,))
UV = np.array([1.0, 2.0, 3.0, 5.0])


@pytest.mark.parametrize("expr", [
    sp.Sum(U[i] * U[j], (j, 0, i), (i, 0, 3)), sp.Sum(U[j] / (i + 1), (j, i, 3), (i, 0, 3)),
    sp.Sum(sp.Sum(U[i] ** j, (j, 1, i)), (i, 0, 3)), sp.Sum(U[i - j], (j, 0, i), (i, 0, 3)),
    sp.Sum(U[i + j], (j, 0, 3 - i), (i, 0, 3)), sp.Sum(U[i] * U[j] * U[k], (k, j, 3), (j, i, 3), (i, 0, 3)),
    sp.Sum(sp.Product(U[j], (j, 0, i)), (i, 0, 3)), sp.Product(sp.Sum(U[j], (j, i, 2 * i)), (i, 0, 1)),
    sp.Sum(U[i] * i, (i, 3, 0)), sp.Product(U[i], (i, 3, 0)), sp.Sum(U[i], (i, 2, 1)), sp.Product(U[i], (i, 2, 1)),
    sp.Sum(U[i] * U[j], (i, 3, 1), (j, 3, 0)), sp.Sum(1, (j, 0, i), (i, 0, 3)), sp.Sum(i + 2, (i, 5, 0)),
    sp.Sum(sp.Sum(U[i], (i, 0, j)) * sp.Sum(U[i], (i, j, 3)), (j, 0, 3)),
], ids=str)
def test_limits_that_depend_or_run_backwards(expr: sp.Expr) -> None:
    assert float(value(from_sympy(expr, [U]), UV)) == pytest.approx(by_hand(expr), rel=1e-14)


def by_hand(expr: sp.Expr) -> float:
    """Sums and products with Karr's convention, term by term from the outermost limit inwards."""
    if not isinstance(expr, (sp.Sum, sp.Product)):
        expr = expr.replace(lambda e: isinstance(e, (sp.Sum, sp.Product)), lambda e: sp.Float(by_hand(e)))
        return float(expr.xreplace({U[k]: sp.Float(v) for k, v in enumerate(UV)}))
    letter, low, high = expr.limits[-1]
    inner = expr.func(expr.function, *expr.limits[:-1]) if len(expr.limits) > 1 else expr.function
    low, high, turned = (low, high, False) if high >= low - 1 else (high + 1, low - 1, True)
    terms = [by_hand(inner.subs(letter, k)) for k in range(low, high + 1)]
    if isinstance(expr, sp.Sum):
        return -sum(terms) if turned else sum(terms)
    return 1 / np.prod(terms) if turned else np.prod(terms)


def test_a_dependent_limit_of_open_length() -> None:
    program = from_sympy(sp.Sum(Y[i] * Y[j], (j, 0, i), (i, 0, n - 1)), [Y])
    for count in (0, 1, 5):
        at = RNG.normal(size=count)
        pairs = sum(at[a] * at[b] for a in range(count) for b in range(a + 1))
        assert float(value(program, at)) == pytest.approx(pairs, abs=1e-14)
    running = from_sympy(sp.Eq(sp.IndexedBase("c", shape=(n,))[i], sp.Sum(Y[j], (j, 0, i))), [Y])
    np.testing.assert_allclose(value(running, UV), np.cumsum(UV), rtol=1e-15)
    with pytest.raises(GradgenError, match="has no range"):
        from_sympy(sp.Eq(sp.IndexedBase("c")[i], sp.Sum(Y[j], (j, 0, i))), [Y])


# --- matrices --------------------------------------------------------------------------------------------------------

P, Q = sp.MatrixSymbol("P", 3, 3), sp.MatrixSymbol("Q", 3, 3)
v = sp.MatrixSymbol("v", 3, 1)
PV, QV, VV = RNG.normal(size=(3, 3)) + 3 * np.eye(3), RNG.normal(size=(3, 3)), RNG.normal(size=(3, 1))


@pytest.mark.parametrize("expr", [
    P * Q, P * Q.T * v, x * P - Q / 3 + sp.Identity(3), P.T * P, P.inv() * v, P**-2, P**3, sp.Trace(P * Q), sp.det(P) * x,
    sp.log(sp.Determinant(P * P.T)),
    P[0, 1] * Q[2, 2] + x, (P * v)[1, 0], (v.T * P * v)[0, 0] ** 2, sp.HadamardProduct(P, Q),
    P.applyfunc(sp.sin),
    (P + Q).applyfunc(lambda t: t**2 + x), sp.HadamardPower(P, 2), sp.KroneckerProduct(P, Q), P[0:2, 1:3],
    sp.BlockMatrix([[P, v], [v.T, sp.OneMatrix(1, 1)]]), sp.DiagMatrix(v) * P, DotProduct(v, v),
    sp.Matrix([[1, x, 0], [0, 2, y], [x, 0, 1]]) * P,
    sp.Sum(P[i, j] * Q[j, i], (i, 0, 2), (j, 0, 2)), sp.FunctionMatrix(3, 3, sp.Lambda((i, j), i * x - j)) + P,
    P + sp.ZeroMatrix(3, 3), 2 * P * Q * x, sp.Transpose(P + Q), (P * Q).inv(), sp.MatMul(P, sp.Matrix([1, 2, 3])),
], ids=str)
def test_matrix_expressions(expr: sp.Basic) -> None:
    program = from_sympy(expr, [P, Q, v, x, y])
    known = {x: 0.7, y: -1.3}
    for symbol, array in ((P, PV), (Q, QV), (v, VV)):
        known |= {symbol[a, b]: number for (a, b), number in np.ndenumerate(array)}
    explicit = expr.doit()
    explicit = explicit.as_explicit() if isinstance(explicit, sp.MatrixExpr) else explicit
    explicit = explicit.subs({s: s.as_explicit() for s in (P, Q, v)}).doit() if explicit.has(P, Q, v) else explicit
    explicit = explicit.xreplace(known)
    exact = np.array(explicit.tolist() if isinstance(explicit, sp.MatrixBase) else explicit.evalf(), dtype=float)
    np.testing.assert_allclose(value(program, PV, QV, VV, 0.7, -1.3), exact, rtol=1e-10, atol=1e-12)


def test_a_matrix_of_open_length_and_its_gradient() -> None:
    M, w = sp.MatrixSymbol("M", n, 3), sp.MatrixSymbol("w", 3, 1)
    program = from_sympy({"loss": ((M * w).T * (M * w))[0, 0], "g": M.T * M * w + w}, [M, w])
    data, at = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 1))
    found = run(program.graph, data, at)
    np.testing.assert_allclose(found[0], ((data @ at) ** 2).sum(), rtol=1e-13)
    np.testing.assert_allclose(found[1], data.T @ data @ at + at, rtol=1e-13)
    only = from_sympy(((M * w).T * (M * w))[0, 0], [M, w])
    joint = differentiate(only.graph, only.graph.inputs)
    gradients = evaluate(joint.gradients, {**dict(zip(only.graph.inputs, (data, at))), joint.seeds[0][1]: np.array(1.0)})
    np.testing.assert_allclose(gradients[1], 2 * data.T @ data @ at, rtol=1e-12)


def test_what_cse_gives() -> None:
    exprs = [sp.sin(x * y) + (x * y) ** 2, sp.cos(x * y) * (x + z) ** 2 + (x + z)]
    both = from_sympy(sp.cse(exprs), [x, y, z])
    plain = from_sympy(exprs, [x, y, z])
    assert both.graph.output_names == ("output0", "output1")
    for a, b in zip(run(both.graph, *AT.values()), run(plain.graph, *AT.values())):
        assert float(a) == pytest.approx(float(b), rel=1e-15)
    assert from_sympy(sp.cse(exprs[0]), [x, y]).graph.output_names == ("output",)
    assert from_sympy(sp.cse(x + y), [x, y]).graph.output_names == ("output",)  # no definitions
    jacobian = sp.Matrix(exprs).jacobian([x, y, z])
    found = value(from_sympy(sp.cse(jacobian), [x, y, z]), *AT.values())
    np.testing.assert_allclose(found, np.array(jacobian.subs(AT).evalf().tolist(), dtype=float), rtol=1e-13)
    with pytest.raises(GradgenError, match="is an argument and the name of a subexpression"):
        from_sympy(([(x, y + 1)], [x * x]), [x, y])


def test_assumptions_that_differ_are_said() -> None:
    with pytest.raises(GradgenError, match="other assumptions") as caught:
        from_sympy(2 * sp.Symbol("a", positive=True), [sp.Symbol("a")])
    assert "positive=True" in str(caught.value) and "without assumptions" in str(caught.value)


# --- mechanics -------------------------------------------------------------------------------------------------------


def pendulum(links: int) -> tuple[TracedFunction, Any, list[np.ndarray]]:
    """Mass matrix, forcing and its Jacobians of a pendulum with `links` links on a cart; SymPy's lambdified twin."""
    kane = n_link_pendulum_on_cart(links, cart_force=True, joint_torques=False)
    mass, forcing = kane.mass_matrix, kane.forcing
    q, u = list(kane.q), list(kane.u)
    force = dynamicsymbols("F")
    constants = sorted((mass.free_symbols | forcing.free_symbols) - {dynamicsymbols._t}, key=str)
    program = from_sympy(
        {"M": mass, "f": list(forcing)}, {"q": q, "u": u, "F": force, "p": constants}, name="pendulum",
        jacobians={"df_dq": ("f", "q"), "df_du": ("f", "u"), "dM_dq": ("M", "q")},
    )
    rng = np.random.default_rng(links)
    at = [rng.normal(size=len(q)), rng.normal(size=len(u)), rng.normal(), rng.uniform(0.5, 1.5, len(constants))]
    slopes = [forcing.jacobian(q), forcing.jacobian(u), [mass.diff(s) for s in q]]
    return program, sp.lambdify([q, u, force, constants], [mass, forcing, *slopes], cse=True), at


def test_three_link_pendulum_and_its_jacobians() -> None:
    program, reference, at = pendulum(3)
    mass, forcing, by_q, by_u, mass_by_q = reference(*at)
    wanted = [mass, forcing.ravel(), by_q, by_u, np.moveaxis(np.array(mass_by_q), 0, -1)]
    for found, exact in zip(run(program.graph, *at), wanted, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12)


def test_pendulum_gradient_is_the_jacobian_transposed() -> None:
    program, reference, at = pendulum(2)
    graph = program.graph
    joint = differentiate(graph, [graph.inputs[0]])
    seeds = dict(joint.seeds)
    rng = np.random.default_rng(5)
    given = {**dict(zip(graph.inputs, at)), **{s: np.zeros(s.shape) for s in seeds.values()}}
    given[seeds["f"]] = rng.normal(size=seeds["f"].shape)
    found = evaluate(joint.gradients, given)[0]
    np.testing.assert_allclose(found, reference(*at)[2].T @ given[seeds["f"]], rtol=1e-11, atol=1e-12)


def test_shared_subexpressions_are_walked_once() -> None:
    """A tree of 2**40 nodes with 120 distinct ones; SymPy's own walks would not end."""
    e = x
    for _ in range(40):
        e = sp.sin(e) * e + y
    start = time.process_time()
    program = from_sympy(e, [x, y])
    assert len(program.graph.nodes) < 130
    assert time.process_time() - start < 60  # 2**40 steps take days


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_unsupported_functions_are_named() -> None:
    integral = sp.Integral(sp.exp(x * y), y)
    for expr, word in ((sp.zeta(x), "zeta"),
                       (sp.besseli(3, x), "besseli of order 3"), (sp.besselj(0, x), "besselj"), (integral, "Integral")):
        with pytest.raises(UnsupportedOperationError, match=word):
            from_sympy(expr, [x, y])
    with pytest.raises(UnsupportedOperationError, match="ImaginaryUnit"):
        from_sympy(sp.I * x + x, [x])


def test_mistakes_in_arguments() -> None:
    t = dynamicsymbols._t
    for expr, arguments, words in (
        (x + y, [x], "y is no argument"),
        (sp.Function("f")(t), [x], "is no argument"),
        (x, [x, x], "two arguments are named 'x'"),
        (x, {"a": x, "b": [x, y]}, "in two arguments"),
        (x, {"a": x + y}, "is not a symbol"),
        (A[i, 0], [X], "A is no argument"),
        ({}, [x], "no expressions"),
        ([sp.Eq(x, y), sp.Eq(x, z)], [y, z], "two outputs are named"),
    ):
        with pytest.raises(GradgenError, match=words):
            from_sympy(expr, arguments)
    with pytest.raises(InvalidNameError):
        from_sympy(x, {"class": x})
    with pytest.raises(TraceError, match="differentiated with respect to 'y'"):
        from_sympy(x, [x, y], requires_grad=["y"])
    with pytest.raises(GradgenError, match="no floating-point argument"):
        from_sympy(x, [x], requires_grad=["q"])
    with pytest.raises(GradgenError, match="no output 'g'"):
        from_sympy(x, [x], jacobians={"J": ("g", "x")})


def test_mistakes_in_indices() -> None:
    other = sp.IndexedBase("other", shape=(5,))
    for expr, words in (
        (sp.Sum(X[j], (j, 0, 3)), "may be out of range"), (sp.Sum(X[j + 1], (j, 0, 2)), "may be out of range"),
        (X[j] * other[j], "runs over"),
    ):
        with pytest.raises(ShapeError, match=words):
            from_sympy(expr, [A, X, other])
    with pytest.raises(ShapeError, match="without a shape"):
        from_sympy(x, [x, sp.IndexedBase("B")])
    for expr, words in (
        (sp.Sum(X[j], (j, 0, i - 3), (i, 0, 2)), "may run backwards"), (sp.Sum(Y[k], (k, n - 1, 0)), "run backwards"),
        (sp.Sum(X[j], (j, 0, m)), "a limit is m"), (sp.Sum(1 / (j + 1), (j, 0, sp.oo)), "a limit is infinity"),
    ):
        with pytest.raises(UnsupportedOperationError, match=words):
            from_sympy(expr, [A, X, Y])
    with pytest.raises(ShapeError, match="may be out of range"):
        from_sympy(sp.Sum(A[i, j], (j, 0, i), (i, 0, n - 1)), [A])
    with pytest.raises(GradgenError, match="no range here"):
        from_sympy({"v": [X[j]]}, [X])
