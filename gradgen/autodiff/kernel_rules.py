"""Derivatives of the named kernels, the only kind of node with a table of rules.

A rule is made of matrix products and of the same kernels, so that it can be differentiated again.  The formulas are
those of Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008
(solve, inverse, determinant,
eigenvalues), Murray, "Differentiation of the Cholesky decomposition", 2016, and de Hoog, Anderssen &
Lukas, "Differentiation of matrix functionals using triangular factorization", 2011 (LU), and Walter & Lehmann, "Algorithmic
differentiation of linear algebra functions with application in optimum experimental design", 2010 (QR). Those of the singular
value decomposition are in kernels_svd.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sympy

from gradgen.autodiff import kernels_svd
from gradgen.autodiff.kernels_det import polynomial, product
from gradgen.autodiff.matrices import (
    A0,
    A1,
    A2,
    diagonal_of,
    mapped,
    negative,
    on_diagonal,
    total_of,
    triangle,
    turned,
    unit_lower,
)
from gradgen.ir.functions import div, eq, instead, select
from gradgen.ir.guards import GE, Condition
from gradgen.ir.kernels import Pullback, call, given
from gradgen.ir.nodes import Compute, Kernel, Node, Read, Scatter
from gradgen.ir.rewrite import substitute
from gradgen.ir.scalar_table import NoDerivative
from gradgen.ir.symbols import axes, placeholder, reduce_axis

Terms = list[tuple[int, Node]]
Reverse = Callable[[Kernel, Node], Terms]
"""The node and its cotangent give terms of its operands' cotangents, by position."""
Forward = Callable[[Kernel, Mapping[int, Node]], Node | None]
"""The node and its operands' tangents, by position, give its tangent."""



Gradients = Callable[[Sequence[Node], Sequence[Node], Sequence[Node]], Sequence[Node | None]]
Tangents = Callable[[Sequence[Node], Mapping[Node, Node]], Sequence[Node | None]]
"""Reverse and forward mode of graphs: (outputs, cotangents, inputs) and (outputs, {input: tangent})."""


def pull(node: Kernel, cotangent: Node, gradients: Gradients) -> list[tuple[Node, Node]]:
    """(operand, term of its cotangent); raises NoDerivative where the kernel has no rule."""
    key = (node.name, node.output)
    if key in OF_A_FORMULA:
        terms = OF_A_FORMULA[key][0](node, cotangent, gradients)
    elif key in RULES:
        terms = RULES[key][0](node, cotangent)
    else:
        raise NoDerivative(f"gradgen has no derivative of {node.name}, output {node.output}")
    return [(node.operands[k], term) for k, term in terms]


def push(node: Kernel, dot: Mapping[Node, Node], tangents: Tangents) -> Node | None:
    """The tangent, given those of operands in `dot`."""
    key = (node.name, node.output)
    moved = {k: dot[n] for k, n in enumerate(node.operands) if n in dot}
    if key in OF_A_FORMULA:
        return OF_A_FORMULA[key][1](node, moved, tangents)
    if key in RULES:
        return RULES[key][1](node, moved)
    raise NoDerivative(f"gradgen has no forward-mode derivative of {node.name}, output {node.output}")


def _flag(node: Kernel, name: str) -> bool:
    return bool(dict(node.attributes)[name])


# --- solve ------------------------------------------------------------------------------------------------------------


def _solve_reverse(node: Kernel, g: Node) -> Terms:
    """op(A) X = B: B' = op(A)^-T X', op(A)' = -B' X^T."""
    a, packed, rows, _ = node.operands
    transposed = _flag(node, "transposed")
    b_bar = call("solve", a, packed, rows, g, transposed=not transposed)[0]
    pair = (node, b_bar) if transposed else (b_bar, node)
    return [(0, negative(product(*pair, right=True))), (3, b_bar)]


def _solve_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    a, packed, rows, _ = node.operands
    transposed = _flag(node, "transposed")
    moved = negative(product(dot[0], node, left=transposed)) if 0 in dot else None
    total = total_of(dot.get(3), moved)
    return None if total is None else call("solve", a, packed, rows, total, transposed=transposed)[0]


def _triangular_reverse(node: Kernel, g: Node) -> Terms:
    """As solve, within the triangle."""
    transposed, unit, upper = (_flag(node, name) for name in ("transposed", "unit", "upper"))
    b_bar = call("triangular_solve", node.operands[0], g, transposed=not transposed, unit=unit, upper=upper)[0]
    pair = (node, b_bar) if transposed else (b_bar, node)
    return [(0, triangle(negative(product(*pair, right=True)), upper, unit)), (1, b_bar)]


def _triangular_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    transposed, unit, upper = (_flag(node, name) for name in ("transposed", "unit", "upper"))
    moved = None
    if 0 in dot:
        moved = negative(product(triangle(dot[0], upper, unit), node, left=transposed))
    total = total_of(dot.get(1), moved)
    if total is None:
        return None
    return call("triangular_solve", node.operands[0], total, transposed=transposed, unit=unit, upper=upper)[0]


# --- factorisations -----------------------------------------------------------------------------------------------------


def _lower_solve(low: Node, b: Node, *, transposed: bool = False, unit: bool = False) -> Node:
    return call("triangular_solve", low, b, transposed=transposed, unit=unit, upper=False)[0]


def _cholesky_reverse(node: Kernel, g: Node) -> Terms:
    """A' = 1/2 L^-T (P + P^T) L^-1 with P the lower triangle of L^T L', its diagonal halved."""
    inner = _halved(product(node, g, left=True))
    i = axes(inner.ndim)
    half = Compute(inner.shape, (A0 + A1) / 2, [Read(inner, i), Read(inner, (*i[:-2], i[-1], i[-2]))], inner.dtype)
    left = _lower_solve(node, half, transposed=True)
    return [(0, _lower_solve(node, turned(left), transposed=True))]


def _halved(a: Node) -> Node:
    """The lower triangle with half the diagonal."""
    return on_diagonal(triangle(a, False), A0 / 2)


def _cholesky_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    """L' = L P with P the lower triangle of L^-1 A' L^-T, its diagonal halved."""
    left = _lower_solve(node, dot[0])
    both = _lower_solve(node, turned(left))
    return product(node, _halved(turned(both)))


def _lu_reverse(node: Kernel, g: Node) -> Terms:
    """P A' = L^-T (strictly lower triangle of L^T L' + upper triangle of U' U^T) U^-T."""
    rows = _rows(node)
    low, up = unit_lower(node), triangle(node, True)
    inner = total_of(triangle(product(low, triangle(g, False, True), left=True), False, True),
                 triangle(product(triangle(g, True), up, right=True), True))
    assert inner is not None
    left = _lower_solve(node, inner, transposed=True, unit=True)
    both = call("triangular_solve", node, turned(left), transposed=False, unit=False, upper=True)[0]
    i = axes(node.ndim)
    order = Read(rows, i[:-1])
    back = Scatter(node.shape, None, node.shape, (*i[:-2], A0, i[-1]), A1,
                   [order, Read(both, (*i[:-2], i[-1], i[-2]))], node.dtype, mode="add")
    return [(0, back)]


def _rows(node: Kernel) -> Node:
    """The order of the rows, the factorisation's second output."""
    return call(node.name, *node.operands)[1]


def _lu_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    """L' = L tril(F, -1), U' = triu(F) U with F = L^-1 P A' U^-1."""
    rows = _rows(node)
    i = axes(node.ndim)
    permuted = Compute(node.shape, A1, [Read(rows, i[:-1]), Read(dot[0], (*i[:-2], A0, i[-1]))], node.dtype)
    left = _lower_solve(node, permuted, unit=True)
    both = call("triangular_solve", node, turned(left), transposed=True, unit=False, upper=True)[0]
    inner = turned(both)
    return total_of(product(unit_lower(node), triangle(inner, False, True)),
                product(triangle(inner, True), triangle(node, True)))


# --- determinants -----------------------------------------------------------------------------------------------------


def _det_reverse(node: Kernel, g: Node, gradients: Gradients) -> Terms:
    """A' = det' det(A) A^-T, the adjugate: a pivot that is 0 is taken as the dtype's eps, the limit's neighbour."""
    a, packed, rows, exchanges = node.operands
    near = _regular(packed)
    value = call("det", a, near, rows, exchanges)[0]
    scaled = diagonal_of(a, mapped(A0 * A1, g, value))
    quick = call("solve", a, near, rows, scaled, transposed=True)[0]
    (exact,) = gradients([polynomial(a)], [g], [a])
    return [(0, quick if exact is None else mapped(instead(A0, A1), quick, exact))]  # None: a matrix of no rows


def _regular(packed: Node) -> Node:
    eps = sympy.Rational(1, 2 ** (packed.dtype.digits - 1))
    return on_diagonal(packed, select(eq(A0, 0), eps, A0))


def _trace(a: Node, *others: Node) -> Node:
    """The trace of every matrix, times the others."""
    lead, r = axes(a.ndim - 2), reduce_axis(0)
    trace = Compute(a.shape[:-2], A0, [Read(a, (*lead, r, r))], a.dtype, reduce_shape=a.shape[-1:], reducer="sum")
    return mapped(sympy.Mul(*(placeholder(k) for k in range(1 + len(others)))), trace, *others) if others else trace


def _det_forward(node: Kernel, dot: Mapping[int, Node], tangents: Tangents) -> Node | None:
    if 0 not in dot:
        return None
    a, packed, rows, exchanges = node.operands
    near = _regular(packed)
    value = call("det", a, near, rows, exchanges)[0]
    quick = _trace(call("solve", a, near, rows, dot[0], transposed=False)[0], value)
    (exact,) = tangents([polynomial(a)], {a: dot[0]})
    assert exact is not None
    return mapped(instead(A0, A1), quick, exact)


def _logabsdet_reverse(node: Kernel, g: Node) -> Terms:
    """A' = g A^-T."""
    a, packed, rows = node.operands
    return [(0, call("solve", a, packed, rows, diagonal_of(a, g), transposed=True)[0])]


def _logabsdet_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    a, packed, rows = node.operands
    return _trace(call("solve", a, packed, rows, dot[0], transposed=False)[0]) if 0 in dot else None


# --- eigenvalues and orthogonal factors -----------------------------------------------------------------------------------


def _between(vectors: Node, values: Node, inner: Node) -> Node:
    """inner_ij / (w_j - w_i) off the diagonal, 0 on it."""
    i = axes(inner.ndim)
    body = select(eq(i[-2], i[-1]), 0, div(A0, A2 - A1))
    reads = [Read(inner, i), Read(values, i[:-1]), Read(values, (*i[:-2], i[-1]))]
    return Compute(inner.shape, body, reads, inner.dtype)


def _diagonal_matrix(a: Node, diagonal: Node) -> Node:
    i = axes(a.ndim)
    on = (Condition(GE, i[-2] - i[-1]), Condition(GE, i[-1] - i[-2]))
    return Compute(a.shape, A0, [Read(diagonal, i[:-1], on)], a.dtype)


def _eigenvalues_reverse(node: Kernel, g: Node) -> Terms:
    """A' = V diag(w') V^T."""
    vectors = call(node.name, *node.operands)[1]
    return [(0, product(product(vectors, _diagonal_matrix(vectors, g)), vectors, right=True))]


def _eigenvectors_reverse(node: Kernel, g: Node) -> Terms:
    """A' = V (skew part of V^T V' / (w_j - w_i)) V^T, which is symmetric."""
    values, vectors = call(node.name, *node.operands)
    flipped = product(vectors, g, left=True)
    inner = _between(vectors, values, mapped((A0 - A1) / 2, flipped, turned(flipped)))
    return [(0, product(product(vectors, inner), vectors, right=True))]


def _moved_basis(vectors: Node, dot: Node) -> Node:
    return product(product(vectors, dot, left=True), vectors)


def _eigenvalues_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    """w' = the diagonal of V^T A' V."""
    inner = _moved_basis(call(node.name, *node.operands)[1], dot[0])
    i = axes(node.ndim)
    return Compute(node.shape, A0, [Read(inner, (*i, i[-1]))], node.dtype)


def _eigenvectors_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    """V' = V (V^T A' V / (w_j - w_i))."""
    values, vectors = call(node.name, *node.operands)
    return product(vectors, _between(vectors, values, _moved_basis(vectors, dot[0])))


def _mirrored(a: Node) -> Node:
    """The lower triangle, and its mirror image above."""
    i = axes(a.ndim)
    flipped = Read(a, (*i[:-2], i[-1], i[-2]), (Condition(GE, i[-1] - i[-2] - 1),))
    return Compute(a.shape, A0 + A1, [Read(a, i, (Condition(GE, i[-2] - i[-1]),)), flipped], a.dtype)


def _over_upper(y: Node, r: Node, *, transposed: bool) -> Node:
    """Y R^-1, transposed: Y R^-T."""
    return turned(
        call("triangular_solve", r, turned(y), transposed=not transposed, unit=False, upper=True)[0])


def _q_reverse(node: Kernel, g: Node) -> Terms:
    """A' = (Q' - Q mirrored(Q'^T Q)) R^-T."""
    q, r = call(node.name, *node.operands)
    inner = total_of(g, negative(product(q, _mirrored(product(g, q, left=True)))))
    assert inner is not None
    return [(0, _over_upper(inner, r, transposed=True))]


def _r_reverse(node: Kernel, g: Node) -> Terms:
    """A' = Q mirrored(R R'^T) R^-T."""
    q, r = call(node.name, *node.operands)
    inner = product(q, _mirrored(product(r, triangle(g, True), right=True)))
    return [(0, _over_upper(inner, r, transposed=True))]


def _qr_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    """With W = A' R^-1, B = Q^T W and X skew, equal to B below the diagonal: R' = (B - X) R, Q' = W - Q (B - X)."""
    q, r = call(node.name, *node.operands)
    w = _over_upper(dot[0], r, transposed=False)
    b = product(q, w, left=True)
    low = triangle(b, False, True)
    upper = total_of(b, negative(low), turned(low))
    assert upper is not None
    return product(upper, r) if node.output else total_of(w, negative(product(q, upper)))


# --- pseudo-inverse -----------------------------------------------------------------------------------------------------


def _pseudo_reverse(node: Kernel, g: Node) -> Terms:
    """At constant rank (Golub & Pereyra, 1973): A' = -P^T P' P^T + (I - A P) P'^T P P^T + P^T P P'^T (I - P A)."""
    a, (g_turned, p_turned) = node.operands[0], (turned(g), turned(node))
    left = product(product(g_turned, node), p_turned)
    right = product(p_turned, product(node, g_turned))
    total = total_of(
        negative(product(product(p_turned, g), p_turned)), left, negative(product(a, product(node, left))),
        right, negative(product(product(right, node), a)))
    assert total is not None
    return [(0, total)]


def _pseudo_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    """P' = -P A' P + P P^T A'^T (I - A P) + (I - P A) A'^T P^T P."""
    if 0 not in dot:
        return None
    a, flipped, p_turned = node.operands[0], turned(dot[0]), turned(node)
    left = product(product(node, p_turned), flipped)
    right = product(flipped, product(p_turned, node))
    return total_of(
        negative(product(product(node, dot[0]), node)), left, negative(product(product(left, a), node)),
        right, negative(product(node, product(a, right))))


# --- derivatives that the user wrote --------------------------------------------------------------------------------------


def _given_reverse(node: Kernel, g: Node) -> Terms:
    pullback: Pullback = dict(node.attributes)["pullback"]
    graph = pullback.graph
    if graph is None:
        raise NoDerivative(pullback.why)
    arguments = [g, *(node if k < 0 else node.operands[k] for k in pullback.saved)]
    terms = list(substitute(graph.outputs, dict(zip(graph.inputs, arguments))))
    if pullback.why:  # a derivative that has none itself
        terms = [given(t, node.operands[1:], Pullback(None, why=pullback.why)) for t in terms]
    return list(zip(pullback.slots, terms))


def _given_forward(node: Kernel, dot: Mapping[int, Node]) -> Node | None:
    raise NoDerivative("an autograd.Function has a backward and no forward-mode derivative")


RULES: dict[tuple[str, int], tuple[Reverse, Forward]] = {
    ("pseudo_inverse", 0): (_pseudo_reverse, _pseudo_forward),
    ("cholesky", 0): (_cholesky_reverse, _cholesky_forward),
    ("given", 0): (_given_reverse, _given_forward),
    ("eigh", 0): (_eigenvalues_reverse, _eigenvalues_forward),
    ("eigh", 1): (_eigenvectors_reverse, _eigenvectors_forward),
    ("logabsdet", 0): (_logabsdet_reverse, _logabsdet_forward),
    ("lu", 0): (_lu_reverse, _lu_forward),
    ("qr", 0): (_q_reverse, _qr_forward),
    ("qr", 1): (_r_reverse, _qr_forward),
    ("solve", 0): (_solve_reverse, _solve_forward),
    ("triangular_solve", 0): (_triangular_reverse, _triangular_forward),
    **kernels_svd.RULES,
}
OF_A_FORMULA = {("det", 0): (_det_reverse, _det_forward)}
"""Rules that differentiate a formula, by the function they are given: not all of a kernel's derivative has a closed form."""
