"""Forward mode over the whole operation library: the tangent of every sample is what its gradients say.

<cotangent, J direction> = <J^T cotangent, direction>: the two modes share no rule but the scalar functions' derivatives.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from gradgen.autodiff import gradients
from gradgen.autodiff.forward import tangents
from gradgen.ir import dtypes
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.ir.scalar_table import NoDerivative
from gradgen.ops.symbolic import Symbolic
from gradgen.reference.interpreter import evaluate

from .cases import Case, all_cases, cotangent
from .symbolic import flat, function, symbolic_operations

CASES = [c for c in all_cases() if c.ordinary and c.dtype == "float64"]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_tangent_and_gradients_agree(case: Case) -> None:
    given: dict[Node, np.ndarray] = {}
    seeds: dict[Node, Node] = {}

    def tensor(array: np.ndarray, wants: bool) -> Symbolic:
        node = Input(f"x{len(given)}", array.shape, dtypes.dtype(array.dtype), wants)
        given[node] = array
        if wants:
            direction = cotangent(array.shape, "float64", 3 + len(seeds))
            if case.path.endswith("cholesky"):  # of symmetric matrices: another direction leads out of the domain
                direction = direction + direction.swapaxes(-1, -2)
            seeds[node] = Constant(direction, node.dtype)
        return Symbolic(node)

    with symbolic_operations():
        args, kwargs = case.arguments(tensor)
        outputs = [s.node for s in flat(function(case.path)(*args, **kwargs)) if s.node.dtype.is_floating_point]
    weights = [Constant(cotangent(n.shape, "float64", k), n.dtype) for k, n in enumerate(outputs)]
    try:
        moved = tangents(outputs, seeds)
        found = gradients(outputs, weights, [*seeds])
    except NoDerivative as error:
        pytest.skip(str(error))
    wanted = [n for n in (*moved, *found) if n is not None]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = dict(zip(wanted, evaluate(wanted, given)))
    forward = [value[m] * w.array for m, w in zip(moved, weights) if m is not None]
    backward = [value[g] * s.array for g, s in zip(found, seeds.values()) if g is not None]
    size = sum(float(np.sum(np.abs(t))) for t in (*forward, *backward))
    wanted_sum = pytest.approx(sum(map(np.sum, backward)), rel=1e-9, abs=1e-11 * (1 + size), nan_ok=True)
    assert sum(map(np.sum, forward)) == wanted_sum


def test_scatter_reduce_shares_ties() -> None:
    """Among the element that was there and all that arrive."""
    base, index, source = (Input(n, s, d, d is dtypes.float64) for n, s, d in (
        ("base", (2,), dtypes.float64), ("index", (4,), dtypes.int64), ("source", (4,), dtypes.float64)))
    with symbolic_operations():
        output = function("scatter_reduce")(Symbolic(base), 0, Symbolic(index), Symbolic(source), "amax").node
    found = gradients([output], [Constant(np.array([6.0, 2.0]), dtypes.float64)], [base, source])
    given = {base: np.array([3.0, 1.0]), index: np.array([0, 0, 0, 1]), source: np.array([3.0, 3.0, 2.0, 1.0])}
    of_base, of_source = evaluate([g for g in found if g is not None], given)
    assert of_base.tolist() == [2.0, 1.0] and of_source.tolist() == [2.0, 2.0, 0.0, 1.0]
