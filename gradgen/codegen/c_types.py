"""One record per dtype: what a fragment of C over T says of it.

`T` is the C type, `s` (floating) or `i` (integer) the suffix of names, `U` and `I` the unsigned and the signed integer of the
same width, `f` the suffix of literals and of the functions of <math.h>.
"""

from __future__ import annotations

from gradgen.ir.dtypes import ALL, DType

FLOATS, INTEGERS = (tuple(d.suffix for d in ALL if d.category == kind and d.wider is None) for kind in (2, 1))


def _record(dtype: DType) -> dict[str, str]:
    bits = max(32, 8 * dtype.itemsize)
    found = {"T": dtype.ctype, "s": dtype.suffix, "U": f"uint{bits}_t", "I": f"int{bits}_t"}
    return found | ({"f": dtype.letter} if dtype.is_floating_point else {"i": dtype.suffix})


C_TYPES: dict[str, dict[str, str]] = {d.suffix: _record(d) for d in ALL if d.wider is None}
"""By suffix: types with arithmetic of their own."""

__all__ = ["C_TYPES", "FLOATS", "INTEGERS"]
