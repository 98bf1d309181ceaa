"""Calls of the functions of a program, and what the graph interpreter says they give."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradgen.compiler.pipeline import Stages, stages
from gradgen.ir.evaluation import extent_value, holds
from gradgen.ir.graph import Graph, dim_names
from gradgen.ir.guards import Guard
from gradgen.ir.nodes import Node
from gradgen.ir.reach import with_conditions
from gradgen.ir.symbols import dim
from gradgen.loops.procedure import ACCUMULATE, ARGUMENT, SAVED, Procedure
from gradgen.options import Options
from gradgen.reference.interpreter import evaluate

SIZES = (0, 1, 2, 7)
ALL = 4  # optional arguments up to which every subset is NULL once; else none, all, every one and every pair
# Chains of a few operations and sums of some thousand terms: hundreds of ulp of the largest element.
LARGE = 2**60
TOLERANCE = {"float32": 3e-4, "float64": 1e-9}


@dataclass(frozen=True, eq=False)
class Program:
    """The procedures of a graph, with how to make values of its inputs."""

    name: str
    graph: Graph
    options: Options = field(default_factory=Options)
    below: Mapping[str, Callable[[Mapping[str, int]], int]] = field(default_factory=dict)
    positive: bool = False
    sizes: tuple[int, ...] | None = None

    @functools.cached_property
    def stages(self) -> Stages:
        return stages(self.graph, self.options)

    def dims(self) -> tuple[str, ...]:
        return dim_names(self.graph.inputs)

    @functools.cached_property
    def conditions(self) -> Guard:
        return tuple(r.condition for r in with_conditions(self.graph).conditions)

    def fits(self, dims: Mapping[str, int]) -> bool:
        """Whether the dimensions satisfy what the program asks of them; if not, no emitted function gets to its loops."""
        values = {dim(d): n for d, n in dims.items()}
        extents = [e for n in (*self.graph.inputs, *self.graph.outputs) for e in n.shape]
        if not all(0 <= n < LARGE for n in dims.values()) or not holds(self.conditions, values):
            return False
        return all(extent_value(e, values) >= 0 for e in extents)


def dims_of(procedures: Iterable[Procedure]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(d for p in procedures for d in dim_names(p.given)))


def assignments(dims: Sequence[str], sizes: Iterable[int]) -> Iterator[dict[str, int]]:
    """Every size for all dimensions alike, and each dimension alone at 0 and 1 among larger ones."""
    if not dims:
        yield {}
        return
    for n in sizes:
        yield dict.fromkeys(dims, n)
    if len(dims) > 1:
        for d in dims:
            for n in (0, 1, 5):
                yield {**dict.fromkeys(dims, 3), d: n}


def subsets(names: Sequence[str]) -> Iterator[frozenset[str]]:
    """The sets of NULLs."""
    count = range(len(names) + 1) if len(names) <= ALL else (0, 1, 2, len(names))
    for n in count:
        yield from (frozenset(c) for c in itertools.combinations(names, n))


def values_of(program: Program, procedure: Procedure, dims: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Numbers for what a procedure is given, by name of its place; SAVED aside."""
    found: dict[str, np.ndarray] = {}
    for node, place in procedure.given.items():
        if place.space != ARGUMENT:
            continue
        rng = np.random.default_rng(sum(map(ord, place.name)) + 1)
        shape = tuple(extent_value(e, {dim(d): n for d, n in dims.items()}) for e in node.shape)
        if node.dtype.is_floating_point:
            array = rng.normal(size=shape)
            array = np.abs(array) + 0.25 if program.positive else array
        elif node.dtype.category == 0:
            array = rng.integers(0, 2, size=shape)
        else:
            below = program.below[place.name](dims) if place.name in program.below else 8
            low = 0 if place.name in program.below else -7
            array = rng.integers(low, max(below, 1), size=shape)
        found[place.name] = array.astype(node.dtype.numpy)
    return found


def outside(program: Program, values: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Positions of which the last is too large, or too small, one argument at a time."""
    for name in program.below:
        for wrong in (10**6, -(10**6)):
            if values[name].size:
                changed = values[name].copy()
                changed.reshape(-1)[-1] = wrong
                yield {name: changed}


class Expected:
    """What a procedure's results are, by the graph interpreter; remembered for each set of NULL cotangents."""

    def __init__(self, procedure: Procedure, dims: Mapping[str, int], values: Mapping[str, np.ndarray]) -> None:
        self.procedure, self.values = procedure, values
        self.dims = {dim(d): n for d, n in dims.items()}
        self.memo: dict[frozenset[str], dict[str, np.ndarray]] = {}

    def without(self, null: frozenset[str]) -> dict[str, np.ndarray]:
        """Results by place, those of SAVED too; raises IndexError where an index is outside."""
        missing = frozenset(p.name for p in self.procedure.given.values() if p.name in null)
        if missing not in self.memo:
            given: dict[Node, np.ndarray] = {}
            for node, place in self.procedure.given.items():
                if place.space == SAVED:
                    continue
                shape = tuple(extent_value(e, self.dims) for e in node.shape)
                given[node] = np.full(shape, place.default) if place.name in missing else self.values[place.name]
            with np.errstate(all="ignore"):
                results = evaluate([o.node for o in self.procedure.outputs], given, self.dims)
            self.memo[missing] = {o.place.name: r for o, r in zip(self.procedure.outputs, results, strict=True)}
        return self.memo[missing]


def optional(procedure: Procedure) -> list[str]:
    """The arguments that may be NULL."""
    found = [p.name for p in procedure.given.values() if p.optional]
    return found + [o.place.name for o in procedure.outputs if o.place.optional and o.place.space == ARGUMENT]


def accumulated(procedure: Procedure) -> set[str]:
    return {o.place.name for o in procedure.outputs if o.mode == ACCUMULATE}


def old_values(procedure: Procedure, dims: Mapping[str, int]) -> dict[str, np.ndarray]:
    """What accumulated results hold before a call."""
    sizes = {dim(d): n for d, n in dims.items()}
    return {o.place.name: np.full([extent_value(e, sizes) for e in o.node.shape], 0.5, o.node.dtype.numpy)
            for o in procedure.outputs if o.mode == ACCUMULATE}


def disagreement(got: np.ndarray, want: np.ndarray) -> str:
    """Nothing where they agree, else a line that says where not."""
    got, want = np.asarray(got).ravel(), np.asarray(want).ravel()
    if got.shape != want.shape:
        return f"{got.size} elements instead of {want.size}"
    tolerance = TOLERANCE.get(str(want.dtype), 0)
    finite = np.isfinite(want) if want.dtype.kind == "f" else np.ones(want.shape, bool)
    scale = float(np.abs(want[finite]).max(initial=1)) if want.dtype.kind == "f" else 0.0
    with np.errstate(all="ignore"):
        same = np.isclose(got, want, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if same.all():
        return ""
    k = int(np.argmin(same))
    return f"element {k} is {got[k]!r} instead of {want[k]!r} ({int((~same).sum())} of {want.size} differ)"
