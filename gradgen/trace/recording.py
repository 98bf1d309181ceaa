"""Recording: a function is run once on symbolic tensors, and what it did becomes a Graph with names."""

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
from gradgen.errors import InvalidNameError, TraceError
from gradgen.ir.assumptions import Requirement
from gradgen.ir.draws import STATE
from gradgen.ir.graph import Graph, dim_names, topological
from gradgen.ir.nodes import Input
from gradgen.ir.reach import with_conditions
from gradgen.ops.requirements import collecting
from gradgen.record.dimensions import stated_of
from gradgen.record.lowering import lower, plan_of
from gradgen.record.records import Record, symbol_leaf
from gradgen.record.traced import Spec, TracedFunction
from gradgen.record.user_lines import PACKAGE
from gradgen.trace import tape
from gradgen.trace.module_state import Held, Program, name_states, settled


def recorded(
    function: Callable[..., Any], specs: Mapping[str, Spec], outputs: Sequence[str] | None, name: str, check: bool = True,
    tensors: Mapping[str, Tensor] | None = None, given: Mapping[str, Spec] | None = None,
) -> TracedFunction:
    """The program of a function for one Spec per parameter.

    `tensors` from outside are inputs too, by the name that each has here, of the specs `given`: those with a gradient stand
    after the parameters, then the others.  What nothing depends on is left out, what the function replaces is a state.
    """
    tensors, given = tensors or {}, given or {}
    dims = dim_names([*specs.values(), *given.values()])
    if check:
        check_argument_names(dims, specs, (), gradients=[n for n, s in specs.items() if s.requires_grad])
    inputs = {n: Input(n, s.shape, s.dtype, s.requires_grad) for n, s in (*specs.items(), *given.items())}

    def run(held: Sequence[Held]) -> tuple[Program, _Run]:
        name_states(held, Program(function), (*dims, *inputs), usable)
        return _recorded(function, specs, inputs, outputs, held, tensors)

    held, made = settled(run)
    replaced = {n: f"{n}_next" for n in made.replaced}
    states = (*((h.name, f"{h.name}_next") for h in held), *replaced.items())
    names, all_names = made.names, (*made.names, *(new for _, new in states))
    order, leaves = plan_of(made.records)
    nodes, where = lower(order, leaves, constants=True)
    own = [Input(h.name, h.holder._spec.shape, h.holder._spec.dtype) for h in held] + [STATE] * made.draws
    final = tape.settled([nodes[r] for r in made.records])
    outs = tuple(final[nodes[r]] for r in made.records)
    where = {final.get(n, n): line for n, line in where.items()}
    needed = {*topological(outs), *(inputs[n] for n in (*specs, *replaced))}
    graph = with_conditions(Graph((*(i for i in inputs.values() if i in needed), *own), outs, all_names, where,
                                  made.conditions, states))
    kept = {n: s for n, s in {**specs, **given}.items() if inputs[n] in needed}
    if check:
        check_argument_names(dims, [*kept, *(h.name for h in held)], all_names,
                             gradients=[n for n, s in kept.items() if s.requires_grad],
                             cotangents=[n for n, v in zip(names, made.differentiable) if v], draws=made.draws)
        _check_reach(graph, {n: s for n, s in specs.items()})
    return TracedFunction(graph, name, function, kept, lambda other: recorded(function, other, names, name, check),
                          made.constants, {h.name: np.array(h.holder._value()) for h in held})


@dataclass
class _Run:
    """What one run of a function gave: `records` are its results, then the new values of the states, those of the tensors
    `replaced` last."""

    names: tuple[str, ...]
    records: list[Record]
    differentiable: list[bool]
    draws: bool
    conditions: tuple[Requirement, ...]
    constants: dict[str, Spec]
    replaced: list[str]


def _recorded(
    function: Callable[..., Any], specs: Mapping[str, Spec], inputs: Mapping[str, Input], outputs: Sequence[str] | None,
    held: Sequence[Held], tensors: Mapping[str, Tensor],
) -> tuple[Program, _Run]:
    with Program(function, held) as border, collecting(stated_of(d for s in specs.values() for d in s.dimensions)) as own:
        arguments = {n: border.argument(Tensor._from_record(symbol_leaf(inputs[n], requires_grad=inputs[n].requires_grad)))
                     for n in specs}
        before = [t._record for t in arguments.values()]
        for n, tensor in tensors.items():
            border.become(tensor, n, inputs[n])
        source = Source(lambda: Tensor._from_record(symbol_leaf(STATE)))
        with drawing_from(source):
            result = _call(function, arguments)
        names, values = _outputs(function, result, outputs)
        changed = border.renewed()
        records = [*(border.result(v) for v in values), *border.afterwards(), *changed.values()]
        border.arguments_unchanged(list(arguments.values()), before, list(arguments))
        border.audit(values)
    constants = {n: Spec(tuple(t.shape), t.dtype) for n, t in border.constants.items()}
    wanted = [v.requires_grad for v in values]
    return border, _Run(names, records, wanted, bool(source.count), (*own.stated, *own.asked), constants,
                        list(changed))


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
        raise TraceError(f"{called(function)}() returns no tensor")
    for name, value in zip(names, values):
        if not isinstance(value, Tensor):
            raise TraceError(f"{called(function)}() returns {type(value).__name__} as {name}, not a tensor",
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
    names = [name if name and usable(name) else d for name, d in zip(alone, default)]
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


def usable(name: str) -> bool:
    """True where a variable's name can be a parameter of the emitted C as it is."""
    try:
        check_argument_names((), (), (name,))
    except InvalidNameError:
        return False
    return True


def called(function: Callable[..., Any]) -> str:
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
