"""How many bytes of machine code C becomes, roughly.

Operators, subscripts and calls are counted, but for what stands in a subscript, as addresses share most of that: a compiler
makes about so many bytes of each, on one machine and for one objective (measured with gcc 12 on modules of 3 to 47 KB: mostly
within a fifth, at worst a half).
"""

from __future__ import annotations

import re

from gradgen.target import Target

BYTES = {True: 4.2, False: 5.2}  # of an operation: for size, for speed
WITH_VECTORS = 1.45  # the loops that are left over, longer instructions
WITHOUT_HARDWARE = 2.0  # a call for each operation of a type that the machine does not have
NESTED = 3  # subscripts in subscripts
_NOT_CODE = re.compile(r"/\*.*?\*/|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", re.S | re.M)
_SUBSCRIPT = re.compile(r"\[[^\[\]]+\]")
_OPERATION = re.compile(r"[-+*/<>=&|?!^~%]+|@|(?<=\w)\(")
_DOUBLE = re.compile(r"\bdouble\b")
_FLOAT = re.compile(r"\bfloat\b")


def flash_bytes(text: str, target: Target, size: bool) -> int:
    """Of C text, its constants apart."""
    code = _NOT_CODE.sub("", text)
    doubles, floats = len(_DOUBLE.findall(code)), len(_FLOAT.findall(code))
    missing = doubles * ("float64" not in target.hardware) + floats * ("float32" not in target.hardware)
    share = missing / max(1, doubles + floats)
    bytes_ = BYTES[size] * (1 if target.scalar else WITH_VECTORS) * (1 + (WITHOUT_HARDWARE - 1) * share)
    for _ in range(NESTED):
        code = _SUBSCRIPT.sub("@", code)
    return round(bytes_ * len(_OPERATION.findall(code)))


__all__ = ["flash_bytes"]
