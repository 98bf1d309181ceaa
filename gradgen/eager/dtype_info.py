"""finfo and iinfo as PyTorch prints them, and promotion by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradgen.eager.tensor import Tensor
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ops.promotion import result_dtype


class finfo:
    """The limits of a floating type (the default one without an argument)."""

    def __init__(self, type: Any = None) -> None:
        from gradgen.eager.creation import get_default_dtype

        kind = get_default_dtype() if type is None else dtypes.dtype(type)
        if not kind.is_floating_point:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo'"
            )
        info = np.finfo(kind.numpy)
        self.dtype, self.bits = kind.name, info.bits
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(info.resolution)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """The limits of an integer type."""

    def __init__(self, type: Any) -> None:
        kind = dtypes.dtype(type)
        if kind.category != 1:
            raise TypeError("torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'")
        info = np.iinfo(kind.numpy)
        self.dtype, self.bits, self.max, self.min = kind.name, info.bits, int(info.max), int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def promote_types(type1: Any, type2: Any) -> DType:
    """The smallest dtype that both fit in."""
    return dtypes.promote(dtypes.dtype(type1), dtypes.dtype(type2))


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of an arithmetic operation on two tensors or numbers."""
    return result_dtype(tuple(x._spec if isinstance(x, Tensor) else type(x) for x in (tensor1, tensor2)))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether promotion allows a result of one dtype to be stored in another."""
    return dtypes.dtype(from_).category <= dtypes.dtype(to).category
