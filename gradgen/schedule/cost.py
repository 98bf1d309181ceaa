"""How long statements take, roughly: what decides whether a loop is worth several threads.

The unit is a nanosecond of a current processor; only the order of magnitude counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sympy

from gradgen.ir.dtypes import bool_
from gradgen.ir.symbols import Extent
from gradgen.loops.statements import Apply, Contract, Copy, Expr, Fill, If, Index, Let, Load, Loop, Statement, Store
from gradgen.loops.walk import expressions, subexpressions
from gradgen.schedule.fusion import is_costly

OPEN = 65536  # what a named dimension is taken to be: loops over one are cut where they may be long
SCALAR, VECTOR = 0.3, 0.03  # an operation
FUNCTION, VECTOR_FUNCTION = 6.0, 0.8  # exp, log, ...
SCALAR_MEMORY, VECTOR_MEMORY = 0.4, 0.08  # a load or store
MULTIPLY_ADD = 0.02  # in the matrix kernel
BYTE = 0.05  # of a block that is copied or filled


def nanoseconds(statements: Iterable[Statement], known: Mapping[str, int] | None = None) -> float:
    """The time of statements, inner loops included; `known` are values of index variables by name."""
    return _block(statements, dict(known or {}), False)


def _block(statements: Iterable[Statement], known: dict[str, int], vector: bool) -> float:
    return sum(_one(s, known, vector) for s in statements)


def _one(s: Statement, known: dict[str, int], vector: bool) -> float:
    own = _expressions(expressions(s), vector)
    match s:
        case Let() if isinstance(s.value, Index):
            known[s.variable.name] = number(s.value.expr, known)
        case Store():
            own += VECTOR_MEMORY if vector else SCALAR_MEMORY
        case Fill():
            own += number(s.count, known) * s.buffer.dtype.itemsize * BYTE
        case Copy():
            own += number(s.count, known) * s.target.dtype.itemsize * 2 * BYTE
        case Contract():
            own += number(s.m, known) * number(s.n, known) * number(s.k, known) * MULTIPLY_ADD * s.dtype.itemsize / 4
        case If():
            own += _block((*s.body, *s.otherwise), known, vector)
        case Loop():
            inner = {**known, s.variable.name: number(s.start, known)}
            own += steps(s, known) * _block(s.body, inner, s.simd)
    return own


def steps(loop: Loop, known: Mapping[str, int] | None = None) -> int:
    """How often a loop runs."""
    known = known or {}
    length = number(loop.stop, known) - number(loop.start, known)
    return max(0, -(-length // loop.step))


def number(extent: Extent, known: Mapping[str, int]) -> int:
    """The value of an extent, named dimensions being OPEN."""
    if isinstance(extent, int):
        return extent
    e = sympy.sympify(extent)
    values = {s: sympy.Integer(known.get(s.name, OPEN)) for s in e.free_symbols}
    found = e.xreplace(values).doit()
    return int(found) if found.is_Integer else OPEN


def _expressions(roots: Iterable[Expr], vector: bool) -> float:
    total = 0.0
    for e in subexpressions(roots):
        if isinstance(e, Load):
            total += VECTOR_MEMORY if vector else SCALAR_MEMORY
        elif isinstance(e, Apply):
            if is_costly(e.op) and e.dtype is not bool_:
                total += VECTOR_FUNCTION if vector else FUNCTION
            else:
                total += VECTOR if vector else SCALAR
    return total
