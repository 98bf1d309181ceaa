"""Ordinary SymPy in: expressions, matrices and indexed sums become a program like a traced function.

Every distinct subexpression becomes one node, found by hash in an iterative walk: SymPy's expressions are trees whose
equal parts are shared in memory, and walking them as trees takes exponential time.  What SymPy already did to the
expressions (it rewrites on construction) is taken as given; nothing is simplified, expanded or searched for here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy.core.function import AppliedUndef

from gradgen.autodiff import gradient_reach, gradients, tangents
from gradgen.codegen.names import check_argument_names
from gradgen.errors import GradgenError, ShapeError, TraceError, UnsupportedOperationError
from gradgen.importers.sympy_scalars import Lowering
from gradgen.importers.sympy_tensors import Tensors, extent_of
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph, dim_names
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.packed import pack
from gradgen.ir.reach import with_conditions
from gradgen.ir.rewrite import substitute
from gradgen.ir.symbols import Extent, placeholder
from gradgen.record.traced import Spec, TracedFunction

__all__ = ["from_sympy"]

Scalars = dict[sympy.Basic, tuple[Input, tuple[int, ...]]]


def from_sympy(
    expressions: Any,
    arguments: Any,
    *,
    name: str = "function",
    requires_grad: bool | Sequence[str] = True,
    dtype: Any = dtypes.float64,
    jacobians: Mapping[str, tuple[str, str]] | None = None,
) -> TracedFunction:
    """A program from SymPy expressions, for `gg.build`, `gg.emit`, `show` and `check`.

    Args:
        expressions: one expression or a dict or list of them, or what `sympy.cse` returns.  A Matrix or matrix expression
            becomes a tensor [rows, columns], a list in a dict a vector, an N-dim Array its own shape.  An expression with
            free indices becomes a tensor with one axis per index, by name, or by the left side of `Eq(y[i, j], ...)`, which
            also names it, and whose shape, if it has one, says how far the indices go.
        arguments: symbols, functions of time (`dynamicsymbols`), their derivatives, matrices of these, MatrixSymbols, and
            IndexedBase with a shape; as a list, or as a dict from names to those or to lists of them (vectors).  Symbols in
            the shapes of IndexedBases and MatrixSymbols become named dimensions and are no arguments.
        name: what the module will be called by default.
        requires_grad: True for gradients of all floating arguments that an output depends on, or their names.
        dtype: float64 or float32.  Arguments that are integers by assumption (`integer=True`) are int64; in formulas they
            are mathematical integers, converted to this dtype when they are read: n/2 is no whole number, n**8 does not wrap.
        jacobians: further outputs: name -> (output, argument) adds d output / d argument, of shape output + argument.

    The derivative at a kink is gradgen's (|x|' = 0 at 0, Max shares a tie, sign' = Heaviside' = 0); `Heaviside(x)` is
    SymPy's, 1/2 at 0.  Sums whose limits run backwards follow SymPy's convention (minus the sum between).  All
    branches of a Piecewise are computed, like torch.where's: build with `nan_safe=True` where a branch not taken can be
    undefined.  Raises UnsupportedOperationError for functions without a counterpart, naming them; GradgenError for
    symbols that are no argument.
    """
    kind = dtypes.dtype(dtype)
    if not kind.is_floating_point:
        raise GradgenError(f"dtype must be float32 or float64, not {kind.name}")
    definitions, results = _definitions(expressions)
    wanted = _outputs(results)
    inputs, scalars, bases = _inputs(arguments, kind)
    check_argument_names(dim_names(inputs.values()), list(inputs), [*wanted, *(jacobians or {})])
    lowering = Lowering(kind, {s: _element(n, at) for s, (n, at) in scalars.items()}, Tensors(bases, kind))
    for symbol, value in definitions:
        lowering.define(symbol, value)
    outputs: dict[str, Node] = {}
    entries: dict[str, list[Node]] = {}
    for output, value in wanted.items():
        outputs[output], entries[output] = _lower(lowering, value)
    for jacobian, (output, argument) in (jacobians or {}).items():
        outputs[jacobian] = _jacobian(jacobian, output, argument, outputs, entries, inputs, scalars)
    graph = Graph(tuple(inputs.values()), tuple(outputs.values()), tuple(outputs))
    graph = _with_gradients(graph, requires_grad)

    def again(specs: Mapping[str, Spec]) -> TracedFunction:
        kinds = [s.dtype for s in specs.values() if s.dtype.is_floating_point]
        gradients = [n for n, s in specs.items() if s.requires_grad]
        return from_sympy(expressions, arguments, name=name, requires_grad=gradients, dtype=kinds[0] if kinds else kind,
                          jacobians=jacobians)

    specs = {n.name: Spec(n.shape, n.dtype, n.requires_grad) for n in graph.inputs}
    return TracedFunction(graph, name, None, specs, again)


def _element(node: Input, at: tuple[int, ...]) -> Node:
    return Compute((), placeholder(0), [Read(node, at)], node.dtype) if at or node.shape else node


# --- arguments -------------------------------------------------------------------------------------------------------


def _inputs(arguments: Any, dtype: DType) -> tuple[dict[str, Input], Scalars, dict[sympy.Basic, Node]]:
    """The Inputs by name, what scalar symbols mean (input and index), and what IndexedBases and MatrixSymbols mean."""
    if isinstance(arguments, Mapping):
        pairs = [(str(k), v) for k, v in arguments.items()]
    else:
        listed = arguments if isinstance(arguments, (list, tuple, sympy.Tuple)) else [arguments]
        pairs = [(_name_of(a, k), a) for k, a in enumerate(listed)]
    inputs: dict[str, Input] = {}
    scalars: Scalars = {}
    bases: dict[sympy.Basic, Node] = {}
    for name, value in pairs:
        if name in inputs:
            raise GradgenError(f"two arguments are named {name!r}", hint="give names: arguments={'name': symbol, ...}")
        if isinstance(value, sympy.IndexedBase) and value.shape is None:
            raise ShapeError(f"argument {name!r} is an IndexedBase without a shape",
                             hint=f"IndexedBase({str(value)!r}, shape=(n, 3))")
        if isinstance(value, (sympy.IndexedBase, sympy.MatrixSymbol)):
            node = Input(name, tuple(extent_of(e) for e in value.shape), _dtype_of(value, dtype))
            bases[value] = inputs[name] = node
            continue
        shape, cells = _cells(value)
        kinds = {_dtype_of(c, dtype).name for c in cells}
        chosen = _dtype_of(cells[0], dtype) if len(kinds) == 1 else dtype
        inputs[name] = Input(name, shape, chosen)
        for k, cell in enumerate(cells):
            if not _is_variable(cell):
                raise GradgenError(f"argument {name!r}: {cell} is not a symbol, a function of time or its derivative")
            if cell in scalars:
                raise GradgenError(f"{cell} is in two arguments, {scalars[cell][0].name!r} and {name!r}")
            scalars[cell] = (inputs[name], _unravel(k, shape))
    return inputs, scalars, bases


def _name_of(value: Any, k: int) -> str:
    if isinstance(value, sympy.IndexedBase):
        return str(value.label)
    if isinstance(value, (sympy.Symbol, sympy.MatrixSymbol)):
        return str(value.name)
    if isinstance(value, AppliedUndef):
        return type(value).__name__
    if isinstance(value, sympy.Derivative) and isinstance(value.expr, AppliedUndef):
        return f"{type(value.expr).__name__}_{'d' * value.derivative_count}"
    return f"arg{k}"


def _is_variable(value: Any) -> bool:
    return isinstance(value, (sympy.Symbol, AppliedUndef, sympy.Derivative))


def _dtype_of(value: Any, dtype: DType) -> DType:
    return dtypes.int64 if getattr(value, "is_integer", None) else dtype


def _cells(value: Any) -> tuple[tuple[Extent, ...], list[Any]]:
    """Shape and scalar entries, row-major."""
    if isinstance(value, sympy.MatrixBase):
        return tuple(value.shape), list(value.flat())
    if isinstance(value, sympy.NDimArray):
        return tuple(int(e) for e in value.shape), [sympy.sympify(e) for e in sympy.flatten(value.tolist())]
    if isinstance(value, (list, tuple, sympy.Tuple)):
        parts = [_cells(sympy.sympify(v)) for v in value]
        shapes = {p[0] for p in parts} or {()}
        if len(shapes) != 1:
            raise ShapeError(f"a list of different shapes cannot be one tensor: {sorted(map(str, shapes))}")
        return (len(parts), *shapes.pop()), [c for p in parts for c in p[1]]
    return (), [sympy.sympify(value)]


def _unravel(k: int, shape: Sequence[Extent]) -> tuple[int, ...]:
    found: list[int] = []
    for extent in reversed(tuple(shape)):
        assert isinstance(extent, int)
        found.append(k % extent)
        k //= extent
    return tuple(reversed(found))


# --- outputs ---------------------------------------------------------------------------------------------------------


def _definitions(expressions: Any) -> tuple[list[tuple[sympy.Symbol, Any]], Any]:
    """What `sympy.cse` gives, (definitions, expressions), apart; without definitions the expressions as they are."""
    if not (isinstance(expressions, tuple) and len(expressions) == 2 and all(isinstance(e, list) for e in expressions)):
        return [], expressions
    pairs, reduced = expressions
    if not all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], sympy.Symbol) for p in pairs):
        return [], expressions
    return pairs, reduced[0] if len(reduced) == 1 else reduced


def _outputs(expressions: Any) -> dict[str, Any]:
    """Output name -> expression, matrix or list."""
    several = isinstance(expressions, (list, tuple, sympy.Tuple))
    listed = list(expressions) if several else [expressions]
    found: dict[str, Any] = {}
    if isinstance(expressions, Mapping):
        found, listed = {str(k): v for k, v in expressions.items()}, []
    for k, value in enumerate(listed):
        if isinstance(value, sympy.Eq) and isinstance(value.lhs, (sympy.Symbol, sympy.MatrixSymbol, sympy.Indexed)):
            name = str(value.lhs.base.label) if isinstance(value.lhs, sympy.Indexed) else str(value.lhs.name)
        else:
            name = f"output{k}" if several else "output"
        if name in found:
            raise GradgenError(f"two outputs are named {name!r}")
        found[name] = value
    if not found:
        raise GradgenError("there are no expressions")
    return found


def _lower(lowering: Lowering, value: Any) -> tuple[Node, list[Node]]:
    """The output's node, and its scalar entries in row-major order ([] for tensors with index letters)."""
    order: tuple[sympy.Basic, ...] | None = None
    if isinstance(value, sympy.Eq):
        if isinstance(value.lhs, sympy.Indexed):
            order = tuple(value.lhs.indices)
            lowering.tensors.declare(value.lhs)
        value = value.rhs
    if isinstance(value, sympy.MatrixExpr) and not isinstance(value, sympy.MatrixBase):
        return lowering.matrix(value), []
    shape, cells = _cells(value)
    if not shape:
        node, letters = lowering.tensor(cells[0], order)
        return node, [] if letters else [node]
    entries = [lowering.scalar(c) for c in cells]
    return pack(entries, shape, lowering.dtype), entries


def _jacobian(
    name: str, output: str, argument: str, outputs: Mapping[str, Node], entries: Mapping[str, list[Node]],
    inputs: Mapping[str, Input], scalars: Scalars,
) -> Node:
    for kind, wanted, known in (("output", output, outputs), ("argument", argument, inputs)):
        if wanted not in known:
            raise GradgenError(f"jacobians[{name!r}]: there is no {kind} {wanted!r}", hint=f"there are {list(known)}")
    node = inputs[argument]
    cells = [_element(n, at) for n, at in scalars.values() if n is node]
    if not entries.get(output) or not cells:
        raise UnsupportedOperationError(
            f"jacobians[{name!r}]: only of scalars, lists and matrices, with respect to symbols or matrices of them",
            hint="differentiate indexed sums by the module's backward, or by their own SymPy derivative",
        )
    rows = _derivatives(entries[output], cells)
    flat = [d for row in rows for d in row]
    return pack(flat, (*outputs[output].shape, *node.shape), node.dtype)


def _derivatives(entries: Sequence[Node], cells: Sequence[Node]) -> list[list[Node | None]]:
    """d entry / d cell of scalar nodes, None for structural zeros; by columns or rows, whichever are fewer."""
    one = Constant(1, cells[0].dtype)
    if len(cells) <= len(entries):
        columns = [tangents(entries, {c: one}) for c in cells]
        return [list(row) for row in zip(*columns)]
    return [gradients([e], [one], cells) for e in entries]


def _with_gradients(graph: Graph, wanted: bool | Sequence[str]) -> Graph:
    """The graph with requires_grad set on its inputs."""
    floating = [n.name for n in graph.inputs if n.dtype.is_floating_point]
    reached = {n.name for n in gradient_reach(graph) if isinstance(n, Input)}
    if isinstance(wanted, bool):
        chosen = [n for n in floating if wanted and n in reached]
    else:
        chosen = [wanted] if isinstance(wanted, str) else [str(n) for n in wanted]
        unknown = [n for n in chosen if n not in floating]
        if unknown:
            raise GradgenError(f"requires_grad names {unknown[0]!r}, which is no floating-point argument",
                               hint=f"there are {', '.join(floating)}")
        lost = [n for n in chosen if n not in reached]
        if lost:
            raise TraceError(f"no output can be differentiated with respect to {lost[0]!r}",
                             hint=f"leave {lost[0]!r} out of requires_grad")
    inputs = tuple(Input(n.name, n.shape, n.dtype, n.name in chosen) for n in graph.inputs)
    outputs = substitute(graph.outputs, dict(zip(graph.inputs, inputs)))
    return with_conditions(Graph(inputs, tuple(outputs), graph.output_names))
