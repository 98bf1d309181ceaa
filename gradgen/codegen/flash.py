"""How many bytes of machine code C becomes, roughly.

Operators, subscripts and calls are counted: a compiler makes about so many bytes of each, on one machine and for one
objective (measured with gcc 12 on modules of 1 to 20 KB; within a quarter).
"""

from __future__ import annotations

import re

from gradgen.target import Target

BYTES = {True: 4.3, False: 5.5}  # of an operation: for size, for speed
WITH_VECTORS = 1.45  # the loops that are left over, longer instructions
WITHOUT_HARDWARE = 2.0  # a call for each operation of a type that the machine does not have
_NOT_CODE = re.compile(r"/\*.*?\*/|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", re.S | re.M)
_OPERATION = re.compile(r"[-+*/<>=&|?!^~%]+|\[|\w+\(")
_DOUBLE = re.compile(r"\bdouble\b")
_FLOAT = re.compile(r"\bfloat\b")


def flash_bytes(text: str, target: Target, size: bool) -> int:
    """Of C text, its constants apart."""
    code = _NOT_CODE.sub("", text)
    doubles, floats = len(_DOUBLE.findall(code)), len(_FLOAT.findall(code))
    missing = doubles * ("float64" not in target.hardware) + floats * ("float32" not in target.hardware)
    share = missing / max(1, doubles + floats)
    bytes_ = BYTES[size] * (1 if target.scalar else WITH_VECTORS) * (1 + (WITHOUT_HARDWARE - 1) * share)
    return round(bytes_ * len(_OPERATION.findall(code)))


__all__ = ["flash_bytes"]
