"""The same graphs compiled: every function's first calls, value and gradient, against the reference interpreter.

Many calls go into one module, so that the C compiler starts a few times only.
"""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest

from gradgen.autodiff import gradients
from gradgen.compiler.runner import runner
from gradgen.ir import dtypes
from gradgen.ir.nodes import Input, Node
from gradgen.ops.symbolic import Symbolic
from gradgen.reference.interpreter import evaluate

from .cases import Case, all_cases, cotangent
from .symbolic import flat, function, symbolic_operations

CHUNK = 60
# The emitted mathematics is within 2 (float32) and 4 (float64) ulp of the exact value, NumPy's as well, and sums are
# taken in another order; a few operations behind one another multiply that by their condition number.
RTOL = {np.dtype("float32"): 1e-4, np.dtype("float64"): 1e-10}


def _chosen() -> list[Case]:
    """For every function its first two calls, in the first dtype, its edge values, and int64."""
    seen: dict[str, int] = {}
    chosen = []
    for case in all_cases():
        edges = any(getattr(a, "domain", "") == "given" for a in case.sample.args)
        if case.dtype == "int64" or (case.dtype == case.sample.dtypes[0] and (seen.get(case.path, 0) < 2 or edges)):
            chosen.append(case)
            seen[case.path] = seen.get(case.path, 0) + 1
    return chosen


CASES = _chosen()
CHUNKS = [CASES[k:k + CHUNK] for k in range(0, len(CASES), CHUNK)]


def _build(case: Case, prefix: str) -> tuple[dict[Node, np.ndarray], list[Node]]:
    """Arrays for the inputs, and the outputs followed by the gradients."""
    given: dict[Node, np.ndarray] = {}
    wrt: list[Node] = []

    def tensor(array: np.ndarray, wants: bool) -> Symbolic:
        node = Input(f"{prefix}x{len(given)}", array.shape, dtypes.dtype(array.dtype), wants)
        given[node] = np.array(array, order="C")
        if wants:
            wrt.append(node)
        return Symbolic(node)

    with symbolic_operations():
        args, kwargs = case.arguments(tensor)
        wanted = [s.node for s in flat(function(case.path)(*args, **kwargs))]
    if wrt:
        smooth = [(k, n) for k, n in enumerate(wanted) if n.dtype.is_floating_point]
        seeds = [Input(f"{prefix}g{k}", n.shape, n.dtype) for k, n in smooth]
        given |= {s: cotangent(n.shape, n.dtype.name, k) for s, (k, n) in zip(seeds, smooth)}
        wanted += [g for g in gradients([n for _, n in smooth], seeds, wrt) if g is not None]
    return given, wanted


@pytest.mark.skipif(not any(shutil.which(c) for c in ("cc", "gcc", "clang")), reason="needs a C compiler")
@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_compiled_like_interpreted(number: int) -> None:
    given: dict[Node, np.ndarray] = {}
    wanted: list[Node] = []
    owner: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, case in enumerate(CHUNKS[number]):
            arrays, nodes = _build(case, f"c{k}_")
            given |= arrays
            wanted += nodes
            owner += [case.name] * len(nodes)
        expected = evaluate(wanted, given)
        found = runner(wanted, list(given), {})(list(given.values()))
    wrong = []
    for name, ours, reference in zip(owner, found, expected):
        rtol = RTOL.get(reference.dtype, 0.0)
        if not np.allclose(ours, reference, rtol=rtol, atol=rtol / 10, equal_nan=True):
            wrong.append(f"{name}\n  compiled  {np.asarray(ours).tolist()}\n  reference {reference.tolist()}")
    assert not wrong, "\n".join(wrong)
