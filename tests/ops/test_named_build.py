"""Functions over a named dimension, traced, built and called: one module serves N = 3 and N = 5.

The reference is the interpreter on graphs of fixed extents.  Sixteen functions go into one module.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gradgen
from gradgen.autodiff import gradients
from gradgen.ir import dtypes
from gradgen.ir.nodes import Constant, Input, Node
from gradgen.ops.symbolic import Symbolic
from gradgen.reference.interpreter import evaluate

from . import test_named_extents as named
from .symbolic import flat, symbolic_operations

GROUP = 16
ITEMS: list[tuple[Any, tuple[Any, ...], int]] = [
    *((call, shapes, 0) for name, (call, shapes) in named.CALLS.items() if name != "argmax"),
    *((call, (shape, where), high) for call, shape, where, high in named.WITH_INDEX.values()),
]
GROUPS = [ITEMS[k:k + GROUP] for k in range(0, len(ITEMS), GROUP)]
PUBLIC: Any = SimpleNamespace(
    **{k: getattr(gradgen, k) for k in vars(named.G) if hasattr(gradgen, k) and k != "trace"},
    F=gradgen.nn.functional,
)


def _arguments(group: list[Any]) -> list[list[tuple[str, tuple[Any, ...], int]]]:
    """Per function its arguments: name, shape with N in it, and the bound of an index (0: a float)."""
    return [
        [(f"a{j}_{i}", shape, high if i == 1 else 0) for i, shape in enumerate(shapes)]
        for j, (_, shapes, high) in enumerate(group)
    ]


def _total(calls: list[Any], tensors: list[list[Any]]) -> Any:
    """The squares of all floating outputs, summed."""
    total = None
    for call, given in zip(calls, tensors):
        for out in flat(call(*given)):
            if out.dtype.is_floating_point:
                term = (out * out).sum()
                total = term if total is None else total + term
    return total


def _program(group: list[Any]) -> Any:
    arguments = _arguments(group)
    calls = [call for call, _, _ in group]
    specs = {}
    for name, shape, high in (a for given in arguments for a in given):
        extents = ["N" if e is named.N else e for e in shape]
        specs[name] = gradgen.spec(*extents, dtype=gradgen.int64) if high else gradgen.spec(
            *extents, dtype=gradgen.float64, requires_grad=True)
    scope: dict[str, Any] = {"total": lambda **kw: _total(calls, [[kw[n] for n, _, _ in given] for given in arguments])}
    exec(f"def f({', '.join(specs)}):\n    return total(**locals())", scope)
    return gradgen.trace(scope["f"], **specs)


def _reference(group: list[Any], values: dict[str, np.ndarray]) -> tuple[Any, dict[str, Any]]:
    nodes = {n: Input(n, v.shape, dtypes.dtype(v.dtype)) for n, v in values.items()}
    with symbolic_operations():
        given = [[Symbolic(nodes[n]) for n, _, _ in arguments] for arguments in _arguments(group)]
        loss = _total([call for call, _, _ in group], given).node
    wrt = {n: x for n, x in nodes.items() if x.dtype.is_floating_point}
    found = gradients([loss], [Constant(1.0, dtypes.float64)], list(wrt.values()))
    known: dict[Node, np.ndarray] = {nodes[n]: v for n, v in values.items()}
    present = [g for g in found if g is not None]
    numbers = dict(zip(present, evaluate(present, known)))
    gradient = {n: np.zeros(x.shape) if g is None else numbers[g] for (n, x), g in zip(wrt.items(), found)}
    return evaluate([loss], known)[0], gradient


@pytest.mark.skipif(not any(shutil.which(c) for c in ("cc", "gcc", "clang")), reason="needs a C compiler")
@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_one_module_serves_every_extent(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = GROUPS[number]
    monkeypatch.setattr(named, "G", PUBLIC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = gradgen.build(_program(group), name=f"named_extents_{number}", out=tmp_path)
    monkeypatch.undo()
    for extent in (3, 5):
        rng = np.random.RandomState(extent)
        values = {}
        for name, shape, high in (a for given in _arguments(group) for a in given):
            size = tuple(extent if e is named.N else e for e in shape)
            values[name] = rng.randint(0, high, size).astype(np.int64) if high else rng.standard_normal(size)
        loss, grads = module.value_and_grad(**values)
        expected, gradient = _reference(group, values)
        assert np.allclose(loss, expected, rtol=1e-10)
        found = grads if isinstance(grads, dict) else {n: getattr(grads, n) for n in gradient}
        for name, value in gradient.items():
            assert np.allclose(found[name], value, rtol=1e-8, atol=1e-10), name
