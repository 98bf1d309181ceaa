"""States in place: what a state becomes may be written where the state is.

A function reads the old value until it ends, in an order that its loops decide.  So the new one is computed at the end of
WORK, under a name of its own, and copied when all else is done.  (That backward needs no state is the compiler's part.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import sympy

from gradgen.codegen.extents import elements, to_c
from gradgen.codegen.interface import OUTPUT, Parameter
from gradgen.codegen.kernels_body import ProcedureCode
from gradgen.ir.symbols import Extent, as_extent

ALIGN = 64


def kept_name(position: int) -> str:
    """The name of the memory for the new value of a state; no user's name begins so."""
    return f"gradgen_next{position}"


def copied_last(code: ProcedureCode, parameters: Iterable[Parameter], names: dict[str, str]) -> ProcedureCode:
    """The function with memory for the new states at the end of WORK; `names` are of that memory by those outputs' names."""
    first: list[str] = []
    last: list[str] = []
    end = _aligned(code.work_bytes)
    for p in parameters:
        if p.kind != OUTPUT or p.name not in names or p.dtype is None:
            continue
        size, own = elements(p.shape) * p.dtype.itemsize, names[p.name]
        place = f"(unsigned char *)work + {to_c(end)}" if end != 0 else "work"
        first.append(f"    {p.dtype.ctype} *const {own} = {p.name} == NULL ? NULL : ({p.dtype.ctype} *)(void *)({place});")
        last += [f"    if ({p.name} != NULL) {{", f"        memcpy({p.name}, {own}, (size_t)({to_c(size)}));", "    }"]
        end = as_extent(sympy.sympify(end) + _aligned(size))
    body = "\n".join([*first, code.body.strip("\n"), *last])
    return replace(code, body=body, work_bytes=end, work_bytes_c=to_c(end)) if first else code


def _aligned(size: Extent) -> Extent:
    return as_extent(ALIGN * sympy.ceiling(sympy.sympify(size) / ALIGN))
