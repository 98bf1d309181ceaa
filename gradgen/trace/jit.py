"""jit: a function recorded as one operation, traced once per shapes and dtypes.

Tensors that the function takes from outside are operands of the operation beside its arguments: their values stay live and
gradients flow to them.  What else the trace depended on is compared before each call, and another trace is made where it is
another now: numbers in closures, globals and attributes, the variables that lead to the tensors, values that were looked at.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradgen.eager.apply import apply
from gradgen.eager.drawing import Source, drawing_from, inner_state
from gradgen.eager.inplace import copy_
from gradgen.eager.modes import state
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError
from gradgen.ir.assumptions import Requirement
from gradgen.ir.draws import STATE
from gradgen.ir.nodes import Node
from gradgen.ir.rewrite import substitute
from gradgen.ops.promotion import defaults
from gradgen.ops.registry import Op
from gradgen.ops.requirements import ask_again, collecting
from gradgen.record.records import Record
from gradgen.trace.closure import closed_graph, flatten, symbol, unflatten
from gradgen.trace.module_state import Held, Replacing, settled
from gradgen.trace.whereabouts import Getter, place_of, plain_values


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Traces `function` at the first call for each set of shapes and dtypes; later calls run the compiled code.

    Tensor arguments are traced, all others (hashable) are static.  Tensors that the function uses from outside (a module's
    parameters, a closure's variables) have their present values in later calls, and get their gradients.  The result is
    differentiable like any other operation's.  Tensors without gradient that the function changes outside of itself, such as
    the buffers of a module in training, are changed by every call.  Raises TraceError as `trace` does, and where the function
    changes an argument, or a tensor from outside that requires a gradient, in place.
    """
    known: dict[tuple, _Program] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        items = [*enumerate(args), *kwargs.items()]
        tensors = [v for _, v in items if isinstance(v, Tensor)]
        key = (state.grad, state.inference, defaults.dtype, *(
            (k, tuple(v.shape), v.dtype, v.requires_grad) if isinstance(v, Tensor) else (k, type(v), v) for k, v in items
        ))
        try:
            program = known.get(key)
        except TypeError:
            raise TraceError("arguments of a jitted function are tensors or hashable values") from None
        if program is None or not program.holds():
            program = known[key] = _traced(function, args, kwargs, tensors)
        return program.run(tensors)

    return call


class _Live(Replacing):
    """The border of a jitted function: what was looked at is noted."""

    def __init__(self, function: Callable[..., Any], held: Sequence[Held] = ()) -> None:
        super().__init__(function, held)
        self.looked: dict[Tensor, int] = {}

    def stand_in(self, held: Held) -> Record:
        """One more operand."""
        return self._symbol(held.holder, None)

    def looks(self, tensor: Tensor) -> None:
        """The value of a tensor from outside decides what is recorded."""
        self.looked[tensor] = tensor._cell.generation


@dataclass
class _Outside:
    """A tensor from outside: where it was found, and what the trace assumed of it."""

    tensor: Tensor
    place: Getter | None
    gradient: bool

    def now(self) -> Tensor | None:
        """The tensor that is there now; None where it is none that the trace fits."""
        try:
            found = self.place() if self.place is not None else self.tensor
        except (AttributeError, KeyError, IndexError, ValueError):
            return None
        if not isinstance(found, Tensor) or found._spec is not self.tensor._spec:
            return None
        if not self.gradient:
            return found.detach() if found.requires_grad else found
        return found if found.requires_grad else None


@dataclass
class _Program:
    """One trace: the operation, its operands from outside, how its results are packed, and what it depends on; what it asks
    of named dimensions, and whether it draws random numbers, for which it takes a state; and what it replaces outside, by the
    results that stand behind the function's."""

    op: Op
    outside: list[_Outside]
    tree: Any
    plain: list[tuple[Getter, Any]]
    looked: dict[Tensor, int]
    asked: Sequence[Requirement]
    draws: bool
    held: Sequence[tuple[Held, _Outside]]

    def holds(self) -> bool:
        """Whether everything that the trace depended on is as it was."""
        if any(t._cell.generation != generation for t, generation in self.looked.items()):
            return False
        for getter, value in self.plain:
            try:
                found = getter()
            except (AttributeError, KeyError, IndexError, ValueError):
                return False
            if found is not value and (type(found) is not type(value) or found != value):
                return False
        return all(one.now() is not None for one in (*self.outside, *(place for _, place in self.held)))

    def run(self, tensors: Sequence[Tensor]) -> Any:
        ask_again(self.asked)
        random = (inner_state(),) if self.draws else ()
        results = apply(self.op, (*tensors, *random, *(one.now() for one in self.outside)), {})
        results = results if isinstance(results, tuple) else (results,)
        count = len(results) - len(self.held)
        for (held, place), value in zip(self.held, results[count:], strict=True):
            if held.owner is not None:
                setattr(held.owner, held.attribute, value.detach())
            else:
                copy_(place.now(), value.detach())  # type: ignore[arg-type]
        return unflatten(self.tree, results[:count])


def _traced(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], tensors: Sequence[Tensor]) -> _Program:
    return settled(lambda held: _recorded(function, args, kwargs, tensors, held))[1]


def _recorded(
    function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], tensors: Sequence[Tensor], held: Sequence[Held]
) -> tuple[_Live, _Program]:
    source = Source(None)
    with _Live(function, held) as border, collecting(()) as collected, drawing_from(source):
        symbols = [symbol(f"argument{k}", tuple(t.shape), t, t.requires_grad) for k, t in enumerate(tensors)]
        own = [s._record for s in symbols]
        source.state = symbol("random", (2,), STATE)
        left = iter(symbols)
        given = [next(left) if isinstance(v, Tensor) else v for v in args]
        named = {k: next(left) if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        outputs, tree = flatten(function(*given, **named))
        results = [*(border.result(t) for t in outputs), *border.afterwards()]
        border.arguments_unchanged(symbols, own, [*_names(function, args), *kwargs])
        border.audit(outputs)
    if source.count:
        own.append(source.state._record)
    graph, outside = closed_graph(own, results, border)

    def lower(*nodes: Node, **_: Any) -> Node | tuple[Node, ...]:
        new = substitute(graph.outputs, dict(zip(graph.inputs, nodes)))
        return new if len(new) > 1 else new[0]

    op = Op(f"jit_{getattr(function, '__name__', 'function')}_{graph.key[:16]}", lower, "CompiledFunctionBackward",
            outputs=len(graph.outputs))
    found = [_outside(t, function, node.requires_grad) for t, node in zip(outside, graph.inputs[len(own):])]
    places = [(one, _outside(one.holder, function, False)) for one in held]
    made = _Program(op, found, tree, plain_values(function), border.looked, collected.asked, bool(source.count), places)
    return border, made


def _outside(tensor: Tensor, function: Callable[..., Any], gradient: bool) -> _Outside:
    place = place_of(tensor, function)
    exact = place is not None and (place[2] is tensor or (not gradient and place[2]._cell is tensor._cell
                                                          and place[2]._chain == tensor._chain))
    return _Outside(tensor, place[1] if exact and place is not None else None, gradient)


def _names(function: Callable[..., Any], args: tuple) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return [names[k] if k < len(names) else f"argument {k}" for k, v in enumerate(args) if isinstance(v, Tensor)]


__all__ = ["jit"]
