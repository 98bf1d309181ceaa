"""Special functions that are written in others, against mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from gradgen.ir import functions as fn
from gradgen.ir import special_functions as special
from tests.exact_values import exact_function

X = np.array([-30.0, -8.0, -2.5, -1.0, -0.1, 1e-9, 0.3, 1.0, 3.0, 7.99, 8.01, 20.0, 300.0])

@pytest.mark.parametrize("name", ["i0e", "i0", "i1e", "i1", "erfcx", "log_ndtr"])
def test_values(name: str) -> None:
    """Within 8 ulp where the exponential's own argument costs nothing; erfcx and log_ndtr carry the rounding of x^2."""
    with mpmath.workdps(500):
        exact = np.array([float(exact_function(name)(mpmath.mpf(x))) for x in X])
    keep = np.isfinite(exact) & (np.abs(exact) > 1e-300)
    found = getattr(special, name).record.numpy(X)[keep]
    slack = 1 + X[keep] ** 2 / 2 if name in ("erfcx", "log_ndtr") else np.ones(int(keep.sum()))
    assert np.all(np.abs(found - exact[keep]) <= 8 * slack * np.spacing(np.abs(exact[keep])))


@pytest.mark.parametrize("n", range(6))
def test_polygamma(n: int) -> None:
    x = np.array([0.2, 0.5, 1.0, 2.5, 9.0, 40.0, 1e4, *((-0.3, -1.8, -14.75) if n > 1 else ())])
    symbol = fn.sympy.Symbol("x", real=True)
    found = fn._value(fn.written_out(special.polygamma(n, symbol)), {symbol: x})
    exact = np.array([float(mpmath.polygamma(n, mpmath.mpf(v))) for v in x])
    assert np.all(np.abs(found - exact) <= np.where(x < 0, 1e-13, 2e-15) * np.abs(exact) + 1e-15 * (n == 0))  # cot(pi x)


def test_multigammaln() -> None:
    symbol = fn.sympy.Symbol("x", real=True)
    found = fn._value(special.multigammaln(3, symbol), {symbol: np.array([1.5, 4.0])})
    exact = [float(1.5 * mpmath.log(mpmath.pi) + sum(mpmath.loggamma(x - j / 2) for j in range(3))) for x in (1.5, 4.0)]
    np.testing.assert_allclose(found, exact, rtol=1e-14)
