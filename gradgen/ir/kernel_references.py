"""The named kernels in NumPy, for the interpreter: along all leading axes, in float64, written to be obviously right."""

from __future__ import annotations

import numpy as np

Results = tuple[np.ndarray, ...]


def argsort(x: np.ndarray, *, descending: bool) -> Results:
    """The stable order along the last axis; nan counts as greater than everything."""
    if not descending:
        return (np.argsort(x, axis=-1, kind="stable").astype(np.int64),)
    order = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return ((x.shape[-1] - 1 - order).astype(np.int64),)


def _stack(x: np.ndarray, core: int) -> np.ndarray:
    """The leading axes as one; floats as float64."""
    lead = int(np.prod(x.shape[: x.ndim - core]))
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return np.array(wide.reshape(lead, *x.shape[x.ndim - core:]))


def cholesky(a: np.ndarray) -> Results:
    """L with A = L L^T, from the lower triangle; nan all over where A is not positive definite."""
    result = _stack(a, 2)
    for m, matrix in enumerate(result):
        low = np.tril(matrix)
        try:
            if not np.isfinite(low).all():
                raise np.linalg.LinAlgError
            result[m] = np.linalg.cholesky(low + np.tril(low, -1).T)
        except np.linalg.LinAlgError:
            result[m] = np.nan
    return (result.reshape(a.shape).astype(a.dtype),)


def _triangle(a: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    found = np.triu(a) if upper else np.tril(a)
    if unit:
        np.fill_diagonal(found, 1)
    return found


def _substituted(t: np.ndarray, b: np.ndarray, lower: bool) -> np.ndarray:
    """The solution of T X = B, T triangular, row by row."""
    x = b.copy()
    n = len(t)
    for i in range(n) if lower else reversed(range(n)):
        done = slice(0, i) if lower else slice(i + 1, n)
        x[i] = (x[i] - t[i, done] @ x[done]) / t[i, i]
    return x


def triangular_solve(a: np.ndarray, b: np.ndarray, *, transposed: bool, unit: bool, upper: bool) -> Results:
    """X with T X = B, or T^T X = B, where T is one triangle of A."""
    result = _stack(b, 2)
    for m, matrix in enumerate(_stack(a, 2)):
        t = _triangle(matrix, upper, unit)
        result[m] = _substituted(t.T if transposed else t, result[m], upper == transposed)
    return (result.reshape(b.shape).astype(a.dtype),)


def lu(a: np.ndarray) -> Results:
    """Gaussian elimination with partial pivoting: L and U in one, the order of the rows, how often two were exchanged."""
    packed = _stack(a, 2)
    count, n = packed.shape[:2]
    rows = np.tile(np.arange(n), (count, 1))
    exchanges = np.zeros(count, np.int64)
    for m, x in enumerate(packed):
        for k in range(n):
            p = k + int(np.argmax(np.where(np.isnan(x[k:, k]), -1, np.abs(x[k:, k]))))
            if p != k:
                x[[k, p]], rows[m, [k, p]] = x[[p, k]], rows[m, [p, k]]
                exchanges[m] += 1
            if x[k, k] != 0:
                x[k + 1:, k] /= x[k, k]
                x[k + 1:, k + 1:] -= np.outer(x[k + 1:, k], x[k, k + 1:])
    return (packed.reshape(a.shape).astype(a.dtype), rows.reshape(a.shape[:-1]).astype(np.int64),
            exchanges.reshape(a.shape[:-2]))


def solve(packed: np.ndarray, rows: np.ndarray, b: np.ndarray, *, transposed: bool) -> Results:
    """X with A X = B, or A^T X = B; nan all over where A is singular."""
    result, order = _stack(b, 2), _stack(rows, 1)
    for m, both in enumerate(_stack(packed, 2)):
        low, up = _triangle(both, False, True), _triangle(both, True, False)
        if (np.diag(up) == 0).any():
            result[m] = np.nan
        elif transposed:
            y = _substituted(low.T, _substituted(up.T, result[m], True), False)
            result[m, order[m]] = y
        else:
            result[m] = _substituted(up, _substituted(low, result[m, order[m]], True), False)
    return (result.reshape(b.shape).astype(packed.dtype),)


def det(packed: np.ndarray, exchanges: np.ndarray) -> Results:
    """The product of the pivots, its sign changed by every exchange of rows."""
    pivots = np.diagonal(packed, axis1=-2, axis2=-1).astype(np.float64)
    return (np.asarray(np.prod(pivots, -1) * np.where(exchanges % 2, -1, 1)).astype(packed.dtype),)


def logabsdet(packed: np.ndarray) -> Results:
    """The sum of the logarithms of the pivots' absolute values."""
    pivots = np.diagonal(packed, axis1=-2, axis2=-1).astype(np.float64)
    return (np.asarray(np.sum(np.log(np.abs(pivots)), -1)).astype(packed.dtype),)


def eigh(a: np.ndarray) -> Results:
    """Eigenvalues ascending and eigenvectors as columns, from the lower triangle."""
    matrices = _stack(a, 2)
    count, n = matrices.shape[:2]
    values, vectors = np.full((count, n), np.nan), np.full((count, n, n), np.nan)
    for m, matrix in enumerate(matrices):
        low = np.tril(matrix)
        if n and np.isfinite(low).all():
            values[m], vectors[m] = np.linalg.eigh(low)
    return values.reshape(a.shape[:-1]).astype(a.dtype), vectors.reshape(a.shape).astype(a.dtype)


def qr(a: np.ndarray) -> Results:
    """Q with orthonormal columns and R upper triangular, A = Q R, for at least as many rows as columns."""
    matrices = _stack(a, 2)
    n = a.shape[-1]
    q, r = np.full(matrices.shape, np.nan), np.zeros((len(matrices), n, n))
    for m, matrix in enumerate(matrices):
        q[m], r[m] = np.linalg.qr(matrix)
    return q.reshape(a.shape).astype(a.dtype), r.reshape(*a.shape[:-2], n, n).astype(a.dtype)


def svd(a: np.ndarray) -> Results:
    """U [m, n], singular values descending, V [n, n] of matrices of m >= n rows."""
    matrices = _stack(a, 2)
    count, m, n = matrices.shape
    u, w, v = (np.full((count, *shape), np.nan) for shape in ((m, n), (n,), (n, n)))
    for k, matrix in enumerate(matrices):
        if n and np.isfinite(matrix).all():
            u[k], w[k], turned = np.linalg.svd(matrix, full_matrices=False)
            v[k] = turned.T
    shapes = a.shape, (*a.shape[:-2], n), (*a.shape[:-2], n, n)
    found = [x.reshape(shape).astype(a.dtype) for x, shape in zip((u, w, v), shapes)]
    return found[0], found[1], found[2]
