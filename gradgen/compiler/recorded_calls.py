"""One small call of a module with what it should give, computed when the module is generated.

`selftest.c` compares with it, so that the machine on which a bundle ends up is measured by what the graph means, and not
only by itself.  The reference interpreter computes the values in a wider arithmetic than the module's.  How far the module
may be off follows from the program: the call is interpreted again with small errors in the result of every operation, and
what they come to in the end is scaled to the module's precision (Monte Carlo arithmetic; Parker, Pierce & Eggert,
"Monte Carlo arithmetic: how to gamble with floating point and win", 2000).

Differences are compared with gradients here as the self-test will do it, in the wider arithmetic, so that it is known before
where they agree: not at a kink or a tie, not behind detach(), not where two indices are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import sympy

from gradgen.autodiff import Joint
from gradgen.codegen.extents import elements, evaluate
from gradgen.codegen.interface import Argument, Interface
from gradgen.codegen.programs import (
    MOST_INTEGERS,
    SUMS,
    TEST_DIM,
    TEST_SEEDS,
    Recorded,
    Samples,
    dim_values,
    direction,
    made_up,
    weights,
)
from gradgen.errors import GradgenError
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import REFERENCE, DType, bool_
from gradgen.ir.evaluation import extent_value
from gradgen.ir.functions import stop
from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Scan, Scatter
from gradgen.ir.scalar_table import SMOOTH, ScalarFunction
from gradgen.ir.symbols import Placeholder
from gradgen.ir.widen import LONG, widened
from gradgen.reference.interpreter import evaluate as interpret

MOST_NODES = 160
MOST_OPERATIONS = 1 << 17
"""Beyond this many nodes or evaluations of bodies a module goes without: the interpreter would slow the build down."""

LEAST_OPERATIONS = 256
"""What a look at a node counts at least: of small tensors the interpreter's own steps take the time."""

NOISE = 2.0**-30
"""Of this size are the errors put into every operation: far above those of the arithmetic they are measured in."""

OPERATIONS = frozenset({"add", "mul", "div"})
FUNCTIONS = 4.0
"""What rounds more than once may be off by this many times as much as one operation."""

RUNS, ALLOWED = 2, 16.0
"""Of so many runs the largest error, so many times, is allowed, with errors of half a unit in the last place."""

SUMMING = 2.0**-50
"""Rounding of the self-test's own sums, in double, of the sum of their terms' magnitudes."""

CONDITION = 0.05
"""A tensor whose errors may be as large as this, of its largest sum, has no recorded values: they would say nothing."""


def recorded_call(graph: Graph, joint: Joint | None, interface: Interface, written: Graph) -> Samples:
    """Dimensions and integers of one call, and where that is not too much its results and how exactly they are known.

    `written` is the graph before simplification, in which detach() is still to be seen.
    """
    detached = any(isinstance(n, Compute) and n.body.has(stop) for n in written.nodes)
    dims = dim_values(interface, TEST_DIM)
    bounds = index_bounds(graph, {s: dims[s.name] for n in graph.inputs for e in n.shape for s in _symbols(e)})
    of_input = {n.name: b for n, b in bounds.items() if isinstance(n, Input)}
    whole = [a for a in interface.inputs if not a.dtype.is_floating_point]
    tried = [{a.name: _integers(a, min(limit, of_input.get(a.name, 3)), dims) for a in whole} for limit in (1 << 30, 3, 2, 1)]
    slopes = not detached and not any(isinstance(n, Scatter) and n.mode == "set" for n in graph.nodes)
    steps = {a.name: a.dtype.step for a in interface.parameters} if slopes else {}
    plain = Samples(dims, _small(tried[0]), {}, steps, slopes, slopes)
    gradients = [g for g in joint.gradients if g is not None] if joint else []
    if _too_much([*graph.outputs, *gradients], dims):
        return plain
    for integers in tried:  # an index may be offset, or used where its bound is not seen
        for signed in (True, False):  # numbers of both signs, where the functions are defined for them
            try:
                call = _Call(graph, joint, interface, dims, integers, signed)
                exact = call.at(call.wanted)
            except IndexError:
                break
            except (GradgenError, ArithmeticError):
                return plain
            if not signed or all(np.isfinite(v).all() for v in exact):
                return call.samples(exact, detached)
    return plain


def _symbols(e: Any) -> Iterable[Any]:
    return () if isinstance(e, int) else e.free_symbols


def _small(integers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: v for n, v in integers.items() if v.size <= MOST_INTEGERS}


def _has_kinks(graph: Graph) -> bool:
    """Where it has none, differences with a short step are known to be derivatives."""
    return not all(
        isinstance(n, (Input, Constant)) or (isinstance(n, Compute) and n.reducer in (None, "sum", "prod")
                                              and all(f.record.continuity == SMOOTH for f in n.body.atoms(ScalarFunction)))
        for n in graph.nodes
    )


def _too_much(outputs: Sequence[Node], dims: Mapping[str, int]) -> bool:
    nodes = topological(outputs)
    if len(nodes) > MOST_NODES or any(_ambiguous(n) for n in nodes):
        return True
    return _evaluations(nodes, dims, {}) > MOST_OPERATIONS


def _ambiguous(node: Node) -> bool:
    """Eigenvectors: either sign is right, and another implementation has another."""
    return isinstance(node, Kernel) and node.name in ("eigh", "svd") and node.output != (0 if node.name == "eigh" else 1)


def _evaluations(nodes: Sequence[Node], dims: Mapping[str, int], steps: dict[Graph, int]) -> int:
    """How many bodies are evaluated; `steps` remembers what one step of a recurrence takes."""
    total = 0
    for node in nodes:
        match node:
            case Compute():
                found = evaluate(elements((*node.shape, *node.reduce_shape)), dims)
            case Scatter():  # one by one
                found = 64 * evaluate(elements(node.update_shape), dims)
            case Kernel():  # at most cubic in the extent of a matrix
                found = 4 * evaluate(elements((*node.shape, *node.operands[0].shape[-1:])), dims)
            case Scan():
                if node.step not in steps:
                    steps[node.step] = _evaluations(node.step.nodes, dims, steps)
                found = evaluate(elements((node.length,)), dims) * steps[node.step]
            case _:
                continue
        total += max(found, LEAST_OPERATIONS)
    return total


def _shape(argument: Argument, dims: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(e, dims) for e in argument.shape)


def _integers(argument: Argument, bound: int, dims: Mapping[str, int]) -> np.ndarray:
    """Below the bound; along every axis all different as long as that goes."""
    shape = _shape(argument, dims)
    places = np.indices(shape).sum(0) if shape else np.zeros((), np.int64)
    if argument.dtype is bool_:
        return np.asarray((places * 5 + 1) % 3 != 0)
    return np.asarray(places % max(bound, 1)).astype(argument.dtype.numpy)


def index_bounds(graph: Graph, dims: Mapping[sympy.Basic, int]) -> dict[Node, int]:
    """For integer inputs that are used as indices: the smallest extent that they index."""
    origin: dict[Node, Input] = {}
    bounds: dict[Node, int] = {}
    for node in graph.nodes:
        if isinstance(node, Input) and not node.dtype.is_floating_point:
            origin[node] = node
        if not isinstance(node, (Compute, Scatter)):
            continue
        pairs = [(e, extent) for r in node.reads for e, extent in zip(r.index, r.source.shape)]
        if isinstance(node, Scatter):
            pairs += list(zip(node.index, node.shape))
        for e, extent in pairs:
            for s in e.free_symbols if not e.is_Integer else ():
                if isinstance(s, Placeholder):
                    source = origin.get(node.reads[int(s.name[1:])].source)
                    if source is not None:
                        size = extent_value(extent, dims)
                        bounds[source] = min(size, bounds.get(source, size))
        if not node.dtype.is_floating_point and len(node.sources) >= 1 and node.sources[0] in origin:
            origin[node] = origin[node.sources[0]]
    return bounds


# --- the call --------------------------------------------------------------------------------------------------------


class _Call:
    """The graph at the self-test's point, in the module's arithmetic and in a wider one."""

    def __init__(
        self, graph: Graph, joint: Joint | None, interface: Interface, dims: Mapping[str, int],
        integers: Mapping[str, np.ndarray], signed: bool,
    ) -> None:
        self.graph, self.interface, self.dims, self.integers = graph, interface, dims, integers
        self.signed = signed
        values = {a.name: self._value(a, k) for k, a in enumerate(interface.inputs)}
        seeds = dict(joint.seeds) if joint else {}
        self.cotangents = {a.name: _seed(a, k, dims, len(seeds) == 1)
                           for k, a in enumerate(interface.differentiable_outputs)}
        self.gradients = {n.name: g for n, g in zip(joint.parameters, joint.gradients) if g is not None} if joint else {}
        self.wanted = [*graph.outputs, *self.gradients.values()]
        self.own: dict[Node, Any] = {n: np.array(TEST_SEEDS) if n is STATE else values[n.name] for n in graph.inputs}
        self.own |= {seed: self.cotangents[name] for name, seed in seeds.items()}
        nodes = topological(self.wanted)
        types = sorted({n.dtype for n in nodes if n.dtype.is_floating_point}, key=lambda d: d.digits)
        self.narrowest = types[0] if types else REFERENCE
        self.to: DType = LONG if types and types[-1].digits >= REFERENCE.digits else REFERENCE
        self.wide = widened([*self.wanted, *self.own], self.to)
        self.epsilon = 2.0 ** (1 - self.narrowest.digits)

    def _value(self, argument: Argument, position: int) -> np.ndarray:
        if argument.name in self.integers:
            return self.integers[argument.name]
        shape = _shape(argument, self.dims)
        values = made_up(math.prod(shape), position)
        values = values * direction(values.size, 7 * position) if self.signed else values
        return values.reshape(shape).astype(argument.dtype.numpy)

    def at(self, nodes: Sequence[Node], moved: Mapping[str, Any] | None = None, rounding: Any = None) -> list[np.ndarray]:
        """Values of the nodes in the wide arithmetic, with some of the inputs replaced."""
        changed = {self.wide[n]: (moved or {}).get(n.name, v) if isinstance(n, Input) else v for n, v in self.own.items()}
        with np.errstate(all="ignore"):
            return interpret([self.wide[n] for n in nodes], changed, rounding=rounding)

    def samples(self, exact: Sequence[np.ndarray], detached: bool) -> Samples:
        with np.errstate(all="ignore"):
            rough = interpret(self.wanted, self.own)
        runs = [self.at(self.wanted, rounding=partial(_noise, seed)) for seed in range(1, RUNS + 1)]
        names = [*self.graph.output_names, *(f"grad_{n}" for n in self.gradients)]
        found = {
            name: recorded for k, name in enumerate(names)
            if (recorded := self._recorded(self.wanted[k].dtype, exact[k], rough[k], [r[k] for r in runs])) is not None
        }
        for a in self.interface.parameters:  # structural zeros
            if a.name not in self.gradients:
                found[f"grad_{a.name}"] = Recorded((0.0,) * min(SUMS, math.prod(_shape(a, self.dims))), 0.0)
        values = dict(zip(names, exact))
        steps = self._steps(values, detached or _has_kinks(self.graph))
        first = not detached and self._is_smooth(self._outputs)
        second = first and self._is_smooth(self._gradients)
        return Samples(self.dims, _small(self.integers), found, steps, first, second, self.signed)

    # --- how exact ------------------------------------------------------------------------------------------------

    def _recorded(
        self, dtype: DType, exact: np.ndarray, rough: np.ndarray, runs: Sequence[np.ndarray]
    ) -> Recorded | None:
        """None where there is nothing to compare with: in the module's arithmetic the values are different ones
        (saturated, cancelled, on the other side of a kink)."""
        sums, size = _sums(exact), float(np.max(_sums(np.abs(exact), np.abs), initial=0.0))
        if not dtype.is_floating_point:
            return Recorded(tuple(map(float, sums)), SUMMING * size) if np.array_equal(exact, rough) else None
        finite = np.isfinite(sums)
        spread = 0.0
        for run in map(_sums, runs):
            if not np.array_equal(np.isfinite(run), finite):
                return None
            spread = max(spread, float(np.max(np.abs(run - sums)[finite], initial=0.0)))
        tolerance = ALLOWED * spread / NOISE * self.epsilon / 2
        if not np.isfinite(exact).all():
            size = float(np.max(np.abs(sums[finite]), initial=0.0))
        tolerance += SUMMING * size + (self.epsilon * size if spread else 0.0)
        there = _sums(rough)
        same = np.array_equal(there[~finite], sums[~finite], equal_nan=True) and np.isfinite(there[finite]).all()
        if not same or tolerance > CONDITION * size or np.any(np.abs(there - sums)[finite] > tolerance):
            return None
        decimals = _decimals(size, self.to)
        tolerance += 0.5 * 10.0**-decimals if size else 0.0
        return Recorded(tuple(_digits(float(v), decimals) for v in sums), _rounded_up(tolerance))

    # --- what differences say -------------------------------------------------------------------------------------

    def _objective(self, moved: Mapping[str, Any]) -> np.ndarray:
        names = [n for n in self.graph.output_names if n in self.cotangents]
        outputs = self.at([self.graph.outputs[self.graph.output_names.index(n)] for n in names], moved)
        return np.asarray([sum(np.sum(self.cotangents[n].astype(o.dtype) * o) for n, o in zip(names, outputs))])

    def _outputs(self, moved: Mapping[str, Any]) -> np.ndarray:
        outputs = self.at([o for o, n in zip(self.graph.outputs, self.graph.output_names) if n in self.cotangents], moved)
        return np.concatenate([o.reshape(-1) for o in outputs]) if outputs else np.zeros(0)

    def _gradients(self, moved: Mapping[str, Any]) -> np.ndarray:
        found = self.at([*self.gradients.values()], moved)
        return np.concatenate([g.reshape(-1) for g in found]) if found else np.zeros(0)

    def _steps(self, values: Mapping[str, np.ndarray], doubtful: bool) -> dict[str, float]:
        """The step with which differences along the self-test's direction confirm a gradient; 0 where none does."""
        if not doubtful:
            return {a.name: a.dtype.step for a in self.interface.parameters}
        found: dict[str, float] = {}
        for a in self.interface.parameters:
            gradient = values.get(f"grad_{a.name}", np.zeros(_shape(a, self.dims)))
            along = direction(gradient.size).reshape(gradient.shape)
            claimed, size = float(np.sum(gradient * along)), float(np.sum(np.abs(gradient)))
            step = a.dtype.step
            for h in (step, step / 8, step / 64):
                coarse, fine = (float(self._slope(self._objective, {a.name: along}, x)[0]) for x in (h, h / 2))
                error = abs((4 * fine - coarse) / 3 - claimed)
                if error <= abs(fine - coarse) + a.dtype.slack / 2 * (size + abs(fine)):
                    found[a.name] = h
                    break
            else:
                found[a.name] = 0.0
        return found

    def _slope(self, function: Callable[[Mapping[str, Any]], np.ndarray], along: Mapping[str, np.ndarray], h: float) -> Any:
        kind = self.to.numpy.type
        at = {n.name: v.astype(kind) for n, v in self.own.items() if isinstance(n, Input) and n.name in along}
        with np.errstate(all="ignore"):
            above = function({n: v + kind(h) * along[n].astype(kind) for n, v in at.items()})
            return (above - function({n: v - kind(h) * along[n].astype(kind) for n, v in at.items()})) / (2 * kind(h))

    def _is_smooth(self, function: Callable[[Mapping[str, Any]], np.ndarray]) -> bool:
        """Whether differences with the step that the self-test takes for derivatives are what a much shorter step says."""
        if not self.interface.derivatives or not _has_kinks(self.graph):
            return True
        along = {
            a.name: direction(math.prod(_shape(a, self.dims)), 13 * g).reshape(_shape(a, self.dims))
            for g, a in enumerate(self.interface.parameters)
        }
        step, allowed = self.narrowest.step, self.narrowest.slack
        coarse, fine, short = (self._slope(function, along, h) for h in (step, step / 2, 2.0**-20))
        if not (np.isfinite(coarse).all() and np.isfinite(fine).all() and np.isfinite(short).all()):
            return False
        apart, size = np.max(np.abs(fine - coarse), initial=0.0), np.max(np.abs(fine), initial=0.0)
        error = np.max(np.abs((4 * fine - coarse) / 3 - short), initial=0.0)
        return bool(error <= apart + allowed / 2 * size)


def _seed(argument: Argument, position: int, dims: Mapping[str, int], alone: bool) -> np.ndarray:
    if alone and not argument.shape:
        return np.ones((), argument.dtype.numpy)
    shape = _shape(argument, dims)
    return (made_up(math.prod(shape), position).reshape(shape) + 0.5).astype(argument.dtype.numpy)


def _sums(value: np.ndarray, of: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
    """Weighted sums of the elements whose number leaves the same remainder: few numbers for any size."""
    flat = value.reshape(-1).astype(np.longdouble)
    terms = flat * of(weights(flat.size))
    with np.errstate(all="ignore"):
        return np.array([terms[j::SUMS].sum() for j in range(min(SUMS, flat.size))], np.longdouble)


def _noise(seed: int, name: str, value: Any) -> Any:
    """The values with relative errors up to NOISE that depend on the value alone: what is equal stays so, and a tie a tie."""
    mantissa, _ = np.frexp(np.abs(np.asarray(value, np.float64)))
    bits = np.where(np.isfinite(mantissa), np.round(mantissa * 2**26), 0).astype(np.uint64)
    bits += np.uint64(seed << 32)
    bits = (bits ^ (bits >> np.uint64(15))) * np.uint64(0x9E3779B97F4A7C15)  # multiplicative hashing (Knuth, TAOCP 6.4)
    bits = (bits ^ (bits >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    unit = (bits >> np.uint64(11)).astype(np.float64) / 2**52 - 1
    most = NOISE if name in OPERATIONS else FUNCTIONS * NOISE
    return value * (1 + np.asarray(value).dtype.type(most) * unit.astype(np.asarray(value).dtype))


def _decimals(size: float, arithmetic: DType) -> int:
    """So many are recorded: without the digits, seen from the largest, that differ between mathematics libraries."""
    digits = 9 if arithmetic is REFERENCE else 15 if np.finfo(np.longdouble).eps < 2.0**-60 else 12
    return digits - 1 - math.floor(math.log10(size)) if size else 0


def _digits(value: float, decimals: int) -> float:
    return float(f"{value:.{max(decimals, 0)}f}") + 0.0 if math.isfinite(value) else value


def _rounded_up(value: float) -> float:
    """To two digits."""
    if value == 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.1e}")
