"""Eager's tensors as the operation library sees them (see `ops.tensors`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradgen.eager import creation, drawing, inplace, layouts
from gradgen.eager.apply import apply
from gradgen.eager.tensor import Tensor
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent, same_extent
from gradgen.ops.tensors import Tensors
from gradgen.record.records import is_traced
from gradgen.record.user_lines import user_frame, users_line


class EagerTensors(Tensors):
    """Values that are computed when someone looks, views of storage, the default generator."""

    kind = Tensor
    loop: Callable[..., Any] | None = None  # scan, which traces its step: set by the module that has it
    apply = staticmethod(apply)  # type: ignore[assignment]
    call_site = staticmethod(user_frame)  # type: ignore[assignment]
    line = staticmethod(users_line)  # type: ignore[assignment]

    def leaf(self, array: np.ndarray, dtype: DType, device: Any = None) -> Any:
        return creation.make_leaf(array, dtype, device, False)

    def filled(self, shape: Sequence[Extent], dtype: DType, value: int) -> Any:
        return creation.full(tuple(shape), value, dtype=dtype)

    def value(self, tensor: Any) -> np.ndarray | None:
        if not isinstance(tensor, Tensor):
            return None
        record = tensor._record
        return None if record.value is None and is_traced(record) else tensor._value()

    def aliases(self, tensor: Any, shape: Sequence[Extent]) -> bool | None:
        if layouts.is_contiguous(tensor):
            return None
        if len(shape) == tensor.ndim and all(same_extent(a, b) for a, b in zip(shape, tensor.shape)):
            return True
        return layouts.reshaped_strides(tensor.shape, layouts.strides_of(tensor), shape) is not None  # type: ignore[arg-type]

    def memory_order(self, tensor: Any) -> list[int] | None:
        if layouts.is_contiguous(tensor):
            return None
        strides = layouts.strides_of(tensor)
        order = sorted(range(tensor.ndim), key=lambda d: -strides[d])
        dense = 1
        for d in reversed(order):
            if strides[d] != dense and tensor.shape[d] != 1:
                return None
            dense *= tensor.shape[d]
        return order

    def overwritten(self, target: Any, result: Any) -> Any:
        inplace.check_in_place(target, target.requires_grad or result.requires_grad)
        return inplace.overwrite(target, result)

    def recorded_draws(self) -> bool:
        return drawing.traced()

    def draw(self, distribution: str, shape: Sequence[Extent], dtype: DType, *parameters: float) -> Any:
        if drawing.traced():
            return getattr(drawing, distribution)(shape, dtype, *parameters)
        return getattr(creation.empty(tuple(shape), dtype=dtype), f"{distribution}_")(*parameters)

    def scan(self, step: Callable[[Any, Any], Any], init: Any, xs: Any) -> Any:
        assert self.loop is not None
        return self.loop(step, init, xs)


EAGER = EagerTensors()
