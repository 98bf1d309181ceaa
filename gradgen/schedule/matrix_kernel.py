"""The matrix kernel: which function of the emitted C does a product `c[m, n] (+)= sum_k a[m, k] b[k, n]`, and what it needs.

On a machine with vectors all products of a dtype share one general function, which packs blocks of its operands into scratch
memory (Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008); products of a few
terms known beforehand are plain loops of their own, and one row times a matrix is a kernel of its own.  Machines that do one
number at a time have a function of tiles for each product, which packs nothing.  The pass `with_kernels` makes calls of
`Contract`, so that memory for scratch is planned like any other; codegen has the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import sympy

from gradgen.errors import CodegenError
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.limits import greatest as most_of
from gradgen.ir.minima import greatest, least
from gradgen.ir.symbols import Dim, Extent, as_extent
from gradgen.loops.draft import Draft
from gradgen.loops.heights import greatest_of
from gradgen.loops.statements import (
    LOCAL,
    PRODUCT,
    SAVED,
    WORK,
    Buffer,
    Call,
    Contract,
    CVar,
    Expr,
    Function,
    If,
    Index,
    Literal,
    Loop,
    Operand,
    Statement,
    Variable,
)
from gradgen.loops.walk import mapped, statements_in, touched
from gradgen.schedule.cost import KERNEL_TERMS, VECTOR_BYTES, Costs
from gradgen.schedule.memory import aligned
from gradgen.target import Target

Strides = tuple[int | None, int | None]

# Where packing begins to pay, in elements (measured; the C and the size of the scratch must agree on them).
WIDE = 64  # a is packed for more columns of c than these
MANY = 48  # b is packed for more rows of c than these
SHORT = 16  # a is packed for sums of more terms than these
PANEL_BYTES = 2 * VECTOR_BYTES  # a row of packed b
TILE_ROWS = 12  # of the target with most registers
_SMALL_SUM = 16  # plain loops are faster for sums of at most so many terms ...
_SMALL_MATRIX = 64  # ... where b has at most so many elements ...
_SMALL_PRODUCT = 1024  # ... or all there is at most so many terms


@dataclass(frozen=True)
class GemmTarget:
    """Block sizes: `depth` terms of a sum at a time, `rows` rows of a at a time (a multiple of 12).

    An operand of more than `large` elements no longer stays in the cache.  A packed block of a should fill most of it: 256 x
    240 float32 are 240 of 256 KiB.  Smaller blocks need less scratch memory.  The vector length is not here: the C asks the
    compiler that finally compiles it.
    """

    depth: int = KERNEL_TERMS
    rows: int = 240
    large: int = 65536

    @classmethod
    def of(cls, target: Target) -> GemmTarget:
        """The blocks for a machine's cache."""
        fitting = target.cache_bytes * 15 // 16 // (4 * KERNEL_TERMS)
        return cls(rows=max(TILE_ROWS, fitting // TILE_ROWS * TILE_ROWS), large=target.cache_bytes // 4)

    def __post_init__(self) -> None:
        if self.depth < 1 or self.rows < TILE_ROWS or self.rows % TILE_ROWS:
            raise CodegenError(
                f"matrix product blocks of {self.rows} rows and {self.depth} terms are impossible",
                hint=f"depth must be positive and rows a positive multiple of {TILE_ROWS}",
            )


@dataclass(frozen=True)
class GemmRequest:
    """`c[m, n] = sum_k a[m, k] b[k, n]`, or `+=` with `accumulate`.  None: an extent or stride known at run time only.

    Strides count elements and may be zero or negative for a and b: a transpose, a broadcast or a flip is a matter of
    strides.  Elements of c must be distinct, and c must not overlap a or b.
    """

    dtype: DType
    m: int | None
    n: int | None
    k: int | None
    accumulate: bool
    a_strides: Strides = (None, None)
    b_strides: Strides = (None, None)
    c_strides: Strides = (None, None)
    absent: str = ""  # "a", "b" or both: where -0 stands for a term that is not there (`templates/kernels/gemm/absent.c`)

    def __post_init__(self) -> None:
        if not self.dtype.is_floating_point:
            raise CodegenError(f"no matrix product for dtype {self.dtype.name!r}", hint="use a floating type")
        for name in "mnk":
            extent = getattr(self, name)
            if extent is not None and extent < 0:
                raise CodegenError(f"a matrix product cannot have {name} = {extent}")


@dataclass(frozen=True)
class WorkBytes:
    """How many bytes of scratch memory, aligned to 64, a product of run-time extents m, n, k needs: an upper bound.

    It is exact for the packing buffers of the widest vectors; narrower ones use less of it.
    """

    request: GemmRequest
    target: GemmTarget

    def __call__(self, m: int, n: int, k: int) -> int:
        """The bytes for these extents."""
        return int(self.extent(m, n, k))

    def extent(self, m: Extent, n: Extent, k: Extent) -> Extent:
        """The bytes as an extent over the dimensions of m, n and k: sums, products, quotients, Min and Max."""
        m, n, k = self._known(m, n, k)
        most = [_most(e) for e in (m, n, k)]
        if self._never(m, n, k) or self._never(most[0], n, most[2]):
            return 0
        if all(isinstance(e, int) or e.is_Integer for e in (m, n, k)):
            m, n, k = int(m), int(n), int(k)
            depth = min(k, self.target.depth)
            orders = ((m, n), (n, m)) if k > SHORT else ()  # the C may compute the transpose
            packed = max((a for a, b in orders if b > WIDE and a * k > self.target.large), default=0)
            rows = min(-(-packed // TILE_ROWS) * TILE_ROWS, self.target.rows)
            return depth * (PANEL_BYTES + self.request.dtype.itemsize * rows)
        depth = k if most[2] is not None and most[2] <= self.target.depth else least(k, self.target.depth)
        if None not in most and not any(a > WIDE and a * most[2] > self.target.large for a in most[:2]):  # type: ignore[operator]
            return depth * PANEL_BYTES
        longest = greatest(m, n)
        over = (longest * k - self.target.large, longest - WIDE, k - SHORT)
        packs_a = least(1, *(greatest(0, excess) for excess in over))
        rows = least(sympy.ceiling(longest / sympy.Integer(TILE_ROWS)) * TILE_ROWS, self.target.rows)
        return depth * (PANEL_BYTES + self.request.dtype.itemsize * rows * packs_a)

    @property
    def c(self) -> str:
        """The same as a C expression over integers named m, n and k, without side effects."""
        if self._never(*self._known(None, None, None)):
            return "0"
        size, target = self.request.dtype.itemsize, self.target
        longest = "(m > n ? m : n)"
        depth = f"(k < {target.depth} ? k : {target.depth})"
        whole_tiles = f"({longest} + {TILE_ROWS - 1}) / {TILE_ROWS} * {TILE_ROWS}"
        rows = f"({longest} < {target.rows} ? {whole_tiles} : {target.rows})"
        packed = f"({longest} * k > {target.large} && {longest} > {WIDE} && k > {SHORT} ? {rows} * {size} : 0)"
        return f"{depth} * ({PANEL_BYTES} + {packed})"

    def _known(self, m: Extent | None, n: Extent | None, k: Extent | None) -> tuple[Extent, Extent, Extent]:
        r = self.request
        return tuple(given if known is None else known for known, given in ((r.m, m), (r.n, n), (r.k, k)))  # type: ignore[return-value]

    def _never(self, m: Extent | None, n: Extent | None, k: Extent | None) -> bool:
        """Whether the function reads both operands in place whatever else the run time brings."""
        r = self.request
        if is_small(r) or is_row_product(r):
            return True
        if not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
            return False
        whole = r.n is not None and n > 0 and n % (PANEL_BYTES // r.dtype.itemsize) == 0  # n may be a bound: strips end
        in_place = whole and r.b_strides[1] == 1 and r.c_strides[1] == 1
        few_rows = (m <= MANY or n * k <= self.target.large) and (n <= WIDE or k <= SHORT or m * k <= self.target.large)
        return m == 0 or n == 0 or (in_place and few_rows)


def is_small(request: GemmRequest) -> bool:
    m, n, k = request.m, request.n, request.k
    if n is None or k is None or k > _SMALL_SUM:
        return False
    return n * k <= _SMALL_MATRIX or (m is not None and m * n * k <= _SMALL_PRODUCT)


def is_row_product(request: GemmRequest) -> bool:
    """One row, or one column of the transpose, in the layout that the kernel wants."""
    r = request
    if r.n == 1 and r.m is not None:
        n, x, b, c = r.m, r.b_strides[0], (r.a_strides[1], r.a_strides[0]), r.c_strides[0]
    elif r.m == 1 and r.n is not None:
        n, x, b, c = r.n, r.a_strides[1], r.b_strides, r.c_strides[1]
    else:
        return False
    return n > 0 and n % (VECTOR_BYTES // r.dtype.itemsize) == 0 and x == 1 and b[1] == 1 and c == 1 and b[0] is not None


def _most(extent: Extent) -> int | None:
    """The greatest that an extent with minima can be, where it has a bound."""
    if isinstance(extent, int):
        return extent
    numbers = {m: [a for a in m.args if a.is_Integer] for m in extent.atoms(sympy.Min)}
    found = extent.xreplace({m: min(found) for m, found in numbers.items() if found})
    return int(found) if found.is_Integer else None


GENERAL, ROW, SMALL, TILED = "general", "row", "small", "tiled"
PARAMETERS = ("m", "n", "k", "a", "as_m", "as_k", "b", "bs_k", "bs_n", "c", "cs_m", "cs_n", "work")
"""Of every function that is no tile's; what its request knows, it may ignore."""


@dataclass(frozen=True)
class MatrixKernel:
    """The function that does a product; equal ones are one.

    tile    rows and columns whose sums stay in registers, on a machine that does one number at a time
    long    sums have more terms than one chain of additions takes: they are done in blocks
    some    there is a first term in every call
    both    it is called to set c and to add to it: the last parameter says which
    """

    request: GemmRequest
    form: str
    blocks: GemmTarget
    tile: tuple[int, int] = (1, 1)
    long: bool = False
    some: bool = False
    both: bool = False

    @property
    def add(self) -> bool | None:
        """Whether it adds; None where its caller says."""
        return None if self.both else self.request.accumulate

    @property
    def known(self) -> dict[str, int]:
        """The extents and strides that are numbers."""
        r = self.request
        found = {"m": r.m, "n": r.n, "k": r.k, "as_m": r.a_strides[0], "as_k": r.a_strides[1], "bs_k": r.b_strides[0],
                 "bs_n": r.b_strides[1], "cs_m": r.c_strides[0], "cs_n": r.c_strides[1]}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def name(self) -> str:
        """After everything that its text depends on; the general ones are told everything by their arguments."""
        r, s = self.request, self.request.dtype.suffix
        absent = f"_absent_{r.absent}" if r.absent else ""
        if self.form == ROW:
            return f"gg_row_{s}_{'column_' if r.n == 1 else ''}{'add' if r.accumulate else 'set'}{absent}"
        if self.form == GENERAL:
            return f"gg_gemm_{s}_{'add' if r.accumulate else 'set'}{absent}"
        sizes = "x".join(letter if e is None else str(e) for letter, e in zip("mnk", (r.m, r.n, r.k), strict=True))
        layout = "_".join("x".join("s" if e is None else str(e).replace("-", "m") for e in pair)
                          for pair in (r.a_strides, r.b_strides, r.c_strides))
        kind = "_long" if self.long else "_some" if self.some else ""
        return f"gg_gemm_{s}_{sizes}_{layout}{kind}{'_both' if self.both else '_add' if r.accumulate else ''}{absent}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those of PARAMETERS that it has, in order, and perhaps "add"."""
        if self.form != TILED or self.request.absent:
            return PARAMETERS
        return (*(p for p in PARAMETERS[:-1] if p not in self.known), *(("add",) if self.both else ()))

    @property
    def shared(self) -> MatrixKernel:
        """The same function without what only its arguments say."""
        r = self.request
        if self.form == GENERAL:
            return replace(self, request=GemmRequest(r.dtype, None, None, None, r.accumulate, absent=r.absent))
        if self.form == ROW:
            column = r.n == 1
            request = GemmRequest(r.dtype, None if column else 1, 1 if column else None, None, r.accumulate, absent=r.absent)
            return replace(self, request=request)
        return replace(self, request=replace(r, accumulate=False)) if self.both else self

    def scratch(self, m: Extent, n: Extent, k: Extent) -> Extent:
        """The bytes of scratch memory for these extents."""
        return 0 if self.form == TILED else WorkBytes(self.request, self.blocks).extent(m, n, k)


def chosen(request: GemmRequest, blocks: GemmTarget | None = None) -> MatrixKernel:
    """The function for a machine with vectors."""
    form = ROW if is_row_product(request) else SMALL if is_small(request) else GENERAL
    return MatrixKernel(request, form, blocks or GemmTarget())


def tiled(request: GemmRequest, costs: Costs, most_terms: Extent, some: bool = False, both: bool = False) -> MatrixKernel:
    """The function for a machine that does one number at a time; `most_terms` is the greatest k of any call."""
    most = most_of(most_terms, {})
    long = most is None or most > KERNEL_TERMS
    plain = bool(request.absent)  # it stands behind a test of its operands
    tile = costs.tile(request.m, request.n, request.dtype)
    some = some and not (long or plain or costs.size) and request.k is None
    return MatrixKernel(request, TILED, GemmTarget(), tile, long, some, both and not (long or plain))


@cache
def function_of(kernel: MatrixKernel, scalar: bool) -> Function:
    """What the statements call: its body says what it computes, its text is codegen's."""
    kind, there = kernel.request.dtype, kernel.parameters
    a, b, c = (Buffer(f"gg_{x}", kind, (), LOCAL) for x in "abc")
    numbers = {p: CVar(f"gg_{p}", integer=True) for p in there if p not in ("a", "b", "c", "work", "add")}
    known: dict[str, Extent] = {**kernel.known, **numbers}  # type: ignore[dict-item]
    m, n, k = (known[x] for x in "mnk")
    operands = [Operand(x, 0, (known[down], known[across]))
                for x, down, across in ((a, "as_m", "as_k"), (b, "bs_k", "bs_n"), (c, "cs_m", "cs_n"))]

    def product(adds: bool) -> Statement:
        return Contract(kind, m, n, k, operands[0], operands[1], operands[2], adds, (m, n, k), kernel.request.absent)

    add = Variable(bool_, "gg_add")
    body = If(add, (product(True),), (product(False),)) if kernel.add is None else product(kernel.add)
    only_set = kernel.add is False
    scratch = (Buffer("gg_work", BYTE, (), LOCAL),) if "work" in there else ()
    scalars = (*(Variable(INDEX, s.name) for s in numbers.values()), *((add,) if kernel.add is None else ()))
    return Function(kernel.name, PRODUCT, (a, b), (c,) * only_set, (c,) * (not only_set), scratch, scalars, (body,),
                    text=kernel, order=tuple(f"gg_{p}" for p in there), stack=SCALAR_STACK if scalar else STACK)


STACK, SCALAR_STACK = 2560, 640  # of the matrix kernel, with vectors and without (measured, gcc 12)


def with_kernels(draft: Draft, costs: Costs) -> Draft:
    """The draft with calls for its products, scratch memory for them, and no buffer that nothing touches."""
    made = _Calls(draft, costs)
    statements = made.block(draft.statements)
    used = {b for s in statements for b in touched(s)}
    buffers = tuple(b for b in (*draft.buffers, *made.scratch) if b.space not in (WORK, SAVED) or b in used)
    return replace(draft, statements=statements, buffers=buffers)


class _Calls:
    """Calls instead of products."""

    def __init__(self, draft: Draft, costs: Costs) -> None:
        self.draft, self.costs = draft, costs
        self.both = set_and_added(statements_in(draft.statements)) if costs.target.scalar else frozenset()
        self.scratch: list[Buffer] = []
        self.chunk: Loop | None = None  # the loop in threads around
        self.shared: tuple[Buffer, Extent] | None = None  # scratch of all chunks, and the bytes of one

    def block(self, block: tuple[Statement, ...]) -> tuple[Statement, ...]:
        made = tuple(map(self.statement, block))
        return block if all(x is y for x, y in zip(made, block, strict=True)) else made

    def statement(self, s: Statement) -> Statement:
        if isinstance(s, Contract):
            return self.call(s)
        if not (isinstance(s, Loop) and s.parallel):
            return mapped(s, block=self.block)
        self.chunk = s
        self.shared = self.of_chunks(s)
        made = mapped(s, block=self.block)
        self.chunk = self.shared = None
        return made

    def kernel(self, s: Contract) -> MatrixKernel:
        """The function of a product, by what is known of it here."""
        a, b, c = ((_known(o.strides[0]), _known(o.strides[1])) for o in (s.a, s.b, s.c))
        request = GemmRequest(s.dtype, _known(s.m), _known(s.n), _known(s.k), s.accumulate, a, b, c, s.absent)
        if not self.costs.target.scalar:
            return chosen(request, GemmTarget.of(self.costs.target))
        some = isinstance(s.k, sympy.Symbol) and not isinstance(s.k, Dim) and self.chunk is None  # of a strip, never none
        return tiled(request, self.costs, s.limits[2], some, _alike(s) in self.both)

    def of_chunks(self, s: Loop) -> tuple[Buffer, Extent] | None:
        """Memory for the products of a loop in threads: a part for each chunk."""
        sizes = [self.kernel(p).scratch(*p.limits) for p in statements_in(s.body) if isinstance(p, Contract)]
        own = aligned(greatest_of([0, *sizes]))
        return (self.memory(as_extent(own * s.parallel)), own) if own != 0 else None

    def memory(self, size: Extent) -> Buffer:
        self.scratch.append(Buffer(self.draft.fresh("scratch"), BYTE, (as_extent(size),), WORK))
        return self.scratch[-1]

    def call(self, s: Contract) -> Call:
        kernel = self.kernel(s)
        function = function_of(kernel.shared, self.costs.target.scalar)
        given: dict[str, Extent] = dict(zip(_NUMBERS, (s.m, s.n, s.k, *s.a.strides, *s.b.strides, *s.c.strides), strict=True))
        scalars: list[Expr] = [Index(INDEX, sympy.sympify(given[p])) for p in kernel.parameters if p in given]
        if kernel.add is None:
            scalars.append(Literal(bool_, sympy.Integer(s.accumulate)))
        c = Operand(s.c.buffer, s.c.start, ())
        reads = tuple(replace(o, strides=()) for o in (s.a, s.b))
        return Call(function, reads, (c,) * len(function.writes), (c,) * len(function.updates), self.place(kernel, s),
                    tuple(scalars))

    def place(self, kernel: MatrixKernel, s: Contract) -> tuple[Operand | None, ...]:
        """Scratch of a call, or the chunk's part of it."""
        if "work" not in kernel.parameters:
            return ()
        size = kernel.scratch(*s.limits)
        if size == 0:
            return (None,)
        if self.chunk is None:
            return (Operand(self.memory(size), 0, ()),)
        assert self.shared is not None
        buffer, own = self.shared
        return (Operand(buffer, as_extent(self.chunk.variable * own), ()),)


BYTE = bool_  # the type of one byte
_NUMBERS = tuple(p for p in PARAMETERS if p not in ("a", "b", "c", "work"))


def _known(e: Extent) -> int | None:
    return e if isinstance(e, int) else None


def _alike(s: Contract) -> tuple[object, ...]:
    """What two products have in common that differ in set and add alone."""
    return (s.dtype, s.absent, *map(_known, (s.m, s.n, s.k, *s.a.strides, *s.b.strides, *s.c.strides)))


def set_and_added(statements: Iterable[Statement]) -> frozenset[tuple[object, ...]]:
    """The products that are made both to set their result and to add to it."""
    kinds: dict[tuple[object, ...], set[bool]] = {}
    for s in statements:
        if isinstance(s, Contract):
            kinds.setdefault(_alike(s), set()).add(s.accumulate)
    return frozenset(key for key, found in kinds.items() if len(found) > 1)
