"""ATen's operations by gradgen's functions of the same names.

An argument goes by its name in ATen's schema to the parameter of that name, never by position alone; what has its default
there is left out.  What differs is in aten_entries and aten_compositions.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.importers.aten_compositions import COMPOSED
from gradgen.importers.aten_entries import ENTRIES, FUNCTIONS, IGNORED, REDUCTIONS, Bound, Missing

TABLE = {**ENTRIES, **COMPOSED}


def call(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The results of an `OpOverload` on eager tensors, numbers and gradgen's dtypes.  Raises Missing."""
    bound, given = bind(op, args, kwargs)
    way, *found = _way(op)
    outputs = [a.name for a in op._schema.arguments if a.is_out]
    if outputs:
        results = _called(op, *found, {n: v for n, v in bound.items() if n not in outputs}, given)
        for name, result in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
            bound[name].copy_(result)
        return bound[outputs[0]] if len(outputs) == 1 else tuple(bound[name] for name in outputs)
    first = next(iter(bound), "")
    if way == PLAIN:
        return _called(op, *found, bound, given)
    before = {**bound, first: bound[first].clone()}  # derivatives want what is overwritten
    return bound[first].copy_(_called(op, *found, before, given)) if way == WRITTEN else _called(op, *found, before, given)


def known(op: Any) -> bool:
    """Whether there is an entry or a function of that name; in place, of the operation that the name says is written."""
    return _way(op)[1:] != (None, None)


PLAIN, WRITTEN, COPIED = "plain", "written", "copied"


@functools.lru_cache(maxsize=4096)
def _way(op: Any) -> tuple[str, Callable[[Bound], Any] | None, Callable[..., Any] | None]:
    """How an operation is called, and its entry or function.  WRITTEN: `name_` writes what `name` gives into its first
    argument.  COPIED: `name` is `name_` of a copy."""
    name, overload = op._schema.name.partition("::")[2], op._overloadname
    entry = _entry(name, overload.removesuffix("out").removesuffix("_"))
    if entry is not None:
        return PLAIN, entry, None
    if not _in_place(op):
        function = function_of(name)
        method = function_of(f"{name}_") if function is None and name in DRAWS else None
        return (PLAIN, None, function) if method is None else (COPIED, None, method)
    own = {t.name for t in op.tags} & {"inplace_view", "nondeterministic_seeded"} or name.startswith("logical_")
    function = function_of(name) if own else None
    if function is not None:
        return PLAIN, None, function
    entry = _entry(name[:-1], overload)
    function = function_of(name[:-1]) if entry is None else None
    return (WRITTEN, entry, function) if entry or function else (PLAIN, None, function_of(name))


DRAWS = {"uniform", "exponential", "geometric", "cauchy", "log_normal"}
"""Draws that PyTorch's functions have in place alone; a functional graph has them of a copy."""


def _entry(name: str, overload: str) -> Callable[[Bound], Any] | None:
    return TABLE.get(f"{name}.{overload}") or TABLE.get(name)


def _in_place(op: Any) -> bool:
    first = op._schema.arguments[:1]
    return op._schema.name.endswith("_") and any(a.alias_info is not None and a.alias_info.is_write for a in first)


def _called(
    op: Any, entry: Callable[[Bound], Any] | None, function: Callable[..., Any] | None, bound: Bound, given: Sequence[str],
) -> Any:
    if entry is not None:
        return entry(bound)
    if function is None:
        raise Missing(str(op))
    needed = {n for n, p in inspect.signature(function).parameters.items() if p.default is p.empty}
    return by_name(op, function, {n: v for n, v in bound.items() if n in given or n in needed})


def bind(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Every argument by its name in the schema, and the names of those that are not at their default."""
    bound: dict[str, Any] = {}
    given: list[str] = []
    for k, a in enumerate(op._schema.arguments):
        default = a.default_value if a.has_default_value() else None
        value = args[k] if k < len(args) and not a.kwarg_only else kwargs.get(a.name, default)
        bound[a.name] = value
        if a.name not in IGNORED and not _is_default(value, default, a.has_default_value()):
            given.append(a.name)
    return bound, given


def _is_default(value: Any, default: Any, has: bool) -> bool:
    if value is None:
        return True
    if not has or isinstance(value, Tensor) or isinstance(default, Tensor):
        return False
    if isinstance(value, (list, tuple)):
        return list(value) == default
    return type(value) is type(default) and bool(value == default)


def function_of(name: str) -> Callable[..., Any] | None:
    """gradgen's function or method of an ATen name."""
    for prefix in ("linalg", "special"):
        if name.startswith(f"{prefix}_") and name[len(prefix) + 1 :] in FUNCTIONS[prefix]:
            return FUNCTIONS[prefix][name[len(prefix) + 1 :]]
    for space in ("", "nn.functional"):
        if name in FUNCTIONS[space]:
            return FUNCTIONS[space][name]
    method = vars(Tensor).get(name)
    return method if inspect.isfunction(method) else None


def by_name(op: Any, function: Callable[..., Any], given: Bound) -> Any:
    """The function with each argument under its own name."""
    parameters = inspect.signature(function).parameters
    names = list(parameters)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    starred = next((p for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    for k, (name, value) in enumerate(given.items()):
        value = REDUCTIONS[value] if name == "reduction" and isinstance(value, int) and _takes_text(parameters) else value
        if k == 0 and (name == "self" or name not in parameters):
            positional.append(value)
        elif name in parameters and parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL:
            named[name] = value
        elif name == "input" and "self" in names:
            positional.append(value)
        elif starred is not None and not any(isinstance(v, list) for v in positional):
            positional.extend(value if isinstance(value, (list, tuple)) else [value])
        else:
            raise Missing(f"{op}, argument {name}")
    return function(*positional, **named)


def _takes_text(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return "reduction" in parameters and isinstance(parameters["reduction"].default, str)


SYMBOLIC: dict[Any, Callable[..., Any]] = {
    operator.getitem: operator.getitem, operator.add: operator.add, operator.sub: operator.sub, operator.mul: operator.mul,
    operator.floordiv: operator.floordiv, operator.mod: operator.mod, operator.neg: operator.neg,
    operator.truediv: operator.truediv, operator.pow: operator.pow,
}
"""What Python does with sizes and tuples."""

__all__ = ["SYMBOLIC", "Missing", "bind", "call", "known"]
