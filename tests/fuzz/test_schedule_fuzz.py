"""Random graphs through scheduler and C against the reference interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from compiled import Compiled, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import procedure, values

from gradgen.schedule import NO_PASSES, ScheduleOptions


def check(seed: int, size: int, symbolic: bool, options: ScheduleOptions | None = None, **compile_with: object) -> None:
    p = procedure(seed, size, symbolic)
    code = Compiled(p, options, **compile_with)  # type: ignore[arg-type]
    for n in (3, 0, 70, 1300) if symbolic else (3,):
        v = values(p, seed, n)
        want = expected(p, v)
        dtypes = {o.place.name: o.node.dtype for o in p.outputs}
        modes = {o.place.name: o.mode for o in p.outputs}
        optional = tuple(o.place.name for o in p.outputs if o.place.optional)
        old = {k: np.full(w.shape, 0.5, w.dtype) for k, w in want.items() if modes[k] == "accumulate"}
        for set_grad, unwanted in ((False, ()), (True, ()), (False, optional[:1])):
            status, got = code.run(v, set_grad=set_grad, unwanted=unwanted, old=old, no_saved=bool(unwanted))
            assert status == 0
            for name, result in got.items():
                target = want[name]
                if modes[name] == "accumulate" and not set_grad:
                    target = target + old[name]
                close(result, target, dtypes[name].name, code)


def close(got: np.ndarray, want: np.ndarray, dtype: str, code: Compiled) -> None:
    # Chains of a few operations, sums of at most 70*33 terms: 2e-4 is hundreds of float32 ulp of the largest term.
    tolerance = {"float32": 2e-4, "float64": 1e-10}.get(dtype, 0)
    finite = np.isfinite(want) if want.dtype.kind == "f" else np.ones(want.shape, bool)
    scale = np.abs(want[finite]).max(initial=1.0)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=code.code.body)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale, err_msg=code.code.body)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 14), symbolic=st.booleans())
def test_random_graphs(seed: int, size: int, symbolic: bool) -> None:
    check(seed, size, symbolic)


@pytest.mark.parametrize("seed", range(4))
def test_without_passes(seed: int) -> None:
    check(seed, 10, True, NO_PASSES)


@pytest.mark.parametrize("seed", range(100, 104))
def test_sanitizers(seed: int) -> None:
    import subprocess

    if subprocess.run(["gcc", "--version"], capture_output=True).returncode:
        pytest.skip("no gcc")
    flags = ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-fno-sanitize=float-divide-by-zero"]
    check(seed, 10, True, flags=flags)
