"""Tracing: a Python function over tensors is run once on symbolic inputs, and what it recorded becomes a Graph."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradgen.autodiff import gradient_reach
from gradgen.codegen.names import check_argument_names
from gradgen.eager.drawing import Source, drawing_from
from gradgen.eager.tensor import Tensor
from gradgen.errors import DTypeError, InvalidNameError, ShapeError, TraceError
from gradgen.ir import dtypes
from gradgen.ir.assumptions import Requirement
from gradgen.ir.draws import STATE
from gradgen.ir.graph import Graph, dim_names
from gradgen.ir.nodes import Input
from gradgen.ir.reach import with_conditions
from gradgen.ir.symbols import Extent, dim
from gradgen.ops.requirements import collecting
from gradgen.ops.table import METHODS
from gradgen.record.dimensions import Dimension, stated_of
from gradgen.record.lowering import lower, plan_of
from gradgen.record.records import Record, check_size, symbol_leaf
from gradgen.record.traced import Spec, TracedFunction
from gradgen.record.user_lines import PACKAGE
from gradgen.trace import tape
from gradgen.trace.module_state import Held, Program, name_states, settled

Size = int | str | Dimension


def spec(*shape: Size | Sequence[Size], dtype: Any = None, requires_grad: bool = False) -> Spec:
    """Describes an argument of a function to be traced: `spec("N", 784)`, `spec((3, 4), dtype=gg.float64)`, `spec()`.

    A string names a dimension that the emitted functions take as an argument; the same name is the same extent.  What is
    known of one is said by `dim`: `spec(gg.dim("N", min=3), 784)`.
    Raises ShapeError for negative or non-integer extents and for more bytes than 64 bits count, DTypeError for a gradient
    of an integer argument.
    """
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    kind = dtypes.float32 if dtype is None else dtypes.dtype(dtype)
    if requires_grad and not kind.is_floating_point:
        raise DTypeError(f"only floating point arguments can require gradients, not {kind.name}")
    stated = tuple(e for e in shape if isinstance(e, Dimension))
    extents = tuple(_extent(e) for e in shape)  # type: ignore[arg-type]
    check_size(extents, kind)
    return Spec(extents, kind, requires_grad, stated)


def _extent(value: Any) -> Extent:
    if isinstance(value, str):
        return dim(value)
    if isinstance(value, Dimension):
        return value.symbol
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ShapeError(f"an extent is an int or a name, not {value!r}", hint='for example spec("N", 784)')
    if value < 0:
        raise ShapeError(f"an extent cannot be negative: {value}")
    return int(value)


def trace(
    function: Callable[..., Any], *positional: Spec, outputs: Sequence[str] | None = None, name: str | None = None,
    check: bool = True, **named: Spec
) -> TracedFunction:
    """Runs `function` once on symbolic tensors and returns what it computed as a TracedFunction.

    Specs go by position or by argument name; parameters with a Spec as default may be left out.  Outputs are named by
    `outputs`, by the keys of a returned dict, by the variables in the function's return statement, or output0, output1.
    With a Tensor in place of the function this is PyTorch's trace, the sum of a matrix' diagonal.
    `check=False` leaves out the checks that only emitted code needs: names, and gradients that reach an output.
    Raises TraceError where the function looks at values, returns what is not a tensor, or has an argument that wants a
    gradient but does not influence any output; operations raise PyTorch's own errors for shapes that do not fit.
    """
    if isinstance(function, Tensor):  # PyTorch's trace: the sum of a matrix' diagonal
        return METHODS["trace"](function, *positional, **named)
    return _traced(function, _bind(function, positional, named), outputs, name or _name_of(function), check)


def _traced(
    function: Callable[..., Any], specs: Mapping[str, Spec], outputs: Sequence[str] | None, name: str, check: bool
) -> TracedFunction:
    """The program of a function for one Spec per parameter."""
    dims = dim_names(specs.values())
    if check:
        check_argument_names(dims, specs, (), gradients=[n for n, s in specs.items() if s.requires_grad])
    inputs = {n: Input(n, s.shape, s.dtype, s.requires_grad) for n, s in specs.items()}

    def run(held: Sequence[Held]) -> tuple[Program, _Run]:
        name_states(held, Program(function), (*dims, *specs), _usable)
        return _recorded(function, specs, inputs, outputs, held)

    held, made = settled(run)
    names, states = made.names, tuple((h.name, f"{h.name}_next") for h in held)
    all_names = (*names, *(new for _, new in states))
    if check:
        check_argument_names(dims, [*specs, *(old for old, _ in states)], all_names,
                             gradients=[n for n, s in specs.items() if s.requires_grad],
                             cotangents=[n for n, v in zip(names, made.differentiable) if v], draws=made.draws)
    order, leaves = plan_of(made.records)
    nodes, where = lower(order, leaves, constants=True)
    given = [Input(h.name, h.holder._spec.shape, h.holder._spec.dtype) for h in held] + [STATE] * made.draws
    final = tape.settled([nodes[r] for r in made.records])
    outs = tuple(final[nodes[r]] for r in made.records)
    where = {final.get(n, n): line for n, line in where.items()}
    graph = with_conditions(Graph((*inputs.values(), *given), outs, all_names, where, made.conditions, states))
    if check:
        _check_reach(graph, specs)
    return TracedFunction(graph, name, function, specs, lambda other: _traced(function, other, names, name, check),
                          made.constants, {h.name: np.array(h.holder._value()) for h in held})


@dataclass
class _Run:
    """What one run of a function gave: `records` are its results, then the new values of the states."""

    names: tuple[str, ...]
    records: list[Record]
    differentiable: list[bool]
    draws: bool
    conditions: tuple[Requirement, ...]
    constants: dict[str, Spec]


def _recorded(
    function: Callable[..., Any], specs: Mapping[str, Spec], inputs: Mapping[str, Input], outputs: Sequence[str] | None,
    held: Sequence[Held],
) -> tuple[Program, _Run]:
    with Program(function, held) as border, collecting(stated_of(d for s in specs.values() for d in s.dimensions)) as own:
        tensors = {n: border.argument(Tensor._from_record(symbol_leaf(i, requires_grad=i.requires_grad)))
                   for n, i in inputs.items()}
        before = [t._record for t in tensors.values()]
        source = Source(lambda: Tensor._from_record(symbol_leaf(STATE)))
        with drawing_from(source):
            result = _call(function, tensors)
        names, values = _outputs(function, result, outputs)
        records = [*(border.result(v) for v in values), *border.afterwards()]
        border.arguments_unchanged(list(tensors.values()), before, list(tensors))
        border.audit(values)
    constants = {n: Spec(tuple(t.shape), t.dtype) for n, t in border.constants.items()}
    wanted = [v.requires_grad for v in values]
    return border, _Run(names, records, wanted, bool(source.count), (*own.stated, *own.asked), constants)


def _bind(function: Callable[..., Any], positional: Sequence[Spec], named: Mapping[str, Spec]) -> dict[str, Spec]:
    """One Spec per parameter, in the function's order."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise TraceError(f"{function!r} cannot be traced: {error}") from None
    found: dict[str, Spec] = {}
    given = list(positional)
    for parameter in parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            found.update({f"{parameter.name}{k}": s for k, s in enumerate(given)})
            given = []
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found.update({n: s for n, s in named.items() if n not in found})
        elif given and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            found[parameter.name] = given.pop(0)
        elif parameter.name in named:
            found[parameter.name] = named[parameter.name]
        elif isinstance(parameter.default, Spec):
            found[parameter.name] = parameter.default
        elif isinstance(parameter.annotation, Spec):
            found[parameter.name] = parameter.annotation
        elif parameter.default is inspect.Parameter.empty:
            raise TraceError(
                f"{_name_of(function)}() has an argument {parameter.name!r} without a spec",
                hint=f'pass {parameter.name}=gg.spec(...) with its shape, for example gg.spec("N", 784)',
            )
    extra = sorted(set(named) - set(found)) or (["one more positional spec"] if given else [])
    if extra:
        raise TraceError(f"{_name_of(function)}() has no argument {extra[0]!r}",
                         hint=f"its arguments are {', '.join(parameters)}")
    for name, one in found.items():
        if not isinstance(one, Spec):
            raise TraceError(f"argument {name!r}: expected gg.spec(...), got {type(one).__name__}",
                             hint=f"for an array a of fixed shape: {name}=gg.spec(*a.shape, dtype=...)")
    return found


def _call(function: Callable[..., Any], tensors: Mapping[str, Tensor]) -> Any:
    args: list[Any] = []
    keywords: dict[str, Any] = {}
    left = dict(tensors)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            args.extend(left.pop(n) for n in list(left) if n.startswith(parameter.name))
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            keywords.update(left)
        elif parameter.name in left:
            value = left.pop(parameter.name)
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                keywords[parameter.name] = value
            else:
                args.append(value)
        elif parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            args.append(parameter.default)
    try:
        return function(*args, **keywords)
    except TypeError as error:
        explained = _of_a_named_size(error)
        if explained is None:
            raise
        raise explained from error


def _of_a_named_size(error: TypeError) -> TraceError | None:
    """What Python and SymPy say where a named dimension is used as a number that is known, said in our words."""
    text = str(error)
    if not re.search(r"^'\w+' object cannot be interpreted as an integer|Cannot convert expression to (float|int)|"
                     r"cannot determine truth value of Relational", text):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(PACKAGE)]
    if not users or (text.startswith("'") and text[1:].partition("'")[0] not in _SIZE_KINDS):
        return None
    return TraceError(
        "a named dimension is used as a number, which it is not while the function is traced",
        where=f"{users[-1].filename}:{users[-1].lineno}",
        hint="a size in a formula is fine (loss / x.shape[0]); range(), if, int(), float() and math functions need an int: "
        "use operations over the whole axis, gg.scan, or a spec whose extent is a number",
    )


_SIZE_KINDS = ("Dim", "Add", "Mul", "Pow", "floor", "Min", "Max")


def _outputs(
    function: Callable[..., Any], result: Any, wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], list[Tensor]]:
    if isinstance(result, Mapping):
        names, values = [str(k) for k in result], list(result.values())
    elif isinstance(result, (tuple, list)):
        values = list(result)
        names = list(getattr(result, "_fields", ())) or _returned_names(function, len(values))
    else:
        values, names = [result], _returned_names(function, 1)
    if wanted is not None:
        if len(wanted) != len(values):
            raise TraceError(f"outputs= names {len(wanted)} results, the function returns {len(values)}")
        names = list(wanted)
    if not values:
        raise TraceError(f"{_name_of(function)}() returns no tensor")
    for name, value in zip(names, values):
        if not isinstance(value, Tensor):
            raise TraceError(f"{_name_of(function)}() returns {type(value).__name__} as {name}, not a tensor",
                             hint="return tensors, a tuple or a dict of tensors")
    return tuple(names), values


def _returned_names(function: Callable[..., Any], count: int) -> list[str]:
    """The variable names in the function's return statements, as far as they are plain, distinct and agree."""
    default = ["output"] if count == 1 else [f"output{k}" for k in range(count)]
    found: list[set[str]] = [set() for _ in default]
    for value in _own_returns(function):
        parts = list(value.elts) if isinstance(value, (ast.Tuple, ast.List)) else [value]
        if len(parts) != count:
            continue
        for names, part in zip(found, parts):
            if isinstance(part, ast.Name):
                names.add(part.id)
    alone = [next(iter(names)) if len(names) == 1 else "" for names in found]
    names = [name if name and _usable(name) else d for name, d in zip(alone, default)]
    arguments = set(inspect.signature(function).parameters)
    distinct = len(set(names)) == count and not arguments & set(names)
    return names if distinct else default


def _own_returns(function: Callable[..., Any]) -> list[ast.expr]:
    """What the function itself returns, and not one that is defined in it or around it; of lambdas nothing is known."""
    name = getattr(inspect.unwrap(function), "__name__", "")
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    found: list[ast.expr] = []
    stack: list[ast.AST] = [s for s in tree.body if isinstance(s, ast.FunctionDef) and s.name == name]
    stack = [s for f in stack for s in f.body]  # type: ignore[attr-defined]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Return) and node.value is not None:
            found.append(node.value)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))
    return found


def _usable(name: str) -> bool:
    """True where a variable's name can be a parameter of the emitted C as it is."""
    try:
        check_argument_names((), (), (name,))
    except InvalidNameError:
        return False
    return True


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return name if name.isidentifier() else "function"


def _check_reach(graph: Graph, specs: Mapping[str, Spec]) -> None:
    """Every gradient asked for must have an output that it belongs to."""
    reached = set(graph.nodes)
    for node in graph.inputs:
        if node.requires_grad and node not in reached:
            raise TraceError(
                f"no output depends on {node.name!r}, which requires a gradient",
                hint=f"drop requires_grad=True from the spec of {node.name!r}, or use it in an output",
            )
    if any(s.requires_grad for s in specs.values()):
        dependent = gradient_reach(graph)
        for node in graph.inputs:
            if node.requires_grad and node not in dependent:
                raise TraceError(
                    f"no output can be differentiated with respect to {node.name!r}",
                    hint="integer and bool results, detach() and no_grad() stop the derivative; that of floor(), sign() "
                    "and comparisons is 0 everywhere",
                )
