"""Linear algebra: Cholesky and LU factorisations, solutions of linear systems, inverses, determinants.

The factorisations are kernels.  Where a matrix is singular, or not positive definite, an eager call raises LinAlgError as
PyTorch's does (`singular.py`); in a trace, where there are no values yet, and in emitted C the result is nan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.kernels import call as kernel_call
from gradgen.ir.nodes import Compute, Node, Read, map_node
from gradgen.ir.symbols import Extent, axes, axis, reduce_axis, same_extent
from gradgen.ops.comparison import where
from gradgen.ops.matmul import contract, matmul
from gradgen.ops.moving import triangle_of
from gradgen.ops.registry import KEEP, Op, broadcast_read, broadcast_shapes, register
from gradgen.ops.requirements import require_different
from gradgen.ops.samples import edges, one, plain, sample, t
from gradgen.ops.shapes import A0, A1
from gradgen.ops.singular import require_definite, require_regular
from gradgen.ops.table import call, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

_KINDS = {"float32": "Float", "float64": "Double", "int32": "Int", "int64": "Long", "bool": "Bool"}
_LOWER, _UPPER = triangle_of(True), triangle_of(False)


# --- checks, in PyTorch's words ---------------------------------------------------------------------------------------


def require_matrix(a: Any, name: str, square: bool = True, letter: str = "A") -> None:
    require_tensor(a, name, letter)
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {letter} must have at least 2 dimensions.")
    if square and not same_extent(a.shape[-1], a.shape[-2]):
        raise RuntimeError(
            f"{name}: {letter} must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )
    if not a.dtype.is_floating_point:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {_KINDS[a.dtype.name]}")


def _require_system(a: Any, b: Any, name: str, left: bool, columns: Extent, rows: Extent) -> None:
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {_KINDS[a.dtype.name]} and B of type "
            f"{_KINDS[b.dtype.name]} instead"
        )
    if not same_extent(a.shape[-1], rows if left else columns):
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({a.shape[-2]}x{a.shape[-1]} and {rows}x{columns})"
        )


# --- matrices: the last two axes --------------------------------------------------------------------------------------


def _turned(a: Node) -> Node:
    """Every matrix transposed."""
    i = axes(a.ndim)
    return Compute((*a.shape[:-2], a.shape[-1], a.shape[-2]), A0, [Read(a, (*i[:-2], i[-1], i[-2]))], a.dtype)


def _spread(a: Node, lead: tuple[Extent, ...]) -> Node:
    """The matrices repeated along `lead`."""
    shape = (*lead, *a.shape[-2:])
    if a.ndim == len(shape) and all(same_extent(x, y) for x, y in zip(a.shape, shape)):
        return a
    return Compute(shape, A0, [broadcast_read(a, shape)], a.dtype)


def _column(b: Node) -> Node:
    """Vectors as matrices of one column."""
    return Compute((*b.shape, 1), A0, [Read(b, axes(b.ndim))], b.dtype)


def _identity(a: Node) -> Node:
    i, j = axis(a.ndim - 2), axis(a.ndim - 1)
    return Compute(a.shape, fn.select(fn.eq(i, j), 1, 0), [], a.dtype)


def _spread_both(a: Node, b: Node) -> tuple[Node, Node]:
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return _spread(a, lead), _spread(b, lead)


# --- Cholesky -----------------------------------------------------------------------------------------------------------


def _lower_cholesky(a: Node, *, upper: bool) -> Node:
    if upper:
        return _turned(kernel_call("cholesky", _turned(a))[0])
    return kernel_call("cholesky", a)[0]


def _triangular(a: Node, b: Node, *, transposed: bool, unit: bool = False, upper: bool = False) -> Node:
    return kernel_call("triangular_solve", a, b, transposed=transposed, unit=unit, upper=upper)[0]


def _lower_cholesky_solve(b: Node, factor: Node, *, upper: bool) -> Node:
    """The value from one triangle of the factor; the derivative is that of solving with L L^T, by all of L, as in PyTorch."""
    factor, b = _spread_both(factor, b)
    half = _triangular(factor, b, transposed=upper, upper=upper)
    found = _triangular(factor, half, transposed=not upper, upper=upper)
    triangle = (_UPPER if upper else _LOWER)(factor, diagonal=0)
    factor = map_node(fn.instead(A0, A1), (triangle, factor), factor.dtype)
    turned = _turned(factor)
    a = contract(turned, factor) if upper else contract(factor, turned)
    factors, rows, _ = kernel_call("lu", a)
    history = kernel_call("solve", a, factors, rows, b, transposed=False)[0]
    return map_node(fn.instead(A0, A1), (found, history), b.dtype)


def _lower_cholesky_inverse(factor: Node, *, upper: bool) -> Node:
    return _lower_cholesky_solve(_identity(factor), factor, upper=upper)


cholesky_entry = register(Op("linalg_cholesky", _lower_cholesky, "LinalgCholeskyExBackward0", KEEP))
_old_cholesky = register(Op("cholesky", _lower_cholesky, "CholeskyBackward0", KEEP))
_cholesky_solve = register(Op("cholesky_solve", _lower_cholesky_solve, "CholeskySolveBackward0", KEEP))
_cholesky_inverse = register(Op("cholesky_inverse", _lower_cholesky_inverse, "CholeskyInverseBackward0", KEEP))

DEFINITE = [
    sample(t(3, 3, domain="definite")), one(t(2, 4, 4, domain="definite")), one(t(1, 1, domain="definite")),
    one(t(12, 12, domain="definite")), plain(t(0, 0, domain="definite")), plain(t(0, 3, 3, domain="definite")),
]


@public("linalg", samples=[*DEFINITE, one(t(3, 3, domain="definite"), upper=True)])
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L^T (upper: U with A = U^T U), [..., n, n].  LinAlgError where A is not positive definite."""
    require_matrix(A, "linalg.cholesky")
    found: Tensor = call(cholesky_entry, A, upper=bool(upper))
    require_definite(A, found, "linalg.cholesky", bool(upper))
    return found


@public("", method=True, name="cholesky", samples=[one(t(3, 3, domain="definite")), one(t(3, 3, domain="definite"), True)])
def torch_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """linalg.cholesky by its older name."""
    require_matrix(input, "cholesky")
    found: Tensor = call(_old_cholesky, input, upper=bool(upper))
    require_definite(input, found, "cholesky", bool(upper))
    return found


LOWER = ((1.5, 0.0, 0.0), (-0.5, 2.0, 0.0), (0.25, 1.0, 0.75))
UPPER = ((1.5, -0.5, 0.25), (0.0, 2.0, 1.0), (0.0, 0.0, 0.75))


@public("", method=True, samples=[
    sample(t(3, 2), t(3, 3, seed=1)), one(t(3, 2), t(3, 3, seed=1), True), one(t(2, 3, 1), t(3, 3, seed=1)),
    one(t(3, 2), edges(LOWER)), one(t(3, 2), edges(UPPER), True), one(t(2, 3, 1), edges(LOWER)),
])
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The solution X of L L^T X = B (upper: of L^T L X = B) from a Cholesky factor."""
    require_matrix(L, "cholesky_solve", letter="L")
    require_matrix(B, "cholesky_solve", False, "B")
    _require_system(L, B, "cholesky_solve", True, B.shape[-1], B.shape[-2])
    found: Tensor = call(_cholesky_solve, B, L, upper=bool(upper))
    return found


@public("", method=True, samples=[
    sample(t(3, 3, seed=1)), one(t(3, 3, seed=1), True), one(t(2, 3, 3, seed=1)), one(edges(LOWER)),
    one(edges(UPPER), True),
])
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L^T (upper: of L^T L)."""
    require_matrix(L, "cholesky_inverse", letter="L")
    require_regular(L, "cholesky_inverse")
    found: Tensor = call(_cholesky_inverse, L, upper=bool(upper))
    return found


# --- linear systems -----------------------------------------------------------------------------------------------------


def _lower_solve_triangular(a: Node, b: Node, *, upper: bool, left: bool, unit: bool) -> Node:
    a, b = _spread_both(a, b)
    if left:
        return _triangular(a, b, transposed=False, unit=unit, upper=upper)
    return _turned(_triangular(a, _turned(b), transposed=True, unit=unit, upper=upper))


def _lower_solve(a: Node, b: Node, *, left: bool, vector: bool) -> tuple[Node, ...]:
    """The solution, and the factors that its derivative needs too."""
    a, b = _spread_both(a, _column(b) if vector else b)
    factors, rows, _ = kernel_call("lu", a)
    if not left:
        x = _turned(kernel_call("solve", a, factors, rows, _turned(b), transposed=True)[0])
    else:
        x = kernel_call("solve", a, factors, rows, b, transposed=False)[0]
    if vector:
        x = Compute(x.shape[:-1], A0, [Read(x, (*axes(x.ndim - 1), sympy.Integer(0)))], x.dtype)
    return x, factors, rows


def _lower_inv(a: Node) -> tuple[Node, ...]:
    factors, rows, _ = kernel_call("lu", a)
    return kernel_call("solve", a, factors, rows, _identity(a), transposed=False)[0], factors, rows


_solve_triangular = register(Op("solve_triangular", _lower_solve_triangular, "LinalgSolveTriangularBackward0", KEEP))
solve_entry = register(Op("linalg_solve", _lower_solve, "LinalgSolveExBackward0", KEEP, outputs=3))
inv_entry = register(Op("linalg_inv", _lower_inv, "LinalgInvExBackward0", KEEP, outputs=3))


@public("linalg", samples=[
    sample(t(3, 3), t(3, 2, seed=1), upper=True), one(t(3, 3), t(3, 2, seed=1), upper=False),
    one(t(3, 3), t(2, 3, seed=1), upper=True, left=False), one(t(3, 3), t(2, 3, seed=1), upper=False, left=False),
    one(t(3, 3), t(3, 2, seed=1), upper=False, unitriangular=True), one(t(2, 3, 3), t(3, 1, seed=1), upper=True),
    one(t(3, 3), t(2, 3, 2, seed=1), upper=True, unitriangular=True, left=True), plain(t(0, 0), t(0, 2), upper=True),
])
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False, out: None = None
) -> Tensor:
    """X with A X = B (left=False: X A = B) for triangular A; the other triangle is not read."""
    require_matrix(A, "linalg.solve_triangular")
    require_matrix(B, "linalg.solve_triangular", False, "B")
    _require_system(A, B, "linalg.solve_triangular", left, B.shape[-1], B.shape[-2])
    found: Tensor = call(_solve_triangular, A, B, upper=bool(upper), left=bool(left), unit=bool(unitriangular))
    return found


def is_vector(a: Tensor, b: Tensor) -> bool:
    """PyTorch's rule: one axis, or exactly one vector a matrix of A."""
    if b.ndim == 1:
        return True
    if a.ndim - 1 != b.ndim:
        return False
    pairs = [(x, y) for x, y in zip(b.shape, a.shape[:-1]) if not same_extent(x, y)]
    if pairs and not any(isinstance(x, int) and isinstance(y, int) for x, y in pairs):  # vectors if the sizes happen to agree
        x, y = pairs[0]
        require_different(x, y, RuntimeError, "linalg.solve: B was taken for matrices when the function was traced, and has "
                          "the shape of vectors with an extent of {x}", x=x)
    return not pairs


@public("linalg", samples=[
    sample(t(3, 3), t(3, 2, seed=1)), sample(t(3, 3), t(3, seed=1)), one(t(2, 3, 3), t(2, 3, seed=1)),
    one(t(3, 3), t(2, 3, seed=1), left=False), one(t(2, 3, 3), t(3, 2, seed=1)), one(t(3, 3), t(2, 3, 2, seed=1)),
    one(t(1, 1), t(1, 4, seed=1)), one(t(9, 9), t(9, 5, seed=1)), plain(t(0, 0), t(0, 2)), plain(t(0, 3, 3), t(0, 3, 2)),
    one(edges(((0.0, 1.0), (1.0, 0.0))), edges((2.0, 3.0))),
])
def solve(A: Tensor, B: Tensor, *, left: bool = True, out: None = None) -> Tensor:
    """X with A X = B (left=False: X A = B); B is [..., n, k], or [..., n] for a vector.  LinAlgError where A is singular."""
    require_matrix(A, "linalg.solve")
    require_tensor(B, "linalg.solve", "B", 2)
    if B.ndim == 0:
        raise RuntimeError("linalg.solve: The input tensor B must have at least 2 dimensions.")
    vector = is_vector(A, B)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False")
    rows, columns = (B.shape[-1], 1) if vector else (B.shape[-2], B.shape[-1])
    _require_system(A, B, "linalg.solve", left, columns, rows)
    found, factors, _ = call(solve_entry, A, B, left=bool(left), vector=vector)
    require_regular(factors, "linalg.solve")
    solution: Tensor = found
    return solution


INVERSES = [sample(t(3, 3)), one(t(2, 4, 4)), one(t(1, 1)), plain(t(0, 0)), one(edges(((0.0, 2.0), (1.0, 0.0))))]


def _inverse(input: Tensor, name: str) -> Tensor:
    require_matrix(input, name)
    found, factors, _ = call(inv_entry, input)
    require_regular(factors, "linalg.inv")
    inverse: Tensor = found
    return inverse


@public("linalg", samples=INVERSES)
def inv(A: Tensor, *, out: None = None) -> Tensor:
    """The inverse, [..., n, n].  LinAlgError where A is singular."""
    return _inverse(A, "linalg.inv")


@public("", method=True, samples=INVERSES[:1])
def inverse(input: Tensor, *, out: None = None) -> Tensor:
    """linalg.inv by its older name."""
    return _inverse(input, "linalg.inv")


# --- eigenvalues and orthogonal factors -----------------------------------------------------------------------------------


def _lower_eigh(a: Node, *, upper: bool) -> tuple[Node, ...]:
    return kernel_call("eigh", _turned(a) if upper else a)


def _lower_qr(a: Node) -> tuple[Node, ...]:
    return kernel_call("qr", a)


_eigh = register(Op("linalg_eigh", _lower_eigh, "LinalgEighBackward0", KEEP, outputs=2))
qr_entry = register(Op("linalg_qr", _lower_qr, "LinalgQrBackward0", KEEP, outputs=2))


class linalg_eigh_result(NamedTuple):
    eigenvalues: Any
    eigenvectors: Any

    def __repr__(self) -> str:
        return (f"torch.return_types.linalg_eigh(\neigenvalues={self.eigenvalues!r},\n"
                f"eigenvectors={self.eigenvectors!r})")


def _eigen(A: Tensor, UPLO: str, name: str) -> linalg_eigh_result:
    require_matrix(A, name)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return linalg_eigh_result(*call(_eigh, A, upper=UPLO.upper() == "U"))


@public("linalg")
def eigh(A: Tensor, UPLO: str = "L", *, out: None = None) -> linalg_eigh_result:
    """Eigenvalues ascending and eigenvectors (columns) of symmetric matrices [..., n, n], from one triangle.

    By Jacobi's method; the signs of eigenvectors may differ from PyTorch's.  Derivatives by eigenvectors take them to be
    of distinct eigenvalues.
    """
    return _eigen(A, UPLO, "linalg.eigh")


@public("linalg", samples=[
    sample(t(3, 3, domain="definite")), one(t(2, 4, 4, domain="definite")), one(t(3, 3, domain="definite"), "U"),
    one(t(1, 1, domain="definite")), one(t(12, 12, domain="definite")), plain(t(0, 0)), plain(t(0, 3, 3)),
])
def eigvalsh(A: Tensor, UPLO: str = "L", *, out: None = None) -> Tensor:
    """The eigenvalues of symmetric matrices, ascending."""
    found: Tensor = _eigen(A, UPLO, "linalg.eigvalsh").eigenvalues
    return found


# --- LU and determinants ------------------------------------------------------------------------------------------------


def _lower_lu(a: Node) -> tuple[Node, ...]:
    """L, U and the order of the rows."""
    factors, rows, _ = kernel_call("lu", a)
    i, j = axis(a.ndim - 2), axis(a.ndim - 1)
    below = _LOWER(factors, diagonal=-1)
    unit = Compute(a.shape, fn.select(fn.eq(i, j), 1, A0), [Read(below, axes(a.ndim))], a.dtype)
    return unit, _UPPER(factors, diagonal=0), rows


def _lower_exchange(rows: Node, *, dtype: DType) -> Node:
    """P with (P X)[rows[j]] = X[j]."""
    n = rows.ndim
    body = fn.select(fn.eq(A0, axis(n - 1)), 1, 0)
    return Compute((*rows.shape, rows.shape[-1]), body, [Read(rows, (*axes(n - 1), axis(n)))], dtype)


def _lower_det(a: Node) -> tuple[Node, ...]:
    factors, rows, exchanges = kernel_call("lu", a)
    return kernel_call("det", a, factors, rows, exchanges)[0], factors, rows, exchanges


def _lower_slogdet(a: Node) -> tuple[Node, ...]:
    factors, rows, exchanges = kernel_call("lu", a)
    lead, r = axes(a.ndim - 2), reduce_axis(0)
    signs = Compute(a.shape[:-2], fn.sign(A0), [Read(factors, (*lead, r, r))], a.dtype, reduce_shape=a.shape[-1:],
                    reducer="prod")
    odd = fn.ne(fn.remainder(A1, 2), 0)
    sign = Compute(a.shape[:-2], fn.select(odd, -A0, A0), [Read(signs, lead), Read(exchanges, lead)], a.dtype)
    return sign, kernel_call("logabsdet", a, factors, rows)[0], factors, rows


lu_entry = register(Op("linalg_lu", _lower_lu, "LinalgLuBackward0", KEEP, outputs=3))
exchange = register(Op("lu_exchange", _lower_exchange, "NotDifferentiable", KEEP))
_det = register(Op("linalg_det", _lower_det, "LinalgDetBackward0", KEEP, outputs=4))
_slogdet = register(Op("linalg_slogdet", _lower_slogdet, "LinalgSlogdetBackward0", KEEP, outputs=4))


class linalg_slogdet_result(NamedTuple):
    sign: Any
    logabsdet: Any

    def __repr__(self) -> str:
        name = type(self).__name__.removesuffix("_result")
        return f"torch.return_types.{name}(\nsign={self.sign!r},\nlogabsdet={self.logabsdet!r})"


class slogdet_result(linalg_slogdet_result):
    __slots__ = ()


DETERMINANTS = [sample(t(3, 3)), one(t(2, 4, 4)), one(t(1, 1)), plain(t(0, 0)), plain(t(0, 2, 2)),
                one(edges(((0.0, 1.0), (1.0, 0.0)))), plain(edges(((0.0, 0.0), (0.0, 1.0))))]


def _determinant(input: Tensor) -> Tensor:
    require_matrix(input, "linalg.det")
    found: Tensor = call(_det, input)[0]
    return found


@public("linalg", samples=DETERMINANTS)
def det(A: Tensor, *, out: None = None) -> Tensor:
    """The determinant of every matrix, [..., n, n] -> [...]."""
    return _determinant(A)


@public("", method=True, name="det", samples=DETERMINANTS[:1])
def torch_det(input: Tensor) -> Tensor:
    """linalg.det."""
    return _determinant(input)


def _sign_and_log(input: Tensor) -> linalg_slogdet_result:
    require_matrix(input, "linalg.slogdet")
    return linalg_slogdet_result(*call(_slogdet, input)[:2])


@public("linalg", samples=DETERMINANTS)
def slogdet(A: Tensor, *, out: None = None) -> linalg_slogdet_result:
    """The sign of the determinant and the logarithm of its size."""
    return _sign_and_log(A)


@public("", method=True, name="slogdet", samples=DETERMINANTS[:1])
def torch_slogdet(input: Tensor) -> slogdet_result:
    """linalg.slogdet."""
    return slogdet_result(*_sign_and_log(input))


@public("", method=True, samples=[
    sample(t(3, 3, domain="definite")), one(t(2, 4, 4, domain="definite")), plain(edges(((0.0, 1.0), (1.0, 0.0)))),
    plain(edges(((0.0, 0.0), (0.0, 1.0)))), plain(t(0, 0)),
])
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; nan where that is negative, -inf where it is 0."""
    require_matrix(input, "logdet")
    sign, size = _sign_and_log(input)
    found: Tensor = where(sign == -1, float("nan"), size)
    return found


eye_like = register(Op("matrix_power_zero", lambda a: _identity(a), "CopyBackwards", KEEP))


@public("linalg", samples=[one(t(3, 3), 3), one(t(3, 3), 0), one(t(3, 3), -2), one(t(2, 3, 3), 4), one(t(3, 3), 1)])
def matrix_power(A: Tensor, n: int, *, out: None = None) -> Tensor:
    """The n-th power of every matrix; of its inverse for negative n."""
    require_matrix(A, "linalg.matrix_power")
    if n == 0:
        found: Tensor = call(eye_like, A)
        return found
    square = inv(A) if n < 0 else A
    result: Tensor | None = None
    for bit in reversed(f"{abs(n):b}"):
        if bit == "1":
            result = square if result is None else matmul(result, square)
        square = matmul(square, square)  # the last one nobody looks at is never computed
    assert result is not None
    return result
