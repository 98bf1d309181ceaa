"""How many bytes of machine code C becomes, roughly.

Operators, subscripts and calls are counted, but for what stands in a subscript, as addresses share most of that: a compiler
makes about so many bytes of each, on one machine and for one objective (measured with gcc 12 on modules of 3 to 47 KB: mostly
within a fifth, at worst a half).
"""

from __future__ import annotations

import re
import string

from gradgen.ir.dtypes import ALL
from gradgen.target import Target

BYTES = {True: 4.2, False: 5.2}  # of an operation: for size, for speed
WITH_VECTORS = 1.45  # the loops that are left over, longer instructions
WITHOUT_HARDWARE = 2.0  # a call for each operation of a type that the machine does not have
NESTED = 3  # subscripts in subscripts
_COMMENT = re.compile(r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/")
_DIRECTIVE = re.compile(r"\n[ \t]*#(?:[^\n]*\\\n)*[^\n]*")
_SUBSCRIPT = re.compile(r"\[[^\[\]]+\]")
_OPERATORS = "-+*/<>=&|?!^~%"
_WORD = string.ascii_letters + string.digits + "_"


class _Only(dict[int, str]):
    """For `str.translate`: some characters are kept as one, everything else is a space."""

    def __missing__(self, character: int) -> str:
        return " "


_OPERATIONS = _Only(dict.fromkeys(map(ord, _OPERATORS), "+"))
_CALLS = _Only({**dict.fromkeys(map(ord, _WORD), "f"), ord("("): "("})


def flash_bytes(text: str, target: Target, size: bool) -> int:
    """Of C text, its constants apart."""
    code = _DIRECTIVE.sub("\n", _COMMENT.sub("", f"\n{text}"))
    found = {d.name: _words(d.ctype, code) for d in ALL if d.is_floating_point}
    share = sum(n for name, n in found.items() if name not in target.hardware) / max(1, sum(found.values()))
    bytes_ = BYTES[size] * (1 if target.scalar else WITH_VECTORS) * (1 + (WITHOUT_HARDWARE - 1) * share)
    for _ in range(NESTED):
        code = _SUBSCRIPT.sub("@", code)
    operations = len(code.translate(_OPERATIONS).split())
    return round(bytes_ * (operations + code.count("@") + code.translate(_CALLS).count("f(")))


def _words(word: str, code: str) -> int:
    """How often it stands alone."""
    found = re.finditer(rf"{word}\b", code)
    return sum(not (code[m.start() - 1].isalnum() or code[m.start() - 1] == "_") for m in found)


__all__ = ["flash_bytes"]
