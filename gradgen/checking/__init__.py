"""Checking a program: its compiled gradients against finite differences, and against PyTorch where that is installed.

The finite differences are those of the graph in float64, by the reference interpreter, which shares no code with the
scheduler or the C: an error in any stage shows.  What detach() and no_grad() stop is held at its value.  PyTorch runs
the user's own function.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.api import build
from gradgen.autodiff.joint import differentiable_outputs
from gradgen.checking.inputs import DISTRIBUTIONS, dimensions, given_or_sampled, sample
from gradgen.checking.twin import NoTwin, as_torch
from gradgen.errors import CompilerNotFoundError, GradgenError
from gradgen.ir.draws import STATE
from gradgen.ir.functions import instead, stop
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Compute, Input, Node, identity_read
from gradgen.ir.rewrite import rewrite
from gradgen.ir.symbols import placeholder
from gradgen.ir.widen import widened_graph
from gradgen.record.traced import TracedFunction
from gradgen.reference.interpreter import evaluate
from gradgen.trace.choice import prepared

__all__ = ["CheckReport", "Comparison", "Row", "check"]

Values = dict[str, np.ndarray]

TOLERANCE: dict[str, tuple[float, float]] = {"float32": (1e-3, 1e-5), "float64": (1e-6, 1e-9)}
"""dtype -> (relative to the greatest element of the reference, absolute).

A float32 gradient of a deep model is right to about 1e-5 of its greatest element and the sampled point may be badly
conditioned; a wrong rule is off by 1e-1 or more.  In float64 the differences themselves are good to about 1e-9."""

STEP = 1e-3
"""Step of the central differences, relative to |x| + 1; one Richardson step leaves an error of order STEP**4."""

SMOOTH = 1e-4
"""Relative difference of two steps' differences up to which there is no kink between them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Greatest differences from a reference: absolute, and relative to the reference's greatest element."""

    absolute: float
    relative: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One output or gradient; `reference` is the interpreter or finite differences, None where not compared."""

    name: str
    kind: str  # "output" or "gradient"
    dtype: str
    shape: tuple[int, ...]
    greatest: float
    reference: Comparison | None = None
    torch: Comparison | None = None

    @property
    def passed(self) -> bool:
        return all(c.passed for c in (self.reference, self.torch) if c is not None)


@dataclass(frozen=True)
class CheckReport:
    """What was compared and how it came out; true where all of it agrees.  `notes` say what could not be compared and why."""

    name: str
    dims: Mapping[str, int]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return all(r.passed for r in self.rows)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        sizes = ", ".join(f"{k}={v}" for k, v in self.dims.items())
        lines = [f"{self.name}{f' ({sizes})' if sizes else ''}: {'ok' if self.passed else 'FAILED'}"]
        for r in self.rows:
            parts = [f"  {r.name:<20} {'ok' if r.passed else 'FAILED':<7}"]
            for label, c in (("reference", r.reference), ("torch", r.torch)):
                if c is not None:
                    parts.append(f"{label} {c.absolute:.2e} (rel {c.relative:.2e})")
            lines.append("  ".join(parts))
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])


def check(
    program: TracedFunction,
    *,
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
    samples: int = 16,
    torch: bool | None = None,
    tolerance: tuple[float, float] | None = None,
    **options: Any,
) -> CheckReport:
    """Compares outputs and gradients of the compiled program with the reference interpreter, differences and PyTorch.

    `dims` gives sizes of named dimensions, `values` arrays for inputs (others are random, by `seed`).  For each
    parameter with more than `samples` elements, that many random elements and two random directions are differenced.
    `torch`: None compares where PyTorch is installed, True insists.  `tolerance` is (relative, absolute), as in
    TOLERANCE.  Other options as for `build`; with fewer outputs than the function has, PyTorch is not asked.
    Raises GradgenError where no finite point is found.
    """
    program, options = prepared(program, options)
    graph = program.graph
    sizes = dimensions(graph, dims)
    notes: list[str] = []
    names = {str(k): v for k, v in sizes.items()}
    with tempfile.TemporaryDirectory(prefix="gradgen-check-") as folder:
        run = _compiled(program, Path(folder), options, notes)
        point, cotangents = _finite_point(graph, sizes, values or {}, seed, options)
        results = run(point, cotangents)
    rows = _compare(program, sizes, point, results, samples, tolerance, seed)
    if torch is not False:
        rows = _with_torch(program, point, results, rows, tolerance, bool(torch), notes)
    return CheckReport(program.name, names, tuple(rows), tuple(notes))


@dataclass
class _Results:
    """What one run gave: outputs and gradients by name, and the cotangents they are for.

    What value_and_grad gave is beside them, as `<name> (value_and_grad)`.
    """

    outputs: Values
    gradients: Values
    cotangents: Values


_Run = Callable[[Values, Values], _Results]

_FUSED = " (value_and_grad)"


def _parameters(graph: Graph) -> tuple[Input, ...]:
    return tuple(n for n in graph.inputs if n.requires_grad)


def _differentiable(graph: Graph) -> tuple[str, ...]:
    return tuple(graph.output_names[k] for k in differentiable_outputs(graph, _parameters(graph)))


# --- running ---------------------------------------------------------------------------------------------------------


def _compiled(program: TracedFunction, folder: Path, options: dict[str, Any], notes: list[str]) -> _Run:
    try:
        module = build(program, out=folder / "checked", **options)
    except CompilerNotFoundError as error:
        notes.append(f"checked by the interpreter, not as compiled C: {error.what}")
        return lambda point, cotangents: _interpreted(program.graph, point, cotangents, options)
    forward_only = bool(options.get("forward_only"))
    return lambda point, cotangents: _run_module(module, program.graph, point, cotangents, forward_only)


def _run_module(module: Any, graph: Graph, point: Values, cotangents: Values, forward_only: bool) -> _Results:
    parameters = [n.name for n in _parameters(graph)]
    seeds = dict(zip(("seed", "step"), map(int, point.get(STATE.name, ()))))
    inputs = {n: v for n, v in point.items() if n != STATE.name}
    if not parameters or forward_only:
        found = module.forward(*inputs.values(), **seeds)
        return _Results(_by_name(graph.output_names, found), {}, cotangents)
    held = [t.name for t in module.info.held]
    model = module.Module(**{n: point[n] for n in held}, **seeds)
    found = model.forward(*(v for n, v in inputs.items() if n not in held))
    states = dict(graph.states)
    outputs = _by_name((n for n in graph.output_names if n not in states.values()), found)
    outputs |= {new: np.array(getattr(model, old)) for old, new in graph.states}
    given = {n: np.asarray(c, outputs[n].dtype) for n, c in cotangents.items()}
    model.backward(gradient=given)
    gradients = {n: np.array(getattr(model.grad, n)) for n in parameters}
    scalar = len(given) == 1 and np.ndim(next(iter(given.values()))) == 0
    again, fused = module.value_and_grad(*inputs.values(), **seeds, **({} if scalar else {"gradient": given}))
    outputs |= _by_name((f"{n}{_FUSED}" for n in graph.output_names), again)
    factor = float(next(iter(given.values()))) if scalar else 1.0
    for name, value in zip(parameters, fused):
        gradients[f"{name}{_FUSED}"] = np.asarray(value) * factor
    return _Results(outputs, gradients, cotangents)


def _by_name(names: Iterable[str], found: Any) -> Values:
    names = tuple(names)
    return dict(zip(names, (found,) if len(names) == 1 else tuple(found)))


def _interpreted(graph: Graph, point: Values, cotangents: Values, options: Mapping[str, Any]) -> _Results:
    from gradgen.autodiff import differentiate

    given: dict[Node, Any] = {n: point[n.name] for n in graph.inputs}
    outputs = _by_name(graph.output_names, evaluate(graph.outputs, given) if len(graph.outputs) > 1
                       else evaluate(graph.outputs, given)[0])
    parameters = () if options.get("forward_only") else _parameters(graph)
    if not parameters:
        return _Results(outputs, {}, cotangents)
    joint = differentiate(graph, parameters, nan_safe=bool(options.get("nan_safe")))
    given |= {s: cotangents[name] for name, s in joint.seeds}
    found = {p.name: np.zeros(point[p.name].shape) if g is None else evaluate([g], given)[0]
             for p, g in zip(parameters, joint.gradients)}
    return _Results(outputs, found, cotangents)


def _finite_point(
    graph: Graph, dims: Any, values: Mapping[str, Any], seed: int, options: Mapping[str, Any]
) -> tuple[Values, Values]:
    """A point, and cotangents, for which the graph has finite outputs and gradients: distributions are tried in turn.

    The interpreter says what is finite, not the module: one that is wrong with nan is wrong, and gets no easier point.
    """
    for distribution in DISTRIBUTIONS:
        rng = np.random.default_rng(seed)
        point = given_or_sampled(graph, values, sample(graph, dims, rng, distribution))
        with np.errstate(all="ignore"):
            shapes = {n: o.shape for n, o in zip(graph.output_names, evaluate(graph.outputs, _nodes(graph, point)))}
            cotangents = {n: _cotangent(shapes[n], rng) for n in _differentiable(graph)}
            expected = _interpreted(graph, point, cotangents, options)
        if all(np.isfinite(v).all() for v in (*expected.outputs.values(), *expected.gradients.values())):
            return point, cotangents
    raise GradgenError(
        f"no random point was found at which all outputs and gradients are finite (tried {', '.join(DISTRIBUTIONS)})",
        hint="give values= (or narrow the function's domain) to check at a point of your choice",
    )


def _cotangent(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.5, 1.5, shape)


def _nodes(graph: Graph, point: Values) -> dict[Node, Any]:
    return {n: point[n.name] for n in graph.inputs}


# --- comparing -------------------------------------------------------------------------------------------------------


def _comparison(found: Any, wanted: Any, dtype: str, tolerance: tuple[float, float] | None) -> Comparison:
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        return Comparison(np.inf, np.inf, False)
    error = float(np.max(np.abs(found - wanted), initial=0.0))
    size = float(np.max(np.abs(wanted), initial=0.0))
    relative, absolute = tolerance or TOLERANCE.get(dtype, (0.0, 0.0))
    ratio = error / size if size else (0.0 if error == 0 else np.inf)
    return Comparison(error, ratio, error <= relative * size + absolute)


def _compare(
    program: TracedFunction, dims: Any, point: Values, results: _Results, samples: int,
    tolerance: tuple[float, float] | None, seed: int,
) -> list[Row]:
    graph = program.graph
    twin = widened_graph(graph)
    exact = evaluate(twin.outputs, _nodes(twin, point))
    rows = []
    for name, node, value in zip(graph.output_names, graph.outputs, exact):
        compared = partial(_comparison, wanted=value, dtype=node.dtype.name, tolerance=tolerance)
        worst = _worst(name, results.outputs, compared)
        rows.append(Row(name, "output", node.dtype.name, value.shape, _greatest(results.outputs[name]), worst))
    wanted = [k for k, n in enumerate(graph.output_names) if n in results.cotangents]
    twin = _written_out(twin)
    stopped = [n for n in twin.nodes if isinstance(n, Compute) and isinstance(n.body, stop)]
    held: dict[Node, Any] = dict(zip(stopped, evaluate(stopped, _nodes(twin, point))))

    def objective(at: Values) -> float:
        found = evaluate([twin.outputs[k] for k in wanted], {**_nodes(twin, at), **held})
        return float(sum(np.sum(results.cotangents[graph.output_names[k]] * v) for k, v in zip(wanted, found)))

    wide = {n.name: np.asarray(point[n.name], n.dtype.numpy) for n in twin.inputs}
    for node in _parameters(graph):
        if node.name in results.gradients:
            rows.append(_gradient_row(node, objective, wide, results.gradients, samples, tolerance, seed))
    return rows


def _worst(name: str, found: Values, compared: Callable[[np.ndarray], Comparison]) -> Comparison:
    """Of what backward and value_and_grad gave under one name."""
    both = [compared(np.asarray(found[n])) for n in (name, f"{name}{_FUSED}") if n in found]
    return max(both, key=lambda c: (not c.passed, c.absolute))


def _written_out(graph: Graph) -> Graph:
    """instead(value, history) as history plus what it lacks of the value, which is held."""

    def rule(node: Node) -> Node:
        if not (isinstance(node, Compute) and isinstance(node.body, instead)):
            return node
        value, history = node.body.args
        lacking = Compute(node.shape, stop(value - history), node.reads, node.dtype)
        k = len(node.reads)
        return Compute(node.shape, history + placeholder(k), [*node.reads, identity_read(lacking)], node.dtype)

    new = rewrite(graph.outputs, rule)
    return replace(graph, outputs=tuple(new[n] for n in graph.outputs))


def _gradient_row(
    node: Input, objective: Callable[[Values], float], at: Values, gradients: Values, samples: int,
    tolerance: tuple[float, float] | None, seed: int,
) -> Row:
    gradient = np.asarray(gradients[node.name], np.float64)
    shape = at[node.name].shape
    directions = _directions(shape, samples, np.random.default_rng(seed + 1))
    slopes = np.array([_slope(objective, at, node.name, d) for d in directions])

    def compared(value: np.ndarray) -> Comparison:
        if value.shape != shape:
            return Comparison(np.inf, np.inf, False)
        along = [float(np.sum(value.astype(np.float64) * d)) for d in directions]
        return _comparison(along, slopes, node.dtype.name, tolerance)

    worst = _worst(node.name, gradients, compared)
    return Row(f"grad_{node.name}", "gradient", node.dtype.name, shape, _greatest(gradient), worst)


def _directions(shape: tuple[int, ...], samples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Unit vectors, all of them where there are few, and two dense directions of length about 1 otherwise."""
    size = int(np.prod(shape))
    chosen = np.arange(size) if size <= samples else np.sort(rng.choice(size, samples, replace=False))
    found = []
    for k in chosen:
        unit = np.zeros(size)
        unit[k] = 1.0
        found.append(unit.reshape(shape))
    if size > samples:
        found += [(v / np.linalg.norm(v)).reshape(shape) for v in rng.standard_normal((2, size))]
    return found


def _slope(objective: Callable[[Values], float], at: Values, name: str, direction: np.ndarray) -> float:
    """Directional derivative by central differences, extrapolated once (Richardson).

    Where a step leads over a kink (of a relu, to another element of a maximum) its half tells something else: then a
    shorter one is tried, and of all the one believed whose halves agree best.
    """
    x = at[name]
    h = STEP * (1.0 + float(np.max(np.abs(x[direction != 0]), initial=0.0)))

    def central(step: float) -> float:
        up = objective({**at, name: x + step * direction})
        down = objective({**at, name: x - step * direction})
        return (up - down) / (2 * step)

    found, distance = 0.0, np.inf
    for step in (h, h / 16, h / 256):
        coarse, fine = central(step), central(step / 2)
        if abs(fine - coarse) < distance:
            found, distance = (4 * fine - coarse) / 3, abs(fine - coarse)
        if not distance > SMOOTH * (abs(fine) + abs(coarse)):
            break
    return found


def _greatest(value: Any) -> float:
    return float(np.max(np.abs(np.asarray(value, np.float64)), initial=0.0))


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def _with_torch(
    program: TracedFunction, point: Values, results: _Results, rows: list[Row],
    tolerance: tuple[float, float] | None, insist: bool, notes: list[str],
) -> list[Row]:
    try:
        found = _torch_results(program, point, results.cotangents)
    except Exception as error:
        # the user's function may do anything when it meets torch's tensors; that is no failure of ours
        text = f"not compared with PyTorch: {type(error).__name__}: {error}".splitlines()[0]
        if insist:
            raise GradgenError(text, hint="torch=None skips the comparison where it cannot be made") from error
        notes.append(text)
        return rows
    compared = []
    for row in rows:
        other = found.outputs.get(row.name) if row.kind == "output" else found.gradients.get(row.name[5:])
        own = results.outputs[row.name] if row.kind == "output" else results.gradients[row.name[5:]]
        c = None if other is None else _comparison(own, other, row.dtype, tolerance)
        compared.append(Row(row.name, row.kind, row.dtype, row.shape, row.greatest, row.reference, c))
    return compared


def _torch_results(program: TracedFunction, point: Values, cotangents: Values) -> _Results:
    import torch

    if program.function is None:
        raise NoTwin("the program does not come from a Python function")
    if STATE in program.graph.inputs:
        raise NoTwin("the program draws random numbers of its own")
    if program.graph.states:
        raise NoTwin("the program has states of tensors outside of the function")
    twin = as_torch(program.function)
    graph = program.graph
    tensors = {}
    for n in graph.inputs:
        tensors[n.name] = torch.tensor(point[n.name]).requires_grad_(n.requires_grad)
    found = _call(twin, tensors)
    if isinstance(found, Mapping):
        values = list(found.values())
    else:
        values = list(found) if isinstance(found, (tuple, list)) else [found]
    outputs = dict(zip(graph.output_names, values, strict=True))
    terms = [(outputs[n] * torch.tensor(c, dtype=outputs[n].dtype)).sum() for n, c in cotangents.items()]
    gradients: Values = {}
    if terms:
        sum(terms[1:], terms[0]).backward()
        for n in _parameters(graph):
            g = tensors[n.name].grad
            gradients[n.name] = np.zeros(point[n.name].shape) if g is None else g.numpy()
    return _Results({k: v.detach().numpy() for k, v in outputs.items()}, gradients, cotangents)


def _call(function: Callable[..., Any], tensors: Mapping[str, Any]) -> Any:
    """Arguments by name where possible; *args take the rest in order."""
    positional, named = [], dict(tensors)
    for p in inspect.signature(function).parameters.values():
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            positional += [named.pop(n) for n in list(named) if n.startswith(p.name)]
        elif p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) and p.name in named:
            positional.append(named.pop(p.name))
    return function(*positional, **named)


