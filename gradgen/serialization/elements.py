"""Element types of files of weights: their names there, their bytes, and what gradgen makes of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradgen.errors import WeightsError
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType


class Element(NamedTuple):
    """An element type: PyTorch's name, the class of its storages there, safetensors' name, its bytes ("" where gradgen cannot
    read them)."""

    name: str
    storage: str
    short: str
    code: str

    @property
    def itemsize(self) -> int:
        return np.dtype(self.code).itemsize

    @property
    def is_floating_point(self) -> bool:
        return "float" in self.name


ELEMENTS = (
    Element("float64", "DoubleStorage", "F64", "f8"), Element("float32", "FloatStorage", "F32", "f4"),
    Element("float16", "HalfStorage", "F16", "f2"), Element("bfloat16", "BFloat16Storage", "BF16", "u2"),
    Element("int64", "LongStorage", "I64", "i8"), Element("int32", "IntStorage", "I32", "i4"),
    Element("int16", "ShortStorage", "I16", "i2"), Element("int8", "CharStorage", "I8", "i1"),
    Element("uint64", "", "U64", "u8"), Element("uint32", "", "U32", "u4"), Element("uint16", "", "U16", "u2"),
    Element("uint8", "ByteStorage", "U8", "u1"), Element("bool", "BoolStorage", "BOOL", "u1"),
    Element("complex64", "ComplexFloatStorage", "C64", ""), Element("complex128", "ComplexDoubleStorage", "C128", ""),
    Element("complex32", "", "", ""), Element("float8_e4m3fn", "", "F8_E4M3", ""), Element("float8_e5m2", "", "F8_E5M2", ""),
    Element("float8_e8m0fnu", "", "F8_E8M0", ""), Element("float8_e4m3fnuz", "", "", ""),
    Element("float8_e5m2fnuz", "", "", ""), Element("float4_e2m1fn_x2", "", "F4", ""),
    Element("quint8", "QUInt8Storage", "", ""), Element("qint8", "QInt8Storage", "", ""),
    Element("qint32", "QInt32Storage", "", ""), Element("quint4x2", "QUInt4x2Storage", "", ""),
    Element("quint2x4", "QUInt2x4Storage", "", ""),
)
BY_NAME = {e.name: e for e in ELEMENTS}
BY_SHORT = {e.short: e for e in ELEMENTS if e.short}


def floating(wanted: object) -> DType | None:
    """The argument `dtype` of load."""
    if wanted is None:
        return None
    kind = dtypes.dtype(wanted)
    if not kind.is_floating_point:
        raise TypeError(f"dtype says what floating-point weights become: it must be float32 or float64, not {kind.name}")
    return kind


def refuse_unreadable(element: Element) -> None:
    """WeightsError for what gradgen cannot read under any dtype."""
    if not element.code:
        by_kind = {"c": "torch.view_as_real(tensor)", "q": "tensor.dequantize()", "f": "tensor.to(torch.float32)"}
        raise WeightsError(f"the file holds a tensor of dtype torch.{element.name}, which gradgen does not read",
                           hint=f"convert it where the file was made: {by_kind[element.name.lstrip('u')[0]]}")


def values(raw: np.ndarray, element: Element, swapped: bool, wanted: DType | None) -> tuple[np.ndarray, DType]:
    """The elements whose bytes are `raw` (one dimension, of type uint8), and their type here.

    `swapped`: the bytes have the other order than this machine's.  `wanted`: the type of floating-point elements, and leave
    to read integers of the types gradgen lacks, as the smallest that holds them.  What needs no conversion shares memory.
    """
    refuse_unreadable(element)
    if raw.ctypes.data % element.itemsize:
        raw = raw.copy()
    array = raw.view(element.code)
    if swapped:
        array = array.byteswap()
    if element.name == "bool":
        return (array.view(np.bool_) if not (array > 1).any() else array != 0), dtypes.bool_
    own = {d.name: d for d in dtypes.ALL}.get(element.name)
    if own is None and wanted is None:
        raise WeightsError(
            f"the file holds a tensor of dtype torch.{element.name}, which gradgen lacks",
            hint="load(..., dtype=gradgen.float32) makes floating-point weights float32, and small integers wider ones",
        )
    if element.is_floating_point and (own is None or own is not (wanted or own)):
        return _widened(array, element).astype((wanted or own).numpy), wanted or own  # type: ignore[union-attr, return-value]
    return (array, own) if own is not None else _wider_integers(array, element)


def _widened(array: np.ndarray, element: Element) -> np.ndarray:
    """A bfloat16 is the upper half of a float32."""
    return (array.astype(np.uint32) << 16).view(np.float32) if element.name == "bfloat16" else array


def _wider_integers(array: np.ndarray, element: Element) -> tuple[np.ndarray, DType]:
    for kind in (dtypes.int32, dtypes.int64):
        if np.can_cast(array.dtype, kind.numpy):
            return array.astype(kind.numpy), kind
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise WeightsError(f"the file holds a tensor of dtype torch.{element.name} with values that int64 does not hold")
    return array.astype(np.int64), dtypes.int64
