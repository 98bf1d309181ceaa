"""The user's function over PyTorch's tensors: the same code, with torch where it says gradgen.

Functions are rebuilt over a copy of their globals (and closures) in which gradgen's modules and functions are replaced
by torch's of the same name; helpers in the same file are rebuilt too.  Nothing of the user's is changed.
"""

from __future__ import annotations

import contextlib
import importlib
import types
from collections.abc import Callable
from typing import Any


class NoTwin(Exception):
    """The function uses something that torch does not have under the same name."""


def as_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with torch in place of gradgen.  Raises NoTwin."""
    if not isinstance(function, types.FunctionType):
        raise NoTwin(f"{function!r} is not a Python function")
    twin = _Translator().value(function)
    assert callable(twin)
    return twin


class _Translator:
    def __init__(self) -> None:
        self.done: dict[int, Any] = {}
        self.globals: dict[int, dict[str, Any]] = {}

    def value(self, value: Any) -> Any:
        if id(value) in self.done:
            return self.done[id(value)]
        name = getattr(value, "__name__", "")
        if isinstance(value, types.ModuleType) and (name == "gradgen" or name.startswith("gradgen.")):
            return self.module(name)
        home = getattr(value, "__module__", None) or ""
        if home == "gradgen" or home.startswith("gradgen."):
            return self.member(value)
        return self.function(value) if isinstance(value, types.FunctionType) else value

    def module(self, name: str) -> Any:
        try:
            return importlib.import_module("torch" + name.removeprefix("gradgen"))
        except ImportError:
            raise NoTwin(f"torch has no module for {name}") from None

    def member(self, value: Any) -> Any:
        import torch

        name = getattr(value, "__name__", None) or getattr(value, "name", None)
        if not isinstance(name, str):
            return value
        for home in (torch, torch.nn.functional, torch.special, torch.linalg):
            if hasattr(home, name):
                return getattr(home, name)
        return value

    def function(self, function: types.FunctionType) -> Any:
        """The same code over translated globals and closure; cells are filled last: functions may call themselves."""
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        made = types.FunctionType(
            function.__code__, self.namespace(function), function.__name__, function.__defaults__, cells or None
        )
        made.__kwdefaults__ = function.__kwdefaults__
        self.done[id(function)] = made
        for cell, original in zip(cells, function.__closure__ or ()):
            with contextlib.suppress(ValueError):  # a name that has no value yet
                cell.cell_contents = self.value(original.cell_contents)
        return made

    def namespace(self, function: types.FunctionType) -> dict[str, Any]:
        """A copy of the globals; what is not needed and has no twin stays as it is."""
        original = function.__globals__
        found = self.globals.get(id(original))
        if found is None:
            found = self.globals[id(original)] = dict(original)
            for name, value in original.items():
                if isinstance(value, (types.ModuleType, types.FunctionType)) or callable(value):
                    try:
                        found[name] = self.value(value)
                    except NoTwin:
                        found.pop(name)
        return found
