"""Puts the public names together: Tensor's methods, and functions by namespace, from the tables of the modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradgen.eager import callers, conversion, creation, creation_random, inplace, inplace_random, subscripts, toplevel
from gradgen.eager.tensor import Tensor
from gradgen.ops import table, tensors


def attach_methods() -> None:
    """Methods and properties of Tensor.  What a module of the front end defines is not overwritten by the library."""
    own: dict[str, Any] = {
        **conversion.METHODS,
        **creation.METHODS,
        **creation_random.METHODS,
        **subscripts.METHODS,
    }
    own |= {"zero_": inplace.zero_, "fill_": inplace.fill_, "copy_": inplace.copy_, **inplace_random.METHODS}
    for name, function in {**table.METHODS, **own}.items():
        setattr(Tensor, name, function)
    for name, function in table.INPLACE.items():
        if name not in own:
            setattr(Tensor, name, inplace.in_place(function, name))
    for name, function in {**table.PROPERTIES, **conversion.PROPERTIES}.items():
        setattr(Tensor, name, property(function))
    for symbol, name in _AUGMENTED.items():
        if name in table.INPLACE:
            setattr(Tensor, symbol, _augmented(inplace.in_place(table.INPLACE[name], name)))
    Tensor.__getattr__ = _absent  # type: ignore[attr-defined]
    for name, function in inplace.VIEW_METHODS.items():
        if hasattr(Tensor, name.rstrip("_")):
            setattr(Tensor, name, function)


_AUGMENTED = {
    "__iadd__": "add_",
    "__isub__": "sub_",
    "__imul__": "mul_",
    "__itruediv__": "div_",
    "__ifloordiv__": "floor_divide_",
    "__imod__": "remainder_",
    "__ipow__": "pow_",
    "__iand__": "bitwise_and_",
    "__ior__": "bitwise_or_",
    "__ixor__": "bitwise_xor_",
    "__ilshift__": "bitwise_left_shift_",
    "__irshift__": "bitwise_right_shift_",
}


def _absent(self: Tensor, name: str) -> Any:
    from gradgen.eager.absent import hint

    raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{hint(name)}")


def _augmented(method: Callable[..., Tensor]) -> Callable[..., Any]:
    def operator(self: Tensor, other: Any) -> Any:
        return method(self, other)

    return operator


def functions(namespace: str = "") -> dict[str, Callable[..., Any]]:
    """The public functions of a namespace: "" is the top level."""
    found = dict(table.FUNCTIONS.get(namespace, {}))
    if namespace == "":
        found |= {name: getattr(module, name) for module in (creation, creation_random) for name in module.PUBLIC}
        found |= {
            "clone": conversion.clone,
            "numel": lambda input: input.numel(),
            "detach": lambda input: input.detach(),
        }
        found |= {name: function for name, function in toplevel.functions().items() if name not in found}
    return found


tensors.install(callers.EAGER)
table.load_operations()
attach_methods()
