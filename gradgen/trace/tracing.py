"""Tracing: `gg.trace` and `gg.spec`; a function's arguments are matched with what is said of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.errors import DTypeError, ShapeError, TraceError
from gradgen.ir import dtypes
from gradgen.ir.symbols import Extent, dim
from gradgen.ops.table import METHODS
from gradgen.record.dimensions import Dimension
from gradgen.record.records import check_size
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.parameters import named_tensors, of_module, trace_with
from gradgen.trace.recording import called, recorded
from gradgen.trace.whereabouts import modules_of

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
    The parameters of Modules that the function uses, or of the Module in its place, are inputs with gradients, their buffers
    inputs without, by their paths (`program.names`); what they were is `program.state`.
    With a Tensor in place of the function this is PyTorch's trace, the sum of a matrix' diagonal.
    `check=False` leaves out the checks that only emitted code needs: names, and gradients that reach an output.
    Raises TraceError where the function looks at values, returns what is not a tensor, or has an argument that wants a
    gradient but does not influence any output; operations raise PyTorch's own errors for shapes that do not fit.
    """
    if isinstance(function, Tensor):  # PyTorch's trace: the sum of a matrix' diagonal
        return METHODS["trace"](function, *positional, **named)
    modules = modules_of(function)
    if not modules:
        return recorded(function, _bind(function, positional, named), outputs, name or called(function), check)
    run = of_module(function) if function in modules.values() else function
    tensors, order, parts = named_tensors(modules)
    return trace_with(run, _bind(run, positional, named), tensors, name=name or called(run), outputs=outputs,
                      order=order, check=check, parts=parts)


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
                f"{called(function)}() has an argument {parameter.name!r} without a spec",
                hint=f'pass {parameter.name}=gg.spec(...) with its shape, for example gg.spec("N", 784)',
            )
    extra = sorted(set(named) - set(found)) or (["one more positional spec"] if given else [])
    if extra:
        raise TraceError(f"{called(function)}() has no argument {extra[0]!r}",
                         hint=f"its arguments are {', '.join(parameters)}")
    for name, one in found.items():
        if not isinstance(one, Spec):
            raise TraceError(f"argument {name!r}: expected gg.spec(...), got {type(one).__name__}",
                             hint=f"for an array a of fixed shape: {name}=gg.spec(*a.shape, dtype=...)")
    return found


