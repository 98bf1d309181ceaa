"""The rules of a graph, checked: every node's shapes, axes, types and operands.  Errors name the rule and the node.

What the constructors of nodes do not look at, because they run for every recorded operation, is looked at here: in
tests, after each pass when debugging, and before a graph from outside is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sympy

from gradgen.errors import GradgenError
from gradgen.ir.dtypes import INDEX, bool_
from gradgen.ir.graph import Graph, Location, topological
from gradgen.ir.guards import EQ, GE, MOD, Guard
from gradgen.ir.kernels import KERNELS
from gradgen.ir.nodes import ARG_REDUCERS, REDUCERS, SCATTER_MODES, Compute, Input, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.scalar_table import ScalarFunction
from gradgen.ir.symbols import Axis, Dim, Placeholder, ReduceAxis, axes, placeholder, reduce_axes, same_extent


class GraphError(GradgenError):
    """A graph breaks a rule.  `rule` is the rule's short name."""

    def __init__(self, rule: str, what: str, node: Node, where: Location | None) -> None:
        super().__init__(f"{rule}: {what}", where=f"{node!r}" + (f" at {where}" if where else ""),
                         hint="this is a defect of the pass or operation that made the node, not of its user")
        self.rule = rule
        self.node = node


def verify(graph: Graph) -> Graph:
    """The graph itself, or GraphError for the first node that breaks a rule."""
    seen: dict[str, Input] = {}
    for node in graph.nodes:
        for rule, what in problems(node):
            raise GraphError(rule, what, node, graph.where.get(node))
        if isinstance(node, Input):
            other = seen.setdefault(node.name, node)
            if other is not node:
                raise GraphError("input-name", f"two inputs are called {node.name!r}", node, graph.where.get(node))
            if node not in graph.inputs:
                raise GraphError("input-listed", f"input {node.name!r} is not among the graph's inputs", node, None)
    if len(graph.outputs) != len(graph.output_names):
        raise GraphError("output-names", "an output has no name", graph.outputs[-1], None)
    return graph


def verify_nodes(outputs: Iterable[Node]) -> None:
    """The rules of single nodes, for everything the outputs depend on."""
    for node in topological(tuple(outputs)):
        for rule, what in problems(node):
            raise GraphError(rule, what, node, None)


def problems(node: Node) -> Iterator[tuple[str, str]]:
    """(rule, explanation) for every rule the node breaks."""
    for extent in node.shape:
        if isinstance(extent, int):
            if extent < 0:
                yield "extent", f"extent {extent} is negative"
        elif not isinstance(extent, sympy.Expr) or any(not isinstance(s, Dim) for s in extent.free_symbols):
            yield "extent", f"extent {extent} is not an integer expression over named dimensions"
    if isinstance(node, Compute):
        yield from _compute(node)
    elif isinstance(node, Scatter):
        yield from _scatter(node)
    elif isinstance(node, Scan):
        yield from _scan(node)
    elif isinstance(node, Kernel):
        yield from _kernel(node)


def _kernel(node: Kernel) -> Iterator[tuple[str, str]]:
    spec = KERNELS.get(node.name)
    if spec is None:
        yield "kernel", f"there is no kernel called {node.name!r}"
        return
    results = spec.results(node.operands)
    if not 0 <= node.output < len(results):
        yield "kernel", f"output {node.output} of {node.name}, which has {len(results)}"
        return
    shape, kind = results[node.output]
    if not _same_shape(shape, node.shape) or kind is not node.dtype:
        yield "kernel", f"{node.name} gives {kind.name}{list(shape)}"


def _compute(node: Compute) -> Iterator[tuple[str, str]]:
    if (node.reducer is None) != (not node.reduce_shape):
        yield "reducer", "a reducer without reduced axes, or reduced axes without a reducer"
    if node.reducer is not None and node.reducer not in REDUCERS:
        yield "reducer", f"unknown reducer {node.reducer!r}"
    if node.reducer in ARG_REDUCERS:
        if len(node.reduce_shape) != 1:
            yield "argmax", f"{node.reducer} reduces over exactly one axis, not {len(node.reduce_shape)}"
        if node.dtype is not INDEX:
            yield "argmax", f"{node.reducer} gives {INDEX.name}, not {node.dtype.name}"
    if node.reducer in ("any", "all") and node.dtype is not bool_:
        yield "logical", f"{node.reducer} gives bool, not {node.dtype.name}"
    known = {*axes(len(node.shape)), *reduce_axes(len(node.reduce_shape))}
    yield from _reads(node.reads, known)
    yield from _body(node.body, known, len(node.reads))


def _scatter(node: Scatter) -> Iterator[tuple[str, str]]:
    if node.mode not in SCATTER_MODES:
        yield "mode", f"unknown mode {node.mode!r}"
    if len(node.index) != len(node.shape):
        yield "index", f"{len(node.index)} index expressions for {len(node.shape)} axes"
    base = node.base
    if base is not None:
        if base.dtype is not node.dtype:
            yield "base", f"base is {base.dtype.name}, the value {node.dtype.name}"
        if not _same_shape(base.shape, node.shape):
            yield "base", f"base has shape {base.shape}, the value {node.shape}"
    known = set(axes(len(node.update_shape)))
    yield from _reads(node.reads, known)
    yield from _body(node.body, known, len(node.reads))
    placeholders = {placeholder(k) for k, r in enumerate(node.reads) if not r.dtype.is_floating_point}
    for e in node.index:
        yield from _index(e, known | placeholders)
    yield from _guard(node.guard, known | placeholders)


def _scan(node: Scan) -> Iterator[tuple[str, str]]:
    carries, rows = len(node.init), len(node.sequences)
    inputs = node.step.inputs
    extra = len(inputs) - carries - rows - len(node.constants)
    if extra not in (0, 1):
        yield "scan", f"the step has {len(inputs)} inputs for {carries} carries, {rows} sequences and its constants"
        return
    if not 0 <= node.output < len(node.step.outputs):
        yield "scan", f"output {node.output} of a step with {len(node.step.outputs)} outputs"
    for k, (inner, start, new) in enumerate(zip(inputs, node.init, node.step.outputs)):
        if inner.dtype is not start.dtype or inner.dtype is not new.dtype:
            yield "carry", f"carry {k} changes its dtype"
        if not _same_shape(inner.shape, start.shape) or not _same_shape(inner.shape, new.shape):
            yield "carry", f"carry {k} changes its shape"
    for k, (inner, whole) in enumerate(zip(inputs[carries : carries + rows], node.sequences)):
        if not whole.shape or not same_extent(whole.shape[0], node.length) \
                or not _same_shape(inner.shape, whole.shape[1:]):
            yield "sequence", f"sequence {k} has shape {whole.shape}, the step takes rows of {inner.shape}"
    for k, (inner, value) in enumerate(zip(inputs[carries + rows + extra :], node.constants)):
        if inner.dtype is not value.dtype or not _same_shape(inner.shape, value.shape):
            yield "constant", f"constant {k} is not what the step takes"


def _reads(reads: tuple[Read, ...], known: set[sympy.Symbol]) -> Iterator[tuple[str, str]]:
    usable: set[sympy.Symbol] = set(known)
    for k, read in enumerate(reads):
        if len(read.index) != read.source.ndim:
            yield "index", f"read {k} has {len(read.index)} index expressions for {read.source.ndim} axes"
        for e in read.index:
            yield from _index(e, usable)
        yield from _guard(read.guard, usable)
        if not read.dtype.is_floating_point:
            usable.add(placeholder(k))


def _index(expr: sympy.Expr, known: set[sympy.Symbol]) -> Iterator[tuple[str, str]]:
    for s in sorted(expr.free_symbols, key=str):
        if not isinstance(s, Dim) and s not in known:
            yield "index", f"index {expr} mentions {s}, which is no axis, dimension or earlier integer read of the node"
    if expr.is_number and not expr.is_Integer:
        yield "index", f"index {expr} is not an integer"


def _guard(guard: Guard, known: set[sympy.Symbol]) -> Iterator[tuple[str, str]]:
    for c in guard:
        if c.kind not in (GE, EQ, MOD):
            yield "guard", f"unknown kind of condition {c.kind!r}"
        yield from _index(c.expr, known)


def _body(body: sympy.Expr, known: set[sympy.Symbol], reads: int) -> Iterator[tuple[str, str]]:
    for s in sorted(body.free_symbols, key=str):
        if isinstance(s, Placeholder):
            if s not in {placeholder(k) for k in range(reads)}:
                yield "body", f"the body mentions {s}, the node has {reads} reads"
        elif isinstance(s, (Axis, ReduceAxis)):
            if s not in known:
                yield "body", f"the body mentions axis {s}, which the node does not have"
        elif not isinstance(s, Dim):
            yield "body", f"the body mentions {s}, which is neither a read, an axis nor a dimension"
    for f in body.atoms(sympy.Function):
        if f.is_number:
            continue
        if not isinstance(f, (ScalarFunction, sympy.floor, sympy.ceiling, sympy.Mod, sympy.Min, sympy.Max)):
            yield "body", f"{type(f).__name__} is not a scalar function of gradgen.ir.functions"
    for number in body.atoms(sympy.Float):
        yield "exact", f"{number} is a binary fraction; exact numbers only"


def _same_shape(a: tuple, b: tuple) -> bool:
    return len(a) == len(b) and all(same_extent(x, y) for x, y in zip(a, b))
