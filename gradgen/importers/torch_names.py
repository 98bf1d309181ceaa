"""Which function of gradgen's a function of torch's is: the one of the same name, and a few of other names."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.overrides import resolve_name

from gradgen import autograd, nn
from gradgen import func as transforms
from gradgen.eager import dtype_info, modes, namespace
from gradgen.eager.tensor import Tensor
from gradgen.importers.torch_compositions import COMPOSITIONS

_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
_SPACES = ("functional", "_C", "_VF", "_C._nn", "_C._VariableFunctions")
"""Where torch keeps functions that are public under another name."""


@cache
def own_function(func: Any) -> Callable[..., Any] | None:
    """gradgen's function for one of torch's; of a property what reads, sets or deletes it.  None where there is none."""
    if getattr(func, "__name__", "") in ("__get__", "__set__", "__delete__"):
        return _property(func.__name__, func.__self__.__name__)
    return named(name_of(func))


def name_of(func: Any) -> str:
    """The public name: "nn.functional.linear", "Tensor.add"."""
    name = resolve_name(func)
    if name is None:
        name = f"{getattr(func, '__module__', None) or 'torch'}.{getattr(func, '__qualname__', repr(func))}"
        name = name.replace("_VariableFunctionsClass.", "").replace("TensorBase.", "Tensor.")
    name = name.removeprefix("torch.")
    space, _, own = name.rpartition(".")
    return own if space in _SPACES else name


@cache
def named(name: str) -> Callable[..., Any] | None:
    """gradgen's function "nn.functional.linear", "Tensor.add" or "autograd.grad"."""
    if name in COMPOSITIONS:
        return COMPOSITIONS[name]
    if name.startswith("nn.functional.") and name.endswith("_with_indices"):
        return _with_indices(named(name.removesuffix("_with_indices")))
    space, _, own = name.rpartition(".")
    if space in ("", "nn.functional", "linalg", "special") and own in (table := namespace.functions(space)):
        return table[own]
    head, *path = name.split(".")
    found: Any = _ROOMS.get(head)
    for part in path if found is not None else ():
        found = getattr(found, part, None)
    return found if callable(found) else None


_ROOMS: dict[str, Any] = {
    "Tensor": Tensor, "nn": nn, "func": transforms, "autograd": autograd, "vmap": transforms.vmap,
    **{n: getattr(dtype_info, n) for n in ("promote_types", "result_type")},
    **{n: getattr(modes, n) for n in ("is_grad_enabled", "is_inference_mode_enabled")},
}
"""The first word of what is no plain function, and where it is."""


def _with_indices(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    def both(*args: Any, **kwargs: Any) -> Any:
        assert function is not None
        return function(*args[:6], **{**kwargs, "return_indices": True})

    return both if function is not None else None


def _property(kind: str, name: str) -> Callable[..., Any] | None:
    if not hasattr(Tensor, name):
        return None
    return {"__get__": lambda self, *_: getattr(self, name), "__set__": lambda self, value: setattr(self, name, value),
            "__delete__": lambda self: delattr(self, name)}[kind]


def operation_of(name: str, args: Any, kwargs: Any) -> Any:
    """ATen's operation of a function's name for these arguments, or None."""
    short = name.rpartition(".")[2]
    packet = getattr(torch.ops.aten, short, None)
    if packet is None:
        return None
    try:
        with torch._C.DisableTorchFunction():
            return getattr(packet, torch._C._jit_resolve_packet(f"aten::{short}", *args, **kwargs) or "default")
    except RuntimeError:
        return None


@cache
def body_of(func: Any) -> Callable[..., Any] | None:
    """torch's own Python for a function, which does not ask for a substitute at its beginning; None where it is in C++."""
    if not isinstance(func, types.FunctionType):
        return None
    if not {*_CHECKS} & {*func.__code__.co_names}:
        return func
    never = dict.fromkeys(_CHECKS, lambda *_: False)
    world = {**func.__globals__, **never, "overrides": types.SimpleNamespace(**{**vars(torch.overrides), **never})}
    made = types.FunctionType(func.__code__, world, func.__name__, func.__defaults__, func.__closure__)
    made.__kwdefaults__ = func.__kwdefaults__
    return made


def is_torchs(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor)
