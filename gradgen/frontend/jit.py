"""jit: a function recorded as one operation, traced once per shapes and dtypes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradgen.errors import TraceError
from gradgen.frontend.apply import apply
from gradgen.frontend.drawing import inner_state
from gradgen.frontend.registry import Op
from gradgen.frontend.requirements import ask_again
from gradgen.frontend.tensor import Tensor
from gradgen.frontend.trace import Spec, trace
from gradgen.ir.conditions import Requirement
from gradgen.ir.draws import STATE
from gradgen.ir.nodes import Node
from gradgen.ir.rewrite import substitute

Conditions = tuple[Requirement, ...]


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Traces `function` at the first call for each set of shapes and dtypes; later calls run the compiled code.

    Tensor arguments are traced, all others (hashable) are static.  The result is differentiable like any other
    operation's.  Raises TraceError as `trace` does.
    """
    known: dict[tuple, tuple[Op, Callable[[tuple], Any], Conditions, bool]] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        items = [*enumerate(args), *kwargs.items()]
        tensors = [(k, v) for k, v in items if isinstance(v, Tensor)]
        key = tuple((k, tuple(v.shape), v.dtype, v.requires_grad) if isinstance(v, Tensor) else (k, v)
                    for k, v in items)
        try:
            found = known.get(key)
        except TypeError:
            raise TraceError("arguments of a jitted function are tensors or hashable values") from None
        if found is None:
            found = known[key] = _operation(function, args, kwargs, tensors, len(known))
        op, pack, asked, draws = found
        ask_again(asked)
        operands = [v for _, v in tensors]
        results = apply(op, (*operands, inner_state()) if draws else tuple(operands), {})
        return pack(results if isinstance(results, tuple) else (results,))

    return call


def _operation(
    function: Callable[..., Any], args: tuple, kwargs: dict[str, Any], tensors: list[tuple[Any, Tensor]], serial: int
) -> tuple[Op, Callable[[tuple], Any], Conditions, bool]:
    """The operation that stands for one call pattern, how its results are packed as the function returned them, what it
    asks of named dimensions, and whether it draws random numbers: then its last operand is the state for them."""
    shape_of: dict[str, Any] = {}

    def flat(*symbols: Tensor) -> Any:
        values = dict(zip((k for k, _ in tensors), symbols))
        result = function(
            *(values.get(k, v) for k, v in enumerate(args)), **{k: values.get(k, v) for k, v in kwargs.items()}
        )
        shape_of["result"] = result
        if isinstance(result, dict):
            return {f"output{k}": v for k, v in enumerate(result.values())}
        return result

    specs = [Spec(tuple(v.shape), v.dtype, v.requires_grad) for _, v in tensors]
    program = trace(flat, *specs, check=False)
    graph = program.graph

    def lower(*nodes: Node, **_: Any) -> Node | tuple[Node, ...]:
        new = substitute(graph.outputs, dict(zip(graph.inputs, nodes)))
        return new if len(new) > 1 else new[0]

    name = f"jit_{getattr(function, '__name__', 'function')}_{graph.key[:16]}"
    op = Op(name, lower, "CompiledFunctionBackward", outputs=len(graph.outputs))
    return op, _packer(shape_of["result"]), graph.conditions, STATE in graph.inputs


def _packer(result: Any) -> Callable[[tuple], Any]:
    if isinstance(result, dict):
        keys = list(result)
        return lambda values: dict(zip(keys, values))
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        kind = type(result)
        return lambda values: kind(*values)
    if isinstance(result, (tuple, list)):
        sequence = type(result)
        return lambda values: sequence(values)
    return lambda values: values[0]


__all__ = ["jit"]
