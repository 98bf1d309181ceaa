"""Gradients by finite differences of the interpreter's own values: nothing of PyTorch's in it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from . import symbolic
from .cases import Case, all_cases, cotangent

STEP = 1e-6
# Central differences in float64: rounding 1e-16/1e-6 and truncation 1e-12 times the third derivative, for values
# near 1.
TOLERANCE = 2e-7

BY_DEFINITION = {"nn.functional.embedding-2-float64", "linalg.pinv-4-float64", *(
    f"{path}-{k}-float64" for k in range(8)
    for path in ("cholesky", "linalg.cholesky", "linalg.eigvalsh", "cholesky_solve", "cholesky_inverse")
)}
"""Gradients that are not slopes: the padding row of an embedding takes none; a symmetric matrix' is symmetric, though
one triangle is read (tests/ops/test_kernels.py), and a Cholesky factor's has both triangles, as in PyTorch."""

CASES = [c for c in all_cases() if c.ordinary and c.dtype == "float64" and c.name not in BY_DEFINITION]


def _arrays(case: Case) -> list[np.ndarray]:
    found: list[np.ndarray] = []

    def keep(array: np.ndarray, wants: bool) -> np.ndarray:
        if wants:
            found.append(array)
        return array

    case.arguments(keep)
    return found


def _functional(case: Case, arrays: list[np.ndarray]) -> float:
    """The outputs' inner product with the cotangents that `symbolic.run` uses."""
    values: list[Any] = symbolic.value_at(case, arrays)
    floats = [v for v in values if v.dtype.kind == "f"]
    floats = [np.where(np.isfinite(v), v, 0) for v in floats]  # filled in, not computed
    return float(sum(np.sum(v * cotangent(v.shape, "float64", k)) for k, v in enumerate(floats)))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gradient_is_the_slope(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = _arrays(case)
        ours = symbolic.run(case, order=1).first
        for k, array in enumerate(arrays):
            direction = cotangent(array.shape, "float64", 3)
            up = [a + STEP * direction if j == k else a for j, a in enumerate(arrays)]
            down = [a - STEP * direction if j == k else a for j, a in enumerate(arrays)]
            slope = (_functional(case, up) - _functional(case, down)) / (2 * STEP)
            gradient = 0.0 if ours[k] is None else float(np.sum(ours[k] * direction))
            assert gradient == pytest.approx(slope, rel=TOLERANCE * 50, abs=TOLERANCE * (1 + array.size))
