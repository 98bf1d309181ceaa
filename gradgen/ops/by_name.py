"""The library by name: one door for importers.  A name and arguments in, nodes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradgen.ir.nodes import Node
from gradgen.ops.schema import Schema, schema_of
from gradgen.ops.symbolic import Nodes, Symbolic
from gradgen.ops.table import FUNCTIONS, METHODS
from gradgen.ops.tensors import using

_NAMESPACES = ("", "nn.functional", "linalg", "special")
"""Where a name without its namespace is looked for, in order; after that among the methods."""


def lookup(name: str) -> tuple[str, Callable[..., Any]]:
    """The full name and the function of "conv2d", "nn.functional.conv2d", "linalg.solve" or "Tensor.view".

    Entries and what is composed of several are the same here.  KeyError for a name that the library does not have.
    """
    space, _, own = name.rpartition(".")
    if space == "Tensor" and own in METHODS:
        return name, METHODS[own]
    spaces = (space,) if space else _NAMESPACES
    for at in spaces:
        if own in FUNCTIONS.get(at, {}):
            return f"{at}.{own}".lstrip("."), FUNCTIONS[at][own]
    if not space and own in METHODS:
        return f"Tensor.{own}", METHODS[own]
    raise KeyError(f"the operation library has no {name!r}")


def names() -> list[str]:
    """The full names of all operations, in order; methods that are functions too are not listed again."""
    found = [f"{space}.{own}".lstrip(".") for space in FUNCTIONS for own in FUNCTIONS[space]]
    return sorted([*found, *(f"Tensor.{own}" for own in METHODS if own not in FUNCTIONS[""])])


def schema(name: str) -> Schema:
    """The argument names and defaults of an operation."""
    return schema_of(*lookup(name))


def call(name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
    """The results of operation `name` on nodes: a Node, or a tuple of what it returns, Nodes in place of tensors.

    `args` and `kwargs` are as PyTorch's function of that name takes them: Nodes for tensors, alone or in lists; numbers,
    dtypes and texts as they are.  Promotion, broadcasting and errors are PyTorch's.  What an operation does in place
    (`inplace=True`, running statistics) has no effect on the nodes given: it is in the results, where they have it.
    Raises KeyError for an unknown name, TypeError for arguments that the schema does not have, NotImplementedError for
    what draws random numbers, TraceError where the result's shape depends on values.
    """
    full, function = lookup(name)
    schema_of(full, function).bind(args, kwargs or {})  # its error names the schema
    with using(Nodes()):
        found = function(*(_wrapped(a) for a in args), **{k: _wrapped(v) for k, v in (kwargs or {}).items()})
    return _unwrapped(found)


def _wrapped(value: Any) -> Any:
    if isinstance(value, Node):
        return Symbolic(value)
    if isinstance(value, dict):
        return {k: _wrapped(v) for k, v in value.items()}
    return type(value)(map(_wrapped, value)) if type(value) in (list, tuple) else value


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Symbolic):
        return value.node
    return tuple(map(_unwrapped, value)) if isinstance(value, (list, tuple)) and not hasattr(value, "numel") else value
