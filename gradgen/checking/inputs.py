"""Values to check a program at: random, of the declared shapes, with indices inside what they index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy

from gradgen.codegen.demands import fitting
from gradgen.compiler.recorded_calls import index_bounds
from gradgen.errors import GradgenError, ShapeError
from gradgen.ir.dtypes import bool_
from gradgen.ir.evaluation import extent_value, holds
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Input
from gradgen.ir.symbols import Dim

SIZES = (5, 4, 6, 3, 7)
"""What named dimensions are by default, in order: small and different, so that mixed-up axes show."""

DISTRIBUTIONS = ("normal", "positive", "unit")
"""Standard normal; uniform in (0.5, 1.5); uniform in (0.1, 0.9): for functions that are not defined everywhere."""


def dimensions(graph: Graph, given: Mapping[str, int] | None = None) -> dict[sympy.Basic, int]:
    """A size for every named dimension of the inputs.  Raises ShapeError for a name that the program does not have."""
    found = {s: None for n in graph.inputs for e in n.shape if not isinstance(e, int) for s in e.free_symbols}
    names = {s.name for s in found if isinstance(s, Dim)}
    for name in given or {}:
        if name not in names:
            raise ShapeError(f"the program has no dimension {name!r}", hint=f"it has {sorted(names)}")
    ordered = sorted((s for s in found if isinstance(s, Dim)), key=lambda s: s.name)
    wanted = {s.name: (given or {}).get(s.name, SIZES[k % len(SIZES)]) for k, s in enumerate(ordered)}
    found = fitting(tuple(wanted), graph.conditions, wanted, lambda v: all(v[n] == s for n, s in (given or {}).items()))
    values: dict[sympy.Basic, int] = {s: found[s.name] for s in ordered}
    for r in graph.conditions:
        if not holds((r.condition,), values):
            raise ShapeError(f"the program needs {r}", where=str(r.where) if r.where else None,
                             hint=f"it was to be checked at {', '.join(f'{k} = {v}' for k, v in found.items())}")
    return values


def sample(
    graph: Graph, dims: Mapping[sympy.Basic, int], rng: np.random.Generator, distribution: str = "normal"
) -> dict[str, np.ndarray]:
    """One array per input, by name."""
    bounds = index_bounds(graph, dims)
    return {n.name: _array(n, tuple(extent_value(e, dims) for e in n.shape), bounds.get(n), rng, distribution)
            for n in graph.inputs}


def _array(
    node: Input, shape: tuple[int, ...], bound: int | None, rng: np.random.Generator, distribution: str
) -> np.ndarray:
    kind = node.dtype.numpy
    if node.dtype is bool_:
        return rng.integers(0, 2, shape).astype(kind)
    if not node.dtype.is_floating_point:
        return rng.integers(0, 5 if bound is None else max(bound, 1), shape).astype(kind)
    if distribution == "normal":
        return rng.standard_normal(shape).astype(kind)
    low, high = (0.5, 1.5) if distribution == "positive" else (0.1, 0.9)
    return rng.uniform(low, high, shape).astype(kind)


def given_or_sampled(graph: Graph, values: Mapping[str, Any], sampled: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The user's values where there are any.  Raises GradgenError for a name that is no input."""
    names = {n.name: n for n in graph.inputs}
    for name, value in values.items():
        if name not in names:
            raise GradgenError(f"the program has no input {name!r}", hint=f"it has {', '.join(names)}")
        sampled[name] = np.asarray(value, names[name].dtype.numpy, order="C")
    return sampled
