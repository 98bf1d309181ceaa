"""Which results, gradients and dtype of a program a module offers: the options outputs=, gradients= and dtype=.

A program is run again on other specs rather than converted: `detach()`, constants and promotion then come out as if the
function had been traced so from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradgen.autodiff import gradient_reach
from gradgen.errors import DTypeError, GradgenError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph, dim_names, topological
from gradgen.ir.nodes import Input
from gradgen.record.traced import Spec, TracedFunction

__all__ = ["CHOICES", "chosen", "prepared"]

CHOICES = ("outputs", "gradients", "dtype")

Names = str | Iterable[str] | None


def chosen(
    program: TracedFunction, outputs: Names = None, gradients: Names = None, dtype: Any = None
) -> TracedFunction:
    """The program with only the named outputs and gradients, its floating-point arguments of `dtype`.

    Args:
        outputs: names of results to keep, in the program's order; arguments that only the others need are dropped.
        gradients: names of the floating-point arguments to differentiate by, () for none; those whose specs say so
            (and that a kept output depends on) unless given.
        dtype: float32 or float64, of all floating-point arguments.

    Raises GradgenError for a name that the program does not have, naming those it has, and for a gradient that no kept
    output has; DTypeError for another dtype.
    """
    if outputs is None and gradients is None and dtype is None:
        return program
    kept = _kept_outputs(program, outputs)
    kind = None if dtype is None else _floating(dtype)
    wanted = _wanted_gradients(program, kept, gradients)
    kinds = {name: kind if kind is not None and s.dtype.is_floating_point else s.dtype for name, s in program.specs.items()}
    specs = {name: replace(s, dtype=kinds[name], requires_grad=name in wanted) for name, s in program.specs.items()}
    again = program if specs == dict(program.specs) else _again(program, specs)
    found = _only(again, kept)
    if gradients is not None:
        _check_reach(found, wanted)
    return found


def prepared(program: Any, options: Mapping[str, Any]) -> tuple[TracedFunction, dict[str, Any]]:
    """The program as `options` choose it, and the options that are left, for `gradgen.options.Options`.

    Raises what `chosen` raises, and GradgenError for what is no program.
    """
    if not isinstance(program, TracedFunction):
        raise GradgenError(f"expected what gg.trace(...) or gg.from_sympy(...) returns, got {type(program).__name__}",
                           hint="program = gg.trace(function, x=gg.spec(...), ...)")
    choice = {k: v for k, v in options.items() if k in CHOICES}
    rest = {k: v for k, v in options.items() if k not in CHOICES}
    if rest.get("forward_only") and choice.get("gradients"):
        raise GradgenError("forward_only=True leaves no gradients", hint="drop gradients= or forward_only=")
    return chosen(program, **choice), rest


def _names(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(n) for n in names]


def _kept_outputs(program: TracedFunction, outputs: Names) -> list[str]:
    known = program.graph.output_names
    if outputs is None:
        return list(known)
    asked = _names(outputs)
    for name in asked:
        if name not in known:
            raise GradgenError(f"outputs: {program.name} has no result {name!r}", hint=f"it has {', '.join(known)}")
    if not asked:
        raise GradgenError("outputs: a module needs one at least", hint=f"{program.name} has {', '.join(known)}")
    return [name for name in known if name in asked]


def _floating(dtype: Any) -> DType:
    known = ", ".join(d.name for d in dtypes.ALL if d.is_floating_point)
    try:
        kind = dtypes.dtype(dtype)
    except TypeError:
        raise DTypeError(f"dtype: {dtype!r} is none", hint=f"it is one of {known}") from None
    if not kind.is_floating_point:
        raise DTypeError(f"dtype: {kind.name} is not a floating-point type", hint=f"it is one of {known}")
    return kind


def _wanted_gradients(program: TracedFunction, kept: Sequence[str], gradients: Names) -> list[str]:
    """The arguments to differentiate by."""
    if gradients is None:
        reached = {n.name for n in gradient_reach(_only(program, kept).graph) if isinstance(n, Input)}
        return [n for n, s in program.specs.items() if s.requires_grad and n in reached]
    asked = _names(gradients)
    floating = [n for n, s in program.specs.items() if s.dtype.is_floating_point]
    for name in asked:
        if name in program.specs and name not in floating:
            raise GradgenError(f"gradients: {name!r} is {program.specs[name].dtype.name} and has none",
                               hint=f"floating-point arguments are {', '.join(floating) or 'none'}")
        if name not in floating:
            raise GradgenError(f"gradients: {program.name} has no argument {name!r}",
                               hint=f"floating-point arguments are {', '.join(floating) or 'none'}")
    return asked


def _again(program: TracedFunction, specs: dict[str, Spec]) -> TracedFunction:
    if program.again is None:
        raise GradgenError(f"{program.name} cannot be traced again for other gradients or another dtype",
                           hint="make it by gg.trace(...) or gg.from_sympy(...)")
    return program.again(specs)


def _only(program: TracedFunction, kept: Sequence[str]) -> TracedFunction:
    """The program with some of its outputs, without the arguments that only the others depend on.  What states become is no
    matter of choice."""
    graph = program.graph
    kept = [*kept, *(new for _, new in graph.states if new not in kept)]
    if list(kept) == list(graph.output_names):
        return program
    nodes = tuple(n for name, n in zip(graph.output_names, graph.outputs, strict=True) if name in kept)
    needed, before = set(topological(nodes)), set(graph.nodes)
    inputs = tuple(n for n in graph.inputs if n in needed or n not in before)
    where = {n: line for n, line in graph.where.items() if n in needed}
    names = {n.name for n in inputs}
    specs = {n: s for n, s in program.specs.items() if n in names}
    # the function returns what was dropped too, and would take the arguments that are gone
    dims = set(dim_names(inputs))
    conditions = tuple(r for r in graph.conditions if {s.name for s in r.condition.expr.free_symbols} <= dims)
    graph = Graph(inputs, nodes, tuple(kept), where, conditions, graph.states)
    return replace(program, graph=graph, function=None, specs=specs, again=None)


def _check_reach(program: TracedFunction, wanted: Sequence[str]) -> None:
    reached = [n.name for n in gradient_reach(program.graph) if isinstance(n, Input)]
    for name in wanted:
        if name not in reached:
            outputs = ", ".join(program.graph.output_names)
            order = [n.name for n in program.graph.inputs if n.name in reached]
            raise GradgenError(f"gradients: {outputs} cannot be differentiated with respect to {name!r}",
                               hint=f"possible are {', '.join(order) or 'none'}")
