"""ATen's operations by gradgen's functions of the same names.

An argument goes by its name in ATen's schema to the parameter of that name, never by position alone; what has its default
there is left out.  What differs is in aten_entries.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.importers.aten_entries import ENTRIES, FUNCTIONS, IGNORED, REDUCTIONS, Bound, Missing


def call(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The results of an `OpOverload` on eager tensors, numbers and gradgen's dtypes.  Raises Missing."""
    bound, given = bind(op, args, kwargs)
    name = op._schema.name.partition("::")[2]
    entry, function = _found(name, op._overloadname)
    if entry is None and function is None and _in_place(op):
        entry, function = _found(name[:-1], op._overloadname)
        changed, before = bound["self"], {**bound, "self": bound["self"].clone()}  # derivatives want what is overwritten
        return changed.copy_(_called(op, entry, function, before, given))
    return _called(op, entry, function, bound, given)


def known(op: Any) -> bool:
    """Whether there is an entry or a function of that name; in place, of the operation that the name says is written."""
    name = op._schema.name.partition("::")[2]
    return any(_found(n, op._overloadname) != (None, None) for n in (name, *([name[:-1]] if _in_place(op) else ())))


def _found(name: str, overload: str) -> tuple[Callable[[Bound], Any] | None, Callable[..., Any] | None]:
    entry = ENTRIES.get(f"{name}.{overload}") or ENTRIES.get(name)
    return entry, None if entry is not None else function_of(name)


def _in_place(op: Any) -> bool:
    """`name_` writes what `name` gives into its first argument."""
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
