"""The cost model: what passes ask of the target, and how long statements take, roughly.

The unit of time is a nanosecond of a current processor; only the order of magnitude counts: it decides whether a loop is
worth several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy

from gradgen.ir.dtypes import DType, bool_
from gradgen.ir.scalar_table import is_costly
from gradgen.ir.symbols import Extent
from gradgen.loops.statements import Apply, Contract, Copy, Expr, Fill, If, Index, Let, Load, Loop, Statement, Store
from gradgen.loops.walk import expressions, subexpressions
from gradgen.target import NATIVE, Target

OPEN = 65536  # what a named dimension is taken to be: loops over one are cut where they may be long
SCALAR, VECTOR = 0.3, 0.03  # an operation
FUNCTION, VECTOR_FUNCTION = 6.0, 0.8  # exp, log, ...
SCALAR_MEMORY, VECTOR_MEMORY = 0.4, 0.08  # a load or store
MULTIPLY_ADD = 0.02  # in the matrix kernel
BYTE = 0.05  # of a block that is copied or filled


@dataclass(frozen=True, slots=True)
class Costs:
    """What pays on a target; `size`: bytes of code are dear, time is not."""

    target: Target
    size: bool = False

    def lane_count(self, itemsize: int) -> int:
        """Items of a loop over straight-line code that are done together; 1: one by one."""
        return 1 if self.size else self.target.lanes(itemsize)

    @property
    def block(self) -> int:
        """Terms of one chain of additions, where a loop of a sum is cut into blocks: 32 in each lane."""
        return 32 * max(2, self.target.lanes(4))

    @property
    def uncut(self) -> int:
        """Terms up to which a loop of a sum is not cut."""
        return 2 * self.block

    @property
    def strip(self) -> int:
        """Rows of a strip: rows of a kilobyte fill the cache, or the memory of a machine without; more than the matrix
        kernel adds up in one chain are none the better for it."""
        return min(KERNEL_TERMS, max(1, self.shared_bytes // ROW_BYTES))

    @property
    def shared_bytes(self) -> int:
        """What an operand may take that is read again and again: of more it is worth to make a piece at a time."""
        return self.target.cache_bytes or self.target.near_bytes

    @property
    def row(self) -> int:
        """Numbers of a row that is written for nothing, or written and read again: an eighth of the near memory."""
        return max(self.block, self.target.near_bytes // 32)

    def worth_a_test(self, steps: float) -> bool:
        """Whether a nest of so many steps is tested for, apart from what it is a part of."""
        return steps >= 4 * self.target.branch_cost

    def worth_writing_out(self, before: int, after: int) -> bool:
        """Whether loops of so many expressions in all are better written out as so many."""
        return not self.size or after <= before

    def worth_one_function(self, body: int, calls: Sequence[int], parameters: int, numbers: int) -> bool:
        """Whether nests of so many expressions that differ in `numbers` are better one function that is given these.

        Args:
            calls: of each kind of nest, how often it occurs; one that occurs once stands where it is.
            parameters: what each is given in any case.
        """
        if not self.size and body < LARGE_BODY:
            return False
        apart = sum(body + (n * parameters * ARGUMENT if n > 1 else 0) for n in calls)
        return body + sum(calls) * (parameters + numbers) * ARGUMENT + ENTRY < apart

    def apart(self, extent: int) -> bool:
        """Whether a loop of so many expensive functions is better a vector loop of its own than beside inner loops."""
        return not self.target.scalar and LEAST_VECTOR <= extent <= self.row

    def without(self) -> frozenset[str]:
        """The passes that only vectors, or time alone, are for."""
        found = {"simd", "lanes", "packing"} if self.target.scalar else set()
        if not self.target.cache_bytes:
            found.add("unfold")  # matrices of windows are memory that there is not
        return frozenset(found | ({"contraction", "peel"} if self.size and self.target.scalar else set()))

    def worth_a_product(self, m: Extent, n: Extent, k: Extent) -> bool:
        """Whether a product of such matrices is better a call of the matrix kernel than loops of its own."""
        single = [e for e in (m, n, k) if e == 1]
        if 0 in (m, n, k) or len(single) > (1 if self.target.scalar else 0):
            return False
        known = [e if isinstance(e, int) else None for e in (m, n, k)]
        if self.target.scalar:  # sums stay in registers whatever the extents are
            return None in known or m * n * k >= 16 * self.target.call_cost  # type: ignore[operator]
        if None not in known:
            return m * n * k > SMALL_PRODUCT  # type: ignore[operator]
        if known[1] is not None and known[2] is not None:
            return bool(n * k > SMALL_SIDE)
        if known[0] is not None and known[2] is not None:
            return bool(m * k > SMALL_SIDE)
        return known[0] is None or known[1] is None or bool(m * n > SMALL_SIDE)

    def tile(self, m: int | None, n: int | None, dtype: DType) -> tuple[int, int]:
        """Rows and columns of a product whose sums a scalar machine keeps in registers: the least loads and stores for
        matrices of such extents (None: many).  A machine whose arithmetic is in a library keeps nothing in registers."""
        if self.size or dtype.name not in self.target.hardware:
            return 1, 1
        rows, columns = (MANY if e is None else max(e, 1) for e in (m, n))
        most, term = self.target.registers, 1 if dtype.name in self.target.fma else 2
        found = [(r, c) for r in range(1, 9) for c in range(1, 9) if r <= rows and c <= columns and r * c + r + c <= most]
        return min(found, key=lambda t: (_tile_steps(rows, columns, t[0], t[1], term), t[0] * t[1]), default=(1, 1))


PC = Costs(NATIVE)

VECTOR_BYTES = 64  # of the widest vectors that the matrix kernel's C has; it asks the compiler that finally compiles it
KERNEL_TERMS = 256  # of a sum that the matrix kernel completes before it touches the result
ROW_BYTES = 1024  # of all that a strip holds, for each of its rows: 256 numbers
LEAST_VECTOR = 4  # numbers that are a vector of the narrowest kind
FUNCTION_COST = 16  # additions that exp or sin stand for in a loop (tables of Agner Fog, 2022)

ARGUMENT, ENTRY = 1.5, 8  # of a call, and of a function itself, in expressions
LARGE_BODY = 400  # expressions of a nest that is one function for several extents where time counts, too
MANY = 60  # rows of a matrix that is known at run time only: whole tiles
SMALL_PRODUCT, SMALL_SIDE = 512, 32  # of those of a machine with vectors, and of one side where the other is open
STEP = 4  # instructions around the multiplications of one term of a tile


def _tile_steps(rows: int, columns: int, r: int, c: int, term: int) -> int:
    """Instructions for one term of each sum of a rows x columns product in tiles of r x c, the rest in rows of c and
    single ones; `term` of them multiply and add."""
    whole = (rows // r) * (columns // c) * (term * r * c + r + c + STEP)
    right = rows * (columns % c) * (term + 2 + STEP)
    return whole + right + (rows % r) * (columns // c) * ((term + 1) * c + 1 + STEP)


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
