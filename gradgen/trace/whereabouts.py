"""What a tensor is called: the variable, attribute path or entry by which the user's code reaches it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.record.user_lines import PACKAGE

DEPTH = 6
"""Attributes and entries are followed so far: `self.encoder.layers[3].attention.weight`."""
Getter = Callable[[], Any]
_TABLES = ("_parameters", "_buffers", "_modules")
"""What a Module has, in its own dictionary: some objects have any attribute that one asks for."""


def name_of(tensor: Tensor, function: Callable[..., Any] | None) -> str | None:
    """The name of a tensor, or of the tensor whose view or detached twin it is; None where no variable leads to it."""
    found = place_of(tensor, function)
    return found[0] if found is not None else None


def place_of(tensor: Tensor, function: Callable[..., Any] | None) -> tuple[str, Getter, Any] | None:
    """(name, how to look it up again, what is found there), first as `function` sees it, then in the callers' frames."""
    close = None
    for name, value, getter in _reachable(_roots(function)):
        if value is tensor:
            return name, getter, value
        if close is None and value._cell is tensor._cell:
            close = name, getter, value
    return close or _in_frames(tensor)


def _in_frames(tensor: Tensor) -> tuple[str, Getter, Any] | None:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            scope = {**{n: frame.f_globals[n] for n in frame.f_code.co_names if n in frame.f_globals}, **frame.f_locals}
            for name, value, getter in _reachable(((n, v, (lambda v=v: v)) for n, v in scope.items())):
                if value._cell is tensor._cell:
                    return name, getter, value
        frame = frame.f_back
    return None


def _roots(function: Callable[..., Any] | None) -> Iterator[tuple[str, Any, Getter]]:
    """Names that the function's code can use: its own object, closure, defaults and globals, those of functions it calls."""
    waiting, done = [function], set()
    while waiting:
        f: Any = waiting.pop()
        owner = getattr(f, "__self__", f if hasattr(f, "named_parameters") else None)
        if owner is not None and not isinstance(owner, type(sys)):
            yield "", owner, (lambda owner=owner: owner)
        f = getattr(f, "__wrapped__", getattr(f, "__func__", f))
        code = getattr(f, "__code__", None)
        if code is None or code in done:
            continue
        done.add(code)
        for name, value, getter in _scope(f, code):
            yield name, value, getter
            if hasattr(value, "__code__") and not value.__code__.co_filename.startswith(PACKAGE):
                waiting.append(value)


def _scope(f: Any, code: CodeType) -> Iterator[tuple[str, Any, Getter]]:
    for name, cell in zip(code.co_freevars, f.__closure__ or ()):
        try:
            yield name, cell.cell_contents, (lambda cell=cell: cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    for name in _global_names(code):
        if name in f.__globals__:
            yield name, f.__globals__[name], (lambda name=name: f.__globals__[name])
    for k, value in enumerate(f.__defaults__ or ()):
        yield code.co_varnames[code.co_argcount - len(f.__defaults__) + k], value, (lambda k=k: f.__defaults__[k])
    for name, value in (f.__kwdefaults__ or {}).items():
        yield name, value, (lambda name=name: f.__kwdefaults__[name])


def _global_names(code: CodeType) -> list[str]:
    """The global names in a function's code and in that of functions and comprehensions inside of it."""
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found += _global_names(constant)
    return found


def plain_values(function: Callable[..., Any]) -> list[tuple[Getter, Any]]:
    """Numbers, texts and functions that the function's code can use: how to look them up again, and what they are."""
    return [(getter, value) for _, value, getter in _reachable(_roots(function), lambda v: isinstance(v, _PLAIN))]


def modules_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The Modules that a function uses by the path to each, without those that are part of another."""
    found = [(name, value) for name, value, _ in _reachable(_roots(function), _is_module)]
    parts = {id(m) for _, module in found for m in module.modules() if m is not module}
    return {name: value for name, value in found if id(value) not in parts}


def _is_module(value: Any) -> bool:
    tables = (getattr(value, "__dict__", {}).get(t) for t in _TABLES)
    return all(isinstance(t, dict) for t in tables) and hasattr(value, "named_parameters")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


_PLAIN = (bool, int, float, complex, str, FunctionType)


def _reachable(roots: Any, wanted: Callable[[Any], bool] = _is_tensor) -> Iterator[tuple[str, Any, Getter]]:
    """Everything `wanted` that attributes and entries lead to from the roots, the nearest first."""
    level = list(roots)
    done: set[int] = set()
    for _ in range(DEPTH):
        following = []
        for name, value, getter in level:
            if wanted(value):
                yield name, value, getter
            elif not isinstance(value, Tensor) and id(value) not in done:
                done.add(id(value))
                following.extend(_inside(name, value, getter))
        level = following


def _inside(name: str, value: Any, getter: Getter) -> Iterator[tuple[str, Any, Getter]]:
    if isinstance(value, (list, tuple)) and len(value) <= 1024:
        for k, item in enumerate(value):
            yield f"{name}[{k}]", item, (lambda k=k: getter()[k])
    elif isinstance(value, dict) and len(value) <= 1024:
        for key, item in list(value.items()):
            yield f"{name}[{key!r}]", item, (lambda key=key: getter()[key])
    elif _is_module(value):
        for table in _TABLES:
            for key, item in list(getattr(value, table).items()):
                yield _attribute(name, key), item, (lambda t=table, key=key: getattr(getter(), t)[key])
        yield from _attributes(name, value, getter)
    elif hasattr(value, "__dict__") and not isinstance(value, (type, type(sys))) and not callable(value):
        yield from _attributes(name, value, getter)


def _attributes(name: str, value: Any, getter: Getter) -> Iterator[tuple[str, Any, Getter]]:
    for key, item in list(vars(value).items()):
        if not key.startswith("_"):
            yield _attribute(name, key), item, (lambda key=key: getattr(getter(), key))


def _attribute(name: str, key: str) -> str:
    if key.isdigit() and name:
        return f"{name}[{key}]"
    return f"{name}.{key}" if name else key
