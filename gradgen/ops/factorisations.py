"""QR, LU and singular vectors of matrices of any shape, from the kernels for square and tall ones.

Columns beyond the square part of a wide matrix are what the factors of the square part make of them.  Full sets of vectors
are completed by an orthonormal basis of what is missing, which is not unique: PyTorch's is another one, and neither has
derivatives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sympy

from gradgen.ir.nodes import Compute
from gradgen.ops.joining import cat, narrow
from gradgen.ops.linear_algebra import eigh, exchange, eye_like, lu_entry, qr_entry, require_matrix, solve_triangular
from gradgen.ops.matmul import matmul
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.samples import one, plain, sample, t
from gradgen.ops.table import call, public


class linalg_qr_result(NamedTuple):
    Q: Any
    R: Any

    def __repr__(self) -> str:
        name = type(self).__name__.removesuffix("_result")
        return f"torch.return_types.{name}(\nQ={self.Q!r},\nR={self.R!r})"


class qr_result(linalg_qr_result):
    __slots__ = ()


class linalg_lu_result(NamedTuple):
    P: Any
    L: Any
    U: Any

    def __repr__(self) -> str:
        return f"torch.return_types.linalg_lu(\nP={self.P!r},\nL={self.L!r},\nU={self.U!r})"


def sizes(A: Any, name: str) -> tuple[int, int]:
    """Rows and columns; both must be numbers."""
    m, n = A.shape[-2:]
    if not isinstance(m, int) or not isinstance(n, int):
        raise RuntimeError(f"{name}: whether {m} or {n} is larger is not known here; use matrices of known sizes")
    return m, n


_nothing = register(Op(
    "zero_matrices", lambda a, *, shape: Compute((*a.shape[:-2], *shape), sympy.Integer(0), [], a.dtype), "NotDifferentiable",
    KEEP,
))


def nothing(A: Any, shape: tuple[int, int]) -> Any:
    """Zero matrices of a shape, as many and of the dtype as in A."""
    return call(_nothing, A.detach(), shape=shape)


def completed(Q: Any) -> Any:
    """Orthonormal columns [..., m, k] and m - k more: eigenvectors of I - Q Q^T for the eigenvalue 1.  They have no
    derivatives."""
    m, k = Q.shape[-2:]
    fixed = Q.detach()
    spanned = matmul(fixed, fixed.transpose(-2, -1))
    missing = call(eye_like, spanned) - spanned
    return cat([Q, narrow(eigh(missing)[1].detach(), -1, k, m - k)], -1)


# --- QR ---------------------------------------------------------------------------------------------------------------


def _factors(A: Any, name: str) -> Any:
    """Q [..., m, k] and R [..., k, n], k the smaller of m and n."""
    require_matrix(A, name, False)
    if A.shape[-1] == A.shape[-2]:
        return call(qr_entry, A)
    m, n = sizes(A, name)
    if m > n:
        return call(qr_entry, A)
    q, r = call(qr_entry, narrow(A, -1, 0, m))
    return q, cat([r, matmul(q.transpose(-2, -1), narrow(A, -1, m, n - m))], -1)


QRS = [sample(t(3, 3)), one(t(5, 3)), one(t(2, 4, 2)), one(t(1, 1)), one(t(4, 1)), plain(t(0, 0)), plain(t(0, 3, 2)),
       one(t(3, 5)), one(t(2, 2, 4)), one(t(3, 5), "complete")]


@public("linalg", samples=QRS)
def qr(A: Any, mode: str = "reduced", *, out: None = None) -> linalg_qr_result:
    """Q with orthonormal columns and R upper triangular with A = Q R, for [..., m, n].

    "reduced": Q [m, k], R [k, n], k the smaller of m and n; "complete": Q [m, m], R [m, n]; "r": R as reduced, Q empty.
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
                           "'complete'")
    q, r = _factors(A, "linalg.qr")
    if mode == "r":
        return linalg_qr_result(q.detach().reshape(-1)[:0], r.detach())
    if mode == "complete" and A.shape[-1] != A.shape[-2]:
        m, n = sizes(A, "linalg.qr")
        if m > n:
            below = nothing(A, (m - n, n))  # PyTorch has no derivative here either
            return linalg_qr_result(completed(q.detach()), cat([r.detach(), below], -2))
    return linalg_qr_result(q, r)


@public("", method=True, name="qr", samples=QRS[1:2])
def torch_qr(input: Any, some: bool = True) -> qr_result:
    """linalg.qr by its older name; `some=False` is its mode "complete"."""
    return qr_result(*qr(input, "reduced" if some else "complete"))


# --- LU ---------------------------------------------------------------------------------------------------------------


def pivoted(A: Any, name: str) -> tuple[Any, Any, Any]:
    """L [..., m, k], U [..., k, n] and the order of the rows, with A[rows] = L U."""
    require_matrix(A, name, False)
    if A.shape[-1] == A.shape[-2]:
        return call(lu_entry, A)  # type: ignore[no-any-return]
    m, n = sizes(A, name)
    if m < n:
        low, up, rows = call(lu_entry, narrow(A, -1, 0, m))
        beyond = matmul(call(exchange, rows, dtype=A.dtype).transpose(-2, -1), narrow(A, -1, m, n - m))
        right = solve_triangular(low, beyond, upper=False, unitriangular=True)
        return low, cat([up, right], -1), rows
    # Exchanges are those of the matrix filled up with zeros, where they stop at column n; with the rows in order the
    # upper part has none, and what is below it follows from U.
    rows = call(lu_entry, cat([A.detach(), nothing(A, (m, m - n))], -1))[2]
    ordered = matmul(call(exchange, rows, dtype=A.dtype).transpose(-2, -1), A)
    low, up, _ = call(lu_entry, narrow(ordered, -2, 0, n))
    below = solve_triangular(up, narrow(ordered, -2, n, m - n), upper=True, left=False)
    return cat([low, below], -2), up, rows


@public("linalg", samples=[sample(t(3, 3)), one(t(2, 4, 4)), one(t(1, 1)), plain(t(0, 0)), one(t(5, 3)), one(t(2, 3, 5)),
                           plain(t(0, 3)), plain(t(3, 0))])
def lu(A: Any, *, pivot: bool = True, out: None = None) -> linalg_lu_result:
    """P, L, U with A = P L U for [..., m, n]: exchanges of rows, unit lower trapezoid [m, k], upper [k, n]."""
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    low, up, rows = pivoted(A, "linalg.lu")
    return linalg_lu_result(call(exchange, rows, dtype=A.dtype), low, up)
