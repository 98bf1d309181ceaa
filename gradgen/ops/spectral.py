"""Singular values and what is made of them (pseudo-inverse, rank, condition, norms), least squares, functions of
matrices, products of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradgen.ir import dtypes
from gradgen.ir.kernels import call as kernel_call
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import axes
from gradgen.ops.comparison import where
from gradgen.ops.factorisations import completed, nothing, pivoted, sizes
from gradgen.ops.host import host_value, made, required_value
from gradgen.ops.joining import cat, narrow
from gradgen.ops.linear_algebra import (
    cholesky_entry,
    eigh,
    inv,
    inv_entry,
    is_vector,
    matrix_power,
    require_matrix,
    solve,
    solve_entry,
    solve_triangular,
)
from gradgen.ops.matmul import matmul
from gradgen.ops.moving import pad
from gradgen.ops.norms import vector_norm
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.samples import one, plain, sample, t
from gradgen.ops.shape import to_dtype
from gradgen.ops.shapes import A0, return_text, shape_text, wrap_dim
from gradgen.ops.table import FUNCTIONS, call, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

INF = math.inf

# --- singular value decomposition -------------------------------------------------------------------------------------


def _turned(a: Node) -> Node:
    i = axes(a.ndim)
    return Compute((*a.shape[:-2], a.shape[-1], a.shape[-2]), A0, [Read(a, (*i[:-2], i[-1], i[-2]))], a.dtype)


def _lower_svd(a: Node, *, wide: bool) -> tuple[Node, ...]:
    u, s, v = kernel_call("svd", _turned(a) if wide else a)
    return (v, s, _turned(u)) if wide else (u, s, _turned(v))


_svd = register(Op("linalg_svd", _lower_svd, "LinalgSvdBackward0", KEEP, outputs=3))


class linalg_svd_result(NamedTuple):
    U: Any
    S: Any
    Vh: Any

    __repr__ = return_text


class svd_result(NamedTuple):
    U: Any
    S: Any
    V: Any

    __repr__ = return_text


def _decomposed(A: Any, name: str) -> Any:
    require_matrix(A, name, False)
    m, n = sizes(A, name)
    return call(_svd, A, wide=m < n)


@public("linalg")
def svd(A: Any, full_matrices: bool = True, *, driver: str | None = None, out: None = None) -> linalg_svd_result:
    """A = U diag(S) Vh for [..., m, n], S descending; vectors are known up to signs, which may differ from PyTorch's.

    With full_matrices U is [m, m] and Vh [n, n], without [m, k] and [k, n].  What the full ones have more is one of many
    orthonormal bases; derivatives do not go through it.
    """
    u, s, vh = _decomposed(A, "linalg.svd")
    if full_matrices:
        m, n = A.shape[-2:]
        u = completed(u) if m > n else u
        vh = completed(vh.transpose(-2, -1)).transpose(-2, -1) if n > m else vh
    return linalg_svd_result(u, s, vh)


@public("", method=True, name="svd")
def torch_svd(input: Any, some: bool = True, compute_uv: bool = True) -> svd_result:
    """linalg.svd by its older name, with V in place of its transpose."""
    u, s, vh = svd(input, full_matrices=not some)
    if not compute_uv:
        u, vh = FUNCTIONS[""]["zeros_like"](u), FUNCTIONS[""]["zeros_like"](vh)
    return svd_result(u, s, vh.transpose(-2, -1))


MATRICES = [sample(t(3, 3)), one(t(4, 2)), one(t(2, 4)), one(t(2, 3, 2)), one(t(1, 1)), plain(t(0, 3))]


@public("linalg", samples=MATRICES[:-1])
def svdvals(A: Any, *, driver: str | None = None, out: None = None) -> Tensor:
    """Singular values, descending."""
    return _decomposed(A, "linalg.svdvals")[1]  # type: ignore[no-any-return]


def _cut(s: Any, A: Any, atol: Any, rtol: Any) -> Any:
    """Below which singular values count as 0: max(atol, rtol * the largest)."""
    if rtol is None:
        given = isinstance(atol, (int, float)) and atol > 0
        rtol = 0.0 if given else max(A.shape[-2:]) * float(_eps(A.dtype))
    largest = narrow(s, -1, 0, min(1, s.shape[-1]))
    return (largest * rtol).clamp(min=0.0 if atol is None else atol).detach()


def _eps(kind: Any) -> float:
    return 2.0**-52 if kind is dtypes.float64 else 2.0**-23


def _lower_pinv(a: Node, inverse: Node) -> Node:
    return kernel_call("pseudo_inverse", a, inverse)[0]


_pinv = register(Op("linalg_pinv", _lower_pinv, "LinalgPinvBackward0", KEEP))

INVERTED = [sample(t(3, 3)), one(t(4, 2)), one(t(2, 4)), one(t(2, 3, 2)), one(t(3, 3, domain="definite"), hermitian=True)]


@public("linalg", samples=INVERTED)
def pinv(
    A: Any, *, atol: Any = None, rtol: Any = None, hermitian: bool = False, rcond: Any = None, out: None = None
) -> Tensor:
    """The pseudo-inverse (Moore-Penrose), [..., n, m]; singular values up to max(atol, rtol * the largest) count as 0.

    Its derivatives are those at constant rank.
    """
    rtol = rcond if rtol is None else rtol
    require_matrix(A, "linalg.pinv", False)
    if hermitian:
        values, vectors = eigh(A.detach())
        size = values.abs()
        bound = _cut(size.sort(-1, descending=True)[0], A, atol, rtol)
        inverse = where(size > bound, 1 / where(size > bound, values, 1.0), 0.0)
        return call(_pinv, A, matmul(vectors * inverse.unsqueeze(-2), vectors.transpose(-2, -1)))  # type: ignore[no-any-return]
    u, s, vh = _decomposed(A.detach(), "linalg.pinv")
    bound = _cut(s, A, atol, rtol)
    inverse = where(s > bound, 1 / where(s > bound, s, 1.0), 0.0)
    start = matmul(vh.transpose(-2, -1) * inverse.unsqueeze(-2), u.transpose(-2, -1))
    return call(_pinv, A, start)  # type: ignore[no-any-return]


@public("", method=True, samples=[one(t(3, 2))])
def pinverse(input: Any, rcond: float = 1e-15) -> Tensor:
    """linalg.pinv by its older name."""
    return pinv(input, rcond=rcond)


@public("linalg", samples=[
    plain(t(3, 3)), plain(t(4, 2)), plain(t(2, 3, 2)), plain(t(3, 3, domain="definite"), hermitian=True),
])
def matrix_rank(
    A: Any, *, tol: Any = None, atol: Any = None, rtol: Any = None, hermitian: bool = False, out: None = None
) -> Tensor:
    """How many singular values are above max(atol, rtol * the largest)."""
    require_matrix(A, "linalg.matrix_rank", False)
    A = A.detach()
    s = eigh(A)[0].abs().sort(-1, descending=True)[0] if hermitian else svdvals(A)
    bound = _cut(s, A, tol if tol is not None else atol, 0.0 if tol is not None else rtol)
    return (s > bound).sum(-1)  # type: ignore[no-any-return]


@public("linalg", samples=[
    sample(t(3, 3)), one(t(4, 2)), plain(t(3, 3), "fro"), plain(t(3, 3), 1), plain(t(3, 3), INF), one(t(3, 3), -2),
    one(t(2, 3, 3), 2), plain(t(3, 3), "nuc"),
])
def cond(A: Any, p: Any = None, *, out: None = None) -> Tensor:
    """The condition number: the ratio of singular values (p None, 2, -2), or |A| |A^-1| in another norm."""
    require_matrix(A, "linalg.cond", False)
    if p in (None, 2, -2):
        s = svdvals(A)
        largest, least = s.select(-1, 0), s.select(-1, s.shape[-1] - 1)
        return least / largest if p == -2 else largest / least  # type: ignore[no-any-return]
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"linalg.cond(): A must be batches of square matrices, but they are {A.shape[-2]} by "
                           f"{A.shape[-1]} matrices")
    norm = FUNCTIONS["linalg"]["matrix_norm"]
    return norm(A, p) * norm(inv(A), p)  # type: ignore[no-any-return]


# --- least squares ----------------------------------------------------------------------------------------------------


class linalg_lstsq_result(NamedTuple):
    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any

    __repr__ = return_text


@public("linalg")
def lstsq(A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None) -> linalg_lstsq_result:
    """X that makes |A X - B| least (of several the shortest), by the pseudo-inverse, and the rank; the squared residuals
    with a driver that gives them ("gels", "gelsd", "gelss") for m > n, the singular values with the last two.

    B is [..., m, k], or [..., m] where A has one axis more.
    """
    require_tensor(A, "linalg.lstsq", "input")
    require_tensor(B, "linalg.lstsq", "other", 2)
    if A.ndim < 2:
        raise RuntimeError("torch.linalg.lstsq: input must have at least 2 dimensions.")
    vector = B.ndim == A.ndim - 1
    right = B.unsqueeze(-1) if vector else B
    if right.shape[-2] != A.shape[-2]:
        raise RuntimeError(f"torch.linalg.lstsq: input.size(-2) should match other.size(-{1 if vector else 2})")
    m, n = A.shape[-2:]
    inverse = pinv(A, rtol=rcond)
    solution = matmul(inverse, right)
    s = svdvals(A.detach())
    rank = (s > _cut(s, A, None, rcond)).sum(-1)
    wanted = m > n and driver not in (None, "gelsy")
    residuals = (matmul(A, solution) - right).square().sum(-2) if wanted else solution.reshape(-1)[:0]
    if vector:
        solution = solution.squeeze(-1)
    shown = driver in ("gelsd", "gelss")
    rank = rank.reshape(-1)[:0] if driver == "gels" else rank  # which takes the rank to be full
    return linalg_lstsq_result(solution, residuals, rank, s if shown else s.reshape(-1)[:0])


# --- functions of matrices --------------------------------------------------------------------------------------------

# theta_13 of Al-Mohy & Higham, A new scaling and squaring algorithm for the matrix exponential, 2009, and the coefficients of
# the diagonal Pade approximant of degree 13 of Higham, 2005
_THETA = 4.25
_PADE = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
         670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1)
_HALVINGS = 12


@public("linalg", "", method=True, name="matrix_exp", samples=[
    sample(t(3, 3)), one(t(2, 2, 2)), one(t(1, 1)), one(t(4, 4, domain="large")), plain(t(0, 0)),
])
def matrix_exp(A: Any) -> Tensor:
    """The exponential of every matrix, by scaling, a Pade approximant and squaring (Higham, 2005).

    The number of squarings is chosen for each matrix, up to 12 (norms up to 17,000)."""
    require_matrix(A, "linalg.matrix_exp")
    if A.numel() == 0:
        return A.clone()  # type: ignore[no-any-return]
    norm = pad(vector_norm(A.detach(), 1, -2), (0, 1)).amax(-1)  # with a 0 beside it, so that no columns are fine
    wanted = (norm / _THETA).log2().ceil().clamp(0, _HALVINGS).unsqueeze(-1).unsqueeze(-1)
    wanted = where(wanted.isnan(), 0.0, wanted)
    x = A * (-wanted).exp2()
    one_ = matrix_power(x, 0)
    x2 = matmul(x, x)
    x4 = matmul(x2, x2)
    x6 = matmul(x4, x2)
    c = [float(v) for v in _PADE]
    odd = matmul(x6, c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * one_
    odd = matmul(x, odd)
    even = matmul(x6, c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * one_
    result: Any = solve(even - odd, even + odd)
    for k in range(_squarings(wanted)):
        result = where(wanted > k, matmul(result, result), result)
    return result  # type: ignore[no-any-return]


def _squarings(wanted: Any) -> int:
    """As many as some matrix needs, where the values are known; all where they are not."""
    values = host_value(wanted)
    return _HALVINGS if values is None else int(values.max(initial=0))


# --- products ---------------------------------------------------------------------------------------------------------


@public("linalg", samples=[
    one((t(2, 3), t(3, 4, seed=1), t(4, 2, seed=2))),
    one((t(3), t(3, 4, seed=1), t(4, seed=2))), one((t(2, 3), t(3, 2, seed=1))),
    one((t(2, 3), t(3, 4, seed=1), t(4, 5), t(5, 2))),
])
def multi_dot(tensors: Sequence[Any], *, out: None = None) -> Tensor:
    """The product of matrices (the first and the last may be vectors) in the order that needs the fewest operations."""
    found = list(tensors)
    if len(found) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(found)}")
    for k, x in enumerate(found):
        ends = k in (0, len(found) - 1)
        if not (x.ndim == 2 or (ends and x.ndim == 1)):
            what = "1D or 2D" if ends else "2D"
            raise RuntimeError(f"multi_dot(): tensor {k} must be {what} but got {x.ndim}D")
    row, column = found[0].ndim == 1, found[-1].ndim == 1
    if row:
        found[0] = found[0].unsqueeze(0)
    if column:
        found[-1] = found[-1].unsqueeze(-1)
    for k, (a, b) in enumerate(pairwise(found)):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(f"multi_dot(): tensors {k} and {k + 1} with shapes {shape_text(a.shape)} and "
                               f"{shape_text(b.shape)} cannot be multiplied")
    result = _ordered(found)
    if row:
        result = result.squeeze(0)
    return result.squeeze(-1) if column else result  # type: ignore[no-any-return]


def _ordered(found: list[Any]) -> Any:
    """By dynamic programming over the places of the last product (Cormen et al., Introduction to Algorithms, 14.2)."""
    n = len(found)
    sizes = [x.shape[0] for x in found] + [found[-1].shape[1]]
    if not all(isinstance(s, int) for s in sizes):
        result = found[0]
        for x in found[1:]:
            result = matmul(result, x)
        return result
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            choices = [(cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i][j], cut[i][j] = min(choices)

    def product(i: int, j: int) -> Any:
        return found[i] if i == j else matmul(product(i, cut[i][j]), product(cut[i][j] + 1, j))

    return product(0, n - 1)


@public("linalg", samples=[
    sample(t(2, 3), t(2, 3, seed=1)), one(t(2, 3), t(3, seed=1)), one(t(2, 3), t(2, 3, seed=1), dim=0),
])
def vecdot(x: Any, y: Any, *, dim: int = -1, out: None = None) -> Tensor:
    """The sum of products along `dim`."""
    return (x * y).sum(dim)  # type: ignore[no-any-return]


public("linalg", name="matmul", samples=[one(t(2, 3), t(3, 2, seed=1))])(matmul)


@public("linalg", samples=[one(t(2, 3, 6)), one(t(4, 2, 2), ind=1)])
def tensorinv(A: Any, ind: int = 2, *, out: None = None) -> Tensor:
    """The inverse for tensordot: the first `ind` axes against the others."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    shape = tuple(A.shape)
    if ind > len(shape):
        raise RuntimeError(f"ArrayRef: invalid slice, N = {ind}; size = {len(shape)}")
    rows, columns = math.prod(shape[:ind]), math.prod(shape[ind:])
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{columns} != {rows}"
        )
    return inv(A.reshape(rows, columns)).reshape(shape[ind:] + shape[:ind])


@public("linalg", samples=[one(t(2, 3, 6), t(2, 3, seed=1))])
def tensorsolve(A: Any, B: Any, dims: Sequence[int] | None = None, *, out: None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B."""
    if dims is not None:
        moved = [wrap_dim(d, A.ndim) for d in dims]
        A = A.permute([d for d in range(A.ndim) if d not in moved] + moved)
    rest = tuple(A.shape)[B.ndim :]
    size = math.prod(rest)
    if size != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but "
            f"got {size} != {B.numel()}"
        )
    return solve(A.reshape(-1, size), B.reshape(-1)).reshape(rest)


# --- older and checked forms ------------------------------------------------------------------------------------------


class linalg_cholesky_ex_result(NamedTuple):
    L: Any
    info: Any

    __repr__ = return_text


class linalg_inv_ex_result(NamedTuple):
    inverse: Any
    info: Any

    __repr__ = return_text


class linalg_solve_ex_result(NamedTuple):
    result: Any
    info: Any

    __repr__ = return_text


def _failed(result: Any, axes_: int) -> Any:
    """1 where a matrix's result is nan, as far as LAPACK's codes tell it."""
    found = result.detach().isnan()
    for _ in range(axes_):
        found = found.any(-1)
    return to_dtype(found, dtypes.int32)


@public("linalg")
def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False, out: None = None) -> linalg_cholesky_ex_result:
    """linalg.cholesky, and for every matrix 0, or 1 where it is not positive definite."""
    require_matrix(A, "linalg.cholesky_ex")
    found = call(cholesky_entry, A, upper=bool(upper))
    return linalg_cholesky_ex_result(found, _failed(found, 2))


@public("linalg")
def inv_ex(A: Any, *, check_errors: bool = False, out: None = None) -> linalg_inv_ex_result:
    """linalg.inv, and for every matrix 0, or 1 where it is singular."""
    require_matrix(A, "linalg.inv_ex")
    found = call(inv_entry, A)[0]
    return linalg_inv_ex_result(found, _failed(found, 2))


@public("linalg")
def solve_ex(
    A: Any, B: Any, *, left: bool = True, check_errors: bool = False, out: None = None
) -> linalg_solve_ex_result:
    """linalg.solve, and for every matrix 0, or 1 where it is singular."""
    require_matrix(A, "linalg.solve_ex")
    vector = is_vector(A, B)
    found = call(solve_entry, A, B, left=bool(left), vector=vector)[0]
    return linalg_solve_ex_result(found, _failed(found, 1 if vector else 2))




@public("", method=True, name="matrix_power")
def torch_matrix_power(input: Any, n: int, *, out: None = None) -> Tensor:
    """linalg.matrix_power."""
    return matrix_power(input, n)




# --- LU factors, packed as LAPACK has them ----------------------------------------------------------------------------


class linalg_lu_factor_result(NamedTuple):
    LU: Any
    pivots: Any

    __repr__ = return_text


def _exchanges(rows: Any) -> Any:
    """The order of rows [..., n] as exchanges, from 1: row k changed places with row pivots[k]."""
    order = required_value(rows, "linalg.lu_factor", "linalg.solve")
    n = order.shape[-1]
    found = np.zeros(order.shape, np.int32)
    for place in np.ndindex(*order.shape[:-1]):
        now = list(range(n))
        for k, wanted in enumerate(order[place]):
            j = now.index(int(wanted), k)
            now[k], now[j] = now[j], now[k]
            found[(*place, k)] = j + 1
    return made(found, dtypes.int32)


@public("linalg")
def lu_factor(A: Any, *, pivot: bool = True, out: None = None) -> linalg_lu_factor_result:
    """Both triangles of linalg.lu in one matrix, and the exchanges of rows; outside traces."""
    if not pivot:
        raise NotImplementedError("linalg.lu_factor: only with pivoting")
    low, up, rows = pivoted(A, "linalg.lu_factor")
    below, above = low.tril(-1), up.triu()
    (m, n), k = A.shape[-2:], low.shape[-1]
    if n > k:
        below = cat([below, nothing(A, (m, n - k))], -1)
    if m > k:
        above = cat([above, nothing(A, (m - k, n))], -2)
    return linalg_lu_factor_result(below + above, _exchanges(rows)[..., :k])


@public("linalg")
def lu_solve(LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False, out: None = None) -> Tensor:
    """X with A X = B from lu_factor(A) (left=False: X A = B; adjoint: with A transposed)."""
    if not left:
        return lu_solve(LU, pivots, B.transpose(-2, -1), adjoint=not adjoint).transpose(-2, -1)
    exchanges = required_value(pivots, "linalg.lu_solve", "linalg.solve")
    n = exchanges.shape[-1]
    permutation = np.zeros((*exchanges.shape, n))
    for place in np.ndindex(*exchanges.shape[:-1]):
        now = list(range(n))
        for k, j in enumerate(exchanges[place]):
            now[k], now[j - 1] = now[j - 1], now[k]
        permutation[place][np.arange(n), now] = 1
    p = made(permutation, LU.dtype)
    if adjoint:
        half = solve_triangular(LU.transpose(-2, -1), B, upper=False)
        found = solve_triangular(LU.transpose(-2, -1), half, upper=True, unitriangular=True)
        return matmul(p.transpose(-2, -1), found)
    half = solve_triangular(LU, matmul(p, B), upper=False, unitriangular=True)
    return solve_triangular(LU, half, upper=True)


@public("", method=True, name="lu_solve")
def torch_lu_solve(b: Any, LU_data: Any, LU_pivots: Any) -> Tensor:
    """linalg.lu_solve with the right side first."""
    return lu_solve(LU_data, LU_pivots, b)
