"""Element types: the five that emitted C knows, their PyTorch names, NumPy twins, and promotion.

Promotion follows PyTorch's lattice over categories (bool < integer < floating), as documented at
"Tensor Attributes: torch.dtype"; the part about Python scalars and 0-d tensors lives in the front end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.  `name` is PyTorch's and NumPy's, `ctype` what C99 calls it, `itemsize` its bytes."""

    name: str
    ctype: str
    itemsize: int
    category: int  # 0 bool, 1 integer, 2 floating

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self.name)

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.category > 0

    @property
    def suffix(self) -> str:
        """Short name used in kernels: f32, f64, i32, i64, b8."""
        return {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64", "bool": "b8"}[self.name]

    def __repr__(self) -> str:  # what torch prints: the user may have imported gradgen as torch
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple:
        return (dtype, (self.name,))


bool_ = DType("bool", "uint8_t", 1, 0)
int32 = DType("int32", "int32_t", 4, 1)
int64 = DType("int64", "int64_t", 8, 1)
float32 = DType("float32", "float", 4, 2)
float64 = DType("float64", "double", 8, 2)

ALL: tuple[DType, ...] = (bool_, int32, int64, float32, float64)
_BY_NAME = {d.name: d for d in ALL} | {"double": float64, "float": float32, "long": int64, "int": int32}


def dtype(spec: object) -> DType:
    """The DType for a DType, a name, a NumPy dtype or a Python type.  Raises TypeError for anything else."""
    if isinstance(spec, DType):
        return spec
    if isinstance(spec, str) and spec in _BY_NAME:
        return _BY_NAME[spec]
    if spec is float:
        return float64  # as PyTorch and NumPy: Python's float is a double
    if spec is int:
        return int64
    if spec is bool:
        return bool_
    try:
        name = np.dtype(spec).name  # type: ignore[call-overload]
    except TypeError:
        name = str(spec)
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise TypeError(f"unsupported dtype {spec!r}: gradgen has float32, float64, int32, int64 and bool")


def promote(a: DType, b: DType) -> DType:
    """The smallest type both fit in, by category first and width second (PyTorch's torch.promote_types)."""
    if a.category != b.category:
        return a if a.category > b.category else b
    return a if a.itemsize >= b.itemsize else b
