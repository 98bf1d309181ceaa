"""Schemas: an operation's argument names and defaults, as PyTorch's signature has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Schema:
    """The arguments of `name`, in order: positional ones, then those that go by name alone."""

    name: str
    parameters: tuple[inspect.Parameter, ...]

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Values by argument name, defaults left out; TypeError, naming the operation, for what does not fit.

        What a variadic argument takes stands under its name, as a tuple.
        """
        try:
            bound = inspect.Signature(self.parameters).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}; its schema is {self}") from None
        return dict(bound.arguments)

    def __str__(self) -> str:
        plain = [p.replace(annotation=inspect.Parameter.empty) for p in self.parameters]
        return f"{self.name}{inspect.Signature(plain)}"


@cache
def schema_of(name: str, function: Callable[..., Any]) -> Schema:
    """The schema of a function of the library."""
    return Schema(name, tuple(inspect.signature(function).parameters.values()))
