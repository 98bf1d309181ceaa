"""One record per dtype: what a fragment of C over T says of it.

`T` is the C type, `s` (floating) or `i` (integer) the suffix of names, `U` and `I` the unsigned and the signed integer of the
same width, `f` the suffix of literals and of the functions of <math.h>.
"""

from __future__ import annotations

from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType

FLOATS, INTEGERS = ("f32", "f64"), ("i32", "i64")


def _record(dtype: DType) -> dict[str, str]:
    wide = dtype.itemsize == 8
    bits = 64 if wide else 32
    found = {"T": dtype.ctype, "s": dtype.suffix, "U": f"uint{bits}_t", "I": f"int{bits}_t"}
    return found | ({"f": "" if wide else "f"} if dtype.is_floating_point else {"i": dtype.suffix})


C_TYPES: dict[str, dict[str, str]] = {
    d.suffix: _record(d) for d in (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.bool_)
}
"""By suffix."""

__all__ = ["C_TYPES", "FLOATS", "INTEGERS"]
