"""The table of ONNX operators: what each is in gradgen's library, and how its inputs and attributes are bound.

An entry is a function whose parameters have the names that ONNX's schema gives to inputs and attributes; the schema, read
from the `onnx` package for the version of the operator that a model uses, says which input of a node is which and what an
attribute is where the node does not have it.  How a parameter is given follows from its annotation:

    Tensor          a tensor; what is known at import becomes a constant
    Tensors         a list of these, for inputs that may be repeated
    Known           an array of what is known at import: numbers, or (dtype object) sizes in named dimensions
    Ints, Int       its elements, or its one element, as ints and sizes; of attributes likewise
    Number          its one element as a Python number
    Value           whatever it is
    Setting         likewise, and an initialiser that stands there is no parameter

`At` is where an entry runs: the node, how many results are wanted, what the importer was asked for.  A parameter
`*inputs` takes all inputs in order, for operators that have no other names for them than "X" and "input".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradgen.eager.tensor import Tensor
from gradgen.errors import UnsupportedOperationError
from gradgen.ir.dtypes import DType
from gradgen.ops import by_name

__all__ = [
    "ENTRIES", "At", "Entry", "Int", "Ints", "Known", "Number", "Setting", "Tensor", "Tensors", "Value", "entry", "entry_of",
    "lib", "refuse",
]

Tensors = Sequence[Tensor]
Known = np.ndarray
Ints = tuple[Any, ...]
Int = Any
Number = Any
Value = Any
Setting = Any


class Library:
    """gradgen's operations as attributes, by their names in `gradgen.ops.by_name`: `lib.conv2d`, `lib("linalg.det")`."""

    def __call__(self, name: str) -> Callable[..., Any]:
        return by_name.lookup(name)[1]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = self(name)
        self.__dict__[name] = function
        return function


lib = Library()


def refuse(what: str, hint: str | None = None) -> UnsupportedOperationError:
    """The error of what an entry does not do; the importer adds the node."""
    return UnsupportedOperationError(what, hint=hint)


@dataclass(frozen=True)
class At:
    """Where an entry runs."""

    run: Any
    scope: Any
    node: Any
    outputs: int
    """How many results are wanted: those after the last name that is not empty are not."""
    inputs: tuple[Any, ...]

    @property
    def train(self) -> bool | None:
        return self.run.train

    def kind(self, element_type: int) -> DType:
        return self.run.kind(element_type)

    def tensor(self, value: Any) -> Tensor:
        return self.run.tensor(value)

    def known(self, value: Any, what: str) -> np.ndarray:
        return self.run.known(value, what)

    def call(self, op: str, inputs: Sequence[Any], opset: int, **attributes: Any) -> Any:
        """What an operator of ONNX gives, its first result: for entries that are made of others."""
        return self.run.call(op, inputs, opset, attributes)


@dataclass(frozen=True)
class Entry:
    """`function` does operator `name` of the versions from `first` to `last` (ONNX's since_version)."""

    name: str
    first: int
    last: int
    function: Callable[..., Any]
    kinds: Mapping[str, str]
    """What each parameter is given as: the first word of its annotation."""
    optional: frozenset[str]
    """Parameters without a default: None where a version of the operator does not have them yet, or not any more."""
    positional: bool
    ignored: frozenset[str]
    """Attributes without an effect on what is computed here."""


ENTRIES: dict[str, list[Entry]] = {}


def entry(name: str, first: int, last: int | None = None, *, ignored: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Enters a function for an operator's versions; several operators may share one."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = inspect.signature(function).parameters.values()
        kinds = {p.name: str(p.annotation).split(" ")[0] for p in parameters}
        plain = frozenset(p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL) - {"at"}
        variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        own = Entry(name, first, last or first, function, kinds, plain, variadic, frozenset(ignored.split()))
        ENTRIES.setdefault(name, []).append(own)
        return function

    return enter


def entry_of(name: str, since: int) -> Entry | None:
    """The entry for the version of an operator that began with opset `since`."""
    return next((e for e in ENTRIES.get(name, ()) if e.first <= since <= e.last), None)
