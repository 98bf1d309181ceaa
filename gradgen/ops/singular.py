"""Matrices without a result, in PyTorch's words: LinAlgError where the values are known when the call is made.

In a trace they are not: there the result is nan, and so it is in emitted C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradgen.ops.host import host_value

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor


class _LinAlgError(RuntimeError):
    """A matrix is singular, or not positive definite: torch.linalg.LinAlgError, which prints this name too."""


LinAlgError = _LinAlgError


def _element(batch: tuple[int, ...], place: int) -> str:
    return f" (Batch element {place}):" if batch else ""


def require_regular(factors: Tensor, name: str) -> None:
    """LinAlgError where a pivot of the LU factors [..., n, n] is 0."""
    value = host_value(factors)
    if value is None:
        return
    n = value.shape[-1]
    pivots = np.diagonal(value, axis1=-2, axis2=-1).reshape(-1, n) if value.size else np.ones((0, n))
    for m in np.flatnonzero((pivots == 0).any(-1)):
        where = _element(value.shape[:-2], int(m))
        if name == "linalg.solve":
            raise LinAlgError(f"torch.linalg.solve:{where} The solver failed because the input matrix is singular.")
        raise LinAlgError(
            f"{name}:{where} The diagonal element {int(np.argmax(pivots[m] == 0)) + 1} is zero, the inversion could not "
            "be completed because the input matrix is singular."
        )


def require_definite(a: Tensor, factor: Tensor, name: str, upper: bool) -> None:
    """LinAlgError where the Cholesky factor of `a` [..., n, n] is nan for want of positive definiteness."""
    value = host_value(factor)
    if value is None or not np.isnan(value).any():
        return
    matrices = np.asarray(host_value(a.detach())).reshape(-1, *value.shape[-2:])
    failed = np.isnan(value).reshape(len(matrices), -1).any(-1)
    m = int(np.argmax(failed))
    order = _failing_order(matrices[m].T if upper else matrices[m])
    raise LinAlgError(
        f"{name}:{_element(value.shape[:-2], m)} The factorization could not be completed because the input is not "
        f"positive-definite (the leading minor of order {order} is not positive-definite)."
    )


def _failing_order(matrix: np.ndarray) -> int:
    """The first pivot of the lower triangle that is not positive, counted from 1."""
    low = np.tril(matrix).astype(np.float64)
    with np.errstate(all="ignore"):
        for k in range(len(low)):
            pivot = low[k, k] - low[k, :k] @ low[k, :k]
            if not pivot > 0:
                return k + 1
            low[k, k] = np.sqrt(pivot)
            low[k + 1 :, k] = (low[k + 1 :, k] - low[k + 1 :, :k] @ low[k, :k]) / low[k, k]
    return len(low)
