"""Parameter: a tensor that a Module registers as its own; it requires a gradient."""

from __future__ import annotations

from typing import Any

from gradgen.eager.tensor import Tensor


class Parameter(Tensor):
    """`Parameter(data)`: a leaf that shares the storage of `data` and requires a gradient."""

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Any:
        if data is None:
            from gradgen.eager.creation import empty

            data = empty(0)
        parameter = object.__new__(cls)
        parameter.__dict__.update(data.detach().__dict__)
        parameter.requires_grad_(requires_grad, setter=True)
        return parameter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is done by `__new__`."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + Tensor.__repr__(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        found: Parameter = memo[id(self)]
        return found

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuilt, (self.detach().clone(), self.requires_grad)


def _rebuilt(data: Tensor, requires_grad: bool) -> Parameter:
    return Parameter(data, requires_grad)
